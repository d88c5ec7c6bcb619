/*
 * subscriptions.c - see subscriptions.h.
 */
#include "backends/mail/subscriptions.h"
#include "backends/base/mem.h"
#include <errno.h>
#include <string.h>
#include <strings.h>

static const char version2[] = "V\t2";

static void drop(struct subscriptions *s, struct subscription *l)
{
	HASH_DEL(s->lines, l);
	free(l->dir);
	free(l->line);
	free(l);
	s->n--;
}

void subscriptions_release(struct subscriptions *s)
{
	struct subscription *l, *next;

	HASH_ITER (hh, s->lines, l, next)
		drop(s, l);
	*s = (struct subscriptions){0};
}

static struct subscription *find(const struct subscriptions *s, const char *dir)
{
	struct subscription *l;

	HASH_FIND_STR(s->lines, dir, l);
	return l;
}

bool subscriptions_has(const struct subscriptions *s, const char *dir)
{
	return find(s, dir);
}

/* Takes over both strings. */
static void add(struct subscriptions *s, char *dir, char *line)
{
	struct subscription *l = find(s, dir);

	if (l) {
		free(dir);
		free(line);
		return;
	}
	l = mb_xcalloc(1, sizeof(*l));
	l->dir = dir;
	l->line = line;
	HASH_ADD_KEYPTR(hh, s->lines, l->dir, strlen(l->dir), l);
	s->n++;
}

void subscriptions_add(struct subscriptions *s, const char *dir)
{
	add(s, mb_xstrdup(dir), NULL);
}

void subscriptions_remove(struct subscriptions *s, const char *dir)
{
	struct subscription *l = find(s, dir);

	if (l)
		drop(s, l);
}

/* May this line be the name of a mailbox?  A part that has the layout's separator in it is of another
 * namespace, and so is what is too long. */
static bool is_name(const struct subscriptions *s, char separator, const char *line, size_t len)
{
	return len <= MAILBOX_NAME_MAX && !memchr(line, s->version1 ? '\t' : separator, len);
}

/* One line as a directory: parts get the layout's separator, maildir++ its leading dot.  Owned. */
static char *line_dir(const struct subscriptions *s, enum layout layout, const char *line,
		      size_t len)
{
	char separator = layout == LAYOUT_FS ? '/' : '.';
	char *dir;

	if (len == 5 && strncasecmp(line, "INBOX", 5) == 0)
		return mb_xstrdup("");
	if (!is_name(s, separator, line, len))
		return mb_xasprintf("\n%.*s", (int)len, line);
	dir = mb_xasprintf("%s%.*s", layout == LAYOUT_FS ? "" : ".", (int)len, line);
	for (char *c = dir; *c; c++)
		if (*c == '\t')
			*c = separator;
	return dir;
}

static int parse_lines(struct subscriptions *s, enum layout layout, const char *text,
		       const char *end)
{
	for (bool first = true; text < end; first = false) {
		const char *line_end = memchr(text, '\n', (size_t)(end - text));
		size_t len = (size_t)((line_end ? line_end : end) - text);

		if (len > 0 && (!first || s->version1))
			add(s, line_dir(s, layout, text, len), mb_xstrndup(text, len));
		if (s->n > SUBSCRIPTIONS_MAX)
			return -EFBIG;
		text = line_end ? line_end + 1 : end;
	}
	return 0;
}

int subscriptions_parse(enum layout layout, const char *text, size_t len, struct subscriptions *ret)
{
	size_t v = sizeof(version2) - 1;
	int err;

	*ret = (struct subscriptions){0};
	if (len > SUBSCRIPTIONS_FILE_MAX)
		return -EFBIG;
	if (len > 0 && memchr(text, 0, len))
		return -EINVAL;
	ret->version1 = len > 0 && !(len >= v && memcmp(text, version2, v) == 0);
	err = parse_lines(ret, layout, text, text + len);
	if (err < 0)
		subscriptions_release(ret);
	return err;
}

static void write_name(const struct subscriptions *s, enum layout layout, const char *dir,
		       struct buf *out)
{
	char separator = layout == LAYOUT_FS ? '/' : '.';

	if (!*dir) {
		buf_printf(out, "INBOX");
		return;
	}
	for (const char *c = dir + (layout != LAYOUT_FS); *c; c++)
		buf_put_u8(out, (uint8_t)(*c == separator && !s->version1 ? '\t' : *c));
}

void subscriptions_write(const struct subscriptions *s, enum layout layout, struct buf *out)
{
	const struct subscription *l;

	if (!s->version1)
		buf_printf(out, "%s\n\n", version2);
	else if (s->lines && s->lines->line &&
		 strncmp(s->lines->line, version2, sizeof(version2) - 1) == 0)
		buf_put_u8(out, '\n'); /* no head: the lines before it went */
	for (l = s->lines; l; l = l->hh.next) {
		if (l->line)
			buf_put(out, l->line, strlen(l->line));
		else
			write_name(s, layout, l->dir, out);
		buf_put_u8(out, '\n');
	}
}
