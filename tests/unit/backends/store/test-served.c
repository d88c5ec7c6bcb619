/* test-served.c - a Dovecot that keeps its UIDs elsewhere is found out by what it leaves in the mail. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/store/served.h"
#include <stdio.h>
#include <string.h>

static void assert_served(struct store_dir *d, enum served wanted)
{
	enum served found;

	assert_int_equal(store_served(d->s, &found), 0);
	assert_int_equal(found, wanted);
}

static void without_one_there_is_nothing_to_say(void **state)
{
	struct store_dir *d = *state;

	store_make_box(d, ".work");
	store_deliver(d, "", "1.x,S=3,W=4", "one"); /* a Dovecot elsewhere may have called it so */
	outside_write(d, "dovecot.index.txt", "notes");
	assert_served(d, SERVED_BY_NONE);
}

static void an_index_without_a_list_is_outside(void **state)
{
	struct store_dir *d = *state;

	store_make_box(d, ".work");
	outside_write(d, ".work/dovecot.index.log", "x");
	assert_served(d, SERVED_OUTSIDE);
	outside_write(d, ".work/dovecot-uidlist", "3 V4 N1\n");
	assert_served(d, SERVED_INSIDE);
}

static void so_is_one_of_the_root(void **state)
{
	struct store_dir *d = *state;

	outside_write(d, "dovecot.list.index.log", "x");
	assert_served(d, SERVED_OUTSIDE);
	outside_write(d, "dovecot-uidlist", "3 V4 N1\n");
	assert_served(d, SERVED_INSIDE);
	outside_unlink(d, "dovecot-uidlist");
	assert_served(d, SERVED_OUTSIDE);
}

/* One list anywhere is enough: CONTROL= is for all mailboxes, and not all were opened. */
static void one_that_opened_some_mailboxes_is_inside(void **state)
{
	struct store_dir *d = *state;

	store_make_box(d, ".a");
	store_make_box(d, ".b");
	outside_write(d, ".a/dovecot.index.log", "x");
	outside_write(d, ".b/dovecot.index.log", "x");
	outside_write(d, ".b/dovecot-uidlist", "3 V4 N1\n");
	assert_served(d, SERVED_INSIDE);
}

static void notice(struct store_dir *d, uint32_t pid, const char *comm)
{
	struct origin o = {.replica = store_replica(d->s), .pid = pid};
	struct index_txn *tx;

	snprintf(o.comm, sizeof(o.comm), "%s", comm);
	assert_int_equal(index_begin(store_index(d->s), true, &tx), 0);
	assert_int_equal(served_noticed(tx, &o), 0);
	assert_int_equal(index_commit(tx), 0);
}

static void what_it_did_in_the_mount_tells_as_well(void **state)
{
	struct store_dir *d = *state;

	notice(d, 7, "neomutt");
	notice(d, 0, "imap"); /* at a peer */
	assert_served(d, SERVED_BY_NONE);
	notice(d, 7, "imap");
	notice(d, 8, "lmtp");
	assert_served(d, SERVED_OUTSIDE);
	store_dir_reopen(d);
	assert_served(d, SERVED_OUTSIDE);
	outside_write(d, "dovecot-uidlist", "3 V4 N1\n");
	assert_served(d, SERVED_INSIDE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(without_one_there_is_nothing_to_say),
		TEST(an_index_without_a_list_is_outside),
		TEST(so_is_one_of_the_root),
		TEST(one_that_opened_some_mailboxes_is_inside),
		TEST(what_it_did_in_the_mount_tells_as_well),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
