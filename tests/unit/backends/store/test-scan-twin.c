/* test-scan-twin.c - several names of one file: copies, and one message in two states. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static struct scan_report scan(struct store_dir *d)
{
	struct scan_report r;

	store_dir_rescan(d, &r);
	return r;
}

static void assert_same(const struct guid *a, const struct guid *b)
{
	assert_true(guid_equal(a, b));
}

static void a_hard_link_elsewhere_is_a_copy(void **state)
{
	struct store_dir *d = *state;
	struct guid a, b;

	store_make_box(d, ".A");
	store_deliver(d, "", "1.x", "a");
	outside_link(d, "new/1.x", ".A/cur/2.x:2,S");
	assert_int_equal(scan(d).arrived, 1);
	a = store_guid(d, "1.x");
	b = store_guid(d, "2.x:2,S");
	assert_same(&a, &b);
	store_consistent(d);
}

static void links_among_new_files_are_copies_too(void **state)
{
	struct store_dir *d = *state;
	struct guid a, b;

	store_make_box(d, ".A");
	outside_write(d, "new/1.x", "a");
	outside_link(d, "new/1.x", ".A/cur/2.x:2,S");
	assert_int_equal(scan(d).arrived, 2);
	a = store_guid(d, "1.x");
	b = store_guid(d, "2.x:2,S");
	assert_same(&a, &b);
	store_consistent(d);
}

/* A program stopped between link and unlink: one message in two states. */
static void one_message_in_new_and_cur_is_one(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	store_deliver(d, "", "1.x", "a");
	outside_link(d, "new/1.x", "cur/1.x:2,S");
	r = scan(d);
	assert_int_equal(r.arrived, 0);
	outside_unlink(d, "new/1.x"); /* it goes on */
	r = scan(d);
	assert_int_equal(r.expunged, 0);
	assert_list(d, "INBOX/cur/1.x:2,S");
	store_consistent(d);
}

static void a_link_in_the_same_mailbox_is_a_copy(void **state)
{
	struct store_dir *d = *state;
	struct guid a, b;

	store_deliver(d, "", "1.x", "a");
	outside_link(d, "new/1.x", "cur/other:2,");
	assert_int_equal(scan(d).arrived, 1);
	a = store_guid(d, "1.x");
	b = store_guid(d, "other:2,");
	assert_same(&a, &b);
	store_consistent(d);
}

/* The message itself went to one of the two names; the other is its copy. */
/* As the file system does that gives the inode of a removed file to the next one. */
static void give_inode(struct store_dir *d, struct entry *e, const char *path)
{
	struct index_txn *tx;
	struct stat st;

	assert_int_equal(fstatat(d->mail_fd, path, &st, 0), 0);
	e->ino = st.st_ino;
	assert_int_equal(index_begin(d->s->index, true, &tx), 0);
	assert_int_equal(index_put_entry(tx, e), 0);
	assert_int_equal(index_commit(tx), 0);
}

/* What took the inode of a message that was removed is no copy of it: another mail. */
static void a_linked_file_on_the_inode_of_a_removed_one_is_new(void **state)
{
	struct store_dir *d = *state;
	struct entry e = {0};
	struct guid now;

	store_deliver(d, "", "1.x", "a");
	store_find(d, "1.x", &e);
	outside_unlink(d, "new/1.x");
	outside_write(d, "tmp/2.x", "another");
	outside_link(d, "tmp/2.x", "new/2.x"); /* the MDA has not unlinked tmp/ yet */
	give_inode(d, &e, "new/2.x");
	assert_int_equal(scan(d).arrived, 1);
	now = store_guid(d, "2.x");
	assert_false(guid_equal(&now, &e.copy.guid));
	entry_release(&e);
	assert_list(d, "INBOX/new/2.x");
	store_consistent(d);
}

static void links_of_a_message_that_was_moved(void **state)
{
	struct store_dir *d = *state;
	struct guid before, a, b;

	store_make_box(d, ".A");
	store_deliver(d, "", "1.x", "a");
	before = store_guid(d, "1.x");
	outside_link(d, "new/1.x", ".A/new/2.x");
	outside_unlink(d, "new/1.x");
	outside_link(d, ".A/new/2.x", ".A/new/3.x");
	scan(d);
	assert_list(d, "A/new/2.x | A/new/3.x");
	a = store_guid(d, "2.x");
	b = store_guid(d, "3.x");
	assert_same(&a, &before);
	assert_same(&b, &before);
	store_consistent(d);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_hard_link_elsewhere_is_a_copy),
		TEST(links_among_new_files_are_copies_too),
		TEST(one_message_in_new_and_cur_is_one),
		TEST(a_link_in_the_same_mailbox_is_a_copy),
		TEST(links_of_a_message_that_was_moved),
		TEST(a_linked_file_on_the_inode_of_a_removed_one_is_new),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
