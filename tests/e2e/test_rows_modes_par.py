"""Rows 43, 44, 126 to 137 and 144 of the scenarios: what is left out, held back, or only told.

What a row is and how it is played tells support/matrix.py.  Row 130: what is too large is skipped, and
its flags travel; 131 and 132: a window of dates chooses what arrives, nothing else.
"""

import os
import shutil

import pytest

from support.matrix import STORES, Rows, but, play
from support.replica import body

ROWS = Rows()
row = ROWS.row


def folder_of(w, count):
    w.a.mkfolder("F")
    for i in range(count):
        w.a.deliver(f"m{i}:2,", folder="F", sub="cur")


MOVED_OUT = but(
    "A message that both sides have, and that was moved to a mailbox that is left out, is moved there on the "
    "other side as well, and the mailbox is made for it."
)


@row(43, "moved to a folder that is left out: gone from the other side", STORES, but=MOVED_OUT)
def moved_out(w):
    w.a.mkfolder("X")
    w.a.deliver("m", folder="X")
    yield
    w.always = ("-x", "Out")
    w.a.mkfolder("Out")
    w.a.deliver("private", folder="Out")
    w.a.move("m", "Out")
    w.sync()
    assert w.a.names("Out") == ["m", "private"] and w.b.names("X") == []
    assert w.b.names("Out") == ["m"], "nothing else of it goes there"
    w.check_idle()
    w.always = ()
    yield


@row(44, "moved from a folder that is left out: new on the other side", STORES, apart=True)
def moved_in(w):
    w.a.mkfolder("X")
    yield
    w.always = ("-x", "Out")
    w.a.mkfolder("Out")
    w.a.deliver("m:2,S", folder="Out", sub="cur")
    yield
    assert w.b.folders() == ["INBOX", "X"]
    w.a.move("m", "X")
    yield
    assert w.b.names("X") == ["m"] and w.b.flags("m") == "S"


@row(126, "everything removed at once: held, the rest goes on, until somebody says so")
def mass_expunge(w):
    folder_of(w, 100)
    yield
    for name in w.a.names("F"):
        w.a.expunge(name, folder="F")
    w.b.deliver("meanwhile")
    for _ in range(2):
        answer = w.sync(code=1)
        assert answer["held"] == 100 and "held back" in answer["err"]
        assert len(w.b.names("F")) == 100 and len(w.a.names()) == 1
    yield "--allow-mass-expunge"
    assert w.b.names("F") == []


@row(127, "an empty directory where the mail was: nothing is expunged")
def empty_root(w):
    folder_of(w, 20)
    yield
    aside = w.a.path + "-aside"
    os.rename(w.a.mail, aside)
    for made in (False, True):
        if made and not os.path.isdir(w.a.mail):
            os.makedirs(w.a.mail)
        result = w.local.command("sync", *w.options(w.local), w.remote.destination)
        assert result.code != 0
        assert len(w.b.names("F")) == 20
    shutil.rmtree(w.a.mail)
    os.rename(aside, w.a.mail)
    yield
    assert len(w.a.names("F")) == 20


@row(128, "all folders vanish: held")
def folders_vanish(w):
    w.a.deliver("m")
    for folder in ("F", "G", "H"):
        w.a.mkfolder(folder)
        for i in range(12):
            w.a.deliver(f"{folder}{i}", folder=folder)
    yield
    aside = w.a.path + "-aside"
    os.makedirs(aside)
    for folder in ("F", "G", "H"):
        os.rename(w.a.folder(folder), os.path.join(aside, folder))
    assert w.sync(code=1)["held"] == 36
    assert len(w.b.contents()) == 37
    for folder in ("F", "G", "H"):
        os.rename(os.path.join(aside, folder), w.a.folder(folder))
    yield
    assert len(w.a.contents()) == 37 and w.a.folders() == ["F", "G", "H", "INBOX"]


@row(129, "nothing may be written at the other side: said once, and nothing is undone here", STORES)
def read_only(w):
    for name in "mn":
        w.a.deliver(name + ":2,", sub="cur")
    yield
    mine, theirs = w.local, w.remote
    mine.expunge("m")
    theirs.flag("n", "+F")
    for _ in range(2):  # by choice: nothing is sent, nothing is said
        w.sync("--push", "none")
        assert w.answer["notices"] == [] and not any(w.answer["sent"].values())
        assert theirs.names() == ["m", "n"] and mine.names() == ["n"] and mine.flags("n") == "F"
    yield
    assert theirs.names() == ["n"]


@row(130, "larger than the limit: skipped and told; its flags travel; a higher limit brings it", STORES)
def too_large(w):
    w.a.deliver("old:2,", body("old", 300_000), sub="cur")
    yield
    w.a.deliver("large:2,", body("large", 300_000), sub="cur")
    w.a.deliver("small")
    w.a.flag("old", "+F")
    w.sync("-I", "100k")
    assert w.b.names() == ["old", "small"] and w.b.flags("old") == "F"
    w.a.flag("large", "+S")
    w.sync("-I", "100k")
    assert w.b.names() == ["old", "small"]
    w.sync("-I", "1M")
    assert w.b.names() == ["large", "old", "small"] and w.b.flags("large") == "S"
    w.b.flag("large", "+R")
    yield
    assert w.a.flags("large") == "RS"


@row(131, "older than the window: does not arrive, and is not deleted where it is", STORES)
def window(w):
    w.a.deliver("m")
    yield
    w.a.deliver("old", mtime=10**18)
    w.a.deliver("young")
    w.sync("-t", "30days")
    assert w.b.names() == ["m", "young"] and w.a.names() == ["m", "old", "young"]
    w.b.expunge("young")
    w.sync("-t", "30days")
    assert w.a.names() == ["m", "old"], "what is removed in the window is removed"
    yield
    assert w.b.names() == ["m", "old"]


@row(132, "a message that grew old in the window: its flags travel", STORES)
def flagged_beyond_the_window(w):
    w.a.deliver("old:2,", sub="cur", mtime=10**18)
    yield
    w.b.flag("old", "+F")
    w.sync("-t", "30days")
    assert w.a.flags("old") == "F"
    yield


@row(133, "a folder is left out from now on: nothing in it is deleted anywhere", STORES)
def left_out(w):
    folder_of(w, 3)
    yield
    w.a.deliver("late", folder="F")
    w.b.expunge("m0", folder="F")
    w.a.deliver("n")
    w.sync("-x", "F")
    assert w.b.names() == ["n"]
    assert len(w.a.names("F")) == 4 and len(w.b.names("F")) == 2
    yield
    assert w.a.names("F") == ["late", "m1", "m2"]


@row(134, "a folder is taken in again: matched, nothing travels twice", STORES)
def taken_in_again(w):
    folder_of(w, 3)
    yield
    w.sync("-x", "F")
    w.a.deliver("late", folder="F")
    w.sync("-x", "F")
    yield
    assert w.answer["sent"]["new"] + w.answer["got"]["new"] == 1
    assert w.b.names("F") == ["late", "m0", "m1", "m2"]


@row(135, "pull only: what changed here is not pushed, run after run", STORES)
def pull_only(w):
    for name in "mno":
        w.a.deliver(name + ":2,", sub="cur")
    yield
    mine, theirs = w.local, w.remote
    mine.flag("m", "+F")
    mine.expunge("n")
    mine.deliver("mine")
    theirs.deliver("theirs")
    for _ in range(2):
        w.sync("--push", "none")
        assert theirs.names() == ["m", "n", "o", "theirs"] and theirs.flags("m") == ""
        assert mine.names() == ["m", "mine", "o", "theirs"] and mine.flags("m") == "F"
    yield
    assert theirs.names() == ["m", "mine", "o", "theirs"]


@row(136, "backup: the destination gets equal, with a preview", STORES)
def backup(w):
    folder_of(w, 3)
    w.a.deliver("m:2,S", sub="cur")
    yield
    source, mirror = w.local, w.remote
    mirror.deliver("stray")
    mirror.flag("m", "+F")
    mirror.expunge("m0", folder="F")
    source.deliver("new")
    before = source.tree()
    was = mirror.tree()
    preview = source.command("backup", "--dry-run", *w.options(source), mirror.destination)
    assert preview.code == 0 and mirror.tree() == was, preview
    for _ in range(2):
        result = source.command("backup", *w.options(source), mirror.destination)
        assert result.code == 0, result
        assert source.tree() == before and mirror.tree() == before
    yield


@row(137, "one way: what is deleted there is neither undone nor told", STORES)
def one_way(w):
    for name in "mno":
        w.a.deliver(name + ":2,", sub="cur")
    yield
    source, there = w.local, w.remote
    there.expunge("m")
    source.deliver("new")
    source.flag("n", "+F")
    for _ in range(2):
        w.sync("-1")
        assert there.names() == ["n", "new", "o"] and there.flags("n") == "F"
        assert source.names() == ["m", "n", "new", "o"]
    yield
    assert source.names() == ["n", "new", "o"]


@row(144, "a dry run tells the same, and changes nothing")
def dry_run(w):
    folder_of(w, 3)
    w.a.mkfolder("G")
    yield
    w.a.move("m0", "G")
    w.a.flag("m1", "+F")
    w.b.expunge("m2", folder="F")
    w.b.deliver("new")
    logs = [r.log_bytes() for r in w.stores]
    trees = w.a.tree(), w.b.tree()
    times = [os.stat(w.b.path_of("new")).st_atime_ns, os.stat(w.a.path_of("m1")).st_atime_ns]
    for _ in range(2):
        told = w.sync("--dry-run")
        assert (w.a.tree(), w.b.tree()) == trees and [r.log_bytes() for r in w.stores] == logs
    assert [os.stat(w.b.path_of("new")).st_atime_ns, os.stat(w.a.path_of("m1")).st_atime_ns] == times
    yield
    for side in ("sent", "got"):
        assert {k: told[side][k] for k in ("new", "flags", "moved", "expunged")} == {
            k: w.answer[side][k] for k in ("new", "flags", "moved", "expunged")
        }


@pytest.mark.parametrize("case", ROWS.cases())
def test_row(case, tmp_path, record_property):
    play(case, tmp_path, record_property)
