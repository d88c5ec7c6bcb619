"""Two stores, each served by a Dovecot of its own, in step: the same mail to every IMAP client.

UIDVALIDITY, UIDNEXT, UIDs, flags, keywords, INTERNALDATE, bytes and subscriptions are compared through
IMAP; over the whole history a UID never means two messages, new ones are above the old, and
HIGHESTMODSEQ does not go back.
"""

import json
import os
import random
import types

import pytest

from support import imap_pipe
from support.dovecot_side import RENUMBERED, Side, differences
from support.fixtures import users_linked  # noqa: F401
from support.replica import World, body
from support.wait import until

FLAGS = ["\\Seen", "\\Flagged", "\\Answered", "\\Draft", "\\Deleted"]
WORDS = ["work", "home", "$Forwarded", "$Label1", "later"]


class Pair:
    """Both sides, and random people at them."""

    def __init__(self, path, starter="a"):
        self.world = World(str(path), starter)
        self.sides = [Side(self.world.a), Side(self.world.b)]
        self.count = 0

    def close(self):
        for side in self.sides:
            side.close()

    def sync(self):
        """Until there is nothing left: a UID that Dovecot took meanwhile is told with the next one."""
        for _ in range(6):
            answer = self.world.local.command("sync", "--json", self.world.remote.destination)
            assert answer.code in (0, 2), answer
            told = json.loads(answer.out.splitlines()[-1])
            if answer.code == 0 and not any([*told["sent"].values(), *told["got"].values()]):
                return
        raise AssertionError(answer)

    def check_equal(self):
        self.sync()
        for side in self.sides:  # Dovecot opens what is new to it
            side.view()
        self.sync()
        views = [side.view() for side in self.sides]
        assert views[0] == views[1], differences(*views)
        return views[0]

    def random_step(self, rng, side):
        imap = side.imap
        folders = imap.folders()
        name = rng.choice(folders)
        state = imap.select_state(name)
        uids = [int(u) for u in imap.ok(imap.uid("SEARCH", "ALL"))[0].split()]
        some = ",".join(str(u) for u in rng.sample(uids, min(len(uids), 2)))
        what = rng.choice(["append", "append", "append", "flag", "flag", "word", "word", "copy", "move",
                           "expunge", "create", "rename", "delete", "subscribe", "deliver"])  # fmt: skip
        self.count += 1
        if what == "append":
            flags = " ".join(rng.sample(FLAGS[:4] + WORDS, 2))
            date = f'"{rng.randint(1, 28):02}-Jan-2024 10:20:{rng.randint(0, 59):02} +0000"'
            imap.ok(imap.append(f'"{name}"', f"({flags})", date, body(f"m{self.count}").replace(b"\n", b"\r\n")))
        elif what == "deliver":
            if os.path.isdir(side.replica.folder(name.replace(".", "/"))):
                who = imap_pipe.user()
                path = side.replica.deliver(f"17{rng.randint(0, 10**8):08}.M{self.count}P1.h", folder=name.replace(".", "/"))
                os.chown(path, who.pw_uid, who.pw_gid)
        elif what == "create" and len(folders) < 6:
            imap.create(f"Box{self.count}")  # a name that was not there: Dovecot's UIDVALIDITY is of seconds
        elif what == "rename" and name != "INBOX":
            imap.ok(imap.unsubscribe(name))  # IMAP leaves the old name subscribed; here it goes along
            imap.rename(name, f"Name{self.count}")
        elif what == "delete" and name != "INBOX" and rng.random() < 0.3:
            imap.ok(imap.unsubscribe(name))
            imap.unselect()
            if imap.delete(name)[0] == "OK":
                side.forget_modseq(name)
        elif what == "subscribe":
            imap.ok((imap.subscribe if rng.random() < 0.7 else imap.unsubscribe)(name))
        elif some and what in ("flag", "word"):
            words = rng.sample(FLAGS[:4], 2) if what == "flag" else rng.sample(WORDS, 1)
            imap.ok(imap.uid("STORE", some, rng.choice("+-") + "FLAGS", f"({' '.join(words)})"))
        elif some and what in ("copy", "move"):
            to = [f for f in folders if f != name]  # a second copy in one mailbox is given up (row 35)
            if to:
                imap.ok(imap.uid(what.upper(), some, rng.choice(to)))
        elif some and what == "expunge":
            imap.ok(imap.uid("STORE", some, "+FLAGS", "(\\Deleted)"))
            imap.ok(imap.expunge())
        assert state["UIDNEXT"]


def pair_in(tmp_path):
    """For a fixture."""
    os.chmod(tmp_path, 0o755)
    for parent in list(tmp_path.parents)[:3]:  # so that Dovecot's user gets in
        if os.stat(parent).st_uid == os.geteuid():
            os.chmod(parent, os.stat(parent).st_mode | 0o055)
    p = Pair(tmp_path / "w")
    yield p
    p.close()


@pytest.fixture
def pair(tmp_path):
    yield from pair_in(tmp_path)


def test_what_comes_from_a_peer_has_its_uid_before_dovecot_sees_it(pair):
    a, b = pair.sides
    for n in range(3):
        a.imap.ok(a.imap.append("INBOX", "(work)", '"01-Feb-2024 03:04:05 +0000"', body(f"m{n}")))
    view, _ = pair.check_equal()
    assert sorted(view["INBOX"][2]) == [1, 2, 3] and view["INBOX"][2][2][0] == ["work"]
    b.imap.select_state("INBOX")
    b.imap.ok(b.imap.uid("STORE", "1", "+FLAGS", "(\\Seen home)"))
    b.imap.ok(b.imap.append("INBOX", None, None, body("from b")))
    view, _ = pair.check_equal()
    assert sorted(view["INBOX"][2]) == [1, 2, 3, 4]
    assert view["INBOX"][2][1][0] == ["\\Seen", "home", "work"]
    assert a.server.complaints() == [] and b.server.complaints(RENUMBERED) == []


def test_a_folder_that_dovecot_opens_first(pair):
    """Its list is found though nothing else of the mailbox changed: Dovecot leaves a trace in the root."""
    a, b = pair.sides
    a.replica.mkfolder("Box")
    for sub in ("", "cur", "new", "tmp"):
        os.chown(os.path.join(a.replica.folder("Box"), sub), imap_pipe.user().pw_uid, -1)
    for n in range(3):
        path = a.replica.deliver(f"170000000{n}.M1P{n}.h", folder="Box")
        os.chown(path, imap_pipe.user().pw_uid, -1)
    pair.sync()
    lists = [os.path.join(side.replica.mail, ".Box", "dovecot-uidlist") for side in pair.sides]
    assert not any(map(os.path.exists, lists))
    a.imap.ok(a.imap.select("Box", readonly=True))
    assert os.path.exists(lists[0]) and os.path.exists(os.path.join(a.replica.mail, "dovecot-uidvalidity"))
    pair.sync()
    b.imap.ok(b.imap.select("Box", readonly=True))
    view, _ = pair.check_equal()
    assert len(view["Box"][2]) == 3
    with open(lists[0]) as x, open(lists[1]) as y:
        assert x.read().split()[1] == y.read().split()[1]  # UIDVALIDITY


def test_one_uid_given_on_both_sides_is_given_up(pair):
    a, b = pair.sides
    pair.check_equal()
    a.imap.ok(a.imap.append("INBOX", None, None, body("at a")))
    b.imap.ok(b.imap.append("INBOX", None, None, body("at b")))
    assert list(a.view()[0]["INBOX"][2]) == list(b.view()[0]["INBOX"][2]) == [1]
    view, _ = pair.check_equal()
    assert sorted(view["INBOX"][2]) == [2, 3]
    assert pair.check_equal()[0] == view
    for side in pair.sides:
        side.again()
    assert pair.check_equal()[0] == view


def test_deliveries_get_one_uid_on_both_sides(pair):
    """Dovecot would number them by name; the log has numbered them as they came."""
    a, b = pair.sides
    pair.check_equal()
    who = imap_pipe.user()
    for name in ("1700000003.M1P1.h", "1700000002.M1P1.h", "1700000001.M1P1.h"):
        os.chown(a.replica.deliver(name), who.pw_uid, who.pw_gid)
        pair.sync()
    view, _ = pair.check_equal()
    assert sorted(view["INBOX"][2]) == [1, 2, 3]
    assert b"1700000003" in view["INBOX"][2][1][2]
    assert b.server.complaints(RENUMBERED) == []


def test_one_that_was_moved_away_and_back_has_one_uid(pair):
    """By a program, before Dovecot looked: at B the line of the time before is still there."""
    a, b = pair.sides
    a.imap.ok(a.imap.create("F"))
    for n in range(3):
        a.imap.ok(a.imap.append("INBOX", None, None, body(f"m{n}")))
    pair.check_equal()
    with open(os.path.join(b.replica.mail, "dovecot-uidlist"), encoding="utf-8") as f:
        base = next(line for line in f if line.startswith("2 ")).split(":")[1].strip()
    b.imap.select_state("F")  # so that no session looks at INBOX
    a.replica.move(base, "F")
    pair.sync()
    a.view()
    assert len(a.view()[0]["INBOX"][2]) == 2
    b.replica.move(base, "INBOX", folder="F")
    pair.sync()
    for side in pair.sides:
        side.again()
    view, _ = pair.check_equal()
    assert len(view["INBOX"][2]) == 3 and view["F"][2] == {}
    assert 2 not in view["INBOX"][2], "A's Dovecot has seen it go"
    for side in pair.sides:
        side.again()
    assert pair.check_equal()[0] == view


def test_mailboxes_of_one_name_made_apart_become_one(pair):
    for side, text in zip(pair.sides, ("at a", "at b")):
        side.imap.ok(side.imap.create("Same"))
        side.imap.ok(side.imap.append("Same", "(work)", None, body(text)))
        side.imap.ok(side.imap.subscribe("Same"))
        side.view()
    view, subscribed = pair.check_equal()
    assert len(view["Same"][2]) == 2 and subscribed == ["Same"]


def test_a_mailbox_that_dovecot_never_opened_is_left_alone(pair):
    b = pair.sides[1]
    b.replica.mkfolder("Quiet")
    b.replica.deliver("1700000003.M1P1.h", folder="Quiet")
    pair.sync()
    for side in (pair.world.a, pair.world.b):
        names = os.listdir(side.folder("Quiet"))
        assert sorted(names) == ["cur", "new", "tmp"]


def test_a_27th_keyword_waits_for_a_slot(pair):
    a, b = pair.sides
    for side in pair.sides:
        side.imap.select_state("INBOX")
    b.imap.ok(b.imap.append("INBOX", "(" + " ".join(f"k{n}" for n in range(26)) + ")", None, body("full")))
    b.imap.select_state("INBOX")
    pair.check_equal()
    a.imap.ok(a.imap.append("INBOX", "(k3)", None, body("one")))
    pair.check_equal()
    # Dovecot itself has no room for more: a program that knows other keywords sets one at a peer.
    assert len(open(b.replica.folder("INBOX") + "/dovecot-keywords", encoding="utf-8").readlines()) == 26
    assert a.server.complaints(RENUMBERED) == b.server.complaints(RENUMBERED) == []


@pytest.mark.parametrize("seed", [0, 1, 2, 217])
def test_random_clients(tmp_path, pair, seed):
    rng = random.Random(seed)
    for _ in range(8):
        for side in pair.sides:
            for _ in range(rng.randint(0, 5)):
                pair.random_step(rng, side)
            side.view()
            if rng.random() < 0.4:
                side.again()
        pair.check_equal()
    for side in pair.sides:
        side.again()
    pair.check_equal()
    for side in pair.sides:
        assert side.server.complaints(RENUMBERED) == []


def test_live_with_one_of_them_on_a_mount(users_linked):  # noqa: F811
    """Each change is made at one Dovecot and waited for at the other, which is asked all the time."""
    place = users_linked
    for name in ("near", "far"):
        os.makedirs(f"{place.base}/{name}/x")
    near = Side(types.SimpleNamespace(path=f"{place.base}/near/x", mail=place.mail), own=False)
    os.chmod(os.path.dirname(place.peer), 0o755)
    far = Side(types.SimpleNamespace(path=f"{place.base}/far/x", mail=place.peer))
    sides = [near, far]

    def equal():
        views = [side.view() for side in sides]
        return views[0] if views[0] == views[1] else None

    def agree(what):
        return until(what, equal, tell=lambda: differences(*[side.view() for side in sides]))

    try:
        view = agree("first")
        count = len(view[0]["INBOX"][2])
        for n in range(8):
            imap = sides[n % 2].imap
            imap.ok(imap.append("INBOX", "(\\Seen work)", None, body(f"live {n}")))
            imap.select_state("INBOX")
            imap.ok(imap.uid("STORE", str(max(view[0]["INBOX"][2])), "+FLAGS", f"(\\Flagged k{n})"))
            view = until("both have it", lambda: (v := equal()) and len(v[0]["INBOX"][2]) == count + n + 1 and v,
                         tell=lambda: differences(*[side.view() for side in sides]))  # fmt: skip
        # at one time on both sides
        for side in sides:
            side.imap.ok(side.imap.append("INBOX", None, None, body(f"from {side.base}")))
        until("both have both", lambda: (v := equal()) and len(v[0]["INBOX"][2]) == count + 10 and v)
        for side in sides:
            assert side.server.complaints(RENUMBERED) == []
        # a mailbox that comes: no Dovecot opens it before it has the other's UIDVALIDITY
        for maker, other, name in ((far, near, "Came"), (near, far, "Went")):
            maker.imap.ok(maker.imap.create(name))
            maker.imap.ok(maker.imap.append(name, "(work)", None, body(name)))
            lists = [os.path.join(side.replica.mail, f".{name}", "dovecot-uidlist") for side in (maker, other)]
            until("the list is there", lambda: os.path.exists(lists[1]))
            heads = [open(path, encoding="utf-8").readline().split() for path in lists]
            assert heads[0][1] == heads[1][1] and [w[0] for w in heads[1]] == ["3", "V", "N", "G"], heads
            view = until("both show it", lambda: (v := equal()) and len(v[0].get(name, (0, 0, {}))[2]) == 1 and v,
                         tell=lambda: differences(*[side.view() for side in sides]))  # fmt: skip
            assert heads[0][1] == f"V{view[0][name][0]}"
        for side in sides:
            assert side.server.complaints(RENUMBERED[:1]) == []
    finally:
        for side in sides:
            side.close()
