/*
 * test-merge.c - messages, flags and moves: rows 1 to 46 of the scenarios, by their numbers.
 */
#include "tests/support/world.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define INBOX GUID_INBOX

/* m in INBOX on both sides; x and y are empty mailboxes */
static void base(struct world *w)
{
	w->x = mkbox(w->a, "X");
	w->y = mkbox(w->a, "Y");
	w->z = mkbox(w->a, "Z");
	w->m = has(w->a, INBOX, "m");
	in_step(w);
}

static void row_1(struct world *w)
{
	w->m = has(w->a, INBOX, "m");
	in_step(w);
	is_in(w, w->m, INBOX);
	assert_int_equal(find_copy(w->a, w->m, 0)->received_ns,
			 find_copy(w->b, w->m, 0)->received_ns);
}

static void row_2(struct world *w)
{
	base(w);
	expunge(w->b, w->m);
	in_step(w);
	is_gone(w, w->m);
	restore(w->a, w->m);
	in_step(w);
	is_in(w, w->m, INBOX);
	assert_true(find_copy(w->b, w->m, 0)->place.uid > 1);
}

static void row_3(struct world *w)
{
	base(w);
	expunge(w->a, w->m);
	expunge(w->b, w->m);
	in_step(w);
	is_gone(w, w->m);
	assert_int_equal(w->link.notices, 0);
}

static void row_4(struct world *w)
{
	base(w);
	flag(w->a, w->m, FLAG_SEEN);
	in_step(w);
	is_flagged(w, w->m, "S");
}

static void row_5(struct world *w)
{
	base(w);
	flag(w->a, w->m, FLAG_SEEN);
	flag(w->b, w->m, FLAG_FLAGGED);
	in_step(w);
	is_flagged(w, w->m, "FS");
}

static void row_6(struct world *w)
{
	base(w);
	flag(w->a, w->m, FLAG_SEEN);
	in_step(w);
	unflag(w->a, w->m, FLAG_SEEN);
	flag(w->b, w->m, FLAG_ANSWERED);
	in_step(w);
	is_flagged(w, w->m, "R");
}

static void row_7(struct world *w)
{
	base(w);
	flag(w->a, w->m, FLAG_FLAGGED);
	expunge(w->b, w->m);
	in_step(w);
	is_gone(w, w->m);
	assert_true(noticed(w, NOTICE_EXPUNGE_BEAT_FLAGS));
	restore(w->b, w->m);
	in_step(w);
	is_in(w, w->m, INBOX);
	is_flagged(w, w->m, "F");
}

static void row_8(struct world *w)
{
	base(w);
	flag(w->a, w->m, FLAG_FLAGGED);
	unflag(w->a, w->m, FLAG_FLAGGED);
	in_step(w);
	is_flagged(w, w->m, "");
}

static void row_9(struct world *w)
{
	base(w);
	flag(w->a, w->m, FLAG_FLAGGED);
	in_step(w);
	is_flagged(w, w->m, "F");
}

static void row_10(struct world *w)
{
	base(w);
	flag(w->a, w->m, FLAG_FLAGGED);
	in_step(w);
	unflag(w->a, w->m, FLAG_FLAGGED);
	unflag(w->b, w->m, FLAG_FLAGGED);
	flag(w->a, w->m, FLAG_FLAGGED);
	in_step(w);
	is_flagged(w, w->m, "F");
}

static void row_11(struct world *w)
{
	base(w);
	flag(w->b, w->m, FLAG_DELETED);
	flag(w->a, w->m, FLAG_DELETED);
	unflag(w->b, w->m, FLAG_DELETED);
	in_step(w);
	is_flagged(w, w->m, "");
	is_in(w, w->m, INBOX);
}

static void row_12(struct world *w)
{
	base(w);
	flag(w->a, w->m, FLAG_DELETED);
	in_step(w);
	expunge(w->b, w->m);
	in_step(w);
	is_gone(w, w->m);
}

static void row_13(struct world *w)
{
	base(w);
	flag(w->a, w->m, FLAG_DELETED);
	in_step(w);
	unflag(w->a, w->m, FLAG_DELETED);
	expunge(w->b, w->m);
	in_step(w);
	is_gone(w, w->m);
	assert_true(noticed(w, NOTICE_EXPUNGE_BEAT_FLAGS));
}

static void row_14(struct world *w)
{
	base(w);
	keyword(w->a, w->m, "work", true);
	keyword(w->b, w->m, "home", true);
	in_step(w);
	has_keyword(w, w->m, "work", true);
	has_keyword(w, w->m, "home", true);
	keyword(w->b, w->m, "work", false);
	in_step(w);
	has_keyword(w, w->m, "work", false);
}

static void row_15(struct world *w)
{
	char name[] = "k-a";
	base(w);
	for (; name[2] <= 'z'; name[2]++)
		keyword(w->a, w->m, name, true);
	keyword(w->a, w->m, "the-27th", true);
	in_step(w);
	has_keyword(w, w->m, "k-z", true);
	has_keyword(w, w->m, "the-27th", true);
}

static void row_16(struct world *w)
{
	base(w);
	keyword(w->a, w->m, "Junk", true);
	keyword(w->b, w->m, "junk", true);
	in_step(w);
	assert_int_equal(find_copy(w->a, w->m, 0)->flags.n_keywords, 1);
	has_keyword(w, w->m, "JUNK", true);
}

static void row_20(struct world *w)
{
	base(w);
	find_copy(w->a, w->m, 0)->recent = true; /* what new/ says, and no change */
	in_step(w);
	assert_int_equal(w->link.n_items[0] + w->link.n_items[1], 0);
}

static void row_33(struct world *w)
{
	base(w);
	w->link.bodies = 0;
	move(w->a, w->m, w->x);
	in_step(w);
	is_in(w, w->m, w->x);
	assert_int_equal(w->link.bodies, 0);
}

static void row_34(struct world *w)
{
	base(w);
	move(w->a, w->m, w->x);
	struct copy *c = find_copy(w->a, w->m, 0);
	free(c->place.base);
	c->place.base = strdup("another");
	in_step(w);
	is_in(w, w->m, w->x);
	assert_string_equal(find_copy(w->b, w->m, 0)->place.base, "another");
}

static void row_36(struct world *w)
{
	base(w);
	move(w->a, w->m, w->x);
	flag(w->b, w->m, FLAG_SEEN);
	in_step(w);
	is_in(w, w->m, w->x);
	is_flagged(w, w->m, "S");
}

static void row_37(struct world *w)
{
	base(w);
	move(w->a, w->m, w->x);
	expunge(w->b, w->m);
	in_step(w);
	is_in(w, w->m, w->x);
	assert_true(noticed(w, NOTICE_MOVE_BEAT_EXPUNGE));
}

static void row_37_earlier(struct world *w)
{
	base(w);
	expunge(w->b, w->m);
	move(w->a, w->m, w->x);
	in_step(w);
	is_in(w, w->m, w->x);
}

static void row_38(struct world *w)
{
	base(w);
	move(w->a, w->m, w->x);
	move(w->b, w->m, w->y);
	in_step(w);
	is_in(w, w->m, w->y);
	assert_true(noticed(w, NOTICE_MOVED_TWICE));
}

static void row_39(struct world *w)
{
	base(w);
	move(w->a, w->m, w->x);
	move(w->b, w->m, w->x);
	in_step(w);
	is_in(w, w->m, w->x);
	holds(w, w->x, 1);
	assert_int_equal(w->link.notices, 0);
}

static void row_40(struct world *w)
{
	base(w);
	move(w->a, w->m, w->x);
	move(w->a, w->m, INBOX);
	w->link.bodies = 0;
	in_step(w);
	is_in(w, w->m, INBOX);
	assert_int_equal(w->link.bodies, 0);
}

static void row_41(struct world *w)
{
	base(w);
	w->p = mkbox(w->a, "P");
	move(w->a, w->m, w->p);
	in_step(w);
	is_named(w, w->p, "P");
	is_in(w, w->m, w->p);
}

static void row_45(struct world *w)
{
	struct guid all[200];
	base(w);
	for (size_t i = 0; i < 200; i++)
		all[i] = has(w->a, INBOX, "one of many");
	in_step(w);
	for (size_t i = 0; i < 200; i++)
		move(w->a, all[i], w->x);
	w->link.bodies = 0;
	in_step(w);
	holds(w, w->x, 200);
	assert_int_equal(w->link.bodies, 0);
}

static void row_46(struct world *w)
{
	base(w);
	uint64_t id = copy(w->a, w->m, w->x);
	w->link.bodies = 0;
	in_step(w);
	holds(w, INBOX, 1);
	holds(w, w->x, 1);
	assert_int_equal(w->link.bodies, 0);
	expunge(w->b, w->m);
	in_step(w);
	is_in(w, w->m, w->x);
	assert_true(copy_alive(find_copy(w->b, w->m, id)));
}

static void nothing_new(struct world *w)
{
	in_step(w);
	in_step(w);
	assert_int_equal(w->link.n_items[0] + w->link.n_items[1], 0);
}

static void full_is_the_same(struct world *w)
{
	base(w);
	move(w->a, w->m, w->x);
	expunge(w->b, w->m);
	in_step(w);
	w->link.full = true;
	in_step(w);
	assert_int_equal(w->link.n_items[0] + w->link.n_items[1], 0);
}

static struct row rows[] = {
	{"1: new here: there too, same date", row_1},
	{"2: expunged there: gone here, and can be restored under a new UID", row_2},
	{"3: expunged on both sides: gone, nothing to say", row_3},
	{"4: +Seen here: Seen there", row_4},
	{"5: +Seen here, +Flagged there: both", row_5},
	{"6: -Seen here, +Answered there: both", row_6},
	{"7: flagged here, expunged there: expunged; restore brings the flag", row_7},
	{"8: +F then -F: nothing to see", row_8},
	{"9: +F here, nobody touched it there: F", row_9},
	{"10: -F +F here, -F there between: the last one", row_10},
	{"11: \\Deleted set here, taken off there later: off, and not expunged", row_11},
	{"12: marked here, expunged there: gone here as well", row_12},
	{"13: unmarked here, expunged there: gone, said, can be restored", row_13},
	{"14: a keyword on each side: both, by name", row_14},
	{"15: the 27th keyword: not lost", row_15},
	{"16: Junk here, junk there: one keyword", row_16},
	{"20: opened, new to cur: no change", row_20},
	{"33: moved: no body travels", row_33},
	{"34: moved under another file name: the same", row_34},
	{"36: moved here, flagged there: both", row_36},
	{"37: moved here, expunged there later: stays where it was moved to", row_37},
	{"37: expunged there, then moved here: the same", row_37_earlier},
	{"38: moved to X here, to Y there later: in Y, once", row_38},
	{"39: moved to X on both sides: once in X", row_39},
	{"40: moved there and back: where it was", row_40},
	{"41: moved to a new mailbox: made first", row_41},
	{"45: many moved: no body travels", row_45},
	{"46: a copy: two entries, one body; expunging one leaves the other", row_46},
	{"no news: nothing to do", nothing_new},
	{"a full comparison after a sync finds nothing", full_is_the_same},
};

int main(void)
{
	return world_rows("merge", rows, sizeof(rows) / sizeof(rows[0]));
}
