/*
 * test-demo-mail.c - the sample mails are well formed, threaded, and the same each time.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "sync/demo-mail.h"

#include <stdio.h>
#include <string.h>

static void the_same_each_time_and_all_different(void **state)
{
	struct buf a BUF_AUTO = BUF_INIT, b BUF_AUTO = BUF_INIT, last BUF_AUTO = BUF_INIT;

	for (unsigned n = 0; n < DEMO_MAILS; n++) {
		buf_reset(&a);
		buf_reset(&b);
		demo_mail(n, &a);
		demo_mail(n, &b);
		assert_int_equal(a.len, b.len);
		assert_memory_equal(a.data, b.data, a.len);
		assert_false(a.len == last.len && memcmp(a.data, last.data, a.len) == 0);
		buf_reset(&last);
		buf_put(&last, a.data, a.len);
	}
}

/* Headers, a blank line, a body; lines of at most 998 bytes; ASCII in the headers. */
static void well_formed(void **state)
{
	unsigned with_attachment = 0, encoded = 0;

	for (unsigned n = 0; n < DEMO_MAILS; n++) {
		struct buf mail BUF_AUTO = BUF_INIT;
		demo_mail(n, &mail);
		const char *text = buf_cstr(&mail), *body = strstr(text, "\n\n");
		assert_non_null(body);
		assert_int_equal(text[mail.len - 1], '\n');
		for (const char *p = text; p < body; p++)
			assert_true(*p == '\n' || (*p >= ' ' && *p < 0x7f));
		for (const char *p = text, *end; (end = strchr(p, '\n')); p = end + 1)
			assert_true(end - p <= 998);
		static const char *const needed[] = {
			"From: ",	    "To: ", "Date: ", "Subject: ", "Message-ID: <demo-",
			"MIME-Version: 1.0"};
		for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
			assert_non_null(strstr(text, needed[i]));
		with_attachment += strstr(text, "attachment") != NULL;
		encoded += strstr(text, "=?utf-8?") != NULL;
	}
	assert_true(with_attachment > 10);
	assert_true(encoded > 50);
}

static void answers_refer_to_what_they_answer(void **state)
{
	struct buf mail BUF_AUTO = BUF_INIT;

	demo_mail(6, &mail);
	const char *text = buf_cstr(&mail);
	assert_non_null(strstr(text, "Subject: Re: "));
	assert_non_null(strstr(text, "In-Reply-To: <demo-5@example.org>\n"));
	assert_non_null(strstr(text, "References: <demo-4@example.org>\n <demo-5@example.org>\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_each_time_and_all_different),
		cmocka_unit_test(well_formed),
		cmocka_unit_test(answers_refer_to_what_they_answer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
