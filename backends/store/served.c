/*
 * served.c - see served.h.
 */
#include "backends/store/served.h"

#include "backends/base/mem.h"
#include "backends/store/uidlist.h"

#include <errno.h>
#include <string.h>

#define SEEN "dovecot-seen"

/* Each index has its log; the second one is in the root alone. */
static const char *const index_names[] = {"dovecot.index.log", "dovecot.list.index.log"};

static bool is_dovecots(const char *comm)
{
	static const char *const names[] = {"imap", "pop3",	   "lmtp",
					    "lda",  "dovecot-lda", "indexer-worker"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strncmp(comm, names[i], REC_COMM_MAX) == 0)
			return true;
	}
	return false;
}

int served_noticed(struct index_txn *tx, const struct origin *origin)
{
	if (!origin->pid || !is_dovecots(origin->comm) || index_meta_has(tx, SEEN))
		return 0;
	return index_meta_put(tx, SEEN, "", 1);
}

static bool has_index(struct store *s, const char *dir)
{
	struct file_mark mark;

	for (size_t i = 0; i < (*dir ? 1 : 2); i++) {
		char *path MB_AUTO_FREE = path_join(dir, NULL, index_names[i]);
		if (file_mark_of(s, path, &mark) == 0)
			return true;
	}
	return false;
}

static int look(struct store *s, struct index_txn *tx, const struct tree *t, enum served *ret)
{
	bool index = index_meta_has(tx, SEEN) || has_index(s, "");

	*ret = SERVED_INSIDE;
	if (uidlist_is_there(s, ""))
		return 0;
	for (size_t i = 0; i < t->n; i++) {
		char *dir MB_AUTO_FREE = NULL;
		if (!mailbox_alive(&t->nodes[i]))
			continue;
		int err = mailbox_dir(tx, &t->nodes[i].guid, &dir);
		if (err == -ENOENT)
			continue;
		if (err < 0)
			return err;
		if (uidlist_is_there(s, dir))
			return 0;
		index = index || has_index(s, dir);
	}
	*ret = index ? SERVED_OUTSIDE : SERVED_BY_NONE;
	return 0;
}

int store_served(struct store *s, enum served *ret)
{
	struct index_txn *tx;
	struct tree t = {0};

	*ret = SERVED_BY_NONE;
	int err = index_begin(store_index(s), false, &tx);
	if (err < 0)
		return err;
	err = index_tree(tx, &t);
	if (err >= 0)
		err = look(s, tx, &t, ret);
	tree_release(&t);
	index_abort(tx);
	return err;
}
