"""Killed at a durable step, and run again: as if nothing had been.

The program counts its durable steps (MAILBRAID_COUNT_TO) and stops itself with SIGKILL at the n-th
(MAILBRAID_STOP_AT).  Each story is played from the start for each n; what the next, plain run leaves
must be what the uninterrupted one leaves.  MAILBRAID_ALL_STEPS=1 tries every step, else a sample.

Below: what a disk, a person or a power cut can do to a store while nothing runs.
"""

import json
import os
import random
import shutil
import subprocess

import pytest

from support.replica import World, body, run

SAMPLE = 8  # steps tried of each story, its first and last ones included


def mail_both_ways(w):
    w.a.mkfolder("X")
    w.a.mkfolder("Y")
    for name in ("flagged", "gone", "moved", "copied", "twin1", "twin2"):
        w.a.deliver(name + ":2,", body(name[:4]), folder="X", sub="cur")
    yield
    w.a.deliver("new-a")
    w.a.flag("flagged", "+F")
    w.a.move("moved", "Y")
    w.b.deliver("new-b", folder="Y")
    w.b.expunge("gone")
    w.b.copy("copied", "Y")
    w.b.flag("flagged", "+S")


def folders(w):
    for folder in ("F", "F/sub", "G", "H", "gone"):
        w.a.mkfolder(folder)
        w.a.deliver("in-" + folder.replace("/", "-"), folder=folder)
    yield
    w.a.mvfolder("F", "temporary")
    w.a.mvfolder("G", "F")
    w.a.mvfolder("temporary", "G")
    w.b.deliver("late", folder="F")
    w.b.deliver("late-sub", folder="F/sub")
    w.b.rmfolder("gone")
    w.b.mkfolder("made/below")
    w.b.mvfolder("H", "made/H")


def first_sync(w):
    yield
    w.a.deliver("one")
    w.a.mkfolder("F")
    for i in range(5):
        w.a.deliver(f"f{i}:2,S", folder="F", sub="cur")
    w.b.mkfolder("F")
    w.b.deliver("g", folder="F")
    w.b.deliver("same", body("f3"), folder="F")


def first_sync_in_pieces(w):
    yield
    for folder in ("F", "F/sub", "G"):
        w.a.mkfolder(folder)
        for i in range(4):
            w.a.deliver(f"{folder[-1]}{i}:2,S", folder=folder, sub="cur")
    w.a.expunge("F1")
    w.a.copy("F2", "G")
    w.a.deliver("one")
    w.b.deliver("two")  # INBOX is not filled: both have something in it
    w.b.mkfolder("H")
    for i in range(3):
        w.b.deliver(f"h{i}", folder="H")


def edits(w):
    w.a.deliver("m:2,", sub="cur")
    w.a.deliver("n:2,", sub="cur")
    yield
    w.a.edit("m", body("m, with a label"))
    w.b.deliver("o")


FIRST = [first_sync, first_sync_in_pieces]
STORIES = [mail_both_ways, folders, *FIRST, edits]


def play(path, story, plain, layout="maildir++"):
    """The world right before the sync that is cut."""
    w = World(path, "a", plain=plain, layout=layout)
    steps = story(w)
    next(steps)
    if story not in FIRST:
        w.sync()
    for _ in steps:
        raise AssertionError("one sync a story")
    return w


def cut(w, story, **env):
    """The sync, with these variables; its exit code, -9 when it was cut."""
    full = ["-f"] if story is edits else []
    if story is first_sync_in_pieces:
        env["MAILBRAID_PIECE"] = 2
    return w.a.command("sync", *full, w.b.destination, env={k: str(v) for k, v in env.items()}).code


def picture(w):
    """What must be the same in the end: file names of pairs and of a plain Maildir may be others."""
    return [{f: sorted(m[1:] for m in tree[f]) for f in tree} for tree in (w.a.tree(), w.b.tree())]


def settled(w):
    """No mail changes any more, at once; nor, when both have said where they are, anything else."""
    for r in w.stores:
        answer = r.sync(w.b if r is w.a else w.a)
        assert not any(answer["sent"].values()) and not any(answer["got"].values()), answer
    w.check_idle()


def sampled(n):
    if "MAILBRAID_ALL_STEPS" in os.environ or n <= SAMPLE:
        return range(1, n + 1)
    return sorted({1 + i * (n - 1) // (SAMPLE - 1) for i in range(SAMPLE)})


@pytest.mark.parametrize("plain", ["", "b"], ids=["store", "maildir"])
@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.__name__)
def test_cut_at_each_step(tmp_path, story, plain):
    w = play(tmp_path / "whole", story, plain)
    count = tmp_path / "count"
    assert cut(w, story, MAILBRAID_COUNT_TO=count) == 0
    expected = picture(w)
    assert expected[0] == expected[1]
    steps = int(count.read_text().strip().partition("=")[2])
    assert steps > 5
    for n in sampled(steps):
        w = play(tmp_path / str(n), story, plain)
        was_cut = cut(w, story, MAILBRAID_STOP_AT=n) == -9
        # the cut recovery is cut as well
        if n % 2:
            cut(w, story, MAILBRAID_STOP_AT=3 + n % 7)
        assert cut(w, story) == 0, n
        assert picture(w) == expected, (n, was_cut)
        settled(w)
        shutil.rmtree(tmp_path / str(n))


def rotated(w):
    """Three folders change names in a ring, each with a child; one more goes into another."""
    for folder in ("F", "F/sub", "G", "G/sub", "H", "H/sub", "alone"):
        w.a.mkfolder(folder)
        w.a.deliver("in-" + folder.replace("/", "-"), folder=folder)
    yield
    for old, new in (("F", "t"), ("H", "F"), ("G", "H"), ("t", "G"), ("alone", "G/alone")):
        w.a.mvfolder(old, new)
    w.b.deliver("late", folder="F/sub")


@pytest.mark.parametrize("layout", ["maildir++", "fs"])
@pytest.mark.parametrize("story", [folders, rotated], ids=lambda s: s.__name__)
def test_cut_twice_in_a_row(tmp_path, story, layout):
    """Each run is cut at any step, the one that finishes what was cut as well."""
    w = play(tmp_path / "whole", story, "b", layout)
    count = tmp_path / "count"
    assert cut(w, story, MAILBRAID_COUNT_TO=count) == 0
    expected = picture(w)
    assert expected[0] == expected[1]
    steps = int(count.read_text().strip().partition("=")[2])
    seed = int(os.environ.get("MAILBRAID_SEED", "1"))
    for n in range(seed, seed + (60 if "MAILBRAID_ALL_STEPS" in os.environ else 5)):
        choose = random.Random(n)
        cuts = [choose.randint(1, steps)] + [choose.randint(1, steps // 2) for _ in range(2)]
        w = play(tmp_path / str(n), story, "b", layout)
        for step in cuts:
            cut(w, story, MAILBRAID_STOP_AT=step)
        assert cut(w, story) == 0, (n, cuts)
        assert picture(w) == expected, (n, cuts)
        settled(w)
        shutil.rmtree(tmp_path / str(n))


def take_a_name(b):
    if "G/alone" not in b.folders():
        b.mkfolder("G/alone")


def make_again(b):
    """One folder leaves, and another comes in its place."""
    folder = b.folders()[1]
    b.mvfolder(folder, "by-hand")
    b.mkfolder(folder)


BY_HAND = {
    "a folder where one was to come": take_a_name,
    "a folder renamed": lambda b: b.mvfolder(b.folders()[1], "by-hand"),
    "a folder renamed and made again": make_again,
    "new mail in each folder": lambda b: None,
}


@pytest.mark.parametrize("change", BY_HAND)
def test_changed_by_hand_between_cut_and_resume(tmp_path, change):
    """What somebody did to the folders meanwhile may beat the plan; no mail is lost, none doubled."""
    count = tmp_path / "count"
    assert cut(play(tmp_path / "whole", rotated, "b"), rotated, MAILBRAID_COUNT_TO=count) == 0
    for n in sampled(int(count.read_text().strip().partition("=")[2])):
        w = play(tmp_path / str(n), rotated, "b")
        expected = sorted(set(w.a.contents() + w.b.contents()))
        cut(w, rotated, MAILBRAID_STOP_AT=n)
        BY_HAND[change](w.b)
        for i, folder in enumerate(w.b.folders()):
            w.b.deliver(f"hand{i}", folder=folder)
            expected.append(body(f"hand{i}"))
        for _ in range(3):
            w.a.command("sync", w.b.destination)
        assert w.a.contents() == sorted(expected), n
        w.check_equal()
        settled(w)
        shutil.rmtree(tmp_path / str(n))


def test_cut_checkpoint(tmp_path):
    count = tmp_path / "count"
    w = play(tmp_path / "whole", mail_both_ways, "")
    w.a.must("checkpoint", "--keep", "0", env={"MAILBRAID_COUNT_TO": str(count)})
    w.sync()
    expected = picture(w)
    for n in sampled(int(count.read_text().strip().partition("=")[2])):
        w = play(tmp_path / str(n), mail_both_ways, "")
        w.a.command("checkpoint", "--keep", "0", env={"MAILBRAID_STOP_AT": str(n)})
        w.sync()
        assert picture(w) == expected, n
        w.check_idle()


# ---- the index is a cache ----------------------------------------------------------------------


def identities(r, names):
    """{name: (guid, uid, flags and keywords)} of messages, as the log says when they are flagged."""
    before = len(r.log())
    for name in names:
        r.flag(name, "+F")
    r.must("checkpoint")
    records = [x for x in r.log()[before:] if x["what"] == "flags"]
    return {x["new_name"][4:].partition(":")[0]: (x["guid"], x["uid"], x["flags"]) for x in records}


def world_with_history(path):
    w = World(path)
    w.a.keywords("INBOX", "work")
    for name in ("m", "n", "o", "gone"):
        w.a.deliver(name + ":2,", sub="cur")
    w.sync()
    w.a.flag("m", "+a")
    w.a.expunge("gone")
    w.b.flag("n", "+S")
    w.sync()
    return w


def test_index_deleted_after_log_files_went(tmp_path):
    twins = []
    for name in ("kept", "lost"):
        w = world_with_history(tmp_path / name)
        for r in w.stores:
            r.must("checkpoint", "--keep", "0")
            r.deliver("p:2," if r is w.a else "q:2,", sub="cur")
        w.sync()
        w.sync()
        for r in w.stores:
            r.must("checkpoint", "--keep", "0")
            if name == "lost":
                shutil.rmtree(os.path.join(r.path, "index"))
        twins.append(w)
        before = [r.log_bytes() for r in w.stores]
        assert not any("00000001.log" in files for logs in before for files in logs)
        answer = w.sync()
        assert not any(answer["sent"].values()) and not any(answer["got"].values())
        for r in w.stores:
            assert r.status()["tombstones"] == 1 and r.status()["messages"] == 5
    known = [identities(w.a, "mno") for w in twins]
    assert {k: v[1:] for k, v in known[0].items()} == {k: v[1:] for k, v in known[1].items()}
    assert "work" in known[1]["m"][2]
    lost = twins[1]
    lost.sync()
    lost.check_equal()
    lost.b.deliver("late")
    lost.a.move("n", "INBOX", new="n-renamed")
    lost.sync()
    lost.check_equal()
    assert lost.a.names() == ["late", "m", "n-renamed", "o", "p", "q"]
    lost.check_idle()


@pytest.mark.parametrize("damage", ["missing", "cut", "noise"])
def test_index_damaged(tmp_path, damage):
    w = world_with_history(tmp_path)
    data = os.path.join(w.a.path, "index", "data.mdb")
    if damage == "missing":
        shutil.rmtree(os.path.dirname(data))
    elif damage == "cut":
        os.truncate(data, 4096)
    else:
        with open(data, "r+b") as f:
            f.write(b"\xa5" * os.path.getsize(data))
    w.b.deliver("late")
    w.sync()
    w.check_equal()
    assert w.a.names() == ["late", "m", "n", "o"]
    w.check_idle()


def test_torn_log(tmp_path):
    w = world_with_history(tmp_path)
    name = max(n for n in os.listdir(os.path.join(w.a.path, "log")) if n.endswith(".log"))
    with open(os.path.join(w.a.path, "log", name), "ab") as f:
        f.write(b"\x40\x00\x00\x00torn")
    w.b.deliver("late")
    w.sync()
    w.check_equal()
    assert w.a.names() == ["late", "m", "n", "o"]
    w.check_idle()


# ---- a file damaged while nothing ran ----------------------------------------------------------


@pytest.mark.parametrize("damage", ["short", "empty", "zeros"])
def test_damaged_file_is_fetched_again(tmp_path, damage):
    w = World(tmp_path)
    w.a.deliver("m:2,S", sub="cur")
    w.a.deliver("n:2,", sub="cur")
    w.sync()
    path = w.a.path_of("m")
    size = os.path.getsize(path)
    with open(path, "r+b") as f:
        if damage == "zeros":
            f.write(b"\0" * size)
        else:
            f.truncate(size // 2 if damage == "short" else 0)
    os.utime(path, (7000, 7000))  # not as if somebody were still writing it
    w.sync("-f")
    assert w.b.read("m") == body("m") == w.a.read("m")
    assert w.a.names() == ["m", "n"]
    w.check_equal()
    w.check_idle()


def test_damaged_on_the_peer(tmp_path):
    w = World(tmp_path)
    w.a.deliver("m:2,S", sub="cur")
    w.sync()
    os.truncate(w.b.path_of("m"), 5)
    os.utime(w.b.path_of("m"), (7000, 7000))
    w.sync("-f")
    assert w.b.read("m") == body("m") == w.a.read("m")
    w.check_equal()
    w.check_idle()


# ---- power cut ---------------------------------------------------------------------------------


def power_cut(r):
    """The state file as another boot left it, without a clean stop."""
    with open(os.path.join(r.path, "state"), "w", encoding="utf-8") as f:
        f.write("clean=0\nboot=" + "00" * 16 + "\nend=\n")


@pytest.mark.parametrize("where", "ab")
def test_missing_after_a_power_cut_is_lost_not_expunged(tmp_path, where):
    w = World(tmp_path)
    for name in ("m", "n"):
        w.a.deliver(name + ":2,S", sub="cur")
    w.sync()
    r = w.a if where == "a" else w.b
    power_cut(r)
    os.unlink(r.path_of("m"))
    w.sync()
    assert w.a.names() == ["m", "n"] == w.b.names()
    w.check_equal()
    w.check_idle()


def test_folder_missing_after_a_power_cut(tmp_path):
    w = World(tmp_path)
    w.a.mkfolder("F")
    w.a.deliver("m:2,S", folder="F", sub="cur")
    w.sync()
    power_cut(w.b)
    w.b.rmfolder("F")
    w.sync()
    assert w.b.names("F") == ["m"]
    w.check_equal()
    w.check_idle()


# ---- a store copied back -----------------------------------------------------------------------


@pytest.mark.parametrize("starter", "ab")
def test_store_copied_back(tmp_path, starter):
    w = World(tmp_path, starter)
    w.a.mkfolder("F")
    for i in range(5):
        w.a.deliver(f"m{i}:2,", sub="cur")
    w.sync()
    subprocess.run(["cp", "-a", w.a.path, w.a.path + ".back"], check=True)
    w.a.deliver("after-a")
    w.a.flag("m0", "+S")
    w.b.deliver("after-b", folder="F")
    w.b.expunge("m1")
    w.sync()
    w.b.flag("m2", "+F")
    shutil.rmtree(w.a.path)
    os.rename(w.a.path + ".back", w.a.path)
    w.a.deliver("other")
    w.a.flag("m3", "+R")
    w.sync()
    w.check_equal()
    assert w.a.names() == ["after-a", "m0", "m2", "m3", "m4", "other"]
    assert w.a.names("F") == ["after-b"]
    assert (w.a.flags("m0"), w.a.flags("m2"), w.a.flags("m3")) == ("S", "F", "R")
    w.check_idle()


def test_a_copy_of_a_store_is_another_replica_and_a_second_path_is_not(tmp_path):
    w = World(tmp_path)
    w.a.deliver("m")
    w.sync()
    os.symlink(w.a.path, tmp_path / "path")
    result = w.a.command("sync", "store:" + str(tmp_path / "path"))
    assert result.code == 1 and "why:" in result.err
    subprocess.run(["cp", "-a", w.a.path, str(tmp_path / "clone")], check=True)
    result = w.a.command("sync", "store:" + str(tmp_path / "clone"))
    assert result.code == 0 and "new replica" in result.err
    assert w.a.names() == os.listdir(tmp_path / "clone" / "mail" / "new") == ["m"]
    copy = json.loads(run("--store", tmp_path / "clone", "status", "--json").out)
    assert w.a.status()["replica"] != copy["replica"]
