/* Headers, the table of log files, and what may go. */
#include "backends/store/log-private.h"
#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "tests/support/log-dir.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static const struct log_header SAMPLE = {.id = {{1, 2, 3}},
					 .store = {{4, 5, 6}},
					 .prev = {{7, 8, 9}},
					 .prev_end = 0x123456789a,
					 .created_ns = 1700000000123456789,
					 .sequence = 42,
					 .indexid = 0x0abcdef0,
					 .ckpt = 41};

static void header_round_trip(void **state)
{
	uint8_t data[LOG_HEADER_SIZE];
	struct log_header h;

	(void)state;
	log_header_encode(&SAMPLE, data);
	assert_memory_equal(data, "mbraidLG\1\0\140\0\52\0\0\0\1\2\3", 19);
	assert_int_equal(log_header_decode(data, sizeof(data), 42, &h), 0);
	assert_true(guid_equal(&h.id, &SAMPLE.id) && guid_equal(&h.store, &SAMPLE.store) &&
		    guid_equal(&h.prev, &SAMPLE.prev));
	assert_int_equal(h.prev_end, SAMPLE.prev_end);
	assert_int_equal(h.created_ns, SAMPLE.created_ns);
	assert_int_equal(h.indexid, SAMPLE.indexid);
	assert_int_equal(h.ckpt, 41);
	assert_int_equal(log_modseq_of(&h, 5), ((uint64_t)0x0abcdef0 + 42) << 32 | 5);
	assert_int_equal(log_header_decode(data, sizeof(data), 43, &h), MB_E_CHECKSUM);
}

static void header_with_any_bit_flipped_or_cut_is_refused(void **state)
{
	uint8_t data[LOG_HEADER_SIZE];
	struct log_header h;
	size_t i;

	(void)state;
	log_header_encode(&SAMPLE, data);
	for (i = 0; i < LOG_HEADER_SIZE; i++)
		assert_int_equal(log_header_decode(data, i, 42, &h), MB_E_CHECKSUM);
	for (i = 0; i < LOG_HEADER_SIZE * 8; i++) {
		data[i / 8] ^= (uint8_t)(1u << i % 8);
		assert_int_equal(log_header_decode(data, sizeof(data), 42, &h), MB_E_CHECKSUM);
		data[i / 8] ^= (uint8_t)(1u << i % 8);
	}
}

/* A header of a later version may be longer; its checksum is at its end. */
static void newer_version_is_refused_by_name(void **state)
{
	uint8_t data[LOG_HEADER_SIZE + 32] = {0};
	struct log *l = NULL;

	log_header_encode(&SAMPLE, data);
	put_le16(data + 8, LOG_VERSION + 1);
	put_le16(data + 10, sizeof(data));
	put_le64(data + sizeof(data) - 8, checksum64(data, sizeof(data) - 8, 0));
	log_dir_put(*state, "00000042.log", data, sizeof(data));
	assert_int_equal(log_open(((struct log_dir *)*state)->fd, &LOG_DIR_STORE, &l),
			 MB_E_VERSION);
	assert_null(l);
}

static void newer_version_is_noticed_by_a_running_reader(void **state)
{
	uint8_t data[LOG_HEADER_SIZE];
	struct log *w = log_dir_writer(*state), *l = log_dir_reader(*state);
	struct log_header h = SAMPLE;
	struct position p;

	log_close(w);
	assert_int_equal(log_end(l, &p), 0);
	h.sequence = 2;
	log_header_encode(&h, data);
	put_le16(data + 8, LOG_VERSION + 1);
	put_le64(data + 88, checksum64(data, 88, 0));
	log_dir_put(*state, "00000002.log", data, sizeof(data));
	assert_int_equal(log_end(l, &p), MB_E_VERSION);
	log_close(l);
}

static void log_of_another_store_is_refused(void **state)
{
	const struct log_dir *d = *state;
	const struct guid other = {{9}};
	struct log *l;

	log_close(log_dir_writer(d));
	assert_int_equal(log_open(d->fd, &other, &l), MB_E_NOT_STORE);
	assert_int_equal(log_open(d->fd, &GUID_ZERO, &l), 0);
	assert_int_equal(log_begin(l, false, NULL), 0);
	log_close(l);
	log_close(log_dir_reader(d)); /* the new file has the store's id too */
}

static void other_names_are_left_alone(void **state)
{
	const struct log_dir *d = *state;
	struct log *l;

	log_dir_put(d, "1.log", "x", 1);
	log_dir_put(d, "0000000x.log", "x", 1);
	log_dir_put(d, "000000001.log", "x", 1);
	log_dir_put(d, "00000000.log", "x", 1);
	log_dir_put(d, "00000007.logx", "x", 1);
	log_dir_put(d, "00000008", "x", 1);
	assert_int_equal(symlinkat("/etc/passwd", d->fd, "00000003.log"), 0);
	l = log_dir_writer(d);
	assert_int_equal(log_sequence(l), 4);
	log_dir_append(l, 1, 2);
	log_dir_expect(l, 1, 2);
	assert_int_equal(log_remove_before(l, 99), 0);
	assert_false(log_dir_has(d, "00000003.log"));
	assert_true(log_dir_has(d, "1.log") && log_dir_has(d, "00000004.log"));
	log_close(l);
}

static void checkpoint_number_counts_when_all_logs_are_gone(void **state)
{
	struct log *l = log_dir_writer(*state);
	struct ckpt_writer *w;
	struct position at;
	uint64_t before;

	at = log_dir_append(l, 1, 3);
	before = log_modseq(l, &at);
	assert_int_equal(ckpt_begin(l, &at, &w), 0);
	assert_int_equal(ckpt_commit(w), 0);
	log_close(l);
	unlinkat(((struct log_dir *)*state)->fd, "00000001.log", 0);
	l = log_dir_writer(*state);
	assert_int_equal(log_sequence(l), 2);
	assert_int_equal(log_check(l, &at), MB_E_POSITION);
	assert_int_equal(log_modseq(l, &at), before); /* the checkpoint knows */
	at = log_dir_append(l, 4, 4);
	assert_true(log_modseq(l, &at) > before);
	log_close(l);
}

struct listing {
	uint32_t sequences[8];
	uint64_t sizes[8];
	size_t n;
};

static int list_one(uint32_t sequence, int64_t created_ns, uint64_t size, void *arg)
{
	struct listing *list = arg;

	assert_true(created_ns > 0 && list->n < 8);
	list->sequences[list->n] = sequence;
	list->sizes[list->n++] = size;
	return sequence == 99 ? 5 : 0;
}

static struct log *three_files(void **state, struct position ends[3])
{
	struct log *l = log_dir_writer(*state);

	ends[0] = log_dir_append(l, 1, 3);
	assert_int_equal(log_rotate(l), 0);
	ends[1] = log_dir_append(l, 4, 6);
	assert_int_equal(log_rotate(l), 0);
	ends[2] = log_dir_append(l, 7, 9);
	return l;
}

static void files_are_listed_oldest_first(void **state)
{
	struct listing list = {0};
	struct position ends[3];
	struct log *l = three_files(state, ends);
	size_t i;

	assert_int_equal(log_files(l, list_one, &list), 0);
	assert_int_equal(list.n, 3);
	for (i = 0; i < 3; i++) {
		assert_int_equal(list.sequences[i], i + 1);
		assert_int_equal(list.sizes[i], ends[i].offset);
	}
	log_close(l);
}

static void removal_takes_the_oldest_and_never_the_current(void **state)
{
	struct position ends[3], start;
	struct log *l = three_files(state, ends);
	struct listing list = {0};

	assert_int_equal(log_remove_before(l, 2), 0);
	assert_false(log_dir_has(*state, "00000001.log"));
	assert_int_equal(log_start(l, &start), 0);
	assert_int_equal(start.sequence, 2);
	assert_int_equal(log_check(l, &ends[0]), 0); /* all after it is still there */
	ends[0].offset -= 17;
	assert_int_equal(log_check(l, &ends[0]), MB_E_POSITION);
	log_dir_expect(l, 4, 9);
	assert_int_equal(log_remove_before(l, 1000), 0);
	assert_int_equal(log_check(l, &ends[1]), 0);
	log_dir_append(l, 10, 11);
	log_dir_expect(l, 7, 11);
	assert_int_equal(log_files(l, list_one, &list), 0);
	assert_int_equal(list.n, 1);
	log_close(l);
}

static void reading_goes_on_from_the_end_of_a_removed_file(void **state)
{
	struct position ends[3];
	struct log *l = three_files(state, ends);
	struct seen s = {0};

	assert_int_equal(log_remove_before(l, 2), 0);
	assert_int_equal(log_dir_read(l, &ends[0], &s), 0);
	assert_int_equal(s.count, 6);
	assert_int_equal(s.n[0], 4);
	assert_true(position_equal(&s.good, &ends[2]));
	log_close(l);
}

static void reader_that_slept_through_removals_finds_the_log(void **state)
{
	struct log *r, *l = log_dir_writer(*state);
	struct position end, p;
	uint64_t n;

	log_dir_append(l, 1, 1);
	r = log_dir_reader(*state);
	assert_int_equal(log_end(r, &p), 0);
	for (n = 2; n < 6; n++) {
		assert_int_equal(log_rotate(l), 0);
		end = log_dir_append(l, n, n);
	}
	assert_int_equal(log_remove_before(l, 4), 0);
	assert_int_equal(log_check(r, &p), MB_E_POSITION);
	assert_int_equal(log_end(r, &p), 0);
	assert_true(position_equal(&p, &end));
	log_dir_expect(r, 4, 5);
	log_close(r);
	log_close(l);
}

static void file_missing_in_the_middle_is_a_hole(void **state)
{
	struct position ends[3], start;
	struct log *l = three_files(state, ends);

	log_close(l);
	unlinkat(((struct log_dir *)*state)->fd, "00000002.log", 0);
	l = log_dir_reader(*state);
	assert_int_equal(log_check(l, &ends[0]), MB_E_POSITION);
	assert_int_equal(log_check(l, &ends[1]), 0);
	assert_int_equal(log_start(l, &start), 0);
	assert_int_equal(start.sequence, 3);
	log_dir_expect(l, 7, 9);
	log_close(l);
}

static void checkpoints_older_than_the_newest_whole_one_go(void **state)
{
	struct position ends[3];
	struct log *l = three_files(state, ends);
	struct ckpt_writer *w;
	int i;

	for (i = 0; i < 3; i++) {
		assert_int_equal(ckpt_begin(l, &ends[i], &w), 0);
		assert_int_equal(ckpt_commit(w), 0);
	}
	log_dir_flip(*state, "00000003.ckpt", 8 * 90);
	assert_int_equal(log_remove_before(l, 1), 0);
	assert_false(log_dir_has(*state, "00000001.ckpt"));
	assert_true(log_dir_has(*state, "00000002.ckpt"));
	assert_true(log_dir_has(*state, "00000003.ckpt"));
	assert_true(log_dir_has(*state, "00000001.log"));
	log_close(l);
}

#define T(f) cmocka_unit_test_setup_teardown(f, log_dir_setup, log_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_round_trip),
		cmocka_unit_test(header_with_any_bit_flipped_or_cut_is_refused),
		T(newer_version_is_refused_by_name),
		T(newer_version_is_noticed_by_a_running_reader),
		T(log_of_another_store_is_refused),
		T(other_names_are_left_alone),
		T(checkpoint_number_counts_when_all_logs_are_gone),
		T(files_are_listed_oldest_first),
		T(removal_takes_the_oldest_and_never_the_current),
		T(reading_goes_on_from_the_end_of_a_removed_file),
		T(reader_that_slept_through_removals_finds_the_log),
		T(file_missing_in_the_middle_is_a_hole),
		T(checkpoints_older_than_the_newest_whole_one_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
