/*
 * clock.h - time, with one hook for tests.
 */
#ifndef MB_BASE_CLOCK_H
#define MB_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_wall_ns(void); /* CLOCK_REALTIME */
int64_t clock_mono_ns(void); /* CLOCK_BOOTTIME: goes on while the machine sleeps */

/* Tests: adds this to clock_wall_ns().  MAILBRAID_CLOCK_OFFSET (seconds) does the same. */
void clock_set_offset_ns(int64_t offset_ns);

/* The kernel's boot id as 16 bytes; zeros where there is none. */
void clock_boot_id(uint8_t ret[16]);

#endif
