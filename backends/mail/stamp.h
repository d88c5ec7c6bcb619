/*
 * stamp.h - hybrid logical clock (Kulkarni et al. 2014) and its stamps.
 *
 * A stamp orders changes of all replicas: `time` is milliseconds since 1970 shifted left by 16, plus
 * a counter; `replica` breaks ties.  A clock never goes back and is moved past every stamp that is
 * seen, so a change made after seeing another one always has the greater stamp, whatever the wall
 * clocks say.
 */
#ifndef MB_MAIL_STAMP_H
#define MB_MAIL_STAMP_H

#include <stdbool.h>
#include <stdint.h>

struct stamp {
	uint64_t time;
	uint64_t replica; /* random id of the replica that made the change; 0 = nobody */
};

#define STAMP_NONE ((struct stamp){0, 0}) /* before everything */

int stamp_compare(const struct stamp *a, const struct stamp *b);
bool stamp_is_none(const struct stamp *s);
struct stamp stamp_max(struct stamp a, struct stamp b);
int64_t stamp_ms(const struct stamp *s); /* milliseconds since 1970 */

struct hlc {
	uint64_t last; /* greatest time given or seen */
	uint64_t replica;
};

/* The next stamp: greater than all given or seen before. */
struct stamp hlc_now(struct hlc *clock);

/* Moves the clock past `seen`, so that what is done here from now on comes after it: a change must
 * beat the one that its maker saw, also when that came from a clock that was wrong by days.  false when
 * the stamp is over a day ahead of the wall clock, which the caller reports.  Ten years ahead is
 * nobody's clock: that does not move it. */
bool hlc_see(struct hlc *clock, const struct stamp *seen);

/* Takes a stamp from outside that is over ten years ahead of the wall clock as now.  true if it was. */
bool stamp_clamp(struct stamp *s);

#endif
