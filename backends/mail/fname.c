/*
 * fname.c - the name of a message file: base, info part, extra.
 *
 * Programs have appended an info part to a name that had one ("x:2,S:2,RS", "x:2,:2,S"): the letters
 * of the last one count, and the base ends before the first of such a row.  ":1," (the experimental
 * semantics of the Maildir format) has no letters of ours; it is replaced when the name is written.
 */
#include "backends/mail/fname.h"
#include "backends/base/clock.h"
#include "backends/base/hash.h"
#include "backends/mail/flags.h"
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

static bool is_info(const char *p)
{
	if (p[0] != ':' && p[0] != ';' && p[0] != '!')
		return false;
	return (p[1] == '2' || (p[1] == '1' && p[0] == ':')) && p[2] == ',';
}

/* The last info part in name, or NULL.  One at the very start is a base, which is never empty. */
static const char *last_info(const char *name, size_t len)
{
	for (size_t i = len; i-- > 1;)
		if (is_info(name + i))
			return name + i;
	return NULL;
}

/* The first info part of the row that ends with `info`: only letters between them. */
static const char *first_of_row(const char *name, const char *info)
{
	for (;;) {
		const char *p = info - 1;

		while (p > name && (is_lower(*p) || is_upper(*p)))
			p--;
		if (p - name < 3 || *p != ',' || !is_info(p - 2))
			return info;
		info = p - 2;
	}
}

static int flag_of_letter(char c)
{
	const char *p = strchr(FLAG_LETTERS, c);

	return p && c ? (int)(p - FLAG_LETTERS) : -1;
}

/* Reads the letters; returns what follows them. */
static const char *parse_letters(const char *p, struct fname *f)
{
	char last = 0;

	for (; is_lower(*p) || is_upper(*p); p++) {
		int bit = flag_of_letter(*p);

		if (bit >= 0)
			f->flags = (uint8_t)(f->flags | FLAG_MASK(bit));
		else if (is_lower(*p))
			f->keywords |= 1u << (*p - 'a');
		else
			f->others |= 1u << (*p - 'A');
		if (*p <= last)
			f->canonical = false;
		last = *p;
	}
	return p;
}

void fname_parse(const char *name, struct fname *ret)
{
	size_t len = strlen(name);
	const char *info = last_info(name, len), *start, *rest;
	struct fname f = {.base_len = len};

	if (info) {
		start = first_of_row(name, info);
		f.base_len = (size_t)(start - name);
		f.separator = *info;
		f.canonical = start == info && info[1] == '2';
		if (info[1] == '2') {
			rest = parse_letters(info + 3, &f);
			f.extra = *rest ? rest : NULL;
			f.canonical &= !f.extra;
		}
	}
	f.unique_len = strcspn(name, ",");
	if (f.unique_len > f.base_len)
		f.unique_len = f.base_len;
	*ret = f;
}

bool fname_is_message(const char *name)
{
	size_t len = strnlen(name, FNAME_MAX + 1);

	return len && len <= FNAME_MAX && name[0] != '.' && !strchr(name, '/');
}

static size_t put_letters(char *out, uint8_t flags, uint32_t keywords, uint32_t others)
{
	size_t n = 0;

	for (unsigned i = 0; i < 26; i++) {
		char c = (char)('A' + i);
		int bit = flag_of_letter(c);

		if (bit >= 0 ? flags & FLAG_MASK(bit) : others & 1u << i)
			out[n++] = c;
	}
	for (unsigned i = 0; i < 26; i++)
		if (keywords & 1u << i)
			out[n++] = (char)('a' + i);
	return n;
}

bool fname_write(const char *base, size_t base_len, char separator, uint8_t flags,
		 uint32_t keywords, uint32_t others, const char *extra, char out[FNAME_MAX + 1])
{
	char letters[52];
	size_t n = put_letters(letters, flags, keywords, others);
	size_t extra_len = extra ? strlen(extra) : 0;

	out[0] = '\0';
	if (base_len > FNAME_MAX)
		return false;
	memcpy(out, base, base_len);
	out[base_len] = '\0';
	if (extra_len > FNAME_MAX || base_len + 3 + n + extra_len > FNAME_MAX)
		return false;
	out += base_len;
	*out++ = separator ? separator : ':';
	*out++ = '2';
	*out++ = ',';
	memcpy(out, letters, n);
	if (extra_len)
		memcpy(out + n, extra, extra_len);
	out[n + extra_len] = '\0';
	return true;
}

/* A decimal number that fills the len bytes. */
static bool parse_number(const char *p, size_t len, uint64_t *ret)
{
	uint64_t v = 0;

	if (!len)
		return false;
	for (; len; len--, p++)
		if (*p < '0' || *p > '9' || __builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return false;
	*ret = v;
	return true;
}

bool fname_field_u64(const char *name, const struct fname *f, char key, uint64_t *ret)
{
	const char *end = name + f->base_len, *p = name;

	while ((p = memchr(p, ',', (size_t)(end - p)))) {
		const char *next;

		p++;
		next = memchr(p, ',', (size_t)(end - p));
		if (!next)
			next = end;
		if (next - p > 2 && p[0] == key && p[1] == '=' &&
		    parse_number(p + 2, (size_t)(next - p - 2), ret))
			return true;
	}
	return false;
}

/* The host name, with what a name must not hold as octal escapes, at most 64 bytes. */
static void escaped_host(char out[65])
{
	char host[65] = "";
	size_t n = 0;

	if (gethostname(host, sizeof(host) - 1) < 0 || !*host)
		strcpy(host, "localhost");
	for (const char *c = host; *c && n + 4 <= 64; c++) {
		if (is_lower(*c) || is_upper(*c) || (*c >= '0' && *c <= '9') ||
		    (*c && strchr(".-_", *c)))
			out[n++] = *c;
		else
			n += (size_t)sprintf(out + n, "\\%03o", (unsigned char)*c);
	}
	out[n] = '\0';
}

void fname_new_base(uint64_t size, char out[FNAME_MAX + 1])
{
	static _Atomic unsigned count;
	int64_t us = clock_wall_ns() / 1000;
	char host[65];

	if (us < 0)
		us = 0;
	escaped_host(host);
	snprintf(out, FNAME_MAX + 1, "%" PRId64 ".M%" PRId64 "P%ldQ%u_%016" PRIx64 ".%s,S=%" PRIu64,
		 us / 1000000, us % 1000000, (long)getpid(), ++count, random_u64(), host, size);
}
