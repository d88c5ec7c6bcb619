"""A folder takes the name of its own parent, or goes below itself."""

import os

import pytest

from support.replica import World, run

LAYOUTS = [("maildir++", "fs"), ("fs", "fs"), ("fs", "maildir++")]


def start(path, layout, plain, folders):
    """Two replicas in step, with a mail in each of these folders."""
    w = World(str(path), layout=layout, plain=plain)
    for name in folders:
        w.a.mkfolder(name)
        w.a.deliver(name.replace("/", "_"), folder=name)
    w.sync()
    return w


def one_sync(w):
    """It ends; a hang is a failure here."""
    return run("--store", w.a.path, "sync", w.b.destination, timeout=15)


def mails(replica):
    """Contents by folder, where there are any."""
    return {name: sorted(m[2] for m in found) for name, found in replica.tree().items() if found}


@pytest.mark.parametrize("plain", ["", "b"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("old,new", [("F/S", "F"), ("P/C/D", "P/C"), ("P/C/D", "P")])
def test_a_folder_takes_the_name_of_its_parent(tmp_path, layout, plain, old, new):
    w = start(tmp_path, layout, plain, [old])
    if layout[0] == "fs":
        os.rename(w.a.folder(old), tmp_path / "aside")
        os.removedirs(os.path.dirname(w.a.folder(old)))  # INBOX has its cur and stays
        os.makedirs(os.path.dirname(w.a.folder(new)), exist_ok=True)
        os.rename(tmp_path / "aside", w.a.folder(new))
    else:
        os.rename(w.a.folder(old), w.a.folder(new))
    done = one_sync(w)
    assert done.code in (0, 2), done
    assert done.code == 0 or done.err.strip()
    one_sync(w)
    assert sum(mails(w.b).values(), []) == sum(mails(w.a).values(), [])
