/* test-put-step.c - a put does what its system call says, or nothing. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <string.h>

#define RECONCILER 4242
#define TOKEN "0123456789abcdef"

static const struct origin reconciler = {.pid = RECONCILER, .comm = "mailbraid"};

static void step_free(struct store_step *step)
{
	free(step->from);
	free(step->to);
	*step = (struct store_step){0};
}

/* What the peer wants of the message `name`: r, and the call for it. */
static void plan(struct store_dir *d, const struct record *r, struct store_step *ret)
{
	assert_true(store_plan(d->s, r, NULL, RECONCILER, ret) >= 0);
}

static void want(struct store_dir *d, const char *name, struct record *r)
{
	struct entry e = {0};

	store_find(d, name, &e);
	*r = (struct record){.type = REC_COPY_STATE, .origin = {.replica = 0x9999}};
	copy_clone(&r->copy, &e.copy);
	entry_release(&e);
}

static void want_expunge(struct store_dir *d, const char *name, struct record *r)
{
	want(d, name, r);
	r->copy.dead = r->copy.place.at;
	r->copy.dead_at = peer_stamp(6);
}

static void want_seen(struct store_dir *d, const char *name, struct record *r)
{
	want(d, name, r);
	flags_put(&r->copy.flags, FLAG_SEEN, true, peer_stamp(5));
}

static void rewrite(struct store_dir *d, const char *path, const char *text)
{
	assert_int_equal(store_before_write(d->s, path, true), 0);
	outside_write(d, path, text);
}

static void settle(struct store_dir *d, const char *path)
{
	assert_int_equal(store_settled(d->s, path, &d->me), 0);
}

static void an_edit_settled_before_the_rename_keeps_its_name(void **state)
{
	struct store_dir *d = *state;
	struct store_step step = {0};
	struct record r;

	store_deliver(d, "", "1.x", "before");
	want_seen(d, "1.x", &r);
	plan(d, &r, &step);
	assert_string_equal(step.from, "new/1.x");
	rewrite(d, "new/1.x", "after");
	settle(d, "new/1.x");
	assert_int_equal(store_rename(d->s, step.from, step.to, 0, &reconciler), -ESTALE);
	assert_list(d, "INBOX/new/1.x");
	assert_text(d, "new/1.x", "after");
	step_free(&step);
	plan(d, &r, &step); /* of a message that is an edit's old one by now */
	assert_int_equal(step.op, STEP_NONE);
	assert_text(d, "new/1.x", "after");
	step_free(&step);
	record_release(&r);
	store_consistent(d);
}

static void an_edit_settled_before_the_unlink_stays(void **state)
{
	struct store_dir *d = *state;
	struct store_step step = {0};
	struct record r;

	store_deliver(d, "", "1.x", "before");
	want_expunge(d, "1.x", &r);
	plan(d, &r, &step);
	assert_int_equal(step.op, STEP_UNLINK);
	rewrite(d, "new/1.x", "after");
	settle(d, "new/1.x");
	assert_int_equal(store_unlink(d->s, step.from, &reconciler), -ESTALE);
	assert_list(d, "INBOX/new/1.x");
	step_free(&step);
	record_release(&r);
	store_consistent(d);
}

/* The store settles it by itself, and says so to whoever goes on writing. */
static void an_edit_that_an_expunge_cuts_is_told(void **state)
{
	struct store_dir *d = *state;
	uint64_t before = store_edits_cut(d->s);
	struct store_step step = {0};
	struct record r;

	store_deliver(d, "", "1.x", "before");
	want_expunge(d, "1.x", &r);
	plan(d, &r, &step);
	rewrite(d, "new/1.x", "half");
	settle(d, "new/1.x");
	assert_int_equal(store_edits_cut(d->s), before); /* by the program itself */
	step_free(&step);
	record_release(&r);
	want_expunge(d, "1.x", &r);
	plan(d, &r, &step);
	rewrite(d, "new/1.x", "half, and more");
	assert_int_equal(store_unlink(d->s, step.from, &reconciler), -ESTALE);
	assert_int_equal(store_edits_cut(d->s), before + 1);
	rewrite(d, "new/1.x", "half, and more, and the rest");
	settle(d, "new/1.x");
	assert_text(d, "new/1.x", "half, and more, and the rest");
	assert_int_equal(log_last(d), REC_EDIT);
	assert_int_equal(deleted_count(d), 3); /* each that was a message */
	assert_int_equal(staging_count(d), 0);
	step_free(&step);
	record_release(&r);
	store_consistent(d);
}

static void one_that_came_another_way_needs_no_token(void **state)
{
	struct store_dir *d = *state;
	struct store_step step = {0};
	struct guid g = guid_new();
	struct record r;

	peer_copy(&r, &g, &GUID_INBOX, "hello");
	peer_stage(d, TOKEN, "hello");
	assert_int_equal(store_plan(d->s, &r, TOKEN, RECONCILER, &step), 0);
	peer_stage(d, "fedcba9876543210", "hello");
	assert_int_equal(store_put(d->s, &r, "fedcba9876543210"), 1);
	assert_int_equal(store_rename(d->s, step.from, step.to, 0, &reconciler), -ESTALE);
	assert_int_equal(staging_count(d), 1); /* the token is as it was */
	step_free(&step);
	plan(d, &r, &step);
	assert_int_equal(step.op, STEP_NONE);
	record_release(&r);
	store_consistent(d);
}

static void one_that_a_program_moved_is_not_where_the_call_says(void **state)
{
	struct store_dir *d = *state;
	struct store_step step = {0};
	struct record r;

	store_make_box(d, ".A");
	store_deliver(d, "", "1.x", "a");
	want_seen(d, "1.x", &r);
	plan(d, &r, &step);
	assert_int_equal(store_move(d, "new/1.x", ".A/cur/1.x:2,"), 0);
	assert_int_equal(store_rename(d->s, step.from, step.to, 0, &reconciler), -ESTALE);
	assert_list(d, "A/cur/1.x:2,");
	step_free(&step);
	plan(d, &r, &step);
	assert_string_equal(step.from, ".A/cur/1.x:2,");
	assert_true(store_rename(d->s, step.from, step.to, 0, &reconciler) >= 0);
	assert_list(d, "A/cur/1.x:2,S");
	step_free(&step);
	record_release(&r);
	store_consistent(d);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(an_edit_settled_before_the_rename_keeps_its_name),
		TEST(an_edit_settled_before_the_unlink_stays),
		TEST(an_edit_that_an_expunge_cuts_is_told),
		TEST(one_that_came_another_way_needs_no_token),
		TEST(one_that_a_program_moved_is_not_where_the_call_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
