/*
 * err.c - the table of errors: sentence, advice, errno, retry class and exit code of each.
 *
 * Own codes have a row each.  Values of the system have a row in `system_rows` where their class or
 * advice is not the usual one (never again, exit 1, the C library's words).
 */
#include "backends/base/err.h"
#include <errno.h>
#include <stddef.h>
#include <string.h>

struct row {
	int err;
	int sys; /* errno for FUSE */
	enum mb_retry retry;
	int exit;
	const char *text, *advice;
};

enum { EXIT_FAILED = 1, EXIT_AGAIN = 2, EXIT_BAD_USAGE = 64, EXIT_MISSING = 69, EXIT_LATER = 75 };

#define OWN(code, ...) [(code)-MB_E_FIRST] = {(code), __VA_ARGS__}
static const struct row own_rows[MB_E_LAST - MB_E_FIRST + 1] = {
	OWN(MB_E_FORMAT, EIO, MB_RETRY_NEVER, EXIT_FAILED,
	    "a file of the store does not have the form it should have",
	    "While nothing is mounted, delete index/ in the store: it is made again."),
	OWN(MB_E_VERSION, EIO, MB_RETRY_NEVER, EXIT_MISSING,
	    "the format is newer than this program", "Install a newer mailbraid."),
	OWN(MB_E_CHECKSUM, EIO, MB_RETRY_NEVER, EXIT_FAILED,
	    "bytes on disk are not those that were written",
	    "Check the disk; while nothing is mounted, index/ in the store may be deleted."),
	OWN(MB_E_POSITION, ESTALE, MB_RETRY_NOW, EXIT_AGAIN,
	    "the log position is not one that this log holds",
	    "Run the same again: both sides are then compared in full."),
	OWN(MB_E_LOCKED, EBUSY, MB_RETRY_WAIT, EXIT_LATER,
	    "another process is the writer of the store",
	    "Try again when it has ended, or do it through the mount."),
	OWN(MB_E_NOT_STORE, EINVAL, MB_RETRY_NEVER, EXIT_FAILED, "the directory is no store",
	    "Check the path, or make a store there with \"mailbraid init\"."),
	OWN(MB_E_NOT_MAILDIR, EINVAL, MB_RETRY_NEVER, EXIT_FAILED, "the directory is no Maildir",
	    "A Maildir has the directories cur, new and tmp; is the path right, and its disk "
	    "mounted?  "
	    "A sync begins one in an empty directory."),
	OWN(MB_E_NAME, EINVAL, MB_RETRY_NEVER, EXIT_FAILED, "the name cannot be stored",
	    "Choose a shorter name without empty parts, \".\", \"..\" or control characters."),
	OWN(MB_E_STALE, ESTALE, MB_RETRY_NOW, EXIT_AGAIN, "it changed since it was read",
	    "Run the same again."),
	OWN(MB_E_DAMAGED, EIO, MB_RETRY_WAIT, EXIT_AGAIN, "the body is not the one that was stored",
	    "It is fetched again from a peer that has it at the next sync."),
	OWN(MB_E_LOST, EIO, MB_RETRY_WAIT, EXIT_AGAIN, "the body of the message is not there",
	    "It is fetched again from a peer that has it at the next sync."),
	OWN(MB_E_GUARD, EPERM, MB_RETRY_NEVER, EXIT_FAILED,
	    "too many messages would be expunged only because they are absent",
	    "Check that nothing was lost; then run again with --allow-mass-expunge."),
	OWN(MB_E_OLD_MAIL, EPERM, MB_RETRY_NEVER, EXIT_FAILED,
	    "old messages are held: they may have been expunged so long ago that it is forgotten",
	    "Delete what should be gone; then run: sync --accept-old DESTINATION."),
	OWN(MB_E_WRONG_PEER, EIO, MB_RETRY_NEVER, EXIT_FAILED,
	    "the peer is not the one that the sync state knows",
	    "Check that the right disk is there; if it is meant: sync --replace-peer DESTINATION."),
	OWN(MB_E_PROTOCOL, EPROTO, MB_RETRY_NEVER, EXIT_FAILED,
	    "the other process says what this program does not understand",
	    "Check that both sides run a current mailbraid."),
	OWN(MB_E_LIMIT, EFBIG, MB_RETRY_NEVER, EXIT_FAILED, "a size or count is over its limit",
	    NULL),
	OWN(MB_E_USAGE, EINVAL, MB_RETRY_NEVER, EXIT_BAD_USAGE,
	    "the command line asks for something that does not exist", "See \"mailbraid --help\"."),
	OWN(MB_E_NO_FUSE, ENODEV, MB_RETRY_NEVER, EXIT_MISSING, "this system cannot mount",
	    "Install fuse3 and load its kernel module, or use \"mailbraid watch\"."),
	OWN(MB_E_UNSAFE, EACCES, MB_RETRY_NEVER, EXIT_FAILED,
	    "others may write to a file of the store",
	    "Make it yours with chown and take the rights of group and others with chmod go-w."),
	OWN(MB_E_FILESYSTEM, EXDEV, MB_RETRY_NEVER, EXIT_FAILED,
	    "files cannot be linked or renamed between the Maildir and the store",
	    "Put the store on the same file system and mount as the Maildir (--store DIR)."),
	OWN(MB_E_CLOCK, EIO, MB_RETRY_NEVER, EXIT_FAILED,
	    "a change is dated over a day in the future", "Set the clocks of both sides."),
	OWN(MB_E_SAME, EINVAL, MB_RETRY_NEVER, EXIT_FAILED, "both sides are the same store",
	    "Check the destination.  After copying a store, give the copy its own identity."),
	OWN(MB_E_LOG_DEAD, EIO, MB_RETRY_WAIT, EXIT_AGAIN, "the log could not be flushed to disk",
	    "Check the disk and its free space; the log goes on in a new file."),
	OWN(MB_E_UNCLEAN, EROFS, MB_RETRY_NEVER, EXIT_FAILED,
	    "the store was not closed cleanly, and a dry run mends nothing",
	    "Run mailbraid checkpoint with that store, then again."),
	OWN(MB_E_STOPPED, EBUSY, MB_RETRY_WAIT, EXIT_LATER,
	    "the process that has the store mounted or watched was stopped and does not answer",
	    "Let it go on: \"mailbraid status\" tells which it is and how."),
	OWN(MB_E_CONFIG, EIO, MB_RETRY_NEVER, EXIT_FAILED,
	    "the file \"config\" in the store is damaged",
	    "Copy it from a backup of the store, or write its lines anew: mailbraid(7), FILES."),
};

static const struct row system_rows[] = {
	{ENOSPC, ENOSPC, MB_RETRY_WAIT, EXIT_AGAIN, NULL, "Make room on the disk, then run again."},
	{EDQUOT, EDQUOT, MB_RETRY_WAIT, EXIT_AGAIN, NULL,
	 "Make room in your quota, then run again."},
	{ENOMEM, ENOMEM, MB_RETRY_WAIT, EXIT_AGAIN, NULL, NULL},
	{EMFILE, EMFILE, MB_RETRY_WAIT, EXIT_AGAIN, NULL, "Raise the limit of open files."},
	{ENFILE, ENFILE, MB_RETRY_WAIT, EXIT_AGAIN, NULL, NULL},
	{EBUSY, EBUSY, MB_RETRY_WAIT, EXIT_AGAIN, NULL, "Run the same again in some seconds."},
	{EAGAIN, EAGAIN, MB_RETRY_NOW, EXIT_AGAIN, NULL, NULL},
	{EINTR, EINTR, MB_RETRY_NOW, EXIT_AGAIN, NULL, NULL},
	{ESTALE, ESTALE, MB_RETRY_NOW, EXIT_AGAIN, NULL, NULL},
	{EPIPE, EIO, MB_RETRY_WAIT, EXIT_AGAIN, "the other side closed the connection", NULL},
	{ECONNREFUSED, EIO, MB_RETRY_WAIT, EXIT_AGAIN, NULL, NULL},
	{ECONNRESET, EIO, MB_RETRY_WAIT, EXIT_AGAIN, NULL, NULL},
	{ECONNABORTED, EIO, MB_RETRY_WAIT, EXIT_AGAIN, NULL, NULL},
	{ETIMEDOUT, EIO, MB_RETRY_WAIT, EXIT_AGAIN, NULL, NULL},
	{EHOSTUNREACH, EIO, MB_RETRY_WAIT, EXIT_AGAIN, NULL, NULL},
	{ENETUNREACH, EIO, MB_RETRY_WAIT, EXIT_AGAIN, NULL, NULL},
	{ENETDOWN, EIO, MB_RETRY_WAIT, EXIT_AGAIN, NULL, NULL},
	{EACCES, EACCES, MB_RETRY_NEVER, EXIT_FAILED, NULL, "Check owner and mode of the path."},
	{EPERM, EPERM, MB_RETRY_NEVER, EXIT_FAILED, NULL,
	 "Check owner, mode and attributes of the path."},
	{ENOENT, ENOENT, MB_RETRY_NEVER, EXIT_FAILED, NULL,
	 "Check the path, and that its disk is mounted: it, or something in it, is not there."},
	{ENOTDIR, ENOTDIR, MB_RETRY_NEVER, EXIT_FAILED, NULL, "Name a directory."},
	{ENOTEMPTY, ENOTEMPTY, MB_RETRY_NEVER, EXIT_FAILED, NULL, "Choose an empty directory."},
	{EROFS, EROFS, MB_RETRY_NEVER, EXIT_FAILED, NULL, "Make the file system writable."},
	{EIO, EIO, MB_RETRY_NEVER, EXIT_FAILED, NULL, "Check the disk."},
	{ELOOP, ELOOP, MB_RETRY_NEVER, EXIT_FAILED, "a symbolic link is in the way",
	 "Symbolic links are not followed here; put the real directory in its place."},
};

static const struct row *find_row(int err)
{
	if (err >= MB_E_FIRST && err <= MB_E_LAST)
		return &own_rows[err - MB_E_FIRST];
	for (size_t i = 0; i < sizeof(system_rows) / sizeof(*system_rows); i++)
		if (-system_rows[i].err == err)
			return &system_rows[i];
	return NULL;
}

const char *mb_err_str(int err)
{
	const struct row *row = find_row(err);
	const char *text;

	if (err >= 0)
		return "no error";
	if (row && row->text)
		return row->text;
	text = err > -4096 ? strerrordesc_np(-err) : NULL;
	return text ? text : "unknown error";
}

const char *mb_err_advice(int err)
{
	const struct row *row = err < 0 ? find_row(err) : NULL;

	return row ? row->advice : NULL;
}

int mb_err_errno(int err)
{
	const struct row *row = find_row(err);

	if (err >= 0)
		return 0;
	if (row)
		return row->sys;
	return err > -4096 ? -err : EIO;
}

enum mb_retry mb_err_retry(int err)
{
	const struct row *row = err < 0 ? find_row(err) : NULL;

	return row ? row->retry : MB_RETRY_NEVER;
}

int mb_err_exit(int err)
{
	const struct row *row = find_row(err);

	if (err >= 0)
		return 0;
	return row ? row->exit : EXIT_FAILED;
}
