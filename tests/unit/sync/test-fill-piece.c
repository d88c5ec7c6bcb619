/*
 * test-fill-piece.c - a first sync in small pieces ends as one in a single piece does, wherever it was
 * cut: nothing missing, nothing twice, no UID changed.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/err.h"
#include "backends/base/msg.h"
#include "tests/support/pair.h"
#include "tests/support/random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BOXES 4
#define MAILS 40

struct worlds {
	struct backend *b[2]; /* as they are before the sync */
};

static void pieces_of(size_t n)
{
	char text[24];

	snprintf(text, sizeof(text), "%zu", n);
	setenv("MAILBRAID_PIECE", text, 1);
}

static int setup(void **state)
{
	struct worlds *w = calloc(1, sizeof(*w));

	w->b[0] = backend_open_memory(A_ID);
	w->b[1] = backend_open_memory(B_ID);
	mb_msg_set_level(MB_ERROR);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct worlds *w = *state;

	backend_close(w->b[0]);
	backend_close(w->b[1]);
	unsetenv("MAILBRAID_PIECE");
	free(w);
	return 0;
}

/* Mailboxes in each other, mail, copies, moves, expunges; on the other side some of it, too. */
static void populate(struct worlds *w, uint64_t seed)
{
	struct prng p = {seed};
	struct guid box[BOXES] = {GUID_INBOX}, mail[MAILS];
	struct backend *a = w->b[0];

	for (int i = 1; i < BOXES; i++) {
		char part[2] = {(char)('a' + i), 0};
		const struct guid *in = i == 1 ? &GUID_ZERO : &box[prng_below(&p, (size_t)i)];
		assert_int_equal(memory_create(a, guid_equal(in, &GUID_INBOX) ? &GUID_ZERO : in,
					       part, &box[i]),
				 0);
	}
	for (int i = 0; i < MAILS; i++) {
		char text[24];
		int len = snprintf(text, sizeof(text), "%d", (int)prng_below(&p, 30));
		assert_int_equal(memory_deliver(a, &box[prng_below(&p, BOXES)], text, (size_t)len,
						0, &mail[i]),
				 0);
	}
	for (int i = 0; i < MAILS; i += 5) {
		uint64_t id;
		memory_expunge(a, &mail[prng_below(&p, MAILS)], 0);
		memory_move(a, &mail[prng_below(&p, MAILS)], 0, &box[prng_below(&p, BOXES)]);
		memory_copy(a, &mail[prng_below(&p, MAILS)], 0, &box[prng_below(&p, BOXES)], &id);
		memory_flags(a, &mail[prng_below(&p, MAILS)], 0, FLAG_SEEN, 0);
	}
	if (prng_bool(&p)) { /* a folder made apart, a mail that is one */
		struct guid c;
		memory_create(w->b[1], &GUID_ZERO, prng_bool(&p) ? "b" : "other", &c);
		memory_deliver(w->b[1], &c, "7", 1, 0, &mail[0]);
		memory_deliver(w->b[1], &c, "8", 1, 0, &mail[0]);
	}
}

static struct pair open_pair(const struct worlds *w, bool turned)
{
	return (struct pair){memory_backup(w->b[turned]), memory_backup(w->b[!turned])};
}

static void close_pair(struct pair *p)
{
	backend_close(p->a);
	backend_close(p->b);
}

static size_t n_alive(struct backend *b)
{
	size_t n = 0;

	for (size_t i = 0; i < memory_n_messages(b); i++)
		for (size_t k = 0; k < memory_message(b, i)->n; k++)
			n += copy_alive(&memory_message(b, i)->copies[k]);
	return n;
}

/* Mailbox and UID of each copy are what they are there. */
static void assert_same_places(struct backend *b, struct backend *as)
{
	assert_int_equal(memory_n_messages(b), memory_n_messages(as));
	for (size_t i = 0; i < memory_n_messages(b); i++) {
		const struct message *x = memory_message(b, i);
		const struct message *y = memory_find(as, &x->guid);
		assert_non_null(y);
		assert_int_equal(x->n, y->n);
		for (size_t k = 0; k < x->n; k++) {
			const struct copy *c = message_find(y, x->copies[k].id);
			assert_non_null(c);
			assert_int_equal(copy_alive(c), copy_alive(&x->copies[k]));
			assert_true(guid_equal(&c->place.mailbox, &x->copies[k].place.mailbox));
			assert_int_equal(c->place.uid, x->copies[k].place.uid);
		}
	}
}

static void pieces_end_as_one_piece_does(void **state)
{
	struct worlds *w = *state;

	for (uint64_t seed = 1; seed <= 60; seed++) {
		teardown(state);
		setup(state);
		w = *state;
		populate(w, seed);
		struct pair whole = open_pair(w, seed % 2);
		unsetenv("MAILBRAID_PIECE");
		sync_changed(&whole);
		assert_equal_sides(&whole);
		for (size_t n = 1; n < 10; n += 4) {
			struct pair p = open_pair(w, seed % 2);
			pieces_of(n);
			sync_changed(&p);
			assert_equal_sides(&p);
			assert_same_places(p.a, whole.a);
			assert_false(sync_changed(&p));
			close_pair(&p);
		}
		close_pair(&whole);
	}
}

struct stopper {
	size_t left;
};

static bool stop_after(void *arg)
{
	struct stopper *s = arg;

	return s->left == 0 || --s->left == 0;
}

/* At every item; what is there by then stays, and the next one, which may be cut as well, does the
 * rest. */
static void a_cut_at_any_item_is_no_loss_and_no_double(void **state)
{
	struct worlds *w = *state;
	populate(w, 12);
	struct pair whole = open_pair(w, false);
	sync_changed(&whole);
	bool cut = true;

	for (size_t at = 1; cut; at++) {
		struct pair p = open_pair(w, false);
		struct stopper s = {.left = at};
		const struct session_options o = {.stop = stop_after, .stop_arg = &s};
		struct session_result r;
		pieces_of(1 + at % 6);
		cut = session_run(p.a, p.b, &o, &r) == -EINTR;
		session_result_release(&r);
		if (cut && at % 3 == 0) {
			s.left = 1 + at % 5;
			session_run(p.a, p.b, &o, &r);
			session_result_release(&r);
		}
		sync_changed(&p);
		assert_equal_sides(&p);
		assert_int_equal(n_alive(p.a), n_alive(whole.a));
		assert_same_places(p.a, whole.a);
		close_pair(&p);
	}
	close_pair(&whole);
}

/* No position is agreed before everything is there. */
static void after_an_error_at_any_call_the_rest_comes(void **state)
{
	struct worlds *w = *state;
	populate(w, 5);
	struct pair whole = open_pair(w, false);
	sync_changed(&whole);
	bool failed = true;

	pieces_of(3);
	for (uint64_t n = 1; failed; n++) {
		struct pair p = open_pair(w, false);
		struct backend *faulty = backend_fault(memory_backup(p.b), n, -EIO);
		struct pair with = {p.a, faulty};
		const struct session_options o = {0};
		struct session_result r;
		failed = session_run(with.a, with.b, &o, &r) < 0 || r.errors;
		session_result_release(&r);
		for (int i = 0; i < 2; i++)
			session_run(with.a, with.b, &o, &r), session_result_release(&r);
		assert_int_equal(n_alive(p.a), n_alive(whole.a));
		for (size_t i = 0; i < memory_n_messages(whole.a); i++) {
			struct message m = {0};
			const struct guid *g = &memory_message(whole.a, i)->guid;
			assert_int_equal(faulty->ops->message(faulty, g, &m), 0);
			assert_int_equal(m.n, memory_find(p.a, g)->n);
			message_release(&m);
		}
		backend_close(faulty);
		close_pair(&p);
	}
	close_pair(&whole);
}

/* Two INBOXes: UIDs are worth nothing without the UIDVALIDITY that they belong to. */
static void the_greater_uid_validity_comes_first(void **state)
{
	struct worlds *w = *state;
	struct mailbox inbox = {0};
	struct record r = {.type = REC_MAILBOX_STATE};

	mailbox_clone(&inbox, tree_find(memory_tree(w->b[0]), &GUID_INBOX));
	inbox.uid_validity += 9;
	r.mailbox = inbox;
	assert_int_equal(w->b[0]->ops->begin(w->b[0], A_ID, false), 0);
	assert_true(w->b[0]->ops->put(w->b[0], &r, -1) > 0);
	assert_int_equal(w->b[0]->ops->commit(w->b[0]), 0);
	deliver(w->b[0], "x");
	deliver(w->b[0], "y");
	pieces_of(1);
	struct pair p = open_pair(w, false);
	struct stopper s = {.left = 3}; /* the mailbox, and one mail */
	const struct session_options o = {.stop = stop_after, .stop_arg = &s};
	struct session_result result = run_with(&p, &o, -EINTR);
	session_result_release(&result);
	assert_int_equal(tree_find(memory_tree(p.b), &GUID_INBOX)->uid_validity,
			 inbox.uid_validity);
	assert_int_equal(memory_n_messages(p.b), 1);
	assert_int_equal(tree_find(memory_tree(p.b), &GUID_INBOX)->uid_next, 2);
	sync_changed(&p);
	assert_equal_sides(&p);
	close_pair(&p);
	mailbox_release(&inbox);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(pieces_end_as_one_piece_does),
		T(a_cut_at_any_item_is_no_loss_and_no_double),
		T(after_an_error_at_any_call_the_rest_comes),
		T(the_greater_uid_validity_comes_first),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
