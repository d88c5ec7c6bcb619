/*
 * memory-private.h - what the two halves of the memory backend share: the seam and the user.
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
	struct guid log;
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

/* The GUID that `g` became here, or g. */
struct guid memory_alias(const struct memory *m, struct guid g);
struct memory_message *memory_get(struct memory *m, const struct guid *g); /* or NULL */
struct memory_message *memory_add(struct memory *m, const struct guid *g); /* found or new */
void memory_log(struct memory *m, bool is_mailbox, const struct guid *g, const struct guid *alias);

#endif
