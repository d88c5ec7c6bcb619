/*
 * test-scope-unmatched.c - which names of a selection nobody has.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/mem.h"
#include "sync/scope-unmatched.h"

#include <stdlib.h>
#include <string.h>

/* A tree with one mailbox for each letter: "a", "b", ...; a GUID is its letter 32 times over. */
static struct tree tree_of(size_t n)
{
	struct tree t = {.nodes = mb_xcalloc(n, sizeof(*t.nodes)), .n = n, .cap = n};

	for (size_t i = 0; i < n; i++) {
		char name[2] = {(char)('a' + i)};
		t.nodes[i] = (struct mailbox){.part = mb_xstrdup(name),
					      .born = {.time = 1},
					      .named_at = {.time = 1},
					      .selectable = true};
		memset(t.nodes[i].guid.b, 0x11 * (0xa + (int)i), sizeof(t.nodes[i].guid.b));
	}
	return t;
}

static void check(const struct scope *s, const struct tree trees[2], const char *want)
{
	struct scope_list list = {0};

	scope_unmatched(s, trees, &list);
	assert_int_equal(list.n, want ? 1 : 0);
	if (want)
		assert_string_equal(list.items[0], want);
	scope_list_release(&list);
}

static void a_name_on_one_side_is_enough(void **state)
{
	struct tree trees[2] = {tree_of(1), tree_of(2)};
	struct scope s;

	scope_init(&s);
	check(&s, trees, NULL);
	assert_true(scope_add_name(&s.names, "a"));
	assert_true(scope_add_name(&s.names, "b"));
	check(&s, trees, NULL);
	assert_true(scope_add_name(&s.names, "A"));
	check(&s, trees, "A"); /* case counts */
	scope_release(&s);
	tree_release(&trees[0]);
	tree_release(&trees[1]);
}

static void a_special_use_may_be_without(void **state)
{
	struct tree trees[2] = {tree_of(1), tree_of(1)};
	struct scope s;

	scope_init(&s);
	assert_true(scope_add_name(&s.names, "\\Sent"));
	check(&s, trees, NULL);
	scope_release(&s);
	tree_release(&trees[0]);
	tree_release(&trees[1]);
}

static void what_is_deleted_or_a_mere_name_is_none(void **state)
{
	struct tree trees[2] = {tree_of(2), tree_of(2)};
	struct scope s;

	scope_init(&s);
	assert_true(scope_add_name(&s.names, "a"));
	trees[0].nodes[0].dead = trees[0].nodes[0].dead_at = (struct stamp){.time = 2};
	check(&s, trees, NULL); /* the other side has it still: its deletion is done there */
	trees[1].nodes[0].selectable = false;
	check(&s, trees, "a");
	trees[0].nodes[0].merged_into = trees[0].nodes[1].guid;
	check(&s, trees, NULL); /* it lives on in another */
	scope_release(&s);
	tree_release(&trees[0]);
	tree_release(&trees[1]);
}

static void guids(void **state)
{
	struct tree trees[2] = {tree_of(1), tree_of(1)};
	struct scope s;

	scope_init(&s);
	assert_true(scope_add_guid(&s.guids, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
	check(&s, trees, NULL);
	assert_true(scope_add_guid(&s.guids, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB"));
	check(&s, trees, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab");
	scope_release(&s);
	tree_release(&trees[0]);
	tree_release(&trees[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_on_one_side_is_enough),
		cmocka_unit_test(a_special_use_may_be_without),
		cmocka_unit_test(what_is_deleted_or_a_mere_name_is_none),
		cmocka_unit_test(guids),
	};
	return cmocka_run_group_tests_name("scope-unmatched", tests, NULL, NULL);
}
