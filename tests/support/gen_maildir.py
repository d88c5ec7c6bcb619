#!/usr/bin/env python3
"""gen_maildir.py DIR [-n MESSAGES] [-f FOLDERS] [--median BYTES] [--seed N] [--even]

Makes a Maildir (Maildir++) of made-up mail: the same arguments give the same
names, bytes and times. Sizes are log-normal; the folders have spaces, levels and
modified UTF-7 in their names, and get unequal shares (equal ones with --even);
one message in fifty is still in new/, and one in two hundred comes twice.
"""

import argparse
import email.utils
import math
import os
import random

NAMES = [
    "Sent", "Drafts", "Trash", "Archive", "Archive.2019", "Archive.2020", "Archive.2020.Bills",
    "Entw&APw-rfe", "&U,BTFw-", "Work", "Work.Project X", "Work.Project X.Q1 &- Q2", "Lists",
    "Lists.devel", "Lists.users", "&BB8EQAQ4BDIENQRC-",
]  # fmt: skip
FLAGS = ["S"] * 60 + ["RS"] * 15 + [""] * 10 + ["FS"] * 10 + ["FRS"] * 3 + ["DS"] * 2
WORDS = (
    "mail log store peer merge rename folder flag message kernel patch review meeting invoice "
    "report the a of and to in is for with on as by this please thanks regards tomorrow grüße 東京"
).split()
START = 1262304000  # 2010-01-01
SPAN = 15 * 365 * 86400


def folder_names(count):
    """INBOX ("") and count - 1 others."""
    names = [""] + NAMES[: count - 1]
    for i in range(count - len(names)):
        top, sub = divmod(i, 12)
        names.append(f"Clients.C{top:03}.T{sub:02}" if sub else f"Clients.C{top:03}")
    return names


def folder_path(root, name):
    return os.path.join(root, "." + name) if name else root


class Maker:
    """Makes messages."""

    def __init__(self, seed=1, median=2048):
        self.random = random.Random(seed)
        self.median = median
        self.count = 0
        self.last_id = None
        lines = [" ".join(self.random.choices(WORDS, k=12)) for _ in range(4000)]
        self.text = ("\n".join(lines) + "\n").encode()

    def message(self, when):
        r = self.random
        self.count += 1
        size = min(4 << 20, int(r.lognormvariate(math.log(self.median), 1.0)))
        message_id = f"<{when}.{r.getrandbits(48):x}.{self.count}@example.org>"
        head = [
            f"Return-Path: <bounce-{r.randrange(9999)}@lists.example.net>",
            f"Received: from mx{r.randrange(9)}.example.org by mail.example.com; "
            + email.utils.formatdate(when),
            "Date: " + email.utils.formatdate(when - r.randrange(60)),
            f'From: "Person {r.randrange(400)}" <p{r.randrange(400)}@example.org>',
            "To: user@example.com",
            "Subject: =?UTF-8?Q?Gr=C3=BC=C3=9Fe:?= " + " ".join(r.choices(WORDS[:20], k=4)),
            "MIME-Version: 1.0",
            'Content-Type: text/plain; charset="utf-8"',
            "Content-Transfer-Encoding: 8bit",
        ]
        if r.random() > 0.01:
            head.append("Message-ID: " + message_id)
        if self.last_id and r.random() < 0.4:
            head.append("In-Reply-To: " + self.last_id)
        self.last_id = message_id
        at = r.randrange(len(self.text) // 2)
        body = self.text[at : at + max(40, size - 600)]
        while len(body) < size - 600:
            body += self.text[: size - 600 - len(body)]
        return "\n".join(head).encode() + b"\n\n" + body + b"\n"


def make_folder(path):
    for sub in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(path, sub), exist_ok=True)


def generate(root, messages, folders=50, seed=1, median=2048, even=False):
    """Makes the tree; returns the number of bytes."""
    maker = Maker(seed, median)
    r = maker.random
    names = folder_names(folders)
    weights = [1.0 if even else 1.0 / (i + 3) for i in range(folders)]
    total, body = 0, b""
    for name in names:
        make_folder(folder_path(root, name))
    for i in range(messages):
        when = START + i * SPAN // max(1, messages)
        name = names[i] if i < folders else r.choices(names, weights)[0]
        if not body or len(body) > 100000 or r.random() >= 0.005:
            body = maker.message(when)
        base = f"{when}.M{r.randrange(1000000)}P{1000 + i % 30000}_{i}.host"
        place = f"new/{base}" if r.random() < 0.02 else f"cur/{base}:2,{r.choice(FLAGS)}"
        path = os.path.join(folder_path(root, name), place)
        with open(path, "xb", buffering=0) as file:
            file.write(body)
        os.utime(path, (when, when))
        total += len(body)
    return total


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dir")
    parser.add_argument("-n", type=int, default=1000, metavar="MESSAGES")
    parser.add_argument("-f", type=int, default=50, metavar="FOLDERS")
    parser.add_argument("--median", type=int, default=2048, metavar="BYTES")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--even", action="store_true", help="folders of equal size")
    o = parser.parse_args()
    total = generate(o.dir, o.n, o.f, o.seed, o.median, o.even)
    print(f"{o.n} messages, {o.f} folders, {total} bytes")


if __name__ == "__main__":
    main()
