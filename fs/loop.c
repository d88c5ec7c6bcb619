/*
 * loop.c - one thread leads, others stand by.
 *
 * `leader` is who reads.  It is given away by its holder, or taken from one who has been with the same
 * request for a tick.  Who lost it learns so when the request is done.  For a moment two may read: that
 * costs a look, and nothing else.
 *
 * A worker's `serial` is odd while it serves a request, even while it waits for one.
 */
#include "fs/loop.h"
#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define HOPE_MAX 8     /* half as many looks in vain: the next request is slept for */
#define QUIET_TICKS 50 /* without a request: the deputy sleeps as well */

struct worker {
	struct worker *next; /* of all that were made */
	struct loop *loop;
	pthread_t thread;
	void *buffer;
	atomic_ullong serial;
	int hope; /* looks are worth their while when it is above 0 */
};

struct loop {
	struct loop_source source;
	unsigned max;
	bool looks; /* more than one processor */
	int end_fd;
	_Atomic(struct worker *) leader;
	atomic_bool asleep; /* the deputy is, or there is none: to be woken with the next request */
	atomic_bool ended;
	pthread_mutex_t lock; /* the rest */
	pthread_cond_t change;
	struct worker *workers;
	unsigned n, waiting; /* threads; those that stand by */
	bool has_deputy;     /* one of these looks after the leader */
	int err;
};

static _Thread_local struct worker *self;

struct loop *loop_new(const struct loop_source *source, unsigned max)
{
	struct loop *l = mb_xcalloc(1, sizeof(*l));
	pthread_condattr_t attr;

	l->source = *source;
	l->max = max ? max : 1;
	l->looks = sysconf(_SC_NPROCESSORS_ONLN) > 1;
	l->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	l->err = l->end_fd < 0 ? -errno : 0;
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&l->change, &attr);
	pthread_condattr_destroy(&attr);
	return l;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	if (l->end_fd >= 0)
		close(l->end_fd);
	pthread_cond_destroy(&l->change);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

static void end_with(struct loop *l, int err)
{
	const uint64_t one = 1;

	pthread_mutex_lock(&l->lock);
	if (!l->ended)
		l->err = err;
	l->ended = true;
	pthread_cond_broadcast(&l->change);
	pthread_mutex_unlock(&l->lock);
	while (write(l->end_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void loop_end(struct loop *l)
{
	end_with(l, 0);
}

/* ---- waiting for a request ---- */

static void sleep_for_one(struct worker *w)
{
	struct loop *l = w->loop;
	struct pollfd p[] = {{.fd = l->source.fd, .events = POLLIN},
			     {.fd = l->end_fd, .events = POLLIN}};
	int64_t since = clock_mono_ns();

	poll(p, 2, -1);
	if (clock_mono_ns() - since < LOOP_LOOK_NS && w->hope < HOPE_MAX)
		w->hope++; /* a look would have seen it */
}

/* Looks, for a moment.  Others who want to run on this processor do meanwhile. */
static int look_for_one(struct worker *w)
{
	struct loop *l = w->loop;
	int64_t until = clock_mono_ns() + LOOP_LOOK_NS;
	int len;

	do {
		sched_yield();
		len = l->source.receive(&w->buffer, l->source.arg);
	} while (len == -EAGAIN && !l->ended && clock_mono_ns() < until);
	w->hope += len == -EAGAIN ? -2 : w->hope < HOPE_MAX;
	return len;
}

static int next_request(struct worker *w)
{
	struct loop *l = w->loop;

	while (!l->ended) {
		int len = l->source.receive(&w->buffer, l->source.arg);

		if (len == -EAGAIN && w->hope > 0 && l->looks)
			len = look_for_one(w);
		if (len != -EAGAIN && len != -EINTR)
			return len;
		if (len == -EAGAIN)
			sleep_for_one(w);
	}
	return 0;
}

/* ---- leading ---- */

static void *run_worker(void *arg);

/* The lock is held. */
static bool add_worker(struct loop *l)
{
	struct worker *w;

	if (l->n >= l->max || l->ended)
		return false;
	w = mb_xcalloc(1, sizeof(*w));
	w->loop = l;
	l->n++;
	if (pthread_create(&w->thread, NULL, run_worker, w)) {
		l->n--;
		free(w);
		return false;
	}
	w->next = l->workers;
	l->workers = w;
	return true;
}

/* Somebody sees to it that the leader does not get stuck, or will when a request has come. */
static void wake_deputy(struct loop *l)
{
	pthread_mutex_lock(&l->lock);
	/* a thread that could not be made is tried again with the next request */
	l->asleep = !l->waiting && !add_worker(l) && l->n < l->max;
	pthread_cond_broadcast(&l->change);
	pthread_mutex_unlock(&l->lock);
}

/* Until the lead is another's, or all is over. */
static void lead(struct worker *w)
{
	struct loop *l = w->loop;

	while (!l->ended && atomic_load(&l->leader) == w) {
		int len = next_request(w);

		if (len <= 0) {
			if (!l->ended)
				end_with(l, len);
			return;
		}
		atomic_fetch_add(&w->serial, 1);
		if (atomic_load(&l->asleep))
			wake_deputy(l);
		l->source.serve(w->buffer, len, l->source.arg);
		atomic_fetch_add(&w->serial, 1);
	}
}

void loop_give_way(void)
{
	struct worker *w = self;
	struct loop *l = w ? w->loop : NULL;

	if (!l || atomic_load(&l->leader) != w)
		return;
	pthread_mutex_lock(&l->lock);
	if (atomic_load(&l->leader) == w && (l->waiting || add_worker(l))) {
		atomic_store(&l->leader, NULL);
		pthread_cond_broadcast(&l->change);
	}
	pthread_mutex_unlock(&l->lock);
}

/* ---- standing by ---- */

static void wait_tick(struct loop *l)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until = clock_timespec(clock_timespec_ns(&until) + LOOP_TICK_NS);
	pthread_cond_timedwait(&l->change, &l->lock, &until);
}

/* For good, until a request comes.  The lock is held. */
static void sleep_as_deputy(struct loop *l, const struct worker *led, unsigned long long seen)
{
	l->asleep = true;
	/* a request that has come is seen now, one that comes later sees `asleep` */
	if (atomic_load(&l->leader) == led && atomic_load(&led->serial) == seen)
		pthread_cond_wait(&l->change, &l->lock);
	l->asleep = false;
}

/* Looks after the leader until there is none, or it is stuck.  The lock is held. */
static void be_deputy(struct loop *l)
{
	const struct worker *led = NULL, *now;
	unsigned long long seen = 0, serial;
	unsigned quiet = 0;

	l->has_deputy = true;
	while (!l->ended && (now = atomic_load(&l->leader))) {
		serial = atomic_load(&now->serial);
		if (now == led && serial == seen && serial & 1)
			break;
		quiet = now == led && serial == seen ? quiet + 1 : 0;
		led = now;
		seen = serial;
		if (quiet > QUIET_TICKS) {
			sleep_as_deputy(l, led, seen);
			quiet = 0;
		} else {
			wait_tick(l);
		}
	}
	l->has_deputy = false;
}

/* The lock is held. */
static void stand_by(struct worker *w)
{
	struct loop *l = w->loop;

	l->waiting++;
	while (!l->ended) {
		if (!atomic_load(&l->leader))
			break;
		if (l->has_deputy) {
			pthread_cond_wait(&l->change, &l->lock);
			continue;
		}
		be_deputy(l);
		break;
	}
	l->waiting--;
	if (l->ended)
		return;
	w->hope = HOPE_MAX;
	atomic_store(&l->leader, w);
	if (!l->waiting)
		l->asleep = true; /* the next request makes a deputy */
	pthread_cond_broadcast(&l->change);
}

static void work(struct worker *w)
{
	struct loop *l = w->loop;

	self = w;
	pthread_mutex_lock(&l->lock);
	while (!l->ended) {
		stand_by(w);
		pthread_mutex_unlock(&l->lock);
		lead(w);
		pthread_mutex_lock(&l->lock);
	}
	pthread_mutex_unlock(&l->lock);
	self = NULL;
	if (w->buffer)
		l->source.release(w->buffer);
}

static void *run_worker(void *arg)
{
	work(arg);
	return NULL;
}

int loop_run(struct loop *l)
{
	struct worker first = {.loop = l}, *w;

	if (l->end_fd < 0)
		return l->err;
	l->n = 1;
	l->asleep = true;
	work(&first);
	while ((w = l->workers)) { /* nobody is added any more */
		l->workers = w->next;
		pthread_join(w->thread, NULL);
		free(w);
	}
	return l->err;
}
