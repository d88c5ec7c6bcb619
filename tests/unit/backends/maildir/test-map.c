/*
 * Random changes on both sides, cut and not: afterwards both hold the same mail in the same folders,
 * with the same flags, and a second sync does nothing.  The map is all that ties them.
 */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/mail/fname.h"
#include "tests/support/foreign.h"
#include "tests/support/random.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { SEEDS = 60, ROUNDS = 4, OPS = 8, FILES_MAX = 512, BOXES = 4 };

struct file {
	char dir[64], sub[4], name[256];
};

struct tree_files {
	struct file files[FILES_MAX];
	size_t n;
	const char *dir, *sub;
};

struct life {
	struct foreign *f;
	struct prng p;
	int serial;
	uint64_t cut_at;
};

static const char *const DIRS[BOXES] = {"", ".A", ".B", ".A.C"};
static const char *const NAMES[BOXES] = {"INBOX", "A", "B", "A/C"};

static int add_file(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	struct tree_files *t = arg;
	struct file *f = &t->files[t->n++];

	(void)type, (void)ino;
	assert_true(t->n < FILES_MAX);
	snprintf(f->dir, sizeof(f->dir), "%s", t->dir);
	snprintf(f->sub, sizeof(f->sub), "%s", t->sub);
	snprintf(f->name, sizeof(f->name), "%s", name);
	return 0;
}

static void list_all(struct foreign *f, struct tree_files *t)
{
	MB_AUTO_CLOSE int root = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	t->n = 0;
	for (int i = 0; i < 2 * BOXES; i++) {
		t->dir = DIRS[i / 2];
		t->sub = i % 2 ? "new" : "cur";
		MB_AUTO_FREE char *path =
			mb_xasprintf("%s%s%s", t->dir, *t->dir ? "/" : "", t->sub);
		MB_AUTO_CLOSE int fd = at_open(root, path, O_RDONLY | O_DIRECTORY, 0);

		if (fd >= 0)
			at_list(fd, add_file, t);
	}
}

static char *path_of(const struct file *f)
{
	return mb_xasprintf("%s%s%s/%s", f->dir, *f->dir ? "/" : "", f->sub, f->name);
}

/* ---- changes ---- */

static struct guid some_box(struct life *l)
{
	struct guid g = local_box(l->f, NAMES[prng_below(&l->p, BOXES)]);

	return guid_is_zero(&g) ? GUID_INBOX : g;
}

static void arrive_there(struct life *l)
{
	struct file to = {.sub = "new"};
	char text[32];

	snprintf(text, sizeof(text), "there %d\n", ++l->serial);
	snprintf(to.dir, sizeof(to.dir), "%s", DIRS[prng_below(&l->p, BOXES)]);
	snprintf(to.name, sizeof(to.name), "%d.there.host", l->serial);
	foreign_mkdir(l->f, to.dir);
	MB_AUTO_FREE char *path = path_of(&to);
	foreign_write(l->f, path, text);
}

static void rename_there(struct life *l, const struct file *from, const struct file *to)
{
	MB_AUTO_FREE char *old = path_of(from);
	MB_AUTO_FREE char *new = path_of(to);

	foreign_mkdir(l->f, to->dir);
	if (!foreign_exists(l->f, new))
		foreign_rename(l->f, old, new);
}

static void change_there(struct life *l, const struct file *f)
{
	MB_AUTO_FREE char *path = path_of(f);
	struct file to = *f;
	char *info = strchr(to.name, ':');

	switch (prng_below(&l->p, 4)) {
	case 0:
		foreign_unlink(l->f, path);
		return;
	case 1:
		snprintf(to.dir, sizeof(to.dir), "%s", DIRS[prng_below(&l->p, BOXES)]);
		break;
	default:
		if (info)
			*info = '\0';
		snprintf(to.sub, sizeof(to.sub), "cur");
		strcat(to.name, prng_below(&l->p, 2) ? ":2,S" : ":2,F");
	}
	rename_there(l, f, &to);
}

static void there(struct life *l)
{
	struct tree_files *t = mb_xcalloc(1, sizeof(*t));

	list_all(l->f, t);
	if (!t->n || prng_below(&l->p, 3) == 0)
		arrive_there(l);
	else
		change_there(l, &t->files[prng_below(&l->p, t->n)]);
	free(t);
}

static const struct copy *some_copy(struct life *l)
{
	const struct copy *found = NULL;
	uint32_t seen = 0;

	for (size_t i = 0; i < memory_n_messages(l->f->local); i++) {
		const struct message *m = memory_message(l->f->local, i);

		for (size_t k = 0; k < m->n; k++)
			if (copy_alive(&m->copies[k]) && !prng_below(&l->p, ++seen))
				found = &m->copies[k];
	}
	return found;
}

static void here(struct life *l)
{
	const struct copy *c = some_copy(l);
	struct guid g = c ? c->guid : GUID_ZERO, box = some_box(l), made;
	uint64_t id = c ? c->id : 0;
	char text[32];

	snprintf(text, sizeof(text), "here %d\n", ++l->serial);
	switch (prng_below(&l->p, 7)) {
	case 0:
	case 1:
		local_deliver(l->f, box, text);
		break;
	case 2:
		if (c)
			memory_expunge(l->f->local, &g, id);
		break;
	case 3:
		if (c)
			memory_move(l->f->local, &g, id, &box);
		break;
	case 4:
		memory_create(l->f->local, &GUID_ZERO, prng_below(&l->p, 2) ? "A" : "B", &made);
		break;
	default:
		if (c)
			memory_flags(l->f->local, &g, id, FLAG_MASK(prng_below(&l->p, FLAG_COUNT)),
				     FLAG_MASK(prng_below(&l->p, FLAG_COUNT)));
	}
}

/* ---- what holds ---- */

static void same_flags(struct life *l, const struct copy *c, const char *dir, const char *text)
{
	MB_AUTO_FREE char *path = foreign_find(l->f, dir, text);
	struct fname n;

	if (!path)
		fail_msg("not in \"%s\": %s", dir, text);
	fname_parse(path + 4, &n);
	assert_int_equal(n.flags, c->flags.set);
}

static void same_mail(struct life *l)
{
	struct tree_files *t = mb_xcalloc(1, sizeof(*t));

	list_all(l->f, t);
	assert_int_equal(t->n, local_live(l->f));
	for (size_t i = 0; i < t->n; i++) {
		MB_AUTO_FREE char *path = path_of(&t->files[i]);
		MB_AUTO_FREE char *full = mb_xasprintf("%s/%s", l->f->path, path);
		MB_AUTO_FREE uint8_t *text = NULL;
		size_t len, k = 0;

		assert_int_equal(io_read_file(AT_FDCWD, full, 4096, &text, &len), 0);
		const struct copy *c = local_find(l->f, (char *)text);
		while (strcmp(t->files[i].dir, DIRS[k]) != 0)
			k++;
		struct guid box = local_box(l->f, NAMES[k]);
		assert_true(guid_equal(&c->place.mailbox, &box));
		same_flags(l, c, DIRS[k], (char *)text);
	}
	free(t);
}

static int cut(uint64_t step, const char *what, void *arg)
{
	const struct life *l = arg;

	(void)what;
	return step >= l->cut_at ? -EIO : 0;
}

static void sync_cut(struct life *l)
{
	if (prng_below(&l->p, 2)) {
		l->cut_at = io_steps() + 1 + prng_below(&l->p, 40);
		io_set_hook(cut, l);
	} else {
		l->f->stop_after = 1 + (int)prng_below(&l->p, 8);
	}
	foreign_try(l->f);
	io_set_hook(NULL, NULL);
	l->f->stop_after = 0;
}

static void one_life(uint64_t seed)
{
	void *state = NULL;
	struct life l = {.p = {seed}};

	assert_int_equal(foreign_setup(&state), 0);
	l.f = state;
	l.f->allow = true;
	mb_msg_set_level(MB_ERROR);
	if (getenv("SHOW"))
		print_message("seed %d\n", (int)seed);
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < OPS; i++) {
			if (prng_below(&l.p, 2))
				there(&l);
			else
				here(&l);
		}
		if (prng_below(&l.p, 2))
			sync_cut(&l);
		foreign_sync(l.f);
		same_mail(&l);
	}
	assert_int_equal(foreign_teardown(&state), 0);
}

/* SEED=N tells one life alone, SEEDS=N that many. */
static void both_sides_come_together(void **state)
{
	const char *only = getenv("SEED"), *many = getenv("SEEDS");
	uint64_t n = many ? strtoull(many, NULL, 10) : SEEDS;

	(void)state;
	if (only) {
		one_life(strtoull(only, NULL, 10));
		return;
	}
	for (uint64_t seed = 1; seed <= n; seed++)
		one_life(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(both_sides_come_together)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
