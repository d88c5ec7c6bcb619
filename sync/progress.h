/*
 * progress.h - how far a sync is: who tells it, and one line on a terminal that shows it.
 *
 * The line is written over at most 5 times a second, never before a fifth of a second is over, is never
 * wider than the terminal is now, and is gone when anything else is written or the sync is at its end.
 * Where there is no terminal nothing is written at all.
 */
#ifndef MB_SYNC_PROGRESS_H
#define MB_SYNC_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum progress_phase {
	PROGRESS_LOOKING,   /* at the files of both sides */
	PROGRESS_COMPARING, /* states; in a full comparison each message */
	PROGRESS_READING,   /* bodies, for their digests */
	PROGRESS_SENDING,   /* items of the plan for the peer */
	PROGRESS_GETTING,   /* of the plan for us */
};

/* Who wants to be told.  fn may be NULL.  Called very often: it has to be cheap. */
struct progress_to {
	void (*fn)(enum progress_phase phase, uint64_t n, uint64_t of, void *arg);
	void *arg;
};
/* n of `of` (0: nobody knows how many) are done; `to` may be NULL. */
static inline void progress_tell(const struct progress_to *to, enum progress_phase phase,
				 uint64_t n, uint64_t of)
{
	if (to && to->fn)
		to->fn(phase, n, of, to->arg);
}

/* ---- the line ---- */

#define PROGRESS_EVERY_MS 200
#define PROGRESS_LINE_MAX 128

/*
 * "sending 120 of 800, 40/s, 17 s left" in at most `width` characters (all of them ASCII): what does not
 * fit is left out from the end.  elapsed_ms: of this phase.  Gives the length.
 */
size_t progress_line(enum progress_phase phase, uint64_t n, uint64_t of, int64_t elapsed_ms,
		     size_t width, char ret[PROGRESS_LINE_MAX]);

struct progress {
	int fd;
	bool on, shown;
	enum progress_phase phase;
	int64_t phase_ms, last_ms; /* when it began, when something was shown */
};
/* Shows it on `fd` if it is a terminal, `wanted`, and TERM is one that can clear a line.  Messages of
 * mb_msg() clear the line first.  One at a time; close it. */
void progress_open(struct progress *p, int fd, bool wanted);
/* For progress_to; arg: struct progress. */
void progress_show(enum progress_phase phase, uint64_t n, uint64_t of, void *arg);
/* The line is gone until it is shown next; for whoever writes to the terminal.  arg: struct progress. */
void progress_clear(void *arg);
/* As progress_clear(), from a signal handler that ends the process. */
void progress_wipe(void);
void progress_close(struct progress *p);

#endif
