/*
 * index-peer.c - sync states, the maps of peers without a log, aliases of GUIDs.
 */
#include "backends/store/index-private.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include <errno.h>
#include <string.h>

#define DESTINATION_MAX 65536
#define PATH_LEN_MAX 8192
#define CHAIN_MAX 64

/* ---- peers ---- */

static void put_guid(struct buf *b, const struct guid *g)
{
	buf_put(b, g->b, sizeof(g->b));
}

static void get_guid(struct reader *r, struct guid *ret)
{
	reader_get(r, ret->b, sizeof(ret->b));
}

static void put_text(struct buf *b, const char *s)
{
	buf_put_u8(b, s != NULL);
	buf_put_str(b, s);
}

static char *get_text(struct reader *r, size_t max)
{
	bool there = reader_get_u8(r);
	char *s = reader_get_str(r, max);

	if (!there) {
		free(s);
		return NULL;
	}
	return s;
}

static int decode_peer(const struct slice *val, uint64_t replica, struct peer_state *ret)
{
	struct reader r = reader_of(val->data, val->len);
	struct peer_state p = {.replica = replica};

	get_guid(&r, &p.store);
	p.destination = get_text(&r, DESTINATION_MAX);
	p.synced_ns = (int64_t)reader_get_u64(&r);
	/* What an older version wrote ends here: no scope but the default one. */
	if (!position_decode(&r, &p.local) || !position_decode(&r, &p.remote) || r.failed ||
	    !peer_scopes_decode(&r, &p)) {
		peer_state_release(&p);
		return MB_E_CHECKSUM;
	}
	*ret = p;
	return 0;
}

int index_get_peer(struct index_txn *tx, uint64_t replica, struct peer_state *ret)
{
	uint8_t key[PEER_KEY_LEN];
	struct slice val;

	put_be64(key, replica);
	int r = table_get(tx, T_PEER, key, sizeof(key), &val);
	return r < 0 ? r : decode_peer(&val, replica, ret);
}

int index_put_peer(struct index_txn *tx, const struct peer_state *p)
{
	uint8_t key[PEER_KEY_LEN];
	struct buf *b = &tx->value;

	put_be64(key, p->replica);
	buf_reset(b);
	put_guid(b, &p->store);
	put_text(b, p->destination);
	buf_put_u64(b, (uint64_t)p->synced_ns);
	position_encode(&p->local, b);
	position_encode(&p->remote, b);
	peer_scopes_encode(p, b);
	return table_put(tx, T_PEER, key, sizeof(key), b->data, b->len);
}

int index_drop_peer(struct index_txn *tx, uint64_t replica)
{
	uint8_t key[PEER_KEY_LEN];

	put_be64(key, replica);
	int r = table_del(tx, T_PEER, key, sizeof(key));
	if (r >= 0)
		r = table_del_prefix(tx, T_ENTRY, key, sizeof(key));
	return txn_spoil(tx, r);
}

struct peer_walk {
	int (*fn)(struct peer_state *p, void *arg);
	void *arg;
};

static int call_peer(struct index_txn *tx, const uint8_t *key, size_t len, void *arg)
{
	const struct peer_walk *w = arg;
	struct peer_state p;
	int r = index_get_peer(tx, get_be64(key), &p);

	if (r < 0)
		return r;
	r = w->fn(&p, w->arg);
	peer_state_release(&p);
	return r;
}

int index_each_peer(struct index_txn *tx, int (*fn)(struct peer_state *p, void *arg), void *arg)
{
	struct peer_walk w = {.fn = fn, .arg = arg};

	return table_walk(tx, T_PEER, NULL, 0, NULL, 0, call_peer, &w);
}

/* ---- the map of a peer without a log ---- */

static void map_key(uint64_t replica, const struct guid *mb, const struct guid *guid, uint64_t id,
		    uint8_t out[MAP_KEY_LEN])
{
	put_be64(out, replica);
	memcpy(out + PEER_KEY_LEN, mb->b, sizeof(mb->b));
	copy_key(guid, id, out + PEER_KEY_LEN + 16);
}

static void encode_entry(const struct peer_entry *e, struct buf *b)
{
	buf_reset(b);
	put_text(b, e->path);
	buf_put_u8(b, e->flags);
	buf_put_u32(b, e->keywords);
	buf_put_u64(b, e->ino);
	buf_put_u64(b, e->size);
	buf_put_u64(b, e->placed_at.time);
	buf_put_u64(b, e->placed_at.replica);
	buf_put_u8(b, e->state);
	for (int i = 0; i < 4; i++)
		buf_put_u64(b, (uint64_t)e->mtimes[i]);
	buf_put(b, e->digest.b, sizeof(e->digest.b));
}

static int decode_entry(const struct slice *val, const uint8_t key[MAP_KEY_LEN],
			struct peer_entry *ret)
{
	struct reader r = reader_of(val->data, val->len);
	struct peer_entry e = {.peer = get_be64(key)};

	memcpy(e.mailbox.b, key + PEER_KEY_LEN, sizeof(e.mailbox.b));
	copy_key_read(key + PEER_KEY_LEN + 16, &e.guid, &e.id);
	e.path = get_text(&r, PATH_LEN_MAX);
	e.flags = reader_get_u8(&r);
	e.keywords = reader_get_u32(&r);
	e.ino = reader_get_u64(&r);
	e.size = reader_get_u64(&r);
	e.placed_at.time = reader_get_u64(&r);
	e.placed_at.replica = reader_get_u64(&r);
	e.state = reader_get_u8(&r);
	for (int i = 0; i < 4; i++)
		e.mtimes[i] = (int64_t)reader_get_u64(&r);
	reader_get(&r, e.digest.b, sizeof(e.digest.b));
	if (r.failed) {
		peer_entry_release(&e);
		return MB_E_CHECKSUM;
	}
	*ret = e;
	return 0;
}

int index_put_peer_entry(struct index_txn *tx, const struct peer_entry *e)
{
	uint8_t key[MAP_KEY_LEN];

	map_key(e->peer, &e->mailbox, &e->guid, e->id, key);
	if (e->state == PEER_ENTRY_GONE)
		return table_del(tx, T_ENTRY, key, sizeof(key));
	encode_entry(e, &tx->value);
	return table_put(tx, T_ENTRY, key, sizeof(key), tx->value.data, tx->value.len);
}

static int get_by_key(struct index_txn *tx, const uint8_t key[MAP_KEY_LEN], struct peer_entry *ret)
{
	struct slice val;
	int r = table_get(tx, T_ENTRY, key, MAP_KEY_LEN, &val);

	return r < 0 ? r : decode_entry(&val, key, ret);
}

int index_get_peer_entry(struct index_txn *tx, uint64_t replica, const struct guid *mb,
			 const struct guid *guid, uint64_t id, struct peer_entry *ret)
{
	uint8_t key[MAP_KEY_LEN];

	map_key(replica, mb, guid, id, key);
	return get_by_key(tx, key, ret);
}

struct map_walk {
	int (*fn)(struct peer_entry *e, void *arg);
	void *arg;
};

static int call_entry(struct index_txn *tx, const uint8_t *key, size_t len, void *arg)
{
	const struct map_walk *w = arg;
	struct peer_entry e;

	if (len != MAP_KEY_LEN)
		return MB_E_CHECKSUM;
	int r = get_by_key(tx, key, &e);
	if (r < 0)
		return r;
	r = w->fn(&e, w->arg);
	peer_entry_release(&e);
	return r;
}

int index_each_peer_entry(struct index_txn *tx, uint64_t replica, const struct guid *mb,
			  int (*fn)(struct peer_entry *e, void *arg), void *arg)
{
	struct map_walk w = {.fn = fn, .arg = arg};
	uint8_t prefix[PEER_KEY_LEN + 16];

	put_be64(prefix, replica);
	if (mb)
		memcpy(prefix + PEER_KEY_LEN, mb->b, sizeof(mb->b));
	return table_walk(tx, T_ENTRY, prefix, mb ? sizeof(prefix) : PEER_KEY_LEN, NULL, 0,
			  call_entry, &w);
}

/* ---- aliases ---- */

static int get_alias(struct index_txn *tx, const struct guid *from, struct guid *ret)
{
	struct slice val;
	int r = table_get(tx, T_ALIAS, from->b, sizeof(from->b), &val);

	if (r < 0)
		return r;
	if (val.len != sizeof(ret->b))
		return MB_E_CHECKSUM;
	memcpy(ret->b, val.data, sizeof(ret->b));
	return 0;
}

struct guid index_resolve(struct index_txn *tx, struct guid g)
{
	struct guid next;

	for (int i = 0; i < CHAIN_MAX && get_alias(tx, &g, &next) >= 0; i++)
		g = next;
	return g;
}

int index_put_alias(struct index_txn *tx, const struct guid *from, const struct guid *to)
{
	struct guid end = index_resolve(tx, *to);

	if (guid_equal(from, &end)) /* it would be a circle */
		return 0;
	return table_put(tx, T_ALIAS, from->b, sizeof(from->b), to->b, sizeof(to->b));
}

struct alias_walk {
	int (*fn)(const struct guid *from, const struct guid *to, void *arg);
	void *arg;
};

static int call_alias(struct index_txn *tx, const uint8_t *key, size_t len, void *arg)
{
	const struct alias_walk *w = arg;
	struct guid from, to;

	if (len != sizeof(from.b)) /* of a single copy */
		return 0;
	memcpy(from.b, key, sizeof(from.b));
	int r = get_alias(tx, &from, &to);
	return r < 0 ? r : w->fn(&from, &to, w->arg);
}

int index_each_alias(struct index_txn *tx,
		     int (*fn)(const struct guid *from, const struct guid *to, void *arg),
		     void *arg)
{
	struct alias_walk w = {.fn = fn, .arg = arg};

	return table_walk(tx, T_ALIAS, NULL, 0, NULL, 0, call_alias, &w);
}

/* One step along the chain: the copy's own alias, else its message's.  0: there is none. */
static int alias_step(struct index_txn *tx, struct guid *g, uint64_t *id)
{
	uint8_t key[COPY_KEY_LEN];
	struct slice val;

	copy_key(g, *id, key);
	int r = table_get(tx, T_ALIAS, key, sizeof(key), &val);
	if (r == -ENOENT) {
		r = get_alias(tx, g, g);
		return r == -ENOENT ? 0 : r < 0 ? r : 1;
	}
	if (r >= 0 && val.len != COPY_KEY_LEN)
		r = MB_E_CHECKSUM;
	if (r < 0)
		return r;
	copy_key_read(val.data, g, id);
	return 1;
}

int index_resolve_copy(struct index_txn *tx, struct guid *g, uint64_t *id)
{
	uint8_t key[COPY_KEY_LEN];
	struct slice val;
	int r = 1;

	if (table_count(tx, T_ALIAS) == 0)
		return 0;
	for (int i = 0; r > 0 && i < CHAIN_MAX; i++) {
		copy_key(g, *id, key);
		r = table_get(tx, T_COPY, key, sizeof(key), &val);
		if (r != -ENOENT)
			return r;
		r = alias_step(tx, g, id);
	}
	return r < 0 ? r : 0;
}

int index_put_copy_alias(struct index_txn *tx, const struct guid *from, uint64_t from_id,
			 const struct guid *to, uint64_t to_id)
{
	uint8_t key[COPY_KEY_LEN], val[COPY_KEY_LEN];

	if (from_id == to_id)
		return 0;
	copy_key(from, from_id, key);
	copy_key(to, to_id, val);
	return table_put(tx, T_ALIAS, key, sizeof(key), val, sizeof(val));
}
