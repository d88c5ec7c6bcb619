/*
 * test-memory-user.c - what users do to the replica in memory, and what it refuses.
 */
#include "backends/base/mem.h"
#include "tests/support/world.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#define INBOX GUID_INBOX

static void mailboxes(struct world *w)
{
	struct guid none = guid_new(), got;
	w->x = mkbox(w->a, "X");
	w->y = mkbox_in(w->a, w->x, "Y");
	assert_int_equal(memory_create(w->a, &GUID_ZERO, "X", &got), -EEXIST);
	assert_int_equal(memory_create(w->a, &none, "Z", &got), -ENOENT);
	assert_int_equal(memory_rename(w->a, &INBOX, &GUID_ZERO, "Old"), -EINVAL);
	assert_int_equal(memory_rename(w->a, &w->x, &w->y, "X"), -EINVAL);
	assert_int_equal(memory_rename(w->a, &w->y, &GUID_ZERO, "X"), -EEXIST);
	assert_int_equal(memory_delete(w->a, &INBOX), -EINVAL);
	delete_box(w->a, w->y);
	assert_int_equal(memory_delete(w->a, &w->y), -ENOENT);
	assert_int_equal(memory_subscribe(w->a, &w->y, true), -ENOENT);
}

static void renames_keep_the_old_name(struct world *w)
{
	w->x = mkbox(w->a, "X");
	w->y = mkbox(w->a, "Y");
	move_box(w->a, w->x, w->y, "Z");
	const struct mailbox *box = find_box(w->a, w->x);
	assert_string_equal(box->old_part, "X");
	assert_true(guid_is_zero(&box->old_parent));
	assert_true(stamp_compare(&box->named_at, &box->born) > 0);
}

static void a_delete_expunges(struct world *w)
{
	w->x = mkbox(w->a, "X");
	w->m = has(w->a, w->x, "m");
	delete_box(w->a, w->x);
	const struct copy *c = find_copy(w->a, w->m, 0);
	assert_false(copy_alive(c));
	assert_memory_equal(&c->via, &w->x, sizeof(w->x));
	assert_int_equal(stamp_compare(&c->via_seen, &find_box(w->a, w->x)->named_at), 0);
}

static void messages(struct world *w)
{
	uint64_t id;
	w->x = mkbox(w->a, "X");
	w->m = has(w->a, INBOX, "m");
	move(w->a, w->m, w->x);
	assert_int_equal(memory_move(w->a, &w->m, 0, &w->x), -EEXIST);
	assert_int_equal(memory_copy(w->a, &w->m, 0, &w->x, &id), 0);
	assert_int_equal(find_copy(w->a, w->m, id)->place.uid, 2);
	expunge_copy(w->a, w->m, id);
	assert_int_equal(memory_restore(w->a, &w->m, 0), -EEXIST);
	assert_int_equal(memory_keyword(w->a, &w->m, 0, "no good", true), -EINVAL);
	expunge(w->a, w->m);
	assert_int_equal(memory_expunge(w->a, &w->m, 0), -ENOENT);
	assert_int_equal(memory_flags(w->a, &w->m, 0, 1, 0), -ENOENT);
	assert_int_equal(memory_move(w->a, &w->m, 0, &INBOX), -ENOENT);
	restore(w->a, w->m);
	assert_int_equal(find_copy(w->a, w->m, 0)->place.uid, 3);
}

static void flags_that_are_so_get_no_stamp(struct world *w)
{
	w->m = has(w->a, INBOX, "m");
	flag(w->a, w->m, FLAG_SEEN);
	struct stamp at = find_copy(w->a, w->m, 0)->flags.at[FLAG_SEEN];
	flag(w->a, w->m, FLAG_SEEN);
	struct stamp again = find_copy(w->a, w->m, 0)->flags.at[FLAG_SEEN];
	assert_int_equal(stamp_compare(&at, &again), 0);
}

static void edits(struct world *w)
{
	w->m = has(w->a, INBOX, "m");
	flag(w->a, w->m, FLAG_SEEN);
	w->n = edit(w->a, w->m, "edited");
	const struct copy *old = find_copy(w->a, w->m, 0), *new = find_copy(w->a, w->n, 0);
	assert_false(copy_alive(old));
	assert_int_equal(stamp_compare(&old->dead_at, &new->place.at), 0);
	assert_string_equal(old->place.base, new->place.base);
	assert_true(flags_equal(&old->flags, &new->flags));
	assert_int_equal(new->size, 6);
}

static struct row rows[] = {
	{"mailboxes: made, renamed, deleted, or refused", mailboxes},
	{"a rename keeps the old name", renames_keep_the_old_name},
	{"a delete expunges, and says by which mailbox", a_delete_expunges},
	{"messages: moved, copied, expunged, restored, or refused", messages},
	{"a flag that is set already gets no stamp", flags_that_are_so_get_no_stamp},
	{"an edit is one record: a new message, the old one expunged", edits},
};

int main(void)
{
	return world_rows("memory-user", rows, sizeof(rows) / sizeof(rows[0]));
}
