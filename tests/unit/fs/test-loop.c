/*
 * test-loop.c - requests from a socket: each is served, whoever waits, and nothing runs when none come.
 *
 * A test that hangs is ended by the alarm.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include "fs/loop.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum what { PLAIN, BLOCK, GIVE_WAY, RELEASE, END, BRIEF };

struct request {
	enum what what;
	uint32_t number;
};

#define MOST 20000

struct world {
	int fds[2]; /* the loop's, the client's */
	struct loop *loop;
	pthread_t thread;
	int result, error;	     /* of loop_run(); what receive gives */
	sem_t answered, blocked, go; /* go: for those that block */
	pthread_mutex_t lock;	     /* the rest */
	uint32_t served[MOST];
	size_t n;
	atomic_int released; /* buffers of threads */
	atomic_int buffers;
};

static int receive(void **buffer, void *arg)
{
	struct world *w = arg;
	ssize_t n;

	if (w->error)
		return w->error;
	if (!*buffer) {
		*buffer = mb_xcalloc(1, sizeof(struct request));
		w->buffers++;
	}
	n = recv(w->fds[0], *buffer, sizeof(struct request), MSG_DONTWAIT);
	return n < 0 ? -errno : (int)n;
}

static void serve(void *buffer, int len, void *arg)
{
	struct request r = *(struct request *)buffer;
	struct world *w = arg;

	assert_int_equal(len, sizeof(r));
	if (r.what == GIVE_WAY)
		loop_give_way();
	if (r.what == BLOCK || r.what == GIVE_WAY) {
		sem_post(&w->blocked);
		while (sem_wait(&w->go) < 0)
			;
	}
	if (r.what == BRIEF) {
		loop_give_way();
		nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
	}
	if (r.what == RELEASE)
		for (uint32_t i = 0; i < r.number; i++)
			sem_post(&w->go);
	if (r.what == END)
		loop_end(w->loop);
	pthread_mutex_lock(&w->lock);
	assert_true(w->n < MOST);
	w->served[w->n++] = r.number;
	pthread_mutex_unlock(&w->lock);
	sem_post(&w->answered);
}

static struct world *now; /* release() gets no arg */

static void release(void *buffer)
{
	now->released++;
	free(buffer);
}

static struct world *begin(unsigned max)
{
	struct world *w = mb_xcalloc(1, sizeof(*w));
	struct loop_source s = {.receive = receive, .serve = serve, .release = release, .arg = w};

	alarm(60);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, w->fds), 0);
	s.fd = w->fds[0];
	sem_init(&w->answered, 0, 0);
	sem_init(&w->blocked, 0, 0);
	sem_init(&w->go, 0, 0);
	pthread_mutex_init(&w->lock, NULL);
	w->loop = loop_new(&s, max);
	now = w;
	return w;
}

static void *run(void *arg)
{
	struct world *w = arg;

	w->result = loop_run(w->loop);
	return NULL;
}

static struct world *start(unsigned max)
{
	struct world *w = begin(max);

	assert_int_equal(pthread_create(&w->thread, NULL, run, w), 0);
	return w;
}

static void release_world(struct world *w)
{
	assert_int_equal(w->released, w->buffers);
	loop_free(w->loop);
	for (int i = 0; i < 2; i++)
		if (w->fds[i] >= 0)
			close(w->fds[i]);
	sem_destroy(&w->answered);
	sem_destroy(&w->blocked);
	sem_destroy(&w->go);
	pthread_mutex_destroy(&w->lock);
	free(w);
	alarm(0);
}

static void finish(struct world *w)
{
	loop_end(w->loop);
	pthread_join(w->thread, NULL);
	assert_int_equal(w->result, 0);
	release_world(w);
}

static void ask(struct world *w, enum what what, uint32_t number)
{
	struct request r = {what, number};

	assert_int_equal(send(w->fds[1], &r, sizeof(r), 0), sizeof(r));
}

static void await(sem_t *s, int n)
{
	while (n > 0)
		n -= sem_wait(s) == 0;
}

static void nap_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* ---- all that come ---- */

static void answers_come_in_the_order_of_questions(void **state)
{
	struct world *w = start(16);

	(void)state;
	for (uint32_t i = 0; i < 3000; i++) {
		ask(w, PLAIN, i);
		await(&w->answered, 1);
		assert_int_equal(w->served[i], i);
	}
	assert_int_equal(w->n, 3000);
	finish(w);
}

static void none_is_lost_or_served_twice(void **state)
{
	struct world *w = start(16);
	uint8_t *seen = mb_xcalloc(MOST, 1);

	(void)state;
	for (uint32_t i = 0; i < MOST; i++)
		ask(w, i % 50 == 7 ? BRIEF : PLAIN, i);
	await(&w->answered, MOST);
	for (uint32_t i = 0; i < MOST; i++)
		assert_int_equal(seen[w->served[i]]++, 0);
	free(seen);
	finish(w);
}

static void one_thread_serves_in_order(void **state)
{
	struct world *w = start(1);

	(void)state;
	for (uint32_t i = 0; i < 2000; i++)
		ask(w, i % 100 == 7 ? BRIEF : PLAIN, i);
	await(&w->answered, 2000);
	for (uint32_t i = 0; i < 2000; i++)
		assert_int_equal(w->served[i], i);
	ask(w, BLOCK, 1); /* nobody else is there */
	await(&w->blocked, 1);
	ask(w, PLAIN, 2);
	nap_ms(20);
	assert_int_equal(w->n, 2000);
	sem_post(&w->go);
	await(&w->answered, 2);
	assert_int_equal(w->buffers, 1);
	finish(w);
}

/* ---- who waits ---- */

static void who_gives_way_holds_nobody_up(void **state)
{
	struct world *w = start(16);

	(void)state;
	for (uint32_t i = 0; i < 100; i++) {
		ask(w, GIVE_WAY, i);
		ask(w, RELEASE, 1);
		await(&w->answered, 2);
	}
	assert_int_equal(w->n, 200);
	finish(w);
}

static void who_does_not_is_noticed(void **state)
{
	struct world *w = start(16);

	(void)state;
	for (uint32_t i = 0; i < 100; i++) {
		ask(w, BLOCK, i);
		ask(w, RELEASE, 1);
		await(&w->answered, 2);
	}
	finish(w);
}

static void after_a_quiet_time_too(void **state)
{
	struct world *w = start(16);

	(void)state;
	for (uint32_t i = 0; i < 4; i++) {
		ask(w, PLAIN, i);
		await(&w->answered, 1);
		nap_ms(200); /* the deputy sleeps */
		ask(w, BLOCK, i);
		await(&w->blocked, 1);
		nap_ms(i % 2 ? 20 : 0);
		ask(w, RELEASE, 1);
		await(&w->answered, 2);
	}
	finish(w);
}

/* As many as there are threads, but one; then all; then the next ones are served when one is done. */
static void many_may_wait(void **state)
{
	struct world *w = start(8);

	(void)state;
	for (int round = 0; round < 5; round++) {
		for (uint32_t i = 0; i < 7; i++)
			ask(w, i % 2 ? BLOCK : GIVE_WAY, i);
		await(&w->blocked, 7);
		for (uint32_t i = 0; i < 100; i++)
			ask(w, PLAIN, i);
		await(&w->answered, 100);
		ask(w, round % 2 ? BLOCK : GIVE_WAY, 8);
		await(&w->blocked, 1);
		ask(w, PLAIN, 9);
		nap_ms(10);
		assert_int_equal(sem_trywait(&w->answered), -1);
		sem_post(&w->go);
		await(&w->answered, 2); /* it, and the plain one */
		ask(w, RELEASE, 7);
		await(&w->answered, 8);
	}
	assert_true(w->buffers <= 8);
	finish(w);
}

static void anybody_may_say_that_it_waits(void **state)
{
	(void)state;
	loop_give_way(); /* no thread of a loop */
}

/* ---- when nothing comes ---- */

static void nothing_runs_when_nothing_comes(void **state)
{
	struct world *w = start(16);
	struct timespec a, b;

	(void)state;
	for (uint32_t i = 0; i < 500; i++)
		ask(w, i % 100 ? PLAIN : BRIEF, i);
	await(&w->answered, 500);
	nap_ms(300);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	nap_ms(500);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	assert_true(clock_timespec_ns(&b) - clock_timespec_ns(&a) < 1000000);
	finish(w);
}

/* ---- the end ---- */

static void it_may_end_before_it_begins(void **state)
{
	struct world *w = begin(4);

	(void)state;
	loop_end(w->loop);
	assert_int_equal(loop_run(w->loop), 0);
	release_world(w);
}

static void it_ends_at_any_time(void **state)
{
	(void)state;
	for (long i = 0; i < 150; i++) {
		struct world *w = start(1 + (unsigned)i % 5);

		for (uint32_t k = 0; k < (uint32_t)i % 40; k++)
			ask(w, k % 5 ? PLAIN : BRIEF, k);
		nanosleep(&(struct timespec){.tv_nsec = i * 20000}, NULL);
		finish(w);
	}
}

static void a_request_may_end_it(void **state)
{
	struct world *w = start(4);

	(void)state;
	ask(w, PLAIN, 1);
	ask(w, END, 2);
	pthread_join(w->thread, NULL);
	assert_int_equal(w->n, 2);
	release_world(w);
}

static void what_was_received_is_served_before_the_end(void **state)
{
	struct world *w = start(4);

	(void)state;
	ask(w, GIVE_WAY, 1);
	ask(w, BLOCK, 2);
	await(&w->blocked, 2);
	loop_end(w->loop);
	nap_ms(10);
	assert_int_equal(w->n, 0);
	sem_post(&w->go);
	sem_post(&w->go);
	pthread_join(w->thread, NULL);
	assert_int_equal(w->n, 2);
	release_world(w);
}

static void the_source_ends_it(void **state)
{
	struct world *w = start(4);

	(void)state;
	ask(w, BRIEF, 1);
	await(&w->answered, 1);
	close(MB_TAKE_FD(w->fds[1]));
	pthread_join(w->thread, NULL);
	assert_int_equal(w->result, 0);
	release_world(w);

	w = begin(4);
	w->error = -EIO;
	assert_int_equal(loop_run(w->loop), -EIO);
	release_world(w);
}

/* ---- no more threads ---- */

static size_t address_space(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu", &pages), 1);
	fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void limit_space(rlim_t to)
{
	struct rlimit l;

	assert_int_equal(getrlimit(RLIMIT_AS, &l), 0);
	l.rlim_cur = to;
	assert_int_equal(setrlimit(RLIMIT_AS, &l), 0);
}

/* The first of all tests: stacks of threads that have ended are used again. */
static void a_thread_that_could_not_be_made_is_made_later(void **state)
{
	struct world *w = start(4);
	struct rlimit was;

	(void)state;
#if defined(__SANITIZE_ADDRESS__)
	finish(w);
	skip();
#endif
	nap_ms(20); /* it waits for the first request */
	assert_int_equal(getrlimit(RLIMIT_AS, &was), 0);
	limit_space(address_space() + (512 << 10));
	ask(w, PLAIN, 1);
	await(&w->answered, 1);
	ask(w, GIVE_WAY, 2); /* it cannot, and waits all the same */
	await(&w->blocked, 1);
	ask(w, PLAIN, 3);
	nap_ms(20);
	assert_int_equal(w->n, 1);
	assert_int_equal(w->buffers, 1);
	sem_post(&w->go);
	await(&w->answered, 2);
	limit_space(was.rlim_cur);
	ask(w, BLOCK, 4);
	ask(w, RELEASE, 1);
	await(&w->answered, 2);
	assert_int_equal(w->n, 5);
	finish(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_thread_that_could_not_be_made_is_made_later),
		cmocka_unit_test(answers_come_in_the_order_of_questions),
		cmocka_unit_test(none_is_lost_or_served_twice),
		cmocka_unit_test(one_thread_serves_in_order),
		cmocka_unit_test(who_gives_way_holds_nobody_up),
		cmocka_unit_test(who_does_not_is_noticed),
		cmocka_unit_test(after_a_quiet_time_too),
		cmocka_unit_test(many_may_wait),
		cmocka_unit_test(anybody_may_say_that_it_waits),
		cmocka_unit_test(nothing_runs_when_nothing_comes),
		cmocka_unit_test(it_may_end_before_it_begins),
		cmocka_unit_test(it_ends_at_any_time),
		cmocka_unit_test(a_request_may_end_it),
		cmocka_unit_test(what_was_received_is_served_before_the_end),
		cmocka_unit_test(the_source_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
