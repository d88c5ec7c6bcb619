/*
 * at.c - every path that contains outside input, opened beneath a directory fd.
 *
 * openat2() does it in one call.  Where a kernel or a container does not have it, the components are
 * opened one after the other with O_NOFOLLOW; both refuse every symbolic link.
 * Threads: no state, but `have_openat2`, which only changes from true to false.
 */
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>

enum {
	DIR_FLAGS = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
	TREE_DEPTH_MAX = 256,
	TRIES = 64
};

static _Atomic bool have_openat2 = true;

static bool parts_ok(const char *path, size_t max)
{
	size_t total = 0;

	for (;;) {
		size_t len = strcspn(path, "/");

		if (len == 0 || len > NAME_MAX || (len == 1 && path[0] == '.') ||
		    (len == 2 && path[0] == '.' && path[1] == '.'))
			return false;
		total += len + 1;
		if (total > max)
			return false;
		if (!path[len])
			return true;
		path += len + 1;
	}
}

bool at_path_ok(const char *path)
{
	return parts_ok(path, PATH_MAX);
}

bool at_deep_path_ok(const char *path)
{
	return parts_ok(path, AT_PATH_MAX);
}

/* 0 for a path that may be opened: at_deep_path_ok(), "" or ".". */
static int check(const char *path)
{
	if (at_deep_path_ok(path) || !*path || strcmp(path, ".") == 0)
		return 0;
	if (*path == '/')
		return -EXDEV;
	for (const char *p = path; p; p = strchr(p, '/')) {
		p += *p == '/';
		if (strcspn(p, "/") == 2 && p[0] == '.' && p[1] == '.')
			return -EXDEV;
		if (strcspn(p, "/") > NAME_MAX)
			return -ENAMETOOLONG;
	}
	return strlen(path) >= AT_PATH_MAX ? -ENAMETOOLONG : -EINVAL;
}

static int open_one(int dir, const char *name, int flags, mode_t mode)
{
	int fd;

	do
		fd = openat(dir, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
	while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : fd;
}

/* What stands in the way of a component: O_DIRECTORY hides that it is a link. */
static int blocked_by(int dir, const char *name, int err)
{
	struct stat st;

	if (err == -ENOTDIR && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISLNK(st.st_mode))
		return -ELOOP;
	return err;
}

static int open_last(int dir, const char *name, int flags, mode_t mode)
{
	MB_AUTO_CLOSE int fd = open_one(dir, name, flags, mode);
	struct stat st;

	if (fd < 0)
		return blocked_by(dir, name, fd);
	/* O_PATH would give the link itself */
	if (flags & O_PATH && !(flags & O_NOFOLLOW) && fstat(fd, &st) == 0 && S_ISLNK(st.st_mode))
		return -ELOOP;
	return MB_TAKE_FD(fd);
}

/* Opens component by component. */
static int open_walk(int root, const char *path, int flags, mode_t mode)
{
	MB_AUTO_CLOSE int dir = -1;
	char part[NAME_MAX + 1];

	for (;;) {
		size_t len = strcspn(path, "/");
		int next;

		if (!path[len])
			return open_last(dir < 0 ? root : dir, path, flags, mode);
		memcpy(part, path, len);
		part[len] = '\0';
		next = open_last(dir < 0 ? root : dir, part, DIR_FLAGS, 0);
		if (next < 0)
			return next;
		if (dir >= 0)
			close(dir);
		dir = next;
		path += len + 1;
	}
}

/* EAGAIN: a rename raced with the walk of the kernel. */
static int open_beneath(int root, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
		.mode = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? mode & 07777 : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	int tries = 0;
	long fd;

	do
		fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
	while (fd < 0 && (errno == EINTR || (errno == EAGAIN && ++tries < TRIES)));
	return fd < 0 ? -errno : (int)fd;
}

/* A path of which one system call can open all. */
static int open_short(int root, const char *path, int flags, mode_t mode)
{
	int fd;

	if (have_openat2) {
		fd = open_beneath(root, path, flags, mode);
		if (fd != -ENOSYS)
			return fd;
		have_openat2 = false;
	}
	return open_walk(root, path, flags, mode);
}

/* Opens the directory path[0, len), as many components at a time as one call takes. */
static int open_dir(int root, const char *path, size_t len)
{
	MB_AUTO_CLOSE int dir = -1;
	char part[PATH_MAX];

	while (len >= sizeof(part)) {
		size_t n = sizeof(part) - 1;
		int next;

		while (path[n] != '/')
			n--;
		memcpy(part, path, n);
		part[n] = '\0';
		next = open_short(dir < 0 ? root : dir, part, O_PATH | O_DIRECTORY, 0);
		if (next < 0)
			return next;
		if (dir >= 0)
			close(dir);
		dir = next;
		path += n + 1;
		len -= n + 1;
	}
	memcpy(part, path, len);
	part[len] = '\0';
	return open_short(dir < 0 ? root : dir, len ? part : ".", O_PATH | O_DIRECTORY, 0);
}

int at_open(int root, const char *path, int flags, mode_t mode)
{
	MB_AUTO_CLOSE int parent = -1;
	int err = check(path);

	if (err < 0)
		return err;
	if (strlen(path) >= PATH_MAX) {
		parent = at_open_parent(root, path, &path);
		if (parent < 0)
			return parent;
		root = parent;
	}
	return open_short(root, *path ? path : ".", flags, mode);
}

int at_open_parent(int root, const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	int fd = check(path);

	if (fd < 0)
		return fd;
	if (!*path || strcmp(path, ".") == 0)
		return -EINVAL;
	fd = open_dir(root, path, slash ? (size_t)(slash - path) : 0);
	if (fd >= 0)
		*ret_name = slash ? slash + 1 : path;
	return fd;
}

int at_rename(int root, const char *from, const char *to, unsigned flags)
{
	MB_AUTO_CLOSE int a = -1, b = -1;

	a = at_open_parent(root, from, &from);
	if (a < 0)
		return a;
	b = at_open_parent(root, to, &to);
	return b < 0 ? b : io_renameat2(a, from, b, to, flags);
}

int at_link(int root, const char *from, const char *to)
{
	MB_AUTO_CLOSE int a = -1, b = -1;

	a = at_open_parent(root, from, &from);
	if (a < 0)
		return a;
	b = at_open_parent(root, to, &to);
	return b < 0 ? b : io_linkat(a, from, b, to);
}

int at_unlink(int root, const char *path, int flags)
{
	MB_AUTO_CLOSE int dir = at_open_parent(root, path, &path);

	return dir < 0 ? dir : io_unlinkat(dir, path, flags);
}

int at_stat(int root, const char *path, struct stat *ret)
{
	MB_AUTO_CLOSE int parent = -1;
	int err = check(path);

	if (err < 0)
		return err;
	if (!*path)
		path = ".";
	if (strchr(path, '/')) {
		parent = at_open_parent(root, path, &path);
		if (parent < 0)
			return parent;
		root = parent;
	}
	return fstatat(root, path, ret, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

bool at_folds_case(int root, const char *name)
{
	MB_AUTO_FREE char *upper = mb_xstrdup(name);
	struct stat a, b;

	for (char *c = upper; *c; c++)
		if (*c >= 'a' && *c <= 'z')
			*c = (char)(*c - 'a' + 'A');
	return strcmp(upper, name) != 0 && at_stat(root, name, &a) == 0 &&
	       at_stat(root, upper, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

int at_identity(int root, const char *path, uint64_t *ret)
{
	MB_AUTO_CLOSE int fd = at_open(root, path, O_PATH, 0);
	struct statx st;

	if (fd < 0)
		return fd;
	if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &st) < 0)
		return -errno;
	*ret = st.stx_ino;
	if (st.stx_mask & STATX_BTIME)
		*ret ^= ((uint64_t)st.stx_btime.tv_sec * 1000000000 + st.stx_btime.tv_nsec) *
			0x9e3779b97f4a7c15;
	return 0;
}

int at_open_regular(int root, const char *path, int flags)
{
	MB_AUTO_CLOSE int fd = at_open(root, path, flags | O_NONBLOCK | O_NOCTTY, 0);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	return MB_TAKE_FD(fd);
}

#define WRITTEN_LATELY_NS (120ll * 1000000000)

bool at_being_written(int root, const char *path, int64_t mtime_ns)
{
	if (clock_wall_ns() - mtime_ns > WRITTEN_LATELY_NS)
		return false;
	MB_AUTO_CLOSE int fd = at_open_regular(root, path, O_RDONLY);
	if (fd < 0)
		return false;
	/* who opens it to write meanwhile has us told by a signal: by one that does nothing */
	if (fcntl(fd, F_SETSIG, SIGURG) < 0)
		return false;
	if (fcntl(fd, F_SETLEASE, F_RDLCK) < 0)
		return errno == EAGAIN;
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return false;
}

/* Makes dir/name when it is not there, durably, and opens it. */
static int enter(int dir, const char *name, mode_t mode)
{
	int fd = open_one(dir, name, O_RDONLY | O_DIRECTORY, 0);
	int err;

	if (fd != -ENOENT)
		return fd;
	err = io_mkdirat(dir, name, mode);
	if (err && err != -EEXIST)
		return err;
	if (!err) {
		MB_AUTO_CLOSE int sync = open_one(dir, ".", O_RDONLY | O_DIRECTORY, 0);

		err = sync < 0 ? sync : io_fsync(sync);
		if (err)
			return err;
	}
	return open_one(dir, name, O_RDONLY | O_DIRECTORY, 0);
}

int at_mkdirs(int root, const char *path, mode_t mode)
{
	MB_AUTO_CLOSE int dir = at_open(root, path, O_PATH | O_DIRECTORY, 0);
	char part[NAME_MAX + 1];

	if (dir >= 0)
		return 0;
	if (dir != -ENOENT)
		return dir;
	while (*path) {
		size_t len = strcspn(path, "/");
		int next;

		memcpy(part, path, len);
		part[len] = '\0';
		next = enter(dir < 0 ? root : dir, part, mode ? mode : 0700);
		if (next < 0)
			return next;
		if (dir >= 0)
			close(dir);
		dir = next;
		path += len + (path[len] == '/');
	}
	return 0;
}

static void close_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

int at_list(int dir, int (*fn)(const char *name, unsigned char d_type, uint64_t ino, void *arg),
	    void *arg)
{
	__attribute__((cleanup(close_dir))) DIR *stream = NULL;
	int fd = open_one(dir, ".", O_RDONLY | O_DIRECTORY, 0);
	struct dirent *entry;

	if (fd < 0)
		return fd;
	stream = fdopendir(fd);
	if (!stream) {
		close(fd);
		return -ENOMEM;
	}
	while (errno = 0, (entry = readdir(stream))) {
		int rc;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		rc = fn(entry->d_name, entry->d_type, entry->d_ino, arg);
		if (rc)
			return rc;
	}
	return -errno;
}

struct removal {
	int dir;
	int depth;
};

static int remove_entry(int dir, const char *name, int depth);

static int remove_listed(const char *name, unsigned char d_type, uint64_t ino, void *arg)
{
	const struct removal *r = arg;
	int err = remove_entry(r->dir, name, r->depth + 1);

	return err == -ENOENT ? 0 : err;
}

/* What is removed while a directory is listed may hide entries from the listing: list again. */
static int remove_directory(int dir, const char *name, int depth)
{
	MB_AUTO_CLOSE int fd = open_one(dir, name, O_RDONLY | O_DIRECTORY, 0);
	struct removal r = {.dir = fd, .depth = depth};
	int err, tries = 0;

	if (fd < 0)
		return fd;
	if (depth >= TREE_DEPTH_MAX)
		return MB_E_LIMIT;
	do {
		err = at_list(fd, remove_listed, &r);
		if (!err)
			err = io_unlinkat(dir, name, AT_REMOVEDIR);
	} while ((err == -ENOTEMPTY || err == -EEXIST) && ++tries < TRIES);
	return err;
}

static int remove_entry(int dir, const char *name, int depth)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return remove_directory(dir, name, depth);
	return io_unlinkat(dir, name, 0);
}

int at_remove_tree(int dir, const char *name)
{
	if (!at_path_ok(name) || strchr(name, '/'))
		return check(name) < 0 ? check(name) : -EINVAL;
	return remove_entry(dir, name, 0);
}

/* ---- Directories that are only names ---------------------------------------------------------- */

struct names {
	const struct at_names *rules;
	bool remove;
	int dir;
	const char *path; /* of dir */
	int depth;
};

static int names_beneath(const struct names *above, const char *name, const char *path);

static int names_listed(const char *name, unsigned char d_type, uint64_t ino, void *arg)
{
	const struct names *n = arg;
	MB_AUTO_FREE char *path = mb_xasprintf("%s/%s", n->path, name);
	int err;

	(void)d_type, (void)ino;
	if (!n->remove && n->rules->but && n->rules->but(path, n->rules->arg))
		return 0;
	if (strcmp(name, "cur") == 0 || strcmp(name, "new") == 0 || strcmp(name, "tmp") == 0)
		return -ENOTEMPTY;
	err = names_beneath(n, name, path);
	if (err != -ENOTDIR)
		return err == -ENOENT ? 0 : err;
	if (!n->rules->junk || !n->rules->junk(name))
		return -ENOTEMPTY;
	err = n->remove ? io_unlinkat(n->dir, name, 0) : 0;
	return err == -ENOENT ? 0 : err;
}

/* -ENOTDIR: it is something else. */
static int names_beneath(const struct names *above, const char *name, const char *path)
{
	MB_AUTO_CLOSE int fd = open_one(above->dir, name, O_RDONLY | O_DIRECTORY, 0);
	struct names n = *above;
	int err, tries = 0;

	if (fd < 0)
		return fd == -ELOOP ? -ENOTDIR : fd;
	n.dir = fd;
	n.path = path;
	if (++n.depth > TREE_DEPTH_MAX)
		return MB_E_LIMIT;
	do {
		err = at_list(fd, names_listed, &n);
		if (!err && n.remove)
			err = io_unlinkat(above->dir, name, AT_REMOVEDIR);
	} while (n.remove && (err == -ENOTEMPTY || err == -EEXIST) && ++tries < TRIES);
	return err == -EEXIST ? -ENOTEMPTY : err;
}

static int walk_names(int root, const char *path, const struct at_names *rules, bool remove)
{
	const char *name;
	MB_AUTO_CLOSE int parent = at_open_parent(root, path, &name);
	struct names above = {.rules = rules, .remove = remove, .dir = parent};
	int err = parent < 0 ? parent : names_beneath(&above, name, path);

	return err == -ENOTDIR ? -ENOTEMPTY : err;
}

int at_is_names(int root, const char *path, const struct at_names *rules)
{
	return walk_names(root, path, rules, false);
}

int at_remove_names(int root, const char *path, const struct at_names *rules)
{
	int err = walk_names(root, path, rules, false);

	return err ? err : walk_names(root, path, rules, true);
}
