"""Safe by default: what a dry run tells, what was decided against somebody, a first sync with mail on
both sides, and how much is said while it runs."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time

import pytest

from support.programs import end
from support.replica import PROGRAM, Replica, body
from support.wait import until


@pytest.fixture
def a(tmp_path):
    return Replica(tmp_path / "a")


@pytest.fixture(params=["store", "maildir"])
def b(tmp_path, request):
    return Replica(tmp_path / "b", plain=request.param == "maildir")


def deliver(replica, *names, folder="INBOX"):
    for name in names:
        replica.deliver(name, body(name), folder=folder)


def figures(new=0, flags=0, moved=0, expunged=0):
    return f"+ {new} mails  ~ {flags} flags  > {moved} moves  - {expunged} expunged"


# ---- dry runs --------------------------------------------------------------------------------------


def changes_on_both(a, b):
    """One of each kind: to b a mail, two flags, a move, a folder; to a an expunge."""
    a.mkfolder("Work")
    deliver(a, "m1", "m2", "m3")
    deliver(a, "w1", folder="Work")
    a.sync(b)
    deliver(a, "new")
    a.flag("m1", "+F")
    a.flag("m2", "+S")
    a.move("m3", "Work")
    a.mkfolder("Made")
    b.expunge(name_of(b, "w1", "Work"), folder="Work")


def name_of(replica, text, folder="INBOX"):
    return next(n for n in replica.names(folder) if f"Subject: {text}\n".encode() in replica.read(n, folder))


def test_a_dry_run_is_a_line_for_each_direction(a, b):
    changes_on_both(a, b)
    trees = a.tree(), b.tree()
    told = a.must("sync", "--dry-run", b.destination)
    assert told.out.splitlines() == [
        f"-> {b.destination}  {figures(1, 2, 1, 0)}  folders + 1 ~ 0 - 0",
        f"<- {b.destination}  {figures(0, 0, 0, 1)}",
    ]
    assert told.err == "" and (a.tree(), b.tree()) == trees


def test_a_dry_run_with_v_is_a_line_for_each_mailbox(a, b):
    changes_on_both(a, b)
    told = a.must("sync", "--dry-run", "-v", b.destination)
    assert told.out.splitlines() == [
        f"-> {b.destination}  {figures(1, 2, 1, 0)}  folders + 1 ~ 0 - 0",
        f"     INBOX  {figures(1, 2)}",
        f"     Made  {figures()}  folders + 1 ~ 0 - 0",
        f"     Work  {figures(0, 0, 1)}",
        f"<- {b.destination}  {figures(0, 0, 0, 1)}",
        f"     Work  {figures(0, 0, 0, 1)}",
    ]
    assert told.err == ""
    each = a.must("sync", "--dry-run", "-D", b.destination).err
    assert len([line for line in each.splitlines() if line.startswith("-> ")]) == 5


def test_a_dry_run_in_json_has_the_same_figures(a, b):
    changes_on_both(a, b)
    told = a.sync(b, "--dry-run")
    assert told["v"] == 1 and told["dry_run"] is True
    diff = {m["name"]: m for m in told["diff"]}
    assert sorted(diff) == ["INBOX", "Made", "Work"]
    assert diff["INBOX"]["sent"]["flags"] == 2 and diff["Made"]["sent"]["made"] == 1
    for side in ("sent", "got"):
        for kind, n in told[side].items():
            assert n == sum(m[side][kind] for m in told["diff"]), (side, kind)
    done = a.sync(b)
    assert done["dry_run"] is False and "diff" not in done
    for side in ("sent", "got"):
        for kind in ("new", "flags", "moved", "expunged", "made", "deleted"):
            assert done[side][kind] == told[side][kind], (side, kind)


def test_a_dry_run_of_a_backup_has_one_direction(a, b):
    deliver(a, "m1", "m2")
    a.must("backup", b.destination)
    b.deliver("stray", body("stray"))
    deliver(a, "m3")
    tree = b.tree()
    told = a.must("backup", "--dry-run", b.destination)
    assert told.out == f"-> {b.destination}  {figures(1, 0, 0, 1)}\n" and b.tree() == tree
    answer = json.loads(a.must("backup", "--dry-run", "--json", b.destination).out)
    assert (answer["sent"]["new"], answer["sent"]["expunged"], answer["got"]["new"]) == (1, 1, 0)


def test_a_dry_run_in_step_tells_zeros(a, b):
    deliver(a, "m1")
    a.sync(b)
    told = a.must("sync", "--dry-run", b.destination)
    assert [line.partition("  ")[2] for line in told.out.splitlines()] == [figures(), figures()]


# ---- conflicts -------------------------------------------------------------------------------------


def conflicts(replica):
    answer = json.loads(replica.must("conflicts", "--json").out)
    assert answer["v"] == 1
    return answer["conflicts"]


def expunged_and_flagged(a, b):
    a.mkfolder("Work")
    deliver(a, "m", folder="Work")
    a.sync(b)
    a.flag("m", "+F")
    b.expunge(name_of(b, "m", "Work"), folder="Work")


def test_a_conflict_is_kept_and_told(a, b):
    expunged_and_flagged(a, b)
    a.sync(b, "--dry-run")
    assert conflicts(a) == [], "a dry run decides nothing"
    done = a.must("sync", b.destination)
    assert done.out.startswith(f"{b.destination}: ") and "; 1 conflict, see mailbraid conflicts" in done.out
    (one,) = conflicts(a)
    assert (one["kind"], one["peer"], one["mailbox"]) == ("expunge-beat-flags", b.destination, "Work")
    assert len(one["message"]) == 32 and one["when"].endswith("Z")
    text = a.must("conflicts").out
    for part in (one["when"], b.destination, "Work", one["message"], one["decided"], "do:  " + one["do"]):
        assert part in text
    assert "Subject" not in text
    kept = os.path.join(a.path, "deleted", one["mailbox_guid"])
    assert [n for n in os.listdir(kept) if n.startswith(one["message"])], "where the advice says"
    if not b.plain:
        assert conflicts(b) == [], "the store that ran the sync keeps it"
    a.sync(b)
    assert len(conflicts(a)) == 1
    assert a.must("conflicts", "--clear").out == "1 conflict forgotten\n"
    assert conflicts(a) == [] and a.must("conflicts").out == "no conflicts\n"
    assert json.loads(a.must("conflicts", "--clear", "--json").out) == {"v": 1, "cleared": 0}


def test_fail_on_conflict(a, b):
    expunged_and_flagged(a, b)
    answer = a.sync(b, "--fail-on-conflict", code=3)
    assert answer["exit"] == 3 and answer["conflicts"] == 1
    assert a.names("Work") == b.names("Work") == [], "all is done all the same"
    assert a.sync(b, "--fail-on-conflict")["conflicts"] == 0


def test_no_conflict_is_no_failure(a, b):
    """Delivered on both sides, some of it the same: pairs, new UIDs, one mailbox out of two."""
    for r in (a, b):
        r.mkfolder("Work")
        deliver(r, "same")
    deliver(a, "a1", "a2")
    deliver(b, "b1", "b2")
    a.must("sync", "--fail-on-conflict", b.destination)
    assert conflicts(a) == []


def test_moved_twice(tmp_path, a):
    b = Replica(tmp_path / "b")
    for name in ("One", "Two"):
        a.mkfolder(name)
    deliver(a, "m")
    a.sync(b)
    a.move("m", "One")
    a.notice()
    b.move("m", "Two")
    b.sync(a)
    (one,) = conflicts(b)
    assert one["kind"] == "moved-twice" and one["mailbox"] == "Two" and conflicts(a) == []


def test_a_conflict_survives_a_kill(tmp_path):
    """Killed at any step: what was decided is told at least once, and done."""
    for step in range(1, 200):
        here = tmp_path / str(step)
        os.mkdir(here)
        a, b = Replica(here / "a"), Replica(here / "b")
        expunged_and_flagged(a, b)
        a.notice()
        cut = a.command("sync", b.destination, env={"MAILBRAID_STOP_AT": str(step)})
        a.sync(b, code=(0, 2))
        assert a.names("Work") == b.names("Work") == []
        assert [c["kind"] for c in conflicts(a)] == ["expunge-beat-flags"], step
        if cut.code == 0:
            return
    raise AssertionError("it never got through")


def test_a_live_sync_keeps_its_conflicts(tmp_path, a):
    b = Replica(tmp_path / "b")
    expunged_and_flagged(a, b)
    watch = subprocess.Popen(
        [PROGRAM, "--store", a.path, "watch"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until("the conflict is kept", lambda: conflicts(a))
    finally:
        end(watch)
    assert [c["kind"] for c in conflicts(a)] == ["expunge-beat-flags"] and conflicts(b) == []


@pytest.mark.parametrize("words", [["x"], ["--nonsense"], ["-c"]])
def test_conflicts_with_wrong_words(a, words):
    result = a.command("conflicts", *words)
    assert result.code == 64 and "mailbraid conflicts --help" in result.err


# ---- a first sync with mail on both sides ------------------------------------------------------------


def files(replica):
    """{inode: bytes} of every message."""
    found = {}
    for folder in replica.folders():
        for sub in ("cur", "new"):
            where = os.path.join(replica.folder(folder), sub)
            for name in os.listdir(where):
                path = os.path.join(where, name)
                found[os.stat(path).st_ino] = open(path, "rb").read()
    return found


def fill_both(a, b, n):
    """n messages each, the same; other names, another order, other flags."""
    for r in (a, b):
        r.mkfolder("Work")
    for i in range(n):
        folder = "Work" if i % 3 == 0 else "INBOX"
        content = body(f"m{i}", size=i % 50)
        a.deliver(f"a{i:04}:2,S", content, folder=folder, sub="cur")
        b.deliver(f"b{i * 7 % n:04}:2,F", content, folder=folder, sub="cur")


def test_a_filled_peer_is_matched_and_nothing_is_copied(a, b):
    fill_both(a, b, 500)
    before = files(a), files(b)
    preview = a.must("sync", "--dry-run", b.destination)
    assert preview.out.splitlines()[0] == f"{b.destination}: 500 messages are on both sides already"
    done = a.must("sync", b.destination)
    assert done.out.startswith(f"{b.destination}: matched 500 messages, copied 0; sent 500 flag changes")
    assert done.out.count("\n") == 1 and done.err.count("\n") <= 3, "not a line for each"
    assert (files(a), files(b)) == before, "no body was written anew"
    assert a.contents() == b.contents() and len(a.contents()) == 500
    assert all(a.flags(name) == "FS" for name in a.names()[:20])
    again = a.must("sync", b.destination)
    assert again.out == again.err == ""


def test_matching_by_guid(tmp_path, a):
    """A copy of the Maildir with its file names, adopted by nobody: the GUIDs are the same."""
    c = Replica(tmp_path / "c", plain=True)
    deliver(a, "m1", "m2")
    a.sync(c)
    d = Replica(tmp_path / "d")
    d.sync(c)
    answer = a.sync(d)
    assert (answer["matched"], answer["sent"]["new"], answer["got"]["new"]) == (2, 0, 0)
    assert a.sync(d)["matched"] == 0, "it is of the first sync"


def test_what_one_side_lacks_is_copied(a, b):
    fill_both(a, b, 20)
    deliver(a, "own")
    answer = a.sync(b)
    assert (answer["matched"], answer["sent"]["new"], answer["got"]["new"]) == (20, 1, 0)
    assert a.contents() == b.contents()


# ---- while it runs -----------------------------------------------------------------------------------


def on_terminal(replica, *args, width=50, term="xterm", interrupt=None):
    """(exit code, everything that came out on a terminal of this width, seconds).  `interrupt`: Ctrl-C
    when something that matches it is shown."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    began = time.monotonic()
    child = subprocess.Popen(
        [PROGRAM, "--store", replica.path, *args],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=dict(os.environ, TERM=term),
    )
    os.close(theirs)
    out = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        out += part
        if interrupt and re.search(interrupt, out):
            child.send_signal(signal.SIGINT)
            interrupt = None
    os.close(ours)
    return child.wait(timeout=60), out.decode(), time.monotonic() - began


CLEAR = "\r\x1b[K"


@pytest.mark.parametrize("width", [50, 24])
def test_progress_on_a_terminal(a, b, width):
    fill_both(a, Replica(a.path + "-aside"), 3000)
    code, out, seconds = on_terminal(a, "sync", b.destination, width=width)
    assert code == 0
    shown = [line for line in out.split(CLEAR) if line]
    *lines, summary = shown
    assert summary.startswith(f"{b.destination}: sent 3000 new") and summary.endswith(" s)\r\n")
    assert summary.count("\n") == 1 and out.endswith(CLEAR + summary)
    assert lines, "3000 messages take longer than a fifth of a second"
    assert len(lines) <= seconds * 5 + 1
    for line in lines:
        assert len(line) < width
        assert re.fullmatch(
            r"looking at the files|(comparing|reading bodies|sending|getting)"
            r"( \d+( of \d+)?(, [\d.]+/s(, \d+ (s|min|h) left)?)?)?",
            line,
        ), line
    assert width < 50 or any(re.match(r"\w+ \d+ of \d+, \d+/s, \d+ s left", line) for line in lines)


@pytest.mark.parametrize("options, term", [(["-q"], "xterm"), ([], "dumb"), (["-v"], "xterm")])
def test_no_progress_where_it_is_not_wanted(a, b, options, term):
    fill_both(a, Replica(a.path + "-aside"), 1500)
    code, out, _ = on_terminal(a, "sync", *options, b.destination, term=term)
    assert code == 0 and "\x1b" not in out
    if options == ["-q"]:
        assert out == ""


def writer_lock(replica):
    """As the writer of a store has it: an open file; closing it lets go."""
    f = open(os.path.join(replica.path, "lock"), "r+b")
    fcntl.fcntl(f, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))  # F_OFD_SETLK
    return f


OUT_OF_PATIENCE = "mailbraid: interrupted, and ended without a report: what it was at took longer than 2 s"


def test_ctrl_c(a, b):
    """It ends in order, as the shell expects it, with a clean line; the next run does the rest."""
    fill_both(a, Replica(a.path + "-aside"), 4000)
    # not at "sending 0 of": nothing need be there by then
    code, out, _ = on_terminal(a, "sync", b.destination, interrupt=rb"sending [1-9]\d* of")
    assert code == -signal.SIGINT
    *lines, last = out.split(CLEAR)
    assert lines and "sending" not in last and "interrupted" in last
    there = len(b.contents())
    assert 0 < there < 4000, "what was done stays"
    for replica in (a, b):
        if not replica.plain:
            writer_lock(replica).close()
    again = a.sync(b)
    if OUT_OF_PATIENCE not in last:  # a machine so slow that the flush alone takes that long
        assert "interrupted; what was done stays" in out
        assert f"sent {there} new" in last
        assert again["sent"]["new"] == 4000 - there
    assert b.contents() == a.contents()


def catches(pid, number):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        mask = next(line.split()[1] for line in f if line.startswith("SigCgt:"))
    return int(mask, 16) >> (number - 1) & 1


def test_ctrl_c_while_it_waits(a, b):
    """For a lock that nobody gives: it does not wait any longer, and says so."""
    deliver(a, "m")
    with writer_lock(a):
        child = subprocess.Popen(
            [PROGRAM, "--store", a.path, "sync", "-l", "60", b.destination], stderr=subprocess.PIPE, text=True
        )
        until("it takes Ctrl-C itself", lambda: catches(child.pid, signal.SIGINT))
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=20)
        assert child.returncode == -signal.SIGINT
    assert "mailbraid: interrupted" in said
    a.sync(b)
    assert b.names() == a.names()


def test_in_a_pipe_one_line(a, b):
    fill_both(a, Replica(a.path + "-aside"), 1500)
    done = a.must("sync", b.destination, env={"TERM": "xterm"})
    assert re.fullmatch(rf"{re.escape(b.destination)}: sent 1500 new, \d mailbox changes? \(.* s\)\n", done.out)
    assert done.err == ""


def test_quiet_tells_errors(a, b, tmp_path):
    deliver(a, "m")
    done = a.must("sync", "-q", b.destination)
    assert done.out == done.err == ""
    result = a.command("sync", "-q", f"store:{tmp_path}/nowhere")
    assert result.code != 0 and "why:" in result.err and result.out == ""
    assert re.fullmatch(r"[A-Za-z0-9+/=]+\n", a.must("sync", "-q", "-s", "", b.destination).out)
    for other in ("-v", "-D", "--json", "--dry-run"):
        assert a.command("sync", "-q", other, b.destination).code == 64


def test_quiet_tells_what_is_held(a, b):
    a.mkfolder("F")
    deliver(a, *(f"m{i}" for i in range(20)), folder="F")
    a.sync(b)
    os.rename(a.folder("F"), a.path + "-aside")
    result = a.command("sync", "-q", b.destination)
    assert result.code == 1 and "held back" in result.err and result.out == ""
