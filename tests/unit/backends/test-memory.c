/*
 * test-memory.c - the replica in memory keeps the contract of the seam.
 */
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "tests/support/world.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#define INBOX GUID_INBOX

static void fresh(struct world *w)
{
	struct backend_info info;
	struct position p;
	struct tree t;
	assert_int_equal(w->a->ops->info(w->a, &info), 0);
	assert_int_equal(info.replica, 1);
	assert_string_equal(info.destination, "memory:0000000000000001");
	assert_int_equal(w->a->ops->tree(w->a, &t), 0);
	assert_int_equal(t.n, 1);
	assert_memory_equal(&t.nodes[0].guid, &INBOX, sizeof(INBOX));
	tree_release(&t);
	assert_int_equal(w->a->ops->position(w->a, &p), 0);
	assert_false(position_is_none(&p));
	assert_int_equal(w->a->ops->refresh(w->a, true), 0);
	assert_int_equal(w->a->ops->watch_fd(w->a), -1);
}

static void news(struct world *w)
{
	struct position start;
	struct change_set c;
	struct backend *b = w->a;
	b->ops->position(b, &start);
	w->m = has(b, INBOX, "m");
	flag(b, w->m, FLAG_SEEN);
	w->x = mkbox(b, "X");
	assert_int_equal(b->ops->changes(b, &start, 2, &c), 0);
	assert_int_equal(c.n_messages, 1);
	assert_int_equal(c.n_mailboxes, 1);
	assert_false(c.only_echo);
	struct position end = c.end;
	change_set_release(&c);
	assert_int_equal(b->ops->changes(b, &end, 2, &c), 0);
	assert_int_equal(c.n_messages + c.n_mailboxes, 0);
	change_set_release(&c);
}

static void echo(struct world *w)
{
	struct position start;
	struct change_set c;
	struct record r = {.type = REC_MAILBOX_STATE};
	w->x = mkbox(w->a, "X");
	w->b->ops->position(w->b, &start);
	mailbox_clone(&r.mailbox, find_box(w->a, w->x));
	assert_int_equal(w->b->ops->begin(w->b, 1, false), 0);
	assert_int_equal(w->b->ops->put(w->b, &r, -1), 1);
	assert_int_equal(w->b->ops->put(w->b, &r, -1), 0);
	assert_int_equal(w->b->ops->commit(w->b), 0);
	record_release(&r);
	assert_int_equal(w->b->ops->changes(w->b, &start, 1, &c), 0);
	assert_true(c.only_echo);
	assert_int_equal(c.n_mailboxes, 0);
	change_set_release(&c);
	assert_int_equal(w->b->ops->changes(w->b, &start, 3, &c), 0);
	assert_int_equal(c.n_mailboxes, 1);
	change_set_release(&c);
}

static void strange_position(struct world *w)
{
	struct position p = {.log = guid_new(), .sequence = 1};
	struct change_set c;
	assert_int_equal(w->a->ops->changes(w->a, &p, 2, &c), MB_E_POSITION);
	w->a->ops->position(w->a, &p);
	p.offset++;
	assert_int_equal(w->a->ops->changes(w->a, &p, 2, &c), MB_E_POSITION);
}

static void bodies(struct world *w)
{
	char have[8] = "";
	struct digest d, want;
	struct guid found;
	w->m = has(w->a, INBOX, "body");
	MB_AUTO_CLOSE int fd = w->a->ops->body(w->a, &w->m, 0);
	assert_int_equal(io_pread_full(fd, have, sizeof(have), 0), 4);
	assert_string_equal(have, "body");
	digest_mem("body", 4, &want);
	assert_int_equal(w->a->ops->digest(w->a, &w->m, 0, &d), 0);
	assert_true(digest_equal(&d, &want));
	assert_int_equal(w->a->ops->by_uid(w->a, &INBOX, 1, &found), 0);
	assert_memory_equal(&found, &w->m, sizeof(found));
	assert_int_equal(w->a->ops->by_uid(w->a, &INBOX, 2, &found), -ENOENT);
	expunge(w->a, w->m);
	assert_int_equal(w->a->ops->body(w->a, &w->m, 0), -ENOENT);
	assert_int_equal(w->a->ops->by_uid(w->a, &INBOX, 1, &found), -ENOENT);
}

static void arrivals_need_their_body(struct world *w)
{
	struct record r = {.type = REC_COPY_STATE};
	w->m = has(w->a, INBOX, "body");
	copy_clone(&r.copy, find_copy(w->a, w->m, 0));
	assert_int_equal(w->b->ops->put(w->b, &r, -1), -ENOENT);
	assert_null(memory_find(w->b, &w->m));
	MB_AUTO_CLOSE int wrong = memfd_create("wrong", MFD_CLOEXEC);
	io_pwrite_all(wrong, "bodY", 4, 0);
	assert_int_equal(w->b->ops->put(w->b, &r, wrong), MB_E_DAMAGED);
	assert_null(memory_find(w->b, &w->m));
	MB_AUTO_CLOSE int fd = w->a->ops->body(w->a, &w->m, 0);
	assert_int_equal(w->b->ops->put(w->b, &r, fd), 1);
	assert_int_equal(find_box(w->b, INBOX)->uid_next, 2);
	expunge(w->b, w->m);
	restore(w->b, w->m); /* the body is still there */
	record_release(&r);
}

static void clock_follows(struct world *w)
{
	struct stamp now, far = {0};
	assert_int_equal(w->a->ops->now(w->a, NULL, &now), 0);
	far.time = now.time + 1000000;
	assert_int_equal(w->a->ops->now(w->a, &far, &now), 0);
	assert_true(stamp_compare(&now, &far) > 0);
	far.time = UINT64_MAX;
	assert_int_equal(w->a->ops->now(w->a, &far, &now), 0);
}

static struct row rows[] = {
	{"a new one has an INBOX", fresh},
	{"changes: each key once, up to the end", news},
	{"what came from a peer is no news to it", echo},
	{"a position that it never gave", strange_position},
	{"bodies, digests, UIDs of the living", bodies},
	{"an arrival needs its body, and the right one", arrivals_need_their_body},
	{"the clock is moved by what it sees", clock_follows},
};

int main(void)
{
	return world_rows("memory", rows, sizeof(rows) / sizeof(rows[0]));
}
