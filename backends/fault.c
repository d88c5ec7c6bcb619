/*
 * fault.c - a wrapper whose n-th call fails.
 *
 * Every call of the seam counts, but for close and allow_mass_expunge; the n-th is not passed on and
 * gives `err`.  The rest is what the wrapped backend does.
 */
#include "backends/backend.h"
#include "backends/base/mem.h"

struct fault {
	struct backend backend; /* first member */
	struct backend *inner;	/* owned */
	uint64_t n, calls;
	int err;
};

/* The inner backend, or NULL when this call fails. */
static struct backend *pass(struct backend *b)
{
	struct fault *f = (struct fault *)b;
	return ++f->calls == f->n ? NULL : f->inner;
}

static int fail(struct backend *b)
{
	return ((struct fault *)b)->err;
}

static void close_fault(struct backend *b)
{
	backend_close(((struct fault *)b)->inner);
	free(b);
}

#define PASS(verb, ...)                                                                            \
	struct backend *in = pass(b);                                                              \
	return in ? in->ops->verb(__VA_ARGS__) : fail(b)

static int info(struct backend *b, struct backend_info *ret)
{
	PASS(info, in, ret);
}

static int refresh(struct backend *b, bool full)
{
	PASS(refresh, in, full);
}

static int position(struct backend *b, struct position *ret)
{
	PASS(position, in, ret);
}

static int changes(struct backend *b, const struct position *since, uint64_t except,
		   struct change_set *ret)
{
	PASS(changes, in, since, except, ret);
}

static int tree(struct backend *b, struct tree *ret)
{
	PASS(tree, in, ret);
}

static int message(struct backend *b, const struct guid *guid, struct message *ret)
{
	PASS(message, in, guid, ret);
}

static int each_message(struct backend *b, const struct guid *after,
			int (*fn)(const struct guid *g, void *arg), void *arg)
{
	PASS(each_message, in, after, fn, arg);
}

static int by_uid(struct backend *b, const struct guid *mailbox, uint32_t uid, struct guid *ret)
{
	PASS(by_uid, in, mailbox, uid, ret);
}

static int digest(struct backend *b, const struct guid *guid, uint64_t id, struct digest *ret)
{
	PASS(digest, in, guid, id, ret);
}

static int learn(struct backend *b, const struct guid *guid, uint64_t id, const struct digest *d)
{
	struct backend *in = pass(b);

	if (!in)
		return fail(b);
	return in->ops->learn ? in->ops->learn(in, guid, id, d) : 0;
}

static int by_digest(struct backend *b, const struct digest *d,
		     int (*fn)(const struct guid *g, uint64_t id, void *arg), void *arg)
{
	PASS(by_digest, in, d, fn, arg);
}

static int body(struct backend *b, const struct guid *guid, uint64_t id)
{
	PASS(body, in, guid, id);
}

static int begin(struct backend *b, uint64_t from, bool many)
{
	PASS(begin, in, from, many);
}

static int put(struct backend *b, const struct record *want, int fd)
{
	PASS(put, in, want, fd);
}

static void wake(struct backend *b, bool on)
{
	struct backend *in = ((struct fault *)b)->inner;

	if (in->ops->wake)
		in->ops->wake(in, on);
}

static int turn(struct backend *b)
{
	struct backend *in = ((struct fault *)b)->inner;

	return in->ops->turn ? in->ops->turn(in) : 0;
}

static int commit(struct backend *b)
{
	PASS(commit, in);
}

static int now(struct backend *b, const struct stamp *seen, struct stamp *ret)
{
	PASS(now, in, seen, ret);
}

static int peer(struct backend *b, uint64_t replica, const char *destination,
		struct peer_state *ret)
{
	PASS(peer, in, replica, destination, ret);
}

static int each_peer(struct backend *b, int (*fn)(struct peer_state *p, void *arg), void *arg)
{
	PASS(each_peer, in, fn, arg);
}

static int each_entry(struct backend *b, uint64_t of, int (*fn)(struct peer_entry *e, void *arg),
		      void *arg)
{
	PASS(each_entry, in, of, fn, arg);
}

static int doubt(struct backend *b)
{
	struct backend *in = ((struct fault *)b)->inner;

	return in->ops->doubt ? in->ops->doubt(in) : 0;
}

/* Not a call that fails: what a session did not get to hold it does not let go. */
static int hold(struct backend *b, bool on)
{
	struct backend *in = ((struct fault *)b)->inner;
	return in->ops->hold ? in->ops->hold(in, on) : 0;
}

static int watch_fd(struct backend *b)
{
	PASS(watch_fd, in);
}

static int woken(struct backend *b)
{
	PASS(woken, in);
}

static void allow_mass_expunge(struct backend *b, bool allow)
{
	struct backend *in = ((struct fault *)b)->inner;
	in->ops->allow_mass_expunge(in, allow);
}

static const struct backend_ops fault_ops = {
	.name = "fault",
	.close = close_fault,
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
	.wake = wake,
	.turn = turn,
	.commit = commit,
	.now = now,
	.peer = peer,
	.each_peer = each_peer,
	.each_entry = each_entry,
	.watch_fd = watch_fd,
	.hold = hold,
	.doubt = doubt,
	.woken = woken,
	.allow_mass_expunge = allow_mass_expunge,
};

struct backend *backend_fault(struct backend *inner, uint64_t n, int err)
{
	struct fault *f = mb_xcalloc(1, sizeof(*f));
	f->backend.ops = &fault_ops;
	f->inner = inner;
	f->n = n;
	f->err = err;
	return &f->backend;
}
