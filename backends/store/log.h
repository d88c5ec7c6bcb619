/*
 * log.h - the transaction log: append, flush, read, rotate; checkpoints.
 *
 * One writer (it holds the store's writer lock), any number of readers in other processes.  Appends
 * of one process are serialised by a lock inside; flushes are shared: one fdatasync serves all
 * records appended before it began (group commit).
 *
 * A record that was appended is visible to readers at once; it is durable after log_flush().
 * Nothing may tell another host of a record before that.
 */
#ifndef MB_STORE_LOG_H
#define MB_STORE_LOG_H

#include "backends/mail/record.h"
#include <stdbool.h>
#include <stdint.h>

struct log;

/*
 * Opens the log in directory `dir` (fd, borrowed) for reading.  Finds the newest file with a sound header; a
 * writer calls log_begin() next.  An empty directory is an empty log.  `store` is checked against
 * the headers unless zero (MB_E_NOT_STORE).  MB_E_VERSION: written by a newer program.
 */
int log_open(int dir, const struct guid *store, struct log **ret);
void log_close(struct log *l); /* flushes when it is a writer's */

/*
 * Makes this the writer.  clean = the last stop was clean and the file's end is what the caller
 * recorded (`expect`): goes on in the last file.  Otherwise (unclean stop, torn tail, end differs,
 * no file) a new file with a new id is begun, so that no position is ever given twice.  The bytes of a
 * torn tail stay where they are; the new header says where the old file ends.  Right records behind a
 * bad place (power cut, or damage) are appended again to the new file.  The functions that write give
 * -EBADF to a log that is not begun.
 */
int log_begin(struct log *l, bool clean, const struct position *expect);

/* Appends one record.  Sets *ret_end to the position after it and *ret_modseq (each may be NULL).
 * One write(2).  After a failed flush of this file: MB_E_LOG_DEAD until log_rotate().  ENOSPC and
 * short writes leave no half record behind for later appends (the tail is cut back, or, if that
 * fails, the file is dead).  MB_E_LIMIT, MB_E_FORMAT: this record could not be read again. */
int log_append(struct log *l, const struct record *r, struct position *ret_end,
	       uint64_t *ret_modseq);

/* Keeps room on the disk for so many bytes of records behind the end of the newest file, so that
 * log_append() does not fail for want of it.  0 also where the file system cannot; -ENOSPC, -EDQUOT.
 * Usually no system call. */
int log_reserve(struct log *l, uint64_t bytes);

/* Makes everything appended so far durable.  Never retries a failed fsync: the file is dead then. */
int log_flush(struct log *l);
bool log_needs_flush(const struct log *l);

/* End of the log now (for a reader: looks at the file again). */
int log_end(struct log *l, struct position *ret);
/* How long the file in which p is has become, by one stat(); 0: it is gone. */
uint64_t log_written(const struct log *l, const struct position *p);
/* modseq of a position in a file, or of a checkpoint, that is there; else 0. */
uint64_t log_modseq(struct log *l, const struct position *p);

/* 0 when this log gave `p` and still holds what comes after it, with p->check agreeing; else
 * MB_E_POSITION.  A none position is MB_E_POSITION too. */
int log_check(struct log *l, const struct position *p);

/* Start of the oldest log file from which on all is there; a none position for an empty log. */
int log_start(struct log *l, struct position *ret);

/*
 * Calls fn for each record after `since` up to the end at the time of the call (flushed or not), across files.  fn
 * gets the position after the record and its modseq; non-zero ends the walk and is returned.
 * MB_E_POSITION as log_check().  MB_E_CHECKSUM when a record before the tail is bad with valid ones
 * behind it (ret_good, may be NULL, is the last good position in any case).
 */
typedef int log_fn(const struct record *r, const struct position *end, uint64_t modseq, void *arg);
int log_read(struct log *l, const struct position *since, log_fn *fn, void *arg,
	     struct position *ret_good);

/*
 * The same for an index that is built anew: goes on behind what is damaged or gone, and tells each such
 * place to `lost`.  NULL, or a position that the log does not hold: from the oldest file on.  Never
 * MB_E_CHECKSUM or MB_E_POSITION of its own; an error of fn ends it and is returned.
 */
struct log_loss {
	uint32_t sequence;
	uint64_t offset, bytes; /* 0 and 0: the header of this file, or all files before it */
};
typedef void log_loss_fn(const struct log_loss *loss, void *arg);
int log_salvage(struct log *l, const struct position *since, log_fn *fn, void *arg,
		log_loss_fn *lost, void *lost_arg);

/* Ends the current file (flushed) and begins the next.  After a failed flush the file ends where the
 * last good flush was, and the records since then are appended to the next file, durable: they have
 * other positions there, and their old ones are MB_E_POSITION. */
int log_rotate(struct log *l);
uint64_t log_file_size(const struct log *l); /* bytes of the current file */
uint32_t log_sequence(const struct log *l);  /* of the current file */
/* Sequence and time of creation of each log file there, oldest first. */
int log_files(struct log *l,
	      int (*fn)(uint32_t sequence, int64_t created_ns, uint64_t size, void *arg),
	      void *arg);
/* Removes log files with a sequence below `keep_from`, and checkpoints older than the newest. */
int log_remove_before(struct log *l, uint32_t keep_from);

/* Checkpoints.  Written to a temporary name, flushed, renamed, directory flushed. */
struct ckpt_writer;
int ckpt_begin(struct log *l, const struct position *at, struct ckpt_writer **ret);
int ckpt_add(struct ckpt_writer *w, const struct record *r);
int ckpt_commit(struct ckpt_writer *w); /* frees w */
void ckpt_abort(struct ckpt_writer *w);

/* Reads the newest checkpoint that is whole (an older one if the newest is damaged): calls fn for each record
 * with position and modseq 0.  *ret_at is the log position it stands for.  -ENOENT when there is
 * none.  Checks the whole file before the first call of fn. */
int ckpt_load(struct log *l, log_fn *fn, void *arg, struct position *ret_at);

#endif
