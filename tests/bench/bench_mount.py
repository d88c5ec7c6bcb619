#!/usr/bin/env python3
"""bench_mount.py [MESSAGES [CHANGES]]: what the mount costs (20,000 and 2,000).

Each phase runs on a plain directory (native), on tests/tools/anchor-fs.c (a file system that does nothing
but serve) and on the mount (ours), in turn, three times, so that a machine that is busy for a while is so
for each of them:

deliver, pickup, flag, unlink   changes of a folder with MESSAGES messages
deliver fsync                   a delivery that flushes its file and new/
scan warm                       readdir, stat, open and read of 4 KiB, the second time
list dropped                    readdir and stat with the kernel's caches dropped (root; else left out)
scan cold                       the same with open and read

One line of JSON each: operations a second (the median of the runs), ours compared with both, and the median
of one operation in microseconds.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

PROGRAM = os.environ.get("MAILBRAID", "mailbraid")
DAEMON = os.environ.get("MAILBRAID_FS", "mailbraid-fs")
TOOLS = os.path.join(os.path.dirname(PROGRAM), "tests")
ROUNDS = 3
FLUSHED = 50


class Folder:
    """A Maildir folder that is served in one way or another."""

    def __init__(self, base, kind):
        self.kind = kind
        self.server = None
        place = os.path.join(base, kind)
        self.mount = os.path.join(place, "mnt")
        os.makedirs(self.mount)
        if kind == "anchor":
            os.mkdir(os.path.join(place, "backing"))
            self.serve(os.path.join(TOOLS, "anchor-fs"), os.path.join(place, "backing"), self.mount)
        elif kind == "ours":
            store = os.path.join(place, "store")
            subprocess.run([PROGRAM, "--store", store, "init"], check=True, stdout=subprocess.DEVNULL)
            self.serve(DAEMON, "--store", store, "--mount", self.mount, "-o", "noxattr")
        self.path = os.path.join(self.mount, ".box")

    def serve(self, *argv):
        self.server = subprocess.Popen(argv)
        end = time.monotonic() + 30
        while not os.path.ismount(self.mount):
            if self.server.poll() is not None or time.monotonic() > end:
                sys.exit(f"{argv[0]} did not mount")
            time.sleep(0.01)

    def run(self, phase, count, flush=False):
        """Operations a second, and microseconds of the one in the middle."""
        argv = [os.path.join(TOOLS, "mail-load"), self.path, str(count), str(int(flush)), phase]
        line = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
        return int(line[1]) / (int(line[2]) / 1e9), int(line[3]) / 1e3

    def close(self):
        if self.server:
            subprocess.run(["fusermount3", "-u", self.mount], check=True)
            self.server.wait()


def drop_caches():
    """False: only root may."""
    os.sync()
    try:
        with open("/proc/sys/vm/drop_caches", "w") as f:
            f.write("3\n")
    except OSError:
        return False
    return True


def tell(phase, rates, middles):
    line = {"bench": "mount", "phase": phase}
    median = {kind: statistics.median(values) for kind, values in rates.items()}
    for kind, rate in median.items():
        line[kind] = round(rate)
    for other in ("native", "anchor"):
        line[f"ratio_to_{other}"] = round(median["ours"] / median[other], 3)
    for kind, values in middles.items():
        line[f"{kind}_us"] = round(statistics.median(values), 1)
    print(json.dumps(line), flush=True)


class Figures:
    """Of all rounds, by phase."""

    def __init__(self):
        self.rates, self.middles = {}, {}

    def add(self, name, folder, phase, count, flush=False):
        rate, middle = folder.run(phase, count, flush)
        for table, value in ((self.rates, rate), (self.middles, middle)):
            table.setdefault(name, {}).setdefault(folder.kind, []).append(value)


def one_round(folders, figures, messages, changes, cold):
    writes = [("deliver", changes, False), ("pickup", changes, False), ("flag", changes, False),
              ("unlink", changes, False), ("deliver fsync", FLUSHED, True)]  # fmt: skip
    for name, count, flush in writes:
        for folder in folders:
            figures.add(name, folder, name.split()[0], count, flush)
    for folder in folders:
        folder.run("scan", messages)
        folder.run("scan", messages)
        figures.add("scan warm", folder, "scan", messages)
    for name, phase in (("list dropped", "list"), ("scan cold", "scan")) if cold else ():
        for folder in folders:
            drop_caches()
            figures.add(name, folder, phase, messages)


def main():
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 20000
    changes = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    base = tempfile.mkdtemp(prefix="mailbraid-bench-")
    folders, figures = [], Figures()
    try:
        for kind in ("native", "anchor", "ours"):
            folders.append(Folder(base, kind))
        for folder in folders:
            os.mkdir(folder.path)
            folder.run("deliver", messages)
            folder.run("pickup", messages)
        cold = drop_caches()
        for _ in range(ROUNDS):
            one_round(folders, figures, messages, changes, cold)
        for phase, rates in figures.rates.items():
            tell(phase, rates, figures.middles[phase])
    finally:
        for folder in folders:
            folder.close()
        shutil.rmtree(base)


if __name__ == "__main__":
    main()
