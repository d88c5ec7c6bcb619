/* test-scan-match.c - files that programs changed behind our back: which message is which. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

static void deliveries_are_found(void **state)
{
	struct store_dir *d = *state;
	struct entry e = {0};

	outside_write(d, "new/1.x", "one");
	outside_write(d, "cur/2.x:2,FS", "two");
	outside_write(d, "cur/3.x", "no info part");
	outside_write(d, "new/4.x:2,S", "mdeliver does that");
	assert_int_equal(scan(d).arrived, 4);
	assert_list(d, "INBOX/cur/2.x:2,FS | INBOX/cur/3.x | INBOX/new/1.x | INBOX/new/4.x:2,S");
	store_find(d, "2.x:2,FS", &e);
	assert_int_equal(e.copy.flags.set, FLAG_MASK(FLAG_FLAGGED) | FLAG_MASK(FLAG_SEEN));
	entry_release(&e);
	store_consistent(d);
}

/* Row 106: a program that delivers without tmp/ is waited for, and nothing tells when it has done. */
static void a_file_that_is_being_written_is_no_message_yet(void **state)
{
	struct store_dir *d = *state;

	outside_write(d, "new/1.x", "half");
	int fd = openat(d->mail_fd, "new/1.x", O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(scan(d).arrived, 0);
	assert_int_equal(write(fd, " and half", 9), 9);
	close(fd);
	assert_int_equal(scan(d).arrived, 1);
	assert_list(d, "INBOX/new/1.x");
	assert_text(d, "new/1.x", "half and half");
	fd = openat(d->mail_fd, "new/1.x", O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_int_equal(write(fd, "!", 1), 1);
	struct scan_report r;
	assert_int_equal(store_scan(d->s, true, &r), 0);
	assert_int_equal(r.edited, 0);
	close(fd);
	assert_int_equal(store_scan(d->s, true, &r), 0);
	assert_int_equal(r.edited, 1);
	store_consistent(d);
}

static void things_that_are_no_messages_are_left_alone(void **state)
{
	struct store_dir *d = *state;

	assert_int_equal(symlinkat("/etc/passwd", d->mail_fd, "cur/link"), 0);
	assert_int_equal(mkfifoat(d->mail_fd, "cur/fifo", 0600), 0);
	outside_mkdir(d, "cur/directory");
	outside_write(d, "cur/.hidden", "a");
	outside_write(d, "tmp/half", "a");
	outside_write(d, "cur/empty:2,", "");
	assert_int_equal(scan(d).arrived, 1);
	assert_list(d, "INBOX/cur/empty:2,");
}

static void flags_are_found(void **state)
{
	struct store_dir *d = *state;
	struct guid before, after;

	store_deliver(d, "", "1.x", "a");
	before = store_guid(d, "1.x");
	outside_rename(d, "new/1.x", "cur/1.x:2,RS");
	assert_int_equal(scan(d).flagged, 1);
	after = store_guid(d, "1.x:2,RS");
	assert_same(&before, &after);
	outside_rename(d, "cur/1.x:2,RS", "cur/1.x:2,");
	assert_int_equal(scan(d).flagged, 1);
	assert_list(d, "INBOX/cur/1.x:2,");
	store_consistent(d);
}

static void moves_are_found_by_inode(void **state)
{
	struct store_dir *d = *state;
	struct guid before, after;
	struct scan_report r;

	store_make_box(d, ".A");
	store_deliver(d, "", "1.x", "a");
	before = store_guid(d, "1.x");
	outside_rename(d, "new/1.x", ".A/cur/other.name:2,S");
	r = scan(d);
	assert_int_equal(r.moved, 1);
	assert_int_equal(r.arrived + r.expunged, 0);
	after = store_guid(d, "other.name:2,S");
	assert_same(&before, &after);
	outside_rename(d, ".A/cur/other.name:2,S",
		       ".A/cur/third:2,S"); /* another base, same place */
	r = scan(d);
	assert_int_equal(r.arrived + r.expunged, 0);
	after = store_guid(d, "third:2,S");
	assert_same(&before, &after);
	store_consistent(d);
}

/* mv between file systems, or a MUA: written anew, same name, same bytes. */
static void moves_are_found_by_name(void **state)
{
	struct store_dir *d = *state;
	struct guid before, after;

	store_make_box(d, ".A");
	store_deliver(d, "", "1.x", "the body");
	before = store_guid(d, "1.x");
	outside_write(d, ".A/cur/1.x:2,S", "the body");
	outside_unlink(d, "new/1.x");
	assert_int_equal(scan(d).moved, 1);
	after = store_guid(d, "1.x:2,S");
	assert_same(&before, &after);
	store_consistent(d);
}

static void another_body_under_the_same_name_elsewhere_is_no_move(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	store_make_box(d, ".A");
	store_deliver(d, "", "1.x", "the body");
	outside_write(d, ".A/cur/1.x:2,S", "something longer");
	outside_unlink(d, "new/1.x");
	r = scan(d);
	assert_int_equal(r.moved, 0);
	assert_int_equal(r.arrived, 1);
	assert_int_equal(r.expunged, 1);
	store_consistent(d);
}

/* File systems give an inode again at once: size and time tell. */
static void an_inode_that_was_given_again_is_another_message(void **state)
{
	struct store_dir *d = *state;
	struct index_txn *tx;
	struct entry e = {0};
	struct guid before, after;
	struct stat st;

	store_make_box(d, ".A");
	store_deliver(d, "", "1.x", "aaaa");
	before = store_guid(d, "1.x");
	outside_unlink(d, "new/1.x");
	outside_write(d, ".A/new/2.x", "bbbb");
	struct timespec t[2] = {{5000, 0}, {5000, 0}};
	assert_int_equal(utimensat(d->mail_fd, ".A/new/2.x", t, 0), 0);
	assert_int_equal(fstatat(d->mail_fd, ".A/new/2.x", &st, 0), 0);
	assert_int_equal(index_begin(store_index(d->s), true, &tx), 0);
	assert_int_equal(index_get_entry(tx, &before, 0, &e), 0);
	e.ino = st.st_ino;
	assert_int_equal(index_put_entry(tx, &e), 0);
	assert_int_equal(index_commit(tx), 0);
	entry_release(&e);
	scan(d);
	assert_list(d, "A/new/2.x");
	after = store_guid(d, "2.x");
	assert_false(guid_equal(&before, &after));
}

static void equal_names_with_other_bytes_are_two(void **state)
{
	struct store_dir *d = *state;

	outside_write(d, "new/1.x", "one");
	outside_write(d, "cur/1.x:2,S", "another");
	outside_write(d, "cur/1.x:2,F", "third");
	scan(d);
	assert_list(d, "INBOX/cur/1.x:2,F | INBOX/cur/1.x:2,S | INBOX/new/1.x");
	store_consistent(d);
	store_dir_reopen(d);
	store_consistent(d);
	outside_rename(d, "cur/1.x:2,F", "cur/1.x:2,FT");
	scan(d);
	assert_list(d, "INBOX/cur/1.x:2,FT | INBOX/cur/1.x:2,S | INBOX/new/1.x");
	store_consistent(d);
}

/* ---- bodies that were lost ---- */

static void lose(struct store_dir *d, const char *path)
{
	store_dir_close(d);
	outside_unlink(d, path);
	store_dir_power_cut(d);
	store_dir_open(d);
}

static void a_lost_file_that_is_back_is_found(void **state)
{
	struct store_dir *d = *state;
	struct guid before, after;

	store_deliver(d, "", "1.x", "the body");
	before = store_guid(d, "1.x");
	lose(d, "new/1.x");
	assert_list(d, "INBOX/new/1.x lost");
	outside_write(d, "new/1.x", "the body"); /* from a backup */
	scan(d);
	assert_list(d, "INBOX/new/1.x");
	after = store_guid(d, "1.x");
	assert_same(&before, &after);
	store_consistent(d);
}

static void a_lost_file_that_is_back_with_other_letters_is_found(void **state)
{
	struct store_dir *d = *state;

	store_deliver(d, "", "1.x", "the body");
	lose(d, "new/1.x");
	outside_write(d, "cur/1.x:2,S", "the body");
	scan(d);
	assert_list(d, "INBOX/cur/1.x:2,S");
	store_consistent(d);
}

/* Another mail under a lost one's name must not stay invisible. */
static void another_mail_under_a_lost_name_arrives(void **state)
{
	struct store_dir *d = *state;
	char *list;

	store_deliver(d, "", "1.x", "the body");
	lose(d, "new/1.x");
	outside_write(d, "new/1.x", "quite another one");
	scan(d);
	list = store_list(d);
	assert_string_equal(list, "INBOX/new/1.x | INBOX/new/1.x lost");
	free(list);
}

/* Killed after a rename over a message, before its record: what it replaced is in deleted/. */
static void a_replaced_message_is_not_taken_for_the_new_one(void **state)
{
	static const char *const bodies[] = {"same", "more", "x", "longer than that"};
	struct store_dir *d = *state;

	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		struct entry e = {0}, other = {0};
		char *name = mb_xasprintf("%zu.x", i), *path = mb_xasprintf("new/%s", name);

		store_deliver(d, "", name, "same");
		store_find(d, name, &e);
		assert_int_equal(file_to_deleted(d->s, path, &e, true, NULL), 0);
		outside_write(d, "tmp/other", bodies[i]);
		outside_rename(d, "tmp/other", path);
		struct scan_report r = scan(d);
		assert_int_equal(r.damaged + r.edited, 0);
		assert_int_equal(r.arrived, 1);
		assert_int_equal(r.expunged, 1);
		store_find(d, name, &other);
		assert_false(guid_equal(&e.copy.guid, &other.copy.guid));
		entry_release(&e);
		entry_release(&other);
		free(name);
		free(path);
		store_consistent(d);
	}
}

/* Linear in the number of files, moved or linked. */
static void many_moves_and_links(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;
	const int n = 3000;

	store_make_box(d, ".A");
	for (int i = 0; i < n; i++) {
		char *path = mb_xasprintf("cur/%d.x:2,", i);

		outside_write(d, path, "a");
		free(path);
	}
	r = scan(d);
	assert_int_equal(r.arrived, n);
	for (int i = 0; i < n; i++) {
		char *path = mb_xasprintf("cur/%d.x:2,", i), *to = mb_xasprintf(".A/%s", path);

		if (i % 2)
			outside_rename(d, path, to);
		else
			outside_link(d, path, to);
		free(path);
		free(to);
	}
	r = scan(d);
	assert_int_equal(r.moved, n / 2);
	assert_int_equal(r.arrived, n / 2);
	assert_int_equal(r.expunged, 0);
	store_consistent(d);
}

static uint64_t id_of(struct store_dir *d, const char *name)
{
	struct entry e = {0};
	uint64_t id;

	store_find(d, name, &e);
	id = e.copy.id;
	entry_release(&e);
	return id;
}

/* Each of several links is the message whose name it has, or else one of its mailbox. */
static void links_that_move_at_once_are_told_apart_by_name(void **state)
{
	static const char *const box[] = {".A", ".B", ".C"};
	struct store_dir *d = *state;
	uint64_t id[3];

	store_deliver(d, "", "0.x", "a");
	for (int i = 0; i < 3; i++) {
		char *to = mb_xasprintf("%s/cur/%d.x:2,", box[i], i + 1);

		store_make_box(d, box[i]);
		outside_link(d, "new/0.x", to);
		free(to);
	}
	scan(d);
	for (int i = 0; i < 3; i++)
		id[i] = id_of(d, (char[]){(char)('1' + i), '.', 'x', ':', '2', ',', 0});
	outside_rename(d, ".A/cur/1.x:2,", ".B/cur/1.x:2,");
	outside_rename(d, ".B/cur/2.x:2,", ".C/cur/2.x:2,S");
	outside_rename(d, ".C/cur/3.x:2,", ".C/cur/other:2,");
	outside_unlink(d, "new/0.x");
	scan(d);
	assert_list(d, "B/cur/1.x:2, | C/cur/2.x:2,S | C/cur/other:2,");
	assert_int_equal(id_of(d, "1.x:2,"), id[0]);
	assert_int_equal(id_of(d, "2.x:2,S"), id[1]);
	assert_int_equal(id_of(d, "other:2,"), id[2]);
	store_consistent(d);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(deliveries_are_found),
		TEST(a_file_that_is_being_written_is_no_message_yet),
		TEST(things_that_are_no_messages_are_left_alone),
		TEST(flags_are_found),
		TEST(moves_are_found_by_inode),
		TEST(moves_are_found_by_name),
		TEST(another_body_under_the_same_name_elsewhere_is_no_move),
		TEST(an_inode_that_was_given_again_is_another_message),
		TEST(equal_names_with_other_bytes_are_two),
		TEST(a_lost_file_that_is_back_is_found),
		TEST(a_lost_file_that_is_back_with_other_letters_is_found),
		TEST(another_mail_under_a_lost_name_arrives),
		TEST(a_replaced_message_is_not_taken_for_the_new_one),
		TEST(many_moves_and_links),
		TEST(links_that_move_at_once_are_told_apart_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
