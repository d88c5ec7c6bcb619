/*
 * backend.c - what the seam's values need, whoever wears it.
 */
#include "backends/backend.h"
#include <stdlib.h>

void change_set_release(struct change_set *c)
{
	free(c->messages);
	free(c->mailboxes);
	free(c->aliases);
	*c = (struct change_set){0};
}

/* For another short-lived writer, as a second sync is. */
static int64_t lock_wait_ns = 10000000000;

void backend_lock_wait(unsigned seconds)
{
	lock_wait_ns = (int64_t)seconds * 1000000000;
}

int64_t backend_lock_wait_ns(void)
{
	return lock_wait_ns;
}
