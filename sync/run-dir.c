/*
 * run-dir.c - see run-dir.h.
 */
#include "sync/run-dir.h"

#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MESSAGES_MAX (1 << 20)
#define END_MS 30000

static int open_in(const char *store, const char *name, int flags)
{
	char *dir MB_AUTO_FREE = mb_xasprintf("%s/run", store);
	char *path MB_AUTO_FREE = mb_xasprintf("%s/%s", dir, name);

	if ((flags & O_CREAT) && mkdir(dir, 0700) < 0 && errno != EEXIST)
		return -errno;
	int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -errno : fd;
}

int run_dir_note(int fd, const char *mount)
{
	char *line MB_AUTO_FREE = mb_xasprintf("%d %s\n", (int)getpid(), mount);
	size_t len = strlen(line);

	if (ftruncate(fd, 0) < 0 || pwrite(fd, line, len, 0) != (ssize_t)len)
		return -errno;
	return 0;
}

int run_dir_claim(const char *store, const char *mount)
{
	struct flock lock = {.l_type = F_WRLCK};
	int fd MB_AUTO_CLOSE = open_in(store, "supervisor", O_RDWR | O_CREAT);

	if (fd < 0)
		return fd;
	if (fcntl(fd, F_OFD_SETLK, &lock) < 0)
		return errno == EAGAIN || errno == EACCES ? MB_E_LOCKED : -errno;
	int err = run_dir_note(fd, mount);
	return err < 0 ? err : MB_TAKE_FD(fd);
}

int run_dir_supervisor(const char *store, pid_t *ret)
{
	struct flock lock = {.l_type = F_WRLCK};
	char text[32] = "";
	int fd MB_AUTO_CLOSE = open_in(store, "supervisor", O_RDWR);

	*ret = 0;
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
		return -errno;
	if (lock.l_type == F_UNLCK)
		return 0;
	if (pread(fd, text, sizeof(text) - 1, 0) < 0)
		return -errno;
	long pid = strtol(text, NULL, 10);
	*ret = pid > 1 ? (pid_t)pid : 0;
	return 0;
}

char *run_dir_mount(const char *store)
{
	char text[PATH_MAX + 32];
	int fd MB_AUTO_CLOSE = open_in(store, "supervisor", O_RDONLY);
	ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof(text), 0);

	if (n <= 0 || text[n - 1] != '\n')
		return NULL;
	text[n - 1] = '\0';
	char *space = strchr(text, ' ');
	return space ? mb_xstrdup(space + 1) : NULL;
}

void run_dir_pause(const char *store, bool paused)
{
	char *path MB_AUTO_FREE = mb_xasprintf("%s/run/paused", store);

	if (!paused) {
		unlink(path);
		return;
	}
	int fd = open_in(store, "paused", O_WRONLY | O_CREAT);
	if (fd >= 0)
		close(fd);
}

bool run_dir_paused(const char *store)
{
	char *path MB_AUTO_FREE = mb_xasprintf("%s/run/paused", store);
	struct stat st;

	return lstat(path, &st) == 0;
}

int run_dir_wait(const char *store, int64_t patience_ms)
{
	int64_t until = clock_mono_ns() + patience_ms * 1000000;
	pid_t pid;
	int err;

	while ((err = run_dir_supervisor(store, &pid)) == 0 && pid) {
		const struct timespec t = {.tv_nsec = 10000000};
		if (clock_mono_ns() > until)
			return -ETIMEDOUT;
		nanosleep(&t, NULL);
	}
	return err;
}

int run_dir_end(const char *store)
{
	pid_t pid;
	int err = run_dir_supervisor(store, &pid);

	if (err < 0)
		return err;
	if (!pid || kill(pid, SIGTERM) < 0)
		return -ESRCH;
	return run_dir_wait(store, END_MS);
}

int run_dir_messages(const char *store)
{
	struct stat st;
	int fd = open_in(store, "messages", O_WRONLY | O_CREAT | O_APPEND);

	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > MESSAGES_MAX && ftruncate(fd, 0) < 0) {
		close(fd);
		return -errno;
	}
	return fd;
}
