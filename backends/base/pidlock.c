/*
 * pidlock.c - see pidlock.h.
 */
#include "backends/base/pidlock.h"
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OLD_SECONDS 300

void pidlock_text(char out[PIDLOCK_TEXT_MAX])
{
	char host[256] = "";

	gethostname(host, sizeof(host) - 1);
	snprintf(out, PIDLOCK_TEXT_MAX, "%d:%s", (int)getpid(), host);
}

/* "PID:HOST" of a process of this host that is no more. */
static bool is_dead(const char *text, bool own_too)
{
	char own[PIDLOCK_TEXT_MAX], *end;
	const char *host;
	long pid = strtol(text, &end, 10);

	if (pid <= 0 || *end != ':')
		return false;
	pidlock_text(own);
	if (own_too && strcmp(text, own) == 0)
		return true;
	host = strchr(own, ':');
	return strcmp(end, host) == 0 && kill((pid_t)pid, 0) < 0 && errno == ESRCH;
}

/* Dovecot touches a lock that it keeps for long, and takes one that is two minutes old for a dead one. */
static bool is_old(const struct stat *st)
{
	int64_t now = clock_wall_ns() / 1000000000;

	return now - st->st_mtim.tv_sec > OLD_SECONDS && now - st->st_ctim.tv_sec > OLD_SECONDS;
}

bool pidlock_clear_dead(int dir, const char *name, bool own_too)
{
	MB_AUTO_FREE uint8_t *text = NULL;
	struct stat before, after;
	size_t len;

	if (at_stat(dir, name, &before) < 0 ||
	    io_read_file(dir, name, PIDLOCK_TEXT_MAX, &text, &len) < 0 ||
	    (!is_dead((char *)text, own_too) && !is_old(&before)))
		return false;
	if (at_stat(dir, name, &after) < 0 || after.st_ino != before.st_ino ||
	    after.st_mtim.tv_sec != before.st_mtim.tv_sec ||
	    after.st_mtim.tv_nsec != before.st_mtim.tv_nsec)
		return false;
	mb_msg(MB_INFO, "a lock of a dead process is taken away name=%s", name);
	return io_unlinkat(dir, name, 0) >= 0;
}
