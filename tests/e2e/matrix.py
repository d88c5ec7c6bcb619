#!/usr/bin/python3
"""matrix.py [--table FILE] [PYTEST OPTION...]: plays the rows of the scenarios and prints the matrix.

A line for each row, a column for each depth and each kind of pair: `holds`, `exception N` (N: the
sentence of mailbraid-merge(7) below the table; the story is played there as well and says what holds
instead), `FAILS`, `skipped`, or `.` where a row is not asked (it needs a log on both sides).  Without
FILE the table goes to standard output.  Exit code: 0, 1 when a cell fails.

    MAILBRAID=build/mailbraid MAILBRAID_FS=build/mailbraid-fs tests/e2e/matrix.py --table matrix.md
"""

import collections
import glob
import io
import os
import re
import sys
from contextlib import redirect_stdout

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from support.matrix import DEPTHS, KINDS  # noqa: E402

RANK = {"skipped": 1, "holds": 2, "exception": 3, "FAILS": 4}  # the worst phase of a test counts


class Collector:
    """A pytest plugin: what became of each cell."""

    def __init__(self):
        self.rows = collections.OrderedDict()  # (number, sentence) -> {(kind, depth): word}
        self.sentences = []
        self.failures = []

    def pytest_runtest_logreport(self, report):
        facts = dict(report.user_properties)
        if "row" not in facts:
            if report.failed:
                self.failures.append(report.nodeid)
            return
        word = "holds"
        if report.failed:
            word = "FAILS"
            self.failures.append(report.nodeid)
        elif report.skipped:
            word = "skipped"
        elif facts["exception"]:
            word = "exception"
            if facts["exception"] not in self.sentences:
                self.sentences.append(facts["exception"])
        cells = self.rows.setdefault((facts["row"], facts["sentence"]), {})
        key = facts["kind"], facts["depth"]
        old, which = cells.get(key, ("", ""))
        if RANK[word] >= RANK.get(old, 0):
            cells[key] = word, facts["exception"]
        elif old:
            cells[key] = old, which


def order(number):
    digits = re.match(r"\d+", number)
    return int(digits[0]) if digits else 0, number


def cell(collector, word, sentence):
    if word == "exception":
        return f"exception {collector.sentences.index(sentence) + 1}"
    return word


def table(collector):
    out = io.StringIO()
    heads = [f"{kind}, {depth}" for kind in KINDS for depth in DEPTHS]
    print("| row | scenario | " + " | ".join(heads) + " |", file=out)
    print("|---" * (len(heads) + 2) + "|", file=out)
    sums = collections.Counter()
    for (number, sentence), cells in sorted(collector.rows.items(), key=lambda item: order(item[0][0])):
        words = []
        for kind in KINDS:
            for depth in DEPTHS:
                word, excuse = cells.get((kind, depth), (".", ""))
                sums[word] += word != "."
                words.append(cell(collector, word, excuse))
        print(f"| {number} | {sentence} | " + " | ".join(words) + " |", file=out)
    print(file=out)
    for i, sentence in enumerate(collector.sentences, 1):
        print(f"{i}. mailbraid-merge(7): {sentence}", file=out)
    numbers = {order(number)[0] for number, _ in collector.rows}
    print(
        f"\n{len(numbers)} rows in {len(collector.rows)} stories, {sum(sums.values())} cells: "
        f"{sums['holds']} hold, {sums['exception']} documented exceptions, "
        f"{sums['skipped']} skipped, {sums['FAILS']} fail",
        file=out,
    )
    return out.getvalue()


def main():
    args = sys.argv[1:]
    if args[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    path = None
    if "--table" in args:
        i = args.index("--table")
        path = args[i + 1] if i + 1 < len(args) and not args[i + 1].startswith("-") else None
        del args[i : i + 1 + (path is not None)]
    collector = Collector()
    files = sorted(glob.glob(os.path.join(HERE, "test_rows_*_par.py")))
    with redirect_stdout(sys.stderr):
        code = pytest.main(["-q", "-p", "no:cacheprovider", *args, *files], plugins=[collector])
    text = table(collector)
    if path:
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        print(text.rstrip().splitlines()[-1])
    else:
        print(text, end="")
    for failure in collector.failures:
        print(f"fails: {failure}", file=sys.stderr)
    return 1 if code or collector.failures else 0


if __name__ == "__main__":
    sys.exit(main())
