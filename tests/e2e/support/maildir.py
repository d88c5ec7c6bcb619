"""A Maildir++ with a known content, and the picture of one that can be compared."""

import hashlib
import os
import re
import stat
import time

from support.wait import until

SEED_TIME = 1700000000  # received date of the first seeded message; one a minute

# folder, place, flags: INBOX first. Each message is known by its number.
SEED = [
    ("", "cur", "S"),
    ("", "cur", "RS"),
    ("", "cur", "FS"),
    ("", "cur", "S"),
    ("", "cur", ""),
    ("", "new", None),
    ("", "new", None),
    ("", "new", None),
    (".Archive", "cur", "S"),
    (".Archive", "cur", "FS"),
    (".Lists.braid", "cur", "S"),
    (".Lists.braid", "new", None),
]
FOLDERS = ["", ".Archive", ".Lists", ".Lists.braid"]


def subject(number):
    return f"Subject number {number:02d}"


def body(number):
    return f"This is the body of message {number:02d}."


def message(number):
    """Bytes of one message; the same for the same number."""
    day = number % 27 + 1
    return (
        f"Return-Path: <anna{number}@example.org>\n"
        f"From: Anna {number:02d} <anna{number}@example.org>\n"
        f"To: Bert <bert@example.org>\n"
        f"Subject: {subject(number)}\n"
        f"Date: Tue, {day} Nov 2022 10:{number % 60:02d}:00 +0000\n"
        f"Message-ID: <braid-{number}@example.org>\n"
        f"MIME-Version: 1.0\n"
        f"Content-Type: text/plain; charset=utf-8\n"
        f"\n"
        f"{body(number)}\n"
    ).encode()


def base(number):
    return f"{SEED_TIME + 60 * number}.M{number}P1Q{number}.seed"


def make(root, folder=""):
    for name in ("", "cur", "new", "tmp"):  # 0700 all: else Dovecot copies where it could link
        os.makedirs(os.path.join(root, folder, name), mode=0o700, exist_ok=True)


def put(root, number, folder="", place="new", flags=None, owner=None):
    """Delivers as an MDA does: into tmp, then renamed. The path it has then."""
    name = base(number)
    tmp = os.path.join(root, folder, "tmp", name)
    fd = os.open(tmp, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(fd, "wb") as out:
        out.write(message(number))
        out.flush()
        os.fsync(out.fileno())
    if owner:
        os.chown(tmp, *owner)
    when = SEED_TIME + 60 * number
    os.utime(tmp, (when, when))
    path = os.path.join(root, folder, place, name if flags is None else f"{name}:2,{flags}")
    os.rename(tmp, path)
    return path


def seed(root):
    """Fills an empty directory."""
    for folder in FOLDERS:
        make(root, folder)
    for number, (folder, place, flags) in enumerate(SEED, 1):
        put(root, number, folder, place, flags)


def let_a_second_pass(root, folder=""):
    """neomutt and mu compare whole seconds of a directory's times: what changes in the second of
    the change before it is not seen, on no file system."""

    def passed():
        stats = [os.stat(os.path.join(root, folder, d)) for d in ("new", "cur")]
        return time.time() > int(max(max(st.st_mtime, st.st_ctime) for st in stats)) + 1.05

    until("a second has passed", passed)


# ---- pictures ------------------------------------------------------------------------------------


def path(root, number):
    """Path of the one message with this number."""
    paths = [p for p, content in _contents(root) if f"<braid-{number}@".encode() in content]
    assert len(paths) == 1, f"message {number}: {paths}"
    return paths[0]


def split(name):
    """(base without its S=, W= fields, letters or None) of a file name."""
    name, mark, info = name.partition(":2,")
    return name.split(",")[0], "".join(sorted(info)) if mark else None


def _contents(root):
    """(path, bytes) of each message."""
    for folder in sorted([""] + [n for n in os.listdir(root) if n.startswith(".")]):
        for place in ("cur", "new"):
            directory = os.path.join(root, folder, place)
            if not os.path.isdir(directory):
                continue
            for name in sorted(os.listdir(directory)):
                try:
                    with open(os.path.join(directory, name), "rb") as f:
                        yield os.path.join(directory, name), f.read()
                except FileNotFoundError:
                    pass  # renamed under our eyes: the caller looks again


def find(root, number):
    """[(folder, place, flags)] of the messages with this number, by content."""
    found = []
    for where, content in _contents(root):
        if f"<braid-{number}@".encode() in content:
            directory, name = os.path.split(os.path.relpath(where, root))
            folder, place = os.path.split(directory)
            found.append((folder, place, split(name)[1]))
    return found


def _messages(root, relative, own_name):
    for name in os.listdir(os.path.join(root, relative)):
        path = os.path.join(root, relative, name)
        st = os.stat(path)
        with open(path, "rb") as f:
            content = f.read()
        number, flags = split(name)
        old = st.st_mtime < SEED_TIME + 86400 * 30
        yield (
            relative,
            number if number in own_name else "*",
            flags,
            oct(stat.S_IMODE(st.st_mode)),
            int(st.st_mtime) if old else "now",
            hashlib.sha256(content).hexdigest()[:16],
            content[:400].decode("utf-8", "replace"),
        )


def tree(root, ignore=r"^$"):
    """Everything in a Maildir++ that two equal ones share, sorted.

    Messages: place, base name (of seeded ones; programs make up the others), flags,
    mode, received date, content. Directories: name and mode. Other files: name; their
    digits are programs' unique parts. `ignore` matches names of files to leave out.
    """
    own = {base(n) for n in range(1, 100)}
    rows = []
    for directory, folders, files in os.walk(root):
        relative = os.path.relpath(directory, root)
        for name in folders:
            mode = oct(stat.S_IMODE(os.stat(os.path.join(directory, name)).st_mode))
            rows.append((os.path.normpath(os.path.join(relative, name)), "directory", mode))
        if os.path.basename(relative) in ("cur", "new", "tmp"):
            rows += _messages(root, relative, own)
            continue
        for name in files:
            if not re.search(ignore, name):
                clean = re.sub(r"[0-9a-f]{8,}", "N", name)
                rows.append((os.path.normpath(os.path.join(relative, clean)), "file"))
    return sorted(rows, key=repr)
