/*
 * mailbraid-fs - shows the mail tree of a store as a file system.  The writer of the store while it
 * is mounted.
 *
 *   mailbraid-fs --store DIR [--mount DIR] [-o OPTION,...] [--ready-fd N]
 *
 * Stays in the foreground; `mailbraid mount` starts it.  Without --mount the store must have been
 * adopted in place: its Maildir is mounted over.  The backing directory is opened before.  N gets one
 * byte "1" when the mount answers, or one line that says why there is none.
 */
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/server.h"
#include "fs/ahead.h"
#include "fs/inval.h"
#include "fs/mount.h"
#include "fs/settle.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const char usage_text[] =
	"usage: mailbraid-fs --store DIR [--mount DIR] [-o OPTION,...] [--ready-fd N]\n"
	"  options: allow_other default_permissions noxattr ro nonempty threads=N\n";

struct daemon {
	struct mailfs fs;
	struct store *store;
	struct store_server *server;
	struct store_watch *watch;
	char *mountpoint;
};

struct arguments {
	const char *store, *mount;
	struct fs_options opt;
};

static int usage(const char *what)
{
	if (what)
		fprintf(stderr, "mailbraid-fs: %s\n", what);
	fputs(usage_text, stderr);
	return MB_E_USAGE;
}

/* 1: nothing more to do. */
static int parse(int argc, char **argv, struct arguments *a)
{
	static const struct option longs[] = {
		{"store", required_argument, NULL, 's'},
		{"mount", required_argument, NULL, 'm'},
		{"ready-fd", required_argument, NULL, 'r'},
		{"verbose", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	MB_AUTO_FREE char *bad = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "s:o:fvh", longs, NULL)) >= 0) {
		switch (c) {
		case 's':
			a->store = optarg;
			break;
		case 'm':
			a->mount = optarg;
			break;
		case 'r':
			a->opt.ready_fd = atoi(optarg);
			fcntl(a->opt.ready_fd, F_SETFD, FD_CLOEXEC);
			break;
		case 'o':
			if (!mount_parse_options(optarg, &a->opt, &bad)) {
				fprintf(stderr, "mailbraid-fs: unknown option -o %s\n", bad);
				return usage(NULL);
			}
			break;
		case 'v':
			mb_msg_set_level(MB_DEBUG);
			break;
		case 'f':
			break;
		case 'h':
			fputs(usage_text, stdout);
			return 1;
		case 'V':
			puts("mailbraid-fs " MAILBRAID_VERSION);
			return 1;
		default:
			return usage(NULL);
		}
	}
	if (optind < argc || !a->store)
		return usage(a->store ? "too many arguments" : "--store is missing");
	return 0;
}

static int open_in_turn(struct daemon *d, const char *dir)
{
	sigset_t end;

	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigaddset(&end, SIGINT);
	return store_open_in_turn(dir, STORE_TURN_S, &end, &d->store);
}

static int open_store(struct daemon *d, const struct arguments *a)
{
	MB_AUTO_FREE char *dir = NULL;
	int err = store_locate(a->store, &dir);

	if (err >= 0)
		err = open_in_turn(d, dir);
	if (err == -ENOTCONN && mount_clean_stale(NULL) >= 0) { /* a dead mount lies over it */
		free(MB_TAKE(dir));
		err = store_locate(a->store, &dir);
		if (err >= 0)
			err = store_open(dir, STORE_WRITE, &d->store);
	}
	if (err >= 0)
		store_tell_held(d->store, store_opening_scan(d->store));
	return err < 0 ? mb_fail(err, "the store cannot be opened path=%s", a->store) : 0;
}

static bool is_inside(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && path[len] == '/';
}

static int find_mountpoint(struct daemon *d, const struct arguments *a)
{
	const char *mail = store_mail_path(d->store);

	if (!a->mount && is_inside(mail, store_dir(d->store)))
		return usage("this store was not adopted in place: --mount is needed");
	d->mountpoint = a->mount ? realpath(a->mount, NULL) : mb_xstrdup(mail);
	if (!d->mountpoint)
		return mb_fail(-errno, "the mount point cannot be used path=%s", a->mount);
	if (strcmp(d->mountpoint, mail) != 0 && is_inside(mail, d->mountpoint))
		return mb_fail_do(MB_E_USAGE, "mount it somewhere else",
				  "the mount point is above the mail itself path=%s",
				  d->mountpoint);
	return 0;
}

static void stop_outside(void *arg)
{
	struct daemon *d = arg;

	if (d->server)
		store_server_stop(MB_TAKE(d->server));
	if (d->watch)
		store_watch_stop(MB_TAKE(d->watch));
}

static int start_threads(struct daemon *d)
{
	int err = inval_start(&d->fs);

	if (err >= 0)
		err = settle_start(&d->fs);
	if (err >= 0)
		err = ahead_start(&d->fs);
	if (err >= 0) {
		store_set_listener(d->store, fs_event, &d->fs);
		err = store_watch_start(d->store, &d->watch);
	}
	if (err >= 0)
		err = store_server_start(d->store, d->mountpoint, count_tell, &d->server);
	return err < 0 ? mb_fail(err, "the daemon could not start") : 0;
}

static int mount_and_serve(struct daemon *d)
{
	int err = mount_start(&d->fs);

	if (err < 0)
		return err;
	err = start_threads(d);
	if (err >= 0) {
		err = serve(&d->fs, stop_outside, d);
	} else {
		stop_outside(d);
		inval_stop(&d->fs);
		settle_stop(&d->fs);
		ahead_stop(&d->fs);
	}
	mount_close(&d->fs);
	return err;
}

static int run(struct daemon *d, struct arguments *a)
{
	struct stat root;
	int err = 0;

	if (a->mount)
		err = mount_clean_stale(a->mount);
	if (err >= 0)
		err = mount_check(&a->opt);
	if (err >= 0)
		err = open_store(d, a);
	if (err >= 0)
		err = find_mountpoint(d, a);
	if (err < 0)
		return err;
	a->opt.mountpoint = d->mountpoint;
	if (fstat(store_mail_fd(d->store), &root))
		return mb_fail(-errno, "the mail tree cannot be read");
	malloc_trim(0); /* what the scan at the start needed */
	mailfs_init(&d->fs, d->store, &a->opt, &root);
	err = mount_and_serve(d);
	store_set_listener(d->store, NULL, NULL);
	mailfs_release(&d->fs);
	return err;
}

/* Signals are for one thread (serve.c): blocked before there is any other. */
static void prepare(void)
{
	struct rlimit limit;
	sigset_t set;

	umask(0);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void tell_failure(const struct arguments *a, int err)
{
	MB_AUTO_FREE char *line = mb_xasprintf("%s\n", mb_err_str(err));

	if (a->opt.ready_fd >= 0)
		io_write_all(a->opt.ready_fd, line, strlen(line));
}

int main(int argc, char **argv)
{
	struct arguments a = {.opt = {.ready_fd = -1}};
	struct daemon d = {0};
	int err;

	io_init();
	mb_msg_set_program("mailbraid-fs");
	a.opt.threads = FS_THREADS;
	prepare();
	err = parse(argc, argv, &a);
	if (err == 0)
		err = run(&d, &a);
	if (d.store)
		store_close(d.store);
	free(d.mountpoint);
	if (err < 0 && !d.fs.ready)
		tell_failure(&a, err);
	return mb_err_exit(err < 0 ? err : 0);
}
