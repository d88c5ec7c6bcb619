/*
 * turn.c - becomes the writer of a store for long, after those who are it for moments.
 *
 * A sync has the role while it writes, again and again while a peer lives with this store.  Who has a
 * server (another mount, `mailbraid watch`) does not let go: there is nothing to wait for.
 */
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/msg.h"
#include "backends/store/server.h"
#include <errno.h>
#include <time.h>

#define PAUSE_NS 20000000
#define PATIENCE_S 2 /* for a server that does not answer */

/* MB_E_STOPPED counts as one. */
static bool has_server(const char *dir, int *ret_err)
{
	struct store_client *c;
	int err = store_client_connect(dir, &c);

	if (err == MB_E_STOPPED)
		*ret_err = err;
	if (err < 0)
		return err == MB_E_STOPPED;
	store_client_close(c);
	return true;
}

int store_open_in_turn(const char *dir, int wait_s, const sigset_t *end, struct store **ret)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	int64_t until = clock_mono_ns() + wait_s * 1000000000ll;

	for (bool told = false;; told = true) {
		int err = store_open(dir, STORE_WRITE, ret);

		if (err != MB_E_LOCKED || clock_mono_ns() >= until)
			return err;
		store_client_patience(PATIENCE_S);
		if (has_server(dir, &err))
			return err;
		if (!told)
			mb_msg(MB_NOTICE,
			       "another program writes to the store: waiting for it, %d seconds at "
			       "most store=%s",
			       wait_s, dir);
		if (sigtimedwait(end, NULL, &pause) > 0)
			return -EINTR;
	}
}
