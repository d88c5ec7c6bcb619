"""A mount from its start to its end: who may use it, what it costs, what is left when it dies."""

import contextlib
import errno
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time

import pytest

from support.daemon import Daemon
from support.programs import mailbraid, need_fuse, ours, run
from support.wait import until


@pytest.fixture
def make(request):
    """Daemons that are gone after the test."""
    need_fuse()
    made = []

    def start(*args, **more):
        made.append(Daemon(*args, **more))
        return made[-1]

    yield start
    for d in made:
        d.close()


def is_mounted(path):
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        return any(line.split()[4] == path for line in f)


def bodies(d, *folders):
    found = {}
    for folder in folders or ("",):
        for sub in ("new", "cur"):
            for name in os.listdir(d.path(folder, sub)):
                with open(d.path(folder, sub, name), "rb") as f:
                    found[name.partition(":")[0]] = f.read()
    return found


def test_sigterm_unmounts(make):
    d = make()
    d.deliver("1.a", b"one")
    assert d.stop() == 0
    assert not is_mounted(d.mnt) and os.listdir(d.mnt) == []
    d.start()
    assert bodies(d) == {"1.a": b"one"}


def test_sigterm_while_in_use(make):
    d = make()
    fd = os.open(d.path("file"), os.O_CREAT | os.O_RDWR)
    os.write(fd, b"written before the end")
    assert d.stop() == 0
    assert not is_mounted(d.mnt)
    with contextlib.suppress(OSError):  # ENOTCONN
        os.close(fd)
    d.start()
    with open(d.path("file"), "rb") as f:
        assert f.read() == b"written before the end"


def test_unmounted_by_somebody_else(make):
    d = make()
    subprocess.run(["umount", d.mnt] if os.geteuid() == 0 else ["fusermount3", "-u", d.mnt], check=True)
    assert d.process.wait(10) == 0
    d.process = None


def unmount(path):
    subprocess.run(["umount", path] if os.geteuid() == 0 else ["fusermount3", "-u", path], check=True)


def test_a_mount_right_after_a_umount_waits_for_the_one_before(tmp_path):
    """umount(8) returns before the processes of the mount have ended: here the first of them is slow."""
    need_fuse()
    store, mnt = str(tmp_path / "store"), str(tmp_path / "mnt")
    os.mkdir(mnt)
    mount = [mailbraid(), "--store", store, "mount", "--no-sync", mnt]
    run(mailbraid(), "--store", store, "init")
    run(*mount)
    try:
        done = subprocess.run(mount, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode != 0 and is_mounted(mnt), done
        with open(os.path.join(store, "run", "supervisor"), encoding="utf-8") as f:
            supervisor = int(f.read().split()[0])
        os.kill(supervisor, signal.SIGSTOP)
        try:
            unmount(mnt)
            with subprocess.Popen(mount, stderr=subprocess.PIPE, text=True) as second:
                with pytest.raises(subprocess.TimeoutExpired):
                    second.wait(1)
                os.kill(supervisor, signal.SIGCONT)
                assert second.wait(60) == 0, second.stderr.read()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(supervisor, signal.SIGCONT)
        assert is_mounted(mnt) and sorted(os.listdir(mnt))[:3] == ["cur", "new", "tmp"]
        for _ in range(3):
            unmount(mnt)
            run(*mount)
            assert is_mounted(mnt)
    finally:
        run(mailbraid(), "--store", store, "umount", mnt)


def test_sigkill_loses_nothing(make):
    d = make()
    d.folder(".b")
    want = {}
    for i in range(60):
        name = f"{i}.a"
        path = d.deliver(name, f"mail {i}\n".encode())
        if i % 3 == 0:
            os.rename(path, d.path("cur", name + ":2,S"))
        elif i % 3 == 1:
            os.rename(path, d.path(".b", "cur", name + ":2,"))
        if i % 5 == 4:
            folder = ".b" if i % 3 == 1 else ""
            sub = "new" if i % 3 == 2 else "cur"
            info = {0: ":2,S", 1: ":2,", 2: ""}[i % 3]
            os.unlink(d.path(folder, sub, name + info))
        else:
            want[name] = f"mail {i}\n".encode()
    os.mkdir(d.path("local"))
    with open(d.path("local", "file"), "wb") as f:
        f.write(b"local")
    d.kill()
    with pytest.raises(OSError) as why:
        os.listdir(d.mnt)
    assert why.value.errno == errno.ENOTCONN
    before = time.monotonic()
    d.start()  # takes the dead mount away first
    assert time.monotonic() - before < 5
    assert bodies(d, "", ".b") == want
    with open(d.path("local", "file"), "rb") as f:
        assert f.read() == b"local"


def test_sigkill_again_and_again(make):
    d = make()
    want = {}
    for turn in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, d.mnt, str(turn)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        time.sleep(0.3)
        d.kill()
        writer.wait(10)
        want |= {name: name.encode() for name in writer.stdout.read().decode().split()}
        writer.stdout.close()
        d.start()
        found = bodies(d)
        assert {n: found.get(n) for n in want} == want


# Says the name of a mail once the last call for it has returned.
WRITER = """
import os, sys
root, turn = sys.argv[1:]
for i in range(100000):
    name = f"{turn}-{i}.a"
    with open(f"{root}/tmp/{name}", "xb") as f:
        f.write(name.encode())
    os.rename(f"{root}/tmp/{name}", f"{root}/new/{name}")
    os.rename(f"{root}/new/{name}", f"{root}/cur/{name}:2,")
    print(name, flush=True)
"""


def test_over_an_adopted_maildir(make, tmp_path):
    mail = tmp_path / "Maildir"
    for sub in ("cur", "new", "tmp"):
        os.makedirs(mail / sub)
    (mail / "cur" / "1.a:2,S").write_bytes(b"was there")
    d = make(adopt=str(mail))
    assert is_mounted(str(mail))
    assert bodies(d) == {"1.a": b"was there"}
    d.deliver("2.a", b"came")
    d.kill()
    d.start()
    assert bodies(d) == {"1.a": b"was there", "2.a": b"came"}
    assert d.stop() == 0
    assert not is_mounted(str(mail))
    assert (mail / "new" / "2.a").read_bytes() == b"came"


def test_ten_thousand_deliveries_keep_descriptors_flat(make):
    d = make("noxattr")
    for i in range(500):
        d.deliver(f"w{i}.a")
    before = d.fds()
    for i in range(10000):
        path = d.deliver(f"{i}.a")
        if i % 10 == 0:
            with open(path, "rb") as f:
                f.read()
    assert d.fds() <= max(before, 256 + 40)
    subprocess.run(["find", d.path("new"), "-delete", "-name", "w*"], check=False, capture_output=True)
    until("the descriptors of removed mails are closed", lambda: d.fds() <= before + 40)


def test_requests_of_a_delivery(make):
    d = make("noxattr")
    d.deliver("warm.a")
    before = d.counters()
    for i in range(100):
        d.deliver(f"{i}.a")
    after = d.counters()
    delta = {k: after[k] - before.get(k, 0) for k in after}
    waited = {k: v for k, v in delta.items() if v and k not in ("forget", "release", "notify")}
    assert sum(waited.values()) <= 5 * 100 + 5, waited


def test_status_tells_the_requests(make):
    """The same figures as the daemon's own, for people and as JSON."""
    d = make()
    assert "nothing is mounted" not in run(mailbraid(), "--store", d.store, "status", "--fuse")
    d.deliver("1.a")
    told = json.loads(run(mailbraid(), "--store", d.store, "status", "--fuse", "--json"))["fuse"]
    assert told["create"] == 1 and told["rename"] == 1, told
    lines = run(mailbraid(), "--store", d.store, "status", "--fuse")
    assert re.search(r"^fuse +create +1$", lines, re.M), lines
    assert "fuse" not in json.loads(run(mailbraid(), "--store", d.store, "status", "--json"))
    assert d.stop() == 0
    assert "nothing is mounted" in run(mailbraid(), "--store", d.store, "status", "--fuse")


def test_a_mount_of_a_clean_store_can_be_read_by_others(make):
    """Nothing has changed since its clean stop, at the first start and at the next."""
    d = make()
    d.deliver("1.a", b"one")
    time.sleep(2.1)  # what is young is scanned again at the next start
    for _ in range(3):
        assert d.stop() == 0
        d.start()
        told = json.loads(run(mailbraid(), "--store", d.store, "status", "--json"))
        assert told["writer"] and told["messages"] == 1, told


def test_third_listing_costs_nothing(make):
    d = make("noxattr")
    for i in range(500):
        d.deliver(f"{i}.a")

    def look():
        for e in os.scandir(d.path("new")):
            e.stat()
            with open(e.path, "rb") as f:
                f.read()

    def costs():
        before = sum(d.counters().values())
        look()
        return sum(d.counters().values()) - before

    look()
    look()
    # what the deliveries set off (watches, forgets) may still be under way on a busy machine
    until("a listing that costs nothing", lambda: costs() <= 5)


def test_two_daemons_one_store(make):
    d = make()
    other = os.path.join(d.base, "other")
    os.mkdir(other)
    done = subprocess.run(
        [ours("MAILBRAID_FS", "mailbraid-fs"), "--store", d.store, "--mount", other], capture_output=True, timeout=20
    )
    assert done.returncode == 75 and b"why:" in done.stderr


def test_mount_point_that_is_not_empty(make):
    d = make()
    assert d.stop() == 0
    open(os.path.join(d.mnt, "something"), "w").close()
    done = subprocess.run(
        [ours("MAILBRAID_FS", "mailbraid-fs"), "--store", d.store, "--mount", d.mnt], capture_output=True, timeout=20
    )
    assert done.returncode != 0 and b"something" in done.stderr
    os.unlink(os.path.join(d.mnt, "something"))


def test_usage():
    fs = ours("MAILBRAID_FS", "mailbraid-fs")
    for argv in ([], ["--store"], ["--store", "x", "-o", "nonsense"], ["--store", "x", "y"]):
        assert subprocess.run([fs, *argv], capture_output=True).returncode == 64
    assert subprocess.run([fs, "--store", "/nonexistent", "--mount", "/tmp"], capture_output=True).returncode == 1
    assert "mailbraid-fs" in run(fs, "--version")


def test_read_only(make):
    d = make()
    d.deliver("1.a", b"one")
    assert d.stop() == 0
    d.options = "ro"
    d.start()
    assert bodies(d) == {"1.a": b"one"}
    with pytest.raises(OSError) as why:
        os.unlink(d.path("new", "1.a"))
    assert why.value.errno == errno.EROFS


# ---- several users -----------------------------------------------------------------------------


ROOT = os.geteuid() == 0
CALLER = (1234, 1235) if ROOT else (os.geteuid(), os.getegid())  # only root can become somebody else


def as_user(uid, gid, code, *args):
    become = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"] if ROOT else []
    return subprocess.run(
        [*become, sys.executable, "-c", code, *args],
        capture_output=True,
        text=True,
        timeout=20,
    )


def test_new_files_belong_to_the_caller(make):
    d = make("allow_other" if ROOT else "")
    os.chmod(d.base, 0o755)
    os.chmod(d.mnt, 0o755)
    shared = d.path("shared")
    os.mkdir(shared)
    os.chmod(shared, 0o777)
    group = d.path("group")
    os.mkdir(group)
    team = 4321 if ROOT else os.getegid()
    os.chown(group, -1, team)
    os.chmod(group, 0o2777)
    code = (
        "import os,sys\nos.chdir(sys.argv[1])\nopen('f','w').close()\nos.mkdir('d')\n"
        "os.symlink('f','l')\nos.mkfifo('p')\nos.chmod('f',0o640)"
    )
    assert as_user(*CALLER, code, shared).returncode == 0
    for name in "fdlp":
        st = os.lstat(os.path.join(shared, name))
        assert (st.st_uid, st.st_gid) == CALLER, name
    assert as_user(*CALLER, code, group).returncode == 0
    assert all(os.lstat(os.path.join(group, n)).st_gid == team for n in "fdlp")
    assert os.stat(os.path.join(group, "d")).st_mode & stat.S_ISGID
    if ROOT:
        refused = as_user(1236, 1236, "import sys; open(sys.argv[1])", os.path.join(shared, "f"))
        assert "PermissionError" in refused.stderr


def test_without_allow_other_the_mount_is_private(make):
    d = make()
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        options = [line.split()[-1].split(",") for line in f if line.split()[4] == d.mnt]
    assert len(options) == 1 and "allow_other" not in options[0] and f"user_id={os.geteuid()}" in options[0]
    if ROOT:
        seen = as_user(1234, 1235, "import os,sys; os.listdir(sys.argv[1])", d.mnt)
        assert "PermissionError" in seen.stderr


# ---- behind our back ---------------------------------------------------------------------------


def test_changes_in_the_backing_tree_show_up(make):
    d = make()
    path = d.deliver("1.a", b"one")
    assert os.listdir(d.path("new")) == ["1.a"]
    with open(os.path.join(d.backing, "tmp", "2.a"), "wb") as f:
        f.write(b"two")
    os.rename(os.path.join(d.backing, "tmp", "2.a"), os.path.join(d.backing, "new", "2.a"))
    until("the delivery shows", lambda: sorted(os.listdir(d.path("new"))) == ["1.a", "2.a"])
    assert bodies(d) == {"1.a": b"one", "2.a": b"two"}
    ino = os.stat(path).st_ino
    os.rename(os.path.join(d.backing, "new", "1.a"), os.path.join(d.backing, "cur", "1.a:2,S"))
    until("the flag shows", lambda: os.listdir(d.path("cur")) == ["1.a:2,S"])
    assert os.listdir(d.path("new")) == ["2.a"] and not os.path.exists(path)
    assert os.stat(d.path("cur", "1.a:2,S")).st_ino == ino
    os.unlink(os.path.join(d.backing, "cur", "1.a:2,S"))
    until("the expunge shows", lambda: os.listdir(d.path("cur")) == [])
    assert not os.path.exists(d.path("cur", "1.a:2,S"))


def test_a_folder_that_took_anothers_name_behind_our_back(make):
    d = make()
    for name in (".a", ".a/cur", ".a/new", ".a/tmp"):
        os.mkdir(d.path(name))
    with open(d.path(".a", "cur", "1.a:2,"), "wb") as f:
        f.write(b"one")
        os.fsync(f.fileno())
    for sub in ("cur", "new", "tmp"):  # each was looked at, with its name still free
        assert not os.path.exists(d.path(".a", sub, "2.a:2,"))
    os.rename(os.path.join(d.backing, ".a"), os.path.join(d.backing, ".b"))
    for name in (".a", ".a/cur", ".a/new", ".a/tmp"):
        os.mkdir(os.path.join(d.backing, name))
    with open(os.path.join(d.backing, ".a", "cur", "2.a:2,"), "wb") as f:
        f.write(b"two")
    until("the new folder shows", lambda: os.path.exists(d.path(".a", "cur", "2.a:2,")))
    until("the old one has its new name", lambda: os.path.exists(d.path(".b", "cur", "1.a:2,")))
    assert not os.path.exists(d.path(".a", "cur", "1.a:2,"))
    assert not os.path.exists(d.path(".b", "cur", "2.a:2,"))
