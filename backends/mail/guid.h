/*
 * guid.h - 128-bit identities.  A struct, so that it cannot be mixed up with a hash.
 *
 * A message GUID names a content in the world; a mailbox GUID names a mailbox whatever it is called.
 * INBOX has the same GUID in every store: two INBOXes made apart are the same mailbox.
 */
#ifndef MB_MAIL_GUID_H
#define MB_MAIL_GUID_H

#include <stdbool.h>
#include <stdint.h>

struct guid {
	uint8_t b[16];
};

#define GUID_TEXT 33 /* 32 hex digits and a NUL */

extern const struct guid GUID_ZERO;  /* none; as a parent: the root of the tree */
extern const struct guid GUID_INBOX; /* the INBOX of every store */

struct guid guid_new(void); /* random, never zero */
bool guid_is_zero(const struct guid *g);
bool guid_equal(const struct guid *a, const struct guid *b);
int guid_compare(const struct guid *a, const struct guid *b); /* as memcmp */
const char *guid_text(const struct guid *g, char out[GUID_TEXT]);
bool guid_parse(const char *text, struct guid *ret);

#endif
