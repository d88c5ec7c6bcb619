/* test-keywords.c - letters get their meaning when dovecot-keywords tells it. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/buf.h"
#include "backends/store/store-private.h"
#include <string.h>

/* Replaces dovecot-keywords as Dovecot does: a lock file, renamed. */
static void write_keywords(struct store_dir *d, const char *text)
{
	outside_write(d, "dovecot-keywords.lock", text);
	assert_int_equal(store_move(d, "dovecot-keywords.lock", "dovecot-keywords"), 0);
}

static void assert_flags(struct store_dir *d, const char *file, const char *expected)
{
	struct buf text BUF_AUTO = BUF_INIT;
	struct entry e;

	store_find(d, file, &e);
	flags_text(&e.copy.flags, &text);
	assert_string_equal(buf_cstr(&text), expected);
	entry_release(&e);
}

static void a_letter_gets_its_meaning_later(void **state)
{
	struct store_dir *d = *state;
	uint64_t records;

	store_deliver(d, "", "1.x", "a");
	assert_int_equal(store_move(d, "new/1.x", "cur/1.x:2,Sab"), 0);
	assert_flags(d, "1.x:2,Sab", "\\Seen");
	write_keywords(d, "0 work\n1 $Forwarded\n");
	assert_flags(d, "1.x:2,Sab", "$Forwarded \\Seen work");
	assert_int_equal(log_last(d), REC_FLAGS);
	records = log_records(d);
	write_keywords(d, "0 work\n1 $Forwarded\n2 other\n");
	assert_true(log_records(d) == records);
}

static void only_that_mailbox_is_meant(void **state)
{
	struct store_dir *d = *state;

	store_make_box(d, ".Other");
	store_deliver(d, ".Other", "1.x", "a");
	assert_int_equal(store_move(d, ".Other/new/1.x", ".Other/cur/1.x:2,a"), 0);
	write_keywords(d, "0 work\n");
	assert_flags(d, "1.x:2,a", "");
	outside_write(d, ".Other/dovecot-keywords.lock", "0 play\n");
	assert_int_equal(store_move(d, ".Other/dovecot-keywords.lock", ".Other/dovecot-keywords"),
			 0);
	assert_flags(d, "1.x:2,a", "play");
}

static void a_scan_reads_it_too(void **state)
{
	struct store_dir *d = *state;

	store_deliver(d, "", "1.x", "a");
	assert_int_equal(store_move(d, "new/1.x", "cur/1.x:2,a"), 0);
	store_dir_close(d);
	outside_write(d, "dovecot-keywords", "0 work\n");
	time_passes(10);
	outside_rename(d, "cur/1.x:2,a", "cur/1.x:2,Sa");
	store_dir_open(d);
	assert_flags(d, "1.x:2,Sa", "\\Seen work");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_letter_gets_its_meaning_later),
		TEST(only_that_mailbox_is_meant),
		TEST(a_scan_reads_it_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
