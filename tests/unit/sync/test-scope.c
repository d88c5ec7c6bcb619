/*
 * test-scope.c - what a session covers, and its one text.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/mem.h"
#include "sync/scope.h"

#include <string.h>

static const struct guid SOME = {{1, 2, 3}};

static struct scope scope_of(void)
{
	struct scope s;
	scope_init(&s);
	return s;
}

static bool has(const struct scope *s, const char *name)
{
	return scope_has_mailbox(s, name, &SOME);
}

static void everything_is_the_default(void **state)
{
	struct scope s = scope_of();

	assert_true(scope_is_default(NULL));
	assert_true(scope_is_default(&s));
	assert_int_equal(scope_hash(&s, 0), 0);
	assert_int_equal(scope_hash(NULL, 1), 0);
	assert_false(scope_selects(&s));
	assert_int_equal(scope_source(&s), -1);
	assert_true(has(&s, "Any/Thing"));
	s.let[0] = SCOPE_NEW;
	assert_false(scope_is_default(&s));
	assert_int_not_equal(scope_hash(&s, 0), 0);
	assert_int_equal(scope_source(&s), -1);
	s.let[0] = 0;
	assert_int_equal(scope_source(&s), 0);
	scope_release(&s);
}

static void one_text_whatever_the_order(void **state)
{
	struct scope s = scope_of(), t = scope_of();

	assert_true(scope_add_name(&s.names, "Work"));
	assert_true(scope_add_name(&s.names, "inbox"));
	assert_true(scope_add_name(&t.names, "INBOX"));
	assert_true(scope_add_name(&t.names, "Work"));
	assert_true(scope_add_name(&t.names, "Work"));
	assert_int_equal(t.names.n, 2);
	assert_int_equal(scope_hash(&s, 0), scope_hash(&t, 0));
	char *text MB_AUTO_FREE = scope_text(&s, 0);
	assert_string_equal(text,
			    "pull=new,flags,moves,expunges,folders "
			    "push=new,flags,moves,expunges,folders mailbox=INBOX mailbox=Work");
	scope_release(&s);
	scope_release(&t);
}

static void each_side_sees_itself_as_the_first(void **state)
{
	struct scope push = scope_of(), pull = scope_of();

	push.let[0] = 0;
	pull.let[1] = 0;
	assert_int_equal(scope_hash(&push, 0), scope_hash(&pull, 1));
	assert_int_not_equal(scope_hash(&push, 0), scope_hash(&pull, 0));
	push.mirror = true;
	assert_int_not_equal(scope_hash(&push, 0), scope_hash(&pull, 1));
}

static void a_name_cannot_pose_as_more(void **state)
{
	struct scope s = scope_of(), t = scope_of();

	scope_add_name(&s.names, "a mailbox=b");
	scope_add_name(&t.names, "a");
	scope_add_name(&t.names, "b");
	assert_int_not_equal(scope_hash(&s, 0), scope_hash(&t, 0));
	scope_release(&s);
	scope_release(&t);
}

static void mailboxes_by_name(void **state)
{
	struct scope s = scope_of();

	scope_add_name(&s.names, "Work");
	scope_add_name(&s.names, "\\sent");
	assert_true(has(&s, "Work"));
	assert_false(has(&s, "work"));
	assert_false(has(&s, "Work/sub"));
	assert_true(has(&s, "Sent Items"));
	assert_true(has(&s, "INBOX/Sent"));
	assert_false(has(&s, "Old/Sent"));
	assert_false(scope_add_name(&s.names, "\\Nonsense"));
	scope_release(&s);

	s = scope_of();
	scope_add_name(&s.names, "inbox/Sub");
	assert_true(has(&s, "Inbox/Sub"));
	assert_false(has(&s, "INBOX/sub"));
	scope_release(&s);
}

static void mailboxes_by_guid_prefix_and_pattern(void **state)
{
	struct scope s = scope_of();
	char text[GUID_TEXT];

	assert_true(scope_add_guid(&s.guids, guid_text(&SOME, text)));
	assert_false(scope_add_guid(&s.guids, "12"));
	assert_true(has(&s, "whatever"));
	struct guid other = {{9}};
	assert_false(scope_has_mailbox(&s, "whatever", &other));
	scope_release(&s);

	s = scope_of();
	scope_add_name(&s.prefixes, "Archive/");
	scope_add_name(&s.excludes, "*/2?");
	scope_add_name(&s.excludes, "\\Trash");
	assert_true(has(&s, "Archive"));
	assert_true(has(&s, "Archive/2020"));
	assert_false(has(&s, "Archive/21"));
	assert_false(has(&s, "Archived"));
	assert_false(has(&s, "Trash"));
	scope_release(&s);

	s = scope_of();
	scope_add_name(&s.prefixes, "");
	assert_true(has(&s, "Everything"));
	scope_release(&s);
}

static void patterns(void **state)
{
	static const struct {
		const char *pattern, *name;
		bool match;
	} all[] = {
		{"*", "", true},	   {"*", "a/b", true},	    {"", "", true},
		{"", "a", false},	   {"a*c", "abbc", true},   {"a*c", "abcb", false},
		{"a*b*c", "aXbXbc", true}, {"?", "\xc3\xa4", true}, {"?", "ab", false},
		{"??", "\xc3\xa4", false}, {"*?", "", false},	    {"*/Spam", "a/b/Spam", true},
		{"a**", "a", true},	   {"?*", "x", true},	    {"*.x", "a.y.x", true},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (scope_match(all[i].pattern, all[i].name) != all[i].match)
			fail_msg("%s with %s", all[i].pattern, all[i].name);
}

static void messages(void **state)
{
	struct scope s = scope_of();
	struct copy c = {.size = 5 << 20, .received_ns = 1000};

	s.sized = true;
	s.max_size = 5 << 20;
	assert_int_equal(scope_message(&s, &c, 0), SCOPE_TRAVELS);
	c.size++;
	assert_int_equal(scope_message(&s, &c, 0), SCOPE_TOO_LARGE);

	s = scope_of();
	s.since = (struct scope_date){.given = true, .relative = true, .ns = 500};
	assert_int_equal(scope_message(&s, &c, 1500), SCOPE_TRAVELS);
	assert_int_equal(scope_message(&s, &c, 1501), SCOPE_NOT_IN_RANGE);
	c.flags.set = FLAG_MASK(FLAG_FLAGGED);
	assert_int_equal(scope_message(&s, &c, 1501), SCOPE_TRAVELS);
	assert_false(scope_is_moving(&s)); /* they only go out of it */
	s.until = (struct scope_date){.given = true, .ns = 1000};
	assert_int_equal(scope_message(&s, &c, 1501), SCOPE_NOT_IN_RANGE);
	assert_false(scope_is_moving(&s));
	s.until.relative = true;
	assert_true(scope_is_moving(&s));

	s = scope_of();
	assert_true(scope_parse_flag(&s, "\\flagged"));
	assert_int_equal(scope_message(&s, &c, 0), SCOPE_TRAVELS);
	assert_true(scope_parse_flag(&s, "-\\Flagged"));
	assert_int_equal(scope_message(&s, &c, 0), SCOPE_OTHER_FLAG);
	assert_true(scope_parse_flag(&s, "work"));
	assert_int_equal(scope_message(&s, &c, 0), SCOPE_OTHER_FLAG);
	flags_put_keyword(&c.flags, "Work", true, STAMP_NONE);
	assert_int_equal(scope_message(&s, &c, 0), SCOPE_TRAVELS);
	flags_put_keyword(&c.flags, "Work", false, STAMP_NONE);
	assert_int_equal(scope_message(&s, &c, 0), SCOPE_OTHER_FLAG);
	assert_false(scope_parse_flag(&s, "\\Nonsense"));
	assert_false(scope_parse_flag(&s, ""));
	scope_release(&s);
	flags_release(&c.flags);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_is_the_default),
		cmocka_unit_test(one_text_whatever_the_order),
		cmocka_unit_test(each_side_sees_itself_as_the_first),
		cmocka_unit_test(a_name_cannot_pose_as_more),
		cmocka_unit_test(mailboxes_by_name),
		cmocka_unit_test(mailboxes_by_guid_prefix_and_pattern),
		cmocka_unit_test(patterns),
		cmocka_unit_test(messages),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
