/*
 * backend.h - THE SEAM: everything that holds mail and can be synced wears this vtable.
 *
 * The local store (direct, or through the process that is its writer), a foreign Maildir, a memory
 * backend for tests, a tracing wrapper and a fault-injecting wrapper; later an IMAP server and a
 * mailbraid on another host.  What differs between them is said by `caps`, never by asking who it is.
 *
 * Order of calls in one sync: info, refresh, position, changes (or each_message for a full
 * comparison), tree, message…, begin, put…, commit, and put of the sync state at the end.  A backend
 * is used by one thread.  All int results: 0 or more fine, negative an error (err.h).
 */
#ifndef MB_BACKENDS_BACKEND_H
#define MB_BACKENDS_BACKEND_H

#include "backends/mail/object.h"
#include "backends/mail/record.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum backend_caps {
	CAP_LOG = 1 << 0, /* has positions: changes() can answer since one */
	CAP_STAMPS =
		1
		<< 1, /* registers carry true stamps (else: only what changed since the base does) */
	CAP_UIDS = 1 << 2,     /* keeps the UIDs it is given */
	CAP_KEYWORDS = 1 << 3, /* stores any keyword (else only some, see put) */
	CAP_GUIDS = 1 << 4,    /* keeps message and mailbox GUIDs itself */
	CAP_SUBSCRIBE = 1 << 5,
	CAP_FOLDS =
		1 << 6, /* its file system takes names that differ in case, or in how an accent is
			       written, for one */
	CAP_AFAR =
		1
		<< 7, /* each call may cost a round trip, unless foresee() told of it; the writer's
			      role is taken with the first put after begin(), not by refresh() */
};

struct backend_info {
	uint64_t replica;  /* its replica id; a peer without one: the id in our sync state */
	struct guid store; /* store id, zero when it has none */
	unsigned caps;
	uint64_t missing; /* live messages whose body is lost or damaged */
	int unread; /* the last refresh could not read all: why; 0 = it could.  No absence was judged. */
	uint64_t
		misplaced; /* mailboxes whose directory could not be renamed to what they are called */
	uint64_t
		forgotten; /* clock time up to which expunges may be forgotten here, 0 = none are */
	const char *destination; /* "store:/abs/dir", "maildir:/abs/dir:LAYOUT=fs"; borrowed */
};

/* What is new since a position: keys only, each once, in no order. */
struct change_set {
	struct guid *messages; /* owned */
	size_t n_messages, cap_messages;
	struct guid *mailboxes; /* owned */
	size_t n_mailboxes, cap_mailboxes;
	struct {
		struct guid from, to;
	} * aliases; /* owned: GUIDs that became others */
	size_t n_aliases, cap_aliases;
	struct position end; /* position that this set goes up to */
	bool only_echo;	     /* there were records since, but all of them came from that peer */
};
void change_set_release(struct change_set *c);

/* Calls that are to be expected, with their arguments; all borrowed. */
struct backend_ask {
	bool begins;		       /* a session: what was told before is forgotten.  Then: */
	bool full, allow_mass_expunge; /* a refresh */
	uint64_t peer;		       /* peer() of that replica */
	struct position seen;	       /* changes() since then and except 0, unless it is none */
	struct position
		since; /* changes() since then, unless it is none, and what one asks about these */
	uint64_t except;
	uint64_t fresh; /* clock time: what arrived after it is not at the other side */
	bool tree;	/* tree() and position() after that */
	/* And at any time: */
	const struct guid *messages; /* message() */
	size_t n_messages;
	const struct backend_ask_uid {
		struct guid mailbox;
		uint32_t uid;
	} * uids; /* by_uid() */
	size_t n_uids;
	const struct backend_ask_body {
		struct guid guid;
		uint64_t id;
		uint64_t size; /* that it is said to have; 0 = not known */
	} * bodies;	       /* body(), in this order */
	size_t n_bodies;
	const struct backend_ask_body *digests; /* digest() */
	size_t n_digests;
};

struct backend;

/* What a put ended with; see put_later. */
typedef void backend_put_fn(int result, void *arg);

struct backend_ops {
	const char *name;
	void (*close)(struct backend *b);
	int (*info)(struct backend *b, struct backend_info *ret);
	/* Looks at its files (or server) and turns what happened behind our back into news.  `full`:
	 * every file.  Returns the number of expunges that the guard holds back (a notice was given). */
	int (*refresh)(struct backend *b, bool full);
	/* Where its news ends now.  Without CAP_LOG: all zeros. */
	int (*position)(struct backend *b, struct position *ret);
	/* News since `since` but those that came from replica `except`.  MB_E_POSITION: cannot tell,
	 * compare in full.  Without CAP_LOG: against its map of the last agreement. */
	int (*changes)(struct backend *b, const struct position *since, uint64_t except,
		       struct change_set *ret);
	int (*tree)(struct backend *b, struct tree *ret);
	/* Every state it knows of a message, n = 0 when it never heard of it.  A message that became
	 * another is told as that one, with its GUID. */
	int (*message)(struct backend *b, const struct guid *guid, struct message *ret);
	/* GUID of every message it knows, expunged ones too; each once, in the order of GUIDs, those
	 * after `after` (NULL: all).  What fn returns other than 0 ends it and is returned.  Memory
	 * does not follow the number of messages, but for a peer whose map is in memory anyway. */
	int (*each_message)(struct backend *b, const struct guid *after,
			    int (*fn)(const struct guid *g, void *arg), void *arg);
	/* Live copy at a UID; -ENOENT. */
	int (*by_uid)(struct backend *b, const struct guid *mailbox, uint32_t uid,
		      struct guid *ret);
	/* Makes the digest of a live copy known (reads the body when it must). */
	int (*digest)(struct backend *b, const struct guid *guid, uint64_t id, struct digest *ret);
	/*
	 * The bytes of a live copy that went to the peer: kept where its digest was not known, so that a
	 * later change of the file shows, also one of the same size.  A message that is gone by now is
	 * left alone.  NULL: the backend learns it otherwise.
	 */
	int (*learn)(struct backend *b, const struct guid *guid, uint64_t id,
		     const struct digest *d);
	/* Messages with this digest that it holds; for bodies that need not travel and for pairing. */
	int (*by_digest)(struct backend *b, const struct digest *d,
			 int (*fn)(const struct guid *g, uint64_t id, void *arg), void *arg);
	/* Opens a live body; checked against size and, when `d` is known, digest by the reader of the
	 * stream.  Returns an fd that the caller closes. */
	int (*body)(struct backend *b, const struct guid *guid, uint64_t id);
	/* Changes from here to commit come from replica `from`; `many`: expect thousands. */
	int (*begin)(struct backend *b, uint64_t from, bool many);
	/*
	 * Joins one wanted state (record types as in store_put).  `body`: fd of a new copy's body, or
	 * -1 (then the backend must hold it already, else -ENOENT).  REC_REPLICA: it goes on as another
	 * replica, which info() tells from then on.  Returns 1 changed, 0 nothing to do.
	 * MB_E_STALE: changed meanwhile, read again.  An error concerns this item only, unless
	 * mb_err_retry() or the code says that the whole backend is gone.
	 */
	int (*put)(struct backend *b, const struct record *want, int body);
	/*
	 * As put(), but the result is told to fn, in the order of these calls: before this one returns or at
	 * the latest in settle(), commit() or close().  `want` and `body` are the caller's again when this
	 * returns; fn may ask this backend for the digest of the copy that was put, and nothing else.
	 * NULL: put().  Use backend_put_later().
	 */
	void (*put_later)(struct backend *b, const struct record *want, int body,
			  backend_put_fn *fn, void *arg);
	/* Every fn of put_later() has been called when this returns.  NULL: they have. */
	void (*settle)(struct backend *b);
	/* Calls that will come: one that is far away asks for all of it at once and answers them from that.
	 * Waits for nothing; errors are told by the calls.  What it brings is as of now or later.  NULL: not
	 * needed. */
	void (*foresee)(struct backend *b, const struct backend_ask *ask);
	/* Of many: `on`, until `off`, each put is to be noticed at once by who watches the mailbox; the
	 * others need not be.  NULL: nobody watches, or every put is noticed. */
	void (*wake)(struct backend *b, bool on);
	/* All puts since begin are durable when this returns. */
	int (*commit)(struct backend *b);
	/* To be called after commits, and again after the milliseconds that it returns (0: not before the
	 * next commit): the times of directories that were changed in a mount move once more (touched.h).
	 * NULL: nothing is to be done. */
	int (*turn)(struct backend *b);
	/* Clock: makes it see a stamp, gives its next one. */
	int (*now)(struct backend *b, const struct stamp *seen, struct stamp *ret);
	/* Sync states it keeps; -ENOENT.  put of REC_PEER stores one. */
	int (*peer)(struct backend *b, uint64_t replica, const char *destination,
		    struct peer_state *ret);
	int (*each_peer)(struct backend *b, int (*fn)(struct peer_state *p, void *arg), void *arg);
	/* Map entries of a peer without a log (kept by the local store on that peer's behalf). */
	int (*each_entry)(struct backend *b, uint64_t peer,
			  int (*fn)(struct peer_entry *e, void *arg), void *arg);
	/* Waits for news: an fd that becomes readable (inotify, socket), or -1.  `woken` drains it. */
	int (*watch_fd)(struct backend *b);
	int (*woken)(struct backend *b);
	void (*allow_mass_expunge)(struct backend *b, bool allow);
	/* Before the first call of a session, and (`on` false) after the last: keeps other sessions out
	 * where two at once would do each other harm; taken before any store's writer role.
	 * MB_E_LOCKED after backend_lock_wait().  A store is not kept; `on` false makes it let go of the
	 * writer's role, which refresh may have left it with.  NULL: not needed. */
	int (*hold)(struct backend *b, bool on);
	/* A session ended with an error that running again does not mend: is what the backend keeps for
	 * itself (a store's index) whole?  1: it is not, and who opens the backend again finds it made
	 * anew; this one is to be closed.  0: it is, or another process has it.  NULL: nothing is. */
	int (*doubt)(struct backend *b);
};

/* Embedded as the first member of each backend. */
struct backend {
	const struct backend_ops *ops;
};

/*
 * Opens "store:DIR", "maildir:PATH[:LAYOUT=fs]", "exec:COMMAND" or "ssh://…" (a bare path: a store if it is one).  A `maildir:` that bears a root
 * file of ours is opened as its store.  `local`: for backends without a log, the local store that keeps
 * their map; NULL when opening the local side itself.  Errors: MB_E_USAGE for an unknown kind,
 * MB_E_NOT_STORE, MB_E_NOT_MAILDIR, MB_E_LOCKED, …
 */
int backend_open(const char *destination, struct backend *local, struct backend **ret);
/* The local store in directory `dir`: as its writer if nobody is, else through the writer's socket. */
int backend_open_store(const char *dir, struct backend **ret);
/* backends/maildir */
int backend_open_maildir(const char *path, int layout, struct backend *local, struct backend **ret);
/* backends/wire: a mailbraid at the other end of these descriptors, which it takes; `destination` is what it
 * is called.  MB_E_PROTOCOL, MB_E_VERSION, -ETIMEDOUT, …, or why the other end refuses. */
int backend_open_wire(int in, int out, const char *destination, struct backend **ret);
/* backends/memory.c: empty, for tests. */
struct backend *backend_open_memory(uint64_t replica);
/* Wrappers own what they wrap.  trace: a line on stderr for each call. fault: the n-th call fails
 * with `err` (negative), n from 1, 0 = never. */
struct backend *backend_trace(struct backend *inner, const char *label);
/* Likewise, in a file that the caller closes after the backend; each line begins with the time. */
struct backend *backend_trace_to(struct backend *inner, const char *label, FILE *to);
/* How long a store is waited for that another process has and takes no changes for (10 s at first); then
 * MB_E_LOCKED. */
void backend_lock_wait(unsigned seconds);
int64_t backend_lock_wait_ns(void);
/* How long those that are opened from now on wait for the process at the other end of a socket, or a
 * line, before they give it up with -ETIMEDOUT (120 s until it is changed). */
void backend_patience(unsigned seconds);
struct backend *backend_fault(struct backend *inner, uint64_t n, int err);

static inline int backend_doubt(struct backend *b)
{
	return b->ops->doubt ? b->ops->doubt(b) : 0;
}

static inline void backend_put_later(struct backend *b, const struct record *want, int body,
				     backend_put_fn *fn, void *arg)
{
	if (b->ops->put_later)
		b->ops->put_later(b, want, body, fn, arg);
	else
		fn(b->ops->put(b, want, body), arg);
}

static inline void backend_settle(struct backend *b)
{
	if (b->ops->settle)
		b->ops->settle(b);
}

static inline void backend_foresee(struct backend *b, const struct backend_ask *ask)
{
	if (b->ops->foresee)
		b->ops->foresee(b, ask);
}

static inline void backend_close(struct backend *b)
{
	if (b)
		b->ops->close(b);
}

#endif
