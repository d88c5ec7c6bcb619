/*
 * behind.c - supervise_store(): one supervisor a store, in the background when wished.
 *
 * In the background everything that the processes say goes to STORE/run/messages, from the start: no
 * descriptor of the caller stays open.  When it fails, the waiting command shows what was said.
 */
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "sync/cli.h"
#include "sync/run-dir.h"
#include "sync/supervise.h"
#include "sync/unmount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_NS INT64_C(30000000000)

/* The mount answers: the waiting command may return. */
static void ready(void *arg)
{
	const int *told_fd = arg;

	if (write(*told_fd, "", 1) != 1)
		mb_msg(MB_WARNING, "nobody waited for the mount");
	close(*told_fd);
}

static void redirect(int messages)
{
	int null MB_AUTO_CLOSE = open("/dev/null", O_RDWR | O_CLOEXEC);

	dup2(null, 0);
	dup2(messages >= 0 ? messages : null, 1);
	dup2(messages >= 0 ? messages : null, 2);
}

/* What was said since `from`, for the person who waits. */
static void show_messages(const char *store, off_t from)
{
	char *path MB_AUTO_FREE = mb_xasprintf("%s/run/messages", store);
	int fd MB_AUTO_CLOSE = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char text[4096];
	ssize_t n;

	while (fd >= 0 && (n = pread(fd, text, sizeof(text), from)) > 0) {
		if (io_write_all(2, text, (size_t)n) < 0)
			return;
		from += n;
	}
}

static int serve(const struct supervise *o, int lock_fd)
{
	int err = run_dir_note(lock_fd, o->mount);

	if (err < 0)
		mb_fail(err, "cannot write the pid to %s/run", o->store);
	return supervise(o);
}

/* Forks; the parent returns when the mount answers or the child has failed. */
static int serve_behind(const struct supervise *o, int lock_fd)
{
	int told[2], status = 0;
	char byte;
	int messages MB_AUTO_CLOSE = run_dir_messages(o->store);
	off_t before = messages >= 0 ? lseek(messages, 0, SEEK_END) : 0;

	if (pipe2(told, O_CLOEXEC) < 0)
		return mb_err_exit(mb_fail(-errno, "no pipe"));
	pid_t pid = fork();
	if (pid < 0)
		return mb_err_exit(mb_fail(-errno, "cannot fork"));
	if (pid == 0) {
		struct supervise mine = *o;
		mine.ready = ready;
		mine.arg = &told[1];
		close(told[0]);
		redirect(messages);
		setsid();
		if (chdir("/") < 0)
			_exit(CLI_FAILED);
		_exit(serve(&mine, lock_fd));
	}
	close(told[1]);
	ssize_t n = read(told[0], &byte, 1);
	close(told[0]);
	if (n == 1)
		return CLI_OK;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	show_messages(o->store, before);
	return WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : CLI_FAILED;
}

/* It was unmounted (umount(8) returns before its processes have closed the store), or it is not mounted
 * yet: it ends or answers soon.  Who watches notes the store itself, and mounts nothing. */
static bool is_ending(const char *store)
{
	char *mount MB_AUTO_FREE = run_dir_mount(store);
	bool ours;

	if (!mount || strcmp(mount, store) == 0)
		return false;
	free(mounted_store(mount, &ours));
	return !ours;
}

static int claim(const struct supervise *o)
{
	const struct timespec nap = {.tv_nsec = 20000000};
	int64_t until = clock_mono_ns() + PATIENCE_NS;

	for (;;) {
		int fd = run_dir_claim(o->store, o->mount);
		if (fd != MB_E_LOCKED || clock_mono_ns() > until || !is_ending(o->store))
			return fd;
		nanosleep(&nap, NULL);
	}
}

int supervise_store(const struct supervise *o, bool foreground)
{
	int lock_fd MB_AUTO_CLOSE = claim(o);

	if (lock_fd < 0)
		return mb_err_exit(mb_fail_do(
			lock_fd, "See \"mailbraid status\"; \"mailbraid umount DIR\" ends a mount.",
			"the store %s is mounted or watched already", o->store));
	return foreground ? serve(o, lock_fd) : serve_behind(o, lock_fd);
}
