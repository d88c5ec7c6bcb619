"""What a program may expect of the mount because any local directory does it."""

import os
import threading
import time

import pytest

from support.daemon import Daemon
from support.programs import need_fuse


@pytest.fixture(scope="module")
def d():
    need_fuse()
    daemon = Daemon()
    yield daemon
    daemon.close()


@pytest.fixture
def local(d, request):
    """A directory that is no mailbox, in the mount."""
    path = d.path("local-" + request.node.name)
    os.mkdir(path)
    return path


def read(path):
    with open(path, "rb") as f:
        return f.read()


def in_deleted(d):
    """The bodies that are kept."""
    found = []
    for place, _, files in os.walk(os.path.join(d.store, "deleted")):
        found += [read(os.path.join(place, name)) for name in files]
    return found


def test_what_leaves_the_mailboxes_is_a_file_of_its_own(d, local):
    """Neither its bytes nor its count of links have to do with the body that is kept."""
    d.deliver("leaves.a", b"as it was\n")
    d.deliver("stays.a", b"linked\n")
    os.rename(d.path("new", "leaves.a"), f"{local}/left")
    os.link(d.path("new", "stays.a"), f"{local}/linked")
    os.unlink(d.path("new", "stays.a"))
    for name, was in (("left", b"as it was\n"), ("linked", b"linked\n")):
        with open(f"{local}/{name}", "ab") as f:
            f.write(b"edited\n")
        assert os.stat(f"{local}/{name}").st_nlink == 1
        assert read(f"{local}/{name}") == was + b"edited\n"
        assert was in in_deleted(d)


def test_a_mailbox_is_made_by_its_program_alone(d):
    """Raw deliveries make the daemon scan; it makes no directory that a program is about to make."""
    end = threading.Event()

    def deliver():
        n = 0
        while not end.is_set():
            n += 1
            with open(os.path.join(d.backing, "new", f"raw{n}.a"), "wb") as f:
                f.write(b"x\n")
            time.sleep(0.002)

    raw = threading.Thread(target=deliver)
    raw.start()
    try:
        for n in range(300):
            for sub in ("", "cur", "new", "tmp"):
                os.mkdir(d.path(f".Made{n}", sub))
    finally:
        end.set()
        raw.join()


def test_a_directory_that_a_program_removed_stays_away(d):
    d.folder(".Less")
    d.deliver("1.a", folder=".Less", sub="cur")
    os.rmdir(d.path(".Less", "tmp"))
    os.rmdir(d.path(".Less", "new"))
    for n in range(3):
        with open(os.path.join(d.backing, ".Less", "cur", f"raw{n}.a:2,"), "wb") as f:
            f.write(b"x\n")
        time.sleep(1)
    assert sorted(os.listdir(d.path(".Less"))) == ["cur"]
    assert len(os.listdir(d.path(".Less", "cur"))) == 4
    os.mkdir(d.path(".Less", "tmp"))
    os.mkdir(d.path(".Less", "new"))
    d.deliver("2.a", folder=".Less")
