/*
 * verb-mount.c - mailbraid mount: shows the store as a directory, and keeps it in step.
 *
 * Checks what can be checked, then becomes the supervisor (supervise.h), in the background unless -f;
 * the command returns when the mount answers.
 */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/store.h"
#include "sync/cli.h"
#include "sync/supervise.h"
#include "sync/unmount.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define PEERS_MAX 64

struct options {
	bool foreground, no_sync, nonempty, remount;
	char *mount_options; /* owned: what mailbraid-fs gets with -o, or NULL */
	const char *peers[PEERS_MAX];
	size_t n_peers;
	const char *dir; /* as given, or NULL */
};

struct mount {
	const struct options *o;
	char *store, *dir, *fs, *self; /* owned */
	const char *fs_argv[12], *sync_argv[6 + 2 * PEERS_MAX];
};

/* ---- options --------------------------------------------------------------------------------- */

/* Options for mount(8) and its friends, which mean nothing to a file system. */
static bool ignored(const char *word)
{
	static const char *const words[] = {"auto",  "noauto", "nofail",  "_netdev",
					    "user",  "nouser", "users",	  "owner",
					    "group", "rw",     "defaults"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(word, words[i]) == 0)
			return true;
	}
	return strncmp(word, "x-", 2) == 0 || strncmp(word, "X-", 2) == 0 ||
	       strncmp(word, "user=", 5) == 0 || strncmp(word, "comment=", 8) == 0;
}

static void add_options(struct options *o, const char *list)
{
	char *copy MB_AUTO_FREE = mb_xstrdup(list), *rest = copy, *word;

	while ((word = strsep(&rest, ","))) {
		if (!*word || ignored(word))
			continue;
		o->nonempty |= strcmp(word, "nonempty") == 0;
		o->remount |= strcmp(word, "remount") == 0;
		char *more = o->mount_options ? mb_xasprintf("%s,%s", o->mount_options, word)
					      : mb_xstrdup(word);
		free(o->mount_options);
		o->mount_options = more;
	}
}

static int parse(const struct verb *v, int argc, char **argv, struct options *o)
{
	static const struct option names[] = {{"foreground", no_argument, NULL, 'f'},
					      {"options", required_argument, NULL, 'o'},
					      {"peer", required_argument, NULL, 'p'},
					      {"no-sync", no_argument, NULL, 'n'},
					      {0}};
	int c;

	while ((c = cli_getopt(v, argc, argv, ":fo:", names)) != -1) {
		if (c == 'f')
			o->foreground = true;
		else if (c == 'o')
			add_options(o, optarg);
		else if (c == 'n')
			o->no_sync = true;
		else if (c == 'p' && o->n_peers < PEERS_MAX)
			o->peers[o->n_peers++] = optarg;
		else
			return c == 'p' ? cli_usage(v, "too many peers") : CLI_USAGE;
	}
	if (optind < argc)
		o->dir = argv[optind++];
	if (optind < argc)
		return cli_usage(v, "%s: too many arguments", argv[optind]);
	return 0;
}

/* ---- what can be told before anything is started --------------------------------------------- */

static int check_fuse(void)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd >= 0) {
		close(fd);
		return 0;
	}
	const char *advice =
		errno == EACCES
			? "Join the group that may use /dev/fuse, or use \"mailbraid watch\": "
			  "the same store as a plain directory."
			: "On a host: modprobe fuse.  In a container: run it with --device "
			  "/dev/fuse --cap-add SYS_ADMIN.  Or use \"mailbraid watch\": the "
			  "same store as a plain directory.";
	return mb_err_exit(
		mb_fail_do(MB_E_NO_FUSE, advice, "cannot use /dev/fuse: %s", strerror(errno)));
}

/* Mail in a directory that is mounted over would be hidden, and taken for lost. */
static int check_empty(const struct options *o, const char *dir)
{
	char names[3 * NAME_MAX + 16] = "";
	struct dirent *d;
	DIR *list = o->nonempty ? NULL : opendir(dir);
	int n = 0;

	while (list && n < 3 && (d = readdir(list))) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		size_t at = strlen(names);
		snprintf(names + at, sizeof(names) - at, "%s%s", n++ ? ", " : "", d->d_name);
	}
	if (list)
		closedir(list);
	if (!n)
		return 0;
	return mb_err_exit(
		mb_fail_do(-ENOTEMPTY,
			   "Choose an empty directory, or adopt a Maildir with \"mailbraid "
			   "init --adopt\" and mount it without DIR.",
			   "cannot mount over %s, which holds %s", dir, names));
}

/* The mail tree as the store's config names it, when it lies outside the store. */
static int adopted_maildir(const char *store_dir, char **ret)
{
	struct store *s;
	int err = cli_open_read(store_dir, &s);

	if (err < 0)
		return mb_err_exit(mb_fail(err, "cannot open the store %s", store_dir));
	const char *mail = store_mail_path(s);
	size_t len = strlen(store_dir);
	bool inside = strncmp(mail, store_dir, len) == 0 && mail[len] == '/';
	*ret = inside ? NULL : mb_xstrdup(mail);
	store_close(s);
	return 0;
}

static int find_dir(const struct verb *v, struct mount *m)
{
	char *adopted MB_AUTO_FREE = NULL;
	char path[PATH_MAX];

	if (m->o->dir)
		unmount_stale(m->o->dir);
	int code = adopted_maildir(m->store, &adopted);
	if (code)
		return code;
	if (!m->o->dir && !adopted)
		return cli_usage(v, "where? only an adopted Maildir is mounted without DIR");
	const char *dir = m->o->dir ? m->o->dir : adopted;
	unmount_stale(dir);
	if (!realpath(dir, path))
		return mb_err_exit(
			mb_fail_do(-errno, "Make the directory first.", "cannot mount on %s", dir));
	m->dir = mb_xstrdup(path);
	char *same MB_AUTO_FREE = adopted ? realpath(adopted, NULL) : NULL;
	if (same && strcmp(same, m->dir) == 0)
		return 0;
	return check_empty(m->o, m->dir);
}

/* ---- the two halves -------------------------------------------------------------------------- */

static int find_programs(struct mount *m)
{
	m->self = cli_self();
	m->fs = cli_find_program("mailbraid-fs", "MAILBRAID_FS");
	if (m->fs)
		return 0;
	mb_fail_do(-ENOENT, "Install it beside mailbraid, or set MAILBRAID_FS.",
		   "cannot find mailbraid-fs");
	return CLI_MISSING;
}

static void make_argv(struct mount *m)
{
	int n = 0;

	m->fs_argv[n++] = m->fs;
	m->fs_argv[n++] = "--ready-fd";
	m->fs_argv[n++] = "3";
	if (m->o->mount_options) {
		m->fs_argv[n++] = "-o";
		m->fs_argv[n++] = m->o->mount_options;
	}
	m->fs_argv[n++] = "--store";
	m->fs_argv[n++] = m->store;
	m->fs_argv[n++] = "--mount";
	m->fs_argv[n++] = m->dir;

	n = 0;
	m->sync_argv[n++] = m->self;
	m->sync_argv[n++] = "--store";
	m->sync_argv[n++] = m->store;
	m->sync_argv[n++] = "reconcile";
	for (size_t i = 0; i < m->o->n_peers; i++) {
		m->sync_argv[n++] = "--peer";
		m->sync_argv[n++] = m->o->peers[i];
	}
}

static int mount(const struct cli *cli, const struct verb *v, struct mount *m)
{
	if (m->o->remount)
		return mb_err_exit(mb_fail_do(
			-EINVAL,
			"End it with \"mailbraid umount\" and mount it with other options; or "
			"\"mount "
			"-o remount,bind,ro DIR\" forbids changes there, by the reconciler as "
			"well.",
			"a mount of mailbraid cannot be given other options while it is mounted"));
	int code = cli_store(cli, v, &m->store);

	if (!code)
		code = check_fuse();
	if (!code)
		code = find_programs(m);
	if (!code)
		code = find_dir(v, m);
	if (code)
		return code;
	make_argv(m);
	const struct supervise o = {.store = m->store,
				    .mount = m->dir,
				    .fs_argv = m->fs_argv,
				    .sync_argv = m->o->no_sync ? NULL : m->sync_argv};
	return supervise_store(&o, m->o->foreground);
}

static int run(const struct cli *cli, const struct verb *v, int argc, char **argv)
{
	struct options o = {0};
	struct mount m = {.o = &o};
	int code = parse(v, argc, argv, &o);

	if (!code)
		code = mount(cli, v, &m);
	free(m.store);
	free(m.dir);
	free(m.fs);
	free(m.self);
	free(o.mount_options);
	return code;
}

const struct verb verb_mount = {
	.name = "mount",
	.args = "[-f] [-o OPTIONS] [--peer DESTINATION]... [--no-sync] [DIR]",
	.what = "Mount the store, live and in step with its peers",
	.help = "  DIR                 an empty directory; without it, the adopted Maildir itself\n"
		"  -f, --foreground    stay in the foreground; SIGTERM and SIGINT unmount\n"
		"  -o, --options LIST  for the file system: allow_other, nonempty, ...\n"
		"      --peer DESTINATION\n"
		"                      keep in step with this one too\n"
		"      --no-sync       the file system only\n",
	.run = run,
};
