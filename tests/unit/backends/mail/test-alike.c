/* When two mails are one although their bytes differ. */
#include "backends/mail/alike.h"
#include "backends/base/mem.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#define ID "Message-ID: <1@example.org>\n"
#define DATE "Date: Sun, 22 Nov 2026 12:00:00 +0000\n"
#define SENT "From: a@example.org\n" ID "Subject: s\n" DATE "\ntext\n"

static struct digest likeness_of(const char *data, size_t len, struct digest *ret_head)
{
	MB_AUTO_CLOSE int fd = memfd_create("mail", MFD_CLOEXEC);
	struct digest head, whole, head_only;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	assert_int_equal(alike_fd(fd, &head, &whole), 0);
	assert_int_equal(alike_fd(fd, &head_only, NULL), 0);
	assert_true(digest_equal(&head, &head_only));
	assert_int_equal(digest_known(&head), digest_known(&whole));
	if (ret_head)
		*ret_head = head;
	return whole;
}

static bool alike(const char *a, const char *b)
{
	struct digest x = likeness_of(a, strlen(a), NULL), y = likeness_of(b, strlen(b), NULL);

	return digest_known(&x) && digest_equal(&x, &y);
}

static void what_does_not_count(void **state)
{
	static const char *const same[] = {
		SENT,
		"From: a@example.org\r\nMessage-ID: <1@example.org>\r\nSubject: s\r\n"
		"Date: Sun, 22 Nov 2026 12:00:00 +0000\r\n\r\ntext\r\n",
		"Received: from a by b;\n\ttoday\nReturn-Path: <a@example.org>\n" SENT,
		"From a@example.org Sun Nov 22 12:00:00 2026\n" SENT "\n",
		">From a@example.org Sun Nov 22 12:00:00 2026\n" SENT,
		"Status: RO\nX-Status: A\nX-UID: 7\nContent-Length: 5\nLines: 1\n" SENT,
		"X-Spam-Status: No,\n tests=none\nDelivered-To: me\nenvelope-to: me\n" SENT,
		"Authentication-Results: x\nARC-Seal: y\nReceived-SPF: pass\nDelivery-Date: "
		"z\n" SENT,
		"From: a@example.org\n" ID "Subject: s\n" DATE "\ntext\n\n\r\n\n",
		"From: a@example.org\n" ID "Subject: s\n" DATE "\ntext",
	};

	for (size_t i = 0; i < sizeof(same) / sizeof(*same); i++)
		assert_true(alike(SENT, same[i]));
}

static void what_does(void **state)
{
	static const char *const other[] = {
		"List-Id: <l>\n" SENT,
		"From: a@example.org\n" ID "Subject: s\n" DATE "\ntext\n--\nfooter of a list\n",
		"From: a@example.org\n" ID "Subject: s\n" DATE "\nother\n",
		"From: b@example.org\n" ID "Subject: s\n" DATE "\ntext\n",
		"From: a@example.org\n" ID "Subject: S\n" DATE "\ntext\n",
		"From: a@example.org\n" ID "Subject: s\n folded\n" DATE "\ntext\n",
		"From: a@example.org\nMessage-ID: <2@example.org>\nSubject: s\n" DATE "\ntext\n",
		"From: a@example.org\n" ID "Subject: s\nDate: tomorrow\n\ntext\n",
		"From: a@example.org\n" ID "Subject: s\n" DATE "\n\ntext\n",
		"From: a@example.org\n" ID "Subject: s\n" DATE "\nte\rxt\n",
		"From: a@example.org\n" ID "Subject: s\n" DATE "\ntext\r",
		"From: a@example.org\n" ID "Subject: s\n" DATE "Xerox: y\n\ntext\n",
	};

	for (size_t i = 0; i < sizeof(other) / sizeof(*other); i++)
		assert_false(alike(SENT, other[i]));
}

static void who_says_not_which_one_it_is_has_none(void **state)
{
	static const char *const without[] = {
		"",
		"\n",
		"\n\ntext\n",
		"text",
		"Subject: s\n\ntext\n",
		ID "\ntext\n",
		DATE "\ntext\n",
		ID ID DATE "\ntext\n",
		ID DATE DATE "\ntext\n",
		"Message-ID:\n" DATE "\ntext\n",
		"Message-ID: \t\n" DATE "\ntext\n",
		"Subject: s\n\n" ID DATE,
	};

	for (size_t i = 0; i < sizeof(without) / sizeof(*without); i++) {
		struct digest d = likeness_of(without[i], strlen(without[i]), NULL);
		assert_false(digest_known(&d));
	}
}

/* Text of a field in the body is text; a NUL is a byte like others. */
static void the_body_is_told_from_the_header(void **state)
{
	static const char nul[] = ID DATE "\na\0b\n", other[] = ID DATE "\na\0c\n";
	struct digest a, b, x, y;

	assert_false(alike(ID DATE "\nX-UID: 7\n", ID DATE "\n"));
	x = likeness_of(nul, sizeof(nul) - 1, &a);
	y = likeness_of(other, sizeof(other) - 1, &b);
	assert_true(digest_equal(&a, &b));
	assert_false(digest_equal(&x, &y));
}

/* The ends of lines fall on the ends of what is read at once. */
static void long_ones(void **state)
{
	enum { SIZE = 300 * 1024 };
	MB_AUTO_FREE char *lf = mb_xmalloc(SIZE + 200), *crlf = mb_xmalloc(2 * (SIZE + 200));
	size_t n = (size_t)sprintf(lf, "%s%s\n", ID, DATE), k = 0;

	for (size_t i = 0; n < SIZE; i++)
		lf[n++] = i % 61 == 60 || i % 7 == 6 ? '\n' : 'x';
	lf[n++] = 'e';
	for (size_t i = 0; i < n; i++) {
		if (lf[i] == '\n')
			crlf[k++] = '\r';
		crlf[k++] = lf[i];
	}
	struct digest a = likeness_of(lf, n, NULL), b = likeness_of(crlf, k, NULL);
	assert_true(digest_known(&a) && digest_equal(&a, &b));
	lf[n - 1] = 'f';
	a = likeness_of(lf, n, NULL);
	assert_false(digest_equal(&a, &b));
}

static void long_headers(void **state)
{
	static const size_t sizes[] = {8000, 8 * 1024, 40000, 200 * 1024, 300 * 1024};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		MB_AUTO_FREE char *mail = mb_xmalloc(sizes[i] + 400);
		size_t n = (size_t)sprintf(mail, "X-Long: ");

		memset(mail + n, 'x', sizes[i]);
		n += sizes[i];
		n += (size_t)sprintf(mail + n, "\n%s", SENT);
		struct digest d = likeness_of(mail, n, NULL),
			      sent = likeness_of(SENT, strlen(SENT), NULL);
		/* one that is far too long has none */
		assert_int_equal(digest_equal(&d, &sent), sizes[i] < 256 * 1024 - 200);
	}
}

static void any_bytes(void **state)
{
	static const char letters[] = "\n\n\r\r :x\0Dd\xff\t";
	char mail[200];

	srand(1);
	for (int i = 0; i < 20000; i++) {
		size_t n = (size_t)rand() % sizeof(mail);
		for (size_t k = 0; k < n; k++)
			mail[k] = letters[(size_t)rand() % (sizeof(letters) - 1)];
		likeness_of(mail, n, NULL);
	}
}

static void what_cannot_be_read(void **state)
{
	struct digest d;

	assert_true(alike_fd(-1, &d, &d) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_does_not_count),
		cmocka_unit_test(what_does),
		cmocka_unit_test(who_says_not_which_one_it_is_has_none),
		cmocka_unit_test(the_body_is_told_from_the_header),
		cmocka_unit_test(long_ones),
		cmocka_unit_test(long_headers),
		cmocka_unit_test(any_bytes),
		cmocka_unit_test(what_cannot_be_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
