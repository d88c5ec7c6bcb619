"""A mount under load, in step with a peer where mail comes and goes too: tests/tools/mail-race.c.

What the tool counts has to be nothing (no mail missed or doubled in a listing, no byte wrong), and when
all rest both replicas hold the same.
"""

import json
import os
import random
import signal
import subprocess
import threading
import time

from support.programs import end, mailbraid, ours
from support.replica import Replica, body, split
from support.wait import until

FOLDER = "race"


def tool():
    return ours("MAIL_RACE", os.path.join(os.path.dirname(mailbraid()), "tests", "mail-race"))


class Somebody(threading.Thread):
    """At the peer: delivers, flags and expunges mails of its own, and flags every third of the tool's."""

    def __init__(self, replica, count, seed):
        super().__init__(daemon=True)
        self.replica, self.count = replica, count
        self.random = random.Random(seed)
        self.number = self.done = 0
        self.born = time.time_ns()  # no name is given twice
        self.own = []
        self.over = threading.Event()
        self.failure = None

    def run(self):
        try:
            while not self.over.wait(0.02):
                self.step()
        except OSError as why:
            self.failure = why

    def step(self):
        what = self.random.random()
        if what < 0.4 or not self.own:
            self.number += 1
            self.own.append(f"peer.{self.born}.{self.number}.x")
            self.replica.deliver(self.own[-1], body(f"of the peer {self.number}"), folder=FOLDER)
        elif what < 0.6:
            self.change(self.random.choice(self.own))
        elif what < 0.8:
            self.change(f"race.{self.random.randrange(2, self.count, 3)}.x")
        else:
            name = self.own.pop(self.random.randrange(len(self.own)))
            self.at(name, os.unlink)
        self.done += 1

    def change(self, name):
        cur = os.path.join(self.replica.folder(FOLDER), "cur")
        to = os.path.join(cur, name + ":2," + self.random.choice(["", "F", "FS", "R", "S"]))
        self.at(name, lambda path: os.rename(path, to))

    def at(self, name, call):
        """A sync may have renamed it since it was looked for."""
        while True:
            try:
                return call(self.replica.path_of(name, FOLDER))
            except FileNotFoundError:
                if self.over.is_set():
                    return None
                time.sleep(0.002)


class Race:
    def __init__(self, base, count=500, seed=1):
        self.base, self.count, self.seed = str(base), count, seed
        self.a, self.b = Replica(os.path.join(base, "a")), Replica(os.path.join(base, "b"))
        self.mnt = os.path.join(base, "mnt")
        os.mkdir(self.mnt)
        self.a.mkfolder(FOLDER)
        self.a.must("sync", self.b.destination)
        self.messages = open(os.path.join(base, "messages"), "ab")
        self.process = subprocess.Popen(
            [mailbraid(), "--store", self.a.path, "mount", "-f", self.mnt],
            stdin=subprocess.DEVNULL, stdout=self.messages, stderr=self.messages,
        )  # fmt: skip
        until("the mount to answer", lambda: os.path.ismount(self.mnt) and self.reconciler())
        self.run("mixed", 0)  # makes the mails that stay
        self.wait_equal()

    def reconciler(self):
        """Its pid, or None."""
        pid = self.process.pid
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            for child in f.read().split():
                with open(f"/proc/{child}/cmdline", "rb") as words:
                    if b"reconcile" in words.read().split(b"\0"):
                        return int(child)
        return None

    def run(self, phase, seconds, box=None):
        """What the tool counted, in the mount's folder or another; fails when anything was wrong."""
        argv = [tool(), box or os.path.join(self.mnt, "." + FOLDER), str(self.count), str(seconds), phase]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 120, check=False)
        assert done.returncode == 0, (done.returncode, done.stdout, done.stderr[-3000:])
        return json.loads(done.stdout)

    def run_with_peer(self, phase, seconds):
        """The same while the peer is at work; when both rest, they are equal."""
        other = Somebody(self.b, self.count, self.seed)
        other.start()
        try:
            told = self.run(phase, seconds)
        finally:
            other.over.set()
            other.join()
        assert other.failure is None, other.failure
        told["at_the_peer"] = other.done
        self.wait_equal()
        return told

    def stop_reconciler(self, seconds, stopped, going):
        """Stopped and going by turns for so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            pid = self.reconciler()
            os.kill(pid, signal.SIGSTOP)
            time.sleep(stopped)
            os.kill(pid, signal.SIGCONT)
            time.sleep(going)

    def equal(self):
        try:
            a, b = self.a.tree(), self.b.tree()
        except FileNotFoundError:
            return False  # renamed while we looked
        return a == b

    def wait_equal(self):
        until("both replicas to be equal", self.equal, patience=120, tell=self.difference)

    def difference(self):
        a, b = ({(f, *m[:2]) for f, mails in r.tree().items() for m in mails} for r in (self.a, self.b))
        with open(self.messages.name, encoding="utf-8", errors="replace") as f:
            said = f.read()[-2000:]
        return f"only here: {sorted(a - b)[:10]}, only there: {sorted(b - a)[:10]}\n{said}"

    def check_mount(self):
        """The mount shows what is in the backing tree."""
        for sub in ("cur", "new"):
            shown = os.path.join(self.mnt, "." + FOLDER, sub)
            there = os.path.join(self.a.folder(FOLDER), sub)
            assert sorted(os.listdir(shown)) == sorted(os.listdir(there))
            for name in os.listdir(shown):
                with open(os.path.join(shown, name), "rb") as x, open(os.path.join(there, name), "rb") as y:
                    assert x.read() == y.read(), name
                assert os.stat(os.path.join(shown, name)).st_size == os.stat(os.path.join(there, name)).st_size
        assert {split(n)[0] for n in os.listdir(os.path.join(self.mnt, "." + FOLDER, "cur"))} >= {
            f"race.{i}.x" for i in range(self.count)
        }

    def close(self):
        end(self.process)
        subprocess.run(["umount", "-l", self.mnt], capture_output=True, check=False)
        self.messages.close()
