"""`mailbraid demo`: a verdict, and nothing left behind."""

import os
import re
import signal
import subprocess

import pytest

from support.programs import end, mailbraid, need_fuse, run
from support.wait import until


@pytest.fixture
def folder(tmp_path):
    """TMPDIR of the demo; empty again afterwards, and nothing mounted in it."""
    yield tmp_path
    assert os.listdir(tmp_path) == []
    assert str(tmp_path) not in open("/proc/self/mounts").read()


def demo(folder, *options):
    done = subprocess.run(
        [mailbraid(), "demo", *options],
        env=dict(os.environ, TMPDIR=str(folder)),
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def check(result):
    code, out, err = result
    assert code == 0, out + err
    assert "NOT SEEN" not in out
    assert "0 differences" in out
    assert out.rstrip().splitlines()[-1].startswith("All seen, both sides equal.")
    return out


def test_the_story_on_a_mount(folder):
    need_fuse()
    out = check(demo(folder))
    assert "A is mounted on" in out
    times = re.findall(r"delivered at B -> the watcher at A is told +(\d+) ms", out)
    assert len(times) == 3 and max(map(int, times)) < 3000


def test_the_story_on_a_plain_directory(folder):
    out = check(demo(folder, "--no-mount"))
    assert "plain directory is watched" in out


@pytest.mark.parametrize("options", [[], ["--no-mount"]])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ended_in_the_middle_it_takes_everything_away(folder, options, number):
    if not options:
        need_fuse()
    process = subprocess.Popen(
        [mailbraid(), "demo", *options],
        env=dict(os.environ, TMPDIR=str(folder)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        for line in process.stdout:
            if b"Mail arrives" in line:
                break
        process.send_signal(number)
        assert process.wait(30) == 130
    finally:
        process.stdout.close()
        end(process)


def test_keep_leaves_it_mounted(folder):
    need_fuse()
    code, out, err = demo(folder, "--keep")
    assert code == 0, out + err
    view = re.search(r"neomutt .* -f (\S+)", out).group(1)
    other = re.search(r"cp a-mail (\S+)/new/", out).group(1)
    try:
        assert view in open("/proc/self/mounts").read()
        with open(f"{other}/tmp/1900000000.x", "wb") as f:
            f.write(b"Subject: later\n\n")
        os.rename(f"{other}/tmp/1900000000.x", f"{other}/new/1900000000.x")
        until("the mail to arrive", lambda: "1900000000.x" in os.listdir(f"{view}/new"))
    finally:
        run(mailbraid(), "umount", view)
        run("rm", "-r", os.path.dirname(view))


def test_keep_without_a_mount(folder):
    code, out, err = demo(folder, "--keep", "--no-mount")
    assert code == 0, out + err
    end_line = re.search(r"End it: +(.*)", out).group(1)
    run("sh", "-c", end_line)
