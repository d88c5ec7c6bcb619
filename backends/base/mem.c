/*
 * mem.c - allocations that end the process when there is no memory.
 *
 * abort() equals a SIGKILL for everything durable: the log's tail is torn at worst.
 */
#include "backends/base/mem.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void mb_out_of_memory(void)
{
	static const char text[] = "out of memory\n";

	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		abort();
	abort();
}

void *mb_xmalloc(size_t size)
{
	void *p = malloc(size ? size : 1);

	if (!p)
		mb_out_of_memory();
	return p;
}

void *mb_xcalloc(size_t count, size_t size)
{
	void *p = count && size ? calloc(count, size) : calloc(1, 1);

	if (!p)
		mb_out_of_memory();
	return p;
}

void *mb_xrealloc(void *p, size_t size)
{
	void *n = realloc(p, size ? size : 1);

	if (!n)
		mb_out_of_memory();
	return n;
}

void *mb_xreallocarray(void *p, size_t count, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(count, size, &total))
		mb_out_of_memory();
	return mb_xrealloc(p, total);
}

char *mb_xstrdup(const char *s)
{
	return mb_xmemdup(s, strlen(s) + 1);
}

char *mb_xstrndup(const char *s, size_t len)
{
	size_t n = strnlen(s, len);
	char *copy = mb_xmalloc(n + 1);

	memcpy(copy, s, n);
	copy[n] = '\0';
	return copy;
}

void *mb_xmemdup(const void *p, size_t len)
{
	void *copy = mb_xmalloc(len);

	if (len)
		memcpy(copy, p, len);
	return copy;
}

char *mb_xasprintf(const char *fmt, ...)
{
	char *text;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		mb_out_of_memory();
	return text;
}
