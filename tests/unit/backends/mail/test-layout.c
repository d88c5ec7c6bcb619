/* Mailbox names and directories: reversible for every name, one meaning for every directory. */
#include "backends/mail/layout.h"
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "tests/support/random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static const enum layout layouts[] = {LAYOUT_MAILDIRPP, LAYOUT_FS};

/* The name of people -> directory. */
static void expect_dir(enum layout l, const char *name, const char *dir)
{
	BUF_AUTO struct buf out = BUF_INIT;
	char **parts;
	size_t n;

	assert_int_equal(layout_split(name, &parts, &n), 0);
	assert_int_equal(layout_dir(l, (const char *const *)parts, n, &out), 0);
	assert_string_equal(buf_cstr(&out), dir);
	layout_parts_free(parts);
}

/* Directory -> the name of people, or NULL. */
static void expect_name(enum layout l, const char *dir, const char *name)
{
	BUF_AUTO struct buf out = BUF_INIT;
	char **parts;
	size_t n;
	int err = layout_parts(l, dir, &parts, &n);

	if (!name) {
		assert_int_equal(err, MB_E_NAME);
		return;
	}
	assert_int_equal(err, 0);
	layout_join((const char *const *)parts, n, &out);
	assert_string_equal(buf_cstr(&out), name);
	assert_null(parts[n]);
	layout_parts_free(parts);
}

static void both(enum layout l, const char *name, const char *dir)
{
	expect_dir(l, name, dir);
	expect_name(l, dir, name);
}

static void names_of_layouts(void **state)
{
	enum layout l;

	assert_true(layout_parse("Maildir++", &l) && l == LAYOUT_MAILDIRPP);
	assert_true(layout_parse("FS", &l) && l == LAYOUT_FS);
	assert_false(layout_parse("fs ", &l));
	assert_false(layout_parse("", &l));
	assert_string_equal(layout_name(LAYOUT_FS), "fs");
	assert_string_equal(layout_name(LAYOUT_MAILDIRPP), "maildir++");
}

static void maildirpp(void **state)
{
	both(LAYOUT_MAILDIRPP, "A", ".A");
	both(LAYOUT_MAILDIRPP, "A/B", ".A.B");
	both(LAYOUT_MAILDIRPP, "INBOX/X", ".INBOX.X");
	both(LAYOUT_MAILDIRPP, "A/INBOX", ".A.INBOX");
	both(LAYOUT_MAILDIRPP, "a.b/c", ".a\\2eb.c");
	both(LAYOUT_MAILDIRPP, "...", ".\\2e\\2e\\2e");
	both(LAYOUT_MAILDIRPP, "a\\2fb", ".a\\2fb"); /* one part: a/b */
	both(LAYOUT_MAILDIRPP, "~x", ".\\7ex");
	both(LAYOUT_MAILDIRPP, "x~", ".x~");
	both(LAYOUT_MAILDIRPP, "cur/new/tmp", ".cur.new.tmp");
	both(LAYOUT_MAILDIRPP, "mailbraid", ".\\6dailbraid");
	both(LAYOUT_MAILDIRPP, "a/mailbraid", ".a.mailbraid");
	both(LAYOUT_MAILDIRPP, " #%*\"'", ". #%*\"'");
	both(LAYOUT_MAILDIRPP, "Entw&APw-rfe", ".Entw&APw-rfe");
	expect_dir(LAYOUT_MAILDIRPP, "INBOX", "");
	expect_dir(LAYOUT_MAILDIRPP, "inbox/sub", ".INBOX.sub");
	expect_name(LAYOUT_MAILDIRPP, ".inbox.sub", "INBOX/sub");
}

static void fs(void **state)
{
	both(LAYOUT_FS, "A", "A");
	both(LAYOUT_FS, "A/B", "A/B");
	both(LAYOUT_FS, "INBOX/X", "INBOX/X");
	both(LAYOUT_FS, "a.b", "a.b");
	both(LAYOUT_FS, "a\\2fb", "a\\2fb");
	both(LAYOUT_FS, ".x", "\\2ex");
	both(LAYOUT_FS, "...", "\\2e..");
	both(LAYOUT_FS, ".mailbraid", "\\2emailbraid");
	both(LAYOUT_FS, ".nfs0001", "\\2enfs0001");
	both(LAYOUT_FS, "cur", "\\63ur");
	both(LAYOUT_FS, "A/new", "A/\\6eew");
	both(LAYOUT_FS, "A/tmp/B", "A/\\74mp/B");
	both(LAYOUT_FS, "Cur", "Cur");
	both(LAYOUT_FS, "current", "current");
	both(LAYOUT_FS, "dovecot.index.log", "\\64ovecot.index.log");
	both(LAYOUT_FS, "dovecot-uidlist", "\\64ovecot-uidlist");
	both(LAYOUT_FS, "dovecot", "dovecot"); /* a mailing list */
	both(LAYOUT_FS, "subscriptions", "\\73ubscriptions");
	both(LAYOUT_FS, "maildirfolder", "\\6daildirfolder");
	both(LAYOUT_FS, "~x", "\\7ex");
	expect_dir(LAYOUT_FS, "Inbox", "");
	expect_dir(LAYOUT_FS, "iNBOX/a", "INBOX/a");
}

static void directories_that_are_no_mailbox(void **state)
{
	static const char *const maildirpp[] = {"A",	  ".",		"..",		".A.",
						".A..B",  "./A",	".A/B",		".INBOX",
						".inbox", ".mailbraid", ".mailbraid.x", "cur"};
	static const char *const fs[] = {"/A",
					 "A/",
					 "A//B",
					 ".",
					 "..",
					 "A/..",
					 "./A",
					 "../A",
					 "cur",
					 "A/new",
					 "A/tmp/B",
					 "INBOX",
					 "inbox",
					 ".mailbraid",
					 "dovecot-uidlist",
					 "dovecot.index",
					 "subscriptions"};

	for (size_t i = 0; i < sizeof(maildirpp) / sizeof(*maildirpp); i++)
		expect_name(LAYOUT_MAILDIRPP, maildirpp[i], NULL);
	for (size_t i = 0; i < sizeof(fs) / sizeof(*fs); i++)
		expect_name(LAYOUT_FS, fs[i], NULL);
	for (size_t i = 0; i < 2; i++) {
		char **parts;
		size_t n = 9;

		assert_int_equal(layout_parts(layouts[i], "", &parts, &n), 0);
		assert_int_equal(n, 0);
		layout_parts_free(parts);
	}
}

/* Escapes that layout_dir() does not write are the bytes of the name. */
static void strange_directories_are_taken_as_they_are(void **state)
{
	expect_name(LAYOUT_MAILDIRPP, ".\\41", "\\5c41");     /* A needs none */
	expect_name(LAYOUT_MAILDIRPP, ".a\\2Eb", "a\\5c2Eb"); /* capitals */
	expect_name(LAYOUT_MAILDIRPP, ".a\\00", "a\\5c00");
	expect_name(LAYOUT_MAILDIRPP, ".a.\\2e", "a/\\5c2e"); /* would be "." */
	expect_name(LAYOUT_MAILDIRPP, ".\\2e\\2e", "\\5c2e\\5c2e");
	expect_name(LAYOUT_MAILDIRPP, ".a\\5c2e", "a\\5c2e");
	expect_name(LAYOUT_MAILDIRPP, ".~x", "~x");
	expect_name(LAYOUT_MAILDIRPP, ".a\\", "a\\5c");
	expect_name(LAYOUT_MAILDIRPP, ".a\\\\2e", "a\\5c.");
	expect_name(LAYOUT_FS, ".notmuch", ".notmuch");
	expect_name(LAYOUT_FS, "\\63urrent", "\\5c63urrent");
	expect_name(LAYOUT_FS, "a\\2eb", "a\\5c2eb");
	expect_name(LAYOUT_FS, "a\nb", "a\nb");
}

static char **random_parts(struct prng *p, size_t *ret_n)
{
	static const char *const odd[] = {
		"cur",	"new",	      "inbox",		 "INBOX", "mailbraid", "\\",
		"\\2e", ".mailbraid", "dovecot-uidlist", "a\\",	  "\\\\2f",    "2e"};
	size_t n = 1 + prng_below(p, 3);
	char **parts = mb_xcalloc(n + 1, sizeof(*parts));

	for (size_t i = 0; i < n; i++) {
		do {
			free(parts[i]);
			if (prng_below(p, 3) == 0)
				parts[i] =
					mb_xstrdup(odd[prng_below(p, sizeof(odd) / sizeof(*odd))]);
			else
				parts[i] = prng_text(p, 6, prng_bool(p) ? "\\./25ef~cur\n" : NULL);
		} while (strcmp(parts[i], ".") == 0 || strcmp(parts[i], "..") == 0);
	}
	*ret_n = n;
	return parts;
}

static bool is_inbox(const char *part)
{
	return strcmp(part, "INBOX") == 0 || strcmp(part, "inbox") == 0;
}

static void expect_parts(char **parts, size_t n, char **back, size_t n_back)
{
	if (n == 1 && is_inbox(parts[0])) {
		assert_int_equal(n_back, 0);
		return;
	}
	assert_int_equal(n_back, n);
	for (size_t i = 0; i < n; i++)
		assert_string_equal(back[i], i == 0 && is_inbox(parts[0]) ? "INBOX" : parts[i]);
}

static void every_name_is_reversible(void **state)
{
	struct prng p = {7};

	for (int i = 0; i < 60000; i++) {
		enum layout l = layouts[i & 1];
		BUF_AUTO struct buf dir = BUF_INIT;
		char **parts, **back;
		size_t n, n_back;

		parts = random_parts(&p, &n);
		assert_int_equal(layout_dir(l, (const char *const *)parts, n, &dir), 0);
		assert_null(strpbrk(buf_cstr(&dir), "\n\x7f\x01"));
		assert_true(!dir.len || at_path_ok(buf_cstr(&dir)));
		assert_int_equal(layout_parts(l, buf_cstr(&dir), &back, &n_back), 0);
		expect_parts(parts, n, back, n_back);
		layout_parts_free(back);
		layout_parts_free(parts);
	}
}

/* Whatever a directory is called: if its parts give another directory, those parts are not what
 * another directory means, so that no two directories are one mailbox unless both are strange. */
static void every_directory_is_total(void **state)
{
	struct prng p = {8};

	for (int i = 0; i < 60000; i++) {
		enum layout l = layouts[i & 1];
		MB_AUTO_FREE char *dir = prng_text(&p, 10, i & 2 ? "\\./25ef~cur\n" : NULL);
		BUF_AUTO struct buf out = BUF_INIT;
		char **parts, **back;
		size_t n, n_back;

		if (layout_parts(l, dir, &parts, &n) < 0)
			continue;
		assert_int_equal(layout_dir(l, (const char *const *)parts, n, &out), 0);
		assert_int_equal(layout_parts(l, buf_cstr(&out), &back, &n_back), 0);
		expect_parts(parts, n, back, n_back);
		layout_parts_free(parts);
		layout_parts_free(back);
	}
}

static void lengths_are_bounded(void **state)
{
	const char *parts[MAILBOX_DEPTH_MAX + 1];
	BUF_AUTO struct buf out = BUF_INIT;
	char part[300], **back;
	size_t n;

	memset(part, 'x', sizeof(part));
	part[255] = '\0';
	for (size_t i = 0; i <= MAILBOX_DEPTH_MAX; i++)
		parts[i] = part;
	buf_put(&out, "kept", 4);
	assert_int_equal(layout_dir(LAYOUT_MAILDIRPP, parts, 1, &out), MB_E_NAME);
	assert_int_equal(layout_dir(LAYOUT_FS, parts, 16, &out), MB_E_NAME); /* over 4000 */
	assert_int_equal(layout_dir(LAYOUT_FS, parts, MAILBOX_DEPTH_MAX + 1, &out), MB_E_NAME);
	assert_string_equal(buf_cstr(&out), "kept");
	assert_int_equal(layout_dir(LAYOUT_FS, parts, 15, &out), 0);
	out.len = 0;
	part[0] = '.'; /* its escape does not fit */
	assert_int_equal(layout_dir(LAYOUT_FS, parts, 1, &out), MB_E_NAME);
	part[253] = '\0';
	assert_int_equal(layout_dir(LAYOUT_FS, parts, 1, &out), 0);
	assert_int_equal(out.len, 255);
	part[0] = 'x';
	part[253] = 'x';
	part[254] = '\0';
	out.len = 0;
	assert_int_equal(layout_dir(LAYOUT_MAILDIRPP, parts, 1, &out), 0);
	assert_int_equal(out.len, 255);
	part[254] = part[255] = 'x';
	part[256] = '\0';
	assert_int_equal(layout_dir(LAYOUT_FS, parts, 1, &out), MB_E_NAME);
	assert_int_equal(layout_parts(LAYOUT_FS, part, &back, &n), MB_E_NAME);
}

static void bad_parts_have_no_directory(void **state)
{
	static const char *const bad[] = {"", ".", ".."};

	for (size_t i = 0; i < 3; i++) {
		BUF_AUTO struct buf out = BUF_INIT;

		assert_int_equal(layout_dir(LAYOUT_FS, &bad[i], 1, &out), MB_E_NAME);
		assert_int_equal(layout_dir(LAYOUT_MAILDIRPP, &bad[i], 1, &out), MB_E_NAME);
		assert_false(mailbox_part_ok(bad[i]));
	}
	assert_false(mailbox_part_ok("a\nb"));
	assert_false(mailbox_part_ok("\x7f"));
	assert_true(mailbox_part_ok("..."));
	assert_true(mailbox_part_ok("a/b\\ \xff"));
}

static void names_for_people(void **state)
{
	static const char *const bad[] = {"", "/", "/a", "a/", "a//b", "..", "a/..", ".", "a\tb"};
	const char *parts[] = {"a/b", "c\\d", "\\2f"};
	BUF_AUTO struct buf out = BUF_INIT;
	char **back;
	size_t n;

	layout_join(parts, 3, &out);
	assert_string_equal(buf_cstr(&out), "a\\2fb/c\\5cd/\\5c2f");
	assert_int_equal(layout_split(buf_cstr(&out), &back, &n), 0);
	assert_int_equal(n, 3);
	for (size_t i = 0; i < n; i++)
		assert_string_equal(back[i], parts[i]);
	layout_parts_free(back);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(layout_split(bad[i], &back, &n), MB_E_NAME);
	assert_int_equal(layout_split("iNbOx", &back, &n), 0);
	assert_true(n == 0 && !back[0]);
	layout_parts_free(back);
	assert_int_equal(layout_split("inbox/x\\y", &back, &n), 0);
	assert_string_equal(back[0], "INBOX");
	assert_string_equal(back[1], "x\\y");
	layout_parts_free(back);
}

static void deep_and_long_names(void **state)
{
	char name[4100], **parts;
	size_t n;

	for (size_t i = 0; i < sizeof(name); i++)
		name[i] = i & 1 ? '/' : 'a';
	name[127] = '\0';
	assert_int_equal(layout_split(name, &parts, &n), 0);
	assert_int_equal(n, MAILBOX_DEPTH_MAX);
	layout_parts_free(parts);
	name[127] = '/';
	name[129] = '\0';
	assert_int_equal(layout_split(name, &parts, &n), MB_E_NAME);
	assert_int_equal(layout_parts(LAYOUT_FS, name, &parts, &n), MB_E_NAME);
	memset(name, 'x', sizeof(name));
	name[4001] = '\0';
	assert_int_equal(layout_split(name, &parts, &n), MB_E_NAME);
	assert_int_equal(layout_parts(LAYOUT_FS, name, &parts, &n), MB_E_NAME);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_of_layouts),
		cmocka_unit_test(maildirpp),
		cmocka_unit_test(fs),
		cmocka_unit_test(directories_that_are_no_mailbox),
		cmocka_unit_test(strange_directories_are_taken_as_they_are),
		cmocka_unit_test(every_name_is_reversible),
		cmocka_unit_test(every_directory_is_total),
		cmocka_unit_test(lengths_are_bounded),
		cmocka_unit_test(bad_parts_have_no_directory),
		cmocka_unit_test(names_for_people),
		cmocka_unit_test(deep_and_long_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
