/* Durable steps are counted, stopped and failed; files are replaced whole. */
#include "backends/base/io.h"
#include "backends/base/hash.h"
#include "backends/base/mem.h"
#include "tests/support/tmp-dir.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <cmocka.h>

static int read_text(const struct tmp_dir *d, const char *name, char *out, size_t size)
{
	MB_AUTO_FREE uint8_t *data = NULL;
	size_t len;
	int err = io_read_file(d->fd, name, size - 1, &data, &len);

	if (!err)
		memcpy(out, data, len + 1);
	return err;
}

static void each_call_is_a_step(void **state)
{
	const struct tmp_dir *d = *state;
	uint64_t before = io_steps();
	MB_AUTO_CLOSE int fd = io_create_at(d->fd, "f", O_RDWR, 0600);
	struct timespec times[2] = {{.tv_sec = 5}, {.tv_sec = 6}};
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(io_write_all(fd, "hello", 5), 0);
	assert_int_equal(io_pwrite_all(fd, "J", 1, 0), 0);
	assert_int_equal(io_ftruncate(fd, 4), 0);
	assert_int_equal(io_fsync(fd), 0);
	assert_int_equal(io_fdatasync(fd), 0);
	assert_int_equal(io_utimens(fd, times), 0);
	assert_int_equal(io_mkdirat(d->fd, "dir", 0700), 0);
	assert_int_equal(io_linkat(d->fd, "f", d->fd, "dir/g"), 0);
	assert_int_equal(io_renameat(d->fd, "f", d->fd, "h"), 0);
	assert_int_equal(io_renameat2(d->fd, "h", d->fd, "dir/g", 1), -EEXIST);
	assert_int_equal(io_unlinkat(d->fd, "dir/g", 0), 0);
	assert_int_equal(io_unlinkat(d->fd, "dir", AT_REMOVEDIR), 0);
	assert_int_equal(io_steps() - before, 13);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mtime, 6);
	assert_int_equal(st.st_size, 4);
}

static void create_never_takes_what_is_there(void **state)
{
	const struct tmp_dir *d = *state;

	assert_int_equal(symlinkat("target", d->fd, "link"), 0);
	assert_int_equal(io_create_at(d->fd, "link", O_RDWR, 0600), -EEXIST);
	assert_int_equal(io_unlinkat(d->fd, "none", 0), -ENOENT);
}

static void reading_ends_at_the_end(void **state)
{
	const struct tmp_dir *d = *state;
	MB_AUTO_CLOSE int fd = -1;
	char data[10] = "";

	tmp_dir_write(d, "f", "hello");
	fd = openat(d->fd, "f", O_RDONLY);
	assert_int_equal(io_pread_full(fd, data, sizeof(data), 1), 4);
	assert_memory_equal(data, "ello", 4);
	assert_int_equal(io_pread_full(fd, data, 2, 0), 2);
	assert_int_equal(io_pread_full(fd, data, 2, 99), 0);
	assert_int_equal(io_pread_full(-1, data, 2, 0), -EBADF);
}

static int fail_at(uint64_t step, const char *what, void *arg)
{
	int *left = arg;

	assert_non_null(what);
	return --*left == 0 ? -ENOSPC : 0;
}

/* Whatever step of a replacement fails, there is the old or the new file and nothing else; only
 * when the directory's fsync fails it is the new one. */
static void a_replacement_that_fails_changes_nothing(void **state)
{
	const struct tmp_dir *d = *state;
	char text[16];

	for (int step = 1; step <= 5; step++) {
		int left = step;

		tmp_dir_write(d, "f", "old");
		io_set_hook(fail_at, &left);
		assert_int_equal(io_replace_file(d->fd, "f", "new!", 4, 0600), -ENOSPC);
		io_set_hook(NULL, NULL);
		assert_int_equal(read_text(d, "f", text, sizeof(text)), 0);
		assert_string_equal(text, step == 5 ? "new!" : "old");
		assert_int_equal(tmp_dir_entries(d), 1);
	}
	assert_int_equal(io_replace_file(d->fd, "f", "new", 3, 0600), 0);
	assert_int_equal(read_text(d, "f", text, sizeof(text)), 0);
	assert_string_equal(text, "new");
	assert_int_equal(io_replace_file(d->fd, "a/b", "x", 1, 0600), -EINVAL);
}

static void a_replacement_has_its_mode(void **state)
{
	const struct tmp_dir *d = *state;
	struct stat st;

	assert_int_equal(io_replace_file(d->fd, "f", "", 0, 0600), 0);
	assert_int_equal(fstatat(d->fd, "f", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, 0);
}

static void reading_a_file_is_bounded(void **state)
{
	const struct tmp_dir *d = *state;
	uint8_t *data = NULL;
	size_t len;

	tmp_dir_write(d, "f", "hello");
	assert_int_equal(io_read_file(d->fd, "f", 4, &data, &len), -EFBIG);
	assert_int_equal(io_read_file(d->fd, "f", 5, &data, &len), 0);
	assert_int_equal(len, 5);
	assert_string_equal((char *)data, "hello");
	free(data);
	assert_int_equal(io_read_file(d->fd, "none", 5, &data, &len), -ENOENT);
	assert_int_equal(io_read_file(d->fd, ".", 5, &data, &len), -EINVAL);
	assert_int_equal(mkfifoat(d->fd, "fifo", 0600), 0);
	assert_int_equal(io_read_file(d->fd, "fifo", 5, &data, &len), -EINVAL);
	assert_int_equal(symlinkat("f", d->fd, "link"), 0);
	assert_int_equal(io_read_file(d->fd, "link", 5, &data, &len), -ELOOP);
	/* /proc files have size 0 */
	assert_int_equal(io_read_file(AT_FDCWD, "/proc/self/maps", 10, &data, &len), -EFBIG);
	assert_int_equal(io_read_file(AT_FDCWD, "/proc/self/stat", 100000, &data, &len), 0);
	assert_true(len > 10);
	free(data);
}

static void a_copy_has_all_bytes(void **state)
{
	static const size_t sizes[] = {0, 1, 128 * 1024, 400001};
	const struct tmp_dir *d = *state;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		MB_AUTO_CLOSE int from = openat(d->fd, "a", O_RDWR | O_CREAT | O_TRUNC, 0600);
		MB_AUTO_CLOSE int to = openat(d->fd, "b", O_RDWR | O_CREAT | O_TRUNC, 0600);
		MB_AUTO_CLOSE int append =
			openat(d->fd, "c", O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);
		MB_AUTO_FREE uint8_t *data = mb_xmalloc(sizes[i]);
		struct digest da, db, dc;
		uint64_t size, before = io_steps();

		random_bytes(data, sizes[i]);
		assert_int_equal(write(from, data, sizes[i]), sizes[i]);
		assert_int_equal(io_copy(from, to, &size), 0);
		assert_int_equal(io_steps() - before, 1);
		assert_int_equal(size, sizes[i]);
		assert_int_equal(io_copy(from, append, NULL), 0); /* not by the kernel */
		assert_int_equal(digest_fd(from, &da, NULL), 0);
		assert_int_equal(digest_fd(to, &db, NULL), 0);
		assert_int_equal(digest_fd(append, &dc, NULL), 0);
		assert_true(digest_equal(&da, &db) && digest_equal(&da, &dc));
	}
}

/* Runs five steps in a child with this variable; gives its wait status. */
static int run_child(const struct tmp_dir *d, const char *variable, const char *value)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		setenv(variable, value, 1);
		io_init();
		io_set_hook(NULL, NULL);
		for (int i = 0; i < 5; i++) {
			char name[16];
			int fd;

			snprintf(name, sizeof(name), "s%d", i);
			fd = io_create_at(d->fd, name, O_WRONLY, 0600);
			if (fd >= 0)
				close(fd);
		}
		exit(7);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void clean(const struct tmp_dir *d)
{
	for (int i = 0; i < 5; i++) {
		char name[16];

		snprintf(name, sizeof(name), "s%d", i);
		unlinkat(d->fd, name, 0);
	}
}

static const char *nth(char out[32], uint64_t n, const char *rest)
{
	snprintf(out, 32, "%llu%s", (unsigned long long)(io_steps() + n), rest);
	return out;
}

static void stop_at_kills_just_before_the_step(void **state)
{
	const struct tmp_dir *d = *state;
	char value[32];
	int status = run_child(d, "MAILBRAID_STOP_AT", nth(value, 3, ""));

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_int_equal(tmp_dir_entries(d), 2);
}

static void fail_at_fails_one_step_or_all_from_it(void **state)
{
	const struct tmp_dir *d = *state;
	char value[32];

	assert_int_equal(WEXITSTATUS(run_child(d, "MAILBRAID_FAIL_AT", nth(value, 2, ":28"))), 7);
	assert_int_equal(tmp_dir_entries(d), 4);
	assert_int_equal(faccessat(d->fd, "s1", F_OK, 0), -1);
	clean(d);
	run_child(d, "MAILBRAID_FAIL_AT", nth(value, 2, "+:28"));
	assert_int_equal(tmp_dir_entries(d), 1);
	clean(d);
	run_child(d, "MAILBRAID_FAIL_AT", nth(value, 2, ":0"));
	assert_int_equal(tmp_dir_entries(d), 5);
	clean(d);
	run_child(d, "MAILBRAID_FAIL_AT", "nonsense");
	assert_int_equal(tmp_dir_entries(d), 5);
}

static void count_to_appends_the_number(void **state)
{
	const struct tmp_dir *d = *state;
	char path[128], text[64], expected[64];

	snprintf(path, sizeof(path), "%s/count", d->path);
	run_child(d, "MAILBRAID_COUNT_TO", path);
	assert_int_equal(read_text(d, "count", text, sizeof(text)), 0);
	snprintf(expected, sizeof(expected), "steps=%llu\n", (unsigned long long)io_steps() + 5);
	assert_string_equal(text, expected);
}

/* Room behind the end: the size stays, and what was not used can be given back. */
static void room_is_reserved_and_given_back(void **state)
{
	FILE *f = tmpfile();
	struct stat st;
	uint64_t steps = io_steps();

	(void)state;
	assert_non_null(f);
	assert_int_equal(io_write_all(fileno(f), "12345", 5), 0);
	steps = io_steps();
	int got = io_reserve(fileno(f), 5, 100000);

	assert_true(got == 0 || got == 1);
	assert_int_equal(fstat(fileno(f), &st), 0);
	assert_int_equal(st.st_size, 5);
	if (got == 1) {
		assert_true(st.st_blocks * 512 >= 100000);
		io_unreserve(fileno(f));
		assert_int_equal(fstat(fileno(f), &st), 0);
		assert_int_equal(st.st_size, 5);
		assert_true(st.st_blocks * 512 < 100000);
	}
	assert_int_equal(io_steps(), steps);
	assert_true(io_reserve(-1, 0, 10) < 0);
	fclose(f);
}

#define WITH_DIR(f) cmocka_unit_test_setup_teardown(f, tmp_dir_setup, tmp_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_DIR(each_call_is_a_step),
		WITH_DIR(create_never_takes_what_is_there),
		WITH_DIR(reading_ends_at_the_end),
		WITH_DIR(a_replacement_that_fails_changes_nothing),
		WITH_DIR(a_replacement_has_its_mode),
		cmocka_unit_test(room_is_reserved_and_given_back),
		WITH_DIR(reading_a_file_is_bounded),
		WITH_DIR(a_copy_has_all_bytes),
		WITH_DIR(stop_at_kills_just_before_the_step),
		WITH_DIR(fail_at_fails_one_step_or_all_from_it),
		WITH_DIR(count_to_appends_the_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
