/*
 * log.c - the transaction log's writer: begin, append, flush, rotate.  Format: log-format.h.
 *
 * Invariants
 *   - Each frame is written with one pwrite at the known end.  A write that fails is cut off again;
 *     if that fails too, the file takes no more records (no_append), but may still be flushed.
 *   - A log file's header and name are durable before its first record.
 *   - A number of a log file is never used twice, and a file is gone on with only after a clean stop
 *     with nothing behind the end that the caller knows.  So no position is given twice.
 *   - modseq grows: indexid is the same in all files of a store, and the sequence grows.  A new
 *     indexid is made only where the last one is not known for sure (no file, or a damaged header),
 *     and then past everything that the damaged file can have given.
 *   - A failed fsync is never tried again: nobody knows what is on disk.  The file ends for good where
 *     the last successful flush was; log_rotate() writes the records since then (`pending`) again
 *     into the next file.  They get new positions and modseqs; applying a record twice is harmless.
 *     A position between that end and the records' old places is MB_E_POSITION from then on.
 *   - What stands behind a bad place of the last file at log_begin() and is right (bytes that were
 *     never flushed reach the disk in any order) is written again into the new file, likewise.
 *
 * Locks: `lock` guards everything, and is held while writing and rotating.  log_flush() lets go of
 * it during fdatasync; `flushing` keeps others from starting a second one and from closing the fd.
 * Whoever waits is served if its record was appended before the fdatasync began.
 */
#include "backends/store/log-private.h"

#include "backends/base/clock.h"
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

/* An append flushes by itself when so many bytes are not durable: they are held in memory. */
#define PENDING_MAX ((size_t)16 << 20)

int log_open(int dir, const struct guid *store, struct log **ret)
{
	struct log *l = mb_xcalloc(1, sizeof(*l));
	int r;

	l->dir = dir;
	l->fd = -1;
	l->store = store ? *store : GUID_ZERO;
	l->file_max = LOG_FILE_MAX;
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->idle, NULL);
	pthread_mutex_lock(&l->lock);
	r = files_load(l);
	pthread_mutex_unlock(&l->lock);
	if (r) {
		log_close(l);
		return r;
	}
	*ret = l;
	return 0;
}

void log_close(struct log *l)
{
	if (!l)
		return;
	if (l->writer)
		log_flush(l);
	if (l->fd >= 0)
		close(l->fd);
	pthread_mutex_destroy(&l->lock);
	pthread_cond_destroy(&l->idle);
	buf_release(&l->pending);
	buf_release(&l->frame);
	free(l->files);
	free(l);
}

/* --- a new file ---------------------------------------------------------------------------- */

/* Creates the file that h describes, and makes it durable. */
static int create_file(struct log *l, const struct log_header *h, int *ret_fd)
{
	MB_AUTO_CLOSE int fd = -1;
	uint8_t data[LOG_HEADER_SIZE];
	char name[LOG_NAME_MAX];
	int r;

	log_name(name, h->sequence, "log");
	log_header_encode(h, data);
	fd = io_create_at(l->dir, name, O_RDWR, 0600);
	if (fd < 0)
		return fd;
	r = io_pwrite_all(fd, data, sizeof(data), 0);
	if (!r)
		r = io_fsync(fd);
	if (!r)
		r = io_fsync(l->dir);
	if (r) {
		/* No record was in it; if its name cannot be taken away, the number is used up. */
		if (io_unlinkat(l->dir, name, 0))
			l->taken = l->last_log = h->sequence;
		return r;
	}
	*ret_fd = MB_TAKE_FD(fd);
	return 0;
}

/* Begins the file after `prev` (NULL: there is none, or a hole), which ends at prev_end. */
static int begin_file(struct log *l, const struct log_header *prev, uint64_t prev_end,
		      uint32_t indexid)
{
	struct log_header h = {.id = guid_new(),
			       .store = l->store,
			       .created_ns = clock_wall_ns(),
			       .sequence = l->taken + 1,
			       .indexid = indexid,
			       .ckpt = l->last_ckpt};
	int fd, r;

	if (prev) {
		h.prev = prev->id;
		h.prev_end = prev_end;
	}
	if (h.sequence > LOG_SEQUENCE_MAX || (uint64_t)indexid + h.sequence >= (uint64_t)1 << 31)
		return -EOVERFLOW;
	r = create_file(l, &h, &fd);
	if (r)
		return r;
	if (l->reserved && l->fd >= 0)
		io_unreserve(l->fd);
	files_add(l, &h, fd);
	l->reserved = 0;
	l->flushed_end = LOG_HEADER_SIZE;
	l->no_append = l->flush_failed = false;
	return 0;
}

/* --- appending ----------------------------------------------------------------------------- */

/* Writes the frame whose payload l->frame holds. */
static int append_frame(struct log *l)
{
	const struct log_header *h = files_newest(l);
	uint64_t check;
	int r;

	if (l->no_append || l->flush_failed)
		return MB_E_LOG_DEAD;
	check = frame_seal(&l->frame, frame_seed(&h->id), l->end);
	r = io_pwrite_all(l->fd, l->frame.data, l->frame.len, (off_t)l->end);
	if (r) {
		l->reserved = 0;
		if (io_ftruncate(l->fd, (off_t)l->end))
			l->no_append = true;
		return r;
	}
	buf_put(&l->pending, l->frame.data, l->frame.len);
	l->end += l->frame.len;
	l->check = check;
	return 0;
}

/* Appends a payload that was in the log already. */
static int append_again(struct log *l, const uint8_t *payload, size_t len)
{
	buf_reset(&l->frame);
	buf_put_u64(&l->frame, 0);
	buf_put(&l->frame, payload, len);
	return append_frame(l);
}

static int append_locked(struct log *l, const struct record *rec)
{
	int r;

	if (!l->writer)
		return -EBADF;
	if (l->no_append || l->flush_failed)
		return MB_E_LOG_DEAD;
	r = frame_record(&l->frame, rec);
	if (!r && l->end + l->frame.len + FRAME_EXTRA >= l->file_max) {
		r = log_rotate_locked(l);
		if (!r)
			r = frame_record(&l->frame, rec); /* it was used meanwhile */
	}
	return r ? r : append_frame(l);
}

int log_append(struct log *l, const struct record *rec, struct position *ret_end,
	       uint64_t *ret_modseq)
{
	bool much;
	int r;

	pthread_mutex_lock(&l->lock);
	r = append_locked(l, rec);
	if (!r) {
		const struct log_header *h = files_newest(l);

		l->appended++;
		if (ret_end)
			*ret_end = position_at(h, l->end, l->check);
		if (ret_modseq)
			*ret_modseq = log_modseq_of(h, l->end);
	}
	much = l->pending.len > PENDING_MAX;
	pthread_mutex_unlock(&l->lock);
	if (!r && much)
		log_flush(l); /* if it fails, the next call says so */
	return r;
}

static int reserve_locked(struct log *l, uint64_t bytes)
{
	int r;

	if (!l->writer || l->no_append || l->flush_failed || l->reserved >= l->end + bytes)
		return 0;
	r = io_reserve(l->fd, (off_t)l->end, (off_t)(2 * bytes)); /* so that it is not each time */
	if (r > 0)
		l->reserved = l->end + 2 * bytes;
	else if (r == 0)
		l->reserved = UINT64_MAX;
	if (r >= 0)
		return 0;
	r = io_reserve(l->fd, (off_t)l->end, (off_t)bytes);
	return r < 0 ? r : 0;
}

int log_reserve(struct log *l, uint64_t bytes)
{
	int r;

	pthread_mutex_lock(&l->lock);
	r = reserve_locked(l, bytes);
	pthread_mutex_unlock(&l->lock);
	return r;
}

/* --- flushing ------------------------------------------------------------------------------ */

static void pending_drop(struct log *l, size_t len)
{
	memmove(l->pending.data, l->pending.data + len, l->pending.len - len);
	l->pending.len -= len;
}

/* One fdatasync; without the lock meanwhile when `release`. */
static int flush_once(struct log *l, bool release)
{
	uint64_t upto = l->appended, end = l->end;
	size_t len = l->pending.len;
	int fd = l->fd, r;

	l->flushing = true;
	if (release)
		pthread_mutex_unlock(&l->lock);
	r = io_fdatasync(fd);
	if (release)
		pthread_mutex_lock(&l->lock);
	l->flushing = false;
	if (r) {
		mb_msg(MB_ERROR, "flush of the log failed, log file given up: sequence=%u error=%s",
		       l->sequence, mb_err_str(r));
		l->flush_failed = true;
		r = MB_E_LOG_DEAD;
	} else {
		l->durable = upto;
		l->flushed_end = end;
		if (len)
			pending_drop(l, len);
	}
	pthread_cond_broadcast(&l->idle);
	return r;
}

int log_flush(struct log *l)
{
	uint64_t target;
	int r = 0;

	pthread_mutex_lock(&l->lock);
	target = l->appended;
	while (!r && l->durable < target) {
		if (l->flush_failed)
			r = MB_E_LOG_DEAD;
		else if (l->flushing)
			pthread_cond_wait(&l->idle, &l->lock);
		else
			r = flush_once(l, true);
	}
	pthread_mutex_unlock(&l->lock);
	return r;
}

bool log_needs_flush(const struct log *l)
{
	return l->durable < l->appended;
}

uint64_t log_file_size(const struct log *l)
{
	return l->end;
}

uint32_t log_sequence(const struct log *l)
{
	return l->sequence;
}

/* --- rotating ------------------------------------------------------------------------------ */

/* Appends the frames in `frames` (whole and right: our own) again, and makes them durable. */
static int carry_over(struct log *l, const struct buf *frames)
{
	size_t off = 0, len;
	int r = 0;

	while (!r && off < frames->len) {
		len = get_le32(frames->data + off);
		r = append_again(l, frames->data + off + FRAME_HEAD, len);
		off += len + FRAME_EXTRA;
	}
	return r ? r : flush_once(l, false);
}

/* After a failed flush: the file ends where it is known to be on disk. */
static int revive(struct log *l)
{
	struct buf lost = l->pending;
	int r;

	l->pending = (struct buf)BUF_INIT;
	r = lost.len ? carry_over(l, &lost) : 0;
	if (r) {
		/* Nothing is lost yet: the next log_rotate() tries again, from the start. */
		buf_release(&l->pending);
		l->pending = lost;
		l->flush_failed = true;
		return r;
	}
	l->durable = l->appended;
	buf_release(&lost);
	return 0;
}

int log_rotate_locked(struct log *l)
{
	struct log_header prev;
	bool failed;
	int r;

	while (l->flushing)
		pthread_cond_wait(&l->idle, &l->lock);
	if (!l->writer)
		return -EBADF;
	if (!l->flush_failed && l->pending.len)
		flush_once(l, false); /* a failure is mended right below */
	failed = l->flush_failed;
	prev = *files_newest(l);
	r = begin_file(l, &prev, l->flushed_end, prev.indexid);
	return r || !failed ? r : revive(l);
}

int log_rotate(struct log *l)
{
	int r;

	pthread_mutex_lock(&l->lock);
	r = log_rotate_locked(l);
	pthread_mutex_unlock(&l->lock);
	return r;
}

/* --- becoming the writer ------------------------------------------------------------------- */

/* Whether the last file ends just where the caller says, with nothing behind. */
static bool ends_at(const struct log *l, int fd, const struct position *expect)
{
	const struct log_header *h = files_newest(l);
	uint8_t check[8];
	struct stat st;

	if (h->sequence != l->last_log || h->sequence != expect->sequence ||
	    !guid_equal(&h->id, &expect->log) || fstat(fd, &st) < 0 ||
	    st.st_size != (off_t)expect->offset)
		return false;
	if (expect->offset == LOG_HEADER_SIZE)
		return expect->check == 0;
	return expect->offset > LOG_HEADER_SIZE + FRAME_EXTRA &&
	       io_pread_full(fd, check, sizeof(check), st.st_size - 8) == sizeof(check) &&
	       get_le64(check) == expect->check;
}

/* indexid for the next file. */
static uint32_t next_indexid(struct log *l)
{
	const struct log_header *h = files_newest(l);
	int64_t now = clock_wall_ns() / 1000000000 - LOG_EPOCH_2020;
	struct ckpt_header ck;
	int64_t least = 1;

	if (h && h->sequence == l->last_log)
		return h->indexid;
	if (h)
		least = (int64_t)h->indexid + l->taken + 1;
	else if (l->last_ckpt && !ckpt_header_read(l->dir, l->last_ckpt, &ck))
		least = (int64_t)ck.indexid + l->taken + 1;
	if (now < least)
		now = least;
	return now < INT32_MAX ? (uint32_t)now : INT32_MAX;
}

/* Copies to `out` the right frames of the last file that stand behind a bad place at `from`. */
static int collect_behind(struct log *l, int fd, const struct log_header *h, uint64_t from,
			  struct buf *out)
{
	uint64_t bad, bytes = 0;
	struct frame f;
	struct stat st;
	struct scan s;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	scan_init(&s, fd, &h->id, from, (uint64_t)st.st_size);
	for (;;) {
		bad = s.off;
		r = scan_next(&s, &f);
		if (r == MB_E_CHECKSUM) {
			r = scan_resync(&s, &f);
			bytes += r == 1 ? f.offset - bad : 0;
		}
		if (r != 1)
			break;
		buf_put(out, f.payload - FRAME_HEAD, f.len + FRAME_EXTRA);
	}
	scan_release(&s);
	if (out->len)
		mb_msg(MB_WARNING,
		       "log: %llu bytes are damaged and passed over, the records behind them are "
		       "kept; the next sync compares everything with each peer sequence=%u "
		       "offset=%llu",
		       (unsigned long long)bytes, h->sequence, (unsigned long long)from);
	return r;
}

/* Ends the last file where its right frames end, and begins the next. */
static int begin_after(struct log *l, int fd)
{
	BUF_AUTO struct buf behind = BUF_INIT;
	struct log_header prev = *files_newest(l);
	char name[LOG_NAME_MAX];
	uint64_t end;
	bool hole = l->hole > prev.sequence, broken;
	int r;

	r = io_fdatasync(fd); /* the next header speaks of these bytes */
	if (!r)
		r = log_look(l);
	end = l->end;
	if (!r)
		r = collect_behind(l, fd, &prev, end, &behind);
	broken = hole ||
		 behind.len; /* what was lost may be known elsewhere: no position before holds */
	if (!r)
		r = begin_file(l, broken ? NULL : &prev, end, next_indexid(l));
	if (r)
		return r;
	if (hole)
		mb_msg(MB_WARNING, "log has a damaged file: sequence=%u", l->hole);
	r = behind.len ? carry_over(l, &behind) : 0;
	if (r) { /* the next log_begin() tries again */
		log_name(name, l->sequence, "log");
		io_unlinkat(l->dir, name, 0);
	}
	return r;
}

static int begin_locked(struct log *l, const struct position *expect)
{
	int fd = -1, r;

	r = files_load(l);
	if (r)
		return r;
	if (l->n) {
		fd = file_open(l, files_newest(l), O_RDWR);
		if (fd < 0)
			return fd;
	}
	if (!l->n) {
		r = begin_file(l, NULL, 0, next_indexid(l));
	} else if (expect && ends_at(l, fd, expect)) {
		close(l->fd);
		l->fd = MB_TAKE_FD(fd);
		l->end = l->flushed_end = expect->offset;
		l->check = expect->check;
	} else {
		r = begin_after(l, fd);
	}
	if (fd >= 0)
		close(fd);
	l->writer = !r;
	return r;
}

int log_begin(struct log *l, bool clean, const struct position *expect)
{
	int r;

	pthread_mutex_lock(&l->lock);
	r = l->writer ? 0 : begin_locked(l, clean ? expect : NULL);
	pthread_mutex_unlock(&l->lock);
	return r;
}
