"""Safe by default: what a dry run tells, what was decided against somebody, a first sync with mail on
both sides, and how much is said while it runs."""

import json
import os

import pytest

from support.replica import Replica, body


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


@pytest.mark.parametrize("words", [["x"], ["--nonsense"], ["-c"]])
def test_conflicts_with_wrong_words(a, words):
    result = a.command("conflicts", *words)
    assert result.code == 64 and "mailbraid conflicts --help" in result.err
