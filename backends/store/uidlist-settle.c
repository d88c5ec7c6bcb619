/*
 * uidlist-settle.c - a dovecot-uidlist gets what it lacks: before a message of a peer is published its
 * line is there, and before a peer is told of a message Dovecot has its UID.
 *
 * All of it under Dovecot's own lock, after what Dovecot wrote meanwhile has been taken (uidlist.c).
 * Killed after the line and before the message, the list has a line without a file: Dovecot drops it,
 * its next UID stays above, and the message comes under a higher one.  Lists that are not there:
 * uidlist-begin.c.
 */
#include "backends/store/uidlist.h"
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* ---- writing ---- */

static char *list_path(const char *dir)
{
	return path_join(dir, NULL, UIDLIST_NAME);
}

/* Lines behind the last one; the file ends as it did when that fails. */
static int append(struct store *s, const char *path, const struct buf *lines)
{
	MB_AUTO_CLOSE int fd = at_open(s->mail_fd, path, O_WRONLY | O_APPEND, 0);
	struct stat st;
	int err;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	err = io_write_all(fd, lines->data, lines->len);
	if (err < 0)
		io_ftruncate(fd, st.st_size);
	change_event(s, EVENT_CHANGED, path, NULL, false);
	return err;
}

static int sync_list(struct store *s, const char *path)
{
	MB_AUTO_CLOSE int fd = at_open(s->mail_fd, path, O_RDONLY, 0);

	return fd == -ENOENT ? 0 : fd < 0 ? fd : io_fdatasync(fd);
}

int uidlist_forget(struct store *s, int err)
{
	uidlist_cache_free(s->uidlist);
	s->uidlist = NULL;
	return err;
}

int uidlist_save(struct store *s, struct uidlist_cache *c, size_t from)
{
	MB_AUTO_FREE char *path = list_path(c->dir), *before = NULL;
	BUF_AUTO struct buf text = BUF_INIT;
	int err;

	if (from != SIZE_MAX && c->list.whole) {
		for (size_t i = from; i < c->list.n; i++)
			uidlist_write_line(c->list.lines[i], &text);
		err = append(s, path, &text);
		if (s->uidlist_unsynced && strcmp(s->uidlist_unsynced, path) != 0)
			before = MB_TAKE(s->uidlist_unsynced);
		if (!s->uidlist_unsynced)
			s->uidlist_unsynced = mb_xstrdup(path);
		if (before && err >= 0)
			err = sync_list(s, before);
	} else {
		uidlist_write(&c->list, &text);
		err = dovecot_file_replace(s, path, text.data, text.len);
		c->list.whole = err >= 0;
	}
	if (err >= 0)
		err = file_mark_of(s, path, &c->mark);
	return err < 0 ? uidlist_forget(s, err) : err;
}

int uidlist_flush(struct store *s)
{
	MB_AUTO_FREE char *path = NULL;

	store_lock(s);
	path = MB_TAKE(s->uidlist_unsynced);
	store_unlock(s);
	return path ? sync_list(s, path) : 0;
}

/* ---- one arrival ---- */

int uidlist_note_written(struct index_txn *tx, const struct guid *mailbox,
			 const struct uidlist_cache *c)
{
	struct uidlist_note note;
	int err = uidlist_get_note(tx, mailbox, &note);

	note.mark = c->mark;
	note.uid_validity = c->list.uid_validity;
	note.given = c->list.uid_next;
	return err < 0 ? err : uidlist_put_note(tx, mailbox, &note);
}

/* Was this UID another message's?  What we wrote since Dovecot wrote comes in no order. */
static bool is_used(const struct uidlist_cache *c, const char *was, const char *file, uint32_t uid)
{
	const struct uidlist_line *line = uidlist_by_uid(&c->list, uid);
	const char *name = line ? uidlist_name(line) : NULL;

	if (c->fresh)
		return false;
	if (line)
		return !uidlist_same_name(name, file) && !(was && uidlist_same_name(name, was));
	return uid < c->given;
}

int uidlist_before(struct store *s, struct index_txn *tx, bool writable, const struct guid *mailbox,
		   const char *dir, const char *was, const char *file, uint32_t *uid)
{
	const struct uidlist_line *line;
	struct uidlist_cache *c;
	uint32_t next;
	int err;

	if (!s->uidlist_held || strcmp(s->uidlist_held, dir) != 0)
		return 0;
	err = uidlist_load(s, dir, &c);
	if (err < 0)
		return 0; /* broken: Dovecot makes it anew */
	line = uidlist_find(&c->list, file);
	if (line && uidlist_uid(line) == *uid)
		return 0;
	if (is_used(c, was, file, *uid)) {
		err = mailbox_next_uid(tx, mailbox, &next);
		if (err < 0)
			return err;
		*uid = next > c->list.uid_next ? next : c->list.uid_next;
	}
	size_t from = c->list.n;

	uidlist_set(&c->list, file, *uid);
	err = uidlist_save(s, c, from);
	if (err >= 0) {
		c->followed = true;
		c->unnoted = !writable;
	}
	return err >= 0 && writable ? uidlist_note_written(tx, mailbox, c) : err;
}

/* What Dovecot wrote is taken, or replaced.  The lock on the list is held. */
static int follow_or_take_over(struct store *s, struct index_txn *tx, const struct guid *mailbox,
			       const char *dir)
{
	static const struct origin origin = {.comm = "scan"};
	int err = uidlist_follow(s, tx, mailbox, dir, &origin);

	if (err >= 0 && s->uidlist && s->uidlist->newcomer && strcmp(s->uidlist->dir, dir) == 0)
		err = uidlist_take_over(s, tx, mailbox, s->uidlist);
	if (err >= 0 && s->uidlist && strcmp(s->uidlist->dir, dir) == 0)
		err = uidlist_enter_anew(s, tx, mailbox, s->uidlist);
	return err;
}

/* ---- holding the lock around a put ---- */

static bool is_placed(const struct record *r)
{
	return r->type >= REC_ARRIVE && r->type <= REC_COPY_STATE && r->type != REC_ALIAS &&
	       copy_alive(&r->copy);
}

static bool same_base(const struct place *a, const struct place *b)
{
	return !b->base || (a->base && strcmp(a->base, b->base) == 0);
}

/* Directory of the mailbox whose list this put has to change, or NULL.  *ret_renumber: the message is
 * there under another UID. */
static char *list_of_put(struct store *s, struct index_txn *tx, const struct record *want,
			 bool *ret_renumber)
{
	struct guid mailbox = want->copy.place.mailbox, g = index_resolve(tx, want->copy.guid);
	MB_AUTO_FREE char *dir = NULL, *path = NULL;
	struct entry e = {0};
	struct stat st;
	bool there, lined;

	if (index_resolve_mailbox(tx, &mailbox) < 0 || mailbox_dir(tx, &mailbox, &dir) < 0)
		return NULL;
	path = list_path(dir);
	int err = at_stat(s->mail_fd, path, &st);

	/* where the store is served, the mailbox gets a list: uidlist_enter() */
	if (err < 0 ? err != -ENOENT || s->served != SERVED_YES : !S_ISREG(st.st_mode))
		return NULL;
	there = index_get_entry(tx, &g, want->copy.id, &e) == 0 && copy_alive(&e.copy) &&
		e.state == ENTRY_PRESENT && guid_equal(&e.copy.place.mailbox, &mailbox);
	*ret_renumber = there && e.copy.place.uid != want->copy.place.uid;
	lined = there && !*ret_renumber && same_base(&e.copy.place, &want->copy.place);
	entry_release(&e);
	if (lined && !keywords_lack_slot(s, dir, &want->copy.flags))
		return NULL;
	return MB_TAKE(dir);
}

int uidlist_hold(struct store *s, const struct record *want, struct uidlist_hold *ret)
{
	MB_AUTO_FREE char *dir = NULL, *path = NULL;
	struct index_txn *tx;
	bool renumber = false;
	int err;

	*ret = (struct uidlist_hold){.dir = NULL};
	if (!is_placed(want) || s->mode != STORE_WRITE)
		return 0;
	store_lock(s);
	err = index_begin(s->index, false, &tx);
	if (err >= 0) {
		dir = list_of_put(s, tx, want, &renumber);
		index_abort(tx);
	}
	store_unlock(s);
	if (err < 0 || !dir)
		return err < 0 ? err : 0;
	path = list_path(dir);
	err = dotlock_take(s, path, PIDLOCK_WAIT_MS, false, &ret->lock);
	if (err <
	    0) /* mail first; its line comes later.  But what has a line keeps it until then. */
		return renumber ? err : 0;
	ret->dir = MB_TAKE(dir);
	return 0;
}

int uidlist_enter(struct store *s, const struct uidlist_hold *h)
{
	struct index_txn *tx;
	struct guid mailbox;
	int err;

	store_lock(s);
	if (!h->dir)
		return 0;
	s->uidlist_held = h->dir;
	err = change_begin(s, &tx);
	if (err < 0)
		return err;
	err = index_mailbox_by_dir(tx, h->dir, &mailbox);
	if (err == 0)
		err = follow_or_take_over(s, tx, &mailbox, h->dir);
	if (err >= 0)
		uidlist_begin(s, tx, &mailbox, h->dir); /* if not now, when lists are settled */
	return change_end(s, tx, err == -ENOENT ? 0 : err);
}

/* What a step wrote that the mount has yet to do: else it would look as if Dovecot had. */
static void note_unnoted(struct store *s, const char *dir)
{
	struct uidlist_cache *c = s->uidlist;
	struct index_txn *tx;
	struct guid mailbox;
	int err;

	if (!c || !c->unnoted || strcmp(c->dir, dir) != 0 || change_begin(s, &tx) < 0)
		return;
	c->unnoted = false;
	err = index_mailbox_by_dir(tx, dir, &mailbox);
	if (err >= 0)
		err = uidlist_note_written(tx, &mailbox, c);
	change_end(s, tx, err == -ENOENT ? 0 : err);
}

void uidlist_leave(struct store *s, struct uidlist_hold *h)
{
	if (h->dir)
		note_unnoted(s, h->dir);
	s->uidlist_held = NULL;
	store_unlock(s);
	dotlock_drop(s, &h->lock);
	free(h->dir);
	*h = (struct uidlist_hold){.dir = NULL};
}

/* ---- all mailboxes ---- */

struct copy_key {
	struct guid guid;
	uint64_t id;
};

struct settle {
	struct uidlist_cache *c;
	size_t added, moved;
	struct copy_key *other; /* owned: whose line has another UID */
	size_t n, cap;
};

static int add_lacking(struct entry *e, void *arg)
{
	struct settle *st = arg;
	const struct uidlist_line *line;

	if (e->state == ENTRY_LOST || !e->file)
		return 0;
	line = uidlist_find(&st->c->list, e->file);
	if (line && uidlist_uid(line) != e->copy.place.uid) {
		MB_GROW(st->other, st->cap, st->n + 1);
		st->other[st->n++] = (struct copy_key){e->copy.guid, e->copy.id};
	}
	if (line || e->copy.place.uid < st->c->list.uid_next || e->copy.place.uid == UINT32_MAX)
		return 0;
	uidlist_set(&st->c->list, e->file, e->copy.place.uid);
	st->added++;
	return 0;
}

/* One above all, in the log and in the list. */
static int renumber(struct store *s, struct index_txn *tx, const struct guid *mailbox,
		    const struct uidlist *list, struct entry *e)
{
	struct record r = {
		.type = REC_RENUMBER, .at = hlc_now(&s->clock), .origin = {.comm = "scan"}};
	uint32_t next;
	int err = mailbox_next_uid(tx, mailbox, &next);

	if (err < 0 || list->uid_next == UINT32_MAX)
		return err < 0 ? err : -EOVERFLOW;
	e->copy.place.uid = next > list->uid_next ? next : list->uid_next;
	e->copy.place.uid_at = r.at;
	copy_clone(&r.copy, &e->copy);
	r.old_name = path_join(e->in_new ? "new" : "cur", NULL, e->file);
	r.new_name = mb_xstrdup(r.old_name);
	err = change_record(s, tx, &r);
	record_release(&r);
	return err;
}

/*
 * A line that was followed, and whose message has another UID all the same: the message was moved away
 * and back before Dovecot looked, or the list is older than the log.  The other side's Dovecot may have
 * seen the UID of the log already, this one that of the line: the log's counts where this Dovecot cannot
 * have given it to another message, else both get a new one.
 */
static int correct(struct store *s, struct index_txn *tx, const struct guid *mailbox,
		   struct settle *st, const struct copy_key *key)
{
	struct uidlist *list = &st->c->list;
	struct entry e = {0}, owner = {0};
	const struct uidlist_line *line;
	int err = index_get_entry(tx, &key->guid, key->id, &e);

	line = err >= 0 && e.file ? uidlist_find(list, e.file) : NULL;
	/* two files of one name have one line, which another message has */
	if (line && index_by_uid(tx, mailbox, uidlist_uid(line), &owner) == 0 && owner.file &&
	    uidlist_same_name(owner.file, e.file))
		line = NULL;
	entry_release(&owner);
	if (line && (e.copy.place.uid < st->c->given || e.copy.place.uid == UINT32_MAX ||
		     uidlist_by_uid(list, e.copy.place.uid)))
		err = renumber(s, tx, mailbox, list, &e);
	if (line && err >= 0) {
		uidlist_set(list, e.file, e.copy.place.uid);
		st->moved++;
	}
	entry_release(&e);
	return err == -ENOENT || err == -EOVERFLOW ? 0 : err;
}

/* Dovecot looks at the list when the time of cur/ has changed. */
static void make_it_look(struct store *s, const char *dir)
{
	struct timespec now[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_NOW}};
	MB_AUTO_FREE char *cur = path_join(dir, "cur", NULL);
	MB_AUTO_CLOSE int fd = at_open(s->mail_fd, cur, O_RDONLY | O_DIRECTORY, 0);

	if (fd >= 0)
		io_utimens(fd, now);
}

/* Lines for the messages that have none or that of another UID, our UIDVALIDITY and next UID.  The list was followed. */
static int complete(struct store *s, struct index_txn *tx, const struct guid *mailbox,
		    const char *dir)
{
	struct settle st = {.added = 0};
	struct mailbox m = {0};
	struct uidlist_note note;
	bool header;
	int err = uidlist_load(s, dir, &st.c);

	if (err < 0)
		return 0;
	size_t from = st.c->list.n;

	err = uidlist_get_note(tx, mailbox, &note);
	if (err >= 0 && st.c->fresh) {
		err = uidlist_end_anew(s, tx, mailbox, st.c, note.anew);
		if (err >= 0)
			make_it_look(s, dir);
		return err;
	}
	if (err >= 0)
		err = index_each_in(tx, mailbox, 0, add_lacking, &st);
	for (size_t i = 0; i < st.n && err >= 0; i++)
		err = correct(s, tx, mailbox, &st, &st.other[i]);
	free(st.other);
	if (err >= 0)
		err = index_get_mailbox(tx, mailbox, &m, NULL);
	if (err < 0)
		return uidlist_forget(s, err);
	if (note.uid_validity != m.uid_validity)
		note.floor = 0;
	uint32_t next = m.uid_next > note.floor ? m.uid_next : 1;
	header = st.c->list.uid_validity != m.uid_validity || st.c->list.uid_next < next;
	if (header) {
		st.c->list.uid_validity = m.uid_validity;
		if (st.c->list.uid_next < next)
			st.c->list.uid_next = next;
	}
	if (st.added || st.moved || header) {
		err = uidlist_save(s, st.c, header || st.moved ? SIZE_MAX : from);
		if (err >= 0)
			st.c->followed = true;
		if (err >= 0 && (header || st.moved))
			make_it_look(s, dir);
	}
	note.uid_next = m.uid_next;
	note.uid_validity = m.uid_validity;
	note.given = st.c->list.uid_next;
	mailbox_release(&m);
	if (err < 0)
		return err;
	note.mark = st.c->mark;
	return uidlist_put_note(tx, mailbox, &note);
}

static int settle_in(struct store *s, const struct guid *mailbox, const char *dir)
{
	struct index_txn *tx;
	struct guid now;
	int err = change_begin(s, &tx);

	if (err < 0)
		return err;
	err = index_mailbox_by_dir(tx, dir, &now);
	if (err >= 0 && guid_equal(&now, mailbox)) { /* else it was renamed meanwhile */
		err = follow_or_take_over(s, tx, mailbox, dir);
		if (err >= 0)
			err = uidlist_begin(s, tx, mailbox, dir);
		if (err >= 0)
			err = complete(s, tx, mailbox, dir);
	}
	err = change_end(s, tx, err == -ENOENT ? 0 : err);
	return err;
}

struct due_box {
	struct guid guid;
	char *dir;    /* owned */
	bool without; /* it has no list */
};

/* Dovecot could open it. */
static bool has_cur(struct store *s, const char *dir)
{
	MB_AUTO_FREE char *cur = path_join(dir, "cur", NULL);
	struct stat st;

	return at_stat(s->mail_fd, cur, &st) == 0;
}

/* Mailboxes without a list are due where another has one. */
static size_t keep_due(struct store *s, struct due_box *v, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (v[i].without && (s->served != SERVED_YES || !has_cur(s, v[i].dir)))
			free(v[i].dir);
		else
			v[kept++] = v[i];
	}
	return kept;
}

/* One stat.  *ret_without: it has no list. */
static bool is_due(struct store *s, struct index_txn *tx, const struct mailbox *m, const char *dir,
		   bool *ret_without)
{
	MB_AUTO_FREE char *path = list_path(dir);
	struct uidlist_note note;
	struct file_mark mark;
	int err = file_mark_of(s, path, &mark);

	*ret_without = err == -ENOENT && m->selectable;
	if (err < 0)
		return *ret_without;
	s->served = SERVED_YES;
	return uidlist_get_note(tx, &m->guid, &note) >= 0 &&
	       (!file_mark_equal(&mark, &note.mark) || note.uid_next != m->uid_next ||
		note.uid_validity != m->uid_validity || note.anew ||
		keywords_due(s, tx, &m->guid, dir));
}

static int due_boxes(struct store *s, struct due_box **ret, size_t *ret_n)
{
	size_t n = 0, cap = 0;
	struct index_txn *tx;
	struct tree t = {0};
	int err = index_begin(s->index, false, &tx);

	*ret = NULL;
	*ret_n = 0;
	if (err < 0)
		return err;
	if (uidlists_may_be(s, tx))
		err = index_tree(tx, &t);
	s->served = err < 0 ? SERVED_UNKNOWN : SERVED_NO;
	for (size_t i = 0; i < t.n && err >= 0; i++) {
		MB_AUTO_FREE char *dir = NULL;
		bool without;

		if (!mailbox_alive(&t.nodes[i]) || mailbox_dir(tx, &t.nodes[i].guid, &dir) < 0)
			continue;
		if (!is_due(s, tx, &t.nodes[i], dir, &without))
			continue;
		MB_GROW(*ret, cap, n + 1);
		(*ret)[n++] = (struct due_box){t.nodes[i].guid, MB_TAKE(dir), without};
	}
	index_abort(tx);
	tree_release(&t);
	*ret_n = keep_due(s, *ret, n);
	return err;
}

/* How long the next one is waited for: a Dovecot that is busy with one is not asked for ever. */
static int settle_one(struct store *s, const struct due_box *b, int wait_ms)
{
	MB_AUTO_FREE char *path = list_path(b->dir);
	struct dotlock lock;
	int err = dotlock_take(s, path, wait_ms, false, &lock);

	if (err < 0)
		return err;
	store_lock(s);
	s->uidlist_held = b->dir;
	err = settle_in(s, &b->guid, b->dir);
	if (err >= 0)
		err = keywords_settle(s, &b->guid, b->dir);
	s->uidlist_held = NULL;
	store_unlock(s);
	dotlock_drop(s, &lock);
	return err;
}

static void still_due(struct store *s, const char *dir, int err)
{
	if (err != -EBUSY)
		mb_msg(MB_WARNING, UIDLIST_NAME " cannot be kept true: %s dir=%s", mb_err_str(err),
		       dir);
	store_lock(s);
	s->uidlists_due = true;
	store_unlock(s);
}

int store_settle_uids(struct store *s)
{
	struct due_box *boxes = NULL;
	int err = 0, wait_ms = PIDLOCK_WAIT_MS;
	size_t n = 0;

	store_lock(s);
	if (s->uidlists_due && s->mode == STORE_WRITE) {
		s->uidlists_due = false;
		err = due_boxes(s, &boxes, &n);
	}
	store_unlock(s);
	for (size_t i = 0; i < n; i++) {
		int failed = settle_one(s, &boxes[i], wait_ms);

		if (failed < 0) {
			still_due(s, boxes[i].dir, failed);
			wait_ms = 0;
		}
		free(boxes[i].dir);
	}
	free(boxes);
	return err < 0 ? err : 0;
}
