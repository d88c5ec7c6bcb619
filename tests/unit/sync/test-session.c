/*
 * test-session.c - one sync between two replicas in memory: what it does.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/err.h"
#include "backends/base/msg.h"
#include "tests/support/pair.h"
#include "tests/support/world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- what a sync does ------------------------------------------------------------------------ */

static void two_empty_sides_become_peers(void **state)
{
	struct pair *p = *state;
	struct peer_state st;

	sync_changed(p);
	assert_int_equal(p->a->ops->peer(p->a, B_ID, NULL, &st), 0);
	assert_string_equal(st.destination, "memory:0000000000000016");
	peer_state_release(&st);
	assert_int_equal(p->b->ops->peer(p->b, A_ID, NULL, &st), 0);
	assert_string_equal(st.destination, ""); /* it does not go to us */
	peer_state_release(&st);
}

static void mail_goes_both_ways(void **state)
{
	struct pair *p = *state;
	struct guid a = deliver(p->a, "from a"), b = deliver(p->b, "from b!");
	struct session_result r = sync_pair(p);

	assert_true(r.full);
	assert_int_equal(r.to[0].arrived, 1);
	assert_int_equal(r.to[1].arrived, 1);
	session_result_release(&r);
	assert_true(lives(p->a, &b));
	assert_true(lives(p->b, &a));
	assert_equal_sides(p);
}

static void second_run_writes_nothing(void **state)
{
	struct pair *p = *state;

	deliver(p->a, "one");
	deliver(p->b, "another");
	sync_changed(p);
	struct position a = position_of(p->a), b = position_of(p->b);
	struct session_result r = sync_pair(p);
	assert_false(r.changed);
	assert_false(r.full);
	session_result_release(&r);
	struct position a2 = position_of(p->a), b2 = position_of(p->b);
	assert_true(position_equal(&a, &a2));
	assert_true(position_equal(&b, &b2));
}

static void a_change_after_the_first_sync_is_not_a_full_comparison(void **state)
{
	struct pair *p = *state;
	struct guid g = deliver(p->a, "one");

	sync_changed(p);
	assert_int_equal(memory_flags(p->b, &g, 0, FLAG_MASK(FLAG_SEEN), 0), 0);
	struct session_result r = sync_pair(p);
	assert_false(r.full);
	assert_int_equal(r.to[0].flags, 1);
	assert_false(session_counts_any(&r.to[1]));
	session_result_release(&r);
	assert_true(copy_of(p->a, &g)->flags.set & FLAG_MASK(FLAG_SEEN));
	assert_equal_sides(p);
}

static void an_expunge_travels(void **state)
{
	struct pair *p = *state;
	struct guid g = deliver(p->a, "one");

	sync_changed(p);
	assert_int_equal(memory_expunge(p->b, &g, 0), 0);
	struct session_result r = sync_pair(p);
	assert_int_equal(r.to[0].expunged, 1);
	session_result_release(&r);
	assert_false(lives(p->a, &g));
	assert_false(sync_changed(p));
}

static void a_renamed_mailbox_keeps_new_mail(void **state)
{
	struct pair *p = *state;
	struct guid box, g;

	assert_int_equal(memory_create(p->a, &GUID_ZERO, "work", &box), 0);
	sync_changed(p);
	assert_int_equal(memory_rename(p->a, &box, &GUID_ZERO, "job"), 0);
	assert_int_equal(memory_deliver(p->b, &box, "x", 1, 0, &g), 0);
	sync_changed(p);
	assert_equal_sides(p);
	assert_true(lives(p->a, &g));
	assert_string_equal(tree_find(memory_tree(p->b), &box)->part, "job");
	assert_false(sync_changed(p));
}

/* Row 32a: equal counters on both sides hide nothing. */
static void clashing_uids_are_seen(void **state)
{
	struct pair *p = *state;

	deliver(p->a, "old");
	sync_changed(p);
	struct guid a = deliver(p->a, "left"), b = deliver(p->b, "right side");
	sync_changed(p);
	assert_equal_sides(p);
	assert_int_not_equal(copy_of(p->a, &a)->place.uid, copy_of(p->a, &b)->place.uid);
	assert_false(sync_changed(p));
}

/* Row 24. */
static void one_mail_delivered_on_both_sides_is_one(void **state)
{
	struct pair *p = *state;

	deliver(p->a, "old");
	sync_changed(p);
	deliver(p->a, "the same");
	deliver(p->b, "the same");
	sync_changed(p);
	assert_int_equal(memory_n_messages(p->a), 2);
	assert_equal_sides(p);
	assert_false(sync_changed(p));
}

/* Row 90: both filled by another tool, nothing is copied. */
static void first_sync_of_filled_sides_copies_nothing(void **state)
{
	struct pair *p = *state;
	char text[32];

	for (int i = 0; i < 20; i++) {
		snprintf(text, sizeof(text), "mail %d", i);
		deliver(p->a, text);
		deliver(p->b, text);
	}
	struct session_result r = sync_pair(p);
	assert_int_equal(r.to[0].arrived + r.to[1].arrived, 0);
	session_result_release(&r);
	assert_int_equal(memory_n_messages(p->a), 20);
	assert_equal_sides(p);
	assert_false(sync_changed(p));
}

static void either_side_may_start(void **state)
{
	struct pair *p = *state;
	struct pair turned = {p->b, p->a};
	struct guid g = deliver(p->a, "one");

	sync_changed(p);
	assert_false(sync_changed(&turned));
	assert_int_equal(memory_flags(p->a, &g, 0, FLAG_MASK(FLAG_FLAGGED), 0), 0);
	assert_true(sync_changed(&turned));
	assert_false(sync_changed(p));
	assert_equal_sides(p);
}

static void an_alias_reaches_a_third_side(void **state)
{
	struct pair *p = *state;
	struct backend *c = backend_open_memory(33);
	struct pair ac = {p->a, c}, bc = {p->b, c};

	deliver(p->a, "the same");
	deliver(p->b, "the same");
	sync_changed(&ac); /* c knows a's GUID */
	sync_changed(p);   /* a and b agree on the lower one */
	sync_changed(&ac);
	sync_changed(&bc);
	sync_changed(p);
	assert_int_equal(memory_n_messages(c), 1);
	assert_int_equal(memory_n_messages(p->a), 1);
	assert_equal_sides(&ac);
	assert_equal_sides(p);
	backend_close(c);
}

static size_t living_copies(struct backend *b)
{
	size_t n = 0;

	for (size_t i = 0; i < memory_n_messages(b); i++)
		for (size_t k = 0; k < memory_message(b, i)->n; k++)
			n += copy_alive(&memory_message(b, i)->copies[k]);
	return n;
}

/* Replicas seed 25583, cut at each of its calls.  One has a copy of what it expunged, the other the same
 * mail as it came: they are one message, and were so by halves where one copy had become one of the
 * other's, and the line dropped.  That one's copy was never told to anybody then. */
static void a_cut_leaves_no_half_of_a_message(void **state)
{
	uint64_t id;

	for (uint64_t cut = 1; cut < 60; cut++) {
		for (int which = 0; which < 4; which++) {
			struct backend *a = backend_open_memory(5), *b = backend_open_memory(6);
			struct backend *c = backend_open_memory(7);
			struct pair ab = {a, b}, bc = {b, c}, *p = &ab;
			struct backend *copier = which & 1 ? a : b;
			struct backend *dropping = backend_fault(which & 2 ? a : b, cut, -EPIPE);
			const struct session_options o = {0};
			struct session_result r;

			deliver(which & 1 ? b : a, "the same");
			struct guid g = deliver(copier, "the same");
			memory_copy(copier, &g, 0, &GUID_INBOX, &id);
			memory_expunge(copier, &g, 0);
			session_run(which & 2 ? dropping : a, which & 2 ? b : dropping, &o, &r);
			session_result_release(&r);
			free(dropping); /* what it wraps goes on */
			sync_changed(p);
			sync_changed(&bc);
			sync_changed(p);
			assert_equal_sides(p);
			assert_equal_sides(&bc);
			assert_int_equal(memory_n_messages(a), 1);
			assert_int_equal(living_copies(a), 1);
			backend_close(a);
			backend_close(b);
			backend_close(c);
		}
	}
}

static void a_dry_run_changes_nothing(void **state)
{
	struct pair *p = *state;
	const struct session_options o = {.dry_run = true};

	deliver(p->a, "one");
	struct position a = position_of(p->a), b = position_of(p->b);
	struct session_result r = run_with(p, &o, 0);
	assert_int_equal(r.to[1].arrived, 1);
	assert_false(r.changed);
	session_result_release(&r);
	struct position a2 = position_of(p->a), b2 = position_of(p->b);
	assert_true(position_equal(&a, &a2));
	assert_true(position_equal(&b, &b2));
	assert_int_equal(memory_n_messages(p->b), 0);
}

static void a_store_is_not_its_own_peer(void **state)
{
	struct pair *p = *state;
	struct pair same = {p->a, p->a};
	const struct session_options o = {0};
	struct session_result r = run_with(&same, &o, MB_E_SAME);

	assert_int_equal(session_exit(MB_E_SAME, &r), 1);
	session_result_release(&r);
}

/* ---- state strings --------------------------------------------------------------------------- */

static void a_state_string_replaces_what_is_remembered(void **state)
{
	struct pair *p = *state;
	struct session_options o = {.state = "", .want_state = true};

	deliver(p->a, "one");
	struct session_result r = run_with(p, &o, 0);
	assert_true(r.full);
	assert_false(r.state_refused);
	assert_non_null(r.state);
	o.state = r.state;
	struct session_result r2 = run_with(p, &o, 0);
	assert_false(r2.full);
	assert_false(r2.changed);
	assert_string_equal(r.state, r2.state);
	deliver(p->b, "two");
	struct session_result r3 = run_with(p, &o, 0);
	assert_false(r3.full);
	assert_int_equal(r3.to[0].arrived, 1);
	assert_string_not_equal(r.state, r3.state);
	session_result_release(&r);
	session_result_release(&r2);
	session_result_release(&r3);
}

/* A script that never has a state yet: everything is compared, and nothing written. */
static void no_state_string_of_a_known_pair_writes_nothing(void **state)
{
	struct pair *p = *state;
	struct session_options o = {.state = "", .want_state = true};

	deliver(p->a, "one");
	sync_changed(p);
	struct position a = position_of(p->a), b = position_of(p->b);
	struct session_result r = run_with(p, &o, 0);
	assert_true(r.full);
	assert_false(r.changed);
	struct position a2 = position_of(p->a), b2 = position_of(p->b);
	assert_true(position_equal(&a, &a2));
	assert_true(position_equal(&b, &b2));
	o.state = r.state;
	struct session_result next = run_with(p, &o, 0);
	assert_false(next.full);
	assert_false(next.state_refused);
	session_result_release(&r);
	session_result_release(&next);
}

static void a_bad_or_foreign_state_string_means_full(void **state)
{
	struct pair *p = *state;
	struct backend *c = backend_open_memory(33);
	struct pair ac = {p->a, c};
	struct session_options o = {.state = "", .want_state = true};

	mb_msg_set_level(MB_ERROR);
	struct session_result foreign = run_with(&ac, &o, 0);
	deliver(p->a, "one");
	sync_changed(p);
	const char *const bad[] = {foreign.state, "x", "AAAA", "bWJzMQ==",
				   "bWJzMQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		o.state = bad[i];
		struct session_result r = run_with(p, &o, 0);
		assert_true(r.full);
		assert_true(r.state_refused);
		assert_false(r.changed);
		session_result_release(&r);
	}
	session_result_release(&foreign);
	backend_close(c);
}

/* ---- what is told while it runs --------------------------------------------------------------- */

struct told {
	struct pair *p;
	size_t n, on_peer; /* notices; messages alive at the peer when they were told */
	unsigned phases;   /* bits */
};

static void decided(const struct tree *names, const struct notice *list, size_t n, void *arg)
{
	struct told *t = arg;

	assert_non_null(tree_find(names, &list[0].mailbox));
	t->n += n;
	for (size_t i = 0; i < n; i++)
		t->on_peer += lives(t->p->b, &list[i].message);
}

static void progress(enum progress_phase phase, uint64_t n, uint64_t of, void *arg)
{
	struct told *t = arg;

	assert_true(!of || n <= of);
	t->phases |= 1u << phase;
}

static void a_conflict_is_told_before_anything_is_put(void **state)
{
	struct pair *p = *state;
	struct guid g = deliver(p->a, "one");
	struct told t = {.p = p};
	struct session_options o = {
		.decided = decided, .decided_arg = &t, .progress = {progress, &t}, .dry_run = true};

	sync_changed(p);
	assert_int_equal(memory_expunge(p->a, &g, 0), 0);
	assert_int_equal(memory_flags(p->b, &g, 0, FLAG_MASK(FLAG_SEEN), 0), 0);
	struct session_result r = run_with(p, &o, 0);
	assert_int_equal(r.conflicts, 1);
	assert_int_equal(t.n, 0); /* a dry run */
	session_result_release(&r);
	o.dry_run = false;
	r = run_with(p, &o, 0);
	assert_int_equal(r.conflicts, 1);
	assert_int_equal(t.n, 1);
	assert_int_equal(t.on_peer, 1);
	assert_false(lives(p->b, &g));
	assert_true(t.phases & 1u << PROGRESS_SENDING);
	session_result_release(&r);
	r = run_with(p, &o, 0);
	assert_int_equal(r.conflicts, 0);
	assert_int_equal(t.n, 1);
	session_result_release(&r);
}

static bool after_one(void *arg)
{
	return (*(int *)arg)++ > 0;
}

/* The peer has the message where it was first, and nothing of that was agreed. */
static void a_move_after_a_cut_is_no_second_one(void **state)
{
	struct pair *p = *state;
	int asked = 0;
	struct session_options o = {.stop = after_one, .stop_arg = &asked};
	struct guid box = mkbox(p->a, "Box"), two[2];

	sync_changed(p);
	two[0] = deliver(p->a, "one");
	two[1] = deliver(p->a, "two");
	struct session_result r = run_with(p, &o, -EINTR);
	session_result_release(&r);
	assert_true(lives(p->b, &two[0]) != lives(p->b, &two[1]));
	for (int i = 0; i < 2; i++)
		move(p->a, two[i], box);
	r = sync_pair(p);
	assert_int_equal(r.conflicts, 0);
	assert_int_equal(r.n_notices, 0);
	session_result_release(&r);
	assert_equal_sides(p);
}

static void a_first_sync_tells_what_it_matched(void **state)
{
	struct pair *p = *state;

	deliver(p->a, "both");
	deliver(p->b, "both");
	deliver(p->a, "from a");
	struct session_result r = sync_pair(p);
	assert_int_equal(r.matched, 1);
	assert_int_equal(r.to[1].arrived, 1);
	session_result_release(&r);
	deliver(p->a, "later");
	deliver(p->b, "later");
	r = sync_pair(p);
	assert_int_equal(r.matched, 0);
	session_result_release(&r);
}

/* ---- UIDs while mail comes ------------------------------------------------------------------- */

static struct backend_ops busy_ops;
static const struct backend_ops *quiet_ops;
static struct guid late[64];
static uint32_t late_uid[64];
static size_t n_late;

static void deliver_late(struct backend *b)
{
	assert_true(n_late < sizeof(late) / sizeof(*late));
	late[n_late] = deliver(b, "late");
	late_uid[n_late] = copy_of(b, &late[n_late])->place.uid;
	n_late++;
}

/* One comes right before its mailboxes are read. */
static int busy_tree(struct backend *b, struct tree *ret)
{
	deliver_late(b);
	return quiet_ops->tree(b, ret);
}

static void begin_busy(struct backend *b)
{
	quiet_ops = b->ops;
	busy_ops = *quiet_ops;
	busy_ops.tree = busy_tree;
	n_late = 0;
	deliver_late(b);
	b->ops = &busy_ops;
}

/* Only one side gives UIDs: the other was told of some without their messages, and could not use them
 * when these came. */
static void mail_that_comes_meanwhile_keeps_its_uid(void **state)
{
	struct pair *p = *state;

	deliver(p->a, "before");
	for (int busy = 0; busy < 2; busy++) {
		struct backend *b = busy ? p->b : p->a;
		sync_changed(p);
		begin_busy(b);
		for (int i = 0; i < 4; i++) {
			struct session_result r = sync_pair(p);
			assert_true(r.again);
			session_result_release(&r);
		}
		b->ops = quiet_ops;
		sync_changed(p);
		assert_true(n_late > 4);
		for (size_t i = 0; i < n_late; i++) {
			assert_int_equal(copy_of(p->a, &late[i])->place.uid, late_uid[i]);
			assert_int_equal(copy_of(p->b, &late[i])->place.uid, late_uid[i]);
		}
		assert_equal_sides(p);
		assert_int_equal(tree_find(memory_tree(p->a), &GUID_INBOX)->uid_next,
				 tree_find(memory_tree(p->b), &GUID_INBOX)->uid_next);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, pair_open, pair_close)
	const struct CMUnitTest tests[] = {
		T(two_empty_sides_become_peers),
		T(mail_goes_both_ways),
		T(second_run_writes_nothing),
		T(a_change_after_the_first_sync_is_not_a_full_comparison),
		T(an_expunge_travels),
		T(a_renamed_mailbox_keeps_new_mail),
		T(clashing_uids_are_seen),
		T(one_mail_delivered_on_both_sides_is_one),
		T(first_sync_of_filled_sides_copies_nothing),
		T(a_conflict_is_told_before_anything_is_put),
		T(a_move_after_a_cut_is_no_second_one),
		T(a_first_sync_tells_what_it_matched),
		T(either_side_may_start),
		T(an_alias_reaches_a_third_side),
		T(a_cut_leaves_no_half_of_a_message),
		T(a_dry_run_changes_nothing),
		T(mail_that_comes_meanwhile_keeps_its_uid),
		T(a_store_is_not_its_own_peer),
		T(a_state_string_replaces_what_is_remembered),
		T(no_state_string_of_a_known_pair_writes_nothing),
		T(a_bad_or_foreign_state_string_means_full),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
