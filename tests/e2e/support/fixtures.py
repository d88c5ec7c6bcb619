"""Fixtures: a plain Maildir, and a mount of a store with the same mail, taken down in any case."""

import os
import shutil
import tempfile

import pytest

from support import maildir
from support.place import Mounted, Plain
from support.programs import need_fuse


def _folder():
    """Short, because sockets live below it."""
    return os.path.realpath(tempfile.mkdtemp(prefix="mb-e2e-"))


@pytest.fixture
def plain():
    base = _folder()
    yield Plain(os.path.join(base, "plain"))
    shutil.rmtree(base)


@pytest.fixture
def mounted():
    need_fuse()
    base = _folder()
    place = Mounted(os.path.join(base, "mounted"))
    try:
        yield place
    finally:
        place.close()
        shutil.rmtree(base)


def same(plain, mounted, **how):
    """Both places hold the same, in the mount as in the store's own Maildir."""
    expected = plain.tree(**how)
    assert mounted.tree(**how) == expected
    mounted.close()
    assert maildir.tree(mounted.backing, **how) == expected
