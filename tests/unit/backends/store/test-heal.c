/* test-heal.c - an index that is not whole goes when the store closes, and comes anew. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/store/index-private.h"
#include "backends/store/store-private.h"
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static void fill(struct store_dir *d)
{
	store_make_box(d, ".F");
	for (int i = 0; i < 20; i++) {
		MB_AUTO_FREE char *name = mb_xasprintf("%02d.x", i);

		store_deliver(d, i % 2 ? ".F" : "", name, name);
	}
}

/* Takes a message out of one table: no checksum tells. */
static void take_out(struct store_dir *d, const char *file)
{
	struct guid g = store_guid(d, file);
	uint8_t key[COPY_KEY_LEN];
	struct index_txn *tx;

	copy_key(&g, 0, key);
	assert_int_equal(index_begin(d->s->index, true, &tx), 0);
	assert_int_equal(table_del(tx, T_COPY, key, sizeof(key)), 0);
	assert_int_equal(index_commit(tx), 0);
}

static bool has(struct store_dir *d, const char *name)
{
	MB_AUTO_FREE char *path = mb_xasprintf("%s/%s", d->dir, name);

	return access(path, F_OK) == 0;
}

static void a_whole_one_stays(void **state)
{
	struct store_dir *d = *state;

	fill(d);
	assert_false(store_doubt_index(d->s));
	store_dir_close(d);
	assert_true(has(d, "index"));
	assert_false(has(d, "index.old"));
}

static void one_that_is_not_whole_comes_anew(void **state)
{
	struct store_dir *d = *state;
	MB_AUTO_FREE char *before = NULL;

	fill(d);
	before = store_list(d);
	take_out(d, "07.x");
	assert_true(store_doubt_index(d->s));
	assert_true(store_doubt_index(d->s));
	store_dir_close(d);
	assert_false(has(d, "index"));
	assert_true(has(d, "index.old"));
	store_dir_open(d);
	assert_false(has(d, "index.old"));
	assert_list(d, before);
	assert_false(store_doubt_index(d->s));
	store_consistent(d);
	take_out(d, "08.x"); /* again, with an index.old that a stop left */
	MB_AUTO_FREE char *old = mb_xasprintf("%s/index.old", d->dir);
	assert_int_equal(mkdir(old, 0700), 0);
	assert_true(store_doubt_index(d->s));
	store_dir_reopen(d);
	assert_list(d, before);
}

/* A reader sets it aside, but not under a writer, and not in a dry run. */
static void a_reader_has_doubts(void **state)
{
	struct store_dir *d = *state;
	MB_AUTO_FREE char *before = NULL;
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	MB_AUTO_FREE char *path = mb_xasprintf("%s/lock", d->dir);
	struct store *reader;

	fill(d);
	before = store_list(d);
	take_out(d, "07.x");
	store_dir_close(d);
	for (int i = 0; i < 3; i++) {
		int fd = i == 0 ? open(path, O_RDWR | O_CLOEXEC) : -1;

		if (fd >= 0)
			assert_int_equal(fcntl(fd, F_OFD_SETLK, &l), 0);
		io_set_read_only(i == 1);
		assert_int_equal(store_open(d->dir, STORE_READ, &reader), 0);
		assert_true(store_doubt_index(reader) == (i != 1));
		store_close(reader);
		io_set_read_only(false);
		if (fd >= 0)
			close(fd);
		assert_true(has(d, "index") == (i < 2));
	}
	store_dir_open(d);
	assert_list(d, before);
	store_consistent(d);
}

/* Keys that are gone without a trace: known files are not taken for new ones. */
static void a_scan_makes_nothing_of_it(void **state)
{
	struct store_dir *d = *state;
	MB_AUTO_FREE char *before = NULL;
	uint8_t key[UID_KEY_LEN] = {0};
	struct index_txn *tx;
	struct scan_report r;
	struct entry e;
	uint64_t records;

	fill(d);
	before = store_list(d);
	store_find(d, "07.x", &e);
	memcpy(key, e.copy.place.mailbox.b, 16);
	key[19] = (uint8_t)e.copy.place.uid;
	copy_key(&e.copy.guid, 0, key + 20);
	entry_release(&e);
	assert_int_equal(index_begin(d->s->index, true, &tx), 0);
	assert_int_equal(table_del(tx, T_UID, key, sizeof(key)), 0);
	assert_int_equal(index_commit(tx), 0);
	records = log_records(d);
	assert_int_equal(store_scan(d->s, true, &r), MB_E_CHECKSUM);
	assert_true(store_doubt_index(d->s));
	assert_true(log_records(d) == records);
	store_dir_reopen(d);
	assert_list(d, before);
	store_dir_rescan(d, &r);
	assert_int_equal(r.records, 0);
	assert_true(log_records(d) == records);
	store_consistent(d);
}

/* What is found at the start is healed there. */
static void a_start_heals(void **state)
{
	struct store_dir *d = *state;
	MB_AUTO_FREE char *before = NULL;
	uint8_t key[INDEX_KEY_MAX] = "d.F";
	struct index_txn *tx;
	struct scan_report r;

	fill(d);
	before = store_list(d);
	assert_int_equal(index_begin(d->s->index, true, &tx), 0);
	struct guid f = store_box(d, "F");
	assert_int_equal(table_del(tx, T_MAILBOX, f.b, sizeof(f.b)), 0);
	assert_int_equal(table_del(tx, T_DIR, key, 3), 0);
	assert_int_equal(index_commit(tx), 0);
	assert_true(store_doubt_index(d->s));
	store_dir_reopen(d);
	assert_list(d, before);
	store_dir_rescan(d, &r);
	assert_int_equal(r.records, 0);
	assert_list(d, before);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_whole_one_stays),   TEST(one_that_is_not_whole_comes_anew),
		TEST(a_reader_has_doubts), TEST(a_scan_makes_nothing_of_it),
		TEST(a_start_heals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
