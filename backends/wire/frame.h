/*
 * frame.h - frames from bytes and bytes from frames, without I/O; and what frames carry.
 *
 * Bytes from the other side are hostile: a length is checked before anything is allocated for it, and
 * every list is bounded.  Formats: wire-format.h.
 */
#ifndef MB_WIRE_FRAME_H
#define MB_WIRE_FRAME_H

#include "backends/backend.h"
#include "backends/base/buf.h"
#include "backends/wire/wire-format.h"
#include <stddef.h>
#include <stdint.h>

struct frame {
	enum wire_type type;
	uint32_t id;
	struct reader payload; /* borrowed from the bytes it was read from */
};

/* Starts a frame in `out`; payload is appended; frame_end() fills the length in.  Returns where it began. */
size_t frame_begin(struct buf *out, enum wire_type type, uint32_t id);
void frame_end(struct buf *out, size_t at);
/* Bytes of the frame begun at `at` so far. */
size_t frame_size(const struct buf *out, size_t at);

/* The frame at the start of these bytes: its whole size, and *ret; 0: more bytes are needed;
 * MB_E_PROTOCOL: no such frame (too short, too long: `max` is for HELLO; or of no known type). */
int frame_parse(const void *data, size_t len, size_t max, struct frame *ret);

/* ---- payloads: put appends; get returns false for what is no such thing, and then owns nothing ---- */

void wire_put_guid(struct buf *out, const struct guid *g);
struct guid wire_get_guid(struct reader *r);
void wire_put_digest(struct buf *out, const struct digest *d);
struct digest wire_get_digest(struct reader *r);

void wire_put_message(struct buf *out, const struct message *m);
bool wire_get_message(struct reader *r, struct message *ret); /* to the end of the input */
void wire_put_mailbox(struct buf *out, const struct mailbox *m);
bool wire_get_mailbox(struct reader *r, struct mailbox *ret);

struct wire_info {
	struct backend_info info; /* without a destination */
	struct stamp clock;
};
void wire_put_info(struct buf *out, const struct wire_info *i);
bool wire_get_info(struct reader *r, struct wire_info *ret);

struct wire_hello {
	uint16_t lowest, highest;
	uint32_t features;
	uint8_t bits;	       /* of an initiator */
	struct wire_info info; /* of a responder */
};
/* A whole HELLO frame; `info`: it is a responder's. */
void wire_put_hello(struct buf *out, const struct wire_hello *h, bool info);
/* MB_E_PROTOCOL: it is none; MB_E_VERSION: there is no version that we speak too. */
int wire_get_hello(struct reader *r, bool info, struct wire_hello *ret);

/* i32 result of an answer: 0 or more, or an error of this program's table. */
void wire_put_result(struct buf *out, int result);
int wire_get_result(struct reader *r);

#endif
