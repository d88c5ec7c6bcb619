/* Names of files, mailboxes and directories; the file of subscriptions: what is read is written the
 * same, and no name leads out of the tree. */
#include "backends/mail/fname.h"
#include "backends/mail/layout.h"
#include "backends/mail/subscriptions.h"
#include "tests/fuzz/fuzz.h"
#include <string.h>

static const char *const seeds[] = {
	"1700000000.M1P2Q3_4.host,S=12,W=13:2,FSa",
	"x:2,:2,S",
	"x;2,DFPRST,extra",
	"INBOX/a.b/c\\2e",
	".A.B\\2ec.&ZeVnLIqe-",
	"../x/./~y//cur",
	"V\t2\n\nINBOX\nA\tB\nlong name\n",
	"A.B\nINBOX.C\n\n..\n",
	"dovecot.index/cur/\x01\x7f\xff",
};

static void try_file_name(const char *name)
{
	struct fname f, g;
	char again[FNAME_MAX + 1];

	fname_parse(name, &f);
	FUZZ_CHECK(f.base_len <= strlen(name) && f.unique_len <= f.base_len);
	uint64_t size;
	fname_field_u64(name, &f, 'S', &size);
	if (!fname_is_message(name))
		return;
	FUZZ_CHECK(!strchr(name, '/') && strlen(name) <= FNAME_MAX);
	if (!fname_write(name, f.base_len, f.separator, f.flags, f.keywords, f.others, f.extra,
			 again))
		return;
	fname_parse(again, &g);
	FUZZ_CHECK(g.base_len == f.base_len && memcmp(name, again, f.base_len) == 0);
	FUZZ_CHECK(g.flags == f.flags && g.keywords == f.keywords && g.others == f.others);
	if (f.canonical)
		FUZZ_CHECK(strcmp(name, again) == 0);
}

/* No component that means another directory, nothing above the root. */
static void check_inside(const char *dir)
{
	FUZZ_CHECK(dir[0] != '/');
	for (const char *at = dir; *at;) {
		size_t n = strcspn(at, "/");
		FUZZ_CHECK(n > 0 && n <= 255);
		FUZZ_CHECK(!(n == 1 && at[0] == '.') && !(n == 2 && at[0] == '.' && at[1] == '.'));
		at += n;
		at += *at == '/';
	}
}

static size_t count(char *const *parts)
{
	size_t n = 0;

	while (parts[n])
		n++;
	return n;
}

static void try_parts(enum layout l, char **parts, size_t n)
{
	BUF_AUTO struct buf dir = BUF_INIT;
	char **again;
	size_t n_again;

	FUZZ_CHECK(count(parts) == n);
	if (layout_dir(l, (const char *const *)parts, n, &dir) < 0)
		return;
	check_inside(buf_cstr(&dir));
	FUZZ_CHECK(layout_parts(l, buf_cstr(&dir), &again, &n_again) == 0);
	FUZZ_CHECK(n_again == n || (n == 1 && n_again == 0));
	for (size_t i = 0; i < n_again; i++)
		FUZZ_CHECK(strcmp(parts[i], again[i]) == 0 ||
			   (i == 0 && strcasecmp(parts[i], "INBOX") == 0));
	layout_parts_free(again);
}

static void try_mailbox_name(enum layout l, const char *name)
{
	char **parts;
	size_t n;

	if (layout_split(name, &parts, &n) == 0) {
		BUF_AUTO struct buf joined = BUF_INIT;
		try_parts(l, parts, n);
		layout_join((const char *const *)parts, n, &joined);
		layout_parts_free(parts);
	}
	if (layout_parts(l, name, &parts, &n) == 0)
		layout_parts_free(parts);
}

static void try_subscriptions(enum layout l, const char *text, size_t len)
{
	BUF_AUTO struct buf first = BUF_INIT, second = BUF_INIT;
	struct subscriptions s = {0}, t = {0};

	if (subscriptions_parse(l, text, len, &s) < 0)
		return;
	for (const struct subscription *line = s.lines; line; line = line->hh.next) {
		char **parts;
		size_t n;
		if (layout_parts(l, line->dir, &parts, &n) == 0) { /* else kept, and never opened */
			check_inside(line->dir);
			layout_parts_free(parts);
		}
	}
	subscriptions_write(&s, l, &first);
	FUZZ_CHECK(subscriptions_parse(l, (const char *)first.data, first.len, &t) == 0);
	FUZZ_CHECK(t.n == s.n);
	for (const struct subscription *line = s.lines; line; line = line->hh.next)
		FUZZ_CHECK(subscriptions_has(&t, line->dir));
	subscriptions_write(&t, l, &second); /* an empty file is of no version */
	FUZZ_CHECK(!first.len ||
		   (first.len == second.len && memcmp(first.data, second.data, first.len) == 0));
	subscriptions_release(&s);
	subscriptions_release(&t);
}

void fuzz_one(const uint8_t *data, size_t len)
{
	static const enum layout layouts[] = {LAYOUT_MAILDIRPP, LAYOUT_FS};
	char *text = malloc(len + 1);

	FUZZ_CHECK(text);
	memcpy(text, data, len);
	text[len] = '\0';
	try_file_name(text);
	for (size_t i = 0; i < 2; i++) {
		try_mailbox_name(layouts[i], text);
		try_subscriptions(layouts[i], (const char *)data, len);
	}
	free(text);
}

const unsigned fuzz_rounds = 20000, fuzz_cuts = 500;

bool fuzz_seed(unsigned n, struct buf *out)
{
	if (n >= sizeof(seeds) / sizeof(seeds[0]))
		return false;
	buf_put(out, seeds[n], strlen(seeds[n]));
	return true;
}
