"""Ten thousand changes at once: afterwards the mount is what the store's own tree is, in every respect."""

import os
import stat

import pytest

from support.daemon import Daemon
from support.programs import mailbraid, need_fuse, run
from support.replica import Replica, body
from support.wait import until

FOLDERS = ["INBOX", "one", "two"]
MANY = 10000


class Pair:
    """A mounted store, and a peer that is not."""

    def __init__(self):
        self.d = Daemon()
        try:
            self.b = Replica(os.path.join(self.d.base, "b"))
            for folder in FOLDERS[1:]:
                self.b.mkfolder(folder)
            self.sync()
        except BaseException:
            self.d.close()
            raise

    def sync(self):
        """Who allows a mass expunge has it."""
        argv = [mailbraid(), "--store", self.d.store, "sync", "--allow-mass-expunge", "store:" + self.b.path]
        run(*argv)


@pytest.fixture
def pair():
    need_fuse()
    p = Pair()
    yield p
    p.d.close()


def folder_of(i):
    return FOLDERS[i % 3]


def look(root):
    """{path: what a program can see of it} of a whole tree, and how many names each inode has."""
    found = {}
    for folder, names, files in os.walk(root):
        for name in names + files:
            path = os.path.join(folder, name)
            st = os.lstat(path)
            content = None
            if stat.S_ISREG(st.st_mode):
                with open(path, "rb") as f:
                    content = f.read()
            size = None if content is None else st.st_size
            time = None if content is None else st.st_mtime_ns
            found[os.path.relpath(path, root)] = (st.st_mode, st.st_uid, st.st_gid, size, time, content)
    return found


def check(pair):
    shown, there = look(pair.d.mnt), look(pair.d.backing)
    assert sorted(shown) == sorted(there)
    wrong = [p for p in there if shown[p] != there[p]]
    assert not wrong, [(p, shown[p], there[p]) for p in wrong[:3]]
    inodes = [os.stat(os.path.join(pair.d.mnt, p)).st_ino for p in shown]
    assert len(set(inodes)) == len(inodes)


def names(pair, folder):
    """Names before the colon, of the mount."""
    where = pair.d.path("" if folder == "INBOX" else "." + folder)
    return sorted(n.partition(":")[0] for sub in ("cur", "new") for n in os.listdir(os.path.join(where, sub)))


def test_a_bulk_leaves_every_cache_right(pair):
    for i in range(MANY):
        pair.b.deliver(f"{i}.x:2,", body(str(i)), folder=folder_of(i), sub="cur")
    for folder in FOLDERS:  # the kernel knows that they are empty
        assert names(pair, folder) == []
    pair.sync()
    check(pair)

    # all is cached now, and some is open
    held = {i: open(pair.d.path("" if i % 3 == 0 else "." + folder_of(i), "cur", f"{i}.x:2,"), "rb")
            for i in range(0, 300)}  # fmt: skip
    listing = os.scandir(pair.d.path("cur"))
    seen = [next(listing).name for _ in range(10)]
    gone = set(range(5, MANY, 10))
    box = {folder: os.path.join(pair.b.folder(folder), "cur") for folder in FOLDERS}
    for i in range(MANY):
        old = os.path.join(box[folder_of(i)], f"{i}.x:2,")
        if i in gone:
            os.unlink(old)
        elif i % 10 == 1:
            os.rename(old, os.path.join(box[FOLDERS[(i + 1) % 3]], f"{i}.x:2,"))
        else:
            os.rename(old, old + "FS")
    pair.sync()

    for i, f in held.items():
        assert f.read() == body(str(i)), i
        st = os.fstat(f.fileno())
        assert st.st_size == len(body(str(i))) and st.st_nlink == (0 if i in gone else 1), (i, st)
        f.close()
    seen = [n.partition(":")[0] for n in seen + [e.name for e in listing]]
    stays = [f"{i}.x" for i in range(0, MANY, 3) if i not in gone and i % 10 != 1]
    assert set(stays) <= set(seen) and len(seen) == len(set(seen))  # the listing that was begun before
    check(pair)
    want = {folder: [] for folder in FOLDERS}
    for i in set(range(MANY)) - gone:
        want[FOLDERS[(i + (i % 10 == 1)) % 3]].append(f"{i}.x")
    for folder in FOLDERS:
        assert names(pair, folder) == sorted(want[folder])


def test_so_does_one_behind_our_back(pair):
    """In the backing tree, by a program that knows nothing of the mount. Who has such a file open may get
    ESTALE, as from any server whose files go behind its back."""
    cur = os.path.join(pair.d.backing, "cur")
    many = 3000
    for i in range(many):
        with open(os.path.join(pair.d.backing, "tmp", f"{i}.x"), "wb") as f:
            f.write(body(str(i)))
        os.rename(f.name, os.path.join(cur, f"{i}.x:2,"))
    until("all to be seen", lambda: len(names(pair, "INBOX")) == many)
    check(pair)
    for i in range(many):
        old = os.path.join(cur, f"{i}.x:2,")
        if i % 3 == 0:
            os.unlink(old)
        elif i % 3 == 1:
            os.rename(old, old + "S")
    want = sorted(f"{i}.x:2,{'S' if i % 3 == 1 else ''}" for i in range(many) if i % 3)
    until("all to be seen", lambda: sorted(os.listdir(pair.d.path("cur"))) == want)
    check(pair)
