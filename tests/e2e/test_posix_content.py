"""The content of files: truncation, holes, maps, copies, appending: as in any directory."""

import mmap
import os
import random
import resource
import signal

import pytest

from support.stage import KEEP, PUNCH, ZERO, c_call, collect, fallocate, make, name_of, read, stage, start

__all__ = ["stage"]


def test_truncate(stage):
    def story(t):
        make("f", b"0123456789" * 1000)
        for size in (10000, 9999, 4096, 4095, 1, 0, 5, 4097, 100000):
            t(os.truncate, "f", size)
            t.tell("content", read("f").rstrip(b"\0")[-10:])
            t.stat("f")
        fd = os.open("f", os.O_RDWR)
        for size in (-1, 1 << 62, (1 << 63) - 1, 1 << 40, 1 << 44, 17 << 40, 0):
            t(os.ftruncate, fd, size)
            t.stat(fd)
        only = os.open("f", os.O_RDONLY)
        t(os.ftruncate, only, 1)
        t(os.truncate, "f", -1)
        t(os.truncate, ".", 0)
        t(os.ftruncate, os.open(".", os.O_RDONLY), 0)
        os.mkfifo("p")
        t(os.truncate, "p", 0)
    stage.same(story)


def test_sparse_and_large(stage):
    def story(t):
        fd = os.open("f", os.O_CREAT | os.O_RDWR, 0o644)
        for at in (0, 10 << 20, (4 << 30) - 3, (5 << 30) + 1, (1 << 40) + 5):
            t(os.pwrite, fd, b"here", at)
            t.stat(fd)
            t(os.pread, fd, 8, at - 2 if at else 0)
        t.tell("blocks", os.fstat(fd).st_blocks < 200)
        at, found = 0, []
        while True:
            try:
                data = os.lseek(fd, at, os.SEEK_DATA)
                at = os.lseek(fd, data, os.SEEK_HOLE)
                found.append((data, at))
            except OSError as e:
                found.append(name_of(e))
                break
        t.tell("data", found)
        for at, whence in ((1 << 41, os.SEEK_DATA), (1 << 41, os.SEEK_HOLE), (-1, os.SEEK_SET), (-1, os.SEEK_DATA), (0, 9)):
            t(os.lseek, fd, at, whence)
        t(os.lseek, fd, -2, os.SEEK_END)
        t(os.read, fd, 10)
        t(os.pread, fd, 10, 1 << 50)
        t(os.pwrite, fd, b"x", (17 << 40))
        t(os.pwrite, fd, b"x", (1 << 63) - 1)
        t.stat(fd)
    stage.same(story)


def test_allocating(stage):
    def story(t):
        fd = os.open("f", os.O_CREAT | os.O_RDWR, 0o644)
        os.write(fd, bytes(range(256)) * 128)
        for mode, at, length in (
            (0, 0, 100), (0, 40000, 1), (KEEP, 0, 1 << 20), (PUNCH | KEEP, 4096, 4096), (PUNCH | KEEP, 100, 5000),
            (PUNCH | KEEP, 1 << 22, 100), (PUNCH, 0, 4096), (ZERO, 8000, 3000), (ZERO | KEEP, 40000, 9000), (ZERO, 40000, 9000),
            (PUNCH | ZERO, 0, 10), (0, 0, 0), (0, -1, 5), (0, 5, -1), (0, 1 << 62, 1 << 62), (0, (1 << 63) - 5, 4), (128, 0, 10),
        ):
            t(fallocate, fd, mode, at, length)
            t.stat(fd)
            t.tell("content", hash_of(fd))
        t(os.posix_fallocate, fd, 0, 200000)
        t(os.posix_fallocate, os.open("f", os.O_RDONLY), 0, 10)
        t(os.posix_fallocate, os.open(".", os.O_RDONLY), 0, 10)
        os.mkfifo("p")
        t(os.posix_fallocate, os.open("p", os.O_RDWR), 0, 10)
        t.stat(fd)
    stage.same(story)


def hash_of(fd):
    return sum(i * b for i, b in enumerate(os.pread(fd, 60000, 0)))


def test_limit_of_a_process(stage):
    def story(t):
        def limited():
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            fd = os.open("f", os.O_CREAT | os.O_RDWR, 0o644)
            told = []
            for call in (
                lambda: os.pwrite(fd, b"x" * 2000, 0), lambda: os.pwrite(fd, b"x", 1000), lambda: os.ftruncate(fd, 2000),
                lambda: os.truncate("f", 1001), lambda: os.posix_fallocate(fd, 0, 5000), lambda: os.ftruncate(fd, 1000),
            ):
                try:
                    told.append(call())
                except OSError as e:
                    told.append(name_of(e))
            return told, os.fstat(fd).st_size
        t.child(limited)
    stage.same(story)


def test_append(stage):
    def story(t):
        a = os.open("f", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        b = os.open("f", os.O_RDWR | os.O_APPEND)
        for n in range(10):
            os.write(a, b"a")
            os.write(b, b"b")
        t(os.pwrite, a, b"at the end", 0)
        t(os.lseek, b, 0, os.SEEK_CUR)
        t(os.ftruncate, a, 4)
        t(os.write, b, b"more")
        t(os.read, a, 1)
        t(os.pread, b, 100, 0)
    stage.same(story)


def test_append_from_many_processes(stage):
    def story(t):
        def writer(letter):
            fd = os.open("f", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
            for n in range(200):
                os.write(fd, letter * (n % 90) + b"\n")
            return True

        for process in [start(lambda letter=x: writer(letter)) for x in (b"a", b"b", b"c", b"d")]:
            t.tell("wrote", collect(process))
        lines = read("f").split(b"\n")
        t.tell("lines", (len(lines), sorted(lines)[-1], all(len(set(x)) <= 1 for x in lines)))
        t.stat("f")
    stage.same(story)


def test_direct(stage):
    try:
        os.close(os.open(os.path.join(stage.plain, "direct"), os.O_CREAT | os.O_RDWR | os.O_DIRECT, 0o600))
    except OSError:
        pytest.skip("the disk has no O_DIRECT")

    def story(t):
        fd = os.open("f", os.O_CREAT | os.O_RDWR | os.O_DIRECT, 0o644)
        other = os.open("f", os.O_RDWR)
        block = mmap.mmap(-1, 8192)
        seen = mmap.mmap(-1, 8192)
        block[:] = b"D" * 8192
        t(os.writev, fd, [block])
        t(os.pread, other, 4, 8188)
        t(os.preadv, fd, [seen], 0)
        t(os.pwrite, other, b"buffered", 4090)
        t(os.preadv, fd, [seen], 0)
        t.tell("seen", seen[4088:4100])
        whole = mmap.mmap(other, 8192)
        whole[0:6] = b"mapped"
        t(os.preadv, fd, [seen], 0)
        t.tell("seen", seen[0:8])
        block[0:6] = b"direct"
        t(os.pwritev, fd, [block], 0)
        t.tell("mapped", whole[0:8])
        t(os.preadv, fd, [seen], 8192)
        t(os.preadv, fd, [seen], 4096)
        t(os.ftruncate, fd, 5000)
        t(os.preadv, fd, [seen], 4096)
        t(os.fsync, fd)
        t.stat("f")
    stage.same(story)


def test_mapped(stage):
    def story(t):
        size = 3 * 4096 + 100
        make("f", b"\0" * size)
        fd, other = os.open("f", os.O_RDWR), os.open("f", os.O_RDWR)
        a, b = mmap.mmap(fd, size), mmap.mmap(other, size)
        own = mmap.mmap(fd, size, mmap.MAP_PRIVATE)
        a[5000:5005] = b"hello"
        t.tell("in the other", b[5000:5005])
        t(os.pread, other, 5, 5000)
        os.pwrite(other, b"HELLO", 5001)
        t.tell("written", (a[5000:5006], own[5000:5006]))
        own[0:3] = b"own"
        t.tell("private", (a[0:3], os.pread(fd, 3, 0)))
        def by_child():
            with mmap.mmap(os.open("f", os.O_RDWR), size) as m:
                m[10:15] = b"child"
                return m[5000:5006]
        t.child(by_child)
        t.tell("of the child", a[10:15])
        t.tell("flush", a.flush())
        os.truncate("f", 4096 + 50)
        os.truncate("f", size)
        t.tell("after truncation", (a[5000:5006], a[4096 + 49 : 4096 + 52]))
        a[4200:4203] = b"new"
        fallocate(fd, PUNCH | KEEP, 0, 4096)
        t.tell("after a hole", (a[10:15], a[4200:4203]))
        os.rename("f", "g")
        a[0:3] = b"ren"
        a.flush()
        t.tell("renamed", read("g")[:3])
        os.unlink("g")
        a[0:3] = b"unl"
        t.tell("unlinked", (a.flush(), os.pread(fd, 3, 0), b[0:3]))
        a[size - 1 : size] = b"!"
        t(os.pread, fd, 9, size - 1)
        only = os.open(make("r", b"read only"), os.O_RDONLY)
        for what in (mmap.PROT_READ, mmap.PROT_READ | mmap.PROT_WRITE):
            try:
                m = mmap.mmap(only, 9, mmap.MAP_SHARED, what)
                t.tell("map", m[:])
            except OSError as e:
                t.tell("map", name_of(e))
        t(mmap.mmap, os.open(".", os.O_RDONLY), 10, mmap.MAP_SHARED, mmap.PROT_READ)
    stage.same(story)


def test_maps_end_with_the_file(stage):
    """Behind its last page is nothing: SIGBUS; the rest of that page is zeros."""
    def story(t):
        make("f", b"x" * 5000)

        def touch(at, size):
            with mmap.mmap(os.open("f", os.O_RDWR), 5000) as m:
                os.truncate("f", size)
                if not (pid := os.fork()):
                    os._exit(m[at])
                return os.waitpid(pid, 0)[1]

        for at, size in ((10, 100), (150, 100), (4100, 100), (4999, 4097), (4999, 4096), (0, 0)):
            t(touch, at, size)
            os.truncate("f", 5000)
    stage.same(story)


def test_copying_ranges(stage):
    def story(t):
        content = random.Random(1).randbytes(300000)
        make("a", content)
        a, b = os.open("a", os.O_RDONLY), os.open("b", os.O_CREAT | os.O_RDWR, 0o644)
        done = 0
        while n := os.copy_file_range(a, b, 1 << 20):
            done += n
        t.tell("copied", (done, read("b") == content))
        t(os.copy_file_range, b, b, 100, 0, 50)
        t(os.copy_file_range, b, b, 100, 0, 250000)
        t(os.copy_file_range, b, b, 100, 299950, 0)
        t(os.copy_file_range, a, a, 10)
        t(os.copy_file_range, a, b, 10, 400000, 0)
        t(os.copy_file_range, a, b, 10, 0, 400000)
        t(os.copy_file_range, os.open(".", os.O_RDONLY), b, 10)
        t(os.copy_file_range, a, os.open("b", os.O_RDWR | os.O_APPEND), 10)
        out = os.open("/dev/shm/mb-posix-copy", os.O_CREAT | os.O_RDWR, 0o600)
        os.unlink("/dev/shm/mb-posix-copy")
        t(os.sendfile, out, a, 0, 1000)
        t(os.sendfile, b, a, 0, 1000)
        r, w = os.pipe()
        t(os.splice, a, w, 500, 7)
        t(os.splice, r, b, 500, None, 3)
        t.tell("content", sum(i * x for i, x in enumerate(read("b"))))
        gone = os.open("gone", os.O_CREAT | os.O_RDWR)
        os.write(gone, b"unlinked")
        os.unlink("gone")
        t(os.copy_file_range, gone, b, 8, 0, 0)
        t(os.copy_file_range, b, gone, 20, 0, 4)
        t(os.pread, gone, 30, 0)
        t(os.pread, b, 12, 0)
    stage.same(story)


def test_reading_and_writing_as_allowed(stage):
    def story(t):
        make("f", b"0123456789")
        r, w = os.open("f", os.O_RDONLY), os.open("f", os.O_WRONLY)
        t(os.write, r, b"x")
        t(os.read, w, 1)
        t(os.readv, r, [bytearray(3), bytearray(4)])
        t(os.writev, w, [b"ab", b"", b"cd"])
        t(os.pread, r, 10, 0)
        t(os.pread, r, 10, 10)
        t(os.pread, r, 10, -1)
        t(os.pwrite, w, b"x", -1)
        d = os.open(".", os.O_RDONLY)
        t(os.read, d, 10)
        t(os.write, d, b"x")
        p = os.open("f", os.O_PATH)
        for call in (lambda: os.read(p, 1), lambda: os.fchmod(p, 0o600), lambda: os.ftruncate(p, 0), lambda: os.fsync(p)):
            t(call)
        t.stat(p)
        s = os.open("f", os.O_WRONLY | os.O_SYNC)
        t(os.write, s, b"synced")
        for fd in (r, s, d):
            t(os.fsync, fd)
            t(os.fdatasync, fd)
        t(c_call, "syncfs", r)
        t(c_call, "sync_file_range", s, 0, 0, 7)
        for advice in range(6):
            t(os.posix_fadvise, r, 0, 0, advice)
        t(os.read, r, 10)
    stage.same(story)
