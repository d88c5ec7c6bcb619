"""A place where mail programs work: a plain Maildir, or a mount of a store with the same mail.

Both have the same methods, so that one script runs in either. What a script does inside
`with place.change(...)` must be exactly these transactions of the log; a plain Maildir has no log.
"""

import contextlib
import json
import os
import shutil
import subprocess
import time

from support import maildir
from support.programs import end, mailbraid, run
from support.wait import until

# Housekeeping that no program asked for; Dovecot gives UIDs when it likes (test_uids_dovecot.py).
UNASKED = ("mailbox-state", "digest", "peer", "peer-entry", "replica", "renumber")


class Plain:
    """An ordinary directory."""

    mounted = False

    def __init__(self, base, owner=None):
        """`owner` (uid, gid): everything is given to this user."""
        self.base = base
        self.owner = owner
        self.home = os.path.join(base, "home")
        self.mail = os.path.join(base, "mail")
        os.makedirs(self.home, mode=0o700)
        os.mkdir(self.mail, mode=0o700)
        maildir.seed(self.mail)
        self.env = dict(os.environ, HOME=self.home, LC_ALL="C.UTF-8", TZ="UTC", MAIL=self.mail)
        for name in ("MAILDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "NOTMUCH_CONFIG", "TMUX"):
            self.env.pop(name, None)
        self._give(base)

    def _give(self, top):
        if not self.owner:
            return
        os.chown(top, *self.owner)
        for directory, folders, files in os.walk(top):
            for name in folders + files:
                os.chown(os.path.join(directory, name), *self.owner)

    def deliver(self, number, folder=""):
        """A new message, as an MDA delivers it."""
        return maildir.put(self.mail, number, folder, owner=self.owner)

    def run(self, *argv, **more):
        """Runs a program with this place's environment; its output."""
        more.setdefault("env", self.env)
        return run(*argv, cwd=self.home, **more)

    @contextlib.contextmanager
    def change(self, by=None, **count):
        """What is done inside is these transactions, no others (change(by, flags=1, expunge=2))."""
        yield

    def tree(self, **how):
        return maildir.tree(self.mail, **how)

    def close(self):
        pass


class Mounted(Plain):
    """The same mail in a store, mounted. More arguments go to `mailbraid mount`."""

    mounted = True

    def __init__(self, base, *arguments, owner=None):
        super().__init__(base, owner)
        self.daemon = None
        self.store = os.path.join(base, "store")
        run(mailbraid(), "--store", self.store, "init")
        self.backing = os.path.join(self.store, "mail")
        shutil.rmtree(self.backing)
        os.rename(self.mail, self.backing)
        os.mkdir(self.mail, mode=0o700)
        self._give(self.mail)
        try:
            self.mount(*arguments)
        except BaseException:
            self.close()
            raise

    def mount(self, *arguments):
        self.said = open(os.path.join(self.base, "messages"), "ab")
        self.daemon = subprocess.Popen(
            [mailbraid(), "--store", self.store, "mount", "-f", *arguments, self.mail],
            stdin=subprocess.DEVNULL,
            stdout=self.said,
            stderr=subprocess.STDOUT,
        )
        until("the mount answers", self._answers, tell=self.messages)

    def _answers(self):
        assert self.daemon.poll() is None, f"mount ended: {self.messages()}"
        try:
            return os.path.ismount(self.mail) and os.path.isdir(os.path.join(self.mail, "cur"))
        except OSError:
            return False

    def messages(self):
        with open(os.path.join(self.base, "messages"), errors="replace") as f:
            return f.read()[-4000:]

    def close(self):
        """Ends the mount, also one that hangs."""
        if self.daemon:
            end(self.daemon)
            self.said.close()
            self.daemon = None
        if os.path.ismount(self.mail):
            for command in (["fusermount3", "-uz", self.mail], ["umount", "-l", self.mail]):
                if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                    break

    # ---- the log ---------------------------------------------------------------------------------

    def log(self, since=None):
        """Records of the log, oldest first: all, or those after the record `since`."""
        out = run(mailbraid(), "--store", self.store, "log", "--all", "--json", "-n", "0")
        records = [json.loads(line) for line in out.splitlines()]
        return [
            r
            for r in records
            if r["what"] not in UNASKED and (since is None or r["modseq"] > since["modseq"])
        ]

    @contextlib.contextmanager
    def change(self, by=None, **count):
        before = self.log()
        last = before[-1] if before else {"modseq": 0}
        yield
        expected = {what.replace("_", "-"): n for what, n in count.items()}
        self._look(last, expected)
        records = self.log(last)
        if by:
            assert {r["program"] for r in records} <= {by}, self.show(records)
            assert all(r["pid"] and r["here"] for r in records), self.show(records)

    def _look(self, last, expected):
        """Waits for the records, and some time more in case too many come."""

        def counted():
            found = {}
            for r in self.log(last):
                found[r["what"]] = found.get(r["what"], 0) + 1
            return found

        deadline = time.monotonic() + 5
        while counted() != expected and time.monotonic() < deadline:
            time.sleep(0.05)
        assert counted() == expected, f"expected {expected}\n{self.show(self.log(last))}"

    @staticmethod
    def show(records):
        return "\n".join(
            f"{r['program']}[{r['pid']}] {r['what']} {r['mailbox']} {r['flags']}"
            f" {r['old_name']} -> {r['new_name']}"
            for r in records
        )
