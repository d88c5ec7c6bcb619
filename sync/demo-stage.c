/*
 * demo-stage.c - see demo-stage.h.
 */
#include "sync/demo-stage.h"

#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/server.h"
#include "sync/cli.h"
#include "sync/unmount.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define ARGUMENTS_MAX 12
#define GRACE_NS INT64_C(8000000000)

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	interrupted = 1;
}

void stage_catch_signals(void)
{
	const struct sigaction act = {.sa_handler = on_signal};

	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGHUP, &act, NULL);
}

bool stage_interrupted(void)
{
	return interrupted;
}

bool stage_nap(int64_t ms)
{
	const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&t, NULL);
	return !interrupted;
}

/* ---- programs -------------------------------------------------------------------------------- */

int stage_run(const struct stage *s, const char *const *arguments)
{
	const char *argv[ARGUMENTS_MAX] = {s->self};
	int n = 1;

	while (*arguments && n < ARGUMENTS_MAX - 1)
		argv[n++] = *arguments++;
	return run_program(argv, false);
}

static int start(struct stage *s, struct child *c, const char *const *arguments)
{
	const char *argv[ARGUMENTS_MAX] = {s->self};
	int n = 1;

	while (*arguments && n < ARGUMENTS_MAX - 1)
		argv[n++] = *arguments++;
	return child_start(c, argv, -1, clock_mono_ns());
}

static void end(struct child *c)
{
	int status;

	child_end(c, clock_mono_ns(), GRACE_NS);
	while (c->pid && !child_reap(c, &status)) {
		const struct timespec t = {.tv_nsec = 5000000};
		child_check(c, clock_mono_ns());
		nanosleep(&t, NULL);
	}
}

/* ---- the stage ------------------------------------------------------------------------------- */

int stage_make(struct stage *s)
{
	const char *tmp = secure_getenv("TMPDIR");
	char *dir MB_AUTO_FREE = mb_xasprintf("%s/mailbraid-demo-XXXXXX", tmp ? tmp : "/tmp");

	if (!mkdtemp(dir))
		return -errno;
	s->dir = MB_TAKE(dir);
	s->self = cli_self();
	s->a = mb_xasprintf("%s/A", s->dir);
	s->b = mb_xasprintf("%s/B", s->dir);
	s->a_mail = mb_xasprintf("%s/mail", s->a);
	s->b_mail = mb_xasprintf("%s/mail", s->b);
	s->destination = mb_xasprintf("store:%s", s->b);
	s->view = mb_xasprintf("%s/mail", s->dir);
	if (mkdir(s->view, 0700) < 0)
		return -errno;
	return 0;
}

/* The writer answers at the store's socket when it can be used. */
static bool answers(const struct stage *s)
{
	struct store_client *c;

	if (store_client_connect(s->a, &c) < 0)
		return false;
	store_client_close(c);
	return true;
}

static int wait_answer(struct stage *s)
{
	int status;

	for (int i = 0; i < 1000; i++) {
		if (child_reap(&s->serve, &status))
			return WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status)
									: CLI_FAILED;
		if (answers(s))
			return 0;
		if (!stage_nap(10))
			break;
	}
	end(&s->serve);
	return CLI_AGAIN;
}

/* The socket is there a moment before the mount is. */
static bool is_mount(const char *view, const char *parent)
{
	struct stat above, at;

	return stat(parent, &above) == 0 && stat(view, &at) == 0 && above.st_dev != at.st_dev;
}

int stage_show(struct stage *s, bool plain)
{
	const char *const mount[] = {"--store", s->a, "mount", "-f", "--no-sync", s->view, NULL};
	const char *const watch[] = {"--store", s->a, "watch", "--no-sync", NULL};
	int err = start(s, &s->serve, plain ? watch : mount);

	if (err < 0)
		return CLI_FAILED;
	int code = wait_answer(s);
	for (int i = 0; !code && !plain && i < 500 && !is_mount(s->view, s->dir); i++)
		stage_nap(10);
	if (code)
		return code;
	s->mounted = !plain;
	if (plain) {
		free(s->view);
		s->view = mb_xstrdup(s->a_mail);
	}
	return 0;
}

int stage_connect(struct stage *s)
{
	const char *const reconcile[] = {"--store", s->a,	    "reconcile",
					 "--peer",  s->destination, NULL};

	return start(s, &s->reconcile, reconcile);
}

void stage_disconnect(struct stage *s)
{
	end(&s->reconcile);
}

static void remove_dir(const struct stage *s)
{
	char *view MB_AUTO_FREE = mb_xasprintf("%s/mail", s->dir);

	if (is_mount(view, s->dir))
		unmount(view, true);
	char *parent MB_AUTO_FREE = mb_xstrdup(s->dir);
	char *slash = strrchr(parent, '/');
	*slash = '\0';
	int fd MB_AUTO_CLOSE = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = fd < 0 ? -errno : at_remove_tree(fd, slash + 1);
	if (err < 0)
		mb_fail(err, "cannot remove %s", s->dir);
}

void stage_strike(struct stage *s, bool keep)
{
	end(&s->reconcile);
	end(&s->serve);
	if (s->dir && !keep)
		remove_dir(s);
	free(s->self);
	free(s->dir);
	free(s->a);
	free(s->b);
	free(s->a_mail);
	free(s->b_mail);
	free(s->view);
	free(s->destination);
	memset(s, 0, sizeof(*s));
}
