/* test-posix-link.c - messages linked by local programs: copies, and moves without rename. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <string.h>

static int do_link(struct store_dir *d, const char *from, const char *to)
{
	return store_link(d->s, from, to, &d->me);
}

static int do_unlink(struct store_dir *d, const char *path)
{
	return store_unlink(d->s, path, &d->me);
}

/* mutt: link, then unlink; Dovecot: link into tmp/, then rename; and with another link. */
static void link_then_unlink_is_a_move(void **state)
{
	static const char *const way[] = {"direct", "tmp", "tmp-link"};
	struct store_dir *d = *state;

	store_make_box(d, ".A");
	for (int i = 0; i < 3; i++) {
		char *new = mb_xasprintf("new/%s", way[i]),
		     *tmp = mb_xasprintf(".A/tmp/%s", way[i]);
		char *to = mb_xasprintf(".A/cur/%s:2,S", way[i]);
		struct guid before, after;

		store_deliver(d, "", way[i], "a");
		before = store_guid(d, way[i]);
		assert_int_equal(do_link(d, new, i == 0 ? to : tmp), 0);
		if (i == 1)
			assert_int_equal(store_move(d, tmp, to), 0);
		if (i == 2) {
			assert_int_equal(do_link(d, tmp, to), 0);
			assert_int_equal(do_unlink(d, tmp), 0);
		}
		assert_int_equal(do_unlink(d, new), 0);
		assert_int_equal(log_last(d), REC_MOVE);
		after = store_guid(d, to + strlen(".A/cur/"));
		assert_true(guid_equal(&before, &after));
		free(new);
		free(tmp);
		free(to);
	}
	assert_int_equal(deleted_count(d), 0);
	assert_list(d, "A/cur/direct:2,S | A/cur/tmp-link:2,S | A/cur/tmp:2,S");
	store_consistent(d);
}

/* Programs without rename change flags so. */
static void link_and_unlink_in_one_mailbox_keeps_the_message(void **state)
{
	struct store_dir *d = *state;
	struct entry e = {0};
	struct guid before;

	outside_write(d, "tmp/1.x", "a");
	assert_int_equal(store_move(d, "tmp/1.x", "cur/1.x:2,F"), 0);
	before = store_guid(d, "1.x:2,F");
	assert_int_equal(do_link(d, "cur/1.x:2,F", "cur/1.x:2,S"), 0);
	assert_int_equal(do_unlink(d, "cur/1.x:2,F"), 0);
	assert_list(d, "INBOX/cur/1.x:2,S");
	store_find(d, "1.x:2,S", &e);
	assert_true(guid_equal(&e.copy.guid, &before));
	assert_int_equal(e.copy.flags.set, FLAG_MASK(FLAG_SEEN));
	entry_release(&e);
	store_consistent(d);
}

static void a_link_alone_is_a_copy_with_the_same_guid(void **state)
{
	struct store_dir *d = *state;
	struct guid a, b;

	store_make_box(d, ".A");
	store_deliver(d, "", "1.x", "a");
	assert_int_equal(do_link(d, "new/1.x", ".A/cur/2.x:2,"), 0);
	a = store_guid(d, "1.x");
	b = store_guid(d, "2.x:2,");
	assert_true(guid_equal(&a, &b));
	assert_list(d, "A/cur/2.x:2, | INBOX/new/1.x");
	store_consistent(d);
}

static void another_program_unlinking_leaves_the_copy_a_copy(void **state)
{
	struct store_dir *d = *state;
	struct origin other = {.pid = 78, .comm = "other"};

	store_make_box(d, ".A");
	store_deliver(d, "", "1.x", "a");
	assert_int_equal(do_link(d, "new/1.x", ".A/cur/1.x:2,"), 0);
	assert_int_equal(store_unlink(d->s, "new/1.x", &other), 0);
	assert_int_equal(log_last(d), REC_EXPUNGE);
	assert_list(d, "A/cur/1.x:2,");
	assert_int_equal(deleted_count(d), 1);
}

/* The copy was expunged again before the source was: the last name keeps its body. */
static void a_link_that_is_gone_makes_no_move(void **state)
{
	struct store_dir *d = *state;

	store_make_box(d, ".A");
	store_deliver(d, "", "1.x", "a");
	assert_int_equal(do_link(d, "new/1.x", ".A/cur/1.x:2,"), 0);
	assert_int_equal(do_unlink(d, ".A/cur/1.x:2,"), 0);
	assert_int_equal(do_unlink(d, "new/1.x"), 0);
	assert_list(d, "");
	assert_int_equal(deleted_count(d), 2);
}

/* The kernel names the file, not which of its names was linked. */
static void a_link_of_any_name_then_unlink_is_a_move(void **state)
{
	struct store_dir *d = *state;
	struct entry e = {0};
	uint64_t id;

	store_make_box(d, ".A");
	store_make_box(d, ".B");
	store_deliver(d, "", "1.x", "a");
	assert_int_equal(do_link(d, "new/1.x", ".A/new/2.x"), 0);
	store_find(d, "2.x", &e);
	id = e.copy.id;
	entry_release(&e);
	time_passes(6); /* the link above is a copy for good */
	assert_int_equal(do_link(d, "new/1.x", ".B/new/3.x"), 0);
	assert_int_equal(do_unlink(d, ".A/new/2.x"), 0);
	assert_int_equal(log_last(d), REC_MOVE);
	store_find(d, "3.x", &e);
	assert_int_equal(e.copy.id, id);
	entry_release(&e);
	assert_list(d, "B/new/3.x | INBOX/new/1.x");
	assert_int_equal(deleted_count(d), 0);
	store_consistent(d);
}

/* Another content is under the name that was linked: it is kept as any that is expunged. */
static void what_was_edited_after_its_link_is_kept(void **state)
{
	struct store_dir *d = *state;

	store_make_box(d, ".A");
	store_deliver(d, "", "1.x", "a");
	assert_int_equal(do_link(d, "new/1.x", ".A/new/1.x"), 0);
	outside_write(d, "tmp/2.x", "edited");
	outside_rename(d, "tmp/2.x", "new/1.x");
	assert_int_equal(do_unlink(d, "new/1.x"), 0);
	assert_int_equal(deleted_count(d), 1);
	assert_list(d, "A/new/1.x");
}

/* A peer that has the copy may have changed it: it is not taken back. */
static void a_link_that_a_peer_has_makes_no_move(void **state)
{
	struct store_dir *d = *state;
	struct record r = {.type = REC_PEER, .peer = {.replica = 5}};

	store_make_box(d, ".A");
	store_deliver(d, "", "1.x", "a");
	assert_int_equal(store_applied(d->s, &r.peer.local), 0);
	assert_true(store_put(d->s, &r, NULL) >= 0); /* it knows what was before */
	assert_int_equal(do_link(d, "new/1.x", ".A/cur/1.x:2,"), 0);
	assert_int_equal(do_unlink(d, "new/1.x"), 0);
	assert_int_equal(log_last(d), REC_MOVE);
	store_deliver(d, "", "2.x", "b");
	assert_int_equal(do_link(d, "new/2.x", ".A/cur/2.x:2,"), 0);
	assert_int_equal(store_applied(d->s, &r.peer.local), 0);
	assert_true(store_put(d->s, &r, NULL) >= 0);
	assert_int_equal(do_unlink(d, "new/2.x"), 0);
	assert_int_equal(log_last(d), REC_EXPUNGE);
	assert_list(d, "A/cur/1.x:2, | A/cur/2.x:2,");
	assert_int_equal(deleted_count(d), 1);
	store_consistent(d);
}

static void flag_it(struct copy *c)
{
	flags_put(&c->flags, FLAG_DRAFT, true, peer_stamp(1));
}

/* A sync gave the copy a flag before the peer's position was noted. */
static void a_link_that_was_changed_since_makes_no_move(void **state)
{
	struct store_dir *d = *state;
	struct entry e = {0};
	struct record r = {.type = REC_COPY_STATE, .origin.replica = 5};

	store_make_box(d, ".A");
	store_deliver(d, "", "1.x", "a");
	assert_int_equal(do_link(d, "new/1.x", ".A/cur/1.x:2,"), 0);
	store_find(d, "1.x:2,", &e);
	copy_clone(&r.copy, &e.copy);
	flag_it(&r.copy);
	entry_release(&e);
	assert_int_equal(store_put(d->s, &r, NULL), 1);
	record_release(&r);
	assert_int_equal(do_unlink(d, "new/1.x"), 0);
	assert_int_equal(log_last(d), REC_EXPUNGE);
	assert_list(d, "A/cur/1.x:2,D");
	store_consistent(d);
}

/* What has the name now is no copy of what had it. */
static void another_file_at_the_name_of_a_link_is_no_copy(void **state)
{
	struct store_dir *d = *state;
	struct guid a, b;

	store_make_box(d, ".A");
	for (int i = 0; i < 2; i++) {
		char *new = mb_xasprintf("new/%d.x", i), *to = mb_xasprintf(".A/new/%d.y", i);

		store_deliver(d, "", new + 4, "a");
		assert_int_equal(do_link(d, new, "tmp/l"), 0);
		assert_int_equal(do_unlink(d, "tmp/l"), 0);
		outside_write(d, "tmp/l", "another");
		assert_int_equal(i ? do_link(d, "tmp/l", to) : store_move(d, "tmp/l", to), 0);
		a = store_guid(d, new + 4);
		b = store_guid(d, to + 7);
		assert_false(guid_equal(&a, &b));
		free(new);
		free(to);
	}
	store_consistent(d);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(link_then_unlink_is_a_move),
		TEST(link_and_unlink_in_one_mailbox_keeps_the_message),
		TEST(a_link_alone_is_a_copy_with_the_same_guid),
		TEST(another_program_unlinking_leaves_the_copy_a_copy),
		TEST(a_link_that_is_gone_makes_no_move),
		TEST(a_link_of_any_name_then_unlink_is_a_move),
		TEST(what_was_edited_after_its_link_is_kept),
		TEST(a_link_that_a_peer_has_makes_no_move),
		TEST(a_link_that_was_changed_since_makes_no_move),
		TEST(another_file_at_the_name_of_a_link_is_no_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
