/* test-put-merge.c - two mailboxes of one name that were made apart become one. */
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

/* The loser as a peer would bring it: merged into `winner`. */
static int merge(struct store_dir *d, const char *loser, const struct guid *winner)
{
	struct record r = {.type = REC_MAILBOX_MERGE, .origin = {.replica = 0x9999}};
	int err;

	store_get_box(d, loser, &r.mailbox);
	r.mailbox.merged_into = *winner;
	err = store_put(d->s, &r, NULL);
	record_release(&r);
	return err;
}

static void the_winner_takes_the_directory_when_it_has_none(void **state)
{
	struct store_dir *d = *state;
	struct guid winner = guid_new(), now;
	struct entry e = {0};

	store_make_box(d, ".A");
	store_deliver(d, ".A", "1.x", "a");
	assert_int_equal(merge(d, "A", &winner), 1);
	now = store_box(d, "A");
	assert_true(guid_equal(&now, &winner));
	assert_list(d, "A/new/1.x");
	store_find(d, "1.x", &e);
	assert_true(guid_equal(&e.copy.place.mailbox, &winner));
	entry_release(&e);
	assert_true(tree_has(d, ".A/new/1.x"));
	store_deliver(d, ".A", "2.x", "b");
	store_consistent(d);
	store_dir_reopen(d);
	assert_list(d, "A/new/1.x | A/new/2.x");
}

/* A mere name above others here, a mailbox there: when it becomes that one, its being a name does not go over,
 * and what comes of the other makes it a mailbox. */
static void a_name_makes_no_name_of_the_winner(void **state)
{
	struct store_dir *d = *state;
	struct record above = {.type = REC_MAILBOX_STATE, .origin = {.replica = 0x9999}};
	char name[] = "A";
	struct mailbox got = {0};
	struct stamp t = {0x1000000, 0x9999};

	above.mailbox = (struct mailbox){.guid = guid_new(),
					 .part = name,
					 .born = t,
					 .named_at = t,
					 .uid_validity = 7,
					 .uid_next = 1};
	struct record winner = above, merged = above;
	above.mailbox.selectable_at = merged.mailbox.selectable_at = (struct stamp){t.time + 1, 0};
	winner.mailbox.guid = guid_new();
	winner.mailbox.selectable = true;
	merged.type = REC_MAILBOX_MERGE;
	merged.mailbox.merged_into = winner.mailbox.guid;
	assert_int_equal(store_put(d->s, &above, NULL), 1);
	assert_int_equal(store_put(d->s, &merged, NULL), 1);
	assert_int_equal(store_put(d->s, &winner, NULL), 1);
	store_get_box(d, "A", &got);
	assert_true(guid_equal(&got.guid, &winner.mailbox.guid));
	assert_true(got.selectable);
	mailbox_release(&got);
	assert_true(tree_has(d, ".A/cur"));
	store_consistent(d);
}

static void files_go_to_the_winners_directory(void **state)
{
	struct store_dir *d = *state;
	struct guid winner;

	store_make_box(d, ".A");
	store_make_box(d, ".B");
	store_deliver(d, ".A", "1.x", "in a");
	store_deliver(d, ".B", "1.x", "in b"); /* the same name, another message */
	store_deliver(d, ".A", "2.x", "two");
	assert_int_equal(store_move(d, ".A/new/2.x", ".A/cur/2.x:2,S"), 0);
	winner = store_box(d, "B");
	assert_int_equal(merge(d, "A", &winner), 1);
	assert_false(tree_has(d, ".A"));
	assert_text(d, ".B/cur/2.x:2,S", "two");
	assert_text(d, ".B/new/1.x", "in b");
	store_consistent(d);
	store_dir_reopen(d);
	store_consistent(d);
}

static void mail_that_nobody_knows_holds_it_up(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;
	struct guid winner;

	store_make_box(d, ".A");
	store_make_box(d, ".B");
	store_deliver(d, ".A", "1.x", "a");
	outside_write(d, ".A/new/2.x", "just came");
	winner = store_box(d, "B");
	assert_int_equal(merge(d, "A", &winner), MB_E_STALE);
	assert_list(d, "A/new/1.x");
	store_dir_rescan(d, &r);
	assert_int_equal(merge(d, "A", &winner), 1);
	assert_list(d, "B/new/1.x | B/new/2.x");
	store_consistent(d);
}

/* That is how a loop ends: it stays what it is. */
static void a_mailbox_that_becomes_itself_stays(void **state)
{
	struct store_dir *d = *state;
	struct guid g;

	store_make_box(d, ".A");
	store_deliver(d, ".A", "1.x", "a");
	g = store_box(d, "A");
	assert_true(merge(d, "A", &g) >= 0);
	assert_list(d, "A/new/1.x");
	store_consistent(d);
	store_dir_reopen(d);
	assert_list(d, "A/new/1.x");
}

/* Elsewhere the one had become the other; here the other became the one.  The least stays, and is told. */
static void a_loop_ends(void **state)
{
	struct store_dir *d = *state;
	struct record told = {.type = REC_MAILBOX_REVIVE, .origin = {.replica = 0x9999}};
	struct guid a, b, least;

	store_make_box(d, ".A");
	store_make_box(d, ".B");
	store_deliver(d, ".A", "1.x", "a");
	store_deliver(d, ".B", "2.x", "b");
	a = store_box(d, "A");
	b = store_box(d, "B");
	const char *names[] = {"A", "B"};
	bool b_least = guid_compare(&b, &a) < 0;
	const char *low = names[b_least], *high = names[!b_least];
	MB_AUTO_FREE char *all = mb_xasprintf("%s/new/1.x | %s/new/2.x", low, low);
	MB_AUTO_FREE char *before = mb_xasprintf("%s/new/1.x | %s/new/2.x", high, high);

	least = b_least ? b : a;
	store_get_box(d, low, &told.mailbox);
	told.mailbox.merged_into = least;
	assert_int_equal(merge(d, low, b_least ? &a : &b), 1);
	assert_list(d, before);
	assert_int_equal(merge(d, high, &least), 1);
	assert_true(store_put(d->s, &told, NULL) >= 0);
	record_release(&told);
	assert_list(d, all);
	store_consistent(d);
	store_deliver(d, b_least ? ".B" : ".A", "3.x", "c");
	store_dir_close(d);
	store_dir_drop(d, "index");
	store_dir_open(d);
	free(all);
	all = mb_xasprintf("%s/new/1.x | %s/new/2.x | %s/new/3.x", low, low, low);
	assert_list(d, all);
	store_consistent(d);
}

static int merge_a(struct store_dir *d)
{
	struct guid winner = store_box(d, "B");

	return store_has_box(d, "A") ? merge(d, "A", &winner) : 0;
}

static const struct guid UNKNOWN = {{0x77, 1}};

/* A becomes a mailbox that is not here yet. */
static int merge_a_into_unknown(struct store_dir *d)
{
	struct guid now = store_box(d, "A");

	return guid_equal(&now, &UNKNOWN) ? 0 : merge(d, "A", &UNKNOWN);
}

static struct store_dir *fresh(void **state)
{
	struct store_dir *d;

	store_dir_teardown(state);
	assert_int_equal(store_dir_setup(state), 0);
	d = *state;
	store_make_box(d, ".A");
	store_make_box(d, ".B");
	store_deliver(d, ".A", "1.x", "a");
	store_deliver(d, ".A", "2.x", "bb");
	store_deliver(d, ".B", "3.x", "ccc");
	return d;
}

static void check(struct store_dir *d)
{
	char *list = store_list(d);

	store_consistent(d);
	for (int i = 1; i <= 3; i++) {
		char name[] = {(char)('0' + i), '.', 'x', 0};

		assert_non_null(strstr(list, name));
	}
	assert_int_equal(deleted_count(d), 0);
	free(list);
}

/* fn is stopped, then fails, at each of its durable steps in the store that `make` makes, and is done
 * again; `ended` says what holds then, or is NULL. */
static void fails_at_any_step(void **state, struct store_dir *(*make)(void **state),
			      int (*fn)(struct store_dir *d), void (*ended)(struct store_dir *d))
{
	for (int failing = 0; failing < 2; failing++) {
		bool more = true;

		for (int n = 1; more; n++) {
			struct store_dir *d = make(state);

			if (failing) {
				store_dir_fail_at(d, n, ENOSPC, fn, &more);
				store_dir_reopen(d);
			} else {
				more = store_dir_kill_at(d, n, fn);
				store_dir_open(d);
			}
			check(d);
			assert_true(fn(d) >= 0);
			check(d);
			if (ended)
				ended(d);
		}
	}
}

static void a_kill_or_failure_at_any_step_loses_nothing(void **state)
{
	fails_at_any_step(state, fresh, merge_a, NULL);
}

static void nor_when_the_winner_is_not_here_yet(void **state)
{
	fails_at_any_step(state, fresh, merge_a_into_unknown, NULL);
}

static struct record loop_merge, loop_told;

/* The least of A and B became the other; what a peer says then waits in loop_merge and loop_told. */
static struct store_dir *fresh_loop(void **state)
{
	struct store_dir *d = fresh(state);
	struct guid a = store_box(d, "A"), b = store_box(d, "B");
	bool b_least = guid_compare(&b, &a) < 0;
	const char *low = b_least ? "B" : "A", *high = b_least ? "A" : "B";

	record_release(&loop_merge);
	record_release(&loop_told);
	loop_merge = (struct record){.type = REC_MAILBOX_MERGE, .origin = {.replica = 0x9999}};
	loop_told = (struct record){.type = REC_MAILBOX_REVIVE, .origin = {.replica = 0x9999}};
	store_get_box(d, low, &loop_told.mailbox);
	loop_told.mailbox.merged_into = loop_told.mailbox.guid;
	assert_int_equal(merge(d, low, b_least ? &a : &b), 1);
	store_get_box(d, high, &loop_merge.mailbox);
	loop_merge.mailbox.merged_into = loop_told.mailbox.guid;
	return d;
}

static int end_the_loop(struct store_dir *d)
{
	int err = store_put(d->s, &loop_merge, NULL);

	return err < 0 ? err : store_put(d->s, &loop_told, NULL);
}

static void least_stays(struct store_dir *d)
{
	bool is_a = strcmp(loop_told.mailbox.part, "A") == 0;
	struct guid g = store_box(d, is_a ? "A" : "B");

	assert_true(guid_equal(&g, &loop_told.mailbox.guid));
	assert_false(store_has_box(d, is_a ? "B" : "A"));
}

static void a_loop_ends_though_it_is_killed_at_any_step(void **state)
{
	fails_at_any_step(state, fresh_loop, end_the_loop, least_stays);
	record_release(&loop_merge);
	record_release(&loop_told);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_winner_takes_the_directory_when_it_has_none),
		TEST(a_name_makes_no_name_of_the_winner),
		TEST(files_go_to_the_winners_directory),
		TEST(mail_that_nobody_knows_holds_it_up),
		TEST(a_mailbox_that_becomes_itself_stays),
		TEST(a_loop_ends),
		TEST(a_kill_or_failure_at_any_step_loses_nothing),
		TEST(nor_when_the_winner_is_not_here_yet),
		TEST(a_loop_ends_though_it_is_killed_at_any_step),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
