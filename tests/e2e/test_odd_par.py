"""Odd folders, names, flags and files: stored without harm and given to the other side byte by byte,
or left alone with a word.  Rows 63 to 79 and 113 to 125 of the scenarios; of row 122 what holds below a
mount, the mount itself is in test_mount.py."""

import gzip
import os
import random
import re
import subprocess
import threading
import time

import pytest

from support.replica import World, body, bound_by_modes

NAMES = [  # rows 68 to 76: directory names as other programs write them
    "~root", "#hash", "%percent", "*star", "a b", "trailing ", "'quote'", '"quotes"', "back\\slash",
    "Entw&APw-rfe", "&-", "&AMQ-", "Entwürfe", "caf\u00e9", "cafe\u0301", "cur", "new", "tmp",
    "dovecot.index", "maildirfolder", "nfs0001", "x" * 200, "\u65e5\u672c\u8a9e", "-rf", "a=b", "a:b", "a,b",
]  # fmt: skip

CONTENTS = {
    "empty": b"",
    "header only": b"Subject: x\n",
    "body only": b"\nx\n",
    "blank line first": b"\nSubject: x\n\nx\n",
    "From line": b"From a@example.org Thu Jan  1 00:00:00 1970\nSubject: x\n\nx\n",
    "NULs": b"Subject: x\n\n\0\0x\0\n",
    "eight bits": b"Subject: \xe4\xf6\xfc\n\n\xff\xfe\n",
    "lone CR": b"Subject: x\r\rx\r",
    "CRLF and LF": b"Subject: x\r\n\r\nx\ny\r\n",
    "no newline": b"Subject: x\n\nx",
    "a long line": b"Subject: x\n\n" + b"y" * 1_000_000 + b"\n",
    "large": b"Subject: x\n\n" + os.urandom(1 << 20) * 9,
}

FILES = [  # rows 118 and 119
    "plain", "a:2,", "b:2,S", "c,S=999:2,S", "d,S=1,W=2:2,FS", "e:1,x", "f:2,:2,S", "g h:2,S", "i=j:2,R",
    "k!2,S", "l;2,S", "m:2,SSS", "n:2,SX", "o:2,Sab", "1700000000.M1P2.host,U=7:2,S",
]  # fmt: skip


@pytest.mark.parametrize("layout", ["maildir++", "fs"])
@pytest.mark.parametrize("plain", ["", "b"], ids=["store", "maildir"])
def test_folder_names(tmp_path, layout, plain):
    w = World(tmp_path, layout=layout, plain=plain)
    names = [n for n in NAMES if layout != "fs" or n not in ("cur", "new", "tmp")]
    for i, name in enumerate(names):
        folder = os.path.join(w.a.mail, name if layout == "fs" else "." + name)
        for sub in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(folder, sub))
        with open(os.path.join(folder, "cur", f"in{i}:2,S"), "wb") as f:
            f.write(body(name))
    result = w.a.command("sync", w.b.destination)
    tree = w.a.tree()
    assert sum(len(m) for m in tree.values()) == len(names), "nothing is lost at the source"
    assert result.code == 0 or "why:" in result.err or "mailbraid:" in result.err
    there = [m[2] for messages in w.b.tree().values() for m in messages]
    assert len(there) == len(set(there)), "nothing is doubled"
    missing = [n for n in names if body(n) not in there]
    # a name that is written in two ways, or not in the way of the layout, stays where it is
    may_stay = ("Entw&APw-rfe", "Entwürfe", "&-", "caf\u00e9", "cafe\u0301", "dovecot.index", "maildirfolder", "x" * 200)
    assert not set(missing) - set(may_stay), (missing, result)
    again = w.a.command("sync", w.b.destination)
    assert again.code == result.code
    assert w.a.tree() == tree


def test_names_that_are_refused_stop_only_themselves(tmp_path):
    w = World(tmp_path)
    for name in ("..x", ".a..b", ".a\nb", ".\xff".encode("latin-1").decode("utf-8", "surrogateescape")):
        for sub in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(w.a.mail, name, sub))
    w.a.deliver("m")
    result = w.a.command("sync", w.b.destination)
    assert result.code in (0, 1) and w.b.names() == ["m"]
    assert "Traceback" not in result.err
    assert all("/.." not in f for f in w.b.folders())


@pytest.mark.parametrize("sub", ["new", "cur"])
@pytest.mark.parametrize("plain", ["", "b"], ids=["store", "maildir"])
def test_contents(tmp_path, sub, plain):
    """Rows 113 to 115."""
    w = World(tmp_path, plain=plain)
    for i, content in enumerate(CONTENTS.values()):
        w.a.deliver(f"m{i}" + (":2,S" if sub == "cur" else ""), content, sub=sub)
    w.sync()
    assert w.b.contents() == sorted(CONTENTS.values())
    w.check_equal()
    w.check_idle()


@pytest.mark.parametrize("plain", ["", "b"], ids=["store", "maildir"])
def test_a_large_message_in_little_memory(tmp_path, plain):
    """Row 117: it is streamed, whatever its size."""
    w = World(tmp_path, plain=plain)
    block = random.Random(1).randbytes(1 << 20)
    with open(os.path.join(w.a.mail, "tmp", "m"), "wb") as f:
        f.write(b"Subject: large\n\n")
        for i in range(100):
            f.write(block[i:])
    os.rename(os.path.join(w.a.mail, "tmp", "m"), os.path.join(w.a.mail, "new", "m"))
    result = w.a.command("sync", w.b.destination, before=["prlimit", f"--data={64 << 20}"], timeout=120)
    assert result.code == 0, result
    assert w.a.read("m") == w.b.read("m")
    w.check_idle()


@pytest.mark.parametrize("plain", ["", "b"], ids=["store", "maildir"])
def test_other_line_ends_are_the_same_mail(tmp_path, plain):
    """Row 116: of what both had before their first sync; each keeps its bytes."""
    w = World(tmp_path, plain=plain)
    text = b"From: a@example.org\nDate: Mon, 1 Jan 2024 00:00:00 +0000\nMessage-ID: <1@example.org>\n\none\ntwo\n"
    for name in ("m", "n"):
        mail = text.replace(b"<1@", b"<" + name.encode() + b"@")
        w.a.deliver(name + ":2,S", mail.replace(b"\n", b"\r\n"), sub="cur")
        w.b.deliver(name + "-of-b:2,", mail, sub="cur")
    w.sync()
    assert len(w.a.contents()) == len(w.b.contents()) == 2, "neither is copied"
    assert all(b"\r\n" in c for c in w.a.contents()) and not any(b"\r\n" in c for c in w.b.contents())
    there = {b"<m@" in w.b.read(name): name for name in w.b.names()}
    assert w.b.flags(there[True]) == "S"
    w.b.expunge(there[False])
    w.sync()
    (left,) = w.a.names()  # by either side's name
    assert b"<m@" in w.a.read(left) and len(w.b.names()) == 1
    w.check_idle()


def names_in(r):
    return [name for sub in ("cur", "new") for name in os.listdir(os.path.join(r.mail, sub))]


@pytest.mark.parametrize("plain", ["", "b"], ids=["store", "maildir"])
def test_compressed_files(tmp_path, plain):
    """Row 125, where it cannot hold: mailbraid-merge(7) says what is done.  Nothing is lost or unpacked."""
    w = World(tmp_path, plain=plain)
    w.a.deliver("m:2,S", body("m"), sub="cur")
    packed = {name: gzip.compress(body(name), mtime=0) for name in ("m", "n")}
    for name, data in packed.items():
        w.b.deliver(f"{name}.gz,S={len(body(name))}:2,SZ", data, sub="cur")
    w.sync()
    want = sorted([body("m"), *packed.values()])
    assert w.a.contents() == want == w.b.contents()
    w.check_idle()
    there = next(name for name in w.a.names() if w.a.read(name) == packed["n"])
    w.a.flag(there, "+F")
    w.sync()
    assert w.a.contents() == want == w.b.contents()
    assert sorted(name.partition(":2,")[2] for name in names_in(w.b)) == ["FSZ", "S", "SZ"], "a letter stays"
    manual = os.path.join(os.path.dirname(__file__), "../../man/mailbraid-merge.7")
    with open(manual, encoding="utf-8") as f:
        assert "compressed or encrypted" in f.read()


@pytest.mark.parametrize("plain", ["", "a", "b"], ids=["stores", "a is a Maildir", "b is a Maildir"])
def test_listings_that_miss_or_repeat_what_is_renamed(tmp_path, plain):
    """Row 122: a directory that is read while names change misses some and shows others twice; nothing is
    taken for expunged or for new by that."""
    w = World(tmp_path, starter="b" if plain == "a" else "a", plain=plain)
    names = [f"m{i}" for i in range(400)]
    for name in names:
        w.a.deliver(name + ":2,", sub="cur")
    w.sync()
    cur = os.path.join(w.a.mail, "cur")
    stop = threading.Event()

    def rename():
        chance = random.Random(3)
        while not stop.is_set():
            for file in os.listdir(cur):
                base, _, flags = file.partition(":2,")
                new = "FRS"[: chance.randrange(4)]
                if new != flags:
                    try:
                        os.rename(os.path.join(cur, file), os.path.join(cur, f"{base}:2,{new}"))
                    except FileNotFoundError:  # the sync has renamed it
                        pass
                time.sleep(0.0002)

    program = threading.Thread(target=rename)
    program.start()
    try:
        for _ in range(6):
            answer = w.sync(code=(0, 2))
            for side in ("sent", "got"):
                assert answer[side]["expunged"] == answer[side]["new"] == 0, answer
            assert answer["held"] == 0
            assert len(w.b.contents()) == 400
    finally:
        stop.set()
        program.join()
    w.sync()
    w.sync()
    assert w.a.names() == sorted(names)
    assert len(w.b.contents()) == 400
    w.check_idle()


@pytest.mark.parametrize("plain", ["", "b"], ids=["store", "maildir"])
def test_file_names(tmp_path, plain):
    """Rows 118 and 119."""
    w = World(tmp_path, plain=plain)
    for name in FILES:
        with open(os.path.join(w.a.mail, "cur", name), "wb") as f:
            f.write(body(name))
    here = sorted(os.listdir(os.path.join(w.a.mail, "cur")))
    w.sync()
    assert w.b.contents() == sorted(body(name) for name in FILES)
    assert sorted(os.listdir(os.path.join(w.a.mail, "cur"))) == here, "names are changed only with a change"
    assert w.b.flags("b") == "S" and w.b.flags("d,S=1,W=2") == "FS"
    w.check_idle()


def test_bytes_that_are_no_text_and_a_full_name(tmp_path):
    """Row 119."""
    w = World(tmp_path)
    cur = os.fsencode(os.path.join(w.a.mail, "cur"))
    for name in (b"caf\xe9:2,S", b"n" * 255, b"\xff\xfe"):
        with open(os.path.join(cur, name), "wb") as f:
            f.write(b"Subject: x\n\n" + name)
    w.sync()
    assert len(w.b.contents()) == 3
    w.check_idle()
    long = [n for n in os.listdir(os.path.join(w.b.mail, "cur")) if n.startswith("nnn")]
    assert len(long) == 1
    # no room for letters: the flag goes over all the same
    other = [n for n in os.listdir(os.path.join(w.b.mail, "cur")) if n.startswith("caf")][0]
    os.rename(os.path.join(w.b.mail, "cur", other), os.path.join(w.b.mail, "cur", other + "T"))
    w.sync()
    assert any(n.endswith(b"ST") for n in os.listdir(cur))
    w.check_idle()


def test_each_row_has_its_test():
    with open(__file__, encoding="utf-8") as f:
        said = " ".join(re.findall(r'^    """Rows? ([\d, toand]+)', f.read(), re.M))
    rows = {int(n) for n in re.findall(r"\d+", said)}
    for low, high in re.findall(r"(\d+) to (\d+)", said):
        rows |= set(range(int(low), int(high) + 1))
    assert rows >= set(range(113, 126)) | {63, 64, 65, 66, 67, 78, 79}


def test_one_name_in_new_and_cur(tmp_path):
    """Row 120: a program that stopped between link and unlink left one message, two files two."""
    w = World(tmp_path)
    path = w.a.deliver("m")
    os.link(path, os.path.join(w.a.mail, "cur", "m:2,S"))
    w.a.deliver("n", body("n, first"))
    w.a.deliver("n:2,S", body("n, second"), sub="cur")
    w.sync()
    assert w.b.contents().count(body("m")) == 1
    assert sorted(c for c in w.b.contents() if c != body("m")) == sorted([body("n, first"), body("n, second")])
    before = [r.log_bytes() for r in w.stores]
    w.sync()
    assert before == [r.log_bytes() for r in w.stores]


@pytest.mark.parametrize("plain", ["", "b"], ids=["store", "maildir"])
def test_what_is_no_message(tmp_path, plain):
    """Row 121."""
    w = World(tmp_path, plain=plain)
    cur = os.path.join(w.a.mail, "cur")
    outside = tmp_path / "outside"
    outside.write_text("secret")
    os.symlink(outside, os.path.join(cur, "link:2,S"))
    os.mkfifo(os.path.join(cur, "fifo:2,S"))
    os.mkdir(os.path.join(cur, "folder:2,S"))
    w.a.deliver(".dotfile", b"x", sub="cur")
    w.a.deliver("m")
    w.sync()
    assert w.b.contents() == [body("m")] and w.b.names() == ["m"]
    assert {"link:2,S", "fifo:2,S", "folder:2,S", ".dotfile"} <= set(os.listdir(cur))
    w.check_idle()


def test_unreadable_file_is_no_deletion(tmp_path):
    """Row 123."""
    w = World(tmp_path)
    path = w.a.deliver("m")
    w.sync()
    os.chmod(path, 0)
    assert subprocess.run([*bound_by_modes(), "cat", path], capture_output=True, check=False).returncode
    w.a.command("sync", "-f", w.b.destination, before=bound_by_modes())
    assert w.b.names() == ["m"]
    os.chmod(path, 0o600)
    w.sync()
    w.check_equal()


def test_touch_is_no_change(tmp_path):
    """Row 124."""
    w = World(tmp_path)
    path = w.a.deliver("m:2,", sub="cur", mtime=10**18)
    w.sync()
    assert os.stat(w.b.path_of("m")).st_mtime_ns == 10**18
    os.utime(path)
    answer = w.sync("-f")
    assert not any(answer["sent"].values())
    assert os.stat(w.b.path_of("m")).st_mtime_ns == 10**18
    w.check_idle("-f")


def test_tmp_is_not_synced(tmp_path):
    w = World(tmp_path)
    with open(os.path.join(w.a.mail, "tmp", "half"), "wb") as f:
        f.write(b"Subject: ha")
    w.sync()
    assert w.b.names() == [] and os.listdir(os.path.join(w.b.mail, "tmp")) == []


def test_folder_without_new_and_tmp_is_repaired(tmp_path):
    """Row 78; not while a program may still be making it."""
    w = World(tmp_path)
    os.makedirs(os.path.join(w.a.folder("F"), "cur"))
    with open(os.path.join(w.a.folder("F"), "cur", "m:2,S"), "wb") as f:
        f.write(body("m"))
    w.sync()
    assert w.b.names("F") == ["m"]
    time.sleep(2.1)
    w.sync()
    assert {"cur", "new"} <= set(os.listdir(w.a.folder("F")))


def test_deleted_on_both_sides(tmp_path):
    """Row 63."""
    w = World(tmp_path)
    w.a.mkfolder("F")
    w.sync()
    w.a.rmfolder("F")
    w.b.rmfolder("F")
    w.sync()
    assert w.a.folders() == ["INBOX"] == w.b.folders()
    w.check_idle()


def test_parent_deleted_child_stays(tmp_path):
    """Row 64."""
    w = World(tmp_path)
    for folder in ("F", "F/sub"):
        w.a.mkfolder(folder)
    w.a.deliver("m", folder="F/sub")
    w.sync()
    w.a.rmfolder("F")
    w.sync()
    assert w.b.folders() == ["F/sub", "INBOX"] and w.b.names("F/sub") == ["m"]
    w.check_idle()


@pytest.mark.parametrize("plain", ["", "b"], ids=["store", "maildir"])
def test_made_on_both_sides(tmp_path, plain):
    """Row 65, and 66: names that differ in case are two."""
    w = World(tmp_path, plain=plain)
    for r, name in ((w.a, "m"), (w.b, "n")):
        r.mkfolder("F")
        r.deliver(name, folder="F")
    w.a.mkfolder("foo")
    w.b.mkfolder("Foo")
    w.sync()
    w.check_equal()
    assert len(w.a.contents("F")) == 2 and {"foo", "Foo", "F"} < set(w.a.folders())
    w.check_idle()


def test_inbox_in_any_case_is_one(tmp_path):
    """Row 67: a folder called Inbox beside the INBOX does no harm."""
    w = World(tmp_path)
    w.a.mkfolder("Inbox")
    w.a.deliver("m", folder="Inbox")
    w.a.deliver("n")
    result = w.a.command("sync", w.b.destination)
    assert result.code in (0, 1) and w.b.names() == ["n"]
    assert w.a.names("Inbox") == ["m"]


def test_many_folders(tmp_path):
    """Row 79, scaled down."""
    w = World(tmp_path)
    for i in range(300):
        w.a.mkfolder(f"F{i}")
    w.sync()
    assert len(w.b.folders()) == 301
    w.check_idle()
