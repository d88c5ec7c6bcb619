/*
 * put-merge.c - two mailboxes of one name that were made apart become one.
 *
 * The loser's files go to the winner's directory, one rename each; then the record; then the index
 * gets their names there.  A stop in between leaves files that the scan knows by their inode.  Mail in
 * the loser's directory that nobody knows yet holds the merge up: it is scanned first.
 */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/store/put-private.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>

/* The winner is not here yet: it begins as what the loser is. */
static int begin_winner(struct mailbox_put *p, const struct mailbox *loser,
			const struct origin *origin)
{
	struct record r = {.type = REC_MAILBOX_STATE, .origin = *origin};
	struct mailbox winner = mailbox_as(loser, &loser->merged_into);
	int err;

	mailbox_clone(&r.mailbox, &winner);
	err = change_record(p->s, p->tx, &r);
	record_release(&r);
	return err;
}

/* The winner had become this one: the least on the way is a mailbox again, before this one becomes it. */
static int end_loop(struct mailbox_put *p, const struct mailbox *loser, const struct origin *origin)
{
	struct record r = {.type = REC_MAILBOX_STATE, .origin = *origin};
	struct guid g = loser->merged_into, end = g;
	struct mailbox least = {0}, next = {0};
	int err = index_resolve_mailbox(p->tx, &end);

	if (err < 0 || !guid_equal(&end, &loser->guid))
		return err;
	for (; err >= 0 && !guid_equal(&g, &end); g = next.merged_into) {
		mailbox_release(&next);
		err = index_get_mailbox(p->tx, &g, &next, NULL);
		if (err >= 0 && (guid_is_zero(&least.guid) || guid_compare(&g, &least.guid) < 0))
			mailbox_clone(&least, &next);
	}
	if (err >= 0 && guid_compare(&least.guid, &loser->guid) < 0) {
		mailbox_clone(&r.mailbox, &least);
		r.mailbox.merged_into = least.guid;
		err = change_record(p->s, p->tx, &r);
	}
	mailbox_release(&least);
	mailbox_release(&next);
	record_release(&r);
	return err;
}

/* Files of the loser that went to the winner's directory, to be noted once the record is in. */
struct moved_file {
	struct guid guid;
	uint64_t id;
	char *name; /* owned: "cur/NAME" */
};

struct move_all {
	struct store *s;
	struct index_txn *tx;
	struct guid to;
	struct moved_file *files; /* owned */
	size_t n, cap;
};

static int move_file_between(struct move_all *m, const char *from, const char *to)
{
	int err = at_rename(m->s->mail_fd, from, to, RENAME_NOREPLACE);

	if (err >= 0)
		change_event(m->s, EVENT_RENAMED, to, from, true);
	return err;
}

static int move_to_winner(struct entry *e, void *arg)
{
	struct move_all *m = arg;
	MB_AUTO_FREE char *from = entry_path(m->tx, e), *name = NULL, *dir = NULL, *to = NULL;
	struct copy c = {0};
	int err;

	if (!from || e->state != ENTRY_PRESENT)
		return 0;
	copy_clone(&c, &e->copy);
	c.place.mailbox = m->to;
	err = file_target(m->s, m->tx, &c, e, e->in_new, &name);
	if (err >= 0)
		err = mailbox_dir(m->tx, &m->to, &dir);
	if (err >= 0) {
		to = path_join(dir, name, NULL);
		err = move_file_between(m, from, to);
	}
	if (err >= 0) {
		MB_GROW(m->files, m->cap, m->n + 1);
		m->files[m->n++] = (struct moved_file){c.guid, c.id, MB_TAKE(name)};
	}
	copy_release(&c);
	return err;
}

static int note_moved(struct move_all *m, int err)
{
	for (size_t i = 0; i < m->n; i++) {
		struct entry e = {0};

		if (err >= 0)
			err = index_get_entry(m->tx, &m->files[i].guid, m->files[i].id, &e);
		if (err >= 0) {
			free(e.file);
			e.file = mb_xstrdup(m->files[i].name + 4);
			e.in_new = m->files[i].name[0] == 'n';
			err = index_put_entry(m->tx, &e);
		}
		entry_release(&e);
		free(m->files[i].name);
	}
	free(m->files);
	return err;
}

struct unknown {
	struct mailbox_put *p;
	struct guid mailbox;
	bool in_new;
};

static int unknown_one(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	struct unknown *u = arg;
	struct entry e = {0};
	int err;

	if (!fname_is_message(name))
		return 0;
	err = entry_at(u->p->tx, &u->mailbox, name, u->in_new, &e);
	entry_release(&e);
	return err == -ENOENT ? MB_E_STALE : err;
}

static int all_known(struct mailbox_put *p, const struct guid *mailbox, const char *dir)
{
	int err = 0;

	for (int in_new = 0; in_new < 2 && err >= 0; in_new++) {
		MB_AUTO_FREE char *path = path_join(dir, in_new ? "new" : "cur", NULL);
		MB_AUTO_CLOSE int fd = at_open(p->s->mail_fd, path, O_RDONLY | O_DIRECTORY, 0);
		struct unknown u = {p, *mailbox, in_new};

		err = fd < 0 ? fd : at_list(fd, unknown_one, &u);
		if (err == -ENOENT)
			err = 0;
	}
	if (err == MB_E_STALE)
		p->s->rescan = true;
	return err;
}

/* The winner is there.  *ret_dir: of the loser, owned, or NULL; *ret_takes: it becomes the winner's, which
 * has none. */
static int prepare_winner(struct mailbox_put *p, const struct mailbox *loser,
			  const struct origin *origin, char **ret_dir, bool *ret_takes)
{
	struct mailbox winner = {0};
	MB_AUTO_FREE char *winner_dir = NULL;
	int err = index_get_mailbox(p->tx, &loser->merged_into, &winner, NULL);

	if (err == -ENOENT)
		err = begin_winner(p, loser, origin);
	else if (err >= 0)
		err = end_loop(p, loser, origin);
	mailbox_release(&winner);
	if (err < 0)
		return err;
	mailbox_dir(p->tx, &loser->guid, ret_dir);
	*ret_takes = *ret_dir && mailbox_dir(p->tx, &loser->merged_into, &winner_dir) < 0;
	return 0;
}

/* Once the merge is in the log: else the loser would be without its mail, which came to the winner as new. */
static int give_dir(struct mailbox_put *p, const struct mailbox *loser, const char *dir)
{
	int err = mailbox_set_dir(p->s, p->tx, &loser->guid, NULL);

	return err < 0 ? err : mailbox_set_dir(p->s, p->tx, &loser->merged_into, dir);
}

int put_merge(struct mailbox_put *p, const struct mailbox *loser, const struct origin *origin)
{
	struct record r = {.type = REC_MAILBOX_MERGE, .origin = *origin};
	struct move_all all = {.s = p->s, .tx = p->tx, .to = loser->merged_into};
	MB_AUTO_FREE char *dir = NULL;
	bool takes = false;
	int err;

	if (mailbox_dir(p->tx, &loser->guid, &dir) == 0)
		err = all_known(p, &loser->guid, dir);
	else
		err = 0;
	free(MB_TAKE(dir));
	if (err >= 0)
		err = prepare_winner(p, loser, origin, &dir, &takes);
	if (err >= 0 && dir && !takes)
		err = index_each_in(p->tx, &loser->guid, 0, move_to_winner, &all);
	if (err >= 0) {
		mailbox_clone(&r.mailbox, loser);
		err = change_record(p->s, p->tx, &r);
	}
	record_release(&r);
	if (err >= 0 && takes)
		err = give_dir(p, loser, dir);
	if (err < 0)
		p->s->rescan = true; /* files that went already are found by their inode */
	err = note_moved(&all, err);
	if (takes)
		return err < 0 ? err : 1;
	if (err >= 0 && dir && put_rmdir(p, dir) >= 0) {
		change_event(p->s, EVENT_REMOVED, dir, NULL, false);
	} else if (err >= 0 && dir) { /* what is left there is an unknown directory, for the scan */
		err = mailbox_set_dir(p->s, p->tx, &loser->guid, NULL);
		p->s->rescan = true;
	}
	return err < 0 ? err : 1;
}
