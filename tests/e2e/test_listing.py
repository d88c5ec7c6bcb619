"""What a listing tells of each mail is what the disk says, also where it was kept from the listing before."""

import os
import random

import pytest

from support.daemon import Daemon
from support.programs import need_fuse
from support.wait import until

FIELDS = ("st_mode", "st_uid", "st_gid", "st_size", "st_blocks", "st_mtime_ns", "st_ctime_ns")


@pytest.fixture
def d():
    need_fuse()
    daemon = Daemon()
    yield daemon
    daemon.close()


def listed(d):
    """name -> stat of cur, from a listing that the kernel had to ask for."""
    path = d.path("cur", "listing-again")
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    os.unlink(path)
    with os.scandir(d.path("cur")) as entries:
        return {e.name: os.stat(e.path) for e in entries}


def backing(d):
    cur = os.path.join(d.backing, "cur")
    return {name: os.stat(os.path.join(cur, name)) for name in os.listdir(cur)}


def differences(d):
    """(name, field) where the mount and the disk do not agree."""
    shown, there = listed(d), backing(d)
    found = [(name, "name") for name in shown.keys() ^ there.keys()]
    for name, st in there.items():
        links = [x for x in there.values() if x.st_ino == st.st_ino]
        if name in shown:
            found += [(name, f) for f in FIELDS if getattr(shown[name], f) != getattr(st, f)]
            found += [(name, "st_nlink")] if shown[name].st_nlink != len(links) else []
    return found


def same(d):
    """A rewritten hard link becomes a file of its own: of its other names the kernel is told soon after."""
    until("the listing is right", lambda: not differences(d), 5, lambda: differences(d))
    return listed(d)


class Changes:
    """What programs do to a mail in cur, one at random after the other."""

    def __init__(self, d, seed):
        self.d, self.random, self.made = d, random.Random(seed), 0

    def some(self):
        return self.d.path("cur", self.random.choice(sorted(os.listdir(self.d.path("cur")))))

    def deliver(self):
        self.made += 1
        body = b"Subject: n\n\n" + b"x" * self.random.randrange(9000)
        self.d.deliver(f"{1700000000 + self.made}.M{self.made}P1.h:2,", body, sub="cur")

    def flag(self):
        path = self.some()
        os.rename(path, path.partition(":2,")[0] + ":2," + self.random.choice(["", "S", "F", "RS"]))

    def mode(self):
        os.chmod(self.some(), self.random.choice([0o600, 0o640, 0o644]))

    def time(self):
        when = self.random.randrange(10**18)
        os.utime(self.some(), ns=(when, when))

    def append(self):
        with open(self.some(), "ab") as f:
            f.write(b"more\n" * self.random.randrange(1, 2000))

    def shorten(self):
        path = self.some()
        os.truncate(path, os.stat(path).st_size // 2)

    def rewrite(self):
        with open(self.some(), "wb") as f:
            f.write(b"Subject: again\n\n" + b"y" * self.random.randrange(3000))

    def replace(self):
        self.made += 1
        tmp = self.d.path("tmp", f"r{self.made}")
        with open(tmp, "wb") as f:
            f.write(b"Subject: other\n\nother\n")
        os.rename(tmp, self.some())

    def link(self):
        self.made += 1
        os.link(self.some(), self.d.path("cur", f"{1700000000 + self.made}.L{self.made}P1.h:2,"))

    def away(self):
        if len(os.listdir(self.d.path("cur"))) > 3:
            os.unlink(self.some())

    def one(self):
        self.random.choice(
            [self.deliver, self.flag, self.mode, self.time, self.append, self.shorten, self.rewrite]
            + [self.replace, self.link, self.away]
        )()


@pytest.mark.parametrize("seed", range(4))
def test_a_listing_tells_what_the_disk_says(d, seed):
    changes = Changes(d, seed)
    for _ in range(8):
        changes.deliver()
    same(d)
    for _ in range(60):
        changes.one()
        same(d)


def test_inode_numbers_stay_while_flags_change(d):
    changes = Changes(d, 1)
    for _ in range(5):
        changes.deliver()
    numbers = {n.partition(":")[0]: s.st_ino for n, s in same(d).items()}
    for _ in range(10):
        changes.flag()
        assert {n.partition(":")[0]: s.st_ino for n, s in same(d).items()} == numbers


def test_a_second_listing_asks_the_disk_for_nothing(d):
    """A time that was set behind our back, which no event tells, shows who was asked."""
    changes = Changes(d, 2)
    for _ in range(5):
        changes.deliver()
    same(d)
    name = sorted(os.listdir(os.path.join(d.backing, "cur")))[0]
    os.utime(os.path.join(d.backing, "cur", name), (5, 5))
    assert listed(d)[name].st_mtime != 5


def test_a_change_in_the_backing_directory_is_seen(d):
    changes = Changes(d, 3)
    for _ in range(5):
        changes.deliver()
    same(d)
    cur = os.path.join(d.backing, "cur")
    first, second = sorted(os.listdir(cur))[:2]
    os.rename(os.path.join(cur, first), os.path.join(cur, first + "S"))
    os.unlink(os.path.join(cur, second))
    until("the change is shown", lambda: sorted(listed(d)) == sorted(os.listdir(cur)))
    same(d)
