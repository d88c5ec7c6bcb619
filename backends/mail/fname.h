/*
 * fname.h - the name of a message file in a Maildir: parse, keep, write.
 *
 *   base[,K=V]*[(:|;|!)2,letters][,extra]
 *
 * Parsing is total: every name gives a result.  The base (everything before the info part, with its
 * fields) identifies the file within its folder; unknown fields and letters are kept byte for byte.
 */
#ifndef MB_MAIL_FNAME_H
#define MB_MAIL_FNAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FNAME_MAX 255

struct fname {
	size_t base_len; /* length of the unique part with its ,K=V fields: up to the info part */
	size_t unique_len; /* up to the first ',' or the info part: equal unique = same mail in two states */
	char separator;	   /* ':' ';' or '!', 0 when there is no info part */
	uint8_t flags;	   /* FLAG_MASK bits from the capitals D F P R S T */
	uint32_t keywords; /* bit n: letter 'a'+n */
	uint32_t others;   /* bit n: other capital 'A'+n */
	bool canonical; /* letters sorted, none twice, no extra: writing it again gives the same name;
			       false without an info part */
	const char *extra; /* points at ",extra" inside the name, or NULL */
};

/* Reads `name`.  The last info part counts when there are several in a row (":2,:2,S"); the base ends
 * before the first of them.  ":1,anything" at the end counts as an info part without letters.  `extra`
 * is everything after the letters, also when it does not begin with a comma. */
void fname_parse(const char *name, struct fname *ret);

/* false for names that are never messages: empty, ".", "..", leading dot, over 255 bytes, with '/'. */
bool fname_is_message(const char *name);

/*
 * Writes base + separator + "2," + letters sorted (capitals, then a to z) + extra of `old` into out.
 * `base` is base_len bytes.  separator 0 means ':'.  Returns false when it would be over 255 bytes;
 * then out holds base alone if that fits (flags go to the index only).
 */
bool fname_write(const char *base, size_t base_len, char separator, uint8_t flags,
		 uint32_t keywords, uint32_t others, const char *extra, char out[FNAME_MAX + 1]);

/* true and the value when a field ",S=" or ",W=" with a decimal number is in the base. */
bool fname_field_u64(const char *name, const struct fname *f, char key, uint64_t *ret);

/* A new unique base: sec.MusecPpidQn_id.host with host escaped (/ \057, : \072) and size as ,S=. */
void fname_new_base(uint64_t size, char out[FNAME_MAX + 1]);

#endif
