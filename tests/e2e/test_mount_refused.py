"""What a Maildir does not allow: the errors that the manual names, and that nothing has changed then."""

import errno
import os
import socket
import stat

import pytest

from support.stage import EXCHANGE, NOREPLACE, make, read, rename2
from test_posix_crowd import snapshot as tree_of

SUBS = ["cur", "new", "tmp"]


def fails(error, call, *args, **more):
    with pytest.raises(OSError) as why:
        call(*args, **more)
    assert errno.errorcode[why.value.errno] == error, (call, args)


def bind(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)


@pytest.fixture
def mail(d, local):
    """A mailbox with a mail in cur and one in new; the tree must be the same after the test."""
    name = ".Box" + os.path.basename(local).removeprefix("local-test_")
    d.folder(name)
    if not os.path.exists(d.path(".Other")):
        d.folder(".Other")
    d.deliver("1.a", b"new\n", folder=name)
    d.deliver("2.a:2,S", b"seen\n", folder=name, sub="cur")
    make(local + "/f", b"file")
    os.mkdir(local + "/d")
    before = tree_of(d.backing)
    yield d.path(name)
    assert tree_of(d.mnt) == tree_of(d.backing) == before


@pytest.mark.parametrize("sub", SUBS)
def test_only_files_are_made_in_it(mail, sub):
    at = os.path.join(mail, sub)
    fails("EPERM", os.symlink, "x", at + "/x")
    fails("EPERM", os.mkfifo, at + "/x")
    fails("EPERM", bind, at + "/x")
    if os.geteuid() == 0:
        fails("EPERM", os.mknod, at + "/x", 0o600 | stat.S_IFCHR, os.makedev(1, 3))


@pytest.mark.parametrize("sub", SUBS)
def test_only_files_come_to_it(d, local, sub):
    to = ".To-" + sub
    d.folder(to)
    os.symlink("x", local + "/l")
    os.mkfifo(local + "/p")
    for name in ("l", "p"):
        at = d.path(to, sub, name)
        fails("EPERM", os.rename, f"{local}/{name}", at)
        fails("EPERM", os.link, f"{local}/{name}", at, follow_symlinks=False)
        assert os.path.lexists(f"{local}/{name}") and os.listdir(os.path.dirname(at)) == []
        raw = os.path.join(d.backing, to, sub, name)  # put there by others, it can go
        os.rename(os.path.join(d.backing, os.path.relpath(local, d.mnt), name), raw)
        os.rename(at, at + "2")
        os.rename(at + "2", f"{local}/{name}")
        assert os.listdir(os.path.dirname(at)) == []


@pytest.mark.parametrize("sub", SUBS)
def test_its_parts_keep_their_names(d, local, mail, sub):
    for place in (mail, d.mnt):
        at = os.path.join(place, sub)
        for new in (at + "x", local + "/x", local + "/d"):
            fails("EPERM", os.rename, at, new)
        fails("EPERM", rename2, at, local + "/d", EXCHANGE)
        fails("EISDIR", os.unlink, at)
        fails("EISDIR", os.truncate, at, 0)


def test_the_inbox_stays(d):
    fails("EPERM", os.rmdir, d.path("cur"))
    assert os.path.isdir(d.path("cur"))


def test_a_mailbox_with_mail_stays(mail):
    fails("ENOTEMPTY", os.rmdir, mail)
    fails("ENOTEMPTY", os.rmdir, mail + "/new")
    fails("ENOTEMPTY", os.rmdir, mail + "/cur")


def test_new_mail_keeps_cur(d):
    d.folder(".New")
    d.deliver("1.a", folder=".New")
    fails("ENOTEMPTY", os.rmdir, d.path(".New", "cur"))
    assert os.listdir(d.path(".New", "new")) == ["1.a"] and os.listdir(d.path(".New", "cur")) == []


def test_mailboxes_do_not_replace_each_other(d, local, mail):
    fails("ENOTEMPTY", os.rename, mail, d.path(".Other"))
    fails("ENOTEMPTY", os.rename, d.path(".Other"), mail)
    fails("ENOTEMPTY", os.rename, local, mail)
    fails("EEXIST", rename2, mail, local, NOREPLACE)


def test_nothing_of_a_mailbox_is_exchanged(d, local, mail):
    seen = mail + "/cur/2.a:2,S"
    for other_name in (mail + "/new/1.a", local + "/f", local + "/d"):
        fails("EINVAL", rename2, seen, other_name, EXCHANGE)
        fails("EINVAL", rename2, other_name, seen, EXCHANGE)
    fails("EINVAL", rename2, mail, local, EXCHANGE)
    fails("EEXIST", rename2, mail + "/new/1.a", seen, NOREPLACE)
    assert read(seen) == b"seen\n"


def test_names_of_changes_to_come(d, local, mail):
    """Such names in the top directory are those of the sync."""
    name = d.path(".mailbraid-x")
    fails("EPERM", make, name)
    fails("EPERM", os.mkdir, name)
    fails("EPERM", os.symlink, "x", name)
    fails("EPERM", os.rename, local + "/f", name)
    fails("EPERM", os.link, local + "/f", name)
    fails("ENOENT", os.stat, name)
    os.close(os.open(make(local + "/.mailbraid-x"), os.O_RDONLY))
    os.unlink(local + "/.mailbraid-x")


def test_attributes_that_are_told(mail):
    for name in ("user.mailbraid.guid", "user.mailbraid.mine"):
        fails("EPERM", os.setxattr, mail + "/new/1.a", name, b"x")
        fails("EPERM", os.removexattr, mail + "/new/1.a", name)
    fails("ENOTSUP", os.setxattr, mail + "/new/1.a", "security.x", b"x")


def test_directories_in_it_are_no_mail(d, local):
    """They are free places, as a Maildir reader passes them by."""
    d.folder(".With")
    for sub in SUBS:
        at = d.path(".With", sub, "dir")
        os.mkdir(at)
        os.symlink("x", at + "/l")
        make(at + "/f", b"in it")
        os.rename(at, local + "/moved")
        assert sorted(os.listdir(local + "/moved")) == ["f", "l"]
        os.rename(local + "/moved", local + "/" + sub + "-moved")
