"""The supervisor: either half may die at any time, and comes back; the end is orderly."""

import fcntl
import os
import re
import shutil
import signal
import struct
import subprocess

import pytest

from support.programs import end, mailbraid, need_fuse
from support.replica import Replica, run
from support.wait import until


def children(pid):
    """Command line by pid."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            stat = open(f"/proc/{name}/stat").read()
            line = open(f"/proc/{name}/cmdline").read().split("\0")
        except OSError:
            continue
        if int(stat.rpartition(")")[2].split()[1]) == pid and line[0]:
            found[int(name)] = line
    return found


class Live:
    """A store in step with a second one: mounted, or watched as a plain directory."""

    def __init__(self, base, plain):
        self.a, self.b = Replica(base / "a"), Replica(base / "b")
        self.plain = plain
        self.view = self.a.mail if plain else str(base / "mnt")
        self.said = open(base / "messages", "ab")
        self.process = None
        if not plain:
            os.mkdir(self.view)
        self.a.must("sync", self.b.destination)

    def start(self, *options):
        what = ["watch", *options] if self.plain else ["mount", "-f", *options, self.view]
        self.process = subprocess.Popen(
            [mailbraid(), "--store", self.a.path, *what], stdout=self.said, stderr=self.said
        )
        until("the halves to run", lambda: len(children(self.process.pid)) == (1 if options else 2))
        until("it to answer", lambda: self.a.status()["writer"])
        return self

    def half(self, word):
        """Pid of the file system (or writer), or of the reconciler."""
        for pid, line in children(self.process.pid).items():
            if ("reconcile" in line) == (word == "reconcile"):
                return pid
        return None

    def arrives(self, name):
        self.b.deliver(name)
        until(f"{name} to arrive", lambda: name in os.listdir(os.path.join(self.view, "new")))

    def leaves(self, name):
        path = os.path.join(self.view, "tmp", name)
        with open(path, "wb") as f:
            f.write(b"Subject: %s\n\n" % name.encode())
        os.rename(path, os.path.join(self.view, "new", name))
        until(f"{name} to leave", lambda: name in os.listdir(os.path.join(self.b.mail, "new")))

    def close(self):
        if self.process:
            end(self.process)
        subprocess.run(["umount", "-l", self.view], capture_output=True, check=False)
        self.said.close()


@pytest.fixture(params=["mount", "watch"])
def live(tmp_path, request):
    if request.param == "mount":
        need_fuse()
    it = Live(tmp_path, request.param == "watch")
    yield it
    it.close()


@pytest.fixture
def mounted(tmp_path):
    need_fuse()
    it = Live(tmp_path, False)
    yield it
    it.close()


def test_both_directions_live(live):
    live.start()
    live.arrives("1.b.host")
    live.leaves("2.a.host")
    live.arrives("3.b.host")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_dead_file_system_comes_back(live, number):
    live.start()
    live.arrives("1.b.host")
    first = live.half("fs")
    os.kill(first, number)
    until("another one", lambda: live.half("fs") not in (None, first))
    until("the view", lambda: "1.b.host" in listing(live))
    live.leaves("2.a.host")
    live.arrives("3.b.host")


def listing(live):
    try:
        return os.listdir(os.path.join(live.view, "new"))
    except OSError:
        return []


def test_a_dead_reconciler_comes_back(live):
    live.start()
    live.arrives("1.b.host")
    first = live.half("reconcile")
    os.kill(first, signal.SIGKILL)
    live.leaves("2.a.host")
    live.arrives("3.b.host")
    assert live.half("reconcile") != first


def test_mail_that_came_while_nothing_ran(live):
    live.b.deliver("1.b.host")
    live.a.deliver("2.a.host")
    live.start()
    until("both", lambda: {"1.b.host", "2.a.host"} <= set(listing(live)))
    until("both", lambda: {"1.b.host", "2.a.host"} <= set(os.listdir(os.path.join(live.b.mail, "new"))))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_is_orderly(live, number):
    live.start()
    live.arrives("1.b.host")
    halves = children(live.process.pid)
    live.process.send_signal(number)
    assert live.process.wait(20) == 0
    for pid in halves:
        assert not os.path.exists(f"/proc/{pid}")
    assert live.view not in mounts()
    status = live.a.status()
    assert status["writer"] is False and status["supervisor"] is None
    # A clean stop: the log goes on in the same file.
    before = [name for name, _ in live.a.log_bytes()]
    assert live.a.must("sync").code == 0
    assert [name for name, _ in live.a.log_bytes()] == before


def mounts():
    return [line.split()[1] for line in open("/proc/self/mounts")]


def test_its_children_end_with_it(live):
    live.start()
    halves = children(live.process.pid)
    live.process.kill()
    live.process.wait()
    until("the halves to end", lambda: not any(os.path.exists(f"/proc/{pid}") and not zombie(pid) for pid in halves))
    live.process = None


def zombie(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_two_supervisors_of_one_store(live):
    live.start()
    again = live.a.command(*(["watch"] if live.plain else ["mount", os.path.dirname(live.view)]), timeout=20)
    assert again.code != 0
    if live.plain:
        assert again.code == 75 and "already" in again.err


def test_in_the_background_and_umount(mounted):
    result = mounted.a.must("mount", mounted.view)
    assert result.out == ""
    assert mounted.view in mounts()
    mounted.arrives("1.b.host")
    assert mounted.a.status()["mount"] == mounted.view
    assert mounted.a.status()["supervisor"]
    assert run("umount", mounted.view) == (0, "", "")
    assert mounted.view not in mounts()
    assert mounted.a.status()["supervisor"] is None


def test_umount_of_a_busy_mount(mounted):
    mounted.a.must("mount", mounted.view)
    with open(os.path.join(mounted.view, "notes"), "w") as held:
        held.write("open")
        held.flush()
        busy = run("umount", mounted.view)
        assert busy.code == 2 and "--lazy" in busy.err, busy
        assert mounted.view in mounts()
        mounted.arrives("1.b.host")  # it went on
        assert run("umount", "--lazy", mounted.view).code == 0
    assert mounted.view not in mounts()
    until("its end", lambda: mounted.a.status()["supervisor"] is None)


def test_unmounted_by_another_tool(mounted):
    mounted.start("--no-sync")
    subprocess.run(["umount", mounted.view], check=True)
    assert mounted.process.wait(20) == 0


def test_unmounted_lazily_while_it_lives(mounted):
    mounted.start()
    mounted.arrives("1.b.host")  # through the mount, by the reconciler
    subprocess.run(["umount", "-l", mounted.view], check=True)
    assert mounted.process.wait(20) == 0
    assert not mounted.a.status()["writer"]


def test_a_writer_of_moments_is_waited_for(live):
    """As a sync of the peer that lives with this store: it has the role, and serves nobody."""
    with open(os.path.join(live.a.path, "lock"), "r+b") as held:
        fcntl.fcntl(held, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))  # F_OFD_SETLK
        what = ["watch"] if live.plain else ["mount", "-f", live.view]
        live.process = subprocess.Popen(
            [mailbraid(), "--store", live.a.path, *what], stdout=live.said, stderr=live.said
        )
        until("the notice", lambda: "waiting for it" in open(live.said.name).read())
        assert live.process.poll() is None
    until("it to answer", lambda: live.a.status()["writer"])
    until("the halves to run", lambda: len(children(live.process.pid)) == 2)
    live.arrives("1.b.host")
    assert open(live.said.name).read().count("waiting for it") == 1


def test_a_stale_mount_is_cleaned_at_start(mounted):
    mounted.start()
    pids = [mounted.process.pid, *children(mounted.process.pid)]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    mounted.process.wait()
    with pytest.raises(OSError):
        os.listdir(os.path.join(mounted.view, "new"))
    mounted.start()
    mounted.arrives("1.b.host")


def test_watch_in_the_background(tmp_path):
    live = Live(tmp_path, True)
    try:
        live.a.must("watch", "-b")
        live.arrives("1.b.host")
        live.a.must("watch", "--stop")
        assert live.a.status()["supervisor"] is None
        assert live.a.command("watch", "--stop").code == 1
    finally:
        live.a.command("watch", "--stop")
        live.close()


def test_adopted_in_place_it_is_mounted_over(tmp_path):
    need_fuse()
    md = Replica(tmp_path / "md", plain=True)
    md.deliver("1.x.host:2,S", sub="cur")
    assert run("init", "--adopt", md.path).code == 0
    try:
        assert run("--store", md.path, "mount").code == 0
        assert md.path in mounts()
        assert os.listdir(os.path.join(md.path, "cur")) == ["1.x.host:2,S"]
        # Either name of it still works from outside.
        assert run("--store", md.path, "status").code == 0
        assert run("--store", md.path + ".mailbraid", "status").code == 0
    finally:
        assert run("umount", md.path).code == 0
    assert os.listdir(os.path.join(md.path, "cur")) == ["1.x.host:2,S"]


def test_a_peer_registered_while_it_runs_is_served(tmp_path):
    live = Live(tmp_path, True)
    c = Replica(tmp_path / "c")
    try:
        live.start()
        live.a.must("sync", c.destination)
        c.deliver("1.c.host")
        until("it to arrive", lambda: "1.c.host" in listing(live))
        until("it to go on", lambda: "1.c.host" in os.listdir(os.path.join(live.b.mail, "new")))
    finally:
        live.close()


def test_an_absent_peer_is_told_once_and_found_again(tmp_path):
    live = Live(tmp_path, True)
    away = live.b.path + ".away"
    os.rename(live.b.path, away)
    try:
        live.start()
        until("the message", lambda: "not in step" in open(tmp_path / "messages").read())
        os.rename(away, live.b.path)
        live.process.send_signal(signal.SIGUSR1)
        live.b.deliver("1.b.host")
        until("it to arrive", lambda: "1.b.host" in listing(live))
        assert open(tmp_path / "messages").read().count("not in step") == 1
    finally:
        if os.path.exists(away):
            shutil.rmtree(away)
        live.close()


def test_idle_it_does_nothing(live):
    live.start()
    live.arrives("1.b.host")
    pids = [live.process.pid, *children(live.process.pid)]

    def ticks():
        total = 0
        for pid in pids:
            fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        switches = sum(
            int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", open(f"/proc/{pid}/status").read(), re.M).group(1))
            for pid in pids
        )
        return total, switches

    import time

    time.sleep(3)  # let the last events settle
    before = ticks()
    time.sleep(2)
    after = ticks()
    assert after[0] - before[0] <= 1
    assert after[1] - before[1] <= 10
