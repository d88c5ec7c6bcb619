/* test-files.c - names of message files, bodies kept in deleted/, keyword letters. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/at.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <string.h>

static struct index_txn *begin(struct store_dir *d)
{
	struct index_txn *tx;

	assert_int_equal(index_begin(store_index(d->s), false, &tx), 0);
	return tx;
}

static char *target(struct store_dir *d, struct entry *e, bool in_new)
{
	struct index_txn *tx = begin(d);
	char *name = NULL;

	assert_int_equal(file_target(d->s, tx, &e->copy, e, in_new, &name), 0);
	index_abort(tx);
	return name;
}

static void a_flag_change_keeps_base_separator_and_unknown_letters(void **state)
{
	struct store_dir *d = *state;
	struct entry e = {0};
	char *name;

	store_deliver(d, "", "1.x,S=1,U=5", "a");
	assert_int_equal(store_move(d, "new/1.x,S=1,U=5", "cur/1.x,S=1,U=5;2,SXb,extra"), 0);
	store_find(d, "1.x,S=1,U=5;2,SXb,extra", &e);
	flags_put(&e.copy.flags, FLAG_FLAGGED, true, store_now(d->s));
	name = target(d, &e, false);
	assert_string_equal(name, "cur/1.x,S=1,U=5;2,FSXb,extra");
	free(name);
	entry_release(&e);
}

static void a_message_with_flags_is_not_in_new(void **state)
{
	struct store_dir *d = *state;
	struct entry e = {0};
	char *name;

	store_deliver(d, "", "1.x", "a");
	store_find(d, "1.x", &e);
	name = target(d, &e, true);
	assert_string_equal(name, "new/1.x");
	free(name);
	flags_put(&e.copy.flags, FLAG_SEEN, true, store_now(d->s));
	name = target(d, &e, true);
	assert_string_equal(name, "cur/1.x:2,S");
	free(name);
	entry_release(&e);
}

static void keywords_have_the_letters_of_the_mailbox(void **state)
{
	struct store_dir *d = *state;
	struct entry e = {0};
	char *name;

	outside_write(d, "dovecot-keywords", "3 work\nnonsense\n99 far\n0 bad name\n");
	store_deliver(d, "", "1.x", "a");
	store_find(d, "1.x", &e);
	flags_put_keyword(&e.copy.flags, "Work", true, store_now(d->s));
	flags_put_keyword(&e.copy.flags, "nowhere", true, store_now(d->s));
	name = target(d, &e, false);
	assert_string_equal(name, "cur/1.x:2,d");
	free(name);
	entry_release(&e);
}

static void a_base_that_is_taken_gets_a_new_one(void **state)
{
	struct store_dir *d = *state;
	struct copy c = {.guid = guid_new(), .size = 3};
	struct index_txn *tx;
	char *known = NULL, *file = NULL;

	store_deliver(d, "", "1.x", "a");
	outside_write(d, "cur/2.x:2,", "not scanned yet");
	c.place.mailbox = GUID_INBOX;
	tx = begin(d);
	c.place.base = mb_xstrdup("1.x,U=3");
	assert_int_equal(file_target(d->s, tx, &c, NULL, true, &known), 0);
	free(c.place.base);
	c.place.base = mb_xstrdup("2.x");
	assert_int_equal(file_target(d->s, tx, &c, NULL, false, &file), 0);
	index_abort(tx);
	assert_true(strncmp(known, "new/1.x", 7) != 0);
	assert_true(strncmp(file, "cur/2.x", 7) != 0);
	free(c.place.base);
	free(known);
	free(file);
}

/* The file of a lost message is not there: somebody else's file may have its name. */
static void a_lost_message_takes_no_name_that_a_file_has(void **state)
{
	struct store_dir *d = *state;
	struct entry e = {0};
	char *name;

	store_deliver(d, "", "1.x", "a");
	store_find(d, "1.x", &e);
	e.state = ENTRY_LOST;
	name = target(d, &e, true);
	assert_string_equal(name, "new/1.x");
	free(name);
	entry_release(&e);
}

static void no_room_for_flags_leaves_the_base(void **state)
{
	struct store_dir *d = *state;
	char base[FNAME_MAX + 1];
	struct entry e = {0};
	char *name;

	memset(base, 'n', FNAME_MAX - 1);
	base[FNAME_MAX - 1] = 0;
	store_deliver(d, "", base, "a");
	store_find(d, base, &e);
	flags_put(&e.copy.flags, FLAG_SEEN, true, store_now(d->s));
	name = target(d, &e, false);
	assert_string_equal(name + 4, base);
	free(name);
	entry_release(&e);
}

static void hostile_bases_are_not_taken(void **state)
{
	static const char *const bad[] = {"../../etc/x", ".hidden", "a/b", ""};
	struct store_dir *d = *state;
	struct copy c = {.guid = guid_new(), .size = 3};

	c.place.mailbox = GUID_INBOX;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct index_txn *tx = begin(d);
		char *name;

		c.place.base = mb_xstrdup(bad[i]);
		assert_int_equal(file_target(d->s, tx, &c, NULL, true, &name), 0);
		index_abort(tx);
		assert_null(strchr(name + 4, '/'));
		assert_true(fname_is_message(name + 4));
		free(name);
		free(c.place.base);
	}
}

static void a_kept_body_comes_back(void **state)
{
	struct store_dir *d = *state;
	char *kept = NULL, *found = NULL;
	struct entry e = {0};

	store_deliver(d, "", "1.x", "body");
	store_find(d, "1.x", &e);
	assert_int_equal(file_to_deleted(d->s, "new/1.x", &e, false, &kept), 0);
	assert_false(tree_has(d, "new/1.x"));
	assert_int_equal(file_find_deleted(d->s, &GUID_INBOX, &e.copy.guid, 0, true, &found), 0);
	assert_string_equal(found, kept);
	assert_int_equal(file_undelete(d->s, kept, "new/1.x"), 0);
	assert_text(d, "new/1.x", "body");
	free(kept);
	free(found);
	entry_release(&e);
	store_consistent(d);
}

/* The name tells which life of the copy it was. */
static void a_kept_body_is_younger_than_its_instance(void **state)
{
	struct store_dir *d = *state;
	struct entry e = {0};
	struct stamp later;
	char *kept = NULL;
	long long ms;

	store_deliver(d, "", "1.x", "body");
	store_find(d, "1.x", &e);
	e.copy.place.at.time += 3600000ull << 16; /* from a peer whose clock is ahead */
	assert_int_equal(file_to_deleted(d->s, "new/1.x", &e, true, &kept), 0);
	char *comma = strchr(kept, ',');
	while (comma[-1] != '.')
		comma--;
	ms = atoll(comma);
	assert_true(ms > stamp_ms(&e.copy.place.at));
	later = store_now(d->s);
	assert_true(stamp_ms(&later) >= ms);
	free(kept);
	entry_release(&e);
}

/* The directory of the last one is kept open; it may have gone since, or not be that of the next one. */
static void bodies_of_several_mailboxes_are_kept_apart(void **state)
{
	struct store_dir *d = *state;
	char text[GUID_TEXT];

	store_make_box(d, ".a");
	store_deliver(d, "", "1.x", "1");
	store_deliver(d, ".a", "2.x", "2");
	store_deliver(d, "", "3.x", "3");
	store_deliver(d, "", "4.x", "4");
	assert_int_equal(store_unlink(d->s, "new/1.x", &d->me), 0);
	assert_int_equal(store_unlink(d->s, ".a/new/2.x", &d->me), 0);
	assert_int_equal(store_unlink(d->s, "new/3.x", &d->me), 0);
	assert_int_equal(deleted_count(d), 3);
	assert_int_equal(at_remove_tree(d->s->deleted_fd, guid_text(&GUID_INBOX, text)), 0);
	assert_int_equal(deleted_count(d), 1);
	assert_int_equal(store_unlink(d->s, "new/4.x", &d->me), 0);
	assert_int_equal(deleted_count(d), 2);
	assert_int_equal(store_unlink(d->s, "new/4.x", &d->me), -ENOENT);
	assert_list(d, "");
	store_consistent(d);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_flag_change_keeps_base_separator_and_unknown_letters),
		TEST(a_message_with_flags_is_not_in_new),
		TEST(keywords_have_the_letters_of_the_mailbox),
		TEST(a_base_that_is_taken_gets_a_new_one),
		TEST(a_lost_message_takes_no_name_that_a_file_has),
		TEST(no_room_for_flags_leaves_the_base),
		TEST(hostile_bases_are_not_taken),
		TEST(a_kept_body_comes_back),
		TEST(a_kept_body_is_younger_than_its_instance),
		TEST(bodies_of_several_mailboxes_are_kept_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
