/*
 * scope.c - see scope.h.  What dates and sizes look like is in scope-words.c.
 */
#include "sync/scope.h"

#include "backends/base/ascii.h"
#include "backends/base/buf.h"
#include "backends/base/hash.h"
#include "backends/base/mem.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

void scope_init(struct scope *s)
{
	*s = (struct scope){.let = {SCOPE_EVERYTHING, SCOPE_EVERYTHING}};
}

void scope_list_release(struct scope_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->items[i]);
	free(l->items);
	*l = (struct scope_list){0};
}

void scope_release(struct scope *s)
{
	scope_list_release(&s->names);
	scope_list_release(&s->guids);
	scope_list_release(&s->prefixes);
	scope_list_release(&s->excludes);
	free(s->flag);
	memset(s, 0, sizeof(*s));
}

/* ---- questions ------------------------------------------------------------------------------- */

bool scope_selects(const struct scope *s)
{
	return s && (s->names.n || s->guids.n || s->prefixes.n || s->excludes.n);
}

bool scope_is_default(const struct scope *s)
{
	return !s ||
	       (s->let[0] == SCOPE_EVERYTHING && s->let[1] == SCOPE_EVERYTHING && !s->mirror &&
		!scope_selects(s) && !s->since.given && !s->until.given && !s->sized && !s->flag);
}

int scope_source(const struct scope *s)
{
	if (!s || !s->let[0] == !s->let[1])
		return -1;
	return s->let[0] ? 1 : 0;
}

bool scope_is_moving(const struct scope *s)
{
	return s && s->until.given && s->until.relative;
}

/* ---- mailboxes ------------------------------------------------------------------------------- */

/* No server tells what a mailbox is for, so the names that programs give them do. */
static const struct {
	const char *use, *name;
} special_uses[] = {
	{"\\All", "All Mail"},	     {"\\Archive", "Archive"},	   {"\\Archive", "Archives"},
	{"\\Drafts", "Drafts"},	     {"\\Drafts", "Draft"},	   {"\\Flagged", "Flagged"},
	{"\\Flagged", "Starred"},    {"\\Important", "Important"}, {"\\Inbox", "INBOX"},
	{"\\Junk", "Junk"},	     {"\\Junk", "Junk E-mail"},	   {"\\Junk", "Spam"},
	{"\\Sent", "Sent"},	     {"\\Sent", "Sent Items"},	   {"\\Sent", "Sent Mail"},
	{"\\Sent", "Sent Messages"}, {"\\Trash", "Deleted Items"}, {"\\Trash", "Deleted Messages"},
	{"\\Trash", "Trash"},
};

static bool use_is_known(const char *use)
{
	for (size_t i = 0; i < sizeof(special_uses) / sizeof(special_uses[0]); i++)
		if (strcasecmp(special_uses[i].use, use) == 0)
			return true;
	return false;
}

/* At the top, or right below INBOX, where some servers keep everything. */
static bool has_use(const char *name, const char *use)
{
	if (strncasecmp(name, "INBOX/", 6) == 0)
		name += 6;
	for (size_t i = 0; i < sizeof(special_uses) / sizeof(special_uses[0]); i++)
		if (strcasecmp(special_uses[i].use, use) == 0 &&
		    strcasecmp(special_uses[i].name, name) == 0)
			return true;
	return false;
}

static bool is_char_start(char c)
{
	return ((unsigned char)c & 0xc0) != 0x80;
}

static const char *next_char(const char *s)
{
	s++;
	while (*s && !is_char_start(*s))
		s++;
	return s;
}

/* One star at a time needs no more memory, and no more than length times length steps. */
bool scope_match(const char *pattern, const char *name)
{
	const char *star = NULL, *again = NULL;

	while (*name) {
		if (*pattern == '*') {
			star = ++pattern;
			again = name;
		} else if (*pattern == '?') {
			pattern++;
			name = next_char(name);
		} else if (*pattern && *pattern == *name) {
			pattern++;
			name++;
		} else if (star) {
			pattern = star;
			name = again = next_char(again);
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}

/* INBOX in any case, as the first part of a name. */
static char *plain_name(const char *name)
{
	char *plain = mb_xstrdup(name);

	if (strncasecmp(plain, "INBOX", 5) == 0 && (!plain[5] || plain[5] == '/'))
		memcpy(plain, "INBOX", 5);
	return plain;
}

static bool any_name(const struct scope_list *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++)
		if (*l->items[i] == '\\' ? has_use(name, l->items[i])
					 : strcmp(l->items[i], name) == 0)
			return true;
	return false;
}

static bool any_pattern(const struct scope_list *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++)
		if (*l->items[i] == '\\' ? has_use(name, l->items[i])
					 : scope_match(l->items[i], name))
			return true;
	return false;
}

/* "Archive/" has Archive and all below it; "" has all. */
static bool any_prefix(const struct scope_list *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++) {
		const char *prefix = l->items[i];
		size_t n = strlen(prefix);
		if (n && prefix[n - 1] == '/')
			n--;
		if (!n || (strncmp(prefix, name, n) == 0 && (!name[n] || name[n] == '/')))
			return true;
	}
	return false;
}

static bool any_guid(const struct scope_list *l, const struct guid *guid)
{
	char text[GUID_TEXT];

	guid_text(guid, text);
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->items[i], text) == 0)
			return true;
	return false;
}

bool scope_has_mailbox(const struct scope *s, const char *name, const struct guid *guid)
{
	if (!scope_selects(s))
		return true;
	char *plain MB_AUTO_FREE = plain_name(name);
	if (any_pattern(&s->excludes, plain))
		return false;
	if (s->prefixes.n && !any_prefix(&s->prefixes, plain))
		return false;
	return (!s->names.n && !s->guids.n) || any_name(&s->names, plain) ||
	       any_guid(&s->guids, guid);
}

static void list_add(struct scope_list *l, char *text)
{
	size_t at = 0;

	while (at < l->n && strcmp(l->items[at], text) < 0)
		at++;
	if (at < l->n && strcmp(l->items[at], text) == 0) {
		free(text);
		return;
	}
	MB_GROW(l->items, l->cap, l->n + 1);
	memmove(l->items + at + 1, l->items + at, (l->n - at) * sizeof(*l->items));
	l->items[at] = text;
	l->n++;
}

bool scope_add_name(struct scope_list *l, const char *text)
{
	if (*text == '\\' && !use_is_known(text))
		return false;
	list_add(l, plain_name(text));
	return true;
}

bool scope_add_guid(struct scope_list *l, const char *text)
{
	char plain[GUID_TEXT];
	struct guid g;

	if (!guid_parse(text, &g))
		return false;
	list_add(l, mb_xstrdup(guid_text(&g, plain)));
	return true;
}

/* ---- messages -------------------------------------------------------------------------------- */

static bool has_flag(const struct flags *f, const char *name)
{
	enum flag_bit bit;

	if (flag_by_name(name, &bit))
		return f->set & FLAG_MASK(bit);
	const struct keyword *k = flags_find_keyword(f, name);
	return k && k->set;
}

static int64_t absolute(const struct scope_date *d, int64_t now_ns)
{
	return d->relative ? now_ns - d->ns : d->ns;
}

enum scope_left_out scope_message(const struct scope *s, const struct copy *c, int64_t now_ns)
{
	bool flagged = c->flags.set & FLAG_MASK(FLAG_FLAGGED);

	if (s->sized && c->size > s->max_size)
		return SCOPE_TOO_LARGE;
	if (s->since.given && c->received_ns < absolute(&s->since, now_ns) && !flagged)
		return SCOPE_NOT_IN_RANGE;
	if (s->until.given && c->received_ns >= absolute(&s->until, now_ns))
		return SCOPE_NOT_IN_RANGE;
	if (s->flag && has_flag(&c->flags, s->flag) == s->flag_unset)
		return SCOPE_OTHER_FLAG;
	return SCOPE_TRAVELS;
}

/* ---- text ------------------------------------------------------------------------------------ */

/* Nothing in a value can be taken for what separates values. */
static void put_value(struct buf *out, const char *key, const char *value)
{
	buf_printf(out, " %s=", key);
	for (; *value; value++) {
		unsigned char c = (unsigned char)*value;
		if (c <= ' ' || c == '%' || c == 0x7f)
			buf_printf(out, "%%%02x", c);
		else
			buf_put_u8(out, c);
	}
}

static void put_list(struct buf *out, const char *key, const struct scope_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		put_value(out, key, l->items[i]);
}

static void put_parts(struct buf *out, const char *key, unsigned let)
{
	static const char *const names[] = {"new", "flags", "moves", "expunges", "folders"};
	const char *comma = "";

	buf_printf(out, "%s=", key);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!(let & 1u << i))
			continue;
		buf_printf(out, "%s%s", comma, names[i]);
		comma = ",";
	}
}

static void put_date(struct buf *out, const char *key, const struct scope_date *d)
{
	if (d->given)
		buf_printf(out, " %s=%s%" PRId64, key, d->relative ? "now-" : "@",
			   d->ns / 1000000000);
}

char *scope_text(const struct scope *s, int side)
{
	struct buf out BUF_AUTO = BUF_INIT;
	struct scope all;

	scope_init(&all);
	if (!s)
		s = &all;
	put_parts(&out, "pull", s->let[side]);
	put_parts(&out, " push", s->let[1 - side]);
	if (s->mirror)
		buf_printf(&out, " mirror");
	put_list(&out, "mailbox", &s->names);
	put_list(&out, "guid", &s->guids);
	put_list(&out, "prefix", &s->prefixes);
	put_list(&out, "exclude", &s->excludes);
	put_date(&out, "since", &s->since);
	put_date(&out, "until", &s->until);
	if (s->sized)
		buf_printf(&out, " size=%" PRIu64, s->max_size);
	if (s->flag)
		put_value(&out, s->flag_unset ? "without" : "with", s->flag);
	return mb_xstrdup(buf_cstr(&out));
}

uint64_t scope_hash(const struct scope *s, int side)
{
	if (scope_is_default(s))
		return 0;
	char *text MB_AUTO_FREE = scope_text(s, side);
	uint64_t hash = checksum64(text, strlen(text), 0);
	return hash ? hash : 1;
}
