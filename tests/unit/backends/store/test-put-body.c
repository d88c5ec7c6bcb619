/* test-put-body.c - where the body of an arrival comes from. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static int put_new(struct store_dir *d, const struct digest *digest, const char *text,
		   const char *staged)
{
	struct guid g = guid_new();
	struct record r;
	int err;

	peer_copy(&r, &g, &GUID_INBOX, text);
	if (digest)
		r.copy.digest = *digest;
	err = store_put(d->s, &r, staged);
	record_release(&r);
	return err;
}

static void a_staged_body_is_renamed(void **state)
{
	struct store_dir *d = *state;

	peer_stage(d, "body", "hello");
	assert_int_equal(put_new(d, NULL, "hello", "body"), 1);
	assert_int_equal(staging_count(d), 0);
	store_consistent(d);
}

static void a_staged_thing_that_is_no_file_is_refused(void **state)
{
	struct store_dir *d = *state;

	assert_int_equal(symlinkat("/etc/hostname", store_staging_fd(d->s), "link"), 0);
	assert_int_equal(mkdirat(store_staging_fd(d->s), "directory", 0700), 0);
	assert_int_equal(put_new(d, NULL, "x", "link"), -ENOENT);
	assert_int_equal(put_new(d, NULL, "x", "directory"), -ENOENT);
	assert_list(d, "");
}

static void equal_digests_share_a_body(void **state)
{
	struct store_dir *d = *state;
	struct digest digest;
	struct stat st;
	struct guid g;

	store_deliver(d, "", "1.x", "hello");
	g = store_guid(d, "1.x");
	assert_int_equal(store_digest(d->s, &g, 0, &digest), 0);
	assert_int_equal(put_new(d, &digest, "hello", NULL), 1);
	assert_int_equal(fstatat(d->mail_fd, "new/1.x", &st, 0), 0);
	assert_int_equal(st.st_nlink, 2);
	store_consistent(d);
}

/* What was cut on disk is not handed on as the body of another message. */
static void a_body_that_is_no_longer_whole_is_not_shared(void **state)
{
	struct store_dir *d = *state;
	struct digest digest;
	struct guid g;

	store_deliver(d, "", "1.x", "hello");
	g = store_guid(d, "1.x");
	assert_int_equal(store_digest(d->s, &g, 0, &digest), 0);
	outside_write(d, "new/1.x", "hel");
	assert_int_equal(put_new(d, &digest, "hello", NULL), -ENOENT);
}

static void bodies_of_no_size_are_bodies(void **state)
{
	struct store_dir *d = *state;

	peer_stage(d, "body", "");
	assert_int_equal(put_new(d, NULL, "", "body"), 1);
	store_consistent(d);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_staged_body_is_renamed),
		TEST(a_staged_thing_that_is_no_file_is_refused),
		TEST(equal_digests_share_a_body),
		TEST(a_body_that_is_no_longer_whole_is_not_shared),
		TEST(bodies_of_no_size_are_bodies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
