#!/usr/bin/env python3
"""untested.py [ROOT]: x/y/z.c is tested by tests/unit/x/y/test-z.c.

A source without one stands in untested.txt, with the reason; a line there that
is no longer true is an error as well.
"""

import os
import sys


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../..")
    os.chdir(root)
    excused = {}
    for line in open("tests/lint/untested.txt", encoding="utf-8"):
        if line.strip() and not line.startswith("#"):
            path, _, reason = line.strip().partition(" ")
            excused[path] = reason.strip()
    bad = []
    for top in ("backends", "fs", "sync"):
        for folder, _, names in os.walk(top):
            for name in sorted(names):
                if not name.endswith(".c"):
                    continue
                source = f"{folder}/{name}"
                test = f"tests/unit/{folder}/test-{name}"
                reason = excused.pop(source, None)
                if os.path.exists(test):
                    if reason is not None:
                        bad.append(f"{source}: has a test; take it out of untested.txt")
                elif reason is None:
                    bad.append(f"{source}: no {test}, and no reason in tests/lint/untested.txt")
                elif not reason:
                    bad.append(f"{source}: untested.txt gives no reason")
    bad += [f"{path}: in untested.txt, but there is no such source" for path in excused]
    for line in bad:
        print(line)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
