/*
 * serve.c - what the writer does for each verb of its socket.
 *
 * Requests come from processes of the same user, yet nothing in them is believed: every length is
 * bounded by the reader, a record is decoded before it is used, and a staged file is a plain name.
 * Threads: called by the server's thread only; the store's own lock serialises the changes.
 */
#include "backends/store/serve.h"
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/store/socket-format.h"
#include <limits.h>
#include <string.h>

/* What PUT and PLAN carry. */
struct put_request {
	char *staged; /* owned; NULL = none */
	struct record want;
};

static void put_request_release(struct put_request *p)
{
	free(p->staged);
	record_release(&p->want);
}

static int get_put(struct reader *r, struct put_request *ret)
{
	*ret = (struct put_request){0};
	ret->staged = reader_get_str(r, NAME_MAX);
	if (r->failed)
		return MB_E_PROTOCOL;
	if (ret->staged && !*ret->staged) {
		free(ret->staged);
		ret->staged = NULL;
	}
	if (ret->staged && (strchr(ret->staged, '/') || !at_path_ok(ret->staged)))
		return MB_E_PROTOCOL;
	return record_decode(r->p, reader_left(r), &ret->want);
}

static int serve_hello(struct serve *v, struct reader *r, struct buf *out)
{
	uint32_t version = reader_get_u32(r);

	if (r->failed)
		return MB_E_PROTOCOL;
	if (version != SOCKET_VERSION)
		return MB_E_VERSION;
	buf_put_u64(out, store_replica(v->store));
	buf_put_str(out, v->mount);
	return 0;
}

static int serve_put(struct serve *v, struct reader *r)
{
	struct put_request p;
	int ret = get_put(r, &p);

	if (ret >= 0)
		ret = store_put(v->store, &p.want, p.staged);
	put_request_release(&p);
	return ret;
}

static int serve_plan(struct serve *v, uint32_t pid, struct reader *r, struct buf *out)
{
	struct store_step step = {0};
	struct put_request p;
	uint32_t tid = reader_get_u32(r);
	int ret = get_put(r, &p);

	if (ret >= 0) {
		store_planner(v->store, tid ? tid : pid, pid);
		ret = store_plan(v->store, &p.want, p.staged, tid ? tid : pid, &step);
	}
	if (ret >= 0) {
		buf_put_u8(out, (uint8_t)step.op);
		buf_put_str(out, step.from);
		buf_put_str(out, step.to);
	}
	free(step.from);
	free(step.to);
	put_request_release(&p);
	return ret;
}

static int serve_scan(struct serve *v, struct reader *r, struct buf *out)
{
	struct scan_report s = {0};
	bool full = reader_get_u8(r) != 0;
	int ret;

	if (r->failed)
		return MB_E_PROTOCOL;
	ret = store_scan(v->store, full, &s);
	if (ret >= 0)
		ret = store_settle_uids(v->store);
	if (ret < 0)
		return ret;
	const uint64_t fields[] = {s.dirs_read, s.files_seen, s.records,  s.arrived,
				   s.flagged,	s.moved,      s.expunged, s.lost,
				   s.damaged,	s.edited,     s.held,	  s.errors};
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		buf_put_u64(out, fields[i]);
	buf_put_u64(out, (uint64_t) - (int64_t)s.unread);
	return ret;
}

static int serve_checkpoint(struct serve *v, struct reader *r)
{
	uint64_t keep_ns = reader_get_u64(r);

	if (r->failed || keep_ns > INT64_MAX)
		return MB_E_PROTOCOL;
	return store_checkpoint(v->store, (int64_t)keep_ns);
}

static int serve_digest(struct serve *v, struct reader *r, struct buf *out)
{
	struct digest d = {0};
	struct guid g;
	uint64_t id;
	int ret;

	reader_get(r, g.b, sizeof(g.b));
	id = reader_get_u64(r);
	if (r->failed)
		return MB_E_PROTOCOL;
	ret = store_digest(v->store, &g, id, &d);
	if (ret >= 0)
		buf_put(out, d.b, sizeof(d.b));
	return ret;
}

static int serve_learn(struct serve *v, struct reader *r)
{
	struct sent_digest list[STORE_LEARN_MAX];
	size_t n = 0;

	while (reader_left(r) && !r->failed) {
		if (n == STORE_LEARN_MAX)
			return MB_E_PROTOCOL;
		reader_get(r, list[n].guid.b, sizeof(list[n].guid.b));
		list[n].id = reader_get_u64(r);
		reader_get(r, list[n].digest.b, sizeof(list[n].digest.b));
		if (!r->failed && !digest_known(&list[n].digest))
			return MB_E_PROTOCOL;
		n++;
	}
	return r->failed || !n ? MB_E_PROTOCOL : store_learn(v->store, list, n);
}

static int serve_now(struct serve *v, struct reader *r, struct buf *out)
{
	struct stamp seen, now;

	seen.time = reader_get_u64(r);
	seen.replica = reader_get_u64(r);
	if (r->failed)
		return MB_E_PROTOCOL;
	now = store_now(v->store);
	v->clock.replica = now.replica;
	hlc_see(&v->clock, &now);
	hlc_see(&v->clock, &seen);
	now = hlc_now(&v->clock);
	buf_put_u64(out, now.time);
	buf_put_u64(out, now.replica);
	return 0;
}

static int serve_allow(struct serve *v, struct reader *r)
{
	bool allow = reader_get_u8(r) != 0;

	if (r->failed)
		return MB_E_PROTOCOL;
	store_allow_mass_expunge(v->store, allow);
	return 0;
}

static int serve_expunge_lost(struct serve *v, uint32_t pid, struct reader *r)
{
	const struct origin origin = {.pid = pid, .comm = "mailbraid"};
	uint64_t id, modseq;
	struct guid g;

	reader_get(r, g.b, sizeof(g.b));
	id = reader_get_u64(r);
	modseq = reader_get_u64(r);
	if (r->failed)
		return MB_E_PROTOCOL;
	return store_expunge_lost(v->store, &g, id, modseq, &origin);
}

static int serve_recheck(struct serve *v, struct reader *r)
{
	struct guid g;
	uint64_t id;

	reader_get(r, g.b, sizeof(g.b));
	id = reader_get_u64(r);
	return r->failed ? MB_E_PROTOCOL : store_recheck(v->store, &g, id);
}

static int serve_counters(struct serve *v, struct buf *out)
{
	if (v->counters)
		v->counters(out);
	return 0;
}

int store_serve(struct serve *v, uint32_t pid, const void *request, size_t len, struct buf *out)
{
	struct reader r = reader_of(request, len);
	int ret;

	switch (reader_get_u8(&r)) {
	case VERB_HELLO:
		return serve_hello(v, &r, out);
	case VERB_PUT:
		return serve_put(v, &r);
	case VERB_PLAN:
		return serve_plan(v, pid, &r, out);
	case VERB_FLUSH:
		ret = store_settle_uids(v->store);
		return ret < 0 ? ret : store_flush(v->store);
	case VERB_SCAN:
		return serve_scan(v, &r, out);
	case VERB_CHECKPOINT:
		return serve_checkpoint(v, &r);
	case VERB_DIGEST:
		return serve_digest(v, &r, out);
	case VERB_LEARN:
		return serve_learn(v, &r);
	case VERB_NOW:
		return serve_now(v, &r, out);
	case VERB_ALLOW:
		return serve_allow(v, &r);
	case VERB_COUNTERS:
		return serve_counters(v, out);
	case VERB_RECHECK:
		return serve_recheck(v, &r);
	case VERB_EXPUNGE_LOST:
		return serve_expunge_lost(v, pid, &r);
	default:
		return MB_E_PROTOCOL;
	}
}
