/* test-uidlist.c - what Dovecot's dovecot-uidlist says of UIDs is taken and logged. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/mem.h"
#include "backends/store/uidlist.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GUID_HEX "50385f36b5c4026b8c0f000083ecc375"
#define MAIL_HEX "0123456789abcdef0123456789abcdef"

static void assert_box(struct store_dir *d, uint32_t validity, uint32_t next)
{
	struct mailbox m = {0};

	store_get_box(d, "INBOX", &m);
	if (validity)
		assert_int_equal(m.uid_validity, validity);
	assert_int_equal(m.uid_next, next);
	mailbox_release(&m);
}

static uint32_t validity_of(struct store_dir *d)
{
	struct mailbox m = {0};
	uint32_t v;

	store_get_box(d, "INBOX", &m);
	v = m.uid_validity;
	mailbox_release(&m);
	return v;
}

/* Dovecot numbers what it finds by name, we by arrival. */
static void its_uids_are_taken(void **state)
{
	struct store_dir *d = *state;
	uint64_t records;

	store_deliver(d, "", "2.x", "two");
	store_deliver(d, "", "1.x", "one");
	assert_int_equal(store_uid(d, "2.x"), 1);
	store_write_uidlist(d, "3 V4000000000 N1 G" GUID_HEX "\n1 :1.x\n2 :2.x\n");
	assert_int_equal(store_uid(d, "1.x"), 1);
	assert_int_equal(store_uid(d, "2.x"), 2);
	assert_int_equal(log_last(d), REC_RENUMBER);
	assert_box(d, 4000000000u, 3);
	records = log_records(d);
	store_write_uidlist(d, "3 V4000000000 N3 G" GUID_HEX "\n1 W3 :1.x\n2 :2.x\n");
	assert_true(log_records(d) == records);
	store_dir_reopen(d);
	assert_int_equal(store_uid(d, "1.x"), 1);
}

static void it_lasts_without_the_index(void **state)
{
	struct store_dir *d = *state;

	store_deliver(d, "", "2.x", "two");
	store_deliver(d, "", "1.x", "one");
	store_write_uidlist(d, "3 V4000000000 N1\n1 :1.x\n2 :2.x\n");
	store_dir_close(d);
	store_dir_drop(d, "index");
	outside_unlink(d, "dovecot-uidlist");
	store_dir_open(d);
	assert_int_equal(store_uid(d, "1.x"), 1);
	assert_int_equal(store_uid(d, "2.x"), 2);
	assert_box(d, 4000000000u, 3);
}

/* UIDs that Dovecot gave to what is gone are not given again. */
static void what_it_gave_before_is_not_given_again(void **state)
{
	struct store_dir *d = *state;

	store_deliver(d, "", "1.x", "one");
	store_deliver(d, "", "2.x", "two");
	store_write_uidlist(d, "3 V4000000000 N9\n7 :1.x\n");
	assert_int_equal(store_uid(d, "1.x"), 7);
	assert_int_equal(store_uid(d, "2.x"), 9); /* 2 is below its next one */
	store_deliver(d, "", "3.x", "three");
	assert_int_equal(store_uid(d, "3.x"), 10);
	assert_box(d, 4000000000u, 11);
}

/* Lines are appended in place; the header stays, and the last line may be half written. */
static void lines_are_appended(void **state)
{
	struct store_dir *d = *state;

	store_deliver(d, "", "1.x", "one");
	store_write_uidlist(d, "3 V4000000000 N1\n1 :1.x\n");
	store_deliver(d, "", "2.x", "two");
	outside_write(d, "dovecot-uidlist", "3 V4000000000 N1\n1 :1.x\n5 :2.x\n6 :3");
	assert_int_equal(store_settled(d->s, "dovecot-uidlist", &d->me), 0);
	assert_int_equal(store_uid(d, "2.x"), 5);
	assert_box(d, 0, 6);
}

static void a_lower_uidvalidity_is_not_taken(void **state)
{
	struct store_dir *d = *state;
	uint32_t before = validity_of(d);

	store_deliver(d, "", "1.x", "one");
	store_write_uidlist(d, "3 V77 N9\n8 :1.x\n");
	assert_box(d, before, 9);
	assert_int_equal(store_uid(d, "1.x"), 8);
}

static void a_broken_list_says_nothing(void **state)
{
	static const char *const bad[] = {
		"",
		"3 V4000000000 N1\n5 :1.x\n4 :2.x\n",
		"3 V0 N1\n5 :1.x\n",
		"9 V5 N5\n5 :1.x\n",
		"garbage\n",
	};
	struct store_dir *d = *state;
	uint64_t records;

	store_deliver(d, "", "1.x", "one");
	records = log_records(d);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		store_write_uidlist(d, bad[i]);
	assert_true(log_records(d) == records);
	assert_int_equal(store_uid(d, "1.x"), 1);
	outside_unlink(d, "dovecot-uidlist");
	assert_int_equal(symlinkat("/etc/passwd", d->mail_fd, "dovecot-uidlist"), 0);
	store_dir_reopen(d);
	assert_true(log_records(d) == records);
}

/* Two files that have one line: the second one is not renumbered for ever. */
static void two_files_of_one_name_come_to_rest(void **state)
{
	struct store_dir *d = *state;
	uint64_t records;

	store_deliver(d, "", "1.x", "one");
	store_deliver(d, "", "2.x", "two");
	outside_write(d, "cur/1.x:2,S", "another");
	store_dir_reopen(d);
	store_write_uidlist(d, "3 V4000000000 N5\n4 :1.x\n");
	records = log_records(d);
	store_write_uidlist(d, "3 V4000000000 N5\n4 W9 :1.x\n");
	store_write_uidlist(d, "3 V4000000000 N5\n4 W8 :1.x\n");
	assert_true(log_records(d) == records);
}

/* Another program changed it while nobody looked. */
static void a_scan_finds_it(void **state)
{
	struct store_dir *d = *state;
	struct scan_report report;
	uint64_t records;

	store_deliver(d, "", "1.x", "one");
	time_passes(10);
	store_dir_rescan(d, &report);
	outside_write(d, "dovecot-uidlist", "3 V4000000000 N9\n8 :1.x\n");
	store_dir_rescan(d, &report);
	assert_int_equal(store_uid(d, "1.x"), 8);
	records = log_records(d);
	store_dir_rescan(d, &report);
	assert_true(log_records(d) == records);
}

static bool may_be(struct store_dir *d)
{
	struct index_txn *tx;
	bool said;

	assert_int_equal(index_begin(d->s->index, false, &tx), 0);
	said = uidlists_may_be(d->s, tx);
	index_abort(tx);
	return said;
}

/* Of mailboxes that are not read a list is asked for only where Dovecot has left a trace. */
static void it_is_asked_for_where_dovecot_was(void **state)
{
	struct store_dir *d = *state;
	struct scan_report report;

	store_make_box(d, ".F");
	store_make_box(d, ".G");
	store_deliver(d, ".F", "1.x", "one");
	store_deliver(d, ".G", "2.x", "two");
	time_passes(10);
	store_dir_rescan(d, &report);
	assert_false(may_be(d));
	outside_write(d, ".F/dovecot-uidlist", "3 V4000000000 N9\n8 :1.x\n");
	store_dir_rescan(d, &report);
	assert_int_equal(store_uid(d, "1.x"), 1);
	outside_write(d, "dovecot-uidvalidity", "");
	store_dir_rescan(d, &report);
	assert_int_equal(store_uid(d, "1.x"), 8);
	outside_unlink(d, "dovecot-uidvalidity");
	assert_true(may_be(d)); /* the index has seen one */
	outside_write(d, ".G/dovecot-uidlist", "3 V4000000000 N9\n7 :2.x\n");
	store_dir_rescan(d, &report);
	assert_int_equal(store_uid(d, "2.x"), 7);
}

/* And of what is read always. */
static void the_first_one_is_found_with_mail(void **state)
{
	struct store_dir *d = *state;
	struct scan_report report;

	store_make_box(d, ".F");
	time_passes(10);
	store_dir_rescan(d, &report);
	assert_false(may_be(d));
	outside_write(d, ".F/dovecot-uidlist", "3 V4000000000 N9\n8 :1.x\n");
	outside_write(d, ".F/new/1.x", "one");
	store_dir_rescan(d, &report);
	assert_int_equal(store_uid(d, "1.x"), 8);
	assert_true(may_be(d));
}

static void write_in(int fd, const char *path, const char *text)
{
	int f = openat(fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(write(f, text, strlen(text)), strlen(text));
	close(f);
}

/* A Maildir that Dovecot served: an adopting store shows every UID as it was. */
static void adopt(struct store_dir *d)
{
	static const char *const dirs[] = {"M",	   "M/cur",    "M/new",	   "M/tmp",
					   "M/.A", "M/.A/cur", "M/.A/new", "M/.A/tmp"};
	MB_AUTO_FREE char *maildir = mb_xasprintf("%s/M", d->path), *dir = NULL;

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		assert_int_equal(mkdirat(d->fd, dirs[i], 0700), 0);
	write_in(d->fd, "M/cur/1.x:2,S", "one");
	write_in(d->fd, "M/cur/2.x:2,", "two");
	write_in(d->fd, "M/new/3.x", "three");
	write_in(d->fd, "M/.A/cur/1.x:2,S", "one");
	write_in(d->fd, "M/dovecot-uidlist", "3 V1100000000 N900\n20 :2.x\n700 W4 :1.x\n");
	write_in(d->fd, "M/.A/dovecot-uidlist",
		 "3 V1100000001 N4 G" GUID_HEX "\n3 G" MAIL_HEX " :1.x\n");
	assert_int_equal(store_adopt(maildir, NULL, LAYOUT_MAILDIRPP, &dir), 0);
	store_dir_close(d);
	close(d->mail_fd);
	d->mail_fd = openat(d->fd, "M", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(d->dir, sizeof(d->dir), "%s", dir);
	store_dir_open(d);
}

static void adopting_changes_no_uid(void **state)
{
	struct store_dir *d = *state;
	struct mailbox m = {0};
	struct guid want;
	struct entry e;

	adopt(d);
	assert_int_equal(store_uid(d, "2.x:2,"), 20);
	assert_int_equal(store_uid(d, "3.x"), 900);
	assert_box(d, 1100000000, 901);
	store_get_box(d, "A", &m);
	assert_int_equal(m.uid_validity, 1100000001);
	assert_int_equal(m.uid_next, 4);
	assert_true(guid_parse(GUID_HEX, &want));
	assert_true(guid_equal(&m.guid, &want));
	assert_true(guid_parse(MAIL_HEX, &want));
	struct index_txn *tx;

	assert_int_equal(index_begin(store_index(d->s), false, &tx), 0);
	assert_int_equal(index_by_uid(tx, &m.guid, 3, &e), 0);
	assert_true(guid_equal(&e.copy.guid, &want));
	entry_release(&e);
	assert_int_equal(index_by_uid(tx, &GUID_INBOX, 700, &e), 0);
	assert_string_equal(e.file, "1.x:2,S");
	entry_release(&e);
	index_abort(tx);
	mailbox_release(&m);
}

/* A copy of a folder has the same GUIDs in its list: they are taken once. */
static void a_guid_is_taken_once(void **state)
{
	static const char list[] = "3 V1100000001 N4 G" GUID_HEX "\n3 G" MAIL_HEX " :1.x\n";
	struct store_dir *d = *state;
	struct mailbox a = {0}, b = {0};

	outside_mailbox(d, ".A");
	outside_mailbox(d, ".B");
	outside_write(d, ".A/dovecot-uidlist", list);
	outside_write(d, ".B/dovecot-uidlist", list);
	outside_write(d, ".A/cur/1.x:2,", "one");
	outside_write(d, ".B/cur/1.x:2,", "another");
	store_dir_reopen(d);
	store_get_box(d, "A", &a);
	store_get_box(d, "B", &b);
	assert_false(guid_equal(&a.guid, &b.guid));
	assert_int_equal(a.uid_next, 4);
	assert_int_equal(b.uid_next, 4);
	mailbox_release(&a);
	mailbox_release(&b);
	store_consistent(d);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(its_uids_are_taken),
		TEST(it_lasts_without_the_index),
		TEST(what_it_gave_before_is_not_given_again),
		TEST(lines_are_appended),
		TEST(a_lower_uidvalidity_is_not_taken),
		TEST(a_broken_list_says_nothing),
		TEST(two_files_of_one_name_come_to_rest),
		TEST(a_scan_finds_it),
		TEST(it_is_asked_for_where_dovecot_was),
		TEST(the_first_one_is_found_with_mail),
		TEST(adopting_changes_no_uid),
		TEST(a_guid_is_taken_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
