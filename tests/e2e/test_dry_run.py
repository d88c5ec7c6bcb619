"""sync --dry-run writes nothing, and says what a sync would do, also about what nobody has looked at."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import time

import pytest

from support.replica import PROGRAM, World, body

CALLS = "write,pwrite64,writev,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,link,linkat,symlinkat"
CALLS += ",truncate,ftruncate,utimensat,fallocate,copy_file_range,fsync,fdatasync,syncfs,msync"


def state_of(*replicas):
    """Every file of the stores and trees: bytes, times; LMDB's lock file but for its times."""
    result = {}
    for r in replicas:
        for where, dirs, names in os.walk(r.path):
            for name in sorted(dirs + names):
                path = os.path.join(where, name)
                st = os.lstat(path)
                data = b""
                if os.path.isfile(path) and name != "lock.mdb":
                    with open(path, "rb") as f:
                        data = hashlib.sha256(f.read()).digest()
                times = () if name == "lock.mdb" else (st.st_mtime_ns, st.st_ctime_ns)
                result[path] = (st.st_mode, st.st_ino, st.st_size, times, data)
    return result


def dry(w, by, tmp_path, *options):
    """The figures of a dry run that wrote nothing and made no durable step."""
    count = tmp_path / "steps"
    before = state_of(w.a, w.b)
    result = by.command(
        "sync", "--dry-run", "--json", *options, w.other(by).destination, env={"MAILBRAID_COUNT_TO": str(count)}
    )
    assert result.code == 0, result
    assert count.read_text() == "steps=0\n"
    count.unlink()
    assert state_of(w.a, w.b) == before
    return figures(json.loads(result.out))


def figures(answer):
    return {side: {k: n for k, n in answer[side].items() if n} for side in ("sent", "got")}


def in_step(path, plain=""):
    w = World(str(path), plain=plain)
    w.a.mkfolder("F")
    w.a.mkfolder("G")
    for i in range(6):
        w.a.deliver(f"{i}.a.host", body(f"of a {i}"), folder=("INBOX", "F")[i % 2])
    w.sync()
    w.check_equal()
    return w


def change_by_hand(w):
    """Of every kind, on both sides."""
    w.a.deliver("new.a.host", body("new on a"), folder="F")
    w.a.flag("0.a.host", "+F")
    w.a.expunge("1.a.host")
    w.a.mkfolder("Fresh")
    w.b.deliver("new.b.host", body("new on b"), folder="G")


@pytest.mark.parametrize("plain", ["", "b"])
def test_nothing_is_written_and_the_answer_is_that_of_the_sync(tmp_path, plain):
    w = in_step(tmp_path / "w", plain)
    change_by_hand(w)
    first = dry(w, w.a, tmp_path)
    assert first == dry(w, w.a, tmp_path)
    changes = {"new": 1, "flags": 1, "expunged": 1, "mailboxes": 1, "made": 1}
    assert first == {"sent": changes, "got": {"new": 1}}
    assert figures(w.sync()) == first
    w.check_equal()
    w.check_idle()


@pytest.mark.parametrize("plain", ["", "b"])
def test_before_the_first_sync(tmp_path, plain):
    w = World(str(tmp_path / "w"), plain=plain)
    w.a.deliver("1.a.host", body("one"))
    w.b.deliver("2.b.host", body("two"))
    said = dry(w, w.a, tmp_path)
    assert said["sent"]["new"] == said["got"]["new"] == 1
    assert w.a.status()["peers"] == []
    w.sync()
    w.check_equal()


def test_what_is_edited_in_place_is_found_by_a_full_look(tmp_path):
    w = in_step(tmp_path / "w")
    w.a.edit("0.a.host", body("of a 0, with a label"))
    first = dry(w, w.a, tmp_path, "-f")
    assert first == dry(w, w.a, tmp_path, "-f")
    assert first["sent"]["new"] == 1
    w.sync("-f")
    w.check_equal()


@pytest.mark.skipif(not shutil.which("strace"), reason="no strace")
@pytest.mark.parametrize("plain", ["", "b"])
def test_no_call_that_writes(tmp_path, plain):
    w = in_step(tmp_path / "w", plain)
    change_by_hand(w)
    trace = tmp_path / "trace"
    subprocess.run(
        ["strace", "-f", "-y", "-e", f"trace={CALLS},open,openat,creat", "-o", str(trace)]
        + [PROGRAM, "--store", w.a.path, "sync", "--dry-run", w.b.destination],
        check=True,
        capture_output=True,
    )
    root = str(tmp_path / "w")
    for line in trace.read_text().splitlines():
        if root not in line or re.search(r"= -1 E", line):
            continue
        if re.search(r"\bopen(at)?\(", line):
            assert "O_CREAT" not in line or "/index/" in line, line  # LMDB opens what is there
            assert "O_TRUNC" not in line, line
        else:
            raise AssertionError(line)


def test_a_store_that_was_killed_is_not_mended(tmp_path):
    w = in_step(tmp_path / "w")
    w.a.deliver("late.a.host", body("late"))
    w.a.command("checkpoint", env={"MAILBRAID_STOP_AT": "12"})
    before = state_of(w.a, w.b)
    result = w.a.command("sync", "--dry-run", w.b.destination)
    assert result.code == 1 and "not closed cleanly" in result.err and "mailbraid checkpoint" in result.err, result
    assert state_of(w.a, w.b) == before
    w.a.notice()
    assert dry(w, w.a, tmp_path) == {"sent": {"new": 1}, "got": {}}


def test_a_store_without_an_index_is_not_mended(tmp_path):
    w = in_step(tmp_path / "w")
    shutil.rmtree(os.path.join(w.b.path, "index"))
    before = state_of(w.a, w.b)
    result = w.a.command("sync", "--dry-run", w.b.destination)
    assert result.code == 1 and "not closed cleanly" in result.err, result
    assert state_of(w.a, w.b) == before


def test_folders_that_went_and_moved(tmp_path):
    w = in_step(tmp_path / "w")
    w.a.mvfolder("F", "Other")
    w.b.rmfolder("G")
    time.sleep(0.01)
    first = dry(w, w.a, tmp_path)
    assert first == dry(w, w.a, tmp_path)
    assert first == {"sent": {"mailboxes": 1, "renamed": 1}, "got": {"mailboxes": 1, "deleted": 1}}
    w.sync()
    w.check_equal()
    assert sorted(w.b.folders()) == ["INBOX", "Other"]
