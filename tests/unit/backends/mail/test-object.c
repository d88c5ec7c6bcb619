/* Copies and mailboxes: who lives, and joins that do not depend on any order. */
#include "backends/mail/object.h"
#include "backends/base/mem.h"
#include "tests/support/random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define COPY_AUTO __attribute__((cleanup(copy_release)))
#define MAILBOX_AUTO __attribute__((cleanup(mailbox_release)))
#define AT(t) ((struct stamp){(t), 1})

static void an_expunge_ends_the_place_it_saw(void **state)
{
	struct copy c = {.place.at = AT(5)};

	assert_true(copy_alive(&c));
	c.dead = AT(5);
	assert_false(copy_alive(&c));
	c.place.at = AT(6); /* moved later, or restored */
	assert_true(copy_alive(&c));
	c = (struct copy){0};
	assert_false(copy_alive(&c));
}

static void expunge_beats_flags_and_not_a_move(void **state)
{
	COPY_AUTO struct copy flagged = {.place.at = AT(5)}, moved = {.place.at = AT(7)};
	struct copy expunged = {.place.at = AT(5), .dead = AT(5), .dead_at = AT(6)};

	flags_put(&flagged.flags, FLAG_SEEN, true, AT(9));
	assert_true(copy_join(&flagged, &expunged));
	assert_false(copy_alive(&flagged));
	assert_int_equal(flagged.flags.set, FLAG_MASK(FLAG_SEEN));
	assert_true(copy_join(&moved, &expunged));
	assert_true(copy_alive(&moved));
}

static void two_moves_end_in_the_later_place(void **state)
{
	COPY_AUTO struct copy a = {.place = {.mailbox = {{1}}, .uid = 3, .at = AT(5)}};
	COPY_AUTO struct copy b = {
		.place = {.mailbox = {{2}}, .uid = 1, .at = AT(6), .base = mb_xstrdup("x")}};

	assert_true(copy_join(&a, &b));
	assert_int_equal(a.place.mailbox.b[0], 2);
	assert_string_equal(a.place.base, "x");
	assert_false(copy_join(&a, &b));
	b.place.uid = 9; /* the same move got another UID there */
	assert_true(copy_join(&a, &b));
	assert_int_equal(a.place.uid, 9);
}

/* A program that gives UIDs itself gave a lower one, later; an expunge of the place is as good as
 * before. */
static void a_later_uid_wins_in_the_same_place(void **state)
{
	struct copy a = {.place = {.uid = 11, .at = AT(5)}};
	struct copy b = {.place = {.uid = 10, .at = AT(5), .uid_at = AT(8)}};
	struct copy gone = {.place = {.uid = 11, .at = AT(5)}, .dead = AT(5), .dead_at = AT(7)};

	assert_true(copy_join(&a, &b));
	assert_int_equal(a.place.uid, 10);
	a.place.uid = 12; /* a merge gave it one above all */
	assert_true(copy_join(&b, &a));
	assert_int_equal(b.place.uid, 12);
	assert_true(copy_join(&b, &gone));
	assert_false(copy_alive(&b));
}

/* The mailbox's deletion may turn out void; the direct expunge of the same instance may not. */
static void a_direct_expunge_beats_that_of_the_mailbox(void **state)
{
	struct copy direct = {.place.at = AT(5), .dead = AT(5), .dead_at = AT(6)};
	struct copy via = {.place.at = AT(5), .dead = AT(5), .dead_at = AT(9), .via = {{1}}};

	assert_true(copy_join(&via, &direct));
	assert_true(guid_is_zero(&via.via));
	assert_int_equal(via.dead_at.time, 6);
}

static void content_is_filled_in(void **state)
{
	struct copy a = {.size = 7};
	struct copy b = {.size = 7, .received_ns = -5, .digest = {{1}}, .recent = true};

	assert_true(copy_join(&a, &b));
	assert_int_equal(a.size, 7);
	assert_int_equal(a.received_ns, -5);
	assert_true(digest_known(&a.digest));
	assert_false(a.recent);
	assert_false(copy_join(&a, &b));
}

/* A size never comes to be told of the bytes of another digest. */
static void content_is_taken_whole(void **state)
{
	struct copy lf = {.size = 100, .digest = {{9}}}, crlf = {.size = 104, .digest = {{3}}};
	struct copy other = crlf;

	assert_false(copy_join(&lf, &crlf));
	assert_int_equal(lf.size, 100);
	assert_true(copy_join(&other, &lf));
	assert_int_equal(other.size, 100);
	assert_true(digest_equal(&other.digest, &lf.digest));
}

static void join_copies(struct copy *dst, const struct copy *a, const struct copy *b)
{
	COPY_AUTO struct copy before = {0};
	bool changed;

	copy_clone(dst, a);
	copy_clone(&before, dst);
	changed = copy_join(dst, b);
	assert_int_equal(changed, !copy_equal(&before, dst));
}

static void join_of_copies_is_a_join(void **state)
{
	COPY_AUTO struct copy a = {0}, b = {0}, c = {0}, ab = {0}, ba = {0}, bc = {0}, x = {0},
			      y = {0};
	struct prng p = {9};

	for (int i = 0; i < 20000; i++) {
		random_copy(&p, &a);
		random_copy(&p, &b);
		random_copy(&p, &c);
		b.guid = c.guid = a.guid;
		b.id = c.id = a.id;
		join_copies(&ab, &a, &b);
		join_copies(&ba, &b, &a);
		assert_true(copy_equal(&ab, &ba));
		join_copies(&bc, &b, &c);
		join_copies(&x, &ab, &c);
		join_copies(&y, &a, &bc);
		assert_true(copy_equal(&x, &y));
		join_copies(&x, &ab, &a);
		assert_true(copy_equal(&x, &ab));
		assert_false(copy_join(&a, &a));
	}
}

static void copies_encoded_and_back(void **state)
{
	COPY_AUTO struct copy a = {0}, b = {0};
	struct prng p = {10};

	for (int i = 0; i < 5000; i++) {
		BUF_AUTO struct buf out = BUF_INIT, again = BUF_INIT;
		struct reader r;

		random_copy(&p, &a);
		copy_encode(&a, &out);
		copy_encode(&a, &out); /* one after the other */
		r = reader_of(out.data, out.len);
		for (int twice = 0; twice < 2; twice++) {
			copy_release(&b);
			assert_true(copy_decode(&r, &b));
			assert_true(copy_equal(&a, &b));
			assert_int_equal(a.recent, b.recent);
		}
		assert_int_equal(reader_left(&r), 0);
		copy_encode(&b, &again);
		assert_memory_equal(out.data, again.data, again.len);
	}
}

static void decode_damaged_copy(const void *data, size_t len)
{
	struct reader r = reader_of(data, len);
	COPY_AUTO struct copy c;

	if (!copy_decode(&r, &c))
		assert_null(c.place.base);
	else if (c.place.base)
		assert_true(*c.place.base && !strchr(c.place.base, '/'));
}

static void decode_damaged_mailbox(const void *data, size_t len)
{
	struct reader r = reader_of(data, len);
	MAILBOX_AUTO struct mailbox m;

	if (!mailbox_decode(&r, &m))
		assert_null(m.part);
}

static void damage_is_no_crash(void **state)
{
	COPY_AUTO struct copy c = {0};
	MAILBOX_AUTO struct mailbox m = {0};
	struct prng p = {11};

	for (int i = 0; i < 30; i++) {
		BUF_AUTO struct buf out = BUF_INIT;

		random_copy(&p, &c);
		copy_encode(&c, &out);
		for_each_damage(out.data, out.len, decode_damaged_copy);
		buf_reset(&out);
		random_mailbox(&p, &m);
		mailbox_encode(&m, &out);
		for_each_damage(out.data, out.len, decode_damaged_mailbox);
	}
}

static bool base_decodes(const char *base)
{
	COPY_AUTO struct copy c = {.place.base = mb_xstrdup(base)}, back;
	BUF_AUTO struct buf out = BUF_INIT;
	struct reader r;

	copy_encode(&c, &out);
	r = reader_of(out.data, out.len);
	return copy_decode(&r, &back);
}

static void a_base_is_one_component(void **state)
{
	char base[257];

	assert_true(base_decodes("x,S=3"));
	assert_true(base_decodes(".x"));
	assert_false(base_decodes("a/b"));
	assert_false(base_decodes("."));
	assert_false(base_decodes(".."));
	memset(base, 'x', 256);
	base[255] = '\0';
	assert_true(base_decodes(base));
	base[255] = 'x';
	base[256] = '\0';
	assert_false(base_decodes(base));
}

static void a_rename_beats_a_delete_that_did_not_know_it(void **state)
{
	MAILBOX_AUTO struct mailbox m = {.part = mb_xstrdup("old"), .named_at = AT(5)};
	MAILBOX_AUTO struct mailbox renamed = {.part = mb_xstrdup("new"), .named_at = AT(7)};
	struct mailbox deleted = {.named_at = AT(5), .dead = AT(5), .dead_at = AT(9)};

	assert_true(mailbox_join(&m, &deleted));
	assert_false(mailbox_alive(&m));
	assert_true(mailbox_join(&m, &renamed));
	assert_true(mailbox_alive(&m));
	assert_string_equal(m.part, "new");
	m.dead = AT(7);
	assert_false(mailbox_alive(&m));
	m.revived = AT(8);
	assert_true(mailbox_alive(&m));
	assert_int_equal(mailbox_seen(&m).time, 8);
	m.merged_into = GUID_INBOX;
	assert_false(mailbox_alive(&m));
}

static void join_mailboxes(struct mailbox *dst, const struct mailbox *a, const struct mailbox *b)
{
	MAILBOX_AUTO struct mailbox before = {0};
	bool changed;

	mailbox_clone(dst, a);
	mailbox_clone(&before, dst);
	changed = mailbox_join(dst, b);
	assert_int_equal(changed, !mailbox_equal(&before, dst));
}

static void join_of_mailboxes_is_a_join(void **state)
{
	MAILBOX_AUTO struct mailbox a = {0}, b = {0}, c = {0}, ab = {0}, ba = {0}, bc = {0},
				    x = {0}, y = {0};
	struct prng p = {12};

	for (int i = 0; i < 20000; i++) {
		random_mailbox(&p, &a);
		random_mailbox(&p, &b);
		random_mailbox(&p, &c);
		b.guid = c.guid = a.guid;
		join_mailboxes(&ab, &a, &b);
		join_mailboxes(&ba, &b, &a);
		assert_true(mailbox_equal(&ab, &ba));
		join_mailboxes(&bc, &b, &c);
		join_mailboxes(&x, &ab, &c);
		join_mailboxes(&y, &a, &bc);
		assert_true(mailbox_equal(&x, &y));
		join_mailboxes(&x, &ab, &a);
		assert_true(mailbox_equal(&x, &ab));
		assert_false(mailbox_join(&a, &a));
	}
}

/* What a mailbox gives to the one that it became. */
static void mailbox_becomes_another(void **state)
{
	const struct guid winner = {{1}};
	struct mailbox held = {.guid = {{2}},
			       .selectable = false,
			       .selectable_at = {7, 1},
			       .uid_validity = 99,
			       .uid_validity_at = {8, 1},
			       .uid_next = 2};
	struct mailbox mere = held, now = mailbox_as(&held, &winner);

	(void)state;
	assert_true(guid_equal(&now.guid, &winner));
	assert_true(stamp_is_none(&now.selectable_at));
	assert_int_equal(now.uid_validity, 99);
	assert_int_equal(now.uid_validity_at.time, 8);
	mere.uid_next = 1;
	now = mailbox_as(&mere, &winner);
	assert_int_equal(now.uid_validity, 0);
	assert_true(stamp_is_none(&now.uid_validity_at));
	mere.selectable = true;
	now = mailbox_as(&mere, &winner);
	assert_int_equal(now.uid_validity, 99);
	assert_int_equal(now.selectable_at.time, 7);
}

static void mailboxes_encoded_and_back(void **state)
{
	MAILBOX_AUTO struct mailbox a = {0}, b = {0};
	struct prng p = {13};

	for (int i = 0; i < 5000; i++) {
		BUF_AUTO struct buf out = BUF_INIT;
		struct reader r;

		random_mailbox(&p, &a);
		mailbox_encode(&a, &out);
		r = reader_of(out.data, out.len);
		mailbox_release(&b);
		assert_true(mailbox_decode(&r, &b));
		assert_true(mailbox_equal(&a, &b));
		assert_int_equal(reader_left(&r), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_expunge_ends_the_place_it_saw),
		cmocka_unit_test(expunge_beats_flags_and_not_a_move),
		cmocka_unit_test(two_moves_end_in_the_later_place),
		cmocka_unit_test(a_later_uid_wins_in_the_same_place),
		cmocka_unit_test(a_direct_expunge_beats_that_of_the_mailbox),
		cmocka_unit_test(content_is_filled_in),
		cmocka_unit_test(content_is_taken_whole),
		cmocka_unit_test(join_of_copies_is_a_join),
		cmocka_unit_test(copies_encoded_and_back),
		cmocka_unit_test(damage_is_no_crash),
		cmocka_unit_test(a_base_is_one_component),
		cmocka_unit_test(a_rename_beats_a_delete_that_did_not_know_it),
		cmocka_unit_test(join_of_mailboxes_is_a_join),
		cmocka_unit_test(mailbox_becomes_another),
		cmocka_unit_test(mailboxes_encoded_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
