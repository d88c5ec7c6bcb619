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
