/*
 * count.c - how many requests of each kind there were.  Relaxed atomics: no lock, no order.
 */
#include "backends/base/buf.h"
#include "backends/base/io.h"
#include "fs/fs.h"
#include <unistd.h>

atomic_ullong count_of[COUNT_N];

static const char *const names[COUNT_N] = {
	[COUNT_LOOKUP] = "lookup",
	[COUNT_FORGET] = "forget",
	[COUNT_GETATTR] = "getattr",
	[COUNT_SETATTR] = "setattr",
	[COUNT_READLINK] = "readlink",
	[COUNT_SYMLINK] = "symlink",
	[COUNT_MKNOD] = "mknod",
	[COUNT_MKDIR] = "mkdir",
	[COUNT_UNLINK] = "unlink",
	[COUNT_RMDIR] = "rmdir",
	[COUNT_RENAME] = "rename",
	[COUNT_LINK] = "link",
	[COUNT_CREATE] = "create",
	[COUNT_OPEN] = "open",
	[COUNT_READ] = "read",
	[COUNT_WRITE] = "write",
	[COUNT_FLUSH] = "flush",
	[COUNT_RELEASE] = "release",
	[COUNT_FSYNC] = "fsync",
	[COUNT_OPENDIR] = "opendir",
	[COUNT_READDIR] = "readdir",
	[COUNT_READDIRPLUS] = "readdirplus",
	[COUNT_RELEASEDIR] = "releasedir",
	[COUNT_FSYNCDIR] = "fsyncdir",
	[COUNT_ACCESS] = "access",
	[COUNT_STATFS] = "statfs",
	[COUNT_GETXATTR] = "getxattr",
	[COUNT_SETXATTR] = "setxattr",
	[COUNT_LISTXATTR] = "listxattr",
	[COUNT_REMOVEXATTR] = "removexattr",
	[COUNT_FALLOCATE] = "fallocate",
	[COUNT_LSEEK] = "lseek",
	[COUNT_COPY] = "copy_file_range",
	[COUNT_NOTIFY] = "notify",
};

void count_tell(struct buf *out)
{
	for (int i = 0; i < COUNT_N; i++) {
		unsigned long long n = atomic_load_explicit(&count_of[i], memory_order_relaxed);

		if (!n)
			continue;
		buf_put_str(out, names[i]);
		buf_put_u64(out, n);
	}
}

void count_print(int fd)
{
	BUF_AUTO struct buf b = BUF_INIT;

	buf_printf(&b, "fuse:");
	for (int i = 0; i < COUNT_N; i++) {
		unsigned long long n = atomic_load_explicit(&count_of[i], memory_order_relaxed);

		if (n)
			buf_printf(&b, " %s=%llu", names[i], n);
	}
	buf_printf(&b, "\n");
	if (write(fd, b.data, b.len) < 0)
		return; /* nobody reads it */
}
