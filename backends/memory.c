/*
 * memory.c - the seam over trees and messages in memory; see memory.h.
 *
 * One thread.  A put is a join, and logs only what changed something.
 */
#include "backends/memory-private.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* ---- what it holds ---- */

uint64_t memory_new_id(struct memory *m)
{
	m->made++;
	return checksum64(&m->made, sizeof(m->made), m->info.replica);
}

struct guid memory_new_guid(struct memory *m)
{
	struct guid g;
	put_le64(g.b, memory_new_id(m));
	put_le64(g.b + 8, memory_new_id(m));
	return g;
}

static size_t message_index(const struct memory *m, const struct guid *g, bool *ret_found)
{
	size_t low = 0, high = m->n_messages;
	*ret_found = false;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = guid_compare(&m->messages[mid].message.guid, g);
		if (order == 0) {
			*ret_found = true;
			return mid;
		}
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct memory_message *memory_get(struct memory *m, const struct guid *g)
{
	bool found;
	size_t i = message_index(m, g, &found);
	return found ? &m->messages[i] : NULL;
}

struct memory_message *memory_add(struct memory *m, const struct guid *g)
{
	bool found;
	size_t i = message_index(m, g, &found);
	if (found)
		return &m->messages[i];
	MB_GROW(m->messages, m->cap_messages, m->n_messages + 1);
	memmove(m->messages + i + 1, m->messages + i, (m->n_messages - i) * sizeof(*m->messages));
	m->n_messages++;
	m->messages[i] = (struct memory_message){.message.guid = *g};
	return &m->messages[i];
}

void memory_drop(struct memory *m, struct memory_message *msg)
{
	size_t i = (size_t)(msg - m->messages);
	message_release(&msg->message);
	free(msg->body);
	m->n_messages--;
	memmove(m->messages + i, m->messages + i + 1, (m->n_messages - i) * sizeof(*m->messages));
}

void memory_log(struct memory *m, bool is_mailbox, const struct guid *g, const struct guid *alias)
{
	uint64_t before = m->n_changes ? m->changes[m->n_changes - 1].sum : 0;
	const uint64_t text[] = {m->from, m->clock.last, is_mailbox};
	MB_GROW(m->changes, m->cap_changes, m->n_changes + 1);
	m->changes[m->n_changes++] = (struct memory_change){
		.origin = m->from,
		.is_mailbox = is_mailbox,
		.guid = *g,
		.alias = alias ? *alias : GUID_ZERO,
		.sum = checksum64(g, sizeof(*g), checksum64(text, sizeof(text), before)),
	};
}

void memory_log_own(struct memory *m, bool is_mailbox, const struct guid *g)
{
	uint64_t from = m->from;

	m->from = m->info.replica;
	memory_log(m, is_mailbox, g, NULL);
	m->from = from;
}

const struct tree *memory_tree(struct backend *b)
{
	return &memory_of(b)->tree;
}

size_t memory_n_messages(struct backend *b)
{
	return memory_of(b)->n_messages;
}

const struct message *memory_message(struct backend *b, size_t index)
{
	return &memory_of(b)->messages[index].message;
}

const struct message *memory_find(struct backend *b, const struct guid *guid)
{
	struct memory_message *msg = memory_get(memory_of(b), guid);
	return msg ? &msg->message : NULL;
}

void memory_set_caps(struct backend *b, unsigned caps)
{
	memory_of(b)->info.caps = caps;
}

/* ---- news ---- */

static int info(struct backend *b, struct backend_info *ret)
{
	*ret = memory_of(b)->info;
	return 0;
}

static int refresh(struct backend *b, bool full)
{
	return 0;
}

static struct position position_at(const struct memory *m, size_t file, size_t offset)
{
	const struct memory_file *f = &m->files[file];
	return (struct position){.log = f->log,
				 .sequence = (uint32_t)file + 1,
				 .offset = (uint32_t)offset,
				 .check = offset > f->first ? m->changes[offset - 1].sum : 0};
}

static int position(struct backend *b, struct position *ret)
{
	const struct memory *m = memory_of(b);
	*ret = (struct position){0};
	if (m->info.caps & CAP_LOG)
		*ret = position_at(m, m->n_files - 1, m->n_changes);
	return 0;
}

/* This log gave the position, and still holds what comes after it. */
static bool is_held(const struct memory *m, const struct position *p)
{
	if (!p->sequence || p->sequence > m->n_files || p->offset < m->dropped)
		return false;
	size_t file = p->sequence - 1;
	size_t end = file + 1 < m->n_files ? m->files[file + 1].first : m->n_changes;
	if (p->offset < m->files[file].first || p->offset > end)
		return false;
	struct position given = position_at(m, file, p->offset);
	return position_equal(&given, p);
}

static void add_change(struct change_set *set, const struct memory_change *c)
{
	if (c->is_mailbox) {
		MB_GROW(set->mailboxes, set->cap_mailboxes, set->n_mailboxes + 1);
		set->mailboxes[set->n_mailboxes++] = c->guid;
	} else {
		MB_GROW(set->messages, set->cap_messages, set->n_messages + 1);
		set->messages[set->n_messages++] = c->guid;
	}
	if (guid_is_zero(&c->alias))
		return;
	MB_GROW(set->aliases, set->cap_aliases, set->n_aliases + 1);
	set->aliases[set->n_aliases].from = c->alias;
	set->aliases[set->n_aliases++].to = c->guid;
}

static int compare_guids(const void *a, const void *b)
{
	return guid_compare(a, b);
}

static size_t each_once(struct guid *guids, size_t n)
{
	size_t kept = 0;
	if (n)
		qsort(guids, n, sizeof(*guids), compare_guids);
	for (size_t i = 0; i < n; i++)
		if (!kept || !guid_equal(&guids[kept - 1], &guids[i]))
			guids[kept++] = guids[i];
	return kept;
}

static int changes(struct backend *b, const struct position *since, uint64_t except,
		   struct change_set *ret)
{
	struct memory *m = memory_of(b);
	struct change_set set = {0};

	if (!(m->info.caps & CAP_LOG) || !is_held(m, since))
		return MB_E_POSITION;
	for (size_t i = since->offset; i < m->n_changes; i++)
		if (!except || m->changes[i].origin != except)
			add_change(&set, &m->changes[i]);
	set.only_echo = since->offset < m->n_changes && !set.n_messages && !set.n_mailboxes;
	set.n_messages = each_once(set.messages, set.n_messages);
	set.n_mailboxes = each_once(set.mailboxes, set.n_mailboxes);
	position(b, &set.end);
	*ret = set;
	return 0;
}

/* ---- reading ---- */

static int tree(struct backend *b, struct tree *ret)
{
	*ret = (struct tree){0};
	tree_clone(ret, &memory_of(b)->tree);
	return 0;
}

static int message(struct backend *b, const struct guid *guid, struct message *ret)
{
	struct guid known = memory_alias(memory_of(b), *guid);
	const struct message *msg = memory_find(b, &known);
	*ret = (struct message){.guid = known};
	for (size_t i = 0; msg && i < msg->n; i++)
		copy_clone(message_add(ret, msg->copies[i].id), &msg->copies[i]);
	return 0;
}

static int each_message(struct backend *b, const struct guid *after,
			int (*fn)(const struct guid *g, void *arg), void *arg)
{
	struct memory *m = memory_of(b);
	for (size_t i = 0; i < m->n_messages; i++) {
		const struct guid *g = &m->messages[i].message.guid;
		int r = after && guid_compare(g, after) <= 0 ? 0 : fn(g, arg);
		if (r)
			return r;
	}
	return 0;
}

static int by_uid(struct backend *b, const struct guid *mailbox, uint32_t uid, struct guid *ret)
{
	const struct memory *m = memory_of(b);
	for (size_t i = 0; i < m->n_messages; i++) {
		const struct message *msg = &m->messages[i].message;
		for (size_t k = 0; k < msg->n; k++) {
			const struct copy *c = &msg->copies[k];
			if (!copy_alive(c) || c->place.uid != uid ||
			    !guid_equal(&c->place.mailbox, mailbox))
				continue;
			*ret = msg->guid;
			return 0;
		}
	}
	return -ENOENT;
}

static const struct copy *live_copy(struct memory *m, const struct guid *guid, uint64_t id)
{
	struct memory_message *msg = memory_get(m, guid);
	struct copy *c = msg ? message_find(&msg->message, id) : NULL;
	return c && copy_alive(c) ? c : NULL;
}

static int digest(struct backend *b, const struct guid *guid, uint64_t id, struct digest *ret)
{
	struct memory *m = memory_of(b);
	if (!live_copy(m, guid, id))
		return -ENOENT;
	struct memory_message *msg = memory_get(m, guid);
	if (!msg->body)
		return MB_E_LOST;
	digest_mem(msg->body, msg->size, ret);
	for (size_t i = 0; i < msg->message.n; i++)
		msg->message.copies[i].digest = *ret;
	return 0;
}

static int learn(struct backend *b, const struct guid *guid, uint64_t id, const struct digest *d)
{
	struct memory_message *msg = memory_get(memory_of(b), guid);
	struct copy *c = msg ? message_find(&msg->message, id) : NULL;

	if (c && copy_alive(c) && !digest_known(&c->digest))
		c->digest = *d;
	return 0;
}

static int by_digest(struct backend *b, const struct digest *d,
		     int (*fn)(const struct guid *g, uint64_t id, void *arg), void *arg)
{
	const struct memory *m = memory_of(b);
	for (size_t i = 0; i < m->n_messages; i++) {
		const struct message *msg = &m->messages[i].message;
		for (size_t k = 0; k < msg->n; k++) {
			const struct copy *c = &msg->copies[k];
			if (!copy_alive(c) || !digest_equal(&c->digest, d))
				continue;
			int r = fn(&msg->guid, c->id, arg);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int body(struct backend *b, const struct guid *guid, uint64_t id)
{
	struct memory *m = memory_of(b);
	if (!live_copy(m, guid, id))
		return -ENOENT;
	const struct memory_message *msg = memory_get(m, guid);
	if (!msg->body)
		return MB_E_LOST;
	MB_AUTO_CLOSE int fd = memfd_create("body", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	int r = io_pwrite_all(fd, msg->body, msg->size, 0);
	return r < 0 ? r : MB_TAKE_FD(fd);
}

/* ---- putting ---- */

static int begin(struct backend *b, uint64_t from, bool many)
{
	memory_of(b)->from = from;
	return 0;
}

static int commit(struct backend *b)
{
	struct memory *m = memory_of(b);
	m->from = m->info.replica;
	return 0;
}

static void see_copy(struct memory *m, const struct copy *c)
{
	hlc_see(&m->clock, &c->place.at);
	hlc_see(&m->clock, &c->place.uid_at);
	hlc_see(&m->clock, &c->dead_at);
	for (int i = 0; i < FLAG_COUNT; i++)
		hlc_see(&m->clock, &c->flags.at[i]);
	for (size_t i = 0; i < c->flags.n_keywords; i++)
		hlc_see(&m->clock, &c->flags.keywords[i].at);
}

static void see_mailbox(struct memory *m, const struct mailbox *box)
{
	hlc_see(&m->clock, &box->named_at);
	hlc_see(&m->clock, &box->dead_at);
	hlc_see(&m->clock, &box->revived);
	hlc_see(&m->clock, &box->selectable_at);
	hlc_see(&m->clock, &box->subscribed_at);
}

/* What was in a mailbox that became another is in that one. */
static void move_merged(struct memory *m)
{
	for (size_t i = 0; i < m->n_messages; i++) {
		struct message *msg = &m->messages[i].message;
		for (size_t k = 0; k < msg->n; k++) {
			struct guid *place = &msg->copies[k].place.mailbox;
			*place = tree_resolve(&m->tree, *place);
		}
	}
}

/* As in a store: the other mailbox begins as what this one is, or, when that had become this one, is a
 * mailbox again. */
static void begin_winner(struct memory *m, const struct mailbox *loser)
{
	struct mailbox winner = mailbox_as(loser, &loser->merged_into);
	struct guid to = tree_resolve(&m->tree, loser->guid);
	struct mailbox *there = tree_find(&m->tree, &to);
	bool loop = there && mailbox_merged(there);
	if (loop)
		there->merged_into = to;
	else if (tree_find(&m->tree, &winner.guid))
		return;
	else
		tree_put(&m->tree, &winner);
	memory_log(m, true, loop ? &to : &winner.guid, NULL);
}

static int put_mailbox(struct memory *m, const struct mailbox *want)
{
	struct mailbox *box = tree_find(&m->tree, &want->guid);
	bool known = box;
	see_mailbox(m, want);
	if (box && !mailbox_join(box, want))
		return 0;
	if (!box)
		tree_put(&m->tree, want);
	if (known && mailbox_merged(want))
		begin_winner(m, want);
	if (mailbox_merged(want))
		move_merged(m);
	memory_log(m, true, &want->guid, NULL);
	return 1;
}

static int take_body(struct memory_message *msg, const struct copy *want, int fd)
{
	struct stat st;
	if (msg->body)
		return 0;
	if (fd < 0)
		return -ENOENT;
	if (fstat(fd, &st) < 0)
		return -errno;
	uint8_t *data = mb_xmalloc((size_t)st.st_size);
	ssize_t r = io_pread_full(fd, data, (size_t)st.st_size, 0);
	struct digest d;
	if (r == st.st_size)
		digest_mem(data, (size_t)r, &d);
	if (r != st.st_size || (uint64_t)r != want->size ||
	    (digest_known(&want->digest) && !digest_equal(&d, &want->digest))) {
		free(data);
		return r < 0 ? (int)r : MB_E_DAMAGED;
	}
	msg->body = data;
	msg->size = (size_t)r;
	return 0;
}

static void raise_uid_next(struct memory *m, const struct copy *c)
{
	struct mailbox *box = tree_find(&m->tree, &c->place.mailbox);
	if (box && copy_alive(c) && c->place.uid >= box->uid_next && c->place.uid < UINT32_MAX)
		box->uid_next = c->place.uid + 1;
}

static void give_uid(struct memory *m, struct copy *c)
{
	struct mailbox *box = tree_find(&m->tree, &c->place.mailbox);
	if (box && copy_alive(c) && !c->place.uid)
		c->place.uid = box->uid_next++;
}

/* `want` has its GUID and mailbox resolved; borrows its strings. */
static int join_copy(struct memory *m, const struct copy *want, int fd)
{
	struct memory_message *msg = memory_add(m, &want->guid);
	struct copy *have = message_find(&msg->message, want->id);
	struct copy joined = {0};

	/* as a store does: flagged since the peer asked */
	if (have && copy_alive(have) && stamp_compare(&want->dead, &have->place.at) >= 0 &&
	    flags_later(&have->flags, &want->flags))
		return MB_E_STALE;
	copy_clone(&joined, have ? have : want);
	if (have && !copy_join(&joined, want)) {
		copy_release(&joined);
		return 0;
	}
	int r = copy_alive(&joined) ? take_body(msg, want, fd) : 0;
	if (r < 0) {
		copy_release(&joined);
		if (!msg->message.n)
			memory_drop(m, msg);
		return r;
	}
	give_uid(m, &joined);
	if (!have)
		have = message_add(&msg->message, want->id);
	copy_release(have);
	*have = joined;
	raise_uid_next(m, have);
	memory_log(m, false, &want->guid, NULL);
	return 1;
}

static int put_copy(struct memory *m, const struct copy *want, int fd)
{
	struct copy c = *want;
	c.guid = memory_alias(m, c.guid);
	c.place.mailbox = tree_resolve(&m->tree, c.place.mailbox);
	see_copy(m, &c);
	return join_copy(m, &c, fd);
}

static int put(struct backend *b, const struct record *want, int fd)
{
	struct memory *m = memory_of(b);
	switch (want->type) {
	case REC_MAILBOX_STATE:
		return put_mailbox(m, &want->mailbox);
	case REC_COPY_STATE:
	case REC_RENUMBER:
		return put_copy(m, &want->copy, fd);
	case REC_ALIAS:
		return memory_put_alias(m, want);
	case REC_PEER:
		return memory_put_peer(m, &want->peer);
	case REC_PEER_FORGET:
		return memory_forget_peer(m, want->peer.replica);
	case REC_REPLICA:
		m->info.replica = m->clock.replica = m->from = want->replica_id;
		return 1;
	case REC_PEER_ENTRY:
		return memory_put_entry(m, &want->entry);
	default:
		return -EINVAL;
	}
}

/* ---- clock ---- */

static int now(struct backend *b, const struct stamp *seen, struct stamp *ret)
{
	struct memory *m = memory_of(b);
	if (seen)
		hlc_see(&m->clock, seen);
	if (ret)
		*ret = hlc_now(&m->clock);
	return 0;
}

static int watch_fd(struct backend *b)
{
	return -1;
}

static int woken(struct backend *b)
{
	return 0;
}

static void allow_mass_expunge(struct backend *b, bool allow)
{
}

static void close_memory(struct backend *b)
{
	struct memory *m = memory_of(b);
	tree_release(&m->tree);
	for (size_t i = 0; i < m->n_messages; i++) {
		message_release(&m->messages[i].message);
		free(m->messages[i].body);
	}
	memory_release_peers(m);
	free(m->messages);
	free(m->changes);
	free(m->files);
	free(m);
}

static const struct backend_ops memory_ops = {
	.name = "memory",
	.close = close_memory,
	.info = info,
	.refresh = refresh,
	.position = position,
	.changes = changes,
	.tree = tree,
	.message = message,
	.each_message = each_message,
	.by_uid = by_uid,
	.digest = digest,
	.learn = learn,
	.by_digest = by_digest,
	.body = body,
	.begin = begin,
	.put = put,
	.commit = commit,
	.now = now,
	.peer = memory_peer,
	.each_peer = memory_each_peer,
	.each_entry = memory_each_entry,
	.watch_fd = watch_fd,
	.woken = woken,
	.allow_mass_expunge = allow_mass_expunge,
};

struct backend *backend_open_memory(uint64_t replica)
{
	struct memory *m = mb_xcalloc(1, sizeof(*m));
	char part[] = "INBOX";

	m->backend.ops = &memory_ops;
	m->from = replica;
	m->clock.replica = replica;
	snprintf(m->destination, sizeof(m->destination), "memory:%016" PRIx64, replica);
	m->info = (struct backend_info){
		.replica = replica,
		.caps = CAP_LOG | CAP_STAMPS | CAP_UIDS | CAP_KEYWORDS | CAP_GUIDS | CAP_SUBSCRIBE,
		.destination = m->destination,
	};
	memory_new_file(m);
	m->info.store = memory_new_guid(m);
	struct stamp born = hlc_now(&m->clock);
	struct mailbox inbox = {
		.guid = GUID_INBOX,
		.part = part,
		.born = born,
		.named_at = born,
		.selectable = true,
		.uid_validity = 1,
		.uid_next = 1,
	};
	tree_put(&m->tree, &inbox);
	memory_log(m, true, &GUID_INBOX, NULL);
	return &m->backend;
}
