/*
 * test-sync-diff.c - what a dry run would do, as figures.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/mem.h"
#include "sync/sync-diff.h"

#include <stdlib.h>
#include <string.h>

static char WORK[] = "Work", EVIL[] = "e\033[2Jvil";

/* INBOX, Work (guid 1...) and one whose name would clear the screen (2...). */
struct fixture {
	struct mailbox nodes[2];
	struct tree tree;
	struct sync_diff diff;
};

static struct guid guid_of(uint8_t byte)
{
	struct guid g;

	memset(g.b, byte, sizeof(g.b));
	return g;
}

static int setup(void **state)
{
	struct fixture *f = mb_xcalloc(1, sizeof(*f));

	f->nodes[0] = (struct mailbox){.guid = guid_of(1), .part = WORK, .selectable = true};
	f->nodes[1] = (struct mailbox){.guid = guid_of(2), .part = EVIL, .selectable = true};
	f->tree = (struct tree){.nodes = f->nodes, .n = 2};
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	sync_diff_release(&f->diff);
	free(f);
	return 0;
}

static void add(struct fixture *f, int side, enum record_type what, uint8_t mailbox, int times)
{
	struct record item = {.type = REC_COPY_STATE, .copy.place.mailbox = guid_of(mailbox)};

	for (int i = 0; i < times; i++)
		sync_diff_add(&f->diff, side, what, &f->tree, &item);
}

static void expect_figures(const struct session_counts *c, const char *expect)
{
	char *text = sync_diff_figures(c);

	assert_string_equal(text, expect);
	free(text);
}

static void figures(void **state)
{
	struct session_counts c = {0};

	expect_figures(&c, "+ 0 mails  ~ 0 flags  > 0 moves  - 0 expunged");
	c.arrived = 812;
	c.flags = 40;
	c.moved = 3;
	expect_figures(&c, "+ 812 mails  ~ 40 flags  > 3 moves  - 0 expunged");
	session_count(&c, REC_MAILBOX_CREATE);
	session_count(&c, REC_MAILBOX_REVIVE);
	session_count(&c, REC_MAILBOX_RENAME);
	expect_figures(&c, "+ 812 mails  ~ 40 flags  > 3 moves  - 0 expunged  folders + 2 ~ 1 - 0");
	memset(&c, 0, sizeof(c));
	session_count(&c, REC_MAILBOX_DELETE);
	session_count(&c, REC_MAILBOX_SUBSCRIBE);
	session_count(&c, REC_RENUMBER);
	session_count(&c, REC_NONE);
	expect_figures(&c, "+ 0 mails  ~ 0 flags  > 0 moves  - 0 expunged  folders + 0 ~ 0 - 1"
			   "  other 2");
}

static void a_line_for_each_direction_and_mailbox(void **state)
{
	struct fixture *f = *state;
	struct session_result r = {0};

	add(f, 1, REC_ARRIVE, 2, 3);
	add(f, 1, REC_FLAGS, 1, 2);
	add(f, 0, REC_EXPUNGE, 1, 1);
	add(f, 0, REC_NONE, 2, 5);
	r.to[1] = (struct session_counts){.arrived = 3, .flags = 2};
	r.to[0].expunged = 1;
	char *text = sync_diff_text(&f->diff, "store:/x", &r, NULL, true);
	assert_string_equal(text,
			    "-> store:/x  + 3 mails  ~ 2 flags  > 0 moves  - 0 expunged\n"
			    "     Work  + 0 mails  ~ 2 flags  > 0 moves  - 0 expunged\n"
			    "     e\\x1b[2Jvil  + 3 mails  ~ 0 flags  > 0 moves  - 0 expunged\n"
			    "<- store:/x  + 0 mails  ~ 0 flags  > 0 moves  - 1 expunged\n"
			    "     Work  + 0 mails  ~ 0 flags  > 0 moves  - 1 expunged\n");
	free(text);
	text = sync_diff_text(&f->diff, "store:/x", &r, NULL, false);
	assert_null(strstr(text, "Work"));
	free(text);
}

static void one_way_is_one_line(void **state)
{
	struct fixture *f = *state;
	struct session_result r = {0};
	struct scope scope;

	scope_init(&scope);
	scope.let[0] = 0;
	char *text = sync_diff_text(&f->diff, "p", &r, &scope, true);
	assert_string_equal(text, "-> p  + 0 mails  ~ 0 flags  > 0 moves  - 0 expunged\n");
	free(text);
	scope_release(&scope);
}

static void the_same_for_programs(void **state)
{
	struct fixture *f = *state;

	add(f, 1, REC_ARRIVE, 1, 3);
	add(f, 0, REC_NONE, 2, 1);
	add(f, 0, REC_MOVE, 1, 1);
	json_t *list = sync_diff_json(&f->diff);
	assert_int_equal(json_array_size(list), 1);
	json_t *m = json_array_get(list, 0);
	assert_string_equal(json_string_value(json_object_get(m, "name")), "Work");
	assert_string_equal(json_string_value(json_object_get(m, "guid")),
			    "01010101010101010101010101010101");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(m, "sent"), "new")), 3);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(m, "got"), "moved")),
			 1);
	json_decref(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(figures),
		cmocka_unit_test_setup_teardown(a_line_for_each_direction_and_mailbox, setup,
						teardown),
		cmocka_unit_test_setup_teardown(one_way_is_one_line, setup, teardown),
		cmocka_unit_test_setup_teardown(the_same_for_programs, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
