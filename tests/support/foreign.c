/*
 * foreign.c - see foreign.h.
 */
#include "tests/support/foreign.h"
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/mail/layout.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static int root_of(struct foreign *f)
{
	int fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

void foreign_mkdir(struct foreign *f, const char *dir)
{
	static const char *const subs[] = {"cur", "new", "tmp"};
	MB_AUTO_CLOSE int root = root_of(f);

	for (int i = 0; i < 3; i++) {
		MB_AUTO_FREE char *path = mb_xasprintf("%s%s%s", dir, *dir ? "/" : "", subs[i]);

		assert_int_equal(at_mkdirs(root, path, 0700), 0);
	}
}

static int setup(void **state, enum layout layout)
{
	struct foreign *f = mb_xcalloc(1, sizeof(*f));
	void *dir = NULL;

	if (tmp_dir_setup(&dir))
		return -1;
	f->dir = dir;
	f->layout = layout;
	snprintf(f->path, sizeof(f->path), "%s/Maildir", f->dir->path);
	if (mkdir(f->path, 0700))
		return -1;
	foreign_mkdir(f, "");
	f->local = backend_open_memory(77);
	*state = f;
	return 0;
}

int foreign_setup(void **state)
{
	return setup(state, LAYOUT_MAILDIRPP);
}

int foreign_setup_fs(void **state)
{
	return setup(state, LAYOUT_FS);
}

int foreign_teardown(void **state)
{
	struct foreign *f = *state;
	void *dir = f->dir;

	io_set_hook(NULL, NULL);
	backend_close(f->local);
	session_result_release(&f->last);
	free(f);
	return tmp_dir_teardown(&dir);
}

static void show(int side, enum record_type what, const struct tree *to, const struct record *item,
		 void *arg)
{
	char g[GUID_TEXT];

	(void)to, (void)arg;
	fprintf(stderr, "side %d: %s %s %s\n", side, record_type_name(what),
		guid_text(&item->copy.guid, g), item->mailbox.part ? item->mailbox.part : "");
}

static bool stop(void *arg)
{
	int *left = arg;

	return *left > 0 && --*left == 0;
}

static int run(struct foreign *f, bool until_stable)
{
	struct session_options opt = {.allow_mass_expunge = f->allow, .full = f->full};
	opt.stop = stop;
	opt.stop_arg = &f->stop_after;
	if (getenv("SHOW"))
		opt.show = show;
	struct backend *remote = NULL;
	int err = backend_open_maildir(f->path, (int)f->layout, f->local, &remote);

	session_result_release(&f->last);
	if (err < 0)
		return err;
	err = until_stable ? session_run_until_stable(f->local, remote, &opt, &f->last)
			   : session_run(f->local, remote, &opt, &f->last);
	backend_close(remote);
	return err;
}

int foreign_try(struct foreign *f)
{
	return run(f, false);
}

void foreign_sync(struct foreign *f)
{
	int err = run(f, true);

	if (err < 0)
		fail_msg("session: %s", mb_err_str(err));
	if (f->last.errors)
		fail_msg("item: %s", mb_err_str(f->last.first_error));
	err = run(f, false);
	assert_int_equal(err, 0);
	assert_false(f->last.changed);
	assert_int_equal(f->last.errors, 0);
}

/* ---- in the Maildir ---- */

void foreign_write(struct foreign *f, const char *path, const char *text)
{
	MB_AUTO_CLOSE int root = root_of(f);
	MB_AUTO_CLOSE int fd = openat(root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

void foreign_rename(struct foreign *f, const char *from, const char *to)
{
	MB_AUTO_CLOSE int root = root_of(f);

	assert_int_equal(renameat(root, from, root, to), 0);
}

void foreign_unlink(struct foreign *f, const char *path)
{
	MB_AUTO_CLOSE int root = root_of(f);

	assert_int_equal(unlinkat(root, path, 0), 0);
}

void foreign_rmdir(struct foreign *f, const char *dir)
{
	MB_AUTO_CLOSE int root = root_of(f);
	const char *name;
	MB_AUTO_CLOSE int parent = at_open_parent(root, dir, &name);

	assert_int_equal(at_remove_tree(parent, name), 0);
}

bool foreign_exists(struct foreign *f, const char *path)
{
	MB_AUTO_CLOSE int root = root_of(f);

	return faccessat(root, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

struct search {
	int dir;
	const char *sub, *text;
	size_t n;
	char *found;
};

static int look(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	struct search *s = arg;
	MB_AUTO_FREE uint8_t *data = NULL;
	size_t len;

	(void)type, (void)ino;
	if (s->text && (io_read_file(s->dir, name, 1 << 20, &data, &len) ||
			strcmp((char *)data, s->text) != 0))
		return 0;
	s->n++;
	free(s->found);
	s->found = mb_xasprintf("%s/%s", s->sub, name);
	return 0;
}

static size_t search(struct foreign *f, const char *dir, const char *sub, const char *text,
		     char **ret)
{
	struct search s = {.sub = sub, .text = text};
	MB_AUTO_CLOSE int root = root_of(f);
	MB_AUTO_FREE char *path = mb_xasprintf("%s%s%s", dir, *dir ? "/" : "", sub);
	MB_AUTO_CLOSE int fd = at_open(root, path, O_RDONLY | O_DIRECTORY, 0);

	s.dir = fd;
	if (fd >= 0)
		at_list(fd, look, &s);
	if (ret && s.found) {
		free(*ret);
		*ret = s.found;
	} else {
		free(s.found);
	}
	return s.n;
}

size_t foreign_count(struct foreign *f, const char *dir)
{
	return search(f, dir, "cur", NULL, NULL) + search(f, dir, "new", NULL, NULL);
}

size_t foreign_tmp(struct foreign *f, const char *dir)
{
	return search(f, dir, "tmp", NULL, NULL);
}

char *foreign_find(struct foreign *f, const char *dir, const char *text)
{
	char *ret = NULL;
	size_t n = search(f, dir, "cur", text, &ret) + search(f, dir, "new", text, &ret);

	assert_in_range(n, 0, 1);
	return ret;
}

char *foreign_letters(struct foreign *f, const char *dir, const char *text)
{
	MB_AUTO_FREE char *path = foreign_find(f, dir, text);
	const char *info;

	assert_non_null(path);
	info = strstr(path, ":2,");
	return mb_xstrdup(info ? info + 3 : "");
}

/* ---- at the local side ---- */

struct guid local_deliver(struct foreign *f, struct guid box, const char *text)
{
	struct guid g = GUID_ZERO;

	assert_int_equal(memory_deliver(f->local, &box, text, strlen(text), 0, &g), 0);
	return g;
}

static bool has_text(struct foreign *f, const struct copy *c, const char *text)
{
	char data[4096] = "";
	MB_AUTO_CLOSE int fd = f->local->ops->body(f->local, &c->guid, c->id);

	return fd >= 0 && io_pread_full(fd, data, sizeof(data) - 1, 0) >= 0 &&
	       strcmp(data, text) == 0;
}

const struct copy *local_find(struct foreign *f, const char *text)
{
	const struct copy *found = NULL;

	for (size_t i = 0; i < memory_n_messages(f->local); i++) {
		const struct message *m = memory_message(f->local, i);

		for (size_t k = 0; k < m->n; k++) {
			if (!copy_alive(&m->copies[k]) || !has_text(f, &m->copies[k], text))
				continue;
			assert_null(found);
			found = &m->copies[k];
		}
	}
	if (!found)
		fail_msg("no live copy of \"%s\"", text);
	return found;
}

size_t local_live(struct foreign *f)
{
	size_t n = 0;

	for (size_t i = 0; i < memory_n_messages(f->local); i++) {
		const struct message *m = memory_message(f->local, i);

		for (size_t k = 0; k < m->n; k++)
			n += copy_alive(&m->copies[k]);
	}
	return n;
}

struct guid local_box(struct foreign *f, const char *name)
{
	const struct tree *t = memory_tree(f->local);

	for (size_t i = 0; i < t->n; i++) {
		MB_AUTO_FREE char *at = tree_name(t, &t->nodes[i].guid);

		if (mailbox_alive(&t->nodes[i]) && t->nodes[i].selectable && strcmp(at, name) == 0)
			return t->nodes[i].guid;
	}
	return GUID_ZERO;
}
