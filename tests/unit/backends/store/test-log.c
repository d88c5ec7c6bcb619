/* The log's writer: begin, append, group commit, rotate. */
#include "backends/store/log-private.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "tests/support/log-dir.h"
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

/* --- beginning ----------------------------------------------------------------------------- */

static void empty_directory_is_an_empty_log(void **state)
{
	struct log *l = log_dir_reader(*state);
	struct position p = {.sequence = 9};
	struct record r;

	assert_int_equal(log_end(l, &p), 0);
	assert_true(position_is_none(&p));
	assert_int_equal(log_start(l, &p), 0);
	assert_true(position_is_none(&p));
	assert_int_equal(log_check(l, &p), MB_E_POSITION);
	assert_int_equal(log_read(l, &p, seen_add, NULL, NULL), MB_E_POSITION);
	assert_int_equal(log_sequence(l), 0);
	log_dir_record(&r, 1, 1);
	assert_int_equal(log_append(l, &r, NULL, NULL), -EBADF);
	assert_int_equal(log_rotate(l), -EBADF);
	assert_int_equal(log_remove_before(l, 5), -EBADF);
	record_release(&r);
	log_close(l);
}

static void what_is_appended_is_read(void **state)
{
	struct log *l = log_dir_writer(*state);
	struct position end;

	assert_int_equal(log_sequence(l), 1);
	assert_false(log_needs_flush(l));
	end = log_dir_append(l, 1, 20);
	assert_true(log_needs_flush(l));
	assert_int_equal(log_file_size(l), end.offset);
	assert_int_equal(log_flush(l), 0);
	assert_false(log_needs_flush(l));
	log_dir_expect(l, 1, 20);
	log_close(l);
	l = log_dir_reader(*state);
	log_dir_expect(l, 1, 20);
	log_close(l);
}

static void clean_stop_goes_on_in_the_file(void **state)
{
	struct log *l = log_dir_writer(*state);
	struct position end = log_dir_append(l, 1, 3), next;

	log_close(l);
	l = log_dir_reader(*state);
	assert_int_equal(log_begin(l, true, &end), 0);
	assert_int_equal(log_sequence(l), 1);
	assert_int_equal(log_begin(l, false, NULL), 0); /* is the writer already */
	next = log_dir_append(l, 4, 5);
	assert_true(guid_equal(&next.log, &end.log));
	assert_int_equal(log_flush(l), 0);
	log_dir_expect(l, 1, 5);
	log_close(l);
}

static void clean_stop_of_an_empty_file_goes_on(void **state)
{
	struct log *l = log_dir_writer(*state);
	struct position end;

	assert_int_equal(log_end(l, &end), 0);
	log_close(l);
	l = log_dir_reader(*state);
	assert_int_equal(log_begin(l, true, &end), 0);
	assert_int_equal(log_sequence(l), 1);
	log_close(l);
}

static void unclean_stop_begins_a_file(void **state)
{
	struct log *l = log_dir_writer(*state);
	struct position end = log_dir_append(l, 1, 3), next;

	log_close(l);
	l = log_dir_reader(*state);
	assert_int_equal(log_begin(l, false, &end), 0);
	assert_int_equal(log_sequence(l), 2);
	next = log_dir_append(l, 4, 5);
	assert_false(guid_equal(&next.log, &end.log));
	assert_int_equal(log_check(l, &end), 0);
	log_dir_expect(l, 1, 5);
	log_close(l);
}

/* Each of these is not the end that the caller recorded. */
static void wrong_expectation_begins_a_file(void **state)
{
	struct log *l = log_dir_writer(*state);
	struct position end, wrong[5];
	uint32_t i;

	for (i = 0; i < 6; i++) {
		end = log_dir_append(l, 2 * i + 1, 2 * i + 2);
		log_close(l);
		wrong[0] = wrong[1] = wrong[2] = wrong[3] = wrong[4] = end;
		wrong[0].offset -= 17;
		wrong[1].check ^= 1;
		wrong[2].log.b[3] ^= 1;
		wrong[3].sequence--;
		wrong[4] = (struct position){0};
		l = log_dir_reader(*state);
		assert_int_equal(log_begin(l, true, i < 5 ? &wrong[i] : NULL), 0);
		assert_int_equal(log_sequence(l), i + 2);
	}
	log_dir_expect(l, 1, 12);
	log_close(l);
}

static void torn_tail_at_begin_stays_and_is_never_read(void **state)
{
	struct log *l = log_dir_writer(*state);
	struct position end = log_dir_append(l, 1, 3);
	size_t len, cut = end.offset - 5;
	uint8_t *data;

	log_close(l);
	log_dir_cut(*state, "00000001.log", cut);
	l = log_dir_reader(*state);
	assert_int_equal(log_begin(l, true, &end), 0);
	assert_int_equal(log_sequence(l), 2);
	assert_int_equal(log_check(l, &end), MB_E_POSITION);
	log_dir_append(l, 3, 4);
	log_dir_expect(l, 1, 4);
	data = log_dir_get(*state, "00000001.log", &len);
	assert_int_equal(len, cut);
	free(data);
	log_close(l);
}

static void records_behind_a_bad_place_are_kept_at_begin(void **state)
{
	struct log *l = log_dir_writer(*state);
	struct position bad = log_dir_append(l, 1, 3);
	struct seen s = {0};
	struct position start;

	log_dir_append(l, 4, 9);
	log_close(l);
	log_dir_flip(*state, "00000001.log", (bad.offset + 12) * 8);
	l = log_dir_reader(*state);
	assert_int_equal(log_start(l, &start), 0);
	assert_int_equal(log_dir_read(l, &start, &s), MB_E_CHECKSUM);
	assert_true(position_equal(&s.good, &bad));
	assert_int_equal(log_begin(l, false, NULL), 0);
	assert_false(log_needs_flush(l));
	/* who reads across it would miss the fourth, and not know */
	s = (struct seen){0};
	assert_int_equal(log_dir_read(l, &start, &s), MB_E_POSITION);
	assert_int_equal(log_check(l, &bad), MB_E_POSITION);
	log_dir_expect(l, 5, 9);
	log_close(l);
}

static void number_of_a_damaged_file_is_never_used_again(void **state)
{
	struct log *l = log_dir_writer(*state);
	struct position end = log_dir_append(l, 1, 3);

	log_close(l);
	log_dir_put(*state, "00000002.log", "mbraidLG", 8); /* a stop while it was made */
	l = log_dir_reader(*state);
	assert_int_equal(log_sequence(l), 1);
	assert_int_equal(log_begin(l, true, &end), 0);
	assert_int_equal(log_sequence(l), 3);
	assert_int_equal(log_check(l, &end), 0); /* it had no records: no hole */
	log_dir_append(l, 4, 5);
	log_dir_expect(l, 1, 5);
	log_close(l);
}

static void damaged_file_with_records_is_a_hole(void **state)
{
	struct log *l = log_dir_writer(*state);
	struct position first = log_dir_append(l, 1, 3), p;
	uint64_t before, after;

	assert_int_equal(log_rotate(l), 0);
	p = log_dir_append(l, 4, 5);
	before = log_modseq(l, &p);
	log_close(l);
	log_dir_flip(*state, "00000002.log", 8 * 20);
	l = log_dir_writer(*state);
	assert_int_equal(log_sequence(l), 3);
	assert_int_equal(log_check(l, &first), MB_E_POSITION);
	assert_int_equal(log_check(l, &p), MB_E_POSITION);
	p = log_dir_append(l, 6, 7);
	after = log_modseq(l, &p);
	assert_true(after > before && after >> 32 > before >> 32);
	log_dir_expect(l, 6, 7);
	log_close(l);
}

static void modseq_grows_over_rotations_and_reopening(void **state)
{
	struct log *l = log_dir_writer(*state);
	uint64_t last = 0, modseq;
	struct position p;
	int i;

	for (i = 0; i < 12; i++) {
		p = log_dir_append(l, (uint64_t)i + 1, (uint64_t)i + 1);
		modseq = log_modseq(l, &p);
		assert_true(modseq > last);
		assert_true(modseq < (uint64_t)1 << 63);
		last = modseq;
		if (i % 3 == 0) {
			assert_int_equal(log_rotate(l), 0);
		} else if (i % 3 == 1) {
			log_close(l);
			l = log_dir_writer(*state);
		}
	}
	log_dir_expect(l, 1, 12);
	log_close(l);
}

static void full_file_rotates_by_itself(void **state)
{
	struct log *l = log_dir_writer(*state);

	l->file_max = 1024;
	log_dir_append(l, 1, 200);
	assert_true(log_sequence(l) > 3);
	log_dir_expect(l, 1, 200);
	log_close(l);
}

static void record_that_could_not_be_read_is_refused(void **state)
{
	struct log *l = log_dir_writer(*state);
	struct record r;

	log_dir_bad_record(&r, RECORD_MAX);
	assert_int_equal(log_append(l, &r, NULL, NULL), MB_E_LIMIT);
	record_release(&r);
	log_dir_bad_record(&r, 1000);
	assert_int_equal(log_append(l, &r, NULL, NULL), MB_E_FORMAT);
	record_release(&r);
	assert_int_equal(log_file_size(l), LOG_HEADER_SIZE);
	log_dir_append(l, 1, 3);
	log_dir_expect(l, 1, 3);
	log_close(l);
}

/* --- group commit -------------------------------------------------------------------------- */

enum { THREADS = 8, EACH = 25 };

struct crowd {
	struct log *l;
	_Atomic uint64_t next;
	_Atomic int failures;
	_Atomic int syncs;
	int fail_every;
};

static int slow_sync(uint64_t step, const char *what, void *arg)
{
	struct crowd *c = arg;
	int n;

	(void)step;
	if (strcmp(what, "fdatasync") != 0)
		return 0;
	n = ++c->syncs;
	usleep(2000);
	return c->fail_every && n % c->fail_every == 0 ? -EIO : 0;
}

static void *append_and_flush(void *arg)
{
	struct crowd *c = arg;
	int i;

	for (i = 0; i < EACH; i++) {
		struct record r;
		int err;

		log_dir_record(&r, ++c->next, 3);
		err = log_append(c->l, &r, NULL, NULL);
		while (err == MB_E_LOG_DEAD && !log_rotate(c->l))
			err = log_append(c->l, &r, NULL, NULL);
		if (!err)
			err = log_flush(c->l);
		if (err == MB_E_LOG_DEAD)
			err = log_rotate(c->l);
		c->failures += err != 0;
		record_release(&r);
	}
	return NULL;
}

static void run_crowd(struct crowd *c)
{
	pthread_t t[THREADS];
	int i;

	io_set_hook(slow_sync, c);
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, append_and_flush, c), 0);
	for (i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	io_set_hook(NULL, NULL);
	assert_int_equal(c->failures, 0);
}

/* Every number up to `to` was seen, in whatever order and however often. */
static void expect_all(struct log *l, uint64_t to)
{
	static struct seen s;
	uint8_t got[256] = {0};
	struct position start;
	size_t i;

	memset(&s, 0, sizeof(s));
	assert_int_equal(log_start(l, &start), 0);
	assert_int_equal(log_dir_read(l, &start, &s), 0);
	for (i = 0; i < s.count; i++)
		got[s.n[i]] = 1;
	for (i = 1; i <= to; i++)
		assert_int_equal(got[i], 1);
}

static void threads_share_flushes(void **state)
{
	struct crowd c = {.l = log_dir_writer(*state)};

	run_crowd(&c);
	assert_false(log_needs_flush(c.l));
	assert_true(c.syncs < THREADS * EACH / 2);
	expect_all(c.l, THREADS * EACH);
	log_close(c.l);
}

static int count_more(uint64_t step, const char *what, void *arg)
{
	(void)step;
	*(int *)arg += strcmp(what, "pwrite") == 0;
	return 0;
}

static void append_is_one_write(void **state)
{
	struct log *l = log_dir_writer(*state);
	int writes = 0;

	io_set_hook(count_more, &writes);
	log_dir_append(l, 1, 10);
	assert_int_equal(writes, 10);
	log_close(l);
}

static void much_that_is_not_durable_is_flushed(void **state)
{
	struct log *l = log_dir_writer(*state);
	struct record r;
	int i;

	log_dir_record(&r, 1, 8000);
	for (i = 0; i < 2500; i++)
		assert_int_equal(log_append(l, &r, NULL, NULL), 0);
	assert_true(l->pending.len < (size_t)5 << 20);
	record_release(&r);
	log_close(l);
}

static void threads_outlive_failed_flushes(void **state)
{
	struct crowd c = {.l = log_dir_writer(*state), .fail_every = 17};

	run_crowd(&c);
	expect_all(c.l, THREADS * EACH);
	log_close(c.l);
}

#define T(f) cmocka_unit_test_setup_teardown(f, log_dir_setup, log_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(empty_directory_is_an_empty_log),
		T(what_is_appended_is_read),
		T(clean_stop_goes_on_in_the_file),
		T(clean_stop_of_an_empty_file_goes_on),
		T(unclean_stop_begins_a_file),
		T(wrong_expectation_begins_a_file),
		T(torn_tail_at_begin_stays_and_is_never_read),
		T(records_behind_a_bad_place_are_kept_at_begin),
		T(number_of_a_damaged_file_is_never_used_again),
		T(damaged_file_with_records_is_a_hole),
		T(modseq_grows_over_rotations_and_reopening),
		T(full_file_rotates_by_itself),
		T(record_that_could_not_be_read_is_refused),
		T(threads_share_flushes),
		T(append_is_one_write),
		T(much_that_is_not_durable_is_flushed),
		T(threads_outlive_failed_flushes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
