"""Random changes of names and of open files: by one process as in any directory, by many at once without an
error that their race does not explain. MAILBRAID_SEEDS=N plays N times as many."""

import os
import random
import stat

import pytest

from support.stage import collect, make, name_of, rename2, seeds, stage, start
from support.wait import until

__all__ = ["stage"]


def steps_of(seed, n):
    """Random changes of names; what each gives is told, so that all must be the same."""
    rng = random.Random(seed)

    def path():
        return "/".join(rng.choice("abcd") for _ in range(rng.choice((1, 1, 2, 2, 3))))

    calls = [
        lambda: (os.mkdir, path()), lambda: (os.mkdir, path()), lambda: (make, path(), b"x" * rng.randrange(9000)),
        lambda: (make, path(), b"y"), lambda: (os.rename, path(), path()), lambda: (os.rename, path(), path()),
        lambda: (os.link, path(), path()), lambda: (os.symlink, path(), path()), lambda: (os.unlink, path()),
        lambda: (os.rmdir, path()), lambda: (os.truncate, path(), rng.randrange(20000)), lambda: (os.chmod, path(), rng.choice((0o644, 0o755, 0o700))),
        lambda: (os.utime, path(), None), lambda: (os.mkfifo, path()), lambda: (os.setxattr, path(), "user.a", b"v"),
        lambda: (os.readlink, path()), lambda: (rename2, path(), path(), rng.choice((1, 2))), lambda: (append, path(), b"more"),
    ]
    return [rng.choice(calls)() for _ in range(n)]


def append(path, data):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
    os.write(fd, data)
    os.close(fd)


def snapshot(top):
    """All that is in a tree, but times and inodes; hard links by their first name."""
    found, first = {}, {}
    for place, folders, files in os.walk(top):
        folders.sort()
        for name in sorted(folders + files):
            path = os.path.join(place, name)
            st = os.lstat(path)
            rel = os.path.relpath(path, top)
            one = (stat.filemode(st.st_mode), st.st_nlink, None if stat.S_ISDIR(st.st_mode) else st.st_size)
            if stat.S_ISREG(st.st_mode):
                with open(path, "rb") as f:
                    one += (f.read(), first.setdefault(st.st_ino, rel), os.listxattr(path).count("user.a"))
            elif stat.S_ISLNK(st.st_mode):
                one += (os.readlink(path),)
            found[rel] = one
    return found


@pytest.mark.parametrize("seed", seeds(4))
def test_random_changes_of_names(stage, seed):
    def story(t):
        for call, *args in steps_of(seed, 1500):
            t(call, *args)
        t.tell("tree", snapshot("."))
    plain, mounted = (os.path.dirname(p) for p in stage.places("names"))
    before = set(os.listdir(mounted))
    stage.same(story)
    made = (set(os.listdir(mounted)) - before).pop()
    want = snapshot(os.path.join(plain, made))
    stage.mount.remount()
    assert snapshot(os.path.join(mounted, made)) == want


FINE = {"ENOENT", "EEXIST", "ENOTEMPTY", "ENOTDIR", "EISDIR", "EINVAL", "ELOOP", "ENXIO", "EPERM", "ENODATA", "EXDEV"}


class Actor:
    """One of many: changes names, and what it holds open."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.held = []  # (descriptor, what must be in the file or None: a directory)
        self.odd = {}

    def note(self, what, error):
        key = f"{what} {name_of(error)}"
        self.odd[key] = self.odd.get(key, 0) + 1

    def hold(self, name):
        """A file of its own, whose name anybody may take away, or a directory."""
        if len(self.held) >= 8:
            os.close(self.held.pop(self.rng.randrange(8))[0])
        try:
            if self.rng.random() < 0.5:
                data = self.rng.randbytes(2000)
                self.held.append((os.open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600), data))
                os.write(self.held[-1][0], data)
            else:
                self.held.append((os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW), None))
        except OSError as e:
            if name_of(e) not in FINE:
                self.note("open", e)

    def use_file(self, fd, data):
        try:
            assert os.pread(fd, 3000, 0)[: len(data)] == data or self.touched(fd), "another content"
            self.rng.choice((
                lambda: os.fstat(fd), lambda: os.fsync(fd), lambda: os.fchmod(fd, 0o600), lambda: os.utime(fd),
                lambda: os.pwrite(fd, b"end", 5000), lambda: os.ftruncate(fd, 2500),
            ))()
        except OSError as e:
            self.note("held file", e)

    @staticmethod
    def touched(fd):
        """Somebody else has truncated it by its name, or made it anew."""
        return os.fstat(fd).st_size != 2000

    def use_directory(self, fd):
        at = self.rng.choice("abcd")
        try:
            self.rng.choice((
                lambda: os.listdir(fd), lambda: [os.lstat(n, dir_fd=fd) for n in os.listdir(fd)], lambda: os.fsync(fd),
                lambda: os.mkdir(at, dir_fd=fd), lambda: os.rmdir(at, dir_fd=fd), lambda: os.unlink(at, dir_fd=fd),
                lambda: os.rename(at, "z", src_dir_fd=fd, dst_dir_fd=fd), lambda: os.fstat(fd),
                lambda: os.close(os.open(at, os.O_CREAT | os.O_WRONLY | os.O_NONBLOCK, dir_fd=fd)),
            ))()
        except OSError as e:
            if name_of(e) not in FINE:
                self.note("held directory", e)

    def play(self, steps):
        for call, *args in steps:
            try:
                call(*args)
            except OSError as e:
                if name_of(e) not in FINE:
                    self.note(call.__name__, e)
            if self.rng.random() < 0.2:
                self.hold(args[0])
            for fd, data in self.rng.sample(self.held, min(2, len(self.held))):
                if data is None:
                    self.use_directory(fd)
                else:
                    self.use_file(fd, data)
        for fd, _ in self.held:
            os.close(fd)
        return self.odd


@pytest.mark.parametrize("seed", seeds(2))
def test_random_changes_by_many_processes(stage, seed):
    """What the kernel shows, what lies on the disk and what a new mount shows agree in the end; nothing of
    what was open stays open in the daemon."""
    top = stage.places("crowd")[1]

    def one(n):
        os.chdir(top)
        return Actor(f"{seed} {n}").play(steps_of(seed * 100 + n, 700))

    told = [collect(p) for p in [start(lambda n=n: one(n)) for n in range(6)]]
    assert told == [{}] * 6
    backing = os.path.join(stage.mount.backing, os.path.relpath(top, stage.mount.mnt))
    want = snapshot(backing)
    assert snapshot(top) == want
    until("descriptors are closed", lambda: stage.mount.fds() < 320)
    stage.mount.remount()
    assert snapshot(top) == want
