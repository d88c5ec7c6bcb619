/*
 * intent.c - what a put is about to do to a file: STORE/intent.
 *
 * A put that a stop cuts off between its file operation and its record must not be taken for the
 * work of a local program: it would get a stamp of now, and win against what the peer did since.  So
 * the operation is noted before it, and taken back at the next start when no record followed; the
 * peer sends it again.  One small write for each put, never flushed: after a power cut the file
 * operation and the note may be there in any mixture, and each is checked against the other.
 *
 * The file: checksum (u64) and length (u64) of the rest; position of the log's end; inode (u64) of the
 * file; fewest links (u64) that it has when the operation was done; old and new path (strings; no old
 * path: the name is a new one).  The store's lock is held.
 */
#include "backends/base/at.h"
#include "backends/base/buf.h"
#include "backends/base/hash.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <string.h>

#define INTENT_FILE "intent"
#define INTENT_MAX (2 * PATH_MAX + 128)

struct intent {
	struct position end;
	uint64_t ino, links;
	char *old_path, *new_path; /* owned; old_path NULL: a new name */
};

static int write_intent(struct store *s, const struct buf *b)
{
	if (s->intent_fd < 0)
		s->intent_fd = openat(s->dir_fd, INTENT_FILE,
				      O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (s->intent_fd < 0)
		return -errno;
	ssize_t n = pwrite(s->intent_fd, b->data, b->len, 0);

	return n < 0 ? -errno : (size_t)n == b->len ? 0 : -ENOSPC;
}

static int note(struct store *s, const char *old_path, const char *new_path, uint64_t ino,
		uint64_t links)
{
	BUF_AUTO struct buf rest = BUF_INIT, all = BUF_INIT;
	struct position end;
	int err = log_end(s->log, &end);

	if (err < 0)
		return err;
	position_encode(&end, &rest);
	buf_put_u64(&rest, ino);
	buf_put_u64(&rest, links);
	buf_put_str(&rest, old_path);
	buf_put_str(&rest, new_path);
	buf_put_u64(&all, checksum64(rest.data, rest.len, rest.len));
	buf_put_u64(&all, rest.len);
	buf_put(&all, rest.data, rest.len);
	return write_intent(s, &all);
}

int intent_rename(struct store *s, const char *old_path, const char *new_path, uint64_t ino)
{
	return note(s, old_path, new_path, ino, 1);
}

int intent_link(struct store *s, const char *new_path, uint64_t ino)
{
	return note(s, NULL, new_path, ino, 2);
}

void intent_drop(struct store *s)
{
	static uint8_t zeros[16];
	const struct buf none = {.data = zeros, .len = sizeof(zeros)};

	if (s->intent_fd >= 0)
		write_intent(s, &none);
}

static int read_intent(struct store *s, struct intent *ret)
{
	MB_AUTO_FREE uint8_t *data = NULL;
	size_t len;
	struct reader r;
	uint64_t check, size;
	int err = io_read_file(s->dir_fd, INTENT_FILE, INTENT_MAX, &data, &len);

	if (err < 0)
		return err;
	r = reader_of(data, len);
	check = reader_get_u64(&r);
	size = reader_get_u64(&r);
	if (r.failed || !size || size > reader_left(&r) || checksum64(r.p, size, size) != check)
		return -ENOENT;
	r = reader_of(r.p, size);
	if (!position_decode(&r, &ret->end))
		return -ENOENT;
	ret->ino = reader_get_u64(&r);
	ret->links = reader_get_u64(&r);
	ret->old_path = reader_get_str(&r, PATH_MAX);
	ret->new_path = reader_get_str(&r, PATH_MAX);
	if (ret->old_path && !*ret->old_path)
		free(MB_TAKE(ret->old_path));
	if (r.failed || !at_path_ok(ret->new_path) || (ret->old_path && !at_path_ok(ret->old_path)))
		return -ENOENT;
	return 0;
}

static int first_record(const struct record *r, const struct position *end, uint64_t modseq,
			void *arg)
{
	return 1;
}

/* Its record is not there. */
static bool was_cut(struct store *s, const struct intent *i)
{
	return log_read(s->log, &i->end, first_record, NULL, NULL) == 0;
}

static int take_back(struct store *s, const struct intent *i)
{
	MB_AUTO_CLOSE int from = -1, to = -1;
	const char *from_name, *to_name;
	struct stat st;

	from = at_open_parent(s->mail_fd, i->new_path, &from_name);
	if (from < 0 || at_stat(from, from_name, &st) < 0 || st.st_ino != i->ino ||
	    st.st_nlink < i->links)
		return 0; /* it was not done, or somebody went on with it */
	if (i->old_path) {
		to = at_open_parent(s->mail_fd, i->old_path, &to_name);
		if (to < 0)
			return 0;
		return io_renameat2(from, from_name, to, to_name, RENAME_NOREPLACE);
	}
	return io_unlinkat(from, from_name, 0); /* the peer has it, or it has another name here */
}

int intent_undo(struct store *s)
{
	struct intent i = {0};
	int err = read_intent(s, &i);

	if (err == 0 && was_cut(s, &i)) {
		err = take_back(s, &i);
		if (err == -EEXIST || err == -ENOENT)
			err = 0;
	}
	free(i.old_path);
	free(i.new_path);
	return err == -ENOENT || err == -EFBIG ? 0 : err;
}
