"""Paths as long as a call may name, and trees deeper than that: as in any directory."""

import os
import subprocess

import pytest

from support.daemon import Daemon
from support.programs import mailbraid, need_fuse, run
from support.stage import in_child, make, name_of, read, stage
from test_posix_names import CALLS, touch

__all__ = ["stage"]


def chain(length):
    """A path of `length` bytes, in components of 127."""
    path = ("x" * 127 + "/") * (length // 128 + 1)
    path = path[:length]
    return path[:-1] + "y" if path.endswith("/") else path


@pytest.mark.parametrize("length", [4095, 4096])
def test_paths_as_long_as_may_be(stage, length):
    """Beneath a directory, so that from the root of the mount they are longer."""
    def story(t):
        path = chain(length)
        t(os.makedirs, os.path.dirname(chain(4095)))
        for call in (touch, os.stat, os.mkdir, os.readlink):
            if (call is not os.stat or length > 4095):
                t(call, path)
        if length > 4095:
            return
        for step in ("chmod", "chown", "truncate", "utimens", "open", "link from", "symlink", "mkfifo"):
            t(CALLS[step], path)
        t.stat(path, "linked")
        t(os.rename, path, "short")
        t(os.rename, "short", path)
        t(os.unlink, path)
        for step in ("mkdir", "rmdir", "mkfifo", "unlink", "symlink", "readlink", "unlink", "create", "unlink"):
            t(CALLS[step], path)
        t.list(os.path.dirname(path))
        t(os.link, "linked", path)
        t.stat(path)
        at = os.getcwd()
        os.chdir(os.path.dirname(path))
        t.list()
        t.tell("cwd", os.path.realpath(".") == at + "/" + os.path.dirname(path))
        os.chdir(at)
    stage.same(story)


def test_trees_deeper_than_a_path(stage):
    """By relative steps a tree has no end."""
    def story(t):
        top = os.getcwd()
        for n in range(40):
            os.mkdir("d" * 200)
            os.chdir("d" * 200)
        make("f", b"deep")
        t.tell("read", read("f"))
        t(os.mkdir, "e")
        t(os.rename, "f", "e/g")
        t(os.link, "e/g", "h")
        t(os.symlink, "e/g", "s")
        t.stat("e", "e/g", "h", "s")
        t.tell("read", read("s"))
        t(os.chmod, "h", 0o600)
        t(os.chown, "h", -1, -1)
        t(os.utime, "h", ns=(5, 6))
        t(os.truncate, "h", 2)
        t(os.setxattr, "h", "user.k", b"v")
        t(os.getxattr, "h", "user.k")
        t.list()
        fd = os.open("h", os.O_RDWR)
        t(os.unlink, "h")
        t(os.unlink, "e/g")
        t.stat(fd)
        t(os.pread, fd, 9, 0)
        t(os.rename, "e", "../e")
        t(os.rename, "../e", "../../e")
        t.list("..")
        t(os.rmdir, "../../e")
        t(os.unlink, "s")
        for n in range(40):
            os.chdir("..")
            t(os.rmdir, "d" * 200)
        t.tell("back", os.getcwd() == top)
        t.list()
    stage.same(story)


def descend(path, levels, name="d" * 200):
    """Makes directories in each other, from `path` on; the last is the working directory then."""
    os.chdir(path)
    for _ in range(levels):
        os.mkdir(name)
        os.chdir(name)


def test_where_depth_ends(stage):
    """32 KiB from the root of the mount: said, and all that is there can be removed."""
    top = stage.places("end")[1]

    def fill():
        try:
            descend(top, 400)
        except OSError as e:
            make("f" * 10, b"last")
            return name_of(e), read("f" * 10)
        return None

    assert in_child(fill) == ("ENAMETOOLONG", b"last")
    stage.mount.remount()
    subprocess.run(["rm", "-rf", top], check=True)
    assert not os.path.exists(top)


@pytest.mark.parametrize("layout", ["maildir++", "fs"])
def test_deep_trees_are_no_mailboxes(layout):
    """Also where they look like some; a new start, and its scan, pass them by."""
    need_fuse()
    d = Daemon(layout=layout)
    try:
        os.mkdir(d.path("tree"))

        def fill():
            descend(d.path("tree"), 30)
            for sub in ("cur", "new", "tmp"):
                os.mkdir(sub)
            make("tmp/1.a", b"no mail\n")
            os.rename("tmp/1.a", "new/1.a")
            os.link("new/1.a", "cur/2.a:2,S")
            os.rename("new/1.a", "cur/1.a:2,F")
            os.mkdir("../cur")
            return sorted(os.listdir("cur"))

        def look():
            os.chdir(d.path("tree"))
            for _ in range(30):
                os.chdir("d" * 200)
            return read("cur/1.a:2,F"), sorted(os.listdir("cur")), os.stat("cur/1.a:2,F").st_nlink

        assert in_child(fill) == ["1.a:2,F", "2.a:2,S"]
        d.deliver("3.a")
        d.remount()
        assert in_child(look) == (b"no mail\n", ["1.a:2,F", "2.a:2,S"], 2)
        assert os.listdir(d.path("new")) == ["3.a"]
        status = run(mailbraid(), "--store", d.store, "status")
        assert "dddd" not in status
        subprocess.run(["rm", "-rf", d.path("tree")], check=True)
        assert not os.path.exists(d.path("tree"))
    finally:
        d.close()
