"""Subscriptions between two stores, and between a store and a plain Maildir: the same in both.

What is looked at is Dovecot's file `subscriptions` at the root of each tree, as Dovecot and its clients
read and write it.
"""

import json
import os
import random
import shutil

import pytest

from support.replica import World, body

FILE = "subscriptions"
SEEDS = int(os.environ.get("MAILBRAID_SEEDS", "8"))
SAMPLE = 10  # steps that a session is cut at

peers = pytest.mark.parametrize("plain", ["", "b"], ids=["store", "maildir"])
layouts = pytest.mark.parametrize("layout", ["maildir++", "fs"])


def path_of(r):
    return os.path.join(r.mail, FILE)


def text_of(r):
    """None: there is no such file."""
    if not os.path.exists(path_of(r)):
        return None
    with open(path_of(r), encoding="utf-8") as f:
        return f.read()


def lines_of(r):
    """Names with "/" between the parts, sorted; lines of other namespaces as they are."""
    text = text_of(r)
    if text is None:
        return None
    head, sep = ("V\t2\n", "\t") if text.startswith("V\t2\n") else ("", "/" if r.layout == "fs" else ".")
    lines = [line for line in text[len(head) :].split("\n") if line]
    return sorted(line if "@" in line else line.replace(sep, "/") for line in lines)


def write(r, names, version=2):
    """As a client's server does it: whole, under another name first."""
    sep = "\t" if version == 2 else "/" if r.layout == "fs" else "."
    text = "".join(name.replace("/", sep) + "\n" for name in names)
    with open(path_of(r) + ".new", "w", encoding="utf-8") as f:
        f.write(("V\t2\n\n" if version == 2 else "") + text)
    os.rename(path_of(r) + ".new", path_of(r))


def settled(w):
    """Both agree, and another sync does nothing and writes nothing."""
    before = [text_of(w.a), text_of(w.b)]
    w.check_idle()
    assert [text_of(w.a), text_of(w.b)] == before
    assert not os.path.exists(path_of(w.b) + ".lock")
    assert os.listdir(os.path.join(w.b.mail, "tmp")) == []


def make(path, plain, layout="maildir++", folders=("F", "F/sub", "G")):
    w = World(path, plain=plain, layout=layout)
    for folder in folders:
        w.a.mkfolder(folder)
    return w


# ---- each way ----------------------------------------------------------------------------------


@layouts
@peers
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("who", "ab")
def test_first_changed_and_quiet(tmp_path, plain, layout, version, who):
    w = make(tmp_path, plain, layout)
    one, other = (w.a, w.b) if who == "a" else (w.b, w.a)
    w.sync()
    assert text_of(w.a) is None and text_of(w.b) is None
    write(one, ["INBOX", "F/sub", "someone@else"], version)
    w.sync()
    assert lines_of(other) == ["F/sub", "INBOX"]
    settled(w)
    write(one, ["someone@else", "F/sub", "G"], version)
    w.sync()
    assert lines_of(other) == ["F/sub", "G"]
    assert lines_of(one) == ["F/sub", "G", "someone@else"]
    settled(w)
    write(other, ["F", "G"])
    w.sync()
    assert lines_of(one) == ["F", "G", "someone@else"]
    assert text_of(one).startswith("V\t2\n") == (version == 2)
    write(one, [], version)
    w.sync()
    assert lines_of(other) == [] and lines_of(one) == []
    settled(w)
    write(other, ["F"], version)
    w.sync()
    assert lines_of(other) == ["F"] and lines_of(one) == ["F"]
    settled(w)


@layouts
@peers
def test_first_meeting_makes_a_union(tmp_path, plain, layout):
    w = make(tmp_path, plain, layout)
    w.b.mkfolder("F")
    w.b.mkfolder("own")
    write(w.a, ["F", "F/sub"])
    write(w.b, ["INBOX", "F", "own", "x@y"], 1)
    w.sync()
    assert lines_of(w.a) == ["F", "F/sub", "INBOX", "own"]
    assert lines_of(w.b) == ["F", "F/sub", "INBOX", "own", "x@y"]
    settled(w)


@layouts
@peers
def test_each_side_changes_something(tmp_path, plain, layout):
    w = make(tmp_path, plain, layout)
    write(w.a, ["F", "G"])
    w.sync()
    write(w.a, ["F", "INBOX"])
    write(w.b, ["F/sub", "G"])
    w.sync()
    assert lines_of(w.a) == lines_of(w.b) == ["F/sub", "INBOX"]
    settled(w)


@peers
def test_the_later_of_two_changes_stays(tmp_path, plain):
    w = make(tmp_path, plain)
    write(w.a, ["F"])
    w.sync()
    write(w.a, [])
    w.notice()
    write(w.a, ["F"])
    w.notice()
    write(w.b, [])
    w.sync()  # that of b is found last
    assert lines_of(w.a) == lines_of(w.b) == []
    settled(w)


@layouts
@peers
def test_a_file_that_vanished_unsubscribes_nobody(tmp_path, plain, layout):
    w = make(tmp_path, plain, layout)
    write(w.a, ["F", "G"])
    w.sync()
    os.unlink(path_of(w.b))
    w.sync()
    assert lines_of(w.a) == ["F", "G"]
    settled(w)
    if plain:
        write(w.a, ["F", "G", "INBOX"])
        w.sync()
        assert lines_of(w.b) == ["F", "G", "INBOX"]
        settled(w)


# ---- folders -----------------------------------------------------------------------------------


@layouts
def test_lines_follow_folders_that_a_sync_renames_and_deletes(tmp_path, layout):
    w = make(tmp_path, "b", layout, ("F", "F/sub", "G", "H"))
    write(w.a, ["F", "F/sub", "H"])
    w.sync()
    write(w.b, [*lines_of(w.b), "x@y"])
    w.a.mvfolder("F", "t")
    w.a.mvfolder("G", "F")
    w.a.mvfolder("t", "G")
    w.a.rmfolder("H")
    w.sync()
    assert lines_of(w.b) == ["G", "G/sub", "x@y"]
    settled(w)
    write(w.a, ["F"])
    w.sync()
    assert lines_of(w.b) == ["F", "x@y"]
    w.a.mkfolder("H")
    w.sync()
    assert lines_of(w.b) == ["F", "x@y"]
    settled(w)


@layouts
def test_a_subscription_goes_along_with_a_folder_renamed_by_hand(tmp_path, layout):
    w = make(tmp_path, "b", layout)
    write(w.b, [])
    w.sync()
    write(w.b, ["G"])
    w.sync()
    w.b.deliver("m", folder="G")
    w.b.mvfolder("G", "Z")
    w.sync()
    write(w.a, ["Z", "F"])
    w.sync()
    assert lines_of(w.b) == ["F", "Z"]
    settled(w)


# ---- what may travel ---------------------------------------------------------------------------


def both_changed(path, plain):
    w = make(path, plain)
    write(w.a, ["F"])
    w.sync()
    write(w.a, ["F", "G"])
    write(w.b, ["F", "F/sub"])
    return w


RESTRICTED = {
    "-1": (["F", "G"], ["F", "F/sub", "G"]),
    "-1 -R": (["F", "F/sub", "G"], ["F", "F/sub"]),
    "--pull none": (["F", "G"], ["F", "F/sub", "G"]),
    "--push new,flags": (["F", "F/sub", "G"], ["F", "F/sub"]),
    "--push none --pull folders": (["F", "F/sub", "G"], ["F", "F/sub"]),
    "--push none --pull new": (["F", "G"], ["F", "F/sub"]),
    "-m G": (["F", "G"], ["F", "F/sub", "G"]),
    "-x G": (["F", "F/sub", "G"], ["F", "F/sub"]),
    "-N": (["F", "F/sub", "G"], ["F", "F/sub", "G"]),
    "-f": (["F", "F/sub", "G"], ["F", "F/sub", "G"]),
}


@peers
@pytest.mark.parametrize("options", RESTRICTED)
def test_what_is_left_out_comes_with_a_later_sync(tmp_path, plain, options):
    w = both_changed(tmp_path, plain)
    w.sync(*options.split())
    assert (lines_of(w.a), lines_of(w.b)) == RESTRICTED[options]
    before = text_of(w.a), text_of(w.b)
    w.sync(*options.split())
    assert (text_of(w.a), text_of(w.b)) == before
    w.sync()
    assert lines_of(w.a) == lines_of(w.b) == ["F", "F/sub", "G"]
    settled(w)


@peers
def test_a_dry_run_tells_and_writes_nothing(tmp_path, plain):
    w = both_changed(tmp_path, plain)
    before = text_of(w.a), text_of(w.b)
    told = w.sync("--dry-run")
    assert (told["sent"]["mailboxes"], told["got"]["mailboxes"]) == (1, 1)
    assert (text_of(w.a), text_of(w.b)) == before
    done = w.sync()
    assert (done["sent"], done["got"]) == (told["sent"], told["got"])
    assert lines_of(w.a) == lines_of(w.b) == ["F", "F/sub", "G"]


@peers
@pytest.mark.parametrize("reverse", [False, True])
def test_a_backup_makes_them_those_of_the_source(tmp_path, plain, reverse):
    w = both_changed(tmp_path, plain)
    write(w.b, [*lines_of(w.b), "x@y"])
    done = w.a.command("backup", "--json", *(["-R"] if reverse else []), w.b.destination)
    assert done.code == 0, done
    want = ["F", "F/sub"] if reverse else ["F", "G"]
    assert (lines_of(w.a), lines_of(w.b)) == (want, [*want, "x@y"])
    assert json.loads(done.out)["got" if reverse else "sent"]["mailboxes"] == 2
    w.sync()
    assert (lines_of(w.a), lines_of(w.b)) == (want, [*want, "x@y"])


# ---- trouble -----------------------------------------------------------------------------------


def test_a_lock_that_is_kept_holds_back_nothing_else(tmp_path):
    w = make(tmp_path, "b")
    w.sync()
    write(w.a, ["F"])
    w.a.deliver("m")
    w.b.deliver("n")
    with open(path_of(w.b) + ".lock", "w", encoding="utf-8") as f:
        f.write("1:another.host.example")
    answer = w.sync(code=2)
    assert "subscriptions.lock" in answer["err"], answer
    assert text_of(w.b) is None
    assert w.a.contents() == w.b.contents() == sorted([body("m"), body("n")])
    os.unlink(path_of(w.b) + ".lock")
    w.sync()
    assert lines_of(w.b) == ["F"]
    settled(w)


@pytest.mark.parametrize("what", ["link", "directory", "zeros"])
def test_what_is_no_such_file_is_left_alone(tmp_path, what):
    w = make(tmp_path, "b")
    write(w.a, ["F"])
    w.sync()
    os.unlink(path_of(w.b))
    if what == "link":
        os.symlink("elsewhere", path_of(w.b))
    elif what == "directory":
        os.mkdir(path_of(w.b))
    else:
        with open(path_of(w.b), "wb") as f:
            f.write(bytes(8))
    w.sync()
    assert lines_of(w.a) == ["F"]
    write(w.a, ["F", "G"])
    answer = w.sync(code=(1, 2))
    assert "subscriptions cannot be written" in answer["err"], answer
    (os.rmdir if what == "directory" else os.unlink)(path_of(w.b))
    w.sync()
    assert lines_of(w.b) == ["F", "G"]
    settled(w)


# ---- cut ---------------------------------------------------------------------------------------


def story(path, layout):
    """Right before a sync that changes lines on both sides, renames, makes and deletes."""
    w = make(path, "b", layout, ("F", "F/sub", "G", "H", "K"))
    write(w.a, ["F", "F/sub", "H", "K"])
    w.a.deliver("m", folder="G")
    w.sync()
    write(w.b, [*lines_of(w.b), "x@y"])
    w.a.mvfolder("F", "t")
    w.a.mvfolder("G", "F")
    w.a.mvfolder("t", "G")
    w.a.mkfolder("made")
    w.a.rmfolder("H")
    write(w.a, ["G", "G/sub", "made", "INBOX"])
    write(w.b, [*(x for x in lines_of(w.b) if x != "F/sub"), "G"])
    w.notice()
    return w


def cut(w, **env):
    return w.a.command("sync", w.b.destination, env={k: str(v) for k, v in env.items()}).code


@layouts
def test_cut_at_any_step(tmp_path, layout):
    w = story(tmp_path / "whole", layout)
    count = tmp_path / "count"
    assert cut(w, MAILBRAID_COUNT_TO=count) == 0
    steps = int(count.read_text().strip().partition("=")[2])
    expected = lines_of(w.a), lines_of(w.b)
    assert "made" in expected[1] and "x@y" in expected[1] and "H" not in expected[1]
    assert expected[0] == [x for x in expected[1] if x != "x@y"]
    every = "MAILBRAID_ALL_STEPS" in os.environ
    for n in range(1, steps + 1) if every else sorted({1 + i * (steps - 1) // SAMPLE for i in range(SAMPLE + 1)}):
        w = story(tmp_path / str(n), layout)
        assert cut(w, MAILBRAID_STOP_AT=n) == -9
        if n % 2:
            cut(w, MAILBRAID_STOP_AT=3 + n % 7)
        assert cut(w) == 0, n
        assert (lines_of(w.a), lines_of(w.b)) == expected, n
        settled(w)
        shutil.rmtree(tmp_path / str(n))


# ---- at random ---------------------------------------------------------------------------------


class Party:
    """One side, with its own idea of who is subscribed there."""

    def __init__(self, r):
        self.r = r

    def names(self):
        return lines_of(self.r) or []

    def toggle(self, rng):
        folder = rng.choice(self.r.folders())
        names = set(self.names()) ^ {folder}
        write(self.r, sorted(names), rng.choice([1, 2]))

    def make(self, rng, number):
        parent = rng.choice(self.r.folders())
        name = f"n{number}" if parent == "INBOX" or parent.count("/") > 2 else f"{parent}/n{number}"
        self.r.mkfolder(name)
        if rng.random() < 0.5:
            write(self.r, sorted({*self.names(), name}))

    def rename(self, rng, number):
        """As a good client does it, with the lines."""
        folders = [f for f in self.r.folders() if f != "INBOX"]
        if not folders:
            return
        old, new = rng.choice(folders), f"r{number}"
        self.r.mvfolder(old, new)
        renamed = [new + n[len(old) :] if n == old or n.startswith(old + "/") else n for n in self.names()]
        if renamed != self.names():
            write(self.r, sorted(renamed))

    def remove(self, rng, number):
        folders = self.r.folders()
        leaves = [f for f in folders if f != "INBOX" and not any(g.startswith(f + "/") for g in folders)]
        if leaves:
            folder = rng.choice(leaves)
            self.r.rmfolder(folder)
            write(self.r, [n for n in self.names() if n != folder])


@peers
@pytest.mark.parametrize("seed", range(SEEDS))
def test_random(tmp_path, plain, seed):
    """Both sides have the same lines after each round, for folders that are there; quiet after each."""
    rng = random.Random(seed)
    layout = rng.choice(["maildir++", "fs", ("maildir++", "fs"), ("fs", "maildir++")])
    w = World(tmp_path, plain=plain, layout=layout)
    parties = [Party(w.a), Party(w.b)]
    number = 0
    for _ in range(6):
        # folders on one side in a round, so that what is right is plain
        busy = rng.choice(parties)
        for _ in range(rng.randint(1, 4)):
            number += 1
            what = rng.choice(["make", "make", "rename", "remove"])
            getattr(busy, what)(rng, number)
        w.sync()
        for party in parties:
            if rng.random() < 0.7:
                for _ in range(rng.randint(1, 3)):
                    party.toggle(rng)
        w.sync(*rng.choice([(), ("-f",)]))
        there = set(w.a.folders())
        assert there == set(w.b.folders())
        lines = [[n for n in p.names() if n in there] for p in parties]
        assert lines[0] == lines[1], (seed, layout)
        w.check_equal()
        settled(w)
