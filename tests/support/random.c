/*
 * random.c - random objects from a fixed seed, and bytes that were damaged.
 */
#include "tests/support/random.h"
#include "backends/base/mem.h"
#include <stdio.h>
#include <string.h>

/* splitmix64 */
uint64_t prng_next(struct prng *p)
{
	uint64_t z = p->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t prng_below(struct prng *p, uint64_t n)
{
	return prng_next(p) % n;
}

bool prng_bool(struct prng *p)
{
	return prng_next(p) & 1;
}

char *prng_text(struct prng *p, size_t max, const char *from)
{
	size_t len = 1 + prng_below(p, max);
	char *text = mb_xmalloc(len + 1);

	for (size_t i = 0; i < len; i++)
		text[i] = (char)(from ? (unsigned char)from[prng_below(p, strlen(from))]
				      : 1 + prng_below(p, 255));
	text[len] = '\0';
	return text;
}

static char *maybe_text(struct prng *p, size_t max, const char *from)
{
	return prng_bool(p) ? prng_text(p, max, from) : NULL;
}

struct stamp random_stamp(struct prng *p)
{
	if (prng_below(p, 4) == 0)
		return STAMP_NONE;
	return (struct stamp){.time = 1 + prng_below(p, 4), .replica = 1 + prng_below(p, 2)};
}

struct guid random_guid(struct prng *p)
{
	struct guid g = {{(uint8_t)prng_below(p, 4)}};

	return g;
}

void random_flags(struct prng *p, struct flags *f)
{
	flags_release(f);
	for (unsigned i = 0; i < FLAG_COUNT; i++)
		flags_put(f, (enum flag_bit)i, prng_bool(p), random_stamp(p));
	for (uint64_t n = prng_below(p, 5); n; n--) {
		MB_AUTO_FREE char *name = prng_text(p, 2, "aAbB$");

		flags_put_keyword(f, name, prng_bool(p), random_stamp(p));
	}
}

void random_copy(struct prng *p, struct copy *c)
{
	copy_release(c);
	c->guid = random_guid(p);
	c->id = prng_below(p, 3);
	c->place.mailbox = random_guid(p);
	c->place.uid = (uint32_t)prng_below(p, 3);
	c->place.at = random_stamp(p);
	c->place.uid_at = random_stamp(p);
	c->place.base = maybe_text(p, 3, "ab,S=1");
	c->dead = random_stamp(p);
	c->dead_at = random_stamp(p);
	c->via = random_guid(p);
	c->via_seen = random_stamp(p);
	random_flags(p, &c->flags);
	c->size = prng_below(p, 3);
	c->received_ns = (int64_t)prng_below(p, 5) - 2;
	c->digest.b[31] = (uint8_t)prng_below(p, 3);
	c->recent = prng_bool(p);
}

void random_mailbox(struct prng *p, struct mailbox *m)
{
	mailbox_release(m);
	m->guid = random_guid(p);
	m->parent = random_guid(p);
	m->part = maybe_text(p, 2, "ab./");
	m->born = random_stamp(p);
	m->named_at = random_stamp(p);
	m->old_parent = random_guid(p);
	m->old_part = maybe_text(p, 1, "ab");
	m->dead = random_stamp(p);
	m->dead_at = random_stamp(p);
	m->revived = random_stamp(p);
	m->selectable = prng_bool(p);
	m->selectable_at = random_stamp(p);
	m->subscribed = prng_bool(p);
	m->subscribed_at = random_stamp(p);
	m->uid_validity = (uint32_t)prng_below(p, 3);
	m->uid_validity_at = random_stamp(p);
	m->uid_next = (uint32_t)prng_below(p, 3);
	m->merged_into = random_guid(p);
}

static void random_position(struct prng *p, struct position *pos)
{
	pos->log = random_guid(p);
	pos->sequence = (uint32_t)prng_below(p, 3);
	pos->offset = (uint32_t)prng_next(p);
	pos->check = prng_next(p);
}

static void random_peer(struct prng *p, struct record *r)
{
	r->peer.replica = prng_next(p);
	r->peer.store = random_guid(p);
	r->peer.destination = maybe_text(p, 20, NULL);
	random_position(p, &r->peer.local);
	random_position(p, &r->peer.remote);
	r->peer.synced_ns = (int64_t)prng_next(p);
	for (uint64_t i = prng_below(p, 3); i > 0; i--) {
		struct peer_scope s = {.hash = i, .synced_ns = (int64_t)prng_below(p, 99)};
		random_position(p, &s.local);
		random_position(p, &s.remote);
		peer_state_put_scope(&r->peer, &s);
	}
}

static void random_entry(struct prng *p, struct peer_entry *e)
{
	e->peer = prng_next(p);
	e->mailbox = random_guid(p);
	e->guid = random_guid(p);
	e->id = prng_below(p, 2);
	e->path = maybe_text(p, 20, NULL);
	e->flags = (uint8_t)prng_below(p, FLAG_ALL + 1);
	e->keywords = (uint32_t)prng_below(p, 1u << 26);
	e->ino = prng_next(p);
	e->size = prng_next(p);
	e->state = (uint8_t)prng_below(p, 3);
	for (int i = 0; i < 4; i++)
		e->mtimes[i] = (int64_t)prng_next(p);
	e->digest.b[0] = (uint8_t)prng_below(p, 2);
	e->placed_at = random_stamp(p);
}

void random_record(struct prng *p, struct record *r)
{
	record_release(r);
	r->type = (enum record_type)(1 + prng_below(p, 70));
	r->at = random_stamp(p);
	r->origin.replica = prng_below(p, 3);
	r->origin.pid = (uint32_t)prng_below(p, 70000);
	snprintf(r->origin.comm, sizeof(r->origin.comm), "%s", prng_bool(p) ? "neomutt" : "");
	if (prng_bool(p))
		random_mailbox(p, &r->mailbox);
	if (prng_bool(p))
		random_copy(p, &r->copy);
	if (prng_bool(p))
		random_peer(p, r);
	if (prng_bool(p))
		random_entry(p, &r->entry);
	r->old_guid = random_guid(p);
	r->old_id = prng_below(p, 2);
	for (uint64_t n = prng_below(p, 4); n > 1; n--)
		record_add_further(r, prng_next(p), prng_next(p));
	r->old_name = maybe_text(p, 20, NULL);
	if (r->copy.place.base && prng_bool(p))
		r->new_name = mb_xasprintf("%s:2,S", r->copy.place.base);
	else
		r->new_name = maybe_text(p, 20, NULL);
	r->ordinal = prng_below(p, 3);
	r->replica_id = prng_below(p, 3);
	r->store_id = random_guid(p);
	r->forgotten = prng_below(p, 3);
}

void for_each_damage(const void *data, size_t len, void (*fn)(const void *data, size_t len))
{
	for (size_t n = 0; n < len; n++) {
		MB_AUTO_FREE void *prefix = malloc(n); /* NULL for 0 is as good */

		if (n)
			memcpy(prefix, data, n);
		fn(prefix, n);
	}
	for (size_t bit = 0; bit < len * 8; bit++) {
		MB_AUTO_FREE uint8_t *copy = mb_xmemdup(data, len);

		copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
		fn(copy, len);
	}
}
