"""Two stores and one plain Maildir, all three in step with each other: a mail is one, whoever gave it to
whom first, also when it is moved or expunged before all three pairs have met."""

import itertools
import os
import random

import pytest

from support.replica import Replica, body

PAIRS = {"AM": "am", "BM": "bm", "AB": "ab"}


class Three:
    def __init__(self, path):
        self.trash = path / "trash"
        self.trash.mkdir()
        self.n_trash = 0
        self.all = {n: Replica(path / n, plain=n == "m") for n in "abm"}
        self.all["a"].mkfolder("F")
        self.round(PAIRS)

    def sync(self, pair):
        """What was done, in numbers."""
        a, b = PAIRS[pair]
        answer = self.all[a].sync(self.all[b])
        return sum(answer["sent"].values()) + sum(answer["got"].values())

    def round(self, order):
        return sum(self.sync(pair) for pair in order)

    def find(self, r, content):
        for folder, mail in self.all[r].tree().items():
            for base, _, there in mail:
                if there == content:
                    return base, folder
        return None

    def expunge(self, r, base, folder):
        """Its inode is not given to another file at once."""
        self.n_trash += 1
        os.rename(self.all[r].path_of(base, folder), self.trash / str(self.n_trash))

    def trees(self):
        return [
            sorted((folder, flags, content) for folder, mail in r.tree().items() for _, flags, content in mail)
            for r in self.all.values()
        ]

    def check(self, order, wanted):
        """Comes to rest, the same everywhere, with these contents, each once."""
        for _ in range(8):
            if not self.round(order):
                break
        else:
            raise AssertionError("the replicas never come to rest")
        trees = self.trees()
        assert trees[0] == trees[1] == trees[2]
        assert sorted(m[2] for m in trees[0]) == sorted(wanted)


@pytest.mark.parametrize("birth", "abm")
@pytest.mark.parametrize("order", list(itertools.permutations(PAIRS)), ids="-".join)
def test_changed_after_one_round(tmp_path, birth, order):
    three = Three(tmp_path)
    alive = {}
    cases = [(op, at) for op in ("move", "expunge") for at in "abm"]
    for op, at in cases:
        three.all[birth].deliver(f"{op}.{at}.host", content=body(f"{op} {at}"))
    three.round(order)
    for op, at in cases:
        content = body(f"{op} {at}")
        found = three.find(at, content)
        if not found:
            alive[content] = "INBOX"  # nobody gave it to that one yet
        elif op == "move":
            alive[content] = "F"
            three.all[at].move(found[0], "F", folder=found[1])
        else:
            three.expunge(at, *found)
    three.check(order, alive)
    assert {m[2]: m[0] for m in three.trees()[0]} == alive


@pytest.mark.parametrize("seed", range(60))
def test_random(tmp_path, seed):
    r = random.Random(seed)
    three = Three(tmp_path)
    owner = {}
    for step in range(25):
        at = r.choice("abm")
        op = r.choice("dddfmess")
        mine = [c for c, who in owner.items() if who == at]
        if op == "d":
            content = body(f"mail {step}")
            three.all[at].deliver(f"{step}.{seed}.host", content=content, folder=r.choice(["INBOX", "F"]))
            owner[content] = at
        elif op == "s":
            three.sync(r.choice(list(PAIRS)))
        elif mine:
            content = r.choice(mine)
            base, folder = three.find(at, content)
            if op == "f":
                three.all[at].flag(base, r.choice("+-") + r.choice("SFR"), folder)
            elif op == "m":
                three.all[at].move(base, "F" if folder == "INBOX" else "INBOX", folder=folder)
            elif op == "e":
                three.expunge(at, base, folder)
                del owner[content]
    order = r.sample(list(PAIRS), 3)
    three.check(order, owner)
