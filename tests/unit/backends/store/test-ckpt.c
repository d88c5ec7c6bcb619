/* Checkpoints: whole or not there, whatever happens while they are written and to their bytes. */
#include "backends/store/log-private.h"
#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "backends/base/io.h"
#include "tests/support/log-dir.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/* Adds the records from..to to a checkpoint at `at`, and commits it. */
static int save(struct log *l, const struct position *at, uint64_t from, uint64_t to)
{
	struct ckpt_writer *w;
	int r = ckpt_begin(l, at, &w);

	for (; !r && from <= to; from++) {
		struct record rec;

		log_dir_record(&rec, from, from % 7);
		r = ckpt_add(w, &rec);
		record_release(&rec);
		if (r) {
			ckpt_abort(w);
			return r;
		}
	}
	return r ? r : ckpt_commit(w);
}

static void expect(struct log *l, const struct position *at, uint64_t from, uint64_t to)
{
	struct seen s = {0};
	struct position p;
	uint64_t n;

	assert_int_equal(ckpt_load(l, seen_add, &s, &p), 0);
	assert_true(position_equal(&p, at));
	assert_int_equal(s.count, to + 1 - from);
	for (n = from; n <= to; n++)
		assert_int_equal(s.n[n - from], n);
	assert_int_equal(s.modseq, 0);
	assert_true(position_is_none(&s.end));
}

static void checkpoint_is_read_as_it_was_written(void **state)
{
	struct log *l = log_dir_writer(*state);
	struct position at = log_dir_append(l, 1, 5);

	assert_int_equal(save(l, &at, 10, 29), 0);
	assert_false(log_needs_flush(l)); /* it never stands for what is not durable */
	assert_false(log_dir_has(*state, CKPT_TMP));
	expect(l, &at, 10, 29);
	log_close(l);
	l = log_dir_reader(*state);
	expect(l, &at, 10, 29);
	log_close(l);
}

static void empty_checkpoint_is_one(void **state)
{
	struct log *l = log_dir_writer(*state);
	struct position at;
	struct seen s = {0};

	assert_int_equal(ckpt_load(l, seen_add, &s, &at), -ENOENT);
	assert_int_equal(log_end(l, &at), 0);
	assert_int_equal(save(l, &at, 2, 1), 0);
	expect(l, &at, 2, 1);
	log_close(l);
}

static void large_checkpoint_goes_out_in_pieces(void **state)
{
	struct log *l = log_dir_writer(*state);
	struct position at = log_dir_append(l, 1, 1);
	struct seen s = {0};
	struct ckpt_writer *w;
	struct record rec;
	int i;

	assert_int_equal(ckpt_begin(l, &at, &w), 0);
	log_dir_record(&rec, 5, 8000);
	for (i = 0; i < 100; i++)
		assert_int_equal(ckpt_add(w, &rec), 0);
	record_release(&rec);
	log_dir_bad_record(&rec, RECORD_MAX);
	assert_int_equal(ckpt_add(w, &rec), MB_E_LIMIT);
	record_release(&rec);
	log_dir_bad_record(&rec, 1000);
	assert_int_equal(ckpt_add(w, &rec), MB_E_FORMAT);
	record_release(&rec);
	assert_int_equal(ckpt_commit(w), 0);
	assert_int_equal(ckpt_load(l, seen_add, &s, &at), 0);
	assert_int_equal(s.count, 100);
	log_close(l);
}

static void position_must_be_one_of_this_log(void **state)
{
	struct log *l = log_dir_writer(*state);
	struct position at = log_dir_append(l, 1, 2);
	struct ckpt_writer *w;

	at.check++;
	assert_int_equal(ckpt_begin(l, &at, &w), MB_E_POSITION);
	at = (struct position){0};
	assert_int_equal(ckpt_begin(l, &at, &w), MB_E_POSITION);
	log_close(l);
}

static void newest_is_used_and_the_log_goes_on_from_it(void **state)
{
	struct log *l = log_dir_writer(*state);
	struct position a = log_dir_append(l, 1, 3), b;
	struct seen s = {0};

	assert_int_equal(log_rotate(l), 0);
	assert_int_equal(save(l, &a, 1, 3), 0);
	b = log_dir_append(l, 4, 6);
	assert_int_equal(log_rotate(l), 0);
	assert_int_equal(save(l, &b, 1, 6), 0);
	log_dir_append(l, 7, 8);
	assert_int_equal(log_remove_before(l, 3), 0);
	assert_false(log_dir_has(*state, "00000001.ckpt"));
	log_close(l);
	l = log_dir_writer(*state);
	expect(l, &b, 1, 6);
	assert_int_equal(log_dir_read(l, &b, &s), 0);
	assert_int_equal(s.count, 2);
	assert_int_equal(s.n[0], 7);
	log_close(l);
}

static void abort_leaves_nothing(void **state)
{
	struct log *l = log_dir_writer(*state);
	struct position at = log_dir_append(l, 1, 3);
	struct ckpt_writer *w;
	struct seen s = {0};

	assert_int_equal(ckpt_begin(l, &at, &w), 0);
	assert_true(log_dir_has(*state, CKPT_TMP));
	ckpt_abort(w);
	ckpt_abort(NULL);
	assert_false(log_dir_has(*state, CKPT_TMP));
	assert_int_equal(ckpt_load(l, seen_add, &s, &at), -ENOENT);
	log_close(l);
}

/* --- damage -------------------------------------------------------------------------------- */

/* Two checkpoints, the newer one at *ret_b; its bytes. */
static uint8_t *two(void **state, struct position *ret_a, struct position *ret_b, size_t *ret_len)
{
	struct log *l = log_dir_writer(*state);

	*ret_a = log_dir_append(l, 1, 2);
	assert_int_equal(save(l, ret_a, 1, 2), 0);
	assert_int_equal(log_rotate(l), 0);
	*ret_b = log_dir_append(l, 3, 4);
	assert_int_equal(save(l, ret_b, 1, 4), 0);
	expect(l, ret_b, 1, 4);
	log_close(l);
	return log_dir_get(*state, "00000002.ckpt", ret_len);
}

static void newest_with_any_bit_flipped_falls_back(void **state)
{
	struct position a, b;
	size_t len, bit;
	uint8_t *data = two(state, &a, &b, &len);
	struct log *l = log_dir_reader(*state);

	for (bit = 0; bit < len * 8; bit++) {
		log_dir_flip(*state, "00000002.ckpt", bit);
		expect(l, &a, 1, 2);
		log_dir_flip(*state, "00000002.ckpt", bit);
	}
	expect(l, &b, 1, 4);
	log_close(l);
	free(data);
}

static void newest_cut_or_grown_falls_back(void **state)
{
	struct position a, b;
	size_t len, cut;
	uint8_t *data = two(state, &a, &b, &len), *more = calloc(1, len + 48);
	struct log *l = log_dir_reader(*state);

	for (cut = 0; cut < len; cut++) {
		log_dir_put(*state, "00000002.ckpt", data, cut);
		expect(l, &a, 1, 2);
	}
	memcpy(more, data, len);
	memcpy(more + len + 24, data + len - 24, 24);
	log_dir_put(*state, "00000002.ckpt", more, len + 1);
	expect(l, &a, 1, 2);
	log_dir_put(*state, "00000002.ckpt", more, len + 48);
	expect(l, &a, 1, 2);
	log_close(l);
	free(data);
	free(more);
}

/* Taking out a whole frame leaves right frames only; the trailer tells. */
static void missing_last_record_falls_back(void **state)
{
	struct position a, b;
	size_t len, last = 0;
	uint8_t *data = two(state, &a, &b, &len);
	struct log *l = log_dir_reader(*state);
	struct frame f = {0};
	struct scan s;

	log_dir_put(*state, "copy", data, len);
	{
		int fd = openat(((struct log_dir *)*state)->fd, "copy", O_RDONLY | O_CLOEXEC);

		scan_init(&s, fd, &b.log, CKPT_HEADER_SIZE, len - 24);
		while (scan_next(&s, &f) == 1)
			last = f.offset;
		scan_release(&s);
		close(fd);
	}
	memmove(data + last, data + len - 24, 24);
	log_dir_put(*state, "00000002.ckpt", data, last + 24);
	expect(l, &a, 1, 2);
	log_close(l);
	free(data);
}

static void checkpoint_of_another_store_or_number_is_none(void **state)
{
	struct position a, b;
	size_t len;
	uint8_t *data = two(state, &a, &b, &len);
	struct log *l = log_dir_reader(*state);

	log_dir_put(*state, "00000005.ckpt", data, len);
	expect(l, &b, 1, 4);
	put_le32(data + 12, 5);
	data[50] ^= 1; /* store id */
	put_le64(data + 72, checksum64(data, 72, 0));
	log_dir_put(*state, "00000005.ckpt", data, len);
	expect(l, &b, 1, 4);
	log_close(l);
	free(data);
}

static void newer_version_is_refused(void **state)
{
	struct position a, b;
	size_t len;
	uint8_t *data = two(state, &a, &b, &len);
	struct log *l = log_dir_reader(*state);
	struct seen s = {0};

	put_le16(data + 8, LOG_VERSION + 1);
	put_le64(data + 72, checksum64(data, 72, 0));
	log_dir_put(*state, "00000002.ckpt", data, len);
	assert_int_equal(ckpt_load(l, seen_add, &s, &a), MB_E_VERSION);
	assert_int_equal(s.count, 0);
	log_close(l);
	free(data);
}

static void noise_is_no_checkpoint(void **state)
{
	struct log *l = log_dir_writer(*state);
	struct position at;
	uint8_t noise[600];
	struct seen s = {0};
	int i;

	for (i = 0; i < 100; i++) {
		random_bytes(noise, sizeof(noise));
		memcpy(noise, CKPT_MAGIC, 8);
		log_dir_put(*state, "00000001.ckpt", noise, (size_t)i * 6);
		assert_int_equal(ckpt_load(l, seen_add, &s, &at), -ENOENT);
	}
	log_close(l);
}

/* --- stops and failures -------------------------------------------------------------------- */

struct stop {
	int at, err;
};

static int stop_hook(uint64_t step, const char *what, void *arg)
{
	struct stop *s = arg;

	(void)step;
	(void)what;
	if (--s->at)
		return 0;
	if (!s->err)
		raise(SIGKILL);
	return s->err;
}

static void stop_at_each_step_leaves_the_old_or_the_new(void **state)
{
	struct log *l = log_dir_writer(*state);
	struct position a = log_dir_append(l, 1, 2), b;
	bool done = false;
	int at, status;

	assert_int_equal(save(l, &a, 1, 2), 0);
	b = log_dir_append(l, 3, 4);
	for (at = 1; !done; at++) {
		struct seen s = {0};
		struct position p;
		pid_t pid = fork();

		if (!pid) {
			struct stop stop = {.at = at};

			io_set_hook(stop_hook, &stop);
			_exit(save(l, &b, 1, 4) ? 1 : 0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		done = WIFEXITED(status);
		assert_int_equal(ckpt_load(l, seen_add, &s, &p), 0);
		if (position_equal(&p, &a))
			assert_int_equal(s.count, 2);
		else
			assert_int_equal(s.count, 4);
		assert_true(!done || s.count == 4);
		assert_int_equal(save(l, &a, 1, 2), 0); /* over whatever was left */
	}
	assert_int_equal(status, 0);
	assert_true(at > 5);
	log_close(l);
}

static void failure_of_each_step_leaves_the_old_or_the_new(void **state)
{
	struct log *l = log_dir_writer(*state);
	struct position a = log_dir_append(l, 1, 2), b;
	int at, r = -1;

	for (at = 1; r; at++) {
		struct stop stop = {.at = at, .err = -ENOSPC};
		struct seen s = {0};
		struct position p;

		assert_int_equal(save(l, &a, 1, 2), 0);
		b = log_dir_append(l, 3, 4);
		io_set_hook(stop_hook, &stop);
		r = save(l, &b, 1, 4);
		io_set_hook(NULL, NULL);
		if (r == MB_E_LOG_DEAD)
			assert_int_equal(log_rotate(l), 0);
		assert_int_equal(ckpt_load(l, seen_add, &s, &p), 0);
		assert_true(position_equal(&p, &a) ? s.count == 2 : s.count == 4);
		assert_true(r || s.count == 4);
		if (r)
			assert_false(log_dir_has(*state, CKPT_TMP));
	}
	assert_true(at > 5);
	log_close(l);
}

#define T(f) cmocka_unit_test_setup_teardown(f, log_dir_setup, log_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(checkpoint_is_read_as_it_was_written),
		T(empty_checkpoint_is_one),
		T(large_checkpoint_goes_out_in_pieces),
		T(position_must_be_one_of_this_log),
		T(newest_is_used_and_the_log_goes_on_from_it),
		T(abort_leaves_nothing),
		T(newest_with_any_bit_flipped_falls_back),
		T(newest_cut_or_grown_falls_back),
		T(missing_last_record_falls_back),
		T(checkpoint_of_another_store_or_number_is_none),
		T(newer_version_is_refused),
		T(noise_is_no_checkpoint),
		T(stop_at_each_step_leaves_the_old_or_the_new),
		T(failure_of_each_step_leaves_the_old_or_the_new),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
