/*
 * test-scan-steady.c - a scan while another program moves mail about: no message is taken for gone,
 * and none for new.
 */
#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include "backends/store/store.h"
#include "tests/support/tmp-dir.h"
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define SCANS 100

static const char *const PLACES[] = {"cur/1.a:2,", "new/1.a", ".b/cur/1.a:2,S", ".c/new/1.a"};

struct mover {
	int mail;
	int at; /* where it is: an index of PLACES */
	unsigned pause_us;
	atomic_bool over;
};

static void move_on(struct mover *m)
{
	int to = (m->at + 1) % 4;

	assert_int_equal(renameat(m->mail, PLACES[m->at], m->mail, PLACES[to]), 0);
	m->at = to;
}

static void *move_about(void *arg)
{
	struct mover *m = arg;

	while (!atomic_load(&m->over)) {
		move_on(m);
		usleep(m->pause_us);
	}
	return NULL;
}

static struct store *open_store(const struct tmp_dir *d, struct mover *m)
{
	char *dir MB_AUTO_FREE = mb_xasprintf("%s/s", d->path);
	static const struct origin me = {.comm = "test"};
	struct store *s;

	assert_int_equal(store_create(dir, LAYOUT_MAILDIRPP), 0);
	assert_int_equal(store_open(dir, STORE_WRITE, &s), 0);
	assert_int_equal(store_mkdir(s, ".b", 0700, &me), 0);
	assert_int_equal(store_mkdir(s, ".c", 0700, &me), 0);
	for (int i = 0; i < 6; i++) {
		char *sub MB_AUTO_FREE =
			mb_xasprintf(".%c/%.3s", "bc"[i / 3], &"curnewtmp"[i % 3 * 3]);
		assert_int_equal(store_mkdir(s, sub, 0700, &me), 0);
	}
	m->mail = store_mail_fd(s);
	int fd MB_AUTO_CLOSE = openat(m->mail, PLACES[0], O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_int_equal(write(fd, "A: b\n\nc\n", 8), 8);
	return s;
}

struct seen {
	struct guid guid;
	int live, dead;
};

static int see(struct entry *e, void *arg)
{
	struct seen *s = arg;

	if (e->state == ENTRY_PRESENT) {
		s->guid = e->copy.guid;
		s->live++;
	} else {
		s->dead++;
	}
	return 0;
}

static struct seen look(struct store *s)
{
	struct seen seen = {0};
	struct index_txn *tx;

	assert_int_equal(index_begin(store_index(s), false, &tx), 0);
	assert_int_equal(index_each(tx, see, &seen), 0);
	index_abort(tx);
	return seen;
}

static void scans_while_it_moves(void **state, unsigned pause_us)
{
	struct mover m = {.pause_us = pause_us};
	struct store *s = open_store(*state, &m);
	struct scan_report r;
	pthread_t thread;

	assert_int_equal(store_scan(s, false, &r), 0);
	struct seen before = look(s);
	assert_int_equal(before.live, 1);
	assert_int_equal(pthread_create(&thread, NULL, move_about, &m), 0);
	for (int i = 0; i < SCANS; i++) {
		assert_int_equal(store_scan(s, false, &r), 0);
		assert_int_equal(r.arrived + r.expunged + r.lost, 0);
	}
	atomic_store(&m.over, true);
	pthread_join(thread, NULL);
	assert_int_equal(store_scan(s, false, &r), 0);
	struct seen after = look(s);
	assert_int_equal(after.live, 1);
	assert_int_equal(after.dead, 0);
	assert_memory_equal(&after.guid, &before.guid, sizeof(after.guid));
	store_close(s);
}

static void moved_all_the_time(void **state)
{
	scans_while_it_moves(state, 50);
}

static void moved_now_and_then(void **state)
{
	scans_while_it_moves(state, 3000);
}

/* In the tick of the clock in which the directories changed last. */
static void moved_just_before(void **state)
{
	struct mover m = {0};
	struct store *s = open_store(*state, &m);
	struct scan_report r;

	assert_int_equal(store_scan(s, false, &r), 0);
	struct guid guid = look(s).guid;
	for (int i = 0; i < 20; i++) {
		move_on(&m);
		assert_int_equal(store_scan(s, false, &r), 0);
		assert_int_equal(r.arrived + r.expunged + r.lost, 0);
	}
	struct seen after = look(s);
	assert_int_equal(after.live, 1);
	assert_memory_equal(&after.guid, &guid, sizeof(guid));
	store_close(s);
}

static void date_ahead(const struct mover *m, const char *dir)
{
	const struct timespec at = clock_timespec(clock_wall_ns() + 86400 * 1000000000ll);
	const struct timespec t[2] = {at, at};

	assert_int_equal(utimensat(m->mail, dir, t, 0), 0);
}

/* A clock that was wrong, another host's: what is gone is gone all the same. */
static void directories_from_tomorrow(void **state)
{
	struct mover m = {0};
	struct store *s = open_store(*state, &m);
	struct scan_report r;

	date_ahead(&m, "cur");
	assert_int_equal(store_scan(s, false, &r), 0);
	assert_int_equal(look(s).live, 1);
	assert_int_equal(unlinkat(m.mail, PLACES[0], 0), 0);
	date_ahead(&m, "cur");
	assert_int_equal(store_scan(s, false, &r), 0);
	assert_int_equal(r.expunged, 1);
	assert_int_equal(look(s).live, 0);
	store_close(s);
}

/* New mail comes in all the time as well: it is not kept waiting by that. */
static void arrives_while_it_moves(void **state)
{
	struct mover m = {.pause_us = 50};
	struct store *s = open_store(*state, &m);
	struct scan_report r;
	uint64_t arrived = 0;
	pthread_t thread;

	assert_int_equal(store_scan(s, false, &r), 0);
	assert_int_equal(pthread_create(&thread, NULL, move_about, &m), 0);
	for (int i = 0; i < 5; i++) {
		char *name MB_AUTO_FREE = mb_xasprintf("new/2%d.a", i);
		int fd = openat(m.mail, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		assert_int_equal(write(fd, "A: b\n\nd\n", 8), 8);
		close(fd); /* while it is open it is waited for */
		assert_int_equal(store_scan(s, false, &r), 0);
		arrived += r.arrived;
	}
	assert_int_equal(arrived, 5);
	atomic_store(&m.over, true);
	pthread_join(thread, NULL);
	store_close(s);
}

/* ---- folders that are renamed ---- */

struct renamer {
	int mail, n;
	char at[4][16]; /* names of the folders now */
	atomic_bool over;
};

static void *rename_about(void *arg)
{
	struct renamer *r = arg;

	while (!atomic_load(&r->over)) {
		char to[16], *from = r->at[r->n % 4];

		snprintf(to, sizeof(to), ".q%d", ++r->n);
		assert_int_equal(renameat(r->mail, from, r->mail, to), 0);
		strcpy(from, to);
		usleep((useconds_t)(r->n * 7919 % 3000));
	}
	return NULL;
}

static void make_folders(struct store *s, struct renamer *r)
{
	static const struct origin me = {.comm = "test"};

	for (int i = 0; i < 4; i++) {
		snprintf(r->at[i], sizeof(r->at[i]), ".p%d", i);
		assert_int_equal(store_mkdir(s, r->at[i], 0700, &me), 0);
		for (int k = 0; k < 3; k++) {
			char *sub MB_AUTO_FREE =
				mb_xasprintf("%s/%.3s", r->at[i], &"curnewtmp"[k * 3]);
			assert_int_equal(store_mkdir(s, sub, 0700, &me), 0);
		}
		for (int k = 0; k < 5; k++) {
			char *name MB_AUTO_FREE = mb_xasprintf("%s/cur/%d.f%d:2,", r->at[i], k, i);
			int fd MB_AUTO_CLOSE =
				openat(r->mail, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
			assert_int_equal(write(fd, name, strlen(name)), strlen(name));
		}
	}
}

static int count_alive(struct store *s)
{
	struct index_txn *tx;
	struct tree t = {0};
	int n = 0;

	assert_int_equal(index_begin(store_index(s), false, &tx), 0);
	assert_int_equal(index_tree(tx, &t), 0);
	for (size_t i = 0; i < t.n; i++)
		n += mailbox_alive(&t.nodes[i]);
	tree_release(&t);
	index_abort(tx);
	return n;
}

static void folders_renamed_all_the_time(void **state)
{
	struct mover m = {0};
	struct store *s = open_store(*state, &m);
	struct renamer r = {.mail = m.mail};
	struct scan_report report;
	uint64_t unsteady = 0;
	pthread_t thread;

	make_folders(s, &r);
	assert_int_equal(store_scan(s, false, &report), 0);
	assert_int_equal(look(s).live, 21);
	assert_int_equal(count_alive(s), 7);
	assert_int_equal(pthread_create(&thread, NULL, rename_about, &r), 0);
	for (int i = 0; i < SCANS; i++) {
		move_on(&m); /* so that there is something to read */
		assert_int_equal(store_scan(s, i % 2, &report), 0);
		assert_int_equal(report.arrived + report.expunged + report.lost, 0);
		unsteady += report.unsteady;
	}
	atomic_store(&r.over, true);
	pthread_join(thread, NULL);
	assert_int_equal(store_scan(s, false, &report), 0);
	assert_int_equal(report.arrived + report.expunged + report.lost, 0);
	assert_false(report.unsteady);
	struct seen after = look(s);
	assert_int_equal(after.live, 21);
	assert_int_equal(after.dead, 0);
	assert_int_equal(count_alive(s), 7); /* none was made in an old place */
	for (int i = 0; i < 4; i++)
		assert_int_equal(faccessat(m.mail, r.at[i], F_OK, 0), 0);
	print_message("%d renames, %d of %d scans unsteady\n", r.n, (int)unsteady, SCANS);
	store_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(moved_all_the_time, tmp_dir_setup,
						tmp_dir_teardown),
		cmocka_unit_test_setup_teardown(moved_now_and_then, tmp_dir_setup,
						tmp_dir_teardown),
		cmocka_unit_test_setup_teardown(moved_just_before, tmp_dir_setup, tmp_dir_teardown),
		cmocka_unit_test_setup_teardown(directories_from_tomorrow, tmp_dir_setup,
						tmp_dir_teardown),
		cmocka_unit_test_setup_teardown(folders_renamed_all_the_time, tmp_dir_setup,
						tmp_dir_teardown),
		cmocka_unit_test_setup_teardown(arrives_while_it_moves, tmp_dir_setup,
						tmp_dir_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
