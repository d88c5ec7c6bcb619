/*
 * test-conflicts.c - what was decided against somebody, kept through kills, within bounds.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/clock.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "sync/conflicts.h"
#include "tests/support/tmp-dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char TEXT[] = "moved to two mailboxes; it is in the one of the later move";
static char WORK[] = "Work";
static struct mailbox nodes[] = {{.part = WORK, .selectable = true}};
static struct tree tree = {.nodes = nodes, .n = 1};

static struct guid guid_of(unsigned number)
{
	struct guid g = {.b = {1}};

	memcpy(g.b + 8, &number, sizeof(number));
	return g;
}

static struct notice notice(enum notice_kind kind, unsigned message)
{
	return (struct notice){
		.kind = kind, .mailbox = guid_of(0), .message = guid_of(message), .text = TEXT};
}

static int setup(void **state)
{
	nodes[0].guid = guid_of(0);
	return tmp_dir_setup(state);
}

static int teardown(void **state)
{
	clock_set_offset_ns(0);
	io_set_hook(NULL, NULL);
	return tmp_dir_teardown(state);
}

static void add(const struct tmp_dir *d, enum notice_kind kind, unsigned message)
{
	struct notice n = notice(kind, message);

	assert_int_equal(conflicts_add(d->path, "store:/x", &tree, &n, 1), 0);
}

static json_t *all(const struct tmp_dir *d)
{
	json_t *list = NULL;

	assert_int_equal(conflicts_read(d->path, &list), 0);
	return list;
}

static size_t count(const struct tmp_dir *d)
{
	json_t *list = all(d);
	size_t n = json_array_size(list);

	json_decref(list);
	return n;
}

static const char *text_of(json_t *list, size_t i, const char *key)
{
	return json_string_value(json_object_get(json_array_get(list, i), key));
}

static void a_conflict_is_kept(void **state)
{
	const struct tmp_dir *d = *state;

	assert_int_equal(count(d), 0);
	add(d, NOTICE_MOVED_TWICE, 7);
	json_t *list = all(d);
	assert_int_equal(json_array_size(list), 1);
	assert_string_equal(text_of(list, 0, "kind"), "moved-twice");
	assert_string_equal(text_of(list, 0, "peer"), "store:/x");
	assert_string_equal(text_of(list, 0, "mailbox"), "Work");
	assert_string_equal(text_of(list, 0, "decided"), TEXT);
	assert_string_equal(text_of(list, 0, "message"), "01000000000000000700000000000000");
	assert_true(*conflict_remedy(text_of(list, 0, "kind")));
	json_decref(list);
	struct stat st;
	assert_int_equal(fstatat(d->fd, CONFLICTS_FILE, &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void what_is_nobodys_loss_is_not(void **state)
{
	const struct tmp_dir *d = *state;

	add(d, NOTICE_PAIRED, 1);
	add(d, NOTICE_RENUMBERED, 1);
	add(d, NOTICE_MAILBOX_MERGED, 1);
	assert_int_equal(tmp_dir_entries(d), 0);
	for (int kind = 0; kind <= NOTICE_CLOCK; kind++) {
		const char *name = notice_kind_name((enum notice_kind)kind);
		assert_true(*name);
		assert_int_equal(notice_is_conflict((enum notice_kind)kind),
				 *conflict_remedy(name) != '\0');
	}
	assert_string_equal(conflict_remedy("of a later version"), "");
}

static void a_run_tried_again_tells_once(void **state)
{
	const struct tmp_dir *d = *state;

	add(d, NOTICE_MOVED_TWICE, 7);
	add(d, NOTICE_MOVED_TWICE, 7);
	add(d, NOTICE_MOVED_TWICE, 8);
	assert_int_equal(count(d), 2);
	clock_set_offset_ns(2 * CONFLICTS_AGAIN_NS);
	add(d, NOTICE_MOVED_TWICE, 7);
	assert_int_equal(count(d), 3);
}

static void it_is_bounded_and_the_newest_stay(void **state)
{
	const struct tmp_dir *d = *state;
	enum { BATCH = 1000, BATCHES = 12 };
	struct notice *list = mb_xcalloc(BATCH, sizeof(*list));
	struct stat st;

	for (unsigned b = 0; b < BATCHES; b++) {
		for (unsigned i = 0; i < BATCH; i++)
			list[i] = notice(NOTICE_BOTH_EDITED, b * BATCH + i);
		assert_int_equal(conflicts_add(d->path, "p", &tree, list, BATCH), 0);
	}
	free(list);
	assert_int_equal(tmp_dir_entries(d), 2);
	assert_int_equal(fstatat(d->fd, CONFLICTS_FILE, &st, 0), 0);
	assert_true(st.st_size <= CONFLICTS_MAX);
	assert_int_equal(fstatat(d->fd, CONFLICTS_OLD_FILE, &st, 0), 0);
	assert_true(st.st_size <= CONFLICTS_MAX && st.st_size > CONFLICTS_MAX / 2);
	json_t *kept = all(d);
	size_t n = json_array_size(kept);
	assert_true(n > BATCH && n < BATCHES * BATCH);
	assert_string_equal(text_of(kept, n - 1, "message"), "0100000000000000df2e000000000000");
	json_decref(kept);
}

static void a_torn_line_hurts_no_other(void **state)
{
	const struct tmp_dir *d = *state;

	add(d, NOTICE_MOVED_TWICE, 1);
	int fd = openat(d->fd, CONFLICTS_FILE, O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, "{\"v\":1,\"when\":\"20", 17), 17);
	close(fd);
	assert_int_equal(count(d), 1);
	add(d, NOTICE_MOVED_TWICE, 2);
	assert_int_equal(count(d), 2);
}

static void what_is_no_conflict_is_skipped(void **state)
{
	const struct tmp_dir *d = *state;
	const char zeros[40] = {0};

	tmp_dir_write(d, CONFLICTS_FILE,
		      "[1]\n{\"v\":2,\"when\":\"\",\"kind\":\"\",\"decided\":\"\"}\n\n"
		      "{\"v\":1,\"when\":4,\"kind\":\"x\",\"decided\":\"\"}\n\xff\n");
	int fd = openat(d->fd, CONFLICTS_FILE, O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, zeros, sizeof(zeros)), sizeof(zeros));
	close(fd);
	assert_int_equal(count(d), 0);
	add(d, NOTICE_MOVED_TWICE, 2);
	assert_int_equal(count(d), 1);
}

static void a_link_is_not_followed(void **state)
{
	const struct tmp_dir *d = *state;
	struct notice n = notice(NOTICE_MOVED_TWICE, 1);

	tmp_dir_write(d, "other", "");
	assert_int_equal(symlinkat("other", d->fd, CONFLICTS_FILE), 0);
	assert_true(conflicts_add(d->path, "p", &tree, &n, 1) < 0);
	struct stat st;
	assert_int_equal(fstatat(d->fd, "other", &st, 0), 0);
	assert_int_equal(st.st_size, 0);
}

static void clear_forgets(void **state)
{
	const struct tmp_dir *d = *state;

	assert_int_equal(conflicts_clear(d->path), 0);
	assert_int_equal(tmp_dir_entries(d), 0);
	add(d, NOTICE_MOVED_TWICE, 1);
	add(d, NOTICE_MOVED_TWICE, 2);
	assert_int_equal(conflicts_clear(d->path), 2);
	assert_int_equal(tmp_dir_entries(d), 0);
	assert_int_equal(conflicts_clear("/nowhere/at/all"), -ENOENT);
}

struct fail_at {
	uint64_t step, seen;
};

static int fail_once(uint64_t step, const char *what, void *arg)
{
	struct fail_at *f = arg;

	return ++f->seen == f->step ? -EIO : 0;
}

/* Whatever step fails, what was there stays, and the next run adds. */
static void every_step_may_fail(void **state)
{
	const struct tmp_dir *d = *state;
	struct notice n = notice(NOTICE_MOVED_TWICE, 0);
	bool failed = true;

	for (uint64_t step = 1; failed; step++) {
		struct fail_at f = {.step = step};
		assert_int_equal(conflicts_clear(d->path) < 0, 0);
		n.message = guid_of((unsigned)step);
		io_set_hook(fail_once, &f);
		failed = conflicts_add(d->path, "p", &tree, &n, 1) < 0;
		io_set_hook(NULL, NULL);
		assert_int_equal(failed, f.seen >= step);
		n.message = guid_of(1000 + (unsigned)step);
		assert_int_equal(conflicts_add(d->path, "p", &tree, &n, 1), 0);
		size_t kept = count(d);
		assert_in_range(kept, failed ? 1 : 2, 2);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_conflict_is_kept),		 T(what_is_nobodys_loss_is_not),
		T(a_run_tried_again_tells_once), T(it_is_bounded_and_the_newest_stay),
		T(a_torn_line_hurts_no_other),	 T(what_is_no_conflict_is_skipped),
		T(a_link_is_not_followed),	 T(clear_forgets),
		T(every_step_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
