"""A store, or a plain Maildir, on a file system where case does not count (rows 66 and 74).

The file system is tests/tools/fold-fs.c.  Two folders that differ in case only cannot both be there:
the later one gets a suffix, on both sides, and no mail is mixed.  One folder may be renamed in case.
"""

import os
import shutil
import subprocess
import time

import pytest

from support.replica import PROGRAM, Replica, World, body

FOLD = os.path.join(os.path.dirname(PROGRAM), "tests", "fold-fs")


@pytest.fixture
def folding(tmp_path):
    """A directory where Foo is foo."""
    if not os.path.exists("/dev/fuse") or not shutil.which("fusermount3"):
        pytest.skip("no FUSE here")
    if not os.path.exists(FOLD):
        pytest.skip(f"{FOLD} was not built")
    backing, where = tmp_path / "backing", tmp_path / "fold"
    backing.mkdir()
    where.mkdir()
    server = subprocess.Popen([FOLD, backing, where, "-f", "-s"])
    for _ in range(200):
        if os.path.ismount(where):
            break
        time.sleep(0.02)
    (where / "probe").mkdir()
    assert (where / "PROBE").is_dir()
    (where / "probe").rmdir()
    yield where
    subprocess.run(["fusermount3", "-u", "-z", where], check=True)
    server.wait(10)


def world(tmp_path, folding, layout, plain):
    """a on an ordinary file system, b on the folding one."""
    w = World(tmp_path / "world", layout=layout)
    w.b = w.remote = Replica(folding / "b", plain=plain, layout=layout)
    return w


@pytest.mark.parametrize("plain", [False, True], ids=["store", "Maildir"])
@pytest.mark.parametrize("layout", ["maildir++", "fs"])
def test_two_names(tmp_path, folding, layout, plain):
    w = world(tmp_path, folding, layout, plain)
    w.a.mkfolder("Foo")
    w.a.deliver("m", folder="Foo")
    w.sync()
    w.a.mkfolder("foo")
    w.a.deliver("n", folder="foo")
    w.sync()
    w.check_equal()
    assert w.said("two mailboxes wanted one name")
    (other,) = [f for f in w.a.folders() if f not in ("INBOX", "Foo")]
    assert other.startswith("foo-")
    assert w.b.contents("Foo") == [body("m")] and w.b.contents(other) == [body("n")]
    w.check_idle()


@pytest.mark.parametrize("layout", ["maildir++", "fs"])
def test_made_apart(tmp_path, folding, layout):
    w = world(tmp_path, folding, layout, False)
    w.a.mkfolder("Foo")
    w.a.deliver("m", folder="Foo")
    w.a.mkfolder("Foo/caf\u00e9")
    w.notice()
    w.b.mkfolder("foo")
    w.b.deliver("n", folder="foo")
    w.sync()
    w.check_equal()
    assert len(w.a.folders()) == 4 and sorted(w.a.contents()) == [body("m"), body("n")]
    w.check_idle()


@pytest.mark.parametrize("layout", ["maildir++", "fs"])
@pytest.mark.parametrize("where", ["there", "here"])
def test_case_renamed(tmp_path, folding, layout, where):
    w = world(tmp_path, folding, layout, False)
    w.a.mkfolder("Foo")
    w.a.mkfolder("Foo/sub")
    w.a.deliver("m", folder="Foo")
    w.a.deliver("n", folder="Foo/sub")
    w.sync()
    if where == "there":
        w.a.mvfolder("Foo", "foo")
    else:  # by way of another name, as one must there
        w.b.mvfolder("Foo", "x")
        w.b.mvfolder("x", "foo")
    w.sync()
    w.check_equal()
    assert w.a.folders() == w.b.folders() == ["INBOX", "foo", "foo/sub"]
    assert w.answer["sent"]["new"] == w.answer["got"]["new"] == 0
    assert w.b.contents("foo") == [body("m")] and w.b.contents("foo/sub") == [body("n")]
    w.check_idle()


@pytest.mark.parametrize("plain", [False, True], ids=["store", "Maildir"])
@pytest.mark.parametrize("layout", ["maildir++", "fs"])
def test_beyond_what_we_know(tmp_path, folding, layout, plain):
    """There 0 is o: the second folder waits, is told of, and its mail goes nowhere else."""
    w = world(tmp_path, folding, layout, plain)
    w.a.mkfolder("bo")
    w.a.deliver("m", folder="bo")
    w.sync()
    w.a.mkfolder("b0")
    w.a.deliver("n", folder="b0")
    w.a.deliver("o")
    result = w.a.command("sync", w.b.destination)
    assert result.code != 0 and "b0" in result.err
    assert w.b.folders() == ["INBOX", "bo"]
    assert w.b.contents("bo") == [body("m")]
    assert w.a.contents("b0") == [body("n")] and w.a.contents("bo") == [body("m")]
    w.a.mvfolder("b0", "other")
    w.sync()
    w.check_equal()
    assert w.b.contents("other") == [body("n")] and w.b.contents("INBOX") == [body("o")]
