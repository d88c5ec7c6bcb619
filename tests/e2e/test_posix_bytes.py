"""One file, changed in every way that there is, in random order: it is always what a model says, also when it
is opened anew and when it is mounted anew. MAILBRAID_SEEDS=N plays N times as many."""

import errno
import mmap
import os
import random

import pytest

from support.stage import KEEP, PUNCH, ZERO, fallocate, make, read, seeds, stage

__all__ = ["stage"]
MOST = 300_000
PAGE = 4096


class Bytes:
    """The file, and what should be in it."""

    def __init__(self, path, rng):
        self.path, self.rng = path, rng
        self.want = bytearray()
        self.done = []
        self.map = None
        self.open(os.O_CREAT)

    def open(self, flags=0):
        self.fd = os.open(self.path, os.O_RDWR | flags, 0o600)
        self.other = os.open(self.path, os.O_RDWR | os.O_APPEND)
        self.direct = os.open(self.path, os.O_RDWR | os.O_DIRECT)
        self.buffer = mmap.mmap(-1, 16 * PAGE)

    def close(self):
        self.unmap()
        for fd in (self.fd, self.other, self.direct):
            os.close(fd)

    def unmap(self):
        if self.map:
            self.map.close()
        self.map = None

    def span(self, most=40_000):
        """A part that begins within the file or a bit behind it."""
        at = self.rng.randrange(min(len(self.want) + 5000, MOST - most))
        return at, self.rng.randrange(1, most)

    def grow(self, size):
        if size > len(self.want):
            self.want.extend(bytes(size - len(self.want)))

    def put(self, at, data):
        self.grow(at + len(data))
        self.want[at : at + len(data)] = data

    # ---- what is done ----

    def op_write(self):
        at, n = self.span()
        data = self.rng.randbytes(n)
        assert os.pwrite(self.fd, data, at) == n
        self.put(at, data)

    def op_append(self):
        data = self.rng.randbytes(self.rng.randrange(1, 5000))
        if len(self.want) + len(data) < MOST:
            os.write(self.other, data)
            self.put(len(self.want), data)

    def op_read(self):
        at, n = self.span()
        got = os.pread(self.rng.choice((self.fd, self.other)), n, at)
        assert got == self.want[at : at + n]

    def op_truncate(self):
        size = self.rng.choice((self.rng.randrange(MOST), self.rng.randrange(len(self.want) + 1), len(self.want), 0))
        if self.rng.random() < 0.5:
            os.ftruncate(self.fd, size)
        else:
            os.truncate(self.path, size)
        self.grow(size)
        del self.want[size:]

    def op_open_truncated(self):
        if self.rng.random() < 0.2:
            os.close(os.open(self.path, os.O_WRONLY | os.O_TRUNC))
            self.want.clear()

    def op_allocate(self):
        at, n = self.span()
        mode = self.rng.choice((0, KEEP))
        fallocate(self.fd, mode, at, n)
        if not mode:
            self.grow(at + n)

    def op_hole(self):
        at, n = self.span()
        fallocate(self.fd, PUNCH | KEEP, at, n)
        end = min(at + n, len(self.want))
        self.want[at:end] = bytes(max(0, end - at))

    def op_zero(self):
        at, n = self.span()
        mode = self.rng.choice((0, KEEP))
        try:
            fallocate(self.fd, ZERO | mode, at, n)
        except OSError as e:  # a tmpfs beneath
            assert e.errno == errno.EOPNOTSUPP
            return
        if not mode:
            self.grow(at + n)
        end = min(at + n, len(self.want))
        self.want[at:end] = bytes(max(0, end - at))

    def op_copy(self):
        at, n = self.span()
        to, _ = self.span()
        if abs(at - to) < n:
            return
        done = os.copy_file_range(self.fd, self.fd, n, at, to)
        if done:
            self.put(to, bytes(self.want[at : at + done]))

    def op_map_write(self):
        at, n = self.span()
        self.unmap()
        self.grow(at + n)
        os.ftruncate(self.fd, len(self.want))
        self.map = mmap.mmap(self.fd, len(self.want))
        data = self.rng.randbytes(n)
        self.map[at : at + n] = data
        self.put(at, data)
        if self.rng.random() < 0.3:
            self.map.flush()

    def op_map_touch(self):
        """By the map of before: as far as the file reaches."""
        end = min(len(self.map) if self.map else 0, len(self.want))
        if end:
            at = self.rng.randrange(end)
            data = self.rng.randbytes(min(100, end - at))
            self.map[at : at + len(data)] = data
            self.put(at, data)

    def op_map_read(self):
        if self.want:
            with mmap.mmap(self.other, len(self.want), prot=mmap.PROT_READ) as m:
                at, n = self.span()
                assert m[at : at + n] == self.want[at : at + n]

    def op_direct_write(self):
        at = self.rng.randrange(len(self.want) // PAGE + 2) * PAGE
        n = self.rng.randrange(1, 16) * PAGE
        if at + n < MOST:
            data = self.rng.randbytes(n)
            self.buffer[:n] = data
            assert os.pwritev(self.direct, [memoryview(self.buffer)[:n]], at) == n
            self.put(at, data)

    def op_direct_read(self):
        at = self.rng.randrange(len(self.want) // PAGE + 1) * PAGE
        n = os.preadv(self.direct, [self.buffer], at)
        assert self.buffer[:n] == self.want[at : at + len(self.buffer)]

    def op_sync(self):
        self.rng.choice((os.fsync, os.fdatasync))(self.rng.choice((self.fd, self.direct)))

    def op_drop_cache(self):
        os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def op_holes(self):
        """What is said to be a hole reads as zeros. What a map has filled is no hole from msync on: the kernel
        asks a file system in user space without writing it first."""
        if self.map:
            self.map.flush()
        at = self.rng.randrange(len(self.want) + 1)
        try:
            data = os.lseek(self.fd, at, os.SEEK_DATA)
        except OSError as e:
            assert e.errno == errno.ENXIO
            data = len(self.want)
        assert not any(self.want[at:data])

    def op_reopen(self):
        self.close()
        self.open()

    def op_rename(self):
        os.rename(self.path, self.path + "-")
        os.rename(self.path + "-", self.path)

    def check(self):
        assert os.fstat(self.fd).st_size == os.stat(self.path).st_size == len(self.want)
        assert read(self.path) == self.want

    def step(self):
        name = self.rng.choice([n for n in dir(self) if n.startswith("op_")])
        self.done.append(name)
        try:
            getattr(self, name)()
            if self.rng.random() < 0.1:
                self.check()
        except (AssertionError, OSError) as e:
            raise AssertionError(f"step {len(self.done)}, after {self.done[-8:]}") from e


@pytest.mark.parametrize("seed", seeds(3))
@pytest.mark.parametrize("place", ["plain", "free", "tmp", "cur"])
def test_random_changes_of_one_file(stage, place, seed):
    """In a plain directory the model is tested; a message in cur that is edited is a file like any other."""
    rng = random.Random(f"{place} {seed}")
    mount = stage.mount
    path = {
        "plain": os.path.join(stage.plain, f"bytes-{seed}"), "free": mount.path("free", f"bytes-{seed}"),
        "tmp": mount.path("tmp", f"bytes-{seed}"), "cur": mount.path("cur", f"bytes-{seed}.a:2,S"),
    }[place]
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if place == "cur":
        mount.deliver(os.path.basename(path), b"", sub="cur")
    else:
        make(path)
    file = Bytes(path, rng)
    for _ in range(2):
        for _ in range(250):
            file.step()
        file.check()
        file.close()
        if place != "plain" and seed % 3 == 0:
            mount.remount()
        assert read(path) == file.want
        file.open()
    file.close()
    if place == "cur":
        backing = os.path.join(mount.backing, "cur", os.path.basename(path))
        assert read(backing) == file.want
