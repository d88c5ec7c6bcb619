#!/usr/bin/env python3
"""kills.py [-k KIND] [-n KILLS] [-s SEED] [-e EVERY]: SIGKILL at random while mail comes and goes.

KIND: sync (`mailbraid sync` is killed), watch (writer and reconciler of `mailbraid watch`), mount
(file system and reconciler of `mailbraid mount`). After each EVERY kills everything is checked:
nothing lost, nothing back from the dead, nothing doubled, flags and folders as a model says, both
replicas equal, a second sync idle; nobody in D state, and how long (median and longest, milliseconds) a
killed process was there, and a killed file system away. Exit 1 after a violation; its replicas stay for a look.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

from support import killers  # noqa: E402
from support.killing import Violation  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-k", choices=sorted(killers.KINDS), default="mount", metavar="KIND")
    parser.add_argument("-n", type=int, default=500, metavar="KILLS")
    parser.add_argument("-s", type=int, default=1, metavar="SEED")
    parser.add_argument("-e", type=int, default=25, metavar="EVERY")
    o = parser.parse_args()
    base = os.path.realpath(tempfile.mkdtemp(prefix="mb-soak-"))
    start = time.monotonic()

    def tell(kills, done, summary):
        counts = " ".join(f"{k}={v}" for k, v in sorted(done.items()))
        print(f"soak {o.k}: kills={kills} ({counts}) {summary} seconds={time.monotonic() - start:.0f}", flush=True)

    try:
        killers.run(o.k, base, o.n, o.s, o.e, tell)
    except (Violation, AssertionError) as why:
        print(f"soak {o.k}: VIOLATION: {why}\nsoak {o.k}: seed {o.s}, replicas kept in {base}", flush=True)
        sys.exit(1)
    shutil.rmtree(base)
    print(f"soak {o.k}: {o.n} kills, no violation")


if __name__ == "__main__":
    main()
