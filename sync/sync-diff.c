/*
 * sync-diff.c - see sync-diff.h.
 */
#include "sync/sync-diff.h"

#include "backends/base/buf.h"
#include "backends/base/hash.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "sync/cli.h"

#include <inttypes.h>
#include <string.h>
#define HASH_FUNCTION(key, len, ret) ((ret) = (unsigned)checksum64((key), (len), 0))
#include <uthash.h>

struct sync_diff_mailbox {
	struct guid guid;
	char *name; /* owned */
	struct session_counts to[2];
	UT_hash_handle hh;
};

void sync_diff_release(struct sync_diff *d)
{
	struct sync_diff_mailbox *m, *next;

	HASH_ITER (hh, d->mailboxes, m, next) {
		HASH_DEL(d->mailboxes, m);
		free(m->name);
		free(m);
	}
	d->mailboxes = NULL;
}

static struct sync_diff_mailbox *mailbox_of(struct sync_diff *d, const struct guid *guid,
					    const struct tree *names)
{
	struct sync_diff_mailbox *m;

	HASH_FIND(hh, d->mailboxes, guid, sizeof(*guid), m);
	if (m)
		return m;
	m = mb_xcalloc(1, sizeof(*m));
	m->guid = *guid;
	m->name = tree_name(names, guid);
	HASH_ADD(hh, d->mailboxes, guid, sizeof(m->guid), m);
	return m;
}

void sync_diff_add(struct sync_diff *d, int side, enum record_type what, const struct tree *names,
		   const struct record *item)
{
	bool mailbox = !guid_is_zero(&item->mailbox.guid);
	const struct guid *g = mailbox ? &item->mailbox.guid : &item->copy.place.mailbox;

	if (what != REC_NONE)
		session_count(&mailbox_of(d, g, names)->to[side], what);
}

/* ---- for people ------------------------------------------------------------------------------ */

/* Subscriptions, mailboxes that become one, UIDs, file names. */
static uint64_t the_rest(const struct session_counts *c)
{
	return c->mailboxes - c->made - c->renamed - c->deleted + c->other;
}

char *sync_diff_figures(const struct session_counts *c)
{
	struct buf out BUF_AUTO = BUF_INIT;

	buf_printf(&out,
		   "+ %" PRIu64 " mails  ~ %" PRIu64 " flags  > %" PRIu64 " moves  - %" PRIu64
		   " expunged",
		   c->arrived, c->flags, c->moved, c->expunged);
	if (c->made || c->renamed || c->deleted)
		buf_printf(&out, "  folders + %" PRIu64 " ~ %" PRIu64 " - %" PRIu64, c->made,
			   c->renamed, c->deleted);
	if (the_rest(c))
		buf_printf(&out, "  other %" PRIu64, the_rest(c));
	return mb_xstrdup(buf_cstr(&out));
}

static int by_name(const struct sync_diff_mailbox *a, const struct sync_diff_mailbox *b)
{
	int order = strcmp(a->name, b->name);

	return order ? order : guid_compare(&a->guid, &b->guid);
}

static void put_mailboxes(struct buf *out, const struct sync_diff *d, int side)
{
	for (const struct sync_diff_mailbox *m = d->mailboxes; m; m = m->hh.next) {
		if (!session_counts_any(&m->to[side]))
			continue;
		char *figures MB_AUTO_FREE = sync_diff_figures(&m->to[side]);
		buf_printf(out, "     ");
		mb_msg_clean(out, m->name);
		buf_printf(out, "  %s\n", figures);
	}
}

static void sort(struct sync_diff *d)
{
	HASH_SORT(d->mailboxes, by_name);
}

char *sync_diff_text(struct sync_diff *d, const char *peer, const struct session_result *r,
		     const struct scope *scope, bool each)
{
	struct buf out BUF_AUTO = BUF_INIT;

	sort(d);
	if (r->matched) {
		mb_msg_clean(&out, peer);
		buf_printf(&out, ": %" PRIu64 " messages are on both sides already\n", r->matched);
	}
	for (int side = 1; side >= 0; side--) {
		char *figures MB_AUTO_FREE = sync_diff_figures(&r->to[side]);
		if (side == scope_source(scope))
			continue; /* nothing is ever written there */
		buf_printf(&out, "%s ", side ? "->" : "<-");
		mb_msg_clean(&out, peer);
		buf_printf(&out, "  %s\n", figures);
		if (each)
			put_mailboxes(&out, d, side);
	}
	return mb_xstrdup(buf_cstr(&out));
}

/* ---- for programs ---------------------------------------------------------------------------- */

json_t *sync_diff_json(struct sync_diff *d)
{
	json_t *list = json_array();
	char guid[GUID_TEXT];

	sort(d);
	for (const struct sync_diff_mailbox *m = d->mailboxes; m; m = m->hh.next) {
		if (!session_counts_any(&m->to[0]) && !session_counts_any(&m->to[1]))
			continue;
		json_t *name = json_string(m->name); /* NULL when it is not UTF-8 */
		json_array_append_new(list, json_pack("{s:o?, s:s, s:o, s:o}", "name", name, "guid",
						      guid_text(&m->guid, guid), "sent",
						      cli_counts_json(&m->to[1]), "got",
						      cli_counts_json(&m->to[0])));
	}
	return list;
}
