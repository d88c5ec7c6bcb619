/*
 * test-memory-peer.c - sync states and maps: put, found, listed, taken out.
 */
#include "tests/support/world.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static int count_peer(struct peer_state *p, void *arg)
{
	++*(int *)arg;
	return 0;
}

static int count_entry(struct peer_entry *e, void *arg)
{
	++*(int *)arg;
	return 0;
}

static void peers(struct world *w)
{
	char destination[] = "maildir:/p", path[] = "cur/1";
	struct backend *b = w->a;
	struct peer_state p;
	struct record r = {.type = REC_PEER, .peer = {.replica = 7, .destination = destination}};
	int n = 0;
	assert_int_equal(b->ops->peer(b, 7, destination, &p), -ENOENT);
	assert_int_equal(b->ops->put(b, &r, -1), 1);
	assert_int_equal(b->ops->peer(b, 7, destination, &p), 0);
	assert_string_equal(p.destination, destination);
	peer_state_release(&p);
	struct record e = {.type = REC_PEER_ENTRY,
			   .entry = {.peer = 7, .path = path, .state = PEER_ENTRY_AGREED}};
	b->ops->put(b, &e, -1);
	b->ops->put(b, &e, -1);
	b->ops->each_entry(b, 7, count_entry, &n);
	assert_int_equal(n, 1);
	e.entry.state = PEER_ENTRY_GONE;
	b->ops->put(b, &e, -1);
	b->ops->each_entry(b, 7, count_entry, &n);
	assert_int_equal(n, 1);
	r.type = REC_PEER_FORGET;
	assert_int_equal(b->ops->put(b, &r, -1), 1);
	b->ops->each_peer(b, count_peer, &n);
	assert_int_equal(n, 1);
}

static struct row rows[] = {
	{"sync states and maps", peers},
};

int main(void)
{
	return world_rows("memory-peer", rows, sizeof(rows) / sizeof(rows[0]));
}
