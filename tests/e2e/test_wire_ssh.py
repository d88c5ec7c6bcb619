"""Two stores in step through OpenSSH: an sshd of our own on loopback, with keys made for the test."""

import getpass
import os
import shutil
import socket
import subprocess
import time

import pytest

from support.replica import PROGRAM, Replica

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def key(path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path.with_suffix(".pub").read_text()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """One sshd, what it lets in, and what a client knows of it."""

    def __init__(self, path):
        self.path = path
        self.port = free_port()
        self.host = key(path / "host")
        self.user = key(path / "user")
        self.allow(self.user)
        self.know(self.host)
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        (path / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {path}/host\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {path}/authorized\nStrictModes no\nPasswordAuthentication no\n"
            f"KbdInteractiveAuthentication no\nPermitRootLogin yes\n"
            f"SetEnv PATH={os.path.dirname(PROGRAM)}:/usr/local/bin:/usr/bin:/bin\n"
        )
        self.start()

    def start(self):
        self.log = open(self.path / "sshd.log", "ab")
        self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", self.path / "sshd_config"], stderr=self.log)
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert self.process.poll() is None, (self.path / "sshd.log").read_text()
                time.sleep(0.05)
        raise AssertionError("sshd does not listen")

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        self.log.close()

    def allow(self, public, options=""):
        (self.path / "authorized").write_text(options + public)

    def know(self, public):
        (self.path / "known").write_text(f"[127.0.0.1]:{self.port} {public}")

    @property
    def env(self):
        (self.path / "config").write_text(
            f"Host *\n IdentityFile {self.path}/user\n IdentitiesOnly yes\n IdentityAgent none\n BatchMode yes\n"
            f" UserKnownHostsFile {self.path}/known\n GlobalKnownHostsFile none\n StrictHostKeyChecking yes\n"
        )
        return {"MAILBRAID_SSH": f"ssh -F {self.path}/config"}

    def of(self, replica):
        class Far:
            destination = f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{replica.path}"

        return Far


@pytest.fixture
def server(tmp_path):
    if not SSHD:
        pytest.skip("no sshd (package openssh-server)")
    path = tmp_path / "ssh"
    path.mkdir(mode=0o700)
    s = Server(path)
    yield s
    s.stop()


@pytest.fixture
def two(tmp_path):
    return Replica(tmp_path / "a"), Replica(tmp_path / "b")


def test_mail_goes_both_ways(server, two):
    a, b = two
    a.mkfolder("Work")
    a.deliver("one", folder="Work")
    b.deliver("two")
    a.sync(server.of(b), env=server.env)
    assert a.tree() == b.tree()
    b.flag("one", "+S", folder="Work")
    a.deliver("three")
    a.sync(server.of(b), env=server.env)
    assert a.tree() == b.tree()
    answer = a.sync(server.of(b), "-D", env=server.env)
    assert "1 round trips" in answer["err"]


def test_a_key_that_can_do_nothing_else(server, two, tmp_path):
    """The path that the client names is not the one that it gets."""
    a, b = two
    other = Replica(tmp_path / "other")
    server.allow(server.user, f'restrict,command="{PROGRAM} --store {b.path} serve" ')
    a.deliver("one")
    a.sync(server.of(other), env=server.env)
    assert a.tree() == b.tree()
    assert sum(map(len, other.tree().values())) == 0


def refused(server, a, b, word):
    log = b.log_bytes()
    done = a.command("sync", "-T", "20", server.of(b).destination, env=server.env)
    assert done.code in (1, 2) and word.lower() in done.err.lower(), done
    assert b.log_bytes() == log
    assert sum(map(len, b.tree().values())) == 0


def test_keys_that_are_not_the_right_ones(server, two, tmp_path):
    a, b = two
    a.deliver("one")
    b.notice()
    wrong = key(tmp_path / "wrong")
    server.know(wrong)
    refused(server, a, b, "host identification has changed")
    (server.path / "known").write_text("")
    refused(server, a, b, "host key verification failed")
    server.know(server.host)
    server.allow(wrong)
    refused(server, a, b, "permission denied")
    server.allow(server.user)
    a.sync(server.of(b), env=server.env)
    assert a.tree() == b.tree()


def test_a_host_that_is_away_comes_back(server, two):
    a, b = two
    a.sync(server.of(b), env=server.env)
    server.stop()
    a.deliver("one")
    done = a.command("sync", server.of(b).destination, env=server.env)
    assert done.code == 2 and "refused" in done.err.lower(), done
    server.start()
    a.sync(server.of(b), env=server.env)
    assert a.tree() == b.tree()


def test_no_such_store_there(server, two, tmp_path):
    class Nowhere(Replica):
        path = str(tmp_path / "nowhere")

        def __init__(self):
            pass

    a, _ = two
    done = a.command("sync", server.of(Nowhere()).destination, env=server.env)
    assert done.code == 2 and "cannot open the store" in done.err, done
    assert not os.path.exists(Nowhere.path)
