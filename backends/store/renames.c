/*
 * renames.c - which directory each mailbox had before a scan logs renames by hand: STORE/renames.
 *
 * The renames that one scan finds are one change of the index but many records, and after a stop
 * between them some names are new and some old: what a ring of names means is not to be seen from
 * them.  So the directories and their identities are noted, durably, before the first of these
 * records, until all of them and the index have it.  While the file is there no directory is renamed to
 * fit a name; the scan finds again where each directory went and finishes the names.  The index of a
 * killed process has the directories of before anyway; one that is built anew gets them from here.
 *
 * The file: checksum (u64) and length (u64) of the rest; of each mailbox its GUID (16), the identity
 * of its directory (u64, at_identity()), and its path (string).  The store's lock is held.
 */
#include "backends/base/at.h"
#include "backends/base/buf.h"
#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/scan-private.h"
#include <errno.h>
#include <limits.h>
#include <string.h>

#define RENAMES_FILE "renames"
#define RENAMES_MAX (256u << 20)

void renames_look(struct store *s)
{
	struct stat st;

	s->renames = at_stat(s->dir_fd, RENAMES_FILE, &st) == 0;
}

int renames_note(struct scan *sc)
{
	BUF_AUTO struct buf rest = BUF_INIT, all = BUF_INIT;
	int err;

	if (sc->s->trial.tx)
		return 0;
	for (size_t i = 0; i < sc->n_boxes; i++) {
		const struct scan_box *b = &sc->boxes[i];

		buf_put(&rest, b->guid.b, sizeof(b->guid.b));
		buf_put_u64(&rest, b->ino);
		buf_put_str(&rest, b->dir);
	}
	buf_put_u64(&all, checksum64(rest.data, rest.len, rest.len));
	buf_put_u64(&all, rest.len);
	buf_put(&all, rest.data, rest.len);
	err = io_replace_file(sc->s->dir_fd, RENAMES_FILE, all.data, all.len, 0600);
	renames_look(sc->s); /* it may be there after an error */
	return err;
}

int renames_forget(struct store *s)
{
	int err = log_flush(s->log);

	if (err == MB_E_LOG_DEAD)
		err = log_rotate(s->log);
	if (err >= 0)
		err = io_unlinkat(s->dir_fd, RENAMES_FILE, 0);
	if (err >= 0 || err == -ENOENT) {
		s->renames = false;
		err = io_fsync(s->dir_fd); /* one that came back would tell of an old time */
	}
	return err;
}

/* ---- for an index that was built anew ---- */

struct noted {
	struct guid guid;
	uint64_t ino;
	char *dir; /* owned */
	size_t node;
};

struct noted_list {
	struct noted *v; /* owned */
	size_t n, cap;
};

static int read_file(struct store *s, uint8_t **ret_data, struct reader *ret)
{
	size_t len;
	uint64_t check, size;
	int err = io_read_file(s->dir_fd, RENAMES_FILE, RENAMES_MAX, ret_data, &len);

	if (err < 0)
		return err;
	*ret = reader_of(*ret_data, len);
	check = reader_get_u64(ret);
	size = reader_get_u64(ret);
	if (ret->failed || size != reader_left(ret) || checksum64(ret->p, size, size) != check)
		return MB_E_FORMAT;
	return 0;
}

/* Those that live now. */
static int read_list(struct store *s, const struct tree *t, struct noted_list *l)
{
	MB_AUTO_FREE uint8_t *data = NULL;
	struct reader r;
	int err = read_file(s, &data, &r);

	while (err >= 0 && reader_left(&r) > 0) {
		struct noted x = {0};
		struct mailbox *m;

		reader_get(&r, x.guid.b, sizeof(x.guid.b));
		x.ino = reader_get_u64(&r);
		x.dir = reader_get_str(&r, PATH_MAX);
		if (r.failed || !x.dir || (*x.dir && !at_path_ok(x.dir))) {
			free(x.dir);
			return MB_E_FORMAT;
		}
		m = tree_find(t, &x.guid);
		if (!m || !mailbox_alive(m)) {
			free(x.dir);
			continue;
		}
		x.node = (size_t)(m - t->nodes);
		MB_GROW(l->v, l->cap, l->n + 1);
		l->v[l->n++] = x;
	}
	return err;
}

/* Whoever has it in the index now, a name's own one or one that was made later, is found again. */
static int give_up(struct store *s, struct index_txn *tx, const char *dir)
{
	struct guid other;

	return index_mailbox_by_dir(tx, dir, &other) == 0 ? mailbox_set_dir(s, tx, &other, NULL)
							  : 0;
}

/* Not mailbox_set_dir(): its directory may be elsewhere, and another one there. */
static int give_back(struct index_txn *tx, const struct noted *x)
{
	struct mailbox m = {0};
	struct mailbox_local local = {0};
	int err = index_get_mailbox(tx, &x->guid, &m, &local);

	if (err < 0)
		return err;
	free(local.dir);
	local.dir = mb_xstrdup(x->dir);
	local.ino = x->ino;
	memset(&local.cur, 0, sizeof(local.cur));
	memset(&local.new_, 0, sizeof(local.new_));
	err = index_put_mailbox(tx, &m, &local);
	mailbox_release(&m);
	mailbox_local_release(&local);
	return err;
}

int renames_recall(struct store *s, struct index_txn *tx, const struct tree *t, bool *noted)
{
	struct noted_list l = {0};
	int err = read_list(s, t, &l);

	if (err == MB_E_FORMAT || err == -EFBIG) {
		mb_msg(MB_WARNING,
		       "%s/%s is damaged: folders that were renamed by hand may be found under "
		       "other names; look at their names",
		       s->dir, RENAMES_FILE);
		l.n = 0;
		err = 0;
	}
	for (size_t i = 0; i < l.n && err >= 0; i++)
		err = give_up(s, tx, l.v[i].dir);
	for (size_t i = 0; i < l.n && err >= 0; i++) {
		err = give_back(tx, &l.v[i]);
		noted[l.v[i].node] = true;
	}
	for (size_t i = 0; i < l.n; i++)
		free(l.v[i].dir);
	free(l.v);
	return err == -ENOENT ? 0 : err;
}
