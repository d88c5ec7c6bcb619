"""Fixtures that several files share."""

import os

import pytest

from support.daemon import Daemon
from support.programs import need_fuse


@pytest.fixture(scope="module")
def d():
    """A mounted store, one for all tests of the file."""
    need_fuse()
    daemon = Daemon()
    yield daemon
    daemon.close()


@pytest.fixture
def local(d, request):
    """A directory that is no mailbox, in the mount."""
    path = d.path("local-" + request.node.name.replace("[", "-").replace("]", ""))
    os.mkdir(path)
    return path
