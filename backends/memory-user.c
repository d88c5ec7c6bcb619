/*
 * memory-user.c - what programs do to the replica in memory: each makes a stamp of its own clock,
 * sets the registers and logs the key.
 */
#include "backends/memory-private.h"
#include "backends/base/mem.h"
#include "backends/mail/fname.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>

static struct mailbox *live_mailbox(struct memory *m, const struct guid *g)
{
	struct mailbox *box = tree_find(&m->tree, g);
	return box && mailbox_alive(box) ? box : NULL;
}

static struct copy *find_copy(struct memory *m, const struct guid *g, uint64_t id)
{
	struct memory_message *msg = memory_get(m, g);
	return msg ? message_find(&msg->message, id) : NULL;
}

static struct copy *find_live(struct memory *m, const struct guid *g, uint64_t id)
{
	struct copy *c = find_copy(m, g, id);
	return c && copy_alive(c) ? c : NULL;
}

/* ---- mailboxes ---- */

static uint32_t new_uid_validity(struct stamp now)
{
	return (uint32_t)(now.time >> 26); /* about seconds, and later is greater */
}

static void make_mailbox(struct memory *m, const struct guid *parent, const char *part,
			 struct guid *ret)
{
	struct stamp now = hlc_now(&m->clock);
	struct mailbox box = {
		.guid = memory_new_guid(m),
		.parent = *parent,
		.part = mb_xstrdup(part),
		.born = now,
		.named_at = now,
		.selectable = true,
		.uid_validity = new_uid_validity(now),
		.uid_next = 1,
	};
	tree_put(&m->tree, &box);
	*ret = box.guid;
	mailbox_release(&box);
}

int memory_create(struct backend *b, const struct guid *parent, const char *part,
		  struct guid *ret_mailbox)
{
	struct memory *m = memory_of(b);
	struct mailbox *box = tree_child(&m->tree, parent, part);

	if (!guid_is_zero(parent) && !live_mailbox(m, parent))
		return -ENOENT;
	if (box && mailbox_alive(box) && box->selectable)
		return -EEXIST;
	if (box) {
		struct stamp now = hlc_now(&m->clock);
		if (!mailbox_alive(box))
			box->revived = now;
		box->selectable = true;
		box->selectable_at = now;
		*ret_mailbox = box->guid;
	} else {
		make_mailbox(m, parent, part, ret_mailbox);
	}
	memory_log_own(m, true, ret_mailbox);
	return 0;
}

static bool is_below(const struct tree *t, struct guid g, const struct guid *top)
{
	for (size_t steps = 0; steps <= t->n && !guid_is_zero(&g); steps++) {
		if (guid_equal(&g, top))
			return true;
		const struct mailbox *box = tree_find(t, &g);
		if (!box)
			return false;
		g = tree_resolve(t, box->parent);
	}
	return false;
}

int memory_rename(struct backend *b, const struct guid *mailbox, const struct guid *parent,
		  const char *part)
{
	struct memory *m = memory_of(b);
	struct mailbox *box = live_mailbox(m, mailbox);

	if (!box || (!guid_is_zero(parent) && !live_mailbox(m, parent)))
		return -ENOENT;
	if (guid_equal(mailbox, &GUID_INBOX) || is_below(&m->tree, *parent, mailbox))
		return -EINVAL;
	if (tree_child(&m->tree, parent, part))
		return -EEXIST;
	free(box->old_part);
	box->old_part = box->part;
	box->old_parent = box->parent;
	box->part = mb_xstrdup(part);
	box->parent = *parent;
	box->named_at = hlc_now(&m->clock);
	memory_log_own(m, true, mailbox);
	return 0;
}

static void expunge_all(struct memory *m, const struct mailbox *box, struct stamp now)
{
	for (size_t i = 0; i < m->n_messages; i++) {
		struct message *msg = &m->messages[i].message;
		for (size_t k = 0; k < msg->n; k++) {
			struct copy *c = &msg->copies[k];
			if (!copy_alive(c) || !guid_equal(&c->place.mailbox, &box->guid))
				continue;
			c->dead = c->place.at;
			c->dead_at = now;
			c->via = box->guid;
			c->via_seen = mailbox_seen(box);
			memory_log_own(m, false, &msg->guid);
		}
	}
}

int memory_delete(struct backend *b, const struct guid *mailbox)
{
	struct memory *m = memory_of(b);
	struct mailbox *box = live_mailbox(m, mailbox);

	if (!box)
		return -ENOENT;
	if (guid_equal(mailbox, &GUID_INBOX))
		return -EINVAL;
	struct stamp now = hlc_now(&m->clock);
	expunge_all(m, box, now);
	box->dead = mailbox_seen(box);
	box->dead_at = now;
	memory_log_own(m, true, mailbox);
	return 0;
}

int memory_subscribe(struct backend *b, const struct guid *mailbox, bool subscribed)
{
	struct memory *m = memory_of(b);
	struct mailbox *box = live_mailbox(m, mailbox);

	if (!box)
		return -ENOENT;
	if (box->subscribed == subscribed)
		return 0;
	box->subscribed = subscribed;
	box->subscribed_at = hlc_now(&m->clock);
	memory_log_own(m, true, mailbox);
	return 0;
}

/* ---- messages ---- */

static size_t unique_length(const char *base)
{
	struct fname f;
	fname_parse(base, &f);
	return f.unique_len;
}

/* Another mail has a file of this name in that mailbox. */
static bool base_taken(const struct memory *m, const struct copy *c, const struct guid *box)
{
	size_t n = unique_length(c->place.base);
	for (size_t i = 0; i < m->n_messages; i++) {
		const struct message *msg = &m->messages[i].message;
		for (size_t k = 0; k < msg->n; k++) {
			const struct place *p = &msg->copies[k].place;
			if (&msg->copies[k] != c && p->base && copy_alive(&msg->copies[k]) &&
			    guid_equal(&p->mailbox, box) && unique_length(p->base) == n &&
			    memcmp(p->base, c->place.base, n) == 0)
				return true;
		}
	}
	return false;
}

static char *new_base(struct stamp at, size_t size)
{
	return mb_xasprintf("%" PRIx64 ".%" PRIx64 ".memory,S=%zu", at.time, at.replica, size);
}

static void put_in(struct memory *m, struct copy *c, struct mailbox *box)
{
	struct stamp now = hlc_now(&m->clock);
	if (!c->place.base || base_taken(m, c, &box->guid)) {
		free(c->place.base);
		c->place.base = new_base(now, c->size);
	}
	c->place.mailbox = box->guid;
	c->place.uid = box->uid_next++;
	c->place.at = now;
}

static void set_content(struct memory_message *msg, struct copy *c, const void *data, size_t len)
{
	msg->body = mb_xmemdup(data, len);
	msg->size = len;
	c->size = len;
	c->received_ns = stamp_ms(&c->place.at) * 1000000;
	digest_mem(data, len, &c->digest);
}

int memory_deliver(struct backend *b, const struct guid *mailbox, const void *data, size_t len,
		   uint8_t flags, struct guid *ret_guid)
{
	struct memory *m = memory_of(b);
	struct mailbox *box = live_mailbox(m, mailbox);

	if (!box || !box->selectable)
		return -ENOENT;
	struct guid guid = memory_new_guid(m);
	struct memory_message *msg = memory_add(m, &guid);
	struct copy *c = message_add(&msg->message, 0);
	c->size = len;
	put_in(m, c, box);
	for (unsigned bit = 0; bit < FLAG_COUNT; bit++)
		if (flags & FLAG_MASK(bit))
			flags_put(&c->flags, bit, true, c->place.at);
	set_content(msg, c, data, len);
	memory_log_own(m, false, &guid);
	*ret_guid = guid;
	return 0;
}

int memory_flags(struct backend *b, const struct guid *guid, uint64_t id, uint8_t add,
		 uint8_t remove)
{
	struct memory *m = memory_of(b);
	struct copy *c = find_live(m, guid, id);

	if (!c)
		return -ENOENT;
	uint8_t want = (uint8_t)((c->flags.set | add) & ~remove);
	if (want == c->flags.set)
		return 0;
	struct stamp now = hlc_now(&m->clock);
	for (unsigned bit = 0; bit < FLAG_COUNT; bit++)
		if ((want ^ c->flags.set) & FLAG_MASK(bit))
			flags_put(&c->flags, bit, want & FLAG_MASK(bit), now);
	memory_log_own(m, false, guid);
	return 0;
}

int memory_keyword(struct backend *b, const struct guid *guid, uint64_t id, const char *name,
		   bool set)
{
	struct memory *m = memory_of(b);
	struct copy *c = find_live(m, guid, id);

	if (!c)
		return -ENOENT;
	if (!keyword_ok(name))
		return -EINVAL;
	flags_put_keyword(&c->flags, name, set, hlc_now(&m->clock));
	memory_log_own(m, false, guid);
	return 0;
}

int memory_move(struct backend *b, const struct guid *guid, uint64_t id, const struct guid *to)
{
	struct memory *m = memory_of(b);
	struct copy *c = find_live(m, guid, id);
	struct mailbox *box = live_mailbox(m, to);

	if (!c || !box || !box->selectable)
		return -ENOENT;
	if (guid_equal(&c->place.mailbox, to))
		return -EEXIST;
	put_in(m, c, box);
	memory_log_own(m, false, guid);
	return 0;
}

int memory_copy(struct backend *b, const struct guid *guid, uint64_t id, const struct guid *to,
		uint64_t *ret_id)
{
	struct memory *m = memory_of(b);
	struct mailbox *box = live_mailbox(m, to);

	if (!find_live(m, guid, id) || !box || !box->selectable)
		return -ENOENT;
	struct message *msg = &memory_get(m, guid)->message;
	do {
		*ret_id = memory_new_id(m);
	} while (message_find(msg, *ret_id));
	struct copy *new = message_add(msg, *ret_id);
	copy_clone(new, message_find(msg, id));
	new->id = *ret_id;
	new->dead = new->dead_at = new->via_seen = STAMP_NONE;
	new->via = GUID_ZERO;
	put_in(m, new, box);
	memory_log_own(m, false, guid);
	return 0;
}

int memory_expunge(struct backend *b, const struct guid *guid, uint64_t id)
{
	struct memory *m = memory_of(b);
	struct copy *c = find_live(m, guid, id);

	if (!c)
		return -ENOENT;
	c->dead = c->place.at;
	c->dead_at = hlc_now(&m->clock);
	c->via = GUID_ZERO;
	c->via_seen = STAMP_NONE;
	memory_log_own(m, false, guid);
	return 0;
}

int memory_restore(struct backend *b, const struct guid *guid, uint64_t id)
{
	struct memory *m = memory_of(b);
	struct copy *c = find_copy(m, guid, id);
	struct mailbox *box = c ? live_mailbox(m, &c->place.mailbox) : NULL;

	if (!box || !box->selectable || !memory_get(m, guid)->body)
		return -ENOENT;
	if (copy_alive(c))
		return -EEXIST;
	put_in(m, c, box);
	memory_log_own(m, false, guid);
	return 0;
}

int memory_edit(struct backend *b, const struct guid *guid, uint64_t id, const void *data,
		size_t len, struct guid *ret_guid)
{
	struct memory *m = memory_of(b);
	struct copy *old = find_live(m, guid, id);
	struct mailbox *box = old ? live_mailbox(m, &old->place.mailbox) : NULL;

	if (!box)
		return -ENOENT;
	struct guid new = memory_new_guid(m);
	struct memory_message *msg = memory_add(m, &new);
	struct copy *c = message_add(&msg->message, 0);
	old = find_live(m, guid, id); /* it may have moved */
	copy_clone(c, old);
	c->guid = new;
	c->id = 0;
	c->dead = c->dead_at = c->via_seen = STAMP_NONE;
	c->via = GUID_ZERO;
	old->dead = old->place.at;
	put_in(m, c, box);
	set_content(msg, c, data, len);
	old->dead_at = c->place.at; /* one record: how the merge knows an edit */
	old->via = GUID_ZERO;
	old->via_seen = STAMP_NONE;
	memory_log_own(m, false, &new);
	memory_log_own(m, false, guid);
	*ret_guid = new;
	return 0;
}
