"""What mutt and neomutt share: settings and keys."""

from support import maildir
from support.screen import Screen

RC = """
set folder = "{mail}"
set spoolfile = "{mail}"
set mbox_type = Maildir
set move = no
set confirmappend = no
set confirmcreate = no
set delete = yes
set mark_old = no
set wait_key = no
set beep = no
set sort = date
set timeout = 600
set mail_check = 2
set index_format = "[%Z] %s"
set status_format = "%f messages:%m new:%n flagged:%F%?d? deleted:%d?"
set pager_index_lines = 0
set read_inc = 0
set write_inc = 0
set sleep_time = 0
set resolve = no
set quit = yes
set maildir_trash = no
set realname = "Bert"
set hostname = example.org
"""


def start(place, program, more=""):
    """Opens the INBOX of the place."""
    rc = f"{place.home}/{program}rc"
    with open(rc, "w") as f:
        f.write(RC.format(mail=place.mail) + more)
    screen = Screen([program, "-n", "-F", rc], place.env, place.home)
    screen.wait(r"messages:8 ")
    return screen


def go_to(screen, number):
    """Puts the cursor on a message: search by subject, from the first."""
    screen.keys("text:=", "text:/")
    screen.wait(r"^Search for")
    screen.keys(f"text:{maildir.subject(number)}", "Enter")
    screen.wait_gone(r"^Search for")


def sync(screen):
    """Writes the changes into the Maildir; returns when the program waits for keys again."""
    screen.keys("text:$", "text::")
    screen.wait(r"^:")
    screen.keys("C-g")
    screen.wait_gone(r"^:")
