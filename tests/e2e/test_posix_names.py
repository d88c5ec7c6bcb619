"""Calls that make, rename and remove names, and every error that they give: as in any directory."""

import os
import socket
import stat

import pytest

from support.stage import EXCHANGE, NOREPLACE, in_child, make, name_of, read, rename2, stage

DEVICES = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
KINDS = ["file", "directory", "fifo", "socket", "link", "dangling", "loop"] + [
    pytest.param(kind, marks=DEVICES) for kind in ("char", "block")
]
__all__ = ["stage"]


def put(kind, name):
    """Something of this kind."""
    if kind == "file":
        make(name, b"content")
    elif kind == "directory":
        os.mkdir(name, 0o755)
    elif kind == "fifo":
        os.mkfifo(name, 0o644)
    elif kind == "socket":
        s = socket.socket(socket.AF_UNIX)
        s.bind(name)
        s.close()
    elif kind == "link":
        make(name + "-end", b"end")
        os.symlink(name + "-end", name)
    elif kind == "dangling":
        os.symlink("nowhere", name)
    elif kind == "loop":
        os.symlink(name, name)
    else:
        os.mknod(name, 0o600 | (stat.S_IFCHR if kind == "char" else stat.S_IFBLK), os.makedev(1, 3))


def touch(path):
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_NONBLOCK, 0o644))


def bind(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)


# One argument each; what the call makes or looks at is at this path.
CALLS = {
    "chmod": lambda p: os.chmod(p, 0o640),
    "chown": lambda p: os.chown(p, 12, 13),
    "lchown": lambda p: os.lchown(p, 12, 13),
    "link from": lambda p: os.link(p, "linked"),
    "link to": lambda p: os.link("other", p),
    "mkdir": os.mkdir,
    "mkfifo": os.mkfifo,
    "mknod": lambda p: os.mknod(p, 0o644 | stat.S_IFREG),
    "open": lambda p: os.close(os.open(p, os.O_RDONLY | os.O_NONBLOCK)),
    "open to write": lambda p: os.close(os.open(p, os.O_RDWR | os.O_NONBLOCK)),
    "create": touch,
    "create new": lambda p: os.close(os.open(p, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)),
    "open no link": lambda p: os.close(os.open(p, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)),
    "open directory": lambda p: os.close(os.open(p, os.O_RDONLY | os.O_DIRECTORY)),
    "open path": lambda p: os.close(os.open(p, os.O_PATH)),
    "rename from": lambda p: os.rename(p, "renamed"),
    "rename to": lambda p: os.rename("other", p),
    "rename dir to": lambda p: os.rename("other-d", p),
    "rename no replace": lambda p: rename2("other", p, NOREPLACE),
    "exchange": lambda p: rename2("other", p, EXCHANGE),
    "rmdir": os.rmdir,
    "symlink": lambda p: os.symlink("there", p),
    "readlink": os.readlink,
    "truncate": lambda p: os.truncate(p, 3),
    "unlink": os.unlink,
    "utimens": lambda p: os.utime(p, ns=(1, 2)),
    "access": lambda p: os.access(p, os.R_OK),
    "stat": lambda p: (os.stat(p), None)[1],
    "listdir": lambda p: len(os.listdir(p)),
    "setxattr": lambda p: os.setxattr(p, "user.a", b"v"),
    "listxattr": lambda p: [n for n in os.listxattr(p) if n.startswith("user.")],
    "bind": bind,
    "statvfs": lambda p: os.statvfs(p).f_namemax,
}


def each_call(t, place, path, prepare=None):
    """Each call in a new directory `place`-N, which `prepare` fills; what it leaves there."""
    above = os.getcwd()
    for n, (name, call) in enumerate(CALLS.items()):
        os.mkdir(f"{place}-{n}")
        os.chdir(f"{place}-{n}")
        make("other", b"other")
        os.mkdir("other-d")
        if prepare:
            prepare()
        try:
            got = call(path)
        except OSError as e:
            got = name_of(e)
        t.tell(f"{name} {place} {path[:20]}", got)
        t.stat(*sorted(os.listdir(".")))
        os.chdir(above)


@pytest.mark.parametrize("kind", KINDS)
def test_each_call_on_each_kind(stage, kind):
    """What is there already: EEXIST, EISDIR, ENOTDIR, ELOOP, EINVAL, ENXIO."""
    stage.same(lambda t: each_call(t, kind, "it", lambda: put(kind, "it")))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_a_directory_is_not_walked_through(stage, kind):
    stage.same(lambda t: each_call(t, kind, "it/in", lambda: put(kind, "it")))


@pytest.mark.parametrize("path", ["none", "none/in", ".", "..", "other-d/.", "other-d/..", "new/", "other/", "other-d/", "./other"])
def test_each_call_on_special_paths(stage, path):
    stage.same(lambda t: each_call(t, "special", path))


@pytest.mark.parametrize("length", [255, 256])
def test_names_as_long_as_may_be(stage, length):
    stage.same(lambda t: each_call(t, "long", "n" * length))
    stage.same(lambda t: each_call(t, "made", "n" * length, lambda: length > 255 or make("n" * length)))


def test_links_that_lead_on(stage):
    def story(t):
        make("end", b"e")
        os.symlink(".", "here")
        for n in (39, 40, 41):
            t(CALLS["stat"], "here/" * n + "end")
        os.symlink("b", "a")
        os.symlink("a", "b")
        for name in ("chmod", "truncate", "open", "create", "link from", "stat", "utimens", "unlink"):
            t(CALLS[name], "a/x")
            t(CALLS[name], "a")
        os.symlink("end", "to")
        t(os.link, "to", "hard", follow_symlinks=False)
        t(os.link, "to", "soft", follow_symlinks=True)
        t.stat("to", "hard", "soft", "end")
        t(os.lchown, "to", -1, -1)
        t(os.utime, "to", ns=(7, 8), follow_symlinks=False)
        t.tell("time", os.lstat("to").st_mtime_ns)
        for size in (1, 1023, 4095):
            t(os.symlink, "t" * size, f"l{size}")
            t.tell("target", len(os.readlink(f"l{size}")))
            t.stat(f"l{size}")
        t(os.symlink, "t" * 4096, "l4096")
        t(os.symlink, "", "l0")
        t(os.symlink, b"\xff\n \xfe", "odd")
        t(os.readlink, b"odd")
    stage.same(story)


def test_names_of_any_bytes(stage):
    def story(t):
        for name in (b"\xff\xfe", b"a\nb", b" ", b"\\", b"\t", b"...", b"-x", b"\x01", b"a:2,S", b"\xc3\xa9", b"e\xcc\x81", b"A", b"a"):
            t(make, name)
            t(os.rename, name, name + b"2")
            t(os.mkdir, name)
        t.list(b".")
    stage.same(story)


def test_rename_over_each_kind(stage):
    kinds = ["file", "directory", "fifo", "socket", "dangling"]

    def story(t):
        for old in kinds:
            for new in kinds:
                for flags in (0, NOREPLACE, EXCHANGE):
                    put(old, "old")
                    put(new, "new")
                    t.tell("from, to", (old, new))
                    t(rename2, "old", "new", flags)
                    t.stat("old", "new")
                    for left in os.listdir("."):
                        (os.rmdir if os.path.isdir(left) and not os.path.islink(left) else os.unlink)(left)
    stage.same(story)


def test_rename_of_directories(stage):
    def story(t):
        for path in ("a/b/c", "full/in", "empty"):
            os.makedirs(path)
        make("full/f")
        for old, new in (
            ("a", "a/b"), ("a", "a/b/c/d"), ("a/b", "a"), ("a", "full"), ("a", "empty"), ("empty", "full"),
            ("empty/b", "empty/b"), ("empty/b/c", "empty"), ("full", "."), (".", "x"), ("full", "full/.."),
            ("full/..", "x"), ("full/f", "full/in"), ("full/in", "full/f"), ("none", "x"), ("full", "none/x"),
        ):
            t(os.rename, old, new)
        t(rename2, "full", "full/in", EXCHANGE)
        t(rename2, "full/in", "full", EXCHANGE)
        t(rename2, "empty", "full", EXCHANGE)
        t.stat(".", "empty", "full", "full/in", "full/b", "empty/in", "full/b/c")
        t(rename2, "full", "full", NOREPLACE)
        t(rename2, "full", "full", EXCHANGE)
        t(rename2, "full", "other", NOREPLACE)
        t(rename2, "other", "x", NOREPLACE | EXCHANGE)
        t(rename2, "other", "none", EXCHANGE)
        t.stat(".", "other", "other/b")
    stage.same(story)


def test_rename_between_names_of_one_file(stage):
    def story(t):
        make("a", b"one")
        os.link("a", "b")
        for flags in (0, NOREPLACE, EXCHANGE):
            t(rename2, "a", "b", flags)
            t.stat("a", "b")
        os.mkdir("d")
        os.link("a", "d/c")
        t(os.rename, "d/c", "a")
        t.stat("a", "b", "d/c")
        t(rename2, "d/c", "a", EXCHANGE)
        t(os.unlink, "a")
        t(os.rename, "d/c", "b2")
        t.stat("b", "b2", "d")
        t.list()
        t.tell("same", os.stat("b").st_ino == os.stat("b2").st_ino)
    stage.same(story)


def test_counts_of_links(stage):
    def story(t):
        make("f", b"x")
        for n in range(12):
            t(os.link, "f" if n == 0 else f"l{n - 1}", f"l{n}")
        t.stat("f", "l11")
        fd = os.open("f", os.O_RDWR)
        os.unlink("f")
        for n in range(11, 0, -1):
            os.unlink(f"l{n}")
            t.stat(fd, "l0")
        t(os.rename, "l0", "again")
        t.stat(fd, "again")
        os.unlink("again")
        t.stat(fd)
        t(os.link, f"/proc/self/fd/{fd}", "back", follow_symlinks=True)
        for path in ("d", "d/e", "d/e/f", "d/g"):
            t(os.mkdir, path)
            t.stat(".", "d", "d/e")
        t(os.rename, "d/e", "e")
        t.stat(".", "d", "e")
        t(os.rmdir, "d/g")
        t(os.rename, "e/f", "d")
        t.stat(".", "d", "e")
        t(os.rmdir, "d")
        t(os.rmdir, "e")
        t.stat(".")
    stage.same(story)


def test_directories_that_were_removed(stage):
    """Open, and somebody's working directory: empty, and nothing can be made in them."""
    def story(t):
        os.mkdir("gone")
        fd = os.open("gone", os.O_RDONLY)
        os.chdir("gone")
        t(os.rmdir, "../gone")
        t.stat(fd, ".")
        t(os.listdir, fd)
        t(os.listdir, ".")
        for call in (os.mkdir, os.mkfifo, touch, os.stat, os.unlink, os.rmdir, lambda p: os.symlink("x", p)):
            t.tell("in it", in_child(call, "x"))
        t(os.rename, "../x", "x")
        t(os.fchmod, fd, 0o700)
        t(os.fsync, fd)
        t.list("..")
        os.chdir("..")
        os.mkdir("over")
        os.mkdir("by")
        held = os.open("over", os.O_RDONLY)
        t(os.rename, "by", "over")
        t.stat(held, "over")
        t(os.mkdir, "x", dir_fd=held)
        t(os.mkdir, "over/y")
        t(os.listdir, held)
        t.list("over")
    stage.same(story)


def test_names_between_file_systems(stage):
    def story(t):
        make("f")
        os.mkdir("d")
        for call in (os.rename, os.link):
            t(call, "f", "/dev/shm/mb-posix-x")
            t(call, "/proc/self/stat", "x")
        t(os.rename, "d", "/dev/shm/mb-posix-x")
        t.list()
    stage.same(story)
