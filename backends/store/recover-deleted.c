/*
 * recover-deleted.c - kept links in deleted/ of messages that live.
 *
 * A rename that takes a body away links it to deleted/ first (posix.c), and so does a damaged file that
 * is about to be mended (mend.c).  A stop between the link and what it was for leaves both names: the
 * message lives, and a scan that loses its file later would take the kept link for its expunge.  So
 * after a stop each kept file with a second name is looked at: when that name is the one that its own
 * message has now, the link goes.
 */
#include "backends/base/at.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

struct sweep {
	struct store *s;
	struct index_txn *tx;
	int dir;
	bool damaged; /* deleted/damaged/: its names have no copy id */
};

/* "GUID.COPY.MILLISECONDS,NAME", or without COPY. */
static bool parse_kept(const struct sweep *w, const char *name, struct guid *ret, uint64_t *ret_id)
{
	char text[GUID_TEXT], *end;

	if (strlen(name) < GUID_TEXT || name[GUID_TEXT - 1] != '.')
		return false;
	memcpy(text, name, GUID_TEXT - 1);
	text[GUID_TEXT - 1] = 0;
	*ret_id = w->damaged ? 0 : strtoull(name + GUID_TEXT, &end, 16);
	return guid_parse(text, ret) && (w->damaged || *end == '.');
}

/* Is this file the one that the living copy has under its name? */
static bool is_file_of(struct sweep *w, const struct guid *guid, uint64_t id, const struct stat *st)
{
	MB_AUTO_FREE char *path = NULL;
	struct entry e = {0};
	struct stat now;

	if (index_get_entry(w->tx, guid, id, &e) == 0 && copy_alive(&e.copy) && entry_has_file(&e))
		path = entry_path(w->tx, &e);
	entry_release(&e);
	return path && at_stat(w->s->mail_fd, path, &now) == 0 && now.st_ino == st->st_ino &&
	       now.st_dev == st->st_dev;
}

static bool lives(struct sweep *w, const struct guid *guid, uint64_t id, const struct stat *st)
{
	struct message m = {0};
	bool found = false;

	if (!w->damaged)
		return is_file_of(w, guid, id, st);
	if (index_get_message(w->tx, guid, &m) < 0)
		return false;
	for (size_t i = 0; i < m.n && !found; i++)
		found = is_file_of(w, guid, m.copies[i].id, st);
	message_release(&m);
	return found;
}

static int sweep_one(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	struct sweep *w = arg;
	struct guid guid;
	struct stat st;
	uint64_t id;

	(void)type;
	(void)ino;
	if (at_stat(w->dir, name, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink < 2 ||
	    !parse_kept(w, name, &guid, &id) || !lives(w, &guid, id, &st))
		return 0;
	return io_unlinkat(w->dir, name, 0);
}

static int sweep_dir(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	const struct sweep *all = arg;
	struct sweep w = {.s = all->s, .tx = all->tx, .damaged = strcmp(name, "damaged") == 0};
	MB_AUTO_CLOSE int fd = at_open(all->s->deleted_fd, name, O_RDONLY | O_DIRECTORY, 0);

	(void)type;
	(void)ino;
	w.dir = fd;
	return fd < 0 ? 0 : at_list(fd, sweep_one, &w);
}

int recover_deleted(struct store *s)
{
	struct sweep w = {.s = s};
	int err = index_begin(s->index, false, &w.tx);

	if (err < 0)
		return err;
	err = at_list(s->deleted_fd, sweep_dir, &w);
	index_abort(w.tx);
	return err;
}
