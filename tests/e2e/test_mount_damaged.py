"""A damaged file seen through the mount: it stays readable, and changes to the right body in place."""

import os

import pytest

from support.daemon import Daemon
from support.programs import need_fuse
from support.replica import Replica, run

BODY = b"Subject: m\n\nthe whole body\n"


@pytest.fixture
def pair():
    need_fuse()
    d = Daemon()
    b = Replica(os.path.join(d.base, "b"))
    yield d, b
    d.close()


def sync(d, b, *options):
    return run("--store", d.store, "sync", *options, "store:" + b.path).code


def read(path):
    with open(path, "rb") as f:
        return f.read()


def test_an_expunge_by_the_peer_takes_it_away(pair):
    d, b = pair
    d.deliver("m:2,S", BODY, sub="cur")
    d.deliver("n:2,S", BODY + b"n\n", sub="cur")
    assert sync(d, b) == 0
    assert read(d.path("cur", "m:2,S")) == BODY
    backing = os.path.join(d.backing, "cur", "m:2,S")
    os.truncate(backing, 9)
    os.utime(backing, (7000, 7000))
    os.unlink(os.path.join(b.mail, "cur", "m:2,S"))
    assert sync(d, b, "-f") == 0
    assert os.listdir(d.path("cur")) == ["n:2,S"]


@pytest.mark.parametrize("flag", ["", "F"])
def test_it_is_mended_while_open(pair, flag):
    d, b = pair
    d.deliver("m:2,S", BODY, sub="cur")
    assert sync(d, b) == 0
    here = d.path("cur", "m:2,S")
    ino = os.stat(here).st_ino
    assert read(here) == BODY
    backing = os.path.join(d.backing, "cur", "m:2,S")
    os.truncate(backing, 9)
    os.utime(backing, (7000, 7000))
    if flag:
        b.flag("m", "+F")
    assert sync(d, b, "-f") == 0
    here = d.path("cur", f"m:2,{flag}S")
    assert read(here) == BODY and os.stat(here).st_size == len(BODY)
    assert os.stat(here).st_ino == ino
    assert os.listdir(d.path("cur")) == [f"m:2,{flag}S"]
    assert os.listdir(os.path.join(d.store, "deleted", "damaged"))


def test_flags_move_and_unlink_in_the_mount(pair):
    d, b = pair
    d.deliver("m:2,", BODY, sub="cur")
    os.mkdir(d.path(".X"))
    for sub in ("tmp", "new", "cur"):
        os.mkdir(d.path(".X", sub))
    backing = os.path.join(d.backing, "cur", "m:2,")
    os.truncate(backing, 9)
    os.utime(backing, (7000, 7000))
    assert sync(d, b, "-f") == 2  # nobody else has it
    assert read(d.path("cur", "m:2,")) == BODY[:9]
    os.rename(d.path("cur", "m:2,"), d.path("cur", "m:2,F"))
    os.rename(d.path("cur", "m:2,F"), d.path(".X", "cur", "m:2,F"))
    assert sync(d, b) == 2
    assert b.names("X") == []
    os.unlink(d.path(".X", "cur", "m:2,F"))
    assert sync(d, b) == 0
    assert b.names("X") == []
