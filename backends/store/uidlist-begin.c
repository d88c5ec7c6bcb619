/*
 * uidlist-begin.c - a dovecot-uidlist whose lines are all ours: it says nothing that counts, it was not
 * there, or a backup gave the mailbox another UIDVALIDITY.
 *
 * Where Dovecot serves a mailbox of the store, it will serve the others: each has a list before a peer
 * hears of its UIDs and before a peer's mail is in it, a new one before anybody sees its directory.  In a
 * tree that Dovecot never touched there is no such file.
 *
 * Under another UIDVALIDITY every UID may be given anew, below those that the mailbox gave before as
 * well.  That goes on from the first put of a message, which finds the list with the UIDVALIDITY of the
 * time before, until the list is settled; or until Dovecot writes it, which shows what it has then.
 * The next UID begins with what the backup says, so that Dovecot's is that of the source.  Killed
 * between, the rest is renumbered by a backup that comes later, under one more UIDVALIDITY.
 */
#include "backends/store/uidlist.h"
#include "backends/base/at.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include <fcntl.h>

struct all_lines {
	struct uidlist *list;
	const struct uidlist *old; /* whose fields they keep, or NULL */
};

static int add_line_of(struct entry *e, void *arg)
{
	struct all_lines *a = arg;
	uint32_t uid = e->copy.place.uid;

	if (e->state != ENTRY_LOST && e->file && uid && uid < UINT32_MAX &&
	    !uidlist_find(a->list, e->file) && !uidlist_by_uid(a->list, uid)) {
		uidlist_set(a->list, e->file, uid);
		if (a->old)
			uidlist_set_fields(a->list, e->file, uidlist_find(a->old, e->file));
	}
	return 0;
}

/* The list becomes what the index says, but for its GUID and what else its header has.  `uid_next`:
 * at least, or 0: that of the mailbox. */
static int take_over(struct store *s, struct index_txn *tx, const struct guid *mailbox,
		     struct uidlist_cache *c, uint32_t uid_next)
{
	struct uidlist list = {.uid_next = 1, .guid = c->list.guid};
	struct all_lines all = {&list, uid_next ? &c->list : NULL};
	struct mailbox m = {0};
	int err = index_get_mailbox(tx, mailbox, &m, NULL);

	if (err >= 0)
		err = index_each_in(tx, mailbox, 0, add_line_of, &all);
	if (err < 0) {
		mailbox_release(&m);
		uidlist_release(&list);
		return err;
	}
	list.uid_validity = m.uid_validity ? m.uid_validity : c->list.uid_validity;
	if (!uid_next)
		uid_next = m.uid_next;
	if (list.uid_next < uid_next)
		list.uid_next = uid_next;
	list.fields = MB_TAKE(c->list.fields);
	mailbox_release(&m);
	uidlist_release(&c->list);
	c->list = list;
	c->newcomer = false;
	err = uidlist_save(s, c, SIZE_MAX);
	if (err < 0)
		return err;
	c->followed = true;
	c->given = 1; /* under this UIDVALIDITY */
	return uidlist_note_written(tx, mailbox, c);
}

int uidlist_take_over(struct store *s, struct index_txn *tx, const struct guid *mailbox,
		      struct uidlist_cache *c)
{
	return take_over(s, tx, mailbox, c, 0);
}

int uidlist_enter_anew(struct store *s, struct index_txn *tx, const struct guid *mailbox,
		       struct uidlist_cache *c)
{
	struct uidlist_note note;
	struct mailbox m = {0};
	int err = uidlist_get_note(tx, mailbox, &note);

	c->fresh = false;
	if (err < 0 || !note.anew)
		return err;
	err = index_get_mailbox(tx, mailbox, &m, NULL);
	if (err >= 0 && c->list.uid_validity != m.uid_validity)
		err = take_over(s, tx, mailbox, c, note.anew);
	c->fresh = err >= 0;
	mailbox_release(&m);
	return err;
}

int uidlist_end_anew(struct store *s, struct index_txn *tx, const struct guid *mailbox,
		     struct uidlist_cache *c, uint32_t uid_next)
{
	struct uidlist_note note;
	struct mailbox m = {0};
	int err = take_over(s, tx, mailbox, c, uid_next);

	if (err >= 0)
		err = uidlist_get_note(tx, mailbox, &note);
	if (err >= 0)
		err = index_get_mailbox(tx, mailbox, &m, NULL);
	if (err < 0)
		return uidlist_forget(s, err);
	c->fresh = false;
	c->given = c->list.uid_next;
	note.mark = c->mark;
	note.anew = 0;
	note.uid_validity = m.uid_validity;
	note.given = c->list.uid_next;
	note.uid_next = note.floor = m.uid_next;
	mailbox_release(&m);
	return uidlist_put_note(tx, mailbox, &note);
}

/* ---- one that is not there ---- */

/* Known from when lists were settled last, or since. */
static bool is_served(struct store *s, struct index_txn *tx)
{
	struct tree t = {0};

	if (s->served == SERVED_UNKNOWN && !uidlists_may_be(s, tx))
		s->served = SERVED_NO;
	if (s->served == SERVED_UNKNOWN && index_tree(tx, &t) >= 0) {
		s->served = SERVED_NO;
		for (size_t i = 0; i < t.n && s->served == SERVED_NO; i++) {
			MB_AUTO_FREE char *dir = NULL;

			if (mailbox_alive(&t.nodes[i]) &&
			    mailbox_dir(tx, &t.nodes[i].guid, &dir) == 0 &&
			    uidlist_is_there(s, dir))
				s->served = SERVED_YES;
		}
		tree_release(&t);
	}
	return s->served == SERVED_YES;
}

/* The header fields beside V and N.  INBOX is the same mailbox everywhere; to Dovecot each has its own. */
static char *begin_fields(const struct guid *mailbox, struct guid *ret)
{
	char text[GUID_TEXT];

	*ret = guid_equal(mailbox, &GUID_INBOX) ? guid_new() : *mailbox;
	return mb_xasprintf(" G%s", guid_text(ret, text));
}

int uidlist_begin(struct store *s, struct index_txn *tx, const struct guid *mailbox,
		  const char *dir)
{
	struct uidlist_cache *c;
	struct mailbox m = {0};
	int err;

	if (uidlist_is_there(s, dir) || !is_served(s, tx))
		return 0;
	err = index_get_mailbox(tx, mailbox, &m, NULL);
	if (err < 0 || !m.uid_validity) {
		mailbox_release(&m);
		return err;
	}
	mailbox_release(&m);
	uidlist_cache_free(s->uidlist);
	s->uidlist = c = mb_xcalloc(1, sizeof(*c));
	c->dir = mb_xstrdup(dir);
	c->list.uid_next = 1;
	c->list.fields = begin_fields(mailbox, &c->list.guid);
	err = uidlist_take_over(s, tx, mailbox, c);
	return err < 0 ? uidlist_forget(s, err) : 0;
}

int uidlist_for_new(struct store *s, struct index_txn *tx, const struct mailbox *m, int dir)
{
	struct uidlist list = {.uid_validity = m->uid_validity,
			       .uid_next = m->uid_next ? m->uid_next : 1};
	BUF_AUTO struct buf text = BUF_INIT;
	MB_AUTO_CLOSE int fd = -1;
	int err;

	if (!m->uid_validity || !is_served(s, tx))
		return 0;
	list.fields = begin_fields(&m->guid, &list.guid);
	uidlist_write(&list, &text);
	uidlist_release(&list);
	fd = io_create_at(dir, UIDLIST_NAME, O_WRONLY, 0600);
	err = fd < 0 ? fd : io_write_all(fd, text.data, text.len);
	if (err >= 0)
		err = io_fsync(fd);
	return err < 0 ? err : file_give(s, dir, UIDLIST_NAME);
}
