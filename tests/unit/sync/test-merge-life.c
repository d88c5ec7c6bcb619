/*
 * test-merge-life.c - deleted mailboxes: rows 42, 52, 59 to 64.
 */
#include "tests/support/world.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#define INBOX GUID_INBOX

/* x is F with m, y is Y, empty; on both sides */
static void base(struct world *w)
{
	w->x = mkbox(w->a, "F");
	w->y = mkbox(w->a, "Y");
	w->m = has(w->a, w->x, "m");
	in_step(w);
}

static void row_42(struct world *w)
{
	base(w);
	w->n = has(w->a, INBOX, "n");
	in_step(w);
	move(w->a, w->n, w->x);
	delete_box(w->b, w->x);
	in_step(w);
	is_named(w, w->x, "F");
	is_in(w, w->n, w->x);
	is_gone(w, w->m);
	assert_true(noticed(w, NOTICE_MAILBOX_KEPT));
}

static void row_52(struct world *w)
{
	base(w);
	rename_to(w->a, w->x, "G");
	delete_box(w->b, w->x);
	in_step(w);
	is_named(w, w->x, "G");
	is_in(w, w->m, w->x);
	assert_true(noticed(w, NOTICE_MAILBOX_KEPT));
}

static void row_52_expunged_before(struct world *w)
{
	base(w);
	w->n = has(w->b, w->x, "n");
	in_step(w);
	rename_to(w->a, w->x, "G");
	expunge(w->b, w->n);
	delete_box(w->b, w->x);
	in_step(w);
	is_in(w, w->m, w->x);
	is_gone(w, w->n); /* that one was expunged itself */
}

static void row_52_then_deleted(struct world *w)
{
	base(w);
	rename_to(w->a, w->x, "G");
	delete_box(w->a, w->x);
	delete_box(w->b, w->x);
	in_step(w);
	is_deleted(w, w->x);
	is_gone(w, w->m);
}

static void row_59(struct world *w)
{
	base(w);
	delete_box(w->a, w->x);
	w->p = mkbox(w->a, "F");
	w->n = has(w->a, w->p, "n");
	in_step(w);
	is_deleted(w, w->x);
	is_named(w, w->p, "F");
	is_gone(w, w->m);
	holds(w, w->p, 1);
}

static void row_60(struct world *w)
{
	base(w);
	delete_box(w->a, w->x);
	w->p = mkbox(w->a, "F");
	w->n = has(w->b, w->x, "unseen");
	in_step(w);
	struct guid low = guid_compare(&w->x, &w->p) < 0 ? w->x : w->p;
	is_named(w, low, "F");
	is_in(w, w->n, low);
	is_gone(w, w->m);
	assert_int_equal(n_boxes(w), 3);
	assert_true(noticed(w, NOTICE_MAILBOX_KEPT));
}

/* Deleted here, where it lives on as a name; made there: a mailbox, whichever of the two it becomes. */
static void name_and_made_there(struct world *w, struct backend *here, struct backend *there)
{
	struct backend *c = backend_open_memory(3);
	struct link to_c = {.b = {here, c}};
	struct guid f = mkbox(here, "F");
	mkbox_in(here, f, "H");
	delete_box(here, f);
	assert_null(link_sync(&to_c)); /* a merge made it a name above H */
	assert_false(find_box(here, f)->selectable);
	struct guid made = mkbox(there, "F");
	in_step(w);
	struct guid low = guid_compare(&f, &made) < 0 ? f : made;
	is_named(w, low, "F");
	assert_true(find_box(w->a, low)->selectable);
	assert_true(find_box(w->b, low)->selectable);
	assert_null(link_sync(&to_c));
	assert_null(link_compare(here, c));
	backend_close(c);
}

static void row_64_made_there(struct world *w)
{
	name_and_made_there(w, w->a, w->b);
}

static void row_64_made_here(struct world *w)
{
	name_and_made_there(w, w->b, w->a);
}

/* A third replica comes with the old mail: the new mailbox's name is no rename that brings it back. */
static void row_60_third(struct world *w)
{
	struct backend *c = backend_open_memory(3);
	struct link ac = {.b = {w->a, c}};
	base(w);
	assert_null(link_sync(&ac));
	delete_box(w->a, w->x);
	mkbox(w->a, "F");
	has(w->b, w->x, "unseen");
	in_step(w);
	for (int i = 0; i < 2; i++) {
		assert_null(link_sync(&ac));
		in_step(w);
	}
	assert_null(link_compare(w->a, c));
	is_gone(w, w->m);
	backend_close(c);
}

static void row_60_below(struct world *w)
{
	base(w);
	struct guid old = mkbox_in(w->a, w->x, "sub");
	in_step(w);
	delete_box(w->a, old);
	delete_box(w->a, w->x);
	w->p = mkbox(w->a, "F");
	struct guid new = mkbox_in(w->a, w->p, "sub");
	w->n = has(w->b, old, "unseen");
	in_step(w);
	struct guid low = guid_compare(&old, &new) < 0 ? old : new;
	is_named(w, low, "F/sub");
	is_in(w, w->n, low);
	assert_int_equal(n_boxes(w), 4);
}

static void row_60_renamed_onto(struct world *w)
{
	base(w);
	w->o = has(w->a, w->y, "o"); /* in neither side's news at the end */
	in_step(w);
	delete_box(w->a, w->x);
	rename_to(w->a, w->y, "F");
	w->n = has(w->b, w->x, "unseen");
	in_step(w);
	is_named(w, w->y, "F");
	is_in(w, w->o, w->y);
	is_in(w, w->n, w->x);
	is_gone(w, w->m);
	assert_true(strncmp(find_box(w->a, w->x)->part, "F-", 2) == 0);
}

/* Who has the unseen mail had the other mailbox beside it: neither was made in place of the other. */
static void row_60_beside(struct world *w)
{
	base(w);
	rename_to(w->a, w->x, "H");
	delete_box(w->a, w->x);
	w->n = has(w->b, w->x, "unseen");
	w->p = mkbox(w->b, "H");
	w->o = has(w->b, w->p, "o");
	in_step(w);
	is_named(w, w->p, "H");
	is_in(w, w->o, w->p);
	is_in(w, w->n, w->x);
	is_gone(w, w->m);
	assert_true(strncmp(find_box(w->a, w->x)->part, "H-", 2) == 0);
}

static void deleted_with_unseen_mail(struct world *w)
{
	base(w);
	delete_box(w->a, w->x);
	w->n = has(w->b, w->x, "unseen");
	in_step(w);
	is_named(w, w->x, "F");
	is_in(w, w->n, w->x);
	is_gone(w, w->m);
	delete_box(w->a, w->x); /* now it was seen */
	in_step(w);
	is_deleted(w, w->x);
	is_gone(w, w->n);
}

static void row_61(struct world *w)
{
	base(w);
	delete_box(w->a, w->x);
	in_step(w);
	is_deleted(w, w->x);
	is_gone(w, w->m);
	assert_int_equal(w->link.notices, 0);
}

static void row_62(struct world *w)
{
	base(w);
	delete_box(w->a, w->x);
	flag(w->b, w->m, FLAG_SEEN);
	in_step(w);
	is_deleted(w, w->x);
	is_gone(w, w->m);
}

static void row_63(struct world *w)
{
	base(w);
	delete_box(w->a, w->x);
	delete_box(w->b, w->x);
	in_step(w);
	is_deleted(w, w->x);
	is_gone(w, w->m);
	assert_int_equal(w->link.notices, 0);
}

static void row_64(struct world *w)
{
	base(w);
	struct guid sub = mkbox_in(w->a, w->x, "sub");
	w->n = has(w->a, sub, "n");
	in_step(w);
	delete_box(w->a, w->x);
	in_step(w);
	is_noselect(w, w->x);
	is_named(w, sub, "F/sub");
	is_in(w, w->n, sub);
	is_gone(w, w->m);
	assert_int_equal(w->link.notices, 0);
	delete_box(w->b, sub);
	in_step(w);
	is_deleted(w, sub);
	is_deleted(w, w->x);
}

static void row_64_made_again(struct world *w)
{
	base(w);
	struct guid sub = mkbox_in(w->a, w->x, "sub");
	in_step(w);
	delete_box(w->a, w->x);
	in_step(w);
	w->p = mkbox(w->b, "F");
	in_step(w);
	assert_memory_equal(&w->p, &w->x, sizeof(w->p));
	is_named(w, w->x, "F");
	is_named(w, sub, "F/sub");
}

static void child_made_in_deleted(struct world *w)
{
	base(w);
	delete_box(w->a, w->x);
	struct guid sub = mkbox_in(w->b, w->x, "sub");
	in_step(w);
	is_noselect(w, w->x);
	is_named(w, sub, "F/sub");
}

static void moved_out_of_deleted(struct world *w)
{
	base(w);
	move(w->b, w->m, w->y);
	delete_box(w->a, w->x);
	in_step(w);
	is_deleted(w, w->x);
	is_in(w, w->m, w->y);
}

static void kept_then_renamed(struct world *w)
{
	base(w);
	delete_box(w->a, w->x);
	w->n = has(w->b, w->x, "unseen");
	in_step(w);
	rename_to(w->b, w->x, "G"); /* this one knew of the delete */
	flag(w->b, w->n, FLAG_SEEN);
	w->link.full = true;
	in_step(w);
	is_named(w, w->x, "G");
	is_in(w, w->n, w->x);
	is_gone(w, w->m);
}

static void only_the_deleter_had_it(struct world *w)
{
	base(w);
	rename_to(w->b, w->x, "G");
	w->n = has(w->a, w->x, "n");
	delete_box(w->a, w->x);
	in_step(w);
	is_in(w, w->m, w->x);
	is_gone(w, w->n);
}

static struct row rows[] = {
	{"42: moved into a mailbox that was deleted there: it is kept with that mail", row_42},
	{"52: renamed here, deleted there: renamed, with its mail", row_52},
	{"52: what was expunged before the delete stays so", row_52_expunged_before},
	{"52: renamed and deleted here, deleted there: deleted", row_52_then_deleted},
	{"52: mail that only the deleter had stays expunged", only_the_deleter_had_it},
	{"deleted, kept for unseen mail, renamed: what was deleted stays so", kept_then_renamed},
	{"59: deleted and made again: another mailbox, old mail gone", row_59},
	{"60: so, and new mail in the old one there: it is in the new one", row_60},
	{"60: so, and a third replica that still has the old mail", row_60_third},
	{"60: so, one level down", row_60_below},
	{"60: another mailbox has the name by now: both, one with a suffix", row_60_renamed_onto},
	{"60: that name is of one that was made beside it: both, one with a suffix", row_60_beside},
	{"deleted here, new mail there: kept, with the new mail only", deleted_with_unseen_mail},
	{"61: deleted with its mail: deleted", row_61},
	{"62: deleted here, flags there: deleted", row_62},
	{"63: deleted on both sides: deleted, nothing to say", row_63},
	{"64: a parent deleted: a name above its children, as long as there are", row_64},
	{"64: the parent made again: the same mailbox", row_64_made_again},
	{"64, 65: the parent made on the other side: a mailbox on both", row_64_made_there},
	{"64, 65: so, from the other side", row_64_made_here},
	{"deleted here, a child made there: a name above it", child_made_in_deleted},
	{"mail moved out of a mailbox that was deleted there: where it was moved to",
	 moved_out_of_deleted},
};

int main(void)
{
	return world_rows("merge-life", rows, sizeof(rows) / sizeof(rows[0]));
}
