/*
 * test-folder-attr.c - what is kept of a stat, and when it goes.
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

static struct stat file(ino_t ino, off_t size)
{
	return (struct stat){
		.st_dev = 7,
		.st_ino = ino,
		.st_nlink = 1,
		.st_mode = S_IFREG | 0600,
		.st_uid = 1000,
		.st_gid = 100,
		.st_size = size,
		.st_blocks = 8,
		.st_mtim = {.tv_sec = 12, .tv_nsec = 34},
		.st_ctim = {.tv_sec = 56, .tv_nsec = 78},
		.st_atim = {.tv_sec = -2, .tv_nsec = 999999999},
	};
}

static void keep(struct folder *f, const char *name, const struct stat *st)
{
	folder_attr_put(f, name, st, 99, folder_attr_age(f));
}

static bool kept(const struct folder *f, const char *name)
{
	struct stat st;

	return folder_attr_get(f, folder_find(f, name), &st);
}

static void what_stat_said_is_kept(void **state)
{
	struct folder *f = listing(3);
	struct stat st = file(1, 4321), got;

	folder_add(f, "a", 8, 1);
	assert_false(kept(f, "a"));
	keep(f, "a", &st);
	assert_true(folder_attr_get(f, folder_find(f, "a"), &got));
	assert_int_equal(folder_find(f, "a")->ordinal, 99);
	assert_int_equal(got.st_dev, 7);
	assert_int_equal(got.st_ino, 1);
	assert_int_equal(got.st_nlink, 1);
	assert_int_equal(got.st_mode, S_IFREG | 0600);
	assert_int_equal(got.st_uid, 1000);
	assert_int_equal(got.st_gid, 100);
	assert_int_equal(got.st_size, 4321);
	assert_int_equal(got.st_blocks, 8);
	assert_memory_equal(&got.st_mtim, &st.st_mtim, sizeof(st.st_mtim));
	assert_memory_equal(&got.st_ctim, &st.st_ctim, sizeof(st.st_ctim));
	assert_memory_equal(&got.st_atim, &st.st_atim, sizeof(st.st_atim));
	folder_free(f);
}

static void every_change_of_the_entry_takes_it_away(void **state)
{
	struct folder *f = listing(3);
	struct stat st = file(1, 5), other = file(2, 5);

	folder_add(f, "a", 8, 1);
	folder_add(f, "b", 8, 2);
	keep(f, "a", &st);
	folder_rename(f, "a", "c");
	assert_false(kept(f, "c"));
	keep(f, "c", &st);
	folder_add(f, "c", 8, 1);
	assert_false(kept(f, "c"));
	keep(f, "c", &st);
	keep(f, "b", &other);
	folder_attr_drop(f, "c");
	assert_false(kept(f, "c"));
	assert_true(kept(f, "b"));
	folder_free(f);
}

static void what_was_seen_before_a_change_is_not_kept(void **state)
{
	struct folder *f = listing(3);
	struct stat st = file(1, 5);
	uint64_t age;

	folder_add(f, "a", 8, 1);
	age = folder_attr_age(f);
	folder_attr_drop(f, "a");
	folder_attr_put(f, "a", &st, 99, age);
	assert_false(kept(f, "a"));

	age = folder_attr_age(f);
	folder_attr_drop(f, "not there");
	folder_attr_put(f, "a", &st, 99, age);
	assert_false(kept(f, "a"));

	age = folder_attr_age(f);
	folder_remove(f, "a");
	folder_add(f, "a", 8, 1);
	folder_attr_put(f, "a", &st, 99, age);
	assert_false(kept(f, "a"));
	folder_free(f);
}

static void what_does_not_fit_is_not_kept(void **state)
{
	struct folder *f = listing(3);
	struct stat odd[] = {file(1, 5), file(1, 5), file(1, (off_t)UINT32_MAX + 1), file(9, 5),
			     file(1, 5)};

	odd[0].st_nlink = 2;
	odd[1].st_mode = S_IFDIR | 0700;
	odd[4].st_blocks = UINT16_MAX + 1;
	folder_add(f, "a", 8, 1);
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		keep(f, "a", &odd[i]);
		assert_false(kept(f, "a"));
	}
	for (uid_t uid = 0; uid < 100; uid++) { /* more owners than the table holds */
		struct stat st = file(1, 5), got;

		st.st_uid = uid;
		folder_attr_drop(f, "a");
		keep(f, "a", &st);
		assert_true(folder_attr_get(f, folder_find(f, "a"), &got) == (uid < 16));
		assert_true(uid >= 16 || got.st_uid == uid);
	}
	folder_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_stat_said_is_kept),
		cmocka_unit_test(every_change_of_the_entry_takes_it_away),
		cmocka_unit_test(what_was_seen_before_a_change_is_not_kept),
		cmocka_unit_test(what_does_not_fit_is_not_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
