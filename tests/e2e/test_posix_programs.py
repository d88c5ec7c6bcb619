"""Programs that ask much of a file system: as in any directory."""

import os
import shutil
import sqlite3
import subprocess

import pytest

from support.programs import need
from support.stage import collect, make, stage, start

__all__ = ["stage"]


def run(t, command):
    done = subprocess.run(command, shell=True, capture_output=True, check=False)
    t.tell(command, (done.returncode, done.stdout, done.stderr))


def some_tree():
    """Files of many kinds below src/."""
    os.makedirs("src/a/b")
    for n in range(30):
        make(f"src/a/f{n}", bytes([n]) * n * 700)
    os.link("src/a/f3", "src/a/b/hard")
    os.symlink("../f4", "src/a/b/soft")
    os.mkfifo("src/a/fifo")
    make("src/odd \n name", b"odd")
    with open("src/sparse", "wb") as f:
        f.seek(5 << 20)
        f.write(b"end")
    os.setxattr("src/a/f1", "user.k", b"v")
    os.chmod("src/a/f2", 0o4750)
    for place, folders, files in os.walk("src", topdown=False):
        for name in folders + files:
            os.utime(os.path.join(place, name), ns=(10**18 + 1, 10**18 + 123456789), follow_symlinks=False)


def tell_tree(t, top):
    for place, folders, files in os.walk(top):
        folders.sort()
        for name in sorted(folders + files):
            path = os.path.join(place, name)
            t.stat(path)
            t.tell("time", os.lstat(path).st_mtime_ns)


def test_copying_trees(stage):
    need("cp", "tar", "diff", "mv", "rm", "find")

    def story(t):
        some_tree()
        run(t, "cp -a src copy")
        run(t, "tar -cSf t.tar --xattrs src && mkdir out && tar -xSf t.tar --xattrs -C out")
        for top in ("copy", "out/src"):
            tell_tree(t, top)
            run(t, f"diff -r --no-dereference -x fifo src {top}")
            t.tell("attribute", os.getxattr(top + "/a/f1", "user.k"))
            t.tell("sparse", os.stat(top + "/sparse").st_blocks < 100)
        run(t, "mv copy/a out/a2 && find out -type f | sort | wc -l")
        run(t, "find src -links +1 -type f | sort")
        run(t, "rm -rf copy out src && ls -A")
    stage.same(story)


def test_rsync(stage):
    need("rsync")

    def story(t):
        some_tree()
        run(t, "rsync -aHSX src/ dst/")
        tell_tree(t, "dst")
        make("src/a/f7", b"changed")
        os.rename("src/a/f8", "src/a/b/f8")
        for changed in ("src/a/f7", "src/a/b", "src/a"):
            os.utime(changed, (1234567890, 1234567890))
        run(t, "rsync -aHSX src/ dst/")
        tell_tree(t, "dst")
        run(t, "rsync -aHSX --delete --inplace src/ dst/ && diff -r --no-dereference -x fifo src dst")
    stage.same(story)


def test_git(stage):
    need("git")

    def story(t):
        os.environ.update(
            HOME=os.getcwd(), GIT_AUTHOR_DATE="@1000000000 +0000", GIT_COMMITTER_DATE="@1000000000 +0000",
            GIT_CONFIG_NOSYSTEM="1",
        )
        me = "-c user.name=n -c user.email=e -c gc.auto=0"
        some_tree()
        os.unlink("src/a/fifo")
        run(t, f"git init -q -b main src && cd src && git add -A && git {me} commit -qm one && git rev-parse HEAD")
        make("src/a/f5", b"five")
        run(t, f"cd src && git rm -q a/f6 && git mv a/f9 g && git {me} commit -qam two && git status --short")
        run(t, "cd src && git checkout -q HEAD~1 && git status --short && git checkout -q main && git gc -q && git fsck")
        run(t, "git clone -q src clone && cd clone && git rev-parse HEAD && git status --short && git ls-files -s")
        shutil.rmtree("src")
    stage.same(story)


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_sqlite(stage, journal):
    """Locks, a map shared by processes, fsync, truncation."""
    def story(t):
        first = sqlite3.connect("db", timeout=30)
        t.tell("journal", first.execute(f"pragma journal_mode={journal}").fetchall())
        first.execute("create table t (who, n)")
        first.commit()
        first.close()

        def add(who):
            db = sqlite3.connect("db", timeout=30)
            for n in range(15):
                db.execute("insert into t values (?, ?)", (who, n))
                db.commit()
            db.close()
            return who

        for process in [start(lambda w=w: add(w)) for w in range(3)]:
            t.tell("added", collect(process))
        db = sqlite3.connect("db")
        t.tell("rows", db.execute("select who, count(*), sum(n) from t group by who order by who").fetchall())
        t.tell("check", db.execute("pragma integrity_check").fetchall())
        db.close()
        t.list()
    stage.same(story)
