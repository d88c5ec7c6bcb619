/*
 * memory-life.c - what happens to the replica in memory as a whole: restarts, a log that was cut
 * short, backups.
 */
#include "backends/base/mem.h"
#include "backends/memory-private.h"
#include <string.h>

void memory_new_file(struct memory *m)
{
	MB_GROW(m->files, m->cap_files, m->n_files + 1);
	m->files[m->n_files++] =
		(struct memory_file){.log = memory_new_guid(m), .first = m->n_changes};
}

void memory_restart(struct backend *b)
{
	memory_new_file(memory_of(b));
}

void memory_drop_log(struct backend *b)
{
	struct memory *m = memory_of(b);

	if (m->files[m->n_files - 1].first < m->n_changes)
		memory_new_file(m);
	m->dropped = m->n_changes;
}

static void forget_dead(struct memory *m, struct message *msg)
{
	size_t kept = 0;

	for (size_t i = 0; i < msg->n; i++) {
		struct copy *c = &msg->copies[i];
		if (!copy_alive(c)) {
			if (c->dead_at.time > m->info.forgotten)
				m->info.forgotten = c->dead_at.time;
			copy_release(c);
			continue;
		}
		if (kept != i)
			msg->copies[kept] = *c;
		kept++;
	}
	msg->n = kept;
}

void memory_forget_expunged(struct backend *b)
{
	struct memory *m = memory_of(b);
	size_t kept = 0;

	for (size_t i = 0; i < m->n_messages; i++) {
		struct memory_message *msg = &m->messages[i];
		forget_dead(m, &msg->message);
		if (!msg->message.n) {
			message_release(&msg->message);
			free(msg->body);
			continue;
		}
		if (kept != i)
			m->messages[kept] = *msg;
		kept++;
	}
	m->n_messages = kept;
}

static void copy_messages(struct memory *to, const struct memory *from)
{
	to->messages = mb_xcalloc(from->n_messages + 1, sizeof(*to->messages));
	to->cap_messages = from->n_messages + 1;
	for (size_t i = 0; i < from->n_messages; i++) {
		const struct memory_message *have = &from->messages[i];
		struct memory_message *msg = &to->messages[i];
		msg->message.guid = have->message.guid;
		for (size_t k = 0; k < have->message.n; k++) {
			const struct copy *c = &have->message.copies[k];
			copy_clone(message_add(&msg->message, c->id), c);
		}
		msg->body = have->body ? mb_xmemdup(have->body, have->size) : NULL;
		msg->size = have->size;
	}
}

static void copy_peers(struct memory *to, const struct memory *from)
{
	to->peers = NULL;
	to->entries = NULL;
	to->n_peers = to->cap_peers = to->n_entries = to->cap_entries = 0;
	for (size_t i = 0; i < from->n_peers; i++)
		memory_put_peer(to, &from->peers[i]);
	for (size_t i = 0; i < from->n_entries; i++)
		memory_put_entry(to, &from->entries[i]);
}

struct backend *memory_backup(struct backend *b)
{
	const struct memory *m = memory_of(b);
	struct memory *copy = mb_xmemdup(m, sizeof(*m));

	copy->info.destination = copy->destination;
	copy->made += (uint64_t)1 << 32; /* what it makes from now on is not what the other makes */
	copy->tree = (struct tree){0};
	tree_clone(&copy->tree, &m->tree);
	copy_messages(copy, m);
	copy_peers(copy, m);
	copy->files = mb_xmemdup(m->files, m->n_files * sizeof(*m->files));
	copy->cap_files = m->n_files;
	copy->changes = mb_xmemdup(m->changes, m->n_changes * sizeof(*m->changes));
	copy->cap_changes = m->n_changes;
	return &copy->backend;
}
