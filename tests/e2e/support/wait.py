"""Waiting for a condition, with a deadline; never for a length of time."""

import time

PATIENCE = 30.0  # seconds; only a test that fails waits so long


def until(what, condition, patience=PATIENCE, tell=None):
    """The first true value of condition(); AssertionError when it stays false.

    `what` says what was waited for; tell(), if given, is added to the failure.
    """
    deadline = time.monotonic() + patience
    pause = 0.005
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            more = f"\n{tell()}" if tell else ""
            raise AssertionError(f"not within {patience:g} s: {what}{more}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)
