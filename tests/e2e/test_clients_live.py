"""What a peer did appears in the mount as a real rename or unlink.

The kernel wakes no watcher for what a FUSE daemon changes by itself, so this is seen by no other
means: inotifywait gets the events with their names, and an open mutt or neomutt shows new mail with
no key pressed.
"""

import os

import pytest

from support import maildir, mutts
from support.fixtures import linked  # noqa: F401
from support.programs import need
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
