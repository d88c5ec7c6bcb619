/*
 * store-peer.c - states as a peer would bring them; see store-dir.h.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include <fcntl.h>
#include <string.h>

#define PEER_REPLICA 0x9999

struct stamp peer_stamp(int minutes)
{
	static int64_t began_ms;

	if (!began_ms)
		began_ms = clock_wall_ns() / 1000000;
	return (struct stamp){.time = (uint64_t)(began_ms + minutes * 60000ll) << 16,
			      .replica = PEER_REPLICA};
}

void peer_copy(struct record *r, const struct guid *guid, const struct guid *mailbox,
	       const char *text)
{
	static int n;

	*r = (struct record){.type = REC_COPY_STATE, .origin = {.replica = PEER_REPLICA}};
	r->copy.guid = *guid;
	r->copy.place.mailbox = *mailbox;
	r->copy.place.at = peer_stamp(0);
	r->copy.place.base = mb_xasprintf("peer.%d", ++n);
	r->copy.size = strlen(text);
	r->copy.received_ns = 1000000000ll * 1000000000;
	r->copy.recent = true;
}

void peer_mailbox(struct record *r, const struct guid *guid, const char *part)
{
	*r = (struct record){.type = REC_MAILBOX_STATE, .origin = {.replica = PEER_REPLICA}};
	r->mailbox.guid = *guid;
	r->mailbox.part = mb_xstrdup(part);
	r->mailbox.born = r->mailbox.named_at = r->mailbox.selectable_at = peer_stamp(0);
	r->mailbox.selectable = true;
	r->mailbox.uid_validity = 4711;
	r->mailbox.uid_next = 1;
}

void peer_stage(struct store_dir *d, const char *name, const char *text)
{
	int fd = openat(store_staging_fd(d->s), name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
			0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

int peer_change(struct store_dir *d, const struct guid *guid, void (*fn)(struct copy *c))
{
	struct record r = {.type = REC_COPY_STATE, .origin = {.replica = PEER_REPLICA}};
	struct index_txn *tx;
	struct entry e = {0};
	int err;

	assert_int_equal(index_begin(store_index(d->s), false, &tx), 0);
	assert_int_equal(index_get_entry(tx, guid, 0, &e), 0);
	index_abort(tx);
	copy_clone(&r.copy, &e.copy);
	entry_release(&e);
	fn(&r.copy);
	err = store_put(d->s, &r, NULL);
	record_release(&r);
	return err;
}
