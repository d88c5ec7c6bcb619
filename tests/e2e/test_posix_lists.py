"""Listings of many names, while they change; special files."""

import ctypes
import os
import random
import socket
import stat

from support.stage import libc, make, need_root, stage

__all__ = ["stage"]


class Entry(ctypes.Structure):
    _fields_ = [
        ("ino", ctypes.c_ulong), ("off", ctypes.c_long), ("length", ctypes.c_ushort),
        ("type", ctypes.c_ubyte), ("name", ctypes.c_char * 256),
    ]


libc.opendir.restype = ctypes.c_void_p
libc.readdir.restype = ctypes.POINTER(Entry)
libc.telldir.restype = ctypes.c_long


class Stream:
    """A directory stream of the C library."""

    def __init__(self, path):
        self.dir = ctypes.c_void_p(libc.opendir(os.fsencode(path)))
        assert self.dir

    def next(self):
        entry = libc.readdir(self.dir)
        return entry.contents.name.decode() if entry else None

    def rest(self):
        return list(iter(self.next, None))

    def tell(self):
        return libc.telldir(self.dir)

    def seek(self, place):
        libc.seekdir(self.dir, ctypes.c_long(place))

    def rewind(self):
        libc.rewinddir(self.dir)

    def close(self):
        libc.closedir(self.dir)


def fill(path, n):
    os.mkdir(path)
    for i in range(n):
        os.mknod(f"{path}/{i:05}", 0o644 | stat.S_IFREG)


def test_places_in_a_listing(stage):
    """Every place that was told leads back to the same entry."""
    def story(t):
        fill("d", 1500)
        s = Stream("d")
        places, names = [], []
        while True:
            place, name = s.tell(), s.next()
            if name is None:
                break
            places.append(place)
            names.append(name)
        t.tell("names", (len(names), len(set(names)), sorted(names)[:4]))
        rng = random.Random(7)
        wrong = 0
        for n in rng.sample(range(len(names)), 200):
            s.seek(places[n])
            wrong += s.next() != names[n]
        t.tell("wrong", wrong)
        s.rewind()
        t.tell("again", s.rest() == names)
        s.close()
    stage.same(story)


def test_a_listing_while_names_change(stage):
    """What is there all the time is listed once, what goes and comes at most once."""
    def story(t):
        fill("d", 1500)
        stays = {f"{i:05}" for i in range(0, 1500, 3)}
        s = Stream("d")
        seen = [s.next() for _ in range(700)]
        place = s.tell()
        for i in range(1, 1500, 3):
            os.unlink(f"d/{i:05}")
            os.mknod(f"d/new{i}", 0o644 | stat.S_IFREG)
        for i in range(2, 1500, 3):
            os.rename(f"d/{i:05}", f"d/moved{i}")
        seen += s.rest()
        t.tell("missed", sorted(stays - set(seen)))
        t.tell("doubled", len([n for n in seen if n in stays]) - len(stays & set(seen)))
        s.seek(place)
        after = s.rest()
        t.tell("from there", sorted((stays - set(seen[:700])) - set(after)))
        s.rewind()
        now = s.rest()
        t.tell("all", (len(now), sorted(now) == sorted(os.listdir("d") + [".", ".."])))
        s.close()
    stage.same(story)


def test_removing_what_is_listed(stage):
    def story(t):
        fill("d", 1500)
        s = Stream("d")
        n = 0
        while name := s.next():
            if name not in (".", ".."):
                os.unlink(f"d/{name}")
                n += 1
        t.tell("removed", n)
        s.rewind()
        t.tell("left", sorted(s.rest()))
        t(os.rmdir, "d")
        s.rewind()
        t.tell("gone", s.rest())
        s.close()
    stage.same(story)


def test_two_streams_and_a_moved_directory(stage):
    def story(t):
        fill("d", 800)
        a, b = Stream("d"), Stream("d")
        first = [a.next() for _ in range(400)]
        os.rename("d", "e")
        make("e/late")
        rest = a.rest()
        t.tell("a", (len(set(first + rest) - {"late"}), len(first + rest) == len(set(first + rest))))
        t.tell("b", sorted(set(b.rest()) - {"late"}) == sorted(set(os.listdir("e") + [".", ".."]) - {"late"}))
        t.tell("small pieces", len(os.listdir("e")))
        a.close(), b.close()
    stage.same(story)


def test_special_files(stage):
    def story(t):
        os.mkfifo("p", 0o640)
        for kind, name in ((stat.S_IFCHR, "c"), (stat.S_IFBLK, "b")):
            t(os.mknod, name, 0o600 | kind, os.makedev(1, 3) if kind == stat.S_IFCHR else os.makedev(7, 300))
        t(os.mknod, "large", 0o600 | stat.S_IFCHR, os.makedev(4095, 1048575))
        with socket.socket(socket.AF_UNIX) as s, socket.socket(socket.AF_UNIX) as c:
            s.bind("s")
            s.listen()
            t(c.connect, "s")
            t(os.rename, "s", "s2")
            with socket.socket(socket.AF_UNIX) as again:
                t(again.connect, "s2")
            t(os.open, "s2", os.O_RDONLY)
        with socket.socket(socket.AF_UNIX) as c:
            t(c.connect, "s2")
        t(os.open, "p", os.O_WRONLY | os.O_NONBLOCK)
        fd = os.open("p", os.O_RDWR)
        t(os.write, fd, b"through")
        t(os.read, os.open("p", os.O_RDONLY | os.O_NONBLOCK), 9)
        os.link("p", "p2")
        os.unlink("p")
        t(os.write, os.open("p2", os.O_WRONLY), b"by the other")
        t(os.read, fd, 20)
        t.stat(*sorted(os.listdir(".")))
        if os.geteuid() == 0:
            t(lambda: os.write(os.open("c", os.O_WRONLY), b"into null"))
        for name in sorted(os.listdir(".")):
            t(os.chmod, name, 0o666)
            t(os.utime, name, ns=(1, 2))
            t(os.rename, name, name + "-2")
            t(os.unlink, name + "-2")
    need_root()
    stage.same(story)
