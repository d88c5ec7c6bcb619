/*
 * follow.c - a reader waits for the index of a writer at work.
 *
 * The writer answers when the log has a change, and the index gets it within some milliseconds
 * (later.c).  A reader that comes in between would not see what has been answered, and, told by the log
 * that there is news, find none and go to sleep on it.
 */
#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <fcntl.h>
#include <time.h>

#define PATIENCE_NS 200000000ll /* a writer under load, or one that was stopped */
#define PAUSE_NS 500000

static bool has_writer(const struct store *s)
{
	MB_AUTO_CLOSE int fd = openat(s->dir_fd, "lock", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct flock l = {.l_type = F_RDLCK, .l_whence = SEEK_SET};

	return fd >= 0 && fcntl(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

void store_follow(struct store *s)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	int64_t until = clock_mono_ns() + PATIENCE_NS;
	struct position first, at;
	uint64_t end;

	if (s->mode != STORE_READ || store_applied(s, &first) < 0)
		return;
	end = log_written(s->log, &first);
	at = first;
	while (at.sequence == first.sequence && at.offset < end && has_writer(s) &&
	       clock_mono_ns() < until) {
		nanosleep(&pause, NULL);
		if (store_applied(s, &at) < 0)
			return;
	}
}
