/*
 * flags.h - system flags and keywords of one copy, each bit with the stamp of its last change.
 *
 * Flags merge bit by bit: the later stamp wins (rule 3).  A bit nobody ever changed has no stamp.
 * In a file name the flags are letters after ":2,"; \Seen is S, \Answered is R, \Flagged is F,
 * \Deleted is T, \Draft is D, and P (passed) is the keyword $Forwarded; a to z are keyword slots of
 * that mailbox in that replica (dovecot-keywords); other capitals are kept in the name and never
 * sent anywhere.
 */
#ifndef MB_MAIL_FLAGS_H
#define MB_MAIL_FLAGS_H

#include "backends/base/buf.h"
#include "backends/mail/stamp.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum flag_bit {
	FLAG_DRAFT,
	FLAG_FLAGGED,
	FLAG_PASSED,
	FLAG_ANSWERED,
	FLAG_SEEN,
	FLAG_DELETED,
	FLAG_COUNT
};

#define FLAG_MASK(bit) (1u << (bit))
#define FLAG_ALL ((1u << FLAG_COUNT) - 1)
#define KEYWORD_MAX_LEN 255 /* bytes of one keyword */
#define KEYWORDS_MAX 1024   /* keywords, set or cleared, of one copy */

struct keyword {
	char *name; /* owned; spelling of the first; equal without regard to ASCII case */
	bool set;
	struct stamp at;
};

struct flags {
	uint8_t set; /* FLAG_MASK bits */
	struct stamp at[FLAG_COUNT];
	struct keyword *
		keywords; /* owned; sorted by name, case folded; cleared ones stay with their stamp */
	size_t n_keywords;
};

extern const char FLAG_LETTERS[FLAG_COUNT + 1];		 /* "DFPRST", by flag_bit */
const char *flag_name(enum flag_bit bit);		 /* "\\Draft" … , "$Forwarded" */
bool flag_by_name(const char *name, enum flag_bit *ret); /* any ASCII case */

void flags_release(struct flags *f);
void flags_copy(struct flags *dst, const struct flags *src); /* dst is released first */
/* A keyword name that can be stored: 1..255 bytes, printable ASCII but for ( ) { % * " \ ] (RFC 9051
 * flag-keyword), no leading backslash. */
bool keyword_ok(const char *name);
struct keyword *flags_find_keyword(const struct flags *f, const char *name); /* or NULL */
/* Sets or clears a keyword, with this stamp, whatever stamp it had.  Names that are keyword_ok only. */
void flags_put_keyword(struct flags *f, const char *name, bool set, struct stamp at);
void flags_put(struct flags *f, enum flag_bit bit, bool set, struct stamp at);

/* The same bits and keywords are set; stamps and cleared keywords do not count. */
bool flags_same_set(const struct flags *a, const struct flags *b);
/* All is the same, stamps too. */
bool flags_equal(const struct flags *a, const struct flags *b);

/* dst := for each bit the one with the later stamp; equal stamps: set wins.  Commutative,
 * associative, idempotent.  Returns true if dst changed (bits or stamps). */
bool flags_join(struct flags *dst, const struct flags *src);

/* Is something set or cleared in `a` that `than` has otherwise, and with an earlier stamp? */
bool flags_later(const struct flags *a, const struct flags *than);

/* "\Seen $Forwarded work", sorted as stored; appends to out. */
void flags_text(const struct flags *f, struct buf *out);

void flags_encode(const struct flags *f, struct buf *out);
bool flags_decode(struct reader *r,
		  struct flags *ret); /* false: not well formed; ret is released */

#endif
