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


def move_alone(replica, old, new):
    """By hand, without what is below it; a name above others may be in its new place."""
    aside = os.path.join(os.path.dirname(replica.path), "aside")
    if replica.layout != "fs":
        os.rename(replica.folder(old), replica.folder(new))
        return
    os.mkdir(aside)
    moves = {f: f for f in replica.folders() if f.startswith((old + "/", new + "/"))} | {old: new}
    place = {name: os.path.join(aside, str(i)) for i, name in enumerate(moves)}
    for name in sorted(moves, key=len, reverse=True):
        os.rename(replica.folder(name), place[name])
    for name in (old, new):
        for where, _, _ in os.walk(replica.folder(name), topdown=False):
            os.rmdir(where)
    for name in sorted(moves, key=lambda f: len(moves[f])):
        os.makedirs(os.path.dirname(replica.folder(moves[name])), exist_ok=True)
        os.rename(place[name], replica.folder(moves[name]))
    os.rmdir(aside)


MOVES = [
    (["F/S"], "F/S", "F"),
    (["F/S", "F/S/U", "F/T"], "F/S", "F"),
    (["F/S", "F/S/U", "F/T"], "F/S/U", "F"),
    (["Q"], "Q", "Q/C"),
    (["Q", "Q/K"], "Q", "Q/C"),
    (["Q", "Q/C"], "Q", "Q/C/D"),
    (["Old", "Old/X", "P/C", "P/C/D"], "Old", "P"),
    (["Q/C", "P/C/D"], "Q/C", "P/C"),
]


@pytest.mark.parametrize("plain", ["", "b"])
@pytest.mark.parametrize("by", ["a", "b"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("folders,old,new", MOVES)
def test_alone_to_a_place_that_is_in_the_way(tmp_path, layout, plain, by, folders, old, new):
    """Whoever did it, both have what it made, the children where they were, and it is over."""
    w = start(tmp_path, layout, plain, folders)
    move_alone({"a": w.a, "b": w.b}[by], old, new)
    expected = {new if f == old else f for f in folders}
    assert set(mails({"a": w.a, "b": w.b}[by])) == expected
    done = one_sync(w)
    assert done.code == 0, done
    assert set(mails(w.a)) == expected
    assert mails(w.b) == mails(w.a)
    done = one_sync(w)
    assert (done.code, done.err) == (0, ""), done
    assert "in step" in done.out or not done.out
    w.a.deliver("later", folder=new)
    assert one_sync(w).code == 0
    assert mails(w.b) == mails(w.a)


@pytest.mark.parametrize("plain", ["", "b"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("folders,old,new", MOVES)
def test_without_mail(tmp_path, layout, plain, folders, old, new):
    w = World(str(tmp_path), layout=layout, plain=plain)
    for name in folders:
        w.a.mkfolder(name)
    w.sync()
    move_alone(w.a, old, new)
    for _ in range(2):
        assert one_sync(w).code == 0
        assert set(w.b.folders()) == set(w.a.folders()) == {"INBOX", *(new if f == old else f for f in folders)}
