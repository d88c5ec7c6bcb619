"""How many requests the daemon waits for in what mail programs do, by `status --fuse --json`."""

import json
import os
import subprocess

import pytest

from support.daemon import Daemon
from support.programs import mailbraid, need, need_fuse, run
from support.screen import Screen
from support.wait import until

N = 100
UNWAITED = ("forget", "release", "notify")  # nobody waits for these
SLACK = 8  # of a whole loop, not of each mail: what the deliveries before it set off


@pytest.fixture
def d():
    need_fuse()
    daemon = Daemon("noxattr")
    yield daemon
    daemon.close()


def requests(d, work):
    """What work() costs, by kind."""

    def told():
        return json.loads(run(mailbraid(), "--store", d.store, "status", "--fuse", "--json"))["fuse"]

    before = told()
    work()
    after = told()
    spent = {k: v - before.get(k, 0) for k, v in after.items() if k not in UNWAITED}
    return {k: v for k, v in spent.items() if v}


def look(d, sub):
    """The listing that a program made before it changes anything."""
    for e in os.scandir(d.path(sub)):
        e.stat()


def deliver(d, sub, end, n=N):
    for i in range(n):
        d.deliver(f"{i}.a{end}", sub=sub)
    look(d, sub)


def at_most(d, each, work):
    """work(i) for each mail costs so many requests at most."""

    def all_of_them():
        for i in range(N):
            work(i)

    spent = requests(d, all_of_them)
    assert sum(spent.values()) <= each * N + SLACK, spent


def test_a_flag_is_two(d):
    deliver(d, "cur", ":2,")
    at_most(d, 2, lambda i: os.rename(d.path("cur", f"{i}.a:2,"), d.path("cur", f"{i}.a:2,S")))


def test_a_pickup_is_two(d):
    deliver(d, "new", "")
    at_most(d, 2, lambda i: os.rename(d.path("new", f"{i}.a"), d.path("cur", f"{i}.a:2,")))


def test_an_unlink_is_one(d):
    deliver(d, "cur", ":2,")
    at_most(d, 1, lambda i: os.unlink(d.path("cur", f"{i}.a:2,")))


def test_a_cold_open_is_one(d):
    """After a new mount and a listing; the program reads each to its end."""
    deliver(d, "cur", ":2,")
    d.remount()
    look(d, "cur")

    def read(i):
        with open(d.path("cur", f"{i}.a:2,"), "rb") as f:
            assert f.read()

    at_most(d, 1, read)


# ---- the third opening of a folder ------------------------------------------------------------------


def costs_nothing(d, n, look):
    """The third time; later, when a busy machine is not done yet with what the deliveries set off."""
    look()
    look()
    until("a look that costs nothing", lambda: sum(requests(d, look).values()) <= 0.01 * n)


MUTTRC = """set mbox_type = Maildir
set folder = "{mail}"
set spoolfile = "{mail}"
set move = no
set quit = yes
set mark_old = no
set sleep_time = 0
set header_cache = "{cache}"
"""


@pytest.mark.parametrize("cache", [False, True], ids=["no-cache", "header-cache"])
@pytest.mark.parametrize("program", ["neomutt", "mutt"])
def test_the_third_opening_by_mutts_costs_nothing(d, program, cache):
    """At most a hundredth of a request a mail; it is read mail, for new mail is marked as old."""
    need(program, "tmux")
    n = 1000
    for i in range(n):
        d.deliver(f"{i}.a:2,S", b"From: a@example.org\nSubject: number %d.\n\nbody\n" % i, sub="cur")
    where = os.path.join(d.base, "cache") if cache else ""
    if cache:
        os.mkdir(where)
    rc = os.path.join(d.base, "muttrc")
    with open(rc, "w", encoding="utf-8") as f:
        f.write(MUTTRC.format(mail=d.mnt, cache=where))

    def look():
        env = dict(os.environ, HOME=d.base, LC_ALL="C.UTF-8")
        screen = Screen([program, "-n", "-F", rc, "-f", d.mnt], env, d.base)
        try:
            screen.wait(f"number {n - 1}\\.")
            screen.keys("text:q")
            until("it ends", screen.ended, tell=screen.text)
        finally:
            screen.close()

    costs_nothing(d, n, look)


def test_the_third_opening_by_mblaze_costs_nothing(d):
    """At most a hundredth of a request a mail."""
    need("mlist", "mscan")
    n = 1000
    deliver(d, "cur", ":2,", n)

    def scan():
        listed = subprocess.run(["mlist", d.mnt], capture_output=True, check=True).stdout
        assert len(listed.splitlines()) == n
        env = dict(os.environ, HOME=d.base, MBLAZE=d.base)
        subprocess.run(["mscan"], input=listed, env=env, capture_output=True, check=True)

    costs_nothing(d, n, scan)
