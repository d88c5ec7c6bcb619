/*
 * test-folder.c - cookies for life.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "fs/folder.h"

/* Nothing in it, and listed. */
static struct folder *listing(uint64_t first_cookie)
{
	struct folder *f = folder_new(first_cookie, NULL, NULL);

	folder_begin_load(f);
	folder_end_load(f);
	return f;
}

/* All names in order, joined by spaces. */
static const char *names(const struct folder *f, char out[1024])
{
	const struct folder_entry *e;
	uint64_t cookie = 0;

	out[0] = '\0';
	for (; (e = folder_after(f, cookie)); cookie = e->cookie) {
		if (out[0])
			strcat(out, " ");
		strcat(out, folder_text(f, e));
	}
	return out;
}

static void names_are_listed_in_the_order_they_came(void **state)
{
	struct folder *f = listing(3);
	char text[1024];

	assert_null(folder_after(f, 0));
	assert_true(folder_add(f, "b", 8, 1));
	assert_true(folder_add(f, "a", 4, 2));
	assert_false(folder_add(f, "b", 4, 9));
	assert_string_equal(names(f, text), "b a");
	assert_int_equal(folder_find(f, "b")->ino, 9);
	assert_int_equal(folder_find(f, "b")->type, 4);
	assert_int_equal(folder_find(f, "b")->cookie, 3);
	folder_free(f);
}

static void a_rename_keeps_the_cookie(void **state)
{
	struct folder *f = listing(3);
	char text[1024];

	folder_add(f, "a:2,", 8, 1);
	folder_add(f, "b:2,", 8, 2);
	assert_true(folder_rename(f, "a:2,", "a:2,S"));
	assert_string_equal(names(f, text), "a:2,S b:2,");
	assert_int_equal(folder_find(f, "a:2,S")->cookie, 3);
	assert_null(folder_find(f, "a:2,"));
	assert_false(folder_rename(f, "a:2,", "x"));
	assert_true(folder_rename(f, "b:2,", "b:2,"));
	folder_free(f);
}

static void a_renamed_name_replaces_its_target(void **state)
{
	struct folder *f = listing(3);
	char text[1024];

	folder_add(f, "a", 8, 1);
	folder_add(f, "b", 8, 2);
	folder_add(f, "c", 8, 3);
	assert_true(folder_rename(f, "c", "a"));
	assert_string_equal(names(f, text), "b a");
	assert_int_equal(folder_find(f, "a")->ino, 3);
	assert_int_equal(folder_count(f), 2);
	folder_free(f);
}

static void a_cookie_is_never_used_twice(void **state)
{
	struct folder *f = listing(10);

	folder_add(f, "a", 8, 1);
	assert_true(folder_remove(f, "a"));
	assert_false(folder_remove(f, "a"));
	folder_add(f, "a", 8, 1);
	assert_int_equal(folder_find(f, "a")->cookie, 11);
	assert_int_equal(folder_after(f, 10)->cookie, 11);
	assert_null(folder_after(f, 11));
	folder_free(f);
}

static void cur_is_listed_last(void **state)
{
	struct folder *f = listing(3);
	char text[1024];

	folder_begin_load(f);
	folder_load(f, "cur", DT_DIR, 1);
	folder_load(f, "tmp", DT_DIR, 2);
	folder_load(f, "new", DT_DIR, 3);
	folder_end_load(f);
	assert_string_equal(names(f, text), "tmp new cur");
	assert_int_equal(folder_find(f, "cur")->ino, 1);
	folder_remove(f, "new");
	folder_add(f, "new", DT_DIR, 4);
	assert_string_equal(names(f, text), "tmp new cur");
	folder_remove(f, "new");
	folder_add(f, "x", DT_DIR, 5);
	folder_rename(f, "x", "new");
	assert_string_equal(names(f, text), "tmp new cur");
	folder_begin_load(f);
	folder_remove(f, "cur");
	folder_load(f, "cur", DT_DIR, 1); /* as it was */
	folder_end_load(f);
	assert_string_equal(names(f, text), "tmp new");
	folder_free(f);
}

static void holes_go_and_the_rest_stays(void **state)
{
	struct folder *f = listing(3);
	char name[32];

	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "%d", i);
		folder_add(f, name, 8, (uint64_t)i);
	}
	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "%d", i);
		if (i % 7)
			assert_true(folder_remove(f, name));
	}
	assert_int_equal(folder_count(f), 715);
	uint64_t cookie = 0;
	for (int i = 0; i < 5000; i += 7) {
		const struct folder_entry *e = folder_after(f, cookie);

		snprintf(name, sizeof(name), "%d", i);
		assert_string_equal(folder_text(f, e), name);
		assert_int_equal(e->cookie, i + 3);
		assert_ptr_equal(folder_find(f, name), e);
		cookie = e->cookie;
	}
	assert_null(folder_after(f, cookie));
	folder_free(f);
}

/* The listing of the backing directory is older than the changes made while it was read. */
static void changes_while_loading_win(void **state)
{
	struct folder *f = listing(3);
	char text[1024];

	folder_begin_load(f);
	folder_load(f, "first", 8, 1);
	folder_remove(f, "gone");
	folder_add(f, "came", 8, 2);
	folder_rename(f, "old", "new"); /* not loaded yet: the caller adds it */
	folder_add(f, "new", 8, 3);
	folder_load(f, "gone", 8, 4);
	folder_load(f, "old", 8, 3);
	folder_load(f, "came", 8, 2);
	folder_load(f, "last", 8, 5);
	folder_end_load(f);
	assert_string_equal(names(f, text), "first came new last");
	folder_add(f, "gone", 8, 6);
	assert_string_equal(names(f, text), "first came new last gone");
	folder_free(f);
}

/* ---- names with a node ---- */

static uint32_t place[1000]; /* of each node, as the folder says */

static void moved(void *arg, uint32_t node, uint32_t from, uint32_t to)
{
	assert_ptr_equal(arg, place);
	assert_int_equal(place[node], from);
	place[node] = to;
}

static void known(struct folder *f, const char *name, uint32_t node)
{
	place[node] = folder_bind(f, name, node);
}

static void a_known_name_is_not_a_listed_one(void **state)
{
	struct folder *f = folder_new(3, moved, place);
	char text[1024];

	known(f, "b", 1);
	assert_int_equal(folder_node(f, "b"), 1);
	assert_int_equal(folder_node(f, "x"), 0);
	assert_false(folder_is_listed(f));
	assert_false(folder_add(f, "a", 8, 1) || folder_remove(f, "b") ||
		     folder_rename(f, "b", "c"));
	assert_null(folder_find(f, "b"));
	assert_string_equal(names(f, text), "");
	folder_begin_load(f);
	known(f, "gone", 2);
	folder_load(f, "a", 8, 1);
	folder_load(f, "b", 8, 2);
	folder_end_load(f);
	assert_true(folder_is_listed(f));
	assert_string_equal(names(f, text), "b a");
	assert_int_equal(folder_find(f, "b")->ino, 2);
	assert_string_equal(folder_text_at(f, place[1]), "b");
	folder_free(f);
	assert_int_equal(folder_node(NULL, "a"), 0);
	assert_false(folder_is_listed(NULL));
}

static void a_name_stays_as_long_as_either_needs_it(void **state)
{
	struct folder *f = folder_new(3, moved, place);
	char text[1024];

	folder_begin_load(f);
	folder_load(f, "a", 8, 1);
	folder_load(f, "b", 8, 2);
	folder_end_load(f);
	known(f, "a", 1);
	folder_unbind(f, place[1]);
	assert_string_equal(names(f, text), "a b");
	known(f, "a", 2);
	assert_true(folder_remove(f, "a"));
	assert_int_equal(folder_node(f, "a"), 2);
	assert_string_equal(names(f, text), "b");
	assert_true(folder_add(f, "a", 8, 3));
	assert_string_equal(names(f, text), "a b"); /* it had kept its cookie */
	folder_unload(f);
	assert_int_equal(folder_count(f), 0);
	assert_int_equal(folder_node(f, "a"), 2);
	folder_begin_load(f);
	folder_load(f, "b", 8, 2);
	folder_load(f, "a", 8, 3);
	folder_end_load(f);
	assert_int_equal(folder_find(f, "a")->cookie, 3);
	assert_int_equal(folder_find(f, "b")->cookie, 5); /* another: the old one went */
	folder_free(f);
}

static void a_rename_takes_the_node_along(void **state)
{
	struct folder *f = listing(3);

	folder_add(f, "a", 8, 1);
	folder_add(f, "b", 8, 2);
	folder_bind(f, "a", 1);
	assert_true(folder_rename(f, "a", "c"));
	assert_int_equal(folder_node(f, "c"), 1);
	assert_int_equal(folder_node(f, "a"), 0);
	folder_bind(f, "d", 2); /* looked up by its new name before the rename was told */
	assert_true(folder_rename(f, "b", "d"));
	assert_int_equal(folder_node(f, "d"), 2);
	assert_int_equal(folder_find(f, "d")->cookie, 4);
	assert_int_equal(folder_count(f), 2);
	folder_free(f);
}

static void nodes_hear_of_places_that_change(void **state)
{
	struct folder *f = folder_new(3, moved, place);
	char name[32], text[1024];

	for (uint32_t i = 1; i < 1000; i++) {
		snprintf(name, sizeof(name), "%u", i);
		known(f, name, i);
	}
	for (uint32_t i = 1; i < 1000; i++)
		if (i % 9)
			folder_unbind(f, place[i]);
	for (uint32_t i = 9; i < 1000; i += 9) {
		snprintf(name, sizeof(name), "%u", i);
		assert_string_equal(folder_text_at(f, place[i]), name);
		assert_int_equal(folder_node(f, name), i);
	}
	assert_true(place[999] < 500);
	folder_free(f);

	f = folder_new(3, moved, place);
	known(f, "cur", 1); /* before anything was listed */
	folder_begin_load(f);
	folder_load(f, "cur", DT_DIR, 1);
	folder_load(f, "new", DT_DIR, 2);
	folder_end_load(f);
	assert_string_equal(names(f, text), "new cur");
	assert_int_equal(folder_node(f, "cur"), 1);
	assert_string_equal(folder_text_at(f, place[1]), "cur");
	assert_int_equal(place[1], 2);
	folder_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_listed_in_the_order_they_came),
		cmocka_unit_test(a_rename_keeps_the_cookie),
		cmocka_unit_test(a_renamed_name_replaces_its_target),
		cmocka_unit_test(a_cookie_is_never_used_twice),
		cmocka_unit_test(cur_is_listed_last),
		cmocka_unit_test(holes_go_and_the_rest_stays),
		cmocka_unit_test(changes_while_loading_win),
		cmocka_unit_test(a_known_name_is_not_a_listed_one),
		cmocka_unit_test(a_name_stays_as_long_as_either_needs_it),
		cmocka_unit_test(a_rename_takes_the_node_along),
		cmocka_unit_test(nodes_hear_of_places_that_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
