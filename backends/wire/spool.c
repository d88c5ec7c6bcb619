/*
 * spool.c - see spool.h.
 */
#include "backends/wire/spool.h"

#include "backends/base/io.h"
#include "backends/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define IN_MEMORY (1u << 20)

struct spool *spool_new(bool digest)
{
	struct spool *s = mb_xcalloc(1, sizeof(*s));

	s->fd = -1;
	s->hasher = digest ? hasher_new() : NULL;
	return s;
}

void spool_free(struct spool *s)
{
	struct digest d;

	if (!s)
		return;
	if (s->hasher)
		hasher_end(s->hasher, &d);
	if (s->fd >= 0)
		close(s->fd);
	buf_release(&s->data);
	free(s);
}

static int write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t n = write(fd, p, len);
		if (n < 0 && errno != EINTR)
			return -errno;
		p += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int open_file(void)
{
	const char *set = secure_getenv("TMPDIR");
	const char *const dirs[] = {set ? set : "/var/tmp", "/var/tmp", "/tmp"};
	int fd = -1;

	for (int i = 0; fd < 0 && i < 3; i++)
		fd = open(dirs[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

int spool_add(struct spool *s, const void *data, size_t len)
{
	int err = 0;

	if (s->hasher)
		hasher_add(s->hasher, data, len);
	if (s->fd < 0 && s->size + len > IN_MEMORY) {
		int fd = open_file();
		if (fd < 0)
			return fd;
		s->fd = fd;
		err = write_all(fd, s->data.data, s->data.len);
		buf_release(&s->data);
		s->data = (struct buf)BUF_INIT;
	}
	s->size += len;
	if (s->fd < 0)
		buf_put(&s->data, data, len);
	else if (!err)
		err = write_all(s->fd, data, len);
	return err;
}

void spool_digest(struct spool *s, struct digest *ret)
{
	hasher_end(MB_TAKE(s->hasher), ret);
}

/* Of a file another description, so that offsets are not shared. */
int spool_open(const struct spool *s)
{
	char path[40];

	if (s->fd >= 0) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", s->fd);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		return fd < 0 ? -errno : fd;
	}
	MB_AUTO_CLOSE int fd = memfd_create("body", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	int err = write_all(fd, s->data.data, s->data.len);
	if (!err && lseek(fd, 0, SEEK_SET) < 0)
		err = -errno;
	return err ? err : MB_TAKE_FD(fd);
}
