"""Names of folders that are hard for one layout, for the other, or for both (rows 67 to 76).

A folder made by hand goes to a store of the other layout and on to a third one of the first layout,
and stands there under the same name.  One that we would have written otherwise (an escape, a control
byte) is spelled our way there, which means the same; where it was made it stays as it is.
What cannot be a mailbox is said, once, and nothing else waits for it.
"""

import os
import shutil

import pytest

from support.replica import Replica, body

PP, FS = "maildir++", "fs"
OTHER = {PP: FS, FS: PP}

# layout, as made by hand, in the other layout, in a third store (None: as made)
HELD = [
    (PP, b".F", b"F", None),
    (PP, b".a\\2eb", b"a.b", None),
    (PP, b".~x", b"\\7ex", b".\\7ex"),
    (PP, b".#x", b"#x", None),
    (PP, b".%x", b"%x", None),
    (PP, b".*x", b"*x", None),
    (PP, b". x", b" x", None),
    (PP, b".x ", b"x ", None),
    (PP, b'."q"', b'"q"', None),
    (PP, b".'q'", b"'q'", None),
    (PP, b".b\\s", b"b\\s", None),
    (PP, b".b\\5cs", b"b\\5c5cs", b".b\\5c5cs"),
    (PP, b".n\nl", b"n\\0al", b".n\\0al"),
    (PP, b".t\tb", b"t\\09b", b".t\\09b"),
    (PP, b".\x01c", b"\\01c", b".\\01c"),
    (PP, b".\x7fd", b"\\7fd", b".\\7fd"),
    (PP, b".Entw&APw-rfe", b"Entw&APw-rfe", None),
    (PP, b".&-", b"&-", None),
    (PP, b".&bad", b"&bad", None),
    (PP, ".Entw\u00fcrfe".encode(), "Entw\u00fcrfe".encode(), None),
    (PP, ".Entwu\u0308rfe".encode(), "Entwu\u0308rfe".encode(), None),
    (PP, b".\xff\xfe", b"\xff\xfe", None),
    (PP, b".cur", b"\\63ur", None),
    (PP, b".new", b"\\6eew", None),
    (PP, b".tmp", b"\\74mp", None),
    (PP, b".dovecot.index", b"dovecot/index", None),
    (PP, b".dovecot\\2eindex", b"\\64ovecot.index", None),
    (PP, b".nfs0001", b"nfs0001", None),
    (PP, b".maildirfolder", b"\\6daildirfolder", None),
    (PP, b".subscriptions", b"\\73ubscriptions", None),
    (PP, b".INBOX.x", b"INBOX/x", None),
    (PP, b".inbox.y", b"INBOX/y", b".INBOX.y"),
    (PP, b"." + b"n" * 254, b"n" * 254, None),
    (PP, b"." + b".".join([b"d" * 24] * 10), b"/".join([b"d" * 24] * 10), None),
    (FS, b"a.b", b".a\\2eb", None),
    (FS, b"a\\2fb", b".a\\2fb", None),
    (FS, b"~x", b".\\7ex", b"\\7ex"),
    (FS, b" x", b". x", None),
    (FS, b"x.", b".x\\2e", None),
    (FS, b".x", b".\\2ex", b"\\2ex"),
    (FS, b"\\2ex", b".\\2ex", None),
    (FS, b"b\\5cs", b".b\\5c5cs", b"b\\5c5cs"),
    (FS, b"n\nl", b".n\\0al", b"n\\0al"),
    (FS, b"&-", b".&-", None),
    (FS, b"\xff\xfe", b".\xff\xfe", None),
    (FS, b"\\63ur", b".cur", None),
    (FS, b"\\64ovecot.index", b".dovecot\\2eindex", None),
    (FS, b"dovecot", b".dovecot", None),
    (FS, b".nfs0001", b".\\2enfs0001", b"\\2enfs0001"),
    (FS, b"\\6daildirfolder", b".maildirfolder", None),
    (FS, b"INBOX/x", b".INBOX.x", None),
    (FS, b"inbox/y", b".INBOX.y", b"INBOX/y"),
    (FS, b"d1/d2/d3/d4", b".d1.d2.d3.d4", None),
    (FS, b"x" * 254, b"." + b"x" * 254, None),
]

# They mean something else where they were made.
STRAY = [
    (PP, b".x."),
    (PP, b"..x"),
    (PP, b".a..b"),
    (PP, b".INBOX"),
    (PP, b".Inbox"),
    (PP, b".mailbraidx"),
    (PP, b"plain"),
    (FS, b"dovecot.index"),
    (FS, b"dovecot.list"),
    (FS, b"maildirfolder"),
    (FS, b"subscriptions"),
    (FS, b"INBOX"),
    (FS, b"Inbox"),
    (FS, b".mailbraidx"),
]

# Mailboxes where they were made; the other layout has no room for them.
TOO_LONG = [
    (FS, b"n" * 255),
    (FS, b"a" * 250 + b".bcd"),
    (FS, b"\x01" * 85),
    (FS, b"/".join([b"n" * 255] * 10)),
]


def name_of(row):
    return f"{row[0]} {row[1].decode('utf-8', 'backslashreplace')[:40]!r}"


def make(replica, folder, text="m"):
    path = os.path.join(os.fsencode(replica.mail), folder)
    for sub in (b"tmp", b"new", b"cur"):
        os.makedirs(os.path.join(path, sub), exist_ok=True)
    with open(os.path.join(path, b"new", text.encode()), "wb") as f:
        f.write(body(text))


def tree(replica):
    """{directory: names of messages}, INBOX left out, all in bytes."""
    root, found = os.fsencode(replica.mail), {}
    for folder, names, _ in os.walk(root):
        if folder != root and b"cur" in names:
            here = os.path.relpath(folder, root)
            found[here] = sorted(m for s in (b"cur", b"new") for m in os.listdir(os.path.join(folder, s)))
        names[:] = [n for n in names if n not in (b"cur", b"new", b"tmp")]
    return found


def stores(path, layout):
    return [Replica(path / name, layout=kind) for name, kind in (("a", layout), ("b", OTHER[layout]), ("c", layout))]


@pytest.mark.parametrize("row", HELD, ids=name_of)
def test_held(tmp_path, row):
    layout, made, other, third = row
    a, b, c = stores(tmp_path, layout)
    make(a, made)
    for one, two in ((a, b), (b, c)):
        assert one.sync(two)["err"] == ""
    assert tree(a) == {made: [b"m"]}
    assert tree(b) == {other: [b"m"]}
    assert tree(c) == {third or made: [b"m"]}
    # mail goes both ways, nothing is made twice, and the second sync does nothing
    make(c, third or made, "n")
    b.sync(c)
    a.sync(b)
    assert tree(a) == {made: [b"m", b"n"]}
    for one, two in ((a, b), (b, a), (b, c), (c, b)):
        answer = one.sync(two)
        assert not any(answer["sent"].values()) and not any(answer["got"].values()), answer
    # a rename by hand keeps the mailbox
    plain = b".plain" if layout == PP else b"plain"
    os.rename(os.path.join(os.fsencode(a.mail), made), os.path.join(os.fsencode(a.mail), plain))
    answer = a.sync(b)
    assert answer["sent"]["new"] == 0 and answer["sent"]["expunged"] == 0, answer
    assert tree(b) == {b"plain" if layout == PP else b".plain": [b"m", b"n"]}


@pytest.mark.parametrize("row", STRAY, ids=name_of)
def test_stray(tmp_path, row):
    layout, made = row
    a, b, _ = stores(tmp_path, layout)
    make(a, made)
    a.mkfolder("F")
    a.deliver("m", folder="F")
    said = a.sync(b)["err"]
    assert "a folder is not synced" in said and made.decode() in said
    assert b.names("F") == ["m"] and len(tree(b)) == 1
    assert tree(a)[made] == [b"m"]
    a.mkfolder("G")
    assert a.sync(b, "-f")["err"] == ""
    os.rename(os.path.join(os.fsencode(a.mail), made), a.folder("H"))
    assert a.sync(b)["err"] == ""
    assert b.names("H") == ["m"]


@pytest.mark.parametrize("row", TOO_LONG, ids=name_of)
def test_too_long(tmp_path, row):
    layout, made = row
    a, b, _ = stores(tmp_path, layout)
    make(a, made)
    a.deliver("m0")
    make(a, b"F", "m1")
    result = a.command("sync", b.destination)
    assert result.code != 0 and "the name cannot be stored" in result.err
    assert tree(b) == {b".F": [b"m1"]} and b.names() == ["m0"]
    assert tree(a)[made] == [b"m"]
    os.rename(os.path.join(os.fsencode(a.mail), made.split(b"/")[0]), os.path.join(os.fsencode(a.mail), b"short"))
    if b"/" in made:
        shutil.rmtree(os.path.join(os.fsencode(a.mail), b"short"))
        make(a, b"short")
    a.sync(b)
    assert tree(b) == {b".F": [b"m1"], b".short": [b"m"]}


def test_spelled_twice(tmp_path):
    a, b, _ = stores(tmp_path, FS)
    make(a, b"INBOX/x", "m")
    make(a, b"inbox/x", "n")
    assert "another folder has its name" in a.sync(b)["err"]
    assert len(tree(b)) == 1
    assert a.sync(b, "-f")["err"] == ""
