"""A message file that was cut short, emptied or zeroed in its own inode.

It stays where it is, is sent to nobody and is no expunge; the exit code says that something is wrong
until a peer has given the body back or its owner has deleted it.
"""

import json
import os
import subprocess

import pytest

from support.programs import end
from support.replica import PROGRAM, Replica, World, body
from support.wait import until


def hurt(path, how="short"):
    size = os.path.getsize(path)
    with open(path, "r+b") as f:
        if how == "zeros":
            f.write(b"\0" * size)
        else:
            f.truncate(size // 2 if how == "short" else 0)
    os.utime(path, (7000, 7000))  # not as if somebody were still writing it


def counts(r):
    status = r.status()
    return status["lost"], status["damaged"]


@pytest.mark.parametrize("how", ["short", "empty", "zeros"])
def test_a_lone_store_keeps_the_file(tmp_path, how):
    w = World(tmp_path)
    w.a.deliver("m:2,S", sub="cur")
    w.a.deliver("n:2,", sub="cur")
    w.a.must("checkpoint")  # never was there a peer
    hurt(w.a.path_of("m"), how)
    left = w.a.read("m")
    for _ in range(2):
        answer = w.sync("-f", code=2)
        assert answer["missing"] == 1
        assert w.a.read("m") == left and w.b.names() == ["n"]
        assert counts(w.a) == (0, 1)
    w.a.flag("m", "+F")
    w.a.mkfolder("X")
    w.a.move("m", "X")
    w.sync(code=2)
    assert w.a.names("X") == ["m"] and w.a.read("m") == left and w.b.names("X") == []
    w.a.expunge("m")
    w.sync()
    assert counts(w.a) == (0, 0)
    w.check_equal()
    w.check_idle()


@pytest.mark.parametrize("how", ["short", "empty", "zeros"])
@pytest.mark.parametrize("where", "ab")
def test_a_peer_gives_the_body_back(tmp_path, how, where):
    w = World(tmp_path)
    w.a.deliver("m:2,S", sub="cur")
    w.sync()
    r = w.a if where == "a" else w.b
    hurt(r.path_of("m"), how)
    left = r.read("m")
    w.sync("-f")
    assert w.a.read("m") == body("m") == w.b.read("m")
    assert left in r.kept()
    assert counts(r) == (0, 0)
    w.check_equal()
    w.check_idle()


@pytest.mark.parametrize("seen", [True, False])
def test_what_was_done_to_it_meanwhile_goes_to_the_peer(tmp_path, seen):
    w = World(tmp_path)
    w.a.mkfolder("X")
    w.a.deliver("m:2,S", sub="cur")
    w.sync()
    hurt(w.a.path_of("m"))
    if seen:
        assert w.a.sync(Replica(os.path.join(tmp_path, "c")), "-f", code=2)["missing"] == 1
    w.a.flag("m", "+F")
    w.a.move("m", "X")
    w.b.flag("m", "+R")
    w.sync("-f")
    assert w.b.names("X") == ["m"] and w.b.flags("m") == "FRS" == w.a.flags("m")
    assert w.a.read("m") == body("m")
    w.check_equal()
    w.check_idle()


def test_deleting_it_deletes_it_at_the_peer(tmp_path):
    w = World(tmp_path)
    w.a.deliver("m:2,S", sub="cur")
    w.sync()
    hurt(w.a.path_of("m"))
    w.a.command("sync", "--full", "store:" + str(tmp_path / "nobody"))  # only looks
    w.a.expunge("m")
    w.sync()
    assert w.a.names() == [] == w.b.names()
    w.check_idle()


def test_a_third_has_it(tmp_path):
    """A peer that never had it gets it once another one has mended it."""
    w = World(tmp_path)
    c = Replica(os.path.join(tmp_path, "c"))
    w.a.deliver("m:2,S", sub="cur")
    w.sync()
    hurt(w.a.path_of("m"))
    w.a.sync(c, "-f", code=2)
    assert c.names() == []
    w.sync()
    w.a.sync(c)
    assert c.read("m") == body("m") == w.a.read("m")


def test_lost_is_told_by_the_exit_code(tmp_path):
    w = World(tmp_path)
    w.a.deliver("m:2,S", sub="cur")
    w.a.must("checkpoint")
    os.unlink(w.a.path_of("m"))
    with open(os.path.join(w.a.path, "state"), "w", encoding="utf-8") as f:
        f.write("clean=0\nboot=" + "00" * 16 + "\nend=\n")
    answer = w.sync(code=2)
    assert answer["missing"] == 1 and "mailbraid lost" in answer["err"]
    assert w.sync(code=2)["missing"] == 1
    assert counts(w.a) == (1, 0)


# ---- mailbraid lost --------------------------------------------------------------------------------


def lose(r, *names):
    """Their files go in a power cut."""
    r.must("checkpoint")
    for name in names:
        os.unlink(r.path_of(name))
    with open(os.path.join(r.path, "state"), "w", encoding="utf-8") as f:
        f.write("clean=0\nboot=" + "00" * 16 + "\nend=\n")


def lost(r, *options, code=0):
    result = r.command("lost", "--json", *options)
    assert result.code == code, result
    answer = json.loads(result.out)
    assert answer["left"] == sum(not m["expunged"] for m in answer["lost"])
    return answer["lost"]


def test_what_no_peer_has_is_given_up(tmp_path):
    w = World(tmp_path)
    for folder in ("F", "G"):
        w.a.mkfolder(folder)
    w.sync()
    w.a.deliver("m:2,S", sub="cur")
    w.a.deliver("f:2,S", folder="F", sub="cur")
    w.a.deliver("g:2,", folder="G", sub="cur")
    w.a.deliver("kept:2,", folder="G", sub="cur")
    assert "no message is lost" in w.a.must("lost").out
    lose(w.a, "m", "f", "g")
    # found by this very run, and the peer was not asked yet
    assert [m["new"] for m in lost(w.a, "--expunge", code=2)] == [True] * 3
    found = lost(w.a)
    assert [m["mailbox"] for m in found] == ["F", "G", "INBOX"]
    assert {tuple(m["may_have"]) for m in found} == {(w.b.destination,)}
    assert {m["size"] for m in found} == {len(body(x)) for x in "mfg"} and found[0]["file"] == "f:2,S"
    result = w.a.command("lost", "--expunge")
    assert result.code == 2 and "may have it: " + w.b.destination in result.out and "do:" in result.err
    # now it is asked
    answer = w.sync(code=2)
    assert answer["missing"] == 3 and "mailbraid lost" in answer["err"]
    assert {len(m["may_have"]) for m in lost(w.a)} == {0}
    assert "given up" not in w.a.must("lost").out
    assert "see mailbraid lost" in w.a.must("status").out
    assert [m["mailbox"] for m in lost(w.a, "-m", "F", "--expunge")] == ["F"]
    assert counts(w.a) == (2, 0)
    result = w.a.must("lost", "--expunge")
    assert result.out.count("given up") == 2
    assert counts(w.a) == (0, 0)
    w.sync()
    w.check_equal()
    w.check_idle()
    assert w.a.names("G") == ["kept"] == w.b.names("G")


def test_what_a_peer_may_have_is_given_up_by_force_only(tmp_path):
    """And once it was in step, it has given the body back."""
    w = World(tmp_path)
    for name in "mn":
        w.a.deliver(name + ":2,", sub="cur")
    w.sync()
    lose(w.a, "m", "n")
    w.a.notice()
    assert len(lost(w.a)) == 2
    assert len(lost(w.a, "--expunge", code=2)) == 2
    assert w.b.names() == ["m", "n"]
    w.sync()
    assert lost(w.a) == [] and w.a.names() == ["m", "n"]
    lose(w.a, "m")
    w.a.notice()
    assert [m["expunged"] for m in lost(w.a, "--expunge", "--force")] == [True]
    w.sync()
    assert w.a.names() == ["n"] == w.b.names() and body("m") in w.b.kept()
    w.check_idle()


def test_a_peer_that_is_forgotten_is_not_asked_for(tmp_path):
    w = World(tmp_path)
    w.a.deliver("m:2,", sub="cur")
    w.sync()
    lose(w.a, "m")
    w.a.notice()
    lost(w.a, "--expunge", code=2)
    w.a.must("peer", "forget", "--yes", w.b.destination)
    assert [m["expunged"] for m in lost(w.a, "--expunge")] == [True]
    assert counts(w.a) == (0, 0)


@pytest.mark.parametrize("plain", [False, True], ids=["store", "maildir"])
def test_the_destination_of_a_backup_may_have_it(tmp_path, plain):
    a, b = Replica(tmp_path / "a"), Replica(tmp_path / "b", plain=plain)
    a.deliver("m:2,", sub="cur")
    a.must("backup", b.destination)
    lose(a, "m")
    a.notice()
    assert len(lost(a, "--expunge", code=2)[0]["may_have"]) == 1
    a.sync(b)
    assert lost(a) == [] and a.contents() == [body("m")]


def test_what_is_damaged_or_came_back_is_not_lost(tmp_path):
    w = World(tmp_path)
    w.a.deliver("m:2,", sub="cur")
    w.a.deliver("n:2,", sub="cur")
    path = w.a.path_of("n")
    w.a.must("checkpoint")
    hurt(w.a.path_of("m"))
    lose(w.a, "n")
    w.a.notice("-f")
    assert counts(w.a) == (1, 1)
    assert [m["file"] for m in lost(w.a)] == ["n:2,"]
    with open(path, "wb") as f:
        f.write(body("n"))
    assert lost(w.a, "--expunge", "--force") == []
    assert w.a.names() == ["m", "n"] and counts(w.a) == (0, 1)


def test_given_up_while_another_process_is_the_writer(tmp_path):
    a = Replica(tmp_path / "a")
    a.deliver("m:2,", sub="cur")
    a.deliver("n:2,", sub="cur")
    lose(a, "m")
    watch = subprocess.Popen([PROGRAM, "--store", a.path, "watch"], stderr=subprocess.DEVNULL)
    try:
        until("somebody listens", lambda: a.status()["writer"])
        assert [m["expunged"] for m in lost(a, "--expunge")] == [True]
        assert lost(a) == [] and a.names() == ["n"]
    finally:
        end(watch)
    assert counts(a) == (0, 0)


def test_lost_says_what_it_does_not_understand(tmp_path):
    a = Replica(tmp_path / "a")
    assert a.command("lost", "--force").code == 64
    assert a.command("lost", "x").code == 64
    assert a.command("lost", "-m", "\\Nothing").code == 64
    result = a.command("lost", "-m", "Nowhere")
    assert result.code == 2 and "no mailbox is called Nowhere" in result.err


def test_killed_at_each_step(tmp_path):
    n = steps = 0
    while n <= steps:
        w = World(tmp_path / str(n))
        w.a.deliver("m:2,S", sub="cur")
        w.sync()
        hurt(w.a.path_of("m"))
        left = w.a.read("m")
        if n == 0:
            count = str(tmp_path / "count")
            w.a.command("sync", "-f", w.b.destination, env={"MAILBRAID_COUNT_TO": count})
            steps = int(open(count, encoding="ascii").read().split("=")[1])
        else:
            done = w.a.command("sync", "-f", w.b.destination, env={"MAILBRAID_STOP_AT": str(n)})
            assert done.code in (-9, 0), done
        assert w.a.read("m") in (left, body("m")), n
        w.sync("-f")
        assert w.a.read("m") == body("m") == w.b.read("m"), n
        assert left in w.a.kept(), n
        assert counts(w.a) == (0, 0), n
        w.check_equal()
        w.b.sync(w.a)  # both say where they are
        w.sync()
        w.check_idle()
        n += 1 if "MAILBRAID_ALL_STEPS" in os.environ or n == 0 else 7  # test-mend.c has each step
    assert steps > 8
