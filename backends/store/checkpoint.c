/*
 * checkpoint.c - writes the state of the index as a checkpoint, and lets old files go.
 *
 * What may go is told by retain.c.  Tombstones leave the index in the transaction in which the
 * checkpoint is written, which is without them; should it not come to that, the checkpoint before has
 * them still, which does no harm.  Kept bodies go with `keep`, as history does.
 */
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

struct ckpt_state {
	struct store *s;
	struct index_txn *tx;
	struct ckpt_writer *w;
	struct stamp at;
};

static int add(struct ckpt_state *c, struct record *r)
{
	r->at = c->at;
	r->origin.replica = c->s->replica;
	return ckpt_add(c->w, r);
}

static int add_identity(struct ckpt_state *c)
{
	struct record r = {.type = REC_REPLICA, .replica_id = c->s->replica, .store_id = c->s->id};
	uint8_t le[8] = {0};
	int err = index_meta_get(c->tx, "forgotten", le, sizeof(le));

	r.forgotten = get_le64(le);
	return err < 0 && err != -ENOENT ? err : add(c, &r);
}

static int add_mailboxes(struct ckpt_state *c)
{
	struct tree t = {0};
	int err = index_tree(c->tx, &t);

	for (size_t i = 0; i < t.n && err >= 0; i++) {
		struct record r = {.type = REC_MAILBOX_STATE};
		MB_AUTO_FREE char *dir = NULL;

		mailbox_clone(&r.mailbox, &t.nodes[i]);
		if (mailbox_dir(c->tx, &t.nodes[i].guid, &dir) == 0)
			r.new_name = mb_xasprintf("=%s", dir);
		err = add(c, &r);
		record_release(&r);
	}
	tree_release(&t);
	return err;
}

static int add_copy(struct entry *e, void *arg)
{
	struct ckpt_state *c = arg;
	struct record r = {.type = REC_COPY_STATE};
	int err;

	copy_clone(&r.copy, &e->copy);
	r.ordinal = e->ordinal;
	if (e->file)
		r.new_name = mb_xasprintf("%s/%s", e->in_new ? "new" : "cur", e->file);
	err = add(c, &r);
	if (err >= 0 && copy_alive(&e->copy) && e->state != ENTRY_PRESENT) {
		r.type = e->state == ENTRY_DAMAGED ? REC_DAMAGED : REC_LOST;
		err = add(c, &r);
	}
	record_release(&r);
	return err;
}

static int add_alias(const struct guid *from, const struct guid *to, void *arg)
{
	struct ckpt_state *c = arg;
	struct record r = {.type = REC_ALIAS, .old_guid = *from};

	r.copy.guid = *to;
	return add(c, &r);
}

static int add_entry(struct peer_entry *e, void *arg)
{
	struct record r = {.type = REC_PEER_ENTRY, .entry = *e};

	return add(arg, &r); /* borrows what e owns */
}

static int add_peer(struct peer_state *p, void *arg)
{
	struct ckpt_state *c = arg;
	struct record r = {.type = REC_PEER, .peer = *p};
	int err = add(c, &r);

	return err < 0 ? err : index_each_peer_entry(c->tx, p->replica, NULL, add_entry, c);
}

static int write_checkpoint(struct ckpt_state *c)
{
	struct position end;
	int err = log_end(c->s->log, &end);

	if (err >= 0)
		err = ckpt_begin(c->s->log, &end, &c->w);
	if (err < 0)
		return err;
	c->at = hlc_now(&c->s->clock);
	err = add_identity(c);
	if (err >= 0)
		err = add_mailboxes(c);
	if (err >= 0)
		err = index_each_alias(c->tx, add_alias, c);
	if (err >= 0)
		err = index_each(c->tx, add_copy, c);
	if (err >= 0)
		err = index_each_peer(c->tx, add_peer, c);
	if (err < 0) {
		ckpt_abort(c->w);
		return err;
	}
	return ckpt_commit(c->w);
}

/* ---- kept bodies ---- */

struct expire {
	int dir;
	int64_t before_ns;
};

static int expire_body(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	struct expire *x = arg;
	struct stat st;

	(void)type;
	(void)ino;
	/* ctime: when it was renamed here */
	if (at_stat(x->dir, name, &st) < 0 || !S_ISREG(st.st_mode) ||
	    clock_timespec_ns(&st.st_ctim) >= x->before_ns)
		return 0;
	return io_unlinkat(x->dir, name, 0);
}

static int expire_dir(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	struct expire *x = arg;
	struct expire inner = {.before_ns = x->before_ns};
	MB_AUTO_CLOSE int fd = at_open(x->dir, name, O_RDONLY | O_DIRECTORY, 0);

	(void)type;
	(void)ino;
	if (fd < 0)
		return 0;
	inner.dir = fd;
	return at_list(fd, expire_body, &inner);
}

static int checkpoint_locked(struct store *s, int64_t keep_ns)
{
	struct ckpt_state c = {.s = s};
	struct retention r = {.keep_before_ns = clock_wall_ns() - keep_ns};
	struct expire x = {.dir = s->deleted_fd, .before_ns = r.keep_before_ns};
	int err = change_begin(s, &c.tx); /* nothing else is written meanwhile */

	if (err < 0)
		return err;
	err = retain_peers(s, c.tx, &r);
	if (err >= 0)
		err = retain_tombstones(s, c.tx, &r);
	if (err >= 0)
		err = log_flush(s->log);
	if (err >= 0)
		err = write_checkpoint(&c);
	err = change_end(s, c.tx, err);
	if (err >= 0)
		err = log_rotate(s->log);
	if (err >= 0)
		err = retain_log(s, &r);
	if (err >= 0)
		err = at_list(s->deleted_fd, expire_dir, &x);
	return err < 0 ? err : 0;
}

#define DAY_NS (24ll * 3600 * 1000000000)
#define LARGE_BYTES (48ull << 20)

struct current_file {
	uint32_t sequence;
	int64_t created_ns;
};

static int note_current(uint32_t sequence, int64_t created_ns, uint64_t size, void *arg)
{
	struct current_file *c = arg;

	(void)size;
	if (sequence == c->sequence)
		c->created_ns = created_ns;
	return 0;
}

/* A checkpoint begins a log file: one is due when the current one is a day old, or large. */
static bool is_due(struct store *s, int64_t now)
{
	struct current_file c = {.sequence = log_sequence(s->log), .created_ns = now};

	if (log_files(s->log, note_current, &c) < 0)
		return false;
	return now - c.created_ns > DAY_NS || log_file_size(s->log) > LARGE_BYTES;
}

int checkpoint_if_due(struct store *s)
{
	if (!s->dirty || s->behind || !is_due(s, clock_wall_ns()))
		return 0;
	return checkpoint_locked(s, STORE_KEEP_DELETED_NS);
}

int store_checkpoint(struct store *s, int64_t keep_ns)
{
	int err;

	store_lock(s);
	err = checkpoint_locked(s, keep_ns);
	store_unlock(s);
	return err;
}
