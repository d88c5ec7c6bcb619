"""A backup between two stores that each have a Dovecot: the destination is the source to a mail client.

What its own clients saw under a UID stays that message, or they are told to begin anew by another
UIDVALIDITY.
"""

import os
import time

import pytest

from support import imap_pipe
from support.replica import body
from test_uids_dovecot import differences, pair_in


@pytest.fixture
def pair(tmp_path):
    yield from pair_in(tmp_path)


def deliver(side, name, folder="INBOX"):
    """By a program; Dovecot's user may read it."""
    who = imap_pipe.user()
    os.chown(side.replica.deliver(name, folder=folder, sub="cur"), who.pw_uid, who.pw_gid)


def run(pair, *options):
    a, b = pair.sides
    return a.replica.command("backup", *options, b.replica.destination)


def views(pair):
    """What another session of a client sees, on both sides."""
    found = []
    for side in pair.sides:
        side.again()
        found.append(side.view())
    return found


def check_mirrored(pair, *options):
    """One backup is enough, the next has nothing to do, also after Dovecot has looked."""
    for n in range(3):
        answer = run(pair, *options)
        assert answer.code == 0, (n, answer)
        assert (n == 0) or "sent" not in answer.out, (n, answer)
        a, b = views(pair)
    without = [({f: v[1:] for f, v in side[0].items()}, side[1]) for side in (a, b)]
    assert without[0] == without[1], differences(a, b)
    return a[0], b[0]


def test_a_stray_that_a_client_saw(pair):
    """It had the UID of the source's next one."""
    a, b = pair.sides
    deliver(a, "m1:2,")
    views(pair)
    first, same = check_mirrored(pair)
    assert first == same
    deliver(b, "stray:2,")
    views(pair)
    deliver(a, "m2:2,")
    views(pair)
    source, mirrored = check_mirrored(pair)
    assert sorted(mirrored["INBOX"][2]) == [1, 2] and b"m2" in mirrored["INBOX"][2][2][2]
    assert source["INBOX"][0] == first["INBOX"][0] < mirrored["INBOX"][0]
    # from then on it stays, with every new one, and with -f
    for n in (3, 4):
        deliver(a, f"m{n}:2,")
        assert check_mirrored(pair)[1]["INBOX"][0] == mirrored["INBOX"][0]
    assert check_mirrored(pair, "-f")[1]["INBOX"][0] == mirrored["INBOX"][0]
    assert b.server.complaints(["UIDVALIDITY changed"]) == a.server.complaints() == []
    # a two-way sync makes one of both
    view, _ = pair.check_equal()
    assert view["INBOX"][0] == mirrored["INBOX"][0] and sorted(view["INBOX"][2]) == [1, 2, 3, 4]


def test_many_strays_in_a_folder(pair):
    """Their UIDs go far above the source's: what comes there later is above no more."""
    a, b = pair.sides
    views(pair)
    a.imap.ok(a.imap.create("F"))
    a.imap.ok(a.imap.append("F", "(work)", None, body("one")))
    check_mirrored(pair)
    for n in range(8):
        b.imap.ok(b.imap.append("F", None, None, body(f"stray {n}")))
    b.view()
    a.imap.ok(a.imap.append("F", "(home)", None, body("two")))
    own = check_mirrored(pair)[1]["F"][0]
    for n in range(3):
        a.imap.ok(a.imap.append("F", None, None, body(f"later {n}")))
        view = check_mirrored(pair)[1]["F"]
        assert view[0] == own and sorted(view[2]) == list(range(1, n + 4))
    assert view[1] == 6


def test_one_that_a_client_expunged_comes_back(pair):
    a, b = pair.sides
    for n in range(3):
        deliver(a, f"m{n}:2,")
    views(pair)
    check_mirrored(pair)
    b.imap.select_state("INBOX")
    b.imap.ok(b.imap.uid("STORE", "2", "+FLAGS", "(\\Deleted)"))
    b.imap.ok(b.imap.expunge())
    b.view()
    _, mirrored = check_mirrored(pair)
    assert sorted(mirrored["INBOX"][2]) == [1, 2, 3]


def test_files_that_have_another_name_in_the_destination(pair):
    """The same mail was there before, by another way."""
    a, b = pair.sides
    for side, names in ((a, ("m1", "m2")), (b, ("n2", "n1"))):
        for name in names:
            path = side.replica.deliver(name + ":2,", content=body(name[1:]), sub="cur")
            os.utime(path, (1700000000, 1700000000))
            os.chown(path, imap_pipe.user().pw_uid, imap_pipe.user().pw_gid)
            side.replica.notice()
    views(pair)
    source, mirrored = check_mirrored(pair)
    assert source["INBOX"][2] == mirrored["INBOX"][2] and len(mirrored["INBOX"][2]) == 2


def test_a_mailbox_that_comes_has_its_uidvalidity_before_dovecot_opens_it(pair):
    """Whichever side opened it first, and whatever made it: no client sees it change."""
    a, b = pair.sides
    deliver(a, "m1:2,")
    for side in pair.sides:
        side.view()
    pair.sync()
    a.imap.ok(a.imap.create("Made"))
    a.imap.ok(a.imap.append("Made", "(work)", None, body("one")))
    for side, name in ((a, "By"), (b, "There")):  # a program's, that no Dovecot opened
        side.replica.mkfolder(name)
        deliver(side, "f1:2,", name)
        for folder, _, _ in os.walk(side.replica.folder(name)):
            os.chown(folder, imap_pipe.user().pw_uid, imap_pipe.user().pw_gid)
    b.replica.mkfolder("Empty")
    for folder, _, _ in os.walk(b.replica.folder("Empty")):
        os.chown(folder, imap_pipe.user().pw_uid, imap_pipe.user().pw_gid)
    time.sleep(1.1)  # a UIDVALIDITY of Dovecot's is the time
    pair.sync()
    for name in ("Made", "By", "There", "Empty"):
        heads = []
        for side in pair.sides:
            with open(os.path.join(side.replica.folder(name), "dovecot-uidlist"), encoding="utf-8") as f:
                heads.append(f.readline().split())
        assert [w[0] for w in heads[0]] == [w[0] for w in heads[1]] == ["3", "V", "N", "G"], heads
        assert (heads[0][1], heads[0][3]) == (heads[1][1], heads[1][3])  # N is below that of lines behind it
    first = views(pair)
    assert first[0] == first[1], differences(*first)
    assert sorted(first[0][0]) == ["By", "Empty", "INBOX", "Made", "There"]
    pair.sync()
    assert views(pair) == first
    for side in pair.sides:
        assert side.server.complaints() == []


def test_a_mailbox_that_a_backup_makes(pair):
    a, b = pair.sides
    deliver(a, "m1:2,")
    views(pair)
    check_mirrored(pair)
    a.imap.ok(a.imap.create("F"))
    a.imap.ok(a.imap.append("F", "(work)", None, body("one")))
    source, mirrored = check_mirrored(pair)
    assert source == mirrored
    assert b.server.complaints() == []


def test_in_a_tree_without_dovecot_no_list_is_made(pair):
    for side in pair.sides:
        side.replica.mkfolder("F" + side.replica.path[-1])
        deliver(side, "f1:2,", "F" + side.replica.path[-1])
        deliver(side, side.replica.path[-1] + "1:2,")
    pair.sync()
    assert run(pair).code == 0
    for side in pair.sides:
        for _, folders, files in os.walk(side.replica.mail):
            assert not any("dovecot" in name for name in files), files


def test_one_way_gives_a_free_uid(pair):
    """What is in the destination stays there, and is not in the way."""
    a, b = pair.sides
    deliver(a, "m1:2,")
    views(pair)
    pair.sync()
    deliver(b, "own:2,")
    deliver(a, "m2:2,")
    views(pair)
    for n in range(3):
        answer = a.replica.command("sync", "-1", b.replica.destination)
        assert answer.code == 0 and (n == 0 or "sent" not in answer.out), (n, answer)
        _, there = views(pair)
        uids = sorted(there[0]["INBOX"][2])
        assert uids[:2] == [1, 2] and len(uids) == 3
    assert b"m2" in there[0]["INBOX"][2][uids[2]][2]
    view, _ = pair.check_equal()
    assert len(view["INBOX"][2]) == 3
