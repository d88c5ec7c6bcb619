/*
 * same.c - mailbox names that look the same to a person.
 *
 * Two names are compared code point by code point, after a base letter and the combining mark after
 * it were made one (NFC).  Only Latin-1 and Latin Extended-A are composed (U+00C0 to U+017F): what
 * keyboards and file systems of other systems mix up in practice.  Letters with two marks are compared
 * as they are, and so is the case of scripts beyond Latin, Greek and Cyrillic.  Where a file system
 * knows more than that, the store refuses the second mailbox rather than give two one directory.
 */
#include "backends/mail/layout.h"
#include "backends/base/ascii.h"
#include <stdint.h>

enum { FIRST_COMPOSED = 0xc0, N_COMPOSED = 192, FIRST_MARK = 0x300, RAW_BYTE = 0x110000 };

/* Of U+00C0 + i: the base letter and '0' + its mark - U+0300; a dot where there is none. */
static const char bases[N_COMPOSED + 1] =
	"AAAAAA.CEEEEIIII.NOOOOO..UUUUY..aaaaaa.ceeeeiiii.nooooo..uuuuy.y"
	"AaAaAaCcCcCcCcDd..EeEeEeEeEeGgGgGgGgHh..IiIiIiIiI...JjKk.LlLlLl."
	"...NnNnNn...OoOoOo..RrRrRrSsSsSsSsTtTt..UuUuUuUuUuUuWwYyYZzZzZz.";
static const char marks[N_COMPOSED + 1] =
	"01238:.W01280128.301238..01281..01238:.W01280128.301238..01281.8"
	"4466XX112277<<<<..446677XX<<226677WW22..334466XX7...22WW.11WW<<."
	"...11WW<<...4466;;..11WW<<1122WW<<WW<<..334466::;;XX222281177<<.";

/* Code point at *s; a byte that is not UTF-8 has its own value. */
static uint32_t next_code_point(const char **s)
{
	const unsigned char *p = (const unsigned char *)*s;
	unsigned more = p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 1 : p[0] < 0xf0 ? 2 : p[0] < 0xf5 ? 3 : 0;
	uint32_t c = p[0] & (0x3fu >> more);

	*s += 1;
	if (p[0] < 0x80)
		return p[0];
	for (unsigned i = 1; i <= more; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return RAW_BYTE + p[0];
		c = c << 6 | (p[i] & 0x3f);
	}
	if (!more)
		return RAW_BYTE + p[0];
	*s += more;
	return c;
}

/* The composed letter, or 0. */
static uint32_t compose(uint32_t base, uint32_t mark)
{
	if (mark < FIRST_MARK || mark >= FIRST_MARK + 0x70)
		return 0;
	for (uint32_t i = 0; i < N_COMPOSED; i++)
		if ((uint32_t)bases[i] == base && (uint32_t)marks[i] == mark - FIRST_MARK + '0')
			return FIRST_COMPOSED + i;
	return 0;
}

/* The small letter of a code point: ASCII, Latin-1, Latin Extended-A, Greek and Cyrillic. */
static uint32_t small(uint32_t c)
{
	bool odd_is_small = (c >= 0x100 && c < 0x138) || (c >= 0x14a && c < 0x178);
	bool even_is_small = (c >= 0x139 && c < 0x149) || (c >= 0x179 && c < 0x17f);

	if (c < 0x80)
		return ascii_lower((char)c);
	if (c == 0x130 || c == 0x131) /* dotted and dotless i are letters of their own */
		return c;
	if (odd_is_small)
		return c | 1;
	if (even_is_small)
		return c + (c & 1);
	if (c == 0x178)
		return 0xff;
	if ((c >= 0xc0 && c < 0xdf && c != 0xd7) || (c >= 0x391 && c < 0x3aa && c != 0x3a2) ||
	    (c >= 0x410 && c < 0x430))
		return c + 32;
	return c >= 0x400 && c < 0x410 ? c + 80 : c;
}

static uint32_t next_letter(const char **s, bool fold_case)
{
	uint32_t c = next_code_point(s), composed;
	const char *after = *s;

	if (c < 0x80 && ascii_lower((char)c) >= 'a' && ascii_lower((char)c) <= 'z' && *after) {
		composed = compose(c, next_code_point(&after));
		if (composed) {
			*s = after;
			c = composed;
		}
	}
	return fold_case ? small(c) : c;
}

bool mailbox_part_same(const char *a, const char *b, bool fold_case)
{
	while (*a && *b)
		if (next_letter(&a, fold_case) != next_letter(&b, fold_case))
			return false;
	return !*a && !*b;
}
