"""The index is a cache: whatever became of its bytes, it is made anew.

After a clean stop a change of its file is seen before it is opened.  After a kill it is believed; LMDB
believes its pages too and ends the process by an assertion or a bus error, which are caught: one run says
so, the next is right.
"""

import fcntl
import os
import random

import pytest

from support.replica import World


@pytest.fixture
def world(tmp_path):
    w = World(tmp_path / "w")
    w.a.mkfolder("F")
    for i in range(40):
        w.a.deliver(f"m{i}", sub="cur", folder="F" if i % 3 else "INBOX")
    w.sync()
    w.a.flag("m1", "+S")
    w.a.expunge("m2")
    w.sync()
    return w


def data(r):
    return os.path.join(r.path, "index", "data.mdb")


def heals(w):
    """A run may say that it has to be run again; never a signal, never a second time."""
    before = sorted(w.b.contents())
    codes = []
    for _ in range(3):
        done = w.a.command("sync", w.b.destination)
        codes.append(done.code)
        if done.code == 0:
            break
        assert done.code == 75, done
        assert "the index is damaged" in done.err and "run it again" in done.err, done
    assert codes in ([0], [75, 0]), codes
    assert sorted(w.b.contents()) == before
    w.check_equal()


@pytest.mark.parametrize("eighths", range(8))
def test_cut_short(world, eighths):
    os.truncate(data(world.a), os.path.getsize(data(world.a)) * eighths // 8)
    heals(world)


@pytest.mark.parametrize("seed", range(24))
def test_overwritten(world, seed):
    rnd = random.Random(seed)
    size = os.path.getsize(data(world.a))
    with open(data(world.a), "r+b") as f:
        for _ in range(rnd.choice([1, 5])):
            f.seek(rnd.randrange(size))
            n = rnd.choice([1, 8, 200, 4096])
            f.write(rnd.choice([b"\0", b"\xff", os.urandom(1)]) * n)
    heals(world)


def unclean(r):
    """As after a kill in this boot: the index is trusted without a look at its file."""
    path = os.path.join(r.path, "state")
    with open(path) as f:
        text = f.read()
    assert "clean=1" in text
    with open(path, "w") as f:
        f.write(text.replace("clean=1", "clean=0"))


@pytest.mark.parametrize("eighths", range(1, 8))
def test_cut_short_after_a_kill(world, eighths):
    unclean(world.a)
    os.truncate(data(world.a), os.path.getsize(data(world.a)) * eighths // 8)
    heals(world)


@pytest.mark.parametrize("seed", range(40))
def test_overwritten_after_a_kill(world, seed):
    """Bytes that no checksum covers may take keys away without a trace: then -f looks."""
    rnd = random.Random(seed)
    unclean(world.a)
    before = {*world.a.contents(), *world.b.contents()}
    size = os.path.getsize(data(world.a))
    with open(data(world.a), "r+b") as f:
        for _ in range(rnd.choice([1, 3, 10])):
            page = rnd.randrange(size // 4096) * 4096
            if rnd.random() < 0.3:  # two pages change places
                other = rnd.randrange(size // 4096) * 4096
                f.seek(page)
                one = f.read(4096)
                f.seek(other)
                two = f.read(4096)
                f.seek(other)
                f.write(one)
                f.seek(page)
                f.write(two)
            else:
                f.seek(page + rnd.choice([0, rnd.randrange(4096)]))
                f.write(rnd.choice([b"\0" * rnd.choice([8, 200, 4096]), rnd.randbytes(rnd.choice([1, 8, 200]))]))
    codes = []
    for full in ([], [], ["-f"], ["-f"]):
        from_, to = rnd.choice([(world.a, world.b), (world.b, world.a)])
        done = from_.command("sync", *full, to.destination)
        assert done.code in (0, 2, 75), done
        codes.append(done.code)
    assert codes[-1] == 0, (codes, done)
    assert {*world.a.contents(), *world.b.contents()} == before
    assert world.a.tree() == world.b.tree()


@pytest.mark.parametrize("seed", range(10))
def test_a_full_checkpoint_makes_it_whole(world, seed):
    """Two pages of a tree change places; where LMDB notes free ones, only the next writer meets it."""
    rnd = random.Random(seed)
    unclean(world.a)
    before = world.a.tree()
    pages = rnd.sample(range(2, os.path.getsize(data(world.a)) // 4096), 2)
    with open(data(world.a), "r+b") as f:
        read = []
        for page in pages:
            f.seek(page * 4096)
            read.append(f.read(4096))
        for page, text in zip(pages, reversed(read)):
            f.seek(page * 4096)
            f.write(text)
    for _ in range(3):
        done = world.a.command("checkpoint", "-f")
        assert done.code in (0, 75), done
    assert done.code == 0
    world.sync()
    assert world.a.tree() == world.b.tree() == before
    world.check_idle()


def test_status_of_a_cut_index(world):
    os.truncate(data(world.a), 8192)
    assert world.a.command("status").code == 0
    heals(world)


def test_status_after_a_kill_asks_to_be_run_again(world):
    unclean(world.a)
    os.truncate(data(world.a), 8192)
    done = world.a.command("status")
    assert done.code == 75 and "run it again" in done.err, done
    assert world.a.command("status").code == 0
    heals(world)


def test_without_a_lock_there_is_no_writer(world):
    unclean(world.a)
    os.unlink(os.path.join(world.a.path, "lock"))
    os.truncate(data(world.a), 8192)
    heals(world)


def test_a_living_writer_keeps_its_index(world):
    with open(os.path.join(world.a.path, "lock"), "r+b") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        unclean(world.a)
        os.truncate(data(world.a), 8192)
        done = world.a.command("status")
        assert done.code == 75 and "end the program" in done.err, done
        assert os.path.exists(data(world.a))
    heals(world)
