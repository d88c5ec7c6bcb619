/*
 * wire-format.h - the bytes between two mailbraids: every frame, the limits, who sends what.
 *
 * mailbraid-wire(7) says the same for those who write the other end.  All integers are little endian;
 * varint is LEB128; "str" is a varint length and that many bytes without NUL; "record", "copy" and
 * "mailbox" are as in the log (record.h, object.h); a stamp is u64 time, u64 replica; a position is as
 * position_encode() writes it.
 *
 *   frame     u32 length of what follows (5..WIRE_FRAME_MAX), u8 type, u32 id, payload
 *
 * The INITIATOR asks, the RESPONDER answers; it serves one store and never asks anything.
 *
 *   initiator                                  responder
 *   HELLO  ───────────────────────────────►    (its store is opened now)
 *                                         ◄──  HELLO, or REFUSE and the end
 *   request 1, request 2, …  ─────────────►
 *   (PUT with a body: DATA … after it)    ◄──  [PART or DATA …] ANSWER 1, [PART or DATA …] ANSWER 2, …
 *   (closes)                                   (ends)
 *
 * Requests bear ids that go up by one from 1; nothing else is in between.  They are answered one after
 * the other, in that order, so what is asked after a COMMIT sees what it made durable.  Any number may be
 * under way: what is sent together costs one round trip.  An ANSWER begins with i32 result, 0 or more
 * or an error as WIRE_ERR_* says; one with an error has no more payload.
 *
 *   request    payload                              PART, DATA before the answer; ANSWER after its result
 *   PING                                            (nothing)
 *   REFRESH    u8 bits (1 full, 2 mass expunge)     info
 *   POSITION                                        position
 *   CHANGES    position, u64 except, u8 bits        PART of kinds below; position end, u8 only echo
 *              (1 states, 2 tree), u64 fresh,
 *              u32 body bytes
 *   TREE                                            PART_MAILBOXES …
 *   MESSAGE    GUID                                 message
 *   EACH       u8 (1: after GUID), GUID, u32 most   PART_MESSAGES …
 *   BY_UID     GUID of a mailbox, u32 uid           GUID
 *   DIGEST     GUID, u64 copy id                    32 digest
 *   BY_DIGEST  32 digest                            n x (GUID, u64 copy id)
 *   BODY       GUID, u64 copy id, u64 most          DATA …; u64 size, 32 digest
 *   PEER       u64 replica                          record (REC_PEER), without a destination
 *   NOW        stamp                                stamp
 *   BEGIN      u64 from, u8 many
 *   PUT        u8 bits (1 body, 2 wake), u64 size,
 *              record; then DATA … of that size
 *   COMMIT
 *   LEARN      n x (GUID, u64 copy id, 32 digest)
 *   LET_GO                                          (the role of the writer, which BEGIN took)
 *
 *   info      u64 replica, GUID store, u32 caps, u64 missing, u32 unread (errno), u64 misplaced,
 *             u64 forgotten, stamp (the clock)
 *   message   GUID, u8 missing, varint n, n x copy
 *   PART      u8 kind, then
 *             PART_MESSAGES, PART_FOLDERS: n x GUID          news, and what EACH lists
 *             PART_ALIASES: n x (GUID from, GUID to)
 *             PART_STATE: GUID asked, message                as MESSAGE would answer it
 *             PART_MAILBOXES: n x (mailbox, varint uid_shown, varint uid_validity_shown)
 *             PART_END: position                             where news ended after that
 *             PART_BODY: GUID, u64 copy id, u64 size, digest DATA of that size follow
 *
 * CHANGES, when there is news: after its keys come, with bit 1, the states of the messages in it (as many
 * as WIRE_TOLD_* lets), and of those that arrived after the clock time `fresh` the bodies, as many as go
 * into `body bytes`; with bit 2, all mailboxes, then PART_END.
 */
#ifndef MB_WIRE_FORMAT_H
#define MB_WIRE_FORMAT_H

/* Both HELLOs begin so in every version, so that anyone can say which versions it knows:
 *   8 bytes WIRE_MAGIC, u16 lowest, u16 highest version
 * The initiator's goes on: u32 features it has, u8 bits (1: dry, nothing is to be written).  The
 * responder's: u32 features of both, info.  REFUSE: i32 error, str sentence.  The version that is spoken
 * is the highest that both have.  What follows in a HELLO is skipped: later versions may add. */
#define WIRE_MAGIC "mailbrd\n"
#define WIRE_VERSION 1	/* the one and only */
#define WIRE_FEATURES 0 /* bits for what may be agreed on later: zstd, differences, pushes */
#define WIRE_HELLO_DRY 1

#define WIRE_HEAD 9 /* bytes of length, type and id */
#define WIRE_FRAME_MAX (2u << 20)
#define WIRE_HELLO_MAX 4096
#define WIRE_CHUNK (64u << 10)	   /* payload of a DATA or PART that is written here */
#define WIRE_BODY_MAX (2ull << 30) /* bytes of one message */
#define WIRE_GUIDS_MAX (4u << 20)  /* keys of one answer */
#define WIRE_TREE_MAX (64u << 20)  /* bytes of all mailboxes */
#define WIRE_MAILBOXES_MAX (200u << 10)
#define WIRE_TOLD_MESSAGES 20000    /* states that CHANGES tells at most, */
#define WIRE_TOLD_BYTES (32u << 20) /* and their bytes */
#define WIRE_FRESH_BYTES (4u << 20) /* of bodies with CHANGES */
#define WIRE_TWINS_MAX 1000	    /* answers of BY_DIGEST */
#define WIRE_LEARN_MAX 1000

enum wire_type {
	WIRE_HELLO = 1,
	WIRE_REFUSE,
	WIRE_ANSWER,
	WIRE_PART,
	WIRE_DATA,
	/* requests */
	WIRE_PING = 16,
	WIRE_REFRESH,
	WIRE_POSITION,
	WIRE_CHANGES,
	WIRE_TREE,
	WIRE_MESSAGE,
	WIRE_EACH,
	WIRE_BY_UID,
	WIRE_DIGEST,
	WIRE_BY_DIGEST,
	WIRE_BODY,
	WIRE_PEER,
	WIRE_NOW,
	WIRE_BEGIN,
	WIRE_PUT,
	WIRE_COMMIT,
	WIRE_LEARN,
	WIRE_LET_GO,
	WIRE_LAST = WIRE_LET_GO,
};

enum wire_part {
	PART_MESSAGES = 1,
	PART_FOLDERS,
	PART_ALIASES,
	PART_STATE,
	PART_MAILBOXES,
	PART_END,
	PART_BODY,
};

/* bits */
#define WIRE_REFRESH_FULL 1
#define WIRE_REFRESH_ALLOW 2
#define WIRE_CHANGES_STATES 1
#define WIRE_CHANGES_TREE 2
#define WIRE_PUT_BODY 1
#define WIRE_PUT_WAKE 2

/* Results below zero: -errno as Linux numbers them, or the number of err.h; both are part of the format.
 * What a reader does not know it takes for WIRE_ERR_OTHER. */
#define WIRE_ERR_OTHER (-5) /* EIO */

#endif
