"""Files that are open while their names go, locks, attributes, numbers: as in any directory."""

import errno
import fcntl
import mmap
import os
import resource
import struct

import pytest

from support.stage import (
    COLLAPSE, INSERT, collect, fallocate, make, name_of, read, rename2, stage, start,
)

__all__ = ["stage"]
OFD_SETLK, OFD_GETLK = 37, 36


def test_unlinked_files_live_on(stage):
    def story(t):
        fd = os.open("f", os.O_CREAT | os.O_RDWR, 0o640)
        os.write(fd, b"before")
        os.unlink("f")
        t.stat(fd)
        t.touches([fd], os.pwrite, fd, b" and after", 6)
        t(os.pread, fd, 30, 0)
        t.touches([fd], os.ftruncate, fd, 3)
        t.touches([fd], os.fchmod, fd, 0o400)
        t.touches([fd], os.utime, fd, ns=(3, 4))
        t(os.fsync, fd)
        t(fallocate, fd, 0, 0, 100)
        t(os.setxattr, fd, "user.a", b"v")
        t(os.getxattr, fd, "user.a")
        t.stat(fd)
        t(os.link, f"/proc/self/fd/{fd}", "again")
        again = t(os.open, f"/proc/self/fd/{fd}", os.O_RDONLY)
        t(os.read, again, 3)
        make("f", b"another")
        t.tell("one and the other", (os.pread(fd, 3, 0), read("f"), os.fstat(fd).st_ino != os.stat("f").st_ino))
        os.close(fd)
        t(os.pread, again, 3, 0)
        t.stat(again)
        t.child(os.pread, again, 3, 0)
    stage.same(story)


def test_replaced_files_live_on(stage):
    def story(t):
        make("a", b"old")
        make("b", b"new")
        old, new = os.open("a", os.O_RDWR), os.open("b", os.O_RDWR)
        m = mmap.mmap(old, 3)
        t.touches([old, new, "."], os.rename, "b", "a")
        t.stat(old, new, "a", "b")
        t.tell("contents", (os.pread(old, 9, 0), os.pread(new, 9, 0), read("a"), m[:]))
        os.write(old, b"OLDER")
        os.write(new, b"NEWER")
        t.tell("contents", (os.pread(old, 9, 0), read("a"), m[:]))
        os.mkdir("d")
        os.rename("a", "d/a")
        os.rename("d", "e")
        t(os.ftruncate, new, 2)
        t.tell("moved", read("e/a"))
        os.unlink("e/a")
        os.rmdir("e")
        t(os.pread, new, 9, 0)
        t.stat(old, new)
        t.list()
    stage.same(story)


def test_many_unlinked_files(stage):
    def story(t):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
        fds = []
        for n in range(600):
            fds.append(os.open(f"f{n}", os.O_CREAT | os.O_RDWR, 0o600))
            os.write(fds[-1], b"%d" % n)
            os.unlink(f"f{n}")
        t.tell("contents", all(os.pread(fd, 9, 0) == b"%d" % n for n, fd in enumerate(fds)))
        t.tell("sizes", all(os.pwrite(fd, b"x", 20) and os.fstat(fd).st_size == 21 for fd in fds))
        t.list()
    stage.same(story)


def flock64(kind, start=0, length=0):
    return struct.pack("hhqqi4x", kind, 0, start, length, 0)


def test_locks_of_processes(stage):
    def story(t):
        make("f", b"x" * 100)
        fd = os.open("f", os.O_RDWR)

        def tries(path="f"):
            told = []
            for kind in (fcntl.LOCK_SH, fcntl.LOCK_EX):
                for length, at in ((5, 0), (5, 10), (1, 14), (0, 50)):
                    try:
                        fcntl.lockf(os.open(path, os.O_RDWR), kind | fcntl.LOCK_NB, length, at)
                        told.append("taken")
                    except OSError as e:
                        told.append(name_of(e))
            return told

        fcntl.lockf(fd, fcntl.LOCK_EX, 10, 5)
        t.child(tries)
        os.rename("f", "g")
        t.child(tries, "g")
        os.link("g", "h")
        t.child(tries, "h")
        fcntl.lockf(fd, fcntl.LOCK_UN, 4, 8)
        t.child(tries, "g")
        fcntl.lockf(fd, fcntl.LOCK_SH, 0, 40)
        t.child(tries, "g")
        t.child(lambda: struct.unpack("hhqqi4x", fcntl.fcntl(os.open("g", os.O_RDWR), fcntl.F_GETLK, flock64(fcntl.F_WRLCK)))[:4])
        os.close(os.open("h", os.O_RDONLY))
        t.child(tries, "g")
    stage.same(story)


def test_locks_of_descriptors(stage):
    def story(t):
        make("f", b"x" * 100)
        fd = os.open("f", os.O_RDWR)
        other = os.open("f", os.O_RDWR)

        def whole(path, how):
            fcntl.flock(os.open(path, os.O_RDWR), how | fcntl.LOCK_NB)

        fcntl.flock(fd, fcntl.LOCK_EX)
        t.child(whole, "f", fcntl.LOCK_SH)
        os.rename("f", "g")
        t.child(whole, "g", fcntl.LOCK_SH)
        t(fcntl.flock, other, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(fd, fcntl.LOCK_SH)
        t.child(whole, "g", fcntl.LOCK_SH)
        t.child(whole, "g", fcntl.LOCK_EX)
        os.close(os.dup(fd))
        t.child(whole, "g", fcntl.LOCK_EX)
        fcntl.flock(fd, fcntl.LOCK_UN)
        t.child(whole, "g", fcntl.LOCK_EX)
        t(fcntl.fcntl, fd, OFD_SETLK, flock64(fcntl.F_WRLCK, 0, 50))
        t(fcntl.fcntl, other, OFD_SETLK, flock64(fcntl.F_RDLCK, 10, 5))
        t(fcntl.fcntl, other, OFD_SETLK, flock64(fcntl.F_WRLCK, 50, 5))
        t.tell("who", struct.unpack("hhqqi4x", fcntl.fcntl(other, OFD_GETLK, flock64(fcntl.F_WRLCK)))[:5])
        os.unlink("g")
        t(fcntl.fcntl, other, OFD_SETLK, flock64(fcntl.F_RDLCK, 10, 5))
        os.close(fd)
        t(fcntl.fcntl, other, OFD_SETLK, flock64(fcntl.F_WRLCK))
    stage.same(story)


@pytest.mark.parametrize("lock", [fcntl.flock, fcntl.lockf])
def test_a_lock_is_waited_for(stage, lock):
    def story(t):
        make("f", b"0")

        def count():
            fd = os.open("f", os.O_RDWR)
            for _ in range(100):
                lock(fd, fcntl.LOCK_EX)
                value = int(os.pread(fd, 20, 0)) + 1
                os.pwrite(fd, b"%d" % value, 0)
                lock(fd, fcntl.LOCK_UN)
            return "counted"

        for process in [start(count) for _ in range(3)]:
            t.tell("child", collect(process))
        t.tell("sum", read("f"))
    stage.same(story)


def test_attributes(stage):
    def story(t):
        make("f")
        os.mkdir("d")
        os.symlink("f", "l")
        os.mkfifo("p")
        for path in ("f", "d", "l", "p", "none"):
            follow = path != "l"
            t(os.setxattr, path, "user.a", b"v", follow_symlinks=follow)
            t(os.setxattr, path, "user.a", b"w", os.XATTR_CREATE, follow_symlinks=follow)
            t(os.setxattr, path, "user.b", b"w", os.XATTR_REPLACE, follow_symlinks=follow)
            t(os.setxattr, path, "user.empty", b"", follow_symlinks=follow)
            t(os.getxattr, path, "user.a", follow_symlinks=follow)
            t(os.getxattr, path, "user.none", follow_symlinks=follow)
            t(os.removexattr, path, "user.none", follow_symlinks=follow)
            t(lambda p, f: sorted(n for n in os.listxattr(p, follow_symlinks=f) if n[:4] == "user"), path, follow)
            t(os.removexattr, path, "user.a", follow_symlinks=follow)
        for name in ("user." + "x" * 250, "user." + "x" * 251, "user.", "", "x", "none.a", "system.a"):
            t(os.setxattr, "f", name, b"v")
        for size in (1, 255, 2000, 70000):
            t(os.setxattr, "f", "user.big", b"v" * size)
            t(lambda: len(os.getxattr("f", "user.big")))
        for call in (os.getxattr, os.removexattr):
            t(call, "f", "user.none")
    stage.same(story, but=("setxattr('f', 'none.a'", "setxattr('f', 'x'"))


def test_numbers_of_the_disk(stage):
    def story(t):
        st = os.statvfs(".")
        t.tell("statvfs", (st.f_namemax, st.f_bsize, st.f_frsize, st.f_blocks, st.f_files))
        for name in ("PC_NAME_MAX", "PC_PATH_MAX", "PC_PIPE_BUF"):
            t(os.pathconf, ".", name)
        make("f", b"x" * 10000)
        t.tell("block", os.stat("f").st_blksize)
        fd = os.open("f", os.O_RDWR)
        os.fsync(fd)
        t.tell("blocks", os.stat("f").st_blocks)
        t(fcntl.fcntl, fd, 1024, fcntl.F_WRLCK)
    stage.same(story)


def test_numbers_of_files(stage):
    """One inode for all names of a file, the same from every side, and in listings."""
    def story(t):
        os.mkdir("d")
        make("a", b"1")
        os.link("a", "d/b")
        fd = os.open("a", os.O_RDWR)
        os.write(fd, b"22")
        t.tell("through the other", (read("d/b"), os.stat("d/b").st_size))
        os.truncate("d/b", 1)
        t.stat(fd, "a", "d/b")
        before = os.stat("a").st_ino
        os.rename("d", "e")
        os.rename("a", "e/c")
        t.tell("same", [os.stat(p).st_ino == before for p in ("e/b", "e/c")] + [os.fstat(fd).st_ino == before])
        with os.scandir("e") as entries:
            t.tell("listed", [e.inode() == before for e in entries])
        t.tell("up", os.stat("e/..").st_ino == os.stat(".").st_ino)
        t.tell("one disk", len({os.stat(p).st_dev for p in (".", "e", "e/b")}))
        os.mkfifo("p"), os.symlink("x", "l")
        with os.scandir(".") as entries:
            t.tell("kinds", sorted((e.name, e.is_dir(), e.is_file(), e.is_symlink(), e.inode() == os.lstat(e.name).st_ino) for e in entries))
    stage.same(story)


def test_what_no_such_mount_has(stage):
    """As the manual names it; nothing is changed by the try."""
    place = stage.places("not")[1]
    path = make(place + "/f", b"as it was")
    fd = os.open(path, os.O_RDWR)
    nobody = 0xFFFFFFFF
    acl = struct.pack("<IHHIHHIHHI", 2, 1, 6, nobody, 4, 4, nobody, 32, 4, nobody)
    whiteout, get_flags, fiemap = 4, 0x80086601, 0xC020660B
    for error, call in (
        (errno.EINVAL, lambda: rename2(path, place + "/g", whiteout)),
        (errno.EOPNOTSUPP, lambda: os.open(place, os.O_TMPFILE | os.O_RDWR)),
        (errno.EOPNOTSUPP, lambda: fallocate(fd, COLLAPSE, 0, 4096)),
        (errno.EOPNOTSUPP, lambda: fallocate(fd, INSERT, 0, 4096)),
        (errno.EOPNOTSUPP, lambda: os.setxattr(path, "system.posix_acl_access", acl)),
        (errno.EOPNOTSUPP, lambda: os.setxattr(path, "trusted.a", b"v")),
        (errno.ENOTTY, lambda: fcntl.ioctl(fd, get_flags, bytes(8))),
    ):
        with pytest.raises(OSError) as why:
            call()
        assert why.value.errno == error
    with pytest.raises(OSError):
        fcntl.ioctl(fd, fiemap, bytes(32))
    assert os.listdir(place) == ["f"] and read(path) == b"as it was" and os.listxattr(path) == []
    os.close(fd)
