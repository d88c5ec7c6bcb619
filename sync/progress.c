/*
 * progress.c - see progress.h.
 *
 * Messages may come from another thread than the sync: one lock is around what is on the terminal.
 */
#include "sync/progress.h"

#include "backends/base/clock.h"
#include "backends/base/msg.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define CLEAR "\r\033[K"
#define WIDTH_UNKNOWN 80

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static volatile sig_atomic_t shown_on = -1; /* where a line stands, for a signal handler */

/* ---- the text -------------------------------------------------------------------------------- */

/* Adds a part if all of it fits. */
static bool add_part(char *line, size_t *len, size_t width, const char *part)
{
	size_t n = strlen(part);

	if (width > PROGRESS_LINE_MAX - 1)
		width = PROGRESS_LINE_MAX - 1;
	if (*len + n > width)
		return false;
	memcpy(line + *len, part, n + 1);
	*len += n;
	return true;
}

static void time_left(uint64_t seconds, char *ret, size_t size)
{
	if (seconds < 120)
		snprintf(ret, size, ", %" PRIu64 " s left", seconds);
	else if (seconds < 7200)
		snprintf(ret, size, ", %" PRIu64 " min left", seconds / 60);
	else
		snprintf(ret, size, ", %" PRIu64 " h left", seconds / 3600);
}

size_t progress_line(enum progress_phase phase, uint64_t n, uint64_t of, int64_t elapsed_ms,
		     size_t width, char ret[PROGRESS_LINE_MAX])
{
	static const char *const names[] = {"looking at the files", "comparing", "reading bodies",
					    "sending", "getting"};
	double rate = elapsed_ms > 0 ? (double)n * 1000 / (double)elapsed_ms : 0;
	char part[PROGRESS_LINE_MAX];
	size_t len = 0;

	ret[0] = '\0';
	if (!add_part(ret, &len, width, names[phase]) || (!n && !of))
		return len;
	if (of)
		snprintf(part, sizeof(part), " %" PRIu64 " of %" PRIu64, n, of);
	else
		snprintf(part, sizeof(part), " %" PRIu64, n);
	if (!add_part(ret, &len, width, part) || rate <= 0)
		return len;
	snprintf(part, sizeof(part), rate < 10 ? ", %.1f/s" : ", %.0f/s", rate);
	if (!add_part(ret, &len, width, part) || of <= n)
		return len;
	time_left((uint64_t)((double)(of - n) / rate + 0.999), part, sizeof(part));
	add_part(ret, &len, width, part);
	return len;
}

/* ---- the terminal ---------------------------------------------------------------------------- */

static size_t width_of(int fd)
{
	struct winsize size;

	return ioctl(fd, TIOCGWINSZ, &size) < 0 || !size.ws_col ? WIDTH_UNKNOWN : size.ws_col;
}

/* A terminal that is gone is not worth an error. */
static void put(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(fd, text, len);
		if (n <= 0)
			return;
		text += n;
		len -= (size_t)n;
	}
}

static void draw(struct progress *p, uint64_t n, uint64_t of, int64_t now)
{
	char line[PROGRESS_LINE_MAX], text[PROGRESS_LINE_MAX + sizeof(CLEAR)];

	/* The last column stays free: a terminal may wrap when it is filled. */
	progress_line(p->phase, n, of, now - p->phase_ms, width_of(p->fd) - 1, line);
	int len = snprintf(text, sizeof(text), "%s%s", CLEAR, line);
	shown_on = p->fd;
	put(p->fd, text, (size_t)len);
	p->shown = true;
}

void progress_open(struct progress *p, int fd, bool wanted)
{
	const char *term = getenv("TERM");

	memset(p, 0, sizeof(*p));
	p->fd = fd;
	p->on = wanted && isatty(fd) == 1 && term && *term && strcmp(term, "dumb") != 0;
	p->last_ms = p->phase_ms = clock_mono_ns() / 1000000;
	if (p->on)
		mb_msg_set_before(progress_clear, p);
}

void progress_show(enum progress_phase phase, uint64_t n, uint64_t of, void *arg)
{
	struct progress *p = arg;

	if (!p->on)
		return;
	int64_t now = clock_mono_ns() / 1000000;
	if (phase != p->phase) {
		p->phase = phase;
		p->phase_ms = now;
	}
	if (now - p->last_ms < PROGRESS_EVERY_MS)
		return;
	p->last_ms = now;
	pthread_mutex_lock(&lock);
	draw(p, n, of, now);
	pthread_mutex_unlock(&lock);
}

void progress_clear(void *arg)
{
	struct progress *p = arg;

	pthread_mutex_lock(&lock);
	if (p->shown)
		put(p->fd, CLEAR, sizeof(CLEAR) - 1);
	p->shown = false;
	shown_on = -1;
	pthread_mutex_unlock(&lock);
}

void progress_wipe(void)
{
	if (shown_on >= 0)
		put(shown_on, CLEAR, sizeof(CLEAR) - 1);
	shown_on = -1;
}

void progress_close(struct progress *p)
{
	if (!p->on)
		return;
	mb_msg_set_before(NULL, NULL);
	progress_clear(p);
	p->on = false;
}
