/*
 * ops.c - changes of message files, done in batches.
 *
 * The intents of a batch become durable in the map, the bodies on disk, then each rename or unlink
 * is made.  The directories are flushed before the map says agreed, so that a cut at any point leaves
 * either the old state, or the new one and an intent that finds it.  An expunge needs no intent: a
 * file that is missing and expunged at the local side is no news.
 */
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/maildir/ops.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TMP_PREFIX "mailbraid-"

static int open_sub(struct maildir *m, const struct md_box *box, const char *sub)
{
	MB_AUTO_FREE char *path = md_sub_path(box, sub, "");
	int fd = at_open(m->root, path, O_RDONLY | O_DIRECTORY, 0);

	if (fd != -ENOENT)
		return fd;
	/* A folder without new or tmp is repaired on the fly. */
	int err = md_box_make(m, box->dir);
	return err ? err : at_open(m->root, path, O_RDONLY | O_DIRECTORY, 0);
}

/* ---- tmp -------------------------------------------------------------------------------------- */

struct cleaning {
	struct maildir *m;
	int dir;
};

/* Left by a sync of ours that was cut. */
static bool is_stale(struct cleaning *c, const char *name)
{
	uint64_t replica, token;
	struct stat st;
	int used = 0;

	if (sscanf(name, TMP_PREFIX "%16" SCNx64 "-%16" SCNx64 "-%n", &replica, &token, &used) !=
		    2 ||
	    !used || replica != c->m->replica || token == c->m->token)
		return false;
	return fstatat(c->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

static int clean_one(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	struct cleaning *c = arg;

	(void)type, (void)ino;
	if (is_stale(c, name))
		io_unlinkat(c->dir, name, 0);
	return 0;
}

static void clean_tmp(struct maildir *m, struct md_box *box, int dir)
{
	struct cleaning c = {.m = m, .dir = dir};

	if (!box->tmp_cleaned)
		at_list(dir, clean_one, &c);
	box->tmp_cleaned = true;
}

static int set_received(int fd, int64_t ns)
{
	struct timespec t = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};

	if (!ns)
		return 0;
	if (t.tv_nsec < 0) {
		t.tv_sec--;
		t.tv_nsec += 1000000000;
	}
	return io_utimens(fd, (const struct timespec[2]){t, t});
}

static int check_staged(struct md_file *f, const struct copy *c, int fd, uint64_t size)
{
	int err;

	if (c->size && c->size != size)
		return MB_E_DAMAGED;
	f->size = size;
	err = digest_fd(fd, &f->digest, NULL);
	if (err || !digest_known(&c->digest))
		return err;
	return digest_equal(&f->digest, &c->digest) ? 0 : MB_E_DAMAGED;
}

/* Fills the file in tmp and learns what the map keeps of it. */
static int fill(struct maildir *m, struct md_file *f, const struct copy *c, int body, int fd)
{
	uint64_t size = 0;
	struct stat st;
	int err = lseek(body, 0, SEEK_SET) < 0 ? -errno : io_copy(body, fd, &size);

	if (!err)
		err = check_staged(f, c, fd, size);
	if (!err)
		err = set_received(fd, c->received_ns);
	if (!err)
		md_mark_fd(m, f, &c->place.at, fd);
	if (!err && !m->many)
		err = io_fsync(fd);
	if (!err && fstat(fd, &st) < 0)
		err = -errno;
	if (err)
		return err;
	m->unsynced = m->unsynced || m->many;
	f->ino = st.st_ino;
	f->mtime_ns = clock_timespec_ns(&st.st_mtim);
	return 0;
}

int md_tmp_create(struct maildir *m, struct md_box *box, int *ret_dir, char **ret_name)
{
	static _Atomic uint64_t count;
	int dir = open_sub(m, box, "tmp"), fd;

	*ret_dir = dir;
	*ret_name = NULL;
	if (dir < 0)
		return dir;
	clean_tmp(m, box, dir);
	*ret_name = mb_xasprintf(TMP_PREFIX "%016" PRIx64 "-%016" PRIx64 "-%" PRIu64, m->replica,
				 m->token, atomic_fetch_add(&count, 1));
	fd = io_create_at(dir, *ret_name, O_RDWR, 0600);
	if (fd < 0)
		free(MB_TAKE(*ret_name));
	return fd;
}

int md_stage(struct maildir *m, struct md_file *f, const struct copy *c, int body, char **ret_tmp)
{
	MB_AUTO_CLOSE int dir = -1;
	MB_AUTO_FREE char *name = NULL;
	MB_AUTO_CLOSE int fd = md_tmp_create(m, f->box, &dir, &name);
	int err = fd < 0 ? fd : fill(m, f, c, body, fd);

	if (err && fd >= 0)
		io_unlinkat(dir, name, 0);
	if (!err)
		*ret_tmp = MB_TAKE(name);
	return err;
}

/* ---- The queue -------------------------------------------------------------------------------- */

void md_op_release(struct md_op *op)
{
	free(op->name);
	free(op->tmp);
}

int md_queue(struct maildir *m, struct md_op op)
{
	op.file->queued = true;
	MB_GROW(m->ops, m->cap_ops, m->n_ops + 1);
	m->ops[m->n_ops++] = op;
	if (m->n_ops < OPS_MAX)
		return 1;
	int err = md_flush(m);
	return err ? err : 1;
}

static void touch(struct md_box *box)
{
	box->touched = true;
	memset(box->times, 0, sizeof(box->times));
	box->dirty = true;
}

/* Where there is no rename that refuses to replace, a link refuses as well. */
int md_rename_new(int from_dir, const char *from, int to_dir, const char *to)
{
	int err = io_renameat2(from_dir, from, to_dir, to, RENAME_NOREPLACE);

	if (err != -EINVAL && err != -ENOSYS)
		return err;
	err = io_linkat(from_dir, from, to_dir, to);
	return err ? err : io_unlinkat(from_dir, from, 0);
}

static void done_name(struct md_op *op, bool agreed)
{
	struct md_file *f = op->file;
	struct fname n;

	md_set_name(f, op->name, op->in_new);
	fname_parse(op->name, &n);
	/* What was news before and is so still is news until the local side has it. */
	uint8_t flags = agreed ? 0 : f->before.flags ^ f->now.flags;
	uint32_t letters = agreed ? 0 : f->before.keywords ^ f->now.keywords;
	f->now = (struct letters){.flags = n.flags, .keywords = n.keywords};
	f->before.flags = (uint8_t)((f->before.flags & flags) | (n.flags & ~flags));
	f->before.keywords = (f->before.keywords & letters) | (n.keywords & ~letters);
	f->placed_at = op->placed_at;
	f->seen = f->dirty = true;
}

static int do_arrive(struct maildir *m, struct md_op *op)
{
	struct md_file *f = op->file;
	MB_AUTO_CLOSE int from = open_sub(m, op->to, "tmp");
	MB_AUTO_CLOSE int to = open_sub(m, op->to, op->in_new ? "new" : "cur");
	int err = from < 0 ? from : to < 0 ? to : md_rename_new(from, op->tmp, to, op->name);

	if (err) {
		if (from >= 0)
			io_unlinkat(from, op->tmp, 0);
		md_file_drop(m, f);
		return err;
	}
	f->agreed = true;
	f->agreed_box = op->to->guid;
	f->queued = false;
	done_name(op, true);
	touch(op->to);
	return 0;
}

static void done_move(struct maildir *m, struct md_op *op)
{
	struct md_file *f = op->file;
	struct guid was = f->box->guid, agreed = f->agreed_box;

	touch(f->box);
	md_file_move(f, op->to, op->name);
	md_entry_gone(m, &was, &f->guid, f->id);
	if (!guid_equal(&agreed, &was))
		md_entry_gone(m, &agreed, &f->guid, f->id);
	if (f->agreed)
		f->agreed_box = op->to->guid;
}

static int do_change(struct maildir *m, struct md_op *op)
{
	struct md_file *f = op->file;
	MB_AUTO_CLOSE int from = open_sub(m, f->box, f->in_new ? "new" : "cur");
	MB_AUTO_CLOSE int to = open_sub(m, op->to, op->in_new ? "new" : "cur");
	int err = from < 0 ? from : to < 0 ? to : md_rename_new(from, f->name, to, op->name);

	f->queued = false;
	if (err) {
		if (op->to != f->box)
			md_entry_gone(m, &op->to->guid, &f->guid, f->id);
		f->dirty = true;
		f->box->named = false;
		return err == -ENOENT || err == -EEXIST ? MB_E_STALE : err;
	}
	if (op->to != f->box)
		done_move(m, op);
	else if (strcmp(f->name, op->name) != 0)
		md_file_move(f, op->to, op->name);
	bool moved = stamp_compare(&f->placed_at, &op->placed_at) != 0;
	done_name(op, false);
	touch(op->to);
	if (moved)
		md_mark(m, f);
	return 0;
}

/* The content that the map knows, which may have been copied. */
static bool has_known_content(const struct md_file *f, int dir)
{
	MB_AUTO_CLOSE int fd = -1;
	struct digest d;

	if (!digest_known(&f->digest))
		return false;
	fd = at_open_regular(dir, f->name, O_RDONLY);
	return fd >= 0 && digest_fd(fd, &d, NULL) == 0 && digest_equal(&d, &f->digest);
}

/* Is it the file that the map speaks of?  What took its name, or was written on, nobody has read. */
static int check_mapped(const struct md_file *f, int dir)
{
	struct stat st;

	if (fstatat(dir, f->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if ((uint64_t)st.st_size != f->size)
		return MB_E_STALE;
	if (st.st_ino == f->ino && clock_timespec_ns(&st.st_mtim) == f->mtime_ns)
		return 0;
	return has_known_content(f, dir) ? 0 : MB_E_STALE;
}

static int unlink_named(struct maildir *m, struct md_file *f)
{
	MB_AUTO_CLOSE int dir = open_sub(m, f->box, f->in_new ? "new" : "cur");
	int err = dir < 0 ? dir : check_mapped(f, dir);

	return err ? err : io_unlinkat(dir, f->name, 0);
}

/* The next run looks at the content. */
static int look_again(struct md_file *f)
{
	f->ino = 0;
	f->dirty = true;
	touch(f->box);
	return MB_E_STALE;
}

/* Its flags may have changed since its name was read; an expunge beats that. */
static int do_expunge(struct maildir *m, struct md_op *op)
{
	struct md_file *f = op->file;
	int err = unlink_named(m, f);

	f->queued = false;
	if (err == -ENOENT) {
		free(f->name);
		f->name = NULL;
		f->box->named = false;
		err = md_names(m, f->box);
		if (!err && f->name)
			err = unlink_named(m, f);
	}
	if (err)
		return err == MB_E_STALE ? look_again(f) : err;
	touch(f->box);
	md_file_drop(m, f);
	return 0;
}

static int do_op(struct maildir *m, struct md_op *op)
{
	switch (op->kind) {
	case OP_ARRIVE:
		return do_arrive(m, op);
	case OP_CHANGE:
		return do_change(m, op);
	default:
		return do_expunge(m, op);
	}
}

/* Nothing was done yet: takes the batch back. */
static void undo(struct maildir *m, struct md_op *op)
{
	op->file->queued = false;
	if (op->kind != OP_ARRIVE)
		return;
	MB_AUTO_CLOSE int dir = open_sub(m, op->to, "tmp");
	if (dir >= 0)
		io_unlinkat(dir, op->tmp, 0);
	md_file_drop(m, op->file);
}

int md_flush(struct maildir *m)
{
	size_t n = m->n_ops;
	int err = m->broken ? m->broken : n ? md_write_intents(m, m->ops, n) : 0;

	if (!err && m->unsynced && syncfs(m->root) < 0)
		err = -errno;
	m->unsynced = false;
	m->n_ops = 0;
	for (size_t i = 0; i < n; i++) {
		int failed = 0;

		if (err)
			undo(m, &m->ops[i]);
		else
			failed = do_op(m, &m->ops[i]);
		if (failed && !m->deferred)
			m->deferred = failed;
		md_op_release(&m->ops[i]);
	}
	return err;
}

/* ---- Commit ----------------------------------------------------------------------------------- */

static int sync_box(struct maildir *m, struct md_box *box)
{
	bool there = box->dir && !box->gone && !box->structural; /* it went with its mail */
	int err = 0;

	for (int i = 0; i < 2 && !err && box->touched && there; i++) {
		MB_AUTO_CLOSE int fd = open_sub(m, box, i ? "new" : "cur");

		err = fd < 0 ? fd : io_fsync(fd);
	}
	if (!err)
		box->touched = false;
	return err;
}

int md_commit(struct maildir *m)
{
	struct md_box *box, *next;
	int err = md_flush(m), deferred;

	if (!err)
		err = md_settle(m, true);
	deferred = m->deferred;
	HASH_ITER (hh, m->boxes, box, next) {
		if (!err)
			err = sync_box(m, box);
	}
	md_mark_waiting(m);
	int unlisted = err ? 0 : md_subs_write(m);
	if (!err)
		err = md_write(m);
	m->deferred = 0;
	return err ? err : deferred ? deferred : unlisted;
}
