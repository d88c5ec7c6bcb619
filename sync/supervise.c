/*
 * supervise.c - see supervise.h.
 */
#include "sync/supervise.h"

#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "sync/child.h"
#include "sync/cli.h"
#include "sync/run-dir.h"
#include "sync/unmount.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND_NS INT64_C(1000000000)
#define PAUSE_S 5	 /* when nothing is said */
#define PAUSE_MAX_S 3600 /* who asked may never come back */

struct supervisor {
	const struct supervise *o;
	struct child fs, sync;
	int signal_fd;
	int ready_fd;	  /* from mailbraid-fs while it starts, else -1 */
	int64_t pause_ns; /* no reconciler before then; 0 = none is asked for */
	bool mounted;	  /* it answers now */
	bool ever;	  /* it did once */
	bool ending;
	bool done;
	int code;
};

static void start_fs(struct supervisor *s)
{
	int pipe_fd[2], err;

	if (pipe2(pipe_fd, O_CLOEXEC) < 0) {
		err = -errno;
	} else {
		err = child_start(&s->fs, s->o->fs_argv, pipe_fd[1], clock_mono_ns());
		close(pipe_fd[1]);
		s->ready_fd = pipe_fd[0];
	}
	if (err < 0) {
		s->code = mb_fail(err, "cannot start %s", s->o->fs_argv[0]) ? CLI_FAILED : 0;
		s->done = true;
	}
}

static void start_sync(struct supervisor *s)
{
	if (!s->o->sync_argv || s->sync.pid || s->ending || !s->mounted)
		return;
	if (s->pause_ns > clock_mono_ns()) {
		s->sync.due_ns = s->pause_ns;
		return;
	}
	s->pause_ns = 0;
	run_dir_pause(s->o->store, false);
	int err = child_start(&s->sync, s->o->sync_argv, -1, clock_mono_ns());
	if (err < 0) {
		mb_fail(err, "cannot start the reconciler");
		child_again(&s->sync, clock_mono_ns());
	}
}

/* The reconciler has calls in the mount: it goes first. */
static void end_all(struct supervisor *s)
{
	int64_t now = clock_mono_ns();

	s->ending = true;
	child_end(&s->sync, now, 5 * SECOND_NS);
	if (!s->sync.pid)
		child_end(&s->fs, now, 30 * SECOND_NS);
	s->done = !s->sync.pid && !s->fs.pid;
}

static void on_ready(struct supervisor *s)
{
	char byte;
	ssize_t n = read(s->ready_fd, &byte, 1);

	close(s->ready_fd);
	s->ready_fd = -1;
	if (n != 1 || byte != '1')
		return; /* it failed and said why; SIGCHLD comes */
	s->mounted = true;
	if (!s->ever && s->o->ready)
		s->o->ready(s->o->arg);
	s->ever = true;
	start_sync(s);
}

static void fs_failed(struct supervisor *s, int status)
{
	char fate[64];

	mb_msg(MB_WARNING, "the file system %s; mount=%s", child_fate(status, fate), s->o->mount);
	/* It may die anywhere, and the mount waits for it. */
	child_end(&s->sync, clock_mono_ns(), SECOND_NS / 2);
	unmount_stale(s->o->mount);
	if (!child_again(&s->fs, clock_mono_ns())) {
		mb_msg(MB_ERROR, "the file system fails again and again: given up; mount=%s",
		       s->o->mount);
		s->code = CLI_FAILED;
		s->fs.due_ns = 0;
		end_all(s);
	}
}

static void on_fs_death(struct supervisor *s, int status)
{
	s->mounted = false;
	if (s->ending) {
		unmount_stale(s->o->mount);
		end_all(s);
	} else if (!s->ever) {
		s->code =
			WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : CLI_FAILED;
		s->done = true;
	} else if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		end_all(s); /* unmounted by somebody */
	} else {
		fs_failed(s, status);
	}
}

static void on_sync_death(struct supervisor *s, int status)
{
	char fate[64];
	bool told = WIFEXITED(status) && WEXITSTATUS(status) == 0;

	if (s->ending) {
		end_all(s);
		return;
	}
	if (s->pause_ns)
		run_dir_pause(s->o->store, true);
	if (s->sync.due_ns)
		return; /* paused: it comes back by itself */
	if (!told)
		mb_msg(MB_WARNING, "the reconciler %s", child_fate(status, fate));
	if (!child_again(&s->sync, clock_mono_ns()))
		s->sync.due_ns = clock_mono_ns() + CHILD_DELAY_MAX_NS;
}

static void on_deaths(struct supervisor *s)
{
	int64_t paused = s->sync.due_ns;
	int status;

	if (child_reap(&s->sync, &status)) {
		s->sync.due_ns = paused;
		on_sync_death(s, status);
	}
	if (child_reap(&s->fs, &status))
		on_fs_death(s, status);
}

/* The reconciler ends for so long: so that the mount can be unmounted, or the machine sleeps. */
static void pause_sync(struct supervisor *s, int seconds)
{
	int64_t now = clock_mono_ns();

	if (!s->o->sync_argv)
		return;
	child_end(&s->sync, now, 2 * SECOND_NS);
	s->pause_ns = s->sync.due_ns = now + seconds * SECOND_NS;
	if (!s->sync.pid)
		run_dir_pause(s->o->store, true);
}

static void sync_now(struct supervisor *s)
{
	if (s->sync.pid && !s->sync.kill_ns) {
		kill(s->sync.pid, SIGUSR1);
	} else if (s->o->sync_argv) {
		s->pause_ns = 0;
		s->sync.due_ns = clock_mono_ns();
	}
}

/* sigqueue() says how long. */
static int pause_seconds(const struct signalfd_siginfo *info)
{
	if (info->ssi_code != SI_QUEUE || info->ssi_int <= 0)
		return PAUSE_S;
	return info->ssi_int < PAUSE_MAX_S ? info->ssi_int : PAUSE_MAX_S;
}

static void on_signal(struct supervisor *s)
{
	struct signalfd_siginfo info;

	while (read(s->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGCHLD:
			on_deaths(s);
			break;
		case SIGUSR1:
			sync_now(s);
			break;
		case SIGUSR2:
			pause_sync(s, pause_seconds(&info));
			break;
		default:
			end_all(s);
			break;
		}
	}
}

/* What is due now; returns the milliseconds until something else is, -1 = nothing. */
static int on_time(struct supervisor *s)
{
	int64_t now = clock_mono_ns(), next = 0;
	struct child *both[] = {&s->sync, &s->fs};

	if (s->fs.due_ns && s->fs.due_ns <= now && !s->fs.pid && !s->sync.pid)
		start_fs(s);
	if (s->sync.due_ns && s->sync.due_ns <= now && s->mounted)
		start_sync(s);
	for (int i = 0; i < 2; i++) {
		int64_t at = child_check(both[i], now);
		if (at && (!next || at < next))
			next = at;
	}
	if (!next)
		return -1;
	return next <= now ? 100 : (int)((next - now) / 1000000 + 1);
}

static int open_signals(void)
{
	static const int numbers[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		sigaddset(&set, numbers[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int supervise(const struct supervise *o)
{
	struct supervisor s = {.o = o,
			       .fs = {.name = "file system"},
			       .sync = {.name = "reconciler"},
			       .signal_fd = open_signals(),
			       .ready_fd = -1};

	if (s.signal_fd < 0)
		return mb_fail(-errno, "no signalfd") ? CLI_FAILED : 0;
	unmount_stale(o->mount);
	run_dir_pause(o->store, false);
	start_fs(&s);
	while (!s.done) {
		int timeout = on_time(&s);
		struct pollfd fds[] = {{.fd = s.signal_fd, .events = POLLIN},
				       {.fd = s.ready_fd, .events = POLLIN}};
		if (poll(fds, 2, timeout) < 0 && errno != EINTR)
			break;
		if (fds[1].revents)
			on_ready(&s);
		if (fds[0].revents)
			on_signal(&s);
	}
	if (s.ready_fd >= 0)
		close(s.ready_fd);
	close(s.signal_fd);
	return s.code;
}
