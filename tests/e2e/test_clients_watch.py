"""Where nothing can be mounted: real programs on the plain directory that `mailbraid watch` keeps in step.

The same scripts as on a mount. Afterwards the tree is what a plain Maildir is after them, and the peer has
all of it; what the peer does is seen with no key pressed, and pushed to who is in IDLE.
"""

import os
import re
import shutil
import subprocess
import tempfile

import pytest
import test_clients_dovecot
import test_clients_mutt
import test_dovecot_together

from support import maildir, mutts
from support.dovecot import Dovecot
from support.dovecot_side import RENUMBERED
from support.fixtures import plain, users_plain  # noqa: F401
from support.place import Plain
from support.programs import end, mailbraid, need, run
from support.wait import until

# Files of Dovecot's that each side has of its own, and what a sync does not carry.
OWN = r"^dovecot|^maildirfolder$|^subscriptions$"


class Watched(Plain):
    """The seeded mail in a store that is watched, in step with a second store, `peer`."""

    def __init__(self, base, owner=None):
        super().__init__(base, owner)
        store, there = os.path.join(base, "a"), os.path.join(base, "b")
        for path in (store, there):
            run(mailbraid(), "--store", path, "init")
            os.chmod(path, 0o755)
        self.store = store
        self.peer = os.path.join(there, "mail")
        shutil.rmtree(os.path.join(store, "mail"))
        os.rename(self.mail, os.path.join(store, "mail"))
        self.mail = self.env["MAIL"] = os.path.join(store, "mail")
        self.said = open(os.path.join(base, "messages"), "ab")
        self.daemon = subprocess.Popen(
            [mailbraid(), "--store", store, "watch", "--peer", f"store:{there}"],
            stdin=subprocess.DEVNULL, stdout=self.said, stderr=self.said,
        )  # fmt: skip
        try:
            self.wait_in_step()
        except BaseException:
            self.close()
            raise

    def messages(self):
        with open(self.said.name, errors="replace", encoding="utf-8") as f:
            return f.read()[-4000:]

    def wait_in_step(self):
        def picture(root):
            """That somebody has looked into new/ is no change. Letters of keywords are of a tree where a
            Dovecot opened a mailbox; at the peer they are in the index."""
            rows = (r for r in maildir.tree(root, ignore=OWN) if os.path.basename(r[0]) not in ("cur", "new", "tmp"))
            mails = (r for r in maildir.tree(root) if os.path.basename(r[0]) in ("cur", "new"))
            return [*rows, *sorted((os.path.dirname(r[0]), r[1], re.sub("[a-z]", "", r[2] or ""), *r[4:]) for r in mails if len(r) > 3)]

        def pictures():
            return picture(self.peer), picture(self.mail)

        def differ():
            a, b = pictures()
            return [r for r in a if r not in b], [r for r in b if r not in a], self.messages()

        def equal():
            try:
                a, b = pictures()
            except FileNotFoundError:
                return False  # renamed while we looked
            return a == b

        until("both sides are equal", equal, tell=differ)

    def close(self):
        end(self.daemon)
        self.said.close()


def make(owner=None):
    base = os.path.realpath(tempfile.mkdtemp(prefix="mb-e2e-"))
    os.chmod(base, 0o755)
    place = Watched(os.path.join(base, "watched"), owner)
    try:
        yield place
    finally:
        place.close()
        shutil.rmtree(base)


@pytest.fixture
def watched():
    yield from make()


@pytest.fixture
def users_watched(users_plain):  # noqa: F811
    yield from make(users_plain.owner)


@pytest.mark.parametrize("program", ["neomutt", "mutt"])
def test_mutt_and_neomutt(program, plain, watched):  # noqa: F811
    need(program, "tmux")
    test_clients_mutt.script(plain, program)
    test_clients_mutt.script(watched, program)
    assert watched.tree() == plain.tree()
    watched.wait_in_step()


@pytest.mark.parametrize("program", ["neomutt", "mutt"])
def test_an_open_screen_shows_what_the_peer_does(program, watched):
    need(program, "tmux")
    screen = mutts.start(watched, program)
    try:
        maildir.let_a_second_pass(watched.mail)
        maildir.put(watched.peer, 30)
        screen.wait(maildir.subject(30))
        screen.wait(r"messages:9 ")
        mutts.go_to(screen, 1)
        screen.keys("text:F")
        screen.wait(r"flagged:2")
        mutts.sync(screen)
        until("the flag is at the peer", lambda: maildir.find(watched.peer, 1) == [("", "cur", "FS")])
    finally:
        screen.close()
    watched.wait_in_step()


def without_uids(told):
    """Mail in a mailbox that no Dovecot has opened has the UIDs that the peers were told, in the order in
    which it came; Dovecot alone would go by name."""
    if isinstance(told, dict):
        return sorted(told.values())
    return [without_uids(x) for x in told] if isinstance(told, (list, tuple)) else told


def test_dovecot(users_plain, users_watched):  # noqa: F811
    told = test_clients_dovecot.script(users_watched, ())
    assert without_uids(told) == without_uids(test_clients_dovecot.script(users_plain, ()))
    users_watched.wait_in_step()
    test_clients_dovecot.says_where(users_watched, "inside")


def test_dovecot_pushes_what_a_peer_did(users_watched):
    place = users_watched
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
        assert server.complaints() == []
    finally:
        server.close()
    place.wait_in_step()


def test_sessions_of_dovecot_side_by_side(users_watched):
    """Mails, UIDs, flags and keywords are in the end those that the peer's Dovecot shows."""
    sides = test_dovecot_together.sides_of(users_watched)
    try:
        test_dovecot_together.agree(sides)
        clients = [test_dovecot_together.Client(sides[0].server, n) for n in range(3)]
        for c in clients:
            c.start()
        for c in clients:
            c.join(120)
        assert [c.failure for c in clients] == [None] * 3
        test_dovecot_together.agree(sides)
        for side in sides:
            assert side.server.complaints(RENUMBERED) == []
    finally:
        for side in sides:
            side.close()
