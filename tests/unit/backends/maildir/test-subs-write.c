/* The file of subscriptions is written as Dovecot writes it: locked, whole, and only what is ours. */
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/pidlock.h"
#include "backends/mail/subscriptions.h"
#include "tests/support/foreign.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define LOCK SUBSCRIPTIONS_NAME ".lock"

static char *path_of(struct foreign *f, const char *name)
{
	return mb_xasprintf("%s/%s", f->path, name);
}

/* Owned. */
static char *read_it(struct foreign *f)
{
	MB_AUTO_FREE char *path = path_of(f, SUBSCRIPTIONS_NAME);
	char *got = mb_xcalloc(1, 4096);
	FILE *file = fopen(path, "r");

	assert_non_null(file);
	assert_true(fread(got, 1, 4095, file) < 4095);
	fclose(file);
	return got;
}

static void file_is(struct foreign *f, const char *text)
{
	MB_AUTO_FREE char *got = read_it(f);

	assert_string_equal(got, text);
}

static void subscribe(struct foreign *f, const char *name, bool on)
{
	struct guid g = local_box(f, name);

	assert_false(guid_is_zero(&g));
	assert_int_equal(memory_subscribe(f->local, &g, on), 0);
}

static bool subscribed(struct foreign *f, const char *name)
{
	struct guid g = local_box(f, name);

	assert_false(guid_is_zero(&g));
	return tree_find(memory_tree(f->local), &g)->subscribed;
}

/* A to D, of which C is subscribed. */
static void set_up(struct foreign *f)
{
	foreign_mkdir(f, ".A");
	foreign_mkdir(f, ".B");
	foreign_mkdir(f, ".C");
	foreign_mkdir(f, ".D");
	foreign_write(f, ".D/cur/1.d:2,", "one\n");
	foreign_write(f, SUBSCRIPTIONS_NAME, "V\t2\n\nC\nshared\tx.y\tBox\n");
	foreign_sync(f);
}

static void what_is_written_is_whole_and_like_the_old_one(void **state)
{
	struct foreign *f = *state;
	MB_AUTO_FREE char *path = path_of(f, SUBSCRIPTIONS_NAME);
	struct stat before, after;

	set_up(f);
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(stat(path, &before), 0);
	subscribe(f, "B", true);
	subscribe(f, "A", true);
	subscribe(f, "C", false);
	foreign_sync(f);
	file_is(f, "V\t2\n\nshared\tx.y\tBox\nA\nB\n");
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(after.st_mode & 0777, 0640);
	assert_true(before.st_ino != after.st_ino);
	assert_int_equal(foreign_tmp(f, ""), 0);
	assert_false(foreign_exists(f, LOCK));
}

/* Nothing is written that would say the same. */
static void a_file_that_is_right_stays(void **state)
{
	struct foreign *f = *state;
	MB_AUTO_FREE char *path = path_of(f, SUBSCRIPTIONS_NAME);
	struct stat before, after;

	set_up(f);
	assert_int_equal(stat(path, &before), 0);
	subscribe(f, "A", true);
	foreign_write(f, SUBSCRIPTIONS_NAME, "V\t2\n\nC\nshared\tx.y\tBox\nA\n");
	foreign_sync(f);
	local_deliver(f, local_box(f, "B"), "two\n");
	foreign_sync(f);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	file_is(f, "V\t2\n\nC\nshared\tx.y\tBox\nA\n");
}

static void a_lock_that_is_kept_is_waited_for_and_told(void **state)
{
	struct foreign *f = *state;

	set_up(f);
	subscribe(f, "A", true);
	local_deliver(f, GUID_INBOX, "mail\n");
	foreign_write(f, LOCK, "1:another.host.example");
	assert_int_equal(foreign_try(f), MB_E_STALE);
	file_is(f, "V\t2\n\nC\nshared\tx.y\tBox\n");
	assert_int_equal(foreign_count(f, ""), 1);
	assert_true(foreign_exists(f, LOCK));
	assert_int_equal(foreign_tmp(f, ""), 0);
	foreign_unlink(f, LOCK);
	foreign_sync(f);
	file_is(f, "V\t2\n\nC\nshared\tx.y\tBox\nA\n");
}

static void a_lock_of_a_dead_process_is_taken_away(void **state)
{
	struct foreign *f = *state;
	char text[PIDLOCK_TEXT_MAX], dead[PIDLOCK_TEXT_MAX];

	set_up(f);
	subscribe(f, "A", true);
	pidlock_text(text);
	snprintf(dead, sizeof(dead), "4194304%s", strchr(text, ':')); /* above any pid_max */
	foreign_write(f, LOCK, dead);
	foreign_sync(f);
	assert_false(foreign_exists(f, LOCK));
	file_is(f, "V\t2\n\nC\nshared\tx.y\tBox\nA\n");
}

/* ---- Between the look and the lock ------------------------------------------------------------ */

struct meddling {
	struct foreign *f;
	const char *text; /* NULL: the file goes */
	bool done;
};

/* The lock is about to be taken. */
static int meddle(uint64_t step, const char *what, void *arg)
{
	struct meddling *x = arg;

	(void)step;
	if (x->done || strcmp(what, "create") != 0)
		return 0;
	x->done = true;
	if (x->text)
		foreign_write(x->f, SUBSCRIPTIONS_NAME, x->text);
	else
		foreign_unlink(x->f, SUBSCRIPTIONS_NAME);
	return 0;
}

static void meddled_sync(struct foreign *f, const char *text)
{
	struct meddling x = {.f = f, .text = text};

	io_set_hook(meddle, &x);
	assert_int_equal(foreign_try(f), 0);
	io_set_hook(NULL, NULL);
	assert_true(x.done);
}

static void what_a_program_wrote_meanwhile_stays(void **state)
{
	struct foreign *f = *state;

	set_up(f);
	subscribe(f, "A", true);
	meddled_sync(f, "V\t2\n\nB\nshared\tx.y\tBox\nmore\n"); /* B instead of C */
	file_is(f, "V\t2\n\nB\nshared\tx.y\tBox\nmore\nA\n");
	foreign_sync(f);
	assert_true(subscribed(f, "B"));
	assert_false(subscribed(f, "C"));
	file_is(f, "V\t2\n\nB\nshared\tx.y\tBox\nmore\nA\n");
}

static void a_file_that_goes_meanwhile_is_made_with_all(void **state)
{
	struct foreign *f = *state;

	set_up(f);
	subscribe(f, "A", true);
	meddled_sync(f, NULL);
	file_is(f, "V\t2\n\nA\nC\n");
	foreign_sync(f);
	file_is(f, "V\t2\n\nA\nC\n");
}

/* ---- Cut -------------------------------------------------------------------------------------- */

struct cutting {
	uint64_t at, n;
};

/* Nothing more is done from there on. */
static int cut(uint64_t step, const char *what, void *arg)
{
	struct cutting *c = arg;

	(void)step, (void)what;
	return ++c->n >= c->at ? -EIO : 0;
}

/* Renames with their lines, a delete, and changes of subscriptions: wherever it fails, the next session ends
 * as if nothing had been. */
static void one_failure(void **state, uint64_t at, bool *ret_failed)
{
	struct foreign *f = *state;
	struct cutting c = {.at = at};
	struct guid g;

	set_up(f);
	subscribe(f, "D", true);
	foreign_sync(f);
	g = local_box(f, "C");
	memory_rename(f->local, &g, &GUID_ZERO, "Z");
	g = local_box(f, "A");
	memory_rename(f->local, &g, &GUID_ZERO, "C");
	subscribe(f, "B", true);
	g = local_box(f, "D");
	memory_expunge(f->local, &local_find(f, "one\n")->guid, 0);
	memory_delete(f->local, &g);
	io_set_hook(cut, &c);
	*ret_failed = foreign_try(f) < 0;
	io_set_hook(NULL, NULL);
	foreign_sync(f);
	MB_AUTO_FREE char *got = read_it(f); /* in one step, or in two */
	if (strcmp(got, "V\t2\n\nshared\tx.y\tBox\nZ\nB\n") != 0)
		assert_string_equal(got, "V\t2\n\nshared\tx.y\tBox\nB\nZ\n");
	assert_false(subscribed(f, "C"));
	assert_false(foreign_exists(f, LOCK));
}

static void a_failure_at_any_step_is_made_good(void **state)
{
	bool failed = true;
	uint64_t at;

	(void)state;
	for (at = 1; failed; at++) {
		void *own = NULL;

		assert_int_equal(foreign_setup(&own), 0);
		one_failure(&own, at, &failed);
		assert_int_equal(foreign_teardown(&own), 0);
	}
	assert_true(at > 20);
}

#define test(f) cmocka_unit_test_setup_teardown(f, foreign_setup, foreign_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(what_is_written_is_whole_and_like_the_old_one),
		test(a_file_that_is_right_stays),
		test(a_lock_that_is_kept_is_waited_for_and_told),
		test(a_lock_of_a_dead_process_is_taken_away),
		test(what_a_program_wrote_meanwhile_stays),
		test(a_file_that_goes_meanwhile_is_made_with_all),
		cmocka_unit_test(a_failure_at_any_step_is_made_good),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
