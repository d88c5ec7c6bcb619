/*
 * index-mailbox.c - mailboxes in the index: state, local facts, directories, counters.
 *
 * A value begins with the counters, at fixed places: a change of an entry patches them without
 * reading the rest.  uid_next there is the one that counts, not the one inside the state.
 *
 *   u32 n_live, u32 uid_next, u64 modseq, u8 bits, dir, 3 stamps, u64 ino, u32 cookie, state
 */
#include "backends/store/index-private.h"
#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "backends/base/mem.h"
#include <errno.h>
#include <string.h>

#define COUNTERS_LEN 16
#define HAS_DIR 0x01u
#define DIR_MAX 4096
#define DIR_KEY_LONG 480 /* of exactly this length is a key with a SHA-256 at its end */

struct counters {
	uint32_t n_live, uid_next;
	uint64_t modseq;
};

static void counters_write(const struct counters *c, uint8_t *p)
{
	put_le32(p, c->n_live);
	put_le32(p + 4, c->uid_next);
	put_le64(p + 8, c->modseq);
}

static int counters_read(const struct slice *val, struct counters *ret)
{
	if (val->len < COUNTERS_LEN)
		return MB_E_CHECKSUM;
	ret->n_live = get_le32(val->data);
	ret->uid_next = get_le32(val->data + 4);
	ret->modseq = get_le64(val->data + 8);
	return 0;
}

void mailbox_local_release(struct mailbox_local *l)
{
	free(l->dir);
	*l = (struct mailbox_local){0};
}

/* ---- values ---- */

static void put_dir_stamp(struct buf *b, const struct dir_stamp *s)
{
	buf_put_u64(b, s->ino);
	buf_put_u64(b, (uint64_t)s->mtime_ns);
	buf_put_u64(b, (uint64_t)s->ctime_ns);
}

static struct dir_stamp get_dir_stamp(struct reader *r)
{
	struct dir_stamp s;

	s.ino = reader_get_u64(r);
	s.mtime_ns = (int64_t)reader_get_u64(r);
	s.ctime_ns = (int64_t)reader_get_u64(r);
	return s;
}

static void put_local(struct buf *b, const struct mailbox_local *l)
{
	buf_put_u8(b, l->dir ? HAS_DIR : 0);
	buf_put_str(b, l->dir);
	put_dir_stamp(b, &l->cur);
	put_dir_stamp(b, &l->new_);
	put_dir_stamp(b, &l->self);
	buf_put_u64(b, l->ino);
	buf_put_u32(b, l->next_cookie);
}

static void get_local(struct reader *r, const struct counters *c, struct mailbox_local *ret)
{
	uint8_t bits = reader_get_u8(r);

	ret->dir = reader_get_str(r, DIR_MAX);
	if (!(bits & HAS_DIR)) {
		free(ret->dir);
		ret->dir = NULL;
	}
	ret->cur = get_dir_stamp(r);
	ret->new_ = get_dir_stamp(r);
	ret->self = get_dir_stamp(r);
	ret->ino = reader_get_u64(r);
	ret->next_cookie = reader_get_u32(r);
	ret->n_live = c->n_live;
	ret->modseq = c->modseq;
}

/* Either may be NULL.  What is given is written only on success. */
static int decode(const struct slice *val, struct mailbox *ret, struct mailbox_local *ret_local)
{
	struct mailbox m = {0};
	struct mailbox_local l = {0};
	struct counters c;
	int r = counters_read(val, &c);

	if (r < 0)
		return r;
	struct reader in = reader_of(val->data + COUNTERS_LEN, val->len - COUNTERS_LEN);
	get_local(&in, &c, &l);
	if (in.failed || (ret && !mailbox_decode(&in, &m))) {
		mailbox_local_release(&l);
		return MB_E_CHECKSUM;
	}
	if (ret) {
		m.uid_next = c.uid_next;
		*ret = m;
	}
	if (ret_local)
		*ret_local = l;
	else
		mailbox_local_release(&l);
	return 0;
}

int index_get_mailbox(struct index_txn *tx, const struct guid *g, struct mailbox *ret,
		      struct mailbox_local *ret_local)
{
	struct slice val;
	int r = table_get(tx, T_MAILBOX, g->b, sizeof(g->b), &val);

	return r < 0 ? r : decode(&val, ret, ret_local);
}

/* ---- directories ---- */

static size_t dir_key(const char *dir, uint8_t out[INDEX_KEY_MAX])
{
	size_t len = strlen(dir), start = DIR_KEY_LONG - 1 - sizeof(struct digest);
	struct digest d;

	out[0] = 'd'; /* LMDB has no empty keys */
	if (len + 1 < DIR_KEY_LONG) {
		memcpy(out + 1, dir, len);
		return len + 1;
	}
	digest_mem(dir, len, &d);
	memcpy(out + 1, dir, start);
	memcpy(out + 1 + start, d.b, sizeof(d.b));
	return DIR_KEY_LONG;
}

int index_mailbox_by_dir(struct index_txn *tx, const char *dir, struct guid *ret)
{
	uint8_t key[INDEX_KEY_MAX];
	struct slice val;
	int r = table_get(tx, T_DIR, key, dir_key(dir, key), &val);

	if (r < 0)
		return r;
	if (val.len != sizeof(ret->b))
		return txn_doubt(tx, MB_E_CHECKSUM);
	memcpy(ret->b, val.data, sizeof(ret->b));
	return 0;
}

/* Takes the directory out, unless it has become another mailbox's meanwhile. */
static int drop_dir(struct index_txn *tx, const char *dir, const struct guid *g)
{
	uint8_t key[INDEX_KEY_MAX];
	struct guid owner;
	int r = index_mailbox_by_dir(tx, dir, &owner);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return guid_equal(&owner, g) ? table_del(tx, T_DIR, key, dir_key(dir, key)) : 0;
}

static int put_dir(struct index_txn *tx, const struct guid *g, const char *old, const char *dir)
{
	uint8_t key[INDEX_KEY_MAX];
	int r = 0;

	if (old && (!dir || strcmp(old, dir) != 0))
		r = drop_dir(tx, old, g);
	if (r >= 0 && dir)
		r = table_put(tx, T_DIR, key, dir_key(dir, key), g->b, sizeof(g->b));
	return r;
}

/* ---- put ---- */

static int count_one(struct entry *e, void *arg)
{
	struct counters *c = arg;
	uint32_t uid = e->copy.place.uid;

	c->n_live++;
	if (uid >= c->uid_next && uid > 0 && uid < UINT32_MAX)
		c->uid_next = uid + 1;
	if (e->modseq > c->modseq)
		c->modseq = e->modseq;
	return 0;
}

/* Of a mailbox that is put for the first time: its copies may have been here before it. */
static int count_live(struct index_txn *tx, const struct guid *g, struct counters *c)
{
	return index_each_in(tx, g, 0, count_one, c);
}

/* What was written counts in the kept tree too. */
static void keep_mailbox(struct index_txn *tx, const struct mailbox *m, uint32_t uid_next)
{
	struct tree *kept = txn_tree(tx);

	if (kept)
		tree_put(kept, m)->uid_next = uid_next;
}

static int write_mailbox(struct index_txn *tx, const struct mailbox *m, const struct counters *c,
			 const struct mailbox_local *l)
{
	uint8_t head[COUNTERS_LEN];

	counters_write(c, head);
	buf_reset(&tx->value);
	buf_put(&tx->value, head, sizeof(head));
	put_local(&tx->value, l);
	mailbox_encode(m, &tx->value);
	int r = table_put(tx, T_MAILBOX, m->guid.b, sizeof(m->guid.b), tx->value.data,
			  tx->value.len);
	if (r >= 0)
		keep_mailbox(tx, m, c->uid_next);
	return r;
}

static int put_over(struct index_txn *tx, const struct mailbox *m,
		    const struct mailbox_local *local, const struct mailbox_local *old, bool known)
{
	struct counters c = {.n_live = old->n_live, .uid_next = m->uid_next, .modseq = old->modseq};
	const struct mailbox_local *l = local ? local : old;
	int r = known ? 0 : count_live(tx, &m->guid, &c);

	if (r >= 0 && l->modseq > c.modseq)
		c.modseq = l->modseq;
	if (r >= 0)
		r = put_dir(tx, &m->guid, old->dir, l->dir);
	return r < 0 ? r : write_mailbox(tx, m, &c, l);
}

int index_put_mailbox(struct index_txn *tx, const struct mailbox *m,
		      const struct mailbox_local *local)
{
	struct mailbox_local old = {0};
	int r = index_get_mailbox(tx, &m->guid, NULL, &old);

	if (r < 0 && r != -ENOENT)
		return txn_spoil(tx, r);
	r = put_over(tx, m, local, &old, r >= 0);
	mailbox_local_release(&old);
	return txn_spoil(tx, r);
}

static void keep_uid_next(struct index_txn *tx, const struct guid *mb, uint32_t uid_next)
{
	const struct tree *kept = txn_tree(tx);
	struct mailbox *m = kept ? tree_find(kept, mb) : NULL;

	if (m)
		m->uid_next = uid_next;
}

int mailbox_count(struct index_txn *tx, const struct guid *mb, int live, uint32_t uid,
		  uint64_t modseq)
{
	struct counters c, old;
	struct slice val;
	int r = table_get(tx, T_MAILBOX, mb->b, sizeof(mb->b), &val);

	if (r >= 0)
		r = counters_read(&val, &old);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	c = old;
	if (live > 0 || (live < 0 && c.n_live > 0))
		c.n_live += (uint32_t)live;
	if (uid >= c.uid_next && uid > 0 && uid < UINT32_MAX)
		c.uid_next = uid + 1;
	if (modseq > c.modseq)
		c.modseq = modseq;
	if (c.n_live == old.n_live && c.uid_next == old.uid_next && c.modseq == old.modseq)
		return 0;
	buf_reset(&tx->value);
	buf_put(&tx->value, val.data, val.len);
	counters_write(&c, tx->value.data);
	r = table_put(tx, T_MAILBOX, mb->b, sizeof(mb->b), tx->value.data, tx->value.len);
	if (r >= 0 && c.uid_next != old.uid_next)
		keep_uid_next(tx, mb, c.uid_next);
	return r;
}

/* ---- tree ---- */

static int add_node(struct index_txn *tx, const uint8_t *key, size_t len, void *arg)
{
	struct tree *t = arg;
	struct mailbox m;
	struct guid g;

	memcpy(g.b, key, sizeof(g.b));
	int r = index_get_mailbox(tx, &g, &m, NULL);
	if (r < 0)
		return r;
	MB_GROW(t->nodes, t->cap, t->n + 1);
	t->nodes[t->n++] = m; /* keys come as guid_compare() sorts */
	return 0;
}

static struct index_txn *writer_of(struct index_txn *tx)
{
	return tx->borrowed ? tx->ix->shared : tx->write ? tx : NULL;
}

struct tree *txn_tree(struct index_txn *tx)
{
	const struct index_txn *writer = writer_of(tx);

	return writer ? writer->tree : NULL;
}

int index_tree(struct index_txn *tx, struct tree *ret)
{
	struct index_txn *writer = writer_of(tx);
	struct tree t = {0};
	bool kept = writer ? writer->tree != NULL : index_kept_tree(tx, &t);

	if (writer && kept)
		tree_clone(&t, writer->tree);
	if (kept) {
		*ret = t;
		return 0;
	}
	int r = table_walk(tx, T_MAILBOX, NULL, 0, NULL, 0, add_node, &t);

	if (r < 0) {
		tree_release(&t);
		return r;
	}
	if (writer) {
		writer->tree = mb_xcalloc(1, sizeof(*writer->tree));
		tree_clone(writer->tree, &t);
	}
	*ret = t;
	return 0;
}
