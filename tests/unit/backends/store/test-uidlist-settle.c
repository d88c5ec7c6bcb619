/* test-uidlist-settle.c - Dovecot's list and letters get what a peer brings, before it is published. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/buf.h"
#include "backends/base/mem.h"
#include "backends/store/uidlist.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOCK "dovecot-uidlist.lock"

static uint32_t validity_of(struct store_dir *d)
{
	struct mailbox m = {0};
	uint32_t v;

	store_get_box(d, "INBOX", &m);
	v = m.uid_validity;
	mailbox_release(&m);
	return v;
}

/* `format` has a %u for the UIDVALIDITY of INBOX. */
#define assert_file(d, file, format)                                                               \
	do {                                                                                       \
		MB_AUTO_FREE char *want_ = mb_xasprintf(format, validity_of(d));                   \
		assert_text(d, file, want_);                                                       \
	} while (0)

static void deliveries_get_lines(void **state)
{
	struct store_dir *d = *state;

	store_write_uidlist(d, "3 V4000000000 N1 Gabc\n");
	store_deliver(d, "", "2.x", "two");
	store_deliver(d, "", "1.x", "one");
	assert_int_equal(store_settle_uids(d->s), 0);
	assert_text(d, "dovecot-uidlist", "3 V4000000000 N1 Gabc\n1 :2.x\n2 :1.x\n");
	assert_int_equal(store_uid(d, "2.x"), 1);
	assert_false(tree_has(d, LOCK));
}

static void what_dovecot_wrote_meanwhile_is_kept(void **state)
{
	struct store_dir *d = *state;

	store_write_uidlist(d, "3 V4000000000 N1\n");
	store_deliver(d, "", "2.x", "two");
	store_deliver(d, "", "1.x", "one");
	outside_write(d, "dovecot-uidlist", "3 V4000000000 N1\n4 W3 :1.x\n"); /* not noticed */
	assert_int_equal(store_settle_uids(d->s), 0);
	assert_int_equal(store_uid(d, "1.x"), 4);
	assert_int_equal(store_uid(d, "2.x"), 5);
	assert_text(d, "dovecot-uidlist", "3 V4000000000 N1\n4 W3 :1.x\n5 :2.x\n");
}

static void no_list_is_begun(void **state)
{
	struct store_dir *d = *state;

	store_deliver(d, "", "1.x", "one");
	assert_int_equal(store_settle_uids(d->s), 0);
	assert_false(tree_has(d, "dovecot-uidlist"));
	assert_false(tree_has(d, "dovecot-keywords"));
}

static void a_lower_uidvalidity_is_raised(void **state)
{
	struct store_dir *d = *state;

	store_deliver(d, "", "1.x", "one");
	store_write_uidlist(d, "3 V77 N3 Gabc\n2 W1 :1.x\n");
	assert_int_equal(store_settle_uids(d->s), 0);
	assert_file(d, "dovecot-uidlist", "3 V%u N3 Gabc\n2 W1 :1.x\n");
}

static void a_lock_that_is_held_is_left(void **state)
{
	struct store_dir *d = *state;

	store_write_uidlist(d, "3 V4000000000 N1\n");
	store_deliver(d, "", "1.x", "one");
	outside_write(d, LOCK, "1:elsewhere");
	assert_int_equal(store_settle_uids(d->s), 0);
	assert_text(d, "dovecot-uidlist", "3 V4000000000 N1\n");
	outside_unlink(d, LOCK);
	assert_int_equal(store_settle_uids(d->s), 0); /* it was not forgotten */
	assert_text(d, "dovecot-uidlist", "3 V4000000000 N1\n1 :1.x\n");
}

/* ---- a line whose message has another UID ---- */

static void to_and_fro(struct store_dir *d, const char *file)
{
	MB_AUTO_FREE char *here = mb_xasprintf("new/%s", file);
	MB_AUTO_FREE char *there = mb_xasprintf(".F/new/%s", file);

	assert_int_equal(store_move(d, here, there), 0);
	assert_int_equal(store_move(d, there, here), 0);
}

/* Dovecot has not looked meanwhile: its line is that of the time before. */
static void one_that_was_away_has_its_new_uid(void **state)
{
	struct store_dir *d = *state;
	uint64_t records;

	store_make_box(d, ".F");
	store_deliver(d, "", "1.x", "one");
	store_deliver(d, "", "2.x", "two");
	store_write_uidlist(d, "3 V4000000000 N3 Gabc\n1 W4 :1.x\n2 :2.x\n");
	assert_int_equal(store_settle_uids(d->s), 0);
	to_and_fro(d, "1.x");
	assert_int_equal(store_uid(d, "1.x"), 3);
	assert_int_equal(store_settle_uids(d->s), 0);
	assert_text(d, "dovecot-uidlist", "3 V4000000000 N4 Gabc\n2 :2.x\n3 W4 :1.x\n");
	assert_int_equal(store_uid(d, "1.x"), 3);
	records = log_records(d);
	to_and_fro(d, "2.x");
	to_and_fro(d, "1.x");
	store_dir_reopen(d);
	assert_int_equal(store_settle_uids(d->s), 0);
	assert_text(d, "dovecot-uidlist", "3 V4000000000 N6 Gabc\n4 :2.x\n5 W4 :1.x\n");
	assert_true(log_records(d) == records + 4);
	assert_int_equal(store_settle_uids(d->s), 0);
	assert_true(log_records(d) == records + 4);
}

static int put_one(struct store_dir *d, const char *base, uint32_t uid, const char *keyword);

/* Its UID in the log may be one that this Dovecot gave another: both get a new one. */
static void one_whose_uid_was_given_gets_another(void **state)
{
	struct store_dir *d = *state;

	store_make_box(d, ".F");
	store_deliver(d, "", "1.x", "one");
	store_write_uidlist(d, "3 V4000000000 N2 Gabc\n1 W4 :1.x\n");
	assert_int_equal(store_settle_uids(d->s), 0);
	to_and_fro(d, "1.x");
	assert_int_equal(put_one(d, "9.x", 9, NULL), 1);
	assert_text(d, "dovecot-uidlist", "3 V4000000000 N2 Gabc\n1 W4 :1.x\n9 :9.x\n");
	store_dir_reopen(d); /* and nobody knows any more who wrote the line of 9 */
	assert_int_equal(store_settle_uids(d->s), 0);
	assert_int_equal(store_uid(d, "1.x"), 10);
	assert_text(d, "dovecot-uidlist", "3 V4000000000 N11 Gabc\n9 :9.x\n10 W4 :1.x\n");
	store_consistent(d);
}

/* Whatever it was cut between, log and list say the same when it is done again. */
static int settle(struct store_dir *d)
{
	return store_settle_uids(d->s);
}

static void a_correction_is_killed_at_each_step(void **state)
{
	bool more = true;

	for (int n = 1; more; n++) {
		assert_int_equal(store_dir_teardown(state), 0);
		assert_int_equal(store_dir_setup(state), 0);
		struct store_dir *d = *state;

		store_make_box(d, ".F");
		store_deliver(d, "", "1.x", "one");
		store_write_uidlist(d, "3 V4000000000 N2 Gabc\n1 W4 :1.x\n");
		assert_int_equal(store_settle_uids(d->s), 0);
		to_and_fro(d, "1.x");
		assert_int_equal(put_one(d, "9.x", 9, NULL), 1);
		more = store_dir_kill_at(d, n, settle);
		store_dir_open(d);
		assert_int_equal(store_settle_uids(d->s), 0);
		MB_AUTO_FREE char *want =
			mb_xasprintf("3 V4000000000 N%u Gabc\n9 :9.x\n%u W4 :1.x\n",
				     store_uid(d, "1.x") + 1, store_uid(d, "1.x"));
		MB_AUTO_FREE char *text = tree_text(d, "dovecot-uidlist");
		struct uidlist l;

		assert_int_equal(uidlist_parse(text, strlen(text), &l), 0);
		assert_int_equal(uidlist_uid(uidlist_find(&l, "1.x")), store_uid(d, "1.x"));
		assert_int_equal(uidlist_uid(uidlist_find(&l, "9.x")), 9);
		assert_int_equal(store_uid(d, "9.x:2,"), 9);
		uidlist_release(&l);
		if (store_uid(d, "1.x") >= 10)
			assert_string_equal(text, want);
	}
}

/* ---- from a peer ---- */

static int put_one(struct store_dir *d, const char *base, uint32_t uid, const char *keyword)
{
	struct record r = {.type = REC_NONE};
	struct guid g = guid_new();
	int err;

	peer_copy(&r, &g, &GUID_INBOX, "text");
	free(r.copy.place.base);
	r.copy.place.base = mb_xstrdup(base);
	r.copy.place.uid = uid;
	r.copy.recent = false;
	if (keyword)
		flags_put_keyword(&r.copy.flags, keyword, true, peer_stamp(1));
	peer_stage(d, "body", "text");
	err = store_put(d->s, &r, "body");
	record_release(&r);
	return err;
}

static void an_arrival_has_its_line_first(void **state)
{
	struct store_dir *d = *state;

	store_deliver(d, "", "1.x", "one");
	store_write_uidlist(d, "3 V4000000000 N2\n1 :1.x\n");
	assert_int_equal(put_one(d, "5.x", 5, NULL), 1);
	assert_text(d, "dovecot-uidlist", "3 V4000000000 N2\n1 :1.x\n5 :5.x\n");
	assert_int_equal(put_one(d, "4.x", 4, NULL), 1); /* in one sync they come in any order */
	assert_text(d, "dovecot-uidlist", "3 V4000000000 N6\n1 :1.x\n4 :4.x\n5 :5.x\n");
	assert_int_equal(store_settle_uids(d->s), 0);
	assert_false(tree_has(d, LOCK));
}

/* What Dovecot may have shown is no message's any more. */
static void a_uid_below_its_next_one_is_not_given(void **state)
{
	struct store_dir *d = *state;

	store_deliver(d, "", "1.x", "one");
	store_write_uidlist(d, "3 V4000000000 N2\n1 :1.x\n");
	outside_write(d, "dovecot-uidlist",
		      "3 V4000000000 N9\n1 :1.x\n"); /* 2 to 8 came and went */
	assert_int_equal(put_one(d, "5.x", 5, NULL), 1);
	assert_int_equal(store_uid(d, "5.x:2,"), 9);
	assert_text(d, "dovecot-uidlist", "3 V4000000000 N9\n1 :1.x\n9 :5.x\n");
}

static void to_seven(struct copy *c)
{
	c->place.uid = 7;
}

static void a_new_uid_is_in_the_list_too(void **state)
{
	struct store_dir *d = *state;
	struct guid g;

	store_deliver(d, "", "1.x", "one");
	store_write_uidlist(d, "3 V4000000000 N2\n1 W4 :1.x\n");
	g = store_guid(d, "1.x");
	assert_int_equal(peer_change(d, &g, to_seven), 1);
	assert_text(d, "dovecot-uidlist", "3 V4000000000 N8\n7 W4 :1.x\n");
	outside_write(d, LOCK, "1:elsewhere");
	assert_int_equal(store_uid(d, "1.x"), 7);
}

static int put_five(struct store_dir *d)
{
	return put_one(d, "5.x", 5, "work");
}

/* Whatever it was cut between, the message's UID is its own in both, and no lock stays. */
static void killed_at_each_step(void **state)
{
	struct store_dir *d = *state;

	store_deliver(d, "", "1.x", "one");
	for (int n = 1;; n++) {
		struct scan_report report;

		store_write_uidlist(d, "3 V4000000000 N2\n1 :1.x\n");
		bool more = store_dir_kill_at(d, n, put_five);

		store_dir_open(d);
		assert_false(tree_has(d, LOCK));
		assert_int_equal(store_settle_uids(d->s), 0);
		store_consistent(d);
		MB_AUTO_FREE char *text = tree_text(d, "dovecot-uidlist");
		struct uidlist l;

		assert_int_equal(uidlist_parse(text, strlen(text), &l), 0);
		assert_int_equal(uidlist_uid(uidlist_find(&l, "1.x")), 1);
		if (uidlist_find(&l, "5.x") && tree_has(d, "cur/5.x:2,a"))
			assert_int_equal(uidlist_uid(uidlist_find(&l, "5.x")),
					 store_uid(d, "5.x:2,a"));
		uidlist_release(&l);
		if (!more)
			break;
		if (tree_has(d, "cur/5.x:2,a"))
			outside_unlink(d, "cur/5.x:2,a");
		if (tree_has(d, "dovecot-keywords"))
			outside_unlink(d, "dovecot-keywords");
		time_passes(5);
		store_dir_rescan(d, &report);
		assert_true(n < 60);
	}
}

/* ---- keywords ---- */

static void a_keyword_gets_a_slot(void **state)
{
	struct store_dir *d = *state;

	store_write_uidlist(d, "3 V4000000000 N1\n");
	outside_write(d, "dovecot-keywords", "0 home\n2 bad{name\n");
	assert_int_equal(put_one(d, "1.x", 1, "work"), 1);
	assert_text(d, "dovecot-keywords", "0 home\n2 bad{name\n1 work\n");
	assert_true(tree_has(d, "cur/1.x:2,b"));
	assert_int_equal(put_one(d, "2.x", 2, "HOME"), 1);
	assert_true(tree_has(d, "cur/2.x:2,a"));
	assert_int_equal(put_one(d, "3.x", 3, "third"), 1); /* not the slot that we cannot read */
	assert_true(tree_has(d, "cur/3.x:2,d"));
	assert_false(tree_has(d, "dovecot-keywords.lock"));
}

/* Row 15. */
static void a_27th_stays_in_the_index(void **state)
{
	struct store_dir *d = *state;
	BUF_AUTO struct buf full = BUF_INIT, text = BUF_INIT;
	struct entry e;

	for (int i = 0; i < 26; i++)
		buf_printf(&full, "%d k%d\n", i, i);
	store_write_uidlist(d, "3 V4000000000 N1\n");
	outside_write(d, "dovecot-keywords", buf_cstr(&full));
	assert_int_equal(put_one(d, "1.x", 1, "work"), 1);
	assert_text(d, "dovecot-keywords", buf_cstr(&full));
	store_find(d, "1.x:2,", &e);
	flags_text(&e.copy.flags, &text);
	assert_string_equal(buf_cstr(&text), "work");
	entry_release(&e);
}

/* The mailbox was never opened when the keyword was set; then Dovecot comes. */
static void letters_follow_when_there_is_a_slot(void **state)
{
	struct store_dir *d = *state;
	uint64_t records;

	assert_int_equal(put_one(d, "1.x", 1, "work"), 1);
	assert_true(tree_has(d, "cur/1.x:2,"));
	assert_false(tree_has(d, "dovecot-keywords"));
	store_write_uidlist(d, "3 V4000000000 N2\n1 :1.x\n");
	outside_write(d, "dovecot-keywords.new", "0 home\n1 work\n");
	assert_int_equal(store_move(d, "dovecot-keywords.new", "dovecot-keywords"), 0);
	assert_int_equal(store_settle_uids(d->s), 0);
	assert_true(tree_has(d, "cur/1.x:2,b"));
	assert_text(d, "dovecot-keywords", "0 home\n1 work\n");
	records = log_records(d);
	assert_int_equal(store_settle_uids(d->s), 0);
	assert_true(log_records(d) == records);
	store_consistent(d);
}

static void forwarded_is_a_letter_for_dovecot(void **state)
{
	struct store_dir *d = *state;
	struct record r = {.type = REC_NONE};
	struct guid g = guid_new();

	store_write_uidlist(d, "3 V4000000000 N1\n");
	peer_copy(&r, &g, &GUID_INBOX, "text");
	flags_put(&r.copy.flags, FLAG_PASSED, true, peer_stamp(1));
	free(r.copy.place.base);
	r.copy.place.base = mb_xstrdup("1.x");
	peer_stage(d, "body", "text");
	assert_int_equal(store_put(d->s, &r, "body"), 1);
	record_release(&r);
	assert_text(d, "dovecot-keywords", "0 $Forwarded\n");
	assert_true(tree_has(d, "cur/1.x:2,Pa"));
}

/* ---- a list of a mailbox from elsewhere ---- */

static void an_unknown_list_gets_our_uids(void **state)
{
	struct store_dir *d = *state;
	struct guid box = guid_new(), g = guid_new();
	struct record r = {.type = REC_NONE};
	struct mailbox m = {0};

	peer_mailbox(&r, &box, "Box");
	r.mailbox.uid_validity = 1100000000;
	assert_int_equal(store_put(d->s, &r, NULL), 1);
	record_release(&r);
	peer_copy(&r, &g, &box, "text");
	r.copy.place.uid = 41;
	r.copy.recent = false;
	free(r.copy.place.base);
	r.copy.place.base = mb_xstrdup("1.x");
	peer_stage(d, "body", "text");
	assert_int_equal(store_put(d->s, &r, "body"), 1);
	record_release(&r);
	outside_write(d, ".Box/dovecot-uidlist.tmp", "3 V1700000000 N1 Gabc\n1 W7 :1.x\n2 :gone\n");
	assert_int_equal(store_move(d, ".Box/dovecot-uidlist.tmp", ".Box/dovecot-uidlist"), 0);
	assert_int_equal(store_settle_uids(d->s), 0);
	assert_text(d, ".Box/dovecot-uidlist", "3 V1100000000 N42 Gabc\n41 :1.x\n");
	store_get_box(d, "Box", &m);
	assert_int_equal(m.uid_validity, 1100000000);
	assert_int_equal(m.uid_next, 42);
	mailbox_release(&m);
	/* from now on it is Dovecot's again */
	outside_write(d, ".Box/dovecot-uidlist.tmp", "3 V1100000000 N42 Gabc\n50 :1.x\n");
	assert_int_equal(store_move(d, ".Box/dovecot-uidlist.tmp", ".Box/dovecot-uidlist"), 0);
	assert_int_equal(store_uid(d, "1.x:2,"), 50);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(deliveries_get_lines),
		TEST(what_dovecot_wrote_meanwhile_is_kept),
		TEST(no_list_is_begun),
		TEST(a_lower_uidvalidity_is_raised),
		TEST(a_lock_that_is_held_is_left),
		TEST(one_that_was_away_has_its_new_uid),
		TEST(one_whose_uid_was_given_gets_another),
		TEST(a_correction_is_killed_at_each_step),
		TEST(an_arrival_has_its_line_first),
		TEST(a_uid_below_its_next_one_is_not_given),
		TEST(a_new_uid_is_in_the_list_too),
		TEST(killed_at_each_step),
		TEST(a_keyword_gets_a_slot),
		TEST(a_27th_stays_in_the_index),
		TEST(letters_follow_when_there_is_a_slot),
		TEST(forwarded_is_a_letter_for_dovecot),
		TEST(an_unknown_list_gets_our_uids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
