/* Positions and reading: torn tails, damage, other processes, logs that were copied back. */
#include "backends/store/log-private.h"
#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "tests/support/log-dir.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static const char *const FIRST = "00000001.log";

/* --- damage -------------------------------------------------------------------------------- */

/* A closed log of one file with `n` records; where each ends (ends[0] is the start). */
static void make(const struct log_dir *d, uint64_t n, struct position *ends)
{
	struct log *l = log_dir_writer(d);
	uint64_t i;

	assert_int_equal(log_end(l, &ends[0]), 0);
	for (i = 1; i <= n; i++)
		ends[i] = log_dir_append(l, i, i);
	log_close(l);
}

static void torn_tail_at_each_byte_is_the_end(void **state)
{
	struct position ends[4], end;
	size_t cut, len;
	uint8_t *data;

	make(*state, 3, ends);
	data = log_dir_get(*state, FIRST, &len);
	for (cut = LOG_HEADER_SIZE; cut <= len; cut++) {
		uint64_t n = (uint64_t)(cut >= ends[1].offset) + (cut >= ends[2].offset) +
			     (cut >= ends[3].offset);
		struct log *l;

		log_dir_clear(*state);
		log_dir_put(*state, FIRST, data, cut);
		l = log_dir_reader(*state);
		log_dir_expect(l, 1, n);
		assert_int_equal(log_end(l, &end), 0);
		assert_true(position_equal(&end, &ends[n]));
		assert_int_equal(log_begin(l, true, &end), 0);
		assert_int_equal(log_sequence(l), cut == ends[n].offset ? 1 : 2);
		log_dir_append(l, n + 1, n + 2);
		log_dir_expect(l, 1, n + 2);
		log_close(l);
	}
	free(data);
}

/* Zeros behind the end are what some file systems leave after a power cut. */
static void zeros_behind_the_end_are_a_tail(void **state)
{
	static const uint8_t zeros[5000];
	struct position ends[3];
	uint8_t *data, *more;
	struct log *l;
	size_t len;

	make(*state, 2, ends);
	data = log_dir_get(*state, FIRST, &len);
	more = calloc(1, len + sizeof(zeros));
	memcpy(more, data, len);
	log_dir_put(*state, FIRST, more, len + sizeof(zeros));
	l = log_dir_reader(*state);
	log_dir_expect(l, 1, 2);
	assert_int_equal(log_begin(l, true, &ends[2]), 0);
	assert_int_equal(log_sequence(l), 2);
	log_close(l);
	free(data);
	free(more);
}

/* Every bit of a file that is not the last: no record is given wrongly, and the place is told. */
static void any_flipped_bit_of_an_older_file_is_told(void **state)
{
	struct log *l = log_dir_writer(*state);
	struct position ends[4];
	size_t bit;
	int i;

	assert_int_equal(log_end(l, &ends[0]), 0);
	for (i = 1; i <= 3; i++)
		ends[i] = log_dir_append(l, (uint64_t)i, (uint64_t)i);
	assert_int_equal(log_rotate(l), 0);
	log_dir_append(l, 4, 5);
	log_close(l);
	for (bit = LOG_HEADER_SIZE * 8; bit < (size_t)ends[3].offset * 8; bit++) {
		size_t n = (size_t)(bit / 8 >= ends[1].offset) + (bit / 8 >= ends[2].offset);
		struct seen s = {0};

		log_dir_flip(*state, FIRST, bit);
		l = log_dir_reader(*state);
		assert_int_equal(log_dir_read(l, &ends[0], &s), MB_E_CHECKSUM);
		assert_int_equal(s.count, n);
		assert_true(position_equal(&s.good, &ends[n]));
		log_close(l);
		log_dir_flip(*state, FIRST, bit);
	}
}

/* Every bit of the only file.  In the last record it cannot be told from a torn tail. */
static void any_flipped_bit_of_the_last_file(void **state)
{
	struct position ends[4];
	size_t bit;

	make(*state, 3, ends);
	for (bit = 0; bit < (size_t)ends[3].offset * 8; bit++) {
		size_t n = (size_t)(bit / 8 >= ends[1].offset) + (bit / 8 >= ends[2].offset);
		struct seen s = {0};
		struct log *l;
		int r;

		log_dir_flip(*state, FIRST, bit);
		l = log_dir_reader(*state);
		r = log_dir_read(l, &ends[0], &s);
		if (bit / 8 < LOG_HEADER_SIZE) {
			assert_int_equal(r, MB_E_POSITION);
		} else {
			assert_int_equal(r, n == 2 ? 0 : MB_E_CHECKSUM);
			assert_int_equal(s.count, n);
			assert_true(position_equal(&s.good, &ends[n]));
		}
		log_close(l);
		log_dir_flip(*state, FIRST, bit);
	}
}

static void older_file_that_was_cut_is_told(void **state)
{
	struct log *l = log_dir_writer(*state);
	struct position start, end = log_dir_append(l, 1, 3);
	struct seen s = {0};

	assert_int_equal(log_rotate(l), 0);
	log_dir_append(l, 4, 4);
	assert_int_equal(log_start(l, &start), 0);
	log_dir_cut(*state, FIRST, end.offset - 1);
	assert_int_equal(log_dir_read(l, &start, &s), MB_E_CHECKSUM);
	assert_int_equal(s.count, 2);
	assert_int_equal(log_check(l, &end), MB_E_POSITION);
	log_close(l);
}

static void bytes_behind_the_end_of_an_older_file_are_ignored(void **state)
{
	struct log *l = log_dir_writer(*state);
	struct log_dir *d = *state;
	int fd;

	log_dir_append(l, 1, 3);
	assert_int_equal(log_rotate(l), 0);
	log_dir_append(l, 4, 5);
	fd = openat(d->fd, FIRST, O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_int_equal(write(fd, "rubbish", 7), 7);
	close(fd);
	log_dir_expect(l, 1, 5);
	log_close(l);
}

/* A right checksum does not make a record. */
static void frame_that_is_no_record_is_an_error(void **state)
{
	struct log *l = log_dir_writer(*state);
	BUF_AUTO struct buf b = BUF_INIT;
	struct position start, end = log_dir_append(l, 1, 2);
	struct seen s = {0};
	struct log_dir *d = *state;
	int fd = openat(d->fd, FIRST, O_WRONLY | O_APPEND | O_CLOEXEC);

	buf_put_u64(&b, 0);
	buf_put(&b, "\1\377\377\377\377\377", 6);
	frame_seal(&b, frame_seed(&end.log), end.offset);
	assert_int_equal(write(fd, b.data, b.len), b.len);
	close(fd);
	log_close(l);
	l = log_dir_reader(*state);
	assert_int_equal(log_start(l, &start), 0);
	assert_int_equal(log_dir_read(l, &start, &s), MB_E_FORMAT);
	assert_true(position_equal(&s.good, &end));
	log_close(l);
}

static void noise_instead_of_files(void **state)
{
	uint8_t noise[700];
	int i;

	for (i = 0; i < 200; i++) {
		struct position p = {0};
		struct log *l;

		random_bytes(noise, sizeof(noise));
		if (i % 2)
			memcpy(noise, LOG_MAGIC "\1\0\140\0", 12);
		log_dir_put(*state, FIRST, noise, (size_t)i * 3);
		l = log_dir_reader(*state);
		assert_int_equal(log_end(l, &p), 0);
		assert_true(position_is_none(&p));
		log_close(l);
	}
}

/* --- positions ----------------------------------------------------------------------------- */

static void only_positions_that_were_given_are_held(void **state)
{
	struct position ends[6], p;
	uint32_t offset, i, held = 0;
	struct log *l;

	make(*state, 5, ends);
	l = log_dir_reader(*state);
	for (i = 0; i < 6; i++)
		assert_int_equal(log_check(l, &ends[i]), 0);
	for (i = 0; i < 6; i++)
		for (offset = 0; offset < ends[5].offset + 40; offset++) {
			p = ends[i];
			p.offset = offset;
			held += !log_check(l, &p);
		}
	assert_int_equal(held, 6);
	for (i = 0; i < 6; i++) {
		p = ends[i];
		p.check++;
		assert_int_equal(log_check(l, &p), MB_E_POSITION);
		p = ends[i];
		p.sequence++;
		assert_int_equal(log_check(l, &p), MB_E_POSITION);
		p = ends[i];
		p.log.b[15]++;
		assert_int_equal(log_check(l, &p), MB_E_POSITION);
		assert_int_equal(log_modseq(l, &p), 0);
	}
	p = ends[5];
	p.offset = UINT32_MAX;
	assert_int_equal(log_check(l, &p), MB_E_POSITION);
	log_close(l);
}

/* Somebody who makes up a position whose check happens to stand in the file gets no records. */
static void made_up_position_is_refused_when_read(void **state)
{
	struct position ends[4], p;
	size_t len;
	uint8_t *data;
	uint32_t offset;
	struct log *l;

	make(*state, 3, ends);
	data = log_dir_get(*state, FIRST, &len);
	l = log_dir_reader(*state);
	for (offset = LOG_HEADER_SIZE + 17; offset < ends[3].offset; offset++) {
		struct seen s = {0};

		if (offset == ends[1].offset || offset == ends[2].offset)
			continue;
		p = ends[0];
		p.offset = offset;
		p.check = get_le64(data + offset - 8);
		assert_int_equal(log_dir_read(l, &p, &s), MB_E_POSITION);
		assert_int_equal(s.count, 0);
		assert_true(position_equal(&s.good, &p));
	}
	free(data);
	log_close(l);
}

static void log_copied_back_that_went_on_is_noticed(void **state)
{
	struct position ends[4], later;
	struct log *l;
	uint8_t *data;
	size_t len;

	make(*state, 3, ends);
	data = log_dir_get(*state, FIRST, &len);
	l = log_dir_reader(*state);
	assert_int_equal(log_begin(l, true, &ends[3]), 0);
	later = log_dir_append(l, 4, 6);
	log_close(l);
	log_dir_put(*state, FIRST, data, len); /* the backup */
	l = log_dir_reader(*state);
	assert_int_equal(log_check(l, &later), MB_E_POSITION);
	assert_int_equal(log_begin(l, true, &ends[3]), 0);
	log_dir_append(l, 104, 106); /* as long as what was there before */
	assert_int_equal(log_check(l, &ends[3]), 0);
	assert_int_equal(log_check(l, &later), MB_E_POSITION);
	log_close(l);
	free(data);
}

static void reading_begins_after_any_position(void **state)
{
	struct log *l = log_dir_writer(*state);
	struct position at[10], start;
	int i;

	assert_int_equal(log_start(l, &at[0]), 0);
	for (i = 1; i < 10; i++) {
		at[i] = log_dir_append(l, (uint64_t)i, (uint64_t)i);
		if (i % 4 == 0)
			assert_int_equal(log_rotate(l), 0);
	}
	for (i = 0; i < 10; i++) {
		struct seen s = {0};

		assert_int_equal(log_dir_read(l, &at[i], &s), 0);
		assert_int_equal(s.count, 9 - i);
		if (s.count)
			assert_int_equal(s.n[0], i + 1);
		assert_true(position_equal(&s.good, &at[9]));
	}
	assert_int_equal(log_start(l, &start), 0);
	assert_true(position_equal(&start, &at[0]));
	log_close(l);
}

static void walk_ends_where_the_caller_says(void **state)
{
	struct log *l = log_dir_writer(*state);
	struct seen s = {.stop_after = 3}, rest = {0}, again = {0};
	struct position start;

	log_dir_append(l, 1, 8);
	assert_int_equal(log_start(l, &start), 0);
	assert_int_equal(log_dir_read(l, &start, &s), 17);
	assert_int_equal(s.count, 3);
	assert_int_equal(log_dir_read(l, &s.end, &rest), 0);
	assert_int_equal(rest.count, 5);
	assert_int_equal(log_dir_read(l, &s.good, &again), 0); /* before the third */
	assert_int_equal(again.n[0], 3);
	log_close(l);
}

struct busy {
	struct log *l;
	int count;
};

static int append_while_reading(const struct record *r, const struct position *end, uint64_t modseq,
				void *arg)
{
	struct busy *b = arg;

	assert_int_equal(log_modseq(b->l, end), modseq);
	assert_int_equal(log_check(b->l, end), 0);
	log_dir_append(b->l, r->at.time + 100, r->at.time + 100);
	assert_int_equal(log_rotate(b->l), 0);
	b->count++;
	return 0;
}

static void callback_may_use_the_log(void **state)
{
	struct busy b = {.l = log_dir_writer(*state)};
	struct position start;

	log_dir_append(b.l, 1, 5);
	assert_int_equal(log_start(b.l, &start), 0);
	assert_int_equal(log_read(b.l, &start, append_while_reading, &b, NULL), 0);
	assert_int_equal(b.count, 5); /* the end at the time of the call */
	log_close(b.l);
}

/* --- other processes ----------------------------------------------------------------------- */

static void reader_sees_each_record_at_once(void **state)
{
	struct log *l = log_dir_writer(*state), *r = log_dir_reader(*state);
	struct position end, seen;
	uint64_t n;

	for (n = 1; n < 30; n++) {
		end = log_dir_append(l, n, n);
		assert_int_equal(log_end(r, &seen), 0);
		assert_true(position_equal(&end, &seen));
		assert_int_equal(log_check(r, &end), 0);
		if (n % 7 == 0)
			assert_int_equal(log_rotate(l), 0);
	}
	log_dir_expect(r, 1, 29);
	log_close(r);
	log_close(l);
}

static void reader_of_an_empty_directory_sees_the_first_file(void **state)
{
	struct log *r = log_dir_reader(*state), *l = log_dir_writer(*state);

	log_dir_append(l, 1, 2);
	log_dir_expect(r, 1, 2);
	log_close(r);
	log_close(l);
}

static void reader_passes_a_file_that_is_being_made(void **state)
{
	struct log *l = log_dir_writer(*state), *r = log_dir_reader(*state);
	struct position end = log_dir_append(l, 1, 2), p;

	log_dir_put(*state, "00000002.log", "", 0);
	assert_int_equal(log_end(r, &p), 0);
	assert_true(position_equal(&p, &end));
	log_close(l);
	l = log_dir_writer(*state);
	assert_int_equal(log_sequence(l), 3);
	log_dir_append(l, 3, 4);
	log_dir_expect(r, 1, 4);
	log_close(r);
	log_close(l);
}

static void file_cut_under_a_reader_is_walked_anew(void **state)
{
	struct position ends[4], p;
	struct log *l;

	make(*state, 3, ends);
	l = log_dir_reader(*state);
	assert_int_equal(log_end(l, &p), 0);
	log_dir_cut(*state, FIRST, ends[2].offset);
	assert_int_equal(log_end(l, &p), 0);
	assert_true(position_equal(&p, &ends[2]));
	log_dir_cut(*state, FIRST, 50);
	assert_int_equal(log_end(l, &p), 0);
	assert_true(position_equal(&p, &ends[0]));
	log_close(l);
}

enum { MANY = 4000 };

static void write_many(const struct log_dir *d)
{
	struct log *l = log_dir_writer(d);
	uint64_t n;

	for (n = 1; n <= MANY; n++) {
		log_dir_append(l, n, n);
		if (n % 400 == 0 && log_rotate(l))
			_exit(1);
	}
	log_close(l);
	_exit(0);
}

struct chase {
	uint64_t last;
};

static int chase_one(const struct record *r, const struct position *end, uint64_t modseq, void *arg)
{
	struct chase *c = arg;

	(void)end;
	(void)modseq;
	assert_int_equal(r->at.time, c->last + 1);
	c->last = r->at.time;
	return 0;
}

/* While another process writes and rotates as fast as it can: each record once, in order. */
static void reader_keeps_up_with_a_writing_process(void **state)
{
	struct log *l = log_dir_reader(*state);
	struct position at = {0};
	struct chase c = {0};
	pid_t pid = fork();
	int status;

	if (!pid)
		write_many(*state);
	while (position_is_none(&at))
		assert_int_equal(log_start(l, &at), 0);
	while (c.last < MANY)
		assert_int_equal(log_read(l, &at, chase_one, &c, &at), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	log_close(l);
}

#define T(f) cmocka_unit_test_setup_teardown(f, log_dir_setup, log_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(torn_tail_at_each_byte_is_the_end),
		T(zeros_behind_the_end_are_a_tail),
		T(any_flipped_bit_of_an_older_file_is_told),
		T(any_flipped_bit_of_the_last_file),
		T(older_file_that_was_cut_is_told),
		T(bytes_behind_the_end_of_an_older_file_are_ignored),
		T(frame_that_is_no_record_is_an_error),
		T(noise_instead_of_files),
		T(only_positions_that_were_given_are_held),
		T(made_up_position_is_refused_when_read),
		T(log_copied_back_that_went_on_is_noticed),
		T(reading_begins_after_any_position),
		T(walk_ends_where_the_caller_says),
		T(callback_may_use_the_log),
		T(reader_sees_each_record_at_once),
		T(reader_of_an_empty_directory_sees_the_first_file),
		T(reader_passes_a_file_that_is_being_made),
		T(file_cut_under_a_reader_is_walked_anew),
		T(reader_keeps_up_with_a_writing_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
