/*
 * verb-umount.c - mailbraid umount: ends a mount and waits until its processes are gone.
 */
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/server.h"
#include "backends/store/store.h"
#include "sync/cli.h"
#include "sync/run-dir.h"
#include "sync/unmount.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NATURAL_MS 3000
#define PATIENCE_MS 30000
#define LOOK_MS 200
#define LET_GO_NS INT64_C(3000000000)

static void nap(void)
{
	const struct timespec t = {.tv_nsec = 20000000};

	nanosleep(&t, NULL);
}

/* The reconciler keeps the mount busy: it lets go when the supervisor is asked. */
static int unmount_politely(const char *dir, pid_t supervisor)
{
	int err = unmount(dir, false);
	int64_t until = clock_mono_ns() + LET_GO_NS;

	if (err != -EBUSY || !supervisor)
		return err;
	kill(supervisor, SIGUSR2);
	while (err == -EBUSY && clock_mono_ns() < until) {
		nap();
		err = unmount(dir, false);
	}
	return err;
}

/* Who was stopped cannot end in order. */
static void wake_stopped(const char *store)
{
	pid_t pid = store_writer_stopped(store);

	if (pid && kill(pid, SIGCONT) == 0)
		mb_msg(MB_NOTICE, "the file system was stopped; it goes on, to end in order pid=%d",
		       (int)pid);
}

/* One that was stopped just now may be met later, or come to it while we wait. */
static int wait_for_end(const char *store, int64_t patience_ms)
{
	int64_t until = clock_mono_ns() + patience_ms * 1000000;
	int err;

	while ((err = run_dir_wait(store, LOOK_MS)) == -ETIMEDOUT && clock_mono_ns() < until)
		wake_stopped(store);
	return err;
}

static int end(const char *dir, const char *store, bool lazy)
{
	pid_t supervisor = 0;
	int err = store ? run_dir_supervisor(store, &supervisor) : 0;

	if (err < 0)
		supervisor = 0;
	if (store)
		wake_stopped(store);
	if (lazy && supervisor)
		err = kill(supervisor, SIGTERM) < 0 ? -errno : 0;
	else if (lazy)
		err = unmount(dir, true);
	else
		err = unmount_politely(dir, supervisor);
	if (err < 0)
		return mb_err_exit(mb_fail_do(
			err,
			err == -EBUSY
				? "Some program has it open (fuser -vm DIR); end it, or use --lazy."
				: "See \"findmnt -t fuse.mailbraid\".",
			"cannot unmount %s", dir));
	/* It ends by itself when its file system was unmounted, unless that was dead. */
	if (supervisor && wait_for_end(store, NATURAL_MS) == -ETIMEDOUT)
		kill(supervisor, SIGTERM);
	if (store && wait_for_end(store, PATIENCE_MS) < 0) {
		mb_fail_do(-ETIMEDOUT, "Look at STORE/run/messages.",
			   "the mount's supervisor still runs");
		return CLI_AGAIN;
	}
	return CLI_OK;
}

/* The absolute path also where the daemon is dead and realpath() of the mount itself fails. */
static char *absolute(const char *dir)
{
	char path[PATH_MAX];

	if (realpath(dir, path) || errno == ENOTCONN) {
		if (errno != ENOTCONN)
			return mb_xstrdup(path);
	}
	char *copy MB_AUTO_FREE = mb_xstrdup(dir);
	size_t len = strlen(copy);
	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	char *slash = strrchr(copy, '/');
	if (slash)
		*slash = '\0';
	if (!realpath(!slash ? "." : *copy ? copy : "/", path))
		return NULL;
	return mb_xasprintf("%s/%s", strcmp(path, "/") ? path : "", slash ? slash + 1 : copy);
}

static int run(const struct cli *cli, const struct verb *v, int argc, char **argv)
{
	static const struct option names[] = {{"lazy", no_argument, NULL, 'z'}, {0}};
	bool lazy = false, ours;
	int c;

	while ((c = cli_getopt(v, argc, argv, ":z", names)) != -1) {
		if (c == '?')
			return CLI_USAGE;
		lazy = true;
	}
	if (argc - optind != 1)
		return cli_usage(v, "which mount? give one DIR");
	errno = 0;
	char *dir MB_AUTO_FREE = absolute(argv[optind]);
	if (!dir)
		return mb_err_exit(mb_fail(-errno, "cannot unmount %s", argv[optind]));
	char *store MB_AUTO_FREE = mounted_store(dir, &ours);
	if (!ours)
		return mb_err_exit(mb_fail_do(-EINVAL, "See \"findmnt -t fuse.mailbraid\".",
					      "no mailbraid is mounted on %s", dir));
	if (!store && cli->store && store_locate(cli->store, &store) < 0)
		store = NULL;
	return end(dir, store, lazy);
}

const struct verb verb_umount = {
	.name = "umount",
	.args = "[--lazy] DIR",
	.what = "Unmount, and wait until all is written",
	.help = "  -z, --lazy  even while programs have files open there\n",
	.run = run,
};
