/* Changes behind the writer's back are in the log within moments; our own cost no scan. */
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/store/log.h"
#include "backends/store/server.h"
#include "backends/store/store-private.h"
#include "tests/support/store-dir.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

struct counted {
	enum record_type type;
	size_t n, scans;
};

static int count_record(const struct record *r, const struct position *end, uint64_t modseq,
			void *arg)
{
	struct counted *c = arg;

	(void)end, (void)modseq;
	c->n += r->type == c->type;
	c->scans += strcmp(r->origin.comm, "scan") == 0;
	return 0;
}

static struct counted records(struct store_dir *d, enum record_type type)
{
	struct counted c = {.type = type};
	struct position start;

	assert_int_equal(log_start(store_log(d->s), &start), 0);
	assert_int_equal(log_read(store_log(d->s), &start, count_record, &c, NULL), 0);
	return c;
}

static void expect(struct store_dir *d, enum record_type type, size_t n)
{
	const struct timespec pause = {.tv_nsec = 5000000};
	int64_t until = clock_mono_ns() + 5000000000ll;

	while (records(d, type).n < n && clock_mono_ns() < until)
		nanosleep(&pause, NULL);
	assert_int_equal(records(d, type).n, n);
}

static int setup(void **state)
{
	return store_dir_setup(state);
}

static void what_programs_do_is_logged(void **state)
{
	struct store_dir *d = *state;
	struct store_watch *w = NULL;

	assert_int_equal(store_watch_start(d->s, &w), 0);
	outside_write(d, "tmp/1.a.host", "one\n");
	outside_rename(d, "tmp/1.a.host", "new/1.a.host");
	expect(d, REC_ARRIVE, 1);
	outside_rename(d, "new/1.a.host", "cur/1.a.host:2,S");
	expect(d, REC_FLAGS, 1);
	outside_unlink(d, "cur/1.a.host:2,S");
	expect(d, REC_EXPUNGE, 1);
	store_watch_stop(w);
}

static void folders_that_come_are_watched(void **state)
{
	struct store_dir *d = *state;
	struct store_watch *w = NULL;

	assert_int_equal(store_watch_start(d->s, &w), 0);
	outside_mailbox(d, ".A");
	expect(d, REC_MAILBOX_CREATE, 2);
	outside_write(d, ".A/new/1.a.host", "one\n");
	expect(d, REC_ARRIVE, 1);
	outside_rename(d, ".A", ".B");
	expect(d, REC_MAILBOX_RENAME, 1);
	outside_write(d, ".B/new/2.a.host", "two\n");
	expect(d, REC_ARRIVE, 2);
	store_watch_stop(w);
}

static void folders_in_folders_too(void **state)
{
	struct store_dir *d = *state;
	struct store_watch *w = NULL;

	assert_int_equal(store_watch_start(d->s, &w), 0);
	outside_mkdir(d, "A");
	outside_mailbox(d, "A/B");
	expect(d, REC_MAILBOX_CREATE, 3); /* INBOX, A, A/B */
	outside_write(d, "A/B/new/1.a.host", "one\n");
	expect(d, REC_ARRIVE, 1);
	store_watch_stop(w);
}

static bool is_due_for_long(struct store_dir *d)
{
	const struct timespec pause = {.tv_nsec = 5000000};
	int64_t until = clock_mono_ns() + 5000000000ll;

	while (store_scan_is_due(d->s) && clock_mono_ns() < until)
		nanosleep(&pause, NULL);
	return store_scan_is_due(d->s);
}

/* No event says so: somebody found that the tree is not what the index says. */
static void what_only_a_scan_finds_is_looked_for(void **state)
{
	struct store_dir *d = *state;
	struct store_watch *w = NULL;

	assert_int_equal(store_watch_start(d->s, &w), 0);
	for (int i = 0; i < 3; i++) {
		store_lock(d->s);
		d->s->rescan = true;
		store_unlock(d->s);
		assert_false(is_due_for_long(d));
	}
	store_watch_stop(w);
}

static void our_own_changes_are_no_news(void **state)
{
	const struct timespec pause = {.tv_nsec = 200000000};
	struct store_dir *d = *state;
	struct store_watch *w = NULL;

	assert_int_equal(store_watch_start(d->s, &w), 0);
	for (int i = 0; i < 50; i++) {
		char name[32];

		snprintf(name, sizeof(name), "%d.a.host", i);
		store_deliver(d, "", name, "one\n");
	}
	nanosleep(&pause, NULL);
	assert_int_equal(records(d, REC_ARRIVE).n, 50);
	assert_int_equal(records(d, REC_ARRIVE).scans, 0);
	store_watch_stop(w);
}

/* As Dovecot does it: another file, renamed. */
static void replace_list(struct store_dir *d, const char *dir, const char *text)
{
	char temp[64], name[64];

	snprintf(temp, sizeof(temp), "%sdovecot-uidlist.tmp", dir);
	snprintf(name, sizeof(name), "%sdovecot-uidlist", dir);
	outside_write(d, temp, text);
	outside_rename(d, temp, name);
}

static uint32_t validity_of(struct store_dir *d, const char *name)
{
	struct mailbox m = {0};
	uint32_t v;

	store_get_box(d, name, &m);
	v = m.uid_validity;
	mailbox_release(&m);
	return v;
}

/* Nothing but the list changes, and nobody looks but the watch. */
static void a_list_that_is_replaced_is_taken(void **state)
{
	struct store_dir *d = *state;
	struct store_watch *w = NULL;

	store_deliver(d, "", "1.a.host", "one\n");
	store_deliver(d, "", "2.a.host", "two\n");
	assert_int_equal(store_watch_start(d->s, &w), 0);
	replace_list(d, "", "3 V4000000000 N10\n5 :2.a.host\n8 :1.a.host\n");
	expect(d, REC_RENUMBER, 2);
	assert_int_equal(validity_of(d, "INBOX"), 4000000000u);
	replace_list(d, "", "3 V4000000000 N10\n5 :2.a.host\n9 :1.a.host\n");
	expect(d, REC_RENUMBER, 3);
	store_watch_stop(w);
}

static bool is_quiet(struct store_dir *d, int64_t ms)
{
	const struct timespec pause = {.tv_nsec = ms * 1000000};
	uint64_t before = 0, after = 0;

	before = records(d, REC_RENUMBER).n + records(d, REC_MAILBOX_STATE).n;
	nanosleep(&pause, NULL);
	after = records(d, REC_RENUMBER).n + records(d, REC_MAILBOX_STATE).n;
	return before == after;
}

/* What no log says, as its UIDVALIDITY is the lower one, is mended by the next that settles. */
static void a_list_with_a_lower_uidvalidity_is_mended(void **state)
{
	struct store_dir *d = *state;
	struct store_watch *w = NULL;
	struct scan_report report;
	char want[64];

	outside_mailbox(d, ".A");
	assert_int_equal(store_scan(d->s, false, &report), 0);
	assert_int_equal(store_watch_start(d->s, &w), 0);
	for (int i = 0; i < 3; i++) {
		replace_list(d, ".A/", "3 V1 N1\n");
		assert_true(is_quiet(d, 100)); /* the watch has looked */
		assert_int_equal(store_scan(d->s, false, &report), 0);
		assert_int_equal(store_settle_uids(d->s), 0);
		snprintf(want, sizeof(want), "3 V%u N1\n", (unsigned)validity_of(d, "A"));
		assert_text(d, ".A/dovecot-uidlist", want);
		assert_int_equal(store_settle_uids(d->s), 0); /* nothing is due any more */
	}
	store_watch_stop(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_programs_do_is_logged, setup,
						store_dir_teardown),
		cmocka_unit_test_setup_teardown(folders_that_come_are_watched, setup,
						store_dir_teardown),
		cmocka_unit_test_setup_teardown(folders_in_folders_too, store_dir_setup_fs,
						store_dir_teardown),
		cmocka_unit_test_setup_teardown(what_only_a_scan_finds_is_looked_for, setup,
						store_dir_teardown),
		cmocka_unit_test_setup_teardown(a_list_that_is_replaced_is_taken, setup,
						store_dir_teardown),
		cmocka_unit_test_setup_teardown(a_list_with_a_lower_uidvalidity_is_mended, setup,
						store_dir_teardown),
		cmocka_unit_test_setup_teardown(our_own_changes_are_no_news, setup,
						store_dir_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
