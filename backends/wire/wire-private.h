/*
 * wire-private.h - what the files of the initiator share.
 *
 *   wire.c         the connection; questions: asked, under way, answered
 *   wire-answer.c  frames that answer
 *   wire-read.c    verbs that read, and foresee
 *   wire-put.c     verbs that change
 */
#ifndef MB_WIRE_WIRE_PRIVATE_H
#define MB_WIRE_WIRE_PRIVATE_H

#include "backends/base/hash.h"
#include "backends/wire/spool.h"
#include "backends/wire/stream.h"
#include "backends/wire/wire.h"
#define HASH_FUNCTION(key, len, ret) ((ret) = (unsigned)checksum64((key), (len), 0))
#include <uthash.h>

/* What is asked: type and payload, padded with zeros. */
struct question_key {
	uint8_t type; /* enum wire_type */
	uint8_t len;
	uint8_t payload[70];
};

struct question {
	struct question_key key;
	uint32_t id;
	bool answered;
	bool kept;  /* in the table: its answer is for whoever asks the same */
	bool loose; /* nobody holds it: freed when it is answered */
	int result;
	/* the answer; owned */
	struct message message;
	struct change_set set; /* CHANGES; EACH: its messages */
	struct tree tree;
	size_t tree_bytes;
	struct position position;
	struct guid guid;
	struct digest digest;
	struct peer_state peer;
	struct stamp stamp;
	struct buf twins;
	struct spool *spool;
	uint64_t most; /* bytes of spool that are taken */
	bool opened;   /* a body that is kept after it was opened: in kept_bytes */
	/* CHANGES: what was told with it so far */
	size_t n_told;
	uint64_t told_bytes, told_body_bytes;
	bool told_all; /* PART_END came */
	/* PUT */
	backend_put_fn *fn;
	void *arg;
	struct question *next; /* asked after this one, not answered yet */
	UT_hash_handle hh;
};

/* A body that comes with CHANGES. */
struct told_body {
	struct question *q; /* in the table, or NULL: none comes now */
	uint64_t left;
	struct digest digest; /* that it should have */
};

struct wire {
	struct backend backend; /* first */
	struct stream s;
	char *destination; /* owned */
	struct wire_info info;
	unsigned caps;
	int dead;		       /* error that ended the connection, or 0 */
	uint32_t last;		       /* id of the last request */
	struct question *table;	       /* those that are kept */
	struct question *first, **end; /* under way */
	struct told_body told;
	uint64_t kept_bytes;
	bool unasked; /* something was sent since the last wait */
	uint64_t round_trips;
	bool allow_mass_expunge;
	bool changed;		  /* something was put: states that were told are old */
	struct position news_end; /* of what was last told */
	bool has_news_end;
	/* between begin and commit */
	uint64_t from;
	bool wants_begin, many, began, wake, ending;
	bool has_role; /* the other end may have the role of the writer */
	int batch;     /* error of BEGIN */
	struct buf learnt;
	void (*on_close)(void *arg);
	void *on_close_arg;
};

static inline struct wire *wire_of(struct backend *b)
{
	return (struct wire *)b;
}

extern const struct backend_ops wire_ops;

/* ---- wire.c ---- */
void question_key_init(struct question_key *k, enum wire_type type, const struct buf *payload);
/* The one in the table, or NULL. */
struct question *wire_find(struct wire *w, const struct question_key *k);
/* Asks: the frame is appended to what will be sent, and the question goes into the table. */
struct question *wire_ask(struct wire *w, const struct question_key *k, const struct buf *payload);
/* Asks what nobody waits for, or the holder alone, who drops it then. */
struct question *wire_ask_apart(struct wire *w, enum wire_type type, const struct buf *payload,
				bool loose);
/* In the table without having been asked. */
struct question *wire_add_told(struct wire *w, const struct question_key *k);
/* Asks unless it is in the table. */
struct question *wire_want(struct wire *w, enum wire_type type, const struct buf *payload);
/* Waits; its result. */
int wire_wait(struct wire *w, struct question *q);
/* Out of the table and freed, when it was answered; else when it will be. */
void wire_drop(struct wire *w, struct question *q);
void wire_drop_states(struct wire *w); /* if something was put since they were told */
void wire_drop_all(struct wire *w);
/* The connection is over. */
int wire_fail(struct wire *w, int err);
/* After something was appended: sends when it is much. */
void wire_wrote(struct wire *w);

/* ---- wire-answer.c: a frame, for the first question under way.  Negative: no such answer. ---- */
int wire_take_part(struct wire *w, struct question *q, struct frame *f);
int wire_take_data(struct wire *w, struct question *q, struct frame *f);
int wire_take_answer(struct wire *w, struct question *q, struct frame *f);

/* ---- wire-read.c ---- */
int wire_v_info(struct backend *b, struct backend_info *ret);
int wire_v_refresh(struct backend *b, bool full);
int wire_v_position(struct backend *b, struct position *ret);
int wire_v_changes(struct backend *b, const struct position *since, uint64_t except,
		   struct change_set *ret);
int wire_v_tree(struct backend *b, struct tree *ret);
int wire_v_message(struct backend *b, const struct guid *guid, struct message *ret);
int wire_v_each_message(struct backend *b, const struct guid *after,
			int (*fn)(const struct guid *g, void *arg), void *arg);
int wire_v_by_uid(struct backend *b, const struct guid *mailbox, uint32_t uid, struct guid *ret);
int wire_v_digest(struct backend *b, const struct guid *guid, uint64_t id, struct digest *ret);
int wire_v_by_digest(struct backend *b, const struct digest *d,
		     int (*fn)(const struct guid *g, uint64_t id, void *arg), void *arg);
int wire_v_body(struct backend *b, const struct guid *guid, uint64_t id);
int wire_v_peer(struct backend *b, uint64_t replica, const char *destination,
		struct peer_state *ret);
void wire_v_foresee(struct backend *b, const struct backend_ask *ask);
void wire_body_key(struct question_key *k, enum wire_type type, const struct guid *guid,
		   uint64_t id);
struct question *wire_ask_changes(struct wire *w, const struct position *since, uint64_t except,
				  uint8_t bits, uint64_t fresh);

/* ---- wire-put.c ---- */
int wire_v_learn(struct backend *b, const struct guid *guid, uint64_t id, const struct digest *d);
int wire_v_begin(struct backend *b, uint64_t from, bool many);
int wire_v_put(struct backend *b, const struct record *want, int body);
void wire_v_put_later(struct backend *b, const struct record *want, int body, backend_put_fn *fn,
		      void *arg);
void wire_v_settle(struct backend *b);
void wire_v_wake(struct backend *b, bool on);
int wire_v_commit(struct backend *b);
int wire_v_now(struct backend *b, const struct stamp *seen, struct stamp *ret);
int wire_v_hold(struct backend *b, bool on);
void wire_tell_learnt(struct wire *w);

#endif
