"""What a mail program's screen shows, with no key pressed, of what others do to the folder that it has open.

`root` is where the others do it: the directory itself, where another program on this machine is at work, or a
peer's.
"""

import os
import re
import time

from support import maildir, mutts
from support.wait import until

# What both programs take when nothing is said, and what shows changes by others on an ordinary directory.
DEFAULTS = "set timeout = 600\nset mail_check = 5\n"
IMPATIENT = "set timeout = 1\nset mail_check = 1\n"


def flags(number, letters):
    """Rename of what is in INBOX, to have these flags."""

    def change(root):
        os.rename(maildir.path(root, number), f"{root}/cur/{maildir.base(number)}:2,{letters}")

    return change


def move(number, folder):
    def change(root):
        old = maildir.path(root, number)
        os.rename(old, os.path.join(root, folder, "cur", os.path.basename(old)))

    return change


def row(number, marks):
    """The index shows the mail so."""
    return lambda text: re.search(rf"^\[{marks}\] {maildir.subject(number)}", text, re.M)


def gone(number):
    """Not there any more, or marked as deleted: neomutt does that and says that others were at work."""
    return lambda text: maildir.subject(number) not in text or row(number, ".D.")(text)


STEPS = [
    ("a new mail", lambda root: maildir.put(root, 30), row(30, "N..")),
    ("a flag", flags(1, "FS"), row(1, "..!")),
    ("an expunge", lambda root: os.unlink(maildir.path(root, 2)), gone(2)),
    ("a mail that was read", flags(6, "S"), row(6, " ..")),
    ("a flag taken away", flags(3, "S"), row(3, ".. ")),
    ("a move to another folder", move(4, ".Archive"), gone(4)),
    ("another new mail", lambda root: maildir.put(root, 31), row(31, "N..")),
]


class Showing:
    """A program with the INBOX of a place open."""

    def __init__(self, place, program, root, settings=DEFAULTS):
        self.place, self.root = place, root
        self.screen = mutts.start(place, program, settings)

    def step(self, what, change, seen):
        """Changes it there, waits until it is seen here; the seconds that took, and the screen."""
        if not self.place.mounted:
            maildir.let_a_second_pass(self.place.mail)
        start = time.monotonic()
        change(self.root)
        text = until(f"{what} on the screen", lambda: self._when(seen), tell=self.screen.text)
        return time.monotonic() - start, text

    def _when(self, seen):
        text = self.screen.text()
        return text if seen(text) else None

    def close(self):
        self.screen.close()
