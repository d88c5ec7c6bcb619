/*
 * responder-news.c - CHANGES: what is new, and, before anybody asks, what will be asked about it.
 */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/wire/responder-private.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

struct news {
	struct responder *r;
	uint32_t id;
	struct position since;
	uint64_t except;
	uint8_t bits;
	uint64_t fresh;
	uint32_t body_bytes;   /* that may still be told */
	struct change_set set; /* owned */
};

static int tell_aliases(const struct news *n)
{
	const size_t most = WIRE_CHUNK / (2 * sizeof(struct guid));
	struct buf *out = &n->r->s.outbox;
	int err = 0;

	for (size_t i = 0; err >= 0 && i < n->set.n_aliases; i += most) {
		size_t at = part_begin(n->r, n->id, PART_ALIASES);
		for (size_t k = i; k < n->set.n_aliases && k < i + most; k++) {
			wire_put_guid(out, &n->set.aliases[k].from);
			wire_put_guid(out, &n->set.aliases[k].to);
		}
		err = respond_end(n->r, at);
	}
	return err;
}

static int tell_keys(const struct news *n)
{
	int err = tell_guids(n->r, n->id, PART_MESSAGES, n->set.messages, n->set.n_messages);

	if (err >= 0)
		err = tell_guids(n->r, n->id, PART_FOLDERS, n->set.mailboxes, n->set.n_mailboxes);
	return err < 0 ? err : tell_aliases(n);
}

/* It came since they last met: they can hardly have it. */
static bool is_fresh(const struct news *n, const struct copy *c)
{
	uint64_t received = c->received_ns > 0 ? (uint64_t)(c->received_ns / 1000000) << 16 : 0;

	return copy_alive(c) && !c->id && c->size && c->place.at.time > n->fresh &&
	       received > n->fresh;
}

/* Of what cannot be read nothing is told: who asks for it hears why. */
static int tell_fresh(struct news *n, const struct copy *c)
{
	struct responder *r = n->r;
	struct digest d;
	struct stat st;
	uint64_t size;

	if (c->size > n->body_bytes)
		return 0;
	int fd MB_AUTO_CLOSE = r->b->ops->body(r->b, &c->guid, c->id);
	if (fd < 0 || fstat(fd, &st) < 0 || (uint64_t)st.st_size != c->size ||
	    digest_fd(fd, &d, &size) < 0 || size != c->size)
		return 0;
	n->body_bytes -= (uint32_t)size;
	size_t at = part_begin(r, n->id, PART_BODY);
	wire_put_guid(&r->s.outbox, &c->guid);
	buf_put_u64(&r->s.outbox, c->id);
	buf_put_u64(&r->s.outbox, size);
	wire_put_digest(&r->s.outbox, &d);
	int err = respond_end(r, at);
	struct digest sent;
	uint64_t n_sent;
	if (err >= 0)
		err = tell_data(r, n->id, fd, size, &sent, &n_sent);
	if (err == MB_E_LIMIT || (err >= 0 && n_sent != size))
		return -EIO; /* it changes as we read: not this time, nor this connection */
	return err;
}

static int tell_state(struct news *n, const struct guid *guid, uint64_t *bytes)
{
	struct responder *r = n->r;
	struct message m = {0};

	if (r->b->ops->message(r->b, guid, &m) < 0)
		return 0;
	size_t at = part_begin(r, n->id, PART_STATE);
	wire_put_guid(&r->s.outbox, guid);
	wire_put_message(&r->s.outbox, &m);
	size_t size = frame_size(&r->s.outbox, at);
	int err = 0;
	if (size > WIRE_FRAME_MAX) { /* whoever needs it asks */
		r->s.outbox.len = at;
		message_release(&m);
		return 0;
	}
	*bytes += size;
	err = respond_end(r, at);
	for (size_t i = 0; err >= 0 && n->body_bytes && i < m.n; i++)
		if (is_fresh(n, &m.copies[i]))
			err = tell_fresh(n, &m.copies[i]);
	message_release(&m);
	return err;
}

static int tell_states(struct news *n)
{
	uint64_t bytes = 0;
	int err = 0;

	for (size_t i = 0;
	     err >= 0 && i < n->set.n_messages && i < WIRE_TOLD_MESSAGES && bytes < WIRE_TOLD_BYTES;
	     i++)
		err = tell_state(n, &n->set.messages[i], &bytes);
	return err;
}

/* Mailboxes, and after them where the news ends: the same as before, when nothing came meanwhile. */
static int tell_rest(const struct news *n)
{
	struct position end;
	int err = tell_tree(n->r, n->id);

	if (err < 0 || n->r->b->ops->position(n->r->b, &end) < 0)
		return err;
	size_t at = part_begin(n->r, n->id, PART_END);
	position_encode(&end, &n->r->s.outbox);
	return respond_end(n->r, at);
}

static int tell(struct news *n)
{
	bool any = n->set.n_messages || n->set.n_mailboxes || n->set.n_aliases;
	int err = tell_keys(n);

	if (err >= 0 && any && (n->bits & WIRE_CHANGES_STATES))
		err = tell_states(n);
	if (err >= 0 && any && (n->bits & WIRE_CHANGES_TREE))
		err = tell_rest(n);
	if (err < 0)
		return err;
	size_t at = respond_begin(n->r, n->id, 0);
	position_encode(&n->set.end, &n->r->s.outbox);
	buf_put_u8(&n->r->s.outbox, n->set.only_echo);
	return respond_end(n->r, at);
}

int respond_changes(struct responder *r, struct frame *f)
{
	struct news n = {.r = r, .id = f->id};
	struct reader *in = &f->payload;

	position_decode(in, &n.since);
	n.except = reader_get_u64(in);
	n.bits = reader_get_u8(in);
	n.fresh = reader_get_u64(in);
	n.body_bytes = reader_get_u32(in);
	if (in->failed)
		return MB_E_PROTOCOL;
	if (n.body_bytes > WIRE_FRESH_BYTES)
		n.body_bytes = WIRE_FRESH_BYTES;
	int err = r->b->ops->changes(r->b, &n.since, n.except, &n.set);
	if (err >= 0 && (n.set.n_messages > WIRE_GUIDS_MAX || n.set.n_aliases > WIRE_GUIDS_MAX ||
			 n.set.n_mailboxes > WIRE_GUIDS_MAX))
		err = MB_E_POSITION; /* compared in full, a page at a time */
	err = err < 0 ? respond(r, f->id, err) : tell(&n);
	change_set_release(&n.set);
	return err;
}
