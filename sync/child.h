/*
 * child.h - a child process that is kept running: start, death, back-off.
 *
 * Times are given by the caller, so that a test needs no waiting.
 */
#ifndef MB_SYNC_CHILD_H
#define MB_SYNC_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CHILD_QUICK_NS INT64_C(10000000000) /* a life shorter than this is a quick failure */
#define CHILD_QUICK_MAX 6
#define CHILD_DELAY_MAX_NS INT64_C(30000000000)

struct child {
	const char *name;   /* for messages */
	pid_t pid;	    /* 0 = not running */
	int64_t started_ns; /* of the last start */
	int64_t due_ns;	    /* when to start it again; 0 = not waiting */
	int64_t kill_ns;    /* told to end: SIGKILL then; 0 = not told */
	unsigned quick;	    /* quick failures in a row */
};

/* Forks and executes argv[0] (a path).  `pass_fd` (or -1) becomes descriptor 3 of the child.  The
 * child gets SIGTERM when this process dies, and no blocked signals.  0 or -errno. */
int child_start(struct child *c, const char *const argv[], int pass_fd, int64_t now_ns);

/* SIGTERM, also to one that was stopped, and SIGKILL after `grace_ns`.  Nothing when it does not run. */
void child_end(struct child *c, int64_t now_ns, int64_t grace_ns);

/* Reaps it if it ended.  true: it did, *ret_status as waitpid(). */
bool child_reap(struct child *c, int *ret_status);

/* It died and shall live: counts quick failures and sets due_ns.  false: too many, given up. */
bool child_again(struct child *c, int64_t now_ns);

/* SIGKILL when its time is over.  Returns the time to look again (0 = none). */
int64_t child_check(struct child *c, int64_t now_ns);

/* "ended by signal 9 (Killed)", "ended with exit code 1"; in `text`. */
const char *child_fate(int status, char text[64]);

#endif
