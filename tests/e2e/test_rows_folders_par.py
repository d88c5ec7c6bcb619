"""Rows 48 to 62 of the scenarios: folders made, renamed, deleted.

What a row is and how it is played tells support/matrix.py.
"""

import os

import pytest

from support.matrix import PLAIN, STORES, Rows, play
from support.replica import World, body

ROWS = Rows()
row = ROWS.row


def no_body_was_sent(w):
    assert w.answer["sent"]["new"] == w.answer["got"]["new"] == 0


@row(48, "a new folder is a whole Maildir")
def new_folder(w):
    yield
    w.a.mkfolder("N")
    yield
    assert {"cur", "new", "tmp"} <= set(os.listdir(w.b.folder("N"))) and w.b.names("N") == []


def in_f(w, *names):
    w.a.mkfolder("F")
    for name in names:
        w.a.deliver(name, folder="F")


@row(49, "a folder renamed")
def folder_renamed(w):
    in_f(w, "m", "n")
    yield
    w.a.mvfolder("F", "G")
    yield
    assert w.b.folders() == ["G", "INBOX"] and w.b.names("G") == ["m", "n"]
    no_body_was_sent(w)


@row(50, "a folder renamed while mail comes into it")
def renamed_with_news(w):
    in_f(w, "m")
    yield
    w.a.mvfolder("F", "G")
    w.b.deliver("n", folder="F")
    yield
    assert w.b.folders() == ["G", "INBOX"] and w.b.names("G") == ["m", "n"]


@row(51, "renamed here and, later, there: the later name", STORES)
def renamed_twice(w):
    in_f(w, "m")
    yield
    w.a.mvfolder("F", "G")
    w.notice()
    w.b.mvfolder("F", "H")
    w.notice()
    yield
    assert w.a.folders() == ["H", "INBOX"] and w.a.names("H") == ["m"]


@row("51'", "renamed here and there: one folder", PLAIN)
def renamed_twice_plain(w):
    in_f(w, "m")
    yield
    w.a.mvfolder("F", "G")
    w.b.mvfolder("F", "H")
    yield
    assert w.a.folders() in (["G", "INBOX"], ["H", "INBOX"]) and w.a.contents() == [body("m")]


@row(52, "renamed here, deleted there: it stays, with its mail")
def renamed_and_deleted(w):
    in_f(w, "m", "n")
    yield
    w.a.mvfolder("F", "G")
    w.b.rmfolder("F")
    yield
    assert w.b.folders() == ["G", "INBOX"] and w.b.names("G") == ["m", "n"]


@row(53, "renamed to G here, another G made there: both, unmixed")
def renamed_and_made(w):
    in_f(w, "m")
    yield
    w.a.mvfolder("F", "G")
    w.b.mkfolder("G")
    w.b.deliver("n", folder="G")
    yield
    kept = {tuple(w.a.names(f)) for f in w.a.folders()}
    if len(w.stores) == 2:
        assert kept == {(), ("m",), ("n",)} and "G" in w.a.folders()
    else:
        assert w.a.contents() == sorted([body("m"), body("n")]) and "G" in w.a.folders()


def swap(r, *names):
    """Names in a circle: the first becomes the second, the last the first."""
    r.mvfolder(names[-1], "temporary")
    for old, new in reversed(list(zip(names, names[1:]))):
        r.mvfolder(old, new)
    r.mvfolder("temporary", names[0])


@row(54, "two folders swap names, children follow")
def swapped(w):
    for folder in ("F", "G", "F/sub"):
        w.a.mkfolder(folder)
        w.a.deliver("in-" + folder.replace("/", "-"), folder=folder)
    yield
    swap(w.a, "F", "G")
    yield
    assert w.b.names("F") == ["in-G"] and w.b.names("G") == ["in-F"] and w.b.names("G/sub") == ["in-F-sub"]
    assert w.b.folders() == ["F", "G", "G/sub", "INBOX"]
    if len(w.stores) == 2:
        no_body_was_sent(w)


@row("54'", "two folders swap names while mail comes into both", STORES)
def swapped_with_news(w):
    for folder in ("F", "G"):
        w.a.mkfolder(folder)
        w.a.deliver("in-" + folder, folder=folder)
    yield
    swap(w.a, "F", "G")
    w.b.deliver("late-F", folder="F")
    w.b.deliver("late-G", folder="G")
    yield
    assert w.b.names("F") == ["in-G", "late-G"] and w.b.names("G") == ["in-F", "late-F"]


@row(55, "three folders rotate names")
def rotated(w):
    for folder in ("F", "G", "H"):
        w.a.mkfolder(folder)
        w.a.deliver("in-" + folder, folder=folder)
    yield
    swap(w.a, "F", "G", "H")
    yield
    assert (w.b.names("G"), w.b.names("H"), w.b.names("F")) == (["in-F"], ["in-G"], ["in-H"])


@row(56, "renamed with a child into which mail comes")
def child_with_news(w):
    w.a.mkfolder("F")
    w.a.mkfolder("F/sub")
    yield
    w.a.mvfolder("F", "G")
    w.b.deliver("n", folder="F/sub")
    yield
    assert w.b.folders() == ["G", "G/sub", "INBOX"] and w.b.names("G/sub") == ["n"]


@row(57, "into its own child: the file system refuses", layout="fs")
def into_itself(w):
    in_f(w, "m")
    yield
    with pytest.raises(OSError):
        os.rename(w.a.folder("F"), os.path.join(w.a.folder("F"), "sub"))
    yield
    assert w.b.names("F") == ["m"]


@row("57'", "F becomes F/sub where names are flat")
def becomes_a_child(w):
    in_f(w, "m")
    yield
    os.rename(w.a.folder("F"), w.a.folder("F/sub"))
    yield
    assert w.b.folders() == ["F/sub", "INBOX"] and w.b.names("F/sub") == ["m"]


@row(58, "moved into each other: no circle, nothing lost")
def into_each_other(w):
    for folder in ("F", "P"):
        w.a.mkfolder(folder)
        w.a.deliver("in-" + folder, folder=folder)
    yield
    w.a.mvfolder("F", "P/F")
    w.b.mvfolder("P", "F/P")
    yield
    assert w.a.contents() == sorted([body("in-F"), body("in-P")])
    if len(w.stores) == 2:
        assert w.a.folders() in (["F", "F/P", "INBOX"], ["INBOX", "P", "P/F"])


@row(59, "deleted and made again: another folder, the old mail is gone")
def recreated(w):
    in_f(w, "m", "n")
    yield
    w.a.rmfolder("F")
    w.notice()
    w.a.mkfolder("F")
    w.a.deliver("x", folder="F")
    yield
    assert w.b.names("F") == ["x"]


@row("59'", "deleted and made again before anybody looked")
def recreated_unseen(w):
    in_f(w, "m", "n")
    yield
    w.a.rmfolder("F")
    w.a.mkfolder("F")
    w.a.deliver("x", folder="F")
    yield
    assert w.b.names("F") == ["x"]


@row(60, "deleted and made again here, new mail in the old one there: the new mail stays")
def recreated_with_news(w):
    in_f(w, "m")
    yield
    w.a.rmfolder("F")
    w.notice()
    w.a.mkfolder("F")
    w.a.deliver("x", folder="F")
    w.b.deliver("late", folder="F")
    yield
    assert w.a.contents() == sorted([body("x"), body("late")])
    assert w.a.names("F") == ["late", "x"]


@row(61, "a folder deleted with its mail")
def folder_deleted(w):
    in_f(w, "m", "n")
    w.a.mkfolder("F/sub")
    yield
    w.b.rmfolder("F")
    yield
    assert w.a.folders() == ["F/sub", "INBOX"]
    for r in w.stores:
        assert r.status()["tombstones"] == 2
    if not w.a.plain:
        assert sorted(w.a.kept()) == [body("m"), body("n")]


@row(62, "deleted here, only flags there: deleted")
def deleted_against_flags(w):
    in_f(w, "m")
    yield
    w.a.rmfolder("F")
    w.b.flag("m", "+S")
    yield
    assert w.b.folders() == ["INBOX"]


@row("62'", "deleted here, new mail there: the new mail stays")
def deleted_against_news(w):
    in_f(w, "m")
    yield
    w.a.rmfolder("F")
    w.b.deliver("late", folder="F")
    yield
    assert w.a.folders() == ["F", "INBOX"] and w.a.names("F") == ["late"]


@pytest.mark.parametrize("case", ROWS.cases())
def test_row(case, tmp_path, record_property):
    play(case, tmp_path, record_property)


@pytest.mark.parametrize("mail", [0, 1])
@pytest.mark.parametrize("plain", ["", "b"])
def test_a_folder_takes_the_name_of_a_container(tmp_path, plain, mail):
    """Archive is only a name above Archive/2024, until Old is renamed to it."""
    w = World(tmp_path, plain=plain)
    w.a.mkfolder("Archive/2024")
    w.a.mkfolder("Old")
    w.a.deliver("m2", folder="Archive/2024")
    if mail:
        w.a.deliver("m1", folder="Old")
    w.sync()
    os.rename(w.a.folder("Old"), w.a.folder("Archive"))
    w.sync()
    for r in (w.a, w.b):
        assert r.folders() == ["Archive", "Archive/2024", "INBOX"]
        assert r.contents("Archive") == [body("m1")] * mail
        assert r.contents("Archive/2024") == [body("m2")]
    w.check_idle()
    w.a.deliver("late", folder="Archive")
    w.sync()
    assert body("late") in w.b.contents("Archive")
    w.check_equal()
