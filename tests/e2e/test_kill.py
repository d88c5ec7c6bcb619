"""SIGKILL at random while mail comes and goes: a short version of tests/soak/kills.py."""

import pytest

from support import killers
from support.programs import mailbraid, need_fuse


@pytest.mark.parametrize(("kind", "kills", "every"), [("sync", 15, 15), ("watch", 5, 5), ("mount", 10, 5)])
def test_nothing_is_lost(tmp_path_factory, kind, kills, every):
    mailbraid()
    if kind == "mount":
        need_fuse()
    done, _ = killers.run(kind, str(tmp_path_factory.mktemp(kind)), kills, seed=1, every=every)
    assert sum(done.values()) == kills
