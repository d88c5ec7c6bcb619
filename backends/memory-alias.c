/*
 * memory-alias.c - messages of a replica in memory that became others: all copies at once.
 */
#include "backends/base/mem.h"
#include "backends/memory-private.h"

struct guid memory_alias(const struct memory *m, struct guid g)
{
	for (size_t i = 0; i < m->n_changes; i++)
		if (!guid_is_zero(&m->changes[i].alias) && guid_equal(&m->changes[i].alias, &g))
			g = m->changes[i].guid;
	return g;
}

/* The id that this copy gets by the alias. */
static uint64_t id_by_alias(const struct record *alias, uint64_t id)
{
	if (id == alias->old_id)
		return alias->copy.id;
	for (size_t i = 0; i < alias->n_further; i++)
		if (alias->further[i].from == id)
			return alias->further[i].to;
	return id;
}

/* `c` becomes the copy `id` of the message. */
static void join_as(struct message *to, struct copy *c, uint64_t id)
{
	struct copy *known = message_find(to, id);
	if (!known)
		known = message_add(to, id);
	c->guid = to->guid;
	c->id = id;
	copy_join(known, c);
}

int memory_put_alias(struct memory *m, const struct record *want)
{
	struct guid from = want->old_guid, to = memory_alias(m, want->copy.guid);
	if (!memory_get(m, &from) || guid_equal(&from, &to))
		return 0;
	struct memory_message *new = memory_add(m, &to);
	struct memory_message *old = memory_get(m, &from); /* it may have moved */
	for (size_t i = 0; i < old->message.n; i++) {
		struct copy *c = &old->message.copies[i];
		join_as(&new->message, c, id_by_alias(want, c->id));
	}
	if (!new->body) {
		new->body = old->body ? mb_xmemdup(old->body, old->size) : NULL;
		new->size = old->size;
	}
	memory_drop(m, old);
	memory_log(m, false, &to, &from);
	return 1;
}
