/* test-dotlock.c - locks on Dovecot's files: taken as Dovecot takes them, and never left for good. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include "backends/store/dovecot.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOCK "dovecot-uidlist.lock"

static void it_says_whose_it_is(void **state)
{
	struct store_dir *d = *state;
	struct dotlock l;
	char host[256] = "";
	MB_AUTO_FREE char *own = NULL;

	gethostname(host, sizeof(host) - 1);
	own = mb_xasprintf("%d:%s", (int)getpid(), host);
	assert_int_equal(dotlock_take(d->s, "dovecot-uidlist", 100, false, &l), 0);
	assert_text(d, LOCK, own);
	dotlock_drop(d->s, &l);
	assert_false(tree_has(d, LOCK));
	dotlock_drop(d->s, &l);
}

static void one_that_lives_is_waited_for(void **state)
{
	struct store_dir *d = *state;
	MB_AUTO_FREE char *text = NULL;
	char host[256] = "";
	struct dotlock l;
	int64_t before;

	gethostname(host, sizeof(host) - 1);
	text = mb_xasprintf("%d:%s", (int)getppid(), host);
	outside_write(d, LOCK, text);
	before = clock_mono_ns();
	assert_int_equal(dotlock_take(d->s, "dovecot-uidlist", 50, false, &l), -EBUSY);
	assert_true(clock_mono_ns() - before >= 50000000);
	dotlock_drop(d->s, &l);
	assert_text(d, LOCK, text);
	outside_write(d, LOCK, "1:another.host.example");
	assert_int_equal(dotlock_take(d->s, "dovecot-uidlist", 10, false, &l), -EBUSY);
	outside_write(d, LOCK, "");
	assert_int_equal(dotlock_take(d->s, "dovecot-uidlist", 10, false, &l), -EBUSY);
}

static int64_t take_and_drop(struct store_dir *d, const char *path, int wait_ms, int expected)
{
	int64_t before = clock_mono_ns();
	struct dotlock l;

	assert_int_equal(dotlock_take(d->s, path, wait_ms, false, &l), expected);
	before = clock_mono_ns() - before;
	dotlock_drop(d->s, &l);
	return before;
}

/* Once in vain is enough, for this one, also when the store was closed meanwhile. */
static void one_that_is_kept_is_waited_for_once(void **state)
{
	struct store_dir *d = *state;
	const int64_t wait_ns = 100000000;

	store_make_box(d, ".X");
	outside_write(d, LOCK, "1:another.host.example");
	outside_write(d, ".X/" LOCK, "1:another.host.example");
	take_and_drop(d, "dovecot-uidlist", 0, -EBUSY); /* nobody waited */
	assert_true(take_and_drop(d, "dovecot-uidlist", 100, -EBUSY) >= wait_ns);
	for (int i = 0; i < 20; i++) {
		assert_true(take_and_drop(d, "dovecot-uidlist", 10000, -EBUSY) < 50 * wait_ns);
		take_and_drop(d, "dovecot-uidlist", 0, -EBUSY);
		if (i == 10)
			store_dir_reopen(d);
	}
	assert_true(take_and_drop(d, ".X/dovecot-uidlist", 100, -EBUSY) >= wait_ns);
	outside_unlink(d, LOCK);
	take_and_drop(d, "dovecot-uidlist", 100, 0);
	outside_write(d, LOCK, "1:another.host.example");
	assert_true(take_and_drop(d, "dovecot-uidlist", 100, -EBUSY) >= wait_ns); /* another one */
}

/* More are kept than are remembered: each is waited for, nothing else happens. */
static void very_many_that_are_kept(void **state)
{
	struct store_dir *d = *state;

	for (int i = 0; i < 300; i++) {
		MB_AUTO_FREE char *path = mb_xasprintf("f%d", i);
		MB_AUTO_FREE char *lock = mb_xasprintf("f%d.lock", i);

		outside_write(d, lock, "1:another.host.example");
		take_and_drop(d, path, 1, -EBUSY);
		assert_true(take_and_drop(d, path, 10000, -EBUSY) < 5000000000);
	}
	assert_true(take_and_drop(d, "f0", 100, -EBUSY) >= 100000000);
}

/* Whose process dies is taken away also by one who does not wait. */
static void one_that_died_meanwhile_goes(void **state)
{
	struct store_dir *d = *state;
	MB_AUTO_FREE char *text = NULL;
	char host[256] = "";
	pid_t pid = fork();

	if (pid == 0) {
		pause();
		_exit(0);
	}
	gethostname(host, sizeof(host) - 1);
	text = mb_xasprintf("%d:%s", (int)pid, host);
	outside_write(d, LOCK, text);
	take_and_drop(d, "dovecot-uidlist", 10, -EBUSY);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	take_and_drop(d, "dovecot-uidlist", 10, 0);
}

static void one_whose_process_is_dead_goes(void **state)
{
	struct store_dir *d = *state;
	MB_AUTO_FREE char *text = NULL;
	char host[256] = "";
	struct dotlock l;
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	gethostname(host, sizeof(host) - 1);
	text = mb_xasprintf("%d:%s", (int)pid, host);
	outside_write(d, LOCK, text);
	assert_int_equal(dotlock_take(d->s, "dovecot-uidlist", 1000, false, &l), 0);
	dotlock_drop(d->s, &l);
	assert_false(tree_has(d, LOCK));
}

static void one_that_nobody_touches_goes(void **state)
{
	struct store_dir *d = *state;
	struct dotlock l;

	outside_write(d, LOCK, "1:another.host.example");
	assert_int_equal(dotlock_take(d->s, "dovecot-uidlist", 10, false, &l), -EBUSY);
	time_passes(400);
	assert_int_equal(dotlock_take(d->s, "dovecot-uidlist", 100, false, &l), 0);
	dotlock_drop(d->s, &l);
	assert_false(tree_has(d, LOCK));
}

/* Somebody thought us dead and took it: theirs stays. */
static void a_stolen_lock_is_left(void **state)
{
	struct store_dir *d = *state;
	struct dotlock l;

	assert_int_equal(dotlock_take(d->s, "dovecot-uidlist", 100, false, &l), 0);
	outside_unlink(d, LOCK);
	outside_write(d, LOCK, "1:theirs");
	dotlock_drop(d->s, &l);
	assert_text(d, LOCK, "1:theirs");
}

static int take_and_die(struct store_dir *d)
{
	struct dotlock l;

	return dotlock_take(d->s, "dovecot-uidlist", 100, false, &l);
}

static void our_own_goes_at_the_start(void **state)
{
	struct store_dir *d = *state;

	store_dir_kill(d, take_and_die);
	assert_true(tree_has(d, LOCK));
	store_dir_open(d);
	assert_false(tree_has(d, LOCK));
	outside_write(d, LOCK, "1:theirs");
	store_dir_reopen(d);
	assert_true(tree_has(d, LOCK));
}

static int take_and_replace(struct store_dir *d)
{
	struct dotlock l;
	int err = dotlock_take(d->s, "dovecot-uidlist", 100, false, &l);

	if (err >= 0)
		err = dovecot_file_replace(d->s, "dovecot-uidlist", "new", 3);
	dotlock_drop(d->s, &l);
	return err;
}

/* Old or new and no lock, wherever it stops. */
static void killed_at_each_step(void **state)
{
	struct store_dir *d = *state;

	for (int n = 1;; n++) {
		outside_write(d, "dovecot-uidlist", "old");
		bool more = store_dir_kill_at(d, n, take_and_replace);
		MB_AUTO_FREE char *text = tree_text(d, "dovecot-uidlist");

		assert_true(strcmp(text, "old") == 0 || strcmp(text, "new") == 0);
		store_dir_open(d);
		assert_false(tree_has(d, LOCK));
		assert_int_equal(staging_count(d), 0);
		if (!more)
			break;
		assert_true(n < 50);
	}
}

static void a_replaced_file_keeps_its_mode(void **state)
{
	struct store_dir *d = *state;
	struct stat st;

	outside_write(d, "dovecot-keywords", "0 a\n");
	assert_int_equal(fchmodat(d->mail_fd, "dovecot-keywords", 0640, 0), 0);
	assert_int_equal(dovecot_file_replace(d->s, "dovecot-keywords", "0 b\n", 4), 0);
	assert_text(d, "dovecot-keywords", "0 b\n");
	assert_int_equal(fstatat(d->mail_fd, "dovecot-keywords", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(dovecot_file_replace(d->s, ".None/x", "", 0), -ENOENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_says_whose_it_is),
		TEST(one_that_lives_is_waited_for),
		TEST(one_that_is_kept_is_waited_for_once),
		TEST(very_many_that_are_kept),
		TEST(one_that_died_meanwhile_goes),
		TEST(one_whose_process_is_dead_goes),
		TEST(one_that_nobody_touches_goes),
		TEST(a_stolen_lock_is_left),
		TEST(our_own_goes_at_the_start),
		TEST(killed_at_each_step),
		TEST(a_replaced_file_keeps_its_mode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
