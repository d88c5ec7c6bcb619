/* test-put-behind.c - a peer's change of a message whose file was changed behind our back meanwhile. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/err.h"
#include <stdio.h>

static void set_seen(struct copy *c)
{
	flags_put(&c->flags, FLAG_SEEN, true, peer_stamp(5));
}

static void expunge(struct copy *c)
{
	c->dead = c->place.at;
	c->dead_at = peer_stamp(6);
}

/* Somebody else changed the name a moment ago: nothing is logged that is not so. */
static void a_file_that_is_elsewhere_is_stale(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;
	struct guid g;

	store_deliver(d, "", "1.x", "a");
	g = store_guid(d, "1.x");
	outside_rename(d, "new/1.x", "cur/1.x:2,F");
	assert_int_equal(peer_change(d, &g, set_seen), MB_E_STALE);
	assert_int_equal(peer_change(d, &g, expunge), MB_E_STALE);
	store_dir_rescan(d, &r);
	assert_list(d, "INBOX/cur/1.x:2,F");
	assert_int_equal(peer_change(d, &g, set_seen), 1);
	assert_list(d, "INBOX/cur/1.x:2,FS");
	store_consistent(d);
}

/* It may be anywhere: the scan says what became of it. */
static void an_expunge_of_what_is_gone_waits_for_a_scan(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;
	struct guid g;

	store_deliver(d, "", "1.x", "a");
	g = store_guid(d, "1.x");
	outside_unlink(d, "new/1.x");
	assert_int_equal(peer_change(d, &g, expunge), MB_E_STALE);
	assert_int_equal(store_scan(d->s, false, &r), 0);
	assert_int_equal(r.expunged, 1);
	assert_list(d, "");
}

static void an_expunge_finds_the_mail_in_a_renamed_folder(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;
	struct guid g;

	store_make_box(d, ".A");
	store_deliver(d, ".A", "1.x", "a");
	g = store_guid(d, "1.x");
	outside_rename(d, ".A", ".B");
	assert_int_equal(peer_change(d, &g, expunge), MB_E_STALE);
	assert_int_equal(store_scan(d->s, false, &r), 0);
	assert_int_equal(r.arrived, 0);
	assert_list(d, "B/new/1.x");
	assert_int_equal(peer_change(d, &g, expunge), 1);
	assert_int_equal(store_scan(d->s, true, &r), 0);
	assert_int_equal(r.arrived, 0);
	assert_list(d, "");
	store_consistent(d);
}

/* The scan has looked for it everywhere, and will not say so by itself. */
static void an_expunge_of_what_the_guard_holds_is_logged(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;
	struct guid g;
	char name[16];

	store_make_box(d, ".A");
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "%d.x", i);
		store_deliver(d, ".A", name, name);
	}
	g = store_guid(d, "7.x");
	outside_remove(d, ".A/new");
	outside_mkdir(d, ".A/new");
	store_dir_rescan(d, &r);
	assert_int_equal(r.held, 20);
	assert_int_equal(peer_change(d, &g, expunge), 1);
	store_dir_rescan(d, &r);
	assert_int_equal(r.held, 19);
}

/* Row 29: no scan looks at contents each time, but before an expunge the file is looked at. */
static void a_file_written_in_place_is_looked_at_before_it_goes(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;
	struct guid g;

	store_deliver(d, "", "1.x", "before");
	g = store_guid(d, "1.x");
	store_dir_rescan(d, &r);
	outside_write(d, "new/1.x", "before and after");
	assert_int_equal(peer_change(d, &g, expunge), MB_E_STALE);
	assert_text(d, "new/1.x", "before and after");
	store_dir_rescan(d, &r);
	assert_int_equal(r.edited, 1);
	peer_change(d, &g, expunge); /* the old one, once more */
	assert_text(d, "new/1.x", "before and after");
	store_consistent(d);
}

static void a_touched_file_goes_after_a_look(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;
	struct guid g;

	store_deliver(d, "", "1.x", "body");
	g = store_guid(d, "1.x");
	outside_write(d, "new/1.x", "body");
	assert_int_equal(peer_change(d, &g, expunge), MB_E_STALE);
	store_dir_rescan(d, &r);
	assert_int_equal(r.edited, 0);
	assert_int_equal(peer_change(d, &g, expunge), 1);
	assert_list(d, "");
	store_consistent(d);
}

#define T(f) cmocka_unit_test_setup_teardown(f, store_dir_setup, store_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_file_that_is_elsewhere_is_stale),
		T(an_expunge_of_what_is_gone_waits_for_a_scan),
		T(an_expunge_finds_the_mail_in_a_renamed_folder),
		T(an_expunge_of_what_the_guard_holds_is_logged),
		T(a_file_written_in_place_is_looked_at_before_it_goes),
		T(a_touched_file_goes_after_a_look),
	};

	return cmocka_run_group_tests_name("put, behind our back", tests, NULL, NULL);
}
