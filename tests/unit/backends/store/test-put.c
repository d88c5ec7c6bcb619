/* test-put.c - a peer's states of copies are joined into the store. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* The first time 1, the second time 0 and no record. */
static void put_twice(struct store_dir *d, const struct record *r, const char *staged)
{
	uint64_t n;

	assert_int_equal(store_put(d->s, r, staged), 1);
	n = log_records(d);
	assert_int_equal(store_put(d->s, r, NULL), 0);
	assert_int_equal(log_records(d), n);
}

static struct guid arrive(struct store_dir *d, const char *box, const char *text)
{
	struct guid g = guid_new(), mailbox = store_box(d, box);
	struct record r;

	peer_copy(&r, &g, &mailbox, text);
	peer_stage(d, "body", text);
	put_twice(d, &r, "body");
	record_release(&r);
	return g;
}

static void an_arrival_is_one_rename_from_staging(void **state)
{
	struct store_dir *d = *state;
	struct entry e = {0};
	struct stat st;
	char *path;

	struct guid g = arrive(d, "INBOX", "hello");
	assert_int_equal(log_last(d), REC_ARRIVE);
	assert_int_equal(store_copy_path(d->s, &g, 0, &path), 0);
	assert_true(strncmp(path, "new/peer.", 9) == 0);
	assert_text(d, path, "hello");
	assert_int_equal(fstatat(d->mail_fd, path, &st, 0), 0);
	assert_int_equal(st.st_mtime, 1000000000); /* IMAP's INTERNALDATE */
	assert_int_equal(staging_count(d), 0);
	store_find(d, path + 4, &e);
	assert_int_equal(e.copy.place.uid, 1);
	entry_release(&e);
	free(path);
	store_consistent(d);
}

static void an_arrival_without_its_body_says_so(void **state)
{
	struct store_dir *d = *state;
	struct guid g = guid_new();
	struct record r;
	uint64_t n = log_records(d);

	peer_copy(&r, &g, &GUID_INBOX, "hello");
	assert_int_equal(store_put(d->s, &r, NULL), -ENOENT);
	assert_int_equal(store_put(d->s, &r, "no-such-body"), -ENOENT);
	assert_int_equal(log_records(d), n);
	assert_list(d, "");
	record_release(&r);
}

/* A transfer that broke off must not become the message. */
static void a_body_of_another_size_is_refused(void **state)
{
	struct store_dir *d = *state;
	struct guid g = guid_new();
	struct record r;

	peer_copy(&r, &g, &GUID_INBOX, "hello");
	peer_stage(d, "body", "hel");
	assert_int_equal(store_put(d->s, &r, "body"), MB_E_DAMAGED);
	assert_list(d, "");
	record_release(&r);
}

static void a_body_that_is_here_is_not_needed_again(void **state)
{
	struct store_dir *d = *state;
	struct guid g, box;
	struct record r;
	struct digest digest;

	store_make_box(d, ".A");
	box = store_box(d, "A");
	g = arrive(d, "INBOX", "hello");
	peer_copy(&r, &g, &box, "hello"); /* the same GUID: a copy */
	r.copy.id = 7;
	put_twice(d, &r, NULL);
	record_release(&r);
	assert_int_equal(store_digest(d->s, &g, 0, &digest), 0);
	g = guid_new();
	peer_copy(&r, &g, &box, "hello"); /* the same digest */
	r.copy.digest = digest;
	put_twice(d, &r, NULL);
	record_release(&r);
	store_consistent(d);
}

static void set_seen(struct copy *c)
{
	flags_put(&c->flags, FLAG_SEEN, true, peer_stamp(5));
}

static void set_old_flag(struct copy *c)
{
	struct stamp old = {.time = 1, .replica = 1};

	flags_put(&c->flags, FLAG_SEEN, false, old);
}

static void a_flag_change_is_one_rename(void **state)
{
	struct store_dir *d = *state;
	struct guid g;

	store_deliver(d, "", "1.x", "a");
	g = store_guid(d, "1.x");
	assert_int_equal(peer_change(d, &g, set_seen), 1);
	assert_int_equal(log_last(d), REC_FLAGS);
	assert_list(d, "INBOX/cur/1.x:2,S");
	assert_int_equal(peer_change(d, &g, set_seen), 0);
	store_consistent(d);
}

static void an_older_change_loses(void **state)
{
	struct store_dir *d = *state;
	struct guid g;

	store_deliver(d, "", "1.x", "a");
	g = store_guid(d, "1.x");
	assert_int_equal(store_move(d, "new/1.x", "cur/1.x:2,S"), 0);
	assert_int_equal(peer_change(d, &g, set_old_flag), 0);
	assert_list(d, "INBOX/cur/1.x:2,S");
}

static struct guid target_box;

static void move_to_target(struct copy *c)
{
	c->place.mailbox = target_box;
	c->place.uid = 0;
	c->place.at = peer_stamp(5);
}

static void expunge(struct copy *c)
{
	c->dead = c->place.at;
	c->dead_at = peer_stamp(6);
}

static void restore(struct copy *c)
{
	c->place.at = peer_stamp(30);
	c->place.uid = 0;
}

static void a_move_and_an_expunge(void **state)
{
	struct store_dir *d = *state;
	struct guid g;

	store_make_box(d, ".A");
	target_box = store_box(d, "A");
	store_deliver(d, "", "1.x", "a");
	g = store_guid(d, "1.x");
	assert_int_equal(peer_change(d, &g, move_to_target), 1);
	assert_int_equal(log_last(d), REC_MOVE);
	assert_list(d, "A/new/1.x");
	assert_int_equal(peer_change(d, &g, expunge), 1);
	assert_int_equal(log_last(d), REC_EXPUNGE);
	assert_list(d, "");
	assert_int_equal(deleted_count(d), 1);
	assert_int_equal(peer_change(d, &g, expunge), 0);
	store_consistent(d);
}

static void an_undo_takes_the_body_from_deleted(void **state)
{
	struct store_dir *d = *state;
	struct guid g;

	store_deliver(d, "", "1.x", "the body");
	g = store_guid(d, "1.x");
	assert_int_equal(store_unlink(d->s, "new/1.x", &d->me), 0);
	assert_int_equal(peer_change(d, &g, restore), 1);
	assert_int_equal(log_last(d), REC_ARRIVE);
	store_consistent(d);
	store_dir_reopen(d);
	store_consistent(d);
}

/* A restored message that is lost was not expunged by the body that an older expunge left. */
static void an_old_body_is_no_proof_of_a_later_expunge(void **state)
{
	struct store_dir *d = *state;
	struct guid g;
	char *path;

	store_deliver(d, "", "1.x", "the body");
	g = store_guid(d, "1.x");
	assert_int_equal(store_unlink(d->s, "new/1.x", &d->me), 0);
	assert_int_equal(peer_change(d, &g, restore), 1);
	assert_int_equal(store_copy_path(d->s, &g, 0, &path), 0);
	store_dir_close(d);
	outside_unlink(d, path);
	store_dir_power_cut(d);
	store_dir_open(d);
	char *list = store_list(d);
	assert_non_null(strstr(list, " lost"));
	free(list);
	free(path);
}

static void a_name_that_is_taken_gets_another(void **state)
{
	struct store_dir *d = *state;
	struct guid g = guid_new();
	struct record r;

	store_deliver(d, "", "1.x", "mine");
	outside_write(d, "new/2.x", "nobody knows it yet");
	for (int i = 1; i <= 2; i++) {
		g = guid_new();
		peer_copy(&r, &g, &GUID_INBOX, "theirs");
		free(r.copy.place.base);
		r.copy.place.base = mb_xasprintf("%d.x", i);
		peer_stage(d, "body", "theirs");
		assert_int_equal(store_put(d->s, &r, "body"), 1);
		record_release(&r);
	}
	assert_text(d, "new/1.x", "mine");
	assert_text(d, "new/2.x", "nobody knows it yet");
}

static void a_uid_that_is_taken_gets_the_next(void **state)
{
	struct store_dir *d = *state;
	struct guid g = guid_new();
	struct entry e = {0};
	struct record r;

	store_deliver(d, "", "1.x", "a");
	peer_copy(&r, &g, &GUID_INBOX, "b");
	r.copy.place.uid = 1;
	peer_stage(d, "body", "b");
	assert_int_equal(store_put(d->s, &r, "body"), 1);
	store_find(d, r.copy.place.base, &e);
	assert_int_equal(e.copy.place.uid, 2);
	entry_release(&e);
	record_release(&r);
}

static void a_message_of_a_mailbox_that_is_not_here_waits(void **state)
{
	struct store_dir *d = *state;
	struct guid g = guid_new(), box = guid_new();
	struct record r;

	peer_copy(&r, &g, &box, "b");
	peer_stage(d, "body", "b");
	assert_int_equal(store_put(d->s, &r, "body"), MB_E_STALE);
	record_release(&r);
}

/* Rows 28 to 31: what a program wrote stays, as a message of its own. */
static void an_expunge_does_not_take_an_edit_away(void **state)
{
	struct store_dir *d = *state;
	struct guid g;

	store_deliver(d, "", "1.x", "before");
	g = store_guid(d, "1.x");
	assert_int_equal(store_before_write(d->s, "new/1.x", false), 0);
	outside_write(d, "new/1.x", "the program's own");
	assert_int_equal(peer_change(d, &g, expunge), MB_E_STALE);
	assert_list(d, "INBOX/new/1.x");
	assert_text(d, "new/1.x", "the program's own");
	assert_int_equal(staging_count(d), 0);
	peer_change(d, &g, expunge); /* the old one, once more */
	assert_text(d, "new/1.x", "the program's own");
	store_consistent(d);
}

/* Row 30: flags that a program set after the peer asked belong to what the message became there. */
static void an_expunge_waits_for_flags_that_nobody_has_seen(void **state)
{
	struct store_dir *d = *state;
	struct record r = {.type = REC_COPY_STATE, .origin = {.replica = 0x9999}};
	struct store_step step;
	struct entry e = {0};

	store_deliver(d, "", "1.x", "a");
	assert_int_equal(store_move(d, "new/1.x", "cur/1.x:2,S"), 0);
	store_find(d, "1.x:2,S", &e);
	copy_clone(&r.copy, &e.copy);
	expunge(&r.copy);
	assert_int_equal(store_move(d, "cur/1.x:2,S", "cur/1.x:2,FS"), 0);
	assert_int_equal(store_plan(d->s, &r, NULL, 1, &step), MB_E_STALE);
	assert_int_equal(store_put(d->s, &r, NULL), MB_E_STALE);
	assert_list(d, "INBOX/cur/1.x:2,FS");
	flags_put(&r.copy.flags, FLAG_FLAGGED, true, peer_stamp(5)); /* asked again */
	assert_int_equal(store_put(d->s, &r, NULL), 1);
	assert_list(d, "");
	entry_release(&e);
	record_release(&r);
	store_consistent(d);
}

static void a_lost_body_comes_back(void **state)
{
	struct store_dir *d = *state;
	struct record r = {.type = REC_COPY_STATE};
	struct entry e = {0};

	store_deliver(d, "", "1.x", "the body");
	store_dir_close(d);
	outside_unlink(d, "new/1.x");
	store_dir_power_cut(d);
	store_dir_open(d);
	assert_list(d, "INBOX/new/1.x lost");
	store_find(d, "1.x", &e);
	copy_clone(&r.copy, &e.copy);
	peer_stage(d, "body", "the body");
	assert_int_equal(store_put(d->s, &r, "body"), 1);
	assert_int_equal(log_last(d), REC_FOUND);
	assert_list(d, "INBOX/new/1.x");
	store_consistent(d);
	entry_release(&e);
	record_release(&r);
}

/* One message by its likeness has other bytes at the peer; ours are gone (row 116). */
static void a_lost_body_comes_back_with_other_bytes(void **state)
{
	struct store_dir *d = *state;
	struct record r = {.type = REC_COPY_STATE};
	struct entry e = {0};
	struct digest ours;
	char *path;

	store_deliver(d, "", "1.x", "the body\n");
	struct guid g = store_guid(d, "1.x");
	assert_int_equal(store_digest(d->s, &g, 0, &ours), 0);
	store_dir_close(d);
	outside_unlink(d, "new/1.x");
	store_dir_power_cut(d);
	store_dir_open(d);
	store_find(d, "1.x", &e);
	copy_clone(&r.copy, &e.copy);
	for (int i = 0; i < 9; i++) { /* some of these digests are greater */
		char text[] = "the body\r\n?";
		text[10] = (char)(i ? '0' + i : 0);
		r.copy.size = strlen(text);
		digest_mem(text, strlen(text), &r.copy.digest);
		peer_stage(d, "body", text);
		assert_int_equal(store_put(d->s, &r, "body"), !i);
	}
	assert_int_equal(store_copy_path(d->s, &g, 0, &path), 0);
	assert_text(d, path, "the body\r\n");
	entry_release(&e);
	store_find(d, "1.x", &e);
	assert_int_equal(e.copy.size, 10);
	store_consistent(d);
	free(path);
	entry_release(&e);
	record_release(&r);
}

/* A record that could never be applied must not get into the log. */
static void records_without_sense_are_refused(void **state)
{
	static const enum record_type types[] = {REC_MAILBOX_STATE, REC_COPY_STATE, REC_ALIAS,
						 REC_ARRIVE,	    REC_EDIT,	    REC_LOST,
						 REC_REPLICA,	    REC_NONE,	    200};
	struct store_dir *d = *state;
	uint64_t n = log_records(d);

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct record r = {.type = types[i]};

		assert_int_equal(store_put(d->s, &r, NULL), MB_E_PROTOCOL);
	}
	assert_int_equal(log_records(d), n);
	store_deliver(d, "", "1.x", "a");
	store_dir_reopen(d);
	assert_list(d, "INBOX/new/1.x");
}

static void a_staged_name_stays_in_staging(void **state)
{
	struct store_dir *d = *state;
	struct guid g = guid_new();
	struct record r;

	peer_copy(&r, &g, &GUID_INBOX, "x");
	assert_int_equal(store_put(d->s, &r, "../config"), MB_E_NAME);
	assert_int_equal(store_put(d->s, &r, "a/b"), MB_E_NAME);
	record_release(&r);
}

/* Clocks: a stamp of the far future is taken as now, and does not carry ours away. */
static void far_stamps_do_not_move_our_clock(void **state)
{
	struct store_dir *d = *state;
	struct stamp far = {.time = peer_stamp(60 * 24 * 365 * 20).time, .replica = 3}, now;
	struct guid g = guid_new();
	struct record r;

	peer_copy(&r, &g, &GUID_INBOX, "b");
	r.copy.place.at = far;
	flags_put(&r.copy.flags, FLAG_SEEN, true, far);
	flags_put_keyword(&r.copy.flags, "work", true, far);
	peer_stage(d, "body", "b");
	assert_int_equal(store_put(d->s, &r, "body"), 1);
	now = store_now(d->s);
	assert_true(stamp_ms(&now) < stamp_ms(&far) - 1000);
	record_release(&r);
}

/* ---- steps that fail, stops ---- */

static struct guid fresh_guid;

static int put_arrival(struct store_dir *d)
{
	struct record r;
	int err;

	peer_copy(&r, &fresh_guid, &GUID_INBOX, "hello");
	free(r.copy.place.base);
	r.copy.place.base = mb_xstrdup("9.x");
	err = store_put(d->s, &r, "body");
	record_release(&r);
	return err;
}

static int put_flag(struct store_dir *d)
{
	struct guid g = store_guid(d, "1.x");

	return peer_change(d, &g, set_seen);
}

static int put_move(struct store_dir *d)
{
	struct guid g = store_guid(d, "1.x");

	target_box = store_box(d, "A");
	return peer_change(d, &g, move_to_target);
}

static int put_expunge(struct store_dir *d)
{
	struct guid g = store_guid(d, "1.x");

	return peer_change(d, &g, expunge);
}

static int (*const changes[])(struct store_dir *) = {put_arrival, put_flag, put_move, put_expunge};

static struct store_dir *fresh(void **state)
{
	struct store_dir *d;

	store_dir_teardown(state);
	assert_int_equal(store_dir_setup(state), 0);
	d = *state;
	store_make_box(d, ".A");
	store_deliver(d, "", "1.x", "one");
	fresh_guid = guid_new();
	return d;
}

static void a_step_that_fails_can_be_tried_again(void **state)
{
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		bool hit = true;

		for (int n = 1; hit; n++) {
			struct store_dir *d = fresh(state);
			char *before = store_list(d);
			int err;

			peer_stage(d, "body", "hello");
			err = store_dir_fail_at(d, n, ENOSPC, changes[i], &hit);
			store_consistent(d);
			if (err < 0) {
				assert_list(d, before);
				assert_int_equal(changes[i](d), 1);
			}
			store_consistent(d);
			store_dir_reopen(d);
			store_consistent(d);
			free(before);
		}
	}
}

static int stage_and_put(struct store_dir *d)
{
	peer_stage(d, "body", "hello");
	return put_arrival(d);
}

static void a_kill_at_any_step_loses_nothing(void **state)
{
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		bool killed = true;

		for (int n = 1; killed; n++) {
			struct store_dir *d = fresh(state);
			char *list;

			killed = store_dir_kill_at(d, n, i ? changes[i] : stage_and_put);
			store_dir_open(d);
			store_consistent(d);
			list = store_list(d);
			assert_true(strstr(list, "1.x") || deleted_count(d) == 1);
			free(list);
		}
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(an_arrival_is_one_rename_from_staging),
		TEST(an_arrival_without_its_body_says_so),
		TEST(a_body_of_another_size_is_refused),
		TEST(a_body_that_is_here_is_not_needed_again),
		TEST(a_flag_change_is_one_rename),
		TEST(an_older_change_loses),
		TEST(a_move_and_an_expunge),
		TEST(an_undo_takes_the_body_from_deleted),
		TEST(an_old_body_is_no_proof_of_a_later_expunge),
		TEST(a_name_that_is_taken_gets_another),
		TEST(a_uid_that_is_taken_gets_the_next),
		TEST(a_message_of_a_mailbox_that_is_not_here_waits),
		TEST(an_expunge_does_not_take_an_edit_away),
		TEST(an_expunge_waits_for_flags_that_nobody_has_seen),
		TEST(a_lost_body_comes_back),
		TEST(a_lost_body_comes_back_with_other_bytes),
		TEST(records_without_sense_are_refused),
		TEST(a_staged_name_stays_in_staging),
		TEST(far_stamps_do_not_move_our_clock),
		TEST(a_step_that_fails_can_be_tried_again),
		TEST(a_kill_at_any_step_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
