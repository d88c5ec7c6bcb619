"""mailbraid pause: the reconciler rests, goes on by itself or when told; the hook of suspend."""

import os
import shutil
import signal
import stat
import subprocess
import time

import pytest

from support.programs import end, mailbraid, need_fuse, ours
from support.replica import Replica
from support.wait import until


class Live:
    def __init__(self, base, what):
        self.base = base
        self.a, self.b = Replica(base / "a"), Replica(base / "b")
        self.a.must("sync", self.b.destination)
        self.view = self.a.mail
        argv = ["watch"]
        if what == "mount":
            self.view = str(base / "mnt")
            os.mkdir(self.view)
            argv = ["mount", "-f", self.view]
        self.said = open(base / "messages", "ab")
        self.process = subprocess.Popen(
            [mailbraid(), "--store", self.a.path, *argv], stdout=self.said, stderr=self.said
        )
        until("it to answer", lambda: self.a.status()["writer"])
        until("a reconciler", self.reconciler)
        self.arrives("0.b")

    def reconciler(self):
        pid = self.process.pid
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            for child in f.read().split():
                with open(f"/proc/{child}/cmdline", "rb") as words:
                    if b"reconcile" in words.read().split(b"\0"):
                        return int(child)
        return None

    def here(self):
        return os.listdir(os.path.join(self.view, "new"))

    def arrives(self, name):
        self.b.deliver(name)
        until(f"{name} to arrive", lambda: name in self.here())

    def close(self):
        end(self.process)
        subprocess.run(["umount", "-l", self.view], capture_output=True, check=False)
        self.said.close()


@pytest.fixture(params=["mount", "watch"])
def live(tmp_path, request):
    if request.param == "mount":
        need_fuse()
    it = Live(tmp_path, request.param)
    yield it
    it.close()


def test_it_rests_until_it_is_told(live):
    live.a.must("pause")
    assert live.reconciler() is None
    told = live.a.status()
    assert told["paused"] is True and told["writer"] is True
    assert "PAUSED" in live.a.must("status").out
    live.b.deliver("1.b")
    path = os.path.join(live.view, "tmp", "2.a")
    with open(path, "wb") as f:
        f.write(b"Subject: written while it rests\n\n")
    os.rename(path, os.path.join(live.view, "new", "2.a"))
    until("it is logged", lambda: live.a.status()["messages"] == 2)
    assert live.reconciler() is None and "1.b" not in live.here()
    live.a.must("pause")  # a second time: it goes on resting
    assert live.reconciler() is None
    live.a.must("pause", "--end")
    until("what came meanwhile", lambda: "1.b" in live.here())
    until("what went meanwhile", lambda: "2.a" in os.listdir(os.path.join(live.b.mail, "new")))
    assert live.a.status()["paused"] is False
    live.a.must("pause", "--end")  # nothing to end
    live.arrives("3.b")


def test_it_goes_on_by_itself(live):
    live.a.must("pause", "--seconds", "1")
    live.b.deliver("1.b")
    until("it goes on", lambda: "1.b" in live.here(), patience=10)
    assert live.a.status()["paused"] is False


def test_a_dead_file_system_does_not_end_the_rest(live):
    live.a.must("pause")
    pid = live.process.pid
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        writer = int(f.read().split()[0])
    os.kill(writer, signal.SIGKILL)

    def another():
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            return [p for p in f.read().split() if int(p) != writer] and live.a.status()["answers"]

    until("another writer", another)
    assert live.reconciler() is None and live.a.status()["paused"]
    live.a.must("pause", "--end")
    until("a reconciler", live.reconciler)
    until("a view", lambda: os.path.isdir(os.path.join(live.view, "new")))
    live.arrives("1.b")


def test_one_that_is_stopped_is_ended(live):
    """And a umount, or the end of a watch, does not wait for it."""
    os.kill(live.reconciler(), signal.SIGSTOP)
    live.a.must("pause")
    assert live.reconciler() is None
    live.a.must("pause", "--end")
    os.kill(until("a reconciler", live.reconciler), signal.SIGSTOP)
    before = time.monotonic()
    assert end(live.process) == 0
    assert time.monotonic() - before < 4


def test_nobody_to_pause(tmp_path):
    a = Replica(tmp_path / "a")
    for argv in (["pause"], ["pause", "--end"]):
        done = a.command(*argv)
        assert done.code == 1 and "nobody mounts or watches" in done.err, done
    for argv in (["--seconds", "0"], ["--seconds", "x"], ["--seconds", "4000"], ["what"]):
        assert a.command("pause", *argv).code == 64, argv


# ---- the hook --------------------------------------------------------------------------------------

# It says when it holds, and when it lets go whether the reconciler rests by then.
INHIBIT = """#!/bin/sh
echo "held $*" >>{log}
trap 'test -e {store}/run/paused && echo released-resting >>{log}; echo released >>{log}; exit 0' TERM
while :; do sleep 0.05; done
"""
GDBUS = """#!/bin/sh
echo "asked $*" >>{log}
exec cat {fifo}
"""
SIGNAL = "/org/freedesktop/login1: org.freedesktop.login1.Manager.PrepareForSleep (%s,)\n"


class Hook:
    """The script with programs in the place of logind's."""

    def __init__(self, live, script):
        self.log = live.base / "log"
        self.log.write_text("")
        fifo = live.base / "fifo"
        os.mkfifo(fifo)
        tools = live.base / "tools"
        tools.mkdir()
        for name, text in (("systemd-inhibit", INHIBIT), ("gdbus", GDBUS)):
            path = tools / name
            path.write_text(text.format(log=self.log, store=live.a.path, fifo=fifo))
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        env = dict(os.environ, PATH=f"{tools}:{os.environ['PATH']}", MAILBRAID=mailbraid())
        self.process = subprocess.Popen(["sh", script, live.a.path], env=env)
        self.bus = open(fifo, "w", encoding="ascii")
        until("it holds", lambda: "held" in self.said())

    def said(self):
        return self.log.read_text()

    def sleeps(self, yes):
        self.bus.write("/org/freedesktop/login1: other.Signal ('x',)\n" + SIGNAL % ("true" if yes else "false"))
        self.bus.flush()

    def close(self):
        if not self.bus.closed:
            self.bus.close()
        return end(self.process)


def test_the_hook_of_suspend(tmp_path):
    script = os.path.join(os.path.dirname(ours("MAILBRAID", "mailbraid")), "packaging", "mailbraid-sleep")
    if not os.path.exists(script) or not shutil.which("sh"):
        pytest.skip(f"no {script}")
    live = Live(tmp_path, "watch")
    hook = None
    try:
        hook = Hook(live, script)
        assert "--what=sleep --mode=delay" in hook.said() and "org.freedesktop.login1" in hook.said()
        for turn in (1, 2):
            hook.sleeps(True)
            until("it lets go", lambda: hook.said().count("released\n") == turn, tell=hook.said)
            assert hook.said().count("released-resting") == turn
            live.b.deliver(f"{turn}.b")
            assert live.reconciler() is None and f"{turn}.b" not in live.here()
            hook.sleeps(False)
            until("it goes on", lambda: f"{turn}.b" in live.here())
            until("it holds again", lambda: hook.said().count("held") == turn + 1)
        hook.bus.close()  # logind went away
        assert hook.process.wait(20) == 0
        assert hook.said().count("released\n") == 3
    finally:
        if hook:
            hook.close()
        live.close()


def test_the_hook_says_what_it_needs(tmp_path):
    script = os.path.join(os.path.dirname(ours("MAILBRAID", "mailbraid")), "packaging", "mailbraid-sleep")
    if not os.path.exists(script):
        pytest.skip(f"no {script}")
    sh = shutil.which("sh")
    assert subprocess.run([sh, script], capture_output=True, check=False).returncode == 64
    done = subprocess.run([sh, script, str(tmp_path)], env={"PATH": str(tmp_path)}, capture_output=True, check=False)
    assert done.returncode == 69 and b"systemd-inhibit" in done.stderr
