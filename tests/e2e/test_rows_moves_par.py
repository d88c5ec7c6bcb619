"""Rows 33 to 47 of the scenarios: moves and copies.

What a row is and how it is played tells support/matrix.py.
"""

import os

import pytest

from support.matrix import PLAIN, STORES, Rows, play
from support.replica import body

ROWS = Rows()
row = ROWS.row


def one_in_x(w, *more):
    w.a.mkfolder("X")
    for folder in more:
        w.a.mkfolder(folder)
    w.a.deliver("m", folder="X")


def no_body_was_sent(w):
    assert w.answer["sent"]["new"] == w.answer["got"]["new"] == 0


@row(33, "a move is a move")
def move(w):
    one_in_x(w, "Y")
    yield
    w.a.move("m", "Y")
    yield
    assert w.b.names("X") == [] and w.b.names("Y") == ["m"]
    no_body_was_sent(w)
    for r in w.stores:
        assert r.status()["messages"] == 1 and r.status()["tombstones"] == 0
    assert len({x["guid"] for r in w.stores for x in r.log() if x["guid"]}) == 1


@row(34, "a move under another base name")
def move_renamed(w):
    one_in_x(w, "Y")
    yield
    w.a.move("m", "Y", new="m-moved")
    yield
    assert w.b.names("X") == [] and w.b.contents("Y") == [body("m")]
    assert w.b.names("Y") == ["m-moved"] or w.b.plain
    no_body_was_sent(w)


@row(35, "a copy, and later an expunge of the first: one in Y")
def copy_then_expunge(w):
    one_in_x(w, "Y")
    yield
    w.a.copy("m", "Y")
    w.notice()
    w.a.expunge("m", folder="X")
    yield
    assert w.b.names("X") == [] and w.b.names("Y") == ["m"]


@row(36, "moved here, seen there")
def move_and_flag(w):
    one_in_x(w, "Y")
    yield
    w.a.move("m", "Y")
    w.b.flag("m", "+S")
    yield
    assert w.a.names("X") == [] and w.a.flags("m", "Y") == "S"


@row(37, "moved here, expunged there: it stays in Y, and that is said")
def move_and_expunge(w):
    one_in_x(w, "Y")
    yield
    w.a.move("m", "Y")
    w.b.expunge("m")
    yield
    assert w.b.names("Y") == ["m"] and w.b.names("X") == []
    assert w.said("moved on one side, expunged on the other")


@row("38a", "moved to Y and later to Z: Z", STORES)
def moved_twice(w):
    one_in_x(w, "Y", "Z")
    yield
    w.a.move("m", "Y")
    w.notice()
    w.b.move("m", "Z")
    w.notice()
    yield
    assert (w.a.names("X"), w.a.names("Y"), w.a.names("Z")) == ([], [], ["m"])
    assert w.said("moved to two mailboxes")


@row("38b", "moved to Z and later to Y: Y", STORES)
def moved_twice_back(w):
    one_in_x(w, "Y", "Z")
    yield
    w.b.move("m", "Z")
    w.notice()
    w.a.move("m", "Y")
    w.notice()
    yield
    assert (w.a.names("X"), w.a.names("Y"), w.a.names("Z")) == ([], ["m"], [])


@row("38c", "moved to Y and to Z: one of them", PLAIN)
def moved_twice_plain(w):
    one_in_x(w, "Y", "Z")
    yield
    w.a.move("m", "Y")
    w.b.move("m", "Z")
    yield
    assert w.a.names("X") == [] and sorted(w.a.names("Y") + w.a.names("Z")) == ["m"]


@row(39, "moved to Y on both sides: one")
def moved_alike(w):
    one_in_x(w, "Y")
    yield
    w.a.move("m", "Y")
    w.b.move("m", "Y")
    yield
    assert w.a.names("X") == [] and w.a.names("Y") == ["m"]


@row(40, "moved away and back")
def moved_back(w):
    one_in_x(w, "Y")
    yield
    w.a.move("m", "Y")
    w.notice()
    w.a.move("m", "X")
    yield
    assert w.b.names("X") == ["m"] and w.b.names("Y") == []
    no_body_was_sent(w)


@row(41, "moved to a new folder")
def moved_to_new_folder(w):
    one_in_x(w)
    yield
    w.a.mkfolder("Y")
    w.a.move("m", "Y")
    yield
    assert w.b.names("Y") == ["m"] and w.b.names("X") == []
    no_body_was_sent(w)


@row(42, "moved to a folder that the other side deletes")
def moved_to_deleted_folder(w):
    one_in_x(w, "Y")
    yield
    w.a.move("m", "Y")
    w.b.rmfolder("Y")
    yield
    assert w.a.contents() == [body("m")] and w.a.names("Y") == ["m"]


@row(45, "a whole folder moved elsewhere is no mass expunge")
def many_moves(w):
    w.a.mkfolder("Archive")
    for i in range(1000):
        w.a.deliver(f"m{i}:2,", sub="cur")
    yield
    for i in range(1000):
        name = f"m{i}:2,"
        os.rename(os.path.join(w.a.mail, "cur", name), os.path.join(w.a.folder("Archive"), "cur", name))
    yield
    assert w.b.names() == [] and len(w.b.names("Archive")) == 1000
    no_body_was_sent(w)


@row(46, "one file in two folders")
def hard_link(w):
    one_in_x(w, "Y")
    yield
    w.a.copy("m", "Y")
    yield
    assert w.b.names("X") == ["m"] and w.b.names("Y") == ["m"]
    for r in w.stores:
        assert len({x["guid"] for x in r.log() if x["guid"]}) == 1 or len(w.stores) == 1


@row("46'", "a copy made apart in time from the first")
def two_copies(w):
    one_in_x(w, "Y")
    w.a.copy("m", "Y")
    yield
    w.b.flag("m", "+F", folder="Y")
    w.a.expunge("m", folder="X")
    yield
    assert w.a.names("X") == [] and w.a.flags("m", "Y") == "F"


@row(47, "a UID in a name is only a hint")
def uid_in_name(w):
    w.a.mkfolder("Y")
    w.a.deliver("m,U=5:2,", body("m"), sub="cur")
    w.a.deliver("n,U=5:2,", body("n"), folder="Y", sub="cur")
    yield
    w.a.move("m,U=5", "Y")
    yield
    assert w.b.contents("Y") == sorted([body("m"), body("n")])


@row("47'", "the same name in the other folder")
def same_name_there(w):
    w.a.mkfolder("Y")
    w.a.deliver("m:2,", body("one"), sub="cur")
    yield
    w.a.move("m", "Y")
    w.b.deliver("m:2,", body("two"), folder="Y", sub="cur")
    yield
    assert w.a.contents("Y") == sorted([body("one"), body("two")])


@pytest.mark.parametrize("case", ROWS.cases())
def test_row(case, tmp_path, record_property):
    play(case, tmp_path, record_property)
