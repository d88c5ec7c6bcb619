"""mailbraid-fs by itself: a store, mounted, without supervisor and reconciler."""

import os
import re
import shutil
import signal
import subprocess
import tempfile

from support.programs import end, mailbraid, ours, run
from support.wait import until


class Daemon:
    """A new store below a new folder; `options` go to -o."""

    def __init__(self, options="", adopt=None, layout=None):
        self.base = os.path.realpath(tempfile.mkdtemp(prefix="mb-fs-"))
        self.store = os.path.join(self.base, "store")
        self.options = options
        self.process = None
        if adopt:
            run(mailbraid(), "--store", self.store, "init", "--adopt", adopt)
            self.mnt = self.backing = adopt
        else:
            run(mailbraid(), "--store", self.store, "init", *(["--layout", layout] if layout else []))
            self.mnt = os.path.join(self.base, "mnt")
            self.backing = os.path.join(self.store, "mail")
            os.mkdir(self.mnt, 0o755)
        os.chmod(self.base, 0o755)
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self):
        """Starts the daemon and waits until it says that the mount answers."""
        ours("MAILBRAID_FS", "mailbraid-fs")
        read, write = os.pipe()
        argv = [ours("MAILBRAID_FS", "mailbraid-fs"), "--store", self.store, "--ready-fd", str(write)]
        if self.mnt != self.backing:
            argv += ["--mount", self.mnt]
        if self.options:
            argv += ["-o", self.options]
        self.said = open(os.path.join(self.base, "messages"), "ab")
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=self.said, stderr=self.said, pass_fds=[write]
        )
        os.close(write)
        with os.fdopen(read, "rb") as f:
            answer = f.read(1)
        assert answer == b"1", self.messages()

    def messages(self):
        with open(os.path.join(self.base, "messages"), errors="replace") as f:
            return f.read()

    def path(self, *parts):
        return os.path.join(self.mnt, *parts)

    def fds(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def counters(self):
        """Requests so far, by kind."""
        before = self.messages().count("fuse:")
        self.process.send_signal(signal.SIGUSR2)
        until("the counters", lambda: self.messages().count("fuse:") > before)
        line = [x for x in self.messages().splitlines() if "fuse:" in x][-1]
        return {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", line)}

    def stop(self):
        """SIGTERM; the exit code."""
        process, self.process = self.process, None
        code = end(process)
        self.said.close()
        return code

    def kill(self):
        """SIGKILL: the mount stays behind, dead."""
        self.process.kill()
        self.process.wait(20)
        self.process = None
        self.said.close()

    def remount(self):
        assert self.stop() == 0, self.messages()
        self.start()

    def close(self):
        if self.process:
            self.stop()
        subprocess.run(["umount", "-l", self.mnt], capture_output=True, check=False)
        shutil.rmtree(self.base, ignore_errors=True)

    # ---- mail ----

    def deliver(self, name, content=b"Subject: x\n\nbody\n", folder="", sub="new"):
        """As a delivery agent does it; the path."""
        tmp = self.path(folder, "tmp", name.partition(":")[0])
        fd = os.open(tmp, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        os.write(fd, content)
        os.close(fd)
        final = self.path(folder, sub, name)
        os.rename(tmp, final)
        return final

    def folder(self, name):
        for sub in ("cur", "new", "tmp"):
            os.makedirs(self.path(name, sub), 0o700)
