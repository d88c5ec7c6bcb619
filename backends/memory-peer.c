/*
 * memory-peer.c - the sync states and maps that a replica in memory keeps of its peers.
 */
#include "backends/memory-private.h"
#include "backends/base/mem.h"
#include <errno.h>
#include <string.h>

static char *copy_text(const char *s)
{
	return s ? mb_xstrdup(s) : NULL;
}

int memory_put_peer(struct memory *m, const struct peer_state *want)
{
	size_t i = 0;
	while (i < m->n_peers && m->peers[i].replica != want->replica)
		i++;
	if (i == m->n_peers) {
		MB_GROW(m->peers, m->cap_peers, m->n_peers + 1);
		m->peers[m->n_peers++] = (struct peer_state){0};
	}
	peer_state_clone(&m->peers[i], want);
	return 1;
}

int memory_forget_peer(struct memory *m, uint64_t replica)
{
	for (size_t i = 0; i < m->n_peers; i++)
		if (m->peers[i].replica == replica) {
			peer_state_release(&m->peers[i]);
			m->peers[i] = m->peers[--m->n_peers];
			return 1;
		}
	return 0;
}

static bool same_entry(const struct peer_entry *a, const struct peer_entry *b)
{
	return a->peer == b->peer && guid_equal(&a->mailbox, &b->mailbox) &&
	       guid_equal(&a->guid, &b->guid) && a->id == b->id;
}

int memory_put_entry(struct memory *m, const struct peer_entry *want)
{
	size_t i = 0;
	while (i < m->n_entries && !same_entry(&m->entries[i], want))
		i++;
	if (i < m->n_entries) {
		peer_entry_release(&m->entries[i]);
		m->entries[i] = m->entries[--m->n_entries];
	}
	if (want->state == PEER_ENTRY_GONE)
		return 1;
	MB_GROW(m->entries, m->cap_entries, m->n_entries + 1);
	m->entries[m->n_entries] = *want;
	m->entries[m->n_entries++].path = copy_text(want->path);
	return 1;
}

static bool same_destination(const struct peer_state *p, const char *destination)
{
	return destination && p->destination && strcmp(p->destination, destination) == 0;
}

/* By replica, or by destination when that is 0. */
int memory_peer(struct backend *b, uint64_t replica, const char *destination,
		struct peer_state *ret)
{
	const struct memory *m = memory_of(b);
	for (size_t i = 0; i < m->n_peers; i++) {
		const struct peer_state *p = &m->peers[i];
		if (replica ? p->replica != replica : !same_destination(p, destination))
			continue;
		*ret = (struct peer_state){0};
		peer_state_clone(ret, p);
		return 0;
	}
	return -ENOENT;
}

/* fn gets a clone, which it may take over by clearing it; a result that is not 0 ends the walk. */
int memory_each_peer(struct backend *b, int (*fn)(struct peer_state *p, void *arg), void *arg)
{
	struct memory *m = memory_of(b);
	int r = 0;
	for (size_t i = 0; !r && i < m->n_peers; i++) {
		struct peer_state p = {0};
		peer_state_clone(&p, &m->peers[i]);
		r = fn(&p, arg);
		peer_state_release(&p);
	}
	return r;
}

int memory_each_entry(struct backend *b, uint64_t of, int (*fn)(struct peer_entry *e, void *arg),
		      void *arg)
{
	struct memory *m = memory_of(b);
	int r = 0;
	for (size_t i = 0; !r && i < m->n_entries; i++) {
		if (m->entries[i].peer != of)
			continue;
		struct peer_entry e = m->entries[i];
		e.path = copy_text(e.path);
		r = fn(&e, arg);
		peer_entry_release(&e);
	}
	return r;
}

void memory_release_peers(struct memory *m)
{
	for (size_t i = 0; i < m->n_peers; i++)
		peer_state_release(&m->peers[i]);
	for (size_t i = 0; i < m->n_entries; i++)
		peer_entry_release(&m->entries[i]);
	free(m->peers);
	free(m->entries);
}
