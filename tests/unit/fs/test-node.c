/*
 * test-node.c - one node for each inode, its names, its life.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <errno.h>
#include <cmocka.h>
#include "fs/node.h"

static struct node_table t;
static int freed;

static void on_free(struct node *n, void *arg)
{
	freed++;
}

static struct stat file_stat(uint64_t ino, nlink_t links)
{
	return (struct stat){
		.st_dev = 1, .st_ino = ino, .st_mode = S_IFREG | 0600, .st_nlink = links};
}

static struct stat dir_stat(uint64_t ino)
{
	return (struct stat){.st_dev = 1, .st_ino = ino, .st_mode = S_IFDIR | 0700, .st_nlink = 2};
}

static int setup(void **state)
{
	struct stat root = dir_stat(2);

	node_table_init(&t, &root, on_free, NULL);
	freed = 0;
	return 0;
}

static int teardown(void **state)
{
	node_table_release(&t);
	return 0;
}

/* As a LOOKUP does. */
static struct node *look(struct node *dir, const char *name, struct stat st)
{
	struct node *n = node_bind(&t, dir, name, &st);

	node_look(n);
	return n;
}

static const char *path_of(const struct node *n)
{
	static char path[AT_PATH_MAX];

	return node_any_path(n, path) == 0 ? path : NULL;
}

static void paths_are_made_of_names(void **state)
{
	struct node *a = look(t.root, "a", dir_stat(10));
	struct node *b = look(a, "b", dir_stat(11));
	struct node *f = look(b, "f", file_stat(12, 1));
	char path[AT_PATH_MAX];

	assert_string_equal(path_of(f), "a/b/f");
	assert_string_equal(path_of(b), "a/b");
	assert_string_equal(path_of(t.root), "");
	assert_int_equal(node_path(t.root, "x", path), 0);
	assert_string_equal(path, "x");
	assert_ptr_equal(node_walk(&t, "a/b/f", 5), f);
	assert_ptr_equal(node_walk(&t, "", 0), t.root);
	assert_null(node_walk(&t, "a/x/f", 5));
}

static void too_long_paths_are_refused(void **state)
{
	char name[256], path[AT_PATH_MAX];
	struct node *dir = t.root;

	memset(name, 'n', 255);
	name[255] = '\0';
	for (uint64_t i = 0; i < AT_PATH_MAX / 256; i++)
		dir = look(dir, name, dir_stat(100 + i));
	assert_int_equal(node_path(dir, name, path), -ENAMETOOLONG);
	assert_int_equal(node_path(dir, NULL, path), 0);
	assert_int_equal(strlen(path), AT_PATH_MAX - 1);
}

static void hard_links_are_one_node(void **state)
{
	struct node *f = look(t.root, "one", file_stat(20, 2));

	assert_ptr_equal(look(t.root, "two", file_stat(20, 2)), f);
	assert_int_equal(node_n_names(f), 2);
	node_drop_name(&t, t.root, "one");
	assert_string_equal(path_of(f), "two");
	assert_ptr_equal(node_find(&t, 1, 20), f);
}

/* Renamed behind our back: the old name cannot be right any more. */
static void a_single_name_moves(void **state)
{
	struct node *f = look(t.root, "old", file_stat(20, 1));

	assert_ptr_equal(look(t.root, "new", file_stat(20, 1)), f);
	assert_null(node_at(t.root, "old"));
	assert_string_equal(path_of(f), "new");
}

static void a_name_that_leads_to_another_file(void **state)
{
	struct node *f = look(t.root, "x", file_stat(20, 1));
	struct node *g = look(t.root, "x", file_stat(21, 1));

	assert_ptr_not_equal(f, g);
	assert_null(path_of(f));
	assert_null(node_find(&t, 1, 20));
	assert_ptr_equal(node_at(t.root, "x"), g);
}

/* Unlinked while open; its inode number is given to a new file. */
static void a_node_without_names_lives_until_forgotten(void **state)
{
	struct node *f = look(t.root, "x", file_stat(20, 1));

	node_drop_name(&t, t.root, "x");
	assert_int_equal(freed, 0);
	assert_ptr_not_equal(look(t.root, "y", file_stat(20, 1)), f);
	node_forget(&t, f, 1);
	assert_int_equal(freed, 1);
}

/* A rename that is told as a removal first. */
static void a_node_gets_a_name_again(void **state)
{
	struct node *f = look(t.root, "x", file_stat(20, 1));

	node_drop_name(&t, t.root, "x");
	node_add_name(&t, f, t.root, "y");
	assert_ptr_equal(look(t.root, "y", file_stat(20, 1)), f);
}

static void directories_outlive_what_is_in_them(void **state)
{
	struct node *a = look(t.root, "a", dir_stat(10));
	struct node *f = look(a, "f", file_stat(12, 1));

	node_forget(&t, a, 1); /* the kernel may forget the parent first */
	assert_int_equal(freed, 0);
	assert_string_equal(path_of(f), "a/f");
	node_forget(&t, f, 1);
	assert_int_equal(freed, 2);
	assert_null(node_at(t.root, "a"));
}

static void references_keep_a_node(void **state)
{
	struct node *f = look(t.root, "x", file_stat(20, 1));

	node_ref(f);
	node_forget(&t, f, 5); /* more than there are: never below zero */
	assert_int_equal(freed, 0);
	node_unref(&t, f);
	assert_int_equal(freed, 1);
	assert_null(node_at(t.root, "x"));
}

static void another_inode_behind_a_node(void **state)
{
	struct node *f = look(t.root, "x", file_stat(20, 1));
	struct stat other = file_stat(21, 1);

	assert_true(node_rekey(&t, f, &other));
	assert_ptr_equal(node_find(&t, 1, 21), f);
	assert_null(node_find(&t, 1, 20));
	look(t.root, "y", file_stat(22, 1));
	other.st_ino = 22;
	assert_false(node_rekey(&t, f, &other));
	assert_ptr_equal(node_find(&t, 1, 21), f);
}

static void a_message_name_is_preferred(void **state)
{
	struct node *tmp = look(t.root, "tmp", dir_stat(10));
	struct node *cur = look(t.root, "cur", dir_stat(11));
	struct name name;
	struct node *f;

	tmp->dir->kind = NODE_LOCAL;
	cur->dir->kind = NODE_CUR;
	f = look(cur, "m", file_stat(20, 2));
	look(tmp, "m", file_stat(20, 2));
	assert_string_equal(path_of(f), "cur/m");
	node_drop_name(&t, cur, "m");
	assert_false(node_message_name(f, &name));
	assert_string_equal(path_of(f), "tmp/m");
}

static struct node *message_dir(const char *name, uint64_t ino)
{
	struct node *dir = look(t.root, name, dir_stat(ino));

	dir->dir->kind = NODE_CUR;
	return dir;
}

/* A write names the node: it must say which message it means. */
static void linked_messages_have_nodes_of_their_own(void **state)
{
	struct node *cur = message_dir("cur", 10), *other = message_dir("other", 11);
	struct node *tmp = look(t.root, "tmp", dir_stat(12));
	struct node *a = look(cur, "m", file_stat(20, 2)), *b = look(other, "k", file_stat(20, 2));

	tmp->dir->kind = NODE_TMP;
	assert_ptr_not_equal(a, b);
	assert_string_equal(path_of(a), "cur/m");
	assert_string_equal(path_of(b), "other/k");
	assert_ptr_equal(look(cur, "m", file_stat(20, 2)), a);
	assert_ptr_equal(look(other, "k", file_stat(20, 2)), b);
	assert_int_equal(node_n_names(a), 1);
	assert_int_equal(node_n_links(&t, a), 2);
	/* it will be a message, and keep its node */
	assert_int_equal(node_n_names(look(tmp, "t", file_stat(20, 3))), 1);
	assert_int_equal(node_n_links(&t, a), 3);
	assert_int_equal(node_n_message_names(a) + node_n_message_names(b), 2);
	node_drop_name(&t, other, "k");
	assert_string_equal(path_of(a), "cur/m");
	assert_int_equal(node_n_links(&t, a), 2);
}

/* The store gave one of them a file of its own. */
static void a_sibling_gets_another_inode(void **state)
{
	struct node *cur = message_dir("cur", 10), *other = message_dir("other", 11);
	struct node *a = look(cur, "m", file_stat(20, 2)), *b = look(other, "k", file_stat(20, 2));
	struct stat own = file_stat(21, 1), same = file_stat(20, 2);

	assert_true(node_rekey(&t, a, &same) && node_rekey(&t, b, &same));
	assert_true(node_rekey(&t, a, &own));
	assert_ptr_equal(node_find(&t, 1, 21), a);
	assert_ptr_equal(node_find(&t, 1, 20), b);
	assert_null(node_next_sibling(b));
	assert_int_equal(node_n_links(&t, b), 1);
	assert_ptr_equal(look(other, "k", file_stat(20, 1)), b);
}

static void many_nodes(void **state)
{
	enum { N = 20000 };
	static struct node *nodes[N];
	char name[32];

	for (unsigned i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "%u", i);
		nodes[i] = look(t.root, name, file_stat(1000 + i, 1));
	}
	for (unsigned i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "%u", i);
		assert_ptr_equal(node_at(t.root, name), nodes[i]);
		assert_ptr_equal(node_find(&t, 1, 1000 + i), nodes[i]);
	}
	for (unsigned i = 0; i < N; i++)
		node_forget(&t, nodes[i], 1);
	assert_int_equal(freed, N);
	assert_int_equal(t.n_names, 0);
	assert_int_equal(t.n_keys, 1);
}

/* A count that has reached its end stays there, rather than to free what the kernel still has. */
static void a_count_does_not_run_over(void **state)
{
	struct node *f = look(t.root, "x", file_stat(20, 1));

	f->nlookup = UINT32_MAX - 1;
	assert_false(node_look(f));
	assert_false(node_look(f));
	node_forget(&t, f, UINT32_MAX);
	assert_int_equal(freed, 0);
	assert_int_equal(f->nlookup, UINT32_MAX);
}

static void files_of_many_devices(void **state)
{
	struct stat st = file_stat(20, 1);
	char name[32];

	for (st.st_dev = 1; st.st_dev < 1000; st.st_dev++) {
		struct node *n;

		snprintf(name, sizeof(name), "%lu", st.st_dev);
		n = look(t.root, name, st);
		assert_true(node_is(n, &st));
		assert_int_equal(node_dev(n), st.st_dev);
		assert_ptr_equal(node_at(t.root, name), n);
	}
	st.st_dev = 7;
	assert_ptr_equal(look(t.root, "7", st), node_find(&t, 7, 20));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(paths_are_made_of_names),
		TEST(too_long_paths_are_refused),
		TEST(hard_links_are_one_node),
		TEST(a_single_name_moves),
		TEST(a_name_that_leads_to_another_file),
		TEST(a_node_without_names_lives_until_forgotten),
		TEST(a_node_gets_a_name_again),
		TEST(directories_outlive_what_is_in_them),
		TEST(references_keep_a_node),
		TEST(another_inode_behind_a_node),
		TEST(a_message_name_is_preferred),
		TEST(linked_messages_have_nodes_of_their_own),
		TEST(a_sibling_gets_another_inode),
		TEST(many_nodes),
		TEST(a_count_does_not_run_over),
		TEST(files_of_many_devices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
