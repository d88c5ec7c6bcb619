/*
 * test-spool.c - a body on its way, small and large.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/wire/spool.h"

#include <string.h>

static void goes_through(size_t piece, size_t pieces, bool in_memory)
{
	struct spool *s = spool_new(true);
	char *data MB_AUTO_FREE = mb_xmalloc(piece * pieces), *back MB_AUTO_FREE = NULL;
	struct digest is, want;

	for (size_t i = 0; i < piece * pieces; i++)
		data[i] = (char)(i * 7 + i / 1000);
	for (size_t i = 0; i < pieces; i++)
		assert_int_equal(spool_add(s, data + i * piece, piece), 0);
	assert_int_equal(s->fd < 0, in_memory);
	spool_digest(s, &is);
	digest_mem(data, piece * pieces, &want);
	assert_true(digest_equal(&is, &want));
	for (int again = 0; again < 2; again++) {
		MB_AUTO_CLOSE int fd = spool_open(s);
		assert_true(fd >= 0);
		back = mb_xrealloc(back, piece * pieces + 1);
		assert_int_equal(io_pread_full(fd, back, piece * pieces + 1, 0), piece * pieces);
		assert_memory_equal(back, data, piece * pieces);
		assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
	}
	spool_free(s);
}

static void small_ones_stay_in_memory(void **state)
{
	goes_through(1, 1, true);
	goes_through(65536, 16, true);
}

static void large_ones_go_to_a_file(void **state)
{
	goes_through(65536, 17, false);
	goes_through(3 << 20, 2, false);
}

static void an_empty_one_can_be_opened(void **state)
{
	struct spool *s = spool_new(false);
	int fd = spool_open(s);

	assert_true(fd >= 0);
	close(fd);
	spool_free(s);
	spool_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_ones_stay_in_memory),
		cmocka_unit_test(large_ones_go_to_a_file),
		cmocka_unit_test(an_empty_one_can_be_opened),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
