/*
 * test-node-name.c - names of nodes that the folders move about.
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
#include "fs/node.h"

static struct node_table t;

static int setup(void **state)
{
	struct stat root = {.st_dev = 1, .st_ino = 2, .st_mode = S_IFDIR | 0700, .st_nlink = 2};

	node_table_init(&t, &root, NULL, NULL);
	return 0;
}

static int teardown(void **state)
{
	node_table_release(&t);
	return 0;
}

static struct node *look(struct node *dir, const char *name, uint64_t ino, mode_t type,
			 nlink_t links)
{
	struct stat st = {.st_dev = 1, .st_ino = ino, .st_mode = type | 0700, .st_nlink = links};
	struct node *n = node_bind(&t, dir, name, &st);

	node_look(n);
	return n;
}

static struct node *file(const char *name, uint64_t ino)
{
	return look(t.root, name, ino, S_IFREG, 1);
}

static void begin_listing(struct node *dir)
{
	folder_begin_load(node_folder(dir));
	folder_end_load(node_folder(dir));
}

static void check_path(const struct node *n, const char *expected)
{
	char path[AT_PATH_MAX];

	assert_int_equal(node_any_path(n, path), 0);
	assert_string_equal(path, expected);
}

static void the_newest_name_is_the_first(void **state)
{
	struct node *f = look(t.root, "one", 20, S_IFREG, 3);
	struct node *dir = look(t.root, "d", 30, S_IFDIR, 2);
	struct name name;

	look(t.root, "two", 20, S_IFREG, 3);
	look(dir, "three", 20, S_IFREG, 3);
	assert_int_equal(node_n_names(f), 3);
	assert_true(node_name(f, 0, &name));
	assert_string_equal(name.text, "three");
	assert_ptr_equal(name.dir, dir);
	assert_true(node_name(f, 2, &name));
	assert_string_equal(name.text, "one");
	assert_false(node_name(f, 3, &name));
	node_drop_name(&t, t.root, "two");
	node_drop_name(&t, dir, "three");
	assert_int_equal(node_n_names(f), 1);
	check_path(f, "one");
	node_drop_name(&t, t.root, "nothing");
	node_drop_name(&t, t.root, "one");
	assert_false(node_has_name(f));
}

static void a_listed_rename_takes_the_node_along(void **state)
{
	struct node *a = file("a", 20), *b = file("b", 21);

	begin_listing(t.root);
	folder_add(t.root->dir->folder, "a", DT_REG, 20);
	folder_add(t.root->dir->folder, "b", DT_REG, 21);
	assert_true(node_rename_listed(&t, t.root, "a", "b"));
	check_path(a, "b");
	assert_false(node_has_name(b));
	assert_null(node_at(t.root, "a"));
	assert_true(node_rename_listed(&t, t.root, "b", "b"));
	check_path(a, "b");
	assert_false(node_rename_listed(&t, t.root, "a", "c"));
	check_path(a, "b");
}

/* The kernel looked the new name up before the rename was told. */
static void a_node_that_has_the_new_name_keeps_it(void **state)
{
	struct node *n;

	begin_listing(t.root);
	folder_add(t.root->dir->folder, "a", DT_REG, 20);
	n = file("b", 20);
	assert_true(node_rename_listed(&t, t.root, "a", "b"));
	check_path(n, "b");
	assert_ptr_equal(node_at(t.root, "b"), n);
	assert_int_equal(folder_find(t.root->dir->folder, "b")->node, pool_id(n));
}

/* A rename within a directory, where the names of others fall into another place by it. */
static void names_that_are_packed_lead_to_their_nodes(void **state)
{
	enum { N = 3000 };
	static struct node *nodes[N];
	char name[32];

	begin_listing(t.root);
	for (unsigned i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "%u", i);
		folder_add(t.root->dir->folder, name, DT_REG, 100 + i);
		nodes[i] = file(name, 100 + i);
	}
	for (unsigned i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "%u", i);
		if (i % 5 == 0)
			continue;
		node_drop_name(&t, t.root, name);
		folder_remove(t.root->dir->folder, name);
		node_forget(&t, nodes[i], 1);
	}
	for (unsigned i = 0; i < N; i += 5) {
		snprintf(name, sizeof(name), "%u", i);
		check_path(nodes[i], name);
		assert_ptr_equal(node_at(t.root, name), nodes[i]);
	}
	assert_int_equal(t.n_names, N / 5);
	assert_int_equal(pool_count(t.pool), N / 5 + 1);
}

/* Names, listed or not, in two directories against a table of them. */
enum { DIRS = 2, NAMES = 150, STEPS = 60000 };
static struct node *expected[DIRS][NAMES];
static bool listed[DIRS][NAMES];

static void check_all(struct node *const dirs[DIRS])
{
	char name[32];

	for (unsigned d = 0; d < DIRS; d++) {
		for (unsigned i = 0; i < NAMES; i++) {
			snprintf(name, sizeof(name), "name-%u", i);
			assert_ptr_equal(node_at(dirs[d], name), expected[d][i]);
			assert_true((folder_find(dirs[d]->dir->folder, name) != NULL) ==
				    listed[d][i]);
		}
	}
}

static void names_as_in_a_model(void **state)
{
	struct node *dirs[DIRS] = {look(t.root, "x", 10, S_IFDIR, 2),
				   look(t.root, "y", 11, S_IFDIR, 2)};
	uint64_t ino = 100;

	srandom(11);
	for (unsigned d = 0; d < DIRS; d++)
		begin_listing(dirs[d]);
	for (unsigned step = 0; step < STEPS; step++) {
		unsigned d = (unsigned)random() % DIRS, i = (unsigned)random() % NAMES,
			 j = (unsigned)random() % NAMES;
		struct node *dir = dirs[d], *n = expected[d][i];
		char name[32], to[32];

		snprintf(name, sizeof(name), "name-%u", i);
		snprintf(to, sizeof(to), "name-%u", j);
		switch (random() % 6) {
		case 0:
			if (!n)
				expected[d][i] = look(dir, name, ino++, S_IFREG, 1);
			break;
		case 1:
			if (n)
				node_forget(&t, n, 1);
			expected[d][i] = NULL;
			break;
		case 2:
			assert_true(folder_add(dir->dir->folder, name, DT_REG, ino) !=
				    listed[d][i]);
			listed[d][i] = true;
			break;
		case 3:
			assert_true(folder_remove(dir->dir->folder, name) == listed[d][i]);
			listed[d][i] = false;
			break;
		case 4: /* from one directory to the other */
			if (!n || expected[1 - d][j])
				break;
			node_add_name(&t, n, dirs[1 - d], to);
			node_drop_name(&t, dir, name);
			expected[1 - d][j] = n;
			expected[d][i] = NULL;
			break;
		case 5:
			if (i == j || !listed[d][i] || (n && expected[d][j]))
				break;
			assert_true(node_rename_listed(&t, dir, name, to));
			listed[d][i] = false;
			listed[d][j] = true;
			expected[d][j] = n ? n : expected[d][j];
			expected[d][i] = NULL;
			break;
		}
		if (step % 500 == 0)
			check_all(dirs);
	}
	check_all(dirs);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_newest_name_is_the_first),
		TEST(a_listed_rename_takes_the_node_along),
		TEST(a_node_that_has_the_new_name_keeps_it),
		TEST(names_that_are_packed_lead_to_their_nodes),
		TEST(names_as_in_a_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
