/*
 * test-gather-pair.c - digests and likenesses are made where two messages may be one, and nowhere else.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/memory.h"
#include "sync/gather.h"
#include "sync/scope.h"

#include <string.h>

#define MAIL(id, text) "Message-ID: <" id ">\nDate: today\n\n" text "\n"
#define CRLF(id, text) "Received: x\r\nMessage-ID: <" id ">\r\nDate: today\r\n\r\n" text "\r\n"

struct fixture {
	struct backend *b[2];
	struct gather g;
};

static int setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	for (int i = 0; i < 2; i++) {
		f.b[i] = backend_open_memory(11 * (uint64_t)(i + 1));
		f.g.b[i] = f.b[i];
		f.b[i]->ops->info(f.b[i], &f.g.info[i]);
	}
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	gather_release(&f->g);
	backend_close(f->b[0]);
	backend_close(f->b[1]);
	return 0;
}

static struct guid deliver_to(struct backend *b, const struct guid *box, const char *text)
{
	struct guid g;

	assert_int_equal(memory_deliver(b, box, text, strlen(text), 0, &g), 0);
	return g;
}

static struct guid deliver(struct backend *b, const char *text)
{
	return deliver_to(b, &GUID_INBOX, text);
}

static struct copy *copy_of(struct fixture *f, int side, const struct guid *g)
{
	return &merge_side_find(&f->g.in.side[side], g)->copies[0];
}

/* As if nobody had looked at a body yet. */
static void gather(struct fixture *f)
{
	assert_int_equal(gather_add_differences(&f->g), 0);
	assert_int_equal(gather_read(&f->g), 0);
	for (int i = 0; i < 2; i++)
		for (size_t k = 0; k < f->g.in.side[i].n_messages; k++)
			memset(&f->g.in.side[i].messages[k].copies[0].digest, 0,
			       sizeof(struct digest));
	assert_int_equal(gather_digests(&f->g), 0);
}

static bool has_digest(struct fixture *f, int side, const struct guid *g)
{
	return digest_known(&copy_of(f, side, g)->digest);
}

static bool has_likeness(struct fixture *f, int side, const struct guid *g)
{
	return digest_known(&copy_of(f, side, g)->alike);
}

static void digests_only_where_two_may_be_one(void **state)
{
	struct fixture *f = *state;
	struct guid box, elsewhere;
	struct guid a = deliver(f->b[0], "same"), b = deliver(f->b[1], "same");
	struct guid alone = deliver(f->b[0], "of another size");

	assert_int_equal(memory_create(f->b[1], &GUID_ZERO, "box", &box), 0);
	elsewhere = deliver_to(f->b[1], &box, "of another size");
	gather(f);
	assert_true(has_digest(f, 0, &a));
	assert_true(has_digest(f, 1, &b));
	assert_false(has_digest(f, 0, &alone));
	assert_false(has_digest(f, 1, &elsewhere));
}

static void likenesses_only_where_headers_meet(void **state)
{
	struct fixture *f = *state;
	struct guid a = deliver(f->b[0], MAIL("1", "text")),
		    b = deliver(f->b[1], CRLF("1", "text"));
	struct guid mine = deliver(f->b[0], MAIL("2", "text"));
	struct guid theirs = deliver(f->b[1], CRLF("3", "text"));

	gather(f);
	assert_int_equal(gather_alike(&f->g), 0);
	assert_true(has_likeness(f, 0, &a));
	assert_true(digest_equal(&copy_of(f, 0, &a)->alike, &copy_of(f, 1, &b)->alike));
	assert_true(has_digest(f, 0, &a) && has_digest(f, 1, &b));
	assert_false(digest_equal(&copy_of(f, 0, &a)->digest, &copy_of(f, 1, &b)->digest));
	assert_false(has_likeness(f, 0, &mine));
	assert_false(has_likeness(f, 1, &theirs));
	assert_false(has_digest(f, 0, &mine));
}

static void another_text_has_another_likeness(void **state)
{
	struct fixture *f = *state;
	struct guid a = deliver(f->b[0], MAIL("1", "text")),
		    b = deliver(f->b[1], CRLF("1", "footer"));

	gather(f);
	assert_int_equal(gather_alike(&f->g), 0);
	assert_true(has_likeness(f, 0, &a) && has_likeness(f, 1, &b));
	assert_false(digest_equal(&copy_of(f, 0, &a)->alike, &copy_of(f, 1, &b)->alike));
}

static void not_of_those_that_have_their_equals(void **state)
{
	struct fixture *f = *state;
	struct guid a = deliver(f->b[0], MAIL("1", "text")),
		    b = deliver(f->b[1], MAIL("1", "text"));
	struct guid box, elsewhere;

	deliver(f->b[0], MAIL("2", "text"));
	assert_int_equal(memory_create(f->b[1], &GUID_ZERO, "box", &box), 0);
	elsewhere = deliver_to(f->b[1], &box, CRLF("2", "text"));
	gather(f);
	assert_int_equal(gather_alike(&f->g), 0);
	assert_false(has_likeness(f, 0, &a));
	assert_false(has_likeness(f, 1, &b));
	assert_false(has_likeness(f, 1, &elsewhere));
}

static void not_for_a_backup(void **state)
{
	struct fixture *f = *state;
	struct scope backup = {.mirror = true};
	struct guid a = deliver(f->b[0], MAIL("1", "text"));

	deliver(f->b[1], CRLF("1", "text"));
	f->g.in.scope = &backup;
	gather(f);
	assert_int_equal(gather_alike(&f->g), 0);
	assert_false(has_likeness(f, 0, &a));
	f->g.in.scope = NULL;
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(digests_only_where_two_may_be_one),
		T(likenesses_only_where_headers_meet),
		T(another_text_has_another_likeness),
		T(not_of_those_that_have_their_equals),
		T(not_for_a_backup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
