#!/usr/bin/env python3
"""bench_parity.py [N...]: doveadm sync and mailbraid sync on the same mail, in one run.

The same Maildir is given to both (and to mbsync, where it is installed): the first sync to an empty place, the
sync in which nothing happened, and one with 100 changes on each side, by default, with -f and with -s. Each
line has the seconds of both and their ratio, ours/theirs; under 1 is faster. The changes are what mail
programs do to files, the same for all: 25 flags, 25 deliveries, 25 expunges and 25 moves on each side.
"""

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "parity"), os.path.join(HERE, "..", "e2e")]

from pairs import Doveadm, Mailbraid, have_doveadm  # noqa: E402

GENERATOR = os.path.join(HERE, "..", "support", "gen_maildir.py")
FOLDERS = 20
CHANGES = 100
RUNS = 5
MBSYNC = """
MaildirStore a
Inbox {base}/a
SubFolders Maildir++

MaildirStore b
Inbox {base}/b
SubFolders Maildir++

Channel both
Far :a:
Near :b:
Patterns *
Create Both
Expunge Both
SyncState {base}/state/
"""


class Mbsync:
    """isync, Maildir to Maildir; keeps UIDs in files of its own and copies every body."""

    name = "mbsync"

    def __init__(self, base):
        self.base = base
        os.makedirs(os.path.join(base, "state"))
        self.conf = os.path.join(base, "mbsyncrc")
        with open(self.conf, "w", encoding="utf-8") as f:
            f.write(MBSYNC.format(base=base))

    def sync(self, *options):
        argv = ["mbsync", "-q", "-c", self.conf, "both"]
        return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode


def trees(pair):
    """Both mail directories of a pair."""
    if isinstance(pair, Mailbraid):
        return pair.a.files.mail, pair.b.files.mail
    return os.path.join(pair.base, "a"), os.path.join(pair.base, "b")


def fill(pair, mail):
    target = trees(pair)[0]
    shutil.copytree(mail, target, dirs_exist_ok=True)
    if isinstance(pair, Doveadm):
        pair.given = pair.give()


def timed(pair, *options):
    """Seconds, and whether it said that all is well."""
    start = time.monotonic()
    code = pair.sync(*options)
    subprocess.run(["sync", "-f", trees(pair)[0]], check=True)
    return time.monotonic() - start, code


def files_of(mail):
    found = []
    for folder, _, names in os.walk(mail):
        if os.path.basename(folder) == "cur":
            found += [os.path.join(os.path.relpath(folder, mail), n) for n in names if not n.startswith(".")]
    return sorted(found, key=lambda f: f.split(":2,")[0].split(",")[0])


def change(mail, chance, who):
    """CHANGES changes; those of the other side are in other messages."""
    owner = os.stat(mail)
    files = files_of(mail)
    chosen = chance.sample(files[who::2], CHANGES)
    folders = sorted({os.path.dirname(f) for f in files})
    for i, name in enumerate(chosen):
        path = os.path.join(mail, name)
        if i % 4 == 0:
            base, _, flags = path.partition(":2,")
            os.rename(path, base + ":2," + "".join(sorted(set(flags) ^ {"F"})))
        elif i % 4 == 1:
            new = os.path.join(os.path.dirname(os.path.dirname(path)), "new", f"{time.time_ns()}.M{i}P{who}.new")
            with open(new, "x", encoding="ascii") as f:
                f.write(f"Subject: new {i}\nMessage-ID: <{time.time_ns()}@{who}.new>\n\nnew\n")
            os.chown(new, owner.st_uid, owner.st_gid)
        elif i % 4 == 2:
            os.unlink(path)
        else:
            to = os.path.join(mail, chance.choice(folders), f"{time.time_ns()}.M{i}P{who}.moved:2,S")
            os.rename(path, to)


def tell(phase, n, mode, ours, theirs, other):
    mine, his = statistics.median(s for s, _ in ours), statistics.median(s for s, _ in theirs)
    ratio = statistics.median(a / b for (a, _), (b, _) in zip(ours, theirs))
    line = {
        "bench": "parity", "phase": phase, "n": n, "mode": " ".join(("sync", *mode)), "seconds": round(mine, 4),
        "peer": other, "peer_seconds": round(his, 4), "ratio": round(ratio, 3),
        "exit": sorted({c for _, c in ours}), "peer_exit": sorted({c for _, c in theirs}),
    }  # fmt: skip
    print(json.dumps(line), flush=True)


def compare(base, mail, n, mode, other, label):
    """One pair each; what is timed is done in turn."""
    pairs = [Mailbraid(os.path.join(base, "ours")), other(os.path.join(base, "theirs"))]
    for pair in pairs:
        fill(pair, mail)
    first = [[timed(pair, *mode)] for pair in pairs]
    tell("first sync", n, mode, *first, label)
    time.sleep(2.2)  # directories that changed a moment ago are read again
    idle, changed = ([], []), ([], [])
    for pair in pairs:
        timed(pair, *mode)
        timed(pair, *mode)
    for _ in range(RUNS):
        for i, pair in enumerate(pairs):
            idle[i].append(timed(pair, *mode))
    tell("no-op", n, mode, *idle, label)
    for turn in range(RUNS):
        for i, pair in enumerate(pairs):
            for who, tree in enumerate(trees(pair)):
                change(tree, random.Random(turn), who)
            changed[i].append(timed(pair, *mode))
            timed(pair, *mode)
    tell(f"{CHANGES} changes each way", n, mode, *changed, label)


def main():
    version = have_doveadm()
    sizes = [int(a) for a in sys.argv[1:]] or [2000]
    if not version:
        print("skipped: doveadm is not installed", file=sys.stderr)
    base = os.path.realpath(tempfile.mkdtemp(prefix="mailbraid-parity-"))
    os.chmod(base, 0o755)
    try:
        for n in sizes:
            mail = os.path.join(base, f"mail{n}")
            subprocess.run(
                [sys.executable, GENERATOR, mail, "-n", str(n), "-f", str(FOLDERS)],
                check=True, stdout=subprocess.DEVNULL,
            )  # fmt: skip
            for mode in ((), ("-f",), ("-s",)) if version else ():
                compare(os.path.join(base, f"{n}{''.join(mode)}"), mail, n, mode, Doveadm, f"doveadm {version}")
            if shutil.which("mbsync"):
                compare(os.path.join(base, f"{n}mbsync"), mail, n, (), Mbsync, "mbsync")
    finally:
        shutil.rmtree(base)


if __name__ == "__main__":
    main()
