"""Who reads messages in the order of the listing finds the next ones in memory; who does not, does not."""

import ctypes
import mmap
import os
import time

import pytest

from support.daemon import Daemon
from support.programs import need_fuse
from support.wait import until

N = 200
SIZE = 8000


def in_memory(path):
    """The first page of a file."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.mincore.argtypes = libc.munmap.argtypes = None
    fd = os.open(path, os.O_RDONLY)
    try:
        at = libc.mmap(None, mmap.PAGESIZE, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
        assert at != ctypes.c_void_p(-1).value
        page = ctypes.c_ubyte()
        assert libc.mincore(ctypes.c_void_p(at), ctypes.c_size_t(mmap.PAGESIZE), ctypes.byref(page)) == 0
        libc.munmap(ctypes.c_void_p(at), ctypes.c_size_t(mmap.PAGESIZE))
        return bool(page.value & 1)
    finally:
        os.close(fd)


def backing(d, name):
    return os.path.join(d.backing, "cur", name)


def drop(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


@pytest.fixture
def d():
    need_fuse()
    daemon = Daemon()
    yield daemon
    daemon.close()


@pytest.fixture
def listed(d):
    """Names in the order of the listing; nothing of them is in memory."""
    assert d.stop() == 0
    for i in range(N):
        with open(backing(d, f"{i}.a:2,"), "wb") as f:
            f.write(b"S: x\n\n" + b"y" * SIZE)
    d.start()
    names = [e.name for e in os.scandir(d.path("cur"))]
    assert len(names) == N
    for name in names:
        drop(backing(d, name))
    if any(in_memory(backing(d, name)) for name in names):
        pytest.skip("the file system beneath keeps its pages though it is told that they are not needed")
    return names


def read(d, name):
    with open(d.path("cur", name), "rb") as f:
        assert len(f.read(100)) == 100


def test_the_next_ones_are_in_memory(d, listed):
    for name in listed[:10]:
        read(d, name)
    until("the next ones", lambda: all(in_memory(backing(d, name)) for name in listed[10:20]))
    assert not in_memory(backing(d, listed[150])), "far more than that was"


def test_it_goes_on_to_the_end(d, listed):
    for name in listed:
        read(d, name)
    assert all(in_memory(backing(d, name)) for name in listed)


def test_other_orders_read_what_they_read(d, listed):
    wanted = listed[::-40]
    for name in wanted:
        read(d, name)
    time.sleep(0.1)
    found = [name for name in listed if in_memory(backing(d, name))]
    assert sorted(found) == sorted(wanted)


def test_messages_that_change_meanwhile(d, listed):
    """Names that were taken from the listing are gone when it is their turn."""
    for i, name in enumerate(listed):
        if os.path.exists(d.path("cur", name)):
            read(d, name)
        if i % 5 == 0 and i + 3 < N:
            os.rename(d.path("cur", listed[i + 2]), d.path("cur", listed[i + 2] + "S"))
            os.unlink(d.path("cur", listed[i + 3]))
    for name in os.listdir(d.path("cur")):
        read(d, name)
