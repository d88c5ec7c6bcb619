/*
 * test-memory-life.c - restarts, a log that was cut short, backups: which positions hold then.
 */
#include "backends/base/err.h"
#include "tests/support/world.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static struct position end_of(struct backend *b)
{
	struct position p;
	assert_int_equal(b->ops->position(b, &p), 0);
	return p;
}

static size_t n_news(struct backend *b, const struct position *since)
{
	struct change_set set;
	assert_int_equal(b->ops->changes(b, since, 0, &set), 0);
	size_t n = set.n_messages;
	change_set_release(&set);
	return n;
}

static void is_not_held(struct backend *b, const struct position *p)
{
	struct change_set set;
	assert_int_equal(b->ops->changes(b, p, 0, &set), MB_E_POSITION);
}

static void positions_outlive_a_restart(struct world *w)
{
	struct position before = end_of(w->a);
	memory_restart(w->a);
	struct position after = end_of(w->a);
	assert_int_equal(after.sequence, before.sequence + 1);
	has(w->a, GUID_INBOX, "m");
	assert_int_equal(n_news(w->a, &before), 1);
	assert_int_equal(n_news(w->a, &after), 1);
}

static void a_log_that_was_cut_holds_what_comes_after(struct world *w)
{
	struct position old = end_of(w->a);
	has(w->a, GUID_INBOX, "m");
	struct position cut = end_of(w->a);
	memory_drop_log(w->a);
	/* As in a store: the file that gave it is no longer the one that is written. */
	assert_true(end_of(w->a).sequence > cut.sequence);
	has(w->a, GUID_INBOX, "n");
	is_not_held(w->a, &old);
	assert_int_equal(n_news(w->a, &cut), 1);
}

static void a_backup_never_gave_later_positions(struct world *w)
{
	w->m = has(w->a, GUID_INBOX, "m");
	struct position common = end_of(w->a);
	struct backend *backup = memory_backup(w->a);
	w->n = has(w->a, GUID_INBOX, "n");
	struct position later = end_of(w->a);
	has(backup, GUID_INBOX, "other");
	assert_null(memory_find(backup, &w->n));
	assert_non_null(memory_find(backup, &w->m));
	assert_int_equal(n_news(backup, &common), 1);
	is_not_held(backup, &later);
	backend_close(backup);
}

static struct row rows[] = {
	{"positions outlive a restart", positions_outlive_a_restart},
	{"a log that was cut holds what comes after", a_log_that_was_cut_holds_what_comes_after},
	{"a backup never gave later positions", a_backup_never_gave_later_positions},
};

int main(void)
{
	return world_rows("memory-life", rows, sizeof(rows) / sizeof(rows[0]));
}
