"""Safe by default: what a dry run tells, what was decided against somebody, a first sync with mail on
both sides, and how much is said while it runs."""

import json

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
