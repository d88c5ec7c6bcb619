/*
 * settle.c - files written in place in cur or new.
 *
 * Messages are immutable; a program that rewrites one makes a new message under the old name.  Before
 * the first write the old content is copied to staging/edit-GUID.COPY and the file is made sole owner of
 * its inode; when the file has settled, one record expunges the old message and adds the new one, and
 * the old content goes to deleted/.  A stop in between is resolved by recover_staging().
 */
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/dovecot.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static struct edit *edit_find(struct store *s, const struct copy *c)
{
	for (struct edit *e = s->edits; e; e = e->next)
		if (e->id == c->id && guid_equal(&e->guid, &c->guid))
			return e;
	return NULL;
}

bool edit_pending(struct store *s, const struct copy *c)
{
	return edit_find(s, c) != NULL;
}

static void edit_forget(struct store *s, struct edit *edit)
{
	for (struct edit **p = &s->edits; *p; p = &(*p)->next)
		if (*p == edit) {
			*p = edit->next;
			free(edit->kept);
			free(edit);
			return;
		}
}

static char *kept_name(const struct copy *c)
{
	char text[GUID_TEXT];

	return mb_xasprintf("edit-%s.%llx", guid_text(&c->guid, text), (unsigned long long)c->id);
}

static int keep_content(struct store *s, int from, const char *kept)
{
	MB_AUTO_FREE char *temp = mb_xasprintf("%s.part", kept);
	MB_AUTO_CLOSE int to = -1;
	int err;

	io_unlinkat(s->staging_fd, temp, 0);
	to = io_create_at(s->staging_fd, temp, O_WRONLY, 0600);
	if (to < 0)
		return to;
	err = io_copy(from, to, NULL);
	if (err >= 0)
		err = io_fdatasync(to);
	if (err >= 0)
		err = io_renameat(s->staging_fd, temp, s->staging_fd, kept);
	if (err < 0)
		io_unlinkat(s->staging_fd, temp, 0);
	return err < 0 ? err : io_fsync(s->staging_fd); /* the file is about to be overwritten */
}

static int begin_edit(struct store *s, const char *path, const struct entry *e)
{
	MB_AUTO_FREE char *kept = kept_name(&e->copy);
	MB_AUTO_CLOSE int from = at_open_regular(s->mail_fd, path, O_RDONLY);
	struct edit *edit;
	struct stat st;
	int err;

	if (from < 0)
		return from;
	err = keep_content(s, from, kept);
	if (err >= 0 && fstat(from, &st) < 0)
		err = -errno;
	if (err >= 0 && st.st_nlink > 1)
		err = file_own_inode(s, s->mail_fd, path, from, false);
	if (err < 0)
		return err;
	edit = mb_xcalloc(1, sizeof(*edit));
	edit->guid = e->copy.guid;
	edit->id = e->copy.id;
	edit->kept = MB_TAKE(kept);
	edit->next = s->edits;
	s->edits = edit;
	return 0;
}

static int find_message(struct store *s, struct index_txn *tx, const char *path,
			struct node_info *n, const char **ret_name, struct entry *ret)
{
	int err = tree_classify(tx, s, path, n, ret_name);

	if (err < 0)
		return err;
	return n->kind == NODE_MESSAGE ? entry_at(tx, &n->mailbox, *ret_name, n->in_new, ret)
				       : -ENOENT;
}

bool unsettled_has(const struct store *s, const char *path)
{
	for (const struct unsettled *u = s->unsettled; u; u = u->next)
		if (strcmp(u->path, path) == 0)
			return true;
	return false;
}

void unsettled_forget(struct store *s, const char *path)
{
	for (struct unsettled **p = &s->unsettled; *p; p = &(*p)->next)
		if (strcmp((*p)->path, path) == 0) {
			struct unsettled *u = *p;

			*p = u->next;
			free(u->path);
			free(u);
			return;
		}
}

static void unsettled_add(struct store *s, const char *path)
{
	struct unsettled *u;

	if (unsettled_has(s, path))
		return;
	u = mb_xcalloc(1, sizeof(*u));
	u->path = mb_xstrdup(path);
	u->next = s->unsettled;
	s->unsettled = u;
}

int store_before_write(struct store *s, const char *path, bool truncate)
{
	struct index_txn *tx;
	struct node_info n;
	struct entry e = {0};
	const char *name;
	int err;

	(void)truncate;
	store_lock(s);
	err = index_begin(s->index, false, &tx);
	if (err >= 0) {
		err = find_message(s, tx, path, &n, &name, &e);
		index_abort(tx);
	}
	if (err == 0 && !edit_find(s, &e.copy))
		err = begin_edit(s, path, &e);
	else if (err == -ENOENT) {
		if (n.kind == NODE_MESSAGE)
			unsettled_add(s, path);
		err = 0;
	}
	entry_release(&e);
	store_unlock(s);
	return err < 0 ? -mb_err_errno(err) : 0;
}

uint64_t store_edits_cut(struct store *s)
{
	return s->edits_cut;
}

int log_edit(struct posix_call *p, const struct entry *old, const struct stat *st)
{
	struct record r = {.type = REC_EDIT, .at = hlc_now(&p->s->clock), .origin = *p->origin};
	struct mailbox m = {0};
	struct entry e = {0};
	int err = index_get_mailbox(p->tx, &old->copy.place.mailbox, &m, NULL);

	if (err < 0)
		return err;
	r.old_guid = old->copy.guid;
	r.old_id = old->copy.id;
	copy_clone(&r.copy, &old->copy);
	r.copy.guid = guid_new();
	r.copy.id = 0;
	r.copy.place.uid = m.uid_next;
	r.copy.place.at = r.at;
	r.copy.dead = r.copy.dead_at = STAMP_NONE;
	r.copy.size = (uint64_t)st->st_size;
	memset(&r.copy.digest, 0, sizeof(r.copy.digest));
	r.old_name = mb_xasprintf("%s/%s", old->in_new ? "new" : "cur", old->file);
	r.new_name = mb_xstrdup(r.old_name);
	r.ordinal = ++p->s->ordinal;
	err = change_record(p->s, p->tx, &r);
	if (err >= 0)
		err = index_get_entry(p->tx, &r.copy.guid, 0, &e);
	if (err >= 0) {
		e.ino = st->st_ino;
		e.mtime_ns = clock_timespec_ns(&st->st_mtim);
		err = index_put_entry(p->tx, &e);
	}
	entry_release(&e);
	mailbox_release(&m);
	record_release(&r);
	return err;
}

/* The content before the edit goes where expunged bodies are kept. */
static int kept_to_deleted(struct store *s, const char *kept, const struct entry *old)
{
	char text[GUID_TEXT], guid[GUID_TEXT];
	const char *file = old->file ? old->file : old->copy.place.base;
	int64_t now = clock_wall_ns() / 1000000, born = stamp_ms(&old->copy.place.at);
	int err = io_mkdirat(s->deleted_fd, guid_text(&old->copy.place.mailbox, text), 0700);

	if (err < 0 && err != -EEXIST)
		return err;
	err = -EEXIST;
	for (int64_t ms = now > born ? now : born + 1; err == -EEXIST; ms++) {
		MB_AUTO_FREE char *name = mb_xasprintf(
			"%s/%s.%llx.%lld%s,%.180s", text, guid_text(&old->copy.guid, guid),
			(unsigned long long)old->copy.id, (long long)ms,
			old->state == ENTRY_DAMAGED ? "!" : "", file ? file : "");

		err = io_renameat2(s->staging_fd, kept, s->deleted_fd, name, RENAME_NOREPLACE);
	}
	return err;
}

static bool same_content(struct store *s, int fd, const char *kept)
{
	MB_AUTO_CLOSE int old = at_open_regular(s->staging_fd, kept, O_RDONLY);
	struct digest a, b;
	uint64_t na, nb;

	return old >= 0 && digest_fd(fd, &a, &na) >= 0 && digest_fd(old, &b, &nb) >= 0 &&
	       na == nb && digest_equal(&a, &b);
}

static int note_stat(struct index_txn *tx, struct entry *e, const struct stat *st)
{
	e->ino = st->st_ino;
	e->mtime_ns = clock_timespec_ns(&st->st_mtim);
	e->ctime_ns = 0;
	return index_put_entry(tx, e);
}

/* It was written to after the edit was settled: by whoever was in the middle of it. */
static int finish_rest(struct posix_call *p, int fd, struct entry *e, const struct stat *st)
{
	bool same_size = (uint64_t)st->st_size == e->copy.size;
	struct digest d;
	int err;

	if (e->state != ENTRY_PRESENT || !e->mtime_ns ||
	    (same_size && clock_timespec_ns(&st->st_mtim) == e->mtime_ns))
		return 0;
	if (!same_size || !digest_known(&e->copy.digest))
		return log_edit(p, e, st);
	err = digest_fd(fd, &d, NULL);
	if (err < 0)
		return err;
	return digest_equal(&d, &e->copy.digest) ? note_stat(p->tx, e, st) : log_edit(p, e, st);
}

static int finish_edit(struct posix_call *p, const char *path, struct entry *e)
{
	MB_AUTO_CLOSE int fd = at_open_regular(p->s->mail_fd, path, O_RDONLY);
	struct edit *edit = edit_find(p->s, &e->copy);
	struct stat st;
	int err = 0;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!edit)
		return finish_rest(p, fd, e, &st);
	if (same_content(p->s, fd, edit->kept)) {
		err = note_stat(p->tx, e, &st); /* it may have an inode of its own now */
		io_unlinkat(p->s->staging_fd, edit->kept, 0);
	} else {
		err = log_edit(p, e, &st);
		if (err >= 0 && kept_to_deleted(p->s, edit->kept, e) < 0)
			mb_msg(MB_WARNING, "content before an edit stays in staging/%s",
			       edit->kept);
	}
	if (err >= 0)
		edit_forget(p->s, edit);
	return err;
}

int settle_locked(struct store *s, const char *path, const struct origin *origin)
{
	struct posix_call p = {.s = s, .origin = origin};
	struct node_info n;
	struct entry e = {0};
	const char *name;
	int err = change_begin_with(s, ROOM_ALL, &p.tx);

	unsettled_forget(s, path);
	if (err < 0)
		return err;
	err = find_message(s, p.tx, path, &n, &name, &e);
	if (err == 0)
		err = finish_edit(&p, path, &e);
	else if (err == -ENOENT && n.kind == NODE_MESSAGE)
		err = publish(&p, path, &n, name, NULL, 0, NULL);
	else if (err == -ENOENT)
		err = 0;
	entry_release(&e);
	return change_end(s, p.tx, err);
}

int store_settled(struct store *s, const char *path, const struct origin *origin)
{
	int err;

	if (!at_path_ok(path))
		return -EINVAL;
	store_lock(s);
	err = settle_locked(s, path, origin);
	if (err >= 0)
		err = subscriptions_noticed(s, path, origin);
	if (err >= 0)
		err = keywords_noticed(s, path, origin);
	if (err >= 0)
		uidlist_noticed(s, path, origin);
	store_unlock(s);
	return err < 0 ? -mb_err_errno(err) : 0;
}

/* ---- after a stop ---- */

/* Is the file now a shorter prefix of what was kept, or zeros where that had text?  Then it was never
 * finished. */
static bool is_damage(struct store *s, int fd, const char *kept)
{
	MB_AUTO_CLOSE int old = at_open_regular(s->staging_fd, kept, O_RDONLY);
	uint8_t a[65536], b[65536];
	bool zeros = true, prefix = true;
	off_t at = 0;
	ssize_t n;

	if (old < 0)
		return false;
	while ((n = io_pread_full(fd, a, sizeof(a), at)) > 0) {
		ssize_t m = io_pread_full(old, b, sizeof(b), at);

		prefix = prefix && m >= n && memcmp(a, b, (size_t)n) == 0;
		for (ssize_t i = 0; i < n && zeros; i++)
			zeros = a[i] == 0;
		if (!prefix && !zeros)
			return false;
		at += n;
	}
	return n == 0;
}

static int parse_kept(const char *name, struct guid *guid, uint64_t *id)
{
	char text[GUID_TEXT];
	char *end;

	if (strncmp(name, "edit-", 5) != 0 || strlen(name) < 5 + GUID_TEXT)
		return -EINVAL;
	memcpy(text, name + 5, GUID_TEXT - 1);
	text[GUID_TEXT - 1] = 0;
	if (!guid_parse(text, guid) || name[5 + GUID_TEXT - 1] != '.')
		return -EINVAL;
	*id = strtoull(name + 5 + GUID_TEXT, &end, 16);
	return *end ? -EINVAL : 0;
}

/* The content before is put back under the file's name, with the times and mode that it had. */
static int restore_kept(struct store *s, const char *path, const char *kept, const struct entry *e,
			int damaged)
{
	MB_AUTO_CLOSE int dir = -1, fd = at_open_regular(s->staging_fd, kept, O_RDONLY);
	int64_t at_ns = e->mtime_ns ? e->mtime_ns : e->copy.received_ns;
	struct timespec t[2] = {{.tv_nsec = UTIME_OMIT},
				{.tv_sec = at_ns / 1000000000, .tv_nsec = at_ns % 1000000000}};
	const char *name;
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(damaged, &st) == 0 &&
	    (fchmod(fd, st.st_mode & 07777) < 0 || fchown(fd, st.st_uid, st.st_gid) < 0))
		mb_msg(MB_WARNING, "owner or mode of a restored message not set path=%s", path);
	io_utimens(fd, t);
	dir = at_open_parent(s->mail_fd, path, &name);
	return dir < 0 ? dir : io_renameat(s->staging_fd, kept, dir, name);
}

/* A name that is none of ours, or whose message nobody knows: what it holds is not thrown away. */
static int kept_aside(struct store *s, const char *kept)
{
	MB_AUTO_FREE char *to = mb_xasprintf("damaged/%.240s", kept);
	int err = io_mkdirat(s->deleted_fd, "damaged", 0700);

	if (err < 0 && err != -EEXIST)
		return err;
	return io_renameat(s->staging_fd, kept, s->deleted_fd, to);
}

static int resume_edit(struct store *s, const char *path, const char *kept, const struct copy *c)
{
	struct origin origin = {.comm = "recovery"};
	struct edit *edit = mb_xcalloc(1, sizeof(*edit));

	*edit = (struct edit){s->edits, c->guid, c->id, mb_xstrdup(kept)};
	s->edits = edit;
	return settle_locked(s, path, &origin);
}

/* One edit that a stop interrupted: finished, or undone when the file was left half written. */
static int recover_edit(struct store *s, const char *kept)
{
	MB_AUTO_FREE char *path = NULL;
	MB_AUTO_CLOSE int fd = -1;
	struct index_txn *tx;
	struct entry e = {0};
	struct guid guid;
	uint64_t id;
	int err;

	if (parse_kept(kept, &guid, &id) < 0)
		return kept_aside(s, kept);
	err = index_begin(s->index, false, &tx);
	if (err < 0)
		return err;
	err = index_get_entry(tx, &guid, id, &e);
	if (err >= 0 && copy_alive(&e.copy))
		path = entry_path(tx, &e);
	index_abort(tx);
	if (path)
		fd = at_open_regular(s->mail_fd, path, O_RDONLY);
	if (err < 0)
		err = err == -ENOENT ? kept_aside(s, kept) : err;
	else if (fd < 0) /* expunged or edited already: its record is in; keep the body */
		err = kept_to_deleted(s, kept, &e);
	else if (!same_content(s, fd, kept) && is_damage(s, fd, kept))
		err = restore_kept(s, path, kept, &e, fd);
	else
		err = resume_edit(s, path, kept, &e.copy);
	entry_release(&e);
	return err;
}

struct names {
	char **v; /* owned */
	size_t n, cap;
};

static int collect_name(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	struct names *names = arg;

	(void)type;
	(void)ino;
	MB_GROW(names->v, names->cap, names->n + 1);
	names->v[names->n++] = mb_xstrdup(name);
	return 0;
}

/* ---- folders that were being removed ---- */

struct salvage {
	struct store *s;
	int from, inbox; /* directories */
};

/* Mail that came while its folder was taken away: it goes to INBOX, where somebody sees it. */
static int salvage_one(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	struct salvage *v = arg;
	char base[FNAME_MAX + 1];
	struct stat st;
	int err;

	if (!fname_is_message(name) || at_stat(v->from, name, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	err = io_renameat2(v->from, name, v->inbox, name, RENAME_NOREPLACE);
	if (err == -EEXIST) {
		fname_new_base((uint64_t)st.st_size, base);
		err = io_renameat2(v->from, name, v->inbox, base, RENAME_NOREPLACE);
	}
	mb_msg(MB_WARNING, "mail that came into a folder while it was deleted is in INBOX");
	v->s->rescan = true;
	return err;
}

static int salvage(struct store *s, int dir, const char *sub)
{
	MB_AUTO_CLOSE int from = at_open(dir, sub, O_RDONLY | O_DIRECTORY, 0), inbox = -1;
	struct salvage v = {.s = s, .from = from};

	if (from < 0)
		return from == -ENOENT || from == -ENOTDIR ? 0 : from;
	v.inbox = inbox = at_open(s->mail_fd, "new", O_RDONLY | O_DIRECTORY, 0);
	return inbox < 0 ? inbox : at_list(from, salvage_one, &v);
}

/* A whole folder, or its cur/ or new/ alone. */
static int recover_trash(struct store *s, const char *name)
{
	MB_AUTO_CLOSE int dir = at_open(s->staging_fd, name, O_RDONLY | O_DIRECTORY, 0);
	struct stat st;
	bool whole = dir >= 0 && (at_stat(dir, "cur", &st) == 0 || at_stat(dir, "new", &st) == 0 ||
				  at_stat(dir, "tmp", &st) == 0);
	int err = dir < 0 ? 0 : salvage(s, dir, whole ? "cur" : "");

	if (err >= 0 && whole)
		err = salvage(s, dir, "new");
	return err < 0 ? 0
		       : at_remove_tree(s->staging_fd, name); /* else it stays for the next time */
}

/* What a stop left in staging/: edits are finished or undone, everything else goes. */
int recover_staging(struct store *s)
{
	struct names names = {0};
	int err = at_list(s->staging_fd, collect_name, &names);

	for (size_t i = 0; i < names.n; i++) {
		const char *name = names.v[i];
		size_t len = strlen(name);
		bool part = len > 5 && strcmp(name + len - 5, ".part") == 0;

		if (err >= 0 && strncmp(name, "edit-", 5) == 0 && !part)
			err = recover_edit(s, name);
		else if (err >= 0 && strncmp(name, TRASH_PREFIX, strlen(TRASH_PREFIX)) == 0)
			err = recover_trash(s, name);
		else if (err >= 0)
			err = at_remove_tree(s->staging_fd, name);
		free(names.v[i]);
	}
	free(names.v);
	return err;
}
