/*
 * test-merge-copy.c - edits, copies and file names: rows 28 to 32, 35, 39, 47.
 */
#include "tests/support/world.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define INBOX GUID_INBOX

static void base(struct world *w)
{
	w->x = mkbox(w->a, "X");
	w->m = has(w->a, INBOX, "m");
	in_step(w);
}

static void row_28(struct world *w)
{
	base(w);
	w->n = edit(w->a, w->m, "M, with a label");
	in_step(w);
	is_gone(w, w->m);
	is_in(w, w->n, INBOX);
	assert_string_equal(find_copy(w->b, w->n, 0)->place.base,
			    find_copy(w->b, w->m, 0)->place.base);
}

static void row_29(struct world *w)
{
	base(w);
	w->n = edit(w->a, w->m, "edited");
	expunge(w->b, w->m);
	in_step(w);
	is_gone(w, w->m);
	is_in(w, w->n, INBOX);
	assert_true(noticed(w, NOTICE_EDIT_BEAT_EXPUNGE));
}

static void row_30(struct world *w)
{
	base(w);
	flag(w->a, w->m, FLAG_SEEN);
	in_step(w);
	w->n = edit(w->a, w->m, "edited");
	flag(w->b, w->m, FLAG_FLAGGED);
	unflag(w->b, w->m, FLAG_SEEN);
	keyword(w->b, w->m, "work", true);
	in_step(w);
	is_in(w, w->n, INBOX);
	is_flagged(w, w->n, "F");
	has_keyword(w, w->n, "work", true);
}

static void row_31(struct world *w)
{
	base(w);
	w->n = w->m;
	for (int i = 0; i < 5; i++) {
		char body[] = "draft ?";
		body[6] = (char)('0' + i);
		w->n = edit(w->a, w->n, body);
	}
	flag(w->b, w->m, FLAG_FLAGGED);
	w->link.bodies = 0;
	in_step(w);
	is_in(w, w->n, INBOX);
	is_flagged(w, w->n, "F");
	holds(w, INBOX, 1);
	assert_int_equal(w->link.bodies, 1);
}

static void row_32(struct world *w)
{
	base(w);
	w->n = edit(w->a, w->m, "edited here");
	w->o = edit(w->b, w->m, "edited there");
	in_step(w);
	is_in(w, w->n, INBOX);
	is_in(w, w->o, INBOX);
	is_gone(w, w->m);
	assert_true(noticed(w, NOTICE_BOTH_EDITED));
	assert_string_not_equal(find_copy(w->a, w->n, 0)->place.base,
				find_copy(w->a, w->o, 0)->place.base);
}

static void edit_and_move(struct world *w)
{
	base(w);
	w->n = edit(w->a, w->m, "edited");
	move(w->b, w->m, w->x);
	in_step(w);
	is_in(w, w->m, w->x);
	is_in(w, w->n, INBOX);
}

static void row_35(struct world *w)
{
	base(w);
	copy(w->a, w->m, w->x);
	expunge(w->a, w->m);
	w->link.bodies = 0;
	in_step(w);
	is_in(w, w->m, w->x);
	assert_int_equal(w->link.bodies, 0);
}

/* Somebody made two of one, in one mailbox: on one side they are two already, so they stay two. */
static void row_22_copies(struct world *w)
{
	w->m = has(w->a, INBOX, "m");
	in_step(w);
	uint64_t id = copy(w->a, w->m, INBOX);
	in_step(w);
	holds(w, INBOX, 2);
	flag(w->b, w->m, FLAG_SEEN);
	in_step(w);
	assert_int_equal(find_copy(w->a, w->m, id)->flags.set, 0);
	copy(w->b, w->m, INBOX);
	w->x = mkbox(w->a, "X");
	move(w->a, w->m, w->x);
	in_step(w);
	holds(w, INBOX, 2);
	holds(w, w->x, 1);
	move(w->a, w->m, INBOX);
	in_step(w);
	holds(w, INBOX, 3);
	expunge(w->b, w->m);
	in_step(w);
	holds(w, INBOX, 2);
}

static void row_39_copies(struct world *w)
{
	base(w);
	copy(w->a, w->m, w->x);
	copy(w->b, w->m, w->x);
	in_step(w);
	holds(w, w->x, 1);
	holds(w, INBOX, 1);
}

static void copy_and_move(struct world *w)
{
	base(w);
	uint64_t id = copy(w->a, w->m, w->x);
	assert_int_equal(memory_flags(w->a, &w->m, id, FLAG_MASK(FLAG_FLAGGED), 0), 0);
	move(w->b, w->m, w->x);
	in_step(w);
	holds(w, w->x, 1);
	holds(w, INBOX, 0);
	is_flagged(w, w->m, "F");
}

static void copies_have_flags_of_their_own(struct world *w)
{
	base(w);
	uint64_t id = copy(w->a, w->m, w->x);
	in_step(w);
	flag(w->b, w->m, FLAG_SEEN);
	in_step(w);
	is_flagged(w, w->m, "S");
	assert_int_equal(find_copy(w->a, w->m, id)->flags.set, 0);
}

static void set_base(struct backend *b, struct guid m, const char *name)
{
	struct copy *c = find_copy(b, m, 0);
	free(c->place.base);
	c->place.base = strdup(name);
}

static void row_47(struct world *w)
{
	base(w);
	w->n = has(w->a, INBOX, "n");
	w->o = has(w->b, INBOX, "o");
	set_base(w->a, w->n, "1.host,S=1,U=5");
	set_base(w->b, w->o, "1.host,S=1,U=5");
	in_step(w);
	holds(w, INBOX, 3);
	assert_string_equal(find_copy(w->b, w->n, 0)->place.base, "1.host,S=1,U=5");
	const char *other = find_copy(w->a, w->o, 0)->place.base;
	assert_true(strncmp(other, "1.host-", 7) == 0);
	assert_true(strlen(other) == 9 + strlen("1.host,S=1,U=5"));
}

static struct row rows[] = {
	{"28: edited in place: the new content, the old one gone", row_28},
	{"29: edited here, expunged there: the new content", row_29},
	{"30: edited here, flags there: the new content with the flags of both", row_30},
	{"31: a draft replaced five times: the last, and only that travels", row_31},
	{"32: edited on both sides: both", row_32},
	{"edited here, moved there: the new one here, the old one there", edit_and_move},
	{"35: copied and expunged: one, there", row_35},
	{"22: copied within its mailbox: two", row_22_copies},
	{"39: copied to one mailbox on both sides: one copy", row_39_copies},
	{"copied here, moved there to one mailbox: one, with the flags of both", copy_and_move},
	{"a copy has flags of its own", copies_have_flags_of_their_own},
	{"47: two files of one name: the later one is called otherwise", row_47},
};

int main(void)
{
	return world_rows("merge-copy", rows, sizeof(rows) / sizeof(rows[0]));
}
