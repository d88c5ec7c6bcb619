/*
 * peers.h - the peers that a store knows, as a list; what each of them keeps alive in its log.
 */
#ifndef MB_SYNC_PEERS_H
#define MB_SYNC_PEERS_H

#include "backends/backend.h"

struct store;

struct peers {
	struct peer_state *list; /* owned */
	size_t n, cap;
};
void peers_release(struct peers *p);
/* Sync states of `local`, in no order. */
int peers_read(struct backend *local, struct peers *ret);
/* The same of a store that is open in any mode. */
int peers_read_store(struct store *s, struct peers *ret);
/* A peer that we go to; others only come to us, and have no destination.  One that only restricted
 * sessions went to, a backup for instance, is not one to be in step with. */
bool peer_is_ours(const struct peer_state *p);
/* For messages: the destination, or the replica id of one that comes to us. Owned. */
char *peer_name(const struct peer_state *p);

/* The peer that somebody calls `name`: its destination, or the first digits of its replica id (four
 * at least).  The index, -1 when there is none, -2 when there are several. */
int peers_find(const struct peers *p, const char *name);

/* What a peer has of our log, and keeps in it. */
struct peer_pin {
	bool held; /* our log still holds all that it has not seen: else it is compared in full */
	bool pins; /* log files stay for it: held, and it was here not too long ago */
	uint64_t news; /* records after what it has seen that did not come from it */
	uint64_t pinned_files, pinned_bytes; /* files that are not written any more */
	int64_t since_ns;		     /* when the oldest of them was begun, 0 = none */
};
/* Reads the log after what it has seen; no lock.  0 or an error of the log. */
int peer_pin_read(struct store *s, const struct peer_state *p, int64_t now_ns,
		  struct peer_pin *ret);

#endif
