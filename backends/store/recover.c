/*
 * recover.c - brings the index to where the log is.
 *
 * After a clean stop the index is believed.  After a kill in the same boot its last commit is whole
 * (its pages are in the page cache) and the rest of the log is replayed.  After a power cut, or when
 * it is missing, damaged or newer, it is set aside and built anew from the newest checkpoint and the
 * log; the scan that follows finds the files.
 */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define REPLAY_BATCH 1000

struct replay {
	struct store *s;
	struct index_txn *tx;
	uint32_t in_batch;
	uint64_t ckpt_modseq; /* modseq of the checkpoint's lines */
	/* What the log has lost. */
	uint64_t bytes;
	unsigned places;
	struct log_loss first;
};

static int next_batch(struct replay *r)
{
	int err;

	if (r->tx && r->in_batch < REPLAY_BATCH)
		return 0;
	if (r->tx) {
		err = index_commit(MB_TAKE(r->tx));
		if (err < 0)
			return err;
	}
	r->in_batch = 0;
	return index_begin(r->s->index, true, &r->tx);
}

static int replay_one(const struct record *rec, const struct position *end, uint64_t modseq,
		      void *arg)
{
	struct replay *r = arg;
	int err = next_batch(r);

	if (err >= 0)
		err = index_apply(r->tx, rec, modseq ? modseq : r->ckpt_modseq);
	if (err == MB_E_VERSION)
		mb_msg(MB_ERROR, "log: a record of a newer version type=%d", (int)rec->type);
	if (err == MB_E_FORMAT) {
		mb_msg(MB_WARNING, "log: a record without sense passed over type=%d",
		       (int)rec->type);
		err = 0;
	}
	if (err >= 0 && modseq)
		err = index_write_applied(r->tx, end);
	r->in_batch++;
	return err < 0 ? err : 0;
}

/* A log that could not be read from the checkpoint on is read from its start: what is older says
 * nothing that the checkpoint does not know better. */
static int replay_newer(const struct record *rec, const struct position *end, uint64_t modseq,
			void *arg)
{
	struct replay *r = arg;

	return modseq && modseq <= r->ckpt_modseq ? 0 : replay_one(rec, end, modseq, arg);
}

/* Directories of mailboxes that a checkpoint's line carries in new_name ("=DIR"). */
static int replay_ckpt(const struct record *rec, const struct position *end, uint64_t modseq,
		       void *arg)
{
	struct replay *r = arg;
	int err = replay_one(rec, end, modseq, arg);

	if (err >= 0 && rec->type == REC_MAILBOX_STATE && rec->new_name && rec->new_name[0] == '=')
		err = mailbox_set_dir(r->s, r->tx, &rec->mailbox.guid, rec->new_name + 1);
	return err < 0 ? err : 0;
}

static int ckpt_nothing(const struct record *rec, const struct position *end, uint64_t modseq,
			void *arg)
{
	return 0;
}

/* ---- a log that has lost something ---- */

static void note_loss(const struct log_loss *loss, void *arg)
{
	struct replay *r = arg;

	if (!r->places++)
		r->first = *loss;
	r->bytes += loss->bytes;
}

static int forget_positions(struct peer_state *p, void *arg)
{
	struct replay *r = arg;

	p->local = p->remote = (struct position){0};
	p->n_scopes = 0;
	return index_put_peer(r->tx, p);
}

/* Known from later records only, and none of them names its file: the scan looks for it. */
static int look_for_file(struct entry *e, void *arg)
{
	struct replay *r = arg;

	if (e->file || !copy_alive(&e->copy) || !e->copy.place.base ||
	    !fname_is_message(e->copy.place.base))
		return 0;
	e->state = ENTRY_LOST;
	e->file = mb_xstrdup(e->copy.place.base);
	return index_put_entry(r->tx, e);
}

/* What the lost records said may be known to a peer, so each is compared with in full. */
static int replay_loss(struct replay *r)
{
	int err = next_batch(r);

	mb_msg(MB_WARNING,
	       "log: %llu bytes in %u places are damaged or gone and were passed over; what they "
	       "held is taken from the files and, by a full comparison at the next sync, from each "
	       "peer; look whether the disk is failing first=%08u.log offset=%llu",
	       (unsigned long long)r->bytes, r->places, r->first.sequence,
	       (unsigned long long)r->first.offset);
	r->s->log_lost = true;
	if (err >= 0)
		err = index_each_peer(r->tx, forget_positions, r);
	return err < 0 ? err : index_each(r->tx, look_for_file, r);
}

static int replay_end(struct replay *r, int err)
{
	if (err >= 0 && r->places)
		err = replay_loss(r);
	if (!r->tx)
		return err;
	if (err < 0) {
		index_abort(r->tx);
		return err;
	}
	return index_commit(r->tx);
}

static int replay_log(struct store *s, const struct position *since)
{
	struct replay r = {.s = s};

	return replay_end(&r, log_salvage(s->log, since, replay_one, &r, note_loss, &r));
}

static int catch_up(struct store *s)
{
	struct index_txn *tx;
	struct position at;
	int err = index_begin(s->index, false, &tx);

	if (err < 0)
		return err;
	err = index_read_applied(tx, &at);
	index_abort(tx);
	if (err == -ENOENT)
		err = log_start(s->log, &at);
	if (err == -ENOENT)
		return 0; /* an empty log */
	if (err >= 0)
		err = log_check(s->log, &at);
	if (err >= 0)
		err = replay_log(s, &at);
	if (err >= 0) {
		s->behind = false;
		later_caught_up(s);
	}
	return err;
}

int index_catch_up(struct store *s)
{
	int err = catch_up(s);

	return err < 0 ? err : recover_dirs(s, false);
}

/* ---- building anew ---- */

static int set_index_aside(struct store *s)
{
	int err;

	if (s->index)
		index_close(MB_TAKE(s->index));
	s->index_bad = false;
	err = at_remove_tree(s->dir_fd, "index.old");
	if (err < 0 && err != -ENOENT)
		return err;
	err = io_renameat(s->dir_fd, "index", s->dir_fd, "index.old");
	return err == -ENOENT ? 0 : err;
}

static int open_index(struct store *s)
{
	MB_AUTO_FREE char *path = mb_xasprintf("%s/index", s->dir);
	int err = io_mkdirat(s->dir_fd, "index", 0700);

	if (err < 0 && err != -EEXIST)
		return err;
	return index_open(path, true, &s->index);
}

static int rebuild(struct store *s)
{
	struct replay r = {.s = s};
	struct position at, *ckpt = NULL;
	int err = ckpt_load(s->log, ckpt_nothing, NULL, &at);

	if (err >= 0) {
		r.ckpt_modseq = log_modseq(s->log, &at);
		err = ckpt_load(s->log, replay_ckpt, &r, &at);
	}
	if (err >= 0) {
		ckpt = &at;
		err = next_batch(&r);
		if (err >= 0)
			err = index_write_applied(r.tx, &at);
	} else if (err == -ENOENT) {
		err = 0;
	}
	if (err >= 0)
		err = log_salvage(s->log, ckpt, replay_newer, &r, note_loss, &r);
	return replay_end(&r, err);
}

int recover_anew(struct store *s)
{
	int err = store_mark_dirty(s);

	if (err >= 0)
		err = set_index_aside(s);
	if (err >= 0)
		err = open_index(s);
	if (err >= 0)
		err = rebuild(s);
	if (err >= 0)
		err = recover_dirs(s, true);
	if (err >= 0)
		at_remove_tree(s->dir_fd, "index.old");
	return err;
}

static bool index_is_useful(struct store *s)
{
	struct index_txn *tx;
	struct position at;
	int err = index_begin(s->index, false, &tx);

	if (err < 0)
		return false;
	err = index_read_applied(tx, &at);
	index_abort(tx);
	return err == 0 && log_check(s->log, &at) == 0;
}

/* Without it the past is forgotten: what was expunged may come back from a peer that missed it. */
void recover_tell(const struct store *s, const struct position *end)
{
	struct position at;

	if (!position_is_none(end) && log_start(s->log, &at) == 0 && position_is_none(&at))
		mb_msg(MB_WARNING,
		       "the log files are gone or cannot be read: what they told beyond the newest "
		       "checkpoint is taken from the files and, by a full comparison at the next "
		       "sync, from each peer; mail that was expunged may come back store=%s",
		       s->dir);
}

/* `trusted`: a clean stop, or a kill in this same boot. */
int recover_index(struct store *s, bool trusted)
{
	int err = trusted ? open_index(s) : MB_E_CHECKSUM;

	if (err == 0 && !index_is_useful(s)) {
		index_close(MB_TAKE(s->index));
		err = MB_E_CHECKSUM;
	}
	if (err == 0) {
		err = catch_up(s);
		if (err == MB_E_VERSION) /* of a record, not of the index */
			return err;
	}
	if (err == MB_E_CHECKSUM || err == MB_E_FORMAT || err == MB_E_VERSION ||
	    err == MB_E_POSITION)
		err = recover_anew(s);
	return err;
}
