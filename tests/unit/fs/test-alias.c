/*
 * test-alias.c - names that a peer retired.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "fs/alias.h"

static struct node_table nodes;
static struct alias_table t;

static int setup(void **state)
{
	struct stat root = {.st_dev = 1, .st_ino = 2, .st_mode = S_IFDIR | 0700};

	node_table_init(&nodes, &root, NULL, NULL);
	alias_table_init(&t, &nodes);
	return 0;
}

static int teardown(void **state)
{
	alias_table_release(&t);
	assert_int_equal(nodes.root->refs, 1);
	node_table_release(&nodes);
	return 0;
}

static const char *target(const char *name, int64_t now)
{
	const struct alias *a = alias_find(&t, nodes.root, name, now);

	return a ? a->to_name : NULL;
}

static void it_leads_to_the_present_name(void **state)
{
	assert_null(target("m:2,", 0));
	alias_add(&t, nodes.root, "m:2,", nodes.root, "m:2,S", 0);
	assert_string_equal(target("m:2,", 1), "m:2,S");
	alias_follow(&t, nodes.root, "m:2,S", nodes.root, "m:2,FS");
	alias_add(&t, nodes.root, "m:2,S", nodes.root, "m:2,FS", 1);
	assert_string_equal(target("m:2,", 1), "m:2,FS");
	assert_string_equal(target("m:2,S", 1), "m:2,FS");
}

static void it_ends(void **state)
{
	alias_add(&t, nodes.root, "a", nodes.root, "b", 0);
	assert_null(target("a", ALIAS_LIFE_NS));
	alias_expire(&t, ALIAS_LIFE_NS - 1);
	assert_int_equal(t.n, 1);
	alias_expire(&t, ALIAS_LIFE_NS);
	assert_int_equal(t.n, 0);
}

static void it_ends_with_the_mail_and_with_a_real_name(void **state)
{
	alias_add(&t, nodes.root, "a", nodes.root, "b", 0);
	alias_follow(&t, nodes.root, "b", NULL, NULL);
	assert_null(target("a", 1));
	alias_add(&t, nodes.root, "a", nodes.root, "b", 0);
	alias_shadowed(&t, nodes.root, "a");
	assert_null(target("a", 1));
	alias_shadowed(&t, nodes.root, "a");
}

static struct node *a_directory(uint64_t ino, struct node *parent, const char *name)
{
	struct stat st = {.st_dev = 1, .st_ino = ino, .st_mode = S_IFDIR | 0700};
	struct node *n = node_get(&nodes, &st);

	node_look(n);
	node_add_name(&nodes, n, parent, name);
	return n;
}

/* neomutt unlinks the names of all that is no longer in its folder. */
static void it_leads_into_no_other_mailbox(void **state)
{
	struct node *work = a_directory(3, nodes.root, ".work");
	struct node *cur = a_directory(4, work, "cur"), *new = a_directory(5, work, "new");
	struct node *box = a_directory(7, nodes.root, ".other");
	struct node *other = a_directory(6, box, "cur");

	alias_add(&t, new, "m", cur, "m:2,S", 0);
	assert_string_equal(alias_find(&t, new, "m", 1)->to_name, "m:2,S");
	alias_follow(&t, cur, "m:2,S", other, "m:2,S");
	assert_null(alias_find(&t, new, "m", 1));
	alias_add(&t, cur, "n:2,", other, "n:2,", 0);
	assert_null(alias_find(&t, cur, "n:2,", 1));
	assert_int_equal(t.n, 0);
	for (size_t i = 0; i < 5; i++)
		node_forget(&nodes, (struct node *[]){cur, new, other, work, box}[i], 1);
}

/* The program knew `old`, asks for `wanted`; the mail is called `real`. */
static void only_the_difference_of_flags_counts(void **state)
{
	static const struct {
		const char *old, *wanted, *real, *result;
	} cases[] = {
		{"m:2,", "m:2,F", "m:2,S", "m:2,FS"},	      /* both added one */
		{"m:2,S", "m:2,", "m:2,FS", "m:2,F"},	      /* took away what it knew */
		{"m:2,", "m:2,S", "m:2,S", "m:2,S"},	      /* the same thing */
		{"m:2,S", "m:2,ST", "m:2,", "m:2,T"},	      /* the peer took S away */
		{"m", "m:2,S", "m:2,F", "m:2,FS"},	      /* from new */
		{"m:2,a", "m:2,ab", "m:2,ac", "m:2,abc"},     /* keywords */
		{"m:2,", "other:2,S", "m:2,F", "other:2,FS"}, /* another base name */
		{"m,S=3:2,", "m,S=3:2,S", "m,S=3,W=4:2,", "m,S=3,W=4:2,S"},
	};
	char out[FNAME_MAX + 1];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(alias_merge_name(cases[i].old, cases[i].wanted, cases[i].real, out));
		assert_string_equal(out, cases[i].result);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_leads_to_the_present_name),
		TEST(it_ends),
		TEST(it_ends_with_the_mail_and_with_a_real_name),
		TEST(it_leads_into_no_other_mailbox),
		TEST(only_the_difference_of_flags_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
