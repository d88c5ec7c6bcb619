/* Digests against the published values; a file and memory give the same. */
#include "backends/base/hash.h"
#include "backends/base/mem.h"
#include "tests/support/tmp-dir.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

/* FIPS 180-2, "abc" and "" */
static const struct digest ABC = {{0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
				   0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
				   0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad}};
static const struct digest EMPTY = {{0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14,
				     0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
				     0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c,
				     0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55}};

static void published_values(void **state)
{
	struct digest d;

	digest_mem("abc", 3, &d);
	assert_true(digest_equal(&d, &ABC));
	digest_mem(NULL, 0, &d);
	assert_true(digest_equal(&d, &EMPTY));
	assert_true(digest_known(&d));
	assert_true(digest_compare(&ABC, &EMPTY) < 0);
}

static void zero_is_not_known(void **state)
{
	static const struct digest none;

	assert_false(digest_known(&none));
}

static void a_stream_in_pieces(void **state)
{
	struct hasher *h = hasher_new();
	struct digest d;

	hasher_add(h, "a", 1);
	hasher_add(h, NULL, 0);
	hasher_add(h, "bc", 2);
	hasher_end(h, &d);
	assert_true(digest_equal(&d, &ABC));
}

static void a_file_of_any_size(void **state)
{
	static const size_t sizes[] = {0, 1, 65535, 65536, 65537, 300000};
	const struct tmp_dir *dir = *state;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		MB_AUTO_FREE uint8_t *data = mb_xmalloc(sizes[i]);
		MB_AUTO_CLOSE int fd = openat(dir->fd, "f", O_RDWR | O_CREAT | O_TRUNC, 0600);
		struct digest file, mem;
		uint64_t size;

		random_bytes(data, sizes[i]);
		assert_int_equal(write(fd, data, sizes[i]), sizes[i]);
		assert_int_equal(digest_fd(fd, &file, &size), 0);
		digest_mem(data, sizes[i], &mem);
		assert_true(digest_equal(&file, &mem));
		assert_int_equal(size, sizes[i]);
		assert_int_equal(lseek(fd, 0, SEEK_CUR), sizes[i]);
		assert_int_equal(digest_fd(fd, &file, NULL), 0);
	}
}

static void a_read_error_is_given(void **state)
{
	const struct tmp_dir *dir = *state;
	struct digest d;

	assert_int_equal(digest_fd(dir->fd, &d, NULL), -EISDIR);
	assert_int_equal(digest_fd(-1, &d, NULL), -EBADF);
}

static void checksums_depend_on_seed_and_bytes(void **state)
{
	/* XXH3_64bits of nothing, from the reference implementation */
	assert_true(checksum64("", 0, 0) == UINT64_C(0x2d06800538d394c2));
	assert_true(checksum64("a", 1, 0) != checksum64("a", 1, 1));
	assert_true(checksum64("a", 1, 0) != checksum64("b", 1, 0));
}

static void random_is_not_constant(void **state)
{
	uint8_t big[2][5000];

	random_bytes(big[0], sizeof(big[0]));
	random_bytes(big[1], sizeof(big[1]));
	assert_memory_not_equal(big[0], big[1], sizeof(big[0]));
	assert_true(random_u64() != random_u64());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_values),
		cmocka_unit_test(zero_is_not_known),
		cmocka_unit_test(a_stream_in_pieces),
		cmocka_unit_test_setup_teardown(a_file_of_any_size, tmp_dir_setup,
						tmp_dir_teardown),
		cmocka_unit_test_setup_teardown(a_read_error_is_given, tmp_dir_setup,
						tmp_dir_teardown),
		cmocka_unit_test(checksums_depend_on_seed_and_bytes),
		cmocka_unit_test(random_is_not_constant),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
