/*
 * test-posix-later-stops.c - a stop or a failure at each durable step of the short way leaves a message
 * once, under its own identity; and many programs at once, with a scan and a checkpoint among them.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The index is what the log and the files make of it. */
static void assert_rebuilt_alike(struct store_dir *d)
{
	char *before = store_dump(d), *after;

	store_dir_close(d);
	store_dir_drop(d, "index");
	store_dir_open(d);
	after = store_dump(d);
	assert_string_equal(before, after);
	free(before);
	free(after);
}

static unsigned round_now;

/* "#" is the round. */
static char *in_round(const char *pattern)
{
	const char *at = strchr(pattern, '#');

	return mb_xasprintf("%.*s%u%s", (int)(at - pattern), pattern, round_now, at + 1);
}

struct change {
	const char *from, *to; /* to NULL: unlink */
};

static const struct change changes[] = {
	{"tmp/#.1.x", "new/#.1.x"},	{"cur/#.2.x:2,", "cur/#.2.x:2,S"},
	{"new/#.3.x", "cur/#.3.x:2,"},	{"cur/#.4.x:2,S", NULL},
	{"tmp/#.5.x", "cur/#.5.x:2,F"},
};
#define N_CHANGES (sizeof(changes) / sizeof(changes[0]))

static void prepare_round(struct store_dir *d)
{
	for (size_t i = 0; i < N_CHANGES; i++) {
		char *path = in_round(changes[i].from), *tmp = in_round("tmp/#.p");

		outside_write(d, strncmp(path, "tmp/", 4) == 0 ? path : tmp, "Subject: x\n\nx\n");
		if (strncmp(path, "tmp/", 4) != 0)
			assert_int_equal(store_move(d, tmp, path), 0);
		free(path);
		free(tmp);
	}
}

static int change_one(struct store_dir *d, size_t i)
{
	char *from = in_round(changes[i].from),
	     *to = changes[i].to ? in_round(changes[i].to) : NULL;
	int err = to ? store_move(d, from, to) : store_unlink(d->s, from, &d->me);

	free(from);
	free(to);
	return err;
}

static int all_changes(struct store_dir *d)
{
	int err = later_start(d->s);

	for (size_t i = 0; i < N_CHANGES && err >= 0; i++)
		err = change_one(d, i);
	return err;
}

/* Was change i done?  Its file is at one of two names, and nowhere else. */
static bool is_done(struct store_dir *d, size_t i)
{
	char *from = in_round(changes[i].from),
	     *to = changes[i].to ? in_round(changes[i].to) : NULL;
	bool was = tree_has(d, from), is = to ? tree_has(d, to) : !was;

	assert_true(was != is);
	free(from);
	free(to);
	return is;
}

static void a_stop_at_any_step_leaves_each_message_once(void **state)
{
	struct store_dir *d = *state;
	bool killed = true;

	for (round_now = 1; killed; round_now++) {
		struct guid before[3], after[3];
		const char *names[3] = {"#.2.x:2,", "#.3.x", "#.4.x:2,S"};
		size_t done = 0;
		int kept;

		prepare_round(d);
		for (size_t i = 0; i < 3; i++) {
			char *name = in_round(names[i]);

			before[i] = store_guid(d, name);
			free(name);
		}
		kept = deleted_count(d);
		killed = store_dir_kill_at(d, (int)round_now, all_changes);
		store_dir_open(d);
		while (done < N_CHANGES && is_done(d, done))
			done++;
		for (size_t i = done; i < N_CHANGES; i++)
			assert_false(is_done(d, i));
		for (size_t i = 0; i < 3; i++) {
			bool is = is_done(d, i + 1);
			const char *pattern = is ? changes[i + 1].to : changes[i + 1].from;
			char *name = pattern ? in_round(pattern) : NULL;

			after[i] = name ? store_guid(d, name + 4) : before[i];
			assert_true(guid_equal(&before[i], &after[i]));
			free(name);
		}
		assert_int_equal(deleted_count(d), kept + (done > 3));
		store_consistent(d);
		assert_rebuilt_alike(d);
	}
	assert_true(round_now > 8);
}

static void a_failure_at_any_step_is_answered_as_it_is(void **state)
{
	static const int errors[] = {ENOSPC, EIO};
	struct store_dir *d = *state;

	for (size_t e = 0; e < 2; e++) {
		bool hit = true;

		for (int n = 1; hit; n++) {
			int kept;

			round_now++;
			prepare_round(d);
			assert_int_equal(later_start(d->s), 0);
			kept = deleted_count(d);
			int err = store_dir_fail_at(d, n, errors[e], all_changes, &hit);
			size_t done = 0;

			while (done < N_CHANGES && is_done(d, done))
				done++;
			for (size_t i = done; i < N_CHANGES; i++)
				assert_false(is_done(d, i));
			if (err >= 0)
				assert_int_equal(done, N_CHANGES); /* what was answered is so */
			else
				assert_true(done < N_CHANGES);
			assert_int_equal(deleted_count(d), kept + (done > 3));
			for (size_t i = done; i < N_CHANGES; i++) /* and then it works */
				assert_int_equal(change_one(d, i), 0);
			later_stop(d->s);
			store_dir_reopen(d);
			assert_int_equal(store_opening_scan(d->s)->arrived, 0);
			store_consistent(d);
		}
		assert_rebuilt_alike(d);
	}
	assert_true(round_now > 10);
}

/* ---- many writers, a scan and a checkpoint at once ---- */

struct writers {
	struct store_dir *d;
	unsigned id;
	atomic_uint *failed;
	atomic_bool *done;
};

static void *write_on(void *arg)
{
	struct writers *w = arg;

	for (unsigned i = 0; i < 300; i++) {
		char tmp[48], new[48], cur[48], seen[48];
		int fd;

		snprintf(tmp, sizeof(tmp), "tmp/%u.%u.x", w->id, i);
		snprintf(new, sizeof(new), "new/%u.%u.x", w->id, i);
		snprintf(cur, sizeof(cur), "cur/%u.%u.x:2,", w->id, i);
		snprintf(seen, sizeof(seen), "cur/%u.%u.x:2,S", w->id, i);
		fd = openat(w->d->mail_fd, tmp, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		*w->failed += fd < 0 || write(fd, "a", 1) != 1;
		close(fd);
		*w->failed += store_move(w->d, tmp, new) < 0;
		*w->failed += store_move(w->d, new, cur) < 0;
		*w->failed += store_move(w->d, cur, seen) < 0;
		if (i % 3 == 0)
			*w->failed += store_unlink(w->d->s, seen, &w->d->me) < 0;
	}
	return NULL;
}

static void *look_on(void *arg)
{
	struct writers *w = arg;

	for (unsigned i = 0; !*w->done; i++) {
		struct scan_report r;

		*w->failed += store_scan(w->d->s, false, &r) < 0 || r.arrived || r.expunged;
		if (i % 8 == 0)
			*w->failed += store_checkpoint(w->d->s, 3600ll * 1000000000) < 0;
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	}
	return NULL;
}

static void many_do_it_at_once(void **state)
{
	struct store_dir *d = *state;
	atomic_uint failed = 0;
	atomic_bool done = false;
	struct writers w[4];
	pthread_t t[4];
	uint32_t *uids;
	char *before;

	assert_int_equal(later_start(d->s), 0);
	for (unsigned i = 0; i < 4; i++) {
		w[i] = (struct writers){d, i, &failed, &done};
		assert_int_equal(pthread_create(&t[i], NULL, i ? write_on : look_on, &w[i]), 0);
	}
	for (unsigned i = 1; i < 4; i++)
		pthread_join(t[i], NULL);
	done = true;
	pthread_join(t[0], NULL);
	assert_int_equal(failed, 0);
	uids = mb_xcalloc(901, sizeof(*uids));
	for (unsigned i = 1; i < 4; i++)
		for (unsigned k = 0; k < 300; k++) {
			char seen[48];
			uint32_t uid;

			snprintf(seen, sizeof(seen), "%u.%u.x:2,S", i, k);
			if (k % 3 == 0)
				continue;
			uid = store_uid(d, seen);
			assert_true(uid >= 1 && uid <= 900 && !uids[uid]++);
		}
	free(uids);
	later_stop(d->s);
	store_consistent(d);
	before = store_list(d);
	store_dir_close(d);
	store_dir_drop(d, "index");
	store_dir_open(d);
	assert_list(d, before);
	assert_int_equal(store_opening_scan(d->s)->arrived, 0);
	free(before);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, store_dir_setup, store_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_stop_at_any_step_leaves_each_message_once),
		TEST(a_failure_at_any_step_is_answered_as_it_is),
		TEST(many_do_it_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
