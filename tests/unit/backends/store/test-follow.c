/*
 * test-follow.c - a reader in another process sees what the writer has answered.
 *
 * The reader is asked by name, through a pipe: it follows, and says whether the message is in the index,
 * and how long it took.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#define MS 1000000ll

struct follower {
	pid_t pid;
	int ask, answer;
};

struct answer {
	bool has;
	int64_t ns;
};

static struct answer look(struct store *s, const char *name)
{
	int64_t since = clock_mono_ns();
	struct index_txn *tx;
	struct entry e = {0};
	struct answer a;

	store_follow(s);
	a.ns = clock_mono_ns() - since;
	if (index_begin(s->index, false, &tx) < 0)
		_exit(3);
	a.has = entry_at(tx, &GUID_INBOX, name, true, &e) == 0;
	entry_release(&e);
	index_abort(tx);
	return a;
}

static void be_follower(struct store_dir *d, int ask, int answer)
{
	struct store *s;
	char name[32];

	if (store_open(d->dir, STORE_READ, &s) < 0)
		_exit(1);
	while (read(ask, name, sizeof(name)) == sizeof(name)) {
		struct answer a = look(s, name);

		if (write(answer, &a, sizeof(a)) != sizeof(a))
			_exit(2);
	}
	store_close(s);
	_exit(0);
}

/* Before there are threads. */
static struct follower begin(struct store_dir *d)
{
	int ask[2], answer[2];
	struct follower r;

	assert_true(pipe(ask) == 0 && pipe(answer) == 0);
	r.pid = fork();
	assert_true(r.pid >= 0);
	if (r.pid == 0) {
		close(ask[1]);
		close(answer[0]);
		be_follower(d, ask[0], answer[1]);
	}
	close(ask[0]);
	close(answer[1]);
	r.ask = ask[1];
	r.answer = answer[0];
	return r;
}

static void end(struct follower *r)
{
	int status;

	close(r->ask);
	close(r->answer);
	assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void ask(struct follower *r, const char *name)
{
	char text[32] = {0};

	snprintf(text, sizeof(text), "%s", name);
	assert_int_equal(write(r->ask, text, sizeof(text)), sizeof(text));
}

static struct answer answer_of(struct follower *r)
{
	struct answer a;

	assert_int_equal(read(r->answer, &a, sizeof(a)), sizeof(a));
	return a;
}

static void nap_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static struct index_txn *hold(struct store_dir *d)
{
	struct index_txn *tx;

	assert_int_equal(index_begin_now(d->s->index, true, &tx), 0);
	return tx;
}

static void what_was_answered_is_seen(void **state)
{
	struct store_dir *d = *state;
	struct follower r = begin(d);

	assert_int_equal(later_start(d->s), 0);
	for (unsigned i = 0; i < 200; i++) {
		char name[32];

		snprintf(name, sizeof(name), "%u.x", i);
		store_deliver(d, "", name, "a");
		ask(&r, name);
		assert_true(answer_of(&r).has);
	}
	later_stop(d->s);
	end(&r);
}

static void a_writer_that_does_not_come_to_it_is_waited_for_a_while(void **state)
{
	struct store_dir *d = *state;
	struct follower r = begin(d);
	struct index_txn *held;
	struct answer a;

	store_deliver(d, "", "1.x", "a");
	assert_int_equal(later_start(d->s), 0);
	held = hold(d);
	store_deliver(d, "", "2.x", "a");
	ask(&r, "2.x");
	a = answer_of(&r);
	assert_false(a.has);
	assert_true(a.ns >= 190 * MS && a.ns < 5000 * MS);
	ask(&r, "2.x");
	nap_ms(60);
	index_abort(held);
	a = answer_of(&r);
	assert_true(a.has);
	assert_true(a.ns >= 10 * MS);
	later_stop(d->s);
	end(&r);
}

/* What the index has is the end of one file, and the record is the first of the next. */
static void the_record_may_be_in_another_file(void **state)
{
	struct store_dir *d = *state;
	struct follower r = begin(d);
	struct index_txn *held;

	store_deliver(d, "", "1.x", "a");
	assert_int_equal(log_rotate(d->s->log), 0);
	assert_int_equal(later_start(d->s), 0);
	held = hold(d);
	store_deliver(d, "", "2.x", "a");
	ask(&r, "2.x");
	nap_ms(60);
	index_abort(held);
	assert_true(answer_of(&r).has);
	later_stop(d->s);
	end(&r);
}

static void a_file_without_records_is_not_waited_for(void **state)
{
	struct store_dir *d = *state;
	struct follower r = begin(d);
	struct answer a;

	store_deliver(d, "", "1.x", "a");
	ask(&r, "1.x");
	assert_true(answer_of(&r).has);
	assert_int_equal(log_rotate(d->s->log), 0);
	ask(&r, "1.x");
	a = answer_of(&r);
	assert_true(a.has);
	assert_true(a.ns < 150 * MS);
	end(&r);
}

static int leave_it(struct store_dir *d)
{
	assert_int_equal(later_start(d->s), 0);
	hold(d);
	store_deliver(d, "", "2.x", "a");
	return 0;
}

/* It was killed with the record in the log; nobody will put it into the index but the next writer. */
static void a_dead_writer_is_not_waited_for(void **state)
{
	struct store_dir *d = *state;
	struct store *s;
	struct answer a;

	store_deliver(d, "", "1.x", "a");
	store_dir_kill(d, leave_it);
	assert_int_equal(store_open(d->dir, STORE_READ, &s), 0);
	a = look(s, "2.x");
	assert_false(a.has);
	assert_true(a.ns < 150 * MS);
	store_close(s);
	store_dir_open(d);
	assert_list(d, "INBOX/new/1.x | INBOX/new/2.x");
	assert_int_equal(store_opening_scan(d->s)->arrived, 0);
}

static void a_writer_waits_for_nobody(void **state)
{
	struct store_dir *d = *state;
	struct index_txn *held;
	int64_t since;

	store_deliver(d, "", "1.x", "a");
	assert_int_equal(later_start(d->s), 0);
	held = hold(d);
	store_deliver(d, "", "2.x", "a");
	since = clock_mono_ns();
	store_follow(d->s);
	assert_true(clock_mono_ns() - since < 150 * MS);
	index_abort(held);
	later_stop(d->s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, store_dir_setup, store_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_answered_is_seen),
		TEST(a_writer_that_does_not_come_to_it_is_waited_for_a_while),
		TEST(the_record_may_be_in_another_file),
		TEST(a_file_without_records_is_not_waited_for),
		TEST(a_dead_writer_is_not_waited_for),
		TEST(a_writer_waits_for_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
