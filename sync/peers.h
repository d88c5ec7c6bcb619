/*
 * peers.h - the peers that a store knows, as a list.
 */
#ifndef MB_SYNC_PEERS_H
#define MB_SYNC_PEERS_H

#include "backends/backend.h"

struct peers {
	struct peer_state *list; /* owned */
	size_t n, cap;
};
void peers_release(struct peers *p);
/* Sync states of `local`, in no order. */
int peers_read(struct backend *local, struct peers *ret);
/* A peer that we go to; others only come to us, and have no destination.  One that only restricted
 * sessions went to, a backup for instance, is not one to be in step with. */
bool peer_is_ours(const struct peer_state *p);
/* For messages: the destination, or the replica id of one that comes to us. Owned. */
char *peer_name(const struct peer_state *p);

#endif
