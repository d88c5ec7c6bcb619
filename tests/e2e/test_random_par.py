"""Random histories on two stores, against a model of what may be there in the end.

A history is a list of rounds; in each both sides do things as programs do (deliver, flag, move, copy,
expunge, edit; folders made, renamed, deleted, swapped), and one sync follows, started by either.  Every
operation is noticed by its side before the next one, so that their order is that of the clock.

The model is kept per message content, which is unique.  It says what must be and what must not:

  lost      a copy that nobody expunged is there, on both sides
  undead    what was expunged, and not changed in place elsewhere meanwhile, is gone
  doubled   no content is there more often than copies of it were made
  flags     a message that is there once and was flagged has, bit by bit, what the last operation said
  in step   both trees are equal, and a second sync does nothing

The same 60 histories run each time; MAILBRAID_SEEDS=N runs N others.
"""

import collections
import os
import shutil
import tempfile

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.replica import World, body

EXAMPLES = int(os.environ.get("MAILBRAID_SEEDS", "60"))
FOLDERS = ["INBOX", "F", "G", "H", "F/S"]
FLAGS = "FRST"

side = st.sampled_from("ab")
pick = st.integers(0, 30)
folder = st.sampled_from(FOLDERS)
operation = st.one_of(
    st.tuples(st.just("deliver"), side, folder),
    st.tuples(st.just("flag"), side, pick, st.sampled_from(FLAGS)),
    st.tuples(st.just("unflag"), side, pick, st.sampled_from(FLAGS)),
    st.tuples(st.just("move"), side, pick, folder),
    st.tuples(st.just("expunge"), side, pick),
    st.tuples(st.just("copy"), side, pick, folder),
    st.tuples(st.just("edit"), side, pick),
    st.tuples(st.just("create"), side, folder),
    st.tuples(st.just("rename"), side, folder, folder),
    st.tuples(st.just("swap"), side, folder, folder),
    st.tuples(st.just("delete"), side, folder),
)
history = st.lists(st.tuples(st.lists(operation, min_size=1, max_size=12), side), min_size=1, max_size=4)


class Message:
    """What is known of one content."""

    def __init__(self):
        self.most = 1  # copies of it that were ever made
        self.gone = {"a": 0, "b": 0}  # expunged in this round
        self.touched = {"a": False, "b": False}  # moved, copied or edited in this round
        self.flags = {}
        self.flags_known = True
        self.expunged = False  # by somebody, ever


class History:
    """Plays operations on the world and on the model."""

    def __init__(self, world):
        self.w = world
        self.messages = {}
        self.count = 0
        self.edits = False

    def replica(self, name):
        return self.w.a if name == "a" else self.w.b

    def choose(self, name, number):
        """(folder, base name, content) of a message of that side, or None."""
        tree = self.replica(name).tree()
        there = [(f, m[0], m[2]) for f in sorted(tree) for m in sorted(tree[f], key=lambda m: m[2])]
        return there[number % len(there)] if there else None

    def play(self, op):
        getattr(self, op[0])(op[1], *op[2:])
        self.replica(op[1]).notice(*(["-f"] if self.edits else []))

    # ---- messages ----

    def deliver(self, name, where):
        r = self.replica(name)
        if not os.path.isdir(r.folder(where)):
            where = "INBOX"
        self.count += 1
        text = f"message {self.count}"
        r.deliver(f"{self.count}.{name}", body(text), folder=where)
        self.messages[body(text)] = Message()

    def set_flag(self, name, number, letter, value):
        chosen = self.choose(name, number)
        if not chosen:
            return
        where, base, content = chosen
        if (letter in self.replica(name).flags(base, where)) == value:
            return  # no change is nothing to say
        self.replica(name).flag(base, ("+" if value else "-") + letter, folder=where)
        self.messages[content].flags[letter] = value

    def flag(self, name, number, letter):
        self.set_flag(name, number, letter, True)

    def unflag(self, name, number, letter):
        self.set_flag(name, number, letter, False)

    def move(self, name, number, to):
        chosen, r = self.choose(name, number), self.replica(name)
        if not chosen or chosen[0] == to or not os.path.isdir(r.folder(to)):
            return
        where, base, content = chosen
        if base in r.names(to):
            return
        r.move(base, to, folder=where)
        self.messages[content].touched[name] = True

    def copy(self, name, number, to):
        chosen, r = self.choose(name, number), self.replica(name)
        if not chosen or chosen[0] == to or not os.path.isdir(r.folder(to)):
            return
        where, base, content = chosen
        if base in r.names(to):
            return
        r.copy(base, to, folder=where)
        m = self.messages[content]
        m.most += 1
        m.touched[name] = True
        m.flags_known = False

    def forget(self, name, content):
        m = self.messages[content]
        m.gone[name] += 1
        m.expunged = True

    def expunge(self, name, number):
        chosen = self.choose(name, number)
        if chosen:
            self.replica(name).expunge(chosen[1], folder=chosen[0])
            self.forget(name, chosen[2])

    def edit(self, name, number):
        chosen, r = self.choose(name, number), self.replica(name)
        if not chosen or os.stat(r.path_of(chosen[1], chosen[0])).st_nlink > 1:
            return
        where, base, content = chosen
        self.count += 1
        new = body(f"message {self.count}, edited, and longer than before")
        r.edit(base, new + b"x" * len(content), folder=where)
        self.edits = True
        self.forget(name, content)
        m = self.messages[new + b"x" * len(content)] = Message()
        m.flags = dict(self.messages[content].flags)
        m.flags_known = False

    # ---- folders ----

    def create(self, name, folder):
        r = self.replica(name)
        if folder != "INBOX" and not os.path.isdir(r.folder(folder)):
            r.mkfolder(folder)

    def rename(self, name, old, new):
        r = self.replica(name)
        if "INBOX" in (old, new) or new.startswith(old + "/"):
            return
        if os.path.isdir(r.folder(old)) and not any(f == new or f.startswith(new + "/") for f in r.folders()):
            r.mvfolder(old, new)

    def swap(self, name, one, other):
        r = self.replica(name)
        if "INBOX" in (one, other) or one == other or one.startswith(other + "/") or other.startswith(one + "/"):
            return
        if os.path.isdir(r.folder(one)) and os.path.isdir(r.folder(other)):
            r.mvfolder(one, "temporary")
            r.mvfolder(other, one)
            r.mvfolder("temporary", other)

    def delete(self, name, folder):
        r = self.replica(name)
        if folder == "INBOX" or not os.path.isdir(r.folder(folder)):
            return
        for content in r.contents(folder):
            self.forget(name, content)
        r.rmfolder(folder)

    # ---- what must hold ----

    def sync(self, starter):
        w = self.w
        w.local, w.remote = (w.a, w.b) if starter == "a" else (w.b, w.a)
        w.sync(*(["-f"] if self.edits else []))
        self.edits = False
        w.check_equal()
        self.check()
        w.check_idle()
        for m in self.messages.values():
            m.gone = {"a": 0, "b": 0}
            m.touched = {"a": False, "b": False}

    def check(self):
        tree = self.w.a.tree()
        there = collections.Counter(m[2] for f in tree.values() for m in f)
        for content in there:
            assert content in self.messages, content
        for content, m in self.messages.items():
            assert there[content] <= m.most, ("doubled", content, there[content], m.most)
            if not m.expunged:
                assert there[content] >= 1, ("lost", content)
            if m.most == 1 and any(m.gone.values()):
                other = "b" if m.gone["a"] else "a"
                if not m.touched[other] and not (m.touched["a"] and m.touched["b"]):
                    assert self.may_live(m) or there[content] == 0, ("undead", content)
        self.check_flags(tree, there)

    def may_live(self, m):
        """Its folder was deleted on one side and renamed on the other: then it may stay."""
        return self.folder_fight

    def check_flags(self, tree, there):
        for messages in tree.values():
            for base, flags, content in messages:
                m = self.messages[content]
                if m.most > 1 or not m.flags_known or there[content] != 1:
                    continue
                want = "".join(sorted(letter for letter in m.flags if m.flags[letter]))
                assert flags == want, ("flags", base, flags, want)


def folder_ops(ops):
    return {op[1] for op in ops if op[0] in ("rename", "swap", "delete", "create")}


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize="MAILBRAID_SEEDS" not in os.environ,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
@given(history)
def test_histories(rounds):
    path = tempfile.mkdtemp(prefix="mailbraid-random-")
    try:
        h = History(World(path))
        h.w.a.mkfolder("F")
        h.folder_fight = False
        h.sync("a")
        for ops, starter in rounds:
            h.folder_fight = len(folder_ops(ops)) == 2
            for op in ops:
                h.play(op)
            h.sync(starter)
    finally:
        shutil.rmtree(path)
