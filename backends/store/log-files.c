/*
 * log-files.c - which log files there are: their names, headers and order; what may go.
 *
 * struct log holds a table of the files with a sound header, in rising sequence.  A file whose
 * header is damaged is not in it, but its number is taken for good: numbers are never used twice.
 * Such a file is left over from a stop while it was made (then it has no records: a header is
 * durable before the first record), or it is damaged (then there is a hole in the log).  Each header
 * names the file before, so that a hole shows, now or later: a position before one is not held.
 *
 * The writer's table is right because it alone makes and removes files.  A reader looks for the
 * number after its newest one, and lists the directory anew when its newest file is gone.
 *
 * The first 12 bytes of a header and its checksum in its last 8 bytes are the same in all versions,
 * and no header is longer than HEADER_READ.
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void log_name(char out[LOG_NAME_MAX], uint32_t sequence, const char *suffix)
{
	snprintf(out, LOG_NAME_MAX, "%08u.%s", sequence, suffix);
}

void log_header_encode(const struct log_header *h, uint8_t out[LOG_HEADER_SIZE])
{
	memcpy(out, LOG_MAGIC, 8);
	put_le16(out + 8, LOG_VERSION);
	put_le16(out + 10, LOG_HEADER_SIZE);
	put_le32(out + 12, h->sequence);
	memcpy(out + 16, h->id.b, 16);
	memcpy(out + 32, h->store.b, 16);
	put_le32(out + 48, h->indexid);
	put_le32(out + 52, h->ckpt);
	put_le64(out + 56, (uint64_t)h->created_ns);
	memcpy(out + 64, h->prev.b, 16);
	put_le64(out + 80, h->prev_end);
	put_le64(out + 88, checksum64(out, 88, 0));
}

int header_sound(const uint8_t *data, size_t len, const char *magic, size_t size)
{
	size_t said;

	if (len < 20 || memcmp(data, magic, 8) != 0)
		return MB_E_CHECKSUM;
	said = get_le16(data + 10);
	if (said < 20 || said > len)
		return MB_E_CHECKSUM;
	if (checksum64(data, said - 8, 0) != get_le64(data + said - 8))
		return MB_E_CHECKSUM;
	if (get_le16(data + 8) > LOG_VERSION)
		return MB_E_VERSION;
	return said == size ? 0 : MB_E_CHECKSUM;
}

int log_header_decode(const uint8_t *data, size_t len, uint32_t sequence, struct log_header *ret)
{
	struct log_header h = {0};
	int r = header_sound(data, len, LOG_MAGIC, LOG_HEADER_SIZE);

	if (r)
		return r;
	h.sequence = get_le32(data + 12);
	memcpy(h.id.b, data + 16, 16);
	memcpy(h.store.b, data + 32, 16);
	h.indexid = get_le32(data + 48);
	h.ckpt = get_le32(data + 52);
	h.created_ns = (int64_t)get_le64(data + 56);
	memcpy(h.prev.b, data + 64, 16);
	h.prev_end = get_le64(data + 80);
	if (h.sequence != sequence || guid_is_zero(&h.id) ||
	    (uint64_t)h.indexid + h.sequence >= (uint64_t)1 << 31)
		return MB_E_CHECKSUM;
	*ret = h;
	return 0;
}

uint64_t log_modseq_of(const struct log_header *h, uint64_t offset)
{
	return ((uint64_t)h->indexid + h->sequence) << 32 | offset;
}

struct position position_at(const struct log_header *h, uint64_t offset, uint64_t check)
{
	return (struct position){
		.log = h->id, .sequence = h->sequence, .offset = (uint32_t)offset, .check = check};
}

/* --- the directory ------------------------------------------------------------------------- */

static void numbers_add(struct numbers *list, uint32_t v)
{
	MB_GROW(list->v, list->cap, list->n + 1);
	list->v[list->n++] = v;
}

static int compare_numbers(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* The number in "00000012.log" when the suffix fits; 0 = another name. */
static uint32_t name_number(const char *name, const char *suffix)
{
	uint32_t v = 0;
	int i;

	for (i = 0; i < 8; i++) {
		if (name[i] < '0' || name[i] > '9')
			return 0;
		v = v * 10 + (uint32_t)(name[i] - '0');
	}
	return name[8] == '.' && strcmp(name + 9, suffix) == 0 ? v : 0;
}

static int list_one(const char *name, unsigned char d_type, uint64_t ino, void *arg)
{
	struct log_list *list = arg;
	uint32_t v;

	(void)d_type;
	(void)ino;
	if ((v = name_number(name, "log")))
		numbers_add(&list->logs, v);
	else if ((v = name_number(name, "ckpt")))
		numbers_add(&list->ckpts, v);
	return 0;
}

int log_list_read(int dir, struct log_list *ret)
{
	struct log_list list = {0};
	int r = at_list(dir, list_one, &list);

	if (r < 0) {
		log_list_release(&list);
		return r;
	}
	if (list.logs.n)
		qsort(list.logs.v, list.logs.n, sizeof(uint32_t), compare_numbers);
	if (list.ckpts.n)
		qsort(list.ckpts.v, list.ckpts.n, sizeof(uint32_t), compare_numbers);
	*ret = list;
	return 0;
}

void log_list_release(struct log_list *list)
{
	free(list->logs.v);
	free(list->ckpts.v);
	*list = (struct log_list){0};
}

/* --- the table ----------------------------------------------------------------------------- */

/* Opens the file and reads its header.  MB_E_CHECKSUM for anything that is there and is no log file
 * of this number; *ret_more says whether it has bytes behind a header. */
static int header_open(int dir, uint32_t sequence, struct log_header *ret, int *ret_fd,
		       bool *ret_more)
{
	MB_AUTO_CLOSE int fd = -1;
	uint8_t data[HEADER_READ];
	char name[LOG_NAME_MAX];
	ssize_t n;
	int r;

	*ret_more = false;
	log_name(name, sequence, "log");
	fd = at_open_regular(dir, name, O_RDONLY);
	if (fd == -EINVAL || fd == -ELOOP || fd == -EXDEV)
		return MB_E_CHECKSUM;
	if (fd < 0)
		return fd;
	n = io_pread_full(fd, data, sizeof(data), 0);
	if (n < 0)
		return (int)n;
	*ret_more = n > LOG_HEADER_SIZE;
	r = log_header_decode(data, (size_t)n, sequence, ret);
	if (!r)
		*ret_fd = MB_TAKE_FD(fd);
	return r;
}

/* The first sound header tells whose log it is, if nobody said. */
static int store_fits(struct log *l, const struct log_header *h)
{
	if (guid_is_zero(&l->store))
		l->store = h->store;
	return guid_equal(&l->store, &h->store) ? 0 : MB_E_NOT_STORE;
}

const struct log_header *files_newest(const struct log *l)
{
	return l->n ? &l->files[l->n - 1] : NULL;
}

static void table_add(struct log *l, const struct log_header *h)
{
	MB_GROW(l->files, l->cap, l->n + 1);
	l->files[l->n++] = *h;
	if (l->last_log < h->sequence)
		l->last_log = h->sequence;
	if (l->taken < h->sequence)
		l->taken = h->sequence;
}

static void newest_set(struct log *l, int fd)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = fd;
	l->end = LOG_HEADER_SIZE;
	l->check = 0;
	l->sequence = l->n ? l->files[l->n - 1].sequence : 0;
}

void files_add(struct log *l, const struct log_header *h, int fd)
{
	table_add(l, h);
	newest_set(l, fd);
}

/* Takes the file `sequence` into the table, if it is sound; *io_fd becomes its fd. */
static int load_one(struct log *l, uint32_t sequence, int *io_fd)
{
	struct log_header h;
	bool more;
	int fd, r = header_open(l->dir, sequence, &h, &fd, &more);

	if (r == -ENOENT)
		return 0; /* removed just now */
	if (r == MB_E_CHECKSUM) {
		if (more)
			l->hole = sequence;
		return 0;
	}
	if (r)
		return r;
	r = store_fits(l, &h);
	if (r) {
		close(fd);
		return r;
	}
	if (*io_fd >= 0)
		close(*io_fd);
	*io_fd = fd;
	table_add(l, &h);
	return 0;
}

/* Keeps what is known of the newest file when it is the newest still. */
static void load_end(struct log *l, const struct guid *known, int fd)
{
	const struct log_header *h = files_newest(l);

	if (l->fd >= 0 && h && guid_equal(&h->id, known))
		close(fd);
	else
		newest_set(l, fd);
}

int files_load(struct log *l)
{
	struct log_list list;
	struct guid known = l->n ? l->files[l->n - 1].id : GUID_ZERO;
	int fd = -1, r;
	size_t i;

	if (l->writer)
		return 0;
	r = log_list_read(l->dir, &list);
	if (r)
		return r;
	l->n = 0;
	l->hole = 0;
	l->last_log = list.logs.n ? list.logs.v[list.logs.n - 1] : 0;
	l->last_ckpt = list.ckpts.n ? list.ckpts.v[list.ckpts.n - 1] : 0;
	l->taken = l->last_log > l->last_ckpt ? l->last_log : l->last_ckpt;
	for (i = 0; i < list.logs.n && !r; i++)
		r = load_one(l, list.logs.v[i], &fd);
	log_list_release(&list);
	load_end(l, &known, fd);
	return r;
}

int files_update(struct log *l)
{
	struct stat st;
	uint32_t sequence;
	int fd, r = 0;

	if (l->writer)
		return 0;
	if (!l->n || fstat(l->fd, &st) < 0 || st.st_nlink == 0)
		return files_load(l);
	for (sequence = l->sequence + 1; sequence <= LOG_SEQUENCE_MAX; sequence++) {
		struct log_header h;
		bool more;

		r = header_open(l->dir, sequence, &h, &fd, &more);
		if (r == MB_E_CHECKSUM)
			continue; /* being made just now, or left over */
		if (!r && (r = store_fits(l, &h)))
			close(fd);
		if (r)
			break;
		files_add(l, &h, fd);
	}
	return r == -ENOENT || r == MB_E_CHECKSUM ? 0 : r;
}

int file_open(const struct log *l, const struct log_header *h, int flags)
{
	char name[LOG_NAME_MAX];

	log_name(name, h->sequence, "log");
	return at_open_regular(l->dir, name, flags);
}

/* --- what log.h offers --------------------------------------------------------------------- */

int log_start(struct log *l, struct position *ret)
{
	size_t i;
	int r;

	pthread_mutex_lock(&l->lock);
	r = files_load(l);
	if (!r) {
		i = l->n;
		while (i > 1 && guid_equal(&l->files[i - 1].prev, &l->files[i - 2].id))
			i--;
		*ret = i ? position_at(&l->files[i - 1], LOG_HEADER_SIZE, 0) : (struct position){0};
	}
	pthread_mutex_unlock(&l->lock);
	return r;
}

int log_files(struct log *l,
	      int (*fn)(uint32_t sequence, int64_t created_ns, uint64_t size, void *arg), void *arg)
{
	MB_AUTO_FREE struct log_header *files = NULL;
	char name[LOG_NAME_MAX];
	struct stat st;
	size_t i, n;
	int r;

	pthread_mutex_lock(&l->lock);
	r = files_load(l);
	n = l->n;
	files = mb_xmemdup(l->files, n * sizeof(*files));
	pthread_mutex_unlock(&l->lock);
	for (i = 0; i < n && !r; i++) {
		log_name(name, files[i].sequence, "log");
		r = at_stat(l->dir, name, &st);
		if (r == -ENOENT) {
			r = 0;
			continue;
		}
		if (!r)
			r = fn(files[i].sequence, files[i].created_ns, (uint64_t)st.st_size, arg);
	}
	return r;
}

/* Removes those of the numbers that are below `keep`; counts them in *io_gone. */
static int unlink_below(struct log *l, const struct numbers *list, const char *suffix,
			uint32_t keep, size_t *io_gone)
{
	char name[LOG_NAME_MAX];
	size_t i;
	int r;

	for (i = 0; i < list->n && list->v[i] < keep; i++) {
		log_name(name, list->v[i], suffix);
		r = io_unlinkat(l->dir, name, 0);
		if (r && r != -ENOENT)
			return r;
		*io_gone += !r;
	}
	return 0;
}

static void table_drop_below(struct log *l, uint32_t keep)
{
	size_t i = 0;

	while (i < l->n && l->files[i].sequence < keep)
		i++;
	memmove(l->files, l->files + i, (l->n - i) * sizeof(*l->files));
	l->n -= i;
}

int log_remove_before(struct log *l, uint32_t keep_from)
{
	struct log_list list = {0};
	size_t gone = 0;
	int r;

	pthread_mutex_lock(&l->lock);
	if (keep_from > l->sequence)
		keep_from = l->sequence;
	r = l->writer ? log_list_read(l->dir, &list) : -EBADF;
	if (!r) {
		table_drop_below(l, keep_from);
		r = unlink_below(l, &list.logs, "log", keep_from, &gone);
	}
	if (!r)
		r = unlink_below(l, &list.ckpts, "ckpt", ckpt_newest(l->dir, &list.ckpts), &gone);
	if (!r && gone)
		r = io_fsync(l->dir);
	pthread_mutex_unlock(&l->lock);
	log_list_release(&list);
	return r;
}
