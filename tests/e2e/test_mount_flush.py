"""How often a delivery that wants to be durable makes the disk flush: once for the file, once for its name."""

import os
import re
import shutil
import subprocess
import tempfile

import pytest

from support.daemon import Daemon
from support.programs import need, need_fuse
from support.wait import until

FLUSHES = "fsync,fdatasync,syncfs,sync_file_range,sync"


def has_journal(disk):
    """As an ext4 says it."""
    st = os.stat(disk)
    device = os.readlink(f"/sys/dev/block/{os.major(st.st_dev)}:{os.minor(st.st_dev)}")
    with open(f"/sys/fs/ext4/{os.path.basename(device)}/journal_task", encoding="ascii") as f:
        return f.read().strip().isdigit()


@pytest.fixture(params=["journal", "no-journal"])
def d(request, monkeypatch, tmp_path):
    """A store on an ext4 of its own."""
    need_fuse()
    need("strace")
    need("mkfs.ext4")
    image, disk = tmp_path / "image", tempfile.mkdtemp(prefix="mb-disk-")
    image.touch()
    os.truncate(image, 64 << 20)
    feature = "has_journal" if request.param == "journal" else "^has_journal"
    subprocess.run(["mkfs.ext4", "-q", "-F", "-O", feature, image], check=True, capture_output=True)
    if subprocess.run(["mount", "-o", "loop", image, disk], capture_output=True, check=False).returncode:
        os.rmdir(disk)
        pytest.skip("a file system in a file cannot be mounted here (no loop devices)")
    assert has_journal(disk) == (request.param == "journal")
    monkeypatch.setattr(tempfile, "tempdir", disk)
    daemon = Daemon()
    daemon.journal = request.param == "journal"
    yield daemon
    daemon.close()
    subprocess.run(["umount", "-l", disk], check=True)
    shutil.rmtree(disk)


def sync(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def deliver(d, name, folder=""):
    with open(d.path(folder, "tmp", name), "wb") as f:
        f.write(b"Subject: x\n\nbody\n")
        f.flush()
        os.fsync(f.fileno())
    os.rename(d.path(folder, "tmp", name), d.path(folder, "new", name))
    sync(d.path(folder, "new"))


def flushes(d, tmp_path, work):
    """The calls that the daemon makes meanwhile; its own, each second, comes later or before."""
    said = tmp_path / "strace"
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-e", f"trace={FLUSHES}", "-o", said, "-p", str(d.process.pid)],
        stderr=subprocess.DEVNULL,
    )
    status = f"/proc/{d.process.pid}/status"
    until("strace", lambda: f"TracerPid:\t{tracer.pid}" in open(status, encoding="utf-8").read())
    try:
        work()
    finally:
        tracer.terminate()
        tracer.wait()
    return re.findall(rf"\b({FLUSHES.replace(',', '|')})\(", said.read_text())


def test_a_durable_delivery(d, tmp_path):
    deliver(d, "0.first")  # new/ was never flushed before
    calls = flushes(d, tmp_path, lambda: deliver(d, "1.second"))
    assert calls.count("fsync") == (1 if d.journal else 2), calls
    assert len(calls) <= (3 if d.journal else 4), calls  # the log's, and perhaps that of its own second


def test_what_no_record_tells_of_is_flushed(d, tmp_path):
    """A name in new/ that is no message's."""
    deliver(d, "0.first")

    def local():
        with open(d.path("new", ".local"), "wb"):
            pass
        sync(d.path("new"))

    assert "fsync" in flushes(d, tmp_path, local)
    assert "fsync" in flushes(d, tmp_path, lambda: (os.unlink(d.path("new", ".local")), sync(d.path("new"))))


def test_attributes_of_the_directory_are_flushed(d, tmp_path):
    deliver(d, "0.first")

    def attribute():
        try:
            os.setxattr(d.path("new"), "user.x", b"1")
        except OSError as e:
            pytest.skip(f"no attributes here: {e}")
        sync(d.path("new"))

    assert "fsync" in flushes(d, tmp_path, attribute)
    assert "fsync" in flushes(d, tmp_path, lambda: (os.removexattr(d.path("new"), "user.x"), sync(d.path("new"))))


def test_a_folder_on_another_disk_is_flushed(d, tmp_path):
    """The flush of the log commits nothing there."""
    folder = os.path.join(d.backing, ".Other")
    os.mkdir(folder)
    subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)
    try:
        for sub in ("tmp", "new", "cur"):
            os.mkdir(d.path(".Other", sub))
        deliver(d, "0.first", ".Other")
        assert os.listdir(d.path(".Other", "new")) == ["0.first"]
        assert os.getxattr(d.path(".Other", "new", "0.first"), "user.mailbraid.guid")  # a record tells of it
        calls = flushes(d, tmp_path, lambda: deliver(d, "1.second", ".Other"))
        assert calls.count("fsync") == 2, calls
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
