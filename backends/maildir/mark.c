/*
 * mark.c - what a file of the Maildir says of itself to other stores that have this Maildir too.
 *
 * Each store gives a new file a GUID; two stores that both have the Maildir would know one mail by two,
 * until they meet, and take it for two when it was moved or expunged before that.  So the store that
 * sees a file first, or puts it, notes GUID and place in an extended attribute, which no mail program
 * sees.  It is bound to this very file (inode, birth, size, mtime): what was copied back in from a backup,
 * or edited, has none, whatever it was copied with.  Nothing depends on it: where the file system has no
 * attributes, or they are lost, messages are found to be one by their content (design 5, rule 10).
 *
 * 56 bytes, so that an ext4 inode of 256 bytes holds it: GUID, id, stamp of the place, the low halves of
 * the writer's id of this Maildir and of a hash of the directory, checksum of these and of what it is
 * bound to.
 */
#include "backends/base/at.h"
#include "backends/base/buf.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/maildir/maildir.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>

#define NAME "user.mailbraid"
#define SIZE 56
#define SUMMED (SIZE - 8)
#define VERSION 1

static uint32_t dir_hash(const struct md_box *box)
{
	return (uint32_t)checksum64(box->dir, strlen(box->dir), VERSION);
}

/* What is said, and of which file.  False when that cannot be told. */
static bool sum(int fd, const uint8_t *said, uint64_t *ret)
{
	uint8_t all[SUMMED + 48] = {0};
	struct statx st;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &st) < 0)
		return false;
	memcpy(all, said, SUMMED);
	uint8_t *p = all + SUMMED;
	put_le64(p, st.stx_ino);
	put_le64(p + 8, st.stx_size);
	put_le64(p + 16, (uint64_t)st.stx_mtime.tv_sec);
	put_le64(p + 24, st.stx_mtime.tv_nsec);
	if (st.stx_mask & STATX_BTIME) {
		put_le64(p + 32, (uint64_t)st.stx_btime.tv_sec);
		put_le64(p + 40, st.stx_btime.tv_nsec);
	}
	*ret = checksum64(all, sizeof(all), VERSION);
	return true;
}

void md_mark_fd(const struct maildir *m, const struct md_file *f, const struct stamp *placed_at,
		int fd)
{
	uint8_t b[SIZE];
	uint64_t check;

	if (io_is_read_only() || !f->box->dir)
		return;
	memcpy(b, f->guid.b, 16);
	put_le64(b + 16, f->id);
	put_le64(b + 24, placed_at->time);
	put_le64(b + 32, placed_at->replica);
	put_le32(b + 40, (uint32_t)m->replica);
	put_le32(b + 44, dir_hash(f->box));
	if (!sum(fd, b, &check))
		return;
	put_le64(b + SUMMED, check);
	if (fsetxattr(fd, NAME, b, sizeof(b), 0) < 0)
		return; /* not ours, or there are no attributes: nothing is lost */
}

/* Under the name that is known: a file that has just been renamed is not looked for. */
static int open_named(const struct maildir *m, const struct md_file *f)
{
	if (!f->name || !f->box->dir)
		return -ENOENT;
	MB_AUTO_FREE char *path = md_sub_path(f->box, f->in_new ? "new" : "cur", f->name);
	return at_open_regular(m->root, path, O_RDONLY);
}

void md_mark(struct maildir *m, struct md_file *f)
{
	MB_AUTO_CLOSE int fd = io_is_read_only() ? -1 : open_named(m, f);

	if (fd >= 0)
		md_mark_fd(m, f, &f->placed_at, fd);
}

bool md_mark_read(struct maildir *m, struct md_file *f, struct md_mark *ret)
{
	MB_AUTO_CLOSE int fd = open_named(m, f);
	uint8_t b[SIZE + 1];
	uint64_t check;

	if (fd < 0 || fgetxattr(fd, NAME, b, sizeof(b)) != SIZE || !sum(fd, b, &check) ||
	    check != get_le64(b + SUMMED))
		return false;
	memcpy(ret->guid.b, b, 16);
	ret->id = get_le64(b + 16);
	ret->placed_at.time = get_le64(b + 24);
	ret->placed_at.replica = get_le64(b + 32);
	ret->own = get_le32(b + 40) == (uint32_t)m->replica;
	ret->moved = get_le32(b + 44) != dir_hash(f->box);
	return !guid_is_zero(&ret->guid) && !stamp_is_none(&ret->placed_at);
}

/* The file has the content that the local side knows, dead or alive, under that name.  Of a message that
 * it never heard of, nothing speaks against it. */
static bool fits(struct maildir *m, struct md_file *f, const struct copy *c)
{
	struct digest here;

	if (c->size && c->size != f->size)
		return false;
	return !digest_known(&c->digest) ||
	       (md_digest_file(m, f, &here) == 0 && digest_equal(&here, &c->digest));
}

/* As the local side calls it. */
static bool known_as(struct maildir *m, struct md_file *f, struct md_mark *k)
{
	struct message msg = {0};
	int err = m->local->ops->message(m->local, &k->guid, &msg);
	bool ok = err == -ENOENT || (err >= 0 && msg.n == 0);

	if (!ok && err >= 0) {
		const struct copy *c = message_find(&msg, k->id);

		if (!c || !guid_equal(&msg.guid, &k->guid))
			c = msg.n == 1 ? &msg.copies[0] : NULL;
		ok = c && fits(m, f, c);
		if (ok) {
			k->guid = msg.guid;
			k->id = c->id;
		}
	}
	message_release(&msg);
	return ok;
}

bool md_mark_recall(struct maildir *m, struct md_file *f, struct md_mark *ret)
{
	/* Its own tells that the map had it, and that it went: somebody put it back. */
	if (!md_mark_read(m, f, ret) || ret->own || !known_as(m, f, ret))
		return false;
	struct stamp now = md_now(m);

	if (ret->moved || stamp_compare(&ret->placed_at, &now) > 0)
		ret->placed_at = now;
	return true;
}

bool md_mark_is_put_back(struct maildir *m, struct md_file *f)
{
	struct md_mark mark;

	return f->agreed && md_mark_recall(m, f, &mark) && guid_equal(&mark.guid, &f->guid) &&
	       mark.id == f->id && stamp_compare(&mark.placed_at, &f->placed_at) <= 0;
}

struct md_file *md_mark_find(struct maildir *m, struct md_file *here)
{
	struct md_mark mark;
	struct md_file *f = md_mark_recall(m, here, &mark) ? md_find(m, &mark.guid, mark.id) : NULL;

	return f && f->missing && f->size == here->size ? f : NULL;
}
