/*
 * follow.c - a reader waits for the index of a writer at work.
 *
 * The writer answers when the log has a change, and the index gets it within some milliseconds
 * (later.c).  A reader that comes in between would not see what has been answered, and, told by the log
 * that there is news, find none and go to sleep on it.
 */
#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include "backends/store/log-format.h"
#include "backends/store/store-private.h"
#include <fcntl.h>
#include <time.h>

#define PATIENCE_NS 200000000ll /* a writer under load, or one that was stopped */
#define PAUSE_NS 500000

bool store_has_writer(const struct store *s)
{
	MB_AUTO_CLOSE int fd = openat(s->dir_fd, "lock", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct flock l = {.l_type = F_RDLCK, .l_whence = SEEK_SET};

	return fd >= 0 && fcntl(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

/* Where the last record ends that is in the log now; `at` is in it or before.  A file that has but its
 * header says nothing. */
static struct position find_end(const struct store *s, const struct position *at)
{
	struct position end = *at, p = *at;

	for (uint64_t size; (size = log_written(s->log, &p)) > 0; p.sequence++)
		if (p.sequence == at->sequence || size > LOG_HEADER_SIZE)
			end = (struct position){.sequence = p.sequence, .offset = (uint32_t)size};
	return end;
}

static bool is_before(const struct position *at, const struct position *end)
{
	return at->sequence != end->sequence ? at->sequence < end->sequence
					     : at->offset < end->offset;
}

void store_follow(struct store *s)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	int64_t until = clock_mono_ns() + PATIENCE_NS;
	struct position at, end;

	if (s->mode != STORE_READ || store_applied(s, &at) < 0)
		return;
	end = find_end(s, &at);
	while (is_before(&at, &end) && store_has_writer(s) && clock_mono_ns() < until) {
		nanosleep(&pause, NULL);
		if (store_applied(s, &at) < 0)
			return;
	}
}
