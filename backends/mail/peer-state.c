/*
 * peer-state.c - what is remembered about a peer: its own positions, and those of restricted scopes.
 *
 * A scope is written as 88 bytes: hash, selected, time, both positions.
 */
#include "backends/mail/record.h"

#include "backends/base/mem.h"

#include <string.h>

void peer_state_release(struct peer_state *p)
{
	free(p->destination);
	free(p->scopes);
	*p = (struct peer_state){0};
}

void peer_state_clone(struct peer_state *dst, const struct peer_state *src)
{
	struct peer_state copy = *src;

	if (dst == src)
		return;
	copy.destination = src->destination ? mb_xstrdup(src->destination) : NULL;
	copy.scopes = src->n_scopes ? mb_xmemdup(src->scopes, src->n_scopes * sizeof(*src->scopes))
				    : NULL;
	peer_state_release(dst);
	*dst = copy;
}

struct peer_scope *peer_state_scope(const struct peer_state *p, uint64_t hash)
{
	for (size_t i = 0; i < p->n_scopes; i++)
		if (p->scopes[i].hash == hash)
			return &p->scopes[i];
	return NULL;
}

static struct peer_scope *oldest(const struct peer_state *p)
{
	struct peer_scope *best = &p->scopes[0];

	for (size_t i = 1; i < p->n_scopes; i++)
		if (p->scopes[i].synced_ns < best->synced_ns)
			best = &p->scopes[i];
	return best;
}

void peer_state_put_scope(struct peer_state *p, const struct peer_scope *s)
{
	struct peer_scope *old = peer_state_scope(p, s->hash);

	if (!old && p->n_scopes == PEER_SCOPES_MAX)
		old = oldest(p);
	if (!old) {
		p->scopes = mb_xreallocarray(p->scopes, p->n_scopes + 1, sizeof(*p->scopes));
		old = &p->scopes[p->n_scopes++];
	}
	*old = *s;
}

void peer_scopes_encode(const struct peer_state *p, struct buf *out)
{
	for (size_t i = 0; i < p->n_scopes; i++) {
		buf_put_u64(out, p->scopes[i].hash);
		buf_put_u64(out, p->scopes[i].selected);
		buf_put_u64(out, (uint64_t)p->scopes[i].synced_ns);
		position_encode(&p->scopes[i].local, out);
		position_encode(&p->scopes[i].remote, out);
	}
}

bool peer_scopes_decode(struct reader *r, struct peer_state *ret)
{
	while (reader_left(r)) {
		struct peer_scope s = {
			.hash = reader_get_u64(r),
			.selected = reader_get_u64(r),
			.synced_ns = (int64_t)reader_get_u64(r),
		};
		if (!position_decode(r, &s.local) || !position_decode(r, &s.remote) || !s.hash ||
		    ret->n_scopes == PEER_SCOPES_MAX || peer_state_scope(ret, s.hash))
			return false;
		peer_state_put_scope(ret, &s);
	}
	return true;
}
