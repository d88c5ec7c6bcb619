"""Bytes that another program changed in the tree of a store, in a file that keeps its size.

Each side knows what it sent and what it got by its digest, so such a change is an edit like any other:
a new message under the old name, at both sides.
"""

import os
import subprocess

import pytest

from support.replica import PROGRAM, World


def other_bytes(text):
    """As many of them, and none like before."""
    return bytes((c + 1) % 256 if c != 10 else c for c in text)


def write_in_place(path, text):
    with open(path, "r+b") as f:
        f.write(text)
    os.utime(path, (7000, 7000))  # not as if somebody were still writing it


def write_and_rename(path, text):
    temp = os.path.join(os.path.dirname(os.path.dirname(path)), "tmp", "t")
    with open(temp, "wb") as f:
        f.write(text)
    os.rename(temp, path)


@pytest.mark.parametrize("way", [write_in_place, write_and_rename])
@pytest.mark.parametrize("where", "ab")
@pytest.mark.parametrize("peer", ["store", "maildir"])
def test_other_bytes_of_one_size_are_an_edit(tmp_path, way, where, peer):
    w = World(tmp_path, plain="b" if peer == "maildir" else "")
    for name in ("m", "n"):
        w.a.deliver(name + ":2,S", sub="cur")
    w.sync()
    r = w.a if where == "a" else w.b
    before = w.a.read("m")
    after = other_bytes(before)
    way(r.path_of("m"), after)
    w.sync("-f")
    assert r.read("m") == after
    w.check_equal()
    w.check_idle()


@pytest.mark.parametrize("where", "ab")
def test_a_backup_that_is_put_back_is_none(tmp_path, where):
    w = World(tmp_path)
    w.a.deliver("m:2,S", sub="cur")
    w.sync()
    r = w.a if where == "a" else w.b
    text = r.read("m")
    write_and_rename(r.path_of("m"), text)
    w.sync("-f")
    assert w.a.names() == ["m"] == w.b.names()
    w.check_equal()
    w.check_idle()


def read_bytes(command, trace):
    """What it reads of files whose names end in .log, the log of either store."""
    strace = ["strace", "-f", "-y", "-e", "trace=pread64,read,mmap", "-o", trace]
    run = subprocess.run(strace + command, capture_output=True, timeout=60)
    assert run.returncode == 0, run.stderr
    with open(trace) as f:
        lines = [line for line in f if ".log>" in line and "= " in line]
    return sum(int(line.rsplit("= ", 1)[1].split()[0]) for line in lines if "pread64" in line)


def test_the_next_sync_reads_nothing_of_them(tmp_path):
    """They are in the log before the position that both agree upon."""
    w = World(tmp_path)
    for i in range(200):
        w.a.deliver(f"m{i}:2,S", sub="cur")
        w.b.deliver(f"n{i}:2,S", sub="cur")
    w.sync()
    command = [PROGRAM, "--store", w.a.path, "sync", w.b.destination]
    assert read_bytes(command, tmp_path / "trace") < 32768
