/* The tree of mailboxes, also one that no honest peer sends; the copies of a message. */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/mail/layout.h"
#include "backends/mail/object.h"
#include "tests/support/random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define TREE_AUTO __attribute__((cleanup(tree_release)))
#define G(n) ((struct guid){{(n)}})

static void add(struct tree *t, uint8_t id, uint8_t parent, const char *part, bool alive)
{
	struct mailbox m = {.guid = G(id), .parent = G(parent), .part = mb_xstrdup(part)};

	m.named_at = (struct stamp){2, 1};
	m.dead = (struct stamp){alive ? 1 : 2, 1};
	tree_put(t, &m);
	mailbox_release(&m);
}

static void expect_name(const struct tree *t, uint8_t id, const char *name)
{
	MB_AUTO_FREE char *got = tree_name(t, &G(id));

	assert_string_equal(got, name);
}

static void put_and_find(void **state)
{
	TREE_AUTO struct tree t = {0}, copy = {0};
	struct prng p = {14};

	for (int i = 0; i < 500; i++)
		add(&t, (uint8_t)(1 + prng_below(&p, 100)), 0, "x", true);
	for (size_t i = 1; i < t.n; i++)
		assert_true(guid_compare(&t.nodes[i - 1].guid, &t.nodes[i].guid) < 0);
	add(&t, 50, 0, "renamed", true);
	assert_string_equal(tree_find(&t, &G(50))->part, "renamed");
	assert_null(tree_find(&t, &G(200)));
	tree_clone(&copy, &t);
	assert_int_equal(copy.n, t.n);
	assert_ptr_not_equal(copy.nodes[0].part, t.nodes[0].part);
	assert_true(mailbox_equal(&copy.nodes[3], &t.nodes[3]));
	tree_put(&copy, &copy.nodes[3]); /* from inside itself */
	assert_true(mailbox_equal(&copy.nodes[3], &t.nodes[3]));
	tree_clone(&copy, &(struct tree){0});
	assert_null(tree_find(&copy, &G(50)));
}

static void names_go_from_the_top_down(void **state)
{
	TREE_AUTO struct tree t = {0};
	char **parts;
	size_t n;

	add(&t, 1, 0, "A", true);
	add(&t, 2, 1, "B/x", true);
	add(&t, 3, 2, "C", true);
	expect_name(&t, 3, "A/B\\2fx/C");
	assert_int_equal(tree_parts(&t, &G(3), &parts, &n), 0);
	assert_int_equal(n, 3);
	assert_string_equal(parts[1], "B/x");
	assert_null(parts[3]);
	layout_parts_free(parts);
}

static void what_has_no_name(void **state)
{
	TREE_AUTO struct tree t = {0};
	struct mailbox nameless = {.guid = G(9)};
	char **parts;
	size_t n;

	add(&t, 1, 2, "a", true); /* a cycle */
	add(&t, 2, 1, "b", true);
	add(&t, 3, 3, "self", true);
	add(&t, 4, 77, "orphan", true);
	tree_put(&t, &nameless);
	for (uint8_t id = 1; id <= 4; id++)
		assert_int_equal(tree_parts(&t, &G(id), &parts, &n), MB_E_NAME);
	assert_int_equal(tree_parts(&t, &G(9), &parts, &n), MB_E_NAME);
	assert_int_equal(tree_parts(&t, &GUID_ZERO, &parts, &n), MB_E_NAME);
	expect_name(&t, 4, "?04000000000000000000000000000000");
}

static void depth_is_bounded(void **state)
{
	TREE_AUTO struct tree t = {0};
	char **parts;
	size_t n;

	for (uint8_t id = 1; id <= MAILBOX_DEPTH_MAX + 1; id++)
		add(&t, id, (uint8_t)(id - 1), "d", true);
	assert_int_equal(tree_parts(&t, &G(MAILBOX_DEPTH_MAX), &parts, &n), 0);
	layout_parts_free(parts);
	assert_int_equal(tree_parts(&t, &G(MAILBOX_DEPTH_MAX + 1), &parts, &n), MB_E_NAME);
}

static void merge(struct tree *t, uint8_t from, uint8_t to)
{
	tree_find(t, &G(from))->merged_into = G(to);
}

static uint8_t resolved(const struct tree *t, uint8_t id)
{
	return tree_resolve(t, G(id)).b[0];
}

static void merged_mailboxes_resolve(void **state)
{
	TREE_AUTO struct tree t = {0};

	for (uint8_t id = 1; id <= 8; id++)
		add(&t, id, 0, "x", true);
	merge(&t, 1, 2);
	merge(&t, 2, 3);
	assert_int_equal(resolved(&t, 1), 3);
	assert_int_equal(resolved(&t, 3), 3);
	assert_int_equal(resolved(&t, 99), 99);
	merge(&t, 4, 99);
	assert_int_equal(resolved(&t, 4), 99);
	merge(&t, 7, 6); /* a loop with a tail: all agree */
	merge(&t, 6, 5);
	merge(&t, 5, 6);
	for (uint8_t id = 5; id <= 7; id++)
		assert_int_equal(resolved(&t, id), 5);
	merge(&t, 8, 8);
	assert_int_equal(resolved(&t, 8), 8);
	add(&t, 20, 1, "child", true); /* its parent became 3 */
	expect_name(&t, 20, "x/child");
	assert_non_null(tree_child(&t, &G(3), "child"));
}

static void children_by_name(void **state)
{
	TREE_AUTO struct tree t = {0};
	struct mailbox inbox = {.guid = GUID_INBOX, .part = mb_xstrdup("INBOX")};

	inbox.named_at = (struct stamp){1, 1};
	tree_put(&t, &inbox);
	mailbox_release(&inbox);
	add(&t, 2, 0, "A", true);
	add(&t, 3, 2, "A", true);
	add(&t, 4, 0, "dead", false);
	add(&t, 5, 0, "parent", false);
	add(&t, 6, 5, "between", false);
	add(&t, 7, 6, "live", true);
	assert_int_equal(tree_child(&t, &GUID_ZERO, "A")->guid.b[0], 2);
	assert_int_equal(tree_child(&t, &G(2), "A")->guid.b[0], 3);
	assert_null(tree_child(&t, &GUID_ZERO, "a"));
	assert_null(tree_child(&t, &GUID_ZERO, "dead"));
	assert_int_equal(tree_child(&t, &GUID_ZERO, "parent")->guid.b[0], 5);
	assert_int_equal(tree_child(&t, &G(5), "between")->guid.b[0], 6);
	add(&t, 8, 0, "parent", true); /* a live one comes first */
	assert_int_equal(tree_child(&t, &GUID_ZERO, "parent")->guid.b[0], 8);
	assert_true(guid_equal(&tree_child(&t, &GUID_ZERO, "inbox")->guid, &GUID_INBOX));
	assert_null(tree_child(&t, &G(2), "INBOX"));
}

/* Any nodes at all: every function ends, and what has a name is found by it. */
static void random_trees(void **state)
{
	struct prng p = {15};

	for (int i = 0; i < 300; i++) {
		TREE_AUTO struct tree t = {0};

		for (int n = 0; n < 12; n++) {
			struct mailbox m = {0};

			random_mailbox(&p, &m);
			m.guid.b[0] = (uint8_t)(1 + prng_below(&p, 8));
			m.parent.b[0] = (uint8_t)prng_below(&p, 9);
			tree_put(&t, &m);
			mailbox_release(&m);
		}
		for (uint8_t id = 0; id < 10; id++) {
			MB_AUTO_FREE char *name = tree_name(&t, &G(id));

			assert_non_null(name);
			tree_resolve(&t, G(id));
			tree_child(&t, &G(id), "a");
		}
	}
}

static void copies_of_a_message(void **state)
{
	struct message m = {.guid = G(5)};

	assert_null(message_find(&m, 0));
	for (uint64_t id = 0; id < 100; id++) {
		struct copy *c = message_add(&m, id * 7);

		assert_true(c->id == id * 7 && guid_equal(&c->guid, &m.guid));
		c->place.base = mb_xstrdup("x");
	}
	assert_int_equal(message_find(&m, 70)->id, 70);
	assert_null(message_find(&m, 71));
	assert_false(message_alive(&m));
	message_find(&m, 70)->place.at.time = 1;
	assert_true(message_alive(&m));
	message_find(&m, 70)->dead.time = 1;
	assert_false(message_alive(&m));
	message_release(&m);
	assert_int_equal(m.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(put_and_find),
		cmocka_unit_test(names_go_from_the_top_down),
		cmocka_unit_test(what_has_no_name),
		cmocka_unit_test(depth_is_bounded),
		cmocka_unit_test(merged_mailboxes_resolve),
		cmocka_unit_test(children_by_name),
		cmocka_unit_test(random_trees),
		cmocka_unit_test(copies_of_a_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
