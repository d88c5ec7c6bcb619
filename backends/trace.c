/*
 * trace.c - a wrapper that tells each call and its result, one line each, on stderr or in a file.
 *
 * Keys only: GUIDs, ids, counts; of names those of mailboxes.
 */
#include "backends/backend.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include <inttypes.h>

struct trace {
	struct backend backend; /* first member */
	struct backend *inner;	/* owned */
	char *label;		/* owned */
	FILE *to;		/* borrowed, or NULL: messages */
};

static struct backend *inner_of(struct backend *b)
{
	return ((struct trace *)b)->inner;
}

/* Says it and gives the result back. */
static int told(struct backend *b, const char *verb, const char *what, int r)
{
	const struct trace *t = (const struct trace *)b;
	char *result MB_AUTO_FREE = r < 0 ? mb_xstrdup(mb_err_str(r)) : mb_xasprintf("%d", r);

	if (t->to) {
		fprintf(t->to, "%.6f %s: %s %s= %s\n", (double)clock_wall_ns() / 1e9, t->label,
			verb, what, result);
		fflush(t->to);
	} else {
		mb_msg(MB_NOTICE, "%s: %s %s= %s", t->label, verb, what, result);
	}
	return r;
}

static int told_guid(struct backend *b, const char *verb, const struct guid *g, int r)
{
	char what[GUID_TEXT + 1], *end = what;
	guid_text(g, what);
	while (*end)
		end++;
	*end++ = ' ';
	*end = '\0';
	return told(b, verb, what, r);
}

static void close_trace(struct backend *b)
{
	struct trace *t = (struct trace *)b;
	told(b, "close", "", 0);
	backend_close(t->inner);
	free(t->label);
	free(t);
}

static int info(struct backend *b, struct backend_info *ret)
{
	struct backend *in = inner_of(b);
	return told(b, "info", "", in->ops->info(in, ret));
}

static int refresh(struct backend *b, bool full)
{
	struct backend *in = inner_of(b);
	return told(b, "refresh", full ? "full " : "", in->ops->refresh(in, full));
}

static int position(struct backend *b, struct position *ret)
{
	struct backend *in = inner_of(b);
	return told(b, "position", "", in->ops->position(in, ret));
}

static int changes(struct backend *b, const struct position *since, uint64_t except,
		   struct change_set *ret)
{
	struct backend *in = inner_of(b);
	int r = in->ops->changes(in, since, except, ret);
	if (r < 0)
		return told(b, "changes", "", r);
	MB_AUTO_FREE char *what = mb_xasprintf("messages=%zu mailboxes=%zu aliases=%zu ",
					       ret->n_messages, ret->n_mailboxes, ret->n_aliases);
	return told(b, "changes", what, r);
}

static int tree(struct backend *b, struct tree *ret)
{
	struct backend *in = inner_of(b);
	return told(b, "tree", "", in->ops->tree(in, ret));
}

static int message(struct backend *b, const struct guid *guid, struct message *ret)
{
	struct backend *in = inner_of(b);
	return told_guid(b, "message", guid, in->ops->message(in, guid, ret));
}

static int each_message(struct backend *b, const struct guid *after,
			int (*fn)(const struct guid *g, void *arg), void *arg)
{
	struct backend *in = inner_of(b);
	return told(b, "each_message", "", in->ops->each_message(in, after, fn, arg));
}

static int by_uid(struct backend *b, const struct guid *mailbox, uint32_t uid, struct guid *ret)
{
	struct backend *in = inner_of(b);
	return told_guid(b, "by_uid", mailbox, in->ops->by_uid(in, mailbox, uid, ret));
}

static int digest(struct backend *b, const struct guid *guid, uint64_t id, struct digest *ret)
{
	struct backend *in = inner_of(b);
	return told_guid(b, "digest", guid, in->ops->digest(in, guid, id, ret));
}

static int learn(struct backend *b, const struct guid *guid, uint64_t id, const struct digest *d)
{
	struct backend *in = inner_of(b);
	if (!in->ops->learn)
		return 0;
	return told_guid(b, "learn", guid, in->ops->learn(in, guid, id, d));
}

static int by_digest(struct backend *b, const struct digest *d,
		     int (*fn)(const struct guid *g, uint64_t id, void *arg), void *arg)
{
	struct backend *in = inner_of(b);
	return told(b, "by_digest", "", in->ops->by_digest(in, d, fn, arg));
}

static int doubt(struct backend *b)
{
	struct backend *in = inner_of(b);

	return in->ops->doubt ? told(b, "doubt", "", in->ops->doubt(in)) : 0;
}

static int hold(struct backend *b, bool on)
{
	struct backend *in = inner_of(b);
	return in->ops->hold ? told(b, "hold", on ? "on " : "off ", in->ops->hold(in, on)) : 0;
}

static int body(struct backend *b, const struct guid *guid, uint64_t id)
{
	struct backend *in = inner_of(b);
	return told_guid(b, "body", guid, in->ops->body(in, guid, id));
}

static int begin(struct backend *b, uint64_t from, bool many)
{
	struct backend *in = inner_of(b);
	return told(b, "begin", many ? "many " : "", in->ops->begin(in, from, many));
}

static const struct guid *key_of(const struct record *r)
{
	return guid_is_zero(&r->copy.guid) ? &r->mailbox.guid : &r->copy.guid;
}

static int put(struct backend *b, const struct record *want, int fd)
{
	struct backend *in = inner_of(b);
	char guid[GUID_TEXT];
	MB_AUTO_FREE char *what =
		mb_xasprintf("%s %s%s ", record_type_name(want->type),
			     guid_text(key_of(want), guid), fd >= 0 ? " with body" : "");
	return told(b, "put", what, in->ops->put(in, want, fd));
}

static void put_later(struct backend *b, const struct record *want, int fd, backend_put_fn *fn,
		      void *arg)
{
	struct backend *in = inner_of(b);
	char guid[GUID_TEXT];

	if (!in->ops->put_later) {
		fn(put(b, want, fd), arg);
		return;
	}
	MB_AUTO_FREE char *what =
		mb_xasprintf("%s %s%s ", record_type_name(want->type),
			     guid_text(key_of(want), guid), fd >= 0 ? " with body" : "");
	told(b, "put_later", what, 0);
	in->ops->put_later(in, want, fd, fn, arg);
}

static void settle(struct backend *b)
{
	struct backend *in = inner_of(b);

	if (!in->ops->settle)
		return;
	in->ops->settle(in);
	told(b, "settle", "", 0);
}

static void foresee(struct backend *b, const struct backend_ask *ask)
{
	struct backend *in = inner_of(b);

	if (!in->ops->foresee)
		return;
	MB_AUTO_FREE char *what = mb_xasprintf("%smessages=%zu uids=%zu bodies=%zu digests=%zu ",
					       ask->begins ? "session " : "", ask->n_messages,
					       ask->n_uids, ask->n_bodies, ask->n_digests);
	told(b, "foresee", what, 0);
	in->ops->foresee(in, ask);
}

static void wake(struct backend *b, bool on)
{
	struct backend *in = inner_of(b);

	if (in->ops->wake)
		in->ops->wake(in, on);
}

static int turn(struct backend *b)
{
	struct backend *in = inner_of(b);

	return in->ops->turn ? in->ops->turn(in) : 0;
}

static int commit(struct backend *b)
{
	struct backend *in = inner_of(b);
	return told(b, "commit", "", in->ops->commit(in));
}

static int now(struct backend *b, const struct stamp *seen, struct stamp *ret)
{
	struct backend *in = inner_of(b);
	return told(b, "now", "", in->ops->now(in, seen, ret));
}

static int peer(struct backend *b, uint64_t replica, const char *destination,
		struct peer_state *ret)
{
	struct backend *in = inner_of(b);
	MB_AUTO_FREE char *what = mb_xasprintf("%016" PRIx64 " ", replica);
	return told(b, "peer", what, in->ops->peer(in, replica, destination, ret));
}

static int each_peer(struct backend *b, int (*fn)(struct peer_state *p, void *arg), void *arg)
{
	struct backend *in = inner_of(b);
	return told(b, "each_peer", "", in->ops->each_peer(in, fn, arg));
}

static int each_entry(struct backend *b, uint64_t of, int (*fn)(struct peer_entry *e, void *arg),
		      void *arg)
{
	struct backend *in = inner_of(b);
	return told(b, "each_entry", "", in->ops->each_entry(in, of, fn, arg));
}

static int watch_fd(struct backend *b)
{
	struct backend *in = inner_of(b);
	return told(b, "watch_fd", "", in->ops->watch_fd(in));
}

static int woken(struct backend *b)
{
	struct backend *in = inner_of(b);
	return told(b, "woken", "", in->ops->woken(in));
}

static void allow_mass_expunge(struct backend *b, bool allow)
{
	struct backend *in = inner_of(b);
	told(b, "allow_mass_expunge", allow ? "yes " : "no ", 0);
	in->ops->allow_mass_expunge(in, allow);
}

static const struct backend_ops trace_ops = {
	.name = "trace",
	.close = close_trace,
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
	.put_later = put_later,
	.settle = settle,
	.foresee = foresee,
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

struct backend *backend_trace_to(struct backend *inner, const char *label, FILE *to)
{
	struct trace *t = mb_xcalloc(1, sizeof(*t));
	t->backend.ops = &trace_ops;
	t->inner = inner;
	t->label = mb_xstrdup(label);
	t->to = to;
	return &t->backend;
}

struct backend *backend_trace(struct backend *inner, const char *label)
{
	return backend_trace_to(inner, label, NULL);
}
