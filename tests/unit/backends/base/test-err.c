/* The table of errors is complete and gives each program what it needs. */
#include "backends/base/err.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void every_own_code_has_a_row(void **state)
{
	for (int err = MB_E_FIRST; err <= MB_E_LAST; err++) {
		assert_string_not_equal(mb_err_str(err), "unknown error");
		assert_true(strlen(mb_err_str(err)) > 10);
		assert_int_not_equal(mb_err_str(err)[strlen(mb_err_str(err)) - 1], '.');
		assert_true(mb_err_errno(err) > 0 && mb_err_errno(err) < 4096);
		assert_true(mb_err_exit(err) > 0 && mb_err_exit(err) < 128);
	}
}

static void advice_is_a_sentence(void **state)
{
	for (int err = -5200; err <= 10; err++) {
		const char *advice = mb_err_advice(err);

		if (advice)
			assert_int_equal(advice[strlen(advice) - 1], '.');
	}
	assert_non_null(mb_err_advice(MB_E_GUARD));
	assert_non_null(mb_err_advice(-ENOENT));
	assert_non_null(mb_err_advice(-ENOTDIR));
	assert_non_null(mb_err_advice(-ENOTEMPTY));
	assert_null(mb_err_advice(0));
}

static void any_number_has_a_sentence(void **state)
{
	static const int odd[] = {0, 1, INT32_MAX, INT32_MIN, -4095, -4096, -4978, -5001, -134};

	for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
		assert_non_null(mb_err_str(odd[i]));
		assert_true(mb_err_errno(odd[i]) >= 0);
		mb_err_retry(odd[i]);
		mb_err_exit(odd[i]);
	}
}

static void success_is_no_error(void **state)
{
	assert_int_equal(mb_err_errno(5), 0);
	assert_int_equal(mb_err_exit(0), 0);
	assert_int_equal(mb_err_exit(EAGAIN), 0); /* positive: a count */
	assert_int_equal(mb_err_retry(0), MB_RETRY_NEVER);
}

static void errno_passes_through(void **state)
{
	assert_int_equal(mb_err_errno(-ENOENT), ENOENT);
	assert_int_equal(mb_err_errno(-ENOSPC), ENOSPC);
	assert_string_equal(mb_err_str(-ENOENT), "No such file or directory");
	assert_int_equal(mb_err_errno(-9999), EIO);
}

static void a_dead_peer_is_no_network_error_in_the_mount(void **state)
{
	assert_int_equal(mb_err_errno(-ECONNREFUSED), EIO);
	assert_int_equal(mb_err_retry(-ECONNREFUSED), MB_RETRY_WAIT);
}

static void classes_and_exit_codes(void **state)
{
	assert_int_equal(mb_err_retry(MB_E_STALE), MB_RETRY_NOW);
	assert_int_equal(mb_err_retry(MB_E_LOCKED), MB_RETRY_WAIT);
	assert_int_equal(mb_err_retry(MB_E_GUARD), MB_RETRY_NEVER);
	assert_int_equal(mb_err_exit(MB_E_USAGE), 64);
	assert_int_equal(mb_err_exit(MB_E_NO_FUSE), 69);
	assert_int_equal(mb_err_exit(MB_E_LOCKED), 75);
	assert_int_equal(mb_err_exit(MB_E_LOST), 2);
	assert_int_equal(mb_err_exit(MB_E_WRONG_PEER), 1);
	assert_int_equal(mb_err_exit(-EACCES), 1);
	assert_int_equal(mb_err_exit(-ENOSPC), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_own_code_has_a_row),
		cmocka_unit_test(advice_is_a_sentence),
		cmocka_unit_test(any_number_has_a_sentence),
		cmocka_unit_test(success_is_no_error),
		cmocka_unit_test(errno_passes_through),
		cmocka_unit_test(a_dead_peer_is_no_network_error_in_the_mount),
		cmocka_unit_test(classes_and_exit_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
