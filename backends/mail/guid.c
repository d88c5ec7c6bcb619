/*
 * guid.c - 128-bit identities: make, compare, text.
 */
#include "backends/mail/guid.h"
#include "backends/base/ascii.h"
#include "backends/base/hash.h"
#include <string.h>

const struct guid GUID_ZERO;

/* Chosen once at random; a store made today and one made in ten years must agree on it. */
const struct guid GUID_INBOX = {{0x1b, 0x0c, 0x5e, 0x93, 0x7a, 0xd4, 0x4f, 0x26, 0x8e, 0x61, 0xb2,
				 0x38, 0xf7, 0x0d, 0xc9, 0x45}};

struct guid guid_new(void)
{
	struct guid g;

	do
		random_bytes(g.b, sizeof(g.b));
	while (guid_is_zero(&g));
	return g;
}

bool guid_is_zero(const struct guid *g)
{
	return guid_equal(g, &GUID_ZERO);
}

bool guid_equal(const struct guid *a, const struct guid *b)
{
	return guid_compare(a, b) == 0;
}

int guid_compare(const struct guid *a, const struct guid *b)
{
	return memcmp(a->b, b->b, sizeof(a->b));
}

const char *guid_text(const struct guid *g, char out[GUID_TEXT])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < sizeof(g->b); i++) {
		out[2 * i] = digits[g->b[i] >> 4];
		out[2 * i + 1] = digits[g->b[i] & 15];
	}
	out[2 * sizeof(g->b)] = '\0';
	return out;
}

bool guid_parse(const char *text, struct guid *ret)
{
	struct guid g;

	for (size_t i = 0; i < sizeof(g.b); i++) {
		int high = ascii_hex(text[2 * i]);
		int low = high < 0 ? -1 : ascii_hex(text[2 * i + 1]);

		if (low < 0)
			return false;
		g.b[i] = (uint8_t)(high << 4 | low);
	}
	if (text[2 * sizeof(g.b)])
		return false;
	*ret = g;
	return true;
}
