"""On the screen of neomutt and mutt, with no key pressed: what a peer does.

On an ordinary directory both show at once only new mail, and neomutt only when it did not look in the same second:
for flags and expunges they have to be told to look every second (`timeout`), and that is the bar.  In the mount they
need no setting."""

import io

import pytest

from record_screen import record
from support import maildir, mutts
from support.fixtures import linked, plain  # noqa: F401
from support.programs import need
from support.showing import IMPATIENT, STEPS, Showing
from support.wait import until

# To the next second, as the looks of the program on the directory; and the busy machine: the change is the peer's,
# and has the way through both stores before it is here.
SLACK = 1 + 5


@pytest.mark.parametrize("program", ["neomutt", "mutt"])
def test_a_screen_shows_what_a_peer_does(program, plain, linked):  # noqa: F811
    need(program, "tmux")
    control = Showing(plain, program, plain.mail, IMPATIENT)
    try:
        bar = {what: control.step(what, change, seen)[0] for what, change, seen in STEPS}
    finally:
        control.close()
    said = io.StringIO()
    times = record(program, linked, said)
    late = {what: (s, bar[what]) for what, s in times.items() if s > bar[what] + SLACK}
    assert not late, f"{late}\n{said.getvalue()}"
    for title in ("the peer: a new mail;", "the peer: a flag;", "the peer: an expunge;"):
        assert title in said.getvalue()
    until("both are equal", lambda: linked.tree() == maildir.tree(linked.peer), tell=linked.messages)


@pytest.mark.parametrize("program", ["neomutt", "mutt"])
def test_new_mail_in_another_mailbox_is_told(program, linked):  # noqa: F811
    """When they look, as on a directory: for these, too, `timeout` has to be short."""
    need(program, "tmux")
    screen = mutts.start(linked, program, IMPATIENT + f'mailboxes "{linked.mail}" "{linked.mail}/.Archive"\n')
    try:
        maildir.put(linked.peer, 30, ".Archive")
        screen.wait("New mail in .*Archive")
        screen.keys("text:c")  # offers the folder that has new mail
        screen.wait("^Open mailbox.*Archive")
    finally:
        screen.close()


@pytest.mark.parametrize("program", ["neomutt", "mutt"])
def test_what_the_peer_moved_is_not_expunged_by_who_had_it_open(program, linked):  # noqa: F811
    """neomutt marks what is gone as deleted, and unlinks it by its old name when it is told to sync."""
    need(program, "tmux")
    showing = Showing(linked, program, linked.peer)
    try:
        for what, change, seen in STEPS:
            if what in ("a flag", "a move to another folder"):
                showing.step(what, change, seen)
        showing.screen.keys("text:$")
        showing.screen.wait(r"messages:7 ")
        showing.screen.keys("text:q")
        until("it ends", showing.screen.ended, tell=showing.screen.text)
    finally:
        showing.close()
    assert maildir.find(linked.mail, 4) == [(".Archive", "cur", "S")]
    until("both are equal", lambda: linked.tree() == maildir.tree(linked.peer), tell=linked.messages)
    assert maildir.find(linked.peer, 4) == [(".Archive", "cur", "S")]
