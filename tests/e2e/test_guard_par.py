"""Rule 9: what went missing without a trace, and too much of it, is held back until somebody says so."""

import os
import shutil

import pytest

from support.replica import World, body, bound_by_modes

KINDS = ["", "a"]  # mail goes missing in a store, in a plain Maildir


def world(tmp_path, plain, messages, folder="F"):
    w = World(tmp_path, "b" if plain else "a", plain=plain)
    if folder != "INBOX":
        w.a.mkfolder(folder)
    for i in range(messages):
        w.a.deliver(f"m{i}:2,", folder=folder, sub="cur")
    w.sync()
    w.check_equal()
    return w


def remove(w, count, folder="F"):
    for name in w.a.names(folder)[:count]:
        w.a.expunge(name, folder=folder)


@pytest.mark.parametrize("plain", KINDS)
@pytest.mark.parametrize("there, gone", [(100, 50), (300, 60), (10, 10), (12, 11)])
def test_what_is_let_through(tmp_path, plain, there, gone):
    w = world(tmp_path, plain, there)
    remove(w, gone)
    w.sync()
    assert len(w.b.names("F")) == there - gone
    w.check_idle()


@pytest.mark.parametrize("plain", KINDS)
@pytest.mark.parametrize("there, gone", [(100, 51), (200, 60), (11, 11)])
def test_what_is_held(tmp_path, plain, there, gone):
    w = world(tmp_path, plain, there)
    remove(w, gone)
    w.b.deliver("meanwhile")
    answer = w.sync(code=1)
    assert answer["held"] == gone and "held back" in answer["err"]
    assert len(w.b.names("F")) == there
    assert w.a.names() == ["meanwhile"], "everything else goes on"
    assert w.sync(code=1)["held"] == gone, "it is held until somebody says so"
    w.sync("--allow-mass-expunge")
    assert len(w.b.names("F")) == there - gone
    w.check_equal()
    w.check_idle()


@pytest.mark.parametrize("plain", KINDS)
def test_held_and_put_back(tmp_path, plain):
    w = world(tmp_path, plain, 20)
    aside = tmp_path / "aside"
    os.rename(w.a.folder("F"), aside)
    assert w.sync(code=1)["held"] == 20
    assert len(w.b.names("F")) == 20
    os.rename(aside, w.a.folder("F"))
    w.sync()
    w.check_equal()
    assert len(w.a.names("F")) == 20
    w.check_idle()


@pytest.mark.parametrize("plain", KINDS)
def test_a_small_folder_deleted_is_let_through(tmp_path, plain):
    w = world(tmp_path, plain, 10)
    w.a.rmfolder("F")
    w.sync()
    assert w.b.folders() == ["INBOX"]


@pytest.mark.parametrize("plain", KINDS)
def test_the_whole_tree_is_gone(tmp_path, plain):
    """The disk is not mounted, somebody emptied it."""
    w = world(tmp_path, plain, 20)
    w.a.deliver("in-inbox")
    w.sync()
    for name in os.listdir(w.a.mail):
        where = os.path.join(w.a.mail, name)
        if os.path.isdir(where):
            shutil.rmtree(where)
        else:
            os.unlink(where)
    answer = w.local.command("sync", w.remote.destination)
    assert answer.code != 0, answer
    assert len(w.b.names("F")) == 20 and w.b.names() == ["in-inbox"]


def test_another_maildir_lies_there(tmp_path):
    """The disk is not mounted, and somebody delivers to the empty place: few in each folder, and all of them."""
    w = world(tmp_path, "a", 5)
    for i in range(5):
        w.a.mkfolder(f"F{i}")
        w.a.deliver(f"of{i}:2,", folder=f"F{i}", sub="cur")
        w.a.deliver(f"in{i}:2,", sub="cur")
    w.sync()
    aside = tmp_path / "aside"
    os.rename(w.a.path, aside)
    for sub in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(w.a.path, sub))
    w.a.deliver("late")
    before = {f: [m[2] for m in mail] for f, mail in w.b.tree().items() if f != "INBOX"}
    for _ in range(2):
        assert w.sync(code=1)["held"] == 15
        assert {f: [m[2] for m in mail] for f, mail in w.b.tree().items() if f != "INBOX"} == before
        assert len(w.b.names()) == 6, "what came there goes on"
    shutil.rmtree(w.a.path)
    os.rename(aside, w.a.path)
    w.sync(code=(0, 1, 2))
    assert {f: [m[2] for m in mail] for f, mail in w.b.tree().items() if f != "INBOX"} == before


def test_another_tree_lies_in_the_store(tmp_path):
    """The same of a store: what was in several folders is gone, and mail comes meanwhile."""
    w = world(tmp_path, "", 5)
    for i in range(5):
        w.a.mkfolder(f"F{i}")
        w.a.deliver(f"of{i}:2,", folder=f"F{i}", sub="cur")
        w.a.deliver(f"in{i}:2,", sub="cur")
    w.sync()
    aside = tmp_path / "aside"
    os.rename(w.a.mail, aside)
    for sub in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(w.a.mail, sub))
    w.a.deliver("late")
    before = {f: [m[2] for m in mail] for f, mail in w.b.tree().items() if f != "INBOX"}
    for _ in range(2):
        assert w.sync(code=1)["held"] == 15
        assert {f: [m[2] for m in mail] for f, mail in w.b.tree().items() if f != "INBOX"} == before
        assert len(w.b.names()) == 6, "what came there goes on"
    w.sync("--allow-mass-expunge")
    assert w.b.contents() == [body("late")]


@pytest.mark.parametrize("plain", KINDS)
def test_the_root_is_missing(tmp_path, plain):
    w = world(tmp_path, plain, 20)
    os.rename(w.a.mail, str(tmp_path / "aside"))
    result = w.local.command("sync", w.remote.destination)
    assert result.code != 0 and "why:" in result.err
    assert len(w.b.names("F")) == 20
    if os.path.isdir(w.a.mail):
        shutil.rmtree(w.a.mail)
    os.rename(str(tmp_path / "aside"), w.a.mail)
    w.sync()
    w.check_equal()
    assert len(w.a.names("F")) == 20


def test_a_recorded_delete_is_never_held(tmp_path):
    """B was told of each expunge by A's log: nothing is inferred there."""
    w = world(tmp_path, "", 100)
    remove(w, 100)
    w.sync("--allow-mass-expunge")
    assert w.b.names("F") == [] and w.b.kept().count(body("m7")) == 1
    w.check_idle()


def test_moves_are_no_expunges(tmp_path):
    w = world(tmp_path, "", 100)
    w.a.mkfolder("G")
    for name in w.a.names("F"):
        w.a.move(name, "G")
    assert w.sync()["held"] == 0
    assert len(w.b.names("G")) == 100 and w.b.names("F") == []


def test_an_unreadable_folder_judges_nothing(tmp_path):
    w = world(tmp_path, "", 20)
    os.chmod(os.path.join(w.a.folder("F"), "cur"), 0)
    w.local.command("sync", w.remote.destination, before=bound_by_modes())
    os.chmod(os.path.join(w.a.folder("F"), "cur"), 0o700)
    assert len(w.b.names("F")) == 20
    w.sync()
    w.check_equal()
