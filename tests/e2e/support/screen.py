"""A program on a terminal of its own: tmux, driven by keys and read as text."""

import os
import re
import shlex
import shutil
import subprocess
import tempfile

from support.wait import until


class Screen:
    def __init__(self, argv, env, cwd, width=110, height=30):
        # A socket's path has to be short.
        self.dir = tempfile.mkdtemp(prefix="mb-tmux-")
        self.socket = os.path.join(self.dir, "s")
        env = dict(env, TERM="screen", LINES=str(height), COLUMNS=str(width))
        command = " ".join(shlex.quote(str(a)) for a in argv)
        self._tmux(
            "-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height),
            "-c", cwd, f"exec {command}", ";", "set-option", "-g", "remain-on-exit", "on",
            ";", "set-option", "-g", "status", "off",
            env=env,
        )  # fmt: skip

    def _tmux(self, *words, env=None):
        return subprocess.run(
            ["tmux", "-S", self.socket, *words],
            env=env,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        ).stdout

    def text(self):
        return self._tmux("capture-pane", "-p")

    def keys(self, *keys):
        """Each is one key as tmux names it ("Enter", "Escape"), or text after "text:"."""
        for key in keys:
            if key.startswith("text:"):
                self._tmux("send-keys", "-l", "--", key[5:])
            else:
                self._tmux("send-keys", "--", key)

    def wait(self, pattern, **how):
        """Until a line of the screen matches; the match."""
        return until(
            f"/{pattern}/ on the screen",
            lambda: re.search(pattern, self.text(), re.M),
            tell=self.text,
            **how,
        )

    def wait_gone(self, pattern, **how):
        until(
            f"no /{pattern}/ on the screen",
            lambda: not re.search(pattern, self.text(), re.M),
            tell=self.text,
            **how,
        )

    def ended(self):
        return self._tmux("display-message", "-p", "#{pane_dead}").strip() == "1"

    def close(self):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], capture_output=True, check=False)
        shutil.rmtree(self.dir, ignore_errors=True)
