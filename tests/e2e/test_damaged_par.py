"""A message file that was cut short, emptied or zeroed in its own inode.

It stays where it is, is sent to nobody and is no expunge; the exit code says that something is wrong
until a peer has given the body back or its owner has deleted it.
"""

import os

import pytest

from support.replica import Replica, World, body


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
    assert answer["missing"] == 1 and "delete them" in answer["err"]
    assert w.sync(code=2)["missing"] == 1
    assert counts(w.a) == (1, 0)


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
