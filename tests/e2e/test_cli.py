"""The command line: what each verb prints, its exit codes, and what it says when something is wrong."""

import json
import os
import re
import shutil
import stat
import subprocess

import pytest

from support.replica import Replica, World, bound_by_modes, run


@pytest.fixture
def a(tmp_path):
    return Replica(tmp_path / "a")


@pytest.fixture
def b(tmp_path):
    return Replica(tmp_path / "b")


def says(result, code, *words):
    """What, why and do on stderr; nothing on stdout."""
    assert result.code == code, result
    assert result.out == "", result
    for word in words:
        assert word in result.err, result
    return result


# ---- before the verb -------------------------------------------------------------------------------


def test_help_lists_the_verbs():
    result = run("--help")
    assert result.code == 0
    for verb in ("init", "mount", "umount", "watch", "sync", "backup", "status", "log", "peer", "conflicts", "checkpoint", "demo", "pause", "serve", "version"):
        assert re.search(rf"^  {verb} ", result.out, re.M), verb
    assert not re.search(r"^  reconcile ", result.out, re.M)


@pytest.mark.parametrize(
    "verb",
    ["init", "mount", "umount", "watch", "sync", "backup", "status", "log", "peer", "conflicts", "checkpoint", "demo", "version", "reconcile"],
)
def test_each_verb_has_help(verb):
    result = run(verb, "--help")
    assert result.code == 0 and not result.err
    assert result.out.startswith(f"usage: mailbraid [--store DIR] {verb}")


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["nonsense"],
        ["--nonsense"],
        ["--store"],
        ["version", "--nonsense"],
        ["version", "-x"],
        ["version", "more"],
        ["sync", "-s"],
        ["umount"],
        ["init"],
        ["status"],
    ],
)
def test_usage_errors_are_64(args, monkeypatch):
    monkeypatch.delenv("MAILBRAID_STORE", raising=False)
    result = run(*args)
    assert result.code == 64, result
    assert result.err and not result.out


def test_an_unknown_option_is_named(a):
    says(a.command("sync", "--nonsense"), 64, "--nonsense", "mailbraid sync --help")
    says(a.command("sync", "maildir:somewhere", "--nonsense"), 64, "no option --nonsense")
    says(a.command("log", "-x"), 64, "-x")
    says(a.command("log", "-n", "many"), 64, "many")
    says(a.command("checkpoint", "--keep", "soon"), 64, "soon")


@pytest.mark.parametrize("before, after", [(["-v"], []), (["-D"], []), (["-Dv"], []), (["-v", "-v"], ["-v"])])
def test_letters_before_the_verb_are_those_of_the_verb_as_doveadm_has_them(a, b, before, after):
    a.deliver("m1")
    done = run(*before, "--store", a.path, *before, "sync", *after, b.destination)
    assert done.code == 0, done
    assert ("-> arrive" in done.err) == any("v" in word for word in before), done
    assert ("the scope is" in done.err) == any("D" in word for word in before), done
    done = run(*before, "--store", a.path, "backup", b.destination)
    assert done.code == 0, done


def test_letters_before_a_verb_that_has_none_are_refused(a):
    says(run("-v", "--store", a.path, "conflicts"), 64, "conflicts: no option -v")
    says(run("-o", "x=y", "--store", a.path, "sync", "store:b"), 64, "usage:")


def test_version():
    assert re.fullmatch(r"mailbraid \d+\.\d+\.\d+\n", run("version").out)
    assert run("--version").out == run("version").out
    assert json.loads(run("version", "--json").out)["v"] == 1


def test_the_store_comes_from_the_environment_too(a):
    result = run("status", "--json", env={"MAILBRAID_STORE": a.path})
    assert json.loads(result.out)["store"] == os.path.realpath(a.path)


def test_a_full_pipe_is_an_error(a):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [os.environ["MAILBRAID"], "--store", a.path, "status"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert b"No space left" in done.stderr


# ---- init ------------------------------------------------------------------------------------------


def test_init_makes_a_store(tmp_path):
    result = run("--store", tmp_path / "s", "init", "--json")
    assert json.loads(result.out) == {
        "v": 1,
        "store": str(tmp_path / "s"),
        "layout": "maildir++",
        "adopted": None,
    }
    for name in ("mail/cur", "mail/new", "mail/tmp", "log", "index", "deleted", "staging", "config"):
        assert os.path.exists(tmp_path / "s" / name), name
    assert stat.S_IMODE(os.stat(tmp_path / "s").st_mode) & 0o077 == 0


def test_init_with_layout_fs(tmp_path):
    s = Replica(tmp_path / "s", layout="fs")
    s.mkfolder("work")
    assert s.status()["layout"] == "fs"
    says(run("--store", tmp_path / "t", "init", "--layout", "odd"), 64, "odd")


def test_each_failure_of_init_says_what_to_do(tmp_path, a):
    (tmp_path / "file").write_text("mine")
    maildir = tmp_path / "m"
    for name in ("cur", "new", "tmp"):
        (maildir / name).mkdir(parents=True)
    says(run("--store", tmp_path / "none", "status"), 1, "why: No such file", "do:  Check the path")
    says(run("--store", tmp_path / "file", "init"), 1, "why: Not a directory", "do:  Name a directory")
    says(run("--store", a.path, "init"), 1, "why: Directory not empty", "do:  Choose an empty directory")
    says(run("init", "--adopt", tmp_path / "none"), 1, "why: No such file", "do:  Check the path")
    says(run("--store", maildir / "state", "init", "--adopt", maildir), 1, "do:  Its state cannot lie inside")
    assert sorted(os.listdir(maildir)) == ["cur", "new", "tmp"]
    assert run("init", "--adopt", maildir).code == 0
    says(run("init", "--adopt", maildir), 1, "why: File exists", "do:  Either it is adopted already")


def test_init_does_not_touch_what_is_there(tmp_path, a):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").write_text("mine")
    says(run("--store", tmp_path / "full", "init"), 1, "cannot make a store")
    assert os.listdir(tmp_path / "full") == ["letter"]
    says(a.command("init"), 1, "cannot make a store")


def make_maildir(path, n=3):
    m = Replica(path, plain=True)
    for i in range(n):
        m.deliver(f"{i}.x.host:2,S", sub="cur")
    return m


def test_adopt_leaves_every_file(tmp_path):
    m = make_maildir(tmp_path / "md")
    before = sorted(os.listdir(tmp_path / "md" / "cur"))
    result = run("init", "--adopt", tmp_path / "md", "--json")
    answer = json.loads(result.out)
    assert answer["store"] == str(tmp_path / "md.mailbraid")
    assert sorted(os.listdir(tmp_path / "md" / "cur")) == before
    # The Maildir and the store both name it.
    for name in (tmp_path / "md", tmp_path / "md.mailbraid"):
        status = json.loads(run("--store", name, "status", "--json").out)
        assert status["store"] == answer["store"]
        assert status["mail"] == str(tmp_path / "md")
    assert m.folders() == ["INBOX"]


def test_adopt_into_a_chosen_place(tmp_path):
    make_maildir(tmp_path / "md")
    result = run("--store", tmp_path / "state", "init", "--adopt", tmp_path / "md")
    assert result.code == 0, result
    assert json.loads(run("--store", tmp_path / "md", "status", "--json").out)["store"] == str(tmp_path / "state")


def test_what_is_no_maildir_is_not_adopted(tmp_path):
    (tmp_path / "d").mkdir()
    says(run("init", "--adopt", tmp_path / "d"), 1, "cannot adopt", "no Maildir", "cur, new and tmp")
    assert os.listdir(tmp_path) == ["d"]


# ---- which store -----------------------------------------------------------------------------------


def test_no_store_there(tmp_path):
    for verb in (["status"], ["log"], ["sync", "store:/x"], ["checkpoint"], ["mount", "/mnt"], ["watch"]):
        says(run("--store", tmp_path, *verb), 1, "why:", "do:", "init")
        result = run("--store", tmp_path / "missing", *verb)
        assert result.code == 1 and "why:" in result.err


def test_a_store_that_others_may_write_is_refused(a):
    os.chmod(a.path, 0o777)
    says(a.command("status"), 1, "others may write", "chmod")


def test_a_store_of_a_newer_version_is_refused(a):
    path = os.path.join(a.path, "config")
    text = open(path).read()
    open(path, "w").write(re.sub("format=\\d+", "format=99", text))
    assert "format=99" in open(path).read()
    says(a.command("status"), 69, "newer")
    says(a.command("sync", "store:/nowhere"), 69, "newer")


@pytest.mark.parametrize("damage", ["", "format=1\nlayout=maildir++\n", "\0\0\0", "format=1\nlayout=maildir+*\nstore="])
def test_a_damaged_config_is_named_and_can_be_written_anew(a, b, damage):
    a.deliver("1.x.host")
    b.must("sync", a.destination)
    path = os.path.join(a.path, "config")
    with open(path, "w", encoding="utf-8") as f:
        f.write(damage)
    for result in (a.command("status"), a.command("sync", b.destination), b.command("sync", a.destination)):
        says(result, 1, '"config"', "do:", "mailbraid(7)")
        assert "index/" not in result.err
    # as the manual says: the name of the store is known to the peer
    known = json.loads(b.must("peer", "--json").out)["peers"][0]["store"]
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"format=1\nlayout=maildir++\nstore={known}\n")
    a.deliver("2.x.host")
    b.must("sync", a.destination)
    assert len(os.listdir(os.path.join(b.mail, "new"))) == 2


def test_the_manual_lists_every_file_of_a_store(a, b):
    page = os.path.join(os.environ.get("MAILBRAID_SOURCE", os.path.join(os.path.dirname(__file__), "../..")), "man")
    with open(os.path.join(page, "mailbraid.7"), encoding="utf-8") as f:
        text = f.read()
    a.mkfolder("F")
    a.deliver("1.x.host", folder="F")
    a.must("sync", b.destination)
    a.edit("1.x.host", b"here", "F")
    b.edit("1.x.host", b"there", "F")
    a.mvfolder("F", "G")
    b.mvfolder("F", "H")
    a.command("sync", b.destination)
    found = set(os.listdir(a.path)) | set(os.listdir(b.path))
    assert {"config", "state", "lock", "intent", "conflicts"} <= found
    for name in found:
        assert f"Pa STORE/{name}" in text, name


# ---- sync ------------------------------------------------------------------------------------------


def test_sync_prints_one_line_and_then_nothing(a, b):
    a.deliver("1.x.host")
    result = a.command("sync", b.destination)
    assert result.code == 0
    assert re.fullmatch(rf"store:\S+: sent 1 new[^\n]* \(\d+\.\d\d s\)\n", result.out)
    assert a.command("sync", b.destination) == (0, "", "")
    assert "in step" in a.must("sync", "-v", b.destination).out


def test_a_peer_is_registered_by_its_first_sync(a, b):
    says(a.command("sync"), 64, "no peer is registered")
    a.must("sync", b.destination)
    peers = a.status()["peers"]
    assert [p["destination"] for p in peers] == ["store:" + b.path]
    # The other side knows us, but does not go to us.
    assert [p["destination"] for p in b.status()["peers"]] == [None]
    says(b.command("sync"), 64, "no peer is registered")
    a.deliver("1.x.host")
    assert "sent 1 new" in a.must("sync").out


def test_verbose_tells_each_change(a, b):
    a.deliver("1.x.host")
    result = a.must("sync", "-v", b.destination)
    assert re.search(r"^-> arrive +INBOX [0-9a-f]{32}", result.err, re.M)


def test_sync_json(a, b):
    a.deliver("1.x.host")
    b.deliver("2.x.host", folder="INBOX")
    answer = a.sync(b)
    assert answer["v"] == 1 and answer["exit"] == 0 and answer["full"] is True
    assert answer["sent"]["new"] == 1 and answer["got"]["new"] == 1
    assert answer["errors"] == 0 and answer["held"] == 0


def test_a_dry_run_tells_and_changes_nothing(a, b):
    a.deliver("1.x.host")
    result = a.must("sync", "--dry-run", b.destination)
    assert result.out == (
        f"-> {b.destination}  + 1 mails  ~ 0 flags  > 0 moves  - 0 expunged\n"
        f"<- {b.destination}  + 0 mails  ~ 0 flags  > 0 moves  - 0 expunged\n"
    )
    assert not os.listdir(os.path.join(b.mail, "new"))
    assert a.status()["peers"] == []


def test_state_strings(a, b):
    a.deliver("1.x.host")
    first = a.must("sync", "-s", "", b.destination)
    state = first.out.strip()
    assert re.fullmatch(r"[A-Za-z0-9+/=]+", state)
    again = a.must("sync", "-s", state, b.destination)
    assert again.out.strip() == state and not again.err
    b.deliver("2.x.host")
    moved = a.must("sync", "-s", state, b.destination)
    assert moved.out.strip() != state
    assert "got 1 new" in moved.err
    for bad in ("nonsense", state[:-8], "A" * len(state)):
        result = a.must("sync", "-s", bad, b.destination)
        assert "state string is of no use" in result.err
        assert re.fullmatch(r"[A-Za-z0-9+/=]+\n", result.out)
    says(a.command("sync", "-s", state), 64, "DESTINATION")


def test_destinations_that_are_none(a, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "letter").write_text("mine")
    says(a.command("sync", f"maildir:{tmp_path}/d"), 1, "no Maildir")
    assert os.listdir(tmp_path / "d") == ["letter"]
    says(a.command("sync", f"store:{tmp_path}/d"), 1, "no store")
    says(a.command("sync", "pigeon:home"), 64, "cannot open the peer")
    result = a.command("sync", f"store:{tmp_path}/missing")
    assert result.code in (1, 2) and "why:" in result.err
    assert a.status()["peers"] == []


@pytest.mark.parametrize("plain, left", [("", False), ("", True), ("b", False)])
def test_a_registered_peer_that_is_not_there_is_tried_again(tmp_path, plain, left):
    """Its disk is not mounted: a later run does it.  A place where none was is somebody's mistake.
    left: the mount point is there.  (An empty directory is a Maildir to be.)"""
    w = World(str(tmp_path / "w"), plain=plain)
    w.a.deliver("m1")
    for registered in (False, True):
        os.rename(w.b.path, w.b.path + ".aside")
        if left:
            os.mkdir(w.b.path)
        says(w.a.command("sync", w.b.destination), 2 if registered else 1, "cannot open the peer", w.b.path)
        if registered:
            says(w.a.command("sync"), 2, "Is its disk mounted?")
            says(w.a.command("sync", "-1", w.b.destination), 2, "Is its disk mounted?")
        if left:
            os.rmdir(w.b.path)
        os.rename(w.b.path + ".aside", w.b.path)
        w.a.sync(w.b)
    assert w.b.names() == ["m1"]



def test_a_store_is_not_its_own_peer(a):
    says(a.command("sync", a.destination), 1, "same store")


def test_another_store_in_the_place_of_a_peer_stops_the_sync(a, b, tmp_path):
    a.deliver("1.x.host")
    a.must("sync", b.destination)
    shutil.rmtree(b.path)
    other = Replica(b.path)
    result = a.command("sync")
    assert result.code == 1 and "not the one" in result.err, result
    assert not os.listdir(os.path.join(other.mail, "new"))
    result = a.must("sync", "--replace-peer", b.destination)
    assert "sent 1 new" in result.out
    assert len(a.status()["peers"]) == 1


def test_a_mass_expunge_that_was_not_seen_is_held(a, b):
    for i in range(100):
        a.deliver(f"{i}.x.host")
    a.must("sync", b.destination)
    for name in os.listdir(os.path.join(a.mail, "new")):
        os.unlink(os.path.join(a.mail, "new", name))
    result = a.command("sync")
    assert result.code == 1 and "--allow-mass-expunge" in result.err, result
    assert len(os.listdir(os.path.join(b.mail, "new"))) == 100
    a.must("sync", "--allow-mass-expunge")
    assert not os.listdir(os.path.join(b.mail, "new"))


def test_a_file_that_cannot_be_read_is_told_and_not_lost(a, b):
    path = a.deliver("1.x.host")
    os.chmod(path, 0)
    a.deliver("2.x.host")
    result = a.command("sync", b.destination, before=bound_by_modes())
    assert result.code in (1, 2) and "ermission denied" in result.err, result
    os.chmod(path, 0o600)
    a.must("sync", b.destination)
    assert len(os.listdir(os.path.join(b.mail, "new"))) == 2


# ---- status and log --------------------------------------------------------------------------------


def test_status_tells_what_is_there(a, b):
    a.deliver("1.x.host")
    a.mkfolder("work")
    a.must("sync", b.destination)
    text = a.must("status").out
    assert "1 messages in 2 mailboxes" in text
    assert "nobody now" in text
    assert "store:" + b.path in text
    status = a.status()
    assert status["messages"] == 1 and status["mailboxes"] == 2
    assert status["lost"] == 0 and status["damaged"] == 0 and status["writer"] is False


def test_status_after_syncs_with_options(a, b):
    """What a peer's restricted syncs remember is read without harm; the peer's store as well."""
    a.deliver("1.x.host")
    a.must("sync", b.destination)
    for options in (["-1"], ["--pull", "new"], ["-m", "INBOX"]):
        a.must("sync", *options, b.destination)
        assert "store:" + b.path in a.must("status").out
        assert [p["destination"] for p in a.status()["peers"]] == ["store:" + b.path]
        b.must("status")


def test_status_and_log_change_nothing(a):
    a.deliver("1.x.host")
    before = a.log_bytes()
    a.must("status")
    a.must("log")
    assert a.log_bytes() == before


def test_log_tells_what_happened(a, b):
    path = a.deliver("1.x.host")
    a.must("sync", b.destination)
    os.rename(path, os.path.join(a.mail, "cur", "1.x.host:2,S"))
    a.must("sync", b.destination)
    lines = a.must("log").out.splitlines()
    assert re.search(r"arrive +INBOX new/1\.x\.host$", lines[-2]) or any("arrive" in x for x in lines)
    assert re.search(r"flags +INBOX .*1\.x\.host:2,S", lines[-1]), lines
    assert "peer:" in b.must("log").out
    assert a.must("log", "-n", "1").out.splitlines() == lines[-1:]
    records = a.log()
    assert records[-1]["v"] == 1
    assert {r["what"] for r in records} >= {"arrive", "flags", "replica", "peer"}
    assert [r["modseq"] for r in records] == sorted(r["modseq"] for r in records)


def test_names_cannot_play_with_the_terminal(a, b):
    a.deliver("1.\x1b[31mred.host")
    a.must("sync", b.destination)
    assert "\x1b" not in a.must("log").out
    assert "\\x1b[31m" in a.must("log").out
    name = os.fsencode(a.mail) + b"/new/2.\xff\xfe.host"
    open(name, "wb").write(b"Subject: x\n\n")
    a.must("sync", b.destination)
    assert a.log()  # still JSON


def test_log_follow(a, b):
    done = subprocess.Popen(
        [os.environ["MAILBRAID"], "--store", a.path, "log", "-f", "--json"], stdout=subprocess.PIPE
    )
    try:
        assert b"mailbox-create" in done.stdout.readline()
        a.deliver("1.x.host")
        a.must("sync", b.destination)
        assert json.loads(done.stdout.readline())["what"] == "arrive"
    finally:
        done.terminate()
        done.wait(10)


def test_an_index_that_is_gone_or_damaged_is_made_again(a, b):
    a.deliver("1.x.host")
    a.must("sync", b.destination)
    index = os.path.join(a.path, "index")
    shutil.rmtree(index)
    assert a.status()["messages"] == 1
    for name in os.listdir(index):
        with open(os.path.join(index, name), "r+b") as f:
            f.write(b"\xff" * 8192)
    assert a.status()["messages"] == 1
    assert a.log()[-1]["what"] == "peer"
    assert a.sync(b)["sent"]["new"] == 0


# ---- checkpoint ------------------------------------------------------------------------------------


def test_an_old_log_goes_without_waiting_for_a_change(a, b):
    a.deliver("one")
    a.sync(b)
    a.must("checkpoint", "--keep", "0")
    old = min(name for name, _ in a.log_bytes() if name.endswith(".log"))
    a.sync(b)  # nothing to do, but the peer has passed the old file now
    a.must("checkpoint", "--keep", "0")
    assert old not in dict(a.log_bytes())
    a.sync(b)
    before = a.log_bytes(), b.log_bytes()
    a.sync(b)
    assert before == (a.log_bytes(), b.log_bytes())


def test_checkpoint_keeps_everything(a, b):
    for i in range(5):
        a.deliver(f"{i}.x.host")
    a.must("sync", b.destination)
    a.must("checkpoint", "--keep", "0")
    assert any(x.endswith(".ckpt") for x, _ in a.log_bytes())
    shutil.rmtree(os.path.join(a.path, "index"))
    assert a.sync(b)["sent"]["new"] == 0
    assert a.status()["messages"] == 5


# ---- mount, before anything is mounted -------------------------------------------------------------


def test_mount_needs_a_place(a, tmp_path):
    if not os.path.exists("/dev/fuse"):
        result = a.command("mount", tmp_path)
        assert result.code == 69 and "watch" in result.err
        return
    says(a.command("mount"), 64, "where?")
    says(a.command("mount", tmp_path / "missing"), 1, "cannot mount")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").write_text("mine")
    says(a.command("mount", tmp_path / "full"), 1, "letter", "adopt")


def test_umount_of_what_is_not_mounted(tmp_path):
    says(run("umount", tmp_path), 1, "no mailbraid is mounted")
    assert run("umount", tmp_path / "missing").code == 1
