/*
 * io.c - every durable step, counted, so that a test can stop or fail each of them.
 *
 * step() is called just before the system call of a durable step.  Steps of all threads share one
 * counter; a test that names a step by its number runs one thread.  Calls that are interrupted are
 * repeated here, except close().
 */
#include "backends/base/io.h"
#include "backends/base/buf.h"
#include "backends/base/hash.h"
#include "backends/base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

enum { COPY_BUFFER = 128 * 1024, COPY_CHUNK = 1 << 30 };

static _Atomic uint64_t steps;
static struct {
	uint64_t stop_at; /* 0 = never */
	uint64_t fail_at;
	bool fail_on; /* all later ones too */
	int fail_errno;
	char *count_to;
	int (*hook)(uint64_t step, const char *what, void *arg);
	void *hook_arg;
	bool read_only;
} control;

#define RETRY(call)                                                                                \
	__extension__({                                                                            \
		__auto_type retry_result_ = (call);                                                \
		while (retry_result_ < 0 && errno == EINTR)                                        \
			retry_result_ = (call);                                                    \
		retry_result_;                                                                     \
	})

static int result(long rc)
{
	return rc < 0 ? -errno : (int)rc;
}

/* "N:ERRNO" or "N+:ERRNO"; anything else is ignored. */
static void parse_fail_at(const char *text)
{
	uint64_t at;
	int number, used = 0;
	bool on;

	on = sscanf(text, "%" SCNu64 "+:%d%n", &at, &number, &used) == 2;
	if (!on && sscanf(text, "%" SCNu64 ":%d%n", &at, &number, &used) != 2)
		return;
	if (text[used] || number <= 0 || number > 4095)
		return;
	control.fail_at = at;
	control.fail_on = on;
	control.fail_errno = number;
}

static void write_count(void)
{
	char text[40];
	int n = snprintf(text, sizeof(text), "steps=%" PRIu64 "\n", io_steps());
	MB_AUTO_CLOSE int fd =
		open(control.count_to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, text, (size_t)n) != n)
		fprintf(stderr, "steps=%" PRIu64 ": cannot be written\n", io_steps());
}

void io_init(void)
{
	const char *stop = secure_getenv("MAILBRAID_STOP_AT");
	const char *fail = secure_getenv("MAILBRAID_FAIL_AT");
	const char *count = secure_getenv("MAILBRAID_COUNT_TO");

	if (stop)
		control.stop_at = strtoull(stop, NULL, 10);
	if (fail)
		parse_fail_at(fail);
	if (count && !control.count_to) {
		control.count_to = mb_xstrdup(count);
		atexit(write_count);
	}
}

uint64_t io_steps(void)
{
	return steps;
}

void io_set_hook(int (*hook)(uint64_t step, const char *what, void *arg), void *arg)
{
	control.hook = hook;
	control.hook_arg = arg;
}

void io_set_read_only(bool on)
{
	control.read_only = on;
}

bool io_is_read_only(void)
{
	return control.read_only;
}

/* 0 when the step is to be done. */
static int step(const char *what)
{
	if (control.read_only)
		return -EROFS;
	uint64_t n = atomic_fetch_add(&steps, 1) + 1;
	int err = control.hook ? control.hook(n, what, control.hook_arg) : 0;

	if (err)
		return err;
	if (n == control.stop_at)
		raise(SIGKILL);
	if (control.fail_at && (n == control.fail_at || (control.fail_on && n > control.fail_at)))
		return -control.fail_errno;
	return 0;
}

static int write_all(int fd, const uint8_t *p, size_t len)
{
	while (len) {
		ssize_t n = RETRY(write(fd, p, len));

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int io_write_all(int fd, const void *data, size_t len)
{
	int err = step("write");

	return err ? err : write_all(fd, data, len);
}

int io_pwrite_all(int fd, const void *data, size_t len, off_t offset)
{
	const uint8_t *p = data;
	int err = step("pwrite");

	while (!err && len) {
		ssize_t n = RETRY(pwrite(fd, p, len, offset));

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		offset += n;
		len -= (size_t)n;
	}
	return err;
}

ssize_t io_pread_full(int fd, void *dst, size_t len, off_t offset)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n =
			RETRY(pread(fd, (uint8_t *)dst + done, len - done, offset + (off_t)done));

		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int io_fsync(int fd)
{
	int err = step("fsync");

	return err ? err : result(RETRY(fsync(fd)));
}

int io_fdatasync(int fd)
{
	int err = step("fdatasync");

	return err ? err : result(RETRY(fdatasync(fd)));
}

int io_syncfs(int fd)
{
	int err = step("syncfs");

	return err ? err : result(RETRY(syncfs(fd)));
}

int io_ftruncate(int fd, off_t size)
{
	int err = step("ftruncate");

	return err ? err : result(RETRY(ftruncate(fd, size)));
}

int io_reserve(int fd, off_t offset, off_t len)
{
	if (control.read_only)
		return 0;
	if (RETRY(fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, len)) == 0)
		return 1;
	return errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL || errno == EFBIG ? 0
											   : -errno;
}

void io_unreserve(int fd)
{
	struct stat st;

	if (!control.read_only && fstat(fd, &st) == 0)
		(void)!ftruncate(fd, st.st_size);
}

int io_renameat(int olddir, const char *old, int newdir, const char *new)
{
	int err = step("rename");

	return err ? err : result(RETRY(renameat(olddir, old, newdir, new)));
}

int io_renameat2(int olddir, const char *old, int newdir, const char *new, unsigned flags)
{
	int err = step("rename");

	return err ? err : result(RETRY(syscall(SYS_renameat2, olddir, old, newdir, new, flags)));
}

int io_linkat(int olddir, const char *old, int newdir, const char *new)
{
	int err = step("link");

	return err ? err : result(RETRY(linkat(olddir, old, newdir, new, 0)));
}

int io_unlinkat(int dir, const char *name, int flags)
{
	int err = step(flags & AT_REMOVEDIR ? "rmdir" : "unlink");

	return err ? err : result(RETRY(unlinkat(dir, name, flags)));
}

int io_mkdirat(int dir, const char *name, mode_t mode)
{
	int err = step("mkdir");

	return err ? err : result(RETRY(mkdirat(dir, name, mode)));
}

int io_utimens(int fd, const struct timespec times[2])
{
	int err = step("utimens");

	return err ? err : result(RETRY(futimens(fd, times)));
}

int io_create_at(int dir, const char *name, int flags, mode_t mode)
{
	int err = step("create");

	flags |= O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	return err ? err : result(RETRY(openat(dir, name, flags, mode)));
}

/* -1 when the file system does not know it beforehand. */
static off_t size_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 ? st.st_size : -1;
}

/* *offset is where the kernel stopped: at `whole`, or reading goes on there.  A file system may answer 0
 * though there is more to read. */
static int copy_in_kernel(int from, int to, off_t whole, off_t *offset)
{
	while (*offset != whole) {
		ssize_t n = RETRY(copy_file_range(from, offset, to, NULL, COPY_CHUNK, 0));

		if (n > 0)
			continue;
		if (n == 0 || errno == EXDEV || errno == EINVAL || errno == ENOSYS ||
		    errno == EOPNOTSUPP || errno == EBADF || errno == EPERM)
			return 0;
		return -errno;
	}
	return 0;
}

static int copy_by_hand(int from, int to, off_t *offset)
{
	MB_AUTO_FREE uint8_t *data = mb_xmalloc(COPY_BUFFER);
	ssize_t n;
	int err;

	do {
		n = io_pread_full(from, data, COPY_BUFFER, *offset);
		if (n < 0)
			return (int)n;
		err = write_all(to, data, (size_t)n);
		if (err < 0)
			return err;
		*offset += n;
	} while (n == COPY_BUFFER);
	return 0;
}

int io_copy(int from, int to, uint64_t *ret_size)
{
	off_t offset = 0;
	off_t whole = size_of(from);
	int err = step("copy");

	if (!err)
		err = copy_in_kernel(from, to, whole, &offset);
	if (!err && offset != whole)
		err = copy_by_hand(from, to, &offset);
	if (!err && ret_size)
		*ret_size = (uint64_t)offset;
	return err;
}

/* The directory fd may be AT_FDCWD or O_PATH: fsync needs one that is open for reading. */
static int fsync_dir(int dir)
{
	MB_AUTO_CLOSE int fd = RETRY(openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));

	return fd < 0 ? -errno : io_fsync(fd);
}

static int write_new(int dir, const char *tmp, const void *data, size_t len, mode_t mode)
{
	MB_AUTO_CLOSE int fd = io_create_at(dir, tmp, O_WRONLY, mode);
	int err;

	if (fd < 0)
		return fd;
	err = io_write_all(fd, data, len);
	return err ? err : io_fsync(fd);
}

int io_replace_file(int dir, const char *name, const void *data, size_t len, mode_t mode)
{
	char tmp[32];
	int err;

	if (strchr(name, '/'))
		return -EINVAL;
	snprintf(tmp, sizeof(tmp), ".tmp-%016" PRIx64, random_u64());
	err = write_new(dir, tmp, data, len, mode);
	if (!err)
		err = io_renameat(dir, tmp, dir, name);
	if (err) {
		unlinkat(dir, tmp, 0); /* tidiness, no durable step */
		return err;
	}
	return fsync_dir(dir);
}

/* The file may grow while it is read: never more than max + 1 bytes are held. */
static int read_up_to(int fd, size_t max, size_t hint, struct buf *out)
{
	uint8_t block[4096];
	ssize_t n;

	if (hint) {
		out->data = mb_xmalloc(hint + 1);
		out->cap = hint + 1;
	}
	do {
		n = io_pread_full(fd, block, sizeof(block), (off_t)out->len);
		if (n < 0)
			return (int)n;
		if ((size_t)n > max - out->len)
			return -EFBIG;
		buf_put(out, block, (size_t)n);
	} while (n == sizeof(block));
	return 0;
}

int io_read_file(int dir, const char *name, size_t max, uint8_t **ret_data, size_t *ret_len)
{
	int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
	MB_AUTO_CLOSE int fd = RETRY(openat(dir, name, flags));
	BUF_AUTO struct buf out = BUF_INIT;
	struct stat st;
	int err;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if ((uint64_t)st.st_size > max)
		return -EFBIG;
	err = read_up_to(fd, max, (size_t)st.st_size, &out);
	if (err)
		return err;
	buf_cstr(&out);
	*ret_data = MB_TAKE(out.data);
	*ret_len = out.len;
	return 0;
}
