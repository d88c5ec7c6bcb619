/*
 * behind.c - supervise_store(): one supervisor a store, in the background when wished.
 */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "sync/cli.h"
#include "sync/run-dir.h"
#include "sync/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

struct behind {
	const char *store;
	int told_fd; /* the process that waits for the mount */
};

/* The mount answers: the waiting command may return, and messages go to the store. */
static void ready(void *arg)
{
	const struct behind *b = arg;
	int null MB_AUTO_CLOSE = open("/dev/null", O_RDWR | O_CLOEXEC);
	int messages MB_AUTO_CLOSE = run_dir_messages(b->store);

	dup2(null, 0);
	dup2(messages >= 0 ? messages : null, 1);
	dup2(messages >= 0 ? messages : null, 2);
	if (write(b->told_fd, "", 1) != 1)
		mb_msg(MB_WARNING, "nobody waited for the mount");
	close(b->told_fd);
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

	if (pipe2(told, O_CLOEXEC) < 0)
		return mb_err_exit(mb_fail(-errno, "no pipe"));
	pid_t pid = fork();
	if (pid < 0)
		return mb_err_exit(mb_fail(-errno, "cannot fork"));
	if (pid == 0) {
		struct behind b = {.store = o->store, .told_fd = told[1]};
		struct supervise mine = *o;
		mine.ready = ready;
		mine.arg = &b;
		close(told[0]);
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
	return WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : CLI_FAILED;
}

int supervise_store(const struct supervise *o, bool foreground)
{
	int lock_fd MB_AUTO_CLOSE = run_dir_claim(o->store, o->mount);

	if (lock_fd < 0)
		return mb_err_exit(mb_fail_do(
			lock_fd, "See \"mailbraid status\"; \"mailbraid umount DIR\" ends a mount.",
			"the store %s is mounted or watched already", o->store));
	return foreground ? serve(o, lock_fd) : serve_behind(o, lock_fd);
}
