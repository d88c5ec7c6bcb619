/*
 * ckpt.c - checkpoints: the whole state at one position of the log.  Format: log-format.h.
 *
 * A checkpoint is written under CKPT_TMP, flushed, renamed, and the directory flushed: so there is
 * either none of that number or a whole one, wherever the power goes.  The log is flushed first: a
 * checkpoint never stands for records that are not on disk.  One that is not whole to the last
 * byte counts as none, and the one before it is used; so it is read twice, once to check it all.
 *
 * A checkpoint writer belongs to one thread; reading takes no lock.
 */
#include "backends/store/log-private.h"

#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#define CKPT_TRAILER_SIZE 24
#define CKPT_CHUNK ((size_t)256 << 10)

struct ckpt_writer {
	struct log *log;
	struct ckpt_header h;
	int fd;
	uint64_t offset; /* where the next frame begins */
	uint64_t n;
	XXH3_state_t *sum; /* of all record checksums */
	struct buf out;	   /* frames not yet written */
	struct buf frame;
};

/* --- header -------------------------------------------------------------------------------- */

static void header_encode(const struct ckpt_header *h, uint8_t out[CKPT_HEADER_SIZE])
{
	memcpy(out, CKPT_MAGIC, 8);
	put_le16(out + 8, LOG_VERSION);
	put_le16(out + 10, CKPT_HEADER_SIZE);
	put_le32(out + 12, h->sequence);
	memcpy(out + 16, h->log.b, 16);
	put_le64(out + 32, h->end);
	put_le64(out + 40, h->check);
	memcpy(out + 48, h->store.b, 16);
	put_le32(out + 64, h->indexid);
	put_le32(out + 68, 0);
	put_le64(out + 72, checksum64(out, 72, 0));
}

static int header_decode(const uint8_t *data, size_t len, uint32_t sequence,
			 struct ckpt_header *ret)
{
	struct ckpt_header h;
	int r = header_sound(data, len, CKPT_MAGIC, CKPT_HEADER_SIZE);

	if (r)
		return r;
	h.sequence = get_le32(data + 12);
	memcpy(h.log.b, data + 16, 16);
	h.end = get_le64(data + 32);
	h.check = get_le64(data + 40);
	memcpy(h.store.b, data + 48, 16);
	h.indexid = get_le32(data + 64);
	if (h.sequence != sequence || h.end < LOG_HEADER_SIZE || h.end >= LOG_FILE_MAX ||
	    (uint64_t)h.indexid + h.sequence >= (uint64_t)1 << 31)
		return MB_E_CHECKSUM;
	*ret = h;
	return 0;
}

/* Opens a checkpoint and reads its header; the fd, or what ckpt_header_read() gives. */
static int header_open(int dir, uint32_t sequence, struct ckpt_header *ret)
{
	MB_AUTO_CLOSE int fd = -1;
	uint8_t data[HEADER_READ];
	char name[LOG_NAME_MAX];
	ssize_t n;
	int r;

	log_name(name, sequence, "ckpt");
	fd = at_open_regular(dir, name, O_RDONLY);
	if (fd == -EINVAL || fd == -ELOOP || fd == -EXDEV)
		return MB_E_CHECKSUM;
	if (fd < 0)
		return fd;
	n = io_pread_full(fd, data, sizeof(data), 0);
	if (n < 0)
		return (int)n;
	r = header_decode(data, (size_t)n, sequence, ret);
	return r ? r : MB_TAKE_FD(fd);
}

int ckpt_header_read(int dir, uint32_t sequence, struct ckpt_header *ret)
{
	int fd = header_open(dir, sequence, ret);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

/* --- writing ------------------------------------------------------------------------------- */

static int write_out(struct ckpt_writer *w)
{
	int r = io_write_all(w->fd, w->out.data, w->out.len);

	buf_reset(&w->out);
	return r;
}

/* Fills in what the checkpoint says of its log file. */
static int header_for(struct log *l, const struct position *at, struct ckpt_header *ret)
{
	size_t i;
	int r = log_check(l, at);

	if (r)
		return r;
	r = MB_E_POSITION;
	pthread_mutex_lock(&l->lock);
	for (i = 0; i < l->n && r; i++)
		if (l->files[i].sequence == at->sequence) {
			*ret = (struct ckpt_header){.log = at->log,
						    .store = l->store,
						    .end = at->offset,
						    .check = at->check,
						    .sequence = at->sequence,
						    .indexid = l->files[i].indexid};
			r = 0;
		}
	pthread_mutex_unlock(&l->lock);
	return r;
}

static void writer_free(struct ckpt_writer *w)
{
	if (w->fd >= 0)
		close(w->fd);
	XXH3_freeState(w->sum);
	buf_release(&w->out);
	buf_release(&w->frame);
	free(w);
}

int ckpt_begin(struct log *l, const struct position *at, struct ckpt_writer **ret)
{
	uint8_t head[CKPT_HEADER_SIZE];
	struct ckpt_writer *w;
	struct ckpt_header h;
	int fd, r = header_for(l, at, &h);

	if (r)
		return r;
	r = io_unlinkat(l->dir, CKPT_TMP, 0); /* left by a stop */
	if (r && r != -ENOENT)
		return r;
	fd = io_create_at(l->dir, CKPT_TMP, O_WRONLY, 0600);
	if (fd < 0)
		return fd;
	w = mb_xcalloc(1, sizeof(*w));
	*w = (struct ckpt_writer){.log = l, .h = h, .fd = fd, .offset = CKPT_HEADER_SIZE};
	w->sum = XXH3_createState();
	XXH3_64bits_reset(w->sum);
	header_encode(&h, head);
	buf_put(&w->out, head, sizeof(head));
	*ret = w;
	return 0;
}

static void sum_add(XXH3_state_t *sum, uint64_t check)
{
	uint8_t le[8];

	put_le64(le, check);
	XXH3_64bits_update(sum, le, sizeof(le));
}

int ckpt_add(struct ckpt_writer *w, const struct record *rec)
{
	int r = frame_record(&w->frame, rec);

	if (r)
		return r;
	sum_add(w->sum, frame_seal(&w->frame, frame_seed(&w->h.log), w->offset));
	w->offset += w->frame.len;
	w->n++;
	buf_put(&w->out, w->frame.data, w->frame.len);
	return w->out.len < CKPT_CHUNK ? 0 : write_out(w);
}

/* Everything to the rename; the checkpoint is not yet there when it fails. */
static int finish(struct ckpt_writer *w)
{
	char name[LOG_NAME_MAX];
	int r;

	buf_put_u32(&w->out, 0);
	buf_put_u32(&w->out, ~0u);
	buf_put_u64(&w->out, w->n);
	buf_put_u64(&w->out, XXH3_64bits_digest(w->sum));
	log_name(name, w->h.sequence, "ckpt");
	r = write_out(w);
	if (!r)
		r = io_fsync(w->fd);
	if (!r && w->log->writer)
		r = log_flush(w->log);
	if (!r)
		r = io_renameat(w->log->dir, CKPT_TMP, w->log->dir, name);
	return r;
}

int ckpt_commit(struct ckpt_writer *w)
{
	struct log *l = w->log;
	int r = finish(w);

	if (r) {
		ckpt_abort(w);
		return r;
	}
	pthread_mutex_lock(&l->lock);
	if (l->last_ckpt < w->h.sequence)
		l->last_ckpt = w->h.sequence;
	pthread_mutex_unlock(&l->lock);
	writer_free(w);
	return io_fsync(l->dir);
}

void ckpt_abort(struct ckpt_writer *w)
{
	if (!w)
		return;
	io_unlinkat(w->log->dir, CKPT_TMP, 0);
	writer_free(w);
}

/* --- reading ------------------------------------------------------------------------------- */

/* Calls fn (may be NULL) for each record up to `limit`; counts and sums them. */
static int read_records(int fd, const struct ckpt_header *h, uint64_t limit, log_fn *fn, void *arg,
			uint64_t *ret_n, XXH3_state_t *sum)
{
	const struct position none = {0};
	struct frame f;
	struct scan s;
	int r;

	*ret_n = 0;
	scan_init(&s, fd, &h->log, CKPT_HEADER_SIZE, limit);
	while ((r = scan_next(&s, &f)) == 1) {
		struct record rec = {0};

		++*ret_n;
		sum_add(sum, f.check);
		r = record_decode(f.payload, f.len, &rec);
		if (!r && fn)
			r = fn(&rec, &none, 0, arg);
		record_release(&rec);
		if (r)
			break;
	}
	scan_release(&s);
	return r;
}

/* Reads all of an open checkpoint; 0 when it is whole. */
static int read_all(int fd, const struct ckpt_header *h, log_fn *fn, void *arg)
{
	XXH3_state_t *sum;
	uint8_t t[CKPT_TRAILER_SIZE];
	struct stat st;
	uint64_t n, limit;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < CKPT_HEADER_SIZE + CKPT_TRAILER_SIZE)
		return MB_E_CHECKSUM;
	limit = (uint64_t)st.st_size - CKPT_TRAILER_SIZE;
	r = (int)io_pread_full(fd, t, sizeof(t), (off_t)limit);
	if (r < 0)
		return r;
	if (r < CKPT_TRAILER_SIZE || get_le32(t) != 0 || get_le32(t + 4) != ~0u)
		return MB_E_CHECKSUM;
	sum = XXH3_createState();
	XXH3_64bits_reset(sum);
	r = read_records(fd, h, limit, fn, arg, &n, sum);
	if (!r && (n != get_le64(t + 8) || XXH3_64bits_digest(sum) != get_le64(t + 16)))
		r = MB_E_CHECKSUM;
	XXH3_freeState(sum);
	return r;
}

/* Opens checkpoint `sequence` if it is whole; the fd, or why not. */
static int open_whole(int dir, uint32_t sequence, struct ckpt_header *ret)
{
	MB_AUTO_CLOSE int fd = header_open(dir, sequence, ret);
	int r;

	if (fd < 0)
		return fd;
	r = read_all(fd, ret, NULL, NULL);
	return r ? r : MB_TAKE_FD(fd);
}

uint32_t ckpt_newest(int dir, const struct numbers *ckpts)
{
	struct ckpt_header h;
	size_t i;

	for (i = ckpts->n; i > 0; i--) {
		int fd = open_whole(dir, ckpts->v[i - 1], &h);

		if (fd < 0)
			continue;
		close(fd);
		return ckpts->v[i - 1];
	}
	return 0;
}

/* The newest whole checkpoint of this store: its fd, -ENOENT, MB_E_VERSION or -errno. */
static int open_newest(struct log *l, struct ckpt_header *ret)
{
	struct log_list list;
	int fd = -ENOENT, r = log_list_read(l->dir, &list);
	size_t i;

	if (r)
		return r;
	for (i = list.ckpts.n; i > 0 && fd == -ENOENT; i--) {
		fd = open_whole(l->dir, list.ckpts.v[i - 1], ret);
		if (fd >= 0 && !guid_is_zero(&l->store) && !guid_equal(&ret->store, &l->store)) {
			close(fd);
			fd = MB_E_FORMAT;
		}
		if (fd == MB_E_CHECKSUM || fd == MB_E_FORMAT) {
			mb_msg(MB_WARNING, "checkpoint is damaged, not used: sequence=%u",
			       list.ckpts.v[i - 1]);
			fd = -ENOENT;
		}
	}
	log_list_release(&list);
	return fd;
}

int ckpt_load(struct log *l, log_fn *fn, void *arg, struct position *ret_at)
{
	struct ckpt_header h;
	MB_AUTO_CLOSE int fd = open_newest(l, &h);
	int r;

	if (fd < 0)
		return fd;
	r = read_all(fd, &h, fn, arg);
	if (!r)
		*ret_at = (struct position){.log = h.log,
					    .sequence = h.sequence,
					    .offset = (uint32_t)h.end,
					    .check = h.check};
	return r;
}
