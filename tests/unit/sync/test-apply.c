/*
 * test-apply.c - what an error, or a change meanwhile, leaves; an error at any call of either side.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/err.h"
#include "backends/base/msg.h"
#include "tests/support/pair.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- errors ---------------------------------------------------------------------------------- */

/* A backend whose chosen verb fails some times; the rest goes through. */
struct spoiled {
	struct backend backend;
	struct backend_ops ops;
	struct backend *inner;
	int body_err, put_err; /* negative: fail so, as long as `times` lasts */
	int times;
	const char *no_mailbox; /* a name that it cannot have */
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
PASS(each_message,
     (struct backend * b, const struct guid *after, int (*fn)(const struct guid *g, void *arg),
      void *arg),
     in, after, fn, arg)
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

	if (s->no_mailbox && want->type == REC_MAILBOX_STATE &&
	    strcmp(want->mailbox.part, s->no_mailbox) == 0)
		return MB_E_NAME;
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

/* The digest of what is sent is known to both sides, unless the giver has no use for it. */
static void a_body_that_was_sent_is_known_by_its_digest(void **state)
{
	struct pair *p = *state;
	const struct guid g = deliver(p->a, "one");
	const char *const body = "one";
	struct message m[2] = {0};
	struct digest d;

	digest_mem(body, strlen(body), &d);
	assert_true(sync_changed(p));
	assert_int_equal(p->a->ops->message(p->a, &g, &m[0]), 0);
	assert_int_equal(p->b->ops->message(p->b, &g, &m[1]), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(m[i].n, 1);
		assert_true(digest_equal(&m[i].copies[0].digest, &d));
		message_release(&m[i]);
	}
	assert_false(sync_changed(p));
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

static void a_person_is_needed_for_what_is_held(void **state)
{
	struct session_result r = {.errors = 1, .first_error = -ENOSPC};

	(void)state;
	assert_int_equal(session_exit(0, &r), 2);
	r.held = 1;
	assert_int_equal(session_exit(0, &r), 1);
	r.errors = 0;
	assert_int_equal(session_exit(0, &r), 1);
}

/* Row 75: its mail is not tried, so that nobody looks again and again; all else is put. */
static void a_mailbox_that_cannot_be_had_holds_nothing_up(void **state)
{
	struct pair *p = *state;
	struct spoiled s;
	struct guid box, below, g;
	spoil(&s, p->b);
	struct pair with = {p->a, &s.backend};

	assert_int_equal(memory_create(p->a, &GUID_ZERO, "too long", &box), 0);
	assert_int_equal(memory_create(p->a, &box, "below", &below), 0);
	assert_int_equal(memory_deliver(p->a, &box, "x", 1, 0, &g), 0);
	assert_int_equal(memory_deliver(p->a, &below, "y", 1, 0, &g), 0);
	struct guid other = deliver(p->a, "one");
	s.no_mailbox = "too long";
	mb_msg_set_level(MB_ERROR);
	struct session_result r = sync_pair(&with);
	assert_int_equal(r.errors, 4);
	assert_int_equal(session_exit(0, &r), 1);
	session_result_release(&r);
	assert_true(lives(p->b, &other));
	s.no_mailbox = NULL;
	assert_true(sync_changed(&with));
	assert_equal_sides(p);
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

/* A user who flags the message that is about to be expunged. */
static struct guid flagged;
static int flag_and_put(struct backend *b, const struct record *want, int body)
{
	struct spoiled *s = spoiled_of(b);

	if (s->times && want->type == REC_COPY_STATE && !copy_alive(&want->copy)) {
		s->times--;
		s->inner->ops->commit(s->inner);
		assert_true(memory_flags(s->inner, &flagged, 0, FLAG_MASK(FLAG_FLAGGED), 0) >= 0);
		s->inner->ops->begin(s->inner, A_ID, false);
	}
	return s->inner->ops->put(s->inner, want, body);
}

/* The edit is what the flag was meant for. */
static void a_flag_that_comes_while_an_edit_is_put_is_on_the_edit(void **state)
{
	struct pair *p = *state;
	struct spoiled s;
	struct guid now;
	spoil(&s, p->b);
	s.ops.put = flag_and_put;
	s.times = 0;
	struct pair with = {p->a, &s.backend};

	flagged = deliver(p->a, "one");
	assert_true(sync_changed(&with));
	assert_int_equal(memory_edit(p->a, &flagged, 0, "two", 3, &now), 0);
	s.times = 1;
	assert_true(sync_changed(&with));
	assert_int_equal(s.times, 0);
	while (sync_changed(&with))
		;
	assert_false(lives(p->b, &flagged));
	assert_true(copy_of(p->b, &now)->flags.set & FLAG_MASK(FLAG_FLAGGED));
	assert_true(copy_of(p->a, &now)->flags.set & FLAG_MASK(FLAG_FLAGGED));
	assert_equal_sides(p);
}

static void a_flag_that_comes_before_a_plain_expunge_ends_with_it(void **state)
{
	struct pair *p = *state;
	struct spoiled s;
	spoil(&s, p->b);
	s.ops.put = flag_and_put;
	s.times = 0;
	struct pair with = {p->a, &s.backend};

	flagged = deliver(p->a, "one");
	assert_true(sync_changed(&with));
	assert_int_equal(memory_expunge(p->a, &flagged, 0), 0);
	s.times = 1;
	assert_true(sync_changed(&with));
	assert_int_equal(s.times, 0);
	assert_false(lives(p->b, &flagged));
	while (sync_changed(&with))
		;
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

/* ---- bodies opened before their turn ---------------------------------------------------------- */

static size_t open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static bool stop_later(void *arg)
{
	return ++*(int *)arg > 100;
}

static void a_long_plan_leaves_no_body_open(void **state)
{
	struct pair *p = *state;
	int asked = 0;
	const struct session_options o = {.stop = stop_later, .stop_arg = &asked};
	char text[32];

	for (int i = 0; i < 200; i++) {
		snprintf(text, sizeof(text), "message %d", i);
		deliver(p->b, text);
	}
	size_t before = open_files();
	struct session_result r = run_with(p, &o, -EINTR);
	assert_in_range(r.to[0].arrived, 50, 100);
	session_result_release(&r);
	assert_int_equal(open_files(), before);
	assert_true(sync_changed(p));
	assert_int_equal(open_files(), before);
	assert_equal_sides(p);
}

static void one_bad_body_of_many_is_left_for_the_next_run(void **state)
{
	struct pair *p = *state;
	struct spoiled s;
	spoil(&s, p->b);
	struct pair with = {p->a, &s.backend};
	char text[32];

	for (int i = 0; i < 200; i++) {
		snprintf(text, sizeof(text), "message %d", i);
		deliver(p->b, text);
	}
	s.body_err = -EIO;
	struct session_result r = sync_pair(&with);
	assert_int_equal(r.errors, 1);
	assert_int_equal(r.to[0].arrived, 199);
	session_result_release(&r);
	assert_true(sync_changed(&with));
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
		T(a_body_that_cannot_be_read_is_left_for_the_next_run),
		T(a_body_that_was_sent_is_known_by_its_digest),
		T(an_error_that_stays_is_exit_1),
		T(a_person_is_needed_for_what_is_held),
		T(a_mailbox_that_cannot_be_had_holds_nothing_up),
		T(a_stale_item_repeats_the_session),
		T(endless_staleness_ends),
		T(what_comes_during_a_sync_is_in_the_next),
		T(a_flag_that_comes_while_an_edit_is_put_is_on_the_edit),
		T(a_flag_that_comes_before_a_plain_expunge_ends_with_it),
		T(until_stable_takes_late_news_along),
		T(it_stops_when_told),
		T(a_long_plan_leaves_no_body_open),
		T(one_bad_body_of_many_is_left_for_the_next_run),
		T(after_an_error_at_any_call_the_next_run_converges),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
