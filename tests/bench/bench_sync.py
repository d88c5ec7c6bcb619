#!/usr/bin/env python3
"""bench_sync.py [N...]: what a sync costs with 1k, 10k and 100k messages; a million with MAILBRAID_BENCH_1M=1.

adopt         an existing Maildir is taken in place and looked at for the first time
first sync    fills an empty store; compared with `cp -a` of the same tree and a sync(1), and with `rsync -a`
no-op sync    nothing happened: must cost the same at 1k and at 100k messages in as many folders. strace
              counts what it asks of the file system: stats of cur and new for each folder, those of
              the roots, and directories of mail that were read (none)
changes       1,000 changes, half of them on either side: flags, deliveries, expunges, moves
full          everything is compared: sync -f

Each line has the peak of memory: `rss_kb` with the pages of the index that the kernel has in its cache
anyway, `anon_kb` without. Nothing is deleted before the end: ext4 goes slowly over inodes that were
deleted a short time ago, which would be counted against whoever comes next.
"""

import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

PROGRAM = os.environ.get("MAILBRAID", "mailbraid")
GENERATOR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support", "gen_maildir.py")
MILLION = 1000000
RUNS = 21
CHANGES = 1000


def run(*argv):
    subprocess.run([str(a) for a in argv], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


class Run:
    """One run of a program: seconds, peak memory in kB."""

    def __init__(self, *argv):
        self.anon_kb = 0
        start = time.monotonic()
        quiet = subprocess.DEVNULL
        child = subprocess.Popen([str(a) for a in argv], stdin=quiet, stdout=quiet, stderr=quiet)
        over = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(child.pid, over))
        watcher.start()
        _, status, usage = os.wait4(child.pid, 0)
        self.seconds = time.monotonic() - start
        over.set()
        watcher.join()
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise subprocess.CalledProcessError(child.returncode, child.args)
        self.rss_kb = usage.ru_maxrss

    def _watch(self, pid, over):
        """The kernel keeps no peak of memory that is not backed by files: it is looked at."""
        while not over.wait(0.005 if self.anon_kb < 100000 else 0.05):
            try:
                with open(f"/proc/{pid}/status", encoding="ascii") as f:
                    found = re.search(r"RssAnon:\s+(\d+)", f.read())
            except OSError:
                return
            if found:
                self.anon_kb = max(self.anon_kb, int(found[1]))


def timed(*argv):
    return Run(*argv).seconds


def tell(phase, n, runs, peers=(), operations=1, **more):
    """runs: [Run]. peers: [(name, [seconds])], run in turn with ours; the first is the one of "ratio"."""
    seconds = [r.seconds for r in runs]
    line = {"bench": "sync", "phase": phase, "n": n, "seconds": round(statistics.median(seconds), 6)}
    line["per_second"] = round(operations / line["seconds"], 1)
    line["rss_kb"] = max(r.rss_kb for r in runs)
    line["anon_kb"] = max(r.anon_kb for r in runs)
    for name, theirs in peers:
        ratio = round(statistics.median(a / b for a, b in zip(seconds, theirs)), 2)
        key = "ratio" if "peer" not in line else "ratio_to_" + name.split()[0]
        line.setdefault("peer", name)
        line.setdefault("peer_seconds", round(statistics.median(theirs), 6))
        line[key] = ratio
    print(json.dumps({**line, **more}), flush=True)


class Place:
    """A Maildir, adopted into store `a`, and stores that it is synced to."""

    def __init__(self, base, n):
        self.base, self.n = base, n
        os.mkdir(base)
        self.mail = os.path.join(base, "mail")
        self.a = os.path.join(base, "a")
        self.stores = self.copies = 0
        self.folders = 1000 if n >= MILLION else 50
        small = ["--median", 1, "--even"] if n >= MILLION else []
        run(sys.executable, GENERATOR, self.mail, "-n", n, "-f", self.folders, *small)
        self.adopt()

    def adopt(self):
        init = Run(PROGRAM, "--store", self.a, "init", "--adopt", self.mail)
        look = Run(PROGRAM, "--store", self.a, "status")
        init.seconds += look.seconds
        init.rss_kb = max(init.rss_kb, look.rss_kb)
        init.anon_kb = max(init.anon_kb, look.anon_kb)
        tell("adopt", self.n, [init], operations=self.n)
        self.wait_until_old()
        run(PROGRAM, "--store", self.a, "status")
        self.empty()

    def wait_until_old(self):
        """A directory that changed less than two seconds ago is read again."""
        time.sleep(2.2)

    def empty(self):
        self.stores += 1
        self.b = os.path.join(self.base, f"b{self.stores}")
        run(PROGRAM, "--store", self.b, "init")
        return self.b

    def copied(self, *command):
        """Seconds of a copy that is on disk in the end, as a sync's is."""
        self.copies += 1
        target = os.path.join(self.base, f"copy{self.copies}")
        run("sync", "-f", self.base)
        start = time.monotonic()
        run(*command, self.mail, target)
        run("sync", "-f", target)
        return time.monotonic() - start

    def sync(self, *options):
        return [PROGRAM, "--store", self.a, "sync", *options, "store:" + self.b]

    def first_sync(self, runs):
        ours, cp, rsync = [], [], []
        for _ in range(runs):
            cp.append(self.copied("cp", "-a"))
            if shutil.which("rsync"):
                rsync.append(self.copied("rsync", "-a"))
            if ours:
                self.empty()
            run("sync", "-f", self.base)
            ours.append(Run(*self.sync()))
        peers = [("cp -a, sync", cp)] + ([("rsync -a, sync", rsync)] if rsync else [])
        tell("first sync", self.n, ours, peers, operations=self.n)

    def prepare_nothing(self):
        self.wait_until_old()
        run(*self.sync())  # notes the times of the directories
        run(*self.sync())
        self.ours, self.walks = [], []

    def nothing(self):
        """The sync in which nothing happened, once."""
        self.walks.append(timed("find", self.mail, "-newer", GENERATOR, "-name", "none"))
        self.ours.append(Run(*self.sync()))

    def calls(self):
        """What one sync asks of the file system, by strace."""
        if not shutil.which("strace"):
            return {}
        log = os.path.join(self.base, "strace")
        run("strace", "-f", "-y", "-o", log, *self.sync())
        stats = at_root = listed = calls = 0
        trees = [os.path.realpath(self.mail), os.path.realpath(os.path.join(self.b, "mail"))]
        with open(log, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                calls += " resumed>" not in line and "(" in line
                fds = re.findall(r"\d+<([^>]*)>", line)
                inside = any(fd == t or fd.startswith(t + "/") for fd in fds for t in trees)
                if not inside:
                    continue
                name = line.split("(", 1)[0].split()[-1]
                root = not any(fd.startswith(t + "/") for fd in fds for t in trees)
                at_root += "stat" in name and root
                stats += "stat" in name and not root
                listed += name.startswith("getdents")
        folders = 2 * (self.folders - 1)  # INBOX is the root
        return {
            "folders": folders,
            "system_calls": calls,
            "stats_per_folder": round(stats / folders, 2),
            "stats_of_roots": at_root,
            "directories_read": listed,
        }

    def changes(self):
        """Each message is changed on one side only."""
        files = []
        for folder, _, names in os.walk(self.mail):
            if os.path.basename(folder) == "cur":
                files += [os.path.join(os.path.relpath(folder, self.mail), name) for name in names]
        chance = random.Random(7)
        files.sort()
        chosen = chance.sample(files, min(CHANGES, len(files) // 2))
        folders = sorted({os.path.dirname(f) for f in files})
        other = os.path.join(self.b, "mail")
        for i, name in enumerate(chosen):
            change(self.mail if i % 2 else other, name, i // 2 % 4, chance.choice(folders))
        done = Run(*self.sync())
        tell("changes", self.n, [done], operations=len(chosen), changes=len(chosen))
        self.wait_until_old()
        run(*self.sync())
        tell("no-op after changes", self.n, [Run(*self.sync())])

    def full(self):
        tell("full", self.n, [Run(*self.sync("-f"))], operations=self.n)


def change(mail, name, what, folder):
    path = os.path.join(mail, name)
    if what == 0:  # a flag
        base, _, flags = path.partition(":2,")
        os.rename(path, base + ":2," + "".join(sorted(set(flags) ^ {"F"})))
    elif what == 1:  # a delivery
        new = os.path.join(os.path.dirname(os.path.dirname(path)), "new", f"new{os.path.basename(name)[:40]}")
        with open(new, "x", encoding="ascii") as f:
            f.write(f"Subject: new\nMessage-ID: <{name[-40:-4]}@new>\n\nnew\n")
    elif what == 2:
        os.unlink(path)
    else:  # a move
        os.rename(path, os.path.join(mail, folder, "moved" + os.path.basename(name)))


def nothing(places):
    """Of all places in turn, so that a machine that is busy for a while is so for each of them."""
    for place in places:
        place.prepare_nothing()
    for _ in range(RUNS):
        for place in places:
            place.nothing()
    smallest = [r.seconds for r in places[0].ours]
    for place in places:
        cost = statistics.median(a.seconds / b for a, b in zip(place.ours, smallest))
        tell("no-op sync", place.n, place.ours, [("find -newer", place.walks)],
             **place.calls(), ratio_to_smallest=round(cost, 2))  # fmt: skip


def main():
    sizes = [int(a) for a in sys.argv[1:]] or [1000, 10000, 100000]
    if os.environ.get("MAILBRAID_BENCH_1M") and MILLION not in sizes:
        sizes.append(MILLION)
    base = tempfile.mkdtemp(prefix="mailbraid-bench-")
    try:
        places = []
        for n in sizes:
            places.append(Place(os.path.join(base, str(n)), n))
            places[-1].first_sync(1 if n > 10000 else 3)
        nothing([p for p in places if p.folders == places[0].folders])
        for place in places:
            if place.folders != places[0].folders:
                nothing([place])
            place.full()
            place.changes()
    finally:
        shutil.rmtree(base)


if __name__ == "__main__":
    main()
