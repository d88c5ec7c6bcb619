"""Modes, selections and backups, with the real program on real trees.

Rows 130 to 137 and 144 of the scenarios: each for a store, and where it differs for a plain Maildir, as
the peer.  Whatever a restricted sync leaves out, a plain one brings later.
"""

import fcntl
import getpass
import json
import os
import re
import socket
import struct
import subprocess
import time

import pytest

from support.replica import PROGRAM, Replica, body
from support.replica import run as run_program

DAY = 86400 * 10**9


@pytest.fixture
def a(tmp_path):
    return Replica(tmp_path / "a")


@pytest.fixture(params=["store", "maildir"])
def b(request, tmp_path):
    return Replica(tmp_path / "b", plain=request.param == "maildir")


@pytest.fixture
def store(tmp_path):
    return Replica(tmp_path / "b")


def run_verb(verb, replica, other, *options, code=0):
    result = replica.command(verb, "--json", *options, other.destination)
    assert result.code == code, result
    return json.loads(result.out.splitlines()[-1]) | {"err": result.err}


def backup(replica, other, *options, code=0):
    return run_verb("backup", replica, other, *options, code=code)


def same(a, b):
    """Folders, names, flags and bytes; a plain Maildir has file names of its own."""
    x, y = a.tree(), b.tree()
    if a.plain or b.plain:
        x, y = ({f: sorted(m[1:] for m in tree[f]) for f in tree} for tree in (x, y))
    assert x == y


def picture(replica):
    """All that a session may change in the mail of a side, times too."""
    found = []
    for folder, _, names in os.walk(replica.mail):
        if os.path.basename(folder) != "tmp":
            found += [(os.path.join(folder, n), os.lstat(os.path.join(folder, n)).st_mtime_ns) for n in names]
    return sorted(found)


def quiet(verb, replica, other, *options):
    """Once more: nothing is done."""
    before = picture(replica), picture(other)
    answer = run_verb(verb, replica, other, *options)
    assert not any(answer["sent"].values()) and not any(answer["got"].values()), answer
    assert (picture(replica), picture(other)) == before


def texts(replica, folder="INBOX"):
    """Subjects in a folder."""
    return sorted(re.search(rb"Subject: (\S+)", c).group(1).decode() for c in replica.contents(folder))


# ---- one way ---------------------------------------------------------------------------------------


def test_one_way_and_then_both_ways(a, b):
    a.deliver("a1", body("a1"))
    b.deliver("b1", body("b1"))
    before = picture(a)
    a.sync(b, "-1")
    assert texts(b) == ["a1", "b1"] and texts(a) == ["a1"]
    assert picture(a) == before
    quiet("sync", a, b, "-1")
    a.deliver("a2", body("a2"))
    answer = a.sync(b, "-1")
    assert not answer["full"] and answer["sent"]["new"] == 1
    a.sync(b)
    assert texts(a) == texts(b) == ["a1", "a2", "b1"]
    same(a, b)
    quiet("sync", a, b)


def test_one_way_round(a, b):
    a.deliver("a1", body("a1"))
    b.deliver("b1", body("b1"))
    before = picture(b)
    a.sync(b, "-1", "-R")
    assert texts(a) == ["a1", "b1"] and texts(b) == ["b1"]
    assert picture(b) == before
    a.sync(b)
    same(a, b)


def test_row_137_what_the_destination_expunged_stays_so(a, b):
    a.deliver("m", body("m"))
    a.deliver("n", body("n"))
    a.sync(b)
    gone = [name for name in b.names() if b"Subject: m\n" in b.read(name)]
    b.expunge(gone[0])
    a.deliver("o", body("o"))
    a.sync(b, "-1")
    assert texts(b) == ["n", "o"] and texts(a) == ["m", "n", "o"]
    a.flag("m", "+S")
    a.sync(b, "-1")
    assert texts(b) == ["n", "o"]
    a.sync(b)
    assert texts(a) == texts(b) == ["n", "o"]


def test_row_135_pulled_only(a, b):
    b.deliver("m", body("m"))
    a.sync(b)
    a.flag("m" if not b.plain else a.names()[0], "+F")
    b.deliver("n", body("n"))
    before = picture(b)
    for _ in range(2):
        a.sync(b, "--push", "none")
        assert texts(a) == ["m", "n"]
        assert picture(b) == before
    a.sync(b)
    same(a, b)
    assert any("F" in flags for _, flags, _ in b.tree()["INBOX"])


@pytest.mark.parametrize("word", ["new", "flags", "moves", "expunges", "folders"])
def test_each_word_of_push(a, b, word):
    a.mkfolder("Box")
    for name in ("flagged", "moved", "gone"):
        a.deliver(name + ":2,", body(name), sub="cur")
    a.sync(b)
    a.flag("flagged", "+S")
    a.move("moved", "Box")
    a.expunge("gone")
    a.deliver("new", body("new"))
    a.mkfolder("More")
    before = picture(a)
    a.sync(b, "--push", word, "--pull", "none")
    assert picture(a) == before
    done = {
        "new": "new" in texts(b),
        "flags": any("S" in flags for _, flags, _ in b.tree()["INBOX"]),
        "moves": "moved" in texts(b, "Box"),
        "expunges": "gone" not in texts(b),
        "folders": "More" in b.folders(),
    }
    assert done == {w: w == word for w in done}
    a.sync(b)
    same(a, b)
    quiet("sync", a, b)


def test_an_edit_without_the_expunge_of_what_it_replaced(a, store):
    a.deliver("m:2,", body("m"), sub="cur")
    a.sync(store)
    a.edit("m", body("edited"))
    a.sync(store, "-f", "--push", "new", "--pull", "none")
    assert texts(store) == ["edited", "m"]
    quiet("sync", a, store, "--push", "new", "--pull", "none")
    a.sync(store)
    same(a, store)
    assert texts(a) == ["edited"]


# ---- mailboxes -------------------------------------------------------------------------------------


def test_rows_133_and_134_a_folder_is_left_out_and_taken_in_again(a, b):
    a.mkfolder("Work")
    a.deliver("w", body("w"), folder="Work")
    a.deliver("i", body("i"))
    a.sync(b)
    a.deliver("w2", body("w2"), folder="Work")
    a.deliver("i2", body("i2"))
    answer = a.sync(b, "-x", "Wo?k*")
    assert texts(b, "Work") == ["w"] and texts(b) == ["i", "i2"]
    assert answer["sent"]["expunged"] == 0
    answer = a.sync(b)
    assert texts(b, "Work") == ["w", "w2"]
    assert answer["sent"]["new"] == 1  # nothing is loaded again
    same(a, b)


def test_mailboxes_by_name_use_prefix_and_guid(a, store):
    for name in ("Sent", "Work", "Work/sub", "Other"):
        a.mkfolder(name)
        a.deliver("in-" + name.replace("/", "-"), body(name.replace("/", "-")), folder=name)
    a.deliver("i", body("i"))
    a.sync(store, "-m", "\\Sent")
    assert store.folders() == ["INBOX", "Sent"] and texts(store) == []
    a.sync(store, "-m", "inbox")
    assert texts(store) == ["i"] and "Work" not in store.folders()
    a.sync(store, "-n", "Work/", "-x", "*/sub")
    assert "Work" in store.folders() and "Work/sub" not in store.folders()
    guid = [r["mailbox"] for r in a.log() if r.get("new_name") == "Other"] or None
    if guid:
        a.sync(store, "-g", guid[0])
        assert "Other" in store.folders()
    assert "Work/sub" not in store.folders()
    a.sync(store)
    same(a, store)


@pytest.mark.parametrize("verb", ["sync", "backup"])
def test_a_name_that_nobody_has_is_told(a, b, verb):
    """Mistyped, or renamed since the nightly line was written."""
    a.mkfolder("Archive")
    a.mkfolder("Gone/2024")
    a.deliver("m", body("m"), folder="Archive")
    answer = run_verb(verb, a, b, "-m", "Archive", "-m", "Archiv", code=2)
    assert answer["unmatched"] == ["Archiv"] and answer["exit"] == 2
    assert "neither side has a mailbox called Archiv," in answer["err"] and "do:" in answer["err"]
    assert texts(b, "Archive") == ["m"]  # everything else is done
    result = a.command(verb, "-m", "Gone", b.destination)  # a name of a level alone holds no mail
    assert result.code == 2 and "1 of the mailboxes is not there" in result.out, result
    result = a.command(verb, "--dry-run", "-g", "0123456789abcdef" * 2, b.destination)
    assert result.code == 2 and "with the GUID 0123456789abcdef" in result.err, result
    answer = run_verb(verb, a, b, "-m", b"caf\xe9", code=2)
    assert len(answer["unmatched"]) == 1 and answer["unmatched"][0].startswith("caf")
    answer = run_verb(verb, a, b, "-m", "Archive", "-m", "\\Sent")
    assert answer["unmatched"] == []
    if not b.plain:
        a.rmfolder("Archive")  # it is there at the other side, and goes by this
        assert run_verb(verb, a, b, "-m", "Archive", "--allow-mass-expunge")["unmatched"] == []
        assert "Archive" not in b.folders()
        assert run_verb(verb, a, b, "-m", "Archive", code=2)["unmatched"] == ["Archive"]


def test_folders_only(a, store):
    a.mkfolder("Work")
    a.deliver("w", body("w"), folder="Work")
    a.sync(store, "-m", "")
    assert store.folders() == ["INBOX", "Work"] and texts(store, "Work") == []
    a.sync(store)
    same(a, store)


def test_row_43_moved_out_of_what_is_synced(a, b):
    a.mkfolder("Local")
    a.deliver("m", body("m"))
    a.sync(b, "-m", "INBOX")
    assert texts(b) == ["m"]
    a.move("m", "Local")
    a.sync(b, "-m", "INBOX")
    assert texts(b) == [] and texts(b, "Local") == ["m"]


# ---- messages --------------------------------------------------------------------------------------


def test_row_130_too_large(a, b):
    a.deliver("small", body("small"))
    a.deliver("large", body("large", size=5000))
    answer = a.sync(b, "-I", "1k")
    assert texts(b) == ["small"] and answer["too_large"] == 1
    assert "larger than -I" in answer["err"]
    assert a.sync(b, "-I", "1k")["too_large"] == 0  # told once
    answer = a.sync(b, "-I", "1M")
    assert texts(b) == ["large", "small"] and answer["sent"]["new"] == 1
    a.flag("large", "+S")
    a.deliver("large2", body("large2", size=5000))
    a.sync(b, "-I", "1k")
    assert "large2" not in texts(b)
    assert any(flags == "S" and b"Subject: large\n" in c for _, flags, c in b.tree()["INBOX"])


def test_rows_131_and_132_a_window(a, b):
    now = time.time_ns()
    a.deliver("young:2,", body("young"), sub="cur", mtime=now - DAY)
    a.deliver("old:2,", body("old"), sub="cur", mtime=now - 100 * DAY)
    a.sync(b, "-t", "90days")
    assert texts(b) == ["young"]
    # ages out: nothing is deleted anywhere
    a.sync(b, "-t", "1h")
    assert texts(b) == ["young"] and texts(a) == ["old", "young"]
    a.flag("young", "+S")
    a.sync(b, "-t", "1h")
    assert any("S" in flags for _, flags, _ in b.tree()["INBOX"])
    a.flag("old", "+F")
    a.sync(b, "-t", "90days")
    assert texts(b) == ["old", "young"]
    a.expunge("young")
    a.sync(b, "-t", "1h")
    assert texts(b) == ["old"]


def test_until_and_flag(a, store):
    now = time.time_ns()
    a.deliver("young:2,F", body("young"), sub="cur", mtime=now - DAY)
    a.deliver("old:2,", body("old"), sub="cur", mtime=now - 100 * DAY)
    a.sync(store, "-e", "-10d")
    assert texts(store) == ["old"]
    a.sync(store, "-O", "-\\Flagged")
    assert texts(store) == ["old"]
    a.sync(store, "-O", "\\Flagged")
    assert texts(store) == ["old", "young"]


# ---- backup ----------------------------------------------------------------------------------------


def test_row_136_a_dirty_destination_becomes_the_source(a, b):
    a.mkfolder("Work")
    a.deliver("m:2,S", body("m"), sub="cur")
    a.deliver("w", body("w"), folder="Work")
    backup(a, b)
    same(a, b)
    name = [n for n in b.names() if b"Subject: m\n" in b.read(n)][0]
    b.flag(name, "-S")
    b.flag(name, "+F")
    b.deliver("stray", body("stray"))
    b.mkfolder("Own")
    b.deliver("own", body("own"), folder="Own")
    b.rmfolder("Work")
    before = picture(a), b.tree()
    preview = a.command("backup", "--dry-run", b.destination)
    assert preview.out.startswith(f"-> {b.destination}  + ") and preview.code == 0, preview
    assert b.tree() == before[1]
    backup(a, b)
    same(a, b)
    assert picture(a) == before[0]
    if not b.plain:
        assert sorted(b.kept())  # it can be had back
    quiet("backup", a, b)


def test_backup_round(a, b):
    b.deliver("b1", body("b1"))
    a.deliver("a1", body("a1"))
    before = picture(b)
    backup(a, b, "-R")
    assert texts(a) == ["b1"] and picture(b) == before
    quiet("backup", a, b, "-R")


def test_a_stray_delivery_empties_nothing(a, b):
    """Others: the destination is emptied, each later backup fails, and a sync empties the source too."""
    for n in range(5):
        a.deliver(f"m{n}", body(f"m{n}"))
    backup(a, b)
    b.deliver("stray", body("stray"))
    backup(a, b)
    same(a, b)
    a.deliver("m5", body("m5"))
    backup(a, b)
    same(a, b)
    a.sync(b)
    assert texts(a) == texts(b) == [f"m{n}" for n in range(6)]


def test_the_guard_of_a_backup(a, b):
    a.deliver("mine", body("mine"))
    for n in range(20):
        b.deliver(f"other{n:02}", body(f"other{n:02}"))
    answer = backup(a, b, code=1)
    assert answer["held"] == 20 and len(texts(b)) == 21
    assert backup(a, b, code=1)["held"] == 20
    backup(a, b, "--allow-mass-expunge")
    same(a, b)


def test_a_source_that_is_not_mounted_empties_nothing(a, b):
    """Few in each folder, and there is nothing at all at the source."""
    for folder in ("INBOX", "F1", "F2"):
        if folder != "INBOX":
            a.mkfolder(folder)
        for n in range(3):
            a.deliver(f"{folder}-{n}", body(f"{folder}-{n}"), folder=folder)
    before = a.tree()
    for _ in range(2):
        assert backup(a, b, "-R", code=1)["held"] == 9
        assert a.tree() == before and texts(b) == []
    backup(a, b, "-R", "--allow-mass-expunge")
    assert a.folders() == ["INBOX"] and texts(a) == []


def test_the_guard_counts_all_folders_together(a, b):
    a.deliver("only", body("only"))
    for folder in ("F1", "F2", "F3"):
        b.mkfolder(folder)
        for n in range(4):
            b.deliver(f"{folder}-{n}", body(f"{folder}-{n}"), folder=folder)
    for _ in range(2):
        assert backup(a, b, code=1)["held"] == 12
        assert texts(b) == ["only"] and len(b.names("F3")) == 4
    backup(a, b, "--allow-mass-expunge")
    same(a, b)


def test_a_peer_of_backups_is_not_kept_in_step(a, store):
    """Who only says backup does not want the copy's changes in a plain sync."""
    a.deliver("m", body("m"))
    backup(a, store)
    result = a.command("sync")
    assert result.code == 64 and "no peer is registered" in result.err, result


# ---- dry runs, states, the rest --------------------------------------------------------------------


@pytest.mark.parametrize("options", [["-1"], ["-m", "INBOX"], ["--push", "flags"], ["-I", "1k"], ["-m", ""]])
def test_row_144_a_dry_run_changes_nothing(a, store, options):
    a.mkfolder("Work")
    a.deliver("m", body("m"))
    before = picture(a), picture(store), a.log_bytes(), store.log_bytes()
    result = a.command("sync", "--dry-run", *options, store.destination)
    assert result.code == 0, result
    assert (picture(a), picture(store), a.log_bytes(), store.log_bytes()) == before


def test_a_state_is_of_its_options(a, store):
    a.deliver("m", body("m"))
    first = a.must("sync", "-1", "-s", "", store.destination)
    state = first.out.strip()
    assert re.fullmatch(r"[A-Za-z0-9+/=]+", state)
    again = a.must("sync", "-1", "-s", state, store.destination)
    assert "no use" not in again.err
    other = a.must("sync", "-s", again.out.strip(), store.destination)
    assert "with other options" in other.err
    broken = a.must("sync", "-1", "-s", state[:-4] + "AAAA", store.destination)
    assert "no use" in broken.err and broken.out.strip()


def test_a_line_of_cron_needs_another_program_name_only(a, store):
    a.deliver("m", body("m"))
    line = ["-u", getpass.getuser(), "-N", "-l", "30", "-x", "\\Trash", "-T", "60", "-P"]
    a.must("sync", *line, store.destination)
    assert texts(store) == ["m"]
    result = a.command("sync", "-u", "somebody-else", store.destination)
    assert result.code == 64 and "belongs to one user" in result.err


def test_raw_log(a, store, tmp_path):
    a.deliver("m", body("m"))
    a.must("sync", "-r", tmp_path / "raw", store.destination)
    lines = (tmp_path / "raw").read_text().splitlines()
    assert all(re.match(r"\d+\.\d+ (here|peer): \w+", line) for line in lines), lines
    assert any(" peer: put " in line for line in lines)
    assert os.stat(tmp_path / "raw").st_mode & 0o777 == 0o600
    assert "Subject" not in (tmp_path / "raw").read_text()
    result = a.command("sync", "-r", tmp_path / "no" / "raw", store.destination)
    assert result.code and "raw log" in result.err


def test_debug_tells_the_scope(a, store):
    result = a.must("sync", "-D", "-1", "-m", "INBOX", store.destination)
    assert "push=new,flags,moves,expunges,folders mailbox=INBOX" in result.err


def test_purge_drops_what_was_deleted_long_ago(a, store):
    a.deliver("m", body("m"))
    a.sync(store)
    a.expunge("m")
    a.sync(store)
    assert len(store.kept()) == 1
    a.must("sync", "-P", store.destination)
    assert len(store.kept()) == 1  # young
    result = a.command("sync", "-P", store.destination, env={"MAILBRAID_CLOCK_OFFSET": str(40 * 86400)})
    assert result.code == 0, result
    assert store.kept() == []


def test_purge_of_a_plain_maildir_says_that_there_is_nothing(a, tmp_path):
    plain = Replica(tmp_path / "plain", plain=True)
    result = a.must("sync", "-P", plain.destination)
    assert result.err.count("-P did nothing") == 1 and "plain Maildir" in result.err
    assert a.must("sync", "-q", "-P", plain.destination).err == ""
    a.must("sync", "-1", "-P", plain.destination)


def test_purge_of_an_adopted_maildir(a, tmp_path):
    """It is a store, also where it is called maildir:."""
    plain = Replica(tmp_path / "plain", plain=True)
    run_program("--store", tmp_path / "state", "init", "--adopt", plain.path)
    a.deliver("m", body("m"))
    destination = "maildir:" + plain.path
    a.must("sync", destination)
    a.expunge("m")
    a.must("sync", destination)
    kept = [name for _, _, names in os.walk(tmp_path / "state" / "deleted") for name in names]
    assert len(kept) == 1
    result = a.must("sync", "-P", destination, env={"MAILBRAID_CLOCK_OFFSET": str(40 * 86400)})
    assert "did nothing" not in result.err
    assert not [name for _, _, names in os.walk(tmp_path / "state" / "deleted") for name in names]


def hold_lock(replica):
    """As a process does that is the writer and serves nobody; closing the file lets go."""
    f = open(os.path.join(replica.path, "lock"), "r+b")
    fcntl.fcntl(f, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))  # F_OFD_SETLK
    return f


def test_lock_wait(a, store):
    a.deliver("m", body("m"))
    with hold_lock(store):
        started = time.monotonic()
        result = a.command("sync", "-l", "1", store.destination)
        took = time.monotonic() - started
    assert result.code == 75 and "another process is the writer" in result.err, result
    assert 0.9 < took < 8
    held = hold_lock(store)
    waits = subprocess.Popen([PROGRAM, "--store", a.path, "sync", "-l", "30", store.destination])
    time.sleep(1)
    assert waits.poll() is None
    held.close()
    assert waits.wait(20) == 0
    same(a, store)


def test_a_writer_that_does_not_answer_is_given_up(a, store):
    """What a stopped process leaves: a socket that takes connections and never answers."""
    a.deliver("m", body("m"))
    with hold_lock(store), socket.socket(socket.AF_UNIX) as deaf:
        path = [os.path.join(d, n) for d, _, names in os.walk(store.path) for n in names if n == "socket"]
        where = path[0] if path else os.path.join(store.path, "socket")
        if path:
            os.unlink(where)
        deaf.bind(where)
        deaf.listen(8)
        started = time.monotonic()
        result = a.command("sync", "-l", "1", "-T", "1", store.destination)
        assert time.monotonic() - started < 10
    assert result.code in (2, 75), result
    os.unlink(where)
    a.sync(store)
    same(a, store)


@pytest.mark.parametrize("mode", ["sync -1", "backup"])
def test_cut_anywhere_and_run_again(a, store, mode, tmp_path):
    verb, *options = mode.split()
    a.mkfolder("Work")
    a.deliver("m:2,S", body("m"), sub="cur")
    a.deliver("w", body("w"), folder="Work")
    store.mkfolder("Own")
    store.deliver("stray", body("stray"))
    source = a.tree()
    for step in range(1, 60, 3):
        result = a.command(verb, *options, store.destination, env={"MAILBRAID_STOP_AT": str(step)})
        assert result.code in (0, -9), result
        if result.code == 0:
            break
    run_verb(verb, a, store, *options)
    assert a.tree() == source
    if verb == "backup":
        same(a, store)
    else:
        assert texts(store) == ["m", "stray"] and texts(store, "Work") == ["w"]
    quiet(verb, a, store, *options)
