/* test-uidlist-begin.c - lists whose lines are all ours: under a UIDVALIDITY that a backup gave. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/mem.h"
#include "backends/store/uidlist.h"
#include <stdio.h>
#include <string.h>

#define VALIDITY 4100000000u

/* Of INBOX, as a merge sees it. */
static struct mailbox told(struct store_dir *d)
{
	struct index_txn *tx;
	struct tree t = {0};
	struct mailbox m;

	assert_int_equal(index_begin(d->s->index, false, &tx), 0);
	assert_int_equal(index_tree(tx, &t), 0);
	uidlists_tell(tx, &t);
	m = *tree_find(&t, &GUID_INBOX);
	m.part = m.old_part = NULL;
	index_abort(tx);
	tree_release(&t);
	return m;
}

static uint32_t shown(struct store_dir *d)
{
	return told(d).uid_shown;
}

static uint32_t validity_shown(struct store_dir *d)
{
	return told(d).uid_validity_shown;
}

/* As the plan of a backup says it. */
static void give_validity(struct store_dir *d, uint32_t validity, uint64_t at, uint32_t uid_next)
{
	struct record r = {.type = REC_MAILBOX_STATE};

	store_get_box(d, "INBOX", &r.mailbox);
	r.mailbox.uid_validity = validity;
	r.mailbox.uid_validity_at = (struct stamp){at, 7};
	r.mailbox.uid_next = uid_next;
	assert_int_equal(store_put(d->s, &r, NULL), 1);
	record_release(&r);
}

static int put_in(struct store_dir *d, const struct guid *box, const char *base, uint32_t uid)
{
	struct record r = {.type = REC_NONE};
	struct guid g = guid_new();
	int err;

	peer_copy(&r, &g, box, "text");
	free(r.copy.place.base);
	r.copy.place.base = mb_xstrdup(base);
	r.copy.place.uid = uid;
	r.copy.recent = false;
	peer_stage(d, "body", "text");
	err = store_put(d->s, &r, "body");
	record_release(&r);
	return err;
}

static int put_one(struct store_dir *d, const char *base, uint32_t uid)
{
	return put_in(d, &GUID_INBOX, base, uid);
}

/* Dovecot has numbered two messages, and 4 to 8 came and went. */
static void served(struct store_dir *d)
{
	store_deliver(d, "", "1.x", "one");
	store_deliver(d, "", "2.x", "two");
	store_write_uidlist(d, "3 V4000000000 N9 Gabc\n1 W4 :1.x\n3 :2.x\n");
	assert_int_equal(store_settle_uids(d->s), 0);
	assert_int_equal(shown(d), 9);
}

static void what_was_shown_is_told(void **state)
{
	struct store_dir *d = *state;

	store_deliver(d, "", "1.x", "one");
	assert_int_equal(store_settle_uids(d->s), 0);
	assert_int_equal(shown(d), 0); /* nobody shows it */
	served(d);
	assert_int_equal(put_one(d, "9.x", 12), 1);
	assert_int_equal(shown(d), 13);
	give_validity(d, 17, 1, 3);
	assert_int_equal(store_settle_uids(d->s), 0);
	assert_int_equal(validity_shown(d), 4000000000u);
	give_validity(d, VALIDITY, 2, 3);
	assert_int_equal(store_settle_uids(d->s), 0);
	assert_int_equal(validity_shown(d), VALIDITY);
}

static void every_uid_may_be_given_under_another_uidvalidity(void **state)
{
	struct store_dir *d = *state;

	served(d);
	assert_int_equal(put_one(d, "5.x", 5), 1);
	assert_int_equal(store_uid(d, "5.x:2,"), 9); /* Dovecot had given 5 */
	give_validity(d, VALIDITY, 1, 7);
	assert_int_equal(shown(d), 0);
	assert_int_equal(put_one(d, "6.x", 5), 1);
	assert_int_equal(put_one(d, "7.x", 2), 1);
	assert_int_equal(store_uid(d, "6.x:2,"), 5);
	assert_int_equal(store_uid(d, "7.x:2,"), 2);
	assert_int_equal(store_settle_uids(d->s), 0);
	assert_text(d, "dovecot-uidlist",
		    "3 V4100000000 N10 Gabc\n1 W4 :1.x\n2 :7.x\n3 :2.x\n5 :6.x\n9 :5.x\n");
	assert_int_equal(shown(d), 10);
	assert_false(tree_has(d, "dovecot-uidlist.lock"));
	/* it was settled: Dovecot may have shown what there is */
	assert_int_equal(put_one(d, "8.x", 8), 1);
	assert_int_equal(store_uid(d, "8.x:2,"), 10);
}

/* UIDNEXT is the source's, whatever the mailbox gave before under another UIDVALIDITY. */
static void the_next_uid_may_be_lower(void **state)
{
	struct store_dir *d = *state;
	struct mailbox m = {0};

	served(d);
	give_validity(d, VALIDITY, 1, 5);
	assert_int_equal(store_settle_uids(d->s), 0);
	assert_text(d, "dovecot-uidlist", "3 V4100000000 N5 Gabc\n1 W4 :1.x\n3 :2.x\n");
	store_get_box(d, "INBOX", &m);
	assert_int_equal(m.uid_next, 9);
	mailbox_release(&m);
	assert_int_equal(put_one(d, "5.x", 5), 1);
	assert_int_equal(store_uid(d, "5.x:2,"), 5);
	assert_int_equal(store_settle_uids(d->s), 0);
	assert_text(d, "dovecot-uidlist", "3 V4100000000 N5 Gabc\n1 W4 :1.x\n3 :2.x\n5 :5.x\n");
	assert_int_equal(shown(d), 6);
	store_deliver(d, "", "9.x", "a program's"); /* it goes on above all */
	assert_int_equal(store_settle_uids(d->s), 0);
	assert_int_equal(store_uid(d, "9.x"), 9);
	assert_int_equal(shown(d), 10);
}

/* What it shows counts from then on. */
static void dovecot_writes_meanwhile(void **state)
{
	struct store_dir *d = *state;

	served(d);
	give_validity(d, VALIDITY, 1, 5);
	assert_int_equal(put_one(d, "4.x", 4), 1);
	outside_write(d, "dovecot-uidlist",
		      "3 V4100000000 N7 Gabc\n1 W4 :1.x\n3 :2.x\n4 :4.x\n6 :gone\n");
	assert_int_equal(put_one(d, "5.x", 5), 1);
	assert_int_equal(store_uid(d, "5.x:2,"), 9); /* above all of both */
	assert_int_equal(store_uid(d, "4.x:2,"), 4);
	assert_int_equal(shown(d), 10);
}

/* A file gets another name in its place: nobody else had its UID. */
static void a_line_follows_the_name_of_its_file(void **state)
{
	struct store_dir *d = *state;
	struct record r = {.type = REC_COPY_STATE};
	struct entry e;

	served(d);
	store_find(d, "1.x", &e);
	copy_clone(&r.copy, &e.copy);
	entry_release(&e);
	free(r.copy.place.base);
	r.copy.place.base = mb_xstrdup("other.x");
	r.copy.place.at.time++;
	r.origin.replica = 7;
	assert_int_equal(store_put(d->s, &r, NULL), 1);
	record_release(&r);
	assert_int_equal(store_uid(d, "other.x"), 1);
	assert_text(d, "dovecot-uidlist", "3 V4000000000 N9 Gabc\n1 :other.x\n3 :2.x\n");
}

static unsigned turn;

static int give_and_put(struct store_dir *d)
{
	give_validity(d, VALIDITY + 2 * turn, 2 * turn, 4);
	if (put_one(d, "5.x", 2) < 0)
		return -1;
	return store_settle_uids(d->s);
}

static void take_away(struct store_dir *d, const char *path)
{
	struct scan_report report;

	if (tree_has(d, path))
		outside_unlink(d, path);
	time_passes(5);
	store_dir_rescan(d, &report);
}

static void lines_are_true(struct store_dir *d)
{
	MB_AUTO_FREE char *text = tree_text(d, "dovecot-uidlist");
	struct uidlist l;

	assert_int_equal(uidlist_parse(text, strlen(text), &l), 0);
	assert_int_equal(uidlist_uid(uidlist_find(&l, "1.x")), 1);
	assert_int_equal(uidlist_uid(uidlist_find(&l, "2.x")), 3);
	if (tree_has(d, "cur/5.x:2,"))
		assert_int_equal(uidlist_uid(uidlist_find(&l, "5.x")), store_uid(d, "5.x:2,"));
	uidlist_release(&l);
}

/* Whatever it was cut between, both say the same, and a later UIDVALIDITY gives the UID after all. */
static void killed_at_each_step(void **state)
{
	struct store_dir *d = *state;
	bool more = true;

	served(d);
	for (turn = 1; more; turn++) {
		more = store_dir_kill_at(d, (int)turn, give_and_put);
		store_dir_open(d);
		assert_false(tree_has(d, "dovecot-uidlist.lock"));
		assert_int_equal(store_settle_uids(d->s), 0);
		store_consistent(d);
		lines_are_true(d);
		take_away(d, "cur/5.x:2,");
		give_validity(d, VALIDITY + 2 * turn + 1, 2 * turn + 1, 4);
		assert_int_equal(put_one(d, "6.x", 2), 1);
		assert_int_equal(store_settle_uids(d->s), 0);
		assert_int_equal(store_uid(d, "6.x:2,"), 2);
		lines_are_true(d);
		take_away(d, "cur/6.x:2,");
		assert_true(turn < 60);
	}
	assert_true(turn > 10);
}

/* ---- a mailbox that has none ---- */

static char *list_of(const struct guid *g, const char *rest)
{
	char text[GUID_TEXT];

	return mb_xasprintf("3 V1100000000 N%s G%s\n%s", *rest ? "4" : "1", guid_text(g, text),
			    rest);
}

static int put_box(struct store_dir *d, const struct guid *g, const char *name)
{
	struct record r = {.type = REC_NONE};
	int err;

	peer_mailbox(&r, g, name);
	r.mailbox.uid_validity = 1100000000;
	err = store_put(d->s, &r, NULL);
	record_release(&r);
	return err;
}

static void a_mailbox_from_a_peer_has_one_at_once(void **state)
{
	struct store_dir *d = *state;
	struct guid box = guid_new();
	MB_AUTO_FREE char *empty = list_of(&box, ""), *with = NULL;

	served(d);
	assert_int_equal(put_box(d, &box, "Box"), 1);
	assert_text(d, ".Box/dovecot-uidlist", empty);
	assert_int_equal(put_in(d, &box, "3.x", 3), 1);
	assert_int_equal(store_settle_uids(d->s), 0);
	with = mb_xasprintf("%s3 :3.x\n", empty);
	assert_text(d, ".Box/dovecot-uidlist", with);
}

static void none_is_made_where_dovecot_never_was(void **state)
{
	struct store_dir *d = *state;
	struct guid box = guid_new();

	store_make_box(d, ".Own");
	assert_int_equal(put_box(d, &box, "Box"), 1);
	assert_int_equal(put_in(d, &box, "3.x", 3), 1);
	assert_int_equal(put_one(d, "4.x", 4), 1);
	assert_int_equal(store_settle_uids(d->s), 0);
	assert_false(tree_has(d, ".Box/dovecot-uidlist"));
	assert_false(tree_has(d, ".Own/dovecot-uidlist"));
	assert_false(tree_has(d, "dovecot-uidlist"));
}

/* It was there before Dovecot came, or its list was lost. */
static void mail_for_one_without_begins_it(void **state)
{
	struct store_dir *d = *state;
	struct guid box = guid_new();
	MB_AUTO_FREE char *lines = list_of(&box, "3 :3.x\n");

	assert_int_equal(put_box(d, &box, "Box"), 1);
	assert_int_equal(put_in(d, &box, "3.x", 3), 1);
	store_make_box(d, ".Own");
	served(d); /* all others have one from then on */
	assert_text(d, ".Box/dovecot-uidlist", lines);
	assert_true(tree_has(d, ".Own/dovecot-uidlist"));
	outside_unlink(d, ".Box/dovecot-uidlist");
	assert_int_equal(put_in(d, &box, "7.x", 7), 1);
	MB_AUTO_FREE char *now = mb_xasprintf("%s7 :7.x\n", lines);
	assert_text(d, ".Box/dovecot-uidlist", now);
	assert_false(tree_has(d, ".Box/dovecot-uidlist.lock"));
}

static struct guid killed_box;
static char killed_name[16];

static int make_and_put(struct store_dir *d)
{
	if (put_box(d, &killed_box, killed_name) < 0)
		return -1;
	return put_in(d, &killed_box, "3.x", 3) < 0 ? -1 : store_settle_uids(d->s);
}

/* A directory that can be seen has its list, and it is the peer's mailbox whatever was cut. */
static void a_new_one_is_killed_at_each_step(void **state)
{
	struct store_dir *d = *state;
	bool more = true;

	served(d);
	for (int n = 1; more; n++) {
		struct mailbox m = {0};

		killed_box = guid_new();
		snprintf(killed_name, sizeof(killed_name), "Box%d", n);
		MB_AUTO_FREE char *dir = mb_xasprintf(".%s", killed_name);
		MB_AUTO_FREE char *list = mb_xasprintf(".%s/dovecot-uidlist", killed_name);
		more = store_dir_kill_at(d, n, make_and_put);
		assert_int_equal(tree_has(d, dir), tree_has(d, list));
		store_dir_open(d);
		assert_int_equal(make_and_put(d), 0);
		store_consistent(d);
		store_get_box(d, killed_name, &m);
		assert_true(guid_equal(&m.guid, &killed_box));
		assert_int_equal(m.uid_validity, 1100000000);
		mailbox_release(&m);
		assert_true(n < 90);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_shown_is_told),
		TEST(every_uid_may_be_given_under_another_uidvalidity),
		TEST(the_next_uid_may_be_lower),
		TEST(dovecot_writes_meanwhile),
		TEST(a_line_follows_the_name_of_its_file),
		TEST(killed_at_each_step),
		TEST(a_mailbox_from_a_peer_has_one_at_once),
		TEST(none_is_made_where_dovecot_never_was),
		TEST(mail_for_one_without_begins_it),
		TEST(a_new_one_is_killed_at_each_step),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
