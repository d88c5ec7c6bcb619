"""Rows 80 to 95 of the scenarios: UIDs, and replicas that are not what they were.

What a row is and how it is played tells support/matrix.py.  Rows 83, 85 and 86 speak of IMAP servers;
here they are asked of what a store has: dovecot-uidlist, and a log that starts anew.
"""

import os
import shutil
import subprocess

import pytest

from support.matrix import ALWAYS, STORES, Rows, play
from support.replica import Replica, body

ROWS = Rows()
row = ROWS.row


def uidlist(r, validity, uids, next_uid=None, folder="INBOX"):
    """Replaces dovecot-uidlist as Dovecot does; uids: {base name: UID}."""
    path = os.path.join(r.folder(folder), "dovecot-uidlist")
    next_uid = next_uid or max(uids.values(), default=0) + 1
    with open(path + ".tmp", "w", encoding="utf-8") as f:
        f.write(f"3 V{validity} N{next_uid} G0123456789abcdef0123456789abcdef\n")
        for name, uid in sorted(uids.items(), key=lambda item: item[1]):
            f.write(f"{uid} :{os.path.basename(r.path_of(name, folder))}\n")
    os.rename(path + ".tmp", path)


def no_body_was_sent(w):
    assert w.answer["sent"]["new"] == w.answer["got"]["new"] == 0


def three(w):
    for name in "mno":
        w.a.deliver(name + ":2,", sub="cur")


def records(w, r):
    """Last known UID of each base name, by the log."""
    known = {}
    for x in r.log():
        if x["new_name"] and x["uid"]:
            known[x["new_name"][4:].partition(":")[0]] = x["uid"]
    return known


@row(80, "another UIDVALIDITY, the same mail: no body travels, nothing is doubled")
def validity_changed(w):
    three(w)
    yield
    uidlist(w.a, 2000000001, {"m": 11, "n": 12, "o": 13})
    yield
    no_body_was_sent(w)
    assert w.b.names() == ["m", "n", "o"] or w.b.plain
    assert len(w.b.contents()) == 3


@row(81, "another UIDVALIDITY and half of the mail another: what is missing is held, the new half comes", apart=True)
def half_replaced(w):
    for i in range(120):
        w.a.deliver(f"m{i:03}:2,", sub="cur")
    yield
    for i in range(60):
        w.a.expunge(f"m{i:03}")
        w.a.deliver(f"n{i:03}:2,", sub="cur")
    uidlist(w.a, 2000000001, {name: i + 1 for i, name in enumerate(w.a.names())})
    w.exit = 1
    yield
    assert w.answer["held"] == 60
    assert len(w.b.contents()) == 180 and len(w.a.contents()) == 120
    w.exit = 0
    w.sync("--allow-mass-expunge")
    w.check_equal()


@row(82, "another UIDVALIDITY on both sides")
def both_validities_changed(w):
    three(w)
    yield
    uidlist(w.a, 2000000001, {"m": 11, "n": 12, "o": 13})
    if not w.b.plain:
        uidlist(w.b, 2000000009, {"m": 31, "n": 22, "o": 13})
    w.b.deliver("late")
    yield
    assert w.answer["sent"]["new"] + w.answer["got"]["new"] == 1
    assert len(w.a.contents()) == 4


@row("83a", "UIDVALIDITY 0", STORES)
def validity_zero(w):
    yield from odd_validity(w, 0)


@row("83b", "UIDVALIDITY lower than before", STORES)
def validity_lower(w):
    yield from odd_validity(w, 7)


@row("83c", "UIDVALIDITY 4294967295", STORES)
def validity_highest(w):
    yield from odd_validity(w, 4294967295)


def odd_validity(w, validity):
    three(w)
    yield
    uidlist(w.a, validity, {"m": 11, "n": 12, "o": 13})
    w.a.deliver("late")
    yield
    assert w.b.names() == ["late", "m", "n", "o"]


@row("84a", "gaps between UIDs, and a jump beyond 2^31", STORES)
def uid_gaps(w):
    three(w)
    yield
    uidlist(w.a, 2000000001, {"m": 1, "n": 70000, "o": 2**31 + 5}, next_uid=2**31 + 6)
    yield
    w.b.deliver("late")
    yield
    assert w.a.names() == ["late", "m", "n", "o"]
    uids = [records(w, r).get("late") for r in w.stores]
    assert min(uids) == max(uids) > 2**31


# by wire a sync that looks at everything says so each time, though there is nothing to do
@row("84b", "UIDs used up: said, no mail is lost", STORES, wire=False)
def uids_used_up(w):
    three(w)
    yield
    uidlist(w.a, 2000000001, {"m": 1, "n": 2, "o": 2**32 - 3}, next_uid=2**32 - 2)
    yield
    for name in ("p", "q", "r"):
        w.b.deliver(name)
    answer = w.sync(code=(0, 1))
    assert answer["exit"] == 0 or "no UIDs are left" in answer["err"]
    yield
    assert w.a.names() == ["m", "n", "o", "p", "q", "r"]


@row(85, "a log that starts anew: everything is compared, nothing changes", STORES)
def log_starts_anew(w):
    three(w)
    yield
    w.a.must("checkpoint", "--keep", "0")
    log = os.path.join(w.a.path, "log")
    for name in sorted(n for n in os.listdir(log) if n.endswith(".log"))[:-1]:
        os.unlink(os.path.join(log, name))
    w.b.deliver("late")
    yield
    no_body = w.answer["sent"]["new"] + w.answer["got"]["new"]
    assert no_body == 1 and w.a.names() == ["late", "m", "n", "o"]


@row(86, "modseqs near the end of their range", STORES)
def last_modseqs(w):
    three(w)
    yield
    far = {"MAILBRAID_CLOCK_OFFSET": str(60 * 365 * 86400)}  # 2086: the last years of 63 bits
    w.env = far
    w.a.deliver("late")
    w.b.flag("m", "+F")
    yield
    seqs = [x["modseq"] for r in w.stores for x in r.log()]
    assert 0 < min(seqs) and max(seqs) < 2**63
    for r in w.stores:
        own = [x["modseq"] for x in r.log()]
        assert own == sorted(own)
    assert w.b.names() == ["late", "m", "n", "o"]
    yield  # after 60 years a checkpoint was due: positions move to the new log file


@row(87, "one UID for two messages: both stay, with one UID each, the same on both sides", STORES)
def one_uid_two_messages(w):
    three(w)
    yield
    w.a.deliver("p")
    w.b.deliver("q")
    yield
    assert w.a.names() == ["m", "n", "o", "p", "q"]
    a, b = (records(w, r) for r in (w.a, w.b))
    assert a == b and len(set(a.values())) == 5


def lose(r):
    for part in ("log", "index", "state"):
        path = os.path.join(r.path, part)
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif os.path.exists(path):
            os.unlink(path)


@row(88, "one side lost its log: compared by content, nothing doubled, nothing expunged", STORES)
def log_lost(w):
    three(w)
    yield
    lose(w.a)
    w.b.deliver("late")
    w.b.flag("m", "+S")
    yield
    assert w.answer["sent"]["new"] + w.answer["got"]["new"] == 1
    assert w.a.names() == ["late", "m", "n", "o"] and w.a.flags("m") == "S"


@row(89, "both sides lost their logs: the union, twins stay two", STORES)
def both_logs_lost(w):
    three(w)
    w.a.deliver("t1", body("t"))
    w.a.deliver("t2", body("t"))
    yield
    for r in w.stores:
        lose(r)
    w.a.deliver("p")
    w.b.deliver("q")
    yield
    assert w.a.names() == ["m", "n", "o", "p", "q", "t1", "t2"]


@row(90, "both filled by another tool: matched, nothing is copied")
def filled_by_another_tool(w):
    for i in range(20):
        w.a.deliver(f"a{i}:2,S", body(f"mail {i}"), sub="cur")
        w.b.deliver(f"b{i}:2,", body(f"mail {i}"), sub="cur")
    yield
    no_body_was_sent(w)
    assert len(w.a.contents()) == 20 and all(m[1] == "S" for m in w.b.tree()["INBOX"])


def mail(i, text=None):
    """A mail as it was sent."""
    head = f"From: a@example.org\nSubject: mail {i}\nDate: Sun, 22 Nov 2026 12:00:{i:02} +0000\nMessage-ID: <{i}@example.org>\n"
    return (head + "\n" + (text or f"text {i}\n\nend\n")).encode()


def as_stored(content, i):
    """The same mail as other servers and programs leave it."""
    changes = [
        lambda m: m.replace(b"\n", b"\r\n"),
        lambda m: b"Return-Path: <a@example.org>\nReceived: from x by y;\n\tSun, 22 Nov 2026\n" + m,
        lambda m: m.replace(b"\n\n", b"\nStatus: RO\nX-Status: A\nX-UID: 17\nContent-Length: 12\nLines: 3\n\n", 1),
        lambda m: b"From a@example.org Sun Nov 22 12:00:00 2026\n" + m + b"\n",
    ]
    return changes[i % len(changes)](content)


@row("90'", "both filled, the bytes differ a little: matched, each keeps its own, and changes travel", apart=ALWAYS)
def filled_with_other_bytes(w):
    for i in range(8):
        w.a.deliver(f"a{i}:2,S", mail(i), sub="cur")
        w.b.deliver(f"b{i}:2,F" if w.b.plain else f"a{i}:2,F", as_stored(mail(i), i), sub="cur")
    for r in (w.a, w.b):
        r.mkfolder("Y")
    yield
    no_body_was_sent(w)
    for r, flags in ((w.a, "FS"), (w.b, "FS")):
        assert [m[1] for m in r.tree()["INBOX"]] == [flags] * 8
    assert w.a.contents() == sorted(mail(i) for i in range(8))
    assert w.b.contents() == sorted(as_stored(mail(i), i) for i in range(8))
    first = {r: {i: next(n for n in r.names() if r.read(n) in (mail(i), as_stored(mail(i), i))) for i in range(8)} for r in (w.a, w.b)}
    w.a.flag(first[w.a][0], "+R")
    w.b.move(first[w.b][1], "Y")
    w.a.expunge(first[w.a][2])
    w.b.expunge(first[w.b][3])
    w.a.move(first[w.a][4], "Y")
    w.b.flag(first[w.b][5], "-S")
    yield
    no_body_was_sent(w)
    for r, content in ((w.a, lambda i: mail(i)), (w.b, lambda i: as_stored(mail(i), i))):
        assert r.contents("INBOX") == sorted(content(i) for i in (0, 5, 6, 7))
        assert r.contents("Y") == sorted(content(i) for i in (1, 4))
        assert {m[2]: m[1] for m in r.tree()["INBOX"]}[content(0)] == "FRS"
        assert {m[2]: m[1] for m in r.tree()["INBOX"]}[content(5)] == "F"


@row("90''", "both filled: another text, a list's mark or no Message-ID makes two")
def filled_with_other_mail(w):
    plain = mail(4).replace(b"Message-ID: <4@example.org>\n", b"")
    w.a.deliver("a1", mail(1))
    w.b.deliver("b1", mail(1, "text 1\n\nend\n--\nfooter\n"))
    w.a.deliver("a2", mail(2))
    w.b.deliver("b2", b"List-Id: <l.example.org>\n" + mail(2))
    w.a.deliver("a3", mail(3))
    w.b.deliver("b3", mail(3).replace(b"Subject: ", b"Subject: Re: "))
    w.a.deliver("a4", plain)
    w.b.deliver("b4", plain.replace(b"\n", b"\r\n"))
    yield
    assert len(w.a.names()) == 8


@row("90+", "both filled: two alike here and one there, and one that has its very like: none is lost", apart=ALWAYS)
def filled_with_twins(w):
    w.a.deliver("a1", mail(1))
    w.a.deliver("a2", mail(1))
    w.b.deliver("b1", as_stored(mail(1), 0))
    w.a.deliver("a3", mail(2))
    w.b.deliver("b3", mail(2))
    w.b.deliver("b4", as_stored(mail(2), 0))
    yield
    assert w.a.contents() == sorted([mail(1), mail(1), mail(2), as_stored(mail(2), 0)])
    assert w.b.contents() == sorted([mail(1), as_stored(mail(1), 0), mail(2), as_stored(mail(2), 0)])


@row(91, "one side is copied back from a backup", STORES)
def copied_back(w):
    for i in range(5):
        w.a.deliver(f"m{i}:2,", sub="cur")
    yield
    subprocess.run(["cp", "-a", w.a.path, w.a.path + ".back"], check=True)
    w.a.deliver("after-a")
    w.a.flag("m0", "+S")
    w.b.deliver("after-b")
    w.b.expunge("m1")
    yield
    w.b.flag("m2", "+F")
    shutil.rmtree(w.a.path)
    os.rename(w.a.path + ".back", w.a.path)
    w.a.deliver("other")
    yield
    assert w.a.names() == ["after-a", "after-b", "m0", "m2", "m3", "m4", "other"]
    assert (w.a.flags("m0"), w.a.flags("m2")) == ("S", "F")


@row(92, "a copy of a store becomes a replica of its own", STORES)
def cloned(w):
    three(w)
    yield
    clone = Replica(w.a.path + "-clone")
    shutil.rmtree(clone.path)
    subprocess.run(["cp", "-a", w.a.path, clone.path], check=True)
    clone.deliver("c")
    clone.expunge("m")
    answer = clone.sync(w.b)
    assert "copied or restored" in answer["err"]
    w.a.flag("n", "+F")
    clone.sync(w.a)
    assert len({r.status()["replica"] for r in (w.a, w.b, clone)}) == 3
    yield
    assert w.a.names() == ["c", "n", "o"] and w.a.flags("n") == "F"
    assert clone.tree() == w.a.tree()


@row(93, "three in a ring: deleted at one, flagged at another; nothing comes back", STORES)
def ring(w):
    three(w)
    yield
    c = Replica(w.a.path + "-c")
    w.b.sync(c)
    c.sync(w.a)
    w.a.expunge("m")
    c.flag("m", "+F")
    c.flag("n", "+S")
    w.b.deliver("p")
    for _ in range(2):
        w.b.sync(c)
        c.sync(w.a)
        w.sync()
    yield
    assert w.a.tree() == w.b.tree() == c.tree()
    assert w.a.names() == ["n", "o", "p"] and w.a.flags("n") == "S"


@row(94, "away for longer than expunges are remembered: what comes back is held, until a person takes it", STORES)
def away_for_too_long(w):
    for name in ("keep", "gone"):
        w.a.deliver(name + ":2,", sub="cur")
    yield
    w.a.expunge("gone")
    w.notice()
    w.a.must("checkpoint", env={"MAILBRAID_CLOCK_OFFSET": str(401 * 86400)})
    w.env = {"MAILBRAID_CLOCK_OFFSET": str(402 * 86400)}
    w.b.flag("gone", "+F")
    w.a.deliver("new")
    for _ in range(2):
        answer = w.sync(code=1)
        assert answer["held_old"] == 1 and "--accept-old" in answer["err"]
        assert w.a.names() == ["keep", "new"] and w.b.names() == ["gone", "keep", "new"]
    yield "--accept-old"
    assert w.a.names() == ["gone", "keep", "new"]
    yield


@row(95, "another store where the peer was: nothing is touched", STORES)
def wrong_peer(w):
    three(w)
    yield
    os.rename(w.remote.path, w.remote.path + ".right")
    other = Replica(w.remote.path)
    other.deliver("foreign")
    result = w.local.command("sync", w.far(w.local).destination)
    assert result.code == 1 and "--replace-peer" in result.err
    assert other.names() == ["foreign"] and "foreign" not in w.local.names()
    shutil.rmtree(w.remote.path)
    os.rename(w.remote.path + ".right", w.remote.path)
    yield
    assert w.a.names() == ["m", "n", "o"]


@pytest.mark.parametrize("case", ROWS.cases())
def test_row(case, tmp_path, record_property):
    play(case, tmp_path, record_property)
