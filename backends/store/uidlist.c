/*
 * uidlist.c - the UIDs in a mailbox's dovecot-uidlist: what Dovecot says is taken.
 *
 * Where the file exists, what it says of a message is the UID that clients know, so it is logged here
 * and goes to the peers.  A message that it does not have keeps the UID from the log, unless that is
 * below the list's next UID: then Dovecot gave it before, and the message gets one above all.
 *
 * Of a mailbox that was made at a peer the UIDs are the peer's: clients there know them.  A list with
 * a UIDVALIDITY of its own that comes up here, because Dovecot opened the mailbox for the first time
 * or lost what it had, says nothing; it gets the UIDVALIDITY and the UIDs from the log.  A list
 * that Dovecot itself would throw away says nothing.  Nothing is written here (uidlist-settle.c), so a
 * file system handler may call it.
 */
#include "backends/store/uidlist.h"
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

void uidlist_cache_free(struct uidlist_cache *c)
{
	if (!c)
		return;
	uidlist_release(&c->list);
	free(c->dir);
	free(c);
}

static int read_list(struct store *s, const char *path, struct uidlist *ret)
{
	MB_AUTO_FREE uint8_t *text = NULL;
	MB_AUTO_CLOSE int dir = -1;
	const char *name;
	size_t len;
	int err;

	dir = at_open_parent(s->mail_fd, path, &name);
	err = dir < 0 ? dir : io_read_file(dir, name, UIDLIST_FILE_MAX, &text, &len);
	return err < 0 ? err : uidlist_parse((char *)text, len, ret);
}

int uidlist_load(struct store *s, const char *dir, struct uidlist_cache **ret)
{
	MB_AUTO_FREE char *path = path_join(dir, NULL, UIDLIST_NAME);
	struct uidlist_cache *c = s->uidlist;
	struct file_mark mark; /* from before the reading: what is appended meanwhile differs */
	struct uidlist list;
	int err = file_mark_of(s, path, &mark);

	if (err < 0)
		return err;
	if (!c || strcmp(c->dir, dir) != 0 || !file_mark_equal(&c->mark, &mark)) {
		err = read_list(s, path, &list);
		if (err < 0)
			return err;
		uidlist_cache_free(s->uidlist);
		s->uidlist = c = mb_xcalloc(1, sizeof(*c));
		c->dir = mb_xstrdup(dir);
		c->mark = mark;
		c->list = list;
		c->given = list.uid_next;
		s->served = SERVED_YES;
	}
	*ret = c;
	return 0;
}

/* Errors that mean: there is no list that says anything. */
static bool says_nothing(int err)
{
	return err == -ENOENT || err == -ENOTDIR || err == -ELOOP || err == -EINVAL ||
	       err == -EFBIG || err == -EISDIR || err == MB_E_FORMAT;
}

/* ---- what was read last ---- */

static void note_name(const struct guid *mailbox, char out[64])
{
	char text[GUID_TEXT];

	snprintf(out, 64, UIDLIST_NAME "/%s", guid_text(mailbox, text));
}

int uidlist_get_note(struct index_txn *tx, const struct guid *mailbox, struct uidlist_note *ret)
{
	char name[64];
	int err;

	note_name(mailbox, name);
	err = index_meta_get(tx, name, ret, sizeof(*ret));
	if (err < 0)
		*ret = (struct uidlist_note){.uid_next = 0};
	return err == -ENOENT || err == -EINVAL ? 0 : err;
}

int uidlist_put_note(struct index_txn *tx, const struct guid *mailbox, struct uidlist_note *note)
{
	char name[64];

	if (note->highest < note->uid_validity)
		note->highest = note->uid_validity;
	note_name(mailbox, name);
	return index_meta_put(tx, name, note, sizeof(*note));
}

bool uidlist_is_there(struct store *s, const char *dir)
{
	MB_AUTO_FREE char *path = path_join(dir, NULL, UIDLIST_NAME);
	struct file_mark mark;

	return file_mark_of(s, path, &mark) == 0;
}

bool uidlists_may_be(struct store *s, struct index_txn *tx)
{
	struct file_mark mark;

	return s->served == SERVED_YES || index_meta_has(tx, UIDLIST_NAME "/") ||
	       uidlist_is_there(s, "") || file_mark_of(s, UIDVALIDITY_NAME, &mark) == 0;
}

bool uidlist_changed(struct index_txn *tx, const struct guid *mailbox, const struct file_mark *now)
{
	struct uidlist_note note;

	return now->ino && uidlist_get_note(tx, mailbox, &note) >= 0 &&
	       !file_mark_equal(&note.mark, now);
}

int uidlist_begin_anew(struct index_txn *tx, const struct guid *mailbox, uint32_t uid_next)
{
	struct uidlist_note note;
	int err = uidlist_get_note(tx, mailbox, &note);

	if (err < 0 || !note.mark.ino) /* no list is known: it begins with what there is */
		return err < 0 ? err : 0;
	note.anew = uid_next ? uid_next : 1;
	note.floor = 0;
	return uidlist_put_note(tx, mailbox, &note);
}

void uidlists_tell(struct index_txn *tx, struct tree *t)
{
	for (size_t i = 0; i < t->n; i++) {
		struct mailbox *m = &t->nodes[i];
		struct uidlist_note note;

		if (uidlist_get_note(tx, &m->guid, &note) < 0)
			continue;
		m->uid_validity_shown = note.highest;
		if (!note.anew && note.uid_validity == m->uid_validity)
			m->uid_shown = note.given;
	}
}

/* ---- taking what it says ---- */

/* A message that has another UID than the list gives it; uid 0: one above all. */
struct wrong {
	struct guid guid;
	uint64_t id;
	uint32_t uid;
};

struct follow {
	struct store *s;
	struct index_txn *tx;
	const struct guid *mailbox;
	const struct uidlist *list;
	const struct origin *origin;
	struct wrong *wrong; /* owned */
	size_t n, cap;
};

static int look(struct entry *e, void *arg)
{
	struct follow *f = arg;
	const struct uidlist_line *line = e->file ? uidlist_find(f->list, e->file) : NULL;
	uint32_t uid = e->copy.place.uid;

	if (e->state == ENTRY_LOST || !e->file)
		return 0;
	if (line ? uidlist_uid(line) == uid : uid >= f->list->uid_next)
		return 0;
	MB_GROW(f->wrong, f->cap, f->n + 1);
	f->wrong[f->n++] = (struct wrong){e->copy.guid, e->copy.id, line ? uidlist_uid(line) : 0};
	return 0;
}

/* Does another live copy have this UID, in a file that has the same line?  Then the line is its. */
static bool line_is_anothers(struct follow *f, const struct entry *e, uint32_t uid)
{
	struct entry other = {0};
	bool yes = index_by_uid(f->tx, f->mailbox, uid, &other) == 0 &&
		   !copy_same_key(&other.copy, &e->copy) && other.file &&
		   uidlist_same_name(other.file, e->file);

	entry_release(&other);
	return yes;
}

static int log_uid(struct follow *f, const struct wrong *w)
{
	struct record r = {.type = REC_RENUMBER, .at = hlc_now(&f->s->clock), .origin = *f->origin};
	struct entry e = {0};
	uint32_t uid = w->uid;
	int err = index_get_entry(f->tx, &w->guid, w->id, &e);

	if (err >= 0 && !uid)
		err = mailbox_next_uid(f->tx, f->mailbox, &uid);
	if (err >= 0 && !line_is_anothers(f, &e, uid)) {
		copy_clone(&r.copy, &e.copy);
		r.copy.place.uid = uid;
		r.copy.place.uid_at = r.at;
		r.old_name = path_join(e.in_new ? "new" : "cur", NULL, e.file);
		r.new_name = mb_xstrdup(r.old_name);
		err = change_record(f->s, f->tx, &r);
	}
	record_release(&r);
	entry_release(&e);
	return err;
}

int mailbox_next_uid(struct index_txn *tx, const struct guid *mailbox, uint32_t *ret)
{
	struct mailbox m = {0};
	int err = index_get_mailbox(tx, mailbox, &m, NULL);

	if (err < 0)
		return err;
	*ret = m.uid_next ? m.uid_next : 1;
	mailbox_release(&m);
	return *ret == UINT32_MAX ? -EOVERFLOW : 0;
}

/* A UIDVALIDITY that Dovecot changed counts when it is the greater one, as in a merge; else the list
 * gets ours when it is written. */
static int log_header(struct follow *f, uint32_t known_validity)
{
	uint32_t validity = f->list->uid_validity == known_validity ? 0 : f->list->uid_validity;
	struct record r = {.type = REC_MAILBOX_STATE, .origin = *f->origin};
	int err = index_get_mailbox(f->tx, f->mailbox, &r.mailbox, NULL);

	if (err >= 0 &&
	    (validity > r.mailbox.uid_validity || f->list->uid_next > r.mailbox.uid_next)) {
		if (validity > r.mailbox.uid_validity)
			r.mailbox.uid_validity = validity;
		if (f->list->uid_next > r.mailbox.uid_next)
			r.mailbox.uid_next = f->list->uid_next;
		err = change_record(f->s, f->tx, &r);
	}
	record_release(&r);
	return err;
}

/* A list of a mailbox from elsewhere with a UIDVALIDITY that is neither ours nor was here before. */
static int is_newcomer(struct store *s, struct index_txn *tx, const struct guid *mailbox,
		       const struct uidlist *l, const struct uidlist_note *note)
{
	struct mailbox m = {0};
	int err = index_get_mailbox(tx, mailbox, &m, NULL);
	bool elsewhere = m.born.replica && m.born.replica != s->replica;
	bool other = l->uid_validity != m.uid_validity && l->uid_validity != note->uid_validity;

	mailbox_release(&m);
	return err < 0 ? err : elsewhere && other;
}

static int follow(struct follow *f, uint32_t known_validity)
{
	int err = log_header(f, known_validity);

	if (err >= 0)
		err = index_each_in(f->tx, f->mailbox, 0, look, f);
	/* first those that it has: what gets one above all is then above these */
	for (int above = 0; above < 2; above++)
		for (size_t i = 0; i < f->n && err >= 0; i++)
			if ((f->wrong[i].uid == 0) == (above == 1))
				err = log_uid(f, &f->wrong[i]);
	free(f->wrong);
	return err == -EOVERFLOW ? 0 : err; /* no UIDs left: the merge says so */
}

/* Dovecot wrote since: what it shows it shows under the list's UIDVALIDITY. */
static int end_anew(struct index_txn *tx, const struct guid *mailbox, struct uidlist_note *note)
{
	struct mailbox m = {0};
	int err = note->anew ? index_get_mailbox(tx, mailbox, &m, NULL) : 0;

	if (err >= 0 && note->anew && m.uid_validity == note->uid_validity)
		note->anew = 0;
	mailbox_release(&m);
	return err;
}

int uidlist_follow(struct store *s, struct index_txn *tx, const struct guid *mailbox,
		   const char *dir, const struct origin *origin)
{
	struct follow f = {.s = s, .tx = tx, .mailbox = mailbox, .origin = origin};
	struct uidlist_note note;
	struct uidlist_cache *c;
	int err = uidlist_load(s, dir, &c);

	if (err < 0)
		return says_nothing(err) ? 0 : err;
	if (c->followed)
		return 0;
	err = uidlist_get_note(tx, mailbox, &note);
	if (err < 0)
		return err;
	err = is_newcomer(s, tx, mailbox, &c->list, &note);
	if (err != 0) {
		c->newcomer = err > 0;
		s->uidlists_due = true;
		return err < 0 ? err : keywords_forget(tx, mailbox);
	}
	if (!file_mark_equal(&note.mark, &c->mark)) {
		f.list = &c->list;
		err = follow(&f, note.uid_validity);
		note.mark = c->mark;
		note.uid_validity = c->list.uid_validity;
		note.given = c->list.uid_next;
		if (err >= 0)
			err = end_anew(tx, mailbox, &note);
		s->uidlists_due = true;
		if (err >= 0)
			err = keywords_forget(tx, mailbox);
		if (err >= 0)
			err = uidlist_put_note(tx, mailbox, &note);
	}
	if (err >= 0)
		c->followed = true;
	return err < 0 ? err : 0;
}

static int follow_in(struct store *s, struct index_txn *tx, const char *dir,
		     const struct origin *origin)
{
	struct guid mailbox;
	int err = index_mailbox_by_dir(tx, dir, &mailbox);

	if (err < 0)
		return err == -ENOENT ? 0 : err;
	return uidlist_follow(s, tx, &mailbox, dir, origin);
}

void uidlist_noticed(struct store *s, const char *path, const struct origin *origin)
{
	const char *slash = strrchr(path, '/');
	MB_AUTO_FREE char *dir = mb_xstrndup(path, slash ? (size_t)(slash - path) : 0);
	struct index_txn *tx;
	int err;

	if (strcmp(slash ? slash + 1 : path, UIDLIST_NAME) != 0)
		return;
	s->served = SERVED_UNKNOWN;
	err = change_begin(s, &tx);
	if (err >= 0)
		err = change_end(s, tx, follow_in(s, tx, dir, origin));
	if (err < 0) { /* the file is in its place: the program's call was done */
		if (s->uidlist)
			s->uidlist->followed = false;
		s->rescan = true;
	}
}

/* ---- mailboxes and messages that begin with what a list says ---- */

void uidlist_birth(struct store *s, struct index_txn *tx, const char *dir, struct mailbox *m)
{
	struct uidlist_cache *c;

	if (uidlist_load(s, dir, &c) < 0)
		return;
	m->uid_validity = c->list.uid_validity;
	if (!guid_is_zero(&c->list.guid) && !guid_equal(&m->guid, &GUID_INBOX) &&
	    !guid_equal(&c->list.guid, &GUID_INBOX) &&
	    index_get_mailbox(tx, &c->list.guid, NULL, NULL) == -ENOENT)
		m->guid = c->list.guid;
}

void uidlist_given(struct store *s, struct index_txn *tx, const char *dir, const char *file,
		   struct copy *c)
{
	const struct uidlist_line *line;
	struct uidlist_cache *cache;
	struct message known = {0};
	struct entry other = {0};
	struct guid g;

	if (uidlist_load(s, dir, &cache) < 0)
		return;
	line = uidlist_find(&cache->list, file);
	if (!line)
		return;
	if (index_by_uid(tx, &c->place.mailbox, uidlist_uid(line), &other) == -ENOENT)
		c->place.uid = uidlist_uid(line);
	entry_release(&other);
	if (c->id || !uidlist_line_guid(line, &g))
		return;
	struct guid now = index_resolve(tx, g);

	if (guid_equal(&now, &g) && index_get_message(tx, &g, &known) >= 0 && !known.n)
		c->guid = g;
	message_release(&known);
}
