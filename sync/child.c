/*
 * child.c - see child.h.
 */
#include "sync/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define DELAY_FIRST_NS INT64_C(100000000)

static void __attribute__((noreturn)) run(const char *const argv[], int pass_fd, pid_t parent)
{
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1); /* it died before the line above */
	if (pass_fd == 3)
		fcntl(3, F_SETFD, 0);
	else if (pass_fd >= 0)
		dup2(pass_fd, 3);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	execv(argv[0], (char *const *)(uintptr_t)argv); /* it changes none of them */
	dprintf(2, "mailbraid: cannot run %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

int child_start(struct child *c, const char *const argv[], int pass_fd, int64_t now_ns)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0)
		run(argv, pass_fd, parent);
	c->pid = pid;
	c->started_ns = now_ns;
	c->due_ns = 0;
	c->kill_ns = 0;
	return 0;
}

void child_end(struct child *c, int64_t now_ns, int64_t grace_ns)
{
	c->due_ns = 0;
	if (!c->pid || c->kill_ns)
		return;
	kill(c->pid, SIGTERM);
	kill(c->pid, SIGCONT); /* who was stopped does not hear it */
	c->kill_ns = now_ns + grace_ns;
}

bool child_reap(struct child *c, int *ret_status)
{
	if (!c->pid || waitpid(c->pid, ret_status, WNOHANG) != c->pid)
		return false;
	c->pid = 0;
	c->kill_ns = 0;
	return true;
}

bool child_again(struct child *c, int64_t now_ns)
{
	int64_t delay = DELAY_FIRST_NS;

	if (now_ns - c->started_ns >= CHILD_QUICK_NS)
		c->quick = 0;
	for (unsigned i = 0; i < c->quick && delay < CHILD_DELAY_MAX_NS; i++)
		delay *= 2;
	c->quick++;
	c->due_ns = now_ns + (delay < CHILD_DELAY_MAX_NS ? delay : CHILD_DELAY_MAX_NS);
	return c->quick <= CHILD_QUICK_MAX;
}

int64_t child_check(struct child *c, int64_t now_ns)
{
	if (!c->pid || !c->kill_ns)
		return c->due_ns;
	if (now_ns < c->kill_ns)
		return c->kill_ns;
	kill(c->pid, SIGKILL);
	c->kill_ns = now_ns + INT64_C(1000000000);
	return c->kill_ns;
}

const char *child_fate(int status, char text[64])
{
	if (WIFSIGNALED(status))
		snprintf(text, 64, "ended by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(text, 64, "ended with exit code %d", WEXITSTATUS(status));
	return text;
}
