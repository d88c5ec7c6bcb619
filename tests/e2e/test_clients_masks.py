"""What a peer does, event by event, for what each program asks inotify(7) for, where it asks.

strace -e inotify_add_watch says so of mutt 2.2, neomutt 2022, aerc 0.14 and Dovecot 2.3; KMail is from the source of
KDirWatch.
"""

import os

import pytest

from support import maildir
from support.fixtures import linked  # noqa: F401
from support.programs import need
from support.watching import Watcher
from support.wait import until

MUTT = ("moved_to", "attrib", "close_write")
DOVECOT = ("create", "delete", "delete_self", "move", "modify")
AERC = ("move", "create", "attrib", "modify", "move_self", "delete", "delete_self")
KMAIL = ("delete", "delete_self", "create", "move", "move_self", "modify", "attrib")

# mutt and neomutt watch new/ of each mailbox that they know, Dovecot and aerc both directories of the one that is
# open, KMail those of all, and what holds the folders.
WATCHES = {
    "mutt": (MUTT, ("new", ".Archive/new")),
    "dovecot": (DOVECOT, ("new", "cur")),
    "dovecot, Archive": (DOVECOT, (".Archive/new", ".Archive/cur")),
    "aerc": (AERC, ("new", "cur")),
    "aerc, Archive": (AERC, (".Archive/new", ".Archive/cur")),
    "kmail": (KMAIL, ("", "new", "cur", ".Archive/new", ".Archive/cur")),
}
OPEN = ("dovecot", "aerc", "kmail")
ARCHIVE = ("dovecot, Archive", "aerc, Archive", "kmail")


class Watchers:
    def __init__(self, linked):  # noqa: F811
        self.mail, self.peer = linked.mail, linked.peer
        self.linked = linked
        self.by_name = {}
        for name, (mask, where) in WATCHES.items():
            self.add(name, mask, where)

    def add(self, name, mask, where):
        base = os.path.join(self.linked.base, f"watch-{name}")
        os.mkdir(base)
        self.by_name[name] = Watcher(base, *(os.path.join(self.mail, w) for w in where), mask=mask)

    def told(self, names, event, path):
        """Each of these programs gets this event of this name."""
        for name in names:
            self.by_name[name].wait(event, os.path.join(self.mail, path))

    def in_step(self):
        until("both are equal", lambda: self.linked.tree() == maildir.tree(self.peer),
              tell=self.linked.messages)  # fmt: skip

    def close(self):
        for w in self.by_name.values():
            w.close()


@pytest.fixture
def w(linked):  # noqa: F811
    need("inotifywait")
    watchers = Watchers(linked)
    yield watchers
    watchers.close()


def test_new_mail(w):
    maildir.put(w.peer, 30)
    w.told(["mutt", *OPEN], "MOVED_TO", f"new/{maildir.base(30)}")
    maildir.put(w.peer, 31, ".Archive")
    w.told(["mutt", *ARCHIVE], "MOVED_TO", f".Archive/new/{maildir.base(31)}")
    w.in_step()


def test_a_flag(w):
    os.rename(maildir.path(w.peer, 1), f"{w.peer}/cur/{maildir.base(1)}:2,FS")
    w.told(OPEN, "MOVED_FROM", f"cur/{maildir.base(1)}:2,S")
    w.told(OPEN, "MOVED_TO", f"cur/{maildir.base(1)}:2,FS")
    w.told(["mutt"], "ATTRIB,ISDIR", "new/")  # it does not watch cur/
    w.in_step()


def test_mail_that_is_read_leaves_new(w):
    os.rename(maildir.path(w.peer, 6), f"{w.peer}/cur/{maildir.base(6)}:2,S")
    w.told(OPEN, "MOVED_FROM", f"new/{maildir.base(6)}")
    w.told(OPEN, "MOVED_TO", f"cur/{maildir.base(6)}:2,S")
    w.told(["mutt"], "ATTRIB,ISDIR", "new/")
    w.in_step()


def test_an_expunge(w):
    os.unlink(maildir.path(w.peer, 2))
    w.told(OPEN, "DELETE", f"cur/{maildir.base(2)}:2,RS")
    w.told(["mutt"], "ATTRIB,ISDIR", "new/")
    w.in_step()


def test_a_move(w):
    os.rename(maildir.path(w.peer, 3), f"{w.peer}/.Archive/cur/{maildir.base(3)}:2,FS")
    w.told(OPEN, "MOVED_FROM", f"cur/{maildir.base(3)}:2,FS")
    w.told(ARCHIVE, "MOVED_TO", f".Archive/cur/{maildir.base(3)}:2,FS")
    w.told(["mutt"], "ATTRIB,ISDIR", "new/")
    w.told(["mutt"], "ATTRIB,ISDIR", ".Archive/new/")
    w.in_step()


def test_a_folder_that_is_made_renamed_and_removed(w):
    maildir.make(w.peer, ".Made")
    w.told(["kmail"], "CREATE,ISDIR", ".Made")
    w.in_step()
    w.add("dovecot, Made", DOVECOT, (".Made/new", ".Made/cur"))
    w.add("kmail, Made", KMAIL, (".Made", ".Made/new", ".Made/cur"))
    os.rename(f"{w.peer}/.Made", f"{w.peer}/.Renamed")
    w.told(["kmail"], "MOVED_FROM,ISDIR", ".Made")
    w.told(["kmail"], "MOVED_TO,ISDIR", ".Renamed")
    w.told(["kmail, Made"], "MOVE_SELF", ".Made/")
    w.in_step()
    maildir.put(w.peer, 30, ".Renamed")  # a watch stays with its directory
    w.told(["dovecot, Made", "kmail, Made"], "MOVED_TO", f".Made/new/{maildir.base(30)}")
    w.in_step()
    os.unlink(maildir.path(w.peer, 30))
    for sub in ("cur", "new", "tmp", ""):
        os.rmdir(f"{w.peer}/.Renamed/{sub}")
    w.told(["kmail"], "DELETE,ISDIR", ".Renamed")
    w.told(["dovecot, Made", "kmail, Made"], "DELETE", f".Made/new/{maildir.base(30)}")
    w.told(["kmail, Made"], "DELETE_SELF", ".Made/")  # as one: not of cur/ and new/ before
    w.in_step()
