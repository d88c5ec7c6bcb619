/*
 * log-private.h - what log.c, log-files.c, log-read.c and ckpt.c share.  Nobody else includes it,
 * but for their tests.
 */
#ifndef MB_STORE_LOG_PRIVATE_H
#define MB_STORE_LOG_PRIVATE_H

#include "backends/base/buf.h"
#include "backends/store/log-format.h"
#include "backends/store/log.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- frames: log-scan.c -------------------------------------------------------------------- */

#define FRAME_HEAD 8   /* length and its complement */
#define FRAME_EXTRA 16 /* head and checksum */

struct frame {
	uint64_t offset, end;	/* of the frame in its file */
	const uint8_t *payload; /* borrowed from the scanner, until its next call */
	size_t len;
	uint64_t check;
};

/* Reads frames one after the other; never beyond `limit`, whatever the bytes say. */
struct scan {
	int fd; /* borrowed */
	uint64_t seed;
	uint64_t off, limit; /* where the next frame starts; where the last one ends */
	uint8_t *window;     /* owned; `len` bytes of the file from window_off on */
	size_t len, cap;
	uint64_t window_off;
};

uint64_t frame_seed(const struct guid *log);
/* Replaces b by FRAME_HEAD bytes and the record.  MB_E_LIMIT, or MB_E_FORMAT for one that could not be
 * read again: a log or a checkpoint that holds such a record could not be read beyond it. */
int frame_record(struct buf *b, const struct record *rec);
/* Fills in the head and appends the checksum of a frame that is to stand at `offset`.  b holds
 * FRAME_HEAD bytes of anything and the payload.  Returns the checksum. */
uint64_t frame_seal(struct buf *b, uint64_t seed, uint64_t offset);

void scan_init(struct scan *s, int fd, const struct guid *log, uint64_t from, uint64_t limit);
void scan_release(struct scan *s);
/* 1 and a frame, 0 at the limit, MB_E_CHECKSUM when no whole and right frame stands here (the place
 * is kept), -errno. */
int scan_next(struct scan *s, struct frame *ret);
/* Looks byte by byte for a right frame behind the place where scan_next() failed, and goes there.
 * 1 and the frame, 0 when there is none (the place is kept), -errno. */
int scan_resync(struct scan *s, struct frame *ret);

/* --- headers and the list of files: log-files.c -------------------------------------------- */

#define LOG_SEQUENCE_MAX 99999999 /* eight digits */
#define LOG_NAME_MAX 32
#define HEADER_READ 512 /* no header of any version is longer */
#define CKPT_TMP "ckpt.tmp"

struct log_header {
	struct guid id, store, prev;
	uint64_t prev_end;
	int64_t created_ns;
	uint32_t sequence, indexid, ckpt;
};

struct numbers {
	uint32_t *v; /* owned, rising */
	size_t n, cap;
};

/* The numbers of all log files and checkpoints in the directory, of whatever content. */
struct log_list {
	struct numbers logs, ckpts;
};

void log_name(char out[LOG_NAME_MAX], uint32_t sequence, const char *suffix);
void log_header_encode(const struct log_header *h, uint8_t out[LOG_HEADER_SIZE]);
/* 0; MB_E_CHECKSUM: not a sound header of the file `sequence`; MB_E_VERSION: sound, but newer. */
int log_header_decode(const uint8_t *data, size_t len, uint32_t sequence, struct log_header *ret);
/* The test that headers of both kinds share: magic, version, size and checksum. */
int header_sound(const uint8_t *data, size_t len, const char *magic, size_t size);
uint64_t log_modseq_of(const struct log_header *h, uint64_t offset);

int log_list_read(int dir, struct log_list *ret);
void log_list_release(struct log_list *list);

/* --- the log ------------------------------------------------------------------------------- */

struct log {
	int dir; /* borrowed */
	struct guid store;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t idle;  /* signalled when a flush ended */

	struct log_header *files; /* owned; those with a sound header, rising sequence */
	size_t n, cap;
	uint32_t taken;	    /* highest number that a log file or checkpoint ever had here */
	uint32_t last_log;  /* highest number of a log file, sound or not */
	uint32_t last_ckpt; /* highest number of a checkpoint, whole or not */
	uint32_t hole;	    /* highest number of a log file with a bad header and bytes behind it */

	/* The newest sound file.  A reader's `end` is how far it looked, a writer's where it writes. */
	int fd; /* owned, -1 = none */
	_Atomic uint32_t sequence;
	_Atomic uint64_t end;
	uint64_t check; /* of the record that ends there */

	/* Writer only. */
	bool writer;
	bool no_append;	   /* half a record stands at the end and could not be cut off */
	bool flush_failed; /* what is pending may be on disk or not: never flush this file again */
	bool flushing;	   /* a thread is in fdatasync, without the lock */
	_Atomic uint64_t appended, durable; /* numbers of records */
	uint64_t flushed_end;
	struct buf pending; /* frames appended and not yet durable, for log_rotate() */
	struct buf frame;   /* the one being appended */
	uint64_t reserved;  /* room on the disk up to this offset; UINT64_MAX: nobody can tell */
	uint64_t file_max;  /* LOG_FILE_MAX; smaller in tests */
};

/* All of these with the lock held. */
int files_load(struct log *l);	 /* a reader lists the directory anew */
int files_update(struct log *l); /* a reader looks whether a newer file has come */
void files_add(struct log *l, const struct log_header *h, int fd); /* takes fd; the newest now */
const struct log_header *files_newest(const struct log *l);	   /* NULL = none */
int file_open(const struct log *l, const struct log_header *h, int flags);
struct position position_at(const struct log_header *h, uint64_t offset, uint64_t check);
/* Goes on from l->end of the newest file as far as the frames are right. */
int log_look(struct log *l);
/* Finds the file in the table in which what comes after p begins, and the offset there.
 * MB_E_POSITION. */
int log_locate(struct log *l, const struct position *p, size_t *ret_i, uint64_t *ret_from);
int log_rotate_locked(struct log *l);

/* --- checkpoints: ckpt.c ------------------------------------------------------------------- */

struct ckpt_header {
	struct guid log, store;
	uint64_t end, check; /* the position that it stands for */
	uint32_t sequence, indexid;
};

/* 0, MB_E_CHECKSUM, MB_E_VERSION or -errno. */
int ckpt_header_read(int dir, uint32_t sequence, struct ckpt_header *ret);
/* Number of the newest checkpoint that is whole; 0 = none. */
uint32_t ckpt_newest(int dir, const struct numbers *ckpts);

#endif
