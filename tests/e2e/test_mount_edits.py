"""A program rewrites a message in the mount while a peer changes it: what was written stays."""

import os

import pytest

from support.daemon import Daemon
from support.programs import need_fuse
from support.replica import Replica, run
from support.wait import until

OLD = b"Subject: m\n\nthe old body, which is somewhat longer\n"
NEW = b"Subject: new\n\nrewritten\n"
MORE = b"and more\n"
WAYS = {
    "truncated": os.O_WRONLY | os.O_TRUNC,
    "appended": os.O_WRONLY | os.O_APPEND,
    "in place": os.O_RDWR,
}


@pytest.fixture
def pair():
    need_fuse()
    d = Daemon()
    b = Replica(os.path.join(d.base, "b"))
    for folder, name in (("", "m"), (".F", "f")):
        if folder:
            d.folder(folder)
        d.deliver(name + ":2,", OLD + folder.encode(), folder=folder, sub="cur")
    d.deliver("other:2,", OLD + b"other\n", sub="cur")
    assert sync(d, b) == 0
    yield d, b
    d.close()


def sync(d, b, *options):
    return run("--store", d.store, "sync", *options, "store:" + b.path).code


def log_of(d):
    """(what, program) of each record"""
    seen = Replica.__new__(Replica)
    seen.path = d.store
    return [(x["what"], x["program"]) for x in seen.log() if x["what"] in ("edit", "expunge")]


def read(path):
    with open(path, "rb") as f:
        return f.read()


def wrote(way):
    """What the file holds after `NEW` was written in this way."""
    return {"truncated": NEW, "appended": OLD + NEW, "in place": NEW + OLD[len(NEW) :]}[way]


def write_on(d, b, fd):
    """The program goes on, and what it wrote has settled."""
    os.write(fd, MORE)
    os.fsync(fd)
    os.close(fd)
    assert sync(d, b) == 0


@pytest.mark.parametrize("way", WAYS)
def test_the_peer_expunges_what_is_being_written(pair, way):
    d, b = pair
    fd = os.open(d.path("cur", "m:2,"), WAYS[way])
    os.write(fd, NEW)
    b.expunge("m")
    sync(d, b)
    assert read(d.path("cur", "m:2,")) == wrote(way)
    os.close(fd)
    assert sync(d, b) == 0
    assert [what for what, _ in log_of(d)] == ["edit"]  # no expunge, of nobody
    assert read(d.path("cur", "m:2,")) == wrote(way)
    assert wrote(way) in b.contents()


@pytest.mark.parametrize("way", ["appended", "replaced"])
def test_the_peer_expunges_what_was_written_in_the_backing_directory(pair, way):
    d, b = pair
    b.deliver("n:2,", OLD + b"n\n", sub="cur")  # one that the daemon has not open itself
    assert sync(d, b) == 0
    path = os.path.join(d.backing, "cur", "n:2,")
    if way == "appended":
        with open(path, "ab") as f:
            f.write(NEW)
    else:
        with open(os.path.join(d.backing, "tmp", "x"), "wb") as f:
            f.write(NEW)
        os.rename(f.name, path)
    want = read(path)
    b.expunge("n")
    # the first may find the edit only when it is about to expunge it: then it travels with the next
    until("a sync that has done all", lambda: sync(d, b) == 0 and want in b.contents())
    assert read(d.path("cur", "n:2,")) == want
    assert [what for what, _ in log_of(d)] == ["edit"]


def test_the_peer_deletes_the_folder_of_what_is_being_written(pair):
    d, b = pair
    fd = os.open(d.path(".F", "cur", "f:2,"), os.O_WRONLY | os.O_TRUNC)
    os.write(fd, NEW)
    b.rmfolder("F")
    sync(d, b)
    os.close(fd)
    assert sync(d, b) == 0
    assert read(d.path(".F", "cur", "f:2,")) == NEW
    assert NEW in b.contents("F")


@pytest.mark.parametrize("way", WAYS)
def test_a_program_writes_on_after_the_expunge(pair, way):
    d, b = pair
    fd = os.open(d.path("cur", "m:2,"), WAYS[way])
    os.write(fd, NEW)
    b.expunge("m")
    sync(d, b)
    write_on(d, b, fd)
    here = read(d.path("cur", "m:2,"))
    assert here.startswith(wrote(way)[: len(NEW)]) and MORE in here
    assert here in b.contents()
    # as long, at the same place: only the time tells
    fd = os.open(d.path("cur", "m:2,"), os.O_RDWR)
    os.write(fd, b"SUBJECT")
    os.fsync(fd)
    os.close(fd)
    assert sync(d, b) == 0
    assert read(d.path("cur", "m:2,")).startswith(b"SUBJECT")
    assert [x[:7] for x in b.contents("INBOX")] == [b"SUBJECT", b"Subject"]


def test_a_program_writes_on_after_a_flag(pair):
    d, b = pair
    fd = os.open(d.path("cur", "m:2,"), os.O_WRONLY | os.O_TRUNC)
    os.write(fd, NEW)
    b.flag("m", "+F")
    sync(d, b)
    assert read(d.path("cur", "m:2,F")) == NEW
    write_on(d, b, fd)
    assert read(d.path("cur", "m:2,F")) == NEW + MORE
    assert NEW + MORE in b.contents("INBOX") and len(b.contents("INBOX")) == 2
    assert b.flags("m") == "F"


def test_a_program_writes_on_after_its_folder_was_renamed(pair):
    d, b = pair
    fd = os.open(d.path(".F", "cur", "f:2,"), os.O_WRONLY | os.O_TRUNC)
    os.write(fd, NEW)
    b.mvfolder("F", "G")
    assert sync(d, b) == 0
    write_on(d, b, fd)
    assert read(d.path(".G", "cur", "f:2,")) == NEW + MORE
    assert b.contents("G") == [NEW + MORE]


def test_a_program_writes_on_after_the_peer_moved_the_message(pair):
    """What it writes goes into its own file, not into the one that the peer has in another folder."""
    d, b = pair
    fd = os.open(d.path("cur", "m:2,"), os.O_RDWR | os.O_TRUNC)
    os.write(fd, NEW)
    b.move("m", "F")
    sync(d, b)
    os.write(fd, MORE)
    assert os.pread(fd, 1000, 0) == NEW + MORE
    write_on(d, b, fd)
    assert read(d.path("cur", "m:2,")) == NEW + MORE + MORE
    assert read(d.path(".F", "cur", "m:2,")) == OLD
    assert sorted(os.listdir(d.path(".F", "cur"))) == ["f:2,", "m:2,"]
    assert NEW + MORE + MORE in b.contents("INBOX") and OLD in b.contents("F")
    assert len(b.contents()) == 4
    assert read(os.path.join(d.backing, "cur", "m:2,")) == NEW + MORE + MORE
