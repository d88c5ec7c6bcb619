/* test-lost.c - what is lost can be given up, and nothing else can. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/err.h"
#include "backends/store/store-private.h"
#include <errno.h>

static struct entry entry_of(struct store_dir *d, const struct guid *g)
{
	struct index_txn *tx;
	struct entry e = {0};

	assert_int_equal(index_begin(store_index(d->s), false, &tx), 0);
	assert_int_equal(index_get_entry(tx, g, 0, &e), 0);
	index_abort(tx);
	return e;
}

static int give_up(struct store_dir *d, const struct guid *g, uint64_t modseq)
{
	return store_expunge_lost(d->s, g, 0, modseq, &d->me);
}

static uint64_t modseq_of(struct store_dir *d, const struct guid *g)
{
	struct entry e = entry_of(d, g);
	uint64_t modseq = e.modseq;

	entry_release(&e);
	return modseq;
}

/* new/1.x is there, new/2.x is lost. */
static struct guid lose(struct store_dir *d)
{
	store_deliver(d, "", "1.x", "one");
	store_deliver(d, "", "2.x", "two");
	struct guid g = store_guid(d, "2.x");
	store_dir_close(d);
	outside_unlink(d, "new/2.x");
	store_dir_power_cut(d);
	store_dir_open(d);
	assert_list(d, "INBOX/new/1.x | INBOX/new/2.x lost");
	return g;
}

static void it_is_an_expunge(void **state)
{
	struct store_dir *d = *state;
	struct guid g = lose(d);

	assert_int_equal(give_up(d, &g, modseq_of(d, &g)), 0);
	assert_int_equal(log_last(d), REC_EXPUNGE);
	assert_list(d, "INBOX/new/1.x");
	struct entry e = entry_of(d, &g);
	assert_false(copy_alive(&e.copy));
	assert_int_equal(e.state, ENTRY_DEAD);
	entry_release(&e);
	assert_int_equal(deleted_count(d), 0);
	store_dir_close(d);
	store_dir_drop(d, "index");
	store_dir_open(d); /* the log knows it */
	assert_list(d, "INBOX/new/1.x");
	store_consistent(d);
}

static void what_is_there_is_not_touched(void **state)
{
	struct store_dir *d = *state;

	lose(d);
	struct guid g = store_guid(d, "1.x");
	assert_int_equal(give_up(d, &g, modseq_of(d, &g)), MB_E_STALE);
	struct guid none = {{7}};
	assert_int_equal(give_up(d, &none, 1), -ENOENT);
	assert_list(d, "INBOX/new/1.x | INBOX/new/2.x lost");
}

static void a_body_that_came_back_stays(void **state)
{
	struct store_dir *d = *state;
	struct guid g = lose(d);
	uint64_t seen = modseq_of(d, &g);
	struct scan_report r;

	outside_write(d, "new/2.x", "two");
	assert_int_equal(store_scan(d->s, true, &r), 0);
	assert_list(d, "INBOX/new/1.x | INBOX/new/2.x");
	assert_int_equal(give_up(d, &g, seen), MB_E_STALE);
	assert_int_equal(give_up(d, &g, modseq_of(d, &g)), MB_E_STALE);
	assert_list(d, "INBOX/new/1.x | INBOX/new/2.x");
	store_consistent(d);
}

static struct guid target;
static uint64_t target_modseq;

static int give_up_target(struct store_dir *d)
{
	return give_up(d, &target, target_modseq);
}

/* Before the record it is lost, after it expunged. */
static void cut_at_each_step(void **state)
{
	struct store_dir *d = *state;

	target = lose(d);
	for (int n = 1;; n++) {
		target_modseq = modseq_of(d, &target);
		bool cut = store_dir_kill_at(d, n, give_up_target);

		store_dir_open(d);
		struct entry e = entry_of(d, &target);
		bool lost = e.state == ENTRY_LOST;
		assert_true(lost || e.state == ENTRY_DEAD);
		entry_release(&e);
		if (!lost || !cut) {
			assert_list(d, "INBOX/new/1.x");
			break;
		}
		assert_list(d, "INBOX/new/1.x | INBOX/new/2.x lost");
	}
	store_consistent(d);
}

#define T(f) cmocka_unit_test_setup_teardown(f, store_dir_setup, store_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(it_is_an_expunge),
		T(what_is_there_is_not_touched),
		T(a_body_that_came_back_stays),
		T(cut_at_each_step),
	};

	return cmocka_run_group_tests_name("lost", tests, NULL, NULL);
}
