"""The same story played in two directories, one plain and one in the mount: what each call gave must be equal.

A story is a function of one Teller. It runs in a process of its own, whose working directory is the stage;
everything it tells is compared, with the line of the story that told it.
"""

import contextlib
import ctypes
import ctypes.util
import errno
import os
import pickle
import signal
import stat
import sys
import time
import traceback

import pytest

from support.daemon import Daemon
from support.programs import need_allow_other, need_fuse

PATIENCE = 20  # of one story in one place, seconds
TICK = 0.004  # times of the disk grow by this much at the latest
NOREPLACE, EXCHANGE = 1, 2
KEEP, PUNCH, COLLAPSE, ZERO, INSERT = 1, 2, 8, 16, 32  # fallocate(2)
libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)


def name_of(error):
    return errno.errorcode.get(error.errno, error.errno)


def c_call(name, *args):
    """A function of the C library that gives -1 and errno; long integers as they are."""
    res = getattr(libc, name)(*(ctypes.c_long(a) if isinstance(a, int) else a for a in args))
    if res == -1:
        raise OSError(ctypes.get_errno(), name)
    return res


def rename2(old, new, flags):
    c_call("renameat2", -100, os.fsencode(old), -100, os.fsencode(new), flags)


def fallocate(fd, mode, at, length):
    c_call("fallocate", fd, mode, at, length)


def make(path, data=b"", mode=0o644):
    """A regular file; its path."""
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_NONBLOCK, mode)
    os.write(fd, data)
    os.close(fd)
    return path


def read(path):
    with open(path, "rb") as f:
        return f.read()


class Teller:
    """What a story tells with."""

    def __init__(self):
        self.told = []

    def tell(self, what, value):
        here = sys._getframe(1)
        while here.f_code.co_filename == __file__:
            here = here.f_back
        self.told.append((here.f_lineno, what, value))

    def __call__(self, call, *args, **more):
        """Calls; tells the errno, or what was given when it says something that is the same everywhere."""
        try:
            got = call(*args, **more)
        except OSError as e:
            got = e
        descriptor = call in (os.open, os.dup) and isinstance(got, int)
        said = name_of(got) if isinstance(got, OSError) else "a descriptor" if descriptor else got
        text = ", ".join([repr(a)[:60] for a in args] + [f"{k}={v!r}" for k, v in more.items()])
        self.tell(f"{getattr(call, '__name__', call)}({text})", said)
        return None if isinstance(got, OSError) else got

    def stat(self, *paths, follow=False):
        """Type and mode, owner, links, size (of files)."""
        for path in paths:
            try:
                st = os.stat(path) if follow or isinstance(path, int) else os.lstat(path)
            except OSError as e:
                self.tell(f"stat {path!r}"[:80], name_of(e))
                continue
            size = None if stat.S_ISDIR(st.st_mode) else st.st_size
            self.tell(f"stat {path!r}"[:80], (oct(st.st_mode), st.st_uid, st.st_gid, st.st_nlink, size, st.st_rdev))

    def list(self, path="."):
        self.tell(f"list {path}", sorted(os.listdir(path)))

    def touches(self, paths, call, *args, **more):
        """Which times of `paths` the call moves: to a later one, back, or not."""
        def times():
            found = {}
            for path in paths:
                with contextlib.suppress(FileNotFoundError):
                    st = os.lstat(path) if not isinstance(path, int) else os.fstat(path)
                    found[path] = (st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns)
            return found

        before = times()
        time.sleep(TICK)
        got = self(call, *args, **more)
        after = times()
        for path in before:
            if path in after:
                moved = [n for n, x, y in zip("amc", before[path], after[path]) if x != y]
                back = [n for n, x, y in zip("amc", before[path], after[path]) if x > y]
                self.tell(f"times of {path!r}", ("moved", moved, "back", back))
            else:
                self.tell(f"times of {path!r}", "gone")
        return got

    @contextlib.contextmanager
    def user(self, uid, gid=None, groups=()):
        """As this user, real and effective, with no capability."""
        gid = uid if gid is None else gid
        os.setgroups(groups)
        os.setresgid(gid, gid, 0)
        os.setresuid(uid, uid, 0)
        try:
            yield
        finally:
            os.setresuid(0, 0, 0)
            os.setresgid(0, 0, 0)
            os.setgroups([])

    def child(self, call, *args):
        """Calls in another process; tells what it gave."""
        self.tell(f"in a child: {getattr(call, '__name__', call)}", in_child(call, *args))


def in_child(call, *args):
    def run():
        try:
            return call(*args)
        except OSError as e:
            return name_of(e)

    return collect(start(run))


def start(run):
    """A process that runs this; collect() gives what it returned."""
    out, to = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(PATIENCE)
        try:
            os.close(out)
            said = pickle.dumps(run())
        except BaseException:
            said = pickle.dumps(("failed", traceback.format_exc()))
        with os.fdopen(to, "wb") as f:
            f.write(said)
        os._exit(0)
    os.close(to)
    return pid, out


def collect(process):
    pid, out = process
    with os.fdopen(out, "rb") as f:
        said = f.read()
    _, status = os.waitpid(pid, 0)
    assert said, f"ended by signal {status & 127}"
    return pickle.loads(said)


def play(story, place):
    """What the story tells in this directory."""
    def run():
        os.umask(0o022)
        os.chdir(place)
        teller = Teller()
        try:
            story(teller)
        except BaseException:
            return teller.told + [(0, "ended", traceback.format_exc().replace(place, "STAGE"))]
        return teller.told

    return collect(start(run))


class Stage:
    """A mount for everybody and a plain directory on the same disk."""

    def __init__(self):
        self.mount = Daemon("allow_other,dev,suid" if os.geteuid() == 0 else "allow_other")
        self.plain = os.path.join(self.mount.base, "plain")
        os.mkdir(self.plain)
        self.n = 0

    def places(self, name):
        """A new directory of this name in each: (plain, mounted)."""
        self.n += 1
        made = [os.path.join(top, f"{name}-{self.n}") for top in (self.plain, self.mount.path("free"))]
        for path in made:
            os.makedirs(path, 0o755)
            os.chmod(path, 0o755)
        return made

    def same(self, story, but=()):
        """Plays the story in both; gives what was told in the mount. `but`: calls whose answers are known to
        differ, by the beginning of what is told of them."""
        plain, mounted = self.places(getattr(story, "__name__", "story"))
        want, got = play(story, plain), play(story, mounted)
        differ = [
            f"line {w[0]}: {w[1]}\n    plain: {w[2]}\n    mount: {g[2] if w[:2] == g[:2] else g}"
            for w, g in zip(want, got)
            if w != g and not (w[:2] == g[:2] and w[1].startswith(tuple(but)))
        ]
        assert not differ and len(want) == len(got), "\n".join(differ[:20]) or (len(want), len(got))
        assert want, "the story tells nothing"
        assert want[-1][1] != "ended", want[-1][2]
        return got

    def close(self):
        self.mount.close()


@pytest.fixture(scope="module")
def stage():
    need_fuse()
    need_allow_other()
    made = Stage()
    yield made
    made.close()


def seeds(n):
    """n seeds; with MAILBRAID_SEEDS in the environment that many times as many."""
    return range(int(os.environ.get("MAILBRAID_SEEDS", "1")) * n)


def need_root():
    """Skips the test where nobody else can be played."""
    if os.geteuid() != 0:
        pytest.skip("only root can act for other users")
