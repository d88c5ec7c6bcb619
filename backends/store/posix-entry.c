/*
 * posix-entry.c - from file names to entries, and the records that single messages get: published,
 * expunged.  The verbs are in posix.c.
 */
#include "backends/store/posix-private.h"
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include "backends/store/dovecot.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* ---- finding the message at a name ---- */

struct find_name {
	const char *name;
	bool in_new;
	struct entry *found;
	bool any;
};

static int find_name_one(struct entry *e, void *arg)
{
	struct find_name *f = arg;

	if (!e->file || strcmp(e->file, f->name) != 0 || e->in_new != f->in_new)
		return 0;
	*f->found = *e;
	memset(e, 0, sizeof(*e));
	f->any = true;
	return 1;
}

int entry_at(struct index_txn *tx, const struct guid *mailbox, const char *name, bool in_new,
	     struct entry *ret)
{
	struct find_name f = {.name = name, .in_new = in_new, .found = ret};
	int err = index_by_name(tx, mailbox, name, find_name_one, &f);

	return err < 0 ? err : f.any ? 0 : -ENOENT;
}

int posix_entry_at(struct index_txn *tx, const struct node_info *n, const char *name,
		   struct entry *ret)
{
	return n->kind == NODE_MESSAGE ? entry_at(tx, &n->mailbox, name, n->in_new, ret) : -ENOENT;
}

/* ---- records ---- */

/* What stat() says of the file goes to the entry, so that a scan knows it again. */
static void note_stat(struct entry *e, const struct stat *st)
{
	e->ino = st->st_ino;
	e->mtime_ns = clock_timespec_ns(&st->st_mtim);
	e->ctime_ns = clock_timespec_ns(&st->st_ctim);
}

int posix_put_stat(struct index_txn *tx, const struct guid *guid, uint64_t id,
		   const struct stat *st)
{
	struct entry e = {0};
	int err = index_get_entry(tx, guid, id, &e);

	if (err < 0)
		return err;
	note_stat(&e, st);
	err = index_put_entry(tx, &e);
	entry_release(&e);
	return err;
}

int posix_record(struct posix_call *p, struct record *r, const struct stat *st)
{
	int err;

	if (p->later)
		return later_record(p->s, r, p->later, st);
	err = change_record(p->s, p->tx, r);
	return err < 0 || !st ? err : posix_put_stat(p->tx, &r->copy.guid, r->copy.id, st);
}

uint32_t posix_next_uid(struct index_txn *tx, const struct guid *mailbox)
{
	struct mailbox m = {0};
	uint32_t uid = 1;

	if (index_get_mailbox(tx, mailbox, &m, NULL) == 0 && m.uid_next)
		uid = m.uid_next;
	mailbox_release(&m);
	return uid;
}

char *posix_sub_name(bool in_new, const char *name)
{
	return mb_xasprintf("%s/%s", in_new ? "new" : "cur", name);
}

/* A living copy of this message whose file is the same inode: hard links share ordinal and body. */
static bool same_file_copy(struct index_txn *tx, const struct guid *guid, uint64_t ino,
			   struct entry *ret)
{
	struct message m = {0};
	bool found = false;

	if (index_get_message(tx, guid, &m) < 0)
		return false;
	for (size_t i = 0; i < m.n && !found; i++) {
		struct entry e = {0};

		if (index_get_entry(tx, guid, m.copies[i].id, &e) == 0 && e.ino == ino &&
		    copy_alive(&e.copy) && e.ordinal) {
			*ret = e;
			found = true;
		} else {
			entry_release(&e);
		}
	}
	message_release(&m);
	return found;
}

int publish(struct posix_call *p, const char *path, const struct node_info *n, const char *name,
	    const struct guid *guid, uint64_t id, uint64_t *ret_id)
{
	struct record r = {.type = REC_ARRIVE, .at = hlc_now(&p->s->clock), .origin = *p->origin};
	struct fname f, none = {0};
	struct stat st = {0};
	int err = 0;

	if (p->seen)
		st = *p->seen;
	else
		err = at_stat(p->s->mail_fd, path, &st);
	if (err < 0)
		return err;
	if (!S_ISREG(st.st_mode))
		return 0; /* a link, a FIFO, a directory: never a message */
	fname_parse(name, &f);
	fname_parse("x", &none);
	r.copy.guid = guid ? *guid : guid_new();
	r.copy.id = id;
	r.copy.place.mailbox = n->mailbox;
	r.copy.place.uid = later_uid_next(p->s, &n->mailbox, posix_next_uid(p->tx, &n->mailbox));
	r.copy.place.at = r.at;
	r.copy.place.base = mb_xstrndup(name, f.base_len);
	r.copy.size = (uint64_t)st.st_size;
	r.copy.received_ns = clock_timespec_ns(&st.st_mtim);
	r.copy.recent = n->in_new;
	r.new_name = posix_sub_name(n->in_new, name);
	struct entry twin = {0};
	bool damaged = guid && same_file_copy(p->tx, guid, st.st_ino, &twin) &&
		       twin.state == ENTRY_DAMAGED;

	r.ordinal = twin.ordinal ? twin.ordinal : ++p->s->ordinal;
	if (damaged) { /* what it should be */
		r.copy.size = twin.copy.size;
		r.copy.digest = twin.copy.digest;
	}
	entry_release(&twin);
	if (p->uidlist_dir)
		uidlist_given(p->s, p->tx, p->uidlist_dir, name, &r.copy);
	struct entry e = {.copy = r.copy};
	flags_from_rename(p->s, p->tx, &e, &none, &f, r.at);
	r.copy = e.copy;
	if (ret_id)
		*ret_id = r.copy.id;
	err = posix_record(p, &r, &st);
	if (err >= 0 && damaged) {
		struct entry now = {.copy = r.copy, .file = (char *)(uintptr_t)name};

		now.in_new = n->in_new;
		err = log_damaged(p->s, p->tx, &now, p->origin, &st);
	}
	record_release(&r);
	return err;
}

int posix_log_expunge(struct posix_call *p, struct entry *e, const struct guid *via,
		      struct stamp via_seen)
{
	struct record r = {.type = REC_EXPUNGE, .at = hlc_now(&p->s->clock), .origin = *p->origin};
	int err;

	copy_clone(&r.copy, &e->copy);
	r.copy.dead = e->copy.place.at;
	r.copy.dead_at = r.at;
	r.copy.via = via ? *via : GUID_ZERO; /* it may have one of an expunge that was void */
	r.copy.via_seen = via_seen;
	if (e->file)
		r.old_name = posix_sub_name(e->in_new, e->file);
	err = posix_record(p, &r, NULL);
	record_release(&r);
	return err;
}

/* Copies of this message that are hard links: whoever writes to one gets an inode of his own first. */
static nlink_t n_linked_copies(struct index_txn *tx, const struct guid *guid, uint64_t ino)
{
	struct message m = {0};
	nlink_t names = 0;

	if (index_get_message(tx, guid, &m) < 0)
		return 0;
	for (size_t i = 0; i < m.n; i++) {
		struct entry e = {0};

		if (index_get_entry(tx, guid, m.copies[i].id, &e) == 0 && e.ino == ino &&
		    copy_alive(&e.copy))
			names++;
		entry_release(&e);
	}
	message_release(&m);
	return names;
}

void posix_part(struct posix_call *p, const struct entry *e, const char *kept)
{
	struct stat st;

	if (kept && fstatat(p->s->deleted_fd, kept, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_nlink > 1 && st.st_nlink > 1 + n_linked_copies(p->tx, &e->copy.guid, st.st_ino))
		file_part_deleted(p->s, kept);
}

/* The record did not get into the log: the body goes back, so that the caller's error is true. */
void posix_undelete(struct posix_call *p, uint64_t appended, char *kept, const char *path)
{
	if (kept && p->s->appended == appended && file_undelete(p->s, kept, path) < 0)
		change_stays(p->s); /* in deleted/: a scan logs the expunge */
}

int entry_expunge(struct posix_call *p, struct entry *e, const struct guid *via,
		  struct stamp via_seen)
{
	MB_AUTO_FREE char *path = entry_path(p->tx, e), *kept = NULL;
	uint64_t appended = p->s->appended;
	int err = path && entry_has_file(e) ? file_to_deleted(p->s, path, e, false, &kept) : 0;

	if (err < 0 && err != -ENOENT && err != -ENOTDIR)
		return err;
	err = posix_log_expunge(p, e, via, via_seen);
	if (err < 0)
		posix_undelete(p, appended, kept, path);
	else
		posix_part(p, e, kept);
	return err;
}
