/*
 * layout.c - mailbox names to directories and back.
 *
 * Escaping is canonical: layout_dir() writes each part in one way only, and layout_parts() undoes an
 * escape only where layout_dir() would have written it.  So layout_parts(layout_dir(x)) == x for
 * every name, and the name of a strange directory is the directory's own bytes.
 *
 * A part from outside is held to mailbox_part_ok(); what lies on the disk may hold control bytes,
 * which layout_dir() escapes.  Tested by tests/unit/backends/mail/test-layout.c on random names.
 */
#include "backends/mail/layout.h"
#include "backends/base/ascii.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include <string.h>

#define INBOX "INBOX"
#define COMPONENT_MAX 255

const char *layout_name(enum layout l)
{
	return l == LAYOUT_FS ? "fs" : "maildir++";
}

bool layout_parse(const char *text, enum layout *ret)
{
	if (ascii_casecmp(text, "fs") == 0)
		*ret = LAYOUT_FS;
	else if (ascii_casecmp(text, "maildir++") == 0)
		*ret = LAYOUT_MAILDIRPP;
	else
		return false;
	return true;
}

static bool is_inbox(const char *part)
{
	return ascii_casecmp(part, INBOX) == 0;
}

static bool is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

/* What a part of the tree may be, at all. */
static bool storable(const char *part)
{
	size_t len = strnlen(part, MAILBOX_PART_MAX + 1);

	return len && len <= MAILBOX_PART_MAX && strcmp(part, ".") != 0 && strcmp(part, "..") != 0;
}

bool mailbox_part_ok(const char *part)
{
	if (!storable(part))
		return false;
	for (; *part; part++)
		if (is_control(*part))
			return false;
	return true;
}

static bool starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* Names with another meaning in a directory of mailboxes.  Only what Dovecot writes itself is taken
 * from it: mailing lists have folders called dovecot. */
static bool reserved(enum layout l, const char *part, bool first)
{
	static const char *const names[] = {"cur",	     "new",	    "tmp",
					    "maildirfolder", "maildirsize", "subscriptions"};
	static const char *const prefixes[] = {".mailbraid", "dovecot.", "dovecot-uid",
					       "dovecot-keywords", "dovecot-acl"};

	if (l == LAYOUT_MAILDIRPP) /* the dot is before it */
		return first && starts_with(part, "mailbraid");
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(part, names[i]) == 0)
			return true;
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++)
		if (starts_with(part, prefixes[i]))
			return true;
	return false;
}

static bool is_escape(const char *p)
{
	return p[0] == '\\' && ascii_hex(p[1]) >= 0 && ascii_hex(p[2]) >= 0 &&
	       ascii_lower(p[1]) == (unsigned char)p[1] && ascii_lower(p[2]) == (unsigned char)p[2];
}

static void put_escape(struct buf *out, char c)
{
	buf_printf(out, "\\%02x", (unsigned char)c);
}

static bool must_escape(enum layout l, const char *part, const char *p)
{
	if (*p == '/' || is_control(*p) || is_escape(p))
		return true;
	if (l == LAYOUT_MAILDIRPP && *p == '.')
		return true;
	return p == part && (*p == '.' || *p == '~');
}

/* Appends the one way to write `part`; `first`: it is the first of the name. */
static void escape_part(enum layout l, const char *part, bool first, struct buf *out)
{
	bool is_reserved = reserved(l, part, first);

	for (const char *p = part; *p; p++) {
		if (must_escape(l, part, p) || (p == part && is_reserved))
			put_escape(out, *p);
		else
			buf_put_u8(out, (uint8_t)*p);
	}
}

static int put_dir(enum layout l, const char *const *parts, size_t n_parts, struct buf *out)
{
	size_t start = out->len;

	for (size_t i = 0; i < n_parts; i++) {
		const char *part = i == 0 && is_inbox(parts[0]) ? INBOX : parts[i];
		size_t part_start = out->len;

		if (!storable(part))
			return MB_E_NAME;
		if (l == LAYOUT_MAILDIRPP)
			buf_put_u8(out, '.');
		else if (i)
			buf_put_u8(out, '/');
		escape_part(l, part, i == 0, out);
		if (l == LAYOUT_FS && out->len - part_start - (i > 0) > COMPONENT_MAX)
			return MB_E_NAME;
	}
	return out->len - start > (l == LAYOUT_FS ? MAILBOX_NAME_MAX : COMPONENT_MAX) ? MB_E_NAME
										      : 0;
}

int layout_dir(enum layout l, const char *const *parts, size_t n_parts, struct buf *out)
{
	size_t start = out->len;
	int err;

	if (n_parts == 0 || (n_parts == 1 && is_inbox(parts[0])))
		return 0;
	if (n_parts > MAILBOX_DEPTH_MAX)
		return MB_E_NAME;
	err = put_dir(l, parts, n_parts, out);
	if (err)
		out->len = start;
	return err;
}

/* The part that layout_dir() writes as these len bytes, or the bytes themselves.  Owned. */
static char *unescape_part(enum layout l, const char *p, size_t len, bool first)
{
	MB_AUTO_FREE char *literal = mb_xstrndup(p, len);
	MB_AUTO_FREE char *plain = mb_xmalloc(len + 1);
	BUF_AUTO struct buf again = BUF_INIT;
	size_t n = 0;

	for (const char *c = literal; *c; c++) {
		if (is_escape(c)) {
			plain[n++] = (char)(ascii_hex(c[1]) << 4 | ascii_hex(c[2]));
			c += 2;
		} else {
			plain[n++] = *c;
		}
	}
	plain[n] = '\0';
	if (strlen(plain) != n || !storable(plain))
		return MB_TAKE(literal);
	escape_part(l, plain, first, &again);
	return strcmp(buf_cstr(&again), literal) == 0 ? MB_TAKE(plain) : MB_TAKE(literal);
}

void layout_parts_free(char **parts)
{
	for (char **p = parts; p && *p; p++)
		free(*p);
	free(parts);
}

static void cleanup_parts(char ***parts)
{
	layout_parts_free(*parts);
}
#define PARTS_AUTO __attribute__((cleanup(cleanup_parts)))

static char **new_parts(void)
{
	return mb_xcalloc(MAILBOX_DEPTH_MAX + 1, sizeof(char *));
}

/* One component of a directory, for layout_parts(). */
static int take_component(enum layout l, const char *p, size_t len, char **parts, size_t n)
{
	MB_AUTO_FREE char *raw = mb_xstrndup(p, len);
	char *part;

	if (n >= MAILBOX_DEPTH_MAX || len > COMPONENT_MAX || reserved(l, raw, n == 0) ||
	    (l == LAYOUT_FS && !storable(raw)) || !len)
		return MB_E_NAME;
	part = unescape_part(l, p, len, n == 0);
	if (n == 0 && is_inbox(part))
		strcpy(part, INBOX);
	parts[n] = part;
	return 0;
}

int layout_parts(enum layout l, const char *dir, char ***ret_parts, size_t *ret_n)
{
	PARTS_AUTO char **parts = new_parts();
	const char *separator = l == LAYOUT_FS ? "/" : ".", *p = dir;
	size_t n = 0;

	if (strnlen(dir, MAILBOX_NAME_MAX + 1) > MAILBOX_NAME_MAX)
		return MB_E_NAME;
	if (l == LAYOUT_MAILDIRPP && *dir && (*p++ != '.' || strchr(dir, '/')))
		return MB_E_NAME;
	while (*dir) {
		size_t len = strcspn(p, separator);
		int err = take_component(l, p, len, parts, n);

		if (err)
			return err;
		n++;
		if (!p[len])
			break;
		p += len + 1;
	}
	if (n == 1 && is_inbox(parts[0])) /* INBOX is the root, so this is no mailbox */
		return MB_E_NAME;
	*ret_parts = MB_TAKE(parts);
	*ret_n = n;
	return 0;
}

void layout_join(const char *const *parts, size_t n_parts, struct buf *out)
{
	for (size_t i = 0; i < n_parts; i++) {
		if (i)
			buf_put_u8(out, '/');
		for (const char *p = parts[i]; *p; p++) {
			if (*p == '/' || *p == '\\')
				put_escape(out, *p);
			else
				buf_put_u8(out, (uint8_t)*p);
		}
	}
}

/* Undoes layout_join() of one part; a backslash that is no escape of it stays. */
static char *unjoin_part(const char *p, size_t len)
{
	char *part = mb_xmalloc(len + 1);
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		bool slash = len - i >= 3 && strncmp(p + i, "\\2f", 3) == 0;

		if (slash || (len - i >= 3 && strncmp(p + i, "\\5c", 3) == 0)) {
			part[n++] = slash ? '/' : '\\';
			i += 2;
		} else {
			part[n++] = p[i];
		}
	}
	part[n] = '\0';
	return part;
}

int layout_split(const char *name, char ***ret_parts, size_t *ret_n)
{
	PARTS_AUTO char **parts = new_parts();
	size_t n = 0;

	if (strnlen(name, MAILBOX_NAME_MAX + 1) > MAILBOX_NAME_MAX)
		return MB_E_NAME;
	for (const char *p = name;; p++) {
		size_t len = strcspn(p, "/");

		if (n >= MAILBOX_DEPTH_MAX)
			return MB_E_NAME;
		parts[n++] = unjoin_part(p, len);
		if (!mailbox_part_ok(parts[n - 1]))
			return MB_E_NAME;
		p += len;
		if (!*p)
			break;
	}
	if (is_inbox(parts[0]))
		strcpy(parts[0], INBOX);
	if (n == 1 && strcmp(parts[0], INBOX) == 0) {
		free(parts[0]);
		parts[0] = NULL;
		n = 0;
	}
	*ret_parts = MB_TAKE(parts);
	*ret_n = n;
	return 0;
}

const char *const LAYOUT_DROPPINGS[] = {
	"maildirfolder",
	"maildirsize",
	"dovecot-uidlist",
	"dovecot-keywords",
	"dovecot.index",
	"dovecot.index.log",
	"dovecot.index.log.2",
	"dovecot.index.cache",
	"dovecot.index.backup",
	".uidvalidity",
	".isyncuidmap.db",
	".mbsyncstate",
	NULL,
};

bool layout_is_dropping(const char *name)
{
	for (size_t i = 0; LAYOUT_DROPPINGS[i]; i++)
		if (strcmp(name, LAYOUT_DROPPINGS[i]) == 0)
			return true;
	return false;
}
