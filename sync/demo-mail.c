/*
 * demo-mail.c - see demo-mail.h.
 *
 * Mail n is made from tables by small primes, so that people, subjects and kinds mix without a random
 * number.  Threads: each group of four is a question with its answers.
 */
#include "sync/demo-mail.h"

#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define THREAD 4
#define FIRST_DAY 1735722000 /* 2025-01-01 09:00 UTC */

const char *const demo_folders[] = {"", ".Lists", ".Work", ".Work.Plans", ".Sent", NULL};
#define N_FOLDERS 5

/* Display names as RFC 2047 encoded words where they are not ASCII. */
static const char *const people[][2] = {
	{"Ada Brook", "ada"},
	{"=?utf-8?q?J=C3=BCrgen_Wei=C3=9F?=", "juergen"},
	{"=?utf-8?b?5bGx55Sw6Iqx5a2Q?=", "hanako"},
	{"=?utf-8?q?Zo=C3=AB_Moreau?=", "zoe"},
	{"=?utf-8?b?0JjQstCw0L0g0J/QtdGC0YDQvtCy?=", "ivan"},
	{"Sam O'Hara", "sam"},
	{"=?utf-8?q?Bj=C3=B8rn_Dahl?=", "bjorn"},
};
static const char *const subjects[] = {
	"Garden plan for spring",
	"=?utf-8?q?Caf=C3=A9_on_Thursday=3F?=",
	"Minutes of the last meeting",
	"=?utf-8?b?5p2x5Lqs44Gu5YaZ55yf?=",
	"Which bicycle pump?",
	"=?utf-8?q?R=C3=A9sum=C3=A9_and_cover_letter?=",
	"Train tickets",
	"The roof again",
	"=?utf-8?b?0JLRgdGC0YDQtdGH0LA=?=",
	"Reading list",
	"Invoice 2025-117",
};
static const char *const lines[] = {
	"I looked at it this morning and it seems fine to me.",
	"Could you send me the measurements before Friday?",
	"The shop closes at six, so we should not be late.",
	"Caf\xc3\xa9 cr\xc3\xa8me, tr\xc3\xa8s bon.",
	"Attached is what I have so far.",
	"Let us talk about this when you are back.",
	"From here on it is all downhill.",
	"See you there, and bring the umbrella.",
};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void put_date(unsigned n, struct buf *out)
{
	time_t t = FIRST_DAY + (time_t)n * 41 * 3600;
	struct tm tm;
	char text[64] = "";

	if (gmtime_r(&t, &tm))
		strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S +0000", &tm);
	buf_printf(out, "Date: %s\n", text);
}

static void put_headers(unsigned n, struct buf *out)
{
	unsigned first = n - n % THREAD;
	const char *const *from = people[n * 3 % COUNT(people)];
	const char *const *to = people[(n * 5 + 1) % COUNT(people)];

	buf_printf(out, "From: %s <%s@example.org>\n", from[0], from[1]);
	buf_printf(out, "To: %s <%s@example.net>\n", to[0], to[1]);
	put_date(n, out);
	buf_printf(out, "Subject: %s%s\n",
		   n == first ? "" : "Re: ", subjects[first / THREAD % COUNT(subjects)]);
	buf_printf(out, "Message-ID: <demo-%u@example.org>\n", n);
	if (n != first)
		buf_printf(out, "In-Reply-To: <demo-%u@example.org>\n", n - 1);
	for (unsigned r = first; r < n; r++)
		buf_printf(out, "%s<demo-%u@example.org>%s", r == first ? "References: " : " ", r,
			   r + 1 == n ? "\n" : "\n");
	buf_printf(out, "MIME-Version: 1.0\n");
}

static void put_text(unsigned n, struct buf *out)
{
	buf_printf(out, "Content-Type: text/plain; charset=utf-8\n"
			"Content-Transfer-Encoding: 8bit\n\n");
	for (unsigned i = 0; i < 3 + n % 9; i++)
		buf_printf(out, "%s\n", lines[(n * 7 + i * 3) % COUNT(lines)]);
}

/* An attachment: 30 lines of base64 that decode to bytes of a pattern. */
static void put_attachment(unsigned n, struct buf *out)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	buf_printf(out, "Content-Type: application/octet-stream; name=\"plan-%u.bin\"\n", n);
	buf_printf(out, "Content-Disposition: attachment; filename=\"plan-%u.bin\"\n", n);
	buf_printf(out, "Content-Transfer-Encoding: base64\n\n");
	for (unsigned line = 0; line < 30; line++) {
		for (unsigned i = 0; i < 76; i++)
			buf_put_u8(out, (uint8_t)digits[(n * 31 + line * 17 + i * 7) % 64]);
		buf_printf(out, "\n");
	}
}

void demo_mail(unsigned n, struct buf *out)
{
	put_headers(n, out);
	if (n % 7 != 3) {
		put_text(n, out);
		return;
	}
	buf_printf(out, "Content-Type: multipart/mixed; boundary=\"part-%u\"\n\n", n);
	buf_printf(out, "--part-%u\n", n);
	put_text(n, out);
	buf_printf(out, "--part-%u\n", n);
	put_attachment(n, out);
	buf_printf(out, "--part-%u--\n", n);
}

void demo_note(const char *subject, const char *text, struct buf *out)
{
	static unsigned count;

	buf_printf(out, "From: %s <%s@example.org>\nTo: you@example.net\n", people[3][0],
		   people[3][1]);
	put_date(DEMO_MAILS + count, out);
	buf_printf(out, "Subject: %s\nMessage-ID: <demo-note-%u@example.org>\n", subject, count++);
	buf_printf(out, "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n%s\n", text);
}

/* ---- files ----------------------------------------------------------------------------------- */

int demo_make_folders(int root)
{
	static const char *const subs[] = {"cur", "new", "tmp"};

	for (int f = 0; f < N_FOLDERS; f++) {
		for (int s = 0; s < 3; s++) {
			char *path MB_AUTO_FREE = mb_xasprintf(
				"%s%s%s", demo_folders[f], *demo_folders[f] ? "/" : "", subs[s]);
			int err = at_mkdirs(root, path, 0700);
			if (err < 0)
				return err;
		}
	}
	return 0;
}

static int write_file(int root, const char *path, const struct buf *mail)
{
	int fd MB_AUTO_CLOSE = openat(root, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : io_write_all(fd, mail->data, mail->len);
}

int demo_deliver(int root, const char *folder, const char *base, const struct buf *mail)
{
	const char *slash = *folder ? "/" : "";
	char *tmp MB_AUTO_FREE = mb_xasprintf("%s%stmp/%s", folder, slash, base);
	char *new MB_AUTO_FREE = mb_xasprintf("%s%snew/%s", folder, slash, base);
	int err = write_file(root, tmp, mail);

	if (err < 0)
		return err;
	return renameat(root, tmp, root, new) < 0 ? -errno : 0;
}

int demo_fill(int root)
{
	static const char *const info[] = {":2,S", ":2,S", ":2,RS", ":2,FS", ":2,"};
	struct buf mail BUF_AUTO = BUF_INIT;

	for (unsigned n = 0; n < DEMO_MAILS; n++) {
		const char *folder = demo_folders[n / THREAD % N_FOLDERS];
		bool is_new = n >= DEMO_MAILS - 20;
		char *path MB_AUTO_FREE =
			mb_xasprintf("%s%s%s/%u.M%uP1.demo%s", folder, *folder ? "/" : "",
				     is_new ? "new" : "cur", FIRST_DAY + n * 41 * 3600, n,
				     is_new ? "" : info[n % COUNT(info)]);
		buf_reset(&mail);
		demo_mail(n, &mail);
		int err = write_file(root, path, &mail);
		if (err < 0)
			return err;
	}
	return 0;
}
