/*
 * store-backend.h - what the two halves of the local store's backend share.
 *
 * store-backend.c holds the roles (reader, writer, client) and the changes; store-backend-read.c
 * answers from index and log.
 */
#ifndef MB_BACKENDS_STORE_BACKEND_H
#define MB_BACKENDS_STORE_BACKEND_H

#include "backends/backend.h"
#include "backends/store/server.h"
#include "backends/store/store.h"

struct store_watch_fd; /* store-backend-watch.c */

struct store_backend {
	struct backend base; /* first */
	char *dir;	     /* owned, absolute */
	char *destination;   /* owned: "store:DIR" */
	struct store *store; /* owned: as writer when `writer`, else for reading */
	bool rebuilt;	     /* its index was not whole, and is another one now */
	bool writer;
	bool dry;	   /* nothing is written (io_is_read_only()): no role is taken */
	bool is_trial;	   /* `store` is a STORE_TRIAL: dry, and looked at */
	int64_t looked_ns; /* when a missing body was last looked for by a scan; 0: never */
	struct store_client *client; /* owned: who the writer is, while we are not; or NULL */
	struct hlc clock;	     /* has seen what now() was shown */
	bool allow_mass_expunge;
	int unread; /* of the last refresh: backend_info.unread */
	/* between begin and commit */
	uint64_t from;
	bool many;
	bool wake;		  /* of many: the next ones through the mount */
	bool ending;		  /* a sync state was put: the sync is at its end */
	unsigned bodies;	  /* staged since begin() */
	struct sent_digest *sent; /* owned: not told to the store yet, at most STORE_LEARN_MAX */
	size_t n_sent;
	bool unsynced;		      /* bodies were staged that commit has to flush */
	struct store_watch_fd *watch; /* owned, or NULL */
	struct position known;	      /* end of the log when news was last asked for */
};

static inline struct store_backend *store_backend_of(struct backend *b)
{
	return (struct store_backend *)b;
}

/* Makes all records so far durable, whoever the writer is. */
int store_backend_flush(struct store_backend *b);

/* Tells the writer what was sent: before a commit, and before the end of the log is asked for, so that
 * these records are not after it; after a sync that failed when the role is given up. */
void store_backend_tell_sent(struct store_backend *b);

/* store-backend-read.c: verbs of the seam */
int sb_position(struct backend *b, struct position *ret);
int sb_changes(struct backend *b, const struct position *since, uint64_t except,
	       struct change_set *ret);
int sb_tree(struct backend *b, struct tree *ret);
int sb_message(struct backend *b, const struct guid *guid, struct message *ret);
int sb_each_message(struct backend *b, const struct guid *after,
		    int (*fn)(const struct guid *g, void *arg), void *arg);
int sb_by_uid(struct backend *b, const struct guid *mailbox, uint32_t uid, struct guid *ret);
int sb_by_digest(struct backend *b, const struct digest *d,
		 int (*fn)(const struct guid *g, uint64_t id, void *arg), void *arg);
int sb_peer(struct backend *b, uint64_t replica, const char *destination, struct peer_state *ret);
int sb_each_peer(struct backend *b, int (*fn)(struct peer_state *p, void *arg), void *arg);
int sb_each_entry(struct backend *b, uint64_t peer, int (*fn)(struct peer_entry *e, void *arg),
		  void *arg);
/* Is a body for this copy here: its GUID or, when known, its digest? */
bool store_backend_holds(struct store_backend *b, const struct copy *c);

/* store-backend-watch.c */
int sb_watch_fd(struct backend *b);
int sb_woken(struct backend *b);
void store_backend_watch_release(struct store_backend *b);
/* Mailboxes may have come: watches them too. */
void store_backend_watch_update(struct store_backend *b);

#endif
