/*
 * responder-private.h - what the files of the responder share.
 *
 *   responder.c       the connection, and which request is what
 *   responder-read.c  states
 *   responder-news.c  CHANGES
 *   responder-put.c   changes of the store
 *
 * Each answers the request `f` whole.  0, or an error of the connection itself.
 */
#ifndef MB_WIRE_RESPONDER_PRIVATE_H
#define MB_WIRE_RESPONDER_PRIVATE_H

#include "backends/wire/stream.h"

struct responder {
	struct stream s;
	struct backend *b; /* owned */
	uint32_t last;	   /* id of the last request */
	bool began;	   /* between BEGIN and COMMIT: */
	uint64_t from;
	struct buf scratch; /* its memory is kept */
};

/* An answer without a payload. */
int respond(struct responder *r, uint32_t id, int result);
/* One with: frame_end() and stream_wrote() when it is appended.  `at` for respond_end(). */
size_t respond_begin(struct responder *r, uint32_t id, int result);
int respond_end(struct responder *r, size_t at);
/* A PART, likewise. */
size_t part_begin(struct responder *r, uint32_t id, enum wire_part kind);

void responder_info(struct responder *r, struct wire_info *ret);

int respond_position(struct responder *r, const struct frame *f);
int respond_tree(struct responder *r, const struct frame *f);
int respond_message(struct responder *r, struct frame *f);
int respond_each(struct responder *r, struct frame *f);
int respond_by_uid(struct responder *r, struct frame *f);
int respond_digest(struct responder *r, struct frame *f);
int respond_by_digest(struct responder *r, struct frame *f);
int respond_body(struct responder *r, struct frame *f);
int respond_peer(struct responder *r, struct frame *f);
/* Parts of other answers. */
int tell_tree(struct responder *r, uint32_t id);
int tell_guids(struct responder *r, uint32_t id, enum wire_part kind, const struct guid *list,
	       size_t n);
/* DATA to the end of the file; *ret_size is how much it was; `most`: MB_E_LIMIT when it is more. */
int tell_data(struct responder *r, uint32_t id, int fd, uint64_t most, struct digest *ret,
	      uint64_t *ret_size);

int respond_changes(struct responder *r, struct frame *f);

int respond_begin_batch(struct responder *r, struct frame *f);
int respond_put(struct responder *r, struct frame *f);
int respond_commit(struct responder *r, const struct frame *f);
int respond_let_go(struct responder *r, const struct frame *f);
int respond_learn(struct responder *r, struct frame *f);
int respond_now(struct responder *r, struct frame *f);

#endif
