/*
 * flusher.c - without fsync the log is flushed within a second.
 *
 * A thread of a long-lived writer.  It also sees to the daily checkpoint.  It sleeps until a record was appended, waits a second, and flushes:
 * one flush for all that came meanwhile.  An idle store wakes nobody.
 */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <time.h>

#define FLUSH_SECONDS 1

struct store_flusher {
	struct store *store;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool wanted, ending; /* under lock */
};

void flusher_want(struct store_flusher *f)
{
	if (!f)
		return;
	pthread_mutex_lock(&f->lock);
	if (!f->wanted)
		pthread_cond_signal(&f->wake);
	f->wanted = true;
	pthread_mutex_unlock(&f->lock);
}

/* Waits a second, or until the end is wanted.  The lock is held. */
static void collect(struct store_flusher *f)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += FLUSH_SECONDS;
	while (!f->ending && pthread_cond_timedwait(&f->wake, &f->lock, &until) != ETIMEDOUT)
		;
}

static void *flusher_run(void *arg)
{
	struct store_flusher *f = arg;

	pthread_mutex_lock(&f->lock);
	while (!f->ending) {
		while (!f->wanted && !f->ending)
			pthread_cond_wait(&f->wake, &f->lock);
		collect(f);
		f->wanted = false;
		pthread_mutex_unlock(&f->lock);
		int err = log_needs_flush(f->store->log) ? store_flush(f->store) : 0;
		if (err < 0)
			mb_msg(MB_ERROR, "the log cannot be flushed: %s", mb_err_str(err));
		store_lock(f->store);
		err = checkpoint_if_due(f->store);
		store_unlock(f->store);
		if (err < 0)
			mb_msg(MB_WARNING, "no checkpoint: %s", mb_err_str(err));
		pthread_mutex_lock(&f->lock);
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

int flusher_start(struct store *s)
{
	struct store_flusher *f = mb_xcalloc(1, sizeof(*f));
	int err;

	f->store = s;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->wake, NULL);
	err = pthread_create(&f->thread, NULL, flusher_run, f);
	if (err) {
		free(f);
		return -err;
	}
	store_lock(s);
	s->flusher = f;
	store_unlock(s);
	return 0;
}

void flusher_stop(struct store *s)
{
	struct store_flusher *f;

	store_lock(s);
	f = MB_TAKE(s->flusher);
	store_unlock(s);
	if (!f)
		return;
	pthread_mutex_lock(&f->lock);
	f->ending = true;
	pthread_cond_signal(&f->wake);
	pthread_mutex_unlock(&f->lock);
	pthread_join(f->thread, NULL);
	pthread_cond_destroy(&f->wake);
	pthread_mutex_destroy(&f->lock);
	free(f);
}
