/*
 * test-memory-alias.c - a message becomes another: it answers to both names, with all its copies.
 */
#include "backends/memory.h"
#include "tests/support/world.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define INBOX GUID_INBOX

static void aliases(struct world *w)
{
	struct message msg;
	struct record r = {.type = REC_ALIAS};
	w->m = has(w->a, INBOX, "m");
	r.old_guid = w->m;
	r.copy.guid = w->n = guid_new();
	assert_int_equal(w->a->ops->put(w->a, &r, -1), 1);
	assert_int_equal(w->a->ops->put(w->a, &r, -1), 0);
	assert_null(memory_find(w->a, &w->m));
	assert_non_null(memory_find(w->a, &w->n));
	w->a->ops->message(w->a, &w->m, &msg); /* still answers to the old name */
	assert_memory_equal(&msg.guid, &w->n, sizeof(w->n));
	message_release(&msg);
}

static void all_copies(struct world *w)
{
	struct record r = {.type = REC_ALIAS};
	struct guid m = has(w->a, INBOX, "m"), n = has(w->a, INBOX, "n");
	uint64_t listed = copy(w->a, m, INBOX), other = copy(w->a, m, INBOX);
	r.old_guid = m;
	r.old_id = listed;
	r.copy.guid = n;
	assert_true(record_add_further(&r, 0, 77));
	expunge_copy(w->a, m, 0);
	assert_int_equal(w->a->ops->put(w->a, &r, -1), 1);
	assert_null(memory_find(w->a, &m));
	assert_int_equal(memory_find(w->a, &n)->n, 3);
	assert_true(copy_alive(find_copy(w->a, n, 0))); /* joined with its own */
	assert_false(copy_alive(find_copy(w->a, n, 77)));
	assert_true(copy_alive(find_copy(w->a, n, other))); /* not listed: it keeps its id */
	record_release(&r);
}

static struct row rows[] = {
	{"it answers to both names", aliases},
	{"all copies at once", all_copies},
};

int main(void)
{
	return world_rows("memory-alias", rows, sizeof(rows) / sizeof(rows[0]));
}
