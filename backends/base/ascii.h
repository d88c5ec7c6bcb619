/*
 * ascii.h - letters without a locale.
 *
 * tolower() and strcasecmp() follow the locale of the user; names on disk and on the wire must not.
 */
#ifndef MB_BASE_ASCII_H
#define MB_BASE_ASCII_H

#include <stddef.h>

static inline unsigned char ascii_lower(char c)
{
	unsigned char u = (unsigned char)c;

	return u >= 'A' && u <= 'Z' ? (unsigned char)(u + ('a' - 'A')) : u;
}

/* As strcasecmp() and strncasecmp() in the C locale. */
static inline int ascii_casecmp(const char *a, const char *b)
{
	while (*a && ascii_lower(*a) == ascii_lower(*b))
		a++, b++;
	return ascii_lower(*a) - ascii_lower(*b);
}

/* Value of a hexadecimal digit, or -1. */
static inline int ascii_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

#endif
