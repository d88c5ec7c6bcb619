/*
 * log-read.c - positions and reading: where the log ends, whether it holds a position, its records.
 *
 * Where a file ends: one that is not the last ends where the next file's header says, and all bytes
 * before that must be right: else MB_E_CHECKSUM.  The last one, for its writer, ends where the
 * writer is.  For everybody else it ends at the first frame that is not whole and right: a torn
 * tail, or one that is being written.  Only there the bytes behind are searched: a right frame among
 * them means that this is no tail but damage, MB_E_CHECKSUM.  log_end() does not search.
 *
 * A position is checked in O(1): file by sequence and id; offset not beyond the end; the checksum of
 * the record that ends there, which stands in the 8 bytes before it.  A position that somebody made
 * up may pass with luck; reading from it finds no frame, and then the file is walked from its start
 * to tell a wrong position from damage.  The end of a file that was removed is the start of the next.
 *
 * log_read() works on a copy of the table and on descriptors of its own, so that fn may call the log.
 */
#include "backends/store/log-private.h"

#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

/* Bytes of the file that may hold records. */
static int file_limit(int fd, uint64_t *ret)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	*ret = (uint64_t)st.st_size < LOG_FILE_MAX ? (uint64_t)st.st_size : LOG_FILE_MAX - 1;
	return 0;
}

int log_look(struct log *l)
{
	struct frame f;
	struct scan s;
	uint64_t limit = 0;
	int r = file_limit(l->fd, &limit);

	if (r)
		return r;
	if (limit < l->end) { /* cut by a stranger */
		l->end = LOG_HEADER_SIZE;
		l->check = 0;
	}
	scan_init(&s, l->fd, &l->files[l->n - 1].id, l->end, limit);
	while ((r = scan_next(&s, &f)) == 1) {
		l->end = f.end;
		l->check = f.check;
	}
	scan_release(&s);
	return r == MB_E_CHECKSUM ? 0 : r;
}

uint64_t log_written(const struct log *l, const struct position *p)
{
	char name[LOG_NAME_MAX];
	struct stat st;

	log_name(name, p->sequence, "log");
	return fstatat(l->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (uint64_t)st.st_size : 0;
}

int log_end(struct log *l, struct position *ret)
{
	int r = 0;

	pthread_mutex_lock(&l->lock);
	if (!l->writer) {
		r = files_update(l);
		if (!r && l->n)
			r = log_look(l);
	}
	if (!r)
		*ret = l->n ? position_at(&l->files[l->n - 1], l->end, l->check)
			    : (struct position){0};
	pthread_mutex_unlock(&l->lock);
	return r;
}

/* --- positions ----------------------------------------------------------------------------- */

static int position_fits(int fd, const struct position *p, uint64_t limit)
{
	uint8_t check[8];
	ssize_t n;

	if (p->offset == LOG_HEADER_SIZE)
		return p->check == 0 ? 0 : MB_E_POSITION;
	if (!p->check || p->offset <= LOG_HEADER_SIZE + FRAME_EXTRA || p->offset > limit)
		return MB_E_POSITION;
	n = io_pread_full(fd, check, sizeof(check), (off_t)p->offset - 8);
	if (n < 0)
		return (int)n;
	return n == sizeof(check) && get_le64(check) == p->check ? 0 : MB_E_POSITION;
}

/* Where file i ends at most. */
static int end_of(const struct log *l, size_t i, int fd, uint64_t *ret)
{
	if (i + 1 < l->n) {
		*ret = l->files[i + 1].prev_end;
		return 0;
	}
	if (l->writer) {
		*ret = l->end;
		return 0;
	}
	return file_limit(fd, ret);
}

/* Opens a file of the table; one that is gone holds no position any more. */
static int open_held(const struct log *l, const struct log_header *h)
{
	int fd = file_open(l, h, O_RDONLY);

	return fd == -ENOENT ? MB_E_POSITION : fd;
}

/* Finds the file in which what comes after p begins, and the offset there. */
static int locate(const struct log *l, const struct position *p, size_t *ret_i, uint64_t *ret_from)
{
	MB_AUTO_CLOSE int fd = -1;
	uint64_t limit;
	size_t i;
	int r;

	for (i = 0; i < l->n && l->files[i].sequence < p->sequence; i++)
		;
	if (i < l->n && l->files[i].sequence == p->sequence &&
	    guid_equal(&l->files[i].id, &p->log)) {
		fd = open_held(l, &l->files[i]);
		if (fd < 0)
			return fd;
		r = end_of(l, i, fd, &limit);
		if (!r)
			r = position_fits(fd, p, limit);
		*ret_from = p->offset;
	} else {
		r = i < l->n && guid_equal(&l->files[i].prev, &p->log) &&
				    l->files[i].prev_end == p->offset
			    ? 0
			    : MB_E_POSITION;
		*ret_from = LOG_HEADER_SIZE;
	}
	*ret_i = i;
	for (i++; !r && i < l->n; i++)
		if (!guid_equal(&l->files[i].prev, &l->files[i - 1].id))
			r = MB_E_POSITION; /* a hole */
	return r;
}

int log_locate(struct log *l, const struct position *p, size_t *ret_i, uint64_t *ret_from)
{
	int r;

	if (position_is_none(p) || guid_is_zero(&p->log))
		return MB_E_POSITION;
	r = files_update(l);
	return r ? r : locate(l, p, ret_i, ret_from);
}

int log_check(struct log *l, const struct position *p)
{
	uint64_t from;
	size_t i;
	int r;

	pthread_mutex_lock(&l->lock);
	r = log_locate(l, p, &i, &from);
	pthread_mutex_unlock(&l->lock);
	return r;
}

uint64_t log_modseq(struct log *l, const struct position *p)
{
	struct ckpt_header ck;
	uint64_t modseq = 0;
	size_t i;

	pthread_mutex_lock(&l->lock);
	for (i = 0; i < l->n && !modseq; i++)
		if (l->files[i].sequence == p->sequence && guid_equal(&l->files[i].id, &p->log))
			modseq = log_modseq_of(&l->files[i], p->offset);
	pthread_mutex_unlock(&l->lock);
	if (modseq || !p->sequence || ckpt_header_read(l->dir, p->sequence, &ck))
		return modseq;
	if (!guid_equal(&ck.log, &p->log))
		return 0;
	return ((uint64_t)ck.indexid + ck.sequence) << 32 | p->offset;
}

/* --- records ------------------------------------------------------------------------------- */

struct walk {
	struct log_header *files; /* owned; from the one with the position on */
	size_t n;
	uint64_t from;	/* in the first */
	uint64_t limit; /* of the last */
	bool exact;	/* the last one ends there: we are its writer */
	log_fn *fn;
	void *arg;
	struct position good;
};

static int give(struct walk *w, const struct log_header *h, const struct frame *f)
{
	struct position end = position_at(h, f->end, f->check);
	struct record rec = {0};
	int r = record_decode(f->payload, f->len, &rec);

	if (!r)
		r = w->fn(&rec, &end, log_modseq_of(h, f->end), w->arg);
	record_release(&rec);
	if (!r)
		w->good = end;
	return r;
}

/* A frame is bad at s->off in the last file, which somebody else may be writing: is it the tail?
 * 0 it is, 1 it was only being written and *ret is right now, MB_E_CHECKSUM it is not. */
static int judge_tail(struct scan *s, struct frame *ret)
{
	uint64_t bad = s->off;
	int r = scan_resync(s, ret);

	if (r <= 0)
		return r;
	s->off = bad;
	s->len = 0; /* read it again */
	return scan_next(s, ret);
}

/* false when no record begins at `off`, for which all before it must be right. */
static bool is_boundary(int fd, const struct guid *id, uint64_t off)
{
	struct frame f;
	struct scan s;
	int r;

	scan_init(&s, fd, id, LOG_HEADER_SIZE, off);
	do
		r = scan_next(&s, &f);
	while (r == 1);
	/* Bad with less than `off` left over: the frame there reaches beyond it. */
	if (r == MB_E_CHECKSUM) {
		s.limit = LOG_FILE_MAX;
		s.len = 0;
		r = scan_next(&s, &f) == 1;
	}
	scan_release(&s);
	return r != 1;
}

static int walk_file(struct walk *w, size_t i, int fd)
{
	const struct log_header *h = &w->files[i];
	bool last = i + 1 == w->n;
	uint64_t from = i ? LOG_HEADER_SIZE : w->from;
	struct frame f;
	struct scan s;
	int r;

	scan_init(&s, fd, &h->id, from, last ? w->limit : w->files[i + 1].prev_end);
	for (;;) {
		r = scan_next(&s, &f);
		if (r == MB_E_CHECKSUM && s.off == from && from > LOG_HEADER_SIZE &&
		    !is_boundary(fd, &h->id, from))
			r = MB_E_POSITION;
		if (r == MB_E_CHECKSUM && last && !w->exact)
			r = judge_tail(&s, &f);
		if (r == 1)
			r = give(w, h, &f);
		else
			break;
		if (r)
			break;
	}
	scan_release(&s);
	return r;
}

static int walk_files(struct log *l, struct walk *w)
{
	size_t i;
	int r = 0;

	for (i = 0; i < w->n && !r; i++) {
		MB_AUTO_CLOSE int fd = open_held(l, &w->files[i]);

		if (fd < 0)
			return fd;
		if (i || w->from == LOG_HEADER_SIZE)
			w->good = position_at(&w->files[i], LOG_HEADER_SIZE, 0);
		r = walk_file(w, i, fd);
	}
	return r;
}

/* Copies what the walk needs of the table, and looks how far the log goes now. */
static int walk_init(struct log *l, const struct position *since, struct walk *w)
{
	size_t i;
	int r;

	pthread_mutex_lock(&l->lock);
	r = log_locate(l, since, &i, &w->from);
	if (!r)
		r = end_of(l, l->n - 1, l->fd, &w->limit);
	if (!r) {
		w->n = l->n - i;
		w->files = mb_xmemdup(l->files + i, w->n * sizeof(*l->files));
		w->exact = l->writer;
	}
	pthread_mutex_unlock(&l->lock);
	return r;
}

int log_read(struct log *l, const struct position *since, log_fn *fn, void *arg,
	     struct position *ret_good)
{
	struct walk w = {.fn = fn, .arg = arg, .good = *since};
	int r = walk_init(l, since, &w);

	if (!r)
		r = walk_files(l, &w);
	free(w.files);
	if (ret_good)
		*ret_good = w.good;
	return r;
}
