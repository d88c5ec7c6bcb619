"""What a program may expect of the mount because any local directory does it."""

import os
import threading
import time

import pytest


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


def test_a_message_that_was_unlinked_while_open_is_written_on(d):
    """As in any directory; what is kept in deleted/ is the message as it was."""
    d.deliver("open.a", b"as it was when it went\n")
    fd = os.open(d.path("new", "open.a"), os.O_RDWR)
    other = os.open(d.path("new", "open.a"), os.O_RDONLY)
    os.unlink(d.path("new", "open.a"))
    assert os.pread(other, 100, 0) == b"as it was when it went\n"
    assert os.pwrite(fd, b"written later", 3) == 13
    os.fsync(fd)
    for one in (fd, other):
        assert os.pread(one, 100, 0) == b"as written latert went\n"
    os.ftruncate(fd, 5)
    assert os.fstat(fd).st_size == os.fstat(other).st_size == 5
    assert os.fstat(fd).st_nlink == 0
    os.close(fd)
    os.close(other)
    assert b"as it was when it went\n" in in_deleted(d)


def test_an_attribute_of_a_message_is_its_files(d):
    path = d.deliver("attr.a", b"x\n")
    try:
        os.setxattr(os.path.join(d.base, "messages"), "user.probe", b"1")
    except OSError:
        pytest.skip("no extended attributes on this file system")
    os.setxattr(path, "user.k", b"v1")
    os.setxattr(path, "user.k", b"v2", os.XATTR_REPLACE)
    assert os.getxattr(path, "user.k") == b"v2"
    assert "user.k" in os.listxattr(path) and "user.mailbraid.guid" in os.listxattr(path)
    cur = d.path("cur", "attr.a:2,S")
    os.rename(path, cur)
    ino, guid = os.stat(cur).st_ino, os.getxattr(cur, "user.mailbraid.guid")
    d.remount()
    assert os.getxattr(cur, "user.k") == b"v2"
    assert (os.stat(cur).st_ino, os.getxattr(cur, "user.mailbraid.guid")) == (ino, guid)
    os.removexattr(cur, "user.k")
    assert "user.k" not in os.listxattr(cur)
    for call, args in ((os.setxattr, (b"x",)), (os.removexattr, ())):
        with pytest.raises(PermissionError):
            call(cur, "user.mailbraid.guid", *args)
