/*
 * subscribe.c - keeps the tree's `subscribed` registers and Dovecot's file `subscriptions` in step.
 *
 * A file that a program replaced is read: what differs from the registers is a change of now.  A
 * register that a peer changed is written into the file, which is made when there is none.
 */
#include "backends/base/clock.h"
#include "backends/mail/subscriptions.h"
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/store/dovecot.h"
#include "backends/store/scan-private.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

static int read_file(struct store *s, struct subscriptions *ret)
{
	MB_AUTO_FREE uint8_t *text = NULL;
	size_t len;
	int err = io_read_file(s->mail_fd, SUBSCRIPTIONS_NAME, SUBSCRIPTIONS_FILE_MAX, &text, &len);

	if (err < 0)
		return err;
	return subscriptions_parse(s->layout, (char *)text, len, ret);
}

static int file_stamp(struct store *s, struct dir_stamp *ret)
{
	struct stat st;
	int err = at_stat(s->mail_fd, SUBSCRIPTIONS_NAME, &st);

	if (err < 0)
		return err;
	*ret = (struct dir_stamp){
		.ino = st.st_ino,
		.mtime_ns = clock_timespec_ns(&st.st_mtim),
		.ctime_ns = clock_timespec_ns(&st.st_ctim),
	};
	return 0;
}

static int log_subscribed(struct store *s, struct index_txn *tx, const struct tree *t,
			  const struct mailbox *m, bool subscribed, const struct origin *origin)
{
	struct record r = {.type = REC_MAILBOX_SUBSCRIBE, .origin = *origin};
	int err;

	r.at = hlc_now(&s->clock);
	mailbox_clone(&r.mailbox, m);
	r.mailbox.subscribed = subscribed;
	r.mailbox.subscribed_at = r.at;
	r.new_name = tree_name(t, &m->guid);
	err = change_record(s, tx, &r);
	record_release(&r);
	return err;
}

/* Logs what the file says otherwise than the registers. */
static int log_differences(struct store *s, struct index_txn *tx, const struct subscriptions *subs,
			   const struct origin *origin)
{
	struct tree t = {0};
	int err = index_tree(tx, &t);

	for (size_t i = 0; i < t.n && err >= 0; i++) {
		MB_AUTO_FREE char *dir = NULL;
		bool in_file;

		if (!mailbox_alive(&t.nodes[i]) ||
		    mailbox_wanted_dir(s, &t, &t.nodes[i].guid, &dir) < 0)
			continue;
		in_file = subscriptions_has(subs, dir);
		if (in_file != t.nodes[i].subscribed)
			err = log_subscribed(s, tx, &t, &t.nodes[i], in_file, origin);
	}
	tree_release(&t);
	return err;
}

int subscriptions_read(struct store *s, struct index_txn *tx, const struct origin *origin)
{
	struct subscriptions subs = {0};
	struct dir_stamp stamp;
	int err = file_stamp(s, &stamp);

	if (err == 0)
		err = read_file(s, &subs);
	if (err == 0)
		err = log_differences(s, tx, &subs, origin);
	if (err >= 0)
		err = index_meta_put(tx, SUBSCRIPTIONS_NAME, &stamp, sizeof(stamp));
	subscriptions_release(&subs);
	return err == -ENOENT || err == -EINVAL || err == -EFBIG ? 0 : err;
}

bool subscriptions_changed(struct store *s, struct index_txn *tx)
{
	struct dir_stamp now, noted;

	return file_stamp(s, &now) == 0 &&
	       (index_meta_get(tx, SUBSCRIPTIONS_NAME, &noted, sizeof(noted)) != 0 ||
		!scan_stamp_equal(&now, &noted));
}

int subscriptions_noticed(struct store *s, const char *path, const struct origin *origin)
{
	struct index_txn *tx;
	int err;

	if (strcmp(path, SUBSCRIPTIONS_NAME) != 0)
		return 0;
	err = change_begin(s, &tx);
	return err < 0 ? err : change_end(s, tx, subscriptions_read(s, tx, origin));
}

static bool is_renamed(const struct mailbox *m, const struct tree *was)
{
	const struct mailbox *old = was ? tree_find(was, &m->guid) : NULL;

	return old && (!guid_equal(&old->parent, &m->parent) || !old->part || !m->part ||
		       strcmp(old->part, m->part) != 0);
}

/* May this put change the file?  The register differs, or the mailbox has or had a line there. */
static bool may_write(struct store *s, const struct mailbox *want)
{
	struct index_txn *tx;
	struct mailbox m = {0};
	bool may = true;

	if (index_begin(s->index, false, &tx) < 0)
		return false;
	if (index_get_mailbox(tx, &want->guid, &m, NULL) == 0)
		may = m.subscribed || want->subscribed || !m.part || !want->part ||
		      strcmp(m.part, want->part) != 0 ||
		      !guid_equal(&m.parent, &want->parent); /* and those below it */
	else
		may = want->subscribed;
	index_abort(tx);
	mailbox_release(&m);
	return may;
}

int subscriptions_hold(struct store *s, const struct record *want, struct dotlock *ret)
{
	bool may;

	*ret = (struct dotlock){.path = NULL};
	if (s->mode != STORE_WRITE || want->type < REC_MAILBOX_CREATE ||
	    want->type > REC_MAILBOX_STATE)
		return 0;
	store_lock(s);
	may = may_write(s, &want->mailbox);
	store_unlock(s);
	if (!may)
		return 0;
	int err = dotlock_take(s, SUBSCRIPTIONS_NAME, PIDLOCK_WAIT_MS, false, ret);

	return err == -EBUSY ? 0 : err; /* mailboxes first */
}

/* Is this the line of another one by now, as when two change their names? */
static bool is_of_another(struct store *s, const struct tree *t, const struct mailbox *m,
			  const char *line)
{
	bool is = false;

	for (size_t i = 0; i < t->n && !is; i++) {
		const struct mailbox *n = &t->nodes[i];
		MB_AUTO_FREE char *dir = NULL;

		is = n->subscribed && mailbox_alive(n) && !guid_equal(&n->guid, &m->guid) &&
		     mailbox_wanted_dir(s, t, &n->guid, &dir) >= 0 && strcmp(dir, line) == 0;
	}
	return is;
}

/* One mailbox's line to what the register says; `was`: the tree before, or NULL.  Its old name goes when
 * `old` is set, else the line of its name comes, or goes. */
static bool update(struct store *s, struct subscriptions *subs, const struct tree *t,
		   const struct tree *was, const struct mailbox *m, bool old)
{
	MB_AUTO_FREE char *dir = NULL, *old_dir = NULL;
	bool want = !old && mailbox_alive(m) && m->subscribed;
	const char *line;

	if (mailbox_wanted_dir(s, t, &m->guid, &dir) < 0)
		return false;
	if (old && was && tree_find(was, &m->guid))
		mailbox_wanted_dir(s, was, &m->guid, &old_dir);
	if (old && (!old_dir || strcmp(old_dir, dir) == 0))
		return false;
	line = old ? old_dir : dir;
	if (want == subscriptions_has(subs, line) || (old && is_of_another(s, t, m, line)))
		return false;
	if (want)
		subscriptions_add(subs, line);
	else
		subscriptions_remove(subs, line);
	return true;
}

static bool is_below(const struct tree *t, const struct mailbox *m, const struct guid *top)
{
	size_t steps = 0;

	while (m && !guid_is_zero(&m->parent) && steps++ <= t->n) {
		struct guid parent = tree_resolve(t, m->parent);

		if (guid_equal(&parent, top))
			return true;
		m = tree_find(t, &parent);
	}
	return false;
}

/* With a renamed mailbox those below it have other names, and a file that was missing gets all.  Old names
 * go first: they may be those of others by now. */
static bool update_all(struct store *s, struct subscriptions *subs, const struct tree *t,
		       const struct tree *was, const struct mailbox *m, bool missing)
{
	bool changed = false;

	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < t->n; i++) {
			const struct mailbox *n = &t->nodes[i];

			if (guid_equal(&n->guid, &m->guid) ||
			    (n->subscribed && mailbox_alive(n) &&
			     (missing || is_below(t, n, &m->guid))))
				changed |= update(s, subs, t, was, n, pass == 0);
		}
	}
	return changed;
}

static int replace_file(struct store *s, struct index_txn *tx, const struct subscriptions *subs)
{
	BUF_AUTO struct buf text = BUF_INIT;
	struct dir_stamp stamp;
	int err;

	subscriptions_write(subs, s->layout, &text);
	err = dovecot_file_replace(s, SUBSCRIPTIONS_NAME, text.data, text.len);
	if (err >= 0)
		err = file_stamp(s, &stamp);
	if (err >= 0)
		err = index_meta_put(tx, SUBSCRIPTIONS_NAME, &stamp, sizeof(stamp));
	return err;
}

int subscriptions_put(struct store *s, struct index_txn *tx, const struct tree *t,
		      const struct mailbox *m, const struct tree *was)
{
	struct subscriptions subs = {0};
	int err = read_file(s, &subs);
	bool missing = err == -ENOENT, changed;

	if (err < 0 && !missing)
		return 0; /* not a file of Dovecot's: none of our business */
	if (missing && !m->subscribed)
		return 0;
	changed = is_renamed(m, was) || missing ? update_all(s, &subs, t, was, m, missing)
						: update(s, &subs, t, was, m, false);
	err = changed ? replace_file(s, tx, &subs) : 0;
	subscriptions_release(&subs);
	return err;
}
