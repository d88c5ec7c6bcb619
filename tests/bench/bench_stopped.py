#!/usr/bin/env python3
"""bench_stopped.py [SECONDS]: how long calls in a mount take while its reconciler works, is stopped, or both (10).

Ten threads deliver, pick up, flag, read, list and unlink (tests/tools/mail-race.c) while mail comes and goes at a
peer. One line of JSON each: calls, microseconds of the middle one, of the 999th of 1000, and of the slowest, and
whether the 99.9th percentile is below 50 ms. The first line is of a plain directory, where nobody syncs.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

from support.racing import Race  # noqa: E402

BAR_US = 50000


def plain(race, seconds):
    box = os.path.join(race.base, "plain")
    for sub in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(box, sub))
    return race.run("mixed", seconds, box)


def working(race, seconds):
    return race.run_with_peer("mixed", seconds)


def stopped(race, seconds):
    pid = race.reconciler()
    os.kill(pid, signal.SIGSTOP)
    try:
        return race.run("mixed", seconds)
    finally:
        os.kill(pid, signal.SIGCONT)


def by_turns(race, seconds):
    hand = threading.Thread(target=race.stop_reconciler, args=(seconds, 0.5, 0.5))
    hand.start()
    try:
        return race.run_with_peer("mixed", seconds)
    finally:
        hand.join()


MODES = (("none", plain), ("at work", working), ("stopped", stopped), ("by turns", by_turns))


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10
    base = os.path.realpath(tempfile.mkdtemp(prefix="mailbraid-bench-"))
    race = None
    try:
        race = Race(base, count=1000)
        for name, run in MODES:
            told = run(race, seconds)
            line = {"bench": "stopped", "reconciler": name}
            line |= {key: told[key] for key in ("calls", "p50_us", "p999_us", "max_us")}
            print(json.dumps({**line, "good": told["p999_us"] < BAR_US}), flush=True)
            race.wait_equal()
    finally:
        if race:
            race.close()
        shutil.rmtree(base)


if __name__ == "__main__":
    main()
