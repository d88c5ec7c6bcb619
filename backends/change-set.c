/*
 * change-set.c - news of a backend: keys only.
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
