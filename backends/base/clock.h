/*
 * clock.h - time, with two hooks for tests.
 */
#ifndef MB_BASE_CLOCK_H
#define MB_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

int64_t clock_wall_ns(void); /* CLOCK_REALTIME */
int64_t clock_mono_ns(void); /* CLOCK_BOOTTIME: goes on while the machine sleeps */

/* Tests: adds this to clock_wall_ns().  MAILBRAID_CLOCK_OFFSET (seconds) does the same. */
void clock_set_offset_ns(int64_t offset_ns);
/* Tests: clock_wall_ns() is what this gives; NULL: the clock again.  Before other threads begin. */
void clock_set_source(int64_t (*source)(void));

/* The kernel's boot id as 16 bytes; zeros where there is none. */
void clock_boot_id(uint8_t ret[16]);

/* Nanoseconds since 1970, which may lie before it, and back.  What has no place in 64 bits (a file may
 * say that it is of the year 2446) is the nearest that has. */
static inline int64_t clock_timespec_ns(const struct timespec *t)
{
	int64_t ns;

	if (__builtin_mul_overflow((int64_t)t->tv_sec, 1000000000, &ns) ||
	    __builtin_add_overflow(ns, (int64_t)t->tv_nsec, &ns))
		return t->tv_sec < 0 ? INT64_MIN : INT64_MAX;
	return ns;
}
static inline struct timespec clock_timespec(int64_t ns)
{
	int64_t s = ns / 1000000000 - (ns % 1000000000 < 0);

	return (struct timespec){.tv_sec = s, .tv_nsec = ns - s * 1000000000};
}

#endif
