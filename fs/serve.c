/*
 * serve.c - the loop, the signals, the end.
 *
 * A thread of its own waits for signals.  SIGTERM, SIGINT: what makes changes from outside is stopped,
 * then the kernel's notifications are sent, then the mount is taken away, all while requests are
 * still served; only then the loop ends.  SIGUSR2 prints the counters.  SIGHUP does nothing yet.
 * SIGUSR1 is ours: it wakes the main thread.
 */
#include "backends/base/msg.h"
#include "fs/inval.h"
#include "fs/mount.h"
#include "fs/settle.h"
#include <errno.h>
#include <signal.h>
#include <unistd.h>

struct serving {
	struct mailfs *fs;
	void (*before_unmount)(void *arg);
	void *arg;
	pthread_t main, signals;
	sigset_t set;
	atomic_bool ended; /* the loop is done */
};

static void nothing(int sig)
{
}

static void drain(struct serving *s)
{
	s->before_unmount(s->arg);
	inval_stop(s->fs);
	s->fs->unmounted = mount_end(s->fs->opt.mountpoint) >= 0;
	if (!s->fs->unmounted)
		mb_msg(MB_WARNING, "the mount could not be taken away path=%s",
		       s->fs->opt.mountpoint);
	while (!s->ended) { /* the loop may be about to sleep: wake it until it is awake */
		fuse_session_exit(s->fs->session);
		pthread_kill(s->main, SIGUSR1);
		usleep(10000);
	}
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

static int run_loop(struct mailfs *fs)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int res;

	fuse_loop_cfg_set_max_threads(config, (unsigned)fs->opt.threads);
	fuse_loop_cfg_set_clone_fd(config, 0);
	res = fuse_session_loop_mt(fs->session, config);
	fuse_loop_cfg_destroy(config);
	return res < 0 ? res : 0;
}

int serve(struct mailfs *fs, void (*before_unmount)(void *arg), void *arg)
{
	struct serving s = {.fs = fs, .before_unmount = before_unmount, .arg = arg};
	struct sigaction wake = {.sa_handler = nothing};
	int err;

	sigemptyset(&s.set);
	sigaddset(&s.set, SIGTERM);
	sigaddset(&s.set, SIGINT);
	sigaddset(&s.set, SIGHUP);
	sigaddset(&s.set, SIGUSR2);
	sigaction(SIGUSR1, &wake, NULL);
	s.main = pthread_self();
	err = -pthread_create(&s.signals, NULL, wait_signals, &s);
	if (err < 0)
		return err;
	err = run_loop(fs);
	s.ended = true;
	pthread_kill(s.signals, SIGTERM);
	pthread_join(s.signals, NULL);
	before_unmount(
		arg); /* when the mount was taken away by somebody else: both do nothing twice */
	inval_stop(fs);
	settle_stop(fs);
	return err;
}
