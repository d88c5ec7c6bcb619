"""Which times a call moves, and times that are set: as in any directory."""

import mmap
import os
import struct
import subprocess

import pytest

from support.stage import KEEP, PUNCH, c_call, fallocate, make, read, stage

__all__ = ["stage"]


def test_which_times_each_call_moves(stage):
    kind = subprocess.run(["stat", "-f", "-c", "%T", stage.plain], capture_output=True, text=True, check=True)

    def again(size):
        """The size that it has already: on a tmpfs that moves no time, in any mount it does."""
        return [] if kind.stdout.strip() == "tmpfs" else [size]

    def story(t):
        make("f", b"0123456789")
        os.mkdir("d")
        os.mkdir("e")
        make("d/f", b"x")
        both = ["f", "."]
        t.touches(both, os.chmod, "f", 0o640)
        t.touches(both, os.chmod, "f", 0o640)
        t.touches(both, os.chown, "f", -1, -1)
        t.touches(both, os.link, "f", "g")
        t.touches(both, os.rename, "g", "h")
        t.touches(both, os.unlink, "h")
        t.touches(both, os.rename, "f", "f2")
        t.touches(both, os.rename, "f2", "f")
        t.touches(both, make, "f", b"shorter")
        for size in (7, 20, 3, 0, *again(0)):
            t.touches(both, os.truncate, "f", size)
        fd = os.open("f", os.O_RDWR)
        for size in (5, *again(5), 0):
            t.touches(both, os.ftruncate, fd, size)
        t.touches(both, os.write, fd, b"abc")
        t.touches(both, os.write, fd, b"")
        t.touches(both, os.posix_fallocate, fd, 0, 100)
        t.touches(both, fallocate, fd, KEEP, 0, 1000)
        t.touches(both, fallocate, fd, PUNCH | KEEP, 0, 50)
        t.touches(both, os.fsync, fd)
        t.touches(both, os.setxattr, "f", "user.a", b"1")
        t.touches(both, os.removexattr, "f", "user.a")
        t.touches(both, os.fchmod, fd, 0o600)
        t.touches(["f"], os.close, os.open("f", os.O_RDONLY))
        t.touches(["f"], os.close, os.open("f", os.O_CREAT | os.O_RDWR))
        t.touches(["f"], os.utime, "f", ns=(5, 6))
        t.touches(["f"], os.utime, "f")
        t.touches([".", "d"], make, "d/new")
        t.touches([".", "d"], make, "d/new", b"more")
        t.touches([".", "d"], os.mkdir, "d/sub")
        t.touches([".", "d", "d/sub"], os.mkfifo, "d/sub/fifo")
        t.touches(["d", "d/sub"], os.symlink, "x", "d/sub/l")
        t.touches(["d", "d/sub"], os.rename, "d/sub/l", "d/l")
        t.touches(["d", "e", "d/sub"], os.rename, "d/sub", "e/sub")
        t.touches(["d", "e", "d/f", "d/new"], os.rename, "d/f", "d/new")
        t.touches(["d", "e", "d/new"], os.link, "d/new", "e/new")
        t.touches(["d", "e", "d/new"], os.unlink, "e/new")
        t.touches(["e"], os.unlink, "e/sub/fifo")
        t.touches(["e"], os.rmdir, "e/sub")
        t.touches(["."], os.rmdir, "e")
        t.touches(["d"], os.chmod, "d", 0o711)
        t.touches(["d"], os.unlink, "d/none")
        t.touches(["d"], os.mkdir, "d/new")
        t.touches(["d"], os.rename, "d/new", "d/new")
    stage.same(story)


def test_times_of_reading(stage):
    """A read is seen in the access time, when that was before the last change."""
    def story(t):
        make("f", b"x" * 100)
        os.utime("f", ns=(1, 10**18))
        t.touches(["f"], read, "f")
        os.mkdir("d")
        os.symlink("f", "l")
        os.utime("d", ns=(1, 10**18))
        t.touches(["d"], os.listdir, "d")
        fd = os.open("f", os.O_RDONLY | os.O_NOATIME)
        os.utime("f", ns=(1, 10**18))
        t.tell("seen", read("f") == b"x" * 100)
        os.close(fd)
    stage.same(story)


@pytest.mark.parametrize("kind", ["file", "directory", "link", "fifo"])
def test_times_to_the_nanosecond(stage, kind):
    """Before 1970, after 2038 and 2106; one of them alone; the disk's limits."""
    def story(t):
        {"file": make, "directory": os.mkdir, "link": lambda p: os.symlink("x", p), "fifo": os.mkfifo}[kind]("it")
        second = 10**9

        def told():
            st = os.lstat("it")
            return st.st_atime_ns, st.st_mtime_ns

        for a, m in (
            (0, 0), (1, second - 1), (-1, -1), (-5 * second - 500, -second), (-(2**31) * second, -(2**31) * second - 1),
            (2**31 * second + 7, 2**32 * second + 8), (2**33 * second + 123456789, 15032385535 * second),
            (2**40 * second, -(2**40) * second), (123456789, 987654321),
        ):
            t(os.utime, "it", ns=(a, m), follow_symlinks=False)
            t.tell("times", told())
        now, omit = (1 << 30) - 1, (1 << 30) - 2
        for a, m in ((omit, omit), (now, omit), (omit, now), (now, now), (5, omit), (omit, 5), (second, 0), (-1, 0)):
            os.utime("it", ns=(111, 222), follow_symlinks=False)
            times = struct.pack("qqqq", 0, a, 0, m)
            t(c_call, "utimensat", -100, b"it", times, 0x100)
            t.tell("times", [x if x < 10**10 else "now" for x in told()])
    stage.same(story)


def test_times_set_while_it_is_written(stage):
    """As cp and tar do: what they set stays when the file is closed."""
    def story(t):
        fd = os.open("f", os.O_CREAT | os.O_RDWR)
        os.write(fd, b"content")
        os.utime(fd, ns=(11, 22))
        t.tell("open", os.fstat(fd).st_mtime_ns)
        os.close(fd)
        t.tell("closed", os.stat("f").st_mtime_ns)
        fd = os.open("f", os.O_RDWR)
        with mmap.mmap(fd, 7) as m:
            m[0:1] = b"C"
            m.flush()
            t.tell("map moves it", os.fstat(fd).st_mtime_ns > 22)
        os.utime(fd, ns=(11, 33))
        os.close(fd)
        t.tell("closed", os.stat("f").st_mtime_ns)
        t.tell("content", read("f"))
    stage.same(story)


def test_a_directory_from_the_future(stage):
    """Its time is the present again with the next change in it; no other call moves it back."""
    def story(t):
        os.mkdir("d")
        for call, *args in ((os.mkdir, "d/x"), (os.utime, "d"), (os.rmdir, "d/x"), (os.rename, "d", "e"), (os.rename, "e", "d"), (os.chmod, "d", 0o700)):
            os.utime("d" if os.path.exists("d") else "e", ns=(2**61, 2**61))
            t(call, *args)
            it = "d" if os.path.exists("d") else "e"
            t.tell("future", os.stat(it).st_mtime_ns == 2**61)
        os.utime("d", ns=(1, 2))
        t(os.chmod, "d", 0o755)
        t(os.listdir, "d")
        t.tell("past", os.stat("d").st_mtime_ns)
    stage.same(story)
