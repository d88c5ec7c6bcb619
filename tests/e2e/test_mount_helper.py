"""mount(8) itself with file systems of our types: helper found in /sbin, or mount.fuse3's call by our name.

In a mount namespace of its own, where /usr/sbin has our link as if it were installed.
"""

import os
import shutil
import subprocess

import pytest

from support.programs import mailbraid, need, need_fuse
from support.replica import Replica

# $1: what lies over /usr/sbin, $2: the store, $3: the mount point, then what is tried there
PLACE = """
set -eu
over=$1 store=$2 point=$3
mount -t overlay -o "lowerdir=$over:/usr/sbin" overlay /usr/sbin || exit 77
show() { grep " $point " /proc/self/mounts | cut -d' ' -f3,4; }
"""


class Mount8:
    def __init__(self, base):
        self.base = base
        self.a = Replica(base / "a")
        self.point = base / "point"
        self.point.mkdir()
        self.over = base / "over"
        self.over.mkdir()

    def install(self, name):
        os.symlink(mailbraid(), self.over / name)

    def run(self, script):
        argv = ["unshare", "--mount", "sh", "-c", PLACE + script, "sh", self.over, self.a.path, self.point]
        env = dict(os.environ, PATH=f"{os.path.dirname(mailbraid())}:{os.environ['PATH']}")
        done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, timeout=60, env=env, check=False)
        if done.returncode == 77:
            pytest.skip(f"no namespace with an overlay: {done.stderr}")
        return done


@pytest.fixture
def mount8(tmp_path):
    need_fuse()
    need("unshare", "mount", "umount")
    if os.geteuid() != 0:
        pytest.skip("only root can put a helper where mount(8) looks")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespace of our own here")
    return Mount8(tmp_path)


WORKS = """
mount -t %s "$store" "$point" -o nofail,noexec
show
echo hello >"$point/tmp/1.x" && mv "$point/tmp/1.x" "$point/new/1.x"
mailbraid umount "$point"
show
"""


@pytest.mark.parametrize("kind", ["mailbraid", "fuse.mailbraid"])
def test_our_types(mount8, kind):
    mount8.install("mount." + kind)
    done = mount8.run(WORKS % kind)
    assert done.returncode == 0, done
    lines = done.stdout.splitlines()
    assert len(lines) == 1 and lines[0].startswith("fuse.mailbraid ") and "noexec" in lines[0], done
    assert os.listdir(mount8.a.mail + "/new") == ["1.x"]


@pytest.mark.parametrize("kind", ["fuse.mailbraid", "fuse3"])
def test_by_mount_fuse3(mount8, kind):
    """It looks for a program of our name in a PATH of its own."""
    if not shutil.which("mount.fuse3", path="/sbin:/usr/sbin"):
        pytest.skip("no mount.fuse3")
    mount8.install("mailbraid")
    script = WORKS % kind
    if kind == "fuse3":
        script = script.replace('"$store"', '"mailbraid#$store"', 1)
    done = mount8.run(script)
    assert done.returncode == 0, done
    assert done.stdout.startswith("fuse.mailbraid ") and len(done.stdout.splitlines()) == 1, done
    assert os.listdir(mount8.a.mail + "/new") == ["1.x"]


def test_a_remount_is_refused_and_changes_nothing(mount8):
    mount8.install("mount.mailbraid")
    mount8.install("mount.fuse.mailbraid")
    done = mount8.run(
        """
        mount -t mailbraid "$store" "$point"
        code=0
        mount -o remount,ro "$point" || code=$?
        echo "code $code"
        show
        touch "$point/new/1.x"
        mount -o remount,bind,ro "$point"
        ! touch "$point/new/2.x"
        mailbraid umount "$point"
        """
    )
    assert done.returncode == 0, done
    code, shown = done.stdout.splitlines()
    assert code == "code 32" and " rw," in shown, done
    assert "cannot be given other options" in done.stderr and "remount,bind,ro" in done.stderr, done
    assert os.listdir(mount8.a.mail + "/new") == ["1.x"]
