/*
 * hold.c - one session at a time with a Maildir.
 *
 * What a session decides it decides from the map, in memory; two that run at once, from two terminals or
 * from two stores, would each do what the other has done, or write over its entries.  The lock is
 * flock(2) on the root directory: nothing of ours is written into the tree, and it goes with the process.
 * Where directories cannot be locked (some network file systems) the session goes on without.
 */
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/msg.h"
#include "backends/maildir/maildir.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define POLL_NS 20000000l

static int wait_for_lock(struct maildir *m)
{
	const struct timespec pause = {.tv_nsec = POLL_NS};
	int64_t until = clock_mono_ns() + backend_lock_wait_ns();

	while (flock(m->held_fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return 0;
		if (clock_mono_ns() >= until) {
			mb_msg(MB_WARNING, "another sync with this Maildir is running path=%s",
			       m->path);
			return MB_E_LOCKED;
		}
		nanosleep(&pause, NULL);
	}
	return 0;
}

void md_let_go(struct maildir *m)
{
	if (m->held_fd >= 0)
		close(m->held_fd);
	m->held_fd = -1;
}

int md_hold(struct maildir *m)
{
	int err;

	if (m->held_fd >= 0)
		return 0;
	m->held_fd = open(m->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (m->held_fd < 0)
		return 0; /* it is missing: the scan will say so */
	err = wait_for_lock(m);
	if (err < 0)
		md_let_go(m);
	return err;
}
