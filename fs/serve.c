/*
 * serve.c - the loop, the signals, the end.
 *
 * A thread of its own waits for signals.  SIGTERM, SIGINT: what makes changes from outside is stopped,
 * then the kernel's notifications are sent, then the mount is taken away, all while requests are
 * still served; only then the loop ends (loop.c).  SIGUSR2 prints the counters.  SIGHUP does nothing
 * yet.
 */
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "fs/ahead.h"
#include "fs/inval.h"
#include "fs/loop.h"
#include "fs/mount.h"
#include "fs/settle.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

struct serving {
	struct mailfs *fs;
	void (*before_unmount)(void *arg);
	void *arg;
	struct loop *loop;
	pthread_t signals;
	sigset_t set;
	atomic_bool ended; /* the loop is done */
};

static void drain(struct serving *s)
{
	s->before_unmount(s->arg);
	inval_stop(s->fs);
	s->fs->unmounted = mount_end(s->fs->opt.mountpoint) >= 0;
	if (!s->fs->unmounted)
		mb_msg(MB_WARNING, "the mount could not be taken away path=%s",
		       s->fs->opt.mountpoint);
	fuse_session_exit(s->fs->session);
	loop_end(s->loop);
}

static void *wait_signals(void *arg)
{
	struct serving *s = arg;
	int sig;

	for (;;) {
		if (sigwait(&s->set, &sig))
			continue;
		if (s->ended)
			return NULL;
		if (sig == SIGUSR2) {
			count_print(STDERR_FILENO);
		} else if (sig != SIGHUP) {
			drain(s);
			return NULL;
		}
	}
}

/* ---- requests ---- */

static int receive(void **buffer, void *arg)
{
	struct mailfs *fs = arg;

	if (!*buffer)
		*buffer = mb_xcalloc(1, sizeof(struct fuse_buf));
	return fuse_session_receive_buf(fs->session, *buffer);
}

static void serve_one(void *buffer, int len, void *arg)
{
	struct mailfs *fs = arg;

	(void)len;
	fuse_session_process_buf(fs->session, buffer);
}

static void release(void *buffer)
{
	struct fuse_buf *b = buffer;

	free(b->mem);
	free(b);
}

static int start_loop(struct mailfs *fs, struct loop **ret)
{
	const struct loop_source source = {
		.fd = fuse_session_fd(fs->session),
		.receive = receive,
		.serve = serve_one,
		.release = release,
		.arg = fs,
	};
	int flags = fcntl(source.fd, F_GETFL);

	if (flags < 0 || fcntl(source.fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	*ret = loop_new(&source, (unsigned)fs->opt.threads);
	return 0;
}

int serve(struct mailfs *fs, void (*before_unmount)(void *arg), void *arg)
{
	struct serving s = {.fs = fs, .before_unmount = before_unmount, .arg = arg};
	int err = start_loop(fs, &s.loop);

	if (err < 0)
		return err;
	sigemptyset(&s.set);
	sigaddset(&s.set, SIGTERM);
	sigaddset(&s.set, SIGINT);
	sigaddset(&s.set, SIGHUP);
	sigaddset(&s.set, SIGUSR2);
	err = -pthread_create(&s.signals, NULL, wait_signals, &s);
	if (err < 0) {
		loop_free(s.loop);
		return err;
	}
	err = loop_run(s.loop);
	s.ended = true;
	pthread_kill(s.signals, SIGTERM);
	pthread_join(s.signals, NULL);
	before_unmount(
		arg); /* when the mount was taken away by somebody else: both do nothing twice */
	inval_stop(fs);
	settle_stop(fs);
	ahead_stop(fs);
	loop_free(s.loop);
	return err;
}
