/*
 * index-check.c - is the index whole?  Every value checks, keys ascend, tables point at what is there.
 *
 * Asked when something was not found that has to be there: bytes that were damaged can take keys away
 * without a trace, and no checksum of a value tells.  Reads all of it, once.
 */
#include "backends/store/index-private.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include <errno.h>
#include <string.h>

struct check {
	struct index_txn *tx;
	size_t keys[T_COUNT]; /* that entries and mailboxes have in the other tables */
};

static int check_copy(struct check *c, const MDB_val *k)
{
	struct entry e;
	struct guid g;
	uint64_t id;
	int r;

	if (k->mv_size != COPY_KEY_LEN)
		return MB_E_CHECKSUM;
	copy_key_read(k->mv_data, &g, &id);
	r = index_get_entry(c->tx, &g, id, &e);
	if (r < 0)
		return r;
	r = entry_check_keys(c->tx, &e, c->keys);
	if (r >= 0 && e.state != ENTRY_DEAD)
		r = index_get_mailbox(c->tx, &e.copy.place.mailbox, NULL, NULL);
	entry_release(&e);
	return r;
}

static int count_key(struct index_txn *tx, const uint8_t *key, size_t len, void *arg)
{
	(void)tx, (void)key, (void)len;
	++*(uint32_t *)arg;
	return 0;
}

static int check_mailbox(struct check *c, const MDB_val *k)
{
	struct mailbox_local local = {0};
	struct mailbox m = {0};
	struct guid g, owner;
	uint32_t live = 0;
	int r;

	if (k->mv_size != sizeof(g.b))
		return MB_E_CHECKSUM;
	memcpy(g.b, k->mv_data, sizeof(g.b));
	r = index_get_mailbox(c->tx, &g, &m, &local);
	if (r >= 0 && !guid_is_zero(&m.parent))
		r = index_get_mailbox(c->tx, &m.parent, NULL, NULL);
	if (r >= 0)
		r = table_walk(c->tx, T_UID, g.b, sizeof(g.b), NULL, 0, count_key, &live);
	if (r >= 0 && live != local.n_live)
		r = MB_E_CHECKSUM;
	if (r >= 0 && local.dir) {
		c->keys[T_DIR]++;
		r = index_mailbox_by_dir(c->tx, local.dir, &owner);
		if (r >= 0 && !guid_equal(&owner, &g))
			r = MB_E_CHECKSUM;
	}
	mailbox_release(&m);
	mailbox_local_release(&local);
	return r;
}

static bool ascends(const struct buf *before, const MDB_val *k)
{
	size_t least = before->len < k->mv_size ? before->len : k->mv_size;
	int order = least ? memcmp(before->data, k->mv_data, least) : 0;

	return order ? order < 0 : before->len < k->mv_size;
}

static int check_value(struct check *c, enum table t, MDB_val *k, MDB_val *v, struct buf *before)
{
	struct slice val;
	int r = k->mv_size > INDEX_KEY_MAX || !ascends(before, k) ? MB_E_CHECKSUM : 0;

	if (r >= 0)
		r = txn_doubt(c->tx, table_check(t, k, v, &val));
	if (r >= 0 && t == T_COPY)
		r = check_copy(c, k);
	if (r >= 0 && t == T_MAILBOX)
		r = check_mailbox(c, k);
	if (r >= 0) {
		buf_reset(before);
		buf_put(before, k->mv_data, k->mv_size);
	}
	return r;
}

static int check_table(struct check *c, enum table t)
{
	BUF_AUTO struct buf before = BUF_INIT;
	size_t n = 0, count = table_count(c->tx, t);
	MDB_cursor *cursor;
	MDB_val k, v;
	int r = mdb_cursor_open(c->tx->txn, c->tx->ix->dbi[t], &cursor), err = 0;

	if (r)
		return index_error(r);
	for (r = mdb_cursor_get(cursor, &k, &v, MDB_FIRST); !r && err >= 0 && n <= count;
	     r = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
		err = check_value(c, t, &k, &v, &before);
		n++;
	}
	mdb_cursor_close(cursor);
	if (err >= 0 && r != MDB_NOTFOUND)
		err = index_error(r);
	return err < 0 ? err : n == count ? 0 : MB_E_CHECKSUM;
}

int index_check(struct index_txn *tx)
{
	static const enum table pointing[] = {T_UID, T_NAME, T_DIGEST, T_ORDINAL, T_DIR};
	struct check c = {.tx = tx};
	int r = 0;

	index_lmdb_enter();
	for (int t = 0; t < T_COUNT && r >= 0; t++)
		r = check_table(&c, (enum table)t);
	for (size_t i = 0; i < sizeof(pointing) / sizeof(*pointing) && r >= 0; i++)
		if (table_count(tx, pointing[i]) != c.keys[pointing[i]])
			r = MB_E_CHECKSUM;
	index_lmdb_leave();
	return r < 0 ? MB_E_CHECKSUM : 0;
}
