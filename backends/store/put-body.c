/*
 * put-body.c - where the body of an arriving copy comes from.
 *
 * A staged body is renamed into place; without one a body is linked that this store has under the
 * same GUID or digest, or keeps in deleted/.
 */
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/store/put-copy.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>

int put_open_target_dir(struct copy_put *c, const char **ret_name)
{
	int fd = at_open_parent(c->s->mail_fd, c->new_path, ret_name);

	if (fd == -ENOENT) { /* new/ or tmp/ is missing: repaired on the fly */
		MB_AUTO_FREE char *dir = NULL;
		struct stat st;

		fd = mailbox_dir(c->tx, &c->new.place.mailbox, &dir);
		if (fd >= 0 && at_stat(c->s->mail_fd, dir, &st) < 0)
			return MB_E_STALE; /* renamed or removed behind our back: look first */
		if (fd >= 0)
			fd = mailbox_make_dirs(c->s, NULL, NULL, dir);
		if (fd >= 0)
			fd = at_open_parent(c->s->mail_fd, c->new_path, ret_name);
	}
	return fd;
}

/* ---- bodies that are here already ---- */

struct link_body {
	struct copy_put *c;
	int dir;
	const char *name;
	int result; /* -ENOENT until linked */
};

/* Copies of one message have other bytes when they are one by their likeness only. */
static bool is_other(const struct copy_put *c, const struct copy *have)
{
	return digest_known(&have->digest) && digest_known(&c->new.digest) &&
	       !digest_equal(&have->digest, &c->new.digest);
}

static int link_one(struct entry *e, void *arg)
{
	struct link_body *l = arg;
	MB_AUTO_FREE char *path = NULL;
	MB_AUTO_CLOSE int from = -1;
	const char *name;
	struct stat st;

	if (e->state != ENTRY_PRESENT || !copy_alive(&e->copy) || is_other(l->c, &e->copy))
		return 0;
	path = entry_path(l->c->tx, e);
	if (!path || at_stat(l->c->s->mail_fd, path, &st) < 0 || !S_ISREG(st.st_mode) ||
	    (uint64_t)st.st_size != l->c->new.size)
		return 0;
	from = at_open_parent(l->c->s->mail_fd, path, &name);
	if (from < 0)
		return 0;
	l->result = intent_link(l->c->s, l->c->new_path, st.st_ino);
	if (l->result >= 0)
		l->result = io_linkat(from, name, l->dir, l->name);
	return 1;
}

static int link_deleted(struct link_body *l)
{
	MB_AUTO_FREE char *kept = NULL;
	struct stat st;
	int err;

	if (!l->c->known || is_other(l->c, &l->c->old.copy))
		return -ENOENT;
	err = file_find_deleted(l->c->s, &l->c->old.copy.place.mailbox, &l->c->new.guid,
				l->c->new.id, true, &kept);
	if (err < 0)
		return err;
	if (at_stat(l->c->s->deleted_fd, kept, &st) < 0 || (uint64_t)st.st_size != l->c->new.size)
		return -ENOENT;
	err = intent_link(l->c->s, l->c->new_path, st.st_ino);
	return err < 0 ? err : io_linkat(l->c->s->deleted_fd, kept, l->dir, l->name);
}

/* Links a body that this store has under the same GUID or digest, or keeps in deleted/. */
static int place_known_body(struct copy_put *c, int dir, const char *name)
{
	struct link_body l = {.c = c, .dir = dir, .name = name, .result = -ENOENT};
	struct message m = {0};
	int err = index_get_message(c->tx, &c->new.guid, &m);

	for (size_t i = 0; i < m.n && err >= 0 && l.result == -ENOENT; i++) {
		struct entry e = {0};

		if (m.copies[i].id != c->new.id &&
		    index_get_entry(c->tx, &c->new.guid, m.copies[i].id, &e) == 0)
			link_one(&e, &l);
		entry_release(&e);
	}
	message_release(&m);
	if (err >= 0 && l.result == -ENOENT && digest_known(&c->new.digest))
		err = index_by_digest(c->tx, &c->new.digest, link_one, &l);
	if (err >= 0 && l.result == -ENOENT)
		l.result = link_deleted(&l);
	return err < 0 ? err : l.result;
}

static void set_received(int dir, const char *name, int64_t received_ns)
{
	struct timespec t[2] = {
		{.tv_nsec = UTIME_OMIT},
		{.tv_sec = received_ns / 1000000000, .tv_nsec = received_ns % 1000000000}};
	MB_AUTO_CLOSE int fd = at_open_regular(dir, name, O_RDONLY);

	if (fd >= 0 && received_ns > 0)
		io_utimens(fd, t);
}

int put_place_body(struct copy_put *c)
{
	MB_AUTO_CLOSE int dir = -1;
	const char *name;
	struct stat st;

	dir = put_open_target_dir(c, &name);
	if (dir < 0)
		return dir;
	if (!c->staged)
		return place_known_body(c, dir, name);
	if (at_stat(c->s->staging_fd, c->staged, &st) < 0 || !S_ISREG(st.st_mode))
		return -ENOENT;
	if (!c->new.size)
		c->new.size = (uint64_t)st.st_size; /* a peer that did not know */
	if ((uint64_t)st.st_size != c->new.size)
		return MB_E_DAMAGED; /* cut off on its way */
	if (clock_timespec_ns(&st.st_mtim) != c->new.received_ns)
		set_received(c->s->staging_fd, c->staged, c->new.received_ns);
	int err = file_give(c->s, c->s->staging_fd, c->staged);

	if (err >= 0)
		err = intent_rename(c->s, NULL, c->new_path, st.st_ino);
	if (err >= 0)
		err = io_renameat2(c->s->staging_fd, c->staged, dir, name, RENAME_NOREPLACE);
	if (err >= 0 && fstatat(dir, name, &c->placed, AT_SYMLINK_NOFOLLOW) < 0)
		c->placed.st_ino = 0;
	return err;
}
