"""Peers: who is registered, what each keeps, and what becomes of one that is forgotten."""

import json

import pytest

from support.replica import Replica, body


@pytest.fixture
def a(tmp_path):
    return Replica(tmp_path / "a")


@pytest.fixture
def b(tmp_path):
    return Replica(tmp_path / "b")


def peers(replica):
    return json.loads(replica.must("peer", "list", "--json").out)["peers"]


def test_a_sync_registers_on_both_sides(a, b):
    assert peers(a) == []
    assert "no peers" in a.must("peer").out
    a.deliver("m1")
    a.sync(b)
    (to_b,) = peers(a)
    (to_a,) = peers(b)
    assert to_b["destination"] == b.destination
    assert to_a["destination"] is None
    assert to_b["held"] and to_b["pins"] and to_b["waiting"] == 0
    assert to_a["replica"] == a.status()["replica"]
    assert b.destination in a.must("peer", "list").out


def test_changes_wait_for_a_peer_and_keep_the_log(a, b):
    a.sync(b)
    a.deliver("m1")
    a.deliver("m2")
    a.must("checkpoint", "--keep", "0")
    (to_b,) = peers(a)
    assert to_b["waiting"] == 2
    assert to_b["pinned_files"] >= 1 and to_b["pinned_bytes"] > 0
    assert "2 changes wait" in a.must("peer").out
    a.sync(b)
    a.must("checkpoint", "--keep", "0")
    (to_b,) = peers(a)
    assert to_b["waiting"] == 0


def test_forget_asks_and_is_idempotent(a, b):
    a.sync(b)
    refused = a.command("peer", "forget", b.destination)
    assert refused.code == 1 and "--yes" in refused.err
    assert len(peers(a)) == 1
    assert "forgotten" in a.must("peer", "forget", "--yes", b.destination).out
    assert peers(a) == []
    again = a.must("peer", "forget", "--yes", b.destination)
    assert "nothing to forget" in again.err
    assert len(peers(b)) == 1  # that is the other one's memory


def test_forget_by_replica_id(a, b):
    a.sync(b)
    b.must("peer", "forget", "-y", a.status()["replica"][:6])
    assert peers(b) == []


@pytest.mark.parametrize(
    "args", [["forget"], ["lost"], ["list", "x"], ["list", "--yes"], ["forget", "x", "y"], ["--nonsense"]]
)
def test_wrong_usage(a, args):
    assert a.command("peer", *args).code == 64


def test_a_forgotten_peer_no_longer_keeps_the_log(a, b):
    a.sync(b)
    a.deliver("m1")
    a.must("checkpoint", "--keep", "0")
    assert "00000001.log" in dict(a.log_bytes())
    a.must("peer", "forget", "--yes", b.destination)
    a.must("checkpoint", "--keep", "0")
    assert "00000001.log" not in dict(a.log_bytes())


@pytest.mark.parametrize("starts", ["a", "b"])
def test_a_forgotten_peer_comes_back(a, b, starts):
    for name in ("keep", "gone-here", "gone-there", "flagged"):
        a.deliver(name)
    a.sync(b)
    a.must("peer", "forget", "--yes", b.destination)
    a.expunge("gone-here")
    a.deliver("new-here")
    b.expunge("gone-there")
    b.deliver("new-there")
    b.flag("flagged", "+F")
    a.must("checkpoint", "--keep", "0")
    result = a.sync(b) if starts == "a" else b.sync(a)
    assert result["full"]
    assert a.tree() == b.tree()
    assert set(a.names()) == {"keep", "flagged", "new-here", "new-there"}
    assert len(peers(a)) == 1
    assert not a.sync(b)["full"]


def test_a_forgotten_maildir_is_matched_by_content(a, tmp_path):
    plain = Replica(tmp_path / "plain", plain=True)
    a.deliver("m1")
    plain.deliver("m2")
    a.sync(plain)
    before = a.contents()
    a.must("peer", "forget", "--yes", plain.destination)
    assert peers(a) == []
    a.sync(plain)
    assert a.contents() == before and len(before) == 2
    assert len(peers(a)) == 1


# ---- row 94: away for longer than expunges are remembered ------------------------------------------


def later(days):
    return {"MAILBRAID_CLOCK_OFFSET": str(days * 86400)}


@pytest.mark.parametrize("starts", ["a", "b"])
def test_old_mail_that_comes_back_is_held(a, b, starts):
    """A stays and forgets; B was away."""
    for name in ("keep", "gone", "wanted"):
        a.deliver(name)
    a.sync(b)
    a.expunge("gone")
    a.expunge("wanted")
    a.notice()
    a.must("checkpoint", env=later(401))
    assert a.status()["tombstones"] == 0
    b.flag("gone", "+F")
    a.deliver("new")
    one, two = (a, b) if starts == "a" else (b, a)
    for _ in range(2):
        answer = one.sync(two, code=1, env=later(402))
        assert answer["held_old"] == 2
        assert "--accept-old" in answer["err"]
        assert a.names() == ["keep", "new"]
        assert b.names() == ["gone", "keep", "new", "wanted"]
    assert a.sync(b, "-1", env=later(402))["held_old"] == 0  # nothing comes to A by this one
    assert one.sync(two, code=1, env=later(402))["held_old"] == 2
    b.expunge("gone")
    answer = one.sync(two, "--accept-old", env=later(402))
    assert answer["held_old"] == 0
    assert a.names() == b.names() == ["keep", "new", "wanted"]
    assert not one.sync(two, env=later(402))["full"]


def test_new_mail_of_a_maildir_is_no_old_mail(a, tmp_path):
    """It comes here after A forgot an expunge; what the Maildir had before and A forgot is held."""
    plain = Replica(tmp_path / "plain", plain=True)
    for name in ("keep", "gone", "away"):
        a.deliver(name)
    a.sync(plain)
    a.expunge("gone")
    a.sync(plain)
    a.must("checkpoint", env=later(401))
    assert a.status()["tombstones"] == 0
    plain.deliver("new")
    assert a.sync(plain, env=later(402))["held_old"] == 0
    assert len(a.names()) == 3
    a.expunge("away")
    a.expunge(*[n for n in a.names() if a.read(n) == body("new")])  # the Maildir had it first
    a.notice()
    a.must("checkpoint", env=later(810))
    assert a.status()["tombstones"] == 0
    plain.deliver("late")
    assert a.sync(plain, code=1, env=later(811))["held_old"] == 2
    assert a.contents() == sorted([body("keep"), body("late")]) and len(plain.names()) == 4
    other = Replica(tmp_path / "other", plain=True)
    other.deliver("long ago", body("long ago"))
    assert a.sync(other, env=later(812))["held_old"] == 0
    assert body("long ago") in a.contents()


@pytest.mark.parametrize("starts", ["a", "b"])
def test_all_mail_that_both_had_was_forgotten(a, b, starts):
    """They have no message in common any more, and only the inbox: they met all the same."""
    for name in ("one", "two", "three"):
        a.deliver(name)
    a.sync(b)
    for name in ("one", "two", "three"):
        a.expunge(name)
    a.notice()
    a.must("checkpoint", env=later(401))
    assert a.status()["tombstones"] == 0
    one, two = (a, b) if starts == "a" else (b, a)
    for _ in range(2):
        assert one.sync(two, code=1, env=later(402))["held_old"] == 3
        assert a.names() == []
        assert b.names() == ["one", "three", "two"]


def test_tombstones_younger_than_that_still_count(a, b):
    a.deliver("gone")
    a.sync(b)
    a.expunge("gone")
    a.notice()
    a.must("checkpoint", env=later(399))
    a.sync(b, env=later(399))
    assert a.names() == b.names() == []
