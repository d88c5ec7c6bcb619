"""The programs under test and the mail programs: finding and running them."""

import os
import shutil
import subprocess

import pytest

TIMEOUT = 60  # of one command, seconds


def need(*names):
    """Skips the test where one of these programs is missing."""
    for name in names:
        if not shutil.which(name):
            pytest.skip(f"{name} is not installed")


def ours(variable, name):
    """Path of one of our programs: $VARIABLE, as the build sets it; it has to be there then."""
    path = os.environ.get(variable) or shutil.which(name)
    if not path:
        pytest.skip(f"no {name}: set {variable} to a built one")
    assert os.access(path, os.X_OK), f"{variable}={path}: no such program"
    return os.path.abspath(path)


def mailbraid():
    return ours("MAILBRAID", "mailbraid")


def need_fuse():
    """Skips the test where nothing can be mounted."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    except OSError as why:
        pytest.skip(f"/dev/fuse: {why.strerror}")
    ours("MAILBRAID_FS", "mailbraid-fs")


def need_allow_other():
    """Skips the test where we may not mount for others."""
    if os.geteuid() == 0:
        return
    try:
        with open("/etc/fuse.conf", encoding="utf-8") as conf:
            allowed = "user_allow_other" in [line.strip() for line in conf]
    except OSError:
        allowed = False
    if not allowed:
        pytest.skip("/etc/fuse.conf has no user_allow_other")


def run(*argv, env=None, cwd=None, data=None, ok=(0,)):
    """Runs a command to its end; its stdout. Fails the test on other exit codes than `ok`."""
    done = subprocess.run(
        [str(a) for a in argv],
        env=env,
        cwd=cwd,
        input=data if data is not None else b"",
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    out = done.stdout.decode("utf-8", "replace")
    said = done.stderr.decode("utf-8", "replace")
    assert done.returncode in ok, f"{argv} gave {done.returncode}\n{out}\n{said}"
    return out


def end(process, patience=20):
    """SIGTERM, later SIGKILL, to a process of ours; its exit code."""
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait(patience)
