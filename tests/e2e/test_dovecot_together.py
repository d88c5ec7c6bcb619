"""Several IMAP sessions on the mount at one time, each a process of Dovecot's, while a peer is in step.

What they end with is compared with what the peer's own Dovecot shows: mails, UIDs, flags, keywords.
"""

import imaplib
import os
import random
import threading
import types

import pytest

from support import imap_pipe, maildir
from support.dovecot import Dovecot
from support.dovecot_side import RENUMBERED, Side, differences
from support.fixtures import users_linked, users_mounted, users_plain  # noqa: F401
from support.replica import body
from support.wait import until

WORDS = ["\\Seen", "\\Flagged", "\\Answered", "work", "home"]


class Client(threading.Thread):
    """One session, that does what comes to its mind; another one may have been quicker."""

    def __init__(self, server, number):
        super().__init__(daemon=True)
        self.server, self.number = server, number
        self.random = random.Random(number)
        self.appended, self.done, self.failure = 0, 0, None

    def run(self):
        try:
            imap = self.server.session()
            for step in range(40):
                self.step(imap, step)
            imap.logout()
        except Exception as why:  # told by the test
            self.failure = why

    def step(self, imap, step):
        where, other = self.random.sample(["INBOX", "Archive"], 2)
        imap.select_state(where)
        uids = imap.ok(imap.uid("SEARCH", "ALL"))[0].split()
        uid = self.random.choice(uids).decode() if uids else None
        what = self.random.choice(["append", "append", "store", "store", "copy", "move", "expunge"])
        if what == "append" or not uid:
            text = body(f"session {self.number} mail {step}").replace(b"\n", b"\r\n")
            imap.ok(imap.append(where, "(work)", None, text))
            self.appended += 1
        elif what == "store":
            self.may_be_gone(imap, "STORE", uid, self.random.choice("+-") + "FLAGS", f"({self.random.choice(WORDS)})")
        elif what == "expunge":
            self.may_be_gone(imap, "STORE", uid, "+FLAGS", "(\\Deleted)")
            imap.ok(imap.expunge())
        else:
            self.may_be_gone(imap, what.upper(), uid, other)
        self.done += 1

    @staticmethod
    def may_be_gone(imap, *command):
        answer = imap.uid(*command)
        assert answer[0] == "OK" or b"EXPUNGEISSUED" in answer[1][0] or b"no longer exist" in answer[1][0], answer


def sides_of(place):
    """The Dovecot on the mount, and one at the peer."""
    for name in ("near", "far"):
        os.makedirs(f"{place.base}/{name}/x")
    near = Side(types.SimpleNamespace(path=f"{place.base}/near/x", mail=place.mail), own=False)
    os.chmod(os.path.dirname(place.peer), 0o755)
    far = Side(types.SimpleNamespace(path=f"{place.base}/far/x", mail=place.peer))
    return [near, far]


def agree(sides):
    """What both show, in the end, to sessions that know only what is on disk."""

    def equal():
        views = [side.view() for side in sides]
        return views[0] if views[0] == views[1] else None

    until("both show the same", equal, patience=60, tell=lambda: differences(*[side.view() for side in sides]))
    for side in sides:
        side.again()
    return until("both show the same", equal, tell=lambda: differences(*[side.view() for side in sides]))


def test_sessions_side_by_side(users_linked):  # noqa: F811
    sides = sides_of(users_linked)
    try:
        agree(sides)
        clients = [Client(sides[0].server, n) for n in range(4)]
        for c in clients:
            c.start()
        for c in clients:
            c.join(120)
        assert [c.failure for c in clients] == [None] * 4
        assert sum(c.done for c in clients) > 100
        view, _ = agree(sides)
        bodies = [m[2] for messages in view.values() for m in messages[2].values()]
        assert len(bodies) > 10 and all(bodies)
        assert sides[0].server.complaints() == [] and sides[1].server.complaints(RENUMBERED) == []
    finally:
        for side in sides:
            side.close()


def test_one_session_is_told_what_another_does(users_mounted):  # noqa: F811
    place = users_mounted
    server = Dovecot(place)
    try:
        with server.session() as one, server.session() as two:
            assert one.open_mailbox("INBOX") == two.open_mailbox("INBOX") == 8
            with one.idle() as tells:
                two.ok(two.append("INBOX", None, imaplib.Time2Internaldate(maildir.SEED_TIME), maildir.message(30)))
                tells(r"^\* 9 EXISTS")
                two.store(two.uid_of(5), "+FLAGS", "\\Flagged")
                tells(r"FETCH \(.*\\Flagged")
                two.store(two.uid_of(1), "+FLAGS", "\\Deleted")
                two.ok(two.expunge())
                tells("EXPUNGE")
            assert one.flags() == two.flags()
        assert server.complaints() == []
    finally:
        server.close()


# ---- a folder that gets another name while a session has it open ---------------------------------


def renamed_while_selected(place, rename):
    """What the session that has it open is told: whether each command went well."""
    told = []
    server = Dovecot(place)
    try:
        with server.session() as one, server.session() as two:
            assert one.open_mailbox("Archive") == 2
            uid = one.uid_of(9)
            rename(two)
            # Dovecot closes the session, or refuses, or goes on with what it has open
            try:
                told.append(one.noop()[0])
                told.append(one.uid("FETCH", uid, "(FLAGS)")[0])
                told.append(one.uid("STORE", uid, "+FLAGS", "(\\Answered)")[0])
            except imaplib.IMAP4.abort:
                told.append("ended")
            assert two.open_mailbox("Renamed") == 2
            assert two.uid_of(9) == uid
            two.store(uid, "+FLAGS", "\\Flagged")
            told.append("Archive" in two.folders())
            if "ended" in told:
                one.shutdown()
                one.logout = lambda: None
        told.append([m[:2] for m in maildir.find(place.mail, 9)])
    finally:
        server.close()
    return told


def by_dovecot(imap):
    imap.ok(imap.rename("Archive", "Renamed"))


def test_a_folder_that_is_renamed_while_it_is_open(users_plain, users_mounted):  # noqa: F811
    assert renamed_while_selected(users_mounted, by_dovecot) == renamed_while_selected(users_plain, by_dovecot)


def test_a_folder_that_the_peer_renames_while_it_is_open(users_linked, users_plain):  # noqa: F811
    place = users_linked

    def by_peer(_):
        os.rename(f"{place.peer}/.Archive", f"{place.peer}/.Renamed")
        until("it has the new name", lambda: os.path.isdir(f"{place.mail}/.Renamed/cur")
              and not os.path.isdir(f"{place.mail}/.Archive"), tell=place.messages)  # fmt: skip

    def by_another(_):
        os.rename(f"{users_plain.mail}/.Archive", f"{users_plain.mail}/.Renamed")

    assert renamed_while_selected(place, by_peer) == renamed_while_selected(users_plain, by_another)
    until("the flag is at the peer", lambda: "F" in maildir.find(place.peer, 9)[0][2])
