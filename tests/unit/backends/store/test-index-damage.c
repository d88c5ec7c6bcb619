/*
 * An index that ends the process under it: the data file goes, unless the store has a writer.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/index-dir.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/store/index-private.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* A child opens the index and meets a bus error; its exit code. */
static int meets_damage(struct index_dir *d, bool writable, bool dry)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct index *ix;
		int null = open("/dev/null", O_WRONLY);

		dup2(null, STDERR_FILENO);
		signal(SIGBUS, SIG_DFL); /* not the test program's */
		io_set_read_only(dry);
		if (index_open(d->index, writable, &ix) < 0)
			_exit(1);
		raise(SIGBUS);
		_exit(2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static bool has_data(struct index_dir *d)
{
	return access(d->data, F_OK) == 0;
}

static void lock_path(struct index_dir *d, char out[96])
{
	snprintf(out, 96, "%s/lock", d->path);
}

static void a_writer_removes_it(void **state)
{
	struct index_dir *d = *state;

	index_close(d->ix);
	d->ix = NULL;
	assert_int_equal(meets_damage(d, true, false), 75);
	assert_false(has_data(d));
	index_dir_reopen(d);
}

static void a_reader_removes_it_when_nobody_writes(void **state)
{
	struct index_dir *d = *state;
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char path[96];

	index_close(d->ix);
	d->ix = NULL;
	assert_int_equal(meets_damage(d, false, false), 75);
	assert_true(has_data(d)); /* no lock: not in a store */
	lock_path(d, path);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &l), 0);
	assert_int_equal(meets_damage(d, false, false), 75);
	assert_true(has_data(d));
	close(fd);
	assert_int_equal(meets_damage(d, false, true), 75);
	assert_true(has_data(d)); /* a dry run */
	assert_int_equal(meets_damage(d, false, false), 75);
	assert_false(has_data(d));
	index_dir_reopen(d);
}

/* Somebody took the lock's file away: there is no writer that has it. */
static void a_store_without_a_lock_is_one_without_a_writer(void **state)
{
	struct index_dir *d = *state;
	char path[96];

	index_close(d->ix);
	d->ix = NULL;
	snprintf(path, sizeof(path), "%s/config", d->path);
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	assert_int_equal(meets_damage(d, false, false), 75);
	assert_false(has_data(d));
	index_dir_reopen(d);
}

static void one_that_was_closed_stays(void **state)
{
	struct index_dir *d = *state;
	int status;

	index_close(d->ix);
	d->ix = NULL;
	pid_t pid = fork();
	if (pid == 0) {
		struct index *ix;
		int null = open("/dev/null", O_WRONLY);

		dup2(null, STDERR_FILENO);
		signal(SIGBUS, SIG_DFL); /* not the test program's */
		if (index_open(d->index, true, &ix) < 0)
			_exit(1);
		index_close(ix);
		raise(SIGBUS);
		_exit(2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 75);
	assert_true(has_data(d));
	index_dir_reopen(d);
}

/* No memory where a page says there is some; and where it is no page that says so. */
static int meets_no_memory(struct index_dir *d, bool in_lmdb)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct rlimit none = {0, 0};
		struct index *ix;
		int null = open("/dev/null", O_WRONLY);

		setrlimit(RLIMIT_CORE, &none);
		dup2(null, STDERR_FILENO);
		signal(SIGSEGV, SIG_DFL);
		if (index_open(d->index, true, &ix) < 0)
			_exit(1);
		if (in_lmdb)
			index_lmdb_enter();
		raise(SIGSEGV);
		raise(SIGSEGV); /* a fault comes again */
		_exit(2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void only_what_lmdb_does_is_the_indexs_fault(void **state)
{
	struct index_dir *d = *state;

	index_close(d->ix);
	d->ix = NULL;
	assert_int_equal(meets_no_memory(d, false), -SIGSEGV);
	assert_true(has_data(d));
	assert_int_equal(meets_no_memory(d, true), 75);
	assert_false(has_data(d));
	index_dir_reopen(d);
}

/* What LMDB or the system under it says of a number that was read from a damaged page. */
static void no_error_of_damage_is_our_argument(void **state)
{
	static const int said[] = {EINVAL,	MDB_BAD_VALSIZE, MDB_BAD_TXN,
				   MDB_BAD_DBI, MDB_CORRUPTED,	 MDB_PAGE_NOTFOUND};

	for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++)
		assert_int_equal(index_error(said[i]), MB_E_FORMAT);
	assert_int_equal(index_error(0), 0);
	assert_int_equal(index_error(MDB_NOTFOUND), -ENOENT);
	assert_int_equal(index_error(ENOSPC), -ENOSPC);
	assert_int_equal(index_error(EIO), -EIO);
}

/* Where LMDB 0.9 has them in each of its two first pages, with 64 bits. */
enum { META_MAGIC = 16, META_PAGE_SIZE = 40, META_LAST_PAGE = 136 };

static void write_meta(struct index_dir *d, int page, off_t at, const void *bytes, size_t len)
{
	int fd = open(d->data, O_RDWR | O_CLOEXEC);
	uint32_t magic = 0;

	assert_int_equal(pread(fd, &magic, 4, page * 4096 + META_MAGIC), 4);
	assert_int_equal(magic, 0xBEEFC0DE);
	assert_int_equal(pwrite(fd, bytes, len, page * 4096 + at), len);
	close(fd);
}

/* 75: it ended the process; else what index_open() gave, 1: damage, 2: something else. */
static int opens(struct index_dir *d)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		static const int faults[] = {SIGBUS, SIGSEGV, SIGFPE};
		struct index *ix;
		int null = open("/dev/null", O_WRONLY);

		dup2(null, STDERR_FILENO);
		for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
			signal(faults[i], SIG_DFL);
		int r = index_open(d->index, true, &ix);
		_exit(r == 0 ? 0 : r == MB_E_FORMAT ? 1 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void numbers_of_the_first_pages_are_not_believed(void **state)
{
	struct index_dir *d = *state;
	const uint32_t no_size = 0, negative = 0x80000000;
	const uint64_t far = UINT64_MAX / 4096 - 1;

	if (sizeof(size_t) < 8 || sysconf(_SC_PAGESIZE) != 4096)
		skip();
	index_close(d->ix);
	d->ix = NULL;
	write_meta(d, 0, META_PAGE_SIZE, &negative, 4);
	assert_int_equal(opens(d), 1);
	unlink(d->data);
	index_dir_reopen(d);
	index_close(d->ix);
	d->ix = NULL;
	write_meta(d, 0, META_PAGE_SIZE, &no_size, 4);
	assert_int_equal(opens(d), 75);
	assert_false(has_data(d));
	index_dir_reopen(d);
	index_close(d->ix);
	d->ix = NULL;
	write_meta(d, 0, META_LAST_PAGE, &far, 8);
	write_meta(d, 1, META_LAST_PAGE, &far, 8);
	assert_int_equal(opens(d), 1);
	unlink(d->data);
	index_dir_reopen(d);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, index_dir_setup, index_dir_teardown)
	const struct CMUnitTest tests[] = {
		T(a_writer_removes_it),
		T(a_reader_removes_it_when_nobody_writes),
		T(a_store_without_a_lock_is_one_without_a_writer),
		T(one_that_was_closed_stays),
		T(only_what_lmdb_does_is_the_indexs_fault),
		T(no_error_of_damage_is_our_argument),
		T(numbers_of_the_first_pages_are_not_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
