"""Two mailboxes and the program that keeps them in step: Dovecot's doveadm, or mailbraid.

Both pairs have the same operations, told by the text of a message, so that one story is played to
either.  In Dovecot's pair every change is made by Dovecot itself, through doveadm, as an IMAP client
would have it made: nothing happens behind its back.  No server runs.  In ours the changes are what mail
programs do to files.
"""

import os
import pwd
import shutil
import subprocess

from support.replica import Replica, run, split

PATIENCE = 60
WORDS = {"D": "\\Draft", "F": "\\Flagged", "R": "\\Answered", "S": "\\Seen", "T": "\\Deleted"}
CONF = """
log_path = /dev/stderr
ssl = no
protocols =
base_dir = {base}/run
state_dir = {base}/run
mail_home = {base}/home
first_valid_uid = 0
first_valid_gid = 0
mail_uid = {uid}
mail_gid = {gid}
default_internal_user = {user}
default_login_user = {user}
mail_location = maildir:{base}/a
namespace inbox {{
  inbox = yes
  separator = /
}}
"""


def message(text):
    return f"From: a@example.org\nSubject: {text}\nMessage-ID: <{text}@example.org>\n\n{text}\n".encode()


def find_file(tree, text, folder):
    """(directory, file name) of the message with this text."""
    for sub in ("cur", "new"):
        directory = os.path.join(tree.folder(folder), sub)
        for name in os.listdir(directory):
            with open(os.path.join(directory, name), "rb") as f:
                if text_of(f.read()) == text:
                    return directory, name
    raise FileNotFoundError(f"{text} in {folder}")


def text_of(content):
    for line in content.decode("utf-8", "replace").splitlines():
        if line.startswith("Subject: "):
            return line[9:]
    return "?"


class Side:
    """What both kinds of side share: a Maildir in which other programs work too."""

    def unlink(self, text, folder="INBOX"):
        """As mutt expunges."""
        os.unlink(os.path.join(*find_file(self.files, text, folder)))

    def mv(self, old, new):
        """As a file manager renames a folder."""
        self.files.mvfolder(old, new)

    def texts(self):
        """Every message once for each place where it is."""
        return sorted(text for messages in self.told().values() for text, _ in messages)

    def told(self):
        """{folder: sorted [(text, flags)]}, from the files."""
        return {
            folder: sorted((text_of(content), flags) for _, flags, content in messages)
            for folder, messages in self.files.tree().items()
        }


class Tree(Replica):
    """A directory that Dovecot makes when it first needs it."""

    def __init__(self, path):
        self.path = self.mail = path
        self.plain = True
        self.layout = "maildir++"

    def folders(self):
        return super().folders() if os.path.isdir(self.path) else []


class DoveadmSide(Side):
    def __init__(self, pair, name):
        self.pair = pair
        self.path = os.path.join(pair.base, name)
        self.location = "maildir:" + self.path
        self.files = Tree(self.path)

    def doveadm(self, *args, **kw):
        return self.pair.doveadm(self.location, *args, **kw)

    def must(self, *args, **kw):
        done = self.doveadm(*args, **kw)
        assert done.returncode == 0, (args, done.stderr)
        return done

    def deliver(self, text, folder="INBOX"):
        self.must("save", "-m", folder, content=message(text))

    def flag(self, text, change, folder="INBOX"):
        words = [WORDS[f] for f in change[1:]]
        verb = "add" if change[0] == "+" else "remove"
        self.must("flags", verb, " ".join(words), "mailbox", folder, "header", "subject", text)

    def expunge(self, text, folder="INBOX"):
        self.must("expunge", "mailbox", folder, "header", "subject", text)

    def mkfolder(self, name):
        self.must("mailbox", "create", name)

    def mvfolder(self, old, new):
        self.must("mailbox", "rename", old, new)

    def rmfolder(self, name):
        self.must("mailbox", "delete", name)


class Doveadm:
    """A private configuration, no daemon; the peer is opened in the same process, as a location."""

    name = "doveadm"

    def __init__(self, base):
        self.base = str(base)
        os.makedirs(os.path.join(self.base, "home"))
        os.makedirs(os.path.join(self.base, "run"))
        self.conf = os.path.join(self.base, "dovecot.conf")
        self.user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        user = self.user.pw_name
        with open(self.conf, "w", encoding="utf-8") as f:
            f.write(CONF.format(base=self.base, user=user, uid=self.user.pw_uid, gid=self.user.pw_gid))
        self.env = {"PATH": os.environ.get("PATH", ""), "USER": user, "LC_ALL": "C.UTF-8"}
        self.env["HOME"] = os.path.join(self.base, "home")
        self.a, self.b = DoveadmSide(self, "a"), DoveadmSide(self, "b")
        self.given = self.give()
        self.state = ""

    def give(self):
        """Dovecot refuses to read mail as root: then everything is another user's."""
        if os.geteuid() != 0:
            return {}
        who = self.user.pw_uid, self.user.pw_gid
        for folder, folders, names in os.walk(self.base):
            for name in [".", *folders, *names]:
                os.chown(os.path.join(folder, name), *who)
        return {"user": who[0], "group": who[1], "extra_groups": []}

    def doveadm(self, location, *args, content=b""):
        argv = ["doveadm", "-c", self.conf, "-o", "mail_location=" + location, *args]
        return subprocess.run(
            argv, env=self.env, input=content, capture_output=True, timeout=PATIENCE, check=False, **self.given
        )

    def sync(self, *options, verb="sync"):
        """Exit code of one run that A starts; "-s" takes the state along from run to run."""
        if "-s" in options:
            done = self.a.doveadm(verb, *options, self.state, self.b.location)
            self.state = done.stdout.decode().strip()
        else:
            done = self.a.doveadm(verb, *options, self.b.location)
        return done.returncode


class MailbraidSide(Side):
    def __init__(self, path):
        self.files = Replica(path)
        self.count = 0
        self.host = os.path.basename(path)

    def file(self, text, folder):
        return split(find_file(self.files, text, folder)[1])[0]

    def deliver(self, text, folder="INBOX"):
        self.count += 1
        name = f"1700000000.M{self.count}P1.{self.host}"
        self.files.deliver(name, message(text), folder)

    def flag(self, text, change, folder="INBOX"):
        self.files.flag(self.file(text, folder), change, folder)

    def expunge(self, text, folder="INBOX"):
        self.files.expunge(self.file(text, folder), folder)

    def mkfolder(self, name):
        self.files.mkfolder(name)

    def mvfolder(self, old, new):
        self.files.mvfolder(old, new)

    def rmfolder(self, name):
        self.files.rmfolder(name)


class Mailbraid:
    name = "mailbraid"

    def __init__(self, base):
        os.makedirs(base, exist_ok=True)
        self.a = MailbraidSide(os.path.join(base, "a"))
        self.b = MailbraidSide(os.path.join(base, "b"))
        self.state = ""

    def sync(self, *options, verb="sync"):
        more = [self.state] if "-s" in options else []
        done = self.a.files.command(verb, *options, *more, self.b.files.destination, timeout=PATIENCE)
        if more:
            self.state = done.out.strip()
        return done.code


def have_doveadm():
    """Its version, or None."""
    if not shutil.which("doveadm"):
        return None
    try:
        done = subprocess.run(["dovecot", "--version"], capture_output=True, text=True, timeout=PATIENCE)
    except FileNotFoundError:
        done = subprocess.run(["/usr/sbin/dovecot", "--version"], capture_output=True, text=True, timeout=PATIENCE)
    return done.stdout.split()[0] if done.stdout else "?"


def have_verb(verb):
    return run(verb, "--help").code == 0


def faults(pair, wanted):
    """What is not as `wanted` ({folder: {text: flags}}), a sentence each; [] when all is well."""
    found = []
    for who, side in (("A", pair.a), ("B", pair.b)):
        told = side.told()
        for folder in sorted(set(told) | set(wanted)):
            if folder not in wanted:
                found.append(f"{who} has a folder {folder}")
            elif folder not in told:
                found.append(f"{who} has no folder {folder}")
            found += [f"{who} {f}" for f in _messages(folder, told.get(folder, []), wanted.get(folder, {}))]
    return found


def _messages(folder, told, wanted):
    texts = [text for text, _ in told]
    for text in sorted(set(texts) | set(wanted)):
        if text not in texts:
            yield f"lacks {text} in {folder}"
        elif text not in wanted:
            yield f"has {text} in {folder}"
        elif texts.count(text) > 1:
            yield f"has {text} {texts.count(text)} times in {folder}"
        elif dict(told)[text] != wanted[text]:
            yield f"has {text} in {folder} with flags {dict(told)[text] or 'none'}, not {wanted[text] or 'none'}"
