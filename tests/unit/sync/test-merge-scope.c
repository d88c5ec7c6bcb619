/*
 * test-merge-scope.c - what each word of --pull and --push lets through, and what a selection does.
 *
 * Sessions between two replicas in memory; A is side 0.  Random histories: test-scope-histories.c.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include "sync/scope.h"
#include "tests/support/history.h"
#include "tests/support/pair.h"
#include "tests/support/world.h"

#include <string.h>

/* Everything both sides have in common, then one change of each kind on A. */
struct changes {
	struct guid box, box_to_rename, flagged, moved, gone, new;
};

static struct changes make_changes(struct pair *p)
{
	struct changes c;

	c.box = mkbox(p->a, "Box");
	c.box_to_rename = mkbox(p->a, "Old");
	c.flagged = deliver(p->a, "to flag");
	c.moved = deliver(p->a, "to move");
	c.gone = deliver(p->a, "to expunge");
	sync_changed(p);
	rename_to(p->a, c.box_to_rename, "New");
	flag(p->a, c.flagged, FLAG_SEEN);
	keyword(p->a, c.flagged, "work", true);
	move(p->a, c.moved, c.box);
	expunge(p->a, c.gone);
	c.new = deliver(p->a, "new");
	flag(p->a, c.new, FLAG_FLAGGED);
	return c;
}

static void run_scope(struct pair *p, const struct scope *s)
{
	const struct session_options o = {.scope = s};
	struct session_result r = run_with(p, &o, 0);

	assert_int_equal(r.errors, 0);
	session_result_release(&r);
	r = run_with(p, &o, 0);
	assert_false(r.changed);
	session_result_release(&r);
}

/* What of the changes is at B. */
static unsigned arrived(struct pair *p, const struct changes *c)
{
	const struct tree *t = memory_tree(p->b);
	unsigned got = 0;

	if (lives(p->b, &c->new))
		got |= SCOPE_NEW;
	if (copy_of(p->b, &c->flagged)->flags.set & FLAG_MASK(FLAG_SEEN))
		got |= SCOPE_FLAGS;
	if (guid_equal(&copy_of(p->b, &c->moved)->place.mailbox, &c->box))
		got |= SCOPE_MOVES;
	if (!lives(p->b, &c->gone))
		got |= SCOPE_EXPUNGES;
	if (strcmp(tree_find(t, &c->box_to_rename)->part, "New") == 0)
		got |= SCOPE_FOLDERS;
	return got;
}

static void each_word_lets_its_own_through(void **state)
{
	for (unsigned let = 1; let <= SCOPE_EVERYTHING; let++) {
		struct pair *p;
		struct scope s;
		pair_open((void **)&p);
		struct changes c = make_changes(p);
		scope_init(&s);
		s.let[0] = 0;
		s.let[1] = let;
		run_scope(p, &s);
		if (arrived(p, &c) != let)
			fail_msg("let %x, got %x", let, arrived(p, &c));
		if (let & SCOPE_NEW) /* as it is, with its flags */
			assert_true(copy_of(p->b, &c.new)->flags.set & FLAG_MASK(FLAG_FLAGGED));
		sync_changed(p); /* and the rest comes with the sync of everything */
		assert_int_equal(arrived(p, &c), SCOPE_EVERYTHING);
		assert_equal_sides(p);
		void *done = p;
		pair_close(&done);
	}
}

static void one_way_keeps_what_the_other_side_did(void **state)
{
	struct pair *p = *state;
	struct changes c = make_changes(p);
	struct guid own = deliver(p->b, "of b");
	struct scope s;

	flag(p->b, c.flagged, FLAG_ANSWERED);
	scope_init(&s);
	s.let[0] = 0;
	run_scope(p, &s);
	assert_int_equal(arrived(p, &c), SCOPE_EVERYTHING);
	assert_true(lives(p->b, &own));
	assert_null(memory_find(p->a, &own));
	assert_true(copy_of(p->b, &c.flagged)->flags.set & FLAG_MASK(FLAG_ANSWERED));
	assert_false(copy_of(p->a, &c.flagged)->flags.set & FLAG_MASK(FLAG_ANSWERED));
	/* Row 137: what it expunges is neither undone nor told. */
	expunge(p->b, c.new);
	run_scope(p, &s);
	assert_false(lives(p->b, &c.new));
	assert_true(lives(p->a, &c.new));
	sync_changed(p);
	assert_false(lives(p->a, &c.new));
	assert_equal_sides(p);
}

/* A UID that the other side has in another mailbox says nothing of this one: whichever that is, what was
 * moved here stays under the UID that it has. */
static void a_uid_elsewhere_is_another(void **state)
{
	for (int before = 0; before < 8; before++) {
		struct pair *p;
		struct scope s;
		pair_open((void **)&p);
		struct guid box = mkbox(p->a, "Box");
		for (int i = 0; i < before; i++)
			deliver(p->a, "filler");
		struct guid there = deliver(p->a, "moved there"),
			    here = deliver(p->a, "moved here");
		sync_changed(p);
		move(p->b, there, box);
		move(p->a, here, box);
		scope_init(&s);
		s.let[0] = SCOPE_EXPUNGES;
		s.let[1] = SCOPE_EVERYTHING & ~(unsigned)SCOPE_EXPUNGES;
		run_scope(p, &s);
		assert_int_equal(copy_of(p->b, &there)->place.uid, 1);
		sync_changed(p);
		assert_equal_sides(p);
		void *done = p;
		pair_close(&done);
	}
}

static void a_selected_mailbox_alone(void **state)
{
	struct pair *p = *state;
	struct scope s;
	struct guid box = mkbox(p->a, "Work"), other = mkbox(p->b, "Other");
	struct guid in = has(p->a, box, "in it"), out = deliver(p->a, "in INBOX");
	struct guid back = deliver(p->b, "in INBOX of b");

	scope_init(&s);
	scope_add_name(&s.names, "Work");
	run_scope(p, &s);
	assert_true(lives(p->b, &in));
	assert_null(memory_find(p->b, &out));
	assert_null(memory_find(p->a, &back));
	assert_null(tree_find(memory_tree(p->a), &other));
	/* What is moved into it travels; what is moved out of it does, with its mailbox (row 43). */
	struct guid to = mkbox(p->a, "Elsewhere");
	move(p->a, out, box);
	move(p->a, in, to);
	run_scope(p, &s);
	assert_true(lives(p->b, &out));
	assert_true(guid_equal(&copy_of(p->b, &in)->place.mailbox, &to));
	assert_true(mailbox_alive(find_box(p->b, to)));
	sync_changed(p);
	assert_equal_sides(p);
	scope_release(&s);
}

static void a_mailbox_that_becomes_selected_brings_its_mail(void **state)
{
	struct pair *p = *state;
	struct scope s;
	struct guid box = mkbox(p->a, "Later"), m = has(p->a, box, "old mail");

	scope_init(&s);
	scope_add_name(&s.names, "Work");
	scope_add_name(&s.names, "INBOX");
	deliver(p->a, "x");
	run_scope(p, &s);
	assert_null(memory_find(p->b, &m));
	rename_to(p->a, box, "Work");
	run_scope(p, &s);
	assert_true(lives(p->b, &m));
	scope_release(&s);
}

/* Row 130. */
static void too_large_is_counted_and_its_flags_travel(void **state)
{
	struct pair *p = *state;
	struct scope s;
	struct guid large = deliver(p->a, "a message that is large"), small = deliver(p->a, "s");

	scope_init(&s);
	s.sized = true;
	s.max_size = 10;
	const struct session_options o = {.scope = &s};
	struct session_result r = run_with(p, &o, 0);
	assert_int_equal(r.left_out[0], 1);
	session_result_release(&r);
	r = run_with(p, &o, 0);
	assert_int_equal(r.left_out[0], 0); /* told once */
	session_result_release(&r);
	assert_true(lives(p->b, &small));
	assert_null(memory_find(p->b, &large));
	/* A higher limit is another scope: it is fetched. */
	s.max_size = 100;
	run_scope(p, &s);
	assert_true(lives(p->b, &large));
	/* Under the low limit its flags, moves and expunges travel: both have it. */
	s.max_size = 10;
	run_scope(p, &s);
	flag(p->a, large, FLAG_SEEN);
	run_scope(p, &s);
	assert_true(copy_of(p->b, &large)->flags.set & FLAG_MASK(FLAG_SEEN));
	expunge(p->b, large);
	run_scope(p, &s);
	assert_false(lives(p->a, &large));
}

/* Rows 131 and 132. */
static void what_is_too_old_is_left_alone(void **state)
{
	struct pair *p = *state;
	struct scope s;
	struct guid both = deliver(p->a, "on both sides");

	sync_changed(p);
	struct guid old = deliver(p->a, "only here");
	scope_init(&s);
	s.since = (struct scope_date){.given = true, .ns = INT64_MAX};
	run_scope(p, &s);
	assert_true(lives(p->a, &both) && lives(p->b, &both));
	assert_null(memory_find(p->b, &old));
	flag(p->a, both, FLAG_SEEN);
	flag(p->a, old, FLAG_FLAGGED);
	run_scope(p, &s);
	assert_true(copy_of(p->b, &both)->flags.set & FLAG_MASK(FLAG_SEEN));
	assert_true(lives(p->b, &old)); /* important */
}

static void a_mailbox_is_deleted_only_with_all_its_mail_known(void **state)
{
	struct pair *p = *state;
	struct scope s;
	struct guid box = mkbox(p->a, "Box"), seen = has(p->a, box, "seen by both");

	sync_changed(p);
	scope_init(&s);
	s.let[0] = 0;
	struct guid own = has(p->b, box, "only at b");
	deliver(p->a, "news");
	run_scope(p, &s);
	delete_box(p->a, box);
	run_scope(p, &s);
	assert_false(lives(p->b, &seen));
	assert_true(lives(p->b, &own));
	assert_true(mailbox_alive(find_box(p->b, box)));
	sync_changed(p);
	assert_true(lives(p->a, &own));
	assert_equal_sides(p);
}

static void made_apart_becomes_that_of_the_source(void **state)
{
	struct pair *p = *state;
	struct scope s;
	struct guid a = mkbox(p->a, "Same"), b = mkbox(p->b, "Same");
	struct guid m = has(p->a, a, "twin"), n = has(p->b, b, "twin"), o = has(p->b, b, "other");

	scope_init(&s);
	s.let[0] = 0;
	run_scope(p, &s);
	assert_true(guid_equal(&find_box(p->b, b)->merged_into, &a));
	assert_true(guid_is_zero(&find_box(p->a, a)->merged_into));
	assert_true(lives(p->b, &m)); /* one message, under the source's name */
	assert_true(lives(p->b, &o));
	assert_int_equal(memory_n_messages(p->a), 1);
	assert_int_equal(memory_n_messages(p->b), 2);
	struct message known = {0};
	assert_int_equal(p->b->ops->message(p->b, &n, &known), 0);
	assert_true(guid_equal(&known.guid, &m));
	message_release(&known);
}

/* Ten milliseconds after what was done last, on every clock. */
static void later(void)
{
	static int64_t now_ns;

	if (!now_ns)
		now_ns = clock_wall_ns();
	now_ns += 10000000;
	history_clock(now_ns);
}

/* The edit made here is known there by now; that of the other side still has no flags to inherit. */
static void edited_on_both_sides(void **state)
{
	struct pair *p = *state;
	struct scope s;

	scope_init(&s);
	s.let[0] = 0;
	s.let[1] = SCOPE_NEW | SCOPE_FLAGS;
	for (int i = 0; i < 2; i++) { /* who is the later one keeps the file name, or not */
		later();
		struct guid m = deliver(p->a, "m"), theirs;
		sync_changed(p);
		flag(p->a, m, FLAG_SEEN);
		later();
		if (i)
			edit(p->a, m, "edited at a");
		later();
		theirs = edit(p->b, m, "edited at b");
		later();
		if (!i)
			edit(p->a, m, "edited at a, later");
		run_scope(p, &s);
		assert_int_equal(copy_of(p->b, &theirs)->flags.set, 0);
		const struct session_options full = {.scope = &s, .full = true};
		struct session_result r = run_with(p, &full, 0);
		assert_false(r.changed);
		session_result_release(&r);
		assert_int_equal(copy_of(p->b, &theirs)->flags.set, 0);
		sync_changed(p);
		assert_equal_sides(p);
	}
	clock_set_source(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_word_lets_its_own_through),
#define WITH_PAIR(f) cmocka_unit_test_setup_teardown(f, pair_open, pair_close)
		WITH_PAIR(one_way_keeps_what_the_other_side_did),
		cmocka_unit_test(a_uid_elsewhere_is_another),
		WITH_PAIR(a_selected_mailbox_alone),
		WITH_PAIR(a_mailbox_that_becomes_selected_brings_its_mail),
		WITH_PAIR(too_large_is_counted_and_its_flags_travel),
		WITH_PAIR(what_is_too_old_is_left_alone),
		WITH_PAIR(a_mailbox_is_deleted_only_with_all_its_mail_known),
		WITH_PAIR(made_apart_becomes_that_of_the_source),
		WITH_PAIR(edited_on_both_sides),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
