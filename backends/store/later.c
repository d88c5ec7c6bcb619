/*
 * later.c - the index follows the log a little later, with many changes at once.
 *
 * A transaction of the index costs more than a rename and its record together, and nearly as much for
 * one change as for fifty.  What is in the log has happened, and is replayed after a stop: so for the
 * changes of single messages that mail programs make all day the record is enough (posix-later.c), and
 * the index gets them LATER_MS later, or when LATER_MAX have come.
 *
 * Nobody sees an index that lacks them: index_begin() settles first what is to come.  Only those
 * who leave more for later read it as it is; they ask later_has() first, and do things the long way
 * for a message that is on the list.  Other processes see the index behind the log for that long:
 * store_follow() waits for it.
 *
 * The list belongs to `lock`, taking from it to `settling` as well, which is held while a batch goes to
 * the index: a change stays on one of the two lists until it is committed.  Only who holds the store's
 * lock adds, and who writes to the index holds that lock and has settled: so nobody who settles
 * waits for a writer.  `settling` comes before `lock`, the store's before both.
 *
 * A batch that the index cannot take (a full disk) is dropped, and `failed`: from then on the index has
 * a gap, so what was added meanwhile is dropped as well, and nothing more is left for later until
 * index_catch_up() has replayed the log, before the next change.
 *
 * Readers may be on their way into settle() at any time, so the struct stays until the store is closed,
 * whenever its thread ends.
 */
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/posix-private.h"
#include <stdatomic.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#define LATER_MS 3
#define LATER_MAX 256
#define LATER_ROOM ((uint64_t)2 << 20) /* of the index, for so many */
#define SPACE_MIN ((uint64_t)64 << 20)
#define SPACE_LOOK 64 /* every so many changes */
#define MAILBOXES 16  /* whose UIDNEXT is kept */

struct late {
	struct late *next;
	uint64_t name; /* of the message: the checksum of its unique part */
	struct record record;
	uint64_t modseq;
	struct position end; /* of the log after it */
	bool has_file;
	struct stat st; /* of that */
};

struct late_list {
	struct late *first, **tail;
};

struct uid_next {
	struct guid mailbox;
	uint32_t uid_next;
};

struct store_later {
	struct store *store;
	pthread_t thread;
	pthread_mutex_t lock, settling;
	pthread_cond_t wake;
	struct late_list waiting, batch; /* batch: on its way into the index */
	atomic_uint n;			 /* in both */
	bool idle, ending;		 /* the thread sleeps, has to end; under lock */
	atomic_bool failed;
	/* with the store's lock */
	bool running;
	struct uid_next given[MAILBOXES];
	size_t n_given;
	unsigned looked;
	bool space;
};

static uint64_t name_key(const char *name)
{
	struct fname f;

	fname_parse(name, &f);
	return checksum64(name, f.unique_len, 0);
}

static bool list_has(const struct late_list *list, uint64_t name)
{
	const struct late *c = list->first;

	while (c && c->name != name)
		c = c->next;
	return c != NULL;
}

/* ---- into the index ---- */

static int apply(struct index_txn *tx, const struct late *c)
{
	int err = index_apply(tx, &c->record, c->modseq);

	if (err >= 0 && c->has_file)
		err = posix_put_stat(tx, &c->record.copy.guid, c->record.copy.id, &c->st);
	return err < 0 || c->next ? err : index_write_applied(tx, &c->end);
}

static int apply_batch(struct store_later *l)
{
	struct index_txn *tx;
	int err = index_begin_now(l->store->index, true, &tx);

	if (err < 0)
		return err;
	for (const struct late *c = l->batch.first; c && err >= 0; c = c->next)
		err = apply(tx, c);
	if (err >= 0)
		return index_commit(tx);
	index_abort(tx);
	return err;
}

static void take_batch(struct store_later *l)
{
	pthread_mutex_lock(&l->lock);
	l->batch = l->waiting;
	l->waiting = (struct late_list){.tail = &l->waiting.first};
	pthread_mutex_unlock(&l->lock);
}

static void drop_batch(struct store_later *l)
{
	struct late *c, *next;
	unsigned n = 0;

	pthread_mutex_lock(&l->lock);
	c = MB_TAKE(l->batch.first);
	pthread_mutex_unlock(&l->lock);
	for (; c; c = next, n++) {
		next = c->next;
		record_release(&c->record);
		free(c);
	}
	atomic_fetch_sub(&l->n, n);
}

static void settle(void *arg)
{
	struct store_later *l = arg;
	int err;

	if (!atomic_load(&l->n))
		return;
	pthread_mutex_lock(&l->settling);
	take_batch(l);
	if (l->batch.first) {
		err = l->failed ? 0 : apply_batch(l); /* nothing goes in behind a gap */
		if (err < 0) {
			mb_msg(MB_ERROR,
			       "index: cannot follow the log, tried again before the next "
			       "change: error=%s",
			       mb_err_str(err));
			l->failed = true;
		}
		drop_batch(l);
	}
	pthread_mutex_unlock(&l->settling);
}

void later_settle(struct store *s)
{
	struct store_later *l = s->later;

	if (!l)
		return;
	settle(l);
	l->n_given = 0;
	if (l->failed)
		s->behind = s->rescan = true; /* what only the index knew is looked at again */
}

void later_caught_up(struct store *s)
{
	if (s->later)
		s->later->failed = false;
}

/* ---- the thread ---- */

static void *run(void *arg)
{
	const struct timespec while_ = {.tv_nsec = LATER_MS * 1000000};
	struct store_later *l = arg;

	pthread_mutex_lock(&l->lock);
	while (!l->ending) {
		if (!l->waiting.first) {
			l->idle = true;
			pthread_cond_wait(&l->wake, &l->lock);
			continue;
		}
		l->idle = false;
		pthread_mutex_unlock(&l->lock);
		nanosleep(&while_, NULL);
		settle(l);
		pthread_mutex_lock(&l->lock);
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

static struct store_later *later_new(struct store *s)
{
	struct store_later *l = mb_xcalloc(1, sizeof(*l));

	l->store = s;
	l->waiting.tail = &l->waiting.first;
	pthread_mutex_init(&l->lock, NULL);
	pthread_mutex_init(&l->settling, NULL);
	pthread_cond_init(&l->wake, NULL);
	index_set_before(s->index, settle, l);
	return l;
}

int later_start(struct store *s)
{
	struct store_later *l;
	int err = 0;

	store_lock(s);
	if (!s->later)
		s->later = later_new(s);
	l = s->later;
	if (!l->running) {
		l->ending = false;
		err = -pthread_create(&l->thread, NULL, run, l);
		l->running = err >= 0;
	}
	store_unlock(s);
	return err;
}

void later_stop(struct store *s)
{
	struct store_later *l = s->later;

	if (!l || !l->running)
		return;
	pthread_mutex_lock(&l->lock);
	l->ending = true;
	pthread_cond_signal(&l->wake);
	pthread_mutex_unlock(&l->lock);
	pthread_join(l->thread, NULL);
	store_lock(s);
	l->running = false;
	later_settle(s);
	store_unlock(s);
}

void later_free(struct store *s)
{
	struct store_later *l = MB_TAKE(s->later);

	if (!l)
		return;
	pthread_cond_destroy(&l->wake);
	pthread_mutex_destroy(&l->settling);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

/* ---- adding ---- */

/* A disk that may soon be full: the index gets each change at once, into the little room that is kept. */
static bool has_space(struct store_later *l)
{
	struct statvfs fs;

	if (l->looked++ % SPACE_LOOK == 0)
		l->space = fstatvfs(l->store->dir_fd, &fs) == 0 &&
			   (uint64_t)fs.f_bavail * fs.f_frsize > SPACE_MIN;
	return l->space;
}

bool later_can(struct store *s)
{
	struct store_later *l = s->later;

	return l && l->running && s->mode == STORE_WRITE && !s->behind && !s->batching &&
	       !s->trial.tx && !atomic_load(&l->failed) && store_mark_dirty(s) >= 0 &&
	       has_space(l) && index_reserve(s->index, LATER_ROOM) >= 0;
}

bool later_has(const struct store *s, const char *name)
{
	struct store_later *l = s->later;
	uint64_t key = name_key(name);
	bool found;

	if (!l || !atomic_load(&l->n))
		return false;
	pthread_mutex_lock(&l->lock);
	found = list_has(&l->waiting, key) || list_has(&l->batch, key);
	pthread_mutex_unlock(&l->lock);
	return found;
}

static struct uid_next *given_in(struct store_later *l, const struct guid *mailbox)
{
	for (size_t i = 0; i < l->n_given; i++)
		if (guid_equal(&l->given[i].mailbox, mailbox))
			return &l->given[i];
	return NULL;
}

uint32_t later_uid_next(const struct store *s, const struct guid *mailbox, uint32_t uid_next)
{
	const struct uid_next *u = s->later ? given_in(s->later, mailbox) : NULL;

	return u && u->uid_next > uid_next ? u->uid_next : uid_next;
}

static void note_uid(struct store_later *l, const struct place *place)
{
	struct uid_next *u = given_in(l, &place->mailbox);

	if (!place->uid)
		return;
	if (!u) {
		u = &l->given[l->n_given++];
		u->mailbox = place->mailbox;
	}
	u->uid_next = place->uid + 1;
}

static void add(struct store_later *l, struct late *c)
{
	bool idle;

	pthread_mutex_lock(&l->lock);
	*l->waiting.tail = c;
	l->waiting.tail = &c->next;
	idle = l->idle;
	l->idle = false;
	pthread_mutex_unlock(&l->lock);
	if (idle)
		pthread_cond_signal(&l->wake);
}

int later_record(struct store *s, struct record *r, const char *name, const struct stat *st)
{
	struct store_later *l = s->later;
	struct late *c = mb_xcalloc(1, sizeof(*c));
	int err;

	if (l->n_given == MAILBOXES)
		later_settle(s);
	err = change_append(s, r, &c->end, &c->modseq);
	if (err < 0) {
		free(c);
		return err;
	}
	c->record = *r;
	*r = (struct record){.type = r->type};
	c->name = name_key(name);
	c->has_file = st != NULL;
	if (st)
		c->st = *st;
	if (c->record.type == REC_ARRIVE)
		note_uid(l, &c->record.copy.place);
	if (atomic_fetch_add(&l->n, 1) + 1 >= LATER_MAX) {
		add(l, c);
		settle(l);
	} else {
		add(l, c);
	}
	return 0;
}
