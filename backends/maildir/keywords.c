/*
 * keywords.c - letters a to z of a foreign mailbox, by its dovecot-keywords.
 *
 * Lines "N name", N from 0 to 25 for 'a' to 'z'.  Without the file the letters mean nothing to us:
 * they stay in the names and are never sent anywhere.  The file is only read.
 */
#include "backends/base/at.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/maildir/maildir.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define KEYWORDS_FILE_MAX (64u << 10)

static void read_line(struct md_box *box, const char *line, size_t len)
{
	char *end;
	unsigned long n = strtoul(line, &end, 10);

	if (end == line || *end != ' ' || n >= LETTERS || end + 1 >= line + len || box->letters[n])
		return;
	MB_AUTO_FREE char *name = mb_xstrndup(end + 1, (size_t)(line + len - end - 1));
	if (keyword_ok(name))
		box->letters[n] = MB_TAKE(name);
}

void md_letters_read(struct maildir *m, struct md_box *box)
{
	MB_AUTO_FREE uint8_t *text = NULL;
	MB_AUTO_CLOSE int dir = -1;
	size_t len;

	if (box->letters_read || !box->dir)
		return;
	box->letters_read = true;
	dir = at_open(m->root, box->dir, O_PATH | O_DIRECTORY, 0);
	if (dir < 0 || io_read_file(dir, "dovecot-keywords", KEYWORDS_FILE_MAX, &text, &len) < 0)
		return;
	for (const char *line = (const char *)text; *line;) {
		size_t n = strcspn(line, "\n");

		read_line(box, line, n);
		line += n + (line[n] == '\n');
	}
}

void md_letters_release(struct md_box *box)
{
	for (int i = 0; i < LETTERS; i++) {
		free(box->letters[i]);
		box->letters[i] = NULL;
	}
	box->letters_read = false;
}

uint32_t md_letters(struct maildir *m, struct md_box *to, const struct flags *want, uint32_t old)
{
	uint32_t ret = old;

	md_letters_read(m, to);
	for (int i = 0; i < LETTERS; i++) {
		const struct keyword *k =
			to->letters[i] ? flags_find_keyword(want, to->letters[i]) : NULL;

		if (to->letters[i])
			ret &= ~(1u << i);
		if (k && k->set)
			ret |= 1u << i;
	}
	return ret;
}
