/*
 * mount.c - mounting and unmounting, with a sentence for each thing that goes wrong.
 *
 * A thread of this process that waits on its own mount could not be killed; so whatever touches the
 * mount point while we serve it (unmounting, flushing) is done by a child that has no descriptor of ours.
 */
#include "fs/mount.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static const char no_device[] =
	"in a container: run it with --device /dev/fuse --cap-add SYS_ADMIN --security-opt "
	"apparmor=unconfined; on a host: modprobe fuse; without a mount: mailbraid watch";

/* ---- options ---- */

/* What mount(8), fstab and systemd add, and means nothing here: times of reading are the backing
 * directory's. */
static bool is_ignored(const char *opt)
{
	static const char *const names[] = {
		"rw",	       "user",		"users",      "nouser",	    "auto",
		"noauto",      "nofail",	"_netdev",    "defaults",   "atime",
		"noatime",     "diratime",	"nodiratime", "relatime",   "norelatime",
		"strictatime", "nostrictatime", "lazytime",   "nolazytime", "silent",
		"loud",	       "mand",		"nomand",     "iversion",   "noiversion"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(opt, names[i]) == 0)
			return true;
	return strncmp(opt, "x-", 2) == 0 || *opt == '\0';
}

/* What the kernel makes of every mount; `user` in fstab brings three of them.  In pairs. */
static const char *const flag_names[] = {"nosuid", "suid",  "nodev", "dev",	  "noexec",
					 "exec",   "async", "sync",  "nodirsync", "dirsync"};

static bool parse_flag(const char *text, unsigned *flags)
{
	for (unsigned i = 0; i < sizeof(flag_names) / sizeof(flag_names[0]); i++) {
		if (strcmp(text, flag_names[i]) != 0)
			continue;
		*flags = (*flags | 1u << i) & ~(1u << (i ^ 1)); /* the later one counts */
		return true;
	}
	return false;
}

static void add_flags(struct fuse_args *args, unsigned flags)
{
	for (unsigned i = 0; i < sizeof(flag_names) / sizeof(flag_names[0]); i++) {
		MB_AUTO_FREE char *text = mb_xasprintf("-o%s", flag_names[i]);

		if (flags & 1u << i && strcmp(flag_names[i], "nodirsync") != 0)
			fuse_opt_add_arg(args, text);
	}
}

static bool parse_option(const char *text, struct fs_options *opt)
{
	if (strcmp(text, "allow_other") == 0)
		opt->allow_other = true;
	else if (strcmp(text, "default_permissions") == 0)
		opt->kernel_permissions = true;
	else if (strcmp(text, "noxattr") == 0)
		opt->noxattr = true;
	else if (strcmp(text, "xattr") == 0)
		opt->noxattr = false;
	else if (strcmp(text, "ro") == 0)
		opt->read_only = true;
	else if (strcmp(text, "nonempty") == 0)
		opt->nonempty = true;
	else if (strncmp(text, "threads=", 8) == 0 && atoi(text + 8) > 0)
		opt->threads = atoi(text + 8);
	else
		return parse_flag(text, &opt->flags) || is_ignored(text);
	return true;
}

bool mount_parse_options(const char *text, struct fs_options *opt, char **ret_bad)
{
	MB_AUTO_FREE char *copy = mb_xstrdup(text);
	char *save = NULL;

	for (char *o = strtok_r(copy, ",", &save); o; o = strtok_r(NULL, ",", &save)) {
		if (parse_option(o, opt))
			continue;
		*ret_bad = mb_xstrdup(o);
		return false;
	}
	return true;
}

/* ---- can this system mount? ---- */

static bool find_program(const char *name, char out[PATH_MAX])
{
	const char *dirs[] = {"/usr/bin", "/bin", "/usr/local/bin", "/sbin", "/usr/sbin"};

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		snprintf(out, PATH_MAX, "%s/%s", dirs[i], name);
		if (access(out, X_OK) == 0)
			return true;
	}
	return false;
}

static int check_device(void)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	struct stat st;
	char advice[160];

	if (fd >= 0) {
		close(fd);
		return 0;
	}
	if (errno != EACCES && errno != EPERM)
		return mb_fail_do(MB_E_NO_FUSE, no_device, "no FUSE device");
	if (stat("/dev/fuse", &st))
		return mb_fail_do(MB_E_NO_FUSE, no_device, "no FUSE device");
	snprintf(advice, sizeof(advice),
		 "it has owner %u, group %u, mode %04o: become a member of that group, or chmod "
		 "0666",
		 st.st_uid, st.st_gid, st.st_mode & 07777);
	return mb_fail_do(MB_E_NO_FUSE, advice, "/dev/fuse may not be opened");
}

static bool users_may_allow_other(void)
{
	char line[256];
	bool found = false;
	FILE *f = fopen("/etc/fuse.conf", "re");

	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f)) {
		const char *p = line + strspn(line, " \t");

		found = strncmp(p, "user_allow_other", 16) == 0 && strchr(" \t\n", p[16]);
	}
	fclose(f);
	return found;
}

int mount_check(const struct fs_options *opt)
{
	char path[PATH_MAX];
	struct stat st;
	int err = check_device();

	if (err < 0 || geteuid() == 0)
		return err;
	if (!find_program("fusermount3", path) || stat(path, &st) || !(st.st_mode & S_ISUID))
		return mb_fail_do(MB_E_NO_FUSE, "apt-get install fuse3",
				  "no set-uid fusermount3, which users need to mount");
	if (opt->allow_other && !users_may_allow_other())
		return mb_fail_do(MB_E_NO_FUSE,
				  "add the line user_allow_other to /etc/fuse.conf (needed when "
				  "other users, such as Dovecot's, shall see the mount)",
				  "option allow_other is for root only on this system");
	return 0;
}

/* ---- children that touch the mount point ---- */

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

/* Only calls that are safe after the fork of a process with threads. */
static void child_flush(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || syncfs(fd))
		_exit(errno & 0xff);
	_exit(0);
}

static void child_umount(const char *path, int flags)
{
	_exit(umount2(path, flags | UMOUNT_NOFOLLOW) ? errno & 0xff : 0);
}

static int in_child(const char *path, bool flush, int flags)
{
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid > 0)
		return wait_for(pid);
	close_range(3, ~0u, 0);
	if (flush)
		child_flush(path);
	child_umount(path, flags);
	return 0;
}

static int run_fusermount(const char *path, bool lazy)
{
	const char *argv[] = {"fusermount3", "-u", "-q", lazy ? "-z" : "--", path, NULL};
	posix_spawn_file_actions_t actions;
	char program[PATH_MAX];
	pid_t pid;
	int err;

	if (!find_program("fusermount3", program))
		return MB_E_NO_FUSE;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	err = posix_spawn(&pid, program, &actions, NULL, (char *const *)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (err)
		return -err;
	return wait_for(pid) ? -EBUSY : 0;
}

static int unmount(const char *path, bool lazy)
{
	if (geteuid() == 0)
		return in_child(path, false, lazy ? MNT_DETACH : 0);
	return run_fusermount(path, lazy);
}

int mount_end(const char *path)
{
	if (unmount(path, false) == 0)
		return 0;
	in_child(path, true, 0); /* somebody uses it: at least nothing written is lost */
	return unmount(path, true);
}

/* ---- stale mounts ---- */

/* The kernel answers a stat of a dead mount from its cache: opening it is what fails. */
static bool is_stale(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOTCONN;
	close(fd);
	return false;
}

static int clean_one(const char *path)
{
	for (int i = 0; is_stale(path) && i < 8; i++) { /* they may lie one over the other */
		int err = unmount(path, true);

		if (err < 0)
			return mb_fail(err,
				       "a mount whose daemon died could not be taken away "
				       "path=%s",
				       path);
		mb_msg(MB_NOTICE, "took away a mount whose daemon had died path=%s", path);
	}
	return 0;
}

/* "\040" and the like in mountinfo. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] && s[2] && s[3]) {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

static int clean_all(void)
{
	MB_AUTO_FREE char *line = NULL;
	char path[PATH_MAX];
	size_t cap = 0;
	FILE *f = fopen("/proc/self/mountinfo", "re");

	if (!f)
		return -errno;
	while (getline(&line, &cap, f) > 0) {
		if (!strstr(line, " fuse.mailbraid ") ||
		    sscanf(line, "%*s %*s %*s %*s %4095s", path) != 1)
			continue;
		unescape(path);
		if (is_stale(path))
			clean_one(path);
	}
	fclose(f);
	return 0;
}

int mount_clean_stale(const char *path)
{
	return path ? clean_one(path) : clean_all();
}

/* ---- mounting ---- */

static char library_said[256];

static void __attribute__((format(printf, 2, 0)))
keep_message(enum fuse_log_level level, const char *fmt, va_list ap)
{
	vsnprintf(library_said, sizeof(library_said), fmt, ap);
	library_said[strcspn(library_said, "\n")] = '\0';
	mb_msg(MB_DEBUG, "libfuse: %s", library_said);
}

/* The first three names of a directory that should be empty. */
static int check_empty(const char *path)
{
	char names[800] = "";
	const struct dirent *e;
	int n = 0;
	DIR *d = opendir(path);

	if (!d)
		return mb_fail(-errno, "the mount point cannot be read path=%s", path);
	while (n < 4 && (e = readdir(d))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (n++ < 3)
			snprintf(names + strlen(names), sizeof(names) - strlen(names), " %s",
				 e->d_name);
	}
	closedir(d);
	if (n == 0)
		return 0;
	return mb_fail_do(-ENOTEMPTY,
			  "mount on an empty directory, or take what is there into a store: "
			  "mailbraid init --adopt DIR; -o nonempty hides it for the time",
			  "the mount point is not empty: it holds%s%s path=%s", names,
			  n > 3 ? " …" : "", path);
}

/* The store is the source of the mount, for findmnt and `mailbraid umount`. */
static void add_source(struct fuse_args *args, const char *dir)
{
	MB_AUTO_FREE char *text = mb_xmalloc(2 * strlen(dir) + sizeof("-ofsname="));
	char *to = stpcpy(text, "-ofsname=");

	for (; *dir; dir++) {
		if (*dir == ',' || *dir == '\\')
			*to++ = '\\';
		*to++ = *dir;
	}
	*to = '\0';
	fuse_opt_add_arg(args, text);
}

static int make_session(struct mailfs *fs)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	const struct fs_options *o = &fs->opt;

	fuse_opt_add_arg(&args, "mailbraid-fs");
	add_source(&args, store_dir(fs->store));
	fuse_opt_add_arg(&args, "-osubtype=mailbraid");
	/* For one user the files' own permissions decide, at our system calls, which are that user's.
	 * With others the kernel has to decide; then it asks for a directory's mode after each change. */
	if (o->allow_other)
		fuse_opt_add_arg(&args, "-oallow_other");
	if (o->allow_other || o->kernel_permissions)
		fuse_opt_add_arg(&args, "-odefault_permissions");
	if (o->read_only)
		fuse_opt_add_arg(&args, "-oro");
	add_flags(&args, o->flags);
	fs->session = fuse_session_new(&args, &fs_ops, sizeof(fs_ops), fs);
	fuse_opt_free_args(&args);
	return fs->session ? 0
			   : mb_fail(MB_E_NO_FUSE, "libfuse refused to start: %s", library_said);
}

static const char *mount_advice(void)
{
	if (strstr(library_said, "not permitted") || strstr(library_said, "ermission"))
		return "mounting is forbidden here (user namespace, seccomp, a container without "
		       "SYS_ADMIN): use mailbraid watch";
	return mb_err_advice(MB_E_NO_FUSE);
}

int mount_start(struct mailfs *fs)
{
	bool own_tree = strcmp(fs->opt.mountpoint, store_mail_path(fs->store)) == 0;
	int err = own_tree || fs->opt.nonempty ? 0 : check_empty(fs->opt.mountpoint);

	if (err < 0)
		return err;
	fuse_set_log_func(keep_message);
	err = make_session(fs);
	if (err < 0)
		return err;
	if (fuse_session_mount(fs->session, fs->opt.mountpoint)) {
		fuse_session_destroy(fs->session);
		fs->session = NULL;
		return mb_fail_do(MB_E_NO_FUSE, mount_advice(), "the mount failed%s%s path=%s",
				  library_said[0] ? ": " : "", library_said, fs->opt.mountpoint);
	}
	return 0;
}

void mount_close(struct mailfs *fs)
{
	struct pollfd p = {.fd = fuse_session_fd(fs->session)};
	bool gone = poll(&p, 1, 0) == 1 && p.revents & POLLERR;

	/* libfuse unmounts by path: not when ours was detached while in use, as something else may
	 * be there now; the end of this process ends it */
	if (gone || !fs->unmounted)
		fuse_session_unmount(fs->session);
	fuse_session_destroy(fs->session);
	fs->session = NULL;
}
