/*
 * test-merge-uid.c - UIDs: rows 32a to 32c, 84, 87, and a sync that was cut.
 */
#include "tests/support/world.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#define INBOX GUID_INBOX

static uint32_t uid_of(struct backend *b, struct guid m)
{
	return find_copy(b, m, 0)->place.uid;
}

static void kept_where_free(struct world *w)
{
	w->m = has(w->a, INBOX, "m");
	in_step(w);
	w->n = has(w->a, INBOX, "n");
	assert_int_equal(uid_of(w->a, w->n), 2);
	in_step(w);
	assert_int_equal(uid_of(w->b, w->n), 2);
	assert_int_equal(find_box(w->b, INBOX)->uid_next, 3);
	assert_false(noticed(w, NOTICE_RENUMBERED));
}

static void row_87(struct world *w)
{
	w->m = has(w->a, INBOX, "before");
	in_step(w);
	w->n = has(w->a, INBOX, "here");
	w->o = has(w->b, INBOX, "there");
	in_step(w);
	assert_int_equal(uid_of(w->a, w->m), 1);
	assert_int_equal(uid_of(w->a, w->n), 3);
	assert_int_equal(uid_of(w->a, w->o), 4);
	assert_true(noticed(w, NOTICE_RENUMBERED));
}

/* A UID that one side gave and took back is not given to something else. */
static void given_and_gone(struct world *w)
{
	w->n = has(w->a, INBOX, "here");
	w->o = has(w->b, INBOX, "there, gone");
	expunge(w->b, w->o);
	in_step(w);
	assert_int_equal(uid_of(w->b, w->n), 2);
}

static void many_there(struct world *w)
{
	struct guid there[5];
	for (size_t i = 0; i < 5; i++)
		there[i] = has(w->b, INBOX, "there");
	w->m = has(w->a, INBOX, "here");
	in_step(w);
	for (size_t i = 1; i < 5; i++) /* only the first clashes */
		assert_int_equal(uid_of(w->a, there[i]), i + 1);
	assert_int_equal(uid_of(w->a, there[0]), 6);
	assert_int_equal(uid_of(w->a, w->m), 7);
}

static void row_32a(struct world *w)
{
	has(w->a, INBOX, "m");
	in_step(w);
	w->m = has(w->a, INBOX, "m1");
	w->n = has(w->b, INBOX, "m2");
	in_step(w);
	is_in(w, w->m, INBOX);
	is_in(w, w->n, INBOX);
}

static void row_32b(struct world *w)
{
	w->m = has(w->a, INBOX, "m");
	in_step(w);
	flag(w->a, w->m, FLAG_FLAGGED);
	flag(w->b, w->m, FLAG_ANSWERED);
	in_step(w);
	is_flagged(w, w->m, "FR");
}

static void row_32c(struct world *w)
{
	w->m = has(w->a, INBOX, "m");
	w->n = has(w->a, INBOX, "n");
	in_step(w);
	expunge(w->a, w->m);
	expunge(w->b, w->n);
	w->x = has(w->a, INBOX, "x");
	w->y = has(w->b, INBOX, "y");
	in_step(w);
	is_gone(w, w->m);
	is_gone(w, w->n);
	is_in(w, w->x, INBOX);
	is_in(w, w->y, INBOX);
}

static void row_84(struct world *w)
{
	find_box(w->a, INBOX)->uid_next = UINT32_C(0x80000000);
	w->m = has(w->a, INBOX, "m");
	w->n = has(w->b, INBOX, "n");
	in_step(w);
	assert_int_equal(uid_of(w->b, w->m), UINT32_C(0x80000000));
	assert_int_equal(uid_of(w->b, w->n), UINT32_C(0x80000001));
	assert_int_equal(find_box(w->b, INBOX)->uid_next, UINT32_C(0x80000002));
}

static void exhausted(struct world *w)
{
	find_box(w->a, INBOX)->uid_next = UINT32_MAX - 1;
	w->m = has(w->a, INBOX, "m");
	w->n = has(w->b, INBOX, "n");
	assert_null(link_sync(&w->link) && !noticed(w, NOTICE_RENUMBERED) ? "lost" : NULL);
	assert_non_null(memory_find(w->a, &w->n));
	assert_non_null(memory_find(w->b, &w->m));
}

static void moved_in(struct world *w)
{
	w->x = mkbox(w->a, "X");
	w->m = has(w->a, INBOX, "m");
	in_step(w);
	w->n = has(w->b, w->x, "n");
	move(w->a, w->m, w->x);
	in_step(w);
	holds(w, w->x, 2);
	assert_int_not_equal(uid_of(w->a, w->m), uid_of(w->a, w->n));
	assert_true(uid_of(w->a, w->m) > 1 && uid_of(w->a, w->n) > 1);
}

/* Cut after each call: what is done stays, and the rest needs no new UIDs. */
static void cut(struct world *w)
{
	struct guid m[4];
	for (size_t i = 0; i < 4; i++)
		m[i] = has(w->a, INBOX, "m");
	find_box(w->a, INBOX)->uid_next = 10;
	bool failed = true;
	for (uint64_t n = 1; failed; n++) {
		struct backend *b = backend_open_memory(100 + n);
		struct backend *faulty = backend_fault(b, n, -EIO);
		struct link l = {.b = {w->a, faulty}, .full = true};
		failed = link_sync(&l) != NULL;
		if (failed)
			assert_null(link_sync(&l));
		for (size_t i = 0; i < 4; i++)
			assert_int_equal(uid_of(b, m[i]), i + 1);
		assert_int_equal(find_box(b, INBOX)->uid_next, 10);
		backend_close(faulty);
	}
}

static struct row rows[] = {
	{"a new message keeps its UID where that is free", kept_where_free},
	{"87: one UID for two: both get new ones, in order of their birth", row_87},
	{"a UID that was given and is gone is not used again", given_and_gone},
	{"many there, one here: only those that clash", many_there},
	{"32a: equal UIDNEXT on both sides: both messages", row_32a},
	{"32b: a flag on each side at one modseq: both", row_32b},
	{"32c: as many added and expunged on both sides: all of it", row_32c},
	{"84: UIDs over 2^31", row_84},
	{"84: no UID left: said, nothing lost", exhausted},
	{"a move brings a message under a UID that was given", moved_in},
	{"a sync that was cut needs no new UIDs", cut},
};

int main(void)
{
	return world_rows("merge-uid", rows, sizeof(rows) / sizeof(rows[0]));
}
