/*
 * rights.h - root's right to read and to write what its mode forbids, laid down for a while: a test of
 * a file that cannot be read means the same for root and for a user.
 */
#ifndef MB_TESTS_RIGHTS_H
#define MB_TESTS_RIGHTS_H

#include <stdint.h>

struct rights {
	uint64_t had; /* effective capabilities of this thread */
};

/* From now on modes bind this thread.  Fails the test when the kernel refuses. */
struct rights rights_lay_down(void);
void rights_take_back(const struct rights *r);

#endif
