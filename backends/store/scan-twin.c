/*
 * scan-twin.c - several names of one file: hard links that programs made.
 *
 * The inode in an entry is of the past: the message may be gone, and file systems give its inode to
 * the next file at once.  A message is taken for another name of a file only when its own name is
 * there and has that inode now.
 *
 * The table of inodes is made when the first file with more than one link has to be published, from
 * all entries at once; what is published after that is added to it.
 */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "backends/base/mem.h"
#include "backends/store/scan-private.h"
#include <errno.h>
#include <string.h>
#define HASH_FUNCTION(key, len, ret) ((ret) = (unsigned)checksum64((key), (len), 0))
#include <uthash.h>

struct scan_twin {
	uint64_t ino;
	struct guid guid;
	uint64_t id;
	struct scan_twin *next; /* owned; another copy with this inode */
	UT_hash_handle hh;
};

static void add(struct scan *sc, const struct entry *e)
{
	struct scan_twin *t = mb_xcalloc(1, sizeof(*t)), *first;

	*t = (struct scan_twin){.ino = e->ino, .guid = e->copy.guid, .id = e->copy.id};
	HASH_FIND(hh, sc->twins, &t->ino, sizeof(t->ino), first);
	if (first) {
		t->next = first->next;
		first->next = t;
	} else {
		HASH_ADD(hh, sc->twins, ino, sizeof(t->ino), t);
	}
}

static int add_one(struct entry *e, void *arg)
{
	if (entry_has_file(e) && e->ino && e->file)
		add(arg, e);
	return 0;
}

static bool is_same_name(const char *a, const char *b)
{
	struct fname f, g;

	fname_parse(a, &f);
	fname_parse(b, &g);
	return f.unique_len == g.unique_len && memcmp(a, b, f.unique_len) == 0;
}

static bool is_there_now(struct scan *sc, const struct entry *e)
{
	MB_AUTO_FREE char *path = entry_path(sc->tx, e);
	struct stat st;

	return path && at_stat(sc->s->mail_fd, path, &st) == 0 && S_ISREG(st.st_mode) &&
	       st.st_ino == e->ino;
}

/* Entries change while the scan goes on: the table says where to look, the index and the tree what is so. */
static int find(struct scan *sc, const struct guid *mailbox, const char *name, uint64_t ino,
		struct guid *ret)
{
	struct scan_twin *t;
	int result = TWIN_NONE;

	HASH_FIND(hh, sc->twins, &ino, sizeof(ino), t);
	for (; t && result != TWIN_SAME; t = t->next) {
		struct entry e = {0};
		int err = index_get_entry(sc->tx, &t->guid, t->id, &e);

		if (err < 0 && err != -ENOENT)
			return err;
		if (err == 0 && entry_has_file(&e) && e.ino == ino && e.file &&
		    is_there_now(sc, &e)) {
			bool same = guid_equal(&e.copy.place.mailbox, mailbox) &&
				    is_same_name(e.file, name);

			result = same ? TWIN_SAME : TWIN_COPY;
			*ret = e.copy.guid;
		}
		entry_release(&e);
	}
	return result;
}

int scan_twin_find(struct scan *sc, const struct guid *mailbox, const char *name, uint64_t ino,
		   struct guid *ret)
{
	int err = sc->has_twins ? 0 : index_each(sc->tx, add_one, sc);

	sc->has_twins = true;
	return err < 0 ? err : find(sc, mailbox, name, ino, ret);
}

int scan_twin_add(struct scan *sc, const struct guid *mailbox, const char *name, bool in_new)
{
	struct entry e = {0};
	int err = entry_at(sc->tx, mailbox, name, in_new, &e);

	if (err == 0)
		add(sc, &e);
	entry_release(&e);
	return err == -ENOENT ? 0 : err;
}

void scan_twins_release(struct scan *sc)
{
	struct scan_twin *t, *tmp;

	HASH_ITER (hh, sc->twins, t, tmp) {
		HASH_DEL(sc->twins, t);
		while (t) {
			struct scan_twin *next = t->next;

			free(t);
			t = next;
		}
	}
}
