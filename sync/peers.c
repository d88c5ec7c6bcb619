/*
 * peers.c - see peers.h.
 */
#include "sync/peers.h"

#include "backends/base/mem.h"
#include "backends/store/log.h"
#include "backends/store/store.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ID_DIGITS_MIN 4

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
	struct peer_state *mine = &all->list[all->n++];
	*mine = (struct peer_state){0};
	peer_state_clone(mine, p);
	if (!mine->destination)
		mine->destination = mb_xstrdup("");
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

int peers_read_store(struct store *s, struct peers *ret)
{
	struct peers all = {0};
	struct index_txn *tx;
	int err = index_begin(store_index(s), false, &tx);

	if (err < 0)
		return err;
	err = index_each_peer(tx, keep, &all);
	index_abort(tx);
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

/* ---- by name --------------------------------------------------------------------------------- */

static bool id_begins(uint64_t replica, const char *digits)
{
	char text[17];
	size_t n = strlen(digits);

	snprintf(text, sizeof(text), "%016" PRIx64, replica);
	return n >= ID_DIGITS_MIN && n < sizeof(text) && strncasecmp(text, digits, n) == 0;
}

int peers_find(const struct peers *p, const char *name)
{
	int found = -1;

	for (size_t i = 0; i < p->n; i++)
		if (peer_is_ours(&p->list[i]) && strcmp(p->list[i].destination, name) == 0)
			return (int)i;
	if (strncmp(name, "replica ", 8) == 0) /* as it is told */
		name += 8;
	for (size_t i = 0; i < p->n; i++)
		if (id_begins(p->list[i].replica, name))
			found = found == -1 ? (int)i : -2;
	return found;
}

/* ---- what it keeps --------------------------------------------------------------------------- */

struct pin_walk {
	const struct peer_state *peer;
	uint32_t current; /* the file that is being written */
	struct peer_pin pin;
};

static int add_file(uint32_t sequence, int64_t created_ns, uint64_t size, void *arg)
{
	struct pin_walk *w = arg;

	if (sequence < w->peer->local.sequence || sequence >= w->current)
		return 0;
	w->pin.pinned_files++;
	w->pin.pinned_bytes += size;
	if (!w->pin.since_ns)
		w->pin.since_ns = created_ns;
	return 0;
}

static int count_news(const struct record *r, const struct position *end, uint64_t modseq,
		      void *arg)
{
	struct pin_walk *w = arg;

	w->pin.news += r->type && r->type < REC_PEER && r->type != REC_DIGEST &&
		       r->type != REC_FOUND && r->origin.replica != w->peer->replica;
	return 0;
}

int peer_pin_read(struct store *s, const struct peer_state *p, int64_t now_ns, struct peer_pin *ret)
{
	struct position end;
	struct pin_walk w = {.peer = p};
	int err = log_end(store_log(s), &end);

	if (err < 0)
		return err;
	w.pin.held = log_check(store_log(s), &p->local) == 0;
	w.current = end.sequence;
	if (w.pin.held)
		err = log_files(store_log(s), add_file, &w);
	if (w.pin.held && err >= 0)
		err = log_read(store_log(s), &p->local, count_news, &w, NULL);
	w.pin.pins = w.pin.held && now_ns - p->synced_ns < STORE_PEER_PIN_NS;
	*ret = w.pin;
	return err < 0 ? err : 0;
}
