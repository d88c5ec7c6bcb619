/*
 * mend.c - damaged files: the mark, and the right body in their place.
 *
 * A damaged file stays under its name until the right body lies in staging/.  Then it gets a link in
 * deleted/damaged/, and both change places in one step (RENAME_EXCHANGE): no reader ever finds nothing.
 * A stop before the exchange leaves a spare link of the damaged file; a stop after it leaves the right
 * body without its record, which the next scan writes (scan-judge.c).  A program that renames or
 * replaces the file in between is noticed by the inode that comes out, and the exchange is taken back.
 */
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>

/* The state of the body has changed: record, and what stat() says of the file now. */
static int log_body(struct store *s, struct index_txn *tx, const struct entry *e,
		    enum record_type type, const struct origin *origin, const struct stat *st)
{
	struct record r = {.type = type, .origin = *origin};
	struct entry now = {0};
	int err;

	copy_clone(&r.copy, &e->copy);
	r.new_name = mb_xasprintf("%s/%s", e->in_new ? "new" : "cur", e->file);
	err = change_record(s, tx, &r);
	record_release(&r);
	if (err >= 0)
		err = index_get_entry(tx, &e->copy.guid, e->copy.id, &now);
	if (err < 0)
		return err;
	now.ino = st->st_ino;
	now.mtime_ns = clock_timespec_ns(&st->st_mtim);
	now.ctime_ns = 0;
	err = index_put_entry(tx, &now);
	entry_release(&now);
	return err;
}

int log_damaged(struct store *s, struct index_txn *tx, const struct entry *e,
		const struct origin *origin, const struct stat *st)
{
	return log_body(s, tx, e, REC_DAMAGED, origin, st);
}

/* ---- where the right body comes from ---- */

struct find_body {
	struct store *s;
	struct index_txn *tx;
	const struct entry *e;
	const char *staged; /* the name that it gets in staging/ */
	int result;	    /* -ENOENT until it is there */
};

static int link_good(struct entry *other, void *arg)
{
	struct find_body *f = arg;
	MB_AUTO_FREE char *path = NULL;
	MB_AUTO_CLOSE int from = -1;
	const char *name;

	if (other->state != ENTRY_PRESENT || other->copy.size != f->e->copy.size)
		return 0;
	path = entry_path(f->tx, other);
	from = path ? at_open_parent(f->s->mail_fd, path, &name) : -1;
	if (from < 0)
		return 0;
	f->result = io_linkat(from, name, f->s->staging_fd, f->staged);
	return f->result >= 0;
}

/* Another copy of the message, or another message with these bytes, is linked into staging/. */
static int stage_known(struct find_body *f)
{
	const struct copy *c = &f->e->copy;
	struct message m = {0};
	int err = index_get_message(f->tx, &c->guid, &m);

	for (size_t i = 0; i < m.n && err >= 0 && f->result < 0; i++) {
		struct entry other = {0};

		if (index_get_entry(f->tx, &c->guid, m.copies[i].id, &other) == 0)
			link_good(&other, f);
		entry_release(&other);
	}
	message_release(&m);
	if (err >= 0 && f->result < 0 && digest_known(&c->digest))
		err = index_by_digest(f->tx, &c->digest, link_good, f);
	return err < 0 ? err : f->result < 0 ? -ENOENT : 0;
}

/* The size and, when it is known, the digest are what was stored. */
static int check_body(struct store *s, const char *staged, const struct copy *c)
{
	MB_AUTO_CLOSE int fd = at_open_regular(s->staging_fd, staged, O_RDONLY);
	struct digest d;
	uint64_t size;
	int err = fd < 0 ? fd : digest_fd(fd, &d, &size);

	if (err < 0)
		return err;
	return size == c->size && (!digest_known(&c->digest) || digest_equal(&d, &c->digest))
		       ? 0
		       : MB_E_DAMAGED;
}

/* ---- the exchange ---- */

struct mend {
	struct store *s;
	struct index_txn *tx;
	const struct entry *e;
	const char *staged;
	int dir; /* owned */
	const char *name;
	struct stat was;			   /* of the damaged file */
	char kept[FNAME_MAX + sizeof("damaged/")]; /* in deleted/ */
};

/* Is it still the file that was judged, and does nobody write it now? */
static int check_file(struct mend *m)
{
	int err = at_stat(m->dir, m->name, &m->was);

	if (err >= 0 && S_ISREG(m->was.st_mode) && m->was.st_ino == m->e->ino &&
	    clock_timespec_ns(&m->was.st_mtim) == m->e->mtime_ns)
		return clock_wall_ns() - clock_timespec_ns(&m->was.st_mtim) < SCAN_YOUNG_NS ? -EBUSY
											    : 0;
	if (err < 0 && err != -ENOENT)
		return err;
	m->s->rescan = true;
	return MB_E_STALE;
}

static int keep_damaged(struct mend *m)
{
	char text[GUID_TEXT];
	int64_t ms = clock_wall_ns() / 1000000;
	int err = io_mkdirat(m->s->deleted_fd, "damaged", 0700);

	if (err < 0 && err != -EEXIST)
		return err;
	err = -EEXIST;
	for (int tries = 0; err == -EEXIST && tries < 1000; tries++) {
		snprintf(m->kept, sizeof(m->kept), "damaged/%s.%lld,%.180s",
			 guid_text(&m->e->copy.guid, text), (long long)ms + tries, m->e->file);
		err = io_linkat(m->dir, m->name, m->s->deleted_fd, m->kept);
	}
	return err;
}

static int swap(struct mend *m)
{
	return io_renameat2(m->s->staging_fd, m->staged, m->dir, m->name, RENAME_EXCHANGE);
}

/* What came out is not the damaged file: a program was quicker, and its file goes back. */
static int swap_back(struct mend *m)
{
	if (swap(m) >= 0) {
		m->s->rescan = true;
		return MB_E_STALE;
	}
	mb_msg(MB_ERROR, "a file that a program changed meanwhile is in deleted/%s name=%s",
	       m->kept, m->name);
	io_renameat(m->s->staging_fd, m->staged, m->s->deleted_fd, m->kept);
	return -EIO;
}

static int exchange(struct mend *m, struct stat *ret)
{
	struct stat out;
	int err = swap(m);

	if (err == -EINVAL || err == -ENOSYS) /* a file system that cannot */
		err = io_renameat(m->s->staging_fd, m->staged, m->dir, m->name);
	else if (err >= 0 &&
		 (at_stat(m->s->staging_fd, m->staged, &out) < 0 || out.st_ino != m->was.st_ino))
		err = swap_back(m);
	if (err == -ENOENT) {
		m->s->rescan = true;
		err = MB_E_STALE;
	}
	return err < 0 ? err : at_stat(m->dir, m->name, ret);
}

static int run(struct mend *m, const struct origin *origin)
{
	uint64_t appended = m->s->appended;
	struct stat now;
	int err = check_file(m);

	if (err >= 0)
		err = file_give(m->s, m->s->staging_fd, m->staged);
	if (err >= 0)
		err = keep_damaged(m);
	if (err < 0)
		return err;
	err = exchange(m, &now);
	if (err >= 0) {
		err = log_body(m->s, m->tx, m->e, REC_FOUND, origin, &now);
		if (err >= 0 || m->s->appended != appended || swap(m) < 0)
			return err;
	}
	if (err != -EIO)
		io_unlinkat(m->s->deleted_fd, m->kept, 0);
	return err;
}

/* Links of the damaged file are other copies of the message. */
static int mend_siblings(struct store *s, struct index_txn *tx, const struct entry *e,
			 const struct origin *origin)
{
	struct message m = {0};
	int err = index_get_message(tx, &e->copy.guid, &m);

	for (size_t i = 0; i < m.n && err >= 0; i++) {
		struct entry other = {0};

		if (index_get_entry(tx, &e->copy.guid, m.copies[i].id, &other) == 0 &&
		    copy_alive(&other.copy) && other.state == ENTRY_DAMAGED)
			err = mend_copy(s, tx, &other, NULL, origin);
		if (err == -EBUSY || err == -ENOENT || err == MB_E_STALE || err == MB_E_DAMAGED)
			err = 0; /* another time */
		entry_release(&other);
	}
	message_release(&m);
	return err;
}

int mend_copy(struct store *s, struct index_txn *tx, const struct entry *e, const char *staged,
	      const struct origin *origin)
{
	MB_AUTO_FREE char *path = entry_path(tx, e);
	MB_AUTO_FREE char *own =
		staged ? NULL : mb_xasprintf("mend-%016llx", (unsigned long long)random_u64());
	struct mend m = {.s = s, .tx = tx, .e = e, .staged = staged ? staged : own, .dir = -1};
	struct find_body f = {s, tx, e, m.staged, staged ? 0 : -ENOENT};
	int err = staged ? 0 : stage_known(&f);

	if (err >= 0)
		err = check_body(s, m.staged, &e->copy);
	if (err == MB_E_DAMAGED && own)
		err = -ENOENT; /* ours is no better: the caller may have one */
	if (err >= 0 && path)
		err = m.dir = at_open_parent(s->mail_fd, path, &m.name);
	if (err >= 0)
		err = path ? run(&m, origin) : MB_E_STALE;
	if (err >= 0)
		change_event(s, EVENT_CHANGED, path, NULL, false);
	if (f.result >= 0 && (err >= 0 || own)) /* the damaged one, or a link that was not needed */
		io_unlinkat(s->staging_fd, m.staged, 0);
	if (m.dir >= 0)
		close(m.dir);
	return err >= 0 && staged ? mend_siblings(s, tx, e, origin) : err;
}
