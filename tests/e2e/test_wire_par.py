"""Two stores in step over a stream: exec: with the real program at the other end, ends that are cut
anywhere, and ends that say what they should not."""

import os
import shlex
import shutil
import subprocess
import sys
import time

import pytest

from support.replica import PROGRAM, Far, Replica, body, run

PROXY = os.path.join(os.path.dirname(__file__), "support", "wire_proxy.py")


def cut(replica, to, back):
    """Its serve behind a proxy that ends after so many bytes to it, or from it."""
    return Far(replica, (sys.executable, PROXY, to, back))


@pytest.fixture
def two(tmp_path):
    return Replica(tmp_path / "a"), Replica(tmp_path / "b")


def same(a, b):
    assert a.tree() == b.tree()


def contents(r):
    return sorted(content for mail in r.tree().values() for _, _, content in mail)


def round_trips(answer):
    line = next(line for line in answer["err"].splitlines() if " round trips" in line)
    return int(line.split(" round trips")[0].split()[-1])


# ---- what a sync does ----


def test_mail_flags_and_folders_go_both_ways(two):
    a, b = two
    a.mkfolder("Work")
    a.deliver("one", folder="Work")
    b.deliver("two")
    a.sync(Far(b))
    same(a, b)
    a.flag("two", "+S")
    b.flag("one", "+F", folder="Work")
    b.mvfolder("Work", "Job")
    a.deliver("three", content=body("three", 3 << 20))
    a.sync(Far(b))
    same(a, b)
    assert "Job" in a.folders()
    os.unlink(a.path_of("two"))
    a.sync(Far(b))
    same(a, b)
    assert len(contents(b)) == 2


def test_large_mail_both_ways_at_once(two):
    """More than either end reads ahead: nobody waits for the other to read."""
    a, b = two
    a.sync(Far(b))
    a.deliver("one", content=body("one", 80 << 20))
    b.deliver("two", content=body("two", 80 << 20))
    a.sync(Far(b), "-T", "20")
    same(a, b)
    assert len(contents(a)) == 2


def test_nothing_new_is_one_round_trip_and_writes_nothing(two):
    a, b = two
    for i in range(30):
        a.mkfolder(f"box{i}")
        a.deliver(f"m{i}", folder=f"box{i}")
    a.sync(Far(b))
    logs = a.log_bytes(), b.log_bytes()
    assert round_trips(a.sync(Far(b), "-D")) == 1
    assert logs == (a.log_bytes(), b.log_bytes())
    same(a, b)


def test_hundred_changes_each_way_are_three_round_trips(two):
    a, b = two
    for i in range(100):
        a.deliver(f"old{i}", sub="cur", content=body(f"old {i}", i * 3))
    a.sync(Far(b))
    a.sync(Far(b))
    time.sleep(0.01)
    for i in range(100):
        (a, b)[i % 2].deliver(f"new{i}", content=body(f"new {i}", 1000 + 7 * i))
        (b, a)[i % 2].flag(f"old{i}", "+S")
    assert round_trips(a.sync(Far(b), "-D")) <= 3
    same(a, b)
    assert len(contents(a)) == 200
    assert round_trips(a.sync(Far(b), "-D")) == 1


def test_either_may_start(two):
    a, b = two
    a.deliver("one")
    a.sync(Far(b))
    b.deliver("two")
    b.sync(Far(a))
    same(a, b)
    assert a.sync(Far(b), "-D")["sent"]["new"] == 0


def test_it_is_registered_and_found_again(two):
    a, b = two
    a.sync(Far(b))
    a.deliver("one")
    done = a.command("sync", "--json")
    assert done.code == 0, done
    same(a, b)
    # who was synced with knows nothing of where that came from
    assert "exec:" not in b.must("peer", "list", "--json").out


def test_both_at_once(two):
    a, b = two
    a.sync(Far(b))
    for n in range(5):
        a.deliver(f"a{n}")
        b.deliver(f"b{n}")
        both = [
            subprocess.Popen([PROGRAM, "--store", x.path, "sync", "-q", Far(y).destination]) for x, y in ((a, b), (b, a))
        ]
        assert all(p.wait(30) in (0, 2, 75) for p in both)
    a.sync(Far(b))
    same(a, b)
    assert len(contents(a)) == 10


def test_a_dry_run_writes_nothing(two):
    a, b = two
    a.sync(Far(b))
    a.deliver("one")
    b.deliver("two")
    logs = a.log_bytes(), b.log_bytes()
    answer = a.sync(Far(b), "--dry-run", code=(0, 2))
    assert answer["sent"]["new"] == 1 and answer["got"]["new"] == 1
    assert logs == (a.log_bytes(), b.log_bytes())


def test_ten_thousand_are_bounded_in_memory(two):
    """A first copy holds a window of bodies, not all of them."""
    a, b = two
    for i in range(600):
        b.deliver(f"m{i}", content=body(f"m {i}", 200_000))
    program = [PROGRAM, "--store", a.path, "sync", "-q", Far(b).destination]
    # of the child alone: what a test before this one needed does not count
    script = "import resource,subprocess,sys;c=subprocess.call(sys.argv[1:]);print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss);sys.exit(c)"
    done = subprocess.run([sys.executable, "-c", script, *program], capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done
    assert int(done.stdout) < 100_000  # KiB; the mail has 120 MB
    same(a, b)


# ---- ends that break ----


def prepared(tmp_path):
    a, b = Replica(tmp_path / "a"), Replica(tmp_path / "b")
    a.mkfolder("F")
    for n in range(4):
        a.deliver(f"old{n}", sub="cur")
    a.sync(b)
    a.deliver("new-a", content=body("new a", 3000))
    b.deliver("new-b", content=body("new b", 3000))
    a.deliver("in-f", folder="F", content=body("in f", 100))
    a.flag("old0", "+S")
    b.flag("old1", "+F")
    os.unlink(a.path_of("old2"))
    b.mkfolder("G")
    os.rename(b.path_of("old3"), os.path.join(b.folder("G"), "cur", "old3:2,"))
    return a, b


def totals(a, b):
    """Bytes that one sync sends each way."""
    answer = a.sync(Far(b), "-D")
    line = next(line for line in answer["err"].splitlines() if " round trips" in line)
    words = line.replace(",", "").split()
    return int(words[words.index("bytes") - 1]), int(words[words.index("got") - 1])


@pytest.mark.parametrize("way", ("to", "back"))
def test_cut_at_any_byte(tmp_path, way):
    whole = tmp_path / "whole"
    whole.mkdir()
    a, b = prepared(whole)
    original = tmp_path / "original"
    shutil.copytree(whole, original, symlinks=True)
    to, back = totals(a, b)
    wanted = contents(a)
    assert len(wanted) == 6
    limit = to if way == "to" else back
    cuts = sorted({*range(0, limit, max(1, limit // 20)), limit - 1})
    for n in cuts:
        shutil.rmtree(whole)
        shutil.copytree(original, whole, symlinks=True)  # the same paths, so the same stores
        code = a.command("sync", "-q", cut(b, *((n, -1) if way == "to" else (-1, n))).destination).code
        assert code in (0, 1, 2), n
        a.sync(Far(b))
        same(a, b)
        assert contents(a) == wanted, n


def fake(*words):
    return "exec:" + shlex.join(map(str, words))


HELLO = b"mailbrd\n\x01\x00\x01\x00"


def frame(kind, ident, payload):
    return (5 + len(payload)).to_bytes(4, "little") + bytes([kind]) + ident.to_bytes(4, "little") + payload


def info(replica=77, caps=0x3F):
    return (
        replica.to_bytes(8, "little") + b"\x05" * 16 + caps.to_bytes(4, "little") + bytes(8 + 4 + 8 + 8) + bytes(16)
    )


GOOD = frame(1, 0, HELLO + bytes(4) + info())
BAD = {
    "nothing": b"",
    "a banner": b"Welcome to host!\r\n",
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "4 GiB": b"\xff\xff\xff\xff\x01\x00\x00\x00\x00",
    "4 GiB later": GOOD + b"\xff\xff\xff\xff\x03\x01\x00\x00\x00",
    "another version": frame(1, 0, b"mailbrd\n\x02\x00\x09\x00" + bytes(200)),
    "a long hello": frame(1, 0, HELLO + bytes(10000)),
    "nobody": frame(1, 0, HELLO + bytes(4) + info(0)),
    "no capabilities": frame(1, 0, HELLO + bytes(4) + info(77, 0)),
    "half a hello": GOOD[:20],
    "goodbye": GOOD,
    "a refusal": frame(2, 0, (-13).to_bytes(4, "little", signed=True) + b"\x02no"),
    "an answer to nothing": GOOD + frame(3, 9, bytes(4)),
    "out of order": GOOD + frame(3, 2, bytes(4)),
    "a request": GOOD + frame(17, 1, b"\x00"),
    "short answer": GOOD + frame(3, 1, b"\x00"),
    "short info": GOOD + frame(3, 1, bytes(10)),
    "data unasked": GOOD + frame(5, 1, b"x" * 100),
    "a part unasked": GOOD + frame(4, 1, b"\x01" + bytes(16)),
    "tree backwards": GOOD
    + frame(3, 1, bytes(4) + info())
    + frame(3, 2, (-2).to_bytes(4, "little", signed=True))
    + frame(4, 3, b"\x05" + b"\xff" * 40),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_ends(tmp_path, name):
    a = Replica(tmp_path / "a")
    a.deliver("one")
    a.notice()
    (tmp_path / "bytes").write_bytes(BAD[name])
    log = a.log_bytes()
    done = a.command("sync", fake("sh", "-c", f"cat {tmp_path}/bytes; exec cat >/dev/null"), "-T", "3")
    if name in ("nothing",):
        assert done.code != 0
    assert done.code in (1, 2, 69), done
    assert "why:" in done.err and "exec:" in done.err
    assert a.log_bytes() == log
    assert sorted(os.listdir(tmp_path)) == ["a", "bytes"]
    assert len(contents(a)) == 1


def test_an_end_that_hangs(tmp_path):
    a = Replica(tmp_path / "a")
    start = time.monotonic()
    done = a.command("sync", "-T", "2", fake("sleep", "100"))
    assert done.code == 2 and "timed out" in done.err.lower(), done
    assert 2 <= time.monotonic() - start < 8


def test_commands_that_are_none(tmp_path):
    a = Replica(tmp_path / "a")
    for destination, code in (("exec:no-such-program-at-all", 1), ("exec:", 64), ("exec:'x", 64)):
        done = a.command("sync", destination)
        assert done.code == code, (destination, done)
    done = a.command("sync", fake("sh", "-c", "echo something is wrong >&2; exit 3"))
    assert done.code == 2 and "something is wrong" in done.err and "exit code 3" in done.err, done


def test_ssh_names_that_are_options_are_refused(tmp_path):
    a = Replica(tmp_path / "a")
    evil = tmp_path / "evil"
    for where in (f"-oProxyCommand=touch${{IFS}}{evil}/x", f"`touch {evil}`@host/x", "me@/x", "host", "a b/x"):
        assert a.command("sync", "ssh://" + where).code == 64, where
    assert not evil.exists()


def test_ssh_is_asked_with_words(tmp_path):
    """MAILBRAID_SSH in the place of ssh: it gets the words, and its shell gets the path as one."""
    a, b = Replica(tmp_path / "a"), Replica(tmp_path / "it's b")
    a.deliver("one")
    shim = tmp_path / "shim"
    shim.write_text(
        '#!/bin/sh\necho "$*" >"$0.args"\nwhile [ "$1" != -- ]; do shift; done\nshift 2\n'
        f'PATH={os.path.dirname(PROGRAM)}:$PATH\nexec sh -c "$*"\n'
    )
    shim.chmod(0o700)

    class Ssh:
        destination = f"ssh://me@far:2222{b.path}"

    a.sync(Ssh, env={"MAILBRAID_SSH": f"{shim} -F none"})
    same(a, b)
    words = (tmp_path / "shim.args").read_text().split()
    assert words[:8] == ["-F", "none", "-p", "2222", "-l", "me", "-T", "--"] and words[8] == "far"


def test_serve_says_what_it_is_for(tmp_path):
    done = run("--store", tmp_path / "none", "serve")
    assert done.code == 1
    a = Replica(tmp_path / "a")
    done = subprocess.run([PROGRAM, "--store", a.path, "serve"], input=b"EHLO\r\n\r\n", capture_output=True, check=False)
    assert done.returncode == 1 and done.stdout[4:5] == b"\x02"
