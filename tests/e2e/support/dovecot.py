"""A Dovecot of our own on loopback, and an IMAP session with it."""

import contextlib
import grp
import imaplib
import os
import pwd
import re
import shutil
import socket
import subprocess

import pytest

from support.programs import end
from support.wait import PATIENCE, until

CONF = """
protocols = imap
listen = 127.0.0.1
base_dir = {run}
state_dir = {run}
log_path = {base}/dovecot.log
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
{users}
mail_location = maildir:{mail}{more}
first_valid_uid = 1
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={home}
}}
namespace inbox {{
  inbox = yes
  separator = .
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    address = 127.0.0.1
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
"""

# Where Dovecot does not run as root, everything is the one user.
USERS = """
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
"""


def _free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def _users():
    if os.geteuid() == 0:
        return ""
    user = pwd.getpwuid(os.geteuid()).pw_name
    return USERS.format(user=user, group=grp.getgrgid(os.getegid()).gr_name)


class Dovecot:
    """Serves a place's mail. `outside`: which of Dovecot's own files are kept in another directory, of
    INDEX and CONTROL."""

    def __init__(self, place, outside=()):
        self.place = place
        self.log = f"{place.base}/dovecot.log"
        more = "".join(f":{what}=%h/{what.lower()}" for what in outside)
        self.program = shutil.which("dovecot", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if not self.program:
            pytest.skip("dovecot is not installed")
        self.port = _free_port()
        uid, gid = place.owner
        run = f"{place.base}/run"
        os.makedirs(run, exist_ok=True)
        conf = f"{place.base}/dovecot.conf"
        with open(conf, "w") as f:
            f.write(
                CONF.format(
                    base=place.base, run=run, mail=place.mail, more=more, home=place.home,
                    uid=uid, gid=gid, port=self.port, users=_users(),
                )  # fmt: skip
            )
        self.process = subprocess.Popen(
            [self.program, "-F", "-c", conf],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=open(f"{place.base}/dovecot.err", "wb"),
        )
        try:
            until("Dovecot answers", self._answers, tell=self.said)
        except BaseException:
            self.close()
            raise

    def _answers(self):
        assert self.process.poll() is None, self.said()
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def said(self):
        text = ""
        for path in (f"{self.place.base}/dovecot.err", self.log):
            if os.path.exists(path):
                with open(path, errors="replace") as f:
                    text += f.read()[-4000:]
        return text

    def complaints(self):
        """What it logged and should not have had to."""
        bad = re.compile("Error|Warning|Panic|Fatal")
        return [line for line in self.said().splitlines() if bad.search(line)]

    @contextlib.contextmanager
    def session(self):
        imap = Imap(self.port)
        try:
            imap.ok(imap.login("bert", "secret"))
            yield imap
            imap.logout()
        except BaseException:
            imap.shutdown()
            raise

    def close(self):
        end(self.process)


class Imap(imaplib.IMAP4):
    """Every answer has to come in time, and to be OK."""

    def __init__(self, port):
        super().__init__("127.0.0.1", port, timeout=PATIENCE)

    @staticmethod
    def ok(answer):
        assert answer[0] == "OK", answer
        return [line for line in answer[1] if line is not None]

    def open_mailbox(self, name):
        """The number of messages."""
        return int(self.ok(self.select(name))[0])

    def flags(self, uids="1:*"):
        """{uid: flags} without \\Recent, which the first session gets."""
        found = {}
        for line in self.ok(self.uid("FETCH", uids, "(FLAGS)")):
            m = re.search(rb"FLAGS \(([^)]*)\).*UID (\d+)|UID (\d+).*FLAGS \(([^)]*)\)", line)
            words = (m[1] or m[4] or b"").decode().split()
            found[int(m[2] or m[3])] = sorted(w for w in words if w != "\\Recent")
        return found

    def uid_of(self, number):
        """UID of the message with this number in the open mailbox."""
        uids = self.ok(self.uid("SEARCH", "HEADER", "Message-ID", f"<braid-{number}@example.org>"))
        assert len(uids[0].split()) == 1, (number, uids)
        return uids[0].decode()

    def text(self, uid):
        """The body, without marking it seen."""
        return self.ok(self.uid("FETCH", uid, "(BODY.PEEK[TEXT])"))[0][1].decode()

    def store(self, uid, how, *flags):
        self.ok(self.uid("STORE", uid, how, f"({' '.join(flags)})"))

    def folders(self):
        lines = [line.decode() for line in self.ok(self.list())]
        return sorted(line.rsplit(" ", 1)[1].strip('"') for line in lines)

    @contextlib.contextmanager
    def idle(self):
        """IDLE; yields a function that waits for an unasked line that matches."""
        self.send(b"I1 IDLE\r\n")
        assert self.readline().startswith(b"+")

        def told(pattern):
            while not re.search(pattern, line := self.readline().decode()):
                assert line, "the connection ended"

        yield told
        self.send(b"DONE\r\n")
        told("^I1 OK")
