/*
 * tlv.h - tagged values: tag (u8, ascending), varint length, value.
 *
 * What is empty is not written.  A list of values ends with the tag 0 or, when `whole` is set, with
 * the input.  Unknown tags are skipped, so that later versions may add some; a tag that is not
 * greater than the one before is an error, so each is there once.  Getters set `failed` when the
 * value does not fill its length exactly or is over its bound.
 */
#ifndef MB_MAIL_TLV_H
#define MB_MAIL_TLV_H

#include "backends/base/buf.h"
#include "backends/base/hash.h"
#include "backends/mail/guid.h"
#include "backends/mail/stamp.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void tlv_put(struct buf *out, uint8_t tag, const void *data, size_t len);
void tlv_put_varint(struct buf *out, uint8_t tag, uint64_t v);
void tlv_put_le64(struct buf *out, uint8_t tag, uint64_t v); /* eight bytes: random ids, times */
void tlv_put_str(struct buf *out, uint8_t tag, const char *s);
void tlv_put_guid(struct buf *out, uint8_t tag, const struct guid *g);
void tlv_put_stamp(struct buf *out, uint8_t tag, const struct stamp *s);
void tlv_put_digest(struct buf *out, uint8_t tag, const struct digest *d);
void tlv_end(struct buf *out);

struct tlv {
	struct reader *in;
	bool whole;	     /* ends with the input, not with the tag 0 */
	bool failed;	     /* of the list or of a value */
	uint8_t tag;	     /* of the current value */
	struct reader value; /* the current value */
};

bool tlv_next(struct tlv *t); /* false at the end and when it failed */
uint64_t tlv_varint(struct tlv *t, uint64_t max);
uint64_t tlv_le64(struct tlv *t);
char *tlv_str(struct tlv *t, size_t max); /* owned; 1..max bytes, no NUL; NULL when it failed */
struct guid tlv_guid(struct tlv *t);
struct stamp tlv_stamp(struct tlv *t);
struct digest tlv_digest(struct tlv *t);
void tlv_check(struct tlv *t, bool ok); /* fails unless ok and the value was read to its end */

/* A stamp alone: 16 bytes. */
void stamp_encode(const struct stamp *s, struct buf *out);
struct stamp stamp_decode(struct reader *r);

#endif
