"""Rows 96 to 112 of the scenarios: kills, power cuts, two at once, programs that work meanwhile.

What a row is and how it is played tells support/matrix.py.  A sync is killed at its n-th durable step
(MAILBRAID_STOP_AT), or a step fails (MAILBRAID_FAIL_AT); each step is tried in test_crash_par.py, a
few of them here, in each depth.  A sync that is held in its middle (SIGSTOP) is caught while a large
body is on its way.
"""

import glob
import os
import signal
import threading
import time

import pytest

from support.matrix import STORES, Rows, but, play
from support.replica import body

ROWS = Rows()
row = ROWS.row

KILLED = -signal.SIGKILL
STEPS = (1, 2, 4, 6, 8, 11)


def cut(w, step):
    """A sync that is killed at this step, if it has so many."""
    w.sync(code=(KILLED, 0), env={"MAILBRAID_STOP_AT": str(step)})


def look(r, **env):
    """This side looks at its files, as of now."""
    if not r.plain:
        r.must("checkpoint", env={k: str(v) for k, v in env.items()})


@row(96, "killed after the body was sent: exactly one copy")
def killed_after_the_body(w):
    yield
    for step in STEPS:
        w.a.deliver(f"m{step}")
        w.b.deliver(f"n{step}:2,S", sub="cur")
        cut(w, step)
        yield
        for r in (w.a, w.b):
            assert r.contents().count(body(f"m{step}")) == 1
    assert len(w.b.contents()) == 2 * len(STEPS)


def power_cut(r):
    """The state file as another boot left it, without a clean stop."""
    with open(os.path.join(r.path, "state"), "w", encoding="utf-8") as f:
        f.write("clean=0\nboot=" + "00" * 16 + "\nend=\n")


@row(97, "a record without its file after a power cut: lost, not expunged", STORES)
def record_without_file(w):
    for name in "mn":
        w.a.deliver(name + ":2,S", sub="cur")
    yield
    power_cut(w.b)
    os.unlink(w.b.path_of("m"))
    yield
    assert w.a.names() == ["m", "n"]


@row(98, "a torn last record is the end of the log", STORES)
def torn_record(w):
    w.a.deliver("m")
    yield
    for r in w.stores:
        power_cut(r)
        last = max(glob.glob(os.path.join(r.path, "log", "*.log")))
        with open(last, "ab") as f:
            f.write(b"\x40\x00\x00\x00torn")
    w.a.deliver("n")
    w.b.flag("m", "+S")
    yield
    assert w.b.names() == ["m", "n"] and w.a.flags("m") == "S"
    yield  # positions move to the new log files


@row(99, "killed between any two steps of a checkpoint", STORES)
def killed_in_a_checkpoint(w):
    w.a.deliver("m")
    yield
    for step in STEPS:
        w.a.deliver(f"m{step}")
        w.a.command("checkpoint", "--keep", "0", env={"MAILBRAID_STOP_AT": str(step)})
        yield
        assert f"m{step}" in w.b.names()
    yield  # positions move to the new log files


@row(100, "killed while a large folder is renamed: the old name or the new, never both")
def killed_in_a_rename(w):
    w.a.mkfolder("F0")
    for i in range(100):
        w.a.deliver(f"m{i}:2,", folder="F0", sub="cur")
    yield
    last = 0
    for step in STEPS:
        w.a.mvfolder(f"F{last}", f"F{step}")
        cut(w, step)
        folders = [f for f in w.b.folders() if f != "INBOX"]
        assert [len(w.b.names(f)) for f in folders] == [100]
        yield
        assert w.b.folders() == [f"F{step}", "INBOX"]
        last = step


@row("101a", "two syncs at once, one from each side", STORES)
def two_at_once(w):
    w.a.deliver("m")
    yield
    for i in range(3):
        for k in range(5):
            w.a.deliver(f"a{i}-{k}")
            w.b.deliver(f"b{i}-{k}")
        both = [w.start(by=r) for r in (w.a, w.b)]
        codes = [p.wait(timeout=60) for p in both]
        assert set(codes) <= {0, 2, 75}, codes
    yield
    assert len(w.a.contents()) == 31


@row("101b", "a lock goes with the process that had it")
def lock_of_the_dead(w):
    w.a.deliver("m")
    yield
    w.a.deliver("big", b"Subject: big\n\n" + os.urandom(1 << 20) * 8)
    process = w.start()
    time.sleep(0.02)
    process.kill()
    process.wait(timeout=60)
    yield
    assert w.b.names() == ["big", "m"] or w.b.plain


@row(102, "programs rename, flag, move and delete while syncs run: they never notice")
def programs_work_meanwhile(w):
    w.a.mkfolder("Y")
    for i in range(40):
        w.a.deliver(f"m{i}")
    yield
    failed = []

    def work():
        try:
            for i in range(40):
                w.a.flag(f"m{i}", "+S")
                if i % 4 == 1:
                    w.a.flag(f"m{i}", "+F")
                if i % 4 == 2:
                    w.a.move(f"m{i}", "Y", folder="INBOX")
                if i % 4 == 3:
                    w.a.expunge(f"m{i}", folder="INBOX")
                time.sleep(0.002)
        except OSError as e:
            failed.append(e)

    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive():
        w.sync(code=(0, 2))
    thread.join()
    assert failed == []
    yield
    assert len(w.b.names("Y")) == 10 and len(w.b.names()) == 20
    for r in (w.a, w.b):
        assert sorted(m[1] for m in r.tree()["INBOX"]) == ["FS"] * 10 + ["S"] * 10


BIG = b"Subject: big\n\n" + bytes(range(256)) * (1 << 16)  # 16 MiB


def caught(w, process):
    """Stops the sync when the other side has a part of the body; true when it was in time."""
    where = os.path.join(w.b.path, "tmp" if w.b.plain else "staging")
    while process.poll() is None:
        if any(os.path.getsize(f) for f in glob.glob(os.path.join(where, "*")) if os.path.exists(f)):
            process.send_signal(signal.SIGSTOP)
            return True
    return False


def during_the_upload(w, change):
    """A delivers a large message; `change` happens while it is on its way to B."""
    w.a.deliver("big:2,", BIG, sub="cur")
    process = w.start(by=w.local)
    caught(w, process)
    change()
    process.send_signal(signal.SIGCONT)
    assert process.wait(timeout=60) in (0, 2)


@row(103, "flagged while it is on its way")
def flagged_while_sent(w):
    yield
    during_the_upload(w, lambda: w.a.flag("big", "+F"))
    yield
    assert w.b.contents() == [BIG] and w.b.tree()["INBOX"][0][1] == "F"


@row(104, "deleted while it is on its way")
def deleted_while_sent(w):
    w.a.deliver("m")
    yield
    during_the_upload(w, lambda: w.a.expunge("big"))
    yield
    assert w.b.contents() == [body("m")]


@row(105, "written slowly in tmp, then linked to new: whole or not at all")
def slow_delivery(w):
    yield
    content = body("slow", 100_000)
    temp = os.path.join(w.a.mail, "tmp", "slow")
    with open(temp, "wb") as f:
        f.write(content[:50_000])
    w.sync()
    assert w.b.names() == []
    with open(temp, "ab") as f:
        f.write(content[50_000:])
    w.sync()
    assert w.b.names() == []
    os.link(temp, os.path.join(w.a.mail, "new", "slow"))
    yield
    assert w.b.contents() == [content]
    os.unlink(temp)


@row(106, "written straight into new: waited for until it is closed")
def written_in_place(w):
    w.a.deliver("m")
    yield
    content = body("slow", 100_000)
    for sub in ("new", "cur"):
        name = f"in-{sub}" + (":2,S" if sub == "cur" else "")
        with open(os.path.join(w.a.mail, sub, name), "wb") as f:
            f.write(content[:50_000])
            f.flush()
            w.sync()
            assert not any(content.startswith(c) for c in w.b.contents())
            f.write(content[50_000:] + sub.encode())
        yield
        assert content + sub.encode() in w.b.contents()
    assert len(w.b.contents()) == 3


OLD_TMP = but("Files that a program left in tmp are not looked at, and not removed.")


@row(107, "an old file in tmp is removed, and never synced", but=OLD_TMP)
def old_tmp(w):
    w.a.deliver("m")
    yield
    old = time.time() - 37 * 3600
    for r in (w.a, w.b):
        path = os.path.join(r.mail, "tmp", "left")
        with open(path, "wb") as f:
            f.write(b"half")
        os.utime(path, (old, old))
    w.a.deliver("n")
    yield
    assert w.b.names() == ["m", "n"] or w.b.plain
    assert len(w.b.contents()) == 2
    for r in (w.a, w.b):
        assert os.listdir(os.path.join(r.mail, "tmp")) == ["left"]


@row(108, "the disk is full: said, nothing half is seen, done by the next run")
def disk_full(w):
    w.a.deliver("m:2,", sub="cur")
    yield
    for step, why in zip(STEPS, ("ENOSPC", "EDQUOT", "ENOSPC", "EROFS", "EIO", "ENOSPC")):
        w.a.deliver(f"m{step}", body(f"m{step}", 10_000))
        w.b.flag("m", "+F" if "F" not in w.b.flags("m") else "-F")
        answer = w.sync(code=(0, 1, 2), env={"MAILBRAID_FAIL_AT": f"{step}:{why}"})
        whole = w.a.contents()
        if answer.get("exit", 1) == 0:  # the step was not needed, or tried again
            assert w.b.contents() == whole
        assert all(content in whole for content in w.b.contents())
        yield
        assert body(f"m{step}", 10_000) in w.b.contents()


@row(109, "suspended in its middle, and killed there")
def suspended(w):
    w.a.deliver("m")
    yield
    for name, end in (("s", signal.SIGCONT), ("k", signal.SIGKILL)):
        w.a.deliver(f"big-{name}", BIG + name.encode())
        process = w.start()
        caught(w, process)
        time.sleep(0.1)
        process.send_signal(end)
        assert process.wait(timeout=60) in (0, KILLED)
        yield
    assert len(w.b.contents()) == 3


@row(110, "the other side changes during the run: seen in this run or the next")
def changes_meanwhile(w):
    w.a.deliver("m:2,", sub="cur")
    yield

    def change():
        w.b.deliver("late")
        w.b.flag("m", "+F")

    during_the_upload(w, change)
    yield
    assert len(w.a.contents()) == 3 and w.a.flags("m") == "F"


@row(111, "a clock that is years off: order is that of what was seen, dates stay", STORES)
def wrong_clocks(w):
    date = 1_500_000_000_123_456_789
    w.a.deliver("m:2,", sub="cur", mtime=date)
    w.a.deliver("n:2,", sub="cur", mtime=date)
    yield
    years = 3 * 365 * 86400
    w.a.flag("m", "+F")
    look(w.a, MAILBRAID_CLOCK_OFFSET=years)
    w.a.flag("n", "+F")
    look(w.a, MAILBRAID_CLOCK_OFFSET=-years)
    yield
    assert w.b.flags("m") == w.b.flags("n") == "F"
    w.b.flag("m", "-F")
    w.b.flag("n", "-F")
    yield
    assert w.a.flags("m") == w.a.flags("n") == "", "later than what it had seen, whatever the clock said"
    for r in (w.a, w.b):
        assert os.stat(r.path_of("m")).st_mtime_ns == date


@row(112, "a long queue with messages that came and went: the end of it")
def long_queue(w):
    w.a.deliver("m:2,", sub="cur")
    yield
    for turn in range(4):
        for i in range(100):
            w.a.deliver(f"q{turn}-{i}:2,", sub="cur")
        look(w.a)
        for i in range(100):
            if i >= 60:
                w.a.expunge(f"q{turn}-{i}")
            else:
                w.a.flag(f"q{turn}-{i}", "+S")
        w.a.flag("m", "+F" if turn % 2 else "-F")
        look(w.a)
    w.b.flag("m", "+S")
    yield
    assert len(w.b.contents()) == 241 and w.a.flags("m") == "FS"
    new = w.answer["sent"]["new"] + w.answer["got"]["new"]
    assert new == 240, "what came and went is not sent"


@pytest.mark.parametrize("case", ROWS.cases())
def test_row(case, tmp_path, record_property):
    play(case, tmp_path, record_property)
