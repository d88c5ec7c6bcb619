"""A peer's changes in a mount: made as real calls, and kind to programs that know the old names."""

import os
import shutil
import subprocess
import threading

import pytest

from support.daemon import Daemon
from support.programs import need, need_fuse, run
from support.replica import Replica
from support.wait import until


class Pair:
    """A mounted store and another one that is not."""

    def __init__(self):
        self.d = Daemon()
        try:
            self.b = Replica(os.path.join(self.d.base, "b"))
        except BaseException:
            self.d.close()
            raise

    def sync(self):
        run(os.environ["MAILBRAID"], "--store", self.d.store, "sync", "store:" + self.b.path)

    def names(self, *folder):
        return sorted(os.listdir(self.d.path(*folder)))


@pytest.fixture
def pair():
    need_fuse()
    p = Pair()
    yield p
    p.d.close()


def read(path):
    with open(path, "rb") as f:
        return f.read()


@pytest.fixture
def known(pair):
    """A mail that both have, and whose name in the mount a program has listed: cur/m:2,"""
    pair.d.deliver("m:2,", b"Subject: m\n\nbody\n", sub="cur")
    pair.sync()
    assert pair.names("cur") == ["m:2,"]
    return pair.d.path("cur", "m:2,")


def test_arrival_flag_and_expunge_are_real_calls(pair):
    need("inotifywait")
    watch = subprocess.Popen(
        ["inotifywait", "-m", "-q", "--format", "%e %f", pair.d.path("new"), pair.d.path("cur")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        os.set_blocking(watch.stdout.fileno(), False)
        said = []

        def seen(what):
            said.append((watch.stdout.read() or b"").decode())
            return what in "".join(said)

        def witness():
            # touched until the watcher answers: it watches from then on
            os.utime(pair.d.path("new"))
            return seen("ATTRIB")

        until("the watcher watches", witness)
        pair.b.deliver("1.a", b"Subject: 1\n\none\n")
        pair.sync()
        until("the arrival", lambda: seen("MOVED_TO 1.a"))
        assert read(pair.d.path("new", "1.a")).endswith(b"one\n")
        pair.b.flag("1.a", "+S")
        pair.sync()
        until("the flag", lambda: seen("MOVED_TO 1.a:2,S"))
        pair.b.expunge("1.a")
        pair.sync()
        until("the expunge", lambda: seen("DELETE 1.a:2,S"))
        assert pair.names("cur") == [] and pair.names("new") == []
    finally:
        watch.terminate()
        watch.wait(10)
        watch.stdout.close()


def test_mail_in_a_directory_that_becomes_a_folder_travels(pair):
    d = pair.d
    d.folder(".K")
    d.deliver("1.a", folder=".K")
    pair.sync()
    os.rename(d.path(".K"), d.path("away"))
    os.rename(d.path("away"), d.path(".K"))
    d.folder("ready")
    for path in ("ready/cur/2.a:2,S", "ready/new/3.a"):
        with open(d.path(path), "wb") as f:
            f.write(b"Subject: 2\n\ntwo\n")
    os.rename(d.path("ready"), d.path(".P"))
    os.makedirs(d.path(".N", "x"))
    with open(d.path(".N", "x", "4.a:2,"), "wb") as f:
        f.write(b"Subject: 4\n\nfour\n")
    os.rename(d.path(".N", "x"), d.path(".N", "cur"))
    pair.sync()
    found = {f: sorted(m[0] for m in mail) for f, mail in pair.b.tree().items()}
    assert found == {"INBOX": [], "K": ["1.a"], "P": ["2.a", "3.a"], "N": ["4.a"]}
    assert pair.b.flags("2.a", "P") == "S"
    assert pair.names(".K", "new") == ["1.a"]


def test_retired_name_still_opens(pair, known):
    ino = os.stat(known).st_ino
    pair.b.flag("m", "+F")
    pair.sync()
    assert pair.names("cur") == ["m:2,F"]
    assert read(known).endswith(b"body\n") and os.stat(known).st_ino == ino
    assert os.stat(pair.d.path("cur", "m:2,F")).st_ino == ino


def test_rename_of_a_retired_name_merges(pair, known):
    pair.b.flag("m", "+F")
    pair.sync()
    os.rename(known, known + "S")  # what neomutt does when it marks it read
    assert pair.names("cur") == ["m:2,FS"]
    assert read(known + "S").endswith(b"body\n")
    assert not os.path.exists(known)
    pair.sync()
    assert pair.b.flags("m") == "FS"


def test_rename_to_a_retired_name(pair, known):
    """A program takes back what the peer did: the kernel must not take it for done."""
    pair.b.flag("m", "+S")
    pair.sync()
    assert read(known).endswith(b"body\n")
    os.rename(pair.d.path("cur", "m:2,S"), known)
    assert pair.names("cur") == ["m:2,"]
    assert not os.path.exists(pair.d.path("cur", "m:2,S"))
    pair.sync()
    assert pair.b.flags("m") == ""


def test_peer_changes_back(pair, known):
    for flags in ("S", "", "S", ""):
        pair.b.flag("m", "+S" if flags else "-S")
        pair.sync()
        assert pair.names("cur") == [f"m:2,{flags}"]


def test_unlink_of_a_retired_name(pair, known):
    pair.b.flag("m", "+F")
    pair.sync()
    os.unlink(known)
    assert pair.names("cur") == []
    assert not os.path.exists(known)
    until("the kernel lets go of the name", lambda: not os.path.exists(pair.d.path("cur", "m:2,F")))
    pair.sync()
    assert pair.b.names() == []


def test_move_of_a_retired_name(pair, known):
    pair.d.folder(".other")
    pair.b.flag("m", "+F")
    pair.sync()
    os.rename(known, pair.d.path(".other", "cur", "m:2,S"))
    assert pair.names(".other", "cur") == ["m:2,FS"] and pair.names("cur") == []


@pytest.mark.parametrize("flags", ["", "F"])
def test_a_mail_that_the_peer_moved_has_no_name_in_its_old_folder(pair, known, flags):
    """neomutt unlinks the old names of what is gone from its folder: the moved one has to stay."""
    pair.d.folder(".other")
    pair.sync()
    if flags:
        pair.b.flag("m", "+F")
        pair.sync()
        assert read(known).endswith(b"body\n")
    os.rename(f"{pair.b.mail}/cur/m:2,{flags}", f"{pair.b.mail}/.other/cur/m:2,{flags}")
    pair.sync()
    for name in {known, known + flags}:
        with pytest.raises(FileNotFoundError):
            os.unlink(name)
        with pytest.raises(FileNotFoundError):
            os.rename(name, known + "S")
        assert not os.path.exists(name)
    assert pair.names(".other", "cur") == [f"m:2,{flags}"] and pair.names("cur") == []


def test_local_renames_leave_nothing_behind(pair, known):
    os.rename(known, known + "S")
    assert not os.path.exists(known)
    os.rename(known + "S", known + "RS")
    assert not os.path.exists(known + "S")


def test_open_mail_survives_a_peers_expunge(pair, known):
    fd = os.open(known, os.O_RDONLY)
    pair.b.expunge("m")
    pair.sync()
    assert pair.names("cur") == []
    assert os.pread(fd, 100, 0).endswith(b"body\n")
    os.close(fd)


def test_folders_of_a_peer(pair):
    pair.b.mkfolder("work")
    pair.b.deliver("w.a", b"Subject: w\n\nwork\n", folder="work")
    pair.sync()
    assert ".work" in pair.names()
    assert pair.names(".work", "new") == ["w.a"]
    pair.b.mvfolder("work", "done")
    pair.sync()
    assert ".done" in pair.names() and ".work" not in pair.names()
    assert pair.names(".done", "new") == ["w.a"]
    pair.b.rmfolder("done")
    pair.sync()
    assert ".done" not in pair.names()


def test_many_changes_at_once(pair):
    """Submitted in bulk: what the kernel has cached is right afterwards."""
    for i in range(2500):
        pair.b.deliver(f"{i}.a", b"Subject: x\n\n%d\n" % i, sub="cur")
    assert pair.names("cur") == []
    before = os.stat(pair.d.path("cur")).st_mtime_ns
    pair.sync()
    assert len(pair.names("cur")) + len(pair.names("new")) == 2500
    assert os.stat(pair.d.path("cur")).st_mtime_ns >= before
    for i in range(0, 2500, 2):
        pair.b.flag(f"{i}.a", "+S")
    for i in range(1, 2500, 4):
        pair.b.expunge(f"{i}.a")
    pair.sync()
    found = {}
    for sub in ("cur", "new"):
        for e in os.scandir(pair.d.path(sub)):
            e.stat()
            found[e.name.partition(":")[0]] = e.name.partition(":2,")[2]
    want = {f"{i}.a": "S" if i % 2 == 0 else "" for i in range(2500) if i % 4 != 1}
    assert found == want


def test_copy_of_the_mount_is_the_backing_tree(pair):
    for i in range(30):
        pair.b.deliver(f"{i}.a", b"Subject: x\n\n%d\n" % i)
    pair.sync()
    copy = os.path.join(pair.d.base, "copy")
    shutil.copytree(pair.d.mnt, copy)
    run("diff", "-r", copy, pair.d.backing)


def test_mail_that_comes_while_it_syncs_keeps_its_uid(pair):
    """Only the mount gives UIDs: nobody else has given any of them."""
    stop = threading.Event()
    names, said = [], []

    def deliver():
        while not stop.is_set() and len(names) < 5000:
            pair.d.deliver(f"{len(names)}.a", b"Subject: %d\n\nbody\n" % len(names))
            names.append(f"{len(names)}.a")

    def sync():
        argv = [os.environ["MAILBRAID"], "--store", pair.b.path, "sync", "store:" + pair.d.store]
        said.append(subprocess.run(argv, capture_output=True, text=True, check=False))

    sync()
    sender = threading.Thread(target=deliver)
    sender.start()
    try:
        for _ in range(6):
            sync()
    finally:
        stop.set()
        sender.join()
    sync()
    assert said[-1].returncode == 0, said[-1]
    assert sorted(m[0] for m in pair.b.tree()["INBOX"]) == sorted(names)
    assert "new UIDs" not in "".join(r.stdout + r.stderr for r in said)
