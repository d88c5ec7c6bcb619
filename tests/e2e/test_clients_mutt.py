"""mutt and neomutt, on a terminal: the same keys on a plain Maildir and on a mount."""

import pytest

from support import maildir, mutts
from support.fixtures import mounted, plain, same  # noqa: F401
from support.programs import need
from support.wait import until


def where(place, number, expected):
    """Waits until the message with this number is there and nowhere else."""
    until(
        f"message {number} in {expected}",
        lambda: maildir.find(place.mail, number) == expected,
        tell=lambda: maildir.find(place.mail, number),
    )


def read(place, screen, program):
    mutts.go_to(screen, 6)
    screen.keys("Enter")
    screen.wait(maildir.body(6))
    screen.keys("text:i")
    screen.wait(r"^\[   \] " + maildir.subject(6))
    with place.change(program, flags=1):
        mutts.sync(screen)
        where(place, 6, [("", "cur", "S")])


def flag(place, screen, program):
    mutts.go_to(screen, 1)
    screen.keys("text:F")
    screen.wait(r"flagged:2")
    with place.change(program, flags=1):
        mutts.sync(screen)
        where(place, 1, [("", "cur", "FS")])


def unflag(place, screen, program):
    mutts.go_to(screen, 1)
    screen.keys("text:F")
    screen.wait(r"flagged:1")
    with place.change(program, flags=1):
        mutts.sync(screen)
        where(place, 1, [("", "cur", "S")])


def delete(place, screen, program):
    mutts.go_to(screen, 2)
    screen.keys("text:d")
    screen.wait(r"deleted:1")
    with place.change(program, expunge=1):
        mutts.sync(screen)
        where(place, 2, [])
    screen.wait(r"messages:7 ")


def save(place, screen, program):
    """To another folder: both write the mail anew there and remove it here."""
    mutts.go_to(screen, 3)
    with place.change(program, arrive=1, expunge=1):
        screen.keys("text:s")
        screen.wait(r"^Save to mailbox")
        screen.keys("C-u", "text:=.Archive", "Enter")
        screen.wait(r"deleted:1")
        mutts.sync(screen)
        where(place, 3, [(".Archive", "cur", "FS")])
    screen.wait(r"messages:6 ")


def new_mail(place, screen):
    """Shows a mail that is delivered, with no key pressed."""
    maildir.let_a_second_pass(place.mail)
    with place.change(arrive=1):
        place.deliver(30)
    screen.wait(maildir.subject(30))
    screen.wait(r"messages:7 ")


def script(place, program):
    screen = mutts.start(place, program)
    try:
        read(place, screen, program)
        flag(place, screen, program)
        unflag(place, screen, program)
        delete(place, screen, program)
        save(place, screen, program)
        new_mail(place, screen)
        screen.keys("text:q")
        until("it ends", screen.ended, tell=screen.text)
    finally:
        screen.close()


@pytest.mark.parametrize("program", ["neomutt", "mutt"])
def test_does_the_same_on_a_mount(program, plain, mounted):  # noqa: F811
    need(program, "tmux")
    script(plain, program)
    script(mounted, program)
    same(plain, mounted)
