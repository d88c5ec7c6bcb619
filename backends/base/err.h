/*
 * err.h - one table of errors.
 *
 * Every function that can fail returns one int: 0 or more is fine, a negative value is an error.
 * Values from -1 to -4095 are -errno of the system; below that are our own codes.  The table in
 * err.c gives each code its errno (for FUSE), its retry class, its sentence and its advice, so
 * that the errno for a program, the decision to try again and the exit code are each computed in
 * one place.
 */
#ifndef MB_BASE_ERR_H
#define MB_BASE_ERR_H

enum mb_err {
	MB_E_FIRST = -5000,
	MB_E_FORMAT = -5000,	  /* a file of ours does not have the form it should have */
	MB_E_VERSION = -4999,	  /* a format newer than this program */
	MB_E_CHECKSUM = -4998,	  /* bytes on disk are not those that were written */
	MB_E_POSITION = -4997,	  /* a log position that this log never gave, or no longer holds */
	MB_E_LOCKED = -4996,	  /* another process is the writer of the store */
	MB_E_NOT_STORE = -4995,	  /* the directory is no store */
	MB_E_NOT_MAILDIR = -4994, /* the directory is no Maildir */
	MB_E_NAME = -4993,	  /* a mailbox or file name that cannot be stored */
	MB_E_STALE = -4992,	  /* the object changed since it was read: read again */
	MB_E_DAMAGED = -4991, /* the body is shorter than it was, or is not what its digest says */
	MB_E_LOST = -4990,    /* the record is there, the body is not */
	MB_E_GUARD = -4989,   /* the guard holds expunges back */
	MB_E_WRONG_PEER = -4988, /* the peer is not the one that the sync state knows */
	MB_E_PROTOCOL = -4987,	 /* the other process speaks what we do not understand */
	MB_E_LIMIT = -4986,	 /* a size or count from outside is over its bound */
	MB_E_USAGE = -4985,	 /* the command line asks for something that does not exist */
	MB_E_NO_FUSE = -4984,	 /* this system cannot mount */
	MB_E_UNSAFE = -4983,	 /* owner or mode of a store file lets others write it */
	MB_E_FILESYSTEM = -4982, /* no link or rename between the Maildir and the store */
	MB_E_CLOCK = -4981,	 /* a stamp too far in the future */
	MB_E_SAME = -4980,	 /* both sides are the same store */
	MB_E_LOG_DEAD = -4979, /* a flush of the log failed: this log file takes no more records */
	MB_E_OLD_MAIL =
		-4978, /* messages that the other side may have expunged and forgotten are held */
	MB_E_UNCLEAN = -4977, /* the last stop was not clean, and nothing may be written now */
	MB_E_CONFIG = -4976,  /* STORE/config does not say what it should */
	MB_E_STOPPED = -4975, /* the writer of the store is a process that was stopped */
	MB_E_LAST = -4975,
};

/* When may the same thing be tried again? */
enum mb_retry { MB_RETRY_NEVER, MB_RETRY_NOW, MB_RETRY_WAIT };

/* The sentence for `err` (own code or -errno), without a full stop.  Never NULL; static. */
const char *mb_err_str(int err);

/* What a person can do about `err`, as one sentence, or NULL when there is no good advice. */
const char *mb_err_advice(int err);

/* The positive errno that a file system call answers for `err`; EIO where nothing fits better. */
int mb_err_errno(int err);

/* Whether to try again: now (it lost a race), later, or never. */
enum mb_retry mb_err_retry(int err);

/*
 * The exit code of a verb that ended with `err`: 0 for err >= 0; 2 what running again can do;
 * 64 usage; 69 something missing on this system; 75 try later (lock); 1 for everything else.
 */
int mb_err_exit(int err);

#endif
