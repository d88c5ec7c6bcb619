/*
 * memory-private.h - what the files of the memory backend share: seam, user, peers.
 */
#ifndef MB_BACKENDS_MEMORY_PRIVATE_H
#define MB_BACKENDS_MEMORY_PRIVATE_H

#include "backends/memory.h"

struct memory_message {
	struct message message; /* first member; owned */
	uint8_t *body;		/* owned; NULL while it is not here */
	size_t size;
};

struct memory_change {
	uint64_t origin; /* replica that it came from */
	bool is_mailbox;
	struct guid guid;
	struct guid alias; /* not zero: this GUID became `guid` */
	uint64_t sum;	   /* of all up to here: the check of the position after it */
};

/* A restart begins one, as a store does after an unclean stop. */
struct memory_file {
	struct guid log;
	size_t first; /* change with which it begins */
};

struct memory {
	struct backend backend; /* first member */
	struct backend_info info;
	char destination[32];
	struct hlc clock;
	uint64_t from; /* origin of what is put now */
	struct tree tree;
	struct memory_message *messages; /* owned; sorted by GUID */
	size_t n_messages, cap_messages;
	uint64_t made;		   /* GUIDs and ids that it made */
	struct memory_file *files; /* owned; at least one */
	size_t n_files, cap_files;
	size_t dropped;		       /* changes that the log no longer holds */
	struct memory_change *changes; /* owned; the log */
	size_t n_changes, cap_changes;
	struct peer_state *peers; /* owned */
	size_t n_peers, cap_peers;
	struct peer_entry *entries; /* owned */
	size_t n_entries, cap_entries;
};

static inline struct memory *memory_of(struct backend *b)
{
	return (struct memory *)b;
}

/* The next id and GUID of this replica: looks random, and is the same in every run. */
uint64_t memory_new_id(struct memory *m);
struct guid memory_new_guid(struct memory *m);
struct memory_message *memory_get(struct memory *m, const struct guid *g); /* or NULL */
struct memory_message *memory_add(struct memory *m, const struct guid *g); /* found or new */
/* A change that a peer made. */
void memory_log(struct memory *m, bool is_mailbox, const struct guid *g, const struct guid *alias);
/* A change that a program made here, perhaps in the middle of a sync that never ended. */
void memory_log_own(struct memory *m, bool is_mailbox, const struct guid *g);

/* Takes it out of the list. */
void memory_drop(struct memory *m, struct memory_message *msg);

/* memory-alias.c */
/* The GUID that `g` became here, or g. */
struct guid memory_alias(const struct memory *m, struct guid g);
int memory_put_alias(struct memory *m, const struct record *want);

/* memory-life.c */
void memory_new_file(struct memory *m);

/* memory-peer.c */
int memory_put_peer(struct memory *m, const struct peer_state *want);
int memory_forget_peer(struct memory *m, uint64_t replica);
int memory_put_entry(struct memory *m, const struct peer_entry *want);
int memory_peer(struct backend *b, uint64_t replica, const char *destination,
		struct peer_state *ret);
int memory_each_peer(struct backend *b, int (*fn)(struct peer_state *p, void *arg), void *arg);
int memory_each_entry(struct backend *b, uint64_t of, int (*fn)(struct peer_entry *e, void *arg),
		      void *arg);
void memory_release_peers(struct memory *m);

#endif
