/*
 * index-entry.c - copies in the index: value, keys in the other tables, get, put, drop.
 *
 *   u8 state | bits, varint ordinal, varint modseq, file (if any), u64 ino, u64 mtime_ns,
 *   u64 ctime_ns, the copy's registers
 *
 * The keys in the other tables follow from the entry alone (entry_keys()); a change takes out those
 * that the old entry had and the new one has not, and puts in the others.
 */
#include "backends/store/index-private.h"
#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "backends/base/mem.h"
#include "backends/mail/fname.h"
#include <errno.h>
#include <string.h>

#define STATE_MASK 0x0fu
#define IN_NEW 0x10u
#define HAS_FILE 0x20u
#define RECENT 0x40u

enum key_kind { KEY_UID, KEY_NAME, KEY_DIGEST, KEY_ORDINAL, KEY_COUNT };
static const enum table KEY_TABLES[KEY_COUNT] = {T_UID, T_NAME, T_DIGEST, T_ORDINAL};

struct key {
	size_t len; /* 0: the entry has none in this table */
	uint8_t b[NAME_KEY_MAX];
};

void entry_release(struct entry *e)
{
	copy_release(&e->copy);
	free(e->file);
	*e = (struct entry){0};
}

void copy_key(const struct guid *g, uint64_t id, uint8_t out[COPY_KEY_LEN])
{
	memcpy(out, g->b, sizeof(g->b));
	put_be64(out + sizeof(g->b), id);
}

void copy_key_read(const uint8_t *key, struct guid *ret_guid, uint64_t *ret_id)
{
	memcpy(ret_guid->b, key, sizeof(ret_guid->b));
	*ret_id = get_be64(key + sizeof(ret_guid->b));
}

/* ---- values ---- */

static void encode(const struct entry *e, struct buf *out)
{
	uint8_t bits = (uint8_t)(((unsigned)e->state & STATE_MASK) | (e->in_new ? IN_NEW : 0) |
				 (e->file ? HAS_FILE : 0) | (e->copy.recent ? RECENT : 0));

	buf_reset(out);
	buf_put_u8(out, bits);
	buf_put_varint(out, e->ordinal);
	buf_put_varint(out, e->modseq);
	if (e->file)
		buf_put_str(out, e->file);
	buf_put_u64(out, e->ino);
	buf_put_u64(out, (uint64_t)e->mtime_ns);
	buf_put_u64(out, (uint64_t)e->ctime_ns);
	copy_encode(&e->copy, out);
}

static int decode(const struct slice *val, const uint8_t *key, struct entry *ret)
{
	struct reader r = reader_of(val->data, val->len);
	struct entry e = {0};
	uint8_t bits = reader_get_u8(&r);

	e.state = (enum entry_state)(bits & STATE_MASK);
	e.in_new = bits & IN_NEW;
	e.ordinal = reader_get_varint(&r);
	e.modseq = reader_get_varint(&r);
	if (bits & HAS_FILE)
		e.file = reader_get_str(&r, FNAME_MAX);
	e.ino = reader_get_u64(&r);
	e.mtime_ns = (int64_t)reader_get_u64(&r);
	e.ctime_ns = (int64_t)reader_get_u64(&r);
	if (r.failed || e.state > ENTRY_DAMAGED || !copy_decode(&r, &e.copy)) {
		entry_release(&e);
		return MB_E_CHECKSUM;
	}
	e.copy.recent = bits & RECENT;
	copy_key_read(key, &e.copy.guid, &e.copy.id);
	*ret = e;
	return 0;
}

/* ---- keys in the other tables ---- */

static void key_end(struct key *k, const struct copy *c)
{
	copy_key(&c->guid, c->id, k->b + k->len);
	k->len += COPY_KEY_LEN;
}

static void name_key(const struct entry *e, struct key *k)
{
	const char *name = e->file ? e->file : e->copy.place.base;
	struct fname f;

	if (!name || !fname_is_message(name))
		return;
	fname_parse(name, &f);
	memcpy(k->b, e->copy.place.mailbox.b, 16);
	memcpy(k->b + 16, name, f.unique_len);
	k->b[16 + f.unique_len] = 0;
	k->len = 16 + f.unique_len + 1;
	key_end(k, &e->copy);
}

static void entry_keys(const struct entry *e, struct key keys[KEY_COUNT])
{
	for (int i = 0; i < KEY_COUNT; i++)
		keys[i].len = 0;
	if (e->ordinal) {
		put_be64(keys[KEY_ORDINAL].b, e->ordinal);
		keys[KEY_ORDINAL].len = 8;
		key_end(&keys[KEY_ORDINAL], &e->copy);
	}
	if (e->state == ENTRY_DEAD)
		return;
	memcpy(keys[KEY_UID].b, e->copy.place.mailbox.b, 16);
	put_be32(keys[KEY_UID].b + 16, e->copy.place.uid);
	keys[KEY_UID].len = 20;
	key_end(&keys[KEY_UID], &e->copy);
	name_key(e, &keys[KEY_NAME]);
	if (digest_known(&e->copy.digest)) {
		memcpy(keys[KEY_DIGEST].b, e->copy.digest.b, sizeof(e->copy.digest.b));
		keys[KEY_DIGEST].len = sizeof(e->copy.digest.b);
		key_end(&keys[KEY_DIGEST], &e->copy);
	}
}

static bool key_equal(const struct key *a, const struct key *b)
{
	return a->len == b->len && memcmp(a->b, b->b, a->len) == 0;
}

static int replace_key(struct index_txn *tx, enum table t, const struct key *old,
		       const struct key *new_)
{
	int r = 0;

	if (key_equal(old, new_))
		return 0;
	if (old->len)
		r = table_del(tx, t, old->b, old->len);
	if (r >= 0 && new_->len)
		r = table_put(tx, t, new_->b, new_->len, "", 0);
	return r;
}

static int replace_keys(struct index_txn *tx, const struct key old[KEY_COUNT],
			const struct key new_[KEY_COUNT])
{
	int r = 0;

	for (int i = 0; r >= 0 && i < KEY_COUNT; i++)
		r = replace_key(tx, KEY_TABLES[i], &old[i], &new_[i]);
	return r;
}

int entry_check_keys(struct index_txn *tx, const struct entry *e, size_t counts[T_COUNT])
{
	struct key keys[KEY_COUNT];
	struct slice val;
	int r = 0;

	entry_keys(e, keys);
	for (int i = 0; r >= 0 && i < KEY_COUNT; i++) {
		if (!keys[i].len)
			continue;
		counts[KEY_TABLES[i]]++;
		r = table_get(tx, KEY_TABLES[i], keys[i].b, keys[i].len, &val);
	}
	return r;
}

/* ---- get, put, drop ---- */

int index_get_entry(struct index_txn *tx, const struct guid *g, uint64_t id, struct entry *ret)
{
	uint8_t key[COPY_KEY_LEN];
	struct slice val;

	copy_key(g, id, key);
	int r = table_get(tx, T_COPY, key, sizeof(key), &val);
	return r < 0 ? r : decode(&val, key, ret);
}

/* The mailboxes' counters for old -> new; old NULL: it was not there. */
static int count_change(struct index_txn *tx, const struct entry *old, const struct entry *e)
{
	const struct place *p = &e->copy.place;
	bool was = old && old->state != ENTRY_DEAD, is = e->state != ENTRY_DEAD;
	bool moved = old && !guid_equal(&old->copy.place.mailbox, &p->mailbox);
	int live = moved ? is : (int)is - (int)was;
	int r = 0;

	if (moved)
		r = mailbox_count(tx, &old->copy.place.mailbox, was ? -1 : 0, 0, e->modseq);
	return r < 0 ? r : mailbox_count(tx, &p->mailbox, live, p->uid, e->modseq);
}

/* ---- copies without a good body ---- */

#define MISSING "missing" /* in meta, u64, little endian */

static bool is_missing(const struct entry *e)
{
	return e && (e->state == ENTRY_LOST || e->state == ENTRY_DAMAGED);
}

static int put_missing(struct index_txn *tx, uint64_t n)
{
	uint8_t le[8];

	put_le64(le, n);
	return index_meta_put(tx, MISSING, le, sizeof(le));
}

int index_missing(struct index_txn *tx, uint64_t *ret)
{
	uint8_t le[8];
	int r = index_meta_get(tx, MISSING, le, sizeof(le));

	if (r >= 0)
		*ret = get_le64(le);
	return r;
}

static int count_one(struct entry *e, void *arg)
{
	*(uint64_t *)arg += is_missing(e);
	return 0;
}

int index_count_missing(struct index_txn *tx)
{
	uint64_t n = 0;
	int r = index_missing(tx, &n);

	if (r != -ENOENT)
		return r;
	r = index_each(tx, count_one, &n);
	return r < 0 ? r : put_missing(tx, n);
}

/* old -> e; NULL: not there. */
static int count_missing(struct index_txn *tx, const struct entry *old, const struct entry *e)
{
	bool was = is_missing(old), is = is_missing(e);
	uint64_t n;
	int r = was == is ? -ENOENT : index_missing(tx, &n);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return put_missing(tx, is ? n + 1 : n ? n - 1 : 0);
}

static int put_over(struct index_txn *tx, const struct entry *old, const struct entry *e)
{
	struct key before[KEY_COUNT] = {0}, after[KEY_COUNT];
	uint8_t key[COPY_KEY_LEN];
	int r;

	if (old)
		entry_keys(old, before);
	entry_keys(e, after);
	copy_key(&e->copy.guid, e->copy.id, key);
	encode(e, &tx->value);
	r = table_put(tx, T_COPY, key, sizeof(key), tx->value.data, tx->value.len);
	if (r >= 0)
		r = replace_keys(tx, before, after);
	if (r >= 0)
		r = count_missing(tx, old, e);
	return r < 0 ? r : count_change(tx, old, e);
}

int index_put_entry(struct index_txn *tx, const struct entry *e)
{
	struct entry old;
	int r;

	if (e->file && strlen(e->file) > FNAME_MAX)
		return txn_spoil(tx, -ENAMETOOLONG);
	r = index_get_entry(tx, &e->copy.guid, e->copy.id, &old);
	if (r == -ENOENT)
		return txn_spoil(tx, put_over(tx, NULL, e));
	if (r < 0)
		return txn_spoil(tx, r);
	r = put_over(tx, &old, e);
	entry_release(&old);
	return txn_spoil(tx, r);
}

int index_drop_entry(struct index_txn *tx, const struct guid *g, uint64_t id)
{
	struct key before[KEY_COUNT], none[KEY_COUNT] = {0};
	uint8_t key[COPY_KEY_LEN];
	struct entry old;
	int r = index_get_entry(tx, g, id, &old);

	if (r < 0)
		return r == -ENOENT ? r : txn_spoil(tx, r);
	copy_key(g, id, key);
	entry_keys(&old, before);
	r = table_del(tx, T_COPY, key, sizeof(key));
	if (r >= 0)
		r = replace_keys(tx, before, none);
	if (r >= 0)
		r = count_missing(tx, &old, NULL);
	if (r >= 0 && old.state != ENTRY_DEAD)
		r = mailbox_count(tx, &old.copy.place.mailbox, -1, 0, 0);
	entry_release(&old);
	return txn_spoil(tx, r);
}
