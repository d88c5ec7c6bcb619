/*
 * scope-words.c - lists of parts, dates, sizes and flags as people write them on the command line.
 *
 * Dates have the forms of doveadm(1): seconds since 1970, a day or a time of ISO 8601, a day as IMAP
 * writes it, or how long ago.  Days begin at midnight where we are.
 */
#include "sync/scope.h"

#include "backends/base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define NS_PER_S INT64_C(1000000000)
#define SECONDS_MAX (INT64_C(253402300800)) /* the year 10000 */

/* ---- parts ----------------------------------------------------------------------------------- */

static bool parse_part(const char *word, size_t len, unsigned *ret)
{
	static const struct {
		const char *name;
		unsigned parts;
	} words[] = {
		{"new", SCOPE_NEW},
		{"flags", SCOPE_FLAGS},
		{"moves", SCOPE_MOVES},
		{"expunges", SCOPE_EXPUNGES},
		{"folders", SCOPE_FOLDERS},
		{"all", SCOPE_EVERYTHING},
		{"none", 0},
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strlen(words[i].name) != len || strncmp(words[i].name, word, len) != 0)
			continue;
		*ret |= words[i].parts;
		return true;
	}
	return false;
}

bool scope_parse_parts(const char *text, unsigned *ret)
{
	unsigned parts = 0;

	for (;;) {
		size_t len = strcspn(text, ",");
		if (!parse_part(text, len, &parts))
			return false;
		if (!text[len])
			break;
		text += len + 1;
	}
	*ret = parts;
	return true;
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* Digits only: no sign, no space. */
static bool parse_number(const char *text, const char **ret_end, uint64_t *ret)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	unsigned long long n = strtoull(text, &end, 10);
	if (errno)
		return false;
	*ret = n;
	*ret_end = end;
	return true;
}

bool scope_parse_size(const char *text, uint64_t *ret)
{
	static const char units[] = "bkmgt";
	const char *end;
	uint64_t n;
	unsigned shift = 0;

	if (!parse_number(text, &end, &n))
		return false;
	if (*end) {
		const char *unit = strchr(units, *end | 0x20);
		if (!unit || !*unit)
			return false;
		shift = (unsigned)(unit - units) * 10;
		end++;
		if (shift && (*end == 'b' || *end == 'B'))
			end++;
	}
	if (*end || n > UINT64_MAX >> shift)
		return false;
	*ret = n << shift;
	return true;
}

/* ---- dates ----------------------------------------------------------------------------------- */

static bool set_date(struct scope_date *ret, bool relative, int64_t seconds)
{
	if (seconds < 0 || seconds > SECONDS_MAX)
		return false;
	if (seconds > INT64_MAX / NS_PER_S)
		seconds = INT64_MAX / NS_PER_S;
	*ret = (struct scope_date){.given = true, .relative = relative, .ns = seconds * NS_PER_S};
	return true;
}

/* "s", "sec", "secs", "second", "seconds": what is a beginning of the last. */
static int64_t unit_seconds(const char *word)
{
	static const struct {
		const char *name;
		int64_t seconds;
	} units[] = {{"seconds", 1},  {"secs", 1},     {"minutes", 60},	 {"mins", 60},
		     {"hours", 3600}, {"days", 86400}, {"weeks", 604800}};
	size_t len = strlen(word);

	for (size_t i = 0; len && i < sizeof(units) / sizeof(units[0]); i++)
		if (strncasecmp(units[i].name, word, len) == 0)
			return units[i].seconds;
	return 0;
}

/* "2days", "2 days", "-90d", "1w". */
static bool parse_ago(const char *text, struct scope_date *ret)
{
	const char *end;
	uint64_t n;

	if (*text == '-')
		text++;
	if (!parse_number(text, &end, &n))
		return false;
	while (*end == ' ')
		end++;
	int64_t unit = unit_seconds(end);
	return unit && n <= (uint64_t)(SECONDS_MAX / unit) &&
	       set_date(ret, true, (int64_t)n * unit);
}

/* What strptime() takes and nothing after it; mktime() must not have moved it: no 31st of June. */
static bool parse_tm(const char *text, const char *format, bool utc, int64_t *ret)
{
	struct tm tm = {.tm_isdst = -1}, was;
	const char *end = strptime(text, format, &tm);

	if (!end || *end)
		return false;
	long offset = tm.tm_gmtoff;
	was = tm;
	time_t t = utc ? timegm(&tm) : mktime(&tm);
	if (tm.tm_mday != was.tm_mday || tm.tm_mon != was.tm_mon || tm.tm_year != was.tm_year)
		return false;
	*ret = (int64_t)t - (utc ? offset : 0);
	return true;
}

static bool parse_day(const char *text, struct scope_date *ret)
{
	static const struct {
		const char *format;
		bool utc; /* with a zone */
	} forms[] = {
		{"%Y-%m-%d", false},	       {"%Y-%m-%dT%H:%M", false},
		{"%Y-%m-%dT%H:%M:%S", false},  {"%Y-%m-%d %H:%M:%S", false},
		{"%Y-%m-%dT%H:%M:%S%z", true}, {"%d-%b-%Y", false},
	};
	int64_t seconds;

	if (*text < '0' || *text > '9')
		return false;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
		if (parse_tm(text, forms[i].format, forms[i].utc, &seconds))
			return set_date(ret, false, seconds);
	return false;
}

bool scope_parse_date(const char *text, struct scope_date *ret)
{
	const char *end;
	uint64_t n;

	if (parse_number(text, &end, &n) && !*end)
		return n <= (uint64_t)SECONDS_MAX && set_date(ret, false, (int64_t)n);
	return parse_day(text, ret) || parse_ago(text, ret);
}

/* ---- flags ----------------------------------------------------------------------------------- */

bool scope_parse_flag(struct scope *s, const char *text)
{
	bool unset = *text == '-';
	const char *name = unset ? text + 1 : text;
	enum flag_bit bit;

	if (flag_by_name(name, &bit))
		name = flag_name(bit);
	else if (!keyword_ok(name))
		return false;
	char *own = mb_xstrdup(name);
	free(s->flag);
	s->flag = own;
	s->flag_unset = unset;
	return true;
}
