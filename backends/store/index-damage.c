/*
 * index-damage.c - an index whose bytes were damaged must not stop the store for ever.
 *
 * LMDB believes its pages.  Where they are damaged it ends the process by an assertion, or the kernel
 * does by SIGBUS (the file is shorter than the map), SIGSEGV (there is no such page) or SIGFPE (a page size
 * of 0).  These are caught here, the latter two only in LMDB's own code: the data file of every
 * index that this process has open is removed, the process says so and ends with "try later"; the next
 * start finds no index and builds it from checkpoint, log and files.  A reader removes it only when the
 * store has no writer: it takes the writer's lock for that.
 *
 * What runs here runs in a signal handler or in the middle of LMDB: only system calls, no locks, no
 * memory.  The file that goes is a cache, so no step of this is a durable one.
 */
#include "backends/store/index-private.h"
#include "backends/base/io.h"
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { WATCHED_MAX = 8, EXIT_TRY_LATER = 75 };

static struct watched {
	char path[PATH_MAX];   /* of data.mdb; "" = free */
	char lock[PATH_MAX];   /* of the store's lock */
	char config[PATH_MAX]; /* of the store, if it is one */
	MDB_env *env;	       /* borrowed; to know it by */
	bool writable;
} watched[WATCHED_MAX];
static pthread_mutex_t watched_lock = PTHREAD_MUTEX_INITIALIZER; /* not taken by the handlers */

static void say(const char *text)
{
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		return; /* nobody listens */
}

static bool is_in_store(const struct watched *w)
{
	return access(w->config, F_OK) == 0;
}

/* The lock goes with the process. */
static bool may_remove(const struct watched *w)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd;

	if (!w->path[0] || io_is_read_only())
		return false;
	if (w->writable)
		return true;
	/* of a store that lost the file, nobody has it locked */
	fd = open(w->lock, O_RDWR | O_NOFOLLOW | O_CLOEXEC | (is_in_store(w) ? O_CREAT : 0), 0600);
	return fd >= 0 && fcntl(fd, F_OFD_SETLK, &l) == 0;
}

static _Noreturn void end_damaged(void)
{
	int removed = 0;

	for (size_t i = 0; i < WATCHED_MAX; i++) {
		if (may_remove(&watched[i]) && unlink(watched[i].path) == 0)
			removed++;
	}
	say("mailbraid: the index is damaged\n");
	say(removed ? "  do:  run it again: the index is made anew from the log and the files\n"
		    : "  do:  end the program that has the store open (mailbraid status tells), "
		      "run it again\n");
	_exit(EXIT_TRY_LATER);
}

static __thread volatile sig_atomic_t in_lmdb;

void index_lmdb_enter(void)
{
	in_lmdb++;
}

void index_lmdb_leave(void)
{
	in_lmdb--;
}

static void on_bus_error(int sig)
{
	end_damaged();
}

/* A fault of our own is none of the index, nor is a signal that somebody sent: it ends the process as
 * usual, as soon as this has returned. */
static void on_fault(int sig)
{
	if (in_lmdb > 0)
		end_damaged();
	signal(sig, SIG_DFL);
	raise(sig);
}

static void on_assertion(MDB_env *env, const char *text)
{
	end_damaged();
}

static void catch_bus_errors(void)
{
	struct sigaction now, bus = {.sa_handler = on_bus_error}, fault = {.sa_handler = on_fault};
	static const int faults[] = {SIGSEGV, SIGFPE};

	if (sigaction(SIGBUS, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
		sigaction(SIGBUS, &bus, NULL);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		if (sigaction(faults[i], NULL, &now) == 0 && now.sa_handler == SIG_DFL)
			sigaction(faults[i], &fault, NULL);
	}
}

void index_damage_watch(MDB_env *env, const char *path, bool writable)
{
	mdb_env_set_assert(env, on_assertion);
	pthread_mutex_lock(&watched_lock);
	catch_bus_errors();
	for (size_t i = 0; i < WATCHED_MAX; i++) {
		if (watched[i].path[0])
			continue;
		snprintf(watched[i].lock, sizeof(watched[i].lock), "%s/../lock", path);
		snprintf(watched[i].config, sizeof(watched[i].config), "%s/../config", path);
		watched[i].writable = writable;
		watched[i].env = env;
		snprintf(watched[i].path, sizeof(watched[i].path), "%s/data.mdb", path);
		break;
	}
	pthread_mutex_unlock(&watched_lock);
}

void index_damage_forget(MDB_env *env)
{
	pthread_mutex_lock(&watched_lock);
	for (size_t i = 0; i < WATCHED_MAX; i++) {
		if (watched[i].env != env)
			continue;
		watched[i].path[0] = '\0';
		watched[i].env = NULL;
	}
	pthread_mutex_unlock(&watched_lock);
}
