/*
 * change.c - the one way to write the log and the index, and the queue of events.
 *
 * A change is: files (by the caller), then change_record() for each record, then change_end().
 * The index remembers up to which log position it has everything; what a stop leaves between the
 * log and the index is replayed at the next start (recover.c).  The changes that mail programs make all
 * day reach the index a little later, many at once (later.c).
 */
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <string.h>

void store_lock(struct store *s)
{
	pthread_mutex_lock(&s->lock);
}

static struct queued_event *events_take(struct store *s)
{
	pthread_mutex_lock(&s->queue_lock);
	struct queued_event *e = MB_TAKE(s->events);

	s->events_tail = &s->events;
	pthread_mutex_unlock(&s->queue_lock);
	return e;
}

static void events_deliver(struct store *s)
{
	pthread_mutex_lock(&s->event_lock);
	for (struct queued_event *e = events_take(s), *next; e; e = next) {
		next = e->next;
		if (s->listener)
			s->listener(&e->e, s->listener_arg);
		free((char *)(uintptr_t)e->e.path);
		free((char *)(uintptr_t)e->e.old_path);
		free(e);
	}
	pthread_mutex_unlock(&s->event_lock);
}

/* Somebody who looks at the tree is told once that there is something to find. */
static bool wake_is_due(struct store *s)
{
	bool due = s->rescan || s->recheck, told = s->woken;

	s->woken = due;
	return due && !told && s->watch_wake;
}

void store_unlock(struct store *s)
{
	bool any;

	if (wake_is_due(s))
		s->watch_wake(s->wake_arg);
	pthread_mutex_lock(&s->queue_lock);
	any = s->events != NULL;
	pthread_mutex_unlock(&s->queue_lock);
	pthread_mutex_unlock(&s->lock);
	if (any)
		events_deliver(s);
}

void store_set_listener(struct store *s, store_listener *fn, void *arg)
{
	store_lock(s);
	s->listener = fn;
	s->listener_arg = arg;
	store_unlock(s);
}

void change_event(struct store *s, int what, const char *path, const char *old_path,
		  bool retired_by_peer)
{
	struct queued_event *q;

	if (!s->listener)
		return;
	q = mb_xcalloc(1, sizeof(*q));
	q->e.what = what;
	q->e.path = mb_xstrdup(path);
	q->e.old_path = old_path ? mb_xstrdup(old_path) : NULL;
	q->e.retired_by_peer = retired_by_peer;
	pthread_mutex_lock(&s->queue_lock);
	*s->events_tail = q;
	s->events_tail = &q->next;
	pthread_mutex_unlock(&s->queue_lock);
}

int store_mark_dirty(struct store *s)
{
	struct store_state st = {.clean = false, .place = s->place};
	int err;

	if (s->dirty)
		return 0;
	clock_boot_id(st.boot);
	err = state_write(s->dir_fd, &st);
	if (err == -ENOSPC || err == -EDQUOT)
		err = state_unclean(s->dir_fd);
	if (err < 0)
		return err;
	s->dirty = true;
	return 0;
}

/* ---- batches ---- */

#define BATCH_MAX 256 /* changes in one transaction of the index */

void store_batch_begin(struct store *s)
{
	s->batching = s->mode == STORE_WRITE && !s->flusher;
}

/* Commits what is open. */
static int batch_settle(struct store *s)
{
	struct index_txn *tx = MB_TAKE(s->batch.tx);
	int err;

	if (!tx)
		return 0;
	index_share(s->index, NULL);
	err = index_commit(tx);
	if (err >= 0)
		s->behind = false;
	return err;
}

/* What was open is given up: the log has it. */
static void batch_drop(struct store *s)
{
	index_share(s->index, NULL);
	index_abort(MB_TAKE(s->batch.tx));
}

int change_settle(struct store *s)
{
	int err = batch_settle(s);

	if (err < 0) {
		s->rescan = true;
		err = index_catch_up(s);
	}
	return err;
}

int store_batch_end(struct store *s)
{
	int err = change_settle(s);

	s->batching = false;
	return err;
}

/* Ends one change of a batch.  true: all is well with the batch and the change. */
static bool batch_end_change(struct store *s, int err, int *ret_failed)
{
	if (err < 0 && index_writes(s->batch.tx) == s->batch.writes &&
	    s->appended == s->batch.appended)
		return true; /* it left no trace */
	if (err < 0)
		batch_drop(s);
	else if (++s->batch.n >= BATCH_MAX)
		*ret_failed = batch_settle(s);
	return err >= 0 && *ret_failed >= 0;
}

static int batch_open(struct store *s, struct index_txn **ret)
{
	if (!s->batch.tx) {
		int err = index_begin(s->index, true, &s->batch.tx);

		if (err < 0)
			return err;
		s->batch.n = 0;
	}
	index_share(s->index, s->batch.tx);
	s->batch.writes = index_writes(s->batch.tx);
	s->batch.appended = s->appended;
	*ret = s->batch.tx;
	return 0;
}

/* ---- changes ---- */

int change_begin(struct store *s, struct index_txn **ret)
{
	int err;

	*ret = s->trial.tx;
	change_begin_call(s);
	if (s->trial.scanning)
		return 0;
	if (s->mode != STORE_WRITE)
		return -EROFS;
	if (s->batch.tx)
		return batch_open(s, ret);
	later_settle(s);
	err = store_mark_dirty(s);
	if (err == 0 && s->behind)
		err = index_catch_up(s);
	if (err < 0)
		return err;
	return s->batching ? batch_open(s, ret) : index_begin(s->index, true, ret);
}

#define LOG_ROOM ((uint64_t)64 << 10)
#define INDEX_ROOM ((uint64_t)256 << 10)

int change_room(struct store *s, enum room room)
{
	int err = 0;

	if (s->mode != STORE_WRITE)
		return 0;
	err = log_reserve(s->log, LOG_ROOM / ROOM_ALL * room);
	if (err >= 0) /* the time of the data file moves, by which a clean state knows it */
		err = store_mark_dirty(s);
	return err < 0 ? err : index_reserve(s->index, INDEX_ROOM / ROOM_ALL * room);
}

int change_keep_room(struct store *s)
{
	struct store_state st;
	bool clean = !s->dirty && state_read(s->dir_fd, &st) >= 0 && st.clean;
	int err = change_room(s, ROOM_ALL);

	if (err < 0 || !clean || !s->dirty)
		return err;
	st.index = index_stamp_now(s->dir_fd);
	err = state_write(s->dir_fd, &st);
	s->dirty = err < 0;
	return err;
}

int change_begin_with(struct store *s, enum room room, struct index_txn **ret)
{
	int err = change_room(s, room);

	return err < 0 ? err : change_begin(s, ret);
}

/* May a dovecot-uidlist lack something after it? */
static bool gives_uids(enum record_type type)
{
	return type < REC_PEER && type != REC_FLAGS && type != REC_EXPUNGE && type != REC_DIGEST;
}

static void stamp_record(struct store *s, struct record *r)
{
	if (stamp_is_none(&r->at))
		r->at = hlc_now(&s->clock);
	else
		hlc_see(&s->clock, &r->at);
	if (!r->origin.replica)
		r->origin.replica = s->replica;
}

int change_append(struct store *s, struct record *r, struct position *ret_end, uint64_t *ret_modseq)
{
	int err;

	stamp_record(s, r);
	if (log_file_size(s->log) > LOG_ROTATE_BYTES) {
		err = log_rotate(s->log);
		if (err < 0 && err != -ENOSPC) /* a full disk may have room in this file */
			return err;
	}
	err = log_append(s->log, r, ret_end, ret_modseq);
	if (err == MB_E_LOG_DEAD) {
		err = log_rotate(s->log);
		if (err == 0)
			err = log_append(s->log, r, ret_end, ret_modseq);
	}
	if (err < 0)
		return err;
	s->appended++;
	s->uidlists_due |= gives_uids(r->type);
	s->tree_touched = true;
	flusher_want(s->flusher);
	return 0;
}

int change_record(struct store *s, struct index_txn *tx, struct record *r)
{
	struct position end;
	uint64_t modseq;
	int err;

	if (s->trial.tx) {
		stamp_record(s, r);
		return trial_record(s, r);
	}
	err = change_append(s, r, &end, &modseq);
	if (err < 0)
		return err;
	s->behind = true; /* until the commit */
	err = index_apply(tx, r, modseq);
	return err < 0 ? err : index_write_applied(tx, &end);
}

static int commit(struct store *s, struct index_txn *tx)
{
	int err = index_commit(tx);

	if (err == 0)
		s->behind = false;
	return err;
}

int change_end(struct store *s, struct index_txn *tx, int err)
{
	int failed = 0;

	if (s->trial.scanning)
		return err;
	if (tx == s->batch.tx) {
		if (batch_end_change(s, err, &failed))
			return err;
	} else if (err >= 0) {
		failed = commit(s, tx);
	} else {
		index_abort(tx);
	}
	if (err == MB_E_CHECKSUM || failed == MB_E_CHECKSUM)
		s->index_bad = true;
	if (s->behind) {
		int late;

		s->rescan = true; /* what only the index knew is looked at again */
		late = index_catch_up(s);
		if (late < 0)
			mb_msg(MB_ERROR,
			       "index: cannot follow the log, tried again before the "
			       "next change: error=%s",
			       mb_err_str(late));
		if (late >= 0 || s->appended != s->begun)
			failed = 0; /* files and log have it */
	}
	return failed < 0 ? failed : err;
}

void change_stays(struct store *s)
{
	s->stays = s->rescan = true;
}

void change_begin_call(struct store *s)
{
	s->begun = s->appended;
	s->stays = false;
}

/* Was anything changed that stays? */
static bool left_trace(const struct store *s)
{
	return s->appended != s->begun || s->stays;
}

int change_answer(struct store *s, int err)
{
	if (err >= 0 || !left_trace(s))
		return err;
	s->rescan = true;
	return 0;
}

int change_end_call(struct store *s, struct index_txn *tx, int err)
{
	int ended = change_end(s, tx, err);

	if (ended >= 0 || (err < 0 && !left_trace(s)))
		return ended;
	s->rescan = true;
	return err > 0 ? err : 0;
}

int index_read_applied(struct index_txn *tx, struct position *ret)
{
	uint8_t bytes[64] = {0};
	struct reader r;
	int err = index_meta_get(tx, "applied", bytes, sizeof(bytes));

	if (err < 0)
		return err;
	r = reader_of(bytes, sizeof(bytes));
	return position_decode(&r, ret) ? 0 : MB_E_FORMAT;
}

int index_write_applied(struct index_txn *tx, const struct position *p)
{
	BUF_AUTO struct buf b = BUF_INIT;
	uint8_t bytes[64] = {0};

	position_encode(p, &b);
	if (b.len > sizeof(bytes))
		return MB_E_FORMAT;
	memcpy(bytes, b.data, b.len);
	return index_meta_put(tx, "applied", bytes, sizeof(bytes));
}

int store_applied(struct store *s, struct position *ret)
{
	struct index_txn *tx;
	int err = index_begin(s->index, false, &tx);

	if (err < 0)
		return err;
	err = index_read_applied(tx, ret);
	index_abort(tx);
	return err;
}
