#!/usr/bin/env python3
"""size.py [ROOT]: a source of more than 650 lines says at its head why.

The words are "long because", within the first 30 lines. What newcomers complain
about is always the one file of 4,000 lines.
"""

import os
import sys

LIMIT = 650


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../..")
    os.chdir(root)
    bad = 0
    for top in ("backends", "fs", "sync", "tests"):
        for folder, _, names in os.walk(top):
            for name in sorted(names):
                if not name.endswith((".c", ".h", ".py")):
                    continue
                path = f"{folder}/{name}"
                lines = open(path, encoding="utf-8").read().splitlines()
                if len(lines) > LIMIT and "long because" not in "\n".join(lines[:30]):
                    print(f'{path}: {len(lines)} lines and no "long because" at its head')
                    bad = 1
    sys.exit(bad)


if __name__ == "__main__":
    main()
