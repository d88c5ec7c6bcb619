"""Many programs at one folder of the mount while a peer changes it too: a short tests/soak/races.py."""

import os
import signal
import threading

import pytest

from support.programs import need_fuse
from support.racing import Race
from support.wait import until

SLOW_US = 10e6  # no bar: a busy disk takes seconds, and who waits for the stopped one never ends; bench_stopped.py has figures


@pytest.fixture
def race(tmp_path):
    need_fuse()
    r = Race(tmp_path, count=300)
    yield r
    r.close()


@pytest.mark.parametrize("phase", ["flagrace", "mixed"])
def test_nothing_is_missed_doubled_or_wrong(race, phase):
    told = race.run_with_peer(phase, 4)
    assert told["changes"] > 100 and told["listings"] > 10 and told["at_the_peer"] > 10, told
    race.check_mount()


def test_a_stopped_reconciler_is_not_waited_for(race):
    pid = race.reconciler()
    os.kill(pid, signal.SIGSTOP)
    try:
        told = race.run("mixed", 3)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert told["changes"] > 100 and told["max_us"] < SLOW_US, told
    race.wait_equal()
    race.check_mount()


def test_one_that_is_stopped_in_the_middle_of_its_work(race):
    """With changes of its own under way in the mount."""
    hand = threading.Thread(target=race.stop_reconciler, args=(3, 0.2, 0.1))
    hand.start()
    told = race.run_with_peer("mixed", 3)
    hand.join()
    assert told["changes"] > 100 and told["max_us"] < SLOW_US, told
    race.check_mount()


def test_one_that_is_killed_again_and_again(race):
    def kill():
        for _ in range(3):
            pid = until("a reconciler", race.reconciler)
            os.kill(pid, signal.SIGKILL)
            until("another one", lambda pid=pid: race.reconciler() not in (None, pid))

    hand = threading.Thread(target=kill)
    hand.start()
    told = race.run_with_peer("mixed", 3)
    hand.join()
    assert told["changes"] > 100 and told["max_us"] < SLOW_US, told
    race.check_mount()
