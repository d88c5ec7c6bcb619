/* test-put-place.c - LAYOUT=fs: a mailbox gets a name whose directory is in its way. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/store/put-private.h"
#include <errno.h>
#include <string.h>

static struct store_dir *fresh(void **state)
{
	struct store_dir *d;

	store_dir_teardown(state);
	assert_int_equal(store_dir_setup_fs(state), 0);
	d = *state;
	assert_int_equal(store_mkdir(d->s, "F", 0700, &d->me), 0);
	store_make_box(d, "F/S");
	store_make_box(d, "F/S/U");
	store_make_box(d, "F/T");
	store_make_box(d, "Q");
	store_make_box(d, "Q/K");
	store_deliver(d, "F/S", "s.x", "s");
	store_deliver(d, "F/S/U", "u.x", "u");
	store_deliver(d, "F/T", "t.x", "t");
	store_deliver(d, "Q", "q.x", "q");
	store_deliver(d, "Q/K", "k.x", "k");
	return d;
}

/* The mailbox `from` is from now on `part` in `parent`. */
static int rename_to(struct store_dir *d, const char *from, struct guid parent, const char *part)
{
	struct record r = {.type = REC_MAILBOX_STATE, .origin = {.replica = 0x9999}};
	int err;

	store_get_box(d, from, &r.mailbox);
	free(r.mailbox.part);
	r.mailbox.part = mb_xstrdup(part);
	r.mailbox.parent = parent;
	r.mailbox.named_at = peer_stamp(5);
	err = store_put(d->s, &r, NULL);
	record_release(&r);
	return err;
}

static int to_its_parents_name(struct store_dir *d)
{
	return store_has_box(d, "F/S") ? rename_to(d, "F/S", GUID_ZERO, "F") : 0;
}

static int onto_a_name(struct store_dir *d)
{
	return store_has_box(d, "Q") ? rename_to(d, "Q", GUID_ZERO, "F") : 0;
}

/* A new parent of its old name, which is no mailbox. */
static int below_itself(struct store_dir *d)
{
	static const struct guid above = {{7, 7, 7}};
	struct record r;
	int err;

	if (!store_has_box(d, "Q"))
		return 0;
	struct guid q = store_box(d, "Q");

	if (store_has_box(d, "Q/C"))
		return 0;
	peer_mailbox(&r, &above, "Q0");
	r.mailbox.selectable = false;
	err = store_put(d->s, &r, NULL);
	if (err >= 0) {
		struct mailbox m = {0};

		store_get_box(d, "Q", &m);
		assert_true(guid_equal(&m.guid, &q));
		mailbox_release(&m);
		err = rename_to(d, "Q", above, "C");
	}
	if (err >= 0) {
		free(r.mailbox.part);
		r.mailbox.part = mb_xstrdup("Q");
		r.mailbox.named_at = peer_stamp(6);
		err = store_put(d->s, &r, NULL);
	}
	record_release(&r);
	return err;
}

static const struct {
	int (*fn)(struct store_dir *d);
	const char *list;
} changes[] = {
	{to_its_parents_name, "F/T/new/t.x | F/U/new/u.x | F/new/s.x | Q/K/new/k.x | Q/new/q.x"},
	{onto_a_name, "F/K/new/k.x | F/S/U/new/u.x | F/S/new/s.x | F/T/new/t.x | F/new/q.x"},
	{below_itself, "F/S/U/new/u.x | F/S/new/s.x | F/T/new/t.x | Q/C/K/new/k.x | Q/C/new/q.x"},
};

#define N_CHANGES (sizeof(changes) / sizeof(changes[0]))

static const char before[] = "F/S/U/new/u.x | F/S/new/s.x | F/T/new/t.x | Q/K/new/k.x | Q/new/q.x";

static int stray_one(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	(void)type, (void)ino, (void)arg;
	return strncmp(name, SWAP_PREFIX, strlen(SWAP_PREFIX)) == 0;
}

/* Each directory is where its name says, and nothing is on its way. */
static void check_dirs(struct store_dir *d)
{
	char *list = store_list(d);

	store_consistent(d);
	assert_int_equal(store_misplaced(d->s), 0);
	assert_int_equal(at_list(d->mail_fd, stray_one, NULL), 0);
	assert_int_equal(deleted_count(d), 0);
	for (char *p = list; p && *p; p = strstr(p, " | ") ? strstr(p, " | ") + 3 : NULL) {
		char *path = mb_xstrndup(p, strcspn(p, " "));

		assert_true(tree_has(d, path));
		free(path);
	}
	free(list);
}

static void each_is_made(void **state)
{
	for (size_t i = 0; i < N_CHANGES; i++) {
		struct store_dir *d = fresh(state);
		uint64_t n;

		assert_list(d, before);
		assert_int_equal(changes[i].fn(d), 1);
		assert_list(d, changes[i].list);
		check_dirs(d);
		n = log_records(d);
		store_dir_reopen(d);
		assert_list(d, changes[i].list);
		check_dirs(d);
		assert_int_equal(log_records(d), n);
	}
}

/* The first steps may come before anything is in the log: then nothing was changed. */
static void check_after_stop(struct store_dir *d, const char *after)
{
	struct scan_report report;
	char *list = store_list(d);
	bool undone = strcmp(list, before) == 0, other = !!strstr(list, "Q0");

	assert_true(undone || other || strcmp(list, after) == 0);
	free(list);
	check_dirs(d);
	store_dir_rescan(d, &report);
	assert_int_equal(report.records, 0);
}

static void a_kill_at_any_step_is_finished(void **state)
{
	for (size_t i = 0; i < N_CHANGES; i++) {
		bool killed = true;

		for (int n = 1; killed; n++) {
			struct store_dir *d = fresh(state);

			killed = store_dir_kill_at(d, n, changes[i].fn);
			store_dir_open(d);
			check_after_stop(d, changes[i].list);
			store_dir_reopen(d);
			check_after_stop(d, changes[i].list);
		}
	}
}

static void a_step_that_fails_is_made_later(void **state)
{
	for (size_t i = 0; i < N_CHANGES; i++) {
		bool hit = true;

		for (int n = 1; hit; n++) {
			struct store_dir *d = fresh(state);

			store_dir_fail_at(d, n, ENOSPC, changes[i].fn, &hit);
			store_consistent(d);
			store_dir_reopen(d);
			check_after_stop(d, changes[i].list);
		}
	}
}

/* A file of somebody in the new place: the directory stays, and that is told. */
static void what_nobody_knows_is_left_alone(void **state)
{
	struct store_dir *d = fresh(state);

	outside_write(d, "F/note.txt", "mine");
	assert_int_equal(to_its_parents_name(d), MB_E_STALE);
	assert_int_equal(store_misplaced(d->s), 1);
	assert_text(d, "F/note.txt", "mine");
	assert_text(d, "F/S/new/s.x", "s");
	assert_text(d, "F/T/new/t.x", "t");
	store_dir_reopen(d);
	assert_int_equal(store_misplaced(d->s), 1);
	assert_text(d, "F/S/new/s.x", "s");
	outside_unlink(d, "F/note.txt");
	store_dir_reopen(d);
	assert_list(d, changes[0].list);
	check_dirs(d);
}

/* What programs left in a folder that is only a name now goes with the name. */
static void droppings_are_not_in_the_way(void **state)
{
	struct store_dir *d = fresh(state);

	outside_write(d, "F/dovecot-uidlist", "3 V1 N1\n");
	outside_mkdir(d, "F/empty");
	assert_int_equal(to_its_parents_name(d), 1);
	assert_list(d, changes[0].list);
	assert_false(tree_has(d, "F/dovecot-uidlist"));
	assert_false(tree_has(d, "F/empty"));
	check_dirs(d);
}

static void a_name_may_be_spelled_otherwise(void **state)
{
	struct store_dir *d = *state;
	char *swap = mailbox_swap_dir(&GUID_INBOX);

	assert_true(mailbox_dir_says(d->s, "F/S", "F/S"));
	assert_false(mailbox_dir_says(d->s, "F/S", "F/T"));
	assert_true(mailbox_dir_says(d->s, "\\46", "F") ==
		    false); /* no escape that we would write */
	assert_false(mailbox_dir_says(d->s, swap, swap));
	free(swap);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup_fs, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(each_is_made),
		TEST(a_kill_at_any_step_is_finished),
		TEST(a_step_that_fails_is_made_later),
		TEST(what_nobody_knows_is_left_alone),
		TEST(droppings_are_not_in_the_way),
		TEST(a_name_may_be_spelled_otherwise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
