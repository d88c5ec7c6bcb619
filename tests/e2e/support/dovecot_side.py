"""A replica and the Dovecot that serves it, with what clients saw there over the whole history."""

import os

from support import imap_pipe

# A message that both sides numbered gets a new UID: an open session of Dovecot says that its line moved.
RENUMBERED = ["Duplicate file entry", "UIDVALIDITY changed"]


class Side:
    """One replica and its Dovecot, with what was ever seen there."""

    def __init__(self, replica, own=True):
        self.replica = replica
        self.base = os.path.join(os.path.dirname(replica.path), "dovecot-" + os.path.basename(replica.path))
        os.makedirs(self.base)
        for path in (os.path.dirname(replica.path), replica.path):
            os.chmod(path, 0o755)
        who = imap_pipe.user()
        for folder, _, names in os.walk(replica.mail) if own else ():
            for path in [folder, *(os.path.join(folder, n) for n in names)]:
                os.chown(path, who.pw_uid, who.pw_gid)
        self.server = imap_pipe.Server(self.base, replica.mail)
        self.imap = self.server.session()
        self.seen = {}  # (folder, UIDVALIDITY): ({uid: bytes}, UIDNEXT, HIGHESTMODSEQ)

    def close(self):
        self.imap.logout()

    def again(self):
        """Another session, that knows only what is on disk."""
        self.imap.logout()
        self.imap = self.server.session()

    def view(self):
        """{folder: (UIDVALIDITY, UIDNEXT, messages)} and the subscriptions."""
        found = {}
        for name in self.imap.folders():
            state = self.imap.select_state(name)
            messages = self.imap.messages()
            self._remember(name, state, messages)
            found[name] = (state["UIDVALIDITY"], state["UIDNEXT"], messages)
        return found, self.imap.folders(sub=True)

    def forget_modseq(self, name):
        """With a mailbox Dovecot deletes its index; one that a merge brings back begins a new one."""
        for key, (bodies, uid_next, _) in self.seen.items():
            if key[0] == name:
                self.seen[key] = (bodies, uid_next, 0)

    def _remember(self, name, state, messages):
        key = (name, state["UIDVALIDITY"])
        bodies, uid_next, modseq = self.seen.get(key, ({}, 1, 1))
        for uid, (_, _, content) in messages.items():
            assert bodies.get(uid, content) == content, f"{key}: UID {uid} is another message"
            assert uid in bodies or uid >= uid_next, f"{key}: UID {uid} is new and below {uid_next}"
            assert uid < state["UIDNEXT"]
        assert state["UIDNEXT"] >= uid_next and (state["HIGHESTMODSEQ"] or modseq) >= modseq, (key, state, modseq)
        changed = {u: m[2] for u, m in messages.items()}
        self.seen[key] = ({**bodies, **changed}, state["UIDNEXT"], state["HIGHESTMODSEQ"] or modseq)


def differences(a, b):
    said = [f"subscribed: {a[1]} / {b[1]}"] if a[1] != b[1] else []
    for name in sorted({*a[0], *b[0]}):
        x, y = a[0].get(name, (0, 0, {})), b[0].get(name, (0, 0, {}))
        if x[:2] != y[:2]:
            said.append(f"{name}: {x[:2]} / {y[:2]}")
        for uid in sorted({*x[2], *y[2]}):
            if x[2].get(uid) != y[2].get(uid):
                said.append(f"{name} {uid}: {x[2].get(uid)} / {y[2].get(uid)}")
    return "\n".join(said)
