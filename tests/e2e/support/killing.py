"""Two replicas at work while what serves them is killed, and a model that says what must be there.

Each side has a thread that delivers, flags, moves and expunges.  Who may do what makes the outcome
independent of when anything is synced: a message is moved and expunged only by the side that it was
delivered at, and each side has flags of its own.  So the model needs no clock: a message is where
its owner put it last, bears what each side set last, and is gone when its owner expunged it.

A call that a kill cuts off has happened or not: the model holds both until a look at the files, once
they are there again, tells; what was seen then must not change any more.
"""

import contextlib
import errno
import json
import os
import random
import threading
import time

FOLDERS = ["INBOX", "Archive", "Lists/braid", "Work"]
FLAGS = {"a": "FS", "b": "DR"}
REFUSED = (errno.ENOENT, errno.EEXIST)  # the call came too late: nothing happened
CUT = (errno.ECONNABORTED, errno.ENOTCONN)  # the daemon died in the call, or was dead: nobody knows


class Violation(Exception):
    """What must never happen."""


class Mail:
    """Each fact is the set of what it may be: one value, or two after a call that was cut off."""

    def __init__(self, owner, number, content, folder):
        self.owner = owner
        self.name = f"17{number:08d}.M1P{number}.{owner}"
        self.content = content
        self.folder = {folder}
        self.alive = {True}
        self.bits = {side: {""} for side in FLAGS}

    def flags(self):
        """All sets of flags that it may have."""
        return {"".join(sorted(x + y)) for x in self.bits["a"] for y in self.bits["b"]}


class Worker(threading.Thread):
    """What the programs of one side do.  `place` is a Replica whose `mail` is where they do it."""

    def __init__(self, side, place, ready, seed):
        super().__init__(daemon=True)
        self.side, self.place, self.ready = side, place, ready
        self.random = random.Random(seed)
        self.mails = []  # of all sides: shared
        self.calls = 0
        self.cut = 0
        self.number = 0
        self.going = threading.Event()
        self.resting = threading.Event()
        self.over = False
        self.failure = None
        self.pause = 0.004
        self.log = None

    # ---- looking ----

    def seen(self, mail):
        """(path, folder, flags) of a mail at this side, or None.  A listing may miss a file that is
        renamed meanwhile: absence is believed when it is seen three times."""
        for _ in range(3):
            for folder in FOLDERS:
                for sub in ("cur", "new"):
                    where = os.path.join(self.place.folder(folder), sub)
                    for file in os.listdir(where):
                        if file.partition(":")[0] == mail.name:
                            return os.path.join(where, file), folder, file.partition(":2,")[2]
        return None

    def settle(self, mail, fact, value):
        """After a call that was cut off: what is true now, stays true."""
        if value not in fact:
            raise Violation(f"{mail.name} at {self.side}: {value!r} is none of {sorted(map(str, fact))}")
        fact.clear()
        fact.add(value)

    def resolve(self, mail, kind):
        """Looks until the files can be seen (again)."""
        deadline = time.monotonic() + 60
        while True:
            try:
                if not self.ready():
                    raise FileNotFoundError
                seen = self.seen(mail)
                if not self.ready():
                    raise FileNotFoundError
                break
            except OSError as why:
                if time.monotonic() > deadline:
                    raise Violation(f"{self.side}: nothing to be seen for a minute: {why}") from why
                time.sleep(0.02)
        if kind == "alive":
            self.settle(mail, mail.alive, seen is not None)
        elif seen and kind == "folder":
            self.settle(mail, mail.folder, seen[1])
        elif seen:
            own = "".join(sorted(set(seen[2]) & set(FLAGS[self.side])))
            self.settle(mail, mail.bits[self.side], own)
        # else: the owner expunged it, and nobody asks for its flags any more

    def attempt(self, mail, kind, fact, value, call):
        """One call, after which `fact` is `value`.  It looks for its folder itself: each look at a mount
        fails while the daemon is dead and its successor not yet there."""
        old = set(fact)
        fact.add(value)
        try:
            call()
        except OSError as why:
            self.tell(mail, kind, value, why)
            if why.errno in REFUSED:
                fact.clear()
                fact.update(old)
                return
            if why.errno not in CUT:
                raise Violation(f"{mail.name} at {self.side}: {why}") from why
            self.cut += 1
            self.resolve(mail, kind)
            self.tell(mail, kind, fact, "after a look")
            return
        fact.clear()
        fact.add(value)
        self.calls += 1
        self.tell(mail, kind, value, "done")

    def tell(self, *words):
        print(f"{time.time():.6f}", self.side, words[0].name, *words[1:], file=self.log, flush=True)

    # ---- doing ----

    def deliver(self):
        self.number += 1
        folder = self.random.choice(FOLDERS)
        number = self.number + (0 if self.side == "a" else 1000000)
        text = f"From: a@example.org\nSubject: mail {number} of {self.side}\n\n"
        content = text.encode() + self.random.randbytes(self.random.randrange(2000)).hex().encode()
        mail = Mail(self.side, number, content + b"\n", folder)
        mail.alive = {False}
        self.mails.append(mail)

        def call():
            box = self.place.folder(folder)
            temp = os.path.join(box, "tmp", mail.name)
            with open(temp, "xb") as file:
                file.write(mail.content)
                if number % 4 == 0:
                    file.flush()
                    os.fsync(file.fileno())
            os.rename(temp, os.path.join(box, "new", mail.name))

        self.attempt(mail, "alive", mail.alive, True, call)

    def choose(self, mine):
        """A mail that this side may do something to, and its path here."""
        for _ in range(5):
            mail = self.random.choice(self.mails) if self.mails else None
            if not mail or mail.alive != {True} or (mine and mail.owner != self.side):
                continue
            with contextlib.suppress(OSError):
                seen = self.seen_at(mail)
                if seen:
                    return mail, seen
        return None, None

    def seen_at(self, mail):
        """As seen(), only where it should be: a quick look."""
        for folder in list(mail.folder):
            for sub in ("cur", "new"):
                where = os.path.join(self.place.folder(folder), sub)
                for file in os.listdir(where):
                    if file.partition(":")[0] == mail.name:
                        return os.path.join(where, file), folder, file.partition(":2,")[2]
        return None

    def flag(self):
        mail, seen = self.choose(mine=False)
        if not mail or len(mail.bits[self.side]) > 1:
            return
        path, folder, flags = seen
        letter = self.random.choice(FLAGS[self.side])
        own = "".join(sorted(set(next(iter(mail.bits[self.side]))) ^ {letter}))
        if set(flags) & set(FLAGS[self.side]) != set(own) ^ {letter}:
            raise Violation(f"{mail.name} at {self.side}: flags {flags!r}, own ones should be {mail.bits}")
        flags = "".join(sorted(set(flags) ^ {letter}))
        file = f"{mail.name}:2,{flags}"

        def call():
            os.rename(path, os.path.join(self.place.folder(folder), "cur", file))

        self.attempt(mail, "flags", mail.bits[self.side], own, call)

    def move(self):
        mail, seen = self.choose(mine=True)
        if not mail or len(mail.folder) > 1:
            return
        path, folder, _ = seen
        to = self.random.choice([f for f in FOLDERS if f != folder])
        sub, file = path.rsplit("/", 2)[1:]

        def call():
            os.rename(path, os.path.join(self.place.folder(to), sub, file))

        self.attempt(mail, "folder", mail.folder, to, call)

    def expunge(self):
        mail, seen = self.choose(mine=True)
        if mail and len(mail.folder) == 1:
            self.attempt(mail, "alive", mail.alive, False, lambda: os.unlink(seen[0]))

    def step(self):
        live = sum(1 for m in self.mails if True in m.alive)
        weights = [35, 40, 15, 10] if live < 240 else [10, 40, 15, 20]
        self.random.choices([self.deliver, self.flag, self.move, self.expunge], weights)[0]()

    def run(self):
        try:
            while not self.over:
                if not self.going.is_set():
                    self.resting.set()
                    self.going.wait(0.1)
                    continue
                self.resting.clear()
                self.step()
                time.sleep(self.random.random() * 2 * self.pause)
        except Exception as why:  # told by the main thread
            self.failure = why
        self.resting.set()


class Scene:
    """Replicas A and B with their workers.  `mail` of A may be a mount of its store."""

    def __init__(self, base, a, b, seed=1, mount=None, ready=None):
        import copy

        self.base, self.a, self.b = base, a, b
        place = copy.copy(a)
        if mount:
            place.mail = mount
        for folder in FOLDERS[1:]:
            a.mkfolder(folder)
        self.log = open(os.path.join(base, "calls"), "a", encoding="utf-8")
        self.workers = [
            Worker("a", place, ready or (lambda: True), seed),
            Worker("b", b, lambda: True, seed + 1),
        ]
        self.mails = self.workers[0].mails
        for w in self.workers:
            w.mails = self.mails
            w.log = self.log
            w.start()
        self.checks = 0

    def go(self):
        for w in self.workers:
            w.resting.clear()
            w.going.set()

    def rest(self):
        """Returns when no worker has a call open."""
        for w in self.workers:
            w.going.clear()
        for w in self.workers:
            if not w.resting.wait(90):
                raise Violation(f"{w.side}: a call does not return")
        self.raise_failure()

    def raise_failure(self):
        for w in self.workers:
            if w.failure:
                raise w.failure

    def close(self):
        for w in self.workers:
            w.over = True
            w.going.set()
        for w in self.workers:
            w.join(20)
        self.log.close()

    # ---- checks: nothing runs ----

    def check(self):
        """One sync to the end; then both sides are what the model says, and another does nothing."""
        self.checks += 1
        self.log.write(f"{time.time():.6f} check {self.checks}\n")
        for _ in range(5):
            # what a side expunged while nobody watched it may be much: the model knows that it was meant
            result = self.a.command("sync", "--json", "--allow-mass-expunge", self.b.destination)
            if result.code != 2:
                break
        if result.code:
            raise Violation(f"sync: {result}")
        trees = {"a": self.a.tree(), "b": self.b.tree()}
        for side, tree in trees.items():
            self.check_tree(side, tree)
        if trees["a"] != trees["b"]:
            raise Violation("the trees differ")
        self.check_conflicts()
        self.check_idle()

    def check_conflicts(self):
        """Only the owner of a mail moves and expunges it, and nobody edits any: no notice says otherwise."""
        for place in (self.a, self.b):
            for told in json.loads(place.must("conflicts", "--json").out)["conflicts"]:
                if told["kind"] != "expunge-beat-flags":
                    raise Violation(f"a false notice: {told}")

    def check_tree(self, side, tree):
        found = {}
        for folder, messages in tree.items():
            for name, flags, content in messages:
                found.setdefault(name, []).append((folder, flags, content))
        for mail in self.mails:
            where = found.pop(mail.name, [])
            if len(where) > 1:
                raise Violation(f"doubled at {side}: {mail.name} {[w[:2] for w in where]}")
            if not where and False not in mail.alive:
                raise Violation(f"lost at {side}: {mail.name}")
            if where and True not in mail.alive:
                raise Violation(f"back from the dead at {side}: {mail.name}")
            if where:
                self.check_mail(side, mail, *where[0])
        if found:
            raise Violation(f"from nowhere at {side}: {sorted(found)}")

    def check_mail(self, side, mail, folder, flags, content):
        if content != mail.content:
            raise Violation(f"other bytes at {side}: {mail.name}")
        if folder not in mail.folder:
            raise Violation(f"{mail.name} at {side}: in {folder}, not in {mail.folder}")
        if flags not in mail.flags():
            raise Violation(f"{mail.name} at {side}: flags {flags!r}, not {mail.flags()}")

    def check_idle(self):
        before = self.a.log_bytes(), self.b.log_bytes()
        for one, other in ((self.a, self.b), (self.b, self.a)):
            result = one.command("sync", other.destination)
            if result.code or result.out:
                raise Violation(f"a second sync did something: {result}")
        if (self.a.log_bytes(), self.b.log_bytes()) != before:
            raise Violation("a second sync wrote to a log")

    def summary(self):
        gone = sum(1 for m in self.mails if m.alive == {False})
        calls = sum(w.calls for w in self.workers)
        cut = sum(w.cut for w in self.workers)
        return f"calls={calls} cut={cut} messages={len(self.mails)} gone={gone} checks={self.checks}"
