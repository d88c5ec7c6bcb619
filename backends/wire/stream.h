/*
 * stream.h - frames over a pair of descriptors.
 *
 * Both are made non-blocking.  While it cannot write it reads, so that two ends that both send never wait
 * for each other.  When nothing moves for the patience of that end (seconds) it is -ETIMEDOUT.
 * One thread uses a stream.
 */
#ifndef MB_WIRE_STREAM_H
#define MB_WIRE_STREAM_H

#include "backends/wire/frame.h"

struct stream {
	int in, out;	    /* owned; may be the same */
	struct buf inbox;   /* bytes read; */
	size_t at;	    /* those before it were used */
	struct buf outbox;  /* not written yet */
	struct buf current; /* the frame that stream_next() gave */
	unsigned patience_s;
	bool ended; /* the other end writes no more */
	bool deaf;  /* and reads no more: what it said before that is still read */
	uint64_t n_sent, n_received;
};

/* Takes both descriptors. */
void stream_open(struct stream *s, int in, int out, unsigned patience_s);
void stream_close(struct stream *s);

/* Appended to outbox with frame_begin() and frame_end(); then this, which writes when it is much. */
int stream_wrote(struct stream *s);
/* All of it. */
int stream_flush(struct stream *s);
/* What was not written yet is written first.  1: a frame, valid until the next call; 0: the other end
 * closed, between two frames; -ECONNRESET: in the midst of one; MB_E_PROTOCOL as frame_parse(). */
int stream_next(struct stream *s, size_t max, struct frame *ret);

#endif
