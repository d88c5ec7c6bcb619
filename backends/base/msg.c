/*
 * msg.c - messages for people, on stderr.
 *
 * A whole message is made in memory, cleaned of everything that a terminal would act on (control
 * bytes, C1 controls, bytes that are not UTF-8), and written at once, so that the lines of two
 * threads or processes do not mix.
 */
#include "backends/base/msg.h"
#include "backends/base/buf.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static _Atomic int max_level = MB_NOTICE;
static const char *_Atomic program = "mailbraid";
static void (*_Atomic before)(void *arg);
static void *_Atomic before_arg;

void mb_msg_set_level(enum mb_level level)
{
	max_level = (int)level;
}

enum mb_level mb_msg_level(void)
{
	return (enum mb_level)max_level;
}

void mb_msg_set_before(void (*fn)(void *arg), void *arg)
{
	before = (void (*)(void *))NULL; /* no call with the argument of the other */
	before_arg = arg;
	before = fn;
}

void mb_msg_set_program(const char *name)
{
	program = name;
}

/* Bytes of the printable character at s: 0 when it must be escaped. */
static size_t printable(const unsigned char *s)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	if (n <= 1)
		return s[0] >= 0x20 && s[0] < 0x7f;
	if (s[0] > 0xf4 || (s[0] == 0xc2 && s[1] < 0xa0))
		return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

void mb_msg_clean(struct buf *out, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;

	while (*s) {
		size_t n = printable(s);

		if (n)
			buf_put(out, s, n);
		else
			buf_printf(out, "\\x%02x", *s);
		s += n ? n : 1;
	}
}

__attribute__((format(printf, 3, 0))) static void put_line(struct buf *out, const char *head,
							   const char *fmt, va_list ap)
{
	MB_AUTO_FREE char *text = NULL;

	if (vasprintf(&text, fmt, ap) < 0)
		text = mb_xstrdup(fmt);
	buf_put(out, head, strlen(head));
	buf_put(out, ": ", 2);
	mb_msg_clean(out, text);
	buf_put_u8(out, '\n');
}

static void print(const struct buf *out)
{
	void (*call)(void *) = before;

	if (call)
		call(before_arg);
	fwrite(out->data, 1, out->len, stderr);
	fflush(stderr);
}

void mb_msg(enum mb_level level, const char *fmt, ...)
{
	BUF_AUTO struct buf out = BUF_INIT;
	va_list ap;

	if ((int)level > max_level)
		return;
	va_start(ap, fmt);
	put_line(&out, program, fmt, ap);
	va_end(ap);
	print(&out);
}

__attribute__((format(printf, 3, 0))) static void fail(int err, const char *advice, const char *fmt,
						       va_list ap)
{
	BUF_AUTO struct buf out = BUF_INIT;

	put_line(&out, program, fmt, ap);
	buf_printf(&out, "  why: %s\n", mb_err_str(err));
	if (advice) {
		buf_printf(&out, "  do:  ");
		mb_msg_clean(&out, advice);
		buf_put_u8(&out, '\n');
	}
	print(&out);
}

int mb_fail(int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fail(err, mb_err_advice(err), fmt, ap);
	va_end(ap);
	return err;
}

int mb_fail_do(int err, const char *advice, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fail(err, advice, fmt, ap);
	va_end(ap);
	return err;
}
