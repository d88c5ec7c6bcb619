"""Replicas that were restored, lost their memory, were copied or were swapped (rows 88 to 95), each
with a third one that saw both sides; and random histories of three to five stores."""

import json
import os
import shutil

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from support.replica import Replica


@pytest.fixture
def three(tmp_path):
    return [Replica(tmp_path / name) for name in "abc"]


def settle(*replicas, rounds=4):
    """Everybody with everybody, until a round is quiet."""
    for _ in range(rounds):
        busy = False
        for i, one in enumerate(replicas):
            for other in replicas[i + 1 :]:
                answer = one.sync(other)
                busy = busy or any(answer["sent"].values()) or any(answer["got"].values())
        if not busy:
            return
    raise AssertionError("the replicas never come to rest")


def check_same(*replicas):
    for other in replicas[1:]:
        assert other.tree() == replicas[0].tree()


def forget_state(replica):
    """The disk loses everything but the mail and who it is."""
    for part in ("log", "index"):
        shutil.rmtree(os.path.join(replica.path, part))
    for part in ("state", "intent"):
        if os.path.exists(os.path.join(replica.path, part)):
            os.unlink(os.path.join(replica.path, part))


# ---- mailboxes that became each other ---------------------------------------------------------------


def in_all(replicas, folder, names):
    for r in replicas:
        found = sorted(n.partition(":")[0] for sub in ("cur", "new") for n in os.listdir(os.path.join(r.folder(folder), sub)))
        assert found == sorted(names), (r.path, found)


def test_names_that_became_each_other(three):
    """One sync in one direction, and one both ways, see a mere name and a mailbox the other way round."""
    a, b, c = three
    a.mkfolder("K/sub")
    a.must("status")
    b.mkfolder("Q")
    b.mkfolder("Q/sub2")
    b.sync(c)
    for name in (".Q", ".Q.sub2"):
        os.rename(os.path.join(b.mail, name), os.path.join(b.mail, name.replace("Q", "K")))
    b.sync(c)
    b.rmfolder("K")
    b.sync(c)
    a.must("sync", "-1", b.destination)
    c.mkfolder("K")
    c.deliver("1.c.host", folder="K")
    b.mkfolder("K")
    b.deliver("2.b.host", folder="K")
    a.sync(c)
    b.sync(c)
    settle(a, b, c)
    in_all(three, "K", ["1.c.host", "2.b.host"])
    a.deliver("3.a.host", folder="K")
    settle(a, b, c)
    in_all(three, "K", ["1.c.host", "2.b.host", "3.a.host"])
    check_same(a, b, c)


@pytest.mark.parametrize("later", [0, 1])
def test_made_apart_and_united_by_a_one_way_sync_and_by_others(three, later):
    """The source of a one-way sync keeps its own, whichever it is; elsewhere the lower one stays."""
    a, b, c = three
    for r in (a, b)[:: 1 - 2 * later]:
        r.mkfolder("K")
        r.deliver("1.%s.host" % os.path.basename(r.path), folder="K")
        r.must("status")
    b.sync(c)
    a.must("sync", "-1", b.destination)
    a.sync(c)
    b.sync(c)
    settle(a, b, c)
    a.deliver("2.a.host", folder="K")
    settle(a, b, c)
    in_all(three, "K", ["1.a.host", "1.b.host", "2.a.host"])
    check_same(a, b, c)


# ---- rows 88 to 90: memory that was lost -----------------------------------------------------------


def test_88_one_loses_log_and_state(three):
    a, b, c = three
    for name in ("m1", "m2", "m3"):
        a.deliver(name)
    a.mkfolder("Box")
    a.deliver("m4", folder="Box")
    settle(a, b, c)
    forget_state(a)
    b.flag("m1", "+F")
    a.deliver("m5")
    settle(a, b, c)
    check_same(a, b, c)
    peers = json.loads(b.must("peer", "--json").out)["peers"]
    assert len({p["destination"] for p in peers if p["destination"]}) == len([p for p in peers if p["destination"]])
    assert c.names() == ["m1", "m2", "m3", "m5"]
    assert c.names("Box") == ["m4"]
    assert "F" in a.flags("m1")


def test_89_both_lose_it(three):
    a, b, c = three
    for name in ("m1", "m2"):
        a.deliver(name)
    settle(a, b, c)
    forget_state(a)
    forget_state(b)
    a.deliver("m3")
    b.deliver("m4")
    settle(a, b, c)
    check_same(a, b, c)
    assert a.names() == ["m1", "m2", "m3", "m4"]


def test_90_filled_by_another_tool(three):
    a, b, _ = three
    for name in ("m1", "m2", "m3"):
        a.deliver(name, sub="cur")
        shutil.copy2(a.path_of(name), os.path.join(b.mail, "cur"))
    answer = a.sync(b)
    assert answer["sent"]["new"] == answer["got"]["new"] == 0
    check_same(a, b)
    assert a.names() == ["m1", "m2", "m3"]


# ---- row 91: an old backup -------------------------------------------------------------------------


@pytest.mark.parametrize("starts", ["a", "b"])
def test_91_restored_from_a_backup(three, tmp_path, starts):
    a, b, c = three
    for name in ("old", "gone", "flagged"):
        a.deliver(name)
    settle(a, b, c)
    shutil.copytree(a.path, tmp_path / "backup", symlinks=True)
    a.deliver("week-a")
    a.expunge("gone")
    b.deliver("week-b")
    b.flag("flagged", "+F")
    settle(a, b, c)
    shutil.rmtree(a.path)
    shutil.copytree(tmp_path / "backup", a.path, symlinks=True)
    assert a.names() == ["flagged", "gone", "old"]
    a.deliver("after the restore")
    one, two = (a, b) if starts == "a" else (b, a)
    assert one.sync(two)["full"]
    check_same(a, b)
    settle(a, b, c)
    check_same(a, b, c)
    assert a.names() == ["after the restore", "flagged", "old", "week-a", "week-b"]
    assert "F" in a.flags("flagged")
    assert not a.sync(b)["full"] and not c.sync(a)["full"]


def restore_in_place(backup, path):
    """As a backup program does that keeps the directories: nothing tells but the log."""
    for folder, names, files in os.walk(path):
        for name in files:
            os.unlink(os.path.join(folder, name))
    shutil.copytree(backup, path, symlinks=True, dirs_exist_ok=True)


@pytest.mark.parametrize("starts", ["a", "b"])
def test_91_restored_into_the_same_directories(three, tmp_path, starts):
    a, b, c = three
    for name in ("old", "gone"):
        a.deliver(name)
    settle(a, b, c)
    was = a.status()["replica"]
    shutil.copytree(a.path, tmp_path / "backup", symlinks=True)
    a.deliver("week-a")
    a.expunge("gone")
    settle(a, b, c)
    restore_in_place(tmp_path / "backup", a.path)
    a.deliver("after the restore")
    one, two = (a, b) if starts == "a" else (b, a)
    answer = one.sync(two)
    assert answer["full"] and "restored" in answer["err"]
    assert a.status()["replica"] != was
    settle(a, b, c)
    check_same(a, b, c)
    assert a.names() == ["after the restore", "old", "week-a"]
    assert not a.sync(b)["full"] and not c.sync(a)["full"]


# ---- row 92: one replica twice ---------------------------------------------------------------------


def clone(replica, path):
    shutil.copytree(replica.path, path, symlinks=True)
    copy = object.__new__(Replica)
    copy.__dict__.update(replica.__dict__, path=str(path), mail=os.path.join(path, "mail"))
    return copy


def test_92_a_copied_store_is_a_replica_of_its_own(three, tmp_path):
    a, b, c = three
    for name in ("m1", "m2", "gone"):
        a.deliver(name)
    settle(a, b, c)
    copy = clone(a, tmp_path / "copy")
    a.deliver("of a")
    copy.deliver("of the copy")
    copy.expunge("gone")
    a.flag("m1", "+F")
    copy.flag("m1", "+S")
    assert "new replica" in copy.must("sync", b.destination).err
    ids = {r.status()["replica"] for r in (a, b, c, copy)}
    assert len(ids) == 4
    settle(a, b, c, copy)
    check_same(a, b, c, copy)
    assert a.names() == ["m1", "m2", "of a", "of the copy"]
    assert a.flags("m1") == "FS"
    assert not a.sync(b)["full"] and not copy.sync(b)["full"]


def test_92_original_and_copy_sync_each_other(three, tmp_path):
    a = three[0]
    a.deliver("m1")
    a.must("status")
    copy = clone(a, tmp_path / "copy")
    copy.deliver("m2")
    a.deliver("m3")
    a.sync(copy)
    check_same(a, copy)
    assert a.names() == ["m1", "m2", "m3"]
    assert a.status()["replica"] != copy.status()["replica"]


@pytest.mark.parametrize("first", ["a", "copy"])
def test_92_a_copy_that_only_the_log_tells(three, tmp_path, first):
    """A copy of the whole disk: same directories, same ids; the second one to sync notices."""
    a, b, c = three
    for name in ("m1", "m2", "gone"):
        a.deliver(name)
    settle(a, b, c)
    shutil.copytree(a.path, tmp_path / "image", symlinks=True)
    a.deliver("of a")
    a.expunge("gone")
    a.sync(b)
    shutil.copytree(a.path, tmp_path / "later", symlinks=True)
    restore_in_place(tmp_path / "image", a.path)  # now it is the copy
    a.deliver("of the copy")
    (one, two) = (b, c) if first == "a" else (c, b)
    a.sync(one)
    a.sync(two)
    settle(a, b, c)
    check_same(a, b, c)
    assert a.names() == ["m1", "m2", "of a", "of the copy"]


def test_a_renamed_store_is_who_it_was(three):
    a, b, _ = three
    a.deliver("m1")
    a.sync(b)
    was = b.status()["replica"]
    os.rename(b.path, b.path + ".new")
    b.path += ".new"
    b.mail = os.path.join(b.path, "mail")
    b.deliver("m2")
    assert not b.sync(a)["full"]
    assert b.status()["replica"] == was
    check_same(a, b)


# ---- row 93: a ring --------------------------------------------------------------------------------


def test_93_a_ring(three):
    a, b, c = three
    a.deliver("gone")
    a.deliver("kept")
    settle(a, b, c)
    a.expunge("gone")
    c.flag("gone", "+F")
    c.deliver("new")
    for _ in range(3):
        a.sync(b)
        b.sync(c)
        c.sync(a)
    check_same(a, b, c)
    assert a.names() == ["kept", "new"]


# ---- row 95: the wrong peer ------------------------------------------------------------------------


def test_95_another_store_where_the_peer_was(three):
    a, b, c = three
    a.deliver("mine")
    c.deliver("of another account")
    a.sync(b)
    os.rename(b.path, b.path + ".away")
    os.rename(c.path, b.path)
    before = a.tree(), b.tree()
    result = a.command("sync", b.destination)
    assert result.code == 1 and "--replace-peer" in result.err
    assert (a.tree(), b.tree()) == before
    a.sync(b, "--replace-peer")
    check_same(a, b)


# ---- random histories ------------------------------------------------------------------------------

SHAPES = {
    "star": lambda n: [(0, i) for i in range(1, n)],
    "chain": lambda n: [(i - 1, i) for i in range(1, n)],
    "ring": lambda n: [(i, (i + 1) % n) for i in range(n)],
    "mesh": lambda n: [(k, i) for i in range(n) for k in range(i)],
}
OPS = ["deliver", "flag", "unflag", "move", "expunge", "copy", "folder", "rename", "delete", "sync", "sync", "sync"]
op = st.tuples(st.sampled_from(OPS), st.integers(0, 4), st.integers(0, 9), st.integers(0, 9))
MANY = int(os.environ.get("MAILBRAID_EXAMPLES", "6"))


def pick(items, n):
    return sorted(items)[n % len(items)] if items else None


def all_mail(replica):
    return [(f, m[0]) for f, messages in replica.tree().items() for m in messages]


class History:
    """What each user did; a message that nobody expunged is there at the end."""

    def __init__(self, path, n, shape):
        self.replicas = [Replica(os.path.join(path, str(i))) for i in range(n)]
        self.links = SHAPES[shape](n)
        self.made = 0
        self.delivered, self.removed = set(), set()

    def do(self, what, who, x, y):
        replica = self.replicas[who % len(self.replicas)]
        folder = pick(replica.folders(), y)
        self.made += 1
        if what == "sync":
            one, two = self.links[x % len(self.links)]
            if y % 2:
                one, two = two, one
            self.replicas[one].sync(self.replicas[two])
        elif what == "deliver":
            replica.deliver(f"m{self.made}", folder=folder)
            self.delivered.add(f"m{self.made}")
        elif what == "folder":
            if f"F{x % 4}" not in replica.folders():
                replica.mkfolder(f"F{x % 4}")
        elif what == "rename":
            if folder != "INBOX" and f"F{x % 4}" not in replica.folders():
                replica.mvfolder(folder, f"F{x % 4}")
        elif what == "delete":
            if folder != "INBOX":
                self.removed |= set(replica.names(folder))
                replica.rmfolder(folder)
        else:
            self.message(replica, what, x, folder)

    def message(self, replica, what, x, folder):
        mail = pick(all_mail(replica), x)
        if not mail:
            return
        there, name = mail
        if what in ("flag", "unflag"):
            replica.flag(name, ("+" if what == "flag" else "-") + "FSR"[x % 3], folder=there)
        elif what == "expunge":
            self.removed.add(name)
            replica.expunge(name, folder=there)
        elif there != folder and name not in replica.names(folder):
            getattr(replica, what)(name, folder, folder=there)

    def finish(self):
        for _ in range(2 * len(self.replicas) + 4):
            busy = False
            for one, two in self.links:
                answer = self.replicas[one].sync(self.replicas[two])
                busy = busy or any(answer["sent"].values()) or any(answer["got"].values())
            if not busy:
                break
        assert not busy, "the replicas never come to rest"
        check_same(*self.replicas)
        before = [r.log_bytes() for r in self.replicas]
        for one, two in self.links:
            assert not self.replicas[two].sync(self.replicas[one])["full"]
        assert [r.log_bytes() for r in self.replicas] == before
        there = {name.partition("-")[0] for r in self.replicas[:1] for _, name in all_mail(r)}
        assert self.delivered - self.removed <= there, "mail that nobody expunged is gone"


@settings(
    max_examples=MANY,
    deadline=None,
    derandomize=MANY == 6,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)
@given(st.integers(3, 5), st.sampled_from(sorted(SHAPES)), st.lists(op, min_size=5, max_size=25))
def test_random_replicas(tmp_path_factory, n, shape, ops):
    history = History(str(tmp_path_factory.mktemp("r")), n, shape)
    for step in ops:
        note(step)
        history.do(*step)
    history.finish()
