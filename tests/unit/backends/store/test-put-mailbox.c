/* test-put-mailbox.c - a peer's states of mailboxes: directories follow names, whatever the order. */
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

static void put_twice(struct store_dir *d, const struct record *r)
{
	uint64_t n;

	assert_int_equal(store_put(d->s, r, NULL), 1);
	n = log_records(d);
	assert_int_equal(store_put(d->s, r, NULL), 0);
	assert_int_equal(log_records(d), n);
}

/* The state of a mailbox here, to be changed and put. */
static void state_of(struct store_dir *d, const char *name, struct record *r)
{
	*r = (struct record){.type = REC_MAILBOX_STATE, .origin = {.replica = 0x9999}};
	store_get_box(d, name, &r->mailbox);
}

static void name_it(struct record *r, const char *part, int minutes)
{
	free(r->mailbox.part);
	r->mailbox.part = mb_xstrdup(part);
	r->mailbox.named_at = peer_stamp(minutes);
}

static int rename_by_peer(struct store_dir *d, const char *from, const char *to)
{
	struct record r;
	int err;

	state_of(d, from, &r);
	name_it(&r, to, 5);
	err = store_put(d->s, &r, NULL);
	record_release(&r);
	return err;
}

static void create_rename_and_delete(void **state)
{
	struct store_dir *d = *state;
	struct guid g = guid_new();
	struct record r;

	peer_mailbox(&r, &g, "Lists");
	put_twice(d, &r);
	assert_int_equal(log_last(d), REC_MAILBOX_CREATE);
	assert_true(tree_has(d, ".Lists/cur") && tree_has(d, ".Lists/new") &&
		    tree_has(d, ".Lists/tmp"));
	name_it(&r, "News", 5);
	put_twice(d, &r);
	assert_int_equal(log_last(d), REC_MAILBOX_RENAME);
	assert_true(tree_has(d, ".News/cur") && !tree_has(d, ".Lists"));
	r.mailbox.dead = mailbox_seen(&r.mailbox);
	r.mailbox.dead_at = peer_stamp(6);
	put_twice(d, &r);
	assert_int_equal(log_last(d), REC_MAILBOX_DELETE);
	assert_false(tree_has(d, ".News"));
	r.mailbox.revived = peer_stamp(7);
	put_twice(d, &r);
	assert_int_equal(log_last(d), REC_MAILBOX_REVIVE);
	assert_true(tree_has(d, ".News/cur"));
	assert_int_equal(staging_count(d), 0);
	record_release(&r);
	store_consistent(d);
}

static void children_follow_their_parent(void **state)
{
	struct store_dir *d = *state;

	store_make_box(d, ".A");
	store_make_box(d, ".A.B");
	store_make_box(d, ".A.B.C");
	store_deliver(d, ".A.B.C", "1.x", "a");
	assert_int_equal(rename_by_peer(d, "A", "Z"), 1);
	assert_list(d, "Z/B/C/new/1.x");
	assert_true(tree_has(d, ".Z/cur") && tree_has(d, ".Z.B.C/new/1.x"));
	store_consistent(d);
}

static void names_that_were_swapped(void **state)
{
	struct store_dir *d = *state;

	store_make_box(d, ".A");
	store_make_box(d, ".B");
	store_deliver(d, ".A", "a.x", "a");
	store_deliver(d, ".B", "b.x", "b");
	struct record a, b;

	state_of(d, "A", &a);
	state_of(d, "B", &b);
	name_it(&a, "B", 5);
	name_it(&b, "A", 6);
	assert_int_equal(store_put(d->s, &a, NULL), 1);
	assert_int_equal(store_put(d->s, &b, NULL), 1);
	assert_list(d, "A/new/b.x | B/new/a.x");
	assert_text(d, ".B/new/a.x", "a");
	assert_int_equal(store_put(d->s, &a, NULL), 0);
	assert_int_equal(store_put(d->s, &b, NULL), 0);
	record_release(&a);
	record_release(&b);
	store_consistent(d);
	store_dir_reopen(d);
	assert_list(d, "A/new/b.x | B/new/a.x");
	store_consistent(d);
}

static void names_that_went_round(void **state)
{
	static const char *const from[] = {"A", "B", "C"}, *const to[] = {"B", "C", "A"};
	struct store_dir *d = *state;
	struct record r[3];

	for (int i = 0; i < 3; i++) {
		char *dir = mb_xasprintf(".%s", from[i]), *file = mb_xasprintf("%s.x", from[i]);

		store_make_box(d, dir);
		store_deliver(d, dir, file, from[i]);
		free(dir);
		free(file);
	}
	for (int i = 0; i < 3; i++)
		state_of(d, from[i], &r[i]);
	for (int i = 0; i < 3; i++) {
		name_it(&r[i], to[i], 5 + i);
		assert_int_equal(store_put(d->s, &r[i], NULL), 1);
		record_release(&r[i]);
	}
	assert_list(d, "A/new/C.x | B/new/A.x | C/new/B.x");
	store_consistent(d);
	store_dir_reopen(d);
	assert_list(d, "A/new/C.x | B/new/A.x | C/new/B.x");
}

/* Only the first half of a swap came: the other mailbox keeps its mail until its name comes. */
static void half_a_swap_loses_nothing(void **state)
{
	struct store_dir *d = *state;

	store_make_box(d, ".A");
	store_make_box(d, ".B");
	store_deliver(d, ".A", "a.x", "a");
	store_deliver(d, ".B", "b.x", "b");
	assert_int_equal(rename_by_peer(d, "A", "B"), 1);
	store_consistent(d);
	store_dir_reopen(d);
	store_consistent(d);
	store_dir_close(d);
	store_dir_drop(d, "index");
	store_dir_open(d);
	store_consistent(d);
	char *list = store_list(d);
	assert_non_null(strstr(list, "a.x"));
	assert_non_null(strstr(list, "b.x"));
	free(list);
}

/* Two of one name, until the peer says what becomes of them: the one that waits comes home when the
 * other has gone, whether it was deleted, merged or renamed. */
static void who_waits_for_a_name_comes_home(void **state)
{
	struct store_dir *d = *state;

	for (int how = 0; how < 3; how++) {
		struct guid a = guid_new(), b = guid_new();
		struct record ra, rb;
		char *name = mb_xasprintf("Box%d", how), *mail = mb_xasprintf(".Box%d/cur", how);
		char *first = mb_xasprintf(".Box%d", how);

		peer_mailbox(&ra, &a, name);
		assert_int_equal(store_put(d->s, &ra, NULL), 1);
		store_deliver(d, first, "1.x", "of the first");
		peer_mailbox(&rb, &b, name);
		assert_int_equal(store_put(d->s, &rb, NULL), 1);
		assert_true(d->s->swapped);
		if (how == 0) {
			rb.mailbox.dead = rb.mailbox.born;
			rb.mailbox.dead_at = peer_stamp(5);
		} else if (how == 1) {
			rb.mailbox.merged_into = a;
		} else {
			name_it(&rb, "Elsewhere", 5);
		}
		assert_int_equal(store_put(d->s, &rb, NULL), 1);
		assert_true(tree_has(d, mail));
		assert_false(d->s->swapped);
		char *in_it = mb_xasprintf(".Box%d/new/1.x", how);
		assert_text(d, in_it, "of the first");
		free(in_it);
		store_consistent(d);
		free(name);
		free(mail);
		free(first);
		record_release(&ra);
		record_release(&rb);
	}
}

static void a_mailbox_with_mail_is_not_removed(void **state)
{
	struct store_dir *d = *state;
	struct record r;

	store_make_box(d, ".A");
	state_of(d, "A", &r);
	r.mailbox.dead = mailbox_seen(&r.mailbox);
	r.mailbox.dead_at = peer_stamp(6);
	store_deliver(d, ".A", "1.x", "a");
	assert_int_equal(store_put(d->s, &r, NULL), MB_E_STALE);
	assert_int_equal(store_unlink(d->s, ".A/new/1.x", &d->me), 0);
	outside_write(d, ".A/new/2.x", "nobody knows it yet");
	assert_int_equal(store_put(d->s, &r, NULL), MB_E_STALE);
	assert_text(d, ".A/new/2.x", "nobody knows it yet");
	assert_true(store_has_box(d, "A"));
	record_release(&r);
}

/* fs: what is beneath a mailbox that goes must not go with it, whoever its parents are. */
static void mailboxes_beneath_stay(void **state)
{
	struct store_dir *d = *state;
	struct record r;

	store_make_box(d, "A");
	assert_int_equal(store_mkdir(d->s, "A/B", 0700, &d->me), 0);
	store_make_box(d, "A/B/C");
	store_deliver(d, "A/B/C", "1.x", "a");
	outside_mailbox(d, "A/unknown");
	outside_write(d, "A/unknown/new/2.x", "not scanned yet");
	state_of(d, "A", &r);
	r.mailbox.dead = mailbox_seen(&r.mailbox);
	r.mailbox.dead_at = peer_stamp(6);
	assert_int_equal(store_put(d->s, &r, NULL), 1);
	assert_false(tree_has(d, "A/cur"));
	assert_text(d, "A/B/C/new/1.x", "a");
	assert_text(d, "A/unknown/new/2.x", "not scanned yet");
	record_release(&r);
	store_dir_reopen(d);
	store_consistent(d);
}

static void inbox_stays_inbox(void **state)
{
	struct store_dir *d = *state;
	struct record r;

	store_deliver(d, "", "1.x", "a");
	state_of(d, "INBOX", &r);
	name_it(&r, "Elsewhere", 5);
	r.mailbox.dead = peer_stamp(10);
	r.mailbox.merged_into = guid_new();
	r.mailbox.selectable = false;
	r.mailbox.selectable_at = peer_stamp(10);
	assert_int_equal(store_put(d->s, &r, NULL), 0);
	record_release(&r);
	assert_list(d, "INBOX/new/1.x");
	store_deliver(d, "", "2.x", "b");
	store_consistent(d);
}

static void names_that_cannot_be_stored_are_refused(void **state)
{
	static const char *const bad[] = {"..", ".", ""};
	struct store_dir *d = *state;
	char *longest = mb_xcalloc(1, 300);

	memset(longest, 'x', 299);
	for (size_t i = 0; i <= sizeof(bad) / sizeof(bad[0]); i++) {
		struct guid g = guid_new();
		struct record r;

		peer_mailbox(&r, &g, i < sizeof(bad) / sizeof(bad[0]) ? bad[i] : longest);
		assert_int_equal(store_put(d->s, &r, NULL), MB_E_NAME);
		record_release(&r);
	}
	free(longest);
	store_consistent(d);
}

static void odd_names_are_escaped(void **state)
{
	static const char *const odd[] = {"cur",	   "a.b",      "a/b",  "~x",
					  ".hidden",	   "a\\2eb",   " x ",  "#%*",
					  "dovecot.index", "\xc3\xa9", "a\nb", "\x7f"};
	struct store_dir *d = *state;

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		struct guid g = guid_new();
		struct record r;

		peer_mailbox(&r, &g, odd[i]);
		put_twice(d, &r);
		record_release(&r);
	}
	store_consistent(d);
	char *before = store_dump(d), *after;
	store_dir_close(d);
	store_dir_drop(d, "index");
	store_dir_open(d);
	after = store_dump(d);
	assert_string_equal(before, after);
	free(before);
	free(after);
}

static void a_parent_that_is_not_here_is_an_error(void **state)
{
	struct store_dir *d = *state;
	struct guid g = guid_new();
	struct record r;

	peer_mailbox(&r, &g, "x");
	r.mailbox.parent = guid_new();
	assert_int_equal(store_put(d->s, &r, NULL), MB_E_NAME);
	r.mailbox.parent = g; /* its own */
	assert_int_equal(store_put(d->s, &r, NULL), MB_E_NAME);
	record_release(&r);
	store_consistent(d);
}

/* ---- steps that fail, stops ---- */

static int put_swap(struct store_dir *d)
{
	struct record a, b;
	int err;

	if (!store_has_box(d, "A") || !store_has_box(d, "B"))
		return 0;
	state_of(d, "A", &a);
	state_of(d, "B", &b);
	name_it(&a, "B", 5);
	name_it(&b, "A", 6);
	err = store_put(d->s, &a, NULL);
	if (err >= 0)
		err = store_put(d->s, &b, NULL);
	record_release(&a);
	record_release(&b);
	return err;
}

static int put_create(struct store_dir *d)
{
	static struct guid g;
	struct record r;
	int err;

	if (guid_is_zero(&g))
		g = guid_new();
	peer_mailbox(&r, &g, "N");
	err = store_put(d->s, &r, NULL);
	record_release(&r);
	return err;
}

static int put_rename(struct store_dir *d)
{
	return store_has_box(d, "A") ? rename_by_peer(d, "A", "Z") : 0;
}

static int put_delete(struct store_dir *d)
{
	struct record r;
	int err;

	state_of(d, "E", &r);
	r.mailbox.dead = mailbox_seen(&r.mailbox);
	r.mailbox.dead_at = peer_stamp(6);
	err = store_put(d->s, &r, NULL);
	record_release(&r);
	return err;
}

static int (*const changes[])(struct store_dir *) = {put_swap, put_create, put_rename, put_delete};

static struct store_dir *fresh(void **state)
{
	struct store_dir *d;

	store_dir_teardown(state);
	assert_int_equal(store_dir_setup(state), 0);
	d = *state;
	store_make_box(d, ".A");
	store_make_box(d, ".A.K");
	store_make_box(d, ".B");
	store_make_box(d, ".E");
	store_deliver(d, ".A", "a.x", "a");
	store_deliver(d, ".A.K", "k.x", "k");
	store_deliver(d, ".B", "b.x", "b");
	return d;
}

static void check(struct store_dir *d)
{
	char *list = store_list(d);

	store_consistent(d);
	assert_non_null(strstr(list, "a.x"));
	assert_non_null(strstr(list, "b.x"));
	assert_non_null(strstr(list, "k.x"));
	assert_int_equal(deleted_count(d), 0);
	free(list);
}

static void a_step_that_fails_changes_no_name(void **state)
{
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		bool hit = true;

		for (int n = 1; hit; n++) {
			struct store_dir *d = fresh(state);
			uint64_t before = log_records(d);
			int err = store_dir_fail_at(d, n, ENOSPC, changes[i], &hit);

			check(d);
			/* the record of a rename goes first: what it says is finished later */
			if (err < 0 && changes[i] != put_swap && changes[i] != put_rename)
				assert_int_equal(log_records(d), before);
			store_dir_reopen(d);
			check(d);
		}
	}
}

static void a_kill_at_any_step_loses_nothing(void **state)
{
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		bool killed = true;

		for (int n = 1; killed; n++) {
			struct store_dir *d = fresh(state);

			killed = store_dir_kill_at(d, n, changes[i]);
			store_dir_open(d);
			check(d);
			store_dir_reopen(d);
			check(d);
		}
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
#define FS_TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup_fs, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(create_rename_and_delete),
		TEST(children_follow_their_parent),
		FS_TEST(mailboxes_beneath_stay),
		TEST(names_that_were_swapped),
		TEST(names_that_went_round),
		TEST(half_a_swap_loses_nothing),
		TEST(who_waits_for_a_name_comes_home),
		TEST(a_mailbox_with_mail_is_not_removed),
		TEST(inbox_stays_inbox),
		TEST(names_that_cannot_be_stored_are_refused),
		TEST(odd_names_are_escaped),
		TEST(a_parent_that_is_not_here_is_an_error),
		TEST(a_step_that_fails_changes_no_name),
		TEST(a_kill_at_any_step_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
