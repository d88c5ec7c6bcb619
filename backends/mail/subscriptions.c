/*
 * subscriptions.c - see subscriptions.h.
 */
#include "backends/mail/subscriptions.h"
#include "backends/base/mem.h"
#include <string.h>
#include <strings.h>

static const char version2[] = "V\t2";

void subscriptions_release(struct subscriptions *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->dirs[i]);
	free(s->dirs);
	*s = (struct subscriptions){0};
}

static size_t find(const struct subscriptions *s, const char *dir)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->dirs[i], dir) == 0)
			return i;
	return s->n;
}

bool subscriptions_has(const struct subscriptions *s, const char *dir)
{
	return find(s, dir) < s->n;
}

void subscriptions_add(struct subscriptions *s, const char *dir)
{
	if (subscriptions_has(s, dir) || s->n >= SUBSCRIPTIONS_MAX)
		return;
	MB_GROW(s->dirs, s->cap, s->n + 1);
	s->dirs[s->n++] = mb_xstrdup(dir);
}

void subscriptions_remove(struct subscriptions *s, const char *dir)
{
	size_t i = find(s, dir);

	if (i == s->n)
		return;
	free(s->dirs[i]);
	memmove(&s->dirs[i], &s->dirs[i + 1], (s->n - i - 1) * sizeof(s->dirs[0]));
	s->n--;
}

/* One line as a directory: parts get the layout's separator, maildir++ its leading dot. */
static void add_line(struct subscriptions *s, enum layout layout, const char *line, size_t len)
{
	MB_AUTO_FREE char *dir = NULL;
	char separator = layout == LAYOUT_FS ? '/' : '.';

	if (len == 0 || len > MAILBOX_NAME_MAX || memchr(line, 0, len))
		return;
	if (len == 5 && strncasecmp(line, "INBOX", 5) == 0) {
		subscriptions_add(s, "");
		return;
	}
	dir = mb_xasprintf("%s%.*s", layout == LAYOUT_FS ? "" : ".", (int)len, line);
	for (char *c = dir; *c; c++)
		if (*c == '\t')
			*c = separator;
	subscriptions_add(s, dir);
}

void subscriptions_parse(enum layout layout, const char *text, size_t len,
			 struct subscriptions *ret)
{
	const char *end = text + len;
	size_t v = sizeof(version2) - 1;

	*ret = (struct subscriptions){0};
	ret->version1 = len > 0 && !(len >= v && memcmp(text, version2, v) == 0);
	for (bool first = true; text < end; first = false) {
		const char *line_end = memchr(text, '\n', (size_t)(end - text));

		if (!line_end)
			line_end = end;
		if (!first || ret->version1)
			add_line(ret, layout, text, (size_t)(line_end - text));
		text = line_end < end ? line_end + 1 : end;
	}
}

void subscriptions_write(const struct subscriptions *s, enum layout layout, struct buf *out)
{
	char separator = layout == LAYOUT_FS ? '/' : '.';

	if (!s->version1)
		buf_printf(out, "%s\n\n", version2);
	for (size_t i = 0; i < s->n; i++) {
		const char *dir = s->dirs[i];

		if (!*dir) {
			buf_printf(out, "INBOX\n");
			continue;
		}
		for (const char *c = dir + (layout != LAYOUT_FS); *c; c++)
			buf_put_u8(out, (uint8_t)(*c == separator && !s->version1 ? '\t' : *c));
		buf_printf(out, "\n");
	}
}
