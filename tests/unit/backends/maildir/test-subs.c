/* Who is subscribed in the Maildir, and what of it is news to the local side. */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/maildir/maildir.h"
#include "tests/support/foreign.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static bool subscribed(struct foreign *f, const char *name)
{
	struct guid g = *name ? local_box(f, name) : GUID_INBOX;

	assert_false(guid_is_zero(&g));
	return tree_find(memory_tree(f->local), &g)->subscribed;
}

static void file_is(struct foreign *f, const char *text)
{
	MB_AUTO_FREE char *path = mb_xasprintf("%s/" SUBSCRIPTIONS_NAME, f->path);
	char got[4096] = "";
	FILE *file = fopen(path, "r");

	assert_non_null(file);
	got[fread(got, 1, sizeof(got) - 1, file)] = '\0';
	fclose(file);
	assert_string_equal(got, text);
}

static void subscribe(struct foreign *f, const char *name, bool on)
{
	struct guid g = *name ? local_box(f, name) : GUID_INBOX;

	assert_int_equal(memory_subscribe(f->local, &g, on), 0);
}

static void lines_are_news_in_both_versions(void **state)
{
	struct foreign *f = *state;

	foreign_mkdir(f, ".F");
	foreign_mkdir(f, ".F.sub");
	foreign_write(f, "subscriptions", "F.sub\nInbox\nshared.box\n");
	foreign_sync(f);
	assert_true(subscribed(f, "F/sub"));
	assert_true(subscribed(f, ""));
	assert_false(subscribed(f, "F"));
	foreign_write(f, "subscriptions", "V\t2\n\nF\n");
	foreign_sync(f);
	assert_false(subscribed(f, "F/sub"));
	assert_false(subscribed(f, ""));
	assert_true(subscribed(f, "F"));
	file_is(f, "V\t2\n\nF\n");
}

static void layout_fs_has_lines_as_well(void **state)
{
	struct foreign *f = *state;

	foreign_mkdir(f, "F/sub.x");
	foreign_write(f, "subscriptions", "V\t2\n\nF\tsub.x\n");
	foreign_sync(f);
	assert_true(subscribed(f, "F/sub.x"));
	subscribe(f, "F/sub.x", false);
	subscribe(f, "", true);
	foreign_sync(f);
	file_is(f, "V\t2\n\nINBOX\n");
}

/* On first sight who is subscribed on either side is subscribed on both. */
static void the_first_time_makes_a_union(void **state)
{
	struct foreign *f = *state;
	struct guid a, b;

	memory_create(f->local, &GUID_ZERO, "A", &a);
	memory_create(f->local, &GUID_ZERO, "B", &b);
	memory_subscribe(f->local, &a, true);
	memory_subscribe(f->local, &b, true);
	memory_subscribe(f->local, &b, false);
	foreign_mkdir(f, ".A");
	foreign_mkdir(f, ".B");
	foreign_write(f, "subscriptions", "V\t2\n\nB\nelsewhere\n");
	foreign_sync(f);
	assert_true(subscribed(f, "A"));
	assert_true(subscribed(f, "B"));
	file_is(f, "V\t2\n\nB\nelsewhere\nA\n");
}

/* Who differs from what both had has changed it; of two changes the later stays. */
static void changes_on_both_sides_merge(void **state)
{
	struct foreign *f = *state;

	foreign_mkdir(f, ".A");
	foreign_mkdir(f, ".B");
	foreign_mkdir(f, ".C");
	foreign_write(f, "subscriptions", "A\nB\n");
	foreign_sync(f);
	subscribe(f, "A", false);
	foreign_write(f, "subscriptions", "A\nC\n");
	foreign_sync(f);
	assert_false(subscribed(f, "A"));
	assert_false(subscribed(f, "B"));
	assert_true(subscribed(f, "C"));
	file_is(f, "C\n");
	/* there first, then here */
	subscribe(f, "C", false);
	foreign_write(f, "subscriptions", "B\n");
	subscribe(f, "C", true);
	subscribe(f, "C", false);
	foreign_sync(f);
	assert_false(subscribed(f, "C"));
	assert_true(subscribed(f, "B"));
	file_is(f, "B\n");
}

static void a_file_that_vanished_is_no_news(void **state)
{
	struct foreign *f = *state;

	foreign_mkdir(f, ".A");
	foreign_mkdir(f, ".B");
	foreign_mkdir(f, ".C");
	foreign_write(f, "subscriptions", "V\t2\n\nA\nB\n");
	foreign_sync(f);
	foreign_unlink(f, "subscriptions");
	foreign_sync(f);
	assert_true(subscribed(f, "A"));
	assert_true(subscribed(f, "B"));
	assert_false(foreign_exists(f, "subscriptions"));
	/* when it is written next all of them are in it, and it is made for nobody */
	subscribe(f, "A", false);
	subscribe(f, "B", false);
	foreign_sync(f);
	assert_false(foreign_exists(f, "subscriptions"));
	subscribe(f, "A", true);
	foreign_sync(f);
	file_is(f, "V\t2\n\nA\n");
	foreign_unlink(f, "subscriptions");
	subscribe(f, "C", true);
	foreign_sync(f);
	file_is(f, "V\t2\n\nA\nC\n");
	/* an empty one is news */
	foreign_write(f, "subscriptions", "");
	foreign_sync(f);
	assert_false(subscribed(f, "A"));
	assert_false(subscribed(f, "C"));
}

/* Neither read nor written; what the local side has to say of it is told, and waits. */
static void what_is_no_file_of_subscriptions_is_left_alone(void **state)
{
	struct foreign *f = *state;
	MB_AUTO_FREE char *path = mb_xasprintf("%s/" SUBSCRIPTIONS_NAME, f->path);

	foreign_mkdir(f, ".A");
	foreign_mkdir(f, ".B");
	foreign_write(f, "subscriptions", "V\t2\n\nA\n");
	foreign_sync(f);
	foreign_unlink(f, "subscriptions");
	assert_int_equal(symlink("/etc/passwd", path), 0);
	foreign_sync(f);
	assert_true(subscribed(f, "A"));
	subscribe(f, "B", true);
	for (int i = 0; i < 2; i++) {
		local_deliver(f, GUID_INBOX, i ? "two\n" : "one\n");
		assert_int_equal(foreign_try(f), MB_E_STALE);
		assert_int_equal(foreign_count(f, ""), i + 1); /* mail goes on */
	}
	foreign_unlink(f, "subscriptions");
	foreign_sync(f);
	file_is(f, "V\t2\n\nA\nB\n");
}

static void subscriptions_go_along_with_renames(void **state)
{
	struct foreign *f = *state;
	struct guid a, b;

	foreign_mkdir(f, ".A");
	foreign_mkdir(f, ".A.sub");
	foreign_mkdir(f, ".B");
	foreign_write(f, ".A/cur/1.a:2,", "one\n");
	foreign_write(f, ".B/cur/2.a:2,", "two\n");
	foreign_write(f, "subscriptions", "A.sub\nA\nother\n");
	foreign_sync(f);
	a = local_box(f, "A");
	b = local_box(f, "B");
	memory_rename(f->local, &a, &GUID_ZERO, "Z");
	foreign_sync(f);
	file_is(f, "other\nZ\nZ.sub\n");
	/* by hand, and the file stays as it is: a swap with one that is not subscribed */
	foreign_rename(f, ".Z", ".T");
	foreign_rename(f, ".B", ".Z");
	foreign_rename(f, ".T", ".B");
	foreign_sync(f);
	assert_true(tree_find(memory_tree(f->local), &a)->subscribed);
	assert_false(tree_find(memory_tree(f->local), &b)->subscribed);
	file_is(f, "other\nZ\nZ.sub\n");
	/* when it is written next it says so */
	subscribe(f, "", true);
	foreign_sync(f);
	file_is(f, "other\nZ.sub\nINBOX\nB\n");
	assert_true(tree_find(memory_tree(f->local), &a)->subscribed);
	assert_false(tree_find(memory_tree(f->local), &b)->subscribed);
}

/* A mailbox that the local side deletes takes its line along, and a new one has not its line. */
static void lines_of_deleted_mailboxes(void **state)
{
	struct foreign *f = *state;
	struct guid g;

	foreign_mkdir(f, ".A");
	foreign_mkdir(f, ".B");
	foreign_write(f, "subscriptions", "A\nB\nC\n");
	foreign_sync(f);
	g = local_box(f, "A");
	memory_delete(f->local, &g);
	foreign_sync(f);
	file_is(f, "B\nC\n");
	foreign_rmdir(f, ".B");
	foreign_sync(f);
	file_is(f, "B\nC\n"); /* who removed it left the line */
	memory_create(f->local, &GUID_ZERO, "C", &g);
	foreign_sync(f);
	file_is(f, "B\n");
	assert_false(subscribed(f, "C"));
	memory_create(f->local, &GUID_ZERO, "B", &g);
	memory_subscribe(f->local, &g, true);
	foreign_sync(f);
	file_is(f, "B\n");
	assert_true(subscribed(f, "B"));
}

static void an_entry_of_the_map_is_read_back(void **state)
{
	struct foreign *f = *state;
	struct maildir *m;
	struct backend *b;
	struct md_box *box;

	foreign_mkdir(f, ".A");
	foreign_write(f, "subscriptions", "A\n");
	foreign_sync(f);
	assert_int_equal(backend_open_maildir(f->path, (int)f->layout, f->local, &b), 0);
	m = maildir_of(b);
	assert_int_equal(md_load(m), 0);
	box = md_box_at(m, ".A");
	assert_non_null(box);
	assert_true(box->subs.subscribed && box->subs.stored && !box->subs.out);
	assert_string_equal(box->subs.line, ".A");
	assert_true(stamp_is_none(&box->subs.at));
	box = md_box_at(m, "");
	assert_true(md_subs_is_empty(&box->subs) && !box->subs.stored);
	backend_close(b);
	/* and goes when there is nothing to keep */
	foreign_write(f, "subscriptions", "");
	foreign_sync(f);
	assert_int_equal(backend_open_maildir(f->path, (int)f->layout, f->local, &b), 0);
	m = maildir_of(b);
	assert_int_equal(md_load(m), 0);
	assert_false(md_box_at(m, ".A")->subs.stored);
	backend_close(b);
}

/* What was found keeps its stamp until the local side has it: a later change there wins. */
static void news_that_was_not_taken_keeps_its_stamp(void **state)
{
	struct foreign *f = *state;
	struct backend *b;
	struct tree t = {0};
	struct stamp at;
	struct guid g;

	foreign_mkdir(f, ".A");
	foreign_sync(f);
	g = local_box(f, "A");
	foreign_write(f, "subscriptions", "A\n");
	for (int i = 0; i < 2; i++) {
		assert_int_equal(backend_open_maildir(f->path, (int)f->layout, f->local, &b), 0);
		assert_int_equal(b->ops->refresh(b, false), 0);
		assert_int_equal(b->ops->tree(b, &t), 0);
		assert_true(tree_find(&t, &g)->subscribed);
		if (i)
			assert_int_equal(stamp_compare(&tree_find(&t, &g)->subscribed_at, &at), 0);
		at = tree_find(&t, &g)->subscribed_at;
		assert_false(stamp_is_none(&at));
		tree_release(&t);
		backend_close(b);
	}
	subscribe(f, "A", true);
	subscribe(f, "A", false);
	foreign_sync(f);
	assert_false(subscribed(f, "A"));
	file_is(f, "");
	/* taken back before anybody was told */
	foreign_write(f, "subscriptions", "A\n");
	assert_int_equal(backend_open_maildir(f->path, (int)f->layout, f->local, &b), 0);
	assert_int_equal(b->ops->refresh(b, false), 0);
	backend_close(b);
	foreign_write(f, "subscriptions", "");
	foreign_sync(f);
	assert_false(subscribed(f, "A"));
}

#define test(f) cmocka_unit_test_setup_teardown(f, foreign_setup, foreign_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(lines_are_news_in_both_versions),
		cmocka_unit_test_setup_teardown(layout_fs_has_lines_as_well, foreign_setup_fs,
						foreign_teardown),
		test(the_first_time_makes_a_union),
		test(changes_on_both_sides_merge),
		test(a_file_that_vanished_is_no_news),
		test(what_is_no_file_of_subscriptions_is_left_alone),
		test(subscriptions_go_along_with_renames),
		test(lines_of_deleted_mailboxes),
		test(an_entry_of_the_map_is_read_back),
		test(news_that_was_not_taken_keeps_its_stamp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
