/*
 * alike.c - see alike.h.
 *
 * The header is held whole, so it is bounded; the body is streamed.  Both are outside data: any bytes.
 */
#include "backends/mail/alike.h"
#include "backends/base/ascii.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include <stdlib.h>
#include <string.h>

enum { HEADER_MAX = 256 * 1024, BLOCK = 64 * 1024, FIRST_READ = 4 * 1024 };

/* ---- the header ---- */

struct line {
	const char *text;
	size_t len; /* without its line end */
};

struct header {
	struct hasher *hash; /* owned */
	unsigned ids, dates;
	bool kept; /* the field that the line before belongs to counts */
};

static bool is_name(const char *text, size_t len, const char *name)
{
	for (size_t i = 0; i < len; i++)
		if (!name[i] || ascii_lower(text[i]) != (unsigned char)name[i])
			return false;
	return !name[len];
}

static bool begins(const char *text, size_t len, const char *prefix)
{
	size_t n = strlen(prefix);

	return len >= n && is_name(text, n, prefix);
}

/* Fields of servers on the way, and notes of programs. */
static bool does_not_count(const char *name, size_t len)
{
	static const char *const names[] = {
		"received",	 "return-path",	  "delivered-to",
		"envelope-to",	 "delivery-date", "received-spf",
		"status",	 "lines",	  "authentication-results",
		"content-length"};

	if (begins(name, len, "x-") || begins(name, len, "arc-"))
		return true;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (is_name(name, len, names[i]))
			return true;
	return false;
}

/* Length of the field's name; 0: the line is no field. */
static size_t name_length(const struct line *l)
{
	const char *colon = l->len ? memchr(l->text, ':', l->len) : NULL;
	size_t n = colon ? (size_t)(colon - l->text) : 0;

	while (n && (l->text[n - 1] == ' ' || l->text[n - 1] == '\t'))
		n--;
	return n;
}

static bool has_value(const struct line *l)
{
	const char *colon = memchr(l->text, ':', l->len);

	for (size_t i = (size_t)(colon - l->text) + 1; i < l->len; i++)
		if (l->text[i] != ' ' && l->text[i] != '\t')
			return true;
	return false;
}

static void add_line(struct header *h, const struct line *l, bool first)
{
	bool goes_on = l->len && (l->text[0] == ' ' || l->text[0] == '\t');
	size_t name = goes_on ? 0 : name_length(l);

	if (first && (begins(l->text, l->len, "from ") || begins(l->text, l->len, ">from ")))
		return;
	if (!goes_on)
		h->kept = !name || !does_not_count(l->text, name);
	if (name && has_value(l)) {
		h->ids += is_name(l->text, name, "message-id");
		h->dates += is_name(l->text, name, "date");
	}
	if (!h->kept)
		return;
	hasher_add(h->hash, l->text, l->len);
	hasher_add(h->hash, "\n", 1);
}

/* The next line of `data` from *at on.  False at its end, or when the line may go on behind it. */
static bool next_line(const char *data, size_t n, bool all, size_t *at, struct line *ret)
{
	const char *end = *at < n ? memchr(data + *at, '\n', n - *at) : NULL;

	if (*at >= n || (!end && !all))
		return false;
	size_t stop = end ? (size_t)(end - data) : n;
	ret->text = data + *at;
	ret->len = stop - *at;
	if (end && ret->len && data[stop - 1] == '\r')
		ret->len--;
	*at = stop + (end ? 1 : 0);
	return true;
}

/* Where the header ends, behind its empty line; 0: not in these bytes. */
static size_t header_end(const char *data, size_t n, bool all)
{
	struct line l;
	size_t at = 0;

	while (next_line(data, n, all, &at, &l))
		if (!l.len)
			return at;
	return all ? n : 0;
}

/* The bytes of the header, and its empty line.  *ret_len 0: it is too long, or empty. */
static int read_header(int fd, char **ret, size_t *ret_len)
{
	MB_AUTO_FREE char *data = NULL;
	size_t len = 0;

	for (size_t size = FIRST_READ; !len && size <= HEADER_MAX; size *= 4) {
		free(data);
		data = mb_xmalloc(size);
		ssize_t n = io_pread_full(fd, data, size, 0);
		if (n < 0)
			return (int)n;
		len = header_end(data, (size_t)n, (size_t)n < size);
		if ((size_t)n < size)
			break;
	}
	*ret = MB_TAKE(data);
	*ret_len = len;
	return 0;
}

static bool hash_header(const char *data, size_t len, struct digest *ret)
{
	struct header h = {.hash = hasher_new()};
	struct line l;
	size_t at = 0;

	for (bool first = true; next_line(data, len, true, &at, &l); first = false)
		if (l.len)
			add_line(&h, &l, first);
	hasher_end(h.hash, ret);
	if (h.ids == 1 && h.dates == 1)
		return true;
	memset(ret, 0, sizeof(*ret));
	return false;
}

/* ---- the body ---- */

struct body {
	struct hasher *hash;
	bool cr;	/* a CR came last: it counts unless LF follows */
	uint64_t lines; /* line ends that count only if something follows */
	char out[BLOCK];
	size_t n;
};

static void put(struct body *b, char c)
{
	if (b->n == sizeof(b->out)) {
		hasher_add(b->hash, b->out, b->n);
		b->n = 0;
	}
	b->out[b->n++] = c;
}

static void put_held(struct body *b)
{
	for (; b->lines; b->lines--)
		put(b, '\n');
}

static void add_byte(struct body *b, char c)
{
	if (b->cr && c != '\n') {
		put_held(b);
		put(b, '\r');
	}
	b->cr = c == '\r';
	if (c == '\n') {
		b->lines++;
	} else if (!b->cr) {
		put_held(b);
		put(b, c);
	}
}

static int hash_body(int fd, size_t from, struct hasher *hash)
{
	MB_AUTO_FREE struct body *b = mb_xcalloc(1, sizeof(*b));
	MB_AUTO_FREE char *data = mb_xmalloc(BLOCK);
	off_t at = (off_t)from;
	ssize_t n;

	b->hash = hash;
	do {
		n = io_pread_full(fd, data, BLOCK, at);
		for (ssize_t i = 0; i < n; i++)
			add_byte(b, data[i]);
		at += n > 0 ? n : 0;
	} while (n == BLOCK);
	if (b->cr) {
		put_held(b);
		put(b, '\r');
	}
	hasher_add(hash, b->out, b->n);
	return n < 0 ? (int)n : 0;
}

int alike_fd(int fd, struct digest *ret_head, struct digest *ret_whole)
{
	MB_AUTO_FREE char *data = NULL;
	struct digest head = {0}, whole = {0};
	size_t len = 0;
	int err = read_header(fd, &data, &len);
	bool has = err >= 0 && len && hash_header(data, len, &head);

	if (has && ret_whole) {
		struct hasher *hash = hasher_new();
		hasher_add(hash, head.b, sizeof(head.b));
		err = hash_body(fd, len, hash);
		hasher_end(hash, &whole);
	}
	if (err < 0)
		return err;
	*ret_head = head;
	if (ret_whole)
		*ret_whole = whole;
	return 0;
}
