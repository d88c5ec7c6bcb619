"""Rule 9: what went missing without a trace, and too much of it, is held back until somebody says so."""

import json
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
    assert "held back" not in w.sync("--allow-mass-expunge")["err"]
    assert len(w.b.names("F")) == there - gone
    w.check_equal()
    w.check_idle()


def vanish(w, folder="F"):
    """All files of the folder, to another place, as a disk that went away."""
    for sub in ("cur", "new"):
        aside = os.path.join(w.a.folder(folder), sub)
        os.makedirs(os.path.join(w.a.path, "aside", sub))
        for name in os.listdir(aside):
            os.rename(os.path.join(aside, name), os.path.join(w.a.path, "aside", sub, name))


def come_back(w, folder="F"):
    for sub in ("cur", "new"):
        aside = os.path.join(w.a.path, "aside", sub)
        for name in os.listdir(aside):
            os.rename(os.path.join(aside, name), os.path.join(w.a.folder(folder), sub, name))
    shutil.rmtree(os.path.join(w.a.path, "aside"))


@pytest.mark.parametrize("plain", KINDS)
@pytest.mark.parametrize("first", ["before", "after"])
@pytest.mark.parametrize("there", [11, 50])
def test_new_mail_lets_nothing_go(tmp_path, plain, there, first):
    w = world(tmp_path, plain, there)
    vanish(w)
    if first == "before":
        w.a.deliver("n0", folder="F")
    assert w.sync(code=1)["held"] == there
    for i in range(1, 4):
        w.a.deliver(f"n{i}", folder="F")
        assert w.sync(code=1)["held"] == there
        assert w.sync(code=1)["held"] == there
        assert {f"m{k}" for k in range(there)} < set(w.b.names("F"))
        assert f"n{i}" in w.b.names("F"), "what is new goes on"
    w.a.expunge("n1", folder="F")
    assert w.sync(code=1)["held"] == there
    assert "n1" not in w.b.names("F"), "and so does what the user does to it"
    come_back(w)
    w.sync()
    w.check_equal()
    assert len(w.b.names("F")) >= there + 2
    w.check_idle()
    w.a.expunge(w.a.names("F")[0], folder="F")
    assert w.sync()["held"] == 0, "what is back is like any other"
    w.check_equal()


@pytest.mark.parametrize("plain", KINDS)
def test_many_of_many_stay_held_among_more(tmp_path, plain):
    """60 of 200 are over a quarter; of 300 they are not."""
    w = world(tmp_path, plain, 200)
    remove(w, 60)
    assert w.sync(code=1)["held"] == 60
    for i in range(100):
        w.a.deliver(f"n{i:03}", folder="F")
    assert w.sync(code=1)["held"] == 60
    assert w.sync(code=1)["held"] == 60
    w.sync("--allow-mass-expunge")
    assert len(w.b.names("F")) == 240
    w.check_equal()
    w.check_idle()


def test_held_is_said_by_a_dry_run_and_a_checkpoint(tmp_path):
    w = world(tmp_path, "", 11)
    remove(w, 11)
    to = w.remote.destination
    assert "11 messages are gone" in w.local.command("sync", "--dry-run", to).err
    assert "held back" not in w.local.command("sync", "--dry-run", "--allow-mass-expunge", to).err
    assert not os.path.exists(os.path.join(w.a.path, "held")), "a dry run writes nothing"
    assert "11 messages are gone" in w.a.command("checkpoint").err
    assert w.sync(code=1)["held"] == 11


@pytest.mark.parametrize("plain", KINDS)
def test_held_with_another_index(tmp_path, plain):
    w = world(tmp_path, plain, 11)
    remove(w, 11)
    assert w.sync(code=1)["held"] == 11
    shutil.rmtree(os.path.join(w.local.path, "index"))
    w.a.deliver("late", folder="F")
    assert w.sync(code=1)["held"] == 11
    assert w.sync(code=1)["held"] == 11
    assert len(w.b.names("F")) == 12
    w.sync("--allow-mass-expunge")
    assert w.b.names("F") == ["late"]
    w.check_equal()


@pytest.mark.parametrize("plain", KINDS)
def test_the_user_deletes_what_is_held(tmp_path, plain):
    w = world(tmp_path, plain, 11)
    remove(w, 11)
    assert w.sync(code=1)["held"] == 11
    w.a.deliver("late", folder="F")
    assert w.sync(code=1)["held"] == 11
    for name in [n for n in w.b.names("F") if n != "late"]:
        w.b.expunge(name, folder="F")
    w.sync(code=(0, 1))
    w.sync(code=0)
    assert w.a.names("F") == ["late"]
    w.check_equal()
    w.check_idle()


@pytest.mark.parametrize("plain", KINDS)
def test_the_folder_is_gone_and_made_anew(tmp_path, plain):
    """Its mail is held, and so it is when somebody delivers to that folder, and when that goes too."""
    w = world(tmp_path, plain, 11)
    w.a.rmfolder("F")
    assert w.sync(code=1)["held"] == 11
    w.a.mkfolder("F")
    w.a.deliver("late", folder="F")
    assert w.sync(code=1)["held"] == 11
    assert w.sync(code=1)["held"] == 11
    assert len(w.b.names("F")) == 12
    w.a.rmfolder("F")
    assert w.sync(code=1)["held"] >= 11
    assert len(w.b.names("F")) >= 11
    w.sync("--allow-mass-expunge")
    assert "F" not in w.b.folders()


@pytest.mark.parametrize("plain", KINDS)
def test_a_small_inbox_whose_disk_is_not_there(tmp_path, plain):
    """An empty place where a mailbox was, however small; the first mail that comes there lets nothing go."""
    w = world(tmp_path, plain, 5, folder="INBOX")
    aside = tmp_path / "aside"
    os.rename(w.a.mail, aside)
    os.makedirs(w.a.mail)
    assert w.sync(code=1)["held"] == 5
    for sub in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(w.a.mail, sub), exist_ok=True)
    w.a.deliver("late")
    for _ in range(2):
        assert w.sync(code=1)["held"] == 5
        assert len(w.b.names()) == 6
    shutil.rmtree(w.a.mail)
    os.rename(aside, w.a.mail)
    w.sync(code=(0, 1, 2))
    assert len(w.b.names()) >= 5 and {f"m{i}" for i in range(5)} <= set(w.b.names())
    w.a.expunge("m0")
    w.sync()
    assert "m0" not in w.b.names(), "what is back is like any other"


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


@pytest.mark.parametrize("plain", ["", "a"], ids=["store", "maildir"])
def test_an_unreadable_folder_judges_nothing(tmp_path, plain):
    """And says so each time: nothing that was removed anywhere goes over meanwhile."""
    w = world(tmp_path, plain, 20)
    w.a.deliver("inbox:2,", sub="cur")
    w.sync()
    cur = os.path.join(w.a.folder("F"), "cur")
    os.chmod(cur, 0)
    w.a.expunge("inbox", "INBOX")
    for _ in range(2):
        result = w.local.command("sync", "--json", w.remote.destination, before=bound_by_modes())
        assert result.code == 1 and json.loads(result.out)["errors"] == 1, result
        assert "cannot be read" in result.err and result.err.count("ermission denied") == 1, result
        assert len(w.b.names("F")) == 20 and w.b.names() == ["inbox"]
    w.a.deliver("new")  # the rest goes on
    result = w.local.command("sync", w.remote.destination, before=bound_by_modes())
    assert result.code == 1 and w.b.names() == ["inbox", "new"], result
    os.chmod(cur, 0o700)
    w.sync()
    w.check_equal()
