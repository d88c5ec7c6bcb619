"""Mail that both sides had with other bytes: one message by its likeness (backends/mail/alike.h), of
which each side keeps what it has.  What the rows 90 to 90+ do not ask: copies, other replicas, bodies
that are lost, backups."""

import os

import pytest

from support.replica import Replica, World

MAIL = (
    b"From: a@example.org\nSubject: s\nDate: Sun, 22 Nov 2026 12:00:00 +0000\nMessage-ID: <1@example.org>\n\ntext\n"
)
CRLF = MAIL.replace(b"\n", b"\r\n")


@pytest.fixture(name="w")
def world(tmp_path):
    """Two stores in step, with LF at A and CRLF at B."""
    w = World(tmp_path)
    w.a.deliver("m:2,", MAIL, sub="cur")
    w.b.deliver("m:2,", CRLF, sub="cur")
    for r in (w.a, w.b):
        r.mkfolder("Y")
    answer = w.sync()
    assert answer["sent"]["new"] == answer["got"]["new"] == 0
    assert w.said("keeps its own bytes")
    return w


def test_a_copy_has_the_bytes_of_who_made_it(w):
    w.a.copy("m", "Y")
    w.sync()
    assert w.b.read("m", "Y") == MAIL and w.b.read("m", "INBOX") == CRLF
    w.check_idle()


def test_another_replica_gets_one_of_both(w, tmp_path):
    c = Replica(tmp_path / "c")
    c.sync(w.b)
    c.sync(w.a)
    assert c.contents() == [CRLF]
    c.flag("m", "+S")
    c.sync(w.a)
    w.sync()
    assert w.b.flags("m") == "S"
    assert (w.a.read("m"), w.b.read("m"), c.read("m")) == (MAIL, CRLF, CRLF)
    for one, two in ((c, w.a), (c, w.b), (w.a, w.b)):
        answer = one.sync(two, "-f")
        assert not any(answer["sent"].values()) and not any(answer["got"].values())


def test_a_damaged_body_is_that_of_the_other_side_from_then_on(w):
    os.truncate(w.b.path_of("m"), 40)
    os.utime(w.b.path_of("m"), (7000, 7000))
    w.sync("-f")
    assert w.b.read("m") == MAIL == w.a.read("m")
    assert w.sync("-f")["missing"] == 0
    w.check_idle("-f")


def test_a_lost_body_is_that_of_the_other_side_from_then_on(w):
    os.unlink(w.b.path_of("m"))
    with open(os.path.join(w.b.path, "state"), "w", encoding="utf-8") as f:
        f.write("clean=0\nboot=" + "00" * 16 + "\nend=\n")  # after a power cut
    w.sync("-f")
    assert w.b.read("m") == MAIL == w.a.read("m")
    w.b.flag("m", "+S")
    w.sync()
    assert w.a.flags("m") == "S"
    w.check_idle("-f")


def test_an_expunge_takes_both(w):
    w.b.expunge("m")
    w.sync()
    assert w.a.contents() == w.b.contents() == [] and w.a.kept() == [MAIL]
    w.b.deliver("again:2,", CRLF, sub="cur")
    w.sync()
    assert w.a.contents() == w.b.contents() == [CRLF]
    w.check_idle("-f")


def test_an_edit_replaces_both(w):
    w.a.edit("m", MAIL + b"and more\n")
    w.notice()
    w.sync("-f")
    w.sync()
    assert w.b.contents() == [MAIL + b"and more\n"] == w.a.contents()


def test_a_backup_has_the_very_bytes(tmp_path):
    w = World(tmp_path)
    w.a.deliver("m:2,", MAIL, sub="cur")
    w.b.deliver("m:2,", CRLF, sub="cur")
    assert w.a.command("backup", w.b.destination).code == 0
    assert w.b.contents() == [MAIL]


def test_a_cut_file_of_a_maildir_is_damage_not_an_edit(tmp_path):
    w = World(tmp_path, plain="b")
    w.a.deliver("m:2,", MAIL, sub="cur")
    w.b.deliver("m:2,", CRLF, sub="cur")
    w.sync()
    path = w.b.path_of("m")
    os.truncate(path, 40)
    os.utime(path, ns=(10**18, 10**18))
    answer = w.sync("-f", code=(0, 1, 2))
    assert w.a.contents() == [MAIL], answer
    assert os.path.getsize(path) == 40 and "left alone" in answer["err"]


def test_nothing_is_matched_later_that_was_two(tmp_path):
    """What both sides know as two stays two."""
    w = World(tmp_path)
    w.a.deliver("m:2,", MAIL, sub="cur")
    w.sync()
    w.b.deliver("n:2,", CRLF, sub="cur")
    w.sync()
    w.sync("-f")
    assert w.a.contents() == w.b.contents() == sorted([MAIL, CRLF])
