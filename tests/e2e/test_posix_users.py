"""Who may do what, and to whom things belong: root and two users, in the mount as in any directory."""

import os
import socket
import stat

import pytest

from support.stage import EXCHANGE, make, need_root, rename2, stage

__all__ = ["stage"]
ANN, BOB, TEAM, CLUB = 65531, 65532, 65540, 65541


@pytest.fixture(autouse=True)
def users():
    need_root()


def mine(path, owner, mode, kind="file", group=None):
    """Something that belongs to this user."""
    if kind == "file":
        make(path, b"0123456789")
    elif kind == "directory":
        os.mkdir(path)
    elif kind == "fifo":
        os.mkfifo(path)
    os.chown(path, owner, owner if group is None else group)
    os.chmod(path, mode)
    return path


def opened(path, flags, mode=0o644):
    os.close(os.open(path, flags | os.O_NONBLOCK, mode))


def test_new_things_belong_to_who_makes_them(stage):
    def story(t):
        os.chmod(".", 0o777)
        for uid, gid, groups in ((ANN, ANN, ()), (BOB, TEAM, (CLUB,)), (0, TEAM, ())):
            with t.user(uid, gid, groups):
                for umask in (0o022, 0o077, 0o000):
                    os.umask(umask)
                    name = f"{uid}-{gid}-{umask}-"
                    t(make, name + "file", b"x", 0o777)
                    t(make, name + "set", b"x", 0o6777)
                    t(os.mkdir, name + "dir", 0o1777)
                    t(os.mkfifo, name + "fifo", 0o666)
                    t(os.mknod, name + "node", 0o4755 | stat.S_IFREG)
                    t(os.symlink, "x", name + "link")
                    with socket.socket(socket.AF_UNIX) as s:
                        t(s.bind, name + "socket")
                    t(os.mknod, name + "char", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
                    t(os.link, name + "file", name + "hard")
        t.stat(*sorted(os.listdir(".")))
    stage.same(story)


@pytest.mark.parametrize("mode", [0o2777, 0o3777, 0o777])
def test_set_group_directories(stage, mode):
    """The group is the directory's; directories made in them are such; who is not in that group makes no
    set-group-ID file."""
    def story(t):
        mine("d", 0, mode, "directory", TEAM)
        os.umask(0)
        for uid, gid, groups in ((ANN, ANN, ()), (BOB, BOB, (TEAM,)), (0, 0, ())):
            with t.user(uid, gid, groups):
                for name, bits in (("a", 0o644), ("g", 0o2775), ("n", 0o2745), ("u", 0o6777)):
                    t(make, f"d/{uid}{name}", b"", bits)
                    t(os.mkdir, f"d/{uid}{name}-dir", bits)
                    t(os.mknod, f"d/{uid}{name}-node", bits | stat.S_IFREG)
                    t(os.mkfifo, f"d/{uid}{name}-fifo", bits)
                t(os.symlink, "x", f"d/{uid}-link")
                t(os.mkdir, f"d/{uid}a-dir/in")
                t(make, f"d/{uid}a-dir/in/f")
                t.stat(f"d/{uid}a-dir/in", f"d/{uid}a-dir/in/f")
        t.stat("d", *(f"d/{name}" for name in sorted(os.listdir("d"))))
    stage.same(story)


def test_searching_and_writing_directories(stage):
    """EACCES for each call, by the modes of the directory on the way."""
    calls = {
        "stat": lambda d: t_stat(d + "/f"),
        "open": lambda d: opened(d + "/f", os.O_RDONLY),
        "create": lambda d: make(d + "/new"),
        "mkdir": lambda d: os.mkdir(d + "/newd"),
        "mkfifo": lambda d: os.mkfifo(d + "/newp"),
        "symlink": lambda d: os.symlink("x", d + "/newl"),
        "link from": lambda d: os.link(d + "/f", "linked"),
        "link to": lambda d: os.link("mine", d + "/newh"),
        "rename within": lambda d: os.rename(d + "/f", d + "/f2"),
        "rename out": lambda d: os.rename(d + "/f2", "out"),
        "rename in": lambda d: os.rename("out", d + "/f"),
        "exchange": lambda d: rename2(d + "/f", "mine", EXCHANGE),
        "chmod": lambda d: os.chmod(d + "/f", 0o644),
        "chown": lambda d: os.chown(d + "/f", -1, -1),
        "truncate": lambda d: os.truncate(d + "/f", 1),
        "utimens": lambda d: os.utime(d + "/f"),
        "list": lambda d: len(os.listdir(d)),
        "access": lambda d: os.access(d + "/f", os.F_OK),
        "chdir": lambda d: (os.chdir(d), os.chdir(".."))[0],
        "rmdir": lambda d: os.rmdir(d + "/sub"),
        "unlink": lambda d: os.unlink(d + "/f"),
        "xattr": lambda d: os.setxattr(d + "/f", "user.a", b"v"),
    }

    def t_stat(path):
        return os.stat(path).st_size

    def story(t):
        os.chmod(".", 0o777)
        for mode in range(0, 8):
            for who, shift in ((ANN, 6), (BOB, 3), (BOB, 0)):
                d = f"d{mode}{shift}"
                mine(d, ANN if shift == 6 else 0, 0o777, "directory", TEAM if shift == 3 else 0)
                mine(d + "/f", who, 0o666)
                mine(d + "/sub", who, 0o777, "directory")
                make("mine")
                os.chown("mine", who, who)
                os.chmod(d, mode << shift)
                with t.user(who, who, (TEAM,) if shift == 3 else ()):
                    for name, call in calls.items():
                        t.tell("as", (oct(mode << shift), name))
                        t(call, d)
                for left in ("linked", "out", "mine"):
                    if os.path.lexists(left):
                        os.unlink(left)
                t.stat(d)
    stage.same(story)


def test_modes_of_files(stage):
    def story(t):
        os.chmod(".", 0o777)
        for mode in (0o000, 0o100, 0o200, 0o400, 0o600, 0o070, 0o060, 0o007, 0o006, 0o004, 0o002, 0o001, 0o466, 0o606):
            for kind in ("file", "fifo", "directory"):
                name = mine(f"{kind}{mode:o}", ANN, mode, kind, TEAM)
                for uid, groups in ((ANN, ()), (BOB, (TEAM,)), (BOB, ()), (0, ())):
                    with t.user(uid, uid, groups):
                        t.tell("as", (uid, groups))
                        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
                            t(opened, name, flags)
                        for want in (os.R_OK, os.W_OK, os.X_OK, os.F_OK):
                            t(os.access, name, want)
                        if kind == "file":
                            t(os.truncate, name, 4)
                            t(opened, name, os.O_RDONLY | os.O_TRUNC)
                            t(opened, name, os.O_WRONLY | os.O_TRUNC)
                        t(os.getxattr, name, "user.a")
                        t(os.setxattr, name, "user.a", b"v")
                t.stat(name)
    stage.same(story)


def test_a_file_without_rights_is_open_to_who_makes_it(stage):
    def story(t):
        os.chmod(".", 0o777)
        for uid in (ANN, 0):
            with t.user(uid):
                for mode in (0o000, 0o200, 0o400, 0o444):
                    name = f"{uid}-{mode:o}"
                    fd = t(os.open, name, os.O_CREAT | os.O_RDWR, mode)
                    t(os.write, fd, b"abc")
                    t(os.pread, fd, 3, 0)
                    t(os.ftruncate, fd, 2)
                    t(os.fsync, fd)
                    t.stat(fd)
                    t(opened, name, os.O_RDWR)
                    os.close(fd)
    stage.same(story)


def test_chmod(stage):
    def story(t):
        os.chmod(".", 0o777)
        for kind in ("file", "fifo", "directory"):
            for mode in (0o000, 0o777, 0o1777, 0o2777, 0o4777, 0o7777, 0o2070, 0o10644):
                for uid, gid, groups in ((ANN, ANN, ()), (ANN, ANN, (TEAM,)), (ANN, TEAM, ()), (BOB, TEAM, ()), (0, 0, ())):
                    name = mine(f"{kind}-it", ANN, 0o755, kind, TEAM)
                    with t.user(uid, gid, groups):
                        t.touches([name], os.chmod, name, mode) if kind == "file" and mode == 0o777 else t(os.chmod, name, mode)
                    t.stat(name)
                    (os.rmdir if kind == "directory" else os.unlink)(name)
        name = mine("f", ANN, 0o644)
        os.symlink("f", "l")
        fd = os.open("f", os.O_RDONLY)
        with t.user(ANN):
            t(os.fchmod, fd, 0o640)
            t(os.chmod, "l", 0o600)
        with t.user(BOB):
            t(os.fchmod, fd, 0o666)
            t(os.chmod, "l", 0o666)
        t.stat("f", "l")
    stage.same(story)


def test_chown(stage):
    def story(t):
        os.chmod(".", 0o777)
        for kind in ("file", "fifo", "directory"):
            for mode in (0o644, 0o6755, 0o6745, 0o2754, 0o4755):
                for uid, gid, groups in ((ANN, ANN, ()), (ANN, ANN, (TEAM,)), (BOB, TEAM, (TEAM,)), (0, 0, ())):
                    for owner, group in ((ANN, -1), (-1, TEAM), (-1, CLUB), (BOB, -1), (BOB, TEAM), (-1, -1), (ANN, ANN), (0, 0)):
                        name = mine("it", ANN, mode, kind)
                        with t.user(uid, gid, groups):
                            t(os.chown, name, owner, group)
                        t.stat(name)
                        (os.rmdir if kind == "directory" else os.unlink)(name)
        os.symlink("none", "l")
        os.lchown("l", ANN, ANN)
        for uid, groups in ((ANN, (TEAM,)), (BOB, ())):
            with t.user(uid, uid, groups):
                t(os.lchown, "l", -1, TEAM)
                t(os.lchown, "l", BOB, -1)
                t(os.chown, "l", -1, TEAM)
        t.stat("l")
    stage.same(story)


def test_sticky_directories(stage):
    """Only the owner of the entry, or of the directory, removes and renames."""
    def story(t):
        os.chmod(".", 0o777)
        for owner in (ANN, BOB, 0):
            for theirs in (ANN, BOB):
                for kind in ("file", "directory", "fifo"):
                    mine("d", owner, 0o1777, "directory")
                    mine("d/it", theirs, 0o666 if kind == "file" else 0o777, kind)
                    mine("d/own", ANN, 0o777, "directory" if kind == "directory" else "file")
                    with t.user(ANN):
                        t.tell("case", (owner, theirs, kind))
                        t(os.rename, "d/it", "d/x")
                        t(os.rename, "d/x", "d/it")
                        t(os.rename, "d/own", "d/it")
                        t(rename2, "d/own", "d/it", EXCHANGE)
                        t(rename2, "d/it", "d/own", EXCHANGE)
                        t(os.rename, "d/it", "out")
                        t(os.rename, "out", "d/it")
                        t(os.unlink, "d/it")
                        t(os.rmdir, "d/it")
                    for place, folders, files in os.walk(".", topdown=False):
                        for name in files:
                            os.unlink(os.path.join(place, name))
                        for name in folders:
                            os.rmdir(os.path.join(place, name))
        mine("d", 0, 0o1777, "directory")
        mine("s", ANN, 0o1777, "directory")
        for name in ("d/ann", "s/bob"):
            mine(name, ANN if name == "d/ann" else BOB, 0o755, "directory")
        with t.user(ANN):
            t(os.rename, "s/bob", "d/bob")
            t(os.rename, "d/bob", "s/bob")
        with t.user(BOB):
            t(os.rename, "d/ann", "d/away")
        t.list("d")
    stage.same(story)


def test_a_directory_that_moves_must_be_writable(stage):
    """Its .. changes: EACCES for who may not write it."""
    def story(t):
        os.chmod(".", 0o777)
        mine("from", ANN, 0o755, "directory")
        mine("to", ANN, 0o755, "directory")
        for mode in (0o755, 0o555):
            mine("from/d", ANN, mode, "directory")
            with t.user(ANN):
                t(os.rename, "from/d", "from/e")
                t(os.rename, "from/e", "to/e")
            os.rmdir("from/e" if os.path.exists("from/e") else "to/e")
        mine("from/d", BOB, 0o755, "directory")
        with t.user(ANN):
            t(os.rename, "from/d", "to/d")
            t(os.rename, "from/d", "from/e")
            t(os.rmdir, "from/e")
        t.list("from")
        t.list("to")
    stage.same(story)


WAYS = {
    "write": lambda p: write_to(p, b"x"),
    "write nothing": lambda p: write_to(p, b""),
    "truncate": lambda p: os.truncate(p, 3),
    "truncate to the same": lambda p: os.truncate(p, 10),
    "open to truncate": lambda p: opened(p, os.O_WRONLY | os.O_TRUNC),
    "allocate": lambda p: with_fd(p, lambda fd: os.posix_fallocate(fd, 0, 100)),
    "chown to oneself": lambda p: os.chown(p, ANN, ANN),
    "chgrp": lambda p: os.chown(p, -1, TEAM),
    "chown nothing": lambda p: os.chown(p, -1, -1),
    "copy": lambda p: with_fd(p, lambda fd: os.copy_file_range(os.open("source", os.O_RDONLY), fd, 5)),
    "set an attribute": lambda p: os.setxattr(p, "user.a", b"v"),
    "times": lambda p: os.utime(p, ns=(1, 2)),
    "link": lambda p: (os.link(p, "linked"), os.unlink("linked"))[0],
    "rename": lambda p: (os.rename(p, "renamed"), os.rename("renamed", p))[0],
}


def with_fd(path, call):
    fd = os.open(path, os.O_RDWR)
    try:
        return call(fd)
    finally:
        os.close(fd)


def write_to(path, data):
    return with_fd(path, lambda fd: os.write(fd, data))


@pytest.mark.parametrize("uid", [ANN, BOB, 0])
def test_set_id_bits_that_go(stage, uid):
    """Whoever is not root takes them away by each change of the content. The set-group-ID bit of a file that
    its group may not execute stays when another changes it: the kernel does not tell of it."""
    modes = (0o6777, 0o4777, 0o2777, 0o1777) + (() if uid == BOB else (0o6767, 0o2767))

    def story(t):
        os.chmod(".", 0o777)
        make("source", b"source")
        for mode in modes:
            for name, way in WAYS.items():
                path = mine("it", ANN, mode, group=TEAM if name != "chown to oneself" else ANN)
                with t.user(uid, uid, (TEAM,) if uid == ANN else ()):
                    t.tell("way", (oct(mode), name))
                    t(way, path)
                t.stat(path)
                os.unlink(path)
    stage.same(story)


def test_times_of_others(stage):
    """To the present with the right to write, to anything by the owner."""
    def story(t):
        os.chmod(".", 0o777)
        for mode in (0o666, 0o644):
            path = mine(f"f{mode:o}", ANN, mode)
            for uid in (ANN, BOB, 0):
                with t.user(uid):
                    t(os.utime, path)
                    t(os.utime, path, ns=(10, 20))
                t.tell("time", os.stat(path).st_mtime_ns == 20)
    stage.same(story)


def test_linking_what_belongs_to_others(stage):
    def story(t):
        os.chmod(".", 0o777)
        for mode in (0o666, 0o644, 0o600, 0o4666):
            path = mine(f"f{mode:o}", ANN, mode)
            for uid in (ANN, BOB, 0):
                with t.user(uid):
                    t(os.link, path, f"{path}-{uid}")
            t.stat(path)
    stage.same(story)


def test_descriptors_outlive_rights(stage):
    def story(t):
        os.chmod(".", 0o777)
        mine("f", ANN, 0o600)
        mine("d", ANN, 0o700, "directory")
        with t.user(ANN):
            fd = os.open("f", os.O_RDWR)
            at = os.open("d", os.O_RDONLY)
        os.chown("f", 0, 0)
        os.chmod("f", 0)
        os.chmod("d", 0)
        with t.user(ANN):
            t(os.write, fd, b"mine")
            t(os.pread, fd, 4, 0)
            t(os.ftruncate, fd, 2)
            t(os.fchmod, fd, 0o777)
            t(os.listdir, at)
            t(os.mkdir, "x", dir_fd=at)
            t(opened, "f", os.O_RDONLY)
        t.stat("f", "d")
    stage.same(story)


def test_programs_run(stage):
    def story(t):
        os.chmod(".", 0o777)
        with open("/bin/true", "rb") as f:
            make("true", f.read(), 0o755)
        make("script", b"#!/bin/sh\nexit 3\n", 0o755)

        def run(path):
            pid = os.fork()
            if pid == 0:
                try:
                    os.execv(path, [path])
                except OSError as e:
                    os._exit(100 + e.errno)
            return os.waitpid(pid, 0)[1] >> 8

        for path in ("./true", "./script"):
            for uid in (ANN, 0):
                with t.user(uid):
                    t(run, path)
        fd = os.open("true", os.O_RDWR)
        t(run, "./true")
        os.close(fd)
        t(run, "./true")
        os.chmod("true", 0o644)
        t(run, "./true")
        with open("/bin/sleep", "rb") as f:
            make("sleep", f.read(), 0o755)
        pid = os.fork()
        if pid == 0:
            os.execv("./sleep", ["sleep", "60"])
        while "sleep" not in open(f"/proc/{pid}/comm").read():
            pass
        t(opened, "sleep", os.O_WRONLY)
        t(os.truncate, "sleep", 0)
        t(os.unlink, "sleep")
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    stage.same(story)


def test_traps_in_shared_directories(stage):
    """The kernel's protections: links and files of others in a sticky directory."""
    def story(t):
        os.chmod(".", 0o777)
        mine("shared", 0, 0o1777, "directory")
        make("there")
        with t.user(ANN):
            os.symlink("../there", "shared/link")
        mine("shared/file", ANN, 0o666)
        mine("shared/fifo", ANN, 0o666, "fifo")
        for uid in (BOB, 0, ANN):
            with t.user(uid):
                t(opened, "shared/link", os.O_RDONLY)
                for name in ("file", "fifo"):
                    t(opened, f"shared/{name}", os.O_CREAT | os.O_RDWR)
                    t(opened, f"shared/{name}", os.O_RDWR)
                t(os.link, "there", f"shared/hard{uid}")
                t(os.open, "there", os.O_RDONLY | os.O_NOATIME)
    stage.same(story)
