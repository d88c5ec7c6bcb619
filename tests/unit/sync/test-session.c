/*
 * test-session.c - one sync between two replicas in memory: what it does, and what it leaves after an
 * error at any call.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/memory.h"
#include "sync/session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define A_ID 11
#define B_ID 22

struct pair {
	struct backend *a, *b;
};

static int pair_open(void **state)
{
	struct pair *p = mb_xcalloc(1, sizeof(*p));

	p->a = backend_open_memory(A_ID);
	p->b = backend_open_memory(B_ID);
	*state = p;
	mb_msg_set_level(MB_ERROR);
	return 0;
}

static int pair_close(void **state)
{
	struct pair *p = *state;

	backend_close(p->a);
	backend_close(p->b);
	free(p);
	return 0;
}

static struct guid deliver(struct backend *b, const char *text)
{
	struct guid g;

	assert_int_equal(memory_deliver(b, &GUID_INBOX, text, strlen(text), 0, &g), 0);
	return g;
}

static struct session_result run_with(struct pair *p, const struct session_options *o, int expect)
{
	struct session_result r;
	int err = session_run(p->a, p->b, o, &r);

	assert_int_equal(err, expect);
	return r;
}

static struct session_result sync_pair(struct pair *p)
{
	const struct session_options o = {0};

	return run_with(p, &o, 0);
}

/* Runs, expects everything to work, tells whether anything changed. */
static bool sync_changed(struct pair *p)
{
	struct session_result r = sync_pair(p);
	bool changed = r.changed;

	assert_int_equal(session_exit(0, &r), 0);
	session_result_release(&r);
	return changed;
}

static struct position position_of(struct backend *b)
{
	struct position p;

	assert_int_equal(b->ops->position(b, &p), 0);
	return p;
}

static const struct copy *copy_of(struct backend *b, const struct guid *g)
{
	const struct message *m = memory_find(b, g);

	return m && m->n ? &m->copies[0] : NULL;
}

static bool lives(struct backend *b, const struct guid *g)
{
	const struct copy *c = copy_of(b, g);

	return c && copy_alive(c);
}

static void assert_equal_sides(struct pair *p)
{
	assert_int_equal(memory_n_messages(p->a), memory_n_messages(p->b));
	for (size_t i = 0; i < memory_n_messages(p->a); i++) {
		const struct message *x = memory_message(p->a, i), *y = memory_message(p->b, i);
		assert_true(guid_equal(&x->guid, &y->guid));
		assert_int_equal(x->n, y->n);
		for (size_t c = 0; c < x->n; c++)
			assert_true(copy_equal(&x->copies[c], &y->copies[c]));
	}
	const struct tree *s = memory_tree(p->a), *t = memory_tree(p->b);
	assert_int_equal(s->n, t->n);
	for (size_t i = 0; i < s->n; i++)
		assert_true(mailbox_equal(&s->nodes[i], &t->nodes[i]));
}

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

/* ---- errors ---------------------------------------------------------------------------------- */

/* A backend whose chosen verb fails some times; the rest goes through. */
struct spoiled {
	struct backend backend;
	struct backend_ops ops;
	struct backend *inner;
	int body_err, put_err; /* negative: fail so, as long as `times` lasts */
	int times;
};

static struct spoiled *spoiled_of(struct backend *b)
{
	return (struct spoiled *)b;
}

#define PASS(verb, args, ...)                                                                      \
	static int pass_##verb args                                                                \
	{                                                                                          \
		struct backend *in = spoiled_of(b)->inner;                                         \
		return in->ops->verb(__VA_ARGS__);                                                 \
	}
PASS(info, (struct backend * b, struct backend_info *r), in, r)
PASS(refresh, (struct backend * b, bool full), in, full)
PASS(position, (struct backend * b, struct position *r), in, r)
PASS(changes, (struct backend * b, const struct position *s, uint64_t e, struct change_set *r), in,
     s, e, r)
PASS(tree, (struct backend * b, struct tree *r), in, r)
PASS(message, (struct backend * b, const struct guid *g, struct message *r), in, g, r)
PASS(each_message, (struct backend * b, int (*fn)(const struct guid *g, void *arg), void *arg), in,
     fn, arg)
PASS(by_uid, (struct backend * b, const struct guid *m, uint32_t u, struct guid *r), in, m, u, r)
PASS(digest, (struct backend * b, const struct guid *g, uint64_t id, struct digest *r), in, g, id,
     r)
PASS(begin, (struct backend * b, uint64_t from, bool many), in, from, many)
PASS(commit, (struct backend * b), in)
PASS(now, (struct backend * b, const struct stamp *s, struct stamp *r), in, s, r)
PASS(peer, (struct backend * b, uint64_t id, const char *d, struct peer_state *r), in, id, d, r)
PASS(each_peer, (struct backend * b, int (*fn)(struct peer_state *p, void *arg), void *arg), in, fn,
     arg)

static int spoiled_body(struct backend *b, const struct guid *g, uint64_t id)
{
	struct spoiled *s = spoiled_of(b);

	if (s->body_err && s->times && s->times--)
		return s->body_err;
	return s->inner->ops->body(s->inner, g, id);
}

static int spoiled_put(struct backend *b, const struct record *want, int body)
{
	struct spoiled *s = spoiled_of(b);

	if (s->put_err && want->type == REC_COPY_STATE && s->times && s->times--)
		return s->put_err;
	return s->inner->ops->put(s->inner, want, body);
}

static void spoiled_allow(struct backend *b, bool allow)
{
}

static void spoil(struct spoiled *s, struct backend *inner)
{
	*s = (struct spoiled){.inner = inner, .times = 1};
	s->ops = (struct backend_ops){.name = "spoiled",
				      .info = pass_info,
				      .refresh = pass_refresh,
				      .position = pass_position,
				      .changes = pass_changes,
				      .tree = pass_tree,
				      .message = pass_message,
				      .each_message = pass_each_message,
				      .by_uid = pass_by_uid,
				      .digest = pass_digest,
				      .body = spoiled_body,
				      .begin = pass_begin,
				      .put = spoiled_put,
				      .commit = pass_commit,
				      .now = pass_now,
				      .peer = pass_peer,
				      .each_peer = pass_each_peer,
				      .allow_mass_expunge = spoiled_allow};
	s->backend.ops = &s->ops;
}

static void a_body_that_cannot_be_read_is_left_for_the_next_run(void **state)
{
	struct pair *p = *state;
	struct spoiled s;
	spoil(&s, p->b);
	struct pair with = {p->a, &s.backend};

	for (int i = 0; i < 3; i++)
		deliver(p->b, i ? i == 1 ? "two" : "three 3" : "one one");
	s.body_err = -ENOSPC;
	struct session_result r = sync_pair(&with);
	assert_int_equal(r.errors, 1);
	assert_int_equal(r.to[0].arrived, 2);
	assert_int_equal(session_exit(0, &r), 2);
	session_result_release(&r);
	assert_true(sync_changed(&with));
	assert_equal_sides(p);
	assert_false(sync_changed(&with));
}

static void an_error_that_stays_is_exit_1(void **state)
{
	struct pair *p = *state;
	struct spoiled s;
	spoil(&s, p->b);
	struct pair with = {p->a, &s.backend};

	deliver(p->a, "one");
	s.put_err = MB_E_NAME;
	struct session_result r = sync_pair(&with);
	assert_int_equal(session_exit(0, &r), 1);
	session_result_release(&r);
	assert_true(sync_changed(&with));
}

static void a_stale_item_repeats_the_session(void **state)
{
	struct pair *p = *state;
	struct spoiled s;
	spoil(&s, p->b);
	struct pair with = {p->a, &s.backend};

	deliver(p->a, "one");
	s.put_err = MB_E_STALE;
	s.times = 2;
	assert_true(sync_changed(&with));
	assert_int_equal(s.times, 0);
	assert_equal_sides(p);
}

static void endless_staleness_ends(void **state)
{
	struct pair *p = *state;
	struct spoiled s;
	spoil(&s, p->b);
	struct pair with = {p->a, &s.backend};
	const struct session_options o = {0};

	deliver(p->a, "one");
	s.put_err = MB_E_STALE;
	s.times = 1000;
	struct session_result r = run_with(&with, &o, MB_E_STALE);
	assert_int_equal(session_exit(MB_E_STALE, &r), 2);
	session_result_release(&r);
	s.times = 0;
	assert_true(sync_changed(&with));
	assert_equal_sides(p);
}

/* A user who changes something while the session runs: delivers at the first put. */
static struct guid late;
static int put_and_deliver(struct backend *b, const struct record *want, int body)
{
	struct spoiled *s = spoiled_of(b);

	int ret = s->inner->ops->put(s->inner, want, body);
	if (s->times && s->times--) {
		uint64_t from = A_ID;
		s->inner->ops->commit(s->inner);
		late = deliver(s->inner, "in the middle");
		s->inner->ops->begin(s->inner, from, false);
	}
	return ret;
}

static void what_comes_during_a_sync_is_in_the_next(void **state)
{
	struct pair *p = *state;
	struct spoiled s;
	spoil(&s, p->b);
	s.ops.put = put_and_deliver;
	struct pair with = {p->a, &s.backend};

	deliver(p->a, "one");
	struct session_result r = sync_pair(&with);
	assert_true(r.again);
	assert_int_equal(session_exit(0, &r), 2);
	session_result_release(&r);
	assert_true(sync_changed(&with));
	assert_true(lives(p->a, &late));
	assert_equal_sides(p);
}

static void until_stable_takes_late_news_along(void **state)
{
	struct pair *p = *state;
	struct spoiled s;
	struct session_result r;
	const struct session_options o = {0};
	spoil(&s, p->b);
	s.ops.put = put_and_deliver;

	deliver(p->a, "one");
	assert_int_equal(session_run_until_stable(p->a, &s.backend, &o, &r), 0);
	assert_int_equal(session_exit(0, &r), 0);
	assert_int_equal(r.to[0].arrived, 1);
	assert_int_equal(r.to[1].arrived, 1);
	session_result_release(&r);
	assert_equal_sides(p);
}

static bool stop_at_once(void *arg)
{
	return true;
}

static void it_stops_when_told(void **state)
{
	struct pair *p = *state;
	const struct session_options o = {.stop = stop_at_once};

	deliver(p->a, "one");
	struct session_result r = run_with(p, &o, -EINTR);
	assert_int_equal(session_exit(-EINTR, &r), 2);
	session_result_release(&r);
	assert_true(sync_changed(p));
	assert_equal_sides(p);
}

/* ---- an error at every call ------------------------------------------------------------------ */

static void fill(struct pair *p)
{
	struct guid box, x, y;

	assert_int_equal(memory_create(p->a, &GUID_ZERO, "work", &box), 0);
	x = deliver(p->a, "one");
	y = deliver(p->b, "two two");
	deliver(p->a, "both");
	deliver(p->b, "both");
	sync_changed(p);
	assert_int_equal(memory_move(p->a, &x, 0, &box), 0);
	assert_int_equal(memory_flags(p->b, &x, 0, FLAG_MASK(FLAG_SEEN), 0), 0);
	assert_int_equal(memory_expunge(p->a, &y, 0), 0);
	assert_int_equal(memory_rename(p->b, &box, &GUID_ZERO, "job"), 0);
	deliver(p->a, "left");
	deliver(p->b, "right side");
}

/* The n-th call of one side fails; the run after it does the rest.  false: there is no n-th call. */
static bool fails_at(uint64_t n, int side, int error)
{
	struct pair p = {backend_open_memory(A_ID), backend_open_memory(B_ID)};
	struct session_result r;
	const struct session_options o = {0};

	fill(&p);
	struct backend **spot = side ? &p.b : &p.a;
	struct backend *inner = *spot;
	*spot = backend_fault(inner, n, error);
	int err = session_run(p.a, p.b, &o, &r);
	bool hit = err < 0 || r.errors || r.again;
	session_result_release(&r);

	struct pair plain = {side ? p.a : inner, side ? inner : p.b};
	err = session_run_until_stable(plain.a, plain.b, &o, &r);
	assert_int_equal(err, 0);
	session_result_release(&r);
	assert_false(sync_changed(&plain));
	assert_equal_sides(&plain);
	assert_int_equal(memory_n_messages(plain.a), 5);
	backend_close(p.a);
	backend_close(p.b);
	return hit;
}

static void after_an_error_at_any_call_the_next_run_converges(void **state)
{
	static const int errors[] = {-EIO, -EPIPE, MB_E_STALE};

	for (size_t e = 0; e < 3; e++) {
		for (int side = 0; side < 2; side++) {
			unsigned hits = 0;
			for (uint64_t n = 1; n < 80; n++)
				hits += fails_at(n, side, errors[e]);
			if (errors[e] != MB_E_STALE)
				assert_true(hits > 10);
		}
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
		T(either_side_may_start),
		T(an_alias_reaches_a_third_side),
		T(a_dry_run_changes_nothing),
		T(a_store_is_not_its_own_peer),
		T(a_state_string_replaces_what_is_remembered),
		T(a_bad_or_foreign_state_string_means_full),
		T(a_body_that_cannot_be_read_is_left_for_the_next_run),
		T(an_error_that_stays_is_exit_1),
		T(a_stale_item_repeats_the_session),
		T(endless_staleness_ends),
		T(what_comes_during_a_sync_is_in_the_next),
		T(until_stable_takes_late_news_along),
		T(it_stops_when_told),
		T(after_an_error_at_any_call_the_next_run_converges),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
