/* What failures, and a stop before each durable step, leave of the log. */
#include "backends/store/log-private.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "tests/support/log-dir.h"
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/* --- failures ------------------------------------------------------------------------------ */

struct fail {
	const char *what;
	int skip, err, count; /* fails `count` times after `skip` */
	int seen;
};

static int fail_hook(uint64_t step, const char *what, void *arg)
{
	struct fail *f = arg;

	(void)step;
	if (strcmp(what, f->what) != 0)
		return 0;
	f->seen++;
	return f->seen > f->skip && f->seen <= f->skip + f->count ? f->err : 0;
}

static void failed_flush_ends_the_file_and_loses_nothing(void **state)
{
	struct fail f = {.what = "fdatasync", .err = -EIO, .count = 1};
	struct log *l = log_dir_writer(*state);
	struct position safe = log_dir_append(l, 1, 3), limbo;
	struct record r;

	assert_int_equal(log_flush(l), 0);
	limbo = log_dir_append(l, 4, 6);
	io_set_hook(fail_hook, &f);
	assert_int_equal(log_flush(l), MB_E_LOG_DEAD);
	assert_int_equal(log_flush(l), MB_E_LOG_DEAD);
	assert_int_equal(f.seen, 1); /* not tried again */
	log_dir_record(&r, 7, 1);
	assert_int_equal(log_append(l, &r, NULL, NULL), MB_E_LOG_DEAD);
	record_release(&r);
	assert_true(log_needs_flush(l));
	assert_int_equal(log_rotate(l), 0);
	assert_false(log_needs_flush(l));
	assert_int_equal(log_check(l, &safe), 0);
	assert_int_equal(log_check(l, &limbo), MB_E_POSITION);
	log_dir_append(l, 7, 8);
	log_dir_expect(l, 1, 8);
	log_close(l);
	l = log_dir_reader(*state);
	log_dir_expect(l, 1, 8);
	log_close(l);
}

static void flush_that_fails_in_rotate_is_mended_there(void **state)
{
	struct fail f = {.what = "fdatasync", .err = -EIO, .count = 1};
	struct log *l = log_dir_writer(*state);

	log_dir_append(l, 1, 3);
	io_set_hook(fail_hook, &f);
	assert_int_equal(log_rotate(l), 0);
	assert_int_equal(f.seen, 2);
	assert_false(log_needs_flush(l));
	log_dir_expect(l, 1, 3);
	log_close(l);
}

static void rotate_can_be_tried_until_it_works(void **state)
{
	static const char *const whats[] = {"create", "pwrite", "fsync", "fdatasync"};
	struct log *l = log_dir_writer(*state);
	uint64_t n = 1;
	size_t i;
	int skip;

	for (i = 0; i < 4; i++)
		for (skip = 0; skip < 2; skip++) {
			struct fail dead = {.what = "fdatasync", .err = -EIO, .count = 1};
			struct fail f = {
				.what = whats[i], .skip = skip, .err = -ENOSPC, .count = 2};

			log_dir_append(l, n, n + 3);
			n += 4;
			io_set_hook(fail_hook, &dead);
			assert_int_equal(log_flush(l), MB_E_LOG_DEAD);
			io_set_hook(fail_hook, &f);
			while (log_rotate(l) < 0)
				assert_true(log_needs_flush(l) && f.seen < 20);
			io_set_hook(NULL, NULL);
			assert_false(log_needs_flush(l));
		}
	{
		/* Some were written twice where the new file failed too; none is missing. */
		struct seen s = {0};
		struct position start;
		uint64_t last = 0;

		assert_int_equal(log_start(l, &start), 0);
		assert_int_equal(log_dir_read(l, &start, &s), 0);
		for (i = 0; i < s.count; i++) {
			assert_true(s.n[i] <= last + 1);
			if (s.n[i] == last + 1)
				last++;
		}
		assert_int_equal(last, n - 1);
	}
	log_close(l);
}

static void full_disk_leaves_no_half_record(void **state)
{
	struct fail f = {.what = "pwrite", .err = -ENOSPC, .count = 1};
	struct log *l = log_dir_writer(*state);
	struct position end = log_dir_append(l, 1, 3), now;
	struct record r;

	io_set_hook(fail_hook, &f);
	log_dir_record(&r, 4, 1);
	assert_int_equal(log_append(l, &r, NULL, NULL), -ENOSPC);
	record_release(&r);
	assert_int_equal(log_end(l, &now), 0);
	assert_true(position_equal(&end, &now));
	log_dir_append(l, 4, 5);
	log_dir_expect(l, 1, 5);
	log_close(l);
}

/* Lets the file grow by `more` bytes only, so that the next write is a short one. */
static void limit_file(const struct log *l, rlim_t more)
{
	struct rlimit lim = {.rlim_cur = more == RLIM_INFINITY ? more : log_file_size(l) + more,
			     .rlim_max = RLIM_INFINITY};

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &lim), 0);
}

static void short_write_is_cut_off(void **state)
{
	struct log *l = log_dir_writer(*state);
	struct log *reader = log_dir_reader(*state);
	struct position end = log_dir_append(l, 1, 3);
	struct record r;
	size_t len;

	limit_file(l, 10);
	log_dir_record(&r, 4, 100);
	assert_int_equal(log_append(l, &r, NULL, NULL), -EFBIG);
	record_release(&r);
	limit_file(l, RLIM_INFINITY);
	free(log_dir_get(*state, "00000001.log", &len));
	assert_int_equal(len, end.offset);
	log_dir_append(l, 4, 5);
	log_dir_expect(l, 1, 5);
	log_dir_expect(reader, 1, 5);
	log_close(reader);
	log_close(l);
}

static void half_record_that_stays_ends_the_file(void **state)
{
	struct fail f = {.what = "ftruncate", .err = -EIO, .count = 1};
	struct log *l = log_dir_writer(*state);
	struct record r;

	log_dir_append(l, 1, 3);
	limit_file(l, 10);
	io_set_hook(fail_hook, &f);
	log_dir_record(&r, 4, 100);
	assert_int_equal(log_append(l, &r, NULL, NULL), -EFBIG);
	limit_file(l, RLIM_INFINITY);
	assert_int_equal(log_append(l, &r, NULL, NULL), MB_E_LOG_DEAD);
	record_release(&r);
	assert_int_equal(log_flush(l), 0); /* what was before can be flushed */
	assert_int_equal(log_rotate(l), 0);
	log_dir_append(l, 4, 5);
	log_dir_expect(l, 1, 5);
	log_close(l);
}

static void failed_begin_leaves_a_usable_log(void **state)
{
	static const char *const whats[] = {"create", "pwrite", "fsync", "fdatasync"};
	struct log *l = log_dir_writer(*state);
	size_t i;

	log_dir_append(l, 1, 3);
	log_close(l);
	for (i = 0; i < 4; i++) {
		struct fail f = {.what = whats[i], .err = -EIO, .count = 1};

		l = log_dir_reader(*state);
		io_set_hook(fail_hook, &f);
		assert_int_equal(log_begin(l, false, NULL), -EIO);
		assert_int_equal(f.seen, 1);
		assert_int_equal(log_begin(l, false, NULL), 0);
		io_set_hook(NULL, NULL);
		log_dir_expect(l, 1, 3);
		log_close(l);
	}
}

/* --- stops --------------------------------------------------------------------------------- */

struct story {
	uint64_t stop_at;
	uint64_t durable; /* greatest number that log_flush() stood for */
	uint64_t modseq;
	int done;
};

static int stop_hook(uint64_t step, const char *what, void *arg)
{
	struct story *s = arg;

	(void)step;
	(void)what;
	if (!--s->stop_at)
		raise(SIGKILL);
	return 0;
}

static void tell(const struct log_dir *d, struct story *s)
{
	struct log *l;
	uint64_t n;

	io_set_hook(stop_hook, s);
	l = log_dir_writer(d);
	for (n = 1; n <= 9; n++) {
		log_dir_append(l, n, n);
		if (n % 2 == 0 && !log_flush(l))
			s->durable = n;
		if (n % 3 == 0 && !log_rotate(l))
			s->durable = n;
	}
	log_close(l);
	s->durable = 9;
	s->done = 1;
	_exit(0);
}

/* After a stop before any durable step, all that was flushed is there, in order, without a gap,
 * and the log goes on with a new file. */
static void stop_at_each_step_keeps_what_was_flushed(void **state)
{
	struct story *s =
		mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t at;

	assert_true(s != MAP_FAILED);
	for (at = 1; !s->done; at++) {
		struct seen seen = {0};
		struct position start;
		struct log *l;
		pid_t pid;
		size_t i;

		log_dir_clear(*state);
		*s = (struct story){.stop_at = at};
		pid = fork();
		if (!pid)
			tell(*state, s);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		l = log_dir_writer(*state);
		assert_int_equal(log_start(l, &start), 0);
		assert_int_equal(log_dir_read(l, &start, &seen), 0);
		assert_true(seen.count >= s->durable);
		for (i = 0; i < seen.count; i++)
			assert_int_equal(seen.n[i], i + 1);
		log_dir_append(l, seen.count + 1, seen.count + 2);
		log_dir_expect(l, 1, seen.count + 2);
		log_close(l);
	}
	assert_true(at > 20);
	munmap(s, sizeof(*s));
}

#define T(f) cmocka_unit_test_setup_teardown(f, log_dir_setup, log_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(failed_flush_ends_the_file_and_loses_nothing),
		T(flush_that_fails_in_rotate_is_mended_there),
		T(rotate_can_be_tried_until_it_works),
		T(full_disk_leaves_no_half_record),
		T(short_write_is_cut_off),
		T(half_record_that_stays_ends_the_file),
		T(failed_begin_leaves_a_usable_log),
		T(stop_at_each_step_keeps_what_was_flushed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
