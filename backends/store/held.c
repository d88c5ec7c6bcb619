/*
 * held.c - whose expunges the guard has held back: STORE/held.
 *
 * What is held stays so until it is back, somebody deletes it on purpose, or
 * --allow-mass-expunge: new mail, which makes of "the whole mailbox" a part of it, lets nothing go.
 * So each message that is held is noted, durably, before the scan that holds it is committed; the note
 * is no part of the index, which may be built anew.  A note of what is not missing any more is
 * harmless until the next scan, which drops it.
 *
 * The file: checksum (u64) and length (u64) of the rest; of each message the GUIDs of mailbox and
 * message (16 each) and its id (u64), sorted.  No file: nothing is held.  The store's lock is held.
 */
#include "backends/base/buf.h"
#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <string.h>

#define HELD_FILE "held"
#define HELD_MAX (1u << 30)

static int compare(const void *a, const void *b)
{
	const struct held_one *x = a, *y = b;
	int order = guid_compare(&x->mailbox, &y->mailbox);

	if (!order)
		order = guid_compare(&x->guid, &y->guid);
	return order ? order : (x->id > y->id) - (x->id < y->id);
}

/* The first that is not before `key`. */
static size_t position(const struct held *h, const struct held_one *key)
{
	size_t lo = 0, hi = h->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (compare(&h->v[mid], key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool held_has(const struct held *h, const struct entry *e)
{
	const struct held_one key = {e->copy.place.mailbox, e->copy.guid, e->copy.id};
	size_t at = position(h, &key);

	return at < h->n && compare(&h->v[at], &key) == 0;
}

bool held_in(const struct held *h, const struct guid *mailbox)
{
	const struct held_one key = {.mailbox = *mailbox, .guid = GUID_ZERO};
	size_t at = position(h, &key);

	return at < h->n && guid_equal(&h->v[at].mailbox, mailbox);
}

void held_add(struct held *h, const struct entry *e)
{
	MB_GROW(h->v, h->cap, h->n + 1);
	h->v[h->n++] = (struct held_one){e->copy.place.mailbox, e->copy.guid, e->copy.id};
}

void held_release(struct held *h)
{
	free(h->v);
	*h = (struct held){0};
}

static int write_file(struct store *s, const struct held *h)
{
	BUF_AUTO struct buf rest = BUF_INIT, all = BUF_INIT;

	for (size_t i = 0; i < h->n; i++) {
		buf_put(&rest, h->v[i].mailbox.b, sizeof(h->v[i].mailbox.b));
		buf_put(&rest, h->v[i].guid.b, sizeof(h->v[i].guid.b));
		buf_put_u64(&rest, h->v[i].id);
	}
	buf_put_u64(&all, checksum64(rest.data, rest.len, rest.len));
	buf_put_u64(&all, rest.len);
	buf_put(&all, rest.data, rest.len);
	return io_replace_file(s->dir_fd, HELD_FILE, all.data, all.len, 0600);
}

/* A file that comes back after a power cut holds what was allowed to go: said again, no harm. */
static int remove_file(struct store *s)
{
	int err = io_unlinkat(s->dir_fd, HELD_FILE, 0);

	return err == -ENOENT ? 0 : err;
}

static bool same(const struct held *a, const struct held *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (compare(&a->v[i], &b->v[i]) != 0)
			return false;
	return true;
}

int held_note(struct store *s, struct held *now)
{
	int err = 0;

	if (now->n)
		qsort(now->v, now->n, sizeof(*now->v), compare);
	if (!s->trial.tx && !same(now, &s->held))
		err = now->n ? write_file(s, now) : remove_file(s);
	if (err < 0)
		return err;
	held_release(&s->held);
	s->held = *now;
	*now = (struct held){0};
	return 0;
}

static int parse(const uint8_t *data, size_t len, struct held *h)
{
	struct reader r = reader_of(data, len);
	uint64_t check = reader_get_u64(&r), size = reader_get_u64(&r);

	if (r.failed || size != reader_left(&r) || checksum64(r.p, size, size) != check)
		return MB_E_FORMAT;
	while (reader_left(&r) > 0) {
		struct held_one x;

		reader_get(&r, x.mailbox.b, sizeof(x.mailbox.b));
		reader_get(&r, x.guid.b, sizeof(x.guid.b));
		x.id = reader_get_u64(&r);
		if (r.failed || (h->n && compare(&h->v[h->n - 1], &x) >= 0))
			return MB_E_FORMAT;
		MB_GROW(h->v, h->cap, h->n + 1);
		h->v[h->n++] = x;
	}
	return 0;
}

int held_load(struct store *s)
{
	MB_AUTO_FREE uint8_t *data = NULL;
	size_t len = 0;
	int err = io_read_file(s->dir_fd, HELD_FILE, HELD_MAX, &data, &len);

	held_release(&s->held);
	if (err >= 0)
		err = parse(data, len, &s->held);
	if (err == MB_E_FORMAT || err == -EFBIG) {
		held_release(&s->held);
		mb_msg(MB_WARNING,
		       "%s/%s is damaged: messages whose expunges are held back are judged anew",
		       s->dir, HELD_FILE);
		err = 0;
	}
	return err == -ENOENT ? 0 : err;
}
