"""A disk with no room: what the mount answers is what happened, and expunges go on."""

import errno
import os
import subprocess
import tempfile

import pytest

from support.daemon import Daemon
from support.programs import need_fuse


@pytest.fixture
def d(monkeypatch):
    """A daemon whose store is alone on a disk of 6 MB."""
    need_fuse()
    disk = tempfile.mkdtemp(prefix="mb-disk-")
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "none", disk], capture_output=True, check=False
    ).returncode:
        os.rmdir(disk)
        pytest.skip("a small file system cannot be mounted here")
    monkeypatch.setattr(tempfile, "tempdir", disk)
    daemon = Daemon()
    yield daemon
    daemon.close()
    subprocess.run(["umount", "-l", disk], check=True)
    os.rmdir(disk)


def fill(d):
    """Takes every block that is free."""
    with open(os.path.join(d.base, "fill"), "wb", buffering=0) as f:
        with pytest.raises(OSError) as why:
            while True:
                f.write(b"x" * 1024)
    assert why.value.errno == errno.ENOSPC


def names(d, *parts):
    """As the mount shows them, and as they are on the disk: always the same."""
    shown = sorted(os.listdir(d.path(*parts)))
    assert shown == sorted(os.listdir(os.path.join(d.backing, *parts)))
    return shown


def kept(d):
    return sum(len(files) for _, _, files in os.walk(os.path.join(d.store, "deleted")))


@pytest.mark.parametrize("remounted", [False, True], ids=["running", "just-mounted"])
def test_expunges_go_on_when_the_disk_is_full(d, remounted):
    for n in range(300):
        d.deliver(f"{n}.a")
    if remounted:
        d.stop()
        d.start()
    fill(d)
    for n in range(200):
        os.unlink(d.path("new", f"{n}.a"))
    assert names(d, "new") == sorted(f"{n}.a" for n in range(200, 300))
    assert kept(d) == 200
    d.kill()
    subprocess.run(["umount", "-l", d.mnt], check=True)
    os.unlink(os.path.join(d.base, "fill"))
    d.start()
    assert names(d, "new") == sorted(f"{n}.a" for n in range(200, 300))


def test_what_is_refused_left_nothing_and_what_is_not_was_done(d):
    """Each call on the full disk: its answer and the directory say the same, now and later."""
    d.folder(".A")
    for n in range(350):
        d.deliver(f"{n}.a", sub="new")
    for n in range(350):
        with open(d.path("tmp", f"t{n}"), "wb") as f:
            f.write(b"x\n")
    fill(d)
    answers = set()
    new, cur, other = set(names(d, "new")), set(), set()

    def attempt(call, *args):
        try:
            call(*args)
        except OSError as e:
            assert e.errno == errno.ENOSPC
            answers.add(False)
            return False
        answers.add(True)
        return True

    for n in range(350):
        if attempt(os.rename, d.path("tmp", f"t{n}"), d.path("new", f"t{n}")):
            new.add(f"t{n}")
        if n % 4 == 0 and attempt(os.rename, d.path("new", f"{n}.a"), d.path("cur", f"{n}.a:2,S")):
            new.discard(f"{n}.a")
            cur.add(f"{n}.a:2,S")
        if n % 4 == 1 and attempt(os.rename, d.path("new", f"{n}.a"), d.path(".A", "new", f"{n}.a")):
            new.discard(f"{n}.a")
            other.add(f"{n}.a")
        if n % 4 == 2 and attempt(os.link, d.path("new", f"{n}.a"), d.path(".A", "new", f"{n}.l")):
            other.add(f"{n}.l")
        if n % 4 == 3:
            os.unlink(d.path("new", f"{n}.a"))
            new.discard(f"{n}.a")
    box = attempt(os.mkdir, d.path(".B")) and attempt(os.mkdir, d.path(".B", "cur"))
    assert answers == {True, False}
    for _ in range(2):
        assert set(names(d, "new")) == new
        assert set(names(d, "cur")) == cur
        assert set(names(d, ".A", "new")) == other
        assert os.path.isdir(os.path.join(d.backing, ".B", "cur")) == box
        os.unlink(os.path.join(d.base, "fill"))
        d.deliver("last.a")
        new.add("last.a")
        d.remount()
        open(os.path.join(d.base, "fill"), "wb").close()
        assert set(names(d, "new")) == new
        os.unlink(d.path("new", "last.a"))
        new.discard("last.a")
