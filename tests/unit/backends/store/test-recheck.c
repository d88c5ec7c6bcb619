/* test-recheck.c - a message that was written on after it was noticed, without any other change. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/err.h"
#include "backends/store/server.h"
#include <stdio.h>
#include <unistd.h>

static struct guid grown(struct store_dir *d)
{
	struct scan_report r;
	struct guid g;

	outside_write(d, "new/1.x", "one\n");
	outside_write(d, "new/2.x", "two\n");
	time_passes(10);
	store_dir_rescan(d, &r);
	store_dir_rescan(d, &r);
	g = store_guid(d, "1.x");
	outside_write(d, "new/1.x", "one\nand more\n");
	store_dir_rescan(d, &r);
	assert_int_equal(r.edited, 0); /* no directory has changed */
	assert_int_equal(store_open_body(d->s, &g, 0), MB_E_DAMAGED);
	return g;
}

static void read_now(struct store_dir *d, const char *text)
{
	struct guid g = store_guid(d, "1.x");
	int fd = store_open_body(d->s, &g, 0);
	char data[64] = "";

	assert_true(fd >= 0);
	assert_true(read(fd, data, sizeof(data) - 1) > 0);
	close(fd);
	assert_string_equal(data, text);
}

static void what_was_written_is_a_message_of_its_own(void **state)
{
	struct store_dir *d = *state;
	struct guid g = grown(d);

	assert_int_equal(store_recheck(d->s, &g, 0), 1);
	assert_int_equal(log_last(d), REC_EDIT);
	read_now(d, "one\nand more\n");
	assert_list(d, "INBOX/new/1.x | INBOX/new/2.x");
	store_consistent(d);
}

static void in_a_watched_tree_too(void **state)
{
	struct store_dir *d = *state;
	struct guid g = grown(d);

	store_set_watched(d->s, true);
	assert_int_equal(store_recheck(d->s, &g, 0), 1);
	read_now(d, "one\nand more\n");
}

static void from_another_process(void **state)
{
	struct store_dir *d = *state;
	struct guid g = grown(d);
	struct store_server *server;
	struct store_client *c;

	assert_int_equal(store_server_start(d->s, NULL, NULL, &server), 0);
	assert_int_equal(store_client_connect(d->dir, &c), 0);
	assert_int_equal(store_client_recheck(c, &g, 0), 1);
	assert_int_equal(store_client_recheck(c, &g, 0), 0); /* it is another one now */
	store_client_close(c);
	store_server_stop(server);
	read_now(d, "one\nand more\n");
}

static void what_has_not_changed_costs_no_scan(void **state)
{
	struct store_dir *d = *state;
	uint64_t n;

	grown(d);
	n = log_records(d);
	struct guid other = store_guid(d, "2.x"), none = {{1}};
	assert_int_equal(store_recheck(d->s, &other, 0), 0);
	assert_true(store_recheck(d->s, &none, 0) < 0);
	assert_int_equal(log_records(d), n);
}

static void one_that_has_gone_is_looked_for(void **state)
{
	struct store_dir *d = *state;
	struct guid g, moved;

	outside_mailbox(d, ".work");
	outside_write(d, "new/1.x", "one\n");
	outside_write(d, "new/2.x", "two\n");
	outside_write(d, "new/3.x", "three\n");
	store_dir_reopen(d);
	g = store_guid(d, "1.x");
	moved = store_guid(d, "2.x");
	outside_unlink(d, "new/1.x");
	outside_rename(d, "new/2.x", "cur/2.x:2,S");
	assert_int_equal(store_open_body(d->s, &g, 0), MB_E_LOST);
	assert_int_equal(store_recheck(d->s, &g, 0), 1);
	assert_int_equal(store_recheck(d->s, &g, 0), 0); /* that is known now */
	assert_int_equal(store_recheck(d->s, &moved, 0), 0);
	assert_list(d, "INBOX/cur/2.x:2,S | INBOX/new/3.x");
	store_consistent(d);
}

/* The guard holds mass expunges: one scan has looked for them, and none is made for each. */
static void what_is_held_costs_no_scan(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;
	char path[32];
	struct guid g;

	for (int i = 0; i < 30; i++) {
		snprintf(path, sizeof(path), "new/%d.x", i);
		outside_write(d, path, "text\n");
	}
	store_dir_reopen(d);
	g = store_guid(d, "7.x");
	for (int i = 0; i < 30; i++) {
		snprintf(path, sizeof(path), "new/%d.x", i);
		outside_unlink(d, path);
	}
	time_passes(10);
	store_dir_rescan(d, &r);
	assert_true(r.held > 0);
	assert_int_equal(store_open_body(d->s, &g, 0), MB_E_LOST);
	assert_int_equal(store_recheck(d->s, &g, 0), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, store_dir_setup, store_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_was_written_is_a_message_of_its_own),
		T(in_a_watched_tree_too),
		T(from_another_process),
		T(what_has_not_changed_costs_no_scan),
		T(one_that_has_gone_is_looked_for),
		T(what_is_held_costs_no_scan),
	};

	return cmocka_run_group_tests_name("recheck", tests, NULL, NULL);
}
