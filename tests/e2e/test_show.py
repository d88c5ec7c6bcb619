"""A whole mailbox, from adoption to a sync of what happened on both sides.

An existing Maildir is adopted in place and mounted over itself, copied to an empty replica, and then
worked on through the mount while other things happen in the replica; one sync makes them equal.
MAILBRAID_SHOW=10000 takes that many messages (1,000 without it).
"""

import filecmp
import os
import subprocess
import sys
import time

import pytest
from support.programs import mailbraid, need_fuse, run
from support.wait import until

MESSAGES = int(os.environ.get("MAILBRAID_SHOW", "1000"))
FOLDERS = 50
LOCAL = {".mailbraid", "maildirfolder"}  # never synced
GENERATOR = os.path.join(os.path.dirname(__file__), "..", "support", "gen_maildir.py")


def tree(root):
    """Relative path -> absolute path of every file that is synced; folders too."""
    found = {}
    for folder, names, files in os.walk(root):
        names[:] = [n for n in names if n != "tmp"]
        at = os.path.relpath(folder, root)
        if os.path.basename(folder) in ("cur", "new"):
            found[at + "/"] = None
        for name in set(files) - LOCAL:
            found[os.path.join(at, name)] = os.path.join(folder, name)
    return found


def assert_equal(a, b):
    """diff -r: names (with their flags) and bytes."""
    left, right = tree(a), tree(b)
    assert set(left) == set(right), sorted(set(left) ^ set(right))[:10]
    for path, file in left.items():
        assert file is None or filecmp.cmp(file, right[path], shallow=False), path


def messages(root):
    """Paths below cur/ in all folders, in an order that is the same each time."""
    return sorted(p for p in tree(root) if "/cur/" in "/" + p and not p.endswith("/"))


def deliver(root, folder, number):
    name = f"17000{number:05}.M1P1Q{number}.show"
    temporary = os.path.join(root, folder, "tmp", name)
    with open(temporary, "w", encoding="utf-8") as f:
        f.write(f"Subject: delivered {number}\nMessage-ID: <{number}@show>\n\nhello {number}\n")
    os.rename(temporary, os.path.join(root, folder, "new", name))


def add_flag(root, path, flag):
    base, _, flags = path.partition(":2,")
    if flag not in flags:
        os.rename(os.path.join(root, path), os.path.join(root, base + ":2," + "".join(sorted(flags + flag))))


@pytest.fixture
def place(tmp_path):
    need_fuse()
    mail = str(tmp_path / "Mail")
    subprocess.run([sys.executable, GENERATOR, mail, "-n", str(MESSAGES), "-f", str(FOLDERS)], check=True, capture_output=True)
    run(mailbraid(), "init", "--adopt", mail)
    run(mailbraid(), "--store", tmp_path / "B", "init")
    yield mail, str(tmp_path / "B")
    subprocess.run([mailbraid(), "umount", mail], capture_output=True, check=False, timeout=60)


def sync(mail, other):
    start = time.monotonic()
    said = run(mailbraid(), "--store", mail, "sync", "-v", "store:" + other)
    print(f"sync: {time.monotonic() - start:.2f} s: {said.strip().splitlines()[-1]}")


def test_a_mailbox_adopted_mounted_copied_and_worked_on(place):
    mail, other = place
    copy = os.path.join(other, "mail")

    run(mailbraid(), "--store", mail, "mount")
    assert os.path.ismount(mail)
    sync(mail, other)
    assert_equal(mail, copy)
    print(f"{len(messages(mail))} messages in cur/, equal")

    mine = messages(mail)
    part = max(10, MESSAGES // 100)
    flag, expunge, move = mine[:part], mine[part : 2 * part], mine[2 * part : 12 * part]
    theirs = mine[12 * part : 14 * part]

    # there: other mail, other flags on the same messages, other expunges, while here …
    for i in range(part):
        deliver(copy, ".", 50000 + i)
    for path in flag:
        add_flag(copy, path, "F")
    for path in theirs[:part]:
        os.unlink(os.path.join(copy, path))
    for path in theirs[part:]:
        add_flag(copy, path, "T")
    # … through the mount: deliveries, flags, expunges, a folder renamed, messages moved
    for i in range(part):
        deliver(mail, ".Lists", i)
    for path in flag:
        add_flag(mail, path, "D")
    for path in expunge:
        os.unlink(os.path.join(mail, path))
    moved = 0
    for path in move:
        target = os.path.join(mail, ".Archive", "cur", os.path.basename(path))
        if not os.path.exists(target):
            os.rename(os.path.join(mail, path), target)
            moved += 1
    os.rename(os.path.join(mail, ".Work"), os.path.join(mail, ".Office"))

    sync(mail, other)
    until("both sides are equal", lambda: set(tree(mail)) == set(tree(copy)), patience=20)
    assert_equal(mail, copy)
    assert os.path.isdir(os.path.join(copy, ".Office", "cur"))
    assert not os.path.exists(os.path.join(copy, ".Work"))
    for path in expunge + theirs[:part]:
        assert not os.path.exists(os.path.join(copy, path)) or path in move
    flagged = [p for p in messages(mail) if os.path.basename(p).split(":2,")[0] in {os.path.basename(q).split(":2,")[0] for q in flag}]
    assert len(flagged) >= part
    for path in flagged:
        assert {"F", "D"} <= set(path.split(":2,")[1]) or os.path.basename(path).split(":2,")[0] not in path
    assert moved > 0
    assert run(mailbraid(), "--store", mail, "sync") == ""
