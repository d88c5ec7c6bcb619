/*
 * trial.c - a store that is looked at, scan and all, while nothing of it is written.
 *
 * One write transaction of the index is open from the first to the last moment and all reads of this
 * process see it (index_share()); it is never committed.  The records that a writer would append to the log are
 * kept in memory.  Only a store that was closed cleanly can be opened so: anything else has to be
 * recovered first, and that writes.  Should something else try to write, io_set_read_only() stops it.
 *
 * LMDB may put pages of a transaction that outgrows its memory (hundreds of MB) into unused places of
 * its file; to whoever opens it next they are unused still.
 */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <fcntl.h>

/* The writer's lock, without a word in its file. */
static int take_lock(struct store *s)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	s->lock_fd = openat(s->dir_fd, "lock", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (s->lock_fd < 0)
		return errno == ENOENT ? MB_E_UNCLEAN : -errno;
	if (fcntl(s->lock_fd, F_OFD_SETLK, &l) < 0)
		return errno == EAGAIN || errno == EACCES ? MB_E_LOCKED : -errno;
	return 0;
}

static int check_clean(struct store *s)
{
	struct store_state st = {0};
	int err = state_read(s->dir_fd, &st);

	if (err < 0)
		return err == -ENOENT ? MB_E_UNCLEAN : err;
	s->was_clean = st.clean;
	return st.clean ? 0 : MB_E_UNCLEAN;
}

static int not_applied(const struct record *r, const struct position *end, uint64_t modseq,
		       void *arg)
{
	(void)r, (void)end, (void)modseq, (void)arg;
	return MB_E_UNCLEAN;
}

/* Has the index all that the log has, and is the next modseq known? */
static int check_index(struct store *s)
{
	struct position applied, end;
	int err = index_read_applied(s->trial.tx, &applied);

	if (err >= 0)
		err = log_end(s->log, &end);
	if (err >= 0)
		err = log_read(s->log, &applied, not_applied, NULL, NULL);
	if (err < 0)
		return err == -ENOENT || err == -EINVAL || err == MB_E_POSITION ? MB_E_UNCLEAN
										: err;
	s->trial.modseq = log_modseq(s->log, &end);
	return 0;
}

static int open_index(struct store *s)
{
	MB_AUTO_FREE char *path = mb_xasprintf("%s/index", s->dir);
	int err = at_open(s->dir_fd, "index/data.mdb", O_RDONLY, 0);

	if (err < 0)
		return err == -ENOENT ? MB_E_UNCLEAN : err;
	close(err);
	err = index_open(path, true, &s->index);
	if (err >= 0)
		err = index_begin(s->index, true, &s->trial.tx);
	if (err >= 0)
		index_share(s->index, s->trial.tx);
	return err == MB_E_FORMAT ? MB_E_UNCLEAN : err;
}

static int load_identity(struct store *s)
{
	struct index_txn *tx = s->trial.tx;
	uint64_t clock = 0;
	int err = index_meta_get(tx, "replica", &s->replica, sizeof(s->replica));

	if (err >= 0)
		err = index_get_mailbox(tx, &GUID_INBOX, NULL, NULL);
	index_meta_get(tx, "clock", &clock, sizeof(clock));
	index_meta_get(tx, "ordinal", &s->ordinal, sizeof(s->ordinal));
	s->clock = (struct hlc){.last = clock, .replica = s->replica};
	return err == -ENOENT ? MB_E_UNCLEAN : err;
}

int trial_open(struct store *s)
{
	int err = take_lock(s);

	if (err >= 0)
		err = check_clean(s);
	if (err >= 0)
		err = log_open(s->log_fd, &s->id, &s->log);
	if (err >= 0)
		err = open_index(s);
	if (err >= 0)
		err = check_index(s);
	if (err >= 0)
		err = load_identity(s);
	if (err >= 0)
		err = held_load(s);
	return err < 0 ? err : scan_quietly(s, false, &s->opening);
}

int trial_record(struct store *s, const struct record *r)
{
	MB_GROW(s->trial.records, s->trial.cap, s->trial.n + 1);
	s->trial.records[s->trial.n] = (struct record){.type = REC_NONE};
	record_clone(&s->trial.records[s->trial.n++], r);
	s->appended++;
	return index_apply(s->trial.tx, r, ++s->trial.modseq);
}

int store_trial_each(struct store *s, int (*fn)(const struct record *r, void *arg), void *arg)
{
	int err = 0;

	for (size_t i = 0; i < s->trial.n && !err; i++)
		err = fn(&s->trial.records[i], arg);
	return err;
}

void trial_close(struct store *s)
{
	if (s->trial.tx) {
		index_share(s->index, NULL);
		index_abort(MB_TAKE(s->trial.tx));
	}
	for (size_t i = 0; i < s->trial.n; i++)
		record_release(&s->trial.records[i]);
	free(s->trial.records);
}
