#!/usr/bin/env python3
"""bench_clients.py [MAILS [ROUNDS [CLIENT...]]]: what mail programs take for a folder, on a directory and in the mount.

MAILS are 50,000, ROUNDS 3, and all of these:

neomutt, mutt              start on a folder of MAILS read mails, ended when it is shown; with and without header cache
mlist | mscan              one line for each mail
notmuch new                nothing has changed; with --full-scan too
mu index                   again: nothing has changed

Each program has run twice in either place before (kernel caches, header caches and databases are warm); then ROUNDS
times in turn.  A round does not count in which a program had to read the disk, or the mount was asked for what the
kernel keeps otherwise: on some machines it loses that to others.  One line of JSON each: the medians of the seconds, their ratio, and the requests to the file system that
the program waited for.

A program that is not installed is left out.  MAILBRAID_BENCH_DIR: where (some kilobytes for each mail, twice).
MAILBRAID_BENCH_MOUNT: options for the mount (-o).
"""

import json
import os
import pty
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

PROGRAM = os.environ.get("MAILBRAID", "mailbraid")
DAEMON = os.environ.get("MAILBRAID_FS", "mailbraid-fs")
OPTIONS = ["-o", os.environ["MAILBRAID_BENCH_MOUNT"]] if os.environ.get("MAILBRAID_BENCH_MOUNT") else []
UNWAITED = ("forget", "release", "notify")
WARM = 2
WORDS = "the mail of a folder that nobody has changed is read once more by programs which look at each".split()

MUTT = """set folder = "{mail}"
set spoolfile = "{mail}"
set mbox_type = Maildir
set move = no
set quit = yes
set mark_old = no
set wait_key = no
set beep = no
set sleep_time = 0
set read_inc = 0
set net_inc = 0
set sort = mailbox-order
set header_cache = "{cache}"
"""

NOTMUCH = "[database]\npath={mail}\n[user]\nname=B\nprimary_email=b@example.org\n[new]\ntags=\n[maildir]\nsynchronize_flags=false\n"


def body(i):
    return " ".join(WORDS[(i + k * (1 + i % 7)) % len(WORDS)] for k in range(120))


def fill(root, mails):
    for sub in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(root, ".box", sub), mode=0o700)
        os.makedirs(os.path.join(root, sub), mode=0o700, exist_ok=True)
    for i in range(mails):
        path = os.path.join(root, ".box", "cur", f"{1600000000 + i}.M{i % 1000000:06}P{1 + i % 9999}.host:2,S")
        when = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(1600000000 + i))
        with open(path, "w", encoding="ascii") as f:
            f.write(f"Return-Path: <anna{i % 500}@example.org>\nReceived: from a.example.org by b.example.org; {when}\n"
                    f"From: Anna {i % 500} <anna{i % 500}@example.org>\nTo: Bert <bert@example.org>\n"
                    f"Subject: report {i} of {i % 97}\nDate: {when}\nMessage-ID: <{i}.bench@example.org>\n"
                    f"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n{body(i)}\n")  # fmt: skip


class Place:
    """A plain directory, or a mount of a store with the same mail; each with a home of its own."""

    def __init__(self, base, mounted, mails):
        self.kind = "mount" if mounted else "native"
        self.home = os.path.join(base, self.kind)
        self.mail = os.path.join(self.home, "mail")
        self.daemon = None
        os.makedirs(self.mail)
        self.env = {"PATH": os.environ["PATH"], "HOME": self.home, "MBLAZE": self.home, "TERM": "xterm", "LC_ALL": "C.UTF-8"}
        self.env.update(LINES="30", COLUMNS="100", NOTMUCH_CONFIG=os.path.join(self.home, "notmuch-config"))
        if mounted:
            self.store = os.path.join(self.home, "store")
            subprocess.run([PROGRAM, "--store", self.store, "init"], check=True, stdout=subprocess.DEVNULL)
            fill(os.path.join(self.store, "mail"), mails)
            self.mount()
        else:
            fill(self.mail, mails)
        self.box = os.path.join(self.mail, ".box")
        for name, cache in (("plain", ""), ("cached", os.path.join(self.home, "hcache"))):
            for program in ("neomutt", "mutt"):
                self.write(f"{program}-{name}", MUTT.format(mail=self.mail, cache=cache and f"{cache}-{program}"))
        for program in ("neomutt", "mutt"):
            os.mkdir(os.path.join(self.home, f"hcache-{program}"))
        self.write("notmuch-config", NOTMUCH.format(mail=self.mail))

    def write(self, name, text):
        with open(os.path.join(self.home, name), "w", encoding="utf-8") as f:
            f.write(text)

    def mount(self):
        ready, tell = os.pipe()
        self.daemon = subprocess.Popen(
            [DAEMON, "--store", self.store, "--mount", self.mail, "--ready-fd", str(tell), *OPTIONS], pass_fds=[tell]
        )
        os.close(tell)
        said = os.read(ready, 1000)
        os.close(ready)
        if said != b"1":
            sys.exit(f"no mount: {said.decode()}")

    def requests(self):
        """That a program waited for, so far, by kind."""
        if not self.daemon:
            return {}
        argv = [PROGRAM, "--store", self.store, "status", "--fuse", "--json"]
        told = json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout)["fuse"]
        return {kind: n for kind, n in told.items() if kind not in UNWAITED}

    def run(self, *argv, data=None):
        done = subprocess.run(argv, env=self.env, input=data, capture_output=True, check=False)
        if done.returncode:
            sys.exit(f"{argv}: {done.returncode} {done.stderr.decode(errors='replace')}")
        return done.stdout

    def on_terminal(self, *argv):
        """A program that draws a screen; what it draws is read and dropped."""
        pid, screen = pty.fork()
        if pid == 0:
            os.execvpe(argv[0], argv, self.env)
        while True:
            try:
                if not os.read(screen, 65536):
                    break
            except OSError:  # nobody has the other end
                break
        status = os.waitpid(pid, 0)[1]
        os.close(screen)
        if status:
            sys.exit(f"{argv}: {status}")

    def close(self):
        if self.daemon:
            subprocess.run(["fusermount3", "-u", self.mail], check=True)
            self.daemon.wait()


def mutt(program, cache):
    return lambda p: p.on_terminal(program, "-n", "-F", f"{p.home}/{program}-{cache}", "-f", p.box, "-e", "push q")


def scan(place):
    place.run("sh", "-c", 'mlist "$1" | mscan >/dev/null', "sh", place.box)


def index_for_mu(place):
    place.run("mu", "init", "-q", f"--maildir={place.mail}")
    place.run("mu", "index", "-q")


CLIENTS = [
    ("neomutt", "neomutt", None, mutt("neomutt", "plain")),
    ("neomutt, header cache", "neomutt", None, mutt("neomutt", "cached")),
    ("mutt", "mutt", None, mutt("mutt", "plain")),
    ("mutt, header cache", "mutt", None, mutt("mutt", "cached")),
    ("mlist | mscan", "mscan", None, scan),
    ("notmuch new", "notmuch", None, lambda p: p.run("notmuch", "new", "--quiet")),
    ("notmuch new --full-scan", "notmuch", None, lambda p: p.run("notmuch", "new", "--quiet", "--full-scan")),
    ("mu index", "mu", index_for_mu, lambda p: p.run("mu", "index", "-q")),
]


def timed(place, work):
    """(seconds, requests, was anything read that a warm run does not read: the kernel had let go of it)."""
    before, blocks = place.requests(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_inblock
    start = time.monotonic()
    work(place)
    seconds = time.monotonic() - start
    blocks = resource.getrusage(resource.RUSAGE_CHILDREN).ru_inblock - blocks
    spent = {kind: n - before.get(kind, 0) for kind, n in place.requests().items()}
    return seconds, sum(spent.values()), blocks > 0 or spent.get("read", 0) + spent.get("readdirplus", 0) > 4


def tell(name, mails, runs, warm):
    native = [s for s, _ in runs["native"]]
    mount = [s for s, _ in runs["mount"]]
    line = {
        "bench": "clients",
        "client": name,
        "mails": mails,
        "native_s": round(statistics.median(native), 4),
        "mount_s": round(statistics.median(mount), 4),
        "ratio": round(statistics.median(mount) / statistics.median(native), 3),
        "warm_rounds": warm,
        "requests": statistics.median(n for _, n in runs["mount"]),
    }
    print(json.dumps(line), flush=True)


def measure(places, work, rounds):
    """Of `rounds` rounds, by place, (seconds, requests), and how many of them were warm: others fill up."""
    warm, cold = [], []
    while len(warm) < rounds and len(cold) < 3 * rounds:
        one = {p.kind: timed(p, work) for p in places}
        (cold if any(run[2] for run in one.values()) else warm).append(one)
    taken = (warm + cold)[:rounds]
    return {p.kind: [one[p.kind][:2] for one in taken] for p in places}, len(warm)


def main():
    mails = int(sys.argv[1]) if len(sys.argv) > 1 else 50000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    base = tempfile.mkdtemp(prefix="mailbraid-bench-", dir=os.environ.get("MAILBRAID_BENCH_DIR"))
    places = []
    try:
        for mounted in (False, True):
            places.append(Place(base, mounted, mails))
        for name, program, prepare, work in CLIENTS:
            if not shutil.which(program) or (sys.argv[3:] and name not in sys.argv[3:]):
                continue
            for place in places:
                if prepare:
                    prepare(place)
                for _ in range(WARM):
                    work(place)
            tell(name, mails, *measure(places, work, rounds))
    finally:
        for place in places:
            place.close()
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
