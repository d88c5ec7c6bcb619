/* A Maildir in which programs rename while it is read: no living mail is taken for gone, or for new. */
#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include "tests/support/foreign.h"
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

enum { FILES = 400, FOLDERS = 8, ROUNDS = 25 };

struct mover {
	struct foreign *f;
	pthread_t thread;
	atomic_bool stop;
	unsigned seed;
	atomic_uint moves;
	void (*move)(struct mover *m);
	char letters[FILES];   /* the flag that each file has, or 0 */
	unsigned place[FILES]; /* the folder that it is in */
};

static const char *folder(unsigned i, char out[16])
{
	out[0] = '\0';
	if (i)
		snprintf(out, 16, ".F%u/", i);
	return out;
}

static void path_of(const struct mover *m, unsigned i, char out[160])
{
	char dir[16];

	snprintf(out, 160, "%s/%scur/%u.m.host:2,%.1s", m->f->path, folder(m->place[i], dir), i,
		 m->letters[i] ? &m->letters[i] : "");
}

static void change_flag(struct mover *m)
{
	unsigned i = (unsigned)rand_r(&m->seed) % FILES;
	char from[160], to[160];

	path_of(m, i, from);
	m->letters[i] = m->letters[i] ? 0 : 'F';
	path_of(m, i, to);
	rename(from, to);
}

static void change_folder(struct mover *m)
{
	unsigned i = (unsigned)rand_r(&m->seed) % FILES;
	char from[160], to[160];

	path_of(m, i, from);
	m->place[i] = (unsigned)rand_r(&m->seed) % FOLDERS;
	path_of(m, i, to);
	rename(from, to);
}

/* Away and back, so that the files stay where the others think they are. */
static void rename_folder(struct mover *m)
{
	unsigned i = 1 + (unsigned)rand_r(&m->seed) % (FOLDERS - 1);
	char from[160], to[160];

	snprintf(from, sizeof(from), "%s/.F%u", m->f->path, i);
	snprintf(to, sizeof(to), "%s/.G%u", m->f->path, i);
	rename(from, to);
	usleep(3000);
	rename(to, from);
}

static void *move_on(void *arg)
{
	struct mover *m = arg;

	while (!atomic_load(&m->stop)) {
		m->move(m);
		m->moves++;
		usleep(150);
	}
	return NULL;
}

static void fill(struct mover *m)
{
	char path[160], text[32];

	for (unsigned i = 1; i < FOLDERS; i++) {
		snprintf(path, sizeof(path), ".F%u", i);
		foreign_mkdir(m->f, path);
	}
	for (unsigned i = 0; i < FILES; i++) {
		m->place[i] = i % FOLDERS;
		path_of(m, i, path);
		snprintf(text, sizeof(text), "mail %u\n", i);
		foreign_write(m->f, path + strlen(m->f->path) + 1, text);
	}
	foreign_sync(m->f);
}

static size_t instances(struct foreign *f)
{
	size_t n = 0;

	for (size_t i = 0; i < memory_n_messages(f->local); i++)
		n += memory_message(f->local, i)->n;
	return n;
}

static void nothing_comes_or_goes(struct foreign *f, void (*move)(struct mover *m))
{
	struct mover m = {.f = f, .seed = 7, .move = move};

	fill(&m);
	assert_int_equal(pthread_create(&m.thread, NULL, move_on, &m), 0);
	for (unsigned i = 0; i < ROUNDS || atomic_load(&m.moves) <= ROUNDS; i++)
		foreign_try(f);
	atomic_store(&m.stop, true);
	pthread_join(m.thread, NULL);
	foreign_sync(f);
	assert_int_equal(local_live(f), FILES);
	assert_int_equal(memory_n_messages(f->local), FILES); /* none under a second GUID */
	assert_int_equal(instances(f), FILES);
}

static void flags_that_change_meanwhile_hide_no_mail(void **state)
{
	nothing_comes_or_goes(*state, change_flag);
}

static void moves_meanwhile_hide_no_mail(void **state)
{
	nothing_comes_or_goes(*state, change_folder);
}

static void folders_that_are_renamed_meanwhile_hide_no_mail(void **state)
{
	nothing_comes_or_goes(*state, rename_folder);
}

static void set_mtime(struct foreign *f, const char *sub, int64_t in_s)
{
	const struct timespec at = clock_timespec(clock_wall_ns() + in_s * 1000000000);
	const struct timespec t[2] = {at, at};
	MB_AUTO_FREE char *path = mb_xasprintf("%s/%s", f->path, sub);

	assert_int_equal(utimensat(AT_FDCWD, path, t, 0), 0);
}

/* A clock that was wrong, another host's: what is gone is gone all the same. */
static void times_that_lie_ahead_keep_nothing_alive(void **state)
{
	struct foreign *f = *state;

	foreign_write(f, "cur/1.a.host:2,", "one\n");
	foreign_write(f, "cur/2.a.host:2,", "two\n");
	set_mtime(f, "cur", 86400);
	foreign_sync(f);
	foreign_unlink(f, "cur/1.a.host:2,");
	set_mtime(f, "cur", 90000);
	foreign_try(f);
	assert_int_equal(local_live(f), 1);
	local_find(f, "two\n");
}

static void mail_in_new_outlives_an_empty_cur(void **state)
{
	struct foreign *f = *state;

	foreign_mkdir(f, ".F");
	foreign_write(f, ".F/new/1.a.host", "one\n");
	foreign_sync(f);
	struct guid g = local_find(f, "one\n")->guid;
	foreign_rmdir(f, ".F/cur");
	foreign_sync(f);
	assert_int_equal(local_live(f), 1);
	assert_true(guid_equal(&local_find(f, "one\n")->guid, &g));
	assert_true(foreign_exists(f, ".F/cur"));
	assert_true(foreign_exists(f, ".F/new/1.a.host"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, foreign_setup, foreign_teardown)
	const struct CMUnitTest tests[] = {
		T(flags_that_change_meanwhile_hide_no_mail),
		T(moves_meanwhile_hide_no_mail),
		T(folders_that_are_renamed_meanwhile_hide_no_mail),
		T(times_that_lie_ahead_keep_nothing_alive),
		T(mail_in_new_outlives_an_empty_cur),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
