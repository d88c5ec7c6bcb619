"""Dovecot's imap program on pipes: no server, no login, one private configuration."""

import grp
import imaplib
import os
import pwd
import re
import subprocess

import pytest

PROGRAM = "/usr/lib/dovecot/imap"

CONF = """
protocols = imap
base_dir = {base}/run
state_dir = {base}/run
log_path = {base}/dovecot.log
ssl = no
mail_location = maildir:{mail}
# it compares whole seconds of the root's time: a folder that came meanwhile is not listed
mailbox_list_index = no
first_valid_uid = 1
first_valid_gid = 1
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
{more}
namespace inbox {{
  inbox = yes
  separator = .
}}
"""


def user():
    """Whose the mail is: Dovecot serves no mail of root's."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


class Server:
    """Configuration and log of one Dovecot for the tree `mail`; `base` is a directory of its own."""

    def __init__(self, base, mail, more=""):
        if not os.path.exists(PROGRAM):
            pytest.skip("dovecot-imapd is not installed")
        who = user()
        os.makedirs(f"{base}/run", exist_ok=True)
        self.log = f"{base}/dovecot.log"
        self.conf = f"{base}/dovecot.conf"
        group = grp.getgrgid(who.pw_gid).gr_name
        with open(self.conf, "w", encoding="utf-8") as f:
            f.write(CONF.format(base=base, mail=mail, user=who.pw_name, group=group, more=more))
        open(self.log, "ab").close()
        for path in (base, f"{base}/run", self.log):
            os.chown(path, who.pw_uid, who.pw_gid)
        self.base = base
        self.env = {"USER": who.pw_name, "HOME": base, "MAIL": f"maildir:{mail}"}
        self.who = who

    def session(self):
        return Imap(self)

    def complaints(self, but=()):
        """What it logged and should not have had to; `but`: patterns that are expected."""
        bad = re.compile("Error|Warning|Panic|Fatal")
        with open(self.log, errors="replace", encoding="utf-8") as f:
            lines = [line for line in f.read().splitlines() if bad.search(line)]
        return [line for line in lines if not any(re.search(p, line) for p in but)]


class Imap(imaplib.IMAP4):
    """One session; every answer has to be OK."""

    def __init__(self, server):
        self.server = server
        super().__init__()
        self.ok(self.enable("CONDSTORE"))

    def open(self, host=None, port=None, timeout=None):
        who = self.server.who
        drop = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        self.process = subprocess.Popen(
            [PROGRAM, "-c", self.server.conf],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self.server.env,
            cwd=self.server.base,
            **drop,
        )
        self.file = self.process.stdout

    def read(self, size):
        return self.file.read(size)

    def readline(self):
        return self.file.readline()

    def send(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def shutdown(self):
        self.process.stdin.close()
        self.file.close()
        self.process.wait(10)

    @staticmethod
    def ok(answer):
        assert answer[0] == "OK", answer
        return [line for line in answer[1] if line is not None]

    def folders(self, sub=False):
        """Selectable ones, or those subscribed."""
        lines = [line.decode() for line in self.ok(self.lsub() if sub else self.list())]
        names = [line.rsplit(" ", 1)[1].strip('"') for line in lines if "\\Noselect" not in line]
        return sorted(names)

    def select_state(self, name):
        """Opens it; {UIDVALIDITY, UIDNEXT, HIGHESTMODSEQ}."""
        self.untagged_responses.clear()
        self.ok(self.select(f"\"{name}\""))
        told = {"HIGHESTMODSEQ": ["0"], **self.untagged_responses}  # an index just begun has none
        return {what: int(told[what][-1]) for what in ("UIDVALIDITY", "UIDNEXT", "HIGHESTMODSEQ")}

    def messages(self):
        """{uid: (flags, date, bytes)} of the open mailbox, without \\Recent."""
        found = {}
        for line in self.ok(self.uid("FETCH", "1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])")):
            if not isinstance(line, tuple):
                continue
            head = line[0].decode()
            flags = re.search(r"FLAGS \(([^)]*)\)", head)[1].split()
            uid = int(re.search(r"UID (\d+)", head)[1])
            date = re.search(r'INTERNALDATE "([^"]*)"', head)[1]
            found[uid] = (sorted(f for f in flags if f != "\\Recent"), date, line[1])
        return found
