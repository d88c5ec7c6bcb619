"""What programs may do in a mount, call by call: maildir-clients would notice each of these."""

import ctypes
import ctypes.util
import errno
import fcntl
import json
import mmap
import os
import socket
import stat
import struct
import subprocess
import sys

import pytest

from support.programs import run
from support.wait import until

libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
OFD_SETLK, OFD_GETLK = 37, 36


def write(path, data=b"x", flags=os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode=0o600):
    fd = os.open(path, flags, mode)
    os.write(fd, data)
    os.close(fd)
    return path


def read(path):
    with open(path, "rb") as f:
        return f.read()


def rename2(old, new, flags):
    if libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags):
        raise OSError(ctypes.get_errno(), "renameat2")


def fails(error, call, *args, **more):
    with pytest.raises(OSError) as why:
        call(*args, **more)
    assert why.value.errno == error


def python(code, *args):
    """Another process; its output."""
    return run(sys.executable, "-c", code, *args).strip()


# ---- names -------------------------------------------------------------------------------------


def test_delivery_pickup_flag_expunge(d):
    new = d.deliver("1.a", b"hello\n")
    assert read(new) == b"hello\n"
    cur = d.path("cur", "1.a:2,")
    os.rename(new, cur)
    assert os.listdir(d.path("cur")) == ["1.a:2,"] and os.listdir(d.path("new")) == []
    os.rename(cur, cur + "S")
    assert os.listdir(d.path("cur")) == ["1.a:2,S"]
    assert read(cur + "S") == b"hello\n"
    fails(errno.ENOENT, os.stat, cur)
    os.unlink(cur + "S")
    assert os.listdir(d.path("cur")) == []


def test_excl(d, local):
    path = write(local + "/f")
    fails(errno.EEXIST, os.open, path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    fails(errno.EEXIST, os.mkdir, path)
    fails(errno.EEXIST, os.link, path, path)


def test_rename_flags(local):
    a, b = write(local + "/a", b"a"), write(local + "/b", b"b")
    fails(errno.EEXIST, rename2, a, b, RENAME_NOREPLACE)
    rename2(a, b, RENAME_EXCHANGE)
    assert (read(a), read(b)) == (b"b", b"a")
    os.rename(a, b)
    assert read(b) == b"b" and os.listdir(local) == ["b"]
    fails(errno.ENOENT, os.rename, a, b)
    os.mkdir(local + "/d")
    fails(errno.EISDIR, os.rename, b, local + "/d")
    fails(errno.ENOTDIR, os.rename, local + "/d", b)
    rename2(b, local + "/c", RENAME_NOREPLACE)


def test_rename_over_open_file(local):
    old, new = write(local + "/old", b"old"), write(local + "/new", b"new")
    with open(old, "r+b") as f:
        os.rename(new, old)
        assert f.read() == b"old"
        f.write(b"er")
        f.flush()
        assert os.pread(f.fileno(), 9, 0) == b"older"
        assert os.fstat(f.fileno()).st_nlink == 0
    assert read(old) == b"new"


@pytest.mark.parametrize("where", ["local", "message"])
def test_unlinked_but_open(d, local, where):
    path = d.deliver("unlinked.a", b"still here") if where == "message" else write(local + "/f", b"still here")
    fd = os.open(path, os.O_RDONLY)
    os.unlink(path)
    assert os.fstat(fd).st_nlink == 0
    assert os.pread(fd, 100, 0) == b"still here"
    libc.posix_fadvise(fd, ctypes.c_long(0), ctypes.c_long(0), 4)  # DONTNEED: ask the daemon
    assert os.pread(fd, 100, 6) == b"here"
    os.close(fd)
    assert not os.path.exists(path)


def test_temporary_file_is_writable_after_unlink(local):
    with open(local + "/tmpfile", "w+b") as f:
        os.unlink(f.name)
        f.write(b"x" * 100000)
        f.flush()
        assert os.fstat(f.fileno()).st_size == 100000
        f.truncate(10)
        os.fchmod(f.fileno(), 0o640)
        assert stat.S_IMODE(os.fstat(f.fileno()).st_mode) == 0o640
        assert os.pread(f.fileno(), 100, 0) == b"x" * 10


def test_directories(local):
    os.makedirs(local + "/a/b")
    assert os.stat(local).st_nlink == 3
    fails(errno.ENOTEMPTY, os.rmdir, local + "/a")
    fails(errno.EISDIR, os.unlink, local + "/a")
    os.rmdir(local + "/a/b")
    os.rmdir(local + "/a")
    fails(errno.ENOENT, os.rmdir, local + "/a")
    fails(errno.ENOTDIR, os.rmdir, write(local + "/f"))
    fails(errno.ENAMETOOLONG, os.mkdir, local + "/" + "n" * 256)
    os.mkdir(local + "/" + "n" * 255)


def test_removed_directory_that_is_open(local):
    os.mkdir(local + "/d")
    fd = os.open(local + "/d", os.O_RDONLY | os.O_DIRECTORY)
    os.rmdir(local + "/d")
    assert os.listdir(fd) == []
    assert os.fstat(fd).st_nlink == 0
    os.close(fd)


def test_symlinks_and_special_files(d, local):
    os.symlink("../nowhere", local + "/link")
    assert os.readlink(local + "/link") == "../nowhere"
    assert stat.S_ISLNK(os.lstat(local + "/link").st_mode)
    os.mkfifo(local + "/fifo")
    assert stat.S_ISFIFO(os.stat(local + "/fifo").st_mode)
    s = socket.socket(socket.AF_UNIX)
    s.bind(local + "/s")
    s.close()
    assert stat.S_ISSOCK(os.stat(local + "/s").st_mode)
    for sub in ("cur", "new", "tmp"):
        fails(errno.EPERM, os.symlink, "x", d.path(sub, "link"))
        fails(errno.EPERM, os.mkfifo, d.path(sub, "fifo"))


def test_hidden_names(d):
    fails(errno.EPERM, os.mkdir, d.path(".mailbraid-x"))
    fails(errno.EPERM, write, d.path(".mailbraid-x"))
    fails(errno.ENOENT, os.stat, d.path(".mailbraid-x"))
    assert not [n for n in os.listdir(d.mnt) if n.startswith(".mailbraid-")]


# ---- links and inode numbers -------------------------------------------------------------------


def test_link_counts(d, local):
    a = write(local + "/a")
    os.link(a, local + "/b")
    assert os.stat(a).st_nlink == os.stat(local + "/b").st_nlink == 2
    assert os.stat(a).st_ino == os.stat(local + "/b").st_ino
    os.unlink(a)
    assert os.stat(local + "/b").st_nlink == 1


def test_delivery_by_link(d):
    tmp = write(d.path("tmp", "2.a"), b"linked\n")
    new = d.path("new", "2.a")
    os.link(tmp, new)
    assert os.stat(tmp).st_nlink == 2 and os.path.samefile(tmp, new)
    os.unlink(tmp)
    assert os.stat(new).st_nlink == 1 and read(new) == b"linked\n"
    d.folder(".linked")
    copy = d.path(".linked", "cur", "2.a:2,")
    os.link(new, copy)
    assert os.stat(copy).st_nlink == 2 and os.path.samefile(copy, new)
    os.unlink(new)
    assert os.stat(copy).st_nlink == 1 and read(copy) == b"linked\n"


def test_leaf_directories_have_two_links(d):
    d.folder(".leaf")
    for folder in ("", ".leaf"):
        for sub in ("cur", "new", "tmp"):
            assert os.stat(d.path(folder, sub)).st_nlink == 2


def test_inode_numbers_stay(d):
    d.folder(".other")
    new = d.deliver("3.a")
    ino = os.stat(new).st_ino
    cur = d.path("cur", "3.a:2,S")
    os.rename(new, cur)
    assert os.stat(cur).st_ino == ino
    os.rename(cur, cur + "T")
    assert os.stat(cur + "T").st_ino == ino
    moved = d.path(".other", "cur", "3.a:2,S")
    os.rename(cur + "T", moved)
    assert os.stat(moved).st_ino == ino
    listed = {e.name: e.inode() for e in os.scandir(d.path(".other", "cur"))}
    assert listed == {"3.a:2,S": ino}
    d.remount()
    assert os.stat(moved).st_ino == ino
    assert {e.name: e.inode() for e in os.scandir(d.path(".other", "cur"))} == listed


def test_inodes_differ(d):
    for i in range(50):
        d.deliver(f"ino{i}.a")
    found = [os.stat(e.path).st_ino for sub in ("new", "cur") for e in os.scandir(d.path(sub))]
    assert len(found) >= 50 and len(set(found)) == len(found)


# ---- listings ----------------------------------------------------------------------------------


def test_d_type(d, local):
    write(local + "/f")
    os.mkdir(local + "/d")
    os.symlink("f", local + "/l")
    os.mkfifo(local + "/p")
    raw = {e.name: e for e in os.scandir(local)}
    assert raw["f"].is_file(follow_symlinks=False) and raw["d"].is_dir(follow_symlinks=False)
    assert raw["l"].is_symlink()
    out = run("find", local, "-mindepth", "1", "-printf", "%f %y\n")
    assert sorted(out.split("\n"))[1:] == ["d d", "f f", "l l", "p p"]


def test_listing_while_flags_change(d):
    """Each mail once, however often it is renamed between two reads of the listing."""
    d.folder(".race")
    names = {f"{i}.race": f"{i}.race:2," for i in range(3000)}
    for name in names.values():
        d.deliver(name, folder=".race", sub="cur")
    cur = d.path(".race", "cur")
    seen = []
    with os.scandir(cur) as entries:
        for n, entry in enumerate(entries):
            seen.append(entry.name.partition(":")[0])
            if n % 10 == 0:
                for base in list(names)[n : n + 7] + list(names)[-n - 7 : -n or None]:
                    new = base + ":2," + ("S" if names[base].endswith(",") else "")
                    os.rename(f"{cur}/{names[base]}", f"{cur}/{new}")
                    names[base] = new
    assert sorted(seen) == sorted(names)
    assert sorted(os.listdir(cur)) == sorted(names.values())


def test_directory_times_grow(d):
    """Every change of names, also many within one tick of the clock, and never backwards."""
    last = {sub: 0 for sub in ("new", "cur", "tmp")}

    def grew(*subs):
        for sub in last:
            st = os.stat(d.path(sub))
            if sub in subs:
                assert st.st_mtime_ns > last[sub], sub
                assert st.st_ctime_ns >= st.st_mtime_ns or True
            else:
                assert st.st_mtime_ns >= last[sub], sub
            last[sub] = st.st_mtime_ns

    for i in range(100):
        write(d.path("tmp", f"t{i}"))
        grew("tmp")
        os.rename(d.path("tmp", f"t{i}"), d.path("new", f"t{i}"))
        grew("tmp", "new")
        os.rename(d.path("new", f"t{i}"), d.path("cur", f"t{i}:2,"))
        grew("new", "cur")
        os.rename(d.path("cur", f"t{i}:2,"), d.path("cur", f"t{i}:2,S"))
        grew("cur")
        os.unlink(d.path("cur", f"t{i}:2,S"))
        grew("cur")
    d.remount()
    grew()
    os.utime(d.path("cur"), (1, 1))
    grew()


# ---- content -----------------------------------------------------------------------------------


def test_truncating_open_leaves_no_tail(d, local):
    path = write(local + "/f", b"a long first content")
    for flags in (os.O_WRONLY | os.O_TRUNC, os.O_RDWR | os.O_TRUNC, os.O_WRONLY | os.O_CREAT | os.O_TRUNC):
        write(path, b"short", flags)
        assert read(path) == b"short"
        assert read(os.path.join(d.backing, os.path.relpath(path, d.mnt))) == b"short"
        write(path, b"a long first content", os.O_WRONLY)


def test_truncate_holes_append(local):
    path = local + "/f"
    with open(path, "w+b") as f:
        f.write(b"abc")
        f.truncate(5)
        f.seek(100000)
        f.write(b"end")
        f.flush()
        assert os.fstat(f.fileno()).st_size == 100003
        assert os.pread(f.fileno(), 6, 0) == b"abc\0\0\0"
        assert os.lseek(f.fileno(), 0, os.SEEK_HOLE) in (4096, 100003)
        os.posix_fallocate(f.fileno(), 0, 200000)
        assert os.fstat(f.fileno()).st_size == 200000
    os.truncate(path, 2)
    a, b = os.open(path, os.O_WRONLY | os.O_APPEND), os.open(path, os.O_WRONLY | os.O_APPEND)
    for fd, data in ((a, b"1"), (b, b"2"), (a, b"3")):
        os.write(fd, data)
    os.close(a)
    os.close(b)
    assert read(path) == b"ab123"


def test_large_file(local):
    data = os.urandom(1 << 20) * 5
    write(local + "/big", data)
    assert read(local + "/big") == data
    src, dst = os.open(local + "/big", os.O_RDONLY), os.open(local + "/copy", os.O_CREAT | os.O_RDWR)
    at = 0
    while at < len(data):
        at += os.copy_file_range(src, dst, len(data) - at)
    assert os.pread(dst, len(data), 0) == data
    os.close(src)
    os.close(dst)


def test_mmap(local):
    path = write(local + "/m", b"a" * 8192)
    with open(path, "r+b") as f, mmap.mmap(f.fileno(), 8192, mmap.MAP_SHARED) as shared:
        shared[4096] = ord("b")
        shared.flush()
        assert os.pread(f.fileno(), 1, 4096) == b"b"
        os.pwrite(f.fileno(), b"c", 0)
        assert shared[0] == ord("c")
        with mmap.mmap(f.fileno(), 8192, mmap.MAP_PRIVATE) as private:
            private[1] = ord("z")
            assert shared[1] == ord("a")
        assert python("import sys; print(open(sys.argv[1],'rb').read()[4096:4097].decode())", path) == "b"
    assert read(path)[4095:4098] == b"aba"
    with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as shared:
        assert shared[4096] == ord("b")  # as Dovecot maps its cache file


def test_odirect(local):
    path = write(local + "/f", b"d" * 8192)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    with mmap.mmap(-1, 4096) as page:
        assert os.preadv(fd, [page], 4096) == 4096 and page[:4] == b"dddd"
    os.close(fd)


def test_fsync(d, local):
    fd = os.open(local + "/f", os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"x")
    os.fsync(fd)
    os.fdatasync(fd)
    os.close(fd)
    for path in (local, d.path("new"), d.mnt):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(fd)
        os.close(fd)
    new = d.deliver("fsync.a")
    fd = os.open(new, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def test_many_names_one_descriptor_each(d, local):
    """More files in use at once than the daemon keeps descriptors for."""
    fds = [os.open(f"{local}/{i}", os.O_CREAT | os.O_RDWR) for i in range(600)]
    for i, fd in enumerate(fds):
        os.write(fd, str(i).encode())
    for i, fd in enumerate(fds):
        assert os.pread(fd, 9, 0) == str(i).encode()
        os.close(fd)


# ---- a message that is written in place --------------------------------------------------------


def log_of(d):
    return run(os.environ["MAILBRAID"], "--store", d.store, "log", "--json", "-n", "0")


def test_message_written_in_cur(d):
    path = d.path("cur", "4.a:2,")
    write(path, b"first")
    assert read(path) == b"first"
    until("it is published", lambda: os.stat(path).st_ino >> 62 == 1)
    write(path, b"2nd", os.O_WRONLY | os.O_TRUNC)
    assert read(path) == b"2nd"
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(fd, b" more")
    os.fsync(fd)
    os.close(fd)
    assert read(path) == b"2nd more"
    assert read(os.path.join(d.backing, "cur", "4.a:2,")) == b"2nd more"
    kept = [read(os.path.join(f, n)) for f, _, names in os.walk(d.store + "/deleted") for n in names]
    assert b"first" in kept


@pytest.mark.parametrize("how", ["append", "truncate", "in place"])
@pytest.mark.parametrize("edited", ["original", "copy"])
def test_edit_of_a_linked_message_is_of_that_one_alone(d, how, edited):
    name = f"{how.split()[0]}-{edited}.a"
    folder = ".links-" + name[:-2]
    d.folder(folder)
    new, copy = d.deliver(name, b"Subject: x\n\nbody\n"), d.path(folder, "cur", name + ":2,")
    paths = {"original": new, "copy": copy}
    os.link(new, copy)
    flags = {"append": os.O_APPEND, "truncate": os.O_TRUNC, "in place": 0}[how]
    fd = os.open(paths.pop(edited), os.O_WRONLY | flags)
    os.write(fd, b"EDITED")
    os.fsync(fd)
    os.close(fd)
    (left,) = paths.values()
    assert read(left) == b"Subject: x\n\nbody\n"
    assert read(left.replace(d.mnt, d.backing)) == b"Subject: x\n\nbody\n"
    other = copy if edited == "copy" else new
    expected = {
        "append": b"Subject: x\n\nbody\nEDITED",
        "truncate": b"EDITED",
        "in place": b"EDITEDt: x\n\nbody\n",
    }[how]
    assert read(other) == read(other.replace(d.mnt, d.backing)) == expected
    assert os.stat(left).st_nlink == os.stat(other).st_nlink == 1
    assert os.stat(left).st_ino != os.stat(other).st_ino


def test_links_of_messages_that_are_moved_by_link_and_unlink(d):
    d.folder(".links2")
    new = d.deliver("lm.a", b"m\n")
    here, there = d.path("cur", "lm-copy:2,"), d.path(".links2", "cur", "lm:2,")
    os.link(new, here)
    os.link(here, there)
    os.unlink(here)
    last = json.loads(log_of(d).splitlines()[-1])
    assert last["what"] == "move" and last["old_name"] == "cur/lm-copy:2,"
    os.rename(there, new)  # both are names of one file: nothing happens
    until("the kernel knows both", lambda: os.path.exists(there) and os.path.exists(new))
    until("both count", lambda: os.path.samefile(there, new) and os.stat(new).st_nlink == 2)
    tmp = d.path("tmp", "lm")
    os.link(new, tmp)
    os.rename(tmp, d.path(".links2", "cur", "lm-second:2,"))
    write(d.path(".links2", "cur", "lm-second:2,"), b"M", os.O_WRONLY)
    assert read(d.path(".links2", "cur", "lm-second:2,")) == b"M\n"
    assert read(new) == read(there) == b"m\n"


def test_sed_i_is_an_edit(d):
    path = d.path("cur", "sed.a:2,FS")
    write(d.path("tmp", "sed.a"), b"Subject: before\n\n")
    os.rename(d.path("tmp", "sed.a"), path)
    run("sed", "-i", "s/before/after/", path)
    assert read(path) == b"Subject: after\n\n"
    last = [json.loads(x) for x in log_of(d).splitlines()][-2:]
    assert [x["what"] for x in last] == ["arrive", "edit"] and last[1]["new_name"] == "cur/sed.a:2,FS"


def test_message_renamed_while_written(d):
    path = write(d.path("cur", "5.a:2,"), b"content")
    os.rename(path, path + "S")
    assert read(path + "S") == b"content" and os.stat(path + "S").st_ino >> 62 == 1


# ---- attributes --------------------------------------------------------------------------------


def test_times_to_the_nanosecond(d, local):
    for path in (write(local + "/f"), d.deliver("6.a"), local):
        os.utime(path, ns=(1_234_567_890_123_456_789, 1_000_000_000_987_654_321))
        assert os.stat(path).st_mtime_ns == 1_000_000_000_987_654_321
        assert os.stat(path).st_atime_ns == 1_234_567_890_123_456_789
    received = os.stat(d.path("new", "6.a")).st_mtime_ns
    os.rename(d.path("new", "6.a"), d.path("cur", "6.a:2,S"))
    assert os.stat(d.path("cur", "6.a:2,S")).st_mtime_ns == received
    os.symlink("x", local + "/l")
    os.utime(local + "/l", ns=(5, 5), follow_symlinks=False)
    assert os.lstat(local + "/l").st_mtime_ns == 5


def test_modes_and_umask(local):
    old = os.umask(0o027)
    try:
        write(local + "/f", mode=0o666)
        os.mkdir(local + "/d", 0o777)
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(local + "/f").st_mode) == 0o640
    assert stat.S_IMODE(os.stat(local + "/d").st_mode) == 0o750
    for mode in (0o400, 0o7755, 0):
        os.chmod(local + "/f", mode)
        assert stat.S_IMODE(os.stat(local + "/f").st_mode) == mode
    fd = os.open(local + "/readonly", os.O_CREAT | os.O_WRONLY, 0o400)
    os.write(fd, b"by its maker")
    os.close(fd)
    assert read(local + "/readonly") == b"by its maker"


def test_access_times_and_statfs(d):
    st = os.statvfs(d.mnt)
    back = os.statvfs(d.backing)
    assert (st.f_blocks, st.f_bsize, st.f_namemax) == (back.f_blocks, back.f_bsize, back.f_namemax)
    assert st.f_bavail > 0 and st.f_namemax >= 255


def test_xattr(d, local):
    path = write(local + "/f")
    os.setxattr(path, "user.x", b"value")
    assert os.getxattr(path, "user.x") == b"value" and os.listxattr(path) == ["user.x"]
    fails(errno.EEXIST, os.setxattr, path, "user.x", b"2", os.XATTR_CREATE)
    os.removexattr(path, "user.x")
    fails(errno.ENODATA, os.getxattr, path, "user.x")
    mail = d.deliver("7.a")
    assert len(os.getxattr(mail, "user.mailbraid.guid").strip()) == 32
    assert int(os.getxattr(mail, "user.mailbraid.modseq")) > 0
    assert "user.mailbraid.guid" in os.listxattr(mail)
    fails(errno.EPERM, os.setxattr, mail, "user.mailbraid.guid", b"x")
    fails(errno.ENODATA, os.getxattr, path, "user.mailbraid.guid")


# ---- locks across processes --------------------------------------------------------------------


def test_flock(local):
    path = write(local + "/lock")
    other = "import fcntl,sys\nf=open(sys.argv[1],'r+')\ntry: fcntl.flock(f,fcntl.LOCK_EX|fcntl.LOCK_NB); print('got')\nexcept OSError: print('busy')"
    with open(path, "r+b") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        assert python(other, path) == "busy"
        fcntl.flock(f, fcntl.LOCK_UN)
        assert python(other, path) == "got"


def test_fcntl_lock(local):
    path = write(local + "/lock")
    other = "import fcntl,sys\nf=open(sys.argv[1],'r+')\ntry: fcntl.lockf(f,fcntl.LOCK_EX|fcntl.LOCK_NB,1,5); print('got')\nexcept OSError: print('busy')"
    with open(path, "r+b") as f:
        fcntl.lockf(f, fcntl.LOCK_EX, 10, 0)
        assert python(other, path) == "busy"
    assert python(other, path) == "got"


def test_ofd_lock(local):
    path = write(local + "/lock")
    take = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    with open(path, "r+b") as one, open(path, "r+b") as two:
        fcntl.fcntl(one, OFD_SETLK, take)
        fails(errno.EAGAIN, fcntl.fcntl, two, OFD_SETLK, take)
        fails(errno.EAGAIN, fcntl.lockf, two, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with open(path, "r+b") as two:
        fcntl.fcntl(two, OFD_SETLK, take)


# ---- folders -----------------------------------------------------------------------------------


def test_folder_rename_with_open_files(d):
    d.folder(".before")
    cur = d.deliver("8.a:2,", b"in a folder", folder=".before", sub="cur")
    write(d.path(".before", "dovecot.index"), b"index")
    with open(cur, "rb") as mail, open(d.path(".before", "dovecot.index"), "r+b") as index:
        here = os.open(d.path(".before", "cur"), os.O_RDONLY | os.O_DIRECTORY)
        os.rename(d.path(".before"), d.path(".after"))
        assert mail.read() == b"in a folder"
        index.write(b"INDEX+")
        index.flush()
        assert os.fstat(index.fileno()).st_size == 6
        os.fsync(index.fileno())
        assert os.listdir(here) == ["8.a:2,"]
        os.rename("8.a:2,", "8.a:2,S", src_dir_fd=here, dst_dir_fd=here)
        os.close(here)
    assert os.listdir(d.path(".after", "cur")) == ["8.a:2,S"]
    assert read(d.path(".after", "dovecot.index")) == b"INDEX+"
    assert not os.path.exists(d.path(".before"))


def test_folder_removed(d):
    d.folder(".gone")
    d.deliver("9.a", folder=".gone")
    fails(errno.ENOTEMPTY, os.rmdir, d.path(".gone", "new"))
    subprocess.run(["rm", "-r", d.path(".gone")], check=True)
    assert not os.path.exists(d.path(".gone")) and ".gone" not in os.listdir(d.mnt)


def test_folder_with_new_mail_is_not_removed(d):
    d.folder(".full")
    path = d.deliver("10.a", folder=".full")
    fails(errno.ENOTEMPTY, os.rmdir, d.path(".full", "cur"))
    assert read(path) and os.listdir(d.path(".full"))[-1] == "cur"
    for _ in range(8):  # rm goes in the order of the listing, whatever it is on the disk
        subprocess.run(["rm", "-r", d.path(".full")], check=True)
        d.folder(".full")
        d.deliver("11.a", folder=".full")
    d.remount()
    subprocess.run(["rm", "-r", d.path(".full")], check=True)
    assert not os.path.exists(d.path(".full"))


def test_dotlock_of_dovecot(d):
    lock = write(d.path("dovecot-uidlist.lock"), b"")
    st = os.lstat(lock)
    fails(errno.EEXIST, write, lock)
    assert (os.lstat(lock).st_ino, os.lstat(lock).st_dev) == (st.st_ino, st.st_dev)
    write(lock, b"3 V1 N1\n", os.O_WRONLY)
    os.rename(lock, d.path("dovecot-uidlist"))
    assert read(d.path("dovecot-uidlist")) == b"3 V1 N1\n"
