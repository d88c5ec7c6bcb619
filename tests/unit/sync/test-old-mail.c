/*
 * test-old-mail.c - row 94: mail that comes back after its expunge was forgotten.
 *
 * B is the replica that stayed, and forgets; A is the one that was away.
 */
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "sync/old-mail.h"
#include "sync/scope.h"
#include "sync/session.h"
#include "tests/support/world.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#define LONG_NS (500ll * 24 * 3600 * 1000000000)

struct away {
	struct backend *a, *b;
	struct guid old, kept;
	bool turned; /* B starts */
};

static struct session_result sync_with(struct away *w, const struct session_options *o)
{
	struct session_result r;

	assert_int_equal(session_run(w->turned ? w->b : w->a, w->turned ? w->a : w->b, o, &r), 0);
	return r;
}

/* How many messages are held. */
static uint64_t sync_held(struct away *w, bool accept)
{
	const struct session_options o = {.accept_old = accept};
	struct session_result r = sync_with(w, &o);
	uint64_t held = r.held_old;

	assert_int_equal(r.errors, 0);
	assert_int_equal(session_exit(0, &r), held ? 1 : 0);
	session_result_release(&r);
	return held;
}

static bool is_alive(struct backend *b, const struct guid *g)
{
	const struct message *m = memory_find(b, g);

	for (size_t i = 0; m && i < m->n; i++)
		if (copy_alive(&m->copies[i]))
			return true;
	return false;
}

/* In step with two messages; A goes away; B expunges one, time passes, and B forgets. */
static void go_away(struct away *w, bool turned)
{
	mb_msg_set_level(MB_ERROR);
	*w = (struct away){.a = backend_open_memory(1), .b = backend_open_memory(2)};
	w->turned = turned;
	w->old = has(w->a, GUID_INBOX, "old");
	w->kept = has(w->a, GUID_INBOX, "kept");
	assert_int_equal(sync_held(w, false), 0);
	assert_true(is_alive(w->b, &w->old));
	expunge(w->b, w->old);
	clock_set_offset_ns(LONG_NS);
	memory_forget_expunged(w->b);
	memory_drop_log(w->b);
	assert_null(memory_find(w->b, &w->old));
}

static void come_home(struct away *w)
{
	backend_close(w->a);
	backend_close(w->b);
}

#define EACH_START(w)                                                                              \
	for (int turned_ = 0; turned_ < 2 && (go_away(w, turned_), 1); come_home(w), turned_++)

static void old_mail_is_held(void **state)
{
	struct away w;

	EACH_START(&w)
	{
		struct guid new = has(w.a, GUID_INBOX, "new of a");
		struct guid other = has(w.b, GUID_INBOX, "new of b");
		for (int i = 0; i < 3; i++) { /* until somebody decides */
			assert_int_equal(sync_held(&w, false), 1);
			assert_true(is_alive(w.a, &w.old));
			assert_null(memory_find(w.b, &w.old));
		}
		assert_true(is_alive(w.b, &new) && is_alive(w.a, &other));
		assert_true(is_alive(w.b, &w.kept));
	}
}

static void a_flag_does_not_bring_it_back(void **state)
{
	struct away w;

	EACH_START(&w)
	{
		flag(w.a, w.old, FLAG_FLAGGED);
		assert_int_equal(sync_held(&w, false), 1);
		assert_null(memory_find(w.b, &w.old));
	}
}

static void accepted_it_is_there(void **state)
{
	struct away w;

	EACH_START(&w)
	{
		assert_int_equal(sync_held(&w, false), 1);
		assert_int_equal(sync_held(&w, true), 0);
		assert_true(is_alive(w.b, &w.old));
		assert_int_equal(sync_held(&w, false), 0);
		const struct session_options full = {.full = true};
		struct session_result r = sync_with(&w, &full);
		assert_false(r.changed);
		session_result_release(&r);
	}
}

static void deleted_by_hand_it_is_gone(void **state)
{
	struct away w;

	EACH_START(&w)
	{
		assert_int_equal(sync_held(&w, false), 1);
		expunge(w.a, w.old);
		assert_int_equal(sync_held(&w, false), 0);
		assert_false(is_alive(w.a, &w.old) || is_alive(w.b, &w.old));
		assert_int_equal(sync_held(&w, false), 0);
	}
}

/* A move is later than any expunge that was forgotten. */
static void moved_meanwhile_it_travels(void **state)
{
	struct away w;

	EACH_START(&w)
	{
		struct guid box = mkbox(w.a, "Saved");
		move(w.a, w.old, box);
		assert_int_equal(sync_held(&w, false), 0);
		assert_true(is_alive(w.b, &w.old));
	}
}

static void a_deleted_mailbox_lives_for_it(void **state)
{
	struct away w;

	EACH_START(&w)
	{
		assert_int_equal(sync_held(&w, true), 0);
		struct guid box = mkbox(w.a, "Box"), m = has(w.a, box, "in it");
		assert_int_equal(sync_held(&w, false), 0);
		delete_box(w.b, box);
		clock_set_offset_ns(2 * LONG_NS);
		memory_forget_expunged(w.b);
		memory_drop_log(w.b);
		assert_int_equal(sync_held(&w, false), 1);
		assert_true(is_alive(w.a, &m));
		assert_true(mailbox_alive(find_box(w.a, box)));
		sync_held(&w, false);
		struct position before, after;
		w.a->ops->position(w.a, &before);
		assert_int_equal(sync_held(&w, false), 1);
		w.a->ops->position(w.a, &after);
		assert_memory_equal(&before, &after, sizeof(before)); /* it comes to rest */
	}
}

/* All mail that both had is expunged and forgotten: they are no strangers for that. */
static void nothing_in_common_any_more(void **state)
{
	struct away w;

	EACH_START(&w)
	{
		expunge(w.b, w.kept);
		clock_set_offset_ns(2 * LONG_NS);
		memory_forget_expunged(w.b);
		memory_drop_log(w.b);
		assert_null(memory_find(w.b, &w.kept));
		for (int i = 0; i < 2; i++) {
			assert_int_equal(sync_held(&w, false), 2);
			assert_null(memory_find(w.b, &w.kept));
			assert_true(is_alive(w.a, &w.kept) && is_alive(w.a, &w.old));
		}
	}
}

/* The other side alone remembers that they met. */
static void one_that_forgot_its_peer(void **state)
{
	struct away w;

	EACH_START(&w)
	{
		struct record forget = {
			.type = REC_PEER_FORGET, .peer = {.replica = 1}, .origin.replica = 2};
		sync_held(&w, true);
		expunge(w.b, w.old);
		expunge(w.b, w.kept);
		clock_set_offset_ns(2 * LONG_NS);
		memory_forget_expunged(w.b);
		assert_int_equal(w.b->ops->begin(w.b, 2, false), 0);
		assert_true(w.b->ops->put(w.b, &forget, -1) >= 0);
		assert_int_equal(w.b->ops->commit(w.b), 0);
		assert_int_equal(sync_held(&w, false), 2);
		assert_null(memory_find(w.b, &w.kept));
	}
}

/* Two that have nothing in common forgot nothing of each other. */
static void strangers_give_all(void **state)
{
	struct away w;

	EACH_START(&w)
	{
		struct backend *c = backend_open_memory(3), *a = w.a;
		clock_set_offset_ns(0);
		struct guid m = has(c, GUID_INBOX, "from long ago");
		clock_set_offset_ns(2 * LONG_NS);
		expunge(w.b, w.kept);
		memory_forget_expunged(w.b);
		w.a = c;
		assert_int_equal(sync_held(&w, false), 0);
		assert_true(is_alive(w.b, &m));
		w.a = a;
		backend_close(c);
	}
}

/* ---- the rule alone -------------------------------------------------------------------------- */

static struct merge_input one_sided(struct copy *c, struct message *m, uint64_t at)
{
	struct merge_input in = {0};

	*c = (struct copy){.guid = {{7}}, .place = {.mailbox = GUID_INBOX, .at = {at, 1}}};
	*m = (struct message){.guid = c->guid, .copies = c, .n = 1};
	in.side[0].messages = m;
	in.side[0].n_messages = 1;
	return in;
}

/* The side that forgot gets no mail by this sync: there is nothing to hold. */
static void what_does_not_travel_is_not_held(void **state)
{
	struct away w;

	EACH_START(&w)
	{
		struct scope s;
		const struct session_options one_way = {.scope = &s};

		scope_init(&s);
		s.let[w.turned ? 0 : 1] = 0; /* nothing goes to B */
		for (int i = 0; i < 3; i++) {
			struct session_result r = sync_with(&w, &one_way);
			assert_int_equal(r.held_old, 0);
			assert_int_equal(session_exit(0, &r), 0);
			assert_true(i == 0 || !r.full); /* it is remembered */
			session_result_release(&r);
			assert_null(memory_find(w.b, &w.old));
		}
		s.let[w.turned ? 0 : 1] = SCOPE_EVERYTHING;
		assert_int_equal(sync_held(&w, false), 1); /* a wider one finds it still */
		assert_null(memory_find(w.b, &w.old));
	}
}

static void the_horizon_is_the_other_sides(void **state)
{
	const uint64_t theirs[2] = {0, 100}, ours[2] = {100, 0};
	struct copy c;
	struct message m;
	struct merge_input in = one_sided(&c, &m, 101);

	assert_int_equal(old_mail_hold(&in, theirs), 0); /* younger than what was forgotten */
	in = one_sided(&c, &m, 100);
	assert_int_equal(old_mail_hold(&in, ours), 0);
	assert_int_equal(in.side[0].n_messages, 1);
}

/* Of a plain Maildir: what it just got is new, however small its stamp is; what was agreed is old. */
static void news_of_a_side_without_stamps(void **state)
{
	const uint64_t forgotten[2] = {0, 100};
	struct copy c;
	struct message m;
	struct merge_input in = one_sided(&c, &m, 1);

	c.unagreed = true;
	assert_int_equal(old_mail_hold(&in, forgotten), 0);
	assert_int_equal(in.side[0].n_messages, 1);
	m.copies = mb_xcalloc(1, sizeof(c));
	m.copies[0] = c;
	m.copies[0].unagreed = false;
	assert_int_equal(old_mail_hold(&in, forgotten), 1);
	assert_int_equal(in.side[0].n_messages, 0);
}

/* What the other side lost is no unknown mail: it is sent again. */
static void a_lost_body_is_not_held(void **state)
{
	const uint64_t forgotten[2] = {0, 100};
	struct copy c;
	struct message m;
	struct merge_input in = one_sided(&c, &m, 5);
	struct guid missing = c.guid;

	in.side[1].missing = &missing;
	in.side[1].n_missing = 1;
	assert_int_equal(old_mail_hold(&in, forgotten), 0);
	assert_int_equal(in.side[0].n_messages, 1);
}

static void equal_content_is_left_to_pairing(void **state)
{
	const uint64_t forgotten[2] = {0, 100};
	struct copy c, d;
	struct message m, n;
	struct merge_input in = one_sided(&c, &m, 5);

	c.digest.b[0] = 1;
	d = (struct copy){.guid = {{8}}, .digest = c.digest, .place = {.at = {200, 2}}};
	n = (struct message){.guid = d.guid, .copies = &d, .n = 1};
	in.side[1].messages = &n;
	in.side[1].n_messages = 1;
	assert_int_equal(old_mail_hold(&in, forgotten), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(old_mail_is_held),
		cmocka_unit_test(a_flag_does_not_bring_it_back),
		cmocka_unit_test(accepted_it_is_there),
		cmocka_unit_test(deleted_by_hand_it_is_gone),
		cmocka_unit_test(moved_meanwhile_it_travels),
		cmocka_unit_test(a_deleted_mailbox_lives_for_it),
		cmocka_unit_test(nothing_in_common_any_more),
		cmocka_unit_test(one_that_forgot_its_peer),
		cmocka_unit_test(strangers_give_all),
		cmocka_unit_test(what_does_not_travel_is_not_held),
		cmocka_unit_test(the_horizon_is_the_other_sides),
		cmocka_unit_test(news_of_a_side_without_stamps),
		cmocka_unit_test(a_lost_body_is_not_held),
		cmocka_unit_test(equal_content_is_left_to_pairing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
