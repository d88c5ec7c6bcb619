/*
 * test-fill.c - which mail of a full comparison is put as it is, and which is left to the merge.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/memory.h"
#include "sync/fill-private.h"
#include "sync/scope.h"

#include <stdlib.h>
#include <string.h>

struct fixture {
	struct backend *b[2];
	struct gather g;
	struct fill f;
	struct session_options opt;
	struct session_result report;
};

static int setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	setenv("MAILBRAID_PIECE", "1", 1);
	for (int i = 0; i < 2; i++)
		f.b[i] = backend_open_memory(11 * (uint64_t)(i + 1));
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fill_release(&f->f);
	gather_release(&f->g);
	session_result_release(&f->report);
	backend_close(f->b[0]);
	backend_close(f->b[1]);
	unsetenv("MAILBRAID_PIECE");
	return 0;
}

/* Compares and chooses anew. */
static bool choose(struct fixture *f)
{
	fill_release(&f->f);
	gather_release(&f->g);
	for (int i = 0; i < 2; i++) {
		f->g.b[i] = f->b[i];
		assert_int_equal(f->b[i]->ops->info(f->b[i], &f->g.info[i]), 0);
	}
	assert_int_equal(fill_open(&f->f, &f->g, &f->opt, &f->report), 0);
	f->g.fill = &f->f;
	assert_int_equal(gather_add_differences(&f->g), 0);
	f->g.fill = NULL;
	return fill_choose(&f->f);
}

static void expect(struct fixture *f, size_t open, size_t left)
{
	assert_int_equal(choose(f), open > 0);
	assert_int_equal(f->f.n_open, open);
	fill_run(&f->f);
	assert_int_equal(f->g.n_order, left);
}

static struct guid deliver(struct backend *b, const struct guid *box, const char *text)
{
	struct guid g;

	assert_int_equal(memory_deliver(b, box, text, strlen(text), 0, &g), 0);
	return g;
}

static struct guid mkbox(struct backend *b, const struct guid *parent, const char *part)
{
	struct guid g;

	assert_int_equal(memory_create(b, parent, part, &g), 0);
	return g;
}

static void what_only_one_side_has_is_put(void **state)
{
	struct fixture *f = *state;
	struct guid box = mkbox(f->b[0], &GUID_ZERO, "box");

	for (int i = 0; i < 5; i++)
		deliver(f->b[0], &box, "x");
	deliver(f->b[1], &GUID_INBOX, "y"); /* in another mailbox: goes the other way */
	expect(f, 6, 0);
	assert_int_equal(memory_n_messages(f->b[0]), 6);
	assert_int_equal(memory_n_messages(f->b[1]), 6);
}

static void few_are_not_worth_it(void **state)
{
	struct fixture *f = *state;

	setenv("MAILBRAID_PIECE", "3", 1);
	deliver(f->b[0], &GUID_INBOX, "x");
	deliver(f->b[0], &GUID_INBOX, "y");
	expect(f, 0, 2);
	deliver(f->b[0], &GUID_INBOX, "z");
	expect(f, 3, 0);
}

static void mail_of_both_sides_in_one_mailbox_is_left(void **state)
{
	struct fixture *f = *state;
	struct guid box = mkbox(f->b[0], &GUID_ZERO, "box");

	deliver(f->b[0], &GUID_INBOX, "may be one");
	deliver(f->b[1], &GUID_INBOX, "may be one");
	deliver(f->b[0], &box, "fine");
	expect(f, 1, 2);
}

static void mail_beside_what_differs_is_left(void **state)
{
	struct fixture *f = *state;
	struct guid both = deliver(f->b[0], &GUID_INBOX, "one");

	expect(f, 1, 0);
	assert_int_equal(memory_flags(f->b[1], &both, 0, FLAG_SEEN, 0), 0);
	deliver(f->b[0], &GUID_INBOX, "two");
	expect(f, 0, 2);
}

static void a_mailbox_whose_name_is_taken_is_left(void **state)
{
	struct fixture *f = *state;
	struct guid a = mkbox(f->b[0], &GUID_ZERO, "Work"), below = mkbox(f->b[0], &a, "below");

	mkbox(f->b[1], &GUID_ZERO, "work"); /* case might not count there */
	deliver(f->b[0], &a, "x");
	deliver(f->b[0], &below, "y");
	expect(f, 0, 2);
}

static void a_deleted_mailbox_is_left(void **state)
{
	struct fixture *f = *state;
	struct guid box = mkbox(f->b[0], &GUID_ZERO, "box");

	deliver(f->b[0], &box, "x");
	expect(f, 1, 0);
	assert_int_equal(memory_delete(f->b[1], &box), 0);
	deliver(f->b[0], &box, "not seen by who deleted it");
	expect(f, 0, 2);
}

static void mailboxes_are_made_with_those_above(void **state)
{
	struct fixture *f = *state;
	struct guid a = mkbox(f->b[0], &GUID_ZERO, "a"), b = mkbox(f->b[0], &a, "b"),
		    c = mkbox(f->b[0], &b, "c"), empty = mkbox(f->b[0], &GUID_ZERO, "empty");

	deliver(f->b[0], &c, "x");
	expect(f, 1, 0);
	const struct tree *there = memory_tree(f->b[1]);
	assert_non_null(tree_find(there, &a));
	assert_string_equal(tree_find(there, &c)->part, "c");
	assert_null(tree_find(there, &empty)); /* the merge does that */
	assert_int_equal(f->report.to[1].arrived, 1);
	assert_int_equal(f->report.to[1].made, 3);
}

static void uids_stay_and_uid_next_follows(void **state)
{
	struct fixture *f = *state;
	struct guid g[3];

	for (int i = 0; i < 3; i++)
		g[i] = deliver(f->b[0], &GUID_INBOX, "x");
	assert_int_equal(memory_expunge(f->b[0], &g[2], 0), 0);
	expect(f, 3, 0); /* what is known of the dead, too */
	for (int i = 0; i < 2; i++)
		assert_int_equal(memory_find(f->b[1], &g[i])->copies[0].place.uid, i + 1);
	assert_false(copy_alive(&memory_find(f->b[1], &g[2])->copies[0]));
	assert_int_equal(tree_find(memory_tree(f->b[1]), &GUID_INBOX)->uid_next, 3);
}

/* Under a UID that the other side gave a client saw something else. */
static void from_a_used_uid_on_mail_is_left(void **state)
{
	struct fixture *f = *state;
	struct guid gone = deliver(f->b[1], &GUID_INBOX, "expunged and forgotten");

	assert_int_equal(memory_expunge(f->b[1], &gone, 0), 0);
	memory_forget_expunged(f->b[1]);
	deliver(f->b[0], &GUID_INBOX, "uid 1");
	deliver(f->b[0], &GUID_INBOX, "uid 2");
	expect(f, 2, 2);
}

static void copies_of_a_message_go_together_or_not_at_all(void **state)
{
	struct fixture *f = *state;
	struct guid box = mkbox(f->b[0], &GUID_ZERO, "box");
	struct guid m = deliver(f->b[0], &GUID_INBOX, "x");
	uint64_t id;

	assert_int_equal(memory_copy(f->b[0], &m, 0, &box, &id), 0);
	deliver(f->b[1], &GUID_INBOX, "y"); /* INBOX is left, and so is the copy in box */
	expect(f, 0, 2);
	expect(f, 0, 2);
	struct guid n = deliver(f->b[0], &box, "z");
	expect(f, 1, 3); /* after the copy that is left */
	struct guid two = mkbox(f->b[0], &GUID_ZERO, "two");
	assert_int_equal(memory_copy(f->b[0], &n, 0, &two, &id), 0);
	n = deliver(f->b[0], &two, "alone");
	expect(f, 3, 3);
	assert_int_equal(memory_find(f->b[1], &n)->n, 1);
}

static void what_changes_meanwhile_is_left(void **state)
{
	struct fixture *f = *state;
	struct guid first = deliver(f->b[0], &GUID_INBOX, "x"), other;

	other = deliver(f->b[0], &GUID_INBOX, "y");
	assert_true(choose(f));
	assert_int_equal(memory_expunge(f->b[0], &first, 0), 0);
	assert_int_equal(fill_run(&f->f), 0);
	assert_int_equal(f->g.n_order, 2);
	assert_null(memory_find(f->b[1], &first));
	assert_null(memory_find(f->b[1], &other)); /* its UID would be the lower one's loss */
}

static void old_mail_of_strangers_goes_of_others_not(void **state)
{
	struct fixture *f = *state;

	deliver(f->b[0], &GUID_INBOX, "x");
	assert_true(choose(f));
	f->f.copies[0][0].old = true;
	f->f.hold_old = true;
	assert_true(fill_choose(&f->f)); /* nothing in common */
	f->g.related = true;
	f->f.copies[0][0].state = 0;
	assert_false(fill_choose(&f->f));
	assert_int_equal(f->g.n_order, 1);
}

static void only_replicas_that_keep_everything_themselves(void **state)
{
	struct fixture *f = *state;
	struct backend_info info[2];
	struct scope narrow;
	struct session_options opt = {0};

	for (int i = 0; i < 2; i++)
		f->b[i]->ops->info(f->b[i], &info[i]);
	assert_true(fill_may(info, &opt));
	opt.dry_run = true;
	assert_false(fill_may(info, &opt));
	opt.dry_run = false;
	scope_init(&narrow);
	opt.scope = &narrow;
	assert_true(fill_may(info, &opt));
	narrow.let[0] = 0;
	assert_false(fill_may(info, &opt));
	opt.scope = NULL;
	info[1].caps |= CAP_FOLDS;
	assert_false(fill_may(info, &opt));
	info[1].caps &= ~(unsigned)(CAP_FOLDS | CAP_STAMPS);
	assert_false(fill_may(info, &opt));
	scope_release(&narrow);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(what_only_one_side_has_is_put),
		T(few_are_not_worth_it),
		T(mail_of_both_sides_in_one_mailbox_is_left),
		T(mail_beside_what_differs_is_left),
		T(a_mailbox_whose_name_is_taken_is_left),
		T(a_deleted_mailbox_is_left),
		T(mailboxes_are_made_with_those_above),
		T(uids_stay_and_uid_next_follows),
		T(from_a_used_uid_on_mail_is_left),
		T(copies_of_a_message_go_together_or_not_at_all),
		T(what_changes_meanwhile_is_left),
		T(old_mail_of_strangers_goes_of_others_not),
		T(only_replicas_that_keep_everything_themselves),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
