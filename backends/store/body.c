/*
 * body.c - bodies, digests and facts of single messages, for readers.
 */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#define READER_TRIES 5

/* The body of one entry, when its file has the size that was logged. */
static int open_entry(struct store *s, struct index_txn *tx, const struct entry *e)
{
	MB_AUTO_FREE char *path = NULL;
	MB_AUTO_CLOSE int fd = -1;
	struct stat st;

	if (copy_alive(&e->copy) && e->state == ENTRY_DAMAGED)
		return MB_E_DAMAGED;
	if (!copy_alive(&e->copy) || e->state != ENTRY_PRESENT)
		return MB_E_LOST;
	path = entry_path(tx, e);
	if (!path)
		return MB_E_LOST;
	fd = at_open_regular(s->mail_fd, path, O_RDONLY);
	if (fd < 0)
		return fd == -ENOENT ? MB_E_STALE : fd; /* renamed just now, or gone */
	if (fstat(fd, &st) < 0)
		return -errno;
	return (uint64_t)st.st_size == e->copy.size ? MB_TAKE_FD(fd) : MB_E_DAMAGED;
}

static int open_kept(struct store *s, const struct entry *e)
{
	MB_AUTO_FREE char *kept = NULL;
	MB_AUTO_CLOSE int fd = -1;
	struct stat st;
	int err = file_find_deleted(s, &e->copy.place.mailbox, &e->copy.guid, e->copy.id, true,
				    &kept);

	if (err < 0)
		return MB_E_LOST;
	fd = at_open_regular(s->deleted_fd, kept, O_RDONLY);
	if (fd < 0 || fstat(fd, &st) < 0 || (uint64_t)st.st_size != e->copy.size)
		return MB_E_LOST;
	return MB_TAKE_FD(fd);
}

int body_open_locked(struct store *s, struct index_txn *tx, const struct guid *guid, uint64_t id)
{
	struct message m = {0};
	struct entry e = {0};
	int err = index_get_entry(tx, guid, id, &e), first;

	if (err < 0)
		return err;
	first = err = open_entry(s, tx, &e);
	if (err < 0 && index_get_message(tx, guid, &m) >= 0)
		for (size_t i = 0; i < m.n && err < 0; i++) {
			struct entry other = {0};

			if (m.copies[i].id != id &&
			    index_get_entry(tx, guid, m.copies[i].id, &other) == 0)
				err = open_entry(s, tx, &other);
			entry_release(&other);
		}
	if (err < 0)
		err = open_kept(s, &e);
	message_release(&m);
	entry_release(&e);
	return err < 0 ? first : err;
}

static int open_once(struct store *s, const struct guid *guid, uint64_t id)
{
	struct index_txn *tx;
	int err = index_begin(s->index, false, &tx);

	if (err < 0)
		return err;
	err = body_open_locked(s, tx, guid, id);
	index_abort(tx);
	return err;
}

/*
 * Files are renamed before the index says so, and we hold no lock: what has no file under its name is
 * looked up again, by the writer's own process with the lock, by a reader a little later.
 */
static int open_again(struct store *s, const struct guid *guid, uint64_t id)
{
	const struct timespec pause = {.tv_nsec = 2000000};
	int err = MB_E_STALE;

	for (int tries = 0; err == MB_E_STALE && tries < READER_TRIES; tries++) {
		if (s->mode == STORE_WRITE) {
			store_lock(s);
			err = open_once(s, guid, id);
			store_unlock(s);
			break;
		}
		nanosleep(&pause, NULL);
		err = open_once(s, guid, id);
	}
	return err == MB_E_STALE ? MB_E_LOST : err;
}

int store_open_body(struct store *s, const struct guid *guid, uint64_t id)
{
	int err = open_once(s, guid, id);

	return err == MB_E_STALE ? open_again(s, guid, id) : err;
}

int store_copy_path(struct store *s, const struct guid *guid, uint64_t id, char **ret_path)
{
	struct index_txn *tx;
	struct entry e = {0};
	int err = index_begin(s->index, false, &tx);

	if (err < 0)
		return err;
	err = index_get_entry(tx, guid, id, &e);
	if (err >= 0) {
		*ret_path = copy_alive(&e.copy) ? entry_path(tx, &e) : NULL;
		err = *ret_path ? 0 : -ENOENT;
	}
	entry_release(&e);
	index_abort(tx);
	return err;
}

/* The digest has become known: one record, no news for peers. */
static int log_digest(struct store *s, struct index_txn *tx, const struct sent_digest *d)
{
	struct record r = {.type = REC_DIGEST, .origin = {.comm = "digest"}};
	struct entry e = {0};
	int err = index_get_entry(tx, &d->guid, d->id, &e);

	if (err >= 0 && !digest_known(&e.copy.digest) && copy_alive(&e.copy)) {
		copy_clone(&r.copy, &e.copy);
		r.copy.digest = d->digest;
		err = change_record(s, tx, &r);
	}
	entry_release(&e);
	record_release(&r);
	return err == -ENOENT ? 0 : err;
}

int store_learn(struct store *s, const struct sent_digest *list, size_t n)
{
	struct index_txn *tx;

	store_lock(s);
	int err = change_begin(s, &tx);
	if (err >= 0) {
		for (size_t i = 0; i < n && err >= 0; i++)
			err = log_digest(s, tx, &list[i]);
		err = change_end(s, tx, err);
	}
	store_unlock(s);
	return err < 0 ? err : 0;
}

/* 1 and the digest when it is known already. */
static int known_digest(struct store *s, const struct guid *guid, uint64_t id, struct digest *ret,
			uint64_t *ret_size)
{
	struct index_txn *tx;
	struct entry e = {0};
	int err = index_begin(s->index, false, &tx);

	if (err < 0)
		return err;
	err = index_get_entry(tx, guid, id, &e);
	index_abort(tx);
	if (err < 0)
		return err;
	*ret_size = e.copy.size;
	if (digest_known(&e.copy.digest)) {
		*ret = e.copy.digest;
		err = 1;
	} else if (!copy_alive(&e.copy) || e.state != ENTRY_PRESENT) {
		err = e.state == ENTRY_DAMAGED ? MB_E_DAMAGED : MB_E_LOST;
	}
	entry_release(&e);
	return err;
}

int store_known_digest(struct store *s, const struct guid *guid, uint64_t id, struct digest *ret)
{
	uint64_t size;

	return known_digest(s, guid, id, ret, &size);
}

int store_digest(struct store *s, const struct guid *guid, uint64_t id, struct digest *ret)
{
	MB_AUTO_CLOSE int fd = -1;
	struct digest d;
	uint64_t size, known;
	int err = known_digest(s, guid, id, ret, &known);

	if (err != 0)
		return err < 0 ? err : 0;
	fd = store_open_body(s, guid, id);
	err = fd < 0 ? fd : digest_fd(fd, &d, &size);
	if (err >= 0 && size != known)
		err = MB_E_DAMAGED;
	if (err >= 0 && s->mode == STORE_WRITE)
		err = store_learn(s, &(struct sent_digest){*guid, id, d}, 1);
	if (err >= 0)
		*ret = d;
	return err < 0 ? err : 0;
}

/* The live copy whose file is at `path`. */
static int copy_at_path(struct store *s, struct index_txn *tx, const char *path, struct entry *ret)
{
	struct node_info n;
	const char *name;
	int err = tree_classify(tx, s, path, &n, &name);

	if (err < 0)
		return err;
	return n.kind == NODE_MESSAGE ? entry_at(tx, &n.mailbox, name, n.in_new, ret) : -ENOENT;
}

uint64_t store_ordinal(struct store *s, const char *path)
{
	struct index_txn *tx;
	struct entry e = {0};
	uint64_t ordinal = 0;

	if (index_begin(s->index, false, &tx) < 0)
		return 0;
	if (copy_at_path(s, tx, path, &e) == 0)
		ordinal = e.ordinal;
	entry_release(&e);
	index_abort(tx);
	return ordinal;
}

static int xattr_text(const struct entry *e, const char *name, struct buf *out)
{
	char text[GUID_TEXT];

	if (strcmp(name, "guid") == 0)
		buf_printf(out, "%s", guid_text(&e->copy.guid, text));
	else if (strcmp(name, "modseq") == 0)
		buf_printf(out, "%llu", (unsigned long long)e->modseq);
	else if (strcmp(name, "keywords") == 0)
		flags_text(&e->copy.flags, out);
	else if (strcmp(name, "origin") == 0)
		buf_printf(out, "%016llx", (unsigned long long)e->copy.place.at.replica);
	else
		return -ENODATA;
	return 0;
}

int store_xattr(struct store *s, const char *path, const char *name, struct buf *out)
{
	static const char prefix[] = "user.mailbraid.";
	struct index_txn *tx;
	struct entry e = {0};
	int err;

	if (strncmp(name, prefix, sizeof(prefix) - 1) != 0)
		return -ENODATA;
	err = index_begin(s->index, false, &tx);
	if (err < 0)
		return -mb_err_errno(err);
	err = copy_at_path(s, tx, path, &e);
	if (err == 0)
		err = xattr_text(&e, name + sizeof(prefix) - 1, out);
	entry_release(&e);
	index_abort(tx);
	return err == -ENOENT ? -ENODATA : err < 0 ? -mb_err_errno(err) : 0;
}

int store_sync_path(struct store *s, const char *path)
{
	(void)path; /* one log for the whole store */
	return store_flush(s);
}

int store_open_deleted(const struct store *s, const char *kept)
{
	return at_open_regular(s->deleted_fd, kept, O_RDONLY);
}
