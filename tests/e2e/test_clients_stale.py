"""Programs that listed a folder, and then a peer changed flags: the names that they know still do.

In an ordinary directory each of these ends in "No such file or directory".  neomutt and mutt are in
test_clients_live.py and test_clients_screen.py.
"""

import os

import pytest

from support import aerc, maildir
from support.fixtures import linked, plain  # noqa: F401
from support.programs import need
from support.wait import until


def by_peer(linked, number, flags):  # noqa: F811
    """The peer gives it these flags; returns when that is here."""
    os.rename(maildir.path(linked.peer, number), f"{linked.peer}/cur/{maildir.base(number)}:2,{flags}")
    until("the peer's flags", lambda: maildir.find(linked.mail, number) == [("", "cur", flags)],
          tell=linked.messages)  # fmt: skip


def in_step(linked, number, expected):  # noqa: F811
    for root in (linked.mail, linked.peer):
        until(f"{number} is {expected}", lambda root=root: maildir.find(root, number) == expected,
              tell=lambda root=root: (maildir.find(root, number), linked.messages()))  # fmt: skip


# ---- mblaze ------------------------------------------------------------------------------------------


@pytest.fixture
def listed(linked):  # noqa: F811
    """By mlist, before the peer changes anything: path by number."""
    need("mlist", "mshow", "mflag", "mrefile", "mscan")
    paths = linked.run("mlist", linked.mail).splitlines()
    return {n: p for p in paths for n in range(1, 9) if os.path.basename(p).startswith(maildir.base(n))}


def test_mshow_and_mscan_of_an_old_listing(linked, listed):  # noqa: F811
    by_peer(linked, 1, "FS")
    by_peer(linked, 6, "S")  # from new/ to cur/
    for n in (1, 6):
        assert maildir.body(n) in linked.run("mshow", listed[n])
    text = "\n".join(listed[n] for n in sorted(listed)) + "\n"
    shown = linked.run("mscan", "-f", "%s", data=text.encode())
    assert shown.splitlines() == [maildir.subject(n) for n in sorted(listed)]


def test_mflag_of_an_old_listing(linked, listed):  # noqa: F811
    by_peer(linked, 4, "RS")
    linked.run("mflag", "-F", listed[4])
    in_step(linked, 4, [("", "cur", "FRS")])
    by_peer(linked, 3, "FRS")
    linked.run("mflag", "-f", listed[3])
    in_step(linked, 3, [("", "cur", "RS")])


def test_mrefile_of_an_old_listing(linked, listed):  # noqa: F811
    by_peer(linked, 2, "FRS")
    linked.run("mrefile", listed[2], f"{linked.mail}/.Archive")
    in_step(linked, 2, [(".Archive", "cur", "FRS")])


def test_rm_of_an_old_listing(linked, listed):  # noqa: F811
    by_peer(linked, 1, "FS")
    linked.run("rm", listed[1])
    in_step(linked, 1, [])


def test_a_moved_mail_is_out_of_reach_of_an_old_listing(linked, listed):  # noqa: F811
    """As in any directory: what takes its old name away must not take the mail from where it is now."""
    by_peer(linked, 3, "FRS")
    os.rename(maildir.path(linked.peer, 3), f"{linked.peer}/.Archive/cur/{maildir.base(3)}:2,FRS")
    until("the move", lambda: maildir.find(linked.mail, 3) == [(".Archive", "cur", "FRS")])
    linked.run("rm", listed[3], ok=(1,))
    linked.run("mflag", "-T", listed[3], ok=(0, 1))
    in_step(linked, 3, [(".Archive", "cur", "FRS")])


# ---- aerc --------------------------------------------------------------------------------------------


def test_aerc(linked):  # noqa: F811
    """It shows new mail and expunges as they come, and goes on showing old flags, here as anywhere."""
    need("aerc", "tmux")
    screen = aerc.start(linked)
    try:
        maildir.put(linked.peer, 30)
        screen.wait(maildir.subject(30))
        os.unlink(maildir.path(linked.peer, 2))
        screen.wait_gone(maildir.subject(2))
        by_peer(linked, 4, "RS")
        aerc.go_to(screen, 4)
        aerc.command(screen, "flag")
        in_step(linked, 4, [("", "cur", "FRS")])
        by_peer(linked, 1, "FS")
        aerc.go_to(screen, 1)
        aerc.command(screen, "mv Archive")
        in_step(linked, 1, [(".Archive", "cur", "FS")])
        by_peer(linked, 3, "FRS")
        aerc.go_to(screen, 3)
        aerc.command(screen, "delete")
        in_step(linked, 3, [])
        by_peer(linked, 5, "S")
        aerc.go_to(screen, 5)
        read = os.path.join(linked.home, "read")  # :view crashes, now and then, when it is slow
        aerc.command(screen, f"pipe -m -b tee {read}")
        until("the message", lambda: os.path.exists(read) and maildir.body(5) in open(read, encoding="utf-8").read())
    finally:
        screen.close()
