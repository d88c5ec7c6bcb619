#!/usr/bin/env python3
"""bench_sync.py [N...]: the first sync and the sync in which nothing happened, with 1k, 10k and 100k messages.

The first sync fills an empty store, and is compared with `cp -a` of the same tree and a sync(1) (and
with `rsync -a` where that is installed). The sync in which nothing happened must cost the same at 1k and
at 100k messages in as many folders; strace counts what it asks of the file system: stats of cur and
new for each folder, and directories of mail that were read (none).
"""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

PROGRAM = os.environ.get("MAILBRAID", "mailbraid")
GENERATOR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support", "gen_maildir.py")
FOLDERS = 50
RUNS = 21


def run(*argv):
    subprocess.run([str(a) for a in argv], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def timed(*argv):
    start = time.monotonic()
    run(*argv)
    return time.monotonic() - start


def copied(command, source, target):
    """Seconds of a copy that is on disk in the end, as a sync's is."""
    start = time.monotonic()
    run(*command, source, target)
    run("sync", "-f", target)
    seconds = time.monotonic() - start
    shutil.rmtree(target)
    return seconds


def tell(phase, n, seconds, peers=(), operations=1, **more):
    """peers: [(name, [seconds])], run in turn with ours; the first is the one of "ratio"."""
    line = {"bench": "sync", "phase": phase, "n": n, "seconds": round(statistics.median(seconds), 6)}
    line["per_second"] = round(operations / line["seconds"], 1)
    for name, theirs in peers:
        ratio = round(statistics.median(a / b for a, b in zip(seconds, theirs)), 2)
        key = "ratio" if "peer" not in line else "ratio_to_" + name.split()[0]
        line.setdefault("peer", name)
        line.setdefault("peer_seconds", round(statistics.median(theirs), 6))
        line[key] = ratio
    print(json.dumps({**line, **more}), flush=True)


class Place:
    def __init__(self, base, n):
        self.base, self.n = base, n
        os.mkdir(base)
        self.mail = os.path.join(base, "mail")
        self.a = os.path.join(base, "a")
        self.stores = 0
        run(sys.executable, GENERATOR, self.mail, "-n", n, "-f", FOLDERS)
        run(PROGRAM, "--store", self.a, "init", "--adopt", self.mail)
        self.wait_until_old()
        run(PROGRAM, "--store", self.a, "status")

    def wait_until_old(self):
        """A directory that changed less than two seconds ago is read again."""
        time.sleep(2.2)

    def empty(self):
        self.stores += 1
        path = os.path.join(self.base, f"b{self.stores}")
        run(PROGRAM, "--store", path, "init")
        return path

    def first_sync(self, runs):
        ours, cp, rsync = [], [], []
        for _ in range(runs):
            target = os.path.join(self.base, "copy")
            cp.append(copied(["cp", "-a"], self.mail, target))
            if shutil.which("rsync"):
                rsync.append(copied(["rsync", "-a"], self.mail, target))
            self.b = self.empty()
            ours.append(timed(PROGRAM, "--store", self.a, "sync", "store:" + self.b))
        peers = [("cp -a, sync", cp)] + ([("rsync -a, sync", rsync)] if rsync else [])
        tell("first sync", self.n, ours, peers, operations=self.n)

    def prepare_nothing(self):
        self.command = [PROGRAM, "--store", self.a, "sync", "store:" + self.b]
        self.wait_until_old()
        run(*self.command)  # notes the times of the directories
        run(*self.command)
        self.ours, self.walks = [], []

    def nothing(self):
        """The sync in which nothing happened, once."""
        self.walks.append(timed("find", self.mail, "-newer", GENERATOR, "-name", "none"))
        self.ours.append(timed(*self.command))

    def calls(self):
        """What one sync asks of the file system, by strace."""
        if not shutil.which("strace"):
            return {}
        log = os.path.join(self.base, "strace")
        run("strace", "-f", "-y", "-o", log, *self.command)
        stats = listed = calls = 0
        trees = [os.path.realpath(self.mail), os.path.realpath(os.path.join(self.b, "mail"))]
        with open(log, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                calls += " resumed>" not in line and "(" in line
                fds = re.findall(r"\d+<([^>]*)>", line)
                inside = any(fd == t or fd.startswith(t + "/") for fd in fds for t in trees)
                if not inside:
                    continue
                name = line.split("(", 1)[0].split()[-1]
                stats += "stat" in name
                listed += name.startswith("getdents")
        return {
            "folders": 2 * FOLDERS,
            "system_calls": calls,
            "stats_per_folder": round(stats / (2 * FOLDERS), 2),
            "directories_read": listed,
        }


def nothing(places):
    """Of all places in turn, so that a machine that is busy for a while is so for each of them."""
    for place in places:
        place.prepare_nothing()
    for _ in range(RUNS):
        for place in places:
            place.nothing()
    smallest = places[0].ours
    for place in places:
        cost = statistics.median(a / b for a, b in zip(place.ours, smallest))
        tell("no-op sync", place.n, place.ours, [("find -newer", place.walks)],
             **place.calls(), ratio_to_smallest=round(cost, 2))  # fmt: skip


def main():
    sizes = [int(a) for a in sys.argv[1:]] or [1000, 10000, 100000]
    base = tempfile.mkdtemp(prefix="mailbraid-bench-")
    try:
        places = [Place(os.path.join(base, str(n)), n) for n in sizes]
        for place in places:
            place.first_sync(1 if place.n > 10000 else 3)
        nothing(places)
    finally:
        shutil.rmtree(base)


if __name__ == "__main__":
    main()
