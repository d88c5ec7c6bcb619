"""inotifywait on directories: what a mail program that watches them would be told."""

import os
import subprocess
import time

from support.programs import end
from support.wait import until


class Watcher:
    def __init__(self, base, *directories, mask=("move", "create", "delete")):
        """`mask`: the events that are asked for, as inotifywait(1) names them."""
        self.out = os.path.join(base, "events")
        self.err = os.path.join(base, "watches")
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.process = subprocess.Popen(
                ["inotifywait", "-m", "--format", "%e %w%f", "-e", ",".join(mask), *directories],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            )  # fmt: skip
        try:
            until("watches are set", lambda: "established" in self._read(self.err))
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _read(path):
        with open(path, errors="replace") as f:
            return f.read()

    def events(self):
        """[(event, path)] so far."""
        return [tuple(line.split(" ", 1)) for line in self._read(self.out).splitlines()]

    def wait(self, event, path):
        """Until that event came; the seconds it took."""
        start = time.monotonic()
        until(f"{event} {path}", lambda: (event, path) in self.events(), tell=self.events)
        return time.monotonic() - start

    def close(self):
        end(self.process)
