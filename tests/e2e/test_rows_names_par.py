"""Rows 63 to 79 of the scenarios: folders that meet, odd names, subscriptions.

What a row is and how it is played tells support/matrix.py.
"""

import os
import time

import pytest

from support.matrix import STORES, Rows, but, play
from support.replica import body

ROWS = Rows()
row = ROWS.row


def make(r, *directories):
    """Directories as another program makes them, each with a message that bears its name."""
    for directory in directories:
        for sub in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(r.mail, directory, sub))
        with open(os.path.join(r.mail, directory, "cur", "in:2,S"), "wb") as f:
            f.write(body(directory))


@row(63, "deleted on both sides")
def deleted_twice(w):
    w.a.mkfolder("F")
    w.a.deliver("m", folder="F")
    yield
    w.a.rmfolder("F")
    w.b.rmfolder("F")
    yield
    assert w.a.folders() == ["INBOX"]


@row(64, "a parent deleted, its child stays")
def parent_deleted(w):
    for folder in ("F", "F/sub"):
        w.a.mkfolder(folder)
        w.a.deliver("in-" + folder[-3:], folder=folder)
    yield
    w.a.rmfolder("F")
    yield
    assert w.b.folders() == ["F/sub", "INBOX"] and w.b.names("F/sub") == ["in-sub"]


@row(65, "made on both sides: one, with the mail of both")
def made_on_both(w):
    yield
    for r, name in ((w.a, "m"), (w.b, "n")):
        r.mkfolder("F")
        r.deliver(name, folder="F")
        r.mkfolder("F/sub")
    yield
    assert w.a.folders() == ["F", "F/sub", "INBOX"] and w.a.contents("F") == sorted([body("m"), body("n")])
    if len(w.stores) == 2:
        guids = [{x["mailbox_guid"] for x in r.log()[-3:] if x["mailbox"] == "F"} for r in w.stores]
        assert len(set.union(*guids)) <= 1


@row(66, "names that differ in case are two where the disk tells them apart")
def case_of_names(w):
    yield
    w.a.mkfolder("foo")
    w.a.deliver("m", folder="foo")
    w.b.mkfolder("Foo")
    w.b.deliver("n", folder="Foo")
    yield
    assert w.a.names("foo") == ["m"] and w.a.names("Foo") == ["n"]


@row("67a", "inbox/sub is INBOX/sub", apart=True)
def below_inbox(w):
    yield
    make(w.a, ".inbox.sub")
    yield
    assert w.b.contents() == [body(".inbox.sub")]
    assert [f.upper() for f in w.b.folders()] == ["INBOX", "INBOX/SUB"]


INBOXES = but("A directory that is called INBOX in other letters, beside INBOX, is left alone, and the run says so.")


@row("67b", "a folder Inbox beside INBOX is INBOX", apart=True, but=INBOXES)
def inbox_in_other_letters(w):
    yield
    make(w.a, ".Inbox")
    w.a.deliver("m")
    yield
    assert w.b.names() == ["m"] and w.b.folders() == ["INBOX"], "it does no harm to the others"
    assert w.a.names("Inbox") == ["in"], "and stays where it is"


@row(68, "INBOX renamed as IMAP does it, mail comes into it meanwhile")
def inbox_renamed(w):
    w.a.deliver("m")
    w.a.deliver("n:2,S", sub="cur")
    yield
    w.a.mkfolder("Old")
    w.a.move("m", "Old")
    w.a.move("n", "Old")
    w.b.deliver("late")
    yield
    assert w.b.names() == ["late"] and w.b.names("Old") == ["m", "n"] and w.b.flags("n") == "S"


@row(69, "a dot in a name, to a tree where dots are separators", STORES, layout=("fs", "maildir++"))
def dots(w):
    yield
    make(w.a, "a.b", "a.b/c.d", ".hidden")
    yield
    assert w.b.folders() == [".hidden", "INBOX", "a.b", "a.b/c.d"]
    assert {"\\2ehidden", "a\\2eb", "a\\2eb/c\\2ed"} == set(w.b.directories())
    w.b.deliver("back", folder="a.b")
    yield
    assert w.a.names("a.b") == ["back", "in"]


@row(70, "the other layout's separator in a name", STORES, layout=("maildir++", "fs"))
def separators(w):
    yield
    make(w.a, ".a\\2fb", ".c.d")
    yield
    assert sorted(w.b.directories()) == ["a\\2fb", "c/d"]
    assert w.b.contents() == sorted([body(".a\\2fb"), body(".c.d")])


@row(71, "names that lead elsewhere are refused, the others go on", apart=True)
def names_that_lead_elsewhere(w):
    yield
    make(w.a, ".a..b", "...x", "....", ".good")
    yield
    assert w.b.folders() == ["INBOX", "good"] and w.b.contents() == [body(".good")]
    assert w.a.plain or "cannot be that of a mailbox" in w.answer["err"]
    assert set(os.listdir(os.path.dirname(w.b.path))) == {"a", "b"}


LITERAL = [
    ".~root", ".#hash", ".%percent", ".*star", ".a b", ".trailing ", ".'quote'", '."quotes"', ".back\\slash",
    ".-rf", ".a=b", ".a:b", ".a,b", ".a\x01b", ".\u65e5\u672c\u8a9e",
]  # fmt: skip


@row(72, "names with signs are literal")
def literal_names(w):
    yield
    make(w.a, *LITERAL)
    yield
    assert w.b.folders() == sorted(["INBOX"] + [n[1:] for n in LITERAL])
    assert w.b.contents() == sorted(map(body, LITERAL))
    w.b.deliver("back", folder="~root")
    yield
    assert w.a.names("~root") == ["back", "in"]


@row(73, "modified UTF-7 and what looks like it: no two names for one mailbox")
def utf7(w):
    yield
    names = [".Entw&APw-rfe", ".Entwürfe", ".&-", ".&zz", ".x&AGE-"]
    make(w.a, *names)
    yield
    assert w.b.contents() == sorted(map(body, names))
    assert w.b.folders() == sorted(["INBOX"] + [n[1:] for n in names])


@row(74, "two ways to write an accent: bytes are kept")
def accents(w):
    yield
    make(w.a, ".caf\u00e9")
    make(w.b, ".cafe\u0301")
    yield
    assert w.a.folders() == sorted(["INBOX", "caf\u00e9", "cafe\u0301"])
    assert w.a.names("caf\u00e9") == w.a.names("cafe\u0301") == ["in"]


@row("75a", "names and paths near the limits", layout="fs")
def long_names(w):
    yield
    make(w.a, "x" * 255, "/".join(["y" * 200] * 8))
    yield
    assert len(w.b.contents()) == 2


@row("75b", "a name that the other side cannot hold: said, the others go on", STORES, layout=("fs", "maildir++"), apart=True)
def too_long_there(w):
    yield
    w.exit = 1
    make(w.a, "/".join(["y" * 200] * 2), "good")
    for i in range(5):
        w.a.deliver(f"more{i}", folder="/".join(["y" * 200] * 2))
    yield
    assert w.answer["err"].count("too long") == 1 and "give it a shorter one" in w.answer["err"]
    assert w.b.folders() == ["INBOX", "good"] or "good" in w.b.folders()
    assert body("good") in w.b.contents()
    assert "the name cannot be stored" in w.answer["err"]


@row(76, "folders called as the parts of a Maildir")
def parts_of_a_maildir(w):
    yield
    names = [".cur", ".new", ".tmp", ".dovecot.index", ".nfs0001", ".maildirfolder"]
    make(w.a, *names)
    yield
    assert w.b.contents() == sorted(map(body, names))


@row(77, "subscribed here, unsubscribed later there: not subscribed", STORES)
def subscribed(w):
    w.a.mkfolder("F")
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


@row(78, "a folder without new and tmp is made whole")
def without_new_and_tmp(w):
    yield
    os.makedirs(os.path.join(w.a.folder("F"), "cur"))
    with open(os.path.join(w.a.folder("F"), "cur", "m:2,S"), "wb") as f:
        f.write(body("m"))
    yield
    assert w.b.names("F") == ["m"]
    assert {"cur", "new"} <= set(os.listdir(w.b.folder("F")))
    time.sleep(2.1)  # until then a program may be making it
    yield
    assert {"cur", "new"} <= set(os.listdir(w.a.folder("F"))) or w.a.plain


@row(79, "many folders at once (200 here, a million messages in the benchmarks)")
def many_folders(w):
    yield
    for i in range(200):
        w.a.mkfolder(f"F{i}")
    yield
    assert len(w.b.folders()) == 201


@pytest.mark.parametrize("case", ROWS.cases())
def test_row(case, tmp_path, record_property):
    play(case, tmp_path, record_property)
