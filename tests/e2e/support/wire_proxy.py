"""wire_proxy.py TO BACK COMMAND…: runs COMMAND and passes bytes both ways, until so many went to it (or
came back from it); then both ends are closed at once.  -1: no end."""

import os
import select
import subprocess
import sys


def main():
    left = [int(sys.argv[1]), int(sys.argv[2])]
    child = subprocess.Popen(sys.argv[3:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    ways = {0: (child.stdin.fileno(), 0), child.stdout.fileno(): (1, 1)}
    while ways and 0 not in left:
        for source in select.select(list(ways), [], [])[0]:
            target, which = ways[source]
            limit = 65536 if left[which] < 0 else min(65536, left[which])
            data = os.read(source, limit)
            if not data:
                if which:
                    return  # it has ended
                child.stdin.close()
                del ways[source]
                continue
            if left[which] > 0:
                left[which] -= len(data)
            while data:
                data = data[os.write(target, data) :]


if __name__ == "__main__":
    main()
