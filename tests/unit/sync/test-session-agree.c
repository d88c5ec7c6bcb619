/*
 * test-session-agree.c - positions belong to a scope.
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

static struct scope one_way(void)
{
	struct scope s;

	scope_init(&s);
	s.let[0] = 0;
	return s;
}

static struct peer_state state_of(struct backend *b, uint64_t peer)
{
	struct peer_state st = {0};

	assert_int_equal(b->ops->peer(b, peer, NULL, &st), 0);
	return st;
}

static struct session_result run_one_way(struct pair *p)
{
	struct scope s = one_way();
	const struct session_options o = {.scope = &s};

	return run_with(p, &o, 0);
}

static void the_default_positions_stay(void **state)
{
	struct pair *p = *state;

	deliver(p->a, "one");
	sync_changed(p);
	struct peer_state before = state_of(p->a, B_ID);
	deliver(p->a, "two");
	struct session_result r = run_one_way(p);
	assert_true(r.changed);
	assert_false(r.full); /* it begins where everything was agreed */
	session_result_release(&r);
	struct peer_state after = state_of(p->a, B_ID), there = state_of(p->b, A_ID);
	assert_true(position_equal(&before.local, &after.local));
	assert_true(position_equal(&before.remote, &after.remote));
	assert_int_equal(after.synced_ns, before.synced_ns);
	assert_int_equal(after.n_scopes, 1);
	struct scope s = one_way();
	assert_non_null(peer_state_scope(&after, scope_hash(&s, 0)));
	assert_non_null(peer_state_scope(&there, scope_hash(&s, 1)));
	peer_state_release(&before);
	peer_state_release(&after);
	peer_state_release(&there);
}

static void a_restricted_session_goes_on_where_it_was(void **state)
{
	struct pair *p = *state;

	deliver(p->a, "one");
	deliver(p->b, "of b");
	struct session_result r = run_one_way(p);
	assert_true(r.full);
	session_result_release(&r);
	deliver(p->a, "two");
	r = run_one_way(p);
	assert_false(r.full);
	assert_int_equal(r.to[1].arrived, 1);
	session_result_release(&r);
	struct position a = position_of(p->a), b = position_of(p->b);
	r = run_one_way(p);
	assert_false(r.changed || r.full);
	session_result_release(&r);
	struct position a2 = position_of(p->a), b2 = position_of(p->b);
	assert_true(position_equal(&a, &a2) && position_equal(&b, &b2));
	/* and the sync of everything begins at the beginning */
	r = sync_pair(p);
	assert_true(r.full);
	assert_int_equal(r.to[0].arrived, 1);
	session_result_release(&r);
	assert_equal_sides(p);
}

/* What it puts is no echo for the sync of everything: a part of a message is not the message. */
static void what_was_left_out_travels_later(void **state)
{
	struct pair *p = *state;
	struct guid m = deliver(p->a, "one");
	struct scope s = one_way();
	const struct session_options o = {.scope = &s};

	sync_changed(p);
	struct guid box = mkbox(p->a, "Box");
	flag(p->a, m, FLAG_SEEN);
	move(p->a, m, box);
	s.let[1] = SCOPE_FLAGS;
	struct session_result r = run_with(p, &o, 0);
	session_result_release(&r);
	assert_true(guid_equal(&copy_of(p->b, &m)->place.mailbox, &GUID_INBOX));
	r = sync_pair(p);
	assert_false(r.full);
	session_result_release(&r);
	assert_true(guid_equal(&copy_of(p->b, &m)->place.mailbox, &box));
	assert_equal_sides(p);
}

static void from_both_ends_it_is_one_scope(void **state)
{
	struct pair *p = *state;
	struct scope s = one_way();
	const struct session_options o = {.scope = &s};

	deliver(p->a, "one");
	struct session_result r = run_one_way(p);
	session_result_release(&r);
	deliver(p->a, "two");
	s.let[0] = SCOPE_EVERYTHING; /* as B says it: pull */
	s.let[1] = 0;
	assert_int_equal(session_run(p->b, p->a, &o, &r), 0);
	assert_false(r.full);
	assert_int_equal(r.to[0].arrived, 1);
	session_result_release(&r);
}

static void a_state_is_of_one_scope(void **state)
{
	struct pair *p = *state;
	struct scope s = one_way();
	struct session_options o = {.scope = &s, .state = "", .want_state = true};

	deliver(p->a, "one");
	struct session_result r = run_with(p, &o, 0), next;
	char *text MB_AUTO_FREE = MB_TAKE(r.state);
	session_result_release(&r);
	o.state = text;
	deliver(p->a, "two");
	next = run_with(p, &o, 0);
	assert_false(next.full || next.state_refused);
	session_result_release(&next);
	s.let[1] = SCOPE_NEW;
	next = run_with(p, &o, 0);
	assert_true(next.full && next.state_refused);
	session_result_release(&next);
}

/* Its log no longer reaches back: all is compared, nothing is lost. */
static void a_log_that_was_dropped(void **state)
{
	struct pair *p = *state;

	deliver(p->a, "one");
	struct session_result r = run_one_way(p);
	session_result_release(&r);
	struct guid m = deliver(p->a, "two");
	struct backend_info before, after;
	p->a->ops->info(p->a, &before);
	memory_drop_log(p->a);
	r = run_one_way(p);
	assert_true(r.full);
	session_result_release(&r);
	assert_true(lives(p->b, &m));
	p->a->ops->info(p->a, &after);
	assert_int_equal(after.replica, before.replica); /* it was not restored from a backup */
	r = run_one_way(p);
	assert_false(r.full);
	session_result_release(&r);
}

/* Of two clocks, or of one that was set back, the later time is not what was agreed later.  Scope seed
 * 7273: the second session of a scope began where everything was agreed, for that had the later time, met
 * a message that the first one had left behind, and paired it. */
static void an_earlier_clock_is_no_earlier_agreement(void **state)
{
	const int64_t hour_ns = INT64_C(3600000000000), start_ns = INT64_C(1700000000000000000);
	struct pair *p = *state;
	struct scope s;

	scope_init(&s);
	scope_parse_flag(&s, "\\Flagged");
	const struct session_options o = {.scope = &s};
	history_clock(start_ns + hour_ns);
	sync_changed(p);
	struct guid first = deliver(p->a, "the same");
	deliver(p->b, "another, so that UIDs do not bring them together");
	history_clock(start_ns);
	struct session_result r = run_with(p, &o, 0);
	session_result_release(&r);
	struct guid second = deliver(p->b, "the same");
	for (int i = 0; i < 2; i++) {
		assert_int_equal(session_run(p->b, p->a, &o, &r), 0);
		assert_false(r.changed || r.full);
		session_result_release(&r);
	}
	struct peer_state st = state_of(p->b, A_ID);
	const struct peer_scope *own = peer_state_scope(&st, scope_hash(&s, 0));
	assert_non_null(own);
	assert_true(own->synced_ns < st.synced_ns);
	assert_true(position_reaches(&own->local, &st.local));
	assert_false(position_reaches(&st.local, &own->local));
	peer_state_release(&st);
	/* What was left out is one message in the sync of everything. */
	assert_true(sync_changed(p));
	assert_equal_sides(p);
	assert_int_equal(lives(p->a, &first) + lives(p->a, &second), 1);
	scope_release(&s);
	clock_set_source(NULL);
}

/* It reaches further in both logs, or everything's positions serve. */
static void everything_was_agreed_later(void **state)
{
	struct pair *p = *state;

	deliver(p->a, "one");
	sync_changed(p);
	struct session_result r = run_one_way(p);
	session_result_release(&r);
	deliver(p->a, "two");
	deliver(p->b, "of b");
	sync_changed(p);
	deliver(p->a, "three");
	r = run_one_way(p);
	assert_false(r.full);
	assert_int_equal(r.to[1].arrived, 1);
	session_result_release(&r);
	r = run_one_way(p);
	assert_false(r.changed || r.full);
	session_result_release(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define WITH_PAIR(f) cmocka_unit_test_setup_teardown(f, pair_open, pair_close)
		WITH_PAIR(the_default_positions_stay),
		WITH_PAIR(a_restricted_session_goes_on_where_it_was),
		WITH_PAIR(what_was_left_out_travels_later),
		WITH_PAIR(from_both_ends_it_is_one_scope),
		WITH_PAIR(a_state_is_of_one_scope),
		WITH_PAIR(a_log_that_was_dropped),
		WITH_PAIR(an_earlier_clock_is_no_earlier_agreement),
		WITH_PAIR(everything_was_agreed_later),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
