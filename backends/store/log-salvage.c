/*
 * log-salvage.c - reads what a damaged log still holds.
 *
 * log_read() stops at the first frame that is not right, for whoever reads on would take news that is
 * not whole for whole.  To build the index anew the rest counts: here the bad bytes are passed over
 * and told.  A frame's checksum is bound to its file and its offset, so what looks like a record behind
 * a bad place is one.
 *
 * A file whose header is damaged is read when the next one names it: the seed of the checksums is the
 * file's id, and that is in the next header too.
 */
#include "backends/store/log-private.h"

#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

struct salvage_file {
	struct log_header h;
	uint64_t from, limit; /* limit 0: as long as it is */
	bool exact;	      /* all bytes up to the limit must be right */
	bool gap;	      /* the file before it is not there, or cannot be read */
};

struct salvage {
	struct log *l;
	struct salvage_file *files; /* owned */
	size_t n, cap;
	log_fn *fn;
	void *arg;
	log_loss_fn *lost;
	void *lost_arg;
};

static void tell(struct salvage *v, const struct log_header *h, uint64_t offset, uint64_t bytes)
{
	const struct log_loss loss = {h->sequence, offset, bytes};

	v->lost(&loss, v->lost_arg);
}

static int give(struct salvage *v, const struct log_header *h, const struct frame *f)
{
	struct position end = position_at(h, f->end, f->check);
	struct record rec = {0};
	int r = record_decode(f->payload, f->len, &rec);

	if (r == MB_E_FORMAT) {
		tell(v, h, f->offset, f->end - f->offset);
		return 0;
	}
	if (!r)
		r = v->fn(&rec, &end, log_modseq_of(h, f->end), v->arg);
	record_release(&rec);
	return r;
}

/* The next right frame, wherever it is.  1, 0 at the end, or -errno. */
static int next_frame(struct salvage *v, const struct salvage_file *file, struct scan *s,
		      struct frame *ret)
{
	uint64_t bad = s->off;
	int r = scan_next(s, ret);

	if (r != MB_E_CHECKSUM)
		return r;
	r = scan_resync(s, ret);
	if (r == 1)
		tell(v, &file->h, bad, ret->offset - bad);
	else if (r == 0 && file->exact)
		tell(v, &file->h, bad, s->limit - bad);
	return r;
}

static int salvage_file(struct salvage *v, const struct salvage_file *file)
{
	MB_AUTO_CLOSE int fd = file_open(v->l, &file->h, O_RDONLY);
	uint64_t limit = file->limit;
	struct frame f;
	struct stat st;
	struct scan s;
	int r;

	if (file->gap)
		tell(v, &file->h, 0, 0);
	if (fd < 0 || fstat(fd, &st) < 0)
		return fd < 0 && fd != -ENOENT ? fd : 0;
	if (!limit)
		limit = (uint64_t)st.st_size < LOG_FILE_MAX ? (uint64_t)st.st_size
							    : LOG_FILE_MAX - 1;
	scan_init(&s, fd, &file->h.id, file->from, limit);
	do {
		r = next_frame(v, file, &s, &f);
		if (r == 1) {
			r = give(v, &file->h, &f);
			r = r ? r : 1;
			if (r != 1)
				break;
		}
	} while (r == 1);
	scan_release(&s);
	return r;
}

/* ---- which files ---- */

static void add(struct salvage *v, const struct salvage_file *file)
{
	MB_GROW(v->files, v->cap, v->n + 1);
	v->files[v->n++] = *file;
}

/* The file before h has no sound header, but h says how it is named. */
static bool nameless(struct log *l, const struct log_header *before, const struct log_header *h,
		     struct salvage_file *ret)
{
	char name[LOG_NAME_MAX];
	struct stat st;

	if (guid_is_zero(&h->prev) || h->sequence < 2 ||
	    (before && (guid_equal(&h->prev, &before->id) || before->sequence + 1 >= h->sequence)))
		return false;
	log_name(name, h->sequence - 1, "log");
	if (at_stat(l->dir, name, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	*ret = (struct salvage_file){.from = LOG_HEADER_SIZE, .limit = h->prev_end, .exact = true};
	ret->h = (struct log_header){.id = h->prev, .sequence = h->sequence - 1};
	/* between its neighbours, as modseqs must be */
	ret->h.indexid = before ? before->indexid : h->indexid;
	return true;
}

static void add_known(struct salvage *v, size_t i, uint64_t from)
{
	const struct log_header *h = &v->l->files[i];
	const struct log_header *before = i ? h - 1 : NULL;
	struct salvage_file file = {.h = *h, .from = from}, lost;

	if (from == LOG_HEADER_SIZE && nameless(v->l, before, h, &lost)) {
		lost.gap = true;
		add(v, &lost);
	} else {
		file.gap = v->n && before && !guid_equal(&h->prev, &before->id);
	}
	if (i + 1 < v->l->n && guid_equal(&h[1].prev, &h->id)) {
		file.limit = h[1].prev_end;
		file.exact = true;
	} else if (i + 1 == v->l->n && v->l->writer) {
		file.limit = v->l->end;
		file.exact = true;
	}
	add(v, &file);
}

static int choose(struct salvage *v, const struct position *since)
{
	uint64_t from = LOG_HEADER_SIZE;
	size_t i = 0;
	bool gone = false; /* what came after `since`, or the start of the log */
	int r;

	pthread_mutex_lock(&v->l->lock);
	r = since ? log_locate(v->l, since, &i, &from) : files_update(v->l);
	if (r == MB_E_POSITION || (!r && !since)) {
		gone = r || (v->l->n && !guid_is_zero(&v->l->files[0].prev));
		i = 0;
		from = LOG_HEADER_SIZE;
		r = 0;
	}
	for (; !r && i < v->l->n; i++, from = LOG_HEADER_SIZE)
		add_known(v, i, from);
	if (v->n)
		v->files[0].gap |= gone;
	pthread_mutex_unlock(&v->l->lock);
	return r;
}

int log_salvage(struct log *l, const struct position *since, log_fn *fn, void *arg,
		log_loss_fn *lost, void *lost_arg)
{
	struct salvage v = {.l = l, .fn = fn, .arg = arg, .lost = lost, .lost_arg = lost_arg};
	int r = choose(&v, since);

	for (size_t i = 0; i < v.n && !r; i++)
		r = salvage_file(&v, &v.files[i]);
	free(v.files);
	return r;
}
