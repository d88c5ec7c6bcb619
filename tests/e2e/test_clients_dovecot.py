"""Dovecot on the mount: a server of our own on loopback, driven over IMAP.

The same session on a plain Maildir and on a mount, with Dovecot's indexes and control files in the mail
directory and elsewhere. What the client is told, and the trees, are the same.
"""

import imaplib
import json
import os

import pytest

from support import maildir
from support.dovecot import Dovecot
from support.fixtures import same, users_linked, users_mounted, users_plain  # noqa: F401
from support.programs import mailbraid, run
from support.wait import until


def find(place, number):
    return maildir.find(place.mail, number)


def opens_and_reads(place, imap, told):
    told.append(imap.folders())
    with place.change("imap", copy_state=3):  # takes what is in new/
        assert imap.open_mailbox("INBOX") == 8
    with place.change():
        told.append(imap.flags())
        for number in range(1, 9):
            assert maildir.body(number) in imap.text(imap.uid_of(number))
    with place.change("imap", flags=1):
        imap.ok(imap.uid("FETCH", imap.uid_of(6), "(BODY[])"))
    assert find(place, 6) == [("", "cur", "S")]


def flags(place, imap, told):
    uid = imap.uid_of(1)
    with place.change("imap", flags=1):
        imap.store(uid, "+FLAGS", "\\Flagged")
    assert find(place, 1) == [("", "cur", "FS")]
    with place.change("imap", flags=1):
        imap.store(uid, "-FLAGS", "\\Flagged")
    assert find(place, 1) == [("", "cur", "S")]
    told.append(imap.flags())


def keywords(place, imap, told, outside):
    """Letters in the name. What they mean is in dovecot-keywords, which follows the rename."""
    uid = imap.uid_of(2)
    with place.change("imap", flags=1 if outside else 2):
        imap.store(uid, "+FLAGS", "urgent", "work")
    assert find(place, 2) == [("", "cur", "RSab")]
    if place.mounted and not outside:
        assert {"urgent", "work"} <= set(place.log()[-1]["flags"].split())
    with place.change("imap", flags=1):
        imap.store(uid, "-FLAGS", "urgent")
    assert find(place, 2) == [("", "cur", "RSb")]
    told.append(imap.flags())


def appends_copies_moves(place, imap, told):
    date = imaplib.Time2Internaldate(maildir.SEED_TIME)
    with place.change("imap", arrive=1):
        imap.ok(imap.append("Archive", "(\\Seen \\Flagged)", date, maildir.message(30)))
    with place.change("imap", arrive=1):
        imap.ok(imap.uid("COPY", imap.uid_of(3), "Archive"))
    assert find(place, 3) == [("", "cur", "FS"), (".Archive", "cur", "FS")]
    if place.mounted:  # a copy is the same message in another place
        log = place.log()
        assert log[-1]["guid"] in [r["guid"] for r in log[:-1]]
    # A link and an unlink: a copy, which the unlink makes the message itself.
    with place.change("imap", arrive=1, expunge=1, move=1):
        imap.ok(imap.uid("MOVE", imap.uid_of(4), "Archive"))
    assert find(place, 4) == [(".Archive", "cur", "S")]
    told.append(imap.flags())


def expunges(place, imap, told):
    with place.change("imap", flags=1):
        imap.store(imap.uid_of(5), "+FLAGS", "\\Deleted")
    assert find(place, 5) == [("", "cur", "T")]
    with place.change("imap", expunge=1):
        imap.ok(imap.expunge())
    assert find(place, 5) == []
    told.append(imap.flags())


def is_pushed(place, imap, told):
    """A delivery, a flag change and a removal by others, told with nothing asked."""
    with imap.idle() as tells:
        place.deliver(31)
        tells(r"^\* 7 EXISTS")
        place.run("mv", maildir.path(place.mail, 1), f"{place.mail}/cur/{maildir.base(1)}:2,FS")
        tells(r"FETCH \(.*\\Flagged")
        place.run("rm", maildir.path(place.mail, 8))
        tells(r"EXPUNGE")
    told.append(imap.flags())


def folders(place, imap, told, outside):
    with place.change("imap", mailbox_create=1):
        imap.ok(imap.create("New"))
    with place.change("imap", **{} if outside else {"mailbox_subscribe": 1}):
        imap.ok(imap.subscribe("New"))
    with place.change("imap", arrive=1):
        imap.ok(imap.append("New", None, imaplib.Time2Internaldate(maildir.SEED_TIME),
                            maildir.message(32)))  # fmt: skip
    with place.change("imap", mailbox_create=1, mailbox_rename=1):  # and Other, its parent
        imap.ok(imap.rename("New", "Other.Name"))
    assert find(place, 32)[0][0] == ".Other.Name"
    told.append(imap.folders())
    with place.change("imap", mailbox_create=1):
        imap.ok(imap.create("Empty"))
    with place.change("imap", mailbox_delete=1):
        imap.ok(imap.delete("Empty"))
    told.append(imap.folders())


def comes_back(place, imap, told):
    """Another session finds what the first one left."""
    with place.change("imap", copy_state=1):  # what was appended to New was in its new/
        for name in imap.folders():
            if name not in ("Lists.braid", "Other"):  # has mail in new/; is no mailbox
                imap.open_mailbox(name)
                told.append((name, imap.flags()))


def says_where(place, wanted):
    """`status` tells where Dovecot keeps its UIDs; by then it has made changes in the mount."""
    status = [mailbraid(), "--store", place.store, "status"]
    assert json.loads(run(*status, "--json"))["dovecot"] == wanted
    assert ("CONTROL=" in run(*status)) == (wanted == "outside")


def script(place, where):
    """What the client was told."""
    told = []
    outside = "CONTROL" in where
    server = Dovecot(place, where)
    try:
        with server.session() as imap:
            opens_and_reads(place, imap, told)
            flags(place, imap, told)
            keywords(place, imap, told, outside)
            appends_copies_moves(place, imap, told)
            expunges(place, imap, told)
            is_pushed(place, imap, told)
            folders(place, imap, told, outside)
        with server.session() as imap:
            comes_back(place, imap, told)
        assert server.complaints() == []
        if place.mounted:
            says_where(place, "outside" if outside else "inside")
    finally:
        server.close()
    return told


WHERE = [(), ("INDEX",), ("CONTROL",), ("INDEX", "CONTROL")]


@pytest.mark.parametrize("where", WHERE, ids=lambda w: "-and-".join(w).lower() + "-outside" if w else "inside")
def test_does_the_same_on_a_mount(where, users_plain, users_mounted):  # noqa: F811
    assert script(users_mounted, where) == script(users_plain, where)
    same(users_plain, users_mounted)


def test_what_a_peer_did_is_pushed(users_linked):  # noqa: F811
    """IDLE tells at once what changed in the other store, where nothing is mounted."""
    place = users_linked
    server = Dovecot(place)
    try:
        with server.session() as imap:
            assert imap.open_mailbox("INBOX") == 8
            with imap.idle() as tells:
                maildir.put(place.peer, 31)
                tells(r"^\* 9 EXISTS")
                os.rename(maildir.path(place.peer, 1), f"{place.peer}/cur/{maildir.base(1)}:2,FS")
                tells(r"FETCH \(.*\\Flagged")
                os.unlink(maildir.path(place.peer, 2))
                tells("EXPUNGE")
            assert maildir.body(31) in imap.text(imap.uid_of(31))
            imap.store(imap.uid_of(3), "+FLAGS", "\\Answered")
            maildir.make(place.peer, ".From")
            maildir.put(place.peer, 32, ".From")
            until("the peer's folder", lambda: maildir.find(place.mail, 32))
            assert imap.open_mailbox("From") == 1 and maildir.body(32) in imap.text("1")
            until("the peer has it", lambda: maildir.find(place.peer, 3) == [("", "cur", "FRS")])
        assert server.complaints() == []
    finally:
        server.close()
