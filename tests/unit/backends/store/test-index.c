/*
 * Opening the index, transactions, meta, and what must be noticed: damage, other formats, no room.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/index-dir.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static void put_text(struct index_dir *d, const char *name, const char *text)
{
	struct index_txn *tx = index_dir_begin(d, true);

	assert_int_equal(index_meta_put(tx, name, text, strlen(text)), 0);
	assert_int_equal(index_commit(tx), 0);
}

static int get_text(struct index *ix, const char *name, char *dst, size_t len)
{
	struct index_txn *tx;
	int r = index_begin(ix, false, &tx);

	if (r < 0)
		return r;
	r = index_meta_get(tx, name, dst, len);
	index_abort(tx);
	return r;
}

static void test_meta(void **state)
{
	struct index_dir *d = *state;
	char got[6] = "";

	assert_int_equal(get_text(d->ix, "name", got, 5), -ENOENT);
	put_text(d, "name", "value");
	assert_int_equal(get_text(d->ix, "name", got, 5), 0);
	assert_string_equal(got, "value");
	assert_int_equal(get_text(d->ix, "name", got, 4), -EINVAL);
	put_text(d, "name", "other");
	struct index_txn *tx = index_dir_begin(d, false);
	assert_true(index_meta_has(tx, "name"));
	assert_true(index_meta_has(tx, "na"));
	assert_false(index_meta_has(tx, "name/"));
	assert_false(index_meta_has(tx, "nb"));
	index_abort(tx);
	index_dir_reopen(d);
	assert_int_equal(get_text(d->ix, "name", got, 5), 0);
	assert_string_equal(got, "other");
	assert_int_equal(index_sync(d->ix), 0);
}

static void test_abort_undoes(void **state)
{
	struct index_dir *d = *state;
	char *before = index_dir_dump_now(d);
	struct index_txn *tx = index_dir_begin(d, true);

	num_put_mailbox(tx, 1);
	num_put_entry(tx, 2, 1, 1);
	index_abort(tx);
	index_abort(NULL);
	char *after = index_dir_dump_now(d);
	assert_string_equal(before, after);
	free(before);
	free(after);
}

/* A read transaction sees what was there when it began; any number of them at once. */
static void test_readers_have_snapshots(void **state)
{
	struct index_dir *d = *state;
	char got[4] = "";

	put_text(d, "k", "one");
	struct index_txn *old = index_dir_begin(d, false), *same = index_dir_begin(d, false);
	put_text(d, "k", "two");
	assert_int_equal(index_meta_get(old, "k", got, 3), 0);
	assert_string_equal(got, "one");
	assert_int_equal(get_text(d->ix, "k", got, 3), 0);
	assert_string_equal(got, "two");
	assert_true(index_meta_put(same, "k", "bad", 3) < 0);
	index_abort(old);
	index_abort(same);
}

static int child_reads(const char *path, const char *expect)
{
	char got[8] = "";
	struct index *ix;
	struct index_txn *tx;

	if (index_open(path, false, &ix) < 0)
		return 2;
	if (index_begin(ix, true, &tx) != -EACCES)
		return 3;
	if (get_text(ix, "k", got, strlen(expect)) < 0)
		return 4;
	index_close(ix);
	return strcmp(got, expect) != 0;
}

static int exit_code(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void test_other_process_reads(void **state)
{
	struct index_dir *d = *state;

	put_text(d, "k", "seen");
	pid_t pid = fork();
	if (pid == 0)
		_exit(child_reads(d->index, "seen"));
	assert_int_equal(exit_code(pid), 0);
}

/* A writer that is killed in the midst of a transaction leaves the index as it was. */
static void test_killed_writer(void **state)
{
	struct index_dir *d = *state;

	put_text(d, "k", "kept");
	index_close(d->ix);
	pid_t pid = fork();
	if (pid == 0) {
		struct index_txn *tx;
		if (index_open(d->index, true, &d->ix) < 0 || index_begin(d->ix, true, &tx) < 0 ||
		    index_meta_put(tx, "k", "lost", 4) < 0)
			_exit(1);
		raise(SIGKILL);
	}
	assert_int_equal(exit_code(pid), 128 + SIGKILL);
	assert_int_equal(index_open(d->index, true, &d->ix), 0);
	char got[5] = "";
	assert_int_equal(get_text(d->ix, "k", got, 4), 0);
	assert_string_equal(got, "kept");
	put_text(d, "k", "next");
}

/* 600 readers that died without a word: more than there are slots. */
static void test_dead_readers_are_cleared(void **state)
{
	struct index_dir *d = *state;

	for (int i = 0; i < 600; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			struct index *ix;
			struct index_txn *tx;
			if (index_open(d->index, false, &ix) < 0 || index_begin(ix, false, &tx) < 0)
				_exit(1);
			raise(SIGKILL);
		}
		assert_int_equal(exit_code(pid), 128 + SIGKILL);
	}
}

static void test_not_there(void **state)
{
	struct index *ix;

	assert_int_equal(index_open("/nonexistent/index", false, &ix), -ENOENT);
	assert_int_equal(index_open("/nonexistent/index", true, &ix), -ENOENT);
}

static void set_format(struct index_dir *d, uint32_t format)
{
	struct index_txn *tx = index_dir_begin(d, true);
	uint8_t le[4];

	put_le32(le, format);
	assert_int_equal(index_meta_put(tx, "format", le, sizeof(le)), 0);
	assert_int_equal(index_commit(tx), 0);
	index_close(d->ix);
	d->ix = NULL;
}

static void test_newer_format_is_refused(void **state)
{
	struct index_dir *d = *state;

	set_format(d, 2);
	assert_int_equal(index_open(d->index, true, &d->ix), MB_E_VERSION);
	assert_int_equal(index_open(d->index, false, &d->ix), MB_E_VERSION);
	d->ix = NULL;
}

static void test_older_format_is_refused(void **state)
{
	struct index_dir *d = *state;

	set_format(d, 0);
	assert_int_equal(index_open(d->index, true, &d->ix), MB_E_FORMAT);
	d->ix = NULL;
}

static void test_garbage_is_refused(void **state)
{
	struct index_dir *d = *state;
	static const char junk[16384] = "this is no index";

	index_close(d->ix);
	d->ix = NULL;
	int fd = open(d->data, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_int_equal(write(fd, junk, sizeof(junk)), sizeof(junk));
	close(fd);
	assert_int_equal(index_open(d->index, true, &d->ix), MB_E_FORMAT);
	assert_int_equal(index_open(d->index, false, &d->ix), MB_E_FORMAT);
	d->ix = NULL;
}

static void test_damage_is_noticed(void **state)
{
	static const char text[] = "a value that stands nowhere else";
	struct index_dir *d = *state;
	char got[sizeof(text)];

	put_text(d, "k", text);
	index_close(d->ix);
	assert_true(index_dir_damage(d, text, strlen(text)) > 0);
	assert_int_equal(index_open(d->index, true, &d->ix), 0);
	assert_int_equal(get_text(d->ix, "k", got, strlen(text)), MB_E_CHECKSUM);
}

static void test_damaged_entry_is_noticed(void **state)
{
	struct index_dir *d = *state;
	struct index_txn *tx = index_dir_begin(d, true);
	struct guid g = num_guid(2);
	struct entry e;

	num_entry(&e, 2, 1, 1);
	free(e.file);
	e.file = mb_xstrdup("1234567890.unmistakable.host:2,FS");
	assert_int_equal(index_put_entry(tx, &e), 0);
	entry_release(&e);
	assert_int_equal(index_commit(tx), 0);
	index_close(d->ix);
	assert_true(index_dir_damage(d, "ble.host:2,FS", 13) > 0);
	assert_int_equal(index_open(d->index, true, &d->ix), 0);

	tx = index_dir_begin(d, true);
	assert_int_equal(index_get_entry(tx, &g, 0, &e), MB_E_CHECKSUM);
	assert_int_equal(index_each(tx, met_add, &(struct met){0}), MB_E_CHECKSUM);
	num_entry(&e, 2, 1, 1); /* a change to it cannot know the old keys */
	assert_int_equal(index_put_entry(tx, &e), MB_E_CHECKSUM);
	entry_release(&e);
	assert_int_equal(index_commit(tx), MB_E_CHECKSUM);
}

/* Address space of this process, bytes. */
static rlim_t mapped_already(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long long pages = 0;

	if (!f || fscanf(f, "%llu", &pages) != 1)
		abort();
	fclose(f);
	return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

static int fill_until_full(struct index_dir *d)
{
	rlim_t room = mapped_already() + (256u << 20);
	struct rlimit small = {.rlim_cur = room, .rlim_max = room};
	static char block[1 << 20];
	struct index_txn *tx;
	char name[16];
	int r = 0;

	if (setrlimit(RLIMIT_AS, &small) < 0 || index_open(d->index, true, &d->ix) < 0 ||
	    index_begin(d->ix, true, &tx) < 0)
		return 1;
	for (int i = 0; i < 256 && r >= 0; i++) {
		snprintf(name, sizeof(name), "b%d", i);
		r = index_meta_put(tx, name, block, sizeof(block));
	}
	if (r != -ENOSPC || index_commit(tx) != -ENOSPC)
		return 2;
	if (get_text(d->ix, "b0", block, sizeof(block)) != -ENOENT)
		return 3;
	return get_text(d->ix, "k", block, 4) < 0 ? 4 : 0;
}

/* With little address space the map is smaller; a full one undoes the transaction, no more. */
static void test_no_room(void **state)
{
	struct index_dir *d = *state;

	if (SANITIZED) /* they want address space of their own, and wait for it for ever */
		skip();
	put_text(d, "k", "kept");
	index_close(d->ix);
	pid_t pid = fork();
	if (pid == 0)
		_exit(fill_until_full(d));
	assert_int_equal(exit_code(pid), 0);
	assert_int_equal(index_open(d->index, true, &d->ix), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, index_dir_setup, index_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_meta),
		TEST(test_abort_undoes),
		TEST(test_readers_have_snapshots),
		TEST(test_other_process_reads),
		TEST(test_killed_writer),
		TEST(test_dead_readers_are_cleared),
		cmocka_unit_test(test_not_there),
		TEST(test_newer_format_is_refused),
		TEST(test_older_format_is_refused),
		TEST(test_garbage_is_refused),
		TEST(test_damage_is_noticed),
		TEST(test_damaged_entry_is_noticed),
		TEST(test_no_room),
	};
	return cmocka_run_group_tests_name("index", tests, NULL, NULL);
}
