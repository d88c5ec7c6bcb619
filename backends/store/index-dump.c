/*
 * index-dump.c - the index as text, one line for each key, tables and keys in order.
 *
 * Words with a leading '@' are stamps (time.replica, hexadecimal).
 */
#include "backends/store/index-private.h"
#include "backends/base/err.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>

static void text(FILE *out, const char *s)
{
	if (!s) {
		fputs(" -", out);
		return;
	}
	fputs(" \"", out);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
			fprintf(out, "\\x%02x", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
}

static void hex(FILE *out, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		fprintf(out, "%02x", p[i]);
}

static void guid(FILE *out, const char *word, const struct guid *g)
{
	char s[GUID_TEXT];

	fprintf(out, " %s%s", word, guid_is_zero(g) ? "-" : guid_text(g, s));
}

static void stamp(FILE *out, const char *word, const struct stamp *s)
{
	fprintf(out, " %s", word);
	if (stamp_is_none(s))
		fputs("@-", out);
	else
		fprintf(out, "@%" PRIx64 ".%" PRIx64, s->time, s->replica);
}

static void flags(FILE *out, const struct flags *f)
{
	fputs(" flags=", out);
	for (int i = 0; i < FLAG_COUNT; i++) {
		char word[3] = {f->set & FLAG_MASK(i) ? '+' : '-', FLAG_LETTERS[i], 0};
		if ((f->set & FLAG_MASK(i)) || !stamp_is_none(&f->at[i]))
			stamp(out, word, &f->at[i]);
	}
	for (size_t i = 0; i < f->n_keywords; i++) {
		text(out, f->keywords[i].name);
		stamp(out, f->keywords[i].set ? "+" : "-", &f->keywords[i].at);
	}
}

static void copy(FILE *out, const struct copy *c)
{
	guid(out, "mailbox=", &c->place.mailbox);
	fprintf(out, " uid=%" PRIu32, c->place.uid);
	stamp(out, "at=", &c->place.at);
	if (!stamp_is_none(&c->place.uid_at))
		stamp(out, "uid_at=", &c->place.uid_at);
	text(out, c->place.base);
	stamp(out, "dead=", &c->dead);
	stamp(out, "dead_at=", &c->dead_at);
	guid(out, "via=", &c->via);
	stamp(out, "via_seen=", &c->via_seen);
	flags(out, &c->flags);
	fprintf(out, " size=%" PRIu64 " received=%" PRId64 " recent=%d digest=", c->size,
		c->received_ns, c->recent);
	hex(out, c->digest.b, sizeof(c->digest.b));
}

static int dump_entry(struct entry *e, void *arg)
{
	static const char *const STATES[] = {"present", "dead", "lost", "damaged"};
	FILE *out = arg;

	fputs("copy", out);
	guid(out, "", &e->copy.guid);
	fprintf(out, " %" PRIx64 " %s ordinal=%" PRIu64 " modseq=%" PRIu64 " %s", e->copy.id,
		STATES[e->state], e->ordinal, e->modseq, e->in_new ? "new" : "cur");
	text(out, e->file);
	copy(out, &e->copy);
	fputc('\n', out);
	return 0;
}

static void mailbox(FILE *out, const struct mailbox *m)
{
	guid(out, "parent=", &m->parent);
	text(out, m->part);
	stamp(out, "born=", &m->born);
	stamp(out, "named=", &m->named_at);
	guid(out, "old_parent=", &m->old_parent);
	text(out, m->old_part);
	stamp(out, "dead=", &m->dead);
	stamp(out, "dead_at=", &m->dead_at);
	stamp(out, "revived=", &m->revived);
	stamp(out, m->selectable ? "selectable=1" : "selectable=0", &m->selectable_at);
	stamp(out, m->subscribed ? "subscribed=1" : "subscribed=0", &m->subscribed_at);
	fprintf(out, " validity=%" PRIu32 " next=%" PRIu32, m->uid_validity, m->uid_next);
	guid(out, "merged=", &m->merged_into);
}

static int dump_mailbox(struct index_txn *tx, const uint8_t *key, size_t len, void *arg)
{
	struct mailbox_local l;
	struct mailbox m;
	FILE *out = arg;
	struct guid g;

	if (len != sizeof(g.b))
		return MB_E_CHECKSUM;
	memcpy(g.b, key, sizeof(g.b));
	int r = index_get_mailbox(tx, &g, &m, &l);
	if (r < 0)
		return r;
	fputs("mailbox", out);
	guid(out, "", &g);
	mailbox(out, &m);
	text(out, l.dir);
	fprintf(out, " live=%" PRIu32 " modseq=%" PRIu64 " cookie=%" PRIu32 "\n", l.n_live,
		l.modseq, l.next_cookie);
	mailbox_release(&m);
	mailbox_local_release(&l);
	return 0;
}

static void position(FILE *out, const char *word, const struct position *p)
{
	guid(out, word, &p->log);
	fprintf(out, ":%" PRIu32 ":%" PRIu32 ":%" PRIx64, p->sequence, p->offset, p->check);
}

static int dump_peer(struct peer_state *p, void *arg)
{
	FILE *out = arg;

	fprintf(out, "peer %" PRIx64, p->replica);
	guid(out, "store=", &p->store);
	text(out, p->destination);
	position(out, "local=", &p->local);
	position(out, "remote=", &p->remote);
	fprintf(out, " synced=%" PRId64 "\n", p->synced_ns);
	return 0;
}

struct raw {
	FILE *out;
	enum table table;
};

/* A table whose keys and values say all: meta, dir, the keys of copies, alias, entry. */
static int dump_raw(struct index_txn *tx, const uint8_t *key, size_t len, void *arg)
{
	const struct raw *w = arg;
	struct slice val;
	int r = table_get(tx, w->table, key, len, &val);

	if (r < 0)
		return r;
	fprintf(w->out, "%s ", TABLE_NAMES[w->table]);
	if (w->table == T_META)
		fprintf(w->out, "%.*s", (int)len, (const char *)key);
	else
		hex(w->out, key, len);
	fputs(val.len ? " = " : "", w->out);
	hex(w->out, val.data, val.len);
	fputc('\n', w->out);
	return 0;
}

static int dump_table(struct index_txn *tx, enum table t, FILE *out)
{
	struct raw w = {.out = out, .table = t};

	switch (t) {
	case T_MAILBOX:
		return table_walk(tx, t, NULL, 0, NULL, 0, dump_mailbox, out);
	case T_COPY:
		return index_each(tx, dump_entry, out);
	case T_PEER:
		return index_each_peer(tx, dump_peer, out);
	default:
		return table_walk(tx, t, NULL, 0, NULL, 0, dump_raw, &w);
	}
}

int index_dump(struct index_txn *tx, FILE *out)
{
	int r = index_marks_flush(tx);

	for (int t = 0; r >= 0 && t < T_COUNT; t++)
		r = dump_table(tx, (enum table)t, out);
	return r < 0 || !ferror(out) ? r : -EIO;
}
