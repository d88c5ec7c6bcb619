/*
 * heal.c - an index that turns out not to be whole is set aside; who opens the store next builds it
 * anew from checkpoint, log and files (recover.c).
 *
 * Only a writer may take the index away, or a reader while there is no writer.
 */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

bool store_doubt_index(struct store *s)
{
	struct index_txn *tx;

	if (s->mode == STORE_TRIAL || io_is_read_only())
		return false;
	store_lock(s);
	if (s->index && !s->index_bad && !index_is_bad(s->index)) {
		s->index_bad = index_begin(s->index, false, &tx) < 0;
		if (!s->index_bad) {
			s->index_bad = index_check(tx) < 0;
			index_abort(tx);
		}
	}
	s->index_bad |= s->index && index_is_bad(s->index);
	store_unlock(s);
	return s->index_bad;
}

/* The lock of a writer; it goes with the descriptor.  -1: there is one. */
static int lock_as_writer(struct store *s)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = openat(s->dir_fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd >= 0 && fcntl(fd, F_OFD_SETLK, &l) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

void index_close_or_set_aside(struct store *s)
{
	MB_AUTO_CLOSE int lock = -1;
	int err;

	s->index_bad |= s->index && index_is_bad(s->index);
	index_close(MB_TAKE(s->index));
	if (!s->index_bad || s->mode == STORE_TRIAL || io_is_read_only())
		return;
	if (s->mode != STORE_WRITE) {
		lock = lock_as_writer(s);
		if (lock < 0)
			return;
	}
	err = at_remove_tree(s->dir_fd, "index.old");
	if (err >= 0 || err == -ENOENT)
		err = io_renameat(s->dir_fd, "index", s->dir_fd, "index.old");
	if (err >= 0 || err == -ENOENT)
		mb_msg(MB_NOTICE,
		       "the index is damaged: it is made anew from the log and the files store=%s",
		       s->dir);
	else
		mb_msg(MB_WARNING,
		       "the index is damaged and cannot be set aside: %s; delete it store=%s",
		       mb_err_str(err), s->dir);
}
