"""What a peer did appears in the mount as a real rename or unlink.

The kernel wakes no watcher for what a FUSE daemon changes by itself, so this is seen by no other
means: inotifywait gets the events with their names, and an open mutt or neomutt shows new mail with
no key pressed.
"""

import os
import signal
import time

import pytest

from support import maildir, mutts
from support.daemon import Daemon
from support.fixtures import linked  # noqa: F401
from support.programs import mailbraid, need, need_fuse, run
from support.replica import Replica
from support.wait import until
from support.watching import Watcher


def in_step(linked):  # noqa: F811
    return linked.tree() == maildir.tree(linked.peer)


@pytest.fixture
def watcher(linked):  # noqa: F811
    need("inotifywait")
    w = Watcher(linked.base, *(f"{linked.mail}/{d}" for d in ("new", "cur", ".Archive/cur")))
    yield w
    w.close()


def test_mail_arrives_as_a_rename(linked, watcher):  # noqa: F811
    maildir.put(linked.peer, 30)
    watcher.wait("MOVED_TO", f"{linked.mail}/new/{maildir.base(30)}")
    with open(f"{linked.mail}/new/{maildir.base(30)}", "rb") as f:
        assert f.read() == maildir.message(30)
    arrivals = [r for r in linked.log() if r["what"] == "arrive" and not r["program"]]
    assert [r["here"] for r in arrivals] == [False]
    until("both are equal", lambda: in_step(linked))


def test_a_flag_arrives_as_a_rename(linked, watcher):  # noqa: F811
    old = maildir.path(linked.peer, 1)
    os.rename(old, f"{linked.peer}/cur/{maildir.base(1)}:2,FS")
    watcher.wait("MOVED_TO", f"{linked.mail}/cur/{maildir.base(1)}:2,FS")
    assert maildir.find(linked.mail, 1) == [("", "cur", "FS")]
    until("both are equal", lambda: in_step(linked))


def test_an_expunge_arrives_as_an_unlink(linked, watcher):  # noqa: F811
    os.unlink(maildir.path(linked.peer, 2))
    watcher.wait("DELETE", f"{linked.mail}/cur/{maildir.base(2)}:2,RS")
    assert maildir.find(linked.mail, 2) == []
    until("both are equal", lambda: in_step(linked))


def test_a_move_arrives_as_a_rename(linked, watcher):  # noqa: F811
    os.rename(maildir.path(linked.peer, 3), f"{linked.peer}/.Archive/cur/{maildir.base(3)}:2,FS")
    watcher.wait("MOVED_FROM", f"{linked.mail}/cur/{maildir.base(3)}:2,FS")
    watcher.wait("MOVED_TO", f"{linked.mail}/.Archive/cur/{maildir.base(3)}:2,FS")
    assert maildir.find(linked.mail, 3) == [(".Archive", "cur", "FS")]
    until("both are equal", lambda: in_step(linked))


@pytest.fixture(params=["neomutt", "mutt"])
def screen(request, linked):  # noqa: F811
    need(request.param, "tmux")
    s = mutts.start(linked, request.param)
    yield s
    s.close()


def test_an_open_screen_shows_mail_from_the_peer(linked, screen):  # noqa: F811
    maildir.let_a_second_pass(linked.mail)
    maildir.put(linked.peer, 30)
    screen.wait(maildir.subject(30))  # no key was pressed
    screen.wait("messages:9 ")


def test_changes_on_the_screen_go_to_the_peer(linked, screen):  # noqa: F811
    mutts.go_to(screen, 1)
    screen.keys("text:F")
    mutts.go_to(screen, 2)
    screen.keys("text:d")
    screen.wait("deleted:1")
    mutts.sync(screen)
    until("the flag is there", lambda: maildir.find(linked.peer, 1) == [("", "cur", "FS")])
    until("the expunge is there", lambda: maildir.find(linked.peer, 2) == [])
    until("both are equal", lambda: in_step(linked), tell=linked.messages)


@pytest.mark.parametrize("program", ["neomutt", "mutt"])
def test_a_name_that_the_peer_changed_can_still_be_written(program, linked):  # noqa: F811
    """Both flag one message. The program has not looked again and uses the old name."""
    need(program, "tmux")
    screen = mutts.start(linked, program, "unset check_new\n")
    try:
        mutts.go_to(screen, 4)
        screen.keys("text:F")
        screen.wait("flagged:2")
        os.rename(maildir.path(linked.peer, 4), f"{linked.peer}/cur/{maildir.base(4)}:2,RS")
        until("the peer's flag", lambda: maildir.find(linked.mail, 4) == [("", "cur", "RS")])
        mutts.sync(screen)
        until("both flags", lambda: maildir.find(linked.mail, 4) == [("", "cur", "FRS")],
              tell=lambda: (maildir.find(linked.mail, 4), screen.text()))  # fmt: skip
        until("both are equal", lambda: in_step(linked), tell=linked.messages)
    finally:
        screen.close()


# ---- in bulk: over 2000 changes make no call in the mount each, and yet each folder wakes ----------

BULK = 2500

# What programs ask inotify(7) for, of new/ and cur/: monitor.c, ioloop-notify-inotify.c, fsnotify,
# KDirWatch.
MASKS = {
    "mutt and neomutt": ("moved_to", "attrib", "close_write"),
    "Dovecot IDLE": ("create", "delete", "delete_self", "move", "modify"),
    "aerc": ("move", "create", "attrib", "modify", "move_self", "delete", "delete_self"),
    "KMail": ("delete", "delete_self", "create", "move", "move_self", "modify", "attrib"),
}


class Bulk:
    """A mounted store, and another that sends it 2500 mails, a tenth of them to a folder."""

    def __init__(self):
        self.d = Daemon()
        self.watchers = {}
        try:
            self.b = Replica(f"{self.d.base}/b")
            self.b.mkfolder("work")
            self.sync()
        except BaseException:
            self.close()
            raise

    def sync(self, *options):
        run(mailbraid(), "--store", self.d.store, "sync", *options, self.b.destination)

    def watch(self):
        """One that watches for each program; what they had is forgotten."""
        self.unwatch()
        where = [self.d.path(f, sub) for f in ("", ".work") for sub in ("new", "cur")]
        for who, mask in MASKS.items():
            base = self.d.path("..", "watch-" + who.replace(" ", "-"))
            os.makedirs(base, exist_ok=True)
            self.watchers[who] = Watcher(base, *where, mask=mask)

    def unwatch(self):
        while self.watchers:
            self.watchers.popitem()[1].close()

    def close(self):
        self.unwatch()
        self.d.close()

    def names(self, folder, sub):
        return sorted(os.listdir(self.d.path(folder, sub)))


@pytest.fixture
def bulk():
    need_fuse()
    need("inotifywait")
    b = Bulk()
    yield b
    b.close()


def folder_of(i):
    return "work" if i % 10 == 0 else "INBOX"


def woken(bulk, folder, sub, events, who=tuple(MASKS)):
    """Each of these got one of the events, of a name in the directory; nobody got a flood."""
    where = os.path.join(bulk.d.mnt, folder, sub) + "/"
    for name in who:
        w = bulk.watchers[name]
        until(f"{name} is woken in {where}",
              lambda w=w: any(e in events and p.startswith(where) for e, p in w.events()),
              tell=w.events)  # fmt: skip
        assert len(w.events()) < 100, len(w.events())


def test_a_bulk_wakes_who_watches_each_folder(bulk):
    for i in range(BULK):
        bulk.b.deliver(f"{i}.a", b"Subject: x\n\n%d\n" % i, folder=folder_of(i))
    bulk.watch()
    bulk.sync()
    assert len(bulk.names("", "new")) + len(bulk.names(".work", "new")) == BULK
    woken(bulk, "", "new", {"MOVED_TO"})
    woken(bulk, ".work", "new", {"MOVED_TO"})

    for i in range(BULK):
        box = bulk.b.folder(folder_of(i))
        os.rename(f"{box}/new/{i}.a", f"{box}/cur/{i}.a:2,S")
    bulk.watch()
    bulk.sync()
    assert len(bulk.names("", "cur")) + len(bulk.names(".work", "cur")) == BULK
    woken(bulk, "", "cur", {"MOVED_TO"})
    woken(bulk, ".work", "cur", {"MOVED_TO"})

    for i in range(100, BULK):
        os.unlink(f"{bulk.b.folder(folder_of(i))}/cur/{i}.a:2,S")
    bulk.watch()
    bulk.sync("--allow-mass-expunge")
    assert len(bulk.names("", "cur")) + len(bulk.names(".work", "cur")) == 100
    others = tuple(set(MASKS) - {"mutt and neomutt"})  # these ask for no deletions
    woken(bulk, "", "cur", {"DELETE"}, others)
    woken(bulk, ".work", "cur", {"DELETE"}, others)


# ---- folders ---------------------------------------------------------------------------------------


def test_folders_are_made_renamed_and_removed_as_such(linked):  # noqa: F811
    need("inotifywait")
    w = Watcher(linked.base, linked.mail)
    try:
        maildir.make(linked.peer, ".Made")
        w.wait("CREATE,ISDIR", f"{linked.mail}/.Made")
        until("both are equal", lambda: in_step(linked), tell=linked.messages)
        os.rename(f"{linked.peer}/.Made", f"{linked.peer}/.Renamed")
        w.wait("MOVED_FROM,ISDIR", f"{linked.mail}/.Made")
        w.wait("MOVED_TO,ISDIR", f"{linked.mail}/.Renamed")
        until("both are equal", lambda: in_step(linked), tell=linked.messages)
        for sub in ("cur", "new", "tmp", ""):
            os.rmdir(f"{linked.peer}/.Renamed/{sub}")
        w.wait("DELETE,ISDIR", f"{linked.mail}/.Renamed")
        until("both are equal", lambda: in_step(linked), tell=linked.messages)
    finally:
        w.close()


# ---- a reconciler that does nothing ------------------------------------------------------------------


def reconciler(linked):  # noqa: F811
    """Its process id: a child of the mount's supervisor."""
    supervisor = linked.daemon.pid
    with open(f"/proc/{supervisor}/task/{supervisor}/children", encoding="ascii") as f:
        for pid in f.read().split():
            with open(f"/proc/{pid}/cmdline", "rb") as words:
                if b"reconcile" in words.read().split(b"\0"):
                    return int(pid)
    return None


def test_nothing_waits_for_a_reconciler_that_is_stopped(linked):  # noqa: F811
    pid = until("a reconciler", lambda: reconciler(linked), tell=linked.messages)
    slowest = 0.0
    os.kill(pid, signal.SIGSTOP)
    try:
        for i in range(30, 80):
            start = time.monotonic()
            path = linked.deliver(i)
            seen = f"{linked.mail}/cur/{maildir.base(i)}:2,S"
            os.rename(path, seen)
            with open(seen, "rb") as f:
                assert f.read() == maildir.message(i)
            slowest = max(slowest, time.monotonic() - start)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert slowest < 5, slowest  # a busy machine; who waited for the stopped one would never end
    until("both are equal", lambda: in_step(linked), tell=linked.messages)
