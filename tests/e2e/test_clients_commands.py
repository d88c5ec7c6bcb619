"""mblaze, notmuch, mu, procmail and maildrop: the same commands on a plain Maildir and on a mount.

Each script asserts what the program says and does, in either place; `place.change` asserts what the
log of the mount has got; same() that both trees are equal in the end.
"""

import os
import subprocess

from support import maildir
from support.fixtures import mounted, plain, same, shared  # noqa: F401
from support.programs import need
from support.programs import end as end_process
from support.wait import until


def find(place, number):
    return maildir.find(place.mail, number)


def path(place, number):
    return maildir.path(place.mail, number)


# ---- mblaze --------------------------------------------------------------------------------------


def mblaze_reads(place):
    with place.change():
        assert len(place.run("mdirs", place.mail).splitlines()) == 4
        inbox = place.run("mlist", place.mail)
        assert len(inbox.splitlines()) == 8
        shown = place.run("mscan", "-f", "%s", data=inbox.encode())
        assert sorted(shown.splitlines()) == [maildir.subject(n) for n in range(1, 9)]
        assert maildir.body(4) in place.run("mshow", path(place, 4))


def mblaze_flags(place):
    with place.change("mflag", flags=1):
        place.run("mflag", "-F", path(place, 1))
    assert find(place, 1) == [("", "cur", "FS")]
    with place.change("mflag", flags=1):
        place.run("mflag", "-f", path(place, 1))
    assert find(place, 1) == [("", "cur", "S")]


def mblaze_moves(place):
    with place.change("minc", copy_state=3):  # no longer recent
        assert len(place.run("minc", place.mail).splitlines()) == 3
    assert [find(place, n) for n in (6, 7, 8)] == [[("", "cur", "")]] * 3
    with place.change("mrefile", move=1):
        place.run("mrefile", path(place, 2), f"{place.mail}/.Archive")
    assert find(place, 2) == [(".Archive", "cur", "RS")]
    with place.change("mrefile", arrive=1):
        place.run("mrefile", "-k", path(place, 3), f"{place.mail}/.Archive")
    assert find(place, 3) == [("", "cur", "FS"), (".Archive", "cur", "FS")]


def mblaze_delivers_and_deletes(place):
    with place.change("mdeliver", arrive=1):
        place.run("mdeliver", f"{place.mail}/.Archive", data=maildir.message(30))
    assert find(place, 30) == [(".Archive", "new", "")]  # with an info part, in new/
    with place.change("mkdir", mailbox_create=1):
        place.run("mmkdir", f"{place.mail}/.Lists.new")
    with place.change("mdeliver", arrive=1):
        place.run("mdeliver", f"{place.mail}/.Lists.new", data=maildir.message(31))
    with place.change("mflag", flags=1):
        place.run("mflag", "-T", path(place, 4))
    trashed = place.run("mlist", "-T", place.mail).splitlines()
    assert trashed == [path(place, 4)]
    with place.change("rm", expunge=1):
        place.run("rm", *trashed)
    assert find(place, 4) == []


def mblaze(place):
    mblaze_reads(place)
    mblaze_flags(place)
    mblaze_moves(place)
    mblaze_delivers_and_deletes(place)


def test_mblaze(plain, mounted):  # noqa: F811
    need("mlist", "mscan", "mshow", "mflag", "minc", "mrefile", "mdeliver", "mmkdir")
    mblaze(plain)
    mblaze(mounted)
    same(plain, mounted)


# ---- notmuch -------------------------------------------------------------------------------------

NOTMUCH = """[database]
path={mail}
[user]
name=Bert
primary_email=bert@example.org
[new]
tags=unread;inbox
[search]
exclude_tags=
[maildir]
synchronize_flags=true
"""


def notmuch_reads(place):
    with open(f"{place.home}/.notmuch-config", "w") as f:
        f.write(NOTMUCH.format(mail=place.mail))
    with place.change():
        assert "Added 12 new messages" in place.run("notmuch", "new")
        assert place.run("notmuch", "count", "*").strip() == "12"
        assert maildir.body(7) in place.run("notmuch", "show", "id:braid-7@example.org")
        assert "No new mail" in place.run("notmuch", "new")
        assert place.run("notmuch", "count", "tag:flagged").strip() == "2"


def notmuch_tags(place):
    with place.change("notmuch", flags=1):
        place.run("notmuch", "tag", "+flagged", "-unread", "--", "id:braid-6@example.org")
    assert find(place, 6) == [("", "cur", "FS")]
    with place.change("notmuch", flags=1):
        place.run("notmuch", "tag", "-flagged", "--", "id:braid-6@example.org")
    assert find(place, 6) == [("", "cur", "S")]
    with place.change("notmuch", flags=7):
        place.run("notmuch", "tag", "+replied", "--", "tag:inbox and not tag:unread", "and",
                  "not tag:replied")  # fmt: skip
    assert find(place, 1) == [("", "cur", "RS")]


def notmuch_inserts(place):
    """A delivery, and the rename of its tags."""
    with place.change("notmuch", arrive=1, flags=1):
        place.run("notmuch", "insert", "--folder=.Archive", "+flagged", "-unread",
                  data=maildir.message(30))  # fmt: skip
    assert find(place, 30) == [(".Archive", "cur", "FS")]
    with place.change("notmuch", mailbox_create=1, arrive=1):
        place.run("notmuch", "insert", "--create-folder", "--folder=.Lists.new",
                  data=maildir.message(31))  # fmt: skip
    assert find(place, 31) == [(".Lists.new", "new", None)]


def notmuch_follows(place):
    """What others move and delete, as its users' hooks do."""
    with place.change("mv", move=1):
        place.run("mv", path(place, 3), f"{place.mail}/.Archive/cur/")
    with place.change("rm", expunge=1):
        place.run("rm", path(place, 2))
    said = place.run("notmuch", "new")
    assert "1 file rename" in said and "Removed 1 message" in said
    files = place.run("notmuch", "search", "--output=files", "id:braid-3@example.org")
    assert files.splitlines() == [path(place, 3)]
    assert place.run("notmuch", "count", "*").strip() == "13"


def notmuch(place):
    notmuch_reads(place)
    notmuch_tags(place)
    notmuch_inserts(place)
    notmuch_follows(place)


def test_notmuch(plain, mounted):  # noqa: F811
    need("notmuch")
    notmuch(plain)
    notmuch(mounted)
    same(plain, mounted, ignore=r"\.glass$")


# ---- mu ------------------------------------------------------------------------------------------


class MuServer:
    """What mu4e talks to: commands in, framed answers out."""

    def __init__(self, place):
        self.path = f"{place.home}/answers"
        self.out = open(self.path, "wb")
        self.process = subprocess.Popen(
            ["mu", "server"],
            env=place.env,
            cwd=place.home,
            stdin=subprocess.PIPE,
            stdout=self.out,
            stderr=subprocess.STDOUT,
        )

    def answers(self):
        with open(self.path, "rb") as f:
            return f.read().decode("utf-8", "replace")

    def ask(self, command, answer):
        """One command; waits for the answer that begins so."""
        before = len(self.answers())
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()
        until(answer, lambda: answer in self.answers()[before:], tell=self.answers)

    def close(self):
        self.process.stdin.close()
        end_process(self.process)
        self.out.close()


def mu_reads(place):
    with place.change():
        place.run("mu", "init", "-q", f"--maildir={place.mail}")
        place.run("mu", "index", "-q")
        assert len(place.run("mu", "find", "-f", "l", "subject:number").splitlines()) == 12
        assert maildir.body(7) in place.run("mu", "view", path(place, 7))


def mu_changes(place, server):
    with place.change("mu", flags=1):
        server.ask('(move :msgid "braid-1@example.org" :flags "+F")', "(:update")
    assert find(place, 1) == [("", "cur", "FS")]
    with place.change("mu", flags=1):
        server.ask('(move :msgid "braid-1@example.org" :flags "-F")', "(:update")
    assert find(place, 1) == [("", "cur", "S")]
    with place.change("mu", flags=1):
        server.ask('(move :msgid "braid-6@example.org" :flags "+S-u-N")', "(:update")
    assert find(place, 6) == [("", "cur", "S")]
    with place.change("mu", move=1):
        server.ask('(move :msgid "braid-2@example.org" :maildir "/.Archive")', "(:update")
    assert find(place, 2) == [(".Archive", "cur", "RS")]


def mu_removes(place, server):
    number = 3
    docid = next(
        n for n in range(1, 13) if mu_path(place, server, n) == path(place, number)
    )  # ids follow the order of the directory
    with place.change("mu", expunge=1):
        server.ask(f"(remove :docid {docid})", "(:remove")
    assert find(place, number) == []


def mu_path(place, server, docid):
    before = len(server.answers())
    server.ask(f"(view :docid {docid})", "(:view")
    answer = server.answers()[before:]
    return os.path.normpath(answer.split(':path "', 1)[1].split('"', 1)[0])


def mu_follows(place):
    """Lazily: only directories whose ctime has changed are read."""
    maildir.let_a_second_pass(place.mail)
    with place.change(arrive=1):
        place.deliver(30)
    place.run("mu", "index", "-q", "--lazy-check")
    found = place.run("mu", "find", "-f", "s", "msgid:braid-30@example.org")
    assert found.splitlines() == [maildir.subject(30)]


def mu(place):
    mu_reads(place)
    server = MuServer(place)
    try:
        mu_changes(place, server)
        mu_removes(place, server)
    finally:
        server.close()
    mu_follows(place)


def test_mu(plain, mounted):  # noqa: F811
    need("mu")
    mu(plain)
    mu(mounted)
    same(plain, mounted)


# ---- those that deliver --------------------------------------------------------------------------

PROCMAIL = """MAILDIR={mail}
DEFAULT={mail}/
LOGFILE={home}/log
:0
* ^Subject:.*30
.Archive/
"""

MAILDROP = """DEFAULT="{mail}"
logfile "{home}/log"
if (/^Subject:.*30/)
{{
	to "{mail}/.Archive"
}}
"""


def deliver(place, program, rules, *options):
    rc = f"{place.home}/{program}rc"
    with open(rc, "w") as f:
        f.write(rules.format(mail=place.mail, home=place.home))
    os.chmod(rc, 0o600)
    for number in (30, 31):
        with place.change(program, arrive=1):
            place.run(program, *options, rc, data=maildir.message(number))
    assert find(place, 30) == [(".Archive", "new", None)]
    assert find(place, 31) == [("", "new", None)]
    assert os.stat(path(place, 31)).st_nlink == 1


def test_procmail(plain, shared):  # noqa: F811
    need("procmail")
    deliver(plain, "procmail", PROCMAIL, "-m")
    deliver(shared, "procmail", PROCMAIL, "-m")
    same(plain, shared)


def test_maildrop(plain, shared):  # noqa: F811
    need("maildrop")
    deliver(plain, "maildrop", MAILDROP)
    deliver(shared, "maildrop", MAILDROP)
    same(plain, shared)
