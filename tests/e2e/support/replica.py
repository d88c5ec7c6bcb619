"""Replicas as a program outside sees them: directories, file names, one command.

A replica is a store or a plain Maildir.  Its operations are what local mail programs do to files
while nothing is mounted: rename, link, unlink, mkdir.  What is looked at is the tree and what the
command prints, never the inside of the program.
"""

import collections
import hashlib
import json
import os
import re
import shlex
import shutil
import stat
import subprocess

PROGRAM = os.environ.get("MAILBRAID", "mailbraid")
KNOWN = "DFPRST"  # the flags that every Maildir program knows

Result = collections.namedtuple("Result", "code out err")


def bound_by_modes():
    """What goes before a command so that modes bind it, who ever runs it: root is root without the
    right to read and to write what the mode of its own file forbids."""
    rights = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"] if os.geteuid() == 0 else []


def run(*args, env=None, timeout=20, before=()):
    """Runs the program; never fails by itself.  `before`: words before its name."""
    full = dict(os.environ, **(env or {}))
    done = subprocess.run(
        [*before, PROGRAM, *map(os.fspath, args)], env=full, capture_output=True, timeout=timeout, check=False
    )
    return Result(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))


def body(text, size=0):
    """A small message; equal texts give equal bytes."""
    tag = hashlib.sha256(text.encode()).hexdigest()[:12]
    lines = f"From: a@example.org\nSubject: {text}\nMessage-ID: <{tag}@example.org>\n\n{text}\n"
    return lines.encode() + b"x" * size


def unescaped(name):
    """What a folder is called whose directory had to be named otherwise: \\2e is a dot."""
    return re.sub(r"\\([0-9a-f]{2})", lambda m: chr(int(m[1], 16)), name)


def split(name):
    """(base name, flags) of a message file."""
    base, colon, flags = name.partition(":2,")
    return base, flags if colon else ""


class Replica:
    """One side; `plain`: a Maildir without a store."""

    def __init__(self, path, plain=False, layout="maildir++"):
        self.path = str(path)
        self.plain = plain
        self.layout = layout
        self.mail = self.path if plain else os.path.join(self.path, "mail")
        if plain:
            for sub in ("cur", "new", "tmp"):
                os.makedirs(os.path.join(self.path, sub))
        else:
            self.must("init", *(["--layout", "fs"] if layout == "fs" else []))

    # ---- the program ----

    @property
    def destination(self):
        if not self.plain:
            return "store:" + self.path
        return "maildir:" + self.path + (":LAYOUT=fs" if self.layout == "fs" else "")

    def command(self, *args, **kw):
        return run("--store", self.path, *args, **kw)

    def must(self, *args, **kw):
        result = self.command(*args, **kw)
        assert result.code == 0, (args, result)
        return result

    def sync(self, other, *options, code=0, env=None):
        """One sync started here; the printed object, with what went to stderr as "err".  `code`: the
        exit code that it must have, or several."""
        result = self.command("sync", "--json", *options, other.destination, env=env)
        assert result.code in (code if isinstance(code, tuple) else (code,)), result
        answer = json.loads(result.out.splitlines()[-1]) if result.out.strip() else {}
        answer["err"] = result.err
        return answer

    def notice(self, *options):
        """The store looks at its files now."""
        self.must("checkpoint", *options)

    def log(self):
        """All records that the log still holds."""
        return [json.loads(line) for line in self.must("log", "--json", "--all", "-n", "0").out.splitlines()]

    def status(self):
        return json.loads(self.must("status", "--json").out)

    def log_bytes(self):
        """What changes when anything is logged."""
        folder = os.path.join(self.path, "log")
        return sorted((name, os.path.getsize(os.path.join(folder, name))) for name in os.listdir(folder))

    def kept(self):
        """Contents of what was expunged and can be restored."""
        found = []
        for folder, _, names in os.walk(os.path.join(self.path, "deleted")):
            found += [open(os.path.join(folder, name), "rb").read() for name in names]
        return found

    # ---- folders ----

    def folder(self, name):
        if name == "INBOX":
            return self.mail
        path = os.path.join(self.mail, name if self.layout == "fs" else "." + name.replace("/", "."))
        if not os.path.isdir(path):
            for found in self.directories():
                if unescaped(found) == name:
                    return os.path.join(self.mail, found if self.layout == "fs" else "." + found.replace("/", "."))
        return path

    def folders(self):
        return sorted(["INBOX", *map(unescaped, self.directories())])

    def directories(self):
        """Names of folders as their directories say them."""
        found = []
        if self.layout == "fs":
            for folder, names, _ in os.walk(self.mail):
                names[:] = [n for n in names if n not in ("cur", "new", "tmp")]
                if folder != self.mail and os.path.isdir(os.path.join(folder, "cur")):
                    found.append(os.path.relpath(folder, self.mail))
            return found
        for name in os.listdir(self.mail):
            if name.startswith(".") and os.path.isdir(os.path.join(self.mail, name, "cur")):
                found.append(name[1:].replace(".", "/"))
        return found

    def mkfolder(self, name):
        for sub in ("tmp", "new", "cur"):
            os.makedirs(os.path.join(self.folder(name), sub))

    def mvfolder(self, old, new):
        """With the folders beneath it, as Dovecot does it."""
        moves = [(old, new)]
        if self.layout != "fs":
            moves += [(f, new + f[len(old) :]) for f in self.folders() if f.startswith(old + "/")]
        for source, target in moves:
            if os.path.isdir(self.folder(source)):
                os.makedirs(os.path.dirname(self.folder(target)), exist_ok=True)
                os.rename(self.folder(source), self.folder(target))

    def rmfolder(self, name):
        shutil.rmtree(self.folder(name))

    def keywords(self, folder, *names):
        """Writes dovecot-keywords: letter a is the first name."""
        with open(os.path.join(self.folder(folder), "dovecot-keywords"), "w", encoding="utf-8") as f:
            f.writelines(f"{i} {name}\n" for i, name in enumerate(names))

    # ---- messages ----

    def deliver(self, name, content=None, folder="INBOX", sub="new", mtime=None):
        content = body(split(name)[0]) if content is None else content
        final = os.path.join(self.folder(folder), sub, name)
        temp = os.path.join(self.folder(folder), "tmp", name.partition(":")[0])
        with open(temp, "wb") as f:
            f.write(content)
        if mtime is not None:
            os.utime(temp, ns=(mtime, mtime))
        os.rename(temp, final)
        return final

    def path_of(self, name, folder=None):
        """The file of the message with this base name."""
        for f in [folder] if folder else self.folders():
            for sub in ("cur", "new"):
                where = os.path.join(self.folder(f), sub)
                for file in os.listdir(where) if os.path.isdir(where) else []:
                    if split(file)[0] == name:
                        return os.path.join(where, file)
        raise FileNotFoundError(f"{name} in {self.path}")

    def flag(self, name, change, folder=None):
        """change: "+S", "-F", "+a"; the file goes to cur/."""
        old = self.path_of(name, folder)
        base, flags = split(os.path.basename(old))
        flags = set(flags) | set(change[1:]) if change[0] == "+" else set(flags) - set(change[1:])
        box = os.path.dirname(os.path.dirname(old))
        os.rename(old, os.path.join(box, "cur", base + ":2," + "".join(sorted(flags))))

    def expunge(self, name, folder=None):
        os.unlink(self.path_of(name, folder))

    def move(self, name, to, new=None, folder=None):
        old = self.path_of(name, folder)
        file = os.path.basename(old)
        target = (new or name) + file[len(name) :]
        os.rename(old, os.path.join(self.folder(to), os.path.basename(os.path.dirname(old)), target))

    def copy(self, name, to, new=None, folder=None):
        old = self.path_of(name, folder)
        file = os.path.basename(old)
        target = (new or name) + file[len(name) :]
        os.link(old, os.path.join(self.folder(to), os.path.basename(os.path.dirname(old)), target))

    def edit(self, name, content, folder=None):
        with open(self.path_of(name, folder), "r+b") as f:
            f.write(content)
            f.truncate()

    def read(self, name, folder=None):
        with open(self.path_of(name, folder), "rb") as f:
            return f.read()

    def flags(self, name, folder=None):
        return split(os.path.basename(self.path_of(name, folder)))[1]

    def names(self, folder="INBOX"):
        """Base names in a folder, sorted; one that is there twice comes twice."""
        found = []
        for sub in ("cur", "new"):
            where = os.path.join(self.folder(folder), sub)
            found += [split(file)[0] for file in os.listdir(where)]
        return sorted(found)

    def contents(self, folder=None):
        """All bodies (of one folder), sorted."""
        tree = self.tree()
        return sorted(m[2] for f in ([folder] if folder else tree) for m in tree[f])

    def tree(self):
        """{folder: sorted (base, known flags, bytes)}; new/x is cur/x:2, here."""
        result = {}
        for folder in self.folders():
            messages = []
            for sub in ("cur", "new"):
                where = os.path.join(self.folder(folder), sub)
                for file in os.listdir(where) if os.path.isdir(where) else []:
                    base, flags = split(file)
                    path = os.path.join(where, file)
                    if file.startswith(".") or not stat.S_ISREG(os.lstat(path).st_mode):
                        continue
                    with open(path, "rb") as f:
                        content = f.read()
                    messages.append((base, "".join(sorted(set(flags) & set(KNOWN))), content))
            result[folder] = sorted(messages)
        return result


class Far:
    """A store as it is seen through a command, which serves it."""

    def __init__(self, replica, before=()):
        self.destination = "exec:" + shlex.join([*map(str, before), PROGRAM, "--store", replica.path, "serve"])


class World:
    """Replicas A and B, who starts, and how deep the syncs look."""

    def __init__(self, path, starter="a", plain="", layout="maildir++", depth="changed", wire=False):
        os.makedirs(path, exist_ok=True)
        layouts = layout if isinstance(layout, tuple) else (layout, layout)
        self.a = Replica(os.path.join(path, "a"), plain="a" in plain, layout=layouts[0])
        self.b = Replica(os.path.join(path, "b"), plain="b" in plain, layout=layouts[1])
        self.local, self.remote = (self.a, self.b) if starter == "a" else (self.b, self.a)
        self.answer = {}
        self.depth = depth
        self.states = {}  # of stateful syncs: what the last one printed, for each starter
        self.excepted = False
        self.wire = wire  # who does not start is at the other end of a stream
        self.env = {}  # of each sync from now on
        self.always = ()  # options of each sync from now on
        self.exit = 0  # what each sync from now on is to end with

    @property
    def stores(self):
        return [r for r in (self.a, self.b) if not r.plain]

    def other(self, r):
        return self.b if r is self.a else self.a

    def far(self, r):
        """What r syncs with."""
        return Far(self.other(r)) if self.wire else self.other(r)

    def options(self, r):
        """What says how deep a sync started by r looks, and what all have."""
        if self.depth == "full":
            return ("-f", *self.always)
        state = ("-s", self.states.get(r.path, "")) if self.depth == "stateful" else ()
        return (*state, *self.always)

    def start(self, by=None):
        """A sync that runs beside the test."""
        r = by or self.local
        command = [PROGRAM, "--store", r.path, "sync", *self.options(r), self.far(r).destination]
        env = dict(os.environ, **self.env)
        return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def sync(self, *options, code=None, by=None, **kw):
        """One sync of the world's depth, started by `by` or the side that always starts."""
        code = self.exit if code is None else code
        r = by or self.local
        options = (*self.options(r), *options)
        kw.setdefault("env", self.env)
        answer = r.sync(self.far(r), *options, code=code, **kw)
        self.states[r.path] = answer.get("state") or self.states.get(r.path, "")
        if r is self.local:
            self.answer = answer
        return answer

    def notice(self):
        """Both stores look at their files now: what follows is later than what was before."""
        for r in self.stores:
            r.notice()

    def said(self, part):
        """A notice of the last sync has this part."""
        return any(part in text for text in self.answer["notices"])

    def check_equal(self):
        """Folders, names, flags and bytes; a plain Maildir has file names of its own."""
        a, b = self.a.tree(), self.b.tree()
        if len(self.stores) < 2:
            a, b = ({f: sorted(m[1:] for m in tree[f]) for f in tree} for tree in (a, b))
        assert a == b

    def check_idle(self, *options):
        """Another sync, from either side, does nothing."""
        before = [r.log_bytes() for r in self.stores], self.a.tree(), self.b.tree()
        for r in sorted(self.stores, key=lambda r: r is not self.local):
            answer = self.sync(*options, by=r)
            assert not any(answer["sent"].values()) and not any(answer["got"].values()), answer
            assert answer["notices"] == [], answer
        after = [r.log_bytes() for r in self.stores], self.a.tree(), self.b.tree()
        assert before == after

    def flag_words(self, name):
        """Flags and keywords by name of a message, as each store's log says last."""
        said = []
        for r in self.stores:
            records = [x for x in r.log() if x["new_name"] and split(x["new_name"][4:])[0] == name]
            guid = records[-1]["guid"]
            last = [x for x in r.log() if x["guid"] == guid and x["what"] not in ("digest",)][-1]
            said.append(set(last["flags"].replace("\\", "").split()))
        return said
