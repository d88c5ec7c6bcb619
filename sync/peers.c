/*
 * peers.c - see peers.h.
 */
#include "sync/peers.h"

#include "backends/base/mem.h"

#include <inttypes.h>
#include <string.h>

void peers_release(struct peers *p)
{
	for (size_t i = 0; i < p->n; i++)
		peer_state_release(&p->list[i]);
	free(p->list);
	memset(p, 0, sizeof(*p));
}

static int keep(struct peer_state *p, void *arg)
{
	struct peers *all = arg;

	MB_GROW(all->list, all->cap, all->n + 1);
	all->list[all->n] = *p;
	memset(p, 0, sizeof(*p));
	if (!all->list[all->n].destination)
		all->list[all->n].destination = mb_xstrdup("");
	all->n++;
	return 0;
}

int peers_read(struct backend *local, struct peers *ret)
{
	struct peers all = {0};
	int err = local->ops->each_peer(local, keep, &all);

	if (err < 0) {
		peers_release(&all);
		return err;
	}
	*ret = all;
	return 0;
}

bool peer_is_ours(const struct peer_state *p)
{
	return p->destination && *p->destination && (p->synced_ns || !p->n_scopes);
}

char *peer_name(const struct peer_state *p)
{
	if (peer_is_ours(p))
		return mb_xstrdup(p->destination);
	return mb_xasprintf("replica %016" PRIx64, p->replica);
}
