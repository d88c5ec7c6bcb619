"""aerc on a terminal of its own."""

import os

from support import maildir
from support.screen import Screen

ACCOUNT = """[B]
source = maildirpp://{mail}
default = INBOX
from = Bert <bert@example.org>
"""


def start(place):
    """Opens the INBOX of the place; the newest of the seeded mails is at the top."""
    folder = f"{place.home}/.config/aerc"
    os.makedirs(folder)
    fd = os.open(f"{folder}/accounts.conf", os.O_CREAT | os.O_WRONLY, 0o600)  # it takes no other mode
    with os.fdopen(fd, "w") as f:
        f.write(ACCOUNT.format(mail=place.mail))
    screen = Screen(["aerc"], place.env, place.home)
    screen.wait(maildir.subject(1))
    screen.wait("Connected")
    return screen


def go_to(screen, number):
    """Puts the cursor on a message: by its row, from the top."""
    rows = [line for line in screen.text().splitlines() if "Subject number" in line]
    at = next(i for i, line in enumerate(rows) if maildir.subject(number) in line)
    screen.keys("text:g", *["text:j"] * at)


def command(screen, words):
    screen.keys(f"text::{words}")
    screen.wait(rf"^:{words}|:{words}\s*$")
    screen.keys("Enter")
