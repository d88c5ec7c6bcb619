"""A file system process that was stopped (SIGSTOP): everybody says so soon, and a umount ends it."""

import json
import os
import signal
import subprocess
import time

import pytest

from support.programs import mailbraid, need_fuse
from support.replica import Replica
from support.wait import until


def supervised(store):
    """Pid of the file system of the supervisor of this store."""
    with open(os.path.join(store, "run", "supervisor")) as f:
        above = int(f.read().split()[0])
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as f:
                stat = f.read()
        except OSError:
            continue
        if stat.partition("(")[2].startswith("mailbraid-fs)") and int(stat.rpartition(")")[2].split()[1]) == above:
            return int(name)
    return None


def is_stopped(pid):
    """All of its threads: one that writes to the disk stops when that is done."""
    states = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat") as f:
            states.append(f.read().rpartition(")")[2].split()[0])
    return set(states) == {"T"}


class Stopped:
    def __init__(self, base, *options):
        self.a = Replica(base / "a")
        self.mnt = str(base / "mnt")
        os.mkdir(self.mnt)
        assert self.call("mount", *options, self.mnt)[0] == 0
        until("the file system to run", lambda: supervised(self.a.path))
        self.pid = supervised(self.a.path)
        os.kill(self.pid, signal.SIGSTOP)
        until("the file system to stop", lambda: is_stopped(self.pid))

    def call(self, *argv):
        """Exit code, output, seconds."""
        start = time.monotonic()
        done = subprocess.run(
            [mailbraid(), "--store", self.a.path, *argv], capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout + done.stderr, time.monotonic() - start

    def close(self):
        try:
            os.kill(self.pid, signal.SIGCONT)
        except ProcessLookupError:
            pass
        self.call("umount", self.mnt)
        subprocess.run(["umount", "-l", self.mnt], capture_output=True, check=False)


@pytest.fixture(params=[["--no-sync"], []], ids=["alone", "with-reconciler"])
def stopped(tmp_path, request):
    need_fuse()
    s = Stopped(tmp_path, *request.param)
    yield s
    s.close()


def test_who_asks_is_told_within_seconds(stopped, tmp_path):
    code, text, took = stopped.call("status")
    assert code == 0 and took < 4
    assert f"process {stopped.pid} was stopped" in text and f"kill -CONT {stopped.pid}" in text
    told = json.loads(stopped.call("status", "--json")[1])
    assert told["writer"] and not told["answers"]
    for verb in (["sync", f"maildir:{tmp_path}/peer"], ["checkpoint"]):
        os.makedirs(tmp_path / "peer" / "cur", exist_ok=True)
        os.makedirs(tmp_path / "peer" / "new", exist_ok=True)
        code, text, took = stopped.call(*verb)
        assert code == 75 and took < 8, text
        assert "was stopped" in text
    os.kill(stopped.pid, signal.SIGCONT)
    code, text, _ = stopped.call("sync", f"maildir:{tmp_path}/peer")
    assert code == 0, text
    assert json.loads(stopped.call("status", "--json")[1])["answers"]


def test_one_that_is_stopped_during_the_umount_ends_too(stopped):
    """Here after the umount has looked for it: it waits for the supervisor, which was stopped first."""
    with open(os.path.join(stopped.a.path, "run", "supervisor"), encoding="utf-8") as f:
        supervisor = int(f.read().split()[0])
    os.kill(supervisor, signal.SIGSTOP)
    os.kill(stopped.pid, signal.SIGCONT)
    try:
        argv = [mailbraid(), "--store", stopped.a.path, "umount", "--lazy", stopped.mnt]
        with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as umount:
            time.sleep(0.5)
            os.kill(stopped.pid, signal.SIGSTOP)
            os.kill(supervisor, signal.SIGCONT)
            assert umount.wait(20) == 0, umount.stderr.read()
    finally:
        os.kill(supervisor, signal.SIGCONT) if os.path.exists(f"/proc/{supervisor}") else None
    assert not os.path.ismount(stopped.mnt)


def test_a_umount_lets_it_end_in_order(stopped):
    code, text, took = stopped.call("umount", stopped.mnt)
    assert code == 0 and took < 5, text
    assert not os.path.ismount(stopped.mnt)
    until("the file system to end", lambda: not os.path.exists(f"/proc/{stopped.pid}"))
    told = json.loads(stopped.call("status", "--json")[1])
    assert not told["writer"] and not told["answers"]


def test_a_umount_does_not_wait_for_a_reconciler_that_is_stopped(tmp_path):
    need_fuse()
    a = Replica(tmp_path / "a")
    mnt = str(tmp_path / "mnt")
    os.mkdir(mnt)
    assert a.command("mount", mnt).code == 0
    try:
        with open(os.path.join(a.path, "run", "supervisor"), encoding="utf-8") as f:
            supervisor = int(f.read().split()[0])
        pid = until("a reconciler", lambda: child_with(supervisor, b"reconcile"))
        os.kill(pid, signal.SIGSTOP)
        until("it to stop", lambda: is_stopped(pid))
        start = time.monotonic()
        assert a.command("umount", mnt).code == 0
        assert time.monotonic() - start < 3
        assert not os.path.ismount(mnt) and not os.path.exists(f"/proc/{pid}")
    finally:
        subprocess.run(["umount", "-l", mnt], capture_output=True, check=False)


def child_with(parent, word):
    """Pid of the child that has this word in its command line."""
    with open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as f:
        for pid in f.read().split():
            with open(f"/proc/{pid}/cmdline", "rb") as words:
                if word in words.read().split(b"\0"):
                    return int(pid)
    return None
