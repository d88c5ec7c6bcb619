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
	struct position last;
	int failed; /* what replay_one() gave: not the log's fault */
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
	r->failed = err < 0 ? err : 0;
	return r->failed;
}

/* Directories of mailboxes that a checkpoint's line carries in new_name ("=DIR"). */
static int replay_ckpt(const struct record *rec, const struct position *end, uint64_t modseq,
		       void *arg)
{
	struct replay *r = arg;
	int err = replay_one(rec, end, modseq, arg);

	if (err >= 0 && rec->type == REC_MAILBOX_STATE && rec->new_name && rec->new_name[0] == '=')
		err = mailbox_set_dir(r->s, r->tx, &rec->mailbox.guid, rec->new_name + 1);
	r->failed = err < 0 ? err : 0;
	return r->failed;
}

static int ckpt_nothing(const struct record *rec, const struct position *end, uint64_t modseq,
			void *arg)
{
	return 0;
}

static int replay_end(struct replay *r, int err)
{
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
	int err = log_read(s->log, since, replay_one, &r, &r.last);

	if (err == MB_E_CHECKSUM && !r.failed) {
		mb_msg(MB_WARNING,
		       "log: damaged records were passed over; a full comparison with each "
		       "peer repairs what they held");
		err = 0;
	}
	return replay_end(&r, err);
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
		err = replay_log(s, &at);
	if (err >= 0)
		s->behind = false;
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

/* The log starts in the middle and no checkpoint covers what was before: files are all we have. */
static int rebuild_from_log(struct store *s, struct replay *r, const struct position *ckpt)
{
	struct position start;
	int err;

	if (ckpt)
		return log_read(s->log, ckpt, replay_one, r, &r->last);
	err = log_start(s->log, &start);
	if (err < 0)
		return err == -ENOENT ? 0 : err;
	return log_read(s->log, &start, replay_one, r, &r->last);
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
		err = rebuild_from_log(s, &r, ckpt);
	if (!r.failed && (err == MB_E_CHECKSUM || err == MB_E_POSITION)) {
		mb_msg(MB_WARNING,
		       "log: part of it is damaged or gone; what it held is taken from the "
		       "files and, at the next sync, from each peer");
		err = 0;
	}
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
