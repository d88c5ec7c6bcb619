"""Every row 1 to 62 of the scenarios of merging, told by files.

A row is a generator: what comes before its first `yield` is the base, each `yield` is ONE sync, and
what comes last says what must be there then, in its own words.  The runner adds what holds for all:
both trees are equal after each sync, and another sync does nothing, whoever starts it.

Each row runs with A starting, with B starting, and with a plain Maildir in the place of either side
where the row's question makes sense there.  Rows 19, 43 and 44 (IMAP, excluded folders) have no
means yet.

This file is long because it is one table: every row reads by itself.
"""

import os

import pytest

from support.replica import World, body

ROWS = []
STORES = ("a starts", "b starts")
PLAIN = ("b is a Maildir", "a is a Maildir")


def row(number, sentence, kinds=STORES + PLAIN, layout="maildir++", full=False):
    def register(function):
        for kind in kinds:
            ROWS.append(pytest.param(function, kind, layout, full, id=f"{number} {sentence}, {kind}"))
        return function

    return register


def world(path, kind, layout):
    if kind == "b is a Maildir":
        return World(path, "a", plain="b", layout=layout)
    if kind == "a is a Maildir":
        return World(path, "b", plain="a", layout=layout)
    return World(path, kind[0], layout=layout)


@pytest.mark.parametrize("play, kind, layout, full", ROWS)
def test_row(request, tmp_path, play, kind, layout, full):
    if play is folder_deleted and kind == "b is a Maildir":
        reason = "a sync with nothing to do may append to the log after a parent was deleted there"
        request.node.add_marker(pytest.mark.xfail(strict=False, reason=reason))
    w = world(tmp_path, kind, layout)
    story = play(w)
    next(story)
    w.sync()
    w.check_equal()
    for _ in story:
        w.sync(*(["-f"] if full else []))
        w.check_equal()
    w.check_idle()


# ---- messages and flags ------------------------------------------------------------------------


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


@row(28, "edited in place: the new content is sent, the old one goes", full=True)
def edited(w):
    w.a.deliver("m:2,S", sub="cur")
    yield
    w.a.edit("m", body("m, with a label"))
    yield
    assert [m[1:] for m in w.b.tree()["INBOX"]] == [("S", body("m, with a label"))]
    w.sync()
    assert w.a.contents() == [body("m, with a label")], "it is not taken for an expunge later"


@row(29, "edited here, expunged there: the new content stays", full=True)
def edited_and_expunged(w):
    w.a.deliver("m:2,", sub="cur")
    yield
    w.a.edit("m", body("m, with a label"))
    w.b.expunge("m")
    yield
    assert w.b.contents() == [body("m, with a label")]
    assert w.said("edited on one side, expunged on the other") or len(w.stores) == 1


@row(30, "edited here, flagged there: both", STORES, full=True)
def edited_and_flagged(w):
    w.a.deliver("m:2,", sub="cur")
    yield
    w.a.edit("m", body("m, with a label"))
    w.b.flag("m", "+F")
    yield
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


@row("32'", "edited in place on both sides: two, and a notice", full=True)
def both_edited(w):
    w.a.deliver("d:2,D", sub="cur")
    yield
    w.a.edit("d", body("one text"))
    w.b.edit("d", body("another text"))
    yield
    assert w.a.contents() == sorted([body("one text"), body("another text")])
    assert w.said("edited on both sides") or len(w.stores) == 1


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


# ---- moves -------------------------------------------------------------------------------------


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


# ---- folders -----------------------------------------------------------------------------------


@row(77, "subscribed here, unsubscribed later there: not subscribed", STORES)
def subscribed(w):
    in_f(w)
    in_file = lambda r: os.path.join(r.mail, "subscriptions")
    yield
    for r, text in ((w.a, "V\t2\n\nINBOX\nF\n"), (w.b, "V\t2\n\nINBOX\nF\n"), (w.b, "V\t2\n\nINBOX\n")):
        with open(in_file(r) + ".lock", "w", encoding="utf-8") as f:
            f.write(text)
        os.rename(in_file(r) + ".lock", in_file(r))
        w.notice()
    yield
    assert "F" not in open(in_file(w.a), encoding="utf-8").read().split()
    with open(in_file(w.b), "a", encoding="utf-8") as f:
        f.write("F\n")
    yield
    assert "F" in open(in_file(w.a), encoding="utf-8").read().split()


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


def test_every_row_is_there():
    numbers = {int("".join(c for c in p.id.split()[0] if c.isdigit())) for p in ROWS}
    assert numbers == set(range(1, 63)) - {19, 43, 44} | {77}
