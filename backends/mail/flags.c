/*
 * flags.c - flags and keywords as registers with stamps.
 *
 * Keywords are kept sorted without regard to ASCII case.  A join must not depend on the order of its
 * inputs, so of two spellings the smaller one stays, and of more than KEYWORDS_MAX keywords those
 * with the greatest stamps stay.
 *
 * Encoded: set (u8); number of groups (u8), each a mask (u8) of the bits that share a stamp, and the
 * stamp; number of keywords (varint), each name, set (u8), stamp.  A stamp is 16 bytes.
 */
#include "backends/mail/flags.h"
#include "backends/base/ascii.h"
#include "backends/base/mem.h"
#include "backends/mail/tlv.h"
#include <string.h>

const char FLAG_LETTERS[FLAG_COUNT + 1] = "DFPRST";

static const char *const names[FLAG_COUNT] = {
	[FLAG_DRAFT] = "\\Draft",	[FLAG_FLAGGED] = "\\Flagged", [FLAG_PASSED] = "$Forwarded",
	[FLAG_ANSWERED] = "\\Answered", [FLAG_SEEN] = "\\Seen",	      [FLAG_DELETED] = "\\Deleted",
};

const char *flag_name(enum flag_bit bit)
{
	return bit < FLAG_COUNT ? names[bit] : "";
}

bool flag_by_name(const char *name, enum flag_bit *ret)
{
	for (unsigned i = 0; i < FLAG_COUNT; i++) {
		if (ascii_casecmp(name, names[i]) == 0) {
			*ret = (enum flag_bit)i;
			return true;
		}
	}
	return false;
}

void flags_release(struct flags *f)
{
	for (size_t i = 0; i < f->n_keywords; i++)
		free(f->keywords[i].name);
	free(f->keywords);
	*f = (struct flags){0};
}

void flags_copy(struct flags *dst, const struct flags *src)
{
	if (dst == src)
		return;
	flags_release(dst);
	*dst = *src;
	dst->keywords = NULL;
	if (!src->n_keywords)
		return;
	dst->keywords = mb_xreallocarray(NULL, src->n_keywords, sizeof(*dst->keywords));
	for (size_t i = 0; i < src->n_keywords; i++) {
		dst->keywords[i] = src->keywords[i];
		dst->keywords[i].name = mb_xstrdup(src->keywords[i].name);
	}
}

bool keyword_ok(const char *name)
{
	size_t len = strlen(name);

	if (!len || len > KEYWORD_MAX_LEN)
		return false;
	for (const char *c = name; *c; c++)
		if (*c <= ' ' || *c > '~' || strchr("(){%*\"\\]", *c))
			return false;
	return true;
}

/* Where `name` is, or belongs. */
static size_t keyword_index(const struct flags *f, const char *name, bool *ret_found)
{
	size_t low = 0, high = f->n_keywords;

	*ret_found = false;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = ascii_casecmp(f->keywords[mid].name, name);

		if (order == 0) {
			*ret_found = true;
			return mid;
		}
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct keyword *flags_find_keyword(const struct flags *f, const char *name)
{
	bool found;
	size_t i = keyword_index(f, name, &found);

	return found ? &f->keywords[i] : NULL;
}

static void drop_keyword(struct flags *f, size_t i)
{
	free(f->keywords[i].name);
	f->n_keywords--;
	memmove(f->keywords + i, f->keywords + i + 1, (f->n_keywords - i) * sizeof(*f->keywords));
}

/* The oldest stamp goes; of equal ones the last name. */
static void drop_oldest_keyword(struct flags *f)
{
	size_t oldest = 0;

	for (size_t i = 1; i < f->n_keywords; i++)
		if (stamp_compare(&f->keywords[i].at, &f->keywords[oldest].at) <= 0)
			oldest = i;
	drop_keyword(f, oldest);
}

static struct keyword *insert_keyword(struct flags *f, size_t i, const char *name)
{
	struct keyword *k;

	f->keywords = mb_xreallocarray(f->keywords, f->n_keywords + 1, sizeof(*f->keywords));
	k = f->keywords + i;
	memmove(k + 1, k, (f->n_keywords - i) * sizeof(*k));
	f->n_keywords++;
	*k = (struct keyword){.name = mb_xstrdup(name)};
	return k;
}

void flags_put_keyword(struct flags *f, const char *name, bool set, struct stamp at)
{
	bool found;
	size_t i = keyword_index(f, name, &found);
	struct keyword *k = found ? f->keywords + i : insert_keyword(f, i, name);

	k->set = set;
	k->at = at;
	if (f->n_keywords > KEYWORDS_MAX)
		drop_oldest_keyword(f);
}

void flags_put(struct flags *f, enum flag_bit bit, bool set, struct stamp at)
{
	if (set)
		f->set = (uint8_t)(f->set | FLAG_MASK(bit));
	else
		f->set = (uint8_t)(f->set & ~FLAG_MASK(bit));
	f->at[bit] = at;
}

static const struct keyword *next_set(const struct flags *f, size_t *i)
{
	while (*i < f->n_keywords)
		if (f->keywords[(*i)++].set)
			return &f->keywords[*i - 1];
	return NULL;
}

bool flags_same_set(const struct flags *a, const struct flags *b)
{
	const struct keyword *x, *y;
	size_t i = 0, j = 0;

	if (a->set != b->set)
		return false;
	do {
		x = next_set(a, &i);
		y = next_set(b, &j);
		if (x && y && ascii_casecmp(x->name, y->name) != 0)
			return false;
	} while (x && y);
	return !x && !y;
}

bool flags_equal(const struct flags *a, const struct flags *b)
{
	if (a->set != b->set || a->n_keywords != b->n_keywords)
		return false;
	for (size_t i = 0; i < FLAG_COUNT; i++)
		if (stamp_compare(&a->at[i], &b->at[i]) != 0)
			return false;
	for (size_t i = 0; i < a->n_keywords; i++) {
		const struct keyword *x = &a->keywords[i], *y = &b->keywords[i];

		if (x->set != y->set || stamp_compare(&x->at, &y->at) != 0 ||
		    strcmp(x->name, y->name) != 0)
			return false;
	}
	return true;
}

/* One register: the later stamp; of equal ones the one that is set. */
static bool join_register(bool *set, struct stamp *at, bool src_set, const struct stamp *src_at)
{
	int order = stamp_compare(at, src_at);

	if (order > 0 || (order == 0 && (*set || !src_set)))
		return false;
	*set = src_set;
	*at = *src_at;
	return true;
}

/* An unknown keyword is taken as it is, even cleared and without a stamp. */
static bool join_keyword(struct flags *dst, const struct keyword *src)
{
	bool found, changed;
	size_t i = keyword_index(dst, src->name, &found);
	struct keyword *k = found ? dst->keywords + i : insert_keyword(dst, i, src->name);

	if (!found) {
		k->set = src->set;
		k->at = src->at;
		return true;
	}
	changed = join_register(&k->set, &k->at, src->set, &src->at);
	if (strcmp(src->name, k->name) < 0) {
		memcpy(k->name, src->name, strlen(k->name));
		changed = true;
	}
	return changed;
}

/* Before a join that may go over the bound: what dst was, to tell whether it changed. */
static bool join_keywords_bounded(struct flags *dst, const struct flags *src)
{
	struct flags old = {0};
	bool changed;

	flags_copy(&old, dst);
	for (size_t i = 0; i < src->n_keywords; i++)
		join_keyword(dst, &src->keywords[i]);
	while (dst->n_keywords > KEYWORDS_MAX)
		drop_oldest_keyword(dst);
	changed = !flags_equal(&old, dst);
	flags_release(&old);
	return changed;
}

bool flags_join(struct flags *dst, const struct flags *src)
{
	bool changed = false;

	if (dst == src)
		return false;
	for (unsigned i = 0; i < FLAG_COUNT; i++) {
		struct stamp at = dst->at[i];
		bool set = dst->set & FLAG_MASK(i);

		if (join_register(&set, &at, src->set & FLAG_MASK(i), &src->at[i])) {
			flags_put(dst, (enum flag_bit)i, set, at);
			changed = true;
		}
	}
	if (dst->n_keywords + src->n_keywords > KEYWORDS_MAX)
		return join_keywords_bounded(dst, src) || changed;
	for (size_t i = 0; i < src->n_keywords; i++)
		changed |= join_keyword(dst, &src->keywords[i]);
	return changed;
}

bool flags_later(const struct flags *a, const struct flags *than)
{
	struct flags joined = {0};
	bool later;

	flags_copy(&joined, than);
	later = flags_join(&joined, a) && !flags_same_set(&joined, than);
	flags_release(&joined);
	return later;
}

static void put_word(struct buf *out, size_t start, const char *word)
{
	if (out->len > start)
		buf_put_u8(out, ' ');
	buf_put(out, word, strlen(word));
}

void flags_text(const struct flags *f, struct buf *out)
{
	size_t start = out->len;

	for (unsigned i = 0; i < FLAG_COUNT; i++)
		if (f->set & FLAG_MASK(i))
			put_word(out, start, names[i]);
	for (size_t i = 0; i < f->n_keywords; i++)
		if (f->keywords[i].set)
			put_word(out, start, f->keywords[i].name);
}

static void encode_stamps(const struct flags *f, struct buf *out)
{
	unsigned done = 0;
	size_t count_at = out->len;

	buf_put_u8(out, 0);
	for (unsigned i = 0; i < FLAG_COUNT; i++) {
		unsigned mask = FLAG_MASK(i);

		if (done & mask || stamp_is_none(&f->at[i]))
			continue;
		for (unsigned j = i + 1; j < FLAG_COUNT; j++)
			if (stamp_compare(&f->at[i], &f->at[j]) == 0)
				mask |= FLAG_MASK(j);
		done |= mask;
		buf_put_u8(out, (uint8_t)mask);
		stamp_encode(&f->at[i], out);
		out->data[count_at]++;
	}
}

void flags_encode(const struct flags *f, struct buf *out)
{
	buf_put_u8(out, f->set & FLAG_ALL);
	encode_stamps(f, out);
	buf_put_varint(out, f->n_keywords);
	for (size_t i = 0; i < f->n_keywords; i++) {
		buf_put_str(out, f->keywords[i].name);
		buf_put_u8(out, f->keywords[i].set);
		stamp_encode(&f->keywords[i].at, out);
	}
}

static bool decode_stamps(struct reader *r, struct flags *f)
{
	unsigned groups = reader_get_u8(r), done = 0;

	for (unsigned i = 0; i < groups && !r->failed; i++) {
		unsigned mask = reader_get_u8(r);
		struct stamp at = stamp_decode(r);

		if (!mask || mask & ~FLAG_ALL || mask & done)
			return false;
		done |= mask;
		for (unsigned j = 0; j < FLAG_COUNT; j++)
			if (mask & FLAG_MASK(j))
				f->at[j] = at;
	}
	return !r->failed;
}

/* Sorted, so that each name is there once. */
static bool decode_keyword(struct reader *r, struct flags *f)
{
	const struct keyword *last = f->n_keywords ? &f->keywords[f->n_keywords - 1] : NULL;
	struct keyword k = {.name = reader_get_str(r, KEYWORD_MAX_LEN)};
	uint8_t set = reader_get_u8(r);

	k.set = set == 1;
	k.at = stamp_decode(r);
	if (r->failed || set > 1 || !keyword_ok(k.name) ||
	    (last && ascii_casecmp(last->name, k.name) >= 0)) {
		free(k.name);
		return false;
	}
	f->keywords[f->n_keywords++] = k;
	return true;
}

static bool decode(struct reader *r, struct flags *f)
{
	uint64_t n;

	f->set = reader_get_u8(r);
	if (f->set & ~FLAG_ALL || !decode_stamps(r, f))
		return false;
	n = reader_get_varint(r);
	if (r->failed || n > KEYWORDS_MAX || n > reader_left(r) / 19)
		return false;
	if (n)
		f->keywords = mb_xcalloc((size_t)n, sizeof(*f->keywords));
	while (n--)
		if (!decode_keyword(r, f))
			return false;
	return true;
}

bool flags_decode(struct reader *r, struct flags *ret)
{
	*ret = (struct flags){0};
	if (decode(r, ret))
		return true;
	flags_release(ret);
	return false;
}
