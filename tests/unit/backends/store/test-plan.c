/* test-plan.c - a peer's change made as a system call by the reconciler's process. */
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
#include <sys/stat.h>

#define RECONCILER 4242

static void step_free(struct store_step *step)
{
	free(step->from);
	free(step->to);
	*step = (struct store_step){0};
}

/* The system call that the step says, by process `pid`. */
static int do_step(struct store_dir *d, const struct store_step *step, uint32_t pid)
{
	struct origin who = {.pid = pid, .comm = "reconciler"};

	switch (step->op) {
	case STEP_RENAME:
		return store_rename(d->s, step->from, step->to, 0, &who);
	case STEP_UNLINK:
		return store_unlink(d->s, step->from, &who);
	case STEP_MKDIR:
		return store_mkdir(d->s, step->from, 0700, &who);
	case STEP_RMDIR:
		return store_rmdir(d->s, step->from, &who);
	default:
		return 0;
	}
}

static void arrival(struct store_dir *d, struct record *r, struct store_step *step)
{
	struct guid g = guid_new();

	peer_copy(r, &g, &GUID_INBOX, "hello");
	peer_stage(d, "0123456789abcdef", "hello");
	assert_int_equal(store_plan(d->s, r, "0123456789abcdef", RECONCILER, step), 0);
}

static void an_arrival_is_a_rename_of_a_hidden_name(void **state)
{
	struct store_dir *d = *state;
	struct store_step step = {0};
	struct entry e = {0};
	struct record r;
	struct stat st;

	arrival(d, &r, &step);
	assert_int_equal(step.op, STEP_RENAME);
	assert_string_equal(step.from, STORE_TOKEN_PREFIX "0123456789abcdef");
	assert_int_equal(store_token_stat(d->s, step.from, &st), 0);
	assert_int_equal(st.st_size, 5);
	assert_true(do_step(d, &step, RECONCILER) >= 0);
	store_find(d, strrchr(step.to, '/') + 1, &e);
	assert_true(guid_equal(&e.copy.guid, &r.copy.guid)); /* no new message: the peer's */
	entry_release(&e);
	assert_text(d, step.to, "hello");
	assert_int_equal(store_token_stat(d->s, step.from, &st), -ENOENT);
	step_free(&step);
	record_release(&r);
	store_consistent(d);
}

static void another_process_is_a_local_program(void **state)
{
	struct store_dir *d = *state;
	struct store_step step = {0};
	struct record r;

	arrival(d, &r, &step);
	assert_int_equal(do_step(d, &step, RECONCILER + 1), -ENOENT);
	assert_list(d, "");
	assert_true(do_step(d, &step, RECONCILER) >= 0);
	assert_int_equal(do_step(d, &step, RECONCILER), -ENOENT); /* once */
	step_free(&step);
	record_release(&r);
}

static void a_forgotten_step_dies(void **state)
{
	struct store_dir *d = *state;
	struct store_step step = {0};
	struct record r;

	arrival(d, &r, &step);
	d->s->expected->at_ns -= STEP_LIFE_NS + 1;
	assert_int_equal(do_step(d, &step, RECONCILER), -ENOENT);
	assert_list(d, "");
	step_free(&step);
	record_release(&r);
}

static void set_seen(struct copy *c)
{
	flags_put(&c->flags, FLAG_SEEN, true, peer_stamp(5));
}

static void expunge(struct copy *c)
{
	c->dead = c->place.at;
	c->dead_at = peer_stamp(6);
}

static void plan_change(struct store_dir *d, const char *name, void (*fn)(struct copy *c),
			struct record *r, struct store_step *step)
{
	struct entry e = {0};

	store_find(d, name, &e);
	*r = (struct record){.type = REC_COPY_STATE, .origin = {.replica = 0x9999}};
	copy_clone(&r->copy, &e.copy);
	entry_release(&e);
	fn(&r->copy);
	assert_int_equal(store_plan(d->s, r, NULL, RECONCILER, step), 0);
}

static void flags_and_expunges(void **state)
{
	struct store_dir *d = *state;
	struct store_step step = {0};
	struct record r;

	store_deliver(d, "", "1.x", "a");
	plan_change(d, "1.x", set_seen, &r, &step);
	assert_int_equal(step.op, STEP_RENAME);
	assert_string_equal(step.from, "new/1.x");
	assert_string_equal(step.to, "cur/1.x:2,S");
	assert_true(do_step(d, &step, RECONCILER) >= 0);
	assert_int_equal(log_last(d), REC_FLAGS);
	record_release(&r);
	step_free(&step);
	plan_change(d, "1.x:2,S", set_seen, &r, &step); /* already so */
	assert_int_equal(step.op, STEP_NONE);
	record_release(&r);
	plan_change(d, "1.x:2,S", expunge, &r, &step);
	assert_int_equal(step.op, STEP_UNLINK);
	assert_true(do_step(d, &step, RECONCILER) >= 0);
	assert_list(d, "");
	assert_int_equal(deleted_count(d), 1);
	record_release(&r);
	step_free(&step);
}

static int log_count(struct store_dir *d)
{
	return (int)d->s->appended;
}

/* The kernel makes a call twice, or it comes when its step is forgotten: never a local change. */
static void what_is_no_step_of_a_planner_is_refused(void **state)
{
	static const struct origin planner = {.pid = RECONCILER, .comm = "mailbraid"};
	struct store_dir *d = *state;
	struct store_step step = {0};
	struct record r;
	int logged;

	store_deliver(d, "", "1.x", "a");
	store_deliver(d, "", "2.x", "b");
	store_planner(d->s, RECONCILER, 1);
	store_planner(d->s, RECONCILER, 1);
	store_planner(d->s, 0, 1);
	plan_change(d, "1.x", set_seen, &r, &step);
	assert_true(do_step(d, &step, RECONCILER) >= 0);
	logged = log_count(d);
	assert_int_equal(do_step(d, &step, RECONCILER), -EBUSY);
	assert_int_equal(store_unlink(d->s, "new/2.x", &planner), -EBUSY);
	assert_int_equal(store_rename(d->s, "new/2.x", "cur/2.x:2,", 0, &planner), -EBUSY);
	assert_int_equal(store_link(d->s, "new/2.x", "cur/3.x:2,", &planner), -EBUSY);
	assert_int_equal(store_mkdir(d->s, ".F", 0700, &planner), -EBUSY);
	assert_int_equal(store_rmdir(d->s, "tmp", &planner), -EBUSY);
	assert_int_equal(log_count(d), logged);
	assert_list(d, "INBOX/cur/1.x:2,S | INBOX/new/2.x");
	assert_int_equal(store_rename(d->s, "new/2.x", "cur/2.x:2,", 0, &(struct origin){0}), 0);
	store_planners_end(d->s, 2);
	assert_int_equal(store_unlink(d->s, "cur/2.x:2,", &planner), -EBUSY);
	store_planners_end(d->s, 1);
	assert_int_equal(store_unlink(d->s, "cur/2.x:2,", &planner), 0); /* another's pid now */
	record_release(&r);
	step_free(&step);
}

static void an_edit_outlives_the_second_call_of_an_expunge(void **state)
{
	struct store_dir *d = *state;
	struct store_step step = {0};
	struct entry e = {0};
	struct record r;

	store_deliver(d, "", "1.x", "a");
	store_planner(d->s, RECONCILER, 1);
	plan_change(d, "1.x", expunge, &r, &step);
	assert_int_equal(store_before_write(d->s, "new/1.x", false), 0);
	outside_write(d, "new/1.x", "edited");
	assert_int_equal(do_step(d, &step, RECONCILER), -ESTALE);
	assert_int_equal(do_step(d, &step, RECONCILER), -EBUSY); /* the kernel's */
	assert_list(d, "INBOX/new/1.x");
	assert_text(d, "new/1.x", "edited");
	store_find(d, "1.x", &e);
	assert_false(guid_equal(&e.copy.guid, &r.copy.guid));
	assert_true(copy_alive(&e.copy));
	assert_int_equal(log_last(d), REC_EDIT);
	entry_release(&e);
	record_release(&r);
	step_free(&step);
}

/* A program was faster: the peer's stamp decides, the call does not destroy what is there now. */
static void a_local_change_between_plan_and_call(void **state)
{
	struct store_dir *d = *state;
	struct store_step step = {0};
	struct record r;

	store_deliver(d, "", "1.x", "a");
	plan_change(d, "1.x", set_seen, &r, &step);
	assert_int_equal(store_move(d, "new/1.x", "cur/1.x:2,F"), 0);
	do_step(d, &step, RECONCILER);
	store_consistent(d);
	step_free(&step);
	assert_int_equal(store_plan(d->s, &r, NULL, RECONCILER, &step), 0);
	assert_true(do_step(d, &step, RECONCILER) >= 0);
	assert_list(d, "INBOX/cur/1.x:2,FS");
	store_consistent(d);
	step_free(&step);
	record_release(&r);
}

static void mailboxes(void **state)
{
	struct store_dir *d = *state;
	struct store_step step = {0};
	struct guid g = guid_new();
	struct record r;

	peer_mailbox(&r, &g, "Lists");
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 20; i++) { /* one call at a time, until nothing is left */
			assert_true(store_plan(d->s, &r, NULL, RECONCILER, &step) >= 0);
			if (step.op == STEP_NONE)
				break;
			assert_true(do_step(d, &step, RECONCILER) >= 0);
			step_free(&step);
		}
		assert_int_equal(step.op, STEP_NONE);
		if (round == 0) {
			assert_true(tree_has(d, ".Lists/cur") && store_has_box(d, "Lists"));
			free(r.mailbox.part);
			r.mailbox.part = mb_xstrdup("News");
			r.mailbox.named_at = peer_stamp(5);
		} else if (round == 1) {
			assert_true(tree_has(d, ".News/cur") && store_has_box(d, "News"));
			r.mailbox.dead = mailbox_seen(&r.mailbox);
			r.mailbox.dead_at = peer_stamp(6);
		}
	}
	assert_false(tree_has(d, ".News"));
	assert_false(store_has_box(d, "News"));
	record_release(&r);
	store_consistent(d);
}

static void a_change_without_a_visible_step_is_put_at_once(void **state)
{
	struct store_dir *d = *state;
	struct record r = {.type = REC_PEER};
	struct store_step step = {0};

	r.peer.replica = 42;
	r.peer.destination = mb_xstrdup("store:/x");
	assert_int_equal(store_plan(d->s, &r, NULL, RECONCILER, &step), 1);
	assert_int_equal(step.op, STEP_NONE);
	assert_int_equal(log_last(d), REC_PEER);
	record_release(&r);
}

static void tokens_stay_in_staging(void **state)
{
	struct store_dir *d = *state;
	struct stat st;

	assert_int_equal(store_token_stat(d->s, "config", &st), -ENOENT);
	assert_int_equal(store_token_stat(d->s, STORE_TOKEN_PREFIX, &st), -ENOENT);
	assert_int_equal(store_token_stat(d->s, STORE_TOKEN_PREFIX "../config", &st), -ENOENT);
	assert_int_equal(store_token_stat(d->s, STORE_TOKEN_PREFIX "..", &st), -ENOENT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(an_arrival_is_a_rename_of_a_hidden_name),
		TEST(another_process_is_a_local_program),
		TEST(a_forgotten_step_dies),
		TEST(flags_and_expunges),
		TEST(what_is_no_step_of_a_planner_is_refused),
		TEST(an_edit_outlives_the_second_call_of_an_expunge),
		TEST(a_local_change_between_plan_and_call),
		TEST(mailboxes),
		TEST(a_change_without_a_visible_step_is_put_at_once),
		TEST(tokens_stay_in_staging),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
