/* test-posix-entry.c - the entry behind a name: found, published, expunged. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "backends/base/clock.h"
#include "tests/support/store-dir.h"
#include "backends/base/mem.h"
#include "backends/store/posix-private.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static struct posix_call begin(struct store_dir *d)
{
	struct posix_call p = {.s = d->s, .origin = &d->me};

	store_lock(d->s);
	assert_int_equal(change_begin(d->s, &p.tx), 0);
	return p;
}

static void end(struct posix_call *p, int err)
{
	assert_int_equal(change_end(p->s, p->tx, err), err);
	store_unlock(p->s);
}

static void an_entry_is_found_by_its_whole_name(void **state)
{
	struct store_dir *d = *state;
	struct entry e = {0};
	struct posix_call p;

	outside_write(d, "tmp/1.x", "a");
	assert_int_equal(store_move(d, "tmp/1.x", "cur/1.x:2,S"), 0);
	p = begin(d);
	assert_int_equal(entry_at(p.tx, &GUID_INBOX, "1.x:2,S", false, &e), 0);
	entry_release(&e);
	assert_int_equal(entry_at(p.tx, &GUID_INBOX, "1.x:2,", false, &e), -ENOENT);
	assert_int_equal(entry_at(p.tx, &GUID_INBOX, "1.x:2,S", true, &e), -ENOENT);
	assert_int_equal(entry_at(p.tx, &GUID_INBOX, "1", false, &e), -ENOENT);
	end(&p, 0);
}

static void publishing_notes_what_stat_says(void **state)
{
	struct store_dir *d = *state;
	struct node_info n = {.kind = NODE_MESSAGE, .mailbox = GUID_INBOX, .in_new = true};
	struct entry e = {0};
	struct posix_call p;
	struct stat st;

	outside_write(d, "new/1.x,S=9", "a body");
	assert_int_equal(fstatat(d->mail_fd, "new/1.x,S=9", &st, 0), 0);
	p = begin(d);
	assert_int_equal(publish(&p, "new/1.x,S=9", &n, "1.x,S=9", NULL, 0, NULL), 0);
	end(&p, 0);
	store_find(d, "1.x,S=9", &e);
	assert_int_equal(e.ino, st.st_ino);
	assert_int_equal(e.copy.size, 6); /* a wrong ,S= means nothing */
	assert_int_equal(e.mtime_ns, clock_timespec_ns(&st.st_mtim));
	entry_release(&e);
	store_consistent(d);
}

static void what_is_no_file_is_not_published(void **state)
{
	struct store_dir *d = *state;
	struct node_info n = {.kind = NODE_MESSAGE, .mailbox = GUID_INBOX};
	struct posix_call p;
	uint64_t before = log_records(d);

	assert_int_equal(symlinkat("/etc/passwd", d->mail_fd, "cur/link"), 0);
	p = begin(d);
	assert_int_equal(publish(&p, "cur/link", &n, "link", NULL, 0, NULL), 0);
	assert_int_equal(publish(&p, "cur/none", &n, "none", NULL, 0, NULL), -ENOENT);
	end(&p, 0);
	assert_int_equal(log_records(d), before);
}

/* The file may be gone already; then there is only the record. */
static void an_expunge_takes_the_file_if_there_is_one(void **state)
{
	struct store_dir *d = *state;

	store_deliver(d, "", "1.x", "a");
	store_deliver(d, "", "2.x", "b");
	outside_unlink(d, "new/2.x");
	for (int i = 1; i <= 2; i++) {
		struct entry e = {0};
		struct posix_call p = begin(d);

		assert_int_equal(entry_at(p.tx, &GUID_INBOX, i == 1 ? "1.x" : "2.x", true, &e), 0);
		assert_int_equal(entry_expunge(&p, &e, NULL, STAMP_NONE), 0);
		end(&p, 0);
		entry_release(&e);
		assert_int_equal(log_last(d), REC_EXPUNGE);
	}
	assert_list(d, "");
	assert_int_equal(deleted_count(d), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(an_entry_is_found_by_its_whole_name),
		TEST(publishing_notes_what_stat_says),
		TEST(what_is_no_file_is_not_published),
		TEST(an_expunge_takes_the_file_if_there_is_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
