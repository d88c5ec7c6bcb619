/* test-turn.c - who wants to be the writer for long waits for those who are it for moments. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/store/server.h"
#include <errno.h>
#include <pthread.h>
#include <time.h>

static void pause_ms(long ms)
{
	const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&t, NULL);
}

static sigset_t end_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return set;
}

static void *close_soon(void *arg)
{
	pause_ms(300);
	store_dir_close(arg);
	return NULL;
}

static void a_writer_of_moments_is_waited_for(void **state)
{
	struct store_dir *d = *state;
	sigset_t end = end_signals();
	struct store *s = NULL;
	pthread_t thread;

	pthread_create(&thread, NULL, close_soon, d);
	assert_int_equal(store_open_in_turn(d->dir, 30, &end, &s), 0);
	pthread_join(thread, NULL);
	store_close(s);
}

static void not_for_ever(void **state)
{
	struct store_dir *d = *state;
	sigset_t end = end_signals();
	int64_t began = clock_mono_ns();
	struct store *s;

	assert_int_equal(store_open_in_turn(d->dir, 1, &end, &s), MB_E_LOCKED);
	assert_true(clock_mono_ns() - began >= 1000000000);
}

static void one_with_a_server_stays(void **state)
{
	struct store_dir *d = *state;
	sigset_t end = end_signals();
	int64_t began = clock_mono_ns();
	struct store_server *server;
	struct store *s;

	assert_int_equal(store_server_start(d->s, NULL, NULL, &server), 0);
	assert_int_equal(store_open_in_turn(d->dir, 30, &end, &s), MB_E_LOCKED);
	assert_true(clock_mono_ns() - began < 20000000000);
	store_server_stop(server);
}

static void a_signal_ends_the_waiting(void **state)
{
	struct store_dir *d = *state;
	sigset_t end = end_signals();
	struct store *s;

	pthread_kill(pthread_self(), SIGTERM);
	assert_int_equal(store_open_in_turn(d->dir, 30, &end, &s), -EINTR);
}

#define T(f) cmocka_unit_test_setup_teardown(f, store_dir_setup, store_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_writer_of_moments_is_waited_for),
		T(not_for_ever),
		T(one_with_a_server_stays),
		T(a_signal_ends_the_waiting),
	};

	return cmocka_run_group_tests_name("turn", tests, NULL, NULL);
}
