"""The matrix of scenarios: what a row is, and the ways in which each row is played.

A row is a number, a sentence and a story: a generator in three parts.  What comes before its first
`yield` is the base, each `yield` is ONE sync (of the options that it yields), what comes before it is
what A and B do, and what comes last says what must be there then.  The runner adds what holds for all:
both trees are equal after each sync, and another sync, by either side, does nothing and writes nothing.

    @row(36, "moved here, seen there")
    def move_and_flag(w):
        one_in_x(w, "Y")                                    # base
        yield
        w.a.move("m", "Y")                                  # A
        w.b.flag("m", "+S")                                 # B
        yield
        assert w.a.flags("m", "Y") == "S"                   # what must be

Each row is played in each of its kinds (A starts, B starts, the other one behind a wire, a plain Maildir in
the place of either) and
each of the depths (changed, full, stateful): a cell of the table that tests/e2e/matrix.py prints.
A cell where the sentence cannot hold is a documented exception: `but` gives the paragraph of
mailbraid-merge(7) that says so, word by word.  The story is played there as well: `w.excepted` is true,
and the story says what holds instead.
"""

import collections
import os
import re

import pytest

from support.replica import World

STORES = ("a starts", "b starts")
PLAIN = ("b is a Maildir", "a is a Maildir")
WIRE = ("a starts, by wire",)  # wherever A and B are stores
KINDS = STORES + WIRE + PLAIN
DEPTHS = ("changed", "full", "stateful")
ALWAYS = "always"

But = collections.namedtuple("But", "sentence kinds depths")
Row = collections.namedtuple("Row", "number sentence play kinds layout but apart")


def but(sentence, kinds=KINDS, depths=DEPTHS):
    """The sentence of mailbraid-merge(7) that documents an exception, and for which cells."""
    return But(sentence, kinds, depths)


class Case:
    """One cell: a row, who starts, how deep."""

    def __init__(self, row, kind, depth):
        self.row, self.kind, self.depth = row, kind, depth

    def __str__(self):
        return f"{self.row.number} {self.row.sentence}, {self.kind}, {self.depth}"

    @property
    def exception(self):
        """The sentence that excuses this cell, or None."""
        for b in self.row.but:
            if self.kind in b.kinds and self.depth in b.depths:
                return b.sentence
        return None

    def world(self, path):
        if self.kind == "b is a Maildir":
            return World(path, "a", plain="b", layout=self.row.layout, depth=self.depth)
        if self.kind == "a is a Maildir":
            return World(path, "b", plain="a", layout=self.row.layout, depth=self.depth)
        if self.kind in WIRE:
            return World(path, "a", layout=self.row.layout, depth=self.depth, wire=True)
        return World(path, self.kind[0], layout=self.row.layout, depth=self.depth)

    def play(self, path):
        w = self.world(path)
        w.excepted = self.exception is not None
        story = self.row.play(w)
        next(story)
        w.sync()
        if self.row.apart != ALWAYS:
            w.check_equal()
        for options in story:
            w.sync(*([options] if isinstance(options, str) else options or []))
            if not self.row.apart:
                w.check_equal()
        w.check_idle()


class Rows:
    """The rows of one file."""

    def __init__(self):
        self.rows = []

    def row(self, number, sentence, kinds=KINDS, layout="maildir++", but=(), apart=False, wire=True):
        """Registers a story.  `apart`: the trees do not get equal after the base (ALWAYS: nor there), and
        the story says why. `wire`: played by wire as well, where A and B are stores."""

        def register(function):
            played = (*kinds, *WIRE) if wire and "a starts" in kinds and WIRE[0] not in kinds else kinds
            excuses = (but,) if isinstance(but, But) else tuple(but)
            self.rows.append(Row(str(number), sentence, function, played, layout, excuses, apart))
            return function

        return register

    def cases(self):
        return [
            pytest.param(c := Case(r, kind, depth), id=str(c)) for r in self.rows for kind in r.kinds for depth in DEPTHS
        ]


def play(case, tmp_path, record_property):
    """The body of each file's test_row()."""
    for name, value in (
        ("row", case.row.number),
        ("sentence", case.row.sentence),
        ("kind", case.kind),
        ("depth", case.depth),
        ("exception", case.exception or ""),
    ):
        record_property(name, value)
    manual = os.path.join(os.path.dirname(__file__), "../../../man/mailbraid-merge.7")
    if case.exception:
        with open(manual, encoding="utf-8") as f:
            text = " ".join(line for line in f.read().splitlines() if not re.match(r"\.(It|Pp|Bl|El)", line))
        text = re.sub(r"\.Pq (\S+)", r"(\1)", text)
        text = re.sub(r"\.(Xr (\S+) (\d)|Sq |Em |Fl |Nm |Pa |Ql )", lambda m: f"{m[2]}({m[3]})" if m[2] else "", text)
        assert case.exception in " ".join(text.split()), "the exception is not in mailbraid-merge(7)"
    case.play(tmp_path)
