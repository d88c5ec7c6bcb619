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
    assert one_sync(w).code == 0
    assert mails(w.b) == mails(w.a)
    assert list(mails(w.b)) == [new]
    done = one_sync(w)
    assert (done.code, done.out, done.err) == (0, "", ""), done


@pytest.mark.parametrize("plain", ["", "b"])
def test_a_folder_goes_below_itself(tmp_path, plain):
    w = start(tmp_path, ("maildir++", "fs"), plain, ["Q"])
    os.rename(w.a.folder("Q"), w.a.folder("Q/C"))
    assert one_sync(w).code == 0
    assert mails(w.b) == mails(w.a)
    assert list(mails(w.b)) == ["Q/C"]


@pytest.mark.parametrize("plain", ["", "b"])
def test_its_new_place_holds_another(tmp_path, plain):
    """F/T is a child of what F/S becomes, and has to be where it is."""
    w = start(tmp_path, ("maildir++", "fs"), plain, ["F/S", "F/T"])
    os.rename(w.a.folder("F/S"), w.a.folder("F"))
    assert one_sync(w).code == 0
    assert mails(w.b) == mails(w.a)
    assert sorted(mails(w.b)) == ["F", "F/T"]


@pytest.mark.parametrize("plain", ["", "b"])
def test_what_nobody_knows_stays(tmp_path, plain):
    """A file in the new place: the folder keeps its old name, each sync says so, and mail goes on."""
    w = start(tmp_path, ("maildir++", "fs"), plain, ["F/S"])
    note = os.path.join(w.b.mail, "F", "note.txt")
    with open(note, "w", encoding="utf-8") as f:
        f.write("mine")
    os.rename(w.a.folder("F/S"), w.a.folder("F"))
    for _ in range(2):
        done = one_sync(w)
        assert done.code == 2, done
        assert "F/S" in done.err
        assert list(mails(w.b)) == ["F/S"]
    os.remove(note)
    one_sync(w)
    assert one_sync(w).code == 0
    assert list(mails(w.b)) == ["F"]


@pytest.mark.parametrize("plain", ["", "b"])
@pytest.mark.parametrize("old,new", [("F/S", "F"), ("Q", "Q/C")])
def test_a_kill_at_any_step(tmp_path, plain, old, new):
    for step in range(1, 400):
        w = start(tmp_path / str(step), ("maildir++", "fs"), plain, [old])
        os.rename(w.a.folder(old), w.a.folder(new))
        done = run("--store", w.a.path, "sync", w.b.destination, timeout=15, env={"MAILBRAID_STOP_AT": str(step)})
        assert sum(map(len, mails(w.b).values())) <= 1
        for _ in range(3):
            last = one_sync(w)
        assert last.code == 0, (step, last)
        assert mails(w.b) == mails(w.a), step
        assert list(mails(w.b)) == [new], step
        if done.code == 0:
            break
    assert step > 5
