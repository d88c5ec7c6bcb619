/*
 * stamp.c - hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014).
 *
 * The counter of 16 bits may run over into the milliseconds: the clock is then a little ahead of the
 * wall clock, which changes nothing in the order.  A struct hlc is guarded by its owner.
 */
#include "backends/mail/stamp.h"
#include "backends/base/clock.h"

#define DAY_MS UINT64_C(86400000)
#define ABSURD_MS (3650 * DAY_MS)
#define COUNTER_BITS 16

/* Now by the wall clock, with counter 0; a clock before 1970 counts as 1970. */
static uint64_t wall_time(void)
{
	int64_t ns = clock_wall_ns();

	return ns < 0 ? 0 : (uint64_t)(ns / 1000000) << COUNTER_BITS;
}

static bool ahead_by(const struct stamp *s, uint64_t ms)
{
	uint64_t now = wall_time();

	return s->time > now && s->time - now > ms << COUNTER_BITS;
}

int stamp_compare(const struct stamp *a, const struct stamp *b)
{
	if (a->time != b->time)
		return a->time < b->time ? -1 : 1;
	return (a->replica > b->replica) - (a->replica < b->replica);
}

bool stamp_is_none(const struct stamp *s)
{
	return !s->time && !s->replica;
}

struct stamp stamp_max(struct stamp a, struct stamp b)
{
	return stamp_compare(&a, &b) >= 0 ? a : b;
}

int64_t stamp_ms(const struct stamp *s)
{
	return (int64_t)(s->time >> COUNTER_BITS);
}

struct stamp hlc_now(struct hlc *clock)
{
	uint64_t now = wall_time();

	clock->last = now > clock->last ? now : clock->last + 1;
	return (struct stamp){.time = clock->last, .replica = clock->replica};
}

bool hlc_see(struct hlc *clock, const struct stamp *seen)
{
	if (seen->time > clock->last && !ahead_by(seen, ABSURD_MS))
		clock->last = seen->time;
	return !ahead_by(seen, DAY_MS);
}

bool stamp_clamp(struct stamp *s)
{
	if (!ahead_by(s, ABSURD_MS))
		return false;
	s->time = wall_time();
	return true;
}
