"""Rows 1 to 32c of the scenarios: messages and flags.

What a row is and how it is played tells support/matrix.py.
"""

import os

import pytest

from support.matrix import STORES, Rows, but, play
from support.replica import body

ROWS = Rows()
row = ROWS.row

EDITS = but(
    "A file that a program rewrote in place, without the mount, is looked at in a full comparison only.",
    depths=("changed", "stateful"),
)


def edits_wait(w):
    """Where edits are not looked for, nothing happens to them; `-f` finds them.  In a plain Maildir
    those of a folder that has just changed are looked for: a file may still be being written."""
    if w.excepted and len(w.stores) == 2:
        before = w.a.contents(), w.b.contents()
        w.sync()
        assert (w.a.contents(), w.b.contents()) == before
    return "-f"



@row(1, "a new message goes over with bytes, date and flags")
def new_message(w):
    yield
    date = 1_500_000_000_123_456_789
    w.a.deliver("m", mtime=date)
    w.a.deliver("n:2,FS", sub="cur", mtime=date)
    yield
    assert w.b.read("m") == body("m") and w.b.read("n") == body("n")
    assert os.stat(w.b.path_of("m")).st_mtime_ns == date
    assert w.b.path_of("m").endswith("/new/m")
    assert w.b.flags("n") == "FS"


@row(2, "an expunge goes over and can be undone")
def expunge_comes_over(w):
    w.a.deliver("m")
    yield
    w.b.expunge("m")
    yield
    assert w.a.names() == []
    assert body("m") in w.local.kept() or w.local is w.b
    for r in w.stores:
        assert r.status()["messages"] == 0 and r.status()["tombstones"] == 1


@row(3, "an expunge on both sides is one")
def expunged_twice(w):
    w.a.deliver("m")
    yield
    w.a.expunge("m")
    w.b.expunge("m")
    yield
    assert w.a.names() == []
    for r in w.stores:
        assert r.status()["tombstones"] == 1


@row(4, "Seen goes over")
def seen(w):
    w.a.deliver("m")
    yield
    w.a.flag("m", "+S")
    yield
    assert w.b.flags("m") == "S"


@row(5, "flags of both sides")
def two_flags(w):
    w.a.deliver("m")
    yield
    w.a.flag("m", "+S")
    w.b.flag("m", "+F")
    yield
    assert w.a.flags("m") == "FS"


@row(6, "one flag less here, one more there")
def less_and_more(w):
    w.a.deliver("m:2,S", sub="cur")
    yield
    w.a.flag("m", "-S")
    w.b.flag("m", "+R")
    yield
    assert w.a.flags("m") == "R"


@row(7, "an expunge beats a flag and says so")
def expunge_beats_flag(w):
    w.a.deliver("m")
    yield
    w.a.flag("m", "+F")
    w.b.expunge("m")
    yield
    assert w.a.names() == []
    assert w.said("flags changed on one side, expunged on the other")
    if not w.a.plain:
        assert body("m") in w.a.kept()


@row(8, "a flag set and taken away is nothing")
def flag_and_back(w):
    w.a.deliver("m:2,", sub="cur")
    yield
    w.a.flag("m", "+F")
    w.notice()
    w.a.flag("m", "-F")
    yield
    assert w.b.flags("m") == ""


@row(9, "set here beats not set there")
def set_beats_nothing(w):
    w.a.deliver("m:2,", sub="cur")
    yield
    w.a.flag("m", "+F")
    w.b.flag("m", "-F")
    yield
    assert w.b.flags("m") == "F"


@row("10a", "taken away and set again later: set", STORES)
def later_set_wins(w):
    w.a.deliver("m:2,F", sub="cur")
    yield
    w.b.flag("m", "-F")
    w.notice()
    w.a.flag("m", "-F")
    w.notice()
    w.a.flag("m", "+F")
    w.notice()
    yield
    assert w.b.flags("m") == "F"


@row("10b", "taken away later than set again: not set", STORES)
def later_clear_wins(w):
    w.a.deliver("m:2,F", sub="cur")
    yield
    w.a.flag("m", "-F")
    w.notice()
    w.a.flag("m", "+F")
    w.notice()
    w.b.flag("m", "-F")
    w.notice()
    yield
    assert w.a.flags("m") == ""


@row(11, "deleted set here, unset later there", STORES)
def undeleted_later(w):
    w.a.deliver("m:2,", sub="cur")
    yield
    w.a.flag("m", "+T")
    w.b.flag("m", "+T")
    w.notice()
    w.b.flag("m", "-T")
    w.notice()
    yield
    assert w.a.flags("m") == ""


@row(12, "an expunge run takes the deleted message on both sides")
def expunge_run(w):
    w.a.deliver("m:2,T", sub="cur")
    yield
    w.b.expunge("m")
    yield
    assert w.a.names() == []


@row(13, "undeleted here, expunged there: gone, recoverable, reported")
def undelete_against_expunge(w):
    w.a.deliver("m:2,T", sub="cur")
    yield
    w.a.flag("m", "-T")
    w.b.expunge("m")
    yield
    assert w.a.names() == []
    assert w.said("flags changed on one side, expunged on the other")
    if not w.a.plain:
        assert body("m") in w.a.kept()


@row(14, "keywords by name, whatever their letters")
def keywords_by_name(w):
    w.a.deliver("m:2,", sub="cur")
    w.a.keywords("INBOX", "work")
    w.b.keywords("INBOX", "home")
    yield
    w.a.flag("m", "+a")
    w.b.flag("m", "+a")
    yield
    for words in w.flag_words("m"):
        assert words == {"work", "home"}
    assert "a" in w.a.flags("m") and "a" in w.b.flags("m")


@row(15, "a 27th keyword is kept where the letters are used up", STORES)
def too_many_keywords(w):
    w.a.deliver("m:2,", sub="cur")
    w.a.keywords("INBOX", *[f"k{i}" for i in range(26)])
    w.b.keywords("INBOX", "late")
    yield
    w.b.flag("m", "+a")
    yield
    assert [words for words in w.flag_words("m")] == [{"late"}, {"late"}]
    assert w.a.flags("m") == ""


@row(16, "keywords that differ in case only are one")
def keyword_case(w):
    w.a.deliver("m:2,", sub="cur")
    w.a.keywords("INBOX", "Junk")
    w.b.keywords("INBOX", "junk")
    yield
    w.a.flag("m", "+a")
    w.b.flag("m", "+a")
    yield
    for words in w.flag_words("m"):
        assert {word.lower() for word in words} == {"junk"} and len(words) == 1
    assert w.a.flags("m") == "a" and w.b.flags("m") == "a"


@row(17, "flag letters in any order are a set")
def unsorted_letters(w):
    yield
    w.a.deliver("m:2,SF", sub="cur")
    w.a.deliver("n:2,SSF", sub="cur")
    yield
    assert w.b.flags("m") == "FS" and w.b.flags("n") == "FS"
    assert w.a.flags("m") == "SF" and w.a.flags("n") == "SSF"


@row(18, "an unknown letter stays where it is")
def unknown_letter(w):
    w.a.deliver("m:2,", sub="cur")
    yield
    os.rename(w.a.path_of("m"), w.a.path_of("m") + "SX")
    yield
    assert w.a.flags("m") == "SX" and w.b.flags("m") == "S"
    w.b.flag("m", "+F")
    yield
    assert set(w.a.flags("m")) == set("FSX")


@row(20, "opened only: no change and no deletion")
def opened(w):
    w.a.deliver("m")
    yield
    w.a.flag("m", "+")
    yield
    assert not any(w.answer["sent"].values()) and not any(w.answer["got"].values())
    assert w.b.names() == ["m"] and w.a.path_of("m").endswith("/cur/m:2,")


@row(21, "new there, seen here: one message in cur")
def seen_here_new_there(w):
    w.a.deliver("m")
    yield
    w.a.flag("m", "+S")
    yield
    assert w.b.names() == ["m"] and w.b.path_of("m").endswith("/cur/m:2,S")


@row(22, "two equal messages are two")
def twins(w):
    yield
    w.a.deliver("t1", body("t"))
    w.a.deliver("t2", body("t"))
    yield
    assert w.b.names() == ["t1", "t2"] and w.b.contents() == [body("t")] * 2


@row("22'", "a second link of a file in its folder is a twin")
def linked_twins(w):
    w.a.deliver("m:2,", sub="cur")
    w.b.deliver("n:2,", sub="cur")
    yield
    w.a.copy("m", "INBOX", new="m2")
    w.b.copy("n" if not w.b.plain else w.b.names()[-1], "INBOX", new="n2")
    yield
    assert w.a.contents() == w.b.contents() == sorted([body("m"), body("m"), body("n"), body("n")])
    w.a.flag("m2", "+F")
    yield
    assert sorted(m[1] for m in w.b.tree()["INBOX"]) == ["", "", "", "F"]


@row(23, "one twin deleted, the other flagged: one is left, with its flag")
def twins_apart(w):
    w.a.deliver("t1", body("t"))
    w.a.deliver("t2", body("t"))
    yield
    w.a.expunge("t1")
    w.b.flag("t2", "+F")
    yield
    assert w.b.names() == ["t2"] and w.a.flags("t2") == "F"


@row(24, "delivered on both sides: one")
def dual_delivery(w):
    yield
    w.a.deliver("m1", body("m"))
    w.b.deliver("m2", body("m"))
    yield
    assert w.a.contents() == [body("m")]


@row(25, "a list's footer makes two")
def footer(w):
    yield
    w.a.deliver("m1", body("m") + b"-- \nlist\n")
    w.b.deliver("m2", body("m"))
    yield
    assert w.a.contents() == sorted([body("m"), body("m") + b"-- \nlist\n"])


@row(26, "no Message-ID is needed")
def no_message_id(w):
    yield
    w.a.deliver("m", b"Subject: x\n\nx\n")
    yield
    assert w.b.read("m") == b"Subject: x\n\nx\n"


@row(27, "equal headers, two texts: two messages")
def same_headers(w):
    yield
    w.a.deliver("m1", body("m") + b"a")
    w.a.deliver("m2", body("m") + b"b")
    yield
    assert w.b.contents() == [body("m") + b"a", body("m") + b"b"]


@row(28, "edited in place: the new content is sent, the old one goes", but=EDITS)
def edited(w):
    w.a.deliver("m:2,S", sub="cur")
    yield
    w.a.edit("m", body("m, with a label"))
    yield edits_wait(w)
    assert [m[1:] for m in w.b.tree()["INBOX"]] == [("S", body("m, with a label"))]
    w.sync()
    assert w.a.contents() == [body("m, with a label")], "it is not taken for an expunge later"


@row(29, "edited here, expunged there: the new content stays")
def edited_and_expunged(w):
    w.a.deliver("m:2,", sub="cur")
    yield
    w.a.edit("m", body("m, with a label"))
    w.b.expunge("m")
    yield
    assert w.b.contents() == [body("m, with a label")]
    assert w.said("edited on one side, expunged on the other")


@row(30, "edited here, flagged there: both", but=EDITS)
def edited_and_flagged(w):
    w.a.deliver("m:2,", sub="cur")
    yield
    w.a.edit("m", body("m, with a label"))
    w.b.flag("m", "+F")
    yield edits_wait(w)
    assert w.a.contents() == [body("m, with a label")]
    assert w.a.tree()["INBOX"][0][1] == "F"


@row(31, "a draft replaced five times: the last one")
def draft(w):
    w.a.deliver("d0:2,D", sub="cur")
    yield
    for i in range(5):
        w.a.deliver(f"d{i + 1}:2,D", sub="cur")
        w.a.expunge(f"d{i}")
        if i == 2:
            w.notice()
    yield
    assert w.b.names() == ["d5"] and w.b.read("d5") == body("d5") and w.b.flags("d5") == "D"


@row(32, "a draft replaced on both sides: two drafts")
def two_drafts(w):
    w.a.deliver("d:2,D", sub="cur")
    yield
    for r, name in ((w.a, "da"), (w.b, "db")):
        r.deliver(name + ":2,D", sub="cur")
        r.expunge("d")
    yield
    assert w.a.names() == ["da", "db"] and w.a.flags("da") == "D" == w.a.flags("db")


@row("32'", "edited in place on both sides: two, and a notice", but=EDITS)
def both_edited(w):
    w.a.deliver("d:2,D", sub="cur")
    yield
    w.a.edit("d", body("one text"))
    w.b.edit("d", body("another text"))
    yield edits_wait(w)
    assert w.a.contents() == sorted([body("one text"), body("another text")])
    assert w.said("edited on both sides")


@row("32a", "one new message on each side, equal counters")
def equal_counters(w):
    w.a.deliver("m0")
    yield
    w.a.deliver("m1")
    w.b.deliver("m2")
    yield
    assert w.a.names() == ["m0", "m1", "m2"]


@row("32b", "another flag on each side, equal modseqs")
def equal_modseqs(w):
    w.a.deliver("m:2,", sub="cur")
    yield
    w.a.flag("m", "+F")
    w.b.flag("m", "+R")
    yield
    assert w.a.flags("m") == "FR"


@row("32c", "one more and one less on each side, equal counts")
def equal_counts(w):
    for name in ("x", "y"):
        w.a.deliver(name)
    yield
    w.a.deliver("p")
    w.a.expunge("x")
    w.b.deliver("q")
    w.b.expunge("y")
    yield
    assert w.a.names() == ["p", "q"]


@pytest.mark.parametrize("case", ROWS.cases())
def test_row(case, tmp_path, record_property):
    play(case, tmp_path, record_property)
