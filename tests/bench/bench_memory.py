#!/usr/bin/env python3
"""bench_memory.py [N FOLDERS]: memory of the mount for mails that were looked at, and how fast it starts; 200,000 in 100.

first      the tree, made anew, is adopted and mounted
listed     find -type f -printf %s has looked at each mail: `bytes_per_mail` of anonymous memory
read       one folder more than once: descriptors of the daemon
forgotten  the kernel has dropped what it knew (/proc/sys/vm/drop_caches, as root), and nobody lists
clean      mounted again after a clean stop
killed     mounted again after SIGKILL with mail delivered to a few folders

The names are as a delivery program makes them (44 bytes with flags). MAILBRAID_BENCH_DIR: where, for the tree
of a million mails needs a million inodes.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

PROGRAM = os.environ.get("MAILBRAID", "mailbraid")
DAEMON = os.environ.get("MAILBRAID_FS", "mailbraid-fs")
DIRTY = 5
IDLE_S = 90  # a listing that nobody reads for a minute goes, at the next look after that


def generate(root, mails, folders):
    text = b"From: a@example.org\nSubject: %d\nMessage-ID: <%d@example.org>\n\nhello\n"
    for f in range(folders):
        folder = root if f == 0 else root / f".f{f:04}"
        for sub in ("cur", "new", "tmp"):
            (folder / sub).mkdir(parents=True)
        directory = os.open(folder / "cur", os.O_RDONLY)
        for i in range(f, mails, folders):
            name = f"{1400000000 + i}.M{i % 1000000:06}P{1000 + i % 30000}_{i}.host:2,S"
            fd = os.open(name, os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=directory)
            os.write(fd, text % (i, i))
            os.close(fd)
        os.close(directory)


class Mount:
    """The daemon alone, without its supervisor, which would start it again."""

    def __init__(self, store, at):
        at.mkdir(exist_ok=True)
        ready, tell_ready = os.pipe()
        start = time.monotonic()
        self.child = subprocess.Popen(
            [DAEMON, "--store", str(store), "--mount", str(at), "--ready-fd", str(tell_ready)], pass_fds=[tell_ready]
        )
        os.close(tell_ready)
        said = os.read(ready, 1000)
        self.seconds = time.monotonic() - start
        os.close(ready)
        if said != b"1":
            raise SystemExit(said.decode())
        self.at = at
        self.pid = self.child.pid

    def anon(self):
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(re.search(r"RssAnon:\s+(\d+)", text)[1]) * 1024

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def stop(self):
        self.child.terminate()
        if self.child.wait() != 0:
            raise SystemExit("the daemon failed")

    def kill(self):
        self.child.kill()
        self.child.wait()
        subprocess.run(["umount", "-l", str(self.at)], check=True)

    def look(self):
        """The number of mails."""
        found = subprocess.run(
            ["find", str(self.at), "-type", "f", "-path", "*/cur/*", "-printf", "%s\n"], check=True, capture_output=True
        )
        return found.stdout.count(b"\n")


def tell(phase, n, mount, **more):
    line = {"bench": "memory", "phase": phase, "n": n, "anon_kb": mount.anon() // 1024}
    print(json.dumps({**line, **more}), flush=True)


def forgotten(n, mount, before):
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
        f.write("2\n")
    time.sleep(1)
    at_once = mount.anon()
    end = time.monotonic() + IDLE_S
    while mount.anon() - before > 20 * n and time.monotonic() < end:
        time.sleep(1)
    tell(
        "forgotten",
        n,
        mount,
        at_once_kb=at_once // 1024,
        seconds=round(time.monotonic() - end + IDLE_S, 1),
        bytes_per_mail=round((mount.anon() - before) / n, 1),
    )


def memory(n, store, at):
    mount = Mount(store, at)
    before = mount.anon()
    tell("first", n, mount, mount_seconds=round(mount.seconds, 3))
    start = time.monotonic()
    if mount.look() != n:
        raise SystemExit("not every mail was listed")
    tell(
        "listed",
        n,
        mount,
        seconds=round(time.monotonic() - start, 2),
        bytes_per_mail=round((mount.anon() - before) / n, 1),
        descriptors=mount.descriptors(),
    )
    for file in list((at / "cur").iterdir())[:2000]:
        file.read_bytes()
    tell("read", n, mount, descriptors=mount.descriptors())
    if os.access("/proc/sys/vm/drop_caches", os.W_OK):
        forgotten(n, mount, before)
    mount.stop()


def starts(n, store, at):
    mount = Mount(store, at)
    tell("clean", n, mount, mount_seconds=round(mount.seconds, 3))
    folders = [d for d in sorted(at.iterdir()) if d.name.startswith(".f")][:DIRTY]
    for i, folder in enumerate(folders):
        temporary = folder / "tmp" / f"1.{i}.bench"
        temporary.write_bytes(b"Subject: new\n\nnew\n")
        temporary.rename(folder / "new" / temporary.name)
    mount.kill()
    mount = Mount(store, at)
    tell("killed", n, mount, mount_seconds=round(mount.seconds, 3), dirty=len(folders))
    mount.stop()


def main():
    n, folders = (int(a) for a in sys.argv[1:3]) if len(sys.argv) > 2 else (200000, 100)
    base = pathlib.Path(tempfile.mkdtemp(prefix="memory-", dir=os.environ.get("MAILBRAID_BENCH_DIR")))
    try:
        generate(base / "Maildir", n, folders)
        store, at = base / "store", base / "mount"
        subprocess.run(
            [PROGRAM, "--store", str(store), "init", "--adopt", str(base / "Maildir")],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        memory(n, store, at)
        starts(n, store, at)
    finally:
        shutil.rmtree(base)


if __name__ == "__main__":
    main()
