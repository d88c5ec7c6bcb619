/*
 * uidlist.c - see uidlist.h.
 *
 * Every line is one allocation; an array has them by UID, a hash table by name.
 */
#include "backends/mail/uidlist.h"
#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "backends/base/mem.h"
#include "backends/mail/fname.h"
#include <string.h>
#define HASH_FUNCTION(key, len, ret) ((ret) = (unsigned)checksum64((key), (len), 0))
#include <uthash.h>

#define UID_MAX 0xfffffffeu /* so that there is one above it */

struct uidlist_line {
	UT_hash_handle hh;
	uint32_t uid;
	size_t name_len;
	char *fields; /* owned, or NULL: fields, each with a space before it */
	char name[];
};

struct uidlist_names {
	struct uidlist_line *by_name;
};

static size_t name_length(const char *file)
{
	return strcspn(file, ":");
}

uint32_t uidlist_uid(const struct uidlist_line *line)
{
	return line->uid;
}

const char *uidlist_name(const struct uidlist_line *line)
{
	return line->name;
}

bool uidlist_same_name(const char *a, const char *b)
{
	size_t n = name_length(a);

	return n == name_length(b) && memcmp(a, b, n) == 0;
}

static void line_free(struct uidlist_line *line)
{
	free(line->fields);
	free(line);
}

void uidlist_release(struct uidlist *l)
{
	if (l->names)
		HASH_CLEAR(hh, l->names->by_name);
	for (size_t i = 0; i < l->n; i++)
		line_free(l->lines[i]);
	free(l->lines);
	free(l->names);
	free(l->fields);
	*l = (struct uidlist){0};
}

/* ---- finding ---- */

static struct uidlist_line *find(const struct uidlist *l, const char *name, size_t len)
{
	struct uidlist_line *line = NULL;

	if (l->names)
		HASH_FIND(hh, l->names->by_name, name, len, line);
	return line;
}

const struct uidlist_line *uidlist_find(const struct uidlist *l, const char *file)
{
	return find(l, file, name_length(file));
}

/* Place of the first line with this UID or one above it. */
static size_t place_of(const struct uidlist *l, uint32_t uid)
{
	size_t lo = 0, hi = l->n;

	if (l->n && l->lines[l->n - 1]->uid < uid)
		return l->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (l->lines[mid]->uid < uid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct uidlist_line *uidlist_by_uid(const struct uidlist *l, uint32_t uid)
{
	size_t i = place_of(l, uid);

	return i < l->n && l->lines[i]->uid == uid ? l->lines[i] : NULL;
}

/* ---- changing ---- */

static void take_out(struct uidlist *l, struct uidlist_line *line)
{
	size_t i = place_of(l, line->uid);

	HASH_DELETE(hh, l->names->by_name, line);
	memmove(&l->lines[i], &l->lines[i + 1], (l->n - i - 1) * sizeof(l->lines[0]));
	l->n--;
}

static void put_in(struct uidlist *l, struct uidlist_line *line)
{
	size_t i = place_of(l, line->uid);

	if (!l->names)
		l->names = mb_xcalloc(1, sizeof(*l->names));
	MB_GROW(l->lines, l->cap, l->n + 1);
	memmove(&l->lines[i + 1], &l->lines[i], (l->n - i) * sizeof(l->lines[0]));
	l->lines[i] = line;
	l->n++;
	HASH_ADD_KEYPTR(hh, l->names->by_name, line->name, line->name_len, line);
	if (line->uid >= l->uid_next)
		l->uid_next = line->uid + 1;
}

static struct uidlist_line *line_new(const char *name, size_t len, uint32_t uid)
{
	struct uidlist_line *line = mb_xcalloc(1, sizeof(*line) + len + 1);

	memcpy(line->name, name, len);
	line->name_len = len;
	line->uid = uid;
	return line;
}

void uidlist_remove(struct uidlist *l, const char *file)
{
	struct uidlist_line *line = find(l, file, name_length(file));

	if (!line)
		return;
	take_out(l, line);
	line_free(line);
	l->whole = false;
}

void uidlist_set(struct uidlist *l, const char *file, uint32_t uid)
{
	size_t len = name_length(file), i = place_of(l, uid);
	struct uidlist_line *line = find(l, file, len);

	if (line && line->uid == uid)
		return;
	if (i < l->n) /* not at the end: the file has to be written anew */
		l->whole = false;
	if (i < l->n && l->lines[i]->uid == uid) {
		struct uidlist_line *other = l->lines[i];

		take_out(l, other);
		line_free(other);
	}
	if (line) {
		take_out(l, line);
		line->uid = uid;
		l->whole = false;
	} else {
		line = line_new(file, len, uid);
	}
	put_in(l, line);
}

void uidlist_set_fields(struct uidlist *l, const char *file, const struct uidlist_line *like)
{
	struct uidlist_line *line = find(l, file, name_length(file));
	char *fields = like && like->fields ? mb_xstrdup(like->fields) : NULL;

	if (!line) {
		free(fields);
		return;
	}
	free(line->fields);
	line->fields = fields;
	l->whole = false;
}

/* ---- reading ---- */

/* Digits up to `end`, or to what follows them; at least one. */
static bool number(const char **p, const char *end, uint32_t *ret)
{
	const char *start = *p;
	uint64_t v = 0;

	while (*p < end && **p >= '0' && **p <= '9') {
		v = v * 10 + (uint64_t)(**p - '0');
		if (v > UINT32_MAX)
			return false;
		(*p)++;
	}
	*ret = (uint32_t)v;
	return *p > start;
}

static bool number_is_all(const char *p, const char *end, uint32_t *ret)
{
	return number(&p, end, ret) && p == end;
}

static void keep_field(char **fields, const char *p, size_t len)
{
	char *all = mb_xasprintf("%s %.*s", *fields ? *fields : "", (int)len, p);

	free(*fields);
	*fields = all;
}

/* "V1700000000", "N5", "G0123…": one field of the header. */
static bool header_field(struct uidlist *l, const char *p, size_t len)
{
	char text[GUID_TEXT];

	if (len < 1 || len > 255)
		return false;
	if (*p == 'V')
		return number_is_all(p + 1, p + len, &l->uid_validity);
	if (*p == 'N')
		return number_is_all(p + 1, p + len, &l->uid_next);
	keep_field(&l->fields, p, len);
	if (*p == 'G' && len == GUID_TEXT) {
		memcpy(text, p + 1, GUID_TEXT - 1);
		text[GUID_TEXT - 1] = 0;
		if (!guid_parse(text, &l->guid))
			l->guid = GUID_ZERO;
	}
	return true;
}

#define HEADER_MAX 4096 /* bytes */

static bool header3(struct uidlist *l, const char *p, const char *end)
{
	while (p < end) {
		const char *space = memchr(p, ' ', (size_t)(end - p));
		size_t len = (size_t)((space ? space : end) - p);

		if (!header_field(l, p, len))
			return false;
		p += len + (space ? 1 : 0);
	}
	return true;
}

static bool header1(struct uidlist *l, const char *p, const char *end)
{
	return number(&p, end, &l->uid_validity) && p < end && *p++ == ' ' &&
	       number_is_all(p, end, &l->uid_next);
}

static bool header(struct uidlist *l, const char *p, const char *end, int *ret_version)
{
	bool good = end - p > 2 && end - p <= HEADER_MAX && p[1] == ' ' &&
		    !memchr(p, 0, (size_t)(end - p));

	*ret_version = good ? *p - '0' : 0;
	l->whole = *ret_version == 3;
	if (*ret_version == 3)
		good = header3(l, p + 2, end);
	else
		good = *ret_version == 1 && header1(l, p + 2, end);
	return good && l->uid_validity && l->uid_next;
}

/* The fields before the name of a version 3 line; p is after the UID's space.  Leaves p at the name. */
static bool line_fields(const char **p, const char *end, const char **ret_end)
{
	*ret_end = *p;
	while (*p < end && **p != ':') {
		const char *space = memchr(*p, ' ', (size_t)(end - *p));

		if (**p < 'A' || **p > 'Z' || !space)
			return false;
		*ret_end = space;
		*p = space + 1;
	}
	return *p < end && *(*p)++ == ':';
}

static bool add_line(struct uidlist *l, int version, const char *p, const char *end)
{
	const char *fields, *fields_end, *name;
	struct uidlist_line *line, *twin;
	char text[FNAME_MAX + 1];
	uint32_t uid;

	if (!number(&p, end, &uid) || !uid || uid > UID_MAX || p >= end || *p++ != ' ')
		return false;
	if (l->n && l->lines[l->n - 1]->uid >= uid)
		return false;
	fields = fields_end = p;
	if (version == 3 && !line_fields(&p, end, &fields_end))
		return false;
	name = p;
	if (end - name > FNAME_MAX || memchr(name, 0, (size_t)(end - name)))
		return false;
	memcpy(text, name, (size_t)(end - name));
	text[end - name] = 0;
	if (!fname_is_message(text) || !name_length(text))
		return false;
	twin = find(l, text, name_length(text));
	if (twin) {
		take_out(l, twin);
		line_free(twin);
		l->whole = false;
	}
	line = line_new(text, name_length(text), uid);
	if (fields_end > fields)
		line->fields = mb_xasprintf(" %.*s", (int)(fields_end - fields), fields);
	put_in(l, line);
	return true;
}

int uidlist_parse(const char *text, size_t len, struct uidlist *ret)
{
	const char *p = text, *end = text + len;
	int version = 0;

	*ret = (struct uidlist){0};
	for (const char *eol; p < end; p = eol + 1) {
		eol = memchr(p, '\n', (size_t)(end - p));
		if (!eol) {
			ret->whole = false;
			break;
		}
		if (version ? add_line(ret, version, p, eol) : header(ret, p, eol, &version))
			continue;
		uidlist_release(ret);
		return MB_E_FORMAT;
	}
	return version ? 0 : MB_E_FORMAT;
}

bool uidlist_line_guid(const struct uidlist_line *line, struct guid *ret)
{
	for (const char *p = line->fields; p; p = strchr(p + 1, ' ')) {
		char text[GUID_TEXT];
		size_t len = strcspn(p + 1, " ");

		if (p[1] != 'G' || len != GUID_TEXT)
			continue;
		memcpy(text, p + 2, GUID_TEXT - 1);
		text[GUID_TEXT - 1] = 0;
		return guid_parse(text, ret) && !guid_is_zero(ret);
	}
	return false;
}

/* ---- writing ---- */

void uidlist_write_line(const struct uidlist_line *line, struct buf *out)
{
	buf_printf(out, "%u%s :%s\n", line->uid, line->fields ? line->fields : "", line->name);
}

void uidlist_write(const struct uidlist *l, struct buf *out)
{
	buf_printf(out, "3 V%u N%u%s\n", l->uid_validity, l->uid_next, l->fields ? l->fields : "");
	for (size_t i = 0; i < l->n; i++)
		uidlist_write_line(l->lines[i], out);
}
