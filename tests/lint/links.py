#!/usr/bin/env python3
"""links.py [ROOT]: each link in README.md and NEWS.md leads to something in the tree."""

import os
import re
import sys


def main():
    os.chdir(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../.."))
    bad = 0
    for page in ("README.md", "NEWS.md"):
        text = open(page, encoding="utf-8").read()
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            if not os.path.exists(target):
                print(f"{page}: no {target}")
                bad = 1
    sys.exit(bad)


if __name__ == "__main__":
    main()
