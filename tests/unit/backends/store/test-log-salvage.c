/* test-log-salvage.c - every record outside a damaged place is read, and the place is told. */
#include "backends/store/log-private.h"
#include "backends/base/err.h"
#include "tests/support/log-dir.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define FILES 3
#define EACH 40
#define RECORDS (FILES * EACH)

static const char *const NAMES[FILES] = {"00000001.log", "00000002.log", "00000003.log"};

/* Where record n of the log stands. */
struct stand {
	int file;
	uint64_t from, to;
};
static struct stand places[RECORDS + 1];
static struct position ends[RECORDS + 1];
static uint8_t *bytes[FILES]; /* owned: the files as they were */
static size_t sizes[FILES];

struct found {
	bool has[RECORDS + 1];
	uint64_t last, modseq, lost, lost_from;
	unsigned places, wrong, gaps;
};

static void build(const struct log_dir *d)
{
	struct log *l = log_dir_writer(d);
	uint64_t n = 1;

	for (int file = 0; file < FILES; file++) {
		struct position at;

		assert_int_equal(log_end(l, &at), 0);
		for (int i = 0; i < EACH; i++, n++) {
			places[n] = (struct stand){.file = file, .from = at.offset};
			ends[n] = at = log_dir_append(l, n, n);
			places[n].to = at.offset;
		}
		if (file + 1 < FILES)
			assert_int_equal(log_rotate(l), 0);
	}
	log_close(l);
	for (int file = 0; file < FILES; file++)
		bytes[file] = log_dir_get(d, NAMES[file], &sizes[file]);
}

static void restore(const struct log_dir *d)
{
	log_dir_clear(d);
	for (int file = 0; file < FILES; file++)
		log_dir_put(d, NAMES[file], bytes[file], sizes[file]);
}

static void forget(void)
{
	for (int file = 0; file < FILES; file++)
		free(bytes[file]);
}

static int found(const struct record *r, const struct position *end, uint64_t modseq, void *arg)
{
	struct found *f = arg;
	uint64_t n = r->at.time;

	if (!n || n > RECORDS || n <= f->last || modseq <= f->modseq ||
	    !position_equal(end, &ends[n]))
		f->wrong++;
	else
		f->has[n] = true;
	f->last = n;
	f->modseq = modseq;
	return 0;
}

static void lost(const struct log_loss *loss, void *arg)
{
	struct found *f = arg;

	if (!f->places++)
		f->lost_from = loss->offset;
	f->lost += loss->bytes;
	f->gaps += loss->bytes == 0;
}

/* As the writer of a log that was closed cleanly: the bytes are there, some are wrong. */
static struct found salvage(const struct log_dir *d, const struct position *since)
{
	struct log *l = log_dir_reader(d);
	struct found f = {0};

	assert_int_equal(log_begin(l, true, &ends[RECORDS]), 0);
	assert_int_equal(log_salvage(l, since, found, &f, lost, &f), 0);
	log_close(l);
	assert_int_equal(f.wrong, 0);
	return f;
}

/* All but those that touch [from, to) of the file are there. */
static void expect_all_but(const struct found *f, int file, uint64_t from, uint64_t to)
{
	uint64_t gone = 0;

	for (uint64_t n = 1; n <= RECORDS; n++) {
		const struct stand *p = &places[n];
		bool hit = p->file == file && p->from < to && p->to > from;

		assert_int_equal(f->has[n], !hit);
		gone += hit ? p->to - p->from : 0;
	}
	assert_int_equal(f->lost, gone);
}

static uint64_t number(const struct log_dir *d)
{
	struct log *l = log_dir_reader(d);
	struct seen s = {0};
	struct position start;

	assert_int_equal(log_start(l, &start), 0);
	assert_int_equal(log_dir_read(l, &start, &s), 0);
	log_close(l);
	return s.count;
}

static void a_sound_log_is_read_as_ever(void **state)
{
	struct found f;

	build(*state);
	assert_int_equal(number(*state), RECORDS);
	f = salvage(*state, NULL);
	expect_all_but(&f, -1, 0, 0);
	assert_int_equal(f.places, 0);
	f = salvage(*state, &ends[50]);
	assert_false(f.has[50]);
	assert_true(f.has[51]);
	assert_int_equal(f.places, 0);
	forget();
}

static void a_flipped_byte_takes_one_record(void **state)
{
	build(*state);
	for (int file = 0; file < FILES; file++)
		for (uint64_t at = LOG_HEADER_SIZE; at < sizes[file]; at += 37) {
			struct found f;

			if (file == FILES - 1 && at + 8 >= sizes[file])
				continue; /* the stop was not clean, then */
			log_dir_flip(*state, NAMES[file], at * 8 + at % 8);
			f = salvage(*state, NULL);
			expect_all_but(&f, file, at, at + 1);
			assert_int_equal(f.places, 1);
			assert_true(f.lost_from <= at);
			restore(*state);
		}
	forget();
}

static void zero_pages_take_what_they_held(void **state)
{
	enum { PAGE = 512 };
	build(*state);
	for (int file = 0; file < FILES; file++)
		for (uint64_t at = PAGE; at + PAGE + 8 < sizes[file]; at += PAGE) {
			struct found f;
			uint8_t *data = malloc(sizes[file]);

			memcpy(data, bytes[file], sizes[file]);
			memset(data + at, 0, PAGE);
			log_dir_put(*state, NAMES[file], data, sizes[file]);
			f = salvage(*state, NULL);
			expect_all_but(&f, file, at, at + PAGE);
			assert_int_equal(f.places, 1);
			free(data);
			restore(*state);
		}
	forget();
}

static void several_places_in_several_files(void **state)
{
	struct found f;
	uint64_t gone = 0;

	build(*state);
	for (uint64_t n = 5; n <= RECORDS - 5; n += 11) {
		log_dir_flip(*state, NAMES[places[n].file], (places[n].from + 9) * 8);
		gone += places[n].to - places[n].from;
	}
	f = salvage(*state, NULL);
	for (uint64_t n = 1; n <= RECORDS; n++)
		assert_int_equal(f.has[n], n < 5 || (n - 5) % 11 != 0 || n > RECORDS - 5);
	assert_int_equal(f.lost, gone);
	forget();
}

/* What is cut off an older file is gone; what the next ones have is not. */
static void a_file_that_was_cut(void **state)
{
	build(*state);
	for (uint64_t size = 0; size < sizes[1]; size += 101) {
		struct found f;

		log_dir_cut(*state, NAMES[1], size);
		f = salvage(*state, NULL);
		for (uint64_t n = 1; n <= RECORDS; n++)
			assert_int_equal(f.has[n], places[n].file != 1 || places[n].to <= size);
		assert_true(f.places >= 1);
		restore(*state);
	}
	forget();
}

/* Bytes taken out of the middle: what stands behind is at another offset, and no record any more. */
static void a_page_that_was_taken_out(void **state)
{
	enum { AT = 1000, PAGE = 512 };
	struct found f;
	uint8_t *data;

	build(*state);
	data = malloc(sizes[1]);
	memcpy(data, bytes[1], AT);
	memcpy(data + AT, bytes[1] + AT + PAGE, sizes[1] - AT - PAGE);
	log_dir_put(*state, NAMES[1], data, sizes[1] - PAGE);
	f = salvage(*state, NULL);
	for (uint64_t n = 1; n <= RECORDS; n++)
		assert_int_equal(f.has[n], places[n].file != 1 || places[n].to <= AT);
	assert_int_equal(f.places, 1);
	free(data);
	forget();
}

/* The next header tells the name of the file, which is all that its records need. */
static void a_damaged_header_takes_no_record(void **state)
{
	for (int file = 0; file < FILES - 1; file++) {
		struct found f;

		log_dir_clear(*state);
		build(*state);
		log_dir_flip(*state, NAMES[file], 20 * 8);
		f = salvage(*state, NULL);
		for (uint64_t n = 1; n <= RECORDS; n++)
			assert_true(f.has[n]);
		assert_int_equal(f.gaps, 1);
		forget();
	}
}

static void a_file_that_is_gone_is_told(void **state)
{
	for (int file = 0; file < FILES - 1; file++) {
		struct found f;

		log_dir_clear(*state);
		build(*state);
		log_dir_clear(*state);
		for (int i = 0; i < FILES; i++)
			if (i != file)
				log_dir_put(*state, NAMES[i], bytes[i], sizes[i]);
		f = salvage(*state, &ends[3]);
		for (uint64_t n = 4; n <= RECORDS; n++)
			assert_int_equal(f.has[n], places[n].file != file);
		assert_int_equal(f.gaps, file == 0 ? 1 : f.gaps);
		assert_true(f.places >= 1);
		forget();
	}
}

static int third(const struct record *r, const struct position *end, uint64_t modseq, void *arg)
{
	(void)end, (void)modseq, (void)arg;
	return r->at.time == 3 ? -ENOSPC : 0;
}

static void an_error_of_the_caller_ends_it(void **state)
{
	struct found f = {0};
	struct log *l;

	build(*state);
	l = log_dir_reader(*state);
	assert_int_equal(log_salvage(l, NULL, third, NULL, lost, &f), -ENOSPC);
	assert_int_equal(f.places, 0);
	log_close(l);
	forget();
}

/* A reader beside a writer: a record that is just being written is no damage. */
static void a_torn_tail_is_no_loss(void **state)
{
	struct found f = {0};
	struct log *l;

	build(*state);
	log_dir_cut(*state, NAMES[FILES - 1], sizes[FILES - 1] - 3);
	l = log_dir_reader(*state);
	assert_int_equal(log_salvage(l, NULL, found, &f, lost, &f), 0);
	assert_int_equal(f.wrong, 0);
	assert_int_equal(f.places, 0);
	assert_false(f.has[RECORDS]);
	assert_true(f.has[RECORDS - 1]);
	log_close(l);
	forget();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, log_dir_setup, log_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_sound_log_is_read_as_ever),
		TEST(a_flipped_byte_takes_one_record),
		TEST(zero_pages_take_what_they_held),
		TEST(several_places_in_several_files),
		TEST(a_file_that_was_cut),
		TEST(a_page_that_was_taken_out),
		TEST(a_damaged_header_takes_no_record),
		TEST(a_file_that_is_gone_is_told),
		TEST(an_error_of_the_caller_ends_it),
		TEST(a_torn_tail_is_no_loss),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
