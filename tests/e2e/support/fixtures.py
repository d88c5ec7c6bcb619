"""Fixtures: a plain Maildir, and a mount of a store with the same mail, taken down in any case."""

import os
import pwd
import shutil
import tempfile

import pytest

from support import maildir
from support.place import Mounted, Plain
from support.programs import mailbraid, need_allow_other, need_fuse, run
from support.wait import until


def _folder():
    """Short, because sockets live below it."""
    return os.path.realpath(tempfile.mkdtemp(prefix="mb-e2e-"))


def _plain(owner=None):
    base = _folder()
    os.chmod(base, 0o755)
    yield Plain(os.path.join(base, "plain"), owner)
    shutil.rmtree(base)


def _mounted(*arguments, owner=None, kind=Mounted):
    need_fuse()
    base = _folder()
    os.chmod(base, 0o755)
    place = kind(os.path.join(base, "mounted"), *arguments, owner=owner)
    try:
        yield place
    finally:
        place.close()
        shutil.rmtree(base)


@pytest.fixture
def plain():
    yield from _plain()


@pytest.fixture
def mounted():
    yield from _mounted()


@pytest.fixture
def shared():
    """Mounted for other users and for set-user-id and set-group-id programs: without allow_other
    the kernel lets no process in whose ids are not all those of the user who mounted."""
    need_allow_other()
    yield from _mounted("-o", "allow_other")


class Linked(Mounted):
    """A mount in step with a second store, whose mail directory is `peer`; it is not mounted."""

    def __init__(self, base, *arguments, owner=None):
        os.makedirs(base)
        store = os.path.join(base, "b")
        run(mailbraid(), "--store", store, "init")
        self.peer = os.path.join(store, "mail")
        super().__init__(base, "--peer", f"store:{store}", *arguments, owner=owner)
        try:
            until("both are equal", lambda: maildir.tree(self.peer) == self.tree(),
                  tell=self.messages)  # fmt: skip
        except BaseException:
            self.close()
            raise


@pytest.fixture
def linked():
    yield from _mounted(kind=Linked)


def _user():
    """Somebody who is not root, for programs that refuse to be."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def _for_user():
    return ("-o", "allow_other") if os.geteuid() == 0 else ()


@pytest.fixture
def users_plain():
    yield from _plain(_user())


@pytest.fixture
def users_mounted():
    """One user's mail; mounted by root for that user, where we are root."""
    yield from _mounted(*_for_user(), owner=_user())


@pytest.fixture
def users_linked():
    """The same, in step with a second store."""
    yield from _mounted(*_for_user(), owner=_user(), kind=Linked)


def same(plain, mounted, **how):
    """Both places hold the same, in the mount as in the store's own Maildir."""
    expected = plain.tree(**how)
    assert mounted.tree(**how) == expected
    mounted.close()
    assert maildir.tree(mounted.backing, **how) == expected
