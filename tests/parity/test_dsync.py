"""doveadm sync and mailbraid sync play the same stories, side by side.

A story changes both sides of a pair, syncs as it says, and tells what is not as it should be. The same
story and the same judge serve both programs. What doveadm gives is written down, never asserted: a
newer Dovecot may mend it. What mailbraid gives has to be right, with exit code 0.

The table at the end of the run tells both outcomes.
"""

import concurrent.futures
import os
import random
import shutil
import tempfile

import pytest

from pairs import Doveadm, Mailbraid, faults, have_doveadm, have_verb

VERSION = have_doveadm()
if not VERSION:
    pytest.skip("doveadm is not installed", allow_module_level=True)

DEFAULT, FULL, STATE = (), ("-f",), ("-s",)
BOTH = (DEFAULT, FULL)
STORIES = []


def story(sentence, modes=(DEFAULT, FULL, STATE), verb="sync"):
    def register(function):
        for mode in modes:
            name = f"{sentence}, {' '.join((verb, *mode))}"
            STORIES.append(pytest.param(function, mode, verb, name, id=name))
        return function

    return register


@pytest.fixture
def base():
    """Reachable for the user as whom doveadm runs."""
    path = os.path.realpath(tempfile.mkdtemp(prefix="mb-parity-"))
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path)


def play(function, pair, mode, verb):
    """(faults, exit codes)"""
    codes = []

    def sync(*options, verb=verb):
        codes.append(pair.sync(*(options or mode), verb=verb))

    return function(pair, sync), codes


def tell(found, codes):
    what = "right" if not found else f"WRONG, {len(found)}: " + "; ".join(found[:3]) + ("; …" if found[3:] else "")
    return f"{what} (exit {' '.join(map(str, codes))})"


@pytest.mark.parametrize("function, mode, verb, name", STORIES)
def test_story(function, mode, verb, name, base, record_property):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        theirs = pool.submit(play, function, Doveadm(os.path.join(base, "doveadm")), mode, verb)
        if verb != "sync" and not have_verb(verb):
            record_property("seen", f"{name}\n    doveadm {VERSION}: {tell(*theirs.result())}")
            pytest.skip(f"mailbraid has no verb {verb}")
        found, codes = play(function, Mailbraid(os.path.join(base, "mailbraid")), mode, verb)
        theirs = tell(*theirs.result())
    ours = tell(found, codes)
    record_property("seen", f"{name}\n    doveadm {VERSION}: {theirs}\n    mailbraid: {ours}")
    assert found == [] and set(codes) == {0}, ours


# ---- messages and flags ------------------------------------------------------------------------


@story("one new message on each side")
def new_on_each_side(pair, sync):
    pair.a.deliver("old")
    sync()
    pair.a.deliver("of a")
    pair.b.deliver("of b")
    sync()
    sync()
    return faults(pair, {"INBOX": {"old": "", "of a": "", "of b": ""}})


@story("new messages on the other side only")
def new_at_the_peer(pair, sync):
    pair.a.deliver("old")
    sync()
    sync()
    pair.b.deliver("one")
    pair.b.deliver("two")
    sync()
    sync()
    return faults(pair, {"INBOX": {"old": "", "one": "", "two": ""}})


FOLDERS = 12


@story(f"flags changed on both sides in {FOLDERS} folders")
def flags_on_both_sides(pair, sync):
    """As many changes on either side as it comes; none of them contradicts another."""
    chance = random.Random(5)
    for i in range(FOLDERS):
        pair.a.mkfolder(f"F{i:02}")
        pair.a.deliver(f"m{i:02}", f"F{i:02}")
    sync()
    wanted = {"INBOX": {}}
    for i in range(FOLDERS):
        flags = set()
        for side, letters in ((pair.a, "FRD"), (pair.b, "ST")):
            for letter in chance.sample(letters, chance.randint(1, 2)):
                side.flag(f"m{i:02}", "+" + letter, f"F{i:02}")
                flags.add(letter)
        wanted[f"F{i:02}"] = {f"m{i:02}": "".join(sorted(flags))}
    sync()
    sync()
    lost = [f for f in faults(pair, wanted) if f.startswith("A ")] + [
        f for f in faults(pair, wanted) if f.startswith("B ") and "A " + f[2:] not in faults(pair, wanted)
    ]
    folders = {f.split(" in ")[1].split()[0] for f in lost}
    return [f"flags lost in {len(folders)} of {FOLDERS} folders"] if lost else []


@story("the newest message is expunged by the program itself")
def newest_expunged(pair, sync):
    for text in ("one", "two", "newest"):
        pair.a.deliver(text)
    sync()
    pair.a.expunge("newest")
    sync()
    sync()
    return faults(pair, {"INBOX": {"one": "", "two": ""}})


@story("the newest message is deleted by a Maildir program")
def newest_unlinked(pair, sync):
    for text in ("one", "two", "newest"):
        pair.a.deliver(text)
    sync()
    pair.a.unlink("newest")
    sync()
    sync()
    return faults(pair, {"INBOX": {"one": "", "two": ""}})


@story("expunged here, flagged there")
def expunge_and_flag(pair, sync):
    for text in ("one", "two"):
        pair.a.deliver(text)
    sync()
    pair.a.expunge("one")
    pair.b.flag("one", "+F")
    pair.b.flag("two", "+S")
    sync()
    sync()
    return faults(pair, {"INBOX": {"two": "S"}})


@story("two INBOXes made apart")
def made_apart(pair, sync):
    pair.a.deliver("of a")
    pair.b.deliver("of b")
    pair.b.deliver("more of b")
    for _ in range(3):
        sync()
    return faults(pair, {"INBOX": {"of a": "", "of b": "", "more of b": ""}})


@story("a stray delivery at the mirror", modes=(DEFAULT,), verb="backup")
def stray_at_the_mirror(pair, sync):
    pair.a.deliver("one")
    pair.a.deliver("two")
    sync()
    pair.b.deliver("stray")
    sync()
    sync()
    found = ["after backup: " + f for f in faults(pair, {"INBOX": {"one": "", "two": ""}})]
    sync(verb="sync")
    return found + ["after sync: " + f for f in faults(pair, {"INBOX": {"one": "", "two": ""}})]


# ---- folders -----------------------------------------------------------------------------------


@story("a folder is deleted here, and got mail there")
def deleted_with_unseen_mail(pair, sync):
    pair.a.mkfolder("Work")
    pair.a.deliver("seen", "Work")
    sync()
    pair.a.rmfolder("Work")
    pair.b.deliver("unseen", "Work")
    sync()
    sync()
    return faults(pair, {"INBOX": {}, "Work": {"unseen": ""}})


def three_folders(pair, sync):
    for name in "XYZ":
        pair.a.mkfolder(name)
        pair.a.deliver("of " + name, name)
    sync()


@story("two folders swap names while one gets mail", modes=BOTH)
def swapped(pair, sync):
    three_folders(pair, sync)
    pair.a.mvfolder("X", "T")
    pair.a.mvfolder("Y", "X")
    pair.a.mvfolder("T", "Y")
    pair.b.deliver("late", "X")
    sync()
    sync()
    return faults(pair, {"INBOX": {}, "X": {"of Y": ""}, "Y": {"of X": "", "late": ""}, "Z": {"of Z": ""}})


@story("two folders swap names by mv(1)", modes=BOTH)
def swapped_by_hand(pair, sync):
    three_folders(pair, sync)
    pair.a.mv("X", "T")
    pair.a.mv("Y", "X")
    pair.a.mv("T", "Y")
    pair.b.deliver("late", "X")
    sync()
    sync()
    return faults(pair, {"INBOX": {}, "X": {"of Y": ""}, "Y": {"of X": "", "late": ""}, "Z": {"of Z": ""}})


@story("three folders rotate their names by mv(1)", modes=BOTH)
def rotated_by_hand(pair, sync):
    three_folders(pair, sync)
    pair.a.mv("X", "T")
    pair.a.mv("Y", "X")
    pair.a.mv("Z", "Y")
    pair.a.mv("T", "Z")
    sync()
    sync()
    return faults(pair, {"INBOX": {}, "X": {"of Y": ""}, "Y": {"of Z": ""}, "Z": {"of X": ""}})


def same_and_whole(pair, wanted_texts):
    """Which name wins is each program's choice; that both sides agree and nothing is lost is not."""
    found = [] if pair.a.told() == pair.b.told() else ["A and B differ"]
    for who, side in (("A", pair.a), ("B", pair.b)):
        if side.texts() != wanted_texts:
            found.append(f"{who} has {', '.join(side.texts())}")
    return found


@story("a folder is renamed on both sides, one of them gets mail", modes=BOTH)
def renamed_twice(pair, sync):
    three_folders(pair, sync)
    pair.a.mvfolder("X", "Name of a")
    pair.b.mvfolder("X", "Name of b")
    pair.b.deliver("late", "Name of b")
    sync()
    sync()
    return same_and_whole(pair, ["late", "of X", "of Y", "of Z"])


@story("each of two folders goes below the other", modes=BOTH)
def cycle(pair, sync):
    three_folders(pair, sync)
    pair.a.mvfolder("X", "Y/X")
    pair.b.mvfolder("Y", "X/Y")
    sync()
    sync()
    return same_and_whole(pair, ["of X", "of Y", "of Z"])


@story("renamed here, deleted there, with new mail", modes=BOTH)
def renamed_and_deleted(pair, sync):
    three_folders(pair, sync)
    pair.a.mvfolder("X", "Kept")
    pair.a.deliver("late", "Kept")
    pair.b.rmfolder("X")
    sync()
    sync()
    found = same_and_whole(pair, pair.a.texts())
    return found + [f"late is lost at {who}" for who, s in (("A", pair.a), ("B", pair.b)) if "late" not in s.texts()]
