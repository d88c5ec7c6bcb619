/*
 * tmp-dir.c - a directory for one test.
 */
#include "tests/support/tmp-dir.h"
#include "backends/base/at.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int tmp_dir_setup(void **state)
{
	struct tmp_dir *d = mb_xcalloc(1, sizeof(*d));

	snprintf(d->path, sizeof(d->path), "/tmp/mailbraid-test-XXXXXX");
	if (!mkdtemp(d->path))
		return -1;
	d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = d;
	return d->fd < 0 ? -1 : 0;
}

int tmp_dir_teardown(void **state)
{
	struct tmp_dir *d = *state;
	MB_AUTO_CLOSE int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err;

	io_set_hook(NULL, NULL);
	close(d->fd);
	err = at_remove_tree(tmp, d->path + strlen("/tmp/"));
	free(d);
	return err;
}

void tmp_dir_write(const struct tmp_dir *d, const char *name, const char *text)
{
	MB_AUTO_CLOSE int fd = openat(d->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		abort();
}

static int count(const char *name, unsigned char d_type, uint64_t ino, void *arg)
{
	++*(int *)arg;
	return 0;
}

int tmp_dir_entries(const struct tmp_dir *d)
{
	int n = 0;

	return at_list(d->fd, count, &n) < 0 ? -1 : n;
}
