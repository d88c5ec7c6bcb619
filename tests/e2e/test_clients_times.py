"""No change of a peer is hidden by a directory's times: notmuch, mu, mutt and neomutt look no further when those have
not moved, and some of them compare whole seconds."""

import os
import random

import pytest

from support import maildir
from support.fixtures import linked  # noqa: F401
from support.programs import need
from support.wait import until
from test_clients_commands import NOTMUCH
from test_mount_peer import Pair


def times(path):
    st = os.stat(path)
    return st.st_mtime_ns, st.st_ctime_ns


# ---- each change -------------------------------------------------------------------------------------


class Many:
    """A peer that does what comes."""

    def __init__(self, b, seed):
        self.b = b
        self.random = random.Random(seed)
        self.made = 0
        self.mail = {}  # base name: (folder, flags, or None in new/)

    def arrive(self):
        folder = self.random.choice(["INBOX", "work"])
        name = f"{self.made}.a"
        self.made += 1
        self.b.deliver(name, b"Subject: %d\n\nx\n" % self.made, folder=folder)
        self.mail[name] = (folder, None)

    def flag(self):
        name = self.random.choice(sorted(self.mail))
        folder, old = self.mail[name]
        new = self.random.choice([f for f in ("", "F", "FS", "RS", "S") if f != old])
        box = self.b.folder(folder)
        source = f"{box}/new/{name}" if old is None else f"{box}/cur/{name}:2,{old}"
        os.rename(source, f"{box}/cur/{name}:2,{new}")
        self.mail[name] = (folder, new)

    def expunge(self):
        name = self.random.choice(sorted(self.mail))
        folder, flags = self.mail.pop(name)
        box = self.b.folder(folder)
        os.unlink(f"{box}/new/{name}" if flags is None else f"{box}/cur/{name}:2,{flags}")

    def step(self):
        """One change there."""
        self.random.choice([self.arrive, self.flag, self.flag, self.expunge] if self.mail else [self.arrive])()


@pytest.fixture
def pair():
    p = Pair()
    yield p
    p.d.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_the_times_move_with_each_change(pair, seed):
    """After each sync: the names that a directory lists are others only when its mtime and ctime are later; a
    program has looked right before, in the same second."""
    pair.b.mkfolder("work")
    pair.sync()
    many = Many(pair.b, seed)
    places = [pair.d.path(f, sub) for f in ("", ".work") for sub in ("new", "cur")]
    moved = 0
    for _ in range(40):
        before = {p: (times(p), sorted(os.listdir(p))) for p in places}
        for _ in range(many.random.choice([1, 1, 3])):
            many.step()
        pair.sync()
        after = {p: (times(p), sorted(os.listdir(p))) for p in places}
        for p in places:
            (old, names), (new, names_now) = before[p], after[p]
            assert min(new[0] - old[0], new[1] - old[1]) >= (names != names_now), (p, names, names_now)
            moved += names != names_now
    assert moved >= 30


# ---- whole seconds -----------------------------------------------------------------------------------


def test_whole_seconds_move_in_the_second_after(linked):  # noqa: F811
    """neomutt has looked in the second of the change, and does not know the change: it will."""
    new, cur = f"{linked.mail}/new", f"{linked.mail}/cur"

    def later(path, second):
        return lambda: os.stat(path).st_mtime_ns // 10**9 > second

    for i in range(3):
        maildir.put(linked.peer, 30 + i)
        until("it is here", lambda i=i: os.path.exists(f"{new}/{maildir.base(30 + i)}"))
        until("new/ has another second", later(new, os.stat(new).st_mtime_ns // 10**9))
    os.rename(maildir.path(linked.peer, 1), f"{linked.peer}/cur/{maildir.base(1)}:2,FS")
    until("the flag is here", lambda: maildir.find(linked.mail, 1) == [("", "cur", "FS")])
    until("cur/ has another second", later(cur, os.stat(cur).st_mtime_ns // 10**9))
    until("both are equal", lambda: linked.tree() == maildir.tree(linked.peer), tell=linked.messages)


# ---- programs ----------------------------------------------------------------------------------------


def count(place, words):
    return int(place.run("notmuch", "count", *words))


def test_notmuch_misses_nothing(linked):  # noqa: F811
    """It looks all the time, also between a change and the end of its second."""
    need("notmuch")
    with open(f"{linked.home}/.notmuch-config", "w", encoding="utf-8") as f:
        f.write(f"[database]\npath={linked.home}/notmuch\nmail_root={linked.mail}\n" + NOTMUCH.split("\n", 2)[2])
    os.mkdir(f"{linked.home}/notmuch")

    def found(*words):
        linked.run("notmuch", "new", "--quiet")
        return count(linked, words)

    assert found("*") == 12
    for i in range(6):
        maildir.put(linked.peer, 30 + i, ["", ".Archive"][i % 2])
        until(f"mail {i} in notmuch", lambda i=i: found("*") == 13 + i)
    flagged = count(linked, ["tag:flagged"])
    for i in range(3):
        old = maildir.path(linked.peer, 30 + 2 * i)
        os.rename(old, f"{linked.peer}/cur/{maildir.base(30 + 2 * i)}:2,F")
        until(f"flag {i} in notmuch", lambda i=i: found("tag:flagged") == flagged + 1 + i)
    for i in range(3):
        os.unlink(maildir.path(linked.peer, 31 + 2 * i))
        until(f"expunge {i} in notmuch", lambda i=i: found("*") == 17 - i)


def test_a_lazy_mu_misses_nothing(linked):  # noqa: F811
    need("mu")
    linked.run("mu", "init", "-q", f"--maildir={linked.mail}")
    linked.run("mu", "index", "-q")

    def found(words):
        linked.run("mu", "index", "-q", "--lazy-check")
        return len(linked.run("mu", "find", "-f", "l", words, ok=(0, 2, 4)).splitlines())

    for i in range(3):
        maildir.put(linked.peer, 30 + i)
        until(f"mail {i} in mu", lambda i=i: found("subject:number") == 13 + i)
