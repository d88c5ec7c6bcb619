"""A mount made by an ordinary user: fusermount3, and the files' own permissions, which the daemon obeys
because it is that user's process; with -o default_permissions the kernel decides."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile

import pytest

from support.programs import mailbraid, need, need_fuse

NOBODY = 65534

# Runs as that user; prints what went wrong.
STORY = r"""
import errno, os, subprocess, sys
mb, base, options = sys.argv[1:]
store, mnt = base + "/s", base + "/m"
os.mkdir(mnt)

def run(*argv):
    subprocess.run([mb, "--store", store, *argv], check=True)

def refused(what, *args):
    try:
        got = what(*args)
    except OSError as e:
        assert e.errno == errno.EACCES, (what, args, e)
        return
    raise AssertionError(f"{what} {args} gave {got}")

def put(path, text="x"):
    with open(path, "w") as f:
        f.write(text)

run("init")
run("mount", "-o", options, mnt)
try:
    os.mkdir(mnt + "/d")
    put(mnt + "/d/kept")
    os.chmod(mnt + "/d", 0o555)
    assert os.access(mnt + "/d", os.R_OK | os.X_OK) and not os.access(mnt + "/d", os.W_OK)
    refused(put, mnt + "/d/f")
    refused(os.mkdir, mnt + "/d/e")
    refused(os.unlink, mnt + "/d/kept")
    refused(os.rename, mnt + "/d/kept", mnt + "/kept")
    os.chmod(mnt + "/d", 0o755)
    os.unlink(mnt + "/d/kept")

    put(mnt + "/shut", "secret")
    os.chmod(mnt + "/shut", 0)
    assert os.access(mnt + "/shut", os.F_OK) and not os.access(mnt + "/shut", os.R_OK)
    if options == "default_permissions":
        refused(lambda: open(mnt + "/shut").read())
    os.chmod(mnt + "/shut", 0o600)
    assert open(mnt + "/shut").read() == "secret"
    assert os.stat(mnt + "/shut").st_uid == os.getuid()

    put(mnt + "/tmp/1.a", "Subject: x\n\nx\n")
    os.rename(mnt + "/tmp/1.a", mnt + "/new/1.a")
    for mode in (0o600, 0o200, 0o400):  # what a listing has kept of the mail is not asked when it changes
        os.chmod(mnt + "/new/1.a", mode)
        for e in os.scandir(mnt + "/new"):
            e.stat()
        for i in range(2):
            assert os.access(mnt + "/new/1.a", os.R_OK) == bool(mode & 0o400), oct(mode)
            assert os.access(mnt + "/new/1.a", os.W_OK) == bool(mode & 0o200), oct(mode)
            assert not os.access(mnt + "/new/1.a", os.X_OK)
    try:
        os.chown(mnt + "/new/1.a", 0, 0)
    except PermissionError:
        pass
    else:
        raise AssertionError("gave a file away")
finally:
    run("umount", mnt)
"""


@pytest.fixture
def base():
    path = tempfile.mkdtemp(prefix="mb-user-")
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.parametrize("options", ["rw", "default_permissions"])
def test_permissions_of_the_files(base, options):
    need_fuse()
    need("fusermount3")
    user = []  # root plays nobody, everybody else plays himself
    if os.geteuid() == 0:
        need("setpriv", "unshare")
        user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    device = []  # where no udev gave /dev/fuse to all: a node of our own, seen by this test only
    if user and os.stat("/dev/fuse").st_mode & 0o006 != 0o006:
        node = os.path.join(base, "fuse")
        os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(10, 229))
        os.chmod(node, 0o666)
        if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
            pytest.skip("no mount namespace of its own can be had (in a chroot), and /dev/fuse is root's only")
        device = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /dev/fuse && exec "$@"', node]
    programs = os.path.join(base, "bin")  # the build directory may be closed to others
    os.mkdir(programs, 0o755)
    for name in ("mailbraid", "mailbraid-fs"):
        shutil.copy2(os.path.join(os.path.dirname(mailbraid()), name), programs)
    done = subprocess.run(
        device + user
        + ["/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable]
        + ["-c", STORY, programs + "/mailbraid", base, options],
        env={"PATH": os.environ["PATH"], "HOME": base, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
