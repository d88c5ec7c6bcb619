"""What is installed works from where it lies: both programs, mount(8)'s name for us, the manual."""

import os
import re
import shutil
import subprocess

import pytest

from support.programs import mailbraid, need, need_fuse
from support.replica import Replica, run
from support.wait import until


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Root of an installed tree."""
    need("meson")
    build = os.path.dirname(mailbraid())
    if not os.path.isdir(os.path.join(build, "meson-info")):
        pytest.skip(f"{build} is no build directory")
    root = tmp_path_factory.mktemp("installed")
    subprocess.run(
        ["meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", root],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return root


def find(root, name):
    """The one path below root that ends in this name."""
    found = [os.path.join(d, name) for d, _, files in os.walk(root) if name in files]
    assert len(found) == 1, (name, found)
    return found[0]


def test_each_verb_has_a_manual_page(installed):
    verbs = re.findall(r"^  ([a-z]+) ", run("--help").out, re.M)
    assert len(verbs) > 8
    for verb in verbs:
        assert os.path.getsize(find(installed, f"mailbraid-{verb}.1")) > 300, verb
    assert find(installed, "mount.mailbraid.8").endswith("man8/mount.mailbraid.8")


def test_the_installed_program_runs(installed, tmp_path):
    program = find(installed, "mailbraid")
    done = subprocess.run([program, "--store", tmp_path / "s", "init"], capture_output=True, check=False)
    assert done.returncode == 0, done
    assert os.path.isdir(tmp_path / "s" / "mail" / "cur")


def test_units_and_the_hook_of_suspend(installed):
    hook = find(installed, "mailbraid-sleep")
    assert os.access(hook, os.X_OK)
    with open(find(installed, "mailbraid-sleep@.service"), encoding="utf-8") as f:
        assert "/mailbraid-sleep %h" in f.read()
    for name, words in (("mailbraid@.service", "bin/mailbraid --store"), ("mailbraid-sleep", "bin/mailbraid}")):
        with open(find(installed, name), encoding="utf-8") as f:
            text = f.read()
        assert words in text and "@bindir@" not in text, text
    for name in ("mount.mailbraid", "mount.fuse.mailbraid"):
        assert os.path.samefile(find(installed, name), find(installed, "mailbraid"))


def helper(installed, *args):
    env = {k: v for k, v in os.environ.items() if k != "MAILBRAID_FS"}
    path = find(installed, "mount.mailbraid")
    return subprocess.run([path, *map(str, args)], capture_output=True, env=env, timeout=60, check=False)


def test_the_helper_of_mount_wants_two_names(installed):
    done = helper(installed, "just-one")
    assert done.returncode == 1 and b"usage: mount.mailbraid" in done.stderr


def test_the_helper_of_mount_can_pretend(installed, tmp_path):
    assert helper(installed, tmp_path, tmp_path, "-f").returncode == 0
    assert not os.path.ismount(tmp_path)


def test_the_helper_of_mount_says_that_it_failed(installed, tmp_path):
    done = helper(installed, tmp_path / "none", tmp_path)
    assert done.returncode == 32 and done.stderr


def test_the_helper_of_mount_mounts(installed, tmp_path):
    """It finds mailbraid-fs beside the program that its link leads to."""
    need_fuse()
    a = Replica(tmp_path / "a")
    point = tmp_path / "point"
    point.mkdir()
    # what mount(8) makes of "user,nofail" in fstab
    done = helper(installed, a.path, point, "-o", "rw,noexec,nosuid,nodev,nofail,user,x-systemd.automount")
    try:
        assert done.returncode == 0, done
        assert os.path.ismount(point)
        assert os.statvfs(point).f_flag & os.ST_NOEXEC
        (point / "tmp" / "1.x").write_bytes(b"Subject: one\n\n1\n")
        os.rename(point / "tmp" / "1.x", point / "new" / "1.x")
        assert os.listdir(a.path + "/mail/new") == ["1.x"]
    finally:
        assert run("--store", a.path, "umount", point).code == 0
    until("the writer to be gone", lambda: not a.status()["writer"])
    shutil.rmtree(point)
