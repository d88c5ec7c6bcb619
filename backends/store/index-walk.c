/*
 * index-walk.c - walks over keys, and the questions that are answered by one.
 *
 * A walk collects up to a batch of keys, closes its cursor, and only then calls: so the callback may
 * write.  When something was written since the batch was collected, each key is looked for again.
 */
#include "backends/store/index-private.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/mail/fname.h"
#include <errno.h>
#include <string.h>

#define WALK_BATCH 256

struct walk {
	struct index_txn *tx;
	enum table table;
	const uint8_t *prefix; /* borrowed */
	size_t prefix_len;
	uint8_t next[INDEX_KEY_MAX]; /* where the next batch begins */
	size_t next_len;
	bool after;	 /* `next` itself has been met */
	struct buf keys; /* u16 length and bytes of each */
	size_t n;
};

static bool in_prefix(const struct walk *w, const MDB_val *k)
{
	return k->mv_size >= w->prefix_len &&
	       (w->prefix_len == 0 || memcmp(k->mv_data, w->prefix, w->prefix_len) == 0);
}

static int first_of_batch(struct walk *w, MDB_cursor *c, MDB_val *k)
{
	MDB_val v;

	if (!w->next_len)
		return mdb_cursor_get(c, k, &v, MDB_FIRST);
	*k = (MDB_val){.mv_size = w->next_len, .mv_data = w->next};
	int r = mdb_cursor_get(c, k, &v, MDB_SET_RANGE);
	if (!r && w->after && k->mv_size == w->next_len &&
	    memcmp(k->mv_data, w->next, w->next_len) == 0)
		r = mdb_cursor_get(c, k, &v, MDB_NEXT);
	return r;
}

/* Fills `keys`; fewer than WALK_BATCH of them: there are no more. */
static int collect(struct walk *w)
{
	MDB_cursor *c;
	MDB_val k, v;
	int r;

	buf_reset(&w->keys);
	w->n = 0;
	index_lmdb_enter();
	r = mdb_cursor_open(w->tx->txn, w->tx->ix->dbi[w->table], &c);
	if (r) {
		index_lmdb_leave();
		return txn_doubt(w->tx, index_error(r));
	}
	for (r = first_of_batch(w, c, &k); !r && in_prefix(w, &k);
	     r = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
		if (k.mv_size > INDEX_KEY_MAX) {
			r = MDB_CORRUPTED;
			break;
		}
		buf_put_u16(&w->keys, (uint16_t)k.mv_size);
		buf_put(&w->keys, k.mv_data, k.mv_size);
		if (++w->n == WALK_BATCH) {
			memcpy(w->next, k.mv_data, k.mv_size);
			w->next_len = k.mv_size;
			w->after = true;
			break;
		}
	}
	mdb_cursor_close(c);
	index_lmdb_leave();
	return r == MDB_NOTFOUND ? 0 : txn_doubt(w->tx, index_error(r));
}

static int call_batch(struct walk *w, key_fn *fn, void *arg)
{
	struct reader in = reader_of(w->keys.data, w->keys.len);
	uint64_t writes = w->tx->writes;
	struct slice val;
	int r;

	for (size_t i = 0; i < w->n; i++) {
		size_t len = reader_get_u16(&in);
		const uint8_t *key = in.p;

		in.p += len;
		if (w->tx->writes != writes) {
			r = table_get(w->tx, w->table, key, len, &val);
			if (r == -ENOENT)
				continue;
			if (r < 0)
				return r;
		}
		r = fn(w->tx, key, len, arg);
		if (r)
			return r;
	}
	return 0;
}

int table_walk(struct index_txn *tx, enum table t, const void *prefix, size_t prefix_len,
	       const void *from, size_t from_len, key_fn *fn, void *arg)
{
	struct walk w = {.tx = tx, .table = t, .prefix = prefix, .prefix_len = prefix_len};
	int r;

	w.next_len = from ? from_len : prefix_len;
	if (w.next_len)
		memcpy(w.next, from ? from : prefix, w.next_len);
	do {
		r = collect(&w);
		if (!r && w.n)
			r = call_batch(&w, fn, arg);
	} while (!r && w.n == WALK_BATCH);
	buf_release(&w.keys);
	return r;
}

struct del {
	enum table table;
};

static int del_key(struct index_txn *tx, const uint8_t *key, size_t len, void *arg)
{
	const struct del *d = arg;

	return table_del(tx, d->table, key, len);
}

int table_del_prefix(struct index_txn *tx, enum table t, const void *prefix, size_t prefix_len)
{
	struct del d = {.table = t};

	return table_walk(tx, t, prefix, prefix_len, NULL, 0, del_key, &d);
}

/* ---- entries ---- */

struct entry_walk {
	index_entry_fn *fn;
	void *arg;
};

/* Keys of all these tables end in the copy. */
static int get_and_call(struct index_txn *tx, const uint8_t *key, size_t len, void *arg)
{
	const struct entry_walk *w = arg;
	struct entry e;
	struct guid g;
	uint64_t id;

	if (len < COPY_KEY_LEN)
		return txn_doubt(tx, MB_E_CHECKSUM);
	copy_key_read(key + len - COPY_KEY_LEN, &g, &id);
	int r = index_get_entry(tx, &g, id, &e);
	if (r < 0) /* a key in one table and no entry: the index is not whole */
		return txn_doubt(tx, r == -ENOENT ? MB_E_CHECKSUM : r);
	r = w->fn(&e, w->arg);
	entry_release(&e);
	return r;
}

int index_by_name(struct index_txn *tx, const struct guid *mb, const char *name, index_entry_fn *fn,
		  void *arg)
{
	struct entry_walk w = {.fn = fn, .arg = arg};
	uint8_t prefix[NAME_KEY_MAX];
	struct fname f;

	if (!fname_is_message(name))
		return 0;
	fname_parse(name, &f);
	memcpy(prefix, mb->b, 16);
	memcpy(prefix + 16, name, f.unique_len);
	prefix[16 + f.unique_len] = 0;
	return table_walk(tx, T_NAME, prefix, 16 + f.unique_len + 1, NULL, 0, get_and_call, &w);
}

int index_by_digest(struct index_txn *tx, const struct digest *d, index_entry_fn *fn, void *arg)
{
	struct entry_walk w = {.fn = fn, .arg = arg};

	return table_walk(tx, T_DIGEST, d->b, sizeof(d->b), NULL, 0, get_and_call, &w);
}

int index_each_in(struct index_txn *tx, const struct guid *mb, uint32_t from_uid,
		  index_entry_fn *fn, void *arg)
{
	struct entry_walk w = {.fn = fn, .arg = arg};
	uint8_t from[20];

	memcpy(from, mb->b, 16);
	put_be32(from + 16, from_uid);
	return table_walk(tx, T_UID, mb->b, 16, from, sizeof(from), get_and_call, &w);
}

int index_each(struct index_txn *tx, index_entry_fn *fn, void *arg)
{
	struct entry_walk w = {.fn = fn, .arg = arg};

	return table_walk(tx, T_COPY, NULL, 0, NULL, 0, get_and_call, &w);
}

struct guid_walk {
	int (*fn)(const struct guid *g, void *arg);
	void *arg;
	struct guid last;
	bool any;
};

static int call_with_guid(struct index_txn *tx, const uint8_t *key, size_t len, void *arg)
{
	struct guid_walk *w = arg;
	struct guid g;
	uint64_t id;

	(void)tx;
	if (len != COPY_KEY_LEN)
		return MB_E_CHECKSUM;
	copy_key_read(key, &g, &id);
	if (w->any && guid_equal(&g, &w->last))
		return 0;
	w->any = true;
	w->last = g;
	return w->fn(&g, w->arg);
}

int index_each_guid(struct index_txn *tx, const struct guid *after,
		    int (*fn)(const struct guid *g, void *arg), void *arg)
{
	struct guid_walk w = {.fn = fn, .arg = arg};
	uint8_t from[COPY_KEY_LEN];

	if (after) { /* the greatest key of that message, which `last` passes over */
		memcpy(from, after->b, sizeof(after->b));
		memset(from + sizeof(after->b), 0xff, sizeof(from) - sizeof(after->b));
		w.last = *after;
		w.any = true;
	}
	return table_walk(tx, T_COPY, NULL, 0, after ? from : NULL, sizeof(from), call_with_guid,
			  &w);
}

/* Keeps the first live entry, or, with any_state, else the first. */
struct pick {
	struct entry *ret;
	bool found, any_state;
};

static int pick_one(struct entry *e, void *arg)
{
	struct pick *p = arg;
	bool live = e->state != ENTRY_DEAD;

	if (!live && (p->found || !p->any_state))
		return 0;
	if (p->found)
		entry_release(p->ret);
	*p->ret = *e;
	*e = (struct entry){0};
	p->found = true;
	return live;
}

static int pick_from(struct index_txn *tx, enum table t, const uint8_t *prefix, size_t len,
		     bool any_state, struct entry *ret)
{
	struct entry e = {0};
	struct pick p = {.ret = &e, .any_state = any_state};
	struct entry_walk w = {.fn = pick_one, .arg = &p};
	int r = table_walk(tx, t, prefix, len, NULL, 0, get_and_call, &w);

	if (r < 0 || !p.found) {
		entry_release(&e);
		return r < 0 ? r : -ENOENT;
	}
	*ret = e;
	return 0;
}

int index_by_uid(struct index_txn *tx, const struct guid *mb, uint32_t uid, struct entry *ret)
{
	uint8_t prefix[20];

	memcpy(prefix, mb->b, 16);
	put_be32(prefix + 16, uid);
	return pick_from(tx, T_UID, prefix, sizeof(prefix), false, ret);
}

int index_by_ordinal(struct index_txn *tx, uint64_t ordinal, struct entry *ret)
{
	uint8_t prefix[8];

	put_be64(prefix, ordinal);
	return pick_from(tx, T_ORDINAL, prefix, sizeof(prefix), true, ret);
}

static int add_copy(struct entry *e, void *arg)
{
	struct message *m = arg;

	copy_clone(message_add(m, e->copy.id), &e->copy);
	return 0;
}

int index_get_message(struct index_txn *tx, const struct guid *g, struct message *ret)
{
	struct message m = {.guid = *g};
	struct entry_walk w = {.fn = add_copy, .arg = &m};
	int r = table_walk(tx, T_COPY, g->b, sizeof(g->b), NULL, 0, get_and_call, &w);

	if (r < 0) {
		message_release(&m);
		return r;
	}
	*ret = m;
	return 0;
}
