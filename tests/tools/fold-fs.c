/*
 * fold-fs.c - fold-fs BACKING MOUNTPOINT [fuse options]: the directory BACKING, where ASCII case does
 * not count.  And 0 is o, which no program expects.
 *
 * For tests of what is else only to be had with special kernels.  A name is looked up as it is, then
 * in any case; a new one is stored as it is spelled, as ext4's casefold, APFS and NTFS do.  A rename
 * that changes the case alone does nothing here, as in the kernel's casefold.  One thread, no cache.
 */
#define FUSE_USE_VERSION 31
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char backing[PATH_MAX];

static int folded(char c)
{
	return c == '0' ? 'o' : c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

static int is_same(const char *a, const char *b)
{
	while (*a && folded(*a) == folded(*b))
		a++, b++;
	return !*a && !*b;
}

/* Puts the spelling on disk in place of the last component of path. */
static void respell(char *path)
{
	char *slash = strrchr(path, '/');
	struct stat st;
	struct dirent *e;

	if (lstat(path, &st) == 0)
		return;
	*slash = '\0';
	DIR *dir = opendir(path);
	*slash = '/';
	while (dir && (e = readdir(dir)))
		if (is_same(e->d_name, slash + 1))
			memcpy(slash + 1, e->d_name, strlen(e->d_name));
	if (dir)
		closedir(dir);
}

static const char *real(const char *path, char out[PATH_MAX])
{
	size_t len = (size_t)snprintf(out, PATH_MAX, "%s", backing);

	for (const char *p = path; *p && len < PATH_MAX - NAME_MAX - 2;) {
		size_t n = strcspn(p + 1, "/");

		out[len] = '/';
		memcpy(out + len + 1, p + 1, n);
		out[len + 1 + n] = '\0';
		if (n)
			respell(out);
		len += n ? n + 1 : 0;
		p += n + 1;
	}
	out[len] = '\0';
	return out;
}

#define REAL(path) real(path, (char[PATH_MAX]){0})
#define ANSWER(call) ((call) < 0 ? -errno : 0)

static int do_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	return ANSWER(lstat(REAL(path), st));
}

static int do_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t offset,
		      struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
	DIR *dir = opendir(REAL(path));
	struct dirent *e;

	if (!dir)
		return -errno;
	while ((e = readdir(dir))) {
		struct stat st = {.st_ino = e->d_ino, .st_mode = (mode_t)e->d_type << 12};
		fill(buf, e->d_name, &st, 0, 0);
	}
	closedir(dir);
	return 0;
}

static int do_mkdir(const char *path, mode_t mode)
{
	return ANSWER(mkdir(REAL(path), mode));
}

static int do_rmdir(const char *path)
{
	return ANSWER(rmdir(REAL(path)));
}

static int do_unlink(const char *path)
{
	return ANSWER(unlink(REAL(path)));
}

static int do_rename(const char *from, const char *to, unsigned flags)
{
	return ANSWER(renameat2(AT_FDCWD, REAL(from), AT_FDCWD, REAL(to), flags));
}

static int do_link(const char *from, const char *to)
{
	return ANSWER(link(REAL(from), REAL(to)));
}

static int do_chmod(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	return ANSWER(chmod(REAL(path), mode));
}

static int do_chown(const char *path, uid_t uid, gid_t gid, struct fuse_file_info *fi)
{
	return ANSWER(lchown(REAL(path), uid, gid));
}

static int do_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
	return ANSWER(truncate(REAL(path), size));
}

static int do_utimens(const char *path, const struct timespec tv[2], struct fuse_file_info *fi)
{
	return ANSWER(utimensat(AT_FDCWD, REAL(path), tv, AT_SYMLINK_NOFOLLOW));
}

static int do_open(const char *path, struct fuse_file_info *fi)
{
	int fd = open(REAL(path), fi->flags & ~O_CREAT);

	fi->fh = (uint64_t)fd;
	return fd < 0 ? -errno : 0;
}

static int do_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	int fd = open(REAL(path), fi->flags, mode);

	fi->fh = (uint64_t)fd;
	return fd < 0 ? -errno : 0;
}

static int do_read(const char *path, char *buf, size_t n, off_t at, struct fuse_file_info *fi)
{
	ssize_t r = pread((int)fi->fh, buf, n, at);

	return r < 0 ? -errno : (int)r;
}

static int do_write(const char *path, const char *buf, size_t n, off_t at,
		    struct fuse_file_info *fi)
{
	ssize_t r = pwrite((int)fi->fh, buf, n, at);

	return r < 0 ? -errno : (int)r;
}

static int do_release(const char *path, struct fuse_file_info *fi)
{
	return ANSWER(close((int)fi->fh));
}

static int do_fsync(const char *path, int datasync, struct fuse_file_info *fi)
{
	return 0;
}

static void *do_init(struct fuse_conn_info *conn, struct fuse_config *cfg)
{
	cfg->use_ino = 1;
	cfg->entry_timeout = cfg->attr_timeout = cfg->negative_timeout = 0;
	return NULL;
}

static const struct fuse_operations ops = {
	.init = do_init,
	.getattr = do_getattr,
	.readdir = do_readdir,
	.mkdir = do_mkdir,
	.rmdir = do_rmdir,
	.unlink = do_unlink,
	.rename = do_rename,
	.link = do_link,
	.chmod = do_chmod,
	.chown = do_chown,
	.truncate = do_truncate,
	.utimens = do_utimens,
	.open = do_open,
	.create = do_create,
	.read = do_read,
	.write = do_write,
	.release = do_release,
	.fsync = do_fsync,
	.fsyncdir = do_fsync,
};

int main(int argc, char **argv)
{
	if (argc < 3 || !realpath(argv[1], backing)) {
		fprintf(stderr, "usage: fold-fs BACKING MOUNTPOINT [OPTION...]\n");
		return 64;
	}
	argv[1] = argv[0];
	return fuse_main(argc - 1, argv + 1, &ops, NULL);
}
