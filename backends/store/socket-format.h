/*
 * socket-format.h - the bytes on STORE/socket, between the writer of a store and its clients on the
 * same host.  All integers are little endian.
 *
 *   request   u32 length of what follows (1..FRAME_MAX), u8 verb, payload
 *   answer    u32 length of what follows (4..FRAME_MAX), i32 result, payload
 *
 * A negative result is an error (err.h) and has no payload.  Answers come in the order of requests.
 * "str" is a varint length and that many bytes without a NUL; "record" is the rest of the frame.
 *
 *   verb              request                             answer
 *   VERB_HELLO        u32 SOCKET_VERSION                  u64 replica, str mount ("" = none)
 *   VERB_PUT          str staged ("" = none), record
 *   VERB_PLAN         u32 tid (0 = the connection's       u8 step, str from, str to ("" = none)
 *                     process), str staged, record
 *   VERB_FLUSH
 *   VERB_SCAN         u8 full                             13 x u64, the fields of scan_report; the
 *                                                         last is a positive errno
 *   VERB_CHECKPOINT   u64 keep_ns
 *   VERB_DIGEST       16 GUID, u64 copy id                32 digest
 *   VERB_LEARN        STORE_LEARN_MAX times at most:
 *                     16 GUID, u64 copy id, 32 digest
 *   VERB_NOW          u64 time, u64 replica (seen)        u64 time, u64 replica
 *   VERB_ALLOW        u8 allow
 *   VERB_COUNTERS                                         str name, u64 number, …: requests by kind
 *   VERB_EXPUNGE_LOST 16 GUID, u64 copy id, u64 modseq
 *   VERB_RECHECK      16 GUID, u64 copy id
 */
#ifndef MB_STORE_SOCKET_FORMAT_H
#define MB_STORE_SOCKET_FORMAT_H

#define SOCKET_NAME "socket"
#define SOCKET_VERSION 1
#define FRAME_MAX (2u << 20)
#define COUNTER_NAME_MAX 64 /* bytes */

enum socket_verb {
	VERB_HELLO = 1,
	VERB_PUT,
	VERB_PLAN,
	VERB_FLUSH,
	VERB_SCAN,
	VERB_CHECKPOINT,
	VERB_DIGEST,
	VERB_NOW,
	VERB_ALLOW,
	VERB_COUNTERS,
	VERB_EXPUNGE_LOST,
	VERB_RECHECK,
	VERB_LEARN,
};

#endif
