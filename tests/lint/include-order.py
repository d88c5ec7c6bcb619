#!/usr/bin/env python3
"""include-order.py [ROOT]: an include may only go downwards.

    base < mail < the seam < store, net < the other backends < fs, sync

base has no idea of mail; the seam is backends/backend.h; fs sees the store and
nothing above it, not even the seam; fs and sync never see each other; two kinds
of peer never see each other. Only a .c file directly in backends/ (which wraps
or opens backends of any kind) may see all of them.
"""

import os
import re
import sys

SEAM = "backends/backend.h"
BELOW = {
    "base": {"base"},
    "mail": {"base", "mail"},
    "seam": {"base", "mail"},
    "net": {"base", "mail", "seam", "net"},
    "store": {"base", "mail", "seam", "store"},
    "backends": {"base", "mail", "seam", "store", "net", "backends"},
    "peer": {"base", "mail", "seam", "store", "net", "backends"},
    "fs": {"base", "mail", "store", "fs"},
    "sync": {"base", "mail", "seam", "store", "net", "backends", "peer", "sync"},
}


def layer(path):
    """The layer of a file, and the kind of peer if it is one."""
    parts = path.split("/")
    if path == SEAM:
        return "seam", None
    if parts[0] in ("fs", "sync", "tests"):
        return parts[0], None
    if parts[0] != "backends":
        return None, None
    if len(parts) == 2:
        return "backends", None
    if parts[1] in BELOW:
        return parts[1], None
    return "peer", parts[1]


def allowed(source, target):
    above, kind = layer(source)
    below, other = layer(target)
    if above == "tests":
        return below is not None
    if above == "backends" and source.endswith(".c"):
        return below in BELOW["sync"] and below != "sync"
    if above == "peer" and below == "peer":
        return kind == other
    return below in BELOW[above]


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../..")
    os.chdir(root)
    bad = 0
    for top in ("backends", "fs", "sync", "tests"):
        for folder, _, names in os.walk(top):
            for name in sorted(names):
                if not name.endswith((".c", ".h")):
                    continue
                source = f"{folder}/{name}"
                text = open(source, encoding="utf-8").read()
                for match in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', text, re.M):
                    target = match.group(1)
                    line = text.count("\n", 0, match.start()) + 1
                    if not os.path.exists(target):
                        print(f'{source}:{line}: "{target}" is not a path from the root')
                        bad = 1
                    elif not allowed(source, target):
                        print(f"{source}:{line}: {target} is not below this file")
                        bad = 1
    sys.exit(bad)


if __name__ == "__main__":
    main()
