"""Three ways to serve two replicas while somebody kills: syncs by hand, `watch`, and `mount`.

Each kill() kills one process, by its own pid, at a moment that chance picks, and says what it was;
`rest` and `go` end and start what runs, for a check.
"""

import os
import random
import signal
import statistics
import subprocess
import time

from support.killing import Scene, Violation
from support.replica import PROGRAM, Replica
from support.wait import until


GONE = 3.0  # seconds that a killed process may be there: a second, and what a busy machine takes


def children(pid):
    """{pid: command line} of the children of a process."""
    found = {}
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            pids = f.read().split()
        for child in pids:
            with open(f"/proc/{child}/cmdline", "rb") as f:
                found[int(child)] = f.read().decode("utf-8", "replace").split("\0")
    except OSError:
        pass
    return found


def in_d_state(pids):
    """Threads of these processes that cannot be interrupted."""
    found = []
    for pid in pids:
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/stat", encoding="utf-8", errors="replace") as f:
                    if f.read().rpartition(")")[2].split()[0] == "D":
                        found.append(f"{pid}/{task}")
        except OSError:
            pass  # it ended
    return found


class Syncs:
    """`mailbraid sync` again and again, from either side, killed in the middle."""

    kind = "sync"

    def __init__(self, base, seed):
        self.random = random.Random(seed)
        self.a, self.b = Replica(os.path.join(base, "a")), Replica(os.path.join(base, "b"))
        self.messages = open(os.path.join(base, "messages"), "ab")
        self.scene = Scene(base, self.a, self.b, seed)
        self.length = 0.05

    def go(self):
        self.scene.go()

    def rest(self):
        self.scene.rest()

    def close(self):
        self.scene.close()
        self.messages.close()

    def figures(self):
        return ""

    def kill(self):
        """Starts syncs until one could be killed while it ran."""
        for _ in range(100):
            self.scene.raise_failure()
            pair = [self.a, self.b]
            self.random.shuffle(pair)
            start = time.monotonic()
            process = subprocess.Popen(
                [PROGRAM, "--store", pair[0].path, "sync", pair[1].destination],
                stdin=subprocess.DEVNULL, stdout=self.messages, stderr=self.messages,
            )  # fmt: skip
            try:
                process.wait(self.random.random() * self.length * 1.5)
                self.length += (time.monotonic() - start - self.length) / 4
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                self.length *= 1.02  # a sync that is killed each time never grows otherwise
                return "sync"
        raise Violation("no sync lives long enough to be killed")


class Supervised:
    """`mailbraid watch` or `mailbraid mount` with its two children."""

    QUICK = 4  # the supervisor gives up after six quick deaths of its file system

    def __init__(self, base, seed):
        self.random = random.Random(seed)
        self.base = base
        self.a, self.b = Replica(os.path.join(base, "a")), Replica(os.path.join(base, "b"))
        self.messages = open(os.path.join(base, "messages"), "ab")
        self.supervisor = None
        self.quick = 0
        self.took = {"gone": [], "back": []}
        self.scene = Scene(base, self.a, self.b, seed, *self.place())

    def place(self):
        return None, None

    def argv(self):
        raise NotImplementedError

    def half(self, argv):
        """Which half a child with this command line is."""
        raise NotImplementedError

    def start(self):
        self.quick = 0
        self.supervisor = subprocess.Popen(
            [PROGRAM, "--store", self.a.path, *self.argv(), "--peer", self.b.destination],
            stdin=subprocess.DEVNULL, stdout=self.messages, stderr=self.messages,
        )  # fmt: skip

    def halves(self):
        """{"fs": pid, "reconciler": pid} of those that run."""
        return {self.half(argv): pid for pid, argv in children(self.supervisor.pid).items()}

    def complete(self):
        if self.supervisor.poll() is not None:
            raise Violation(f"the supervisor has ended with {self.supervisor.returncode}")
        return len(self.halves()) == 2 and self.answers()

    def answers(self):
        return True

    def go(self):
        self.start()
        until("both halves", self.complete, patience=60)
        self.scene.go()

    def rest(self):
        self.scene.rest()
        self.stop()

    def stop(self):
        supervisor, self.supervisor = self.supervisor, None
        if not supervisor:
            return
        supervisor.terminate()
        try:
            code = supervisor.wait(60)
        except subprocess.TimeoutExpired:
            supervisor.kill()
            supervisor.wait()
            raise Violation("the supervisor does not end") from None
        if code:
            raise Violation(f"the supervisor ended with {code}")

    def close(self):
        try:
            self.scene.close()
            self.stop()
        finally:
            self.messages.close()

    def look_after(self, pid, killed):
        """That the killed one is gone, nobody hangs in the kernel, and the successor serves; how long
        each took goes to `self.took`."""
        until(f"{pid} is gone", lambda: pid not in children(self.supervisor.pid))
        self.took["gone"].append(time.monotonic() - killed)
        if self.took["gone"][-1] > GONE:
            raise Violation(f"{pid} was there for {self.took['gone'][-1]:.1f} s after SIGKILL")
        # what waits for the disk is in D for a moment as well, and then no more
        until("nobody in D state", lambda: not in_d_state([os.getpid(), *self.halves().values()]), patience=5)

    def kill(self):
        """Kills one half and waits for its successor."""
        self.scene.raise_failure()
        if self.quick == self.QUICK:
            self.rest()
            self.go()
        until("both halves", self.complete, patience=60)
        time.sleep(self.random.random() ** 2 * 0.6)
        what = self.random.choice(["fs", "fs", "reconciler"])
        pid = self.halves().get(what)
        if pid:
            os.kill(pid, signal.SIGKILL)
            killed = time.monotonic()
            self.quick += 1
            self.look_after(pid, killed)
        until(f"a new {what}", self.complete, patience=60)
        if pid and what == "fs" and self.quick == 1:  # the ones after it are held back longer and longer
            self.took["back"].append(time.monotonic() - killed)
        return what

    def figures(self):
        """Of the times, for people: median and longest, in milliseconds."""
        return " ".join(
            f"{what}_ms={statistics.median(t) * 1000:.0f}/{max(t) * 1000:.0f}" for what, t in self.took.items() if t
        )


class Watched(Supervised):
    kind = "watch"

    def argv(self):
        return ["watch"]

    def half(self, argv):
        return "fs" if "--serve" in argv else "reconciler"


class Mounted(Supervised):
    kind = "mount"

    def place(self):
        self.mnt = os.path.join(self.base, "mnt")
        os.mkdir(self.mnt, 0o700)
        return self.mnt, self.answers

    def argv(self):
        return ["mount", "-f", self.mnt]

    def half(self, argv):
        return "reconciler" if "reconcile" in argv else "fs"

    def answers(self):
        try:
            return os.path.isdir(os.path.join(self.mnt, "cur"))
        except OSError:
            return False

    def stop(self):
        super().stop()
        if os.path.ismount(self.mnt):
            raise Violation("still mounted after the end")

    def close(self):
        try:
            super().close()
        finally:
            subprocess.run(["umount", "-l", self.mnt], capture_output=True, check=False)


KINDS = {k.kind: k for k in (Syncs, Watched, Mounted)}


def run(kind, base, kills, seed=1, every=25, tell=None):
    """Kills, with a check after each `every` kills and at the end; raises Violation.

    Returns {what: how often}, and a summary.
    """
    done = {}
    killer = KINDS[kind](base, seed)
    try:
        killer.go()
        for i in range(1, kills + 1):
            what = killer.kill()
            done[what] = done.get(what, 0) + 1
            if i % every == 0 or i == kills:
                killer.rest()
                killer.scene.check()
                if tell:
                    tell(i, done, f"{killer.scene.summary()} {killer.figures()}")
                if i < kills:
                    killer.go()
        return done, killer.scene.summary()
    finally:
        killer.close()
