#!/usr/bin/env python3
"""races.py [-t SECONDS] [-n MAILS] [PHASE...]: many programs at one folder of a mount, in step with a peer.

PHASE: flagrace (two rename flags, two list), mixed (four deliver, pick up, flag, read and unlink, two read
everything, two list), stopped (mixed while the reconciler is stopped and goes on by turns). Each takes
SECONDS (600), with MAILS (1000) that stay, while mail comes, goes and is flagged at the peer. A mail that a
listing misses or shows twice, a wrong byte, a failed call, or replicas that do not become equal: exit 1, and
they stay for a look. One line of JSON each.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

from support.racing import Race  # noqa: E402

PHASES = ("flagrace", "mixed", "stopped")


def run(race, phase, seconds):
    if phase != "stopped":
        return race.run_with_peer(phase, seconds)
    hand = threading.Thread(target=race.stop_reconciler, args=(seconds, 2, 1))
    hand.start()
    try:
        return race.run_with_peer("mixed", seconds)
    finally:
        hand.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-t", type=float, default=600, metavar="SECONDS")
    parser.add_argument("-n", type=int, default=1000, metavar="MAILS")
    parser.add_argument("phases", nargs="*", choices=[*PHASES, []], metavar="PHASE")
    o = parser.parse_args()
    base = os.path.realpath(tempfile.mkdtemp(prefix="mb-races-"))
    race = None
    try:
        race = Race(base, o.n)
        for phase in o.phases or PHASES:
            told = {"soak": phase, "seconds": o.t, **run(race, phase, o.t)}
            race.check_mount()
            print(json.dumps(told), flush=True)
    except AssertionError as why:
        print(f"soak races: {why}\nsoak races: replicas kept in {base}", flush=True)
        sys.exit(1)
    finally:
        if race:
            race.close()
    shutil.rmtree(base)


if __name__ == "__main__":
    main()
