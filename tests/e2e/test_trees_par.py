"""Random trees of folders, made and changed by hand, on two stores of different layouts.

A history is a list of rounds.  In each, either side or both do to the plain tree what people do with
mkdir, mv and rm -r: make folders four deep, rename them with all below or alone, also to the name of
what they are in, below themselves, and to a name that only stands above others; move them into others,
swap and rotate names, remove and make again; mail is delivered, moved and removed meanwhile.  Then one
sync, started by either side, and what must hold:

  equal     both trees mean the same folders with the same mail, and a second sync does nothing
  alone     when one side alone did something, both are as that side was before the sync
  lost      mail that nobody removed, itself or with its folder, is there
  doubled   no mail is there twice

The same on a store and a plain Maildir, where a second sync may be needed to be equal (mailbraid-merge(7)).

The same 40 histories run each time; MAILBRAID_SEEDS=N runs N others, and with --hypothesis-seed=S always
the same others.
"""

import os
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.replica import Replica, body

EXAMPLES = int(os.environ.get("MAILBRAID_SEEDS", "40"))
PARTS = ["F", "G", "f", "a.b", "caf\u00e9", "cafe\u0301", "cur", "x ", "\\2e"]

side = st.sampled_from("ab")
pick = st.integers(0, 40)
part = st.sampled_from(PARTS)
operation = st.one_of(
    st.tuples(st.just("make"), side, pick, part),
    st.tuples(st.just("rename"), side, pick, part),
    st.tuples(st.just("into"), side, pick, pick),
    st.tuples(st.just("swap"), side, pick, pick),
    st.tuples(st.just("rotate"), side, pick, pick, pick),
    st.tuples(st.just("up"), side, pick),
    st.tuples(st.just("down"), side, pick, part, st.booleans()),
    st.tuples(st.just("only"), side, pick, pick),
    st.tuples(st.just("onto"), side, pick, pick),
    st.tuples(st.just("remove"), side, pick),
    st.tuples(st.just("again"), side, pick),
    st.tuples(st.just("deliver"), side, pick),
    st.tuples(st.just("move"), side, pick, pick),
    st.tuples(st.just("expunge"), side, pick),
)
history = st.lists(st.tuples(st.lists(operation, min_size=1, max_size=8), side), min_size=1, max_size=5)


def escape(layout, text, first=False):
    """How the layout spells one part; only what PARTS needs."""
    if layout == "fs":
        return "\\63ur" if text == "cur" else text.replace("\\2e", "\\5c2e")
    return text.replace("\\2e", "\\5c2e").replace(".", "\\2e")


def plain(layout, text):
    if layout == "fs":
        return "cur" if text == "\\63ur" else text.replace("\\5c2e", "\\2e")
    return text.replace("\\2e", ".").replace("\\5c2e", "\\2e")


class Side:
    """One store; folders are tuples of parts, () is INBOX."""

    def __init__(self, path, layout, plain=False):
        self.store = Replica(path, plain=plain, layout=layout)
        self.layout = layout

    def path(self, folder):
        if not folder:
            return self.store.mail
        parts = [escape(self.layout, p) for p in folder]
        return os.path.join(self.store.mail, "/".join(parts) if self.layout == "fs" else "." + ".".join(parts))

    def folders(self):
        found = [()]
        if self.layout == "fs":
            for where, names, _ in os.walk(self.store.mail):
                if where != self.store.mail and "cur" in names:
                    parts = os.path.relpath(where, self.store.mail).split("/")
                    found.append(tuple(plain("fs", p) for p in parts))
                names[:] = [n for n in names if n not in ("cur", "new", "tmp")]
        else:
            for name in os.listdir(self.store.mail):
                if name.startswith(".") and os.path.isdir(os.path.join(self.store.mail, name, "cur")):
                    found.append(tuple(plain(self.layout, p) for p in name[1:].split(".")))
        return sorted(found)

    def mail(self, folder):
        path = self.path(folder)
        return sorted(os.path.join(s, m) for s in ("cur", "new") for m in os.listdir(os.path.join(path, s)))

    def contents(self, folder):
        found = []
        for name in self.mail(folder):
            with open(os.path.join(self.path(folder), name), "rb") as f:
                found.append(f.read())
        return sorted(found)

    def tree(self):
        return {folder: self.contents(folder) for folder in self.folders()}

    def below(self, folder):
        """It and all beneath it; names above others are not listed, and need no folder."""
        return [f for f in self.folders() if f[: len(folder)] == folder]

    # ---- what people do ----

    def is_there(self, folder):
        return not folder or os.path.lexists(self.path(folder)) or bool(self.below(folder))

    def make(self, folder):
        for sub in ("tmp", "new", "cur"):
            os.makedirs(os.path.join(self.path(folder), sub), exist_ok=True)

    def move_tree(self, old, new):
        if self.layout == "fs":
            os.makedirs(os.path.dirname(self.path(new)), exist_ok=True)
            os.rename(self.path(old), self.path(new))
            return
        for folder in self.below(old):
            os.rename(self.path(folder), self.path(new + folder[len(old) :]))

    def clear(self, path):
        """Removes a directory that is nothing but directories, if it is there."""
        for where, _, _ in os.walk(path, topdown=False):
            os.rmdir(where)

    def move_all(self, renames):
        """Each of these folders to its new name, none with what is below it.  In LAYOUT=fs all that is
        there or below goes aside, the deepest first, and comes back."""
        if self.layout == "fs":
            tops = list(renames) + list(renames.values())
            stay = {f for f in self.folders() if any(f != t and f[: len(t)] == t for t in tops)}
            renames = {**{f: f for f in stay}, **renames}
        aside = {old: os.path.join(self.store.path, "..", f"aside-{i}") for i, old in enumerate(renames)}
        for old in sorted(renames, key=len, reverse=True):
            os.rename(self.path(old), aside[old])
        for name in [*renames, *renames.values()] if self.layout == "fs" else []:
            self.clear(self.path(name))
        for old, new in sorted(renames.items(), key=lambda pair: len(pair[1])):
            if self.layout == "fs":
                os.makedirs(os.path.dirname(self.path(new)), exist_ok=True)
            os.rename(aside[old], self.path(new))

    def remove(self, folder):
        for f in reversed(self.below(folder)) if self.layout != "fs" else [folder]:
            shutil.rmtree(self.path(f))


class History:
    def __init__(self, path, layouts=("maildir++", "fs"), plain=False):
        self.sides = {
            "a": Side(os.path.join(path, "a"), layouts[0]),
            "b": Side(os.path.join(path, "b"), layouts[1], plain),
        }
        self.count = 0
        self.removed = set()  # contents
        self.all = set()

    def play(self, op):
        s = self.sides[op[1]]
        before = s.tree()
        getattr(self, op[0])(s, *op[2:])
        if s.tree() == before:
            return False
        if not s.store.plain:
            s.store.notice()
        return True

    def begin(self):
        a = self.sides["a"]
        for folder in (("F",), ("F", "G"), ("F", "G", "a.b"), ("G",), ("H", "f")):
            a.make(folder)
            self.deliver(a, a.folders().index(folder))

    @staticmethod
    def choose(s, number):
        there = s.folders()
        return there[number % len(there)]

    def make(self, s, number, name):
        parent = self.choose(s, number)
        new = parent[:3] + (name,)
        if not s.is_there(new):
            s.make(new)

    def moved(self, s, old, new):
        if old and new[: len(old)] != old and not s.is_there(new) and len(new) < 6:
            s.move_tree(old, new)
            return True
        return False

    def rename(self, s, number, name):
        old = self.choose(s, number)
        self.moved(s, old, old[:-1] + (name,))

    def into(self, s, number, other):
        old = self.choose(s, number)
        if old:
            self.moved(s, old, self.choose(s, other) + old[-1:])

    def alone(self, s, old, new):
        if old and new and new not in s.folders() and len(new) < 6:
            s.move_all({old: new})

    def up(self, s, number):
        """The name of what it is in."""
        old = self.choose(s, number)
        self.alone(s, old, old[:-1])

    def down(self, s, number, name, with_all):
        """Below itself, alone or with what is below it."""
        old = self.choose(s, number)
        new = old + (name,)
        if with_all and old and all(len(f) < 5 for f in s.below(old)):
            s.move_all({f: new + f[len(old) :] for f in s.below(old)})
        elif old:
            self.alone(s, old, new)

    def only(self, s, number, other):
        """Into another one, and what is below it stays."""
        old = self.choose(s, number)
        self.alone(s, old, self.choose(s, other) + old[-1:])

    def onto(self, s, number, other):
        """To a name that is no folder, but stands above some."""
        there = s.folders()
        names = sorted({f[:n] for f in there for n in range(1, len(f))} - set(there))
        if names:
            self.alone(s, self.choose(s, number), names[other % len(names)])

    def turn(self, s, folders):
        folders = list(dict.fromkeys(folders))
        if len(folders) < 2 or any(f != g and f == g[: len(f)] for f in folders for g in folders):
            return
        s.move_tree(folders[0], ("aside",))
        for i in range(len(folders) - 1, 0, -1):
            s.move_tree(folders[i], folders[(i + 1) % len(folders)])
        s.move_tree(("aside",), folders[1])

    def swap(self, s, one, two):
        self.turn(s, [self.choose(s, one), self.choose(s, two)])

    def rotate(self, s, one, two, three):
        self.turn(s, [self.choose(s, one), self.choose(s, two), self.choose(s, three)])

    def remove(self, s, number):
        folder = self.choose(s, number)
        if folder:
            for f in s.below(folder):
                self.removed.update(s.contents(f))
            s.remove(folder)
        return folder

    def again(self, s, number):
        folder = self.remove(s, number)
        if folder:
            s.make(folder)

    def deliver(self, s, number):
        self.count += 1
        text = f"message {self.count}"
        with open(os.path.join(s.path(self.choose(s, number)), "new", f"{self.count}.m"), "wb") as f:
            f.write(body(text))
        self.all.add(body(text))

    def any_mail(self, s, number):
        there = [(f, m) for f in s.folders() for m in s.mail(f)]
        return there[number % len(there)] if there else None

    def move(self, s, number, to):
        chosen = self.any_mail(s, number)
        if chosen:
            target = os.path.join(s.path(self.choose(s, to)), chosen[1])
            os.rename(os.path.join(s.path(chosen[0]), chosen[1]), target)

    def expunge(self, s, number):
        chosen = self.any_mail(s, number)
        if chosen:
            path = os.path.join(s.path(chosen[0]), chosen[1])
            with open(path, "rb") as f:
                self.removed.add(f.read())
            os.unlink(path)

    # ---- what must hold ----

    def sync(self, starter, acted):
        a, b = self.sides["a"], self.sides["b"]
        one, two = (a, b) if starter == "a" else (b, a)
        alone = self.sides[min(acted)].tree() if len(acted) == 1 else None
        one.store.sync(two.store)
        assert a.tree() == b.tree()
        if alone is not None:
            assert a.tree() == alone
        self.check_mail()
        for x, y in ((a, b), (b, a)):
            self.check_quiet(x, y)

    def check_mail(self):
        there = [m for messages in self.sides["a"].tree().values() for m in messages]
        assert len(there) == len(set(there)), "doubled"
        assert self.all - self.removed <= set(there), "lost"

    @staticmethod
    def check_quiet(x, y):
        answer = x.store.sync(y.store, *(["--allow-mass-expunge"] if y.store.plain else []))
        assert not any(answer["sent"].values()) and not any(answer["got"].values()), answer
        assert answer["notices"] == [] and answer["err"] == "", answer

    def sync_plain(self):
        """Nothing is lost by the first one; nothing is left to do by the third."""
        a, b = self.sides["a"], self.sides["b"]
        for _ in range(2):
            a.store.sync(b.store, "--allow-mass-expunge", code=(0, 2))
            self.check_mail()
        assert a.tree() == b.tree()
        self.check_quiet(a, b)


many = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize="MAILBRAID_SEEDS" not in os.environ,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


@many
@given(history)
def test_trees(rounds):
    path = tempfile.mkdtemp(prefix="mailbraid-trees-")
    try:
        h = History(path)
        h.begin()
        h.sync("a", set())
        for ops, starter in rounds:
            acted = {op[1] for op in ops if h.play(op)}
            h.sync(starter, acted)
    finally:
        shutil.rmtree(path)


@pytest.mark.parametrize("layouts", [("maildir++", "fs"), ("fs", "fs"), ("maildir++", "maildir++")])
@many
@given(rounds=history)
def test_trees_of_a_plain_maildir(layouts, rounds):
    path = tempfile.mkdtemp(prefix="mailbraid-trees-")
    try:
        h = History(path, layouts, plain=True)
        h.begin()
        h.sync_plain()
        for ops, _ in rounds:
            for op in ops:
                h.play(op)
            h.sync_plain()
    finally:
        shutil.rmtree(path)


@pytest.mark.parametrize("layout", ["maildir++", "fs"])
@pytest.mark.parametrize("how", ["renamed", "swapped and made again"])
def test_made_where_another_was(tmp_path, layout, how):
    """The new folder is seen at once, with its mail, and is not the old one."""
    a, b = Side(tmp_path / "a", layout), Side(tmp_path / "b", layout)
    for folder in (("F",), ("G",)):
        a.make(folder)
        a.store.deliver("old" + folder[0], folder=folder[0])
    a.store.sync(b.store)
    if how == "renamed":
        a.move_tree(("F",), ("K",))
        want = {(): [], ("F",): [body("new")], ("G",): [body("oldG")], ("K",): [body("oldF")]}
    else:
        a.move_tree(("F",), ("aside",))
        a.move_tree(("G",), ("F",))
        a.move_tree(("aside",), ("G",))
        a.remove(("F",))
        want = {(): [], ("F",): [body("new")], ("G",): [body("oldF")]}
    a.make(("F",))
    a.store.deliver("new", folder="F")
    answer = a.store.sync(b.store)
    assert a.tree() == b.tree() == want
    assert answer["sent"]["new"] == 1, answer


@pytest.mark.parametrize("by", ["a", "b"])
def test_removed_after_it_came_back(tmp_path, by):
    """A rename brought the folder back that the other side had removed; its mail can be removed again."""
    sides = {"a": Side(tmp_path / "a", "maildir++"), "b": Side(tmp_path / "b", "fs")}
    a, b = sides["a"], sides["b"]
    a.make(("F",))
    a.store.deliver("m", folder="F")
    a.store.sync(b.store)
    b.move_tree(("F",), ("K",))
    a.remove(("F",))
    a.store.sync(b.store)
    assert a.tree() == b.tree() == {(): [], ("K",): [body("m")]}
    sides[by].store.expunge("m", folder="K")
    for _ in range(2):
        a.store.sync(b.store)
        assert a.tree() == b.tree() == {(): [], ("K",): []}
