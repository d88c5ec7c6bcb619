/*
 * wrap.c - backends that wear the seam over another one: one tells each call, one makes the n-th fail.
 *
 * A wrapper owns what it wraps.  before() may give an error instead of the call; after() sees what the
 * call gave.  close, woken, watch_fd and allow_mass_expunge go through unseen: they cannot fail.
 */
#include "backends/backend.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include <inttypes.h>
#include <stdio.h>

struct wrapper {
	struct backend backend; /* first */
	struct backend *inner;	/* owned */
	const char *label;	/* trace: who it is; borrowed */
	uint64_t calls, fail_at;
	int fail_with;
};

static struct wrapper *wrapper_of(struct backend *b)
{
	return (struct wrapper *)b;
}

static int before(struct wrapper *w)
{
	w->calls++;
	return w->fail_at && w->calls == w->fail_at ? w->fail_with : 0;
}

static int after(const struct wrapper *w, const char *verb, int result)
{
	if (!w->label)
		return result;
	if (result < 0)
		fprintf(stderr, "%s: %" PRIu64 " %s: %s\n", w->label, w->calls, verb,
			mb_err_str(result));
	else
		fprintf(stderr, "%s: %" PRIu64 " %s = %d\n", w->label, w->calls, verb, result);
	return result;
}

/* A verb with these parameters after the backend, given on by these names. */
#define WRAP(verb, parameters, ...)                                                                \
	static int verb parameters                                                                 \
	{                                                                                          \
		struct wrapper *w = wrapper_of(b);                                                 \
		int err = before(w);                                                               \
		return err < 0 ? err : after(w, #verb, w->inner->ops->verb(__VA_ARGS__));          \
	}
#define IN wrapper_of(b)->inner

WRAP(info, (struct backend * b, struct backend_info *ret), IN, ret)
WRAP(refresh, (struct backend * b, bool full), IN, full)
WRAP(position, (struct backend * b, struct position *ret), IN, ret)
WRAP(changes,
     (struct backend * b, const struct position *since, uint64_t except, struct change_set *ret),
     IN, since, except, ret)
WRAP(tree, (struct backend * b, struct tree *ret), IN, ret)
WRAP(message, (struct backend * b, const struct guid *guid, struct message *ret), IN, guid, ret)
WRAP(each_message, (struct backend * b, int (*fn)(const struct guid *g, void *arg), void *arg), IN,
     fn, arg)
WRAP(by_uid, (struct backend * b, const struct guid *mailbox, uint32_t uid, struct guid *ret), IN,
     mailbox, uid, ret)
WRAP(digest, (struct backend * b, const struct guid *guid, uint64_t id, struct digest *ret), IN,
     guid, id, ret)
WRAP(by_digest,
     (struct backend * b, const struct digest *d,
      int (*fn)(const struct guid *g, uint64_t id, void *arg), void *arg),
     IN, d, fn, arg)
WRAP(body, (struct backend * b, const struct guid *guid, uint64_t id), IN, guid, id)
WRAP(begin, (struct backend * b, uint64_t from, bool many), IN, from, many)
WRAP(put, (struct backend * b, const struct record *want, int fd), IN, want, fd)
WRAP(commit, (struct backend * b), IN)
WRAP(now, (struct backend * b, const struct stamp *seen, struct stamp *ret), IN, seen, ret)
WRAP(peer, (struct backend * b, uint64_t replica, const char *destination, struct peer_state *ret),
     IN, replica, destination, ret)
WRAP(each_peer, (struct backend * b, int (*fn)(struct peer_state *p, void *arg), void *arg), IN, fn,
     arg)
WRAP(each_entry,
     (struct backend * b, uint64_t of, int (*fn)(struct peer_entry *e, void *arg), void *arg), IN,
     of, fn, arg)

static int watch_fd(struct backend *b)
{
	return IN->ops->watch_fd(IN);
}

static int woken(struct backend *b)
{
	return IN->ops->woken(IN);
}

static void allow_mass_expunge(struct backend *b, bool allow)
{
	IN->ops->allow_mass_expunge(IN, allow);
}

static void close_wrapper(struct backend *b)
{
	backend_close(IN);
	free(b);
}

static const struct backend_ops wrapper_ops = {
	.name = "wrapper",
	.close = close_wrapper,
	.info = info,
	.refresh = refresh,
	.position = position,
	.changes = changes,
	.tree = tree,
	.message = message,
	.each_message = each_message,
	.by_uid = by_uid,
	.digest = digest,
	.by_digest = by_digest,
	.body = body,
	.begin = begin,
	.put = put,
	.commit = commit,
	.now = now,
	.peer = peer,
	.each_peer = each_peer,
	.each_entry = each_entry,
	.watch_fd = watch_fd,
	.woken = woken,
	.allow_mass_expunge = allow_mass_expunge,
};

static struct wrapper *wrap(struct backend *inner)
{
	struct wrapper *w = mb_xcalloc(1, sizeof(*w));

	w->backend.ops = &wrapper_ops;
	w->inner = inner;
	return w;
}

struct backend *backend_trace(struct backend *inner, const char *label)
{
	struct wrapper *w = wrap(inner);

	w->label = label;
	return &w->backend;
}

struct backend *backend_fault(struct backend *inner, uint64_t n, int err)
{
	struct wrapper *w = wrap(inner);

	w->fail_at = n;
	w->fail_with = err;
	return &w->backend;
}
