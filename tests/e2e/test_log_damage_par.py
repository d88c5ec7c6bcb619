"""A page in the middle of the log is gone, and the index too.

What stands behind the hole is read: GUIDs, flags, expunges.  Only what the hole held is taken from the
files, and from the peer by a full comparison; nothing comes back from the dead.
"""

import os
import shutil

import pytest

from support.replica import Replica, World, body, split

PAGE = 4096


def history(w, folder="INBOX"):
    """Some pages of log: 150 messages; of each ten one was expunged, one flagged, one moved."""
    w.a.mkfolder("X")
    for i in range(150):
        w.a.deliver(f"m{i:03}:2,", body(f"m{i:03}"), folder=folder, sub="cur")
        if i % 10 == 9:
            w.a.command("sync", w.b.destination)
            w.a.expunge(f"m{i - 3:03}")
            w.a.flag(f"m{i - 2:03}", "+FS")
            w.a.move(f"m{i - 1:03}", "X")
            w.a.command("sync", w.b.destination)


def newest_log(r):
    return os.path.join(r.path, "log", max(n for n, _ in r.log_bytes() if n.endswith(".log")))


def guids(r):
    """{base: GUID} by the last record of each message, and where in the file it ends."""
    return {split(x["new_name"][4:])[0]: x["guid"] for x in r.log() if x["new_name"] and x["guid"]}


def zero(path, at, size=PAGE):
    assert os.path.getsize(path) > at + size + PAGE
    with open(path, "r+b") as f:
        f.seek(at)
        f.write(b"\0" * size)


def drop_index(r):
    shutil.rmtree(os.path.join(r.path, "index"))


def in_hole(r, at, size=PAGE):
    """Base names of the messages whose records touch these bytes of the newest file."""
    records = r.log()
    hit, start = set(), 0
    for x in records:
        if x["sequence"] != records[-1]["sequence"]:
            continue
        name = x["new_name"] or x["old_name"]
        if name and start < at + size and x["offset"] > at:
            hit.add(split(name[4:])[0])
        start = x["offset"]
    return hit


@pytest.mark.parametrize("part", [1, 2, 3])
def test_a_lone_store_keeps_its_guids(tmp_path, part):
    w = World(tmp_path)
    history(w)
    before, tree = guids(w.a), w.a.tree()
    path = newest_log(w.a)
    at = os.path.getsize(path) * part // 5 // PAGE * PAGE
    lost = in_hole(w.a, at)
    zero(path, at)
    drop_index(w.a)
    said = w.a.must("checkpoint").err
    assert "bytes" in said and "passed over" in said
    assert w.a.tree() == tree
    c = Replica(os.path.join(tmp_path, "c"))
    w.a.sync(c)
    assert c.tree() == tree
    after = guids(c)
    assert 5 < len(lost) < 80
    for name in w.a.names() + w.a.names("X"):
        if name not in lost:
            assert after[name] == before[name], name


@pytest.mark.parametrize("part", [1, 3])
def test_with_a_peer_nothing_comes_back(tmp_path, part):
    w = World(tmp_path)
    history(w)
    tree, before = w.a.tree(), guids(w.b)
    path = newest_log(w.a)
    at = os.path.getsize(path) * part // 5 // PAGE * PAGE
    zero(path, at)
    drop_index(w.a)
    answer = w.sync()
    assert answer["full"] and "passed over" in answer["err"]
    w.check_equal()
    assert w.a.tree() == tree
    assert answer["sent"]["new"] == 0 == answer["got"]["new"]
    now = guids(w.b)
    changed = [n for n in before if now.get(n, before[n]) != before[n]]
    assert len(changed) <= 80
    w.b.deliver("late")
    w.sync()
    w.check_equal()
    w.check_idle()


def test_a_file_of_the_log_that_is_gone(tmp_path):
    w = World(tmp_path)
    history(w)
    tree = w.a.tree()
    w.a.must("checkpoint")
    w.a.flag("m001", "+R")
    w.sync()
    os.unlink(newest_log(w.a))
    drop_index(w.a)
    w.sync()
    w.check_equal()
    assert [m[0] for m in w.a.tree()["INBOX"]] == [m[0] for m in tree["INBOX"]]
    assert "R" in w.a.flags("m001")
    w.check_idle()


@pytest.mark.parametrize("how", ["removed", "cut"])
def test_a_whole_log_that_is_gone_is_told(tmp_path, how):
    w = World(tmp_path)
    assert "log files are gone" not in w.a.command("checkpoint").err  # of a store that is new
    w.a.deliver("m1:2,", body("m1"))
    w.sync()
    for n in os.listdir(os.path.join(w.a.path, "log")):
        path = os.path.join(w.a.path, "log", n)
        if how == "cut" and n.endswith(".log"):
            os.truncate(path, 10)
        else:
            os.unlink(path)
    result = w.a.command("sync", w.b.destination)
    assert "the log files are gone or cannot be read" in result.err, result
    assert "log files are gone" not in w.a.command("sync", w.b.destination).err
    w.check_equal()


def test_a_peer_that_reads_across_a_hole_compares_in_full(tmp_path):
    """The index is there: only who asks what is new since before the hole meets it."""
    w = World(tmp_path)
    w.a.deliver("first")
    w.sync()
    for i in range(80):
        w.a.deliver(f"m{i:03}:2,", body(f"m{i:03}"), sub="cur")
    w.a.must("checkpoint")  # looks at the files first; the peer has not seen that
    path = os.path.join(w.a.path, "log", max(n for n, s in w.a.log_bytes() if s > 3 * PAGE))
    zero(path, PAGE)
    answer = w.sync()
    assert answer["full"]
    w.check_equal()
    assert len(w.b.names()) == 81
    w.check_idle()
