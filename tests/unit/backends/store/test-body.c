/* test-body.c - bodies, digests and facts of single messages. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/buf.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

static void assert_body(struct store_dir *d, const struct guid *g, uint64_t id, const char *text)
{
	char got[64] = "";
	int fd = store_open_body(d->s, g, id);

	assert_true(fd >= 0);
	assert_int_equal(read(fd, got, sizeof(got) - 1), strlen(text));
	assert_string_equal(got, text);
	close(fd);
}

static void a_body_is_the_file(void **state)
{
	struct store_dir *d = *state;
	struct guid g;
	char *path;

	store_deliver(d, "", "1.x", "hello");
	g = store_guid(d, "1.x");
	assert_body(d, &g, 0, "hello");
	assert_int_equal(store_copy_path(d->s, &g, 0, &path), 0);
	assert_string_equal(path, "new/1.x");
	free(path);
	g = guid_new();
	assert_int_equal(store_open_body(d->s, &g, 0), -ENOENT);
	assert_int_equal(store_copy_path(d->s, &g, 0, &path), -ENOENT);
}

static void a_file_of_another_size_is_not_given(void **state)
{
	struct store_dir *d = *state;
	struct guid g;

	store_deliver(d, "", "1.x", "hello");
	g = store_guid(d, "1.x");
	outside_write(d, "new/1.x", "hel");
	assert_int_equal(store_open_body(d->s, &g, 0), MB_E_DAMAGED);
	outside_unlink(d, "new/1.x");
	assert_int_equal(store_open_body(d->s, &g, 0), MB_E_LOST);
}

static void another_copy_helps_out(void **state)
{
	struct store_dir *d = *state;
	struct guid g;

	store_make_box(d, ".A");
	store_deliver(d, "", "1.x", "hello");
	g = store_guid(d, "1.x");
	assert_int_equal(store_link(d->s, "new/1.x", ".A/cur/1.x:2,", &d->me), 0);
	outside_unlink(d, "new/1.x");
	assert_body(d, &g, 0, "hello");
}

static void a_kept_body_is_given_for_undo(void **state)
{
	struct store_dir *d = *state;
	struct guid g;
	char *path;

	store_deliver(d, "", "1.x", "hello");
	g = store_guid(d, "1.x");
	assert_int_equal(store_unlink(d->s, "new/1.x", &d->me), 0);
	assert_body(d, &g, 0, "hello");
	assert_int_equal(store_copy_path(d->s, &g, 0, &path), -ENOENT);
}

static void a_digest_is_logged_once(void **state)
{
	struct store_dir *d = *state;
	struct digest a, b;
	struct guid g;
	uint64_t n;

	store_deliver(d, "", "1.x", "hello");
	g = store_guid(d, "1.x");
	assert_int_equal(store_digest(d->s, &g, 0, &a), 0);
	assert_int_equal(log_last(d), REC_DIGEST);
	n = log_records(d);
	assert_int_equal(store_digest(d->s, &g, 0, &b), 0);
	assert_true(digest_equal(&a, &b));
	assert_int_equal(log_records(d), n);
	store_dir_reopen(d);
	assert_int_equal(store_digest(d->s, &g, 0, &b), 0);
	assert_true(digest_equal(&a, &b));
}

static void no_digest_of_a_damaged_body(void **state)
{
	struct store_dir *d = *state;
	struct digest a;
	struct guid g;
	uint64_t n;

	store_deliver(d, "", "1.x", "hello");
	g = store_guid(d, "1.x");
	n = log_records(d);
	outside_write(d, "new/1.x", "hel");
	assert_int_equal(store_digest(d->s, &g, 0, &a), MB_E_DAMAGED);
	assert_int_equal(log_records(d), n);
}

static void facts_of_a_message(void **state)
{
	struct store_dir *d = *state;
	BUF_AUTO struct buf b = BUF_INIT;
	char text[GUID_TEXT];
	struct guid g;

	outside_write(d, "dovecot-keywords", "0 work\n");
	store_deliver(d, "", "1.x", "hello");
	assert_int_equal(store_move(d, "new/1.x", "cur/1.x:2,Sa"), 0);
	g = store_guid(d, "1.x:2,Sa");
	assert_int_equal(store_xattr(d->s, "cur/1.x:2,Sa", "user.mailbraid.guid", &b), 0);
	assert_string_equal(buf_cstr(&b), guid_text(&g, text));
	b.len = 0;
	assert_int_equal(store_xattr(d->s, "cur/1.x:2,Sa", "user.mailbraid.keywords", &b), 0);
	assert_string_equal(buf_cstr(&b), "\\Seen work");
	assert_int_equal(store_xattr(d->s, "cur/1.x:2,Sa", "user.mailbraid.modseq", &b), 0);
	assert_int_equal(store_xattr(d->s, "cur/1.x:2,Sa", "user.mailbraid.origin", &b), 0);
	assert_int_equal(store_xattr(d->s, "cur/1.x:2,Sa", "user.mailbraid.nothing", &b), -ENODATA);
	assert_int_equal(store_xattr(d->s, "cur/1.x:2,Sa", "user.other", &b), -ENODATA);
	assert_int_equal(store_xattr(d->s, "cur/none", "user.mailbraid.guid", &b), -ENODATA);
	assert_int_equal(store_xattr(d->s, "tmp", "user.mailbraid.guid", &b), -ENODATA);
}

static void ordinals_are_stable(void **state)
{
	struct store_dir *d = *state;
	uint64_t o;

	store_make_box(d, ".A");
	store_deliver(d, "", "1.x", "hello");
	o = store_ordinal(d->s, "new/1.x");
	assert_true(o > 0);
	assert_int_equal(store_move(d, "new/1.x", ".A/cur/1.x:2,S"), 0);
	assert_int_equal(store_ordinal(d->s, ".A/cur/1.x:2,S"), o);
	store_dir_close(d);
	store_dir_drop(d, "index");
	store_dir_open(d);
	assert_int_equal(store_ordinal(d->s, ".A/cur/1.x:2,S"), o);
	assert_int_equal(store_ordinal(d->s, "new/1.x"), 0);
	store_deliver(d, "", "2.x", "b");
	assert_true(store_ordinal(d->s, "new/2.x") > o);
}

/* ---- readers while names change ---- */

struct reader_arg {
	struct store_dir *d;
	struct guid g;
	atomic_bool stop;
	int failures, reads;
};

static void *read_on(void *arg)
{
	struct reader_arg *a = arg;

	while (!atomic_load(&a->stop)) {
		int fd = store_open_body(a->d->s, &a->g, 0);

		a->reads++;
		if (fd < 0)
			a->failures++;
		else
			close(fd);
	}
	return NULL;
}

static void a_reader_never_loses_a_message_to_a_flag_change(void **state)
{
	struct store_dir *d = *state;
	struct reader_arg a = {.d = d};
	pthread_t t;

	store_deliver(d, "", "1.x", "hello");
	assert_int_equal(store_move(d, "new/1.x", "cur/1.x:2,"), 0);
	a.g = store_guid(d, "1.x:2,");
	assert_int_equal(pthread_create(&t, NULL, read_on, &a), 0);
	for (int i = 0; i < 2000; i++) {
		assert_int_equal(store_move(d, "cur/1.x:2,", "cur/1.x:2,S"), 0);
		assert_int_equal(store_move(d, "cur/1.x:2,S", "cur/1.x:2,"), 0);
	}
	atomic_store(&a.stop, true);
	pthread_join(t, NULL);
	assert_true(a.reads > 0);
	assert_int_equal(a.failures, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_body_is_the_file),
		TEST(a_file_of_another_size_is_not_given),
		TEST(another_copy_helps_out),
		TEST(a_kept_body_is_given_for_undo),
		TEST(a_digest_is_logged_once),
		TEST(no_digest_of_a_damaged_body),
		TEST(facts_of_a_message),
		TEST(ordinals_are_stable),
		TEST(a_reader_never_loses_a_message_to_a_flag_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
