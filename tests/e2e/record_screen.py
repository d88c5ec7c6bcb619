#!/usr/bin/python3
"""record_screen.py [neomutt|mutt]: a mail program in a mount, and what a peer does, as text.

A store is mounted in step with another one (mount --peer), the program has its INBOX open.  The other store gets a
new mail, a flag, an expunge and more; each screen is printed with the time from the peer's change until it shows.
No key is pressed.  $MAILBRAID and $MAILBRAID_FS are the programs (build/mailbraid, build/mailbraid-fs).
"""

import os
import shutil
import sys
import tempfile

from support.fixtures import Linked
from support.showing import DEFAULTS, STEPS, Showing


def show(out, title, text):
    print(f"==== {title}", file=out)
    print("\n".join(f"| {line}" for line in text.rstrip().splitlines() if line.strip()), file=out, flush=True)


def record(program, place, out):
    """The seconds of each step, by its name."""
    print(f"==== {program} with its own settings: {DEFAULTS.strip().replace(chr(10), ', ')}", file=out)
    showing = Showing(place, program, place.peer)
    times = {}
    try:
        show(out, "opened", showing.screen.text())
        for what, change, seen in STEPS:
            times[what], text = showing.step(what, change, seen)
            show(out, f"the peer: {what}; on this screen after {times[what]:.2f} s", text)
    finally:
        showing.close()
    return times


def main():
    base = os.path.realpath(tempfile.mkdtemp(prefix="mb-screen-"))
    try:
        place = Linked(os.path.join(base, "mounted"))
        try:
            record(sys.argv[1] if len(sys.argv) > 1 else "neomutt", place, sys.stdout)
        finally:
            place.close()
    finally:
        shutil.rmtree(base)


if __name__ == "__main__":
    main()
