/*
 * record.c - one transaction as bytes.
 *
 * Tagged values, as tlv.h has them, to the end of the input; inside, mailbox, copy, peer and entry
 * are lists of their own that end with the tag 0.  What is empty is not written, so an arrival takes
 * about 250 bytes.  A new name that begins with the copy's base is written as what follows the base.
 * Names are for people: one that is too long is left out rather than making a record that cannot be
 * read.
 */
#include "backends/mail/record.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/mail/layout.h"
#include "backends/mail/tlv.h"
#include <limits.h>
#include <string.h>

enum { NAME_MAX_LEN = 8192, DESTINATION_MAX = 8192, TYPE_MAX = 65535 };

enum record_tag {
	REC_TAG_TYPE = 1,
	REC_TAG_AT,
	REC_TAG_ORIGIN,
	REC_TAG_MAILBOX,
	REC_TAG_COPY,
	REC_TAG_OLD_GUID,
	REC_TAG_OLD_ID,
	REC_TAG_PEER,
	REC_TAG_ENTRY,
	REC_TAG_OLD_NAME,
	REC_TAG_NEW_NAME,
	REC_TAG_NEW_SUFFIX, /* new name = base of the copy + this */
	REC_TAG_ORDINAL,
	REC_TAG_REPLICA_ID,
	REC_TAG_STORE_ID,
	REC_TAG_FORGOTTEN,
	REC_TAG_FURTHER, /* 16 bytes each: the id before and after */
};

enum peer_tag {
	PEER_REPLICA = 1,
	PEER_STORE,
	PEER_DESTINATION,
	PEER_LOCAL,
	PEER_REMOTE,
	PEER_SYNCED,
	PEER_SCOPES,
};

enum entry_tag {
	ENTRY_PEER = 1,
	ENTRY_MAILBOX,
	ENTRY_GUID,
	ENTRY_ID,
	ENTRY_PATH,
	ENTRY_FLAGS,
	ENTRY_KEYWORDS,
	ENTRY_INO,
	ENTRY_SIZE,
	ENTRY_STATE,
	ENTRY_MTIMES,
	ENTRY_DIGEST,
	ENTRY_PLACED_AT,
};

static const struct {
	enum record_type type;
	const char *name;
} type_names[] = {
	{REC_NONE, "none"},
	{REC_MAILBOX_CREATE, "mailbox-create"},
	{REC_MAILBOX_RENAME, "mailbox-rename"},
	{REC_MAILBOX_DELETE, "mailbox-delete"},
	{REC_MAILBOX_REVIVE, "mailbox-revive"},
	{REC_MAILBOX_SUBSCRIBE, "mailbox-subscribe"},
	{REC_MAILBOX_MERGE, "mailbox-merge"},
	{REC_MAILBOX_STATE, "mailbox-state"},
	{REC_ARRIVE, "arrive"},
	{REC_FLAGS, "flags"},
	{REC_MOVE, "move"},
	{REC_RENAME, "rename"},
	{REC_EXPUNGE, "expunge"},
	{REC_RENUMBER, "renumber"},
	{REC_DIGEST, "digest"},
	{REC_EDIT, "edit"},
	{REC_ALIAS, "alias"},
	{REC_COPY_STATE, "copy-state"},
	{REC_LOST, "lost"},
	{REC_FOUND, "found"},
	{REC_DAMAGED, "damaged"},
	{REC_PEER, "peer"},
	{REC_PEER_ENTRY, "peer-entry"},
	{REC_PEER_FORGET, "peer-forget"},
	{REC_REPLICA, "replica"},
};

const char *record_type_name(enum record_type t)
{
	for (size_t i = 0; i < sizeof(type_names) / sizeof(*type_names); i++)
		if (type_names[i].type == t)
			return type_names[i].name;
	return "unknown";
}

void peer_entry_release(struct peer_entry *e)
{
	free(e->path);
	*e = (struct peer_entry){0};
}

void record_release(struct record *r)
{
	mailbox_release(&r->mailbox);
	copy_release(&r->copy);
	peer_state_release(&r->peer);
	peer_entry_release(&r->entry);
	free(r->further);
	free(r->old_name);
	free(r->new_name);
	*r = (struct record){0};
}

bool record_add_further(struct record *r, uint64_t from, uint64_t to)
{
	if (r->n_further >= RECORD_FURTHER_MAX)
		return false;
	r->further = mb_xreallocarray(r->further, r->n_further + 1, sizeof(*r->further));
	r->further[r->n_further++] = (struct new_id){from, to};
	return true;
}

static char *copy_text(const char *s)
{
	return s ? mb_xstrdup(s) : NULL;
}

void record_clone(struct record *dst, const struct record *src)
{
	if (dst == src)
		return;
	record_release(dst);
	*dst = *src;
	dst->mailbox = (struct mailbox){0};
	mailbox_clone(&dst->mailbox, &src->mailbox);
	dst->copy = (struct copy){0};
	copy_clone(&dst->copy, &src->copy);
	dst->further = src->n_further
			       ? mb_xmemdup(src->further, src->n_further * sizeof(*src->further))
			       : NULL;
	dst->peer = (struct peer_state){0};
	peer_state_clone(&dst->peer, &src->peer);
	dst->entry.path = copy_text(src->entry.path);
	dst->old_name = copy_text(src->old_name);
	dst->new_name = copy_text(src->new_name);
}

void position_encode(const struct position *p, struct buf *out)
{
	buf_put(out, p->log.b, sizeof(p->log.b));
	buf_put_u32(out, p->sequence);
	buf_put_u32(out, p->offset);
	buf_put_u64(out, p->check);
}

bool position_decode(struct reader *r, struct position *ret)
{
	struct position p;

	reader_get(r, p.log.b, sizeof(p.log.b));
	p.sequence = reader_get_u32(r);
	p.offset = reader_get_u32(r);
	p.check = reader_get_u64(r);
	if (r->failed)
		return false;
	*ret = p;
	return true;
}

bool position_equal(const struct position *a, const struct position *b)
{
	return guid_equal(&a->log, &b->log) && a->sequence == b->sequence &&
	       a->offset == b->offset && a->check == b->check;
}

bool position_is_none(const struct position *p)
{
	static const struct position none;

	return position_equal(p, &none);
}

bool position_reaches(const struct position *a, const struct position *b)
{
	return a->sequence != b->sequence ? a->sequence > b->sequence : a->offset >= b->offset;
}

static void put_position(struct buf *out, uint8_t tag, const struct position *p)
{
	if (position_is_none(p))
		return;
	buf_put_u8(out, tag);
	buf_put_u8(out, 32);
	position_encode(p, out);
}

static void put_bounded_str(struct buf *out, uint8_t tag, const char *s, size_t max)
{
	if (s && strlen(s) <= max)
		tlv_put_str(out, tag, s);
}

static void encode_peer(const struct peer_state *p, struct buf *out)
{
	tlv_put_le64(out, PEER_REPLICA, p->replica);
	tlv_put_guid(out, PEER_STORE, &p->store);
	put_bounded_str(out, PEER_DESTINATION, p->destination, DESTINATION_MAX);
	put_position(out, PEER_LOCAL, &p->local);
	put_position(out, PEER_REMOTE, &p->remote);
	tlv_put_le64(out, PEER_SYNCED, (uint64_t)p->synced_ns);
	if (p->n_scopes) {
		BUF_AUTO struct buf scopes = BUF_INIT;
		peer_scopes_encode(p, &scopes);
		tlv_put(out, PEER_SCOPES, scopes.data, scopes.len);
	}
	tlv_end(out);
}

static void encode_mtimes(const int64_t mtimes[4], struct buf *out)
{
	if (!(mtimes[0] | mtimes[1] | mtimes[2] | mtimes[3]))
		return;
	buf_put_u8(out, ENTRY_MTIMES);
	buf_put_u8(out, 32);
	for (int i = 0; i < 4; i++)
		buf_put_u64(out, (uint64_t)mtimes[i]);
}

static void encode_entry(const struct peer_entry *e, struct buf *out)
{
	tlv_put_le64(out, ENTRY_PEER, e->peer);
	tlv_put_guid(out, ENTRY_MAILBOX, &e->mailbox);
	tlv_put_guid(out, ENTRY_GUID, &e->guid);
	tlv_put_le64(out, ENTRY_ID, e->id);
	put_bounded_str(out, ENTRY_PATH, e->path, PATH_MAX);
	tlv_put_varint(out, ENTRY_FLAGS, e->flags);
	tlv_put_varint(out, ENTRY_KEYWORDS, e->keywords);
	tlv_put_varint(out, ENTRY_INO, e->ino);
	tlv_put_varint(out, ENTRY_SIZE, e->size);
	tlv_put_varint(out, ENTRY_STATE, e->state);
	encode_mtimes(e->mtimes, out);
	tlv_put_digest(out, ENTRY_DIGEST, &e->digest);
	tlv_put_stamp(out, ENTRY_PLACED_AT, &e->placed_at);
	tlv_end(out);
}

static void encode_origin(const struct origin *o, struct buf *out)
{
	BUF_AUTO struct buf value = BUF_INIT;

	if (!o->replica && !o->pid && !o->comm[0])
		return;
	buf_put_u64(&value, o->replica);
	buf_put_varint(&value, o->pid);
	buf_put(&value, o->comm, strnlen(o->comm, REC_COMM_MAX));
	tlv_put(out, REC_TAG_ORIGIN, value.data, value.len);
}

/* A nested list; one that is only its end is not written. */
static void put_nested(struct buf *out, uint8_t tag, struct buf *value)
{
	if (value->len > 1)
		tlv_put(out, tag, value->data, value->len);
	buf_reset(value);
}

static void encode_new_name(const struct record *r, struct buf *out)
{
	const char *base = r->copy.place.base;
	size_t len = base ? strlen(base) : 0;

	if (!len || !r->new_name || strncmp(r->new_name, base, len) != 0)
		put_bounded_str(out, REC_TAG_NEW_NAME, r->new_name, NAME_MAX_LEN);
	else if (strlen(r->new_name) <= NAME_MAX_LEN)
		tlv_put(out, REC_TAG_NEW_SUFFIX, r->new_name + len, strlen(r->new_name) - len);
}

static void encode_further(const struct record *r, struct buf *out)
{
	BUF_AUTO struct buf value = BUF_INIT;

	for (size_t i = 0; i < r->n_further; i++) {
		buf_put_u64(&value, r->further[i].from);
		buf_put_u64(&value, r->further[i].to);
	}
	if (value.len)
		tlv_put(out, REC_TAG_FURTHER, value.data, value.len);
}

void record_encode(const struct record *r, struct buf *out)
{
	BUF_AUTO struct buf nested = BUF_INIT;

	tlv_put_varint(out, REC_TAG_TYPE, (uint64_t)r->type);
	tlv_put_stamp(out, REC_TAG_AT, &r->at);
	encode_origin(&r->origin, out);
	mailbox_encode(&r->mailbox, &nested);
	put_nested(out, REC_TAG_MAILBOX, &nested);
	copy_encode(&r->copy, &nested);
	put_nested(out, REC_TAG_COPY, &nested);
	tlv_put_guid(out, REC_TAG_OLD_GUID, &r->old_guid);
	tlv_put_le64(out, REC_TAG_OLD_ID, r->old_id);
	encode_peer(&r->peer, &nested);
	put_nested(out, REC_TAG_PEER, &nested);
	encode_entry(&r->entry, &nested);
	put_nested(out, REC_TAG_ENTRY, &nested);
	put_bounded_str(out, REC_TAG_OLD_NAME, r->old_name, NAME_MAX_LEN);
	encode_new_name(r, out);
	tlv_put_varint(out, REC_TAG_ORDINAL, r->ordinal);
	tlv_put_le64(out, REC_TAG_REPLICA_ID, r->replica_id);
	tlv_put_guid(out, REC_TAG_STORE_ID, &r->store_id);
	tlv_put_le64(out, REC_TAG_FORGOTTEN, r->forgotten);
	encode_further(r, out);
}

static struct position tlv_position(struct tlv *t)
{
	struct position p = {0};

	tlv_check(t, position_decode(&t->value, &p));
	return p;
}

static bool decode_peer(struct reader *r, struct peer_state *p)
{
	struct tlv t = {.in = r};

	while (tlv_next(&t)) {
		switch (t.tag) {
		case PEER_REPLICA:
			p->replica = tlv_le64(&t);
			break;
		case PEER_STORE:
			p->store = tlv_guid(&t);
			break;
		case PEER_DESTINATION:
			p->destination = tlv_str(&t, DESTINATION_MAX);
			break;
		case PEER_LOCAL:
			p->local = tlv_position(&t);
			break;
		case PEER_REMOTE:
			p->remote = tlv_position(&t);
			break;
		case PEER_SYNCED:
			p->synced_ns = (int64_t)tlv_le64(&t);
			break;
		case PEER_SCOPES:
			tlv_check(&t, peer_scopes_decode(&t.value, p));
			break;
		}
	}
	return !t.failed;
}

static void decode_mtimes(struct tlv *t, int64_t mtimes[4])
{
	for (int i = 0; i < 4; i++)
		mtimes[i] = (int64_t)reader_get_u64(&t->value);
	tlv_check(t, true);
}

/* What was seen in the file of the entry. */
static void decode_entry_state(struct tlv *t, struct peer_entry *e)
{
	switch (t->tag) {
	case ENTRY_FLAGS:
		e->flags = (uint8_t)tlv_varint(t, FLAG_ALL);
		break;
	case ENTRY_KEYWORDS:
		e->keywords = (uint32_t)tlv_varint(t, UINT32_MAX);
		break;
	case ENTRY_INO:
		e->ino = tlv_varint(t, UINT64_MAX);
		break;
	case ENTRY_SIZE:
		e->size = tlv_varint(t, UINT64_MAX);
		break;
	case ENTRY_STATE:
		e->state = (uint8_t)tlv_varint(t, PEER_ENTRY_INTENT);
		break;
	case ENTRY_MTIMES:
		decode_mtimes(t, e->mtimes);
		break;
	case ENTRY_DIGEST:
		e->digest = tlv_digest(t);
		break;
	case ENTRY_PLACED_AT:
		e->placed_at = tlv_stamp(t);
		break;
	}
}

static bool decode_entry(struct reader *r, struct peer_entry *e)
{
	struct tlv t = {.in = r};

	while (tlv_next(&t)) {
		switch (t.tag) {
		case ENTRY_PEER:
			e->peer = tlv_le64(&t);
			break;
		case ENTRY_MAILBOX:
			e->mailbox = tlv_guid(&t);
			break;
		case ENTRY_GUID:
			e->guid = tlv_guid(&t);
			break;
		case ENTRY_ID:
			e->id = tlv_le64(&t);
			break;
		case ENTRY_PATH:
			e->path = tlv_str(&t, PATH_MAX);
			break;
		default:
			decode_entry_state(&t, e);
		}
	}
	return !t.failed;
}

static void decode_further(struct tlv *t, struct record *r)
{
	size_t len = reader_left(&t->value), n = len / 16;

	if (!n || len % 16 || n > RECORD_FURTHER_MAX) {
		t->failed = true;
		return;
	}
	r->further = mb_xcalloc(n, sizeof(*r->further));
	while (r->n_further < n) {
		struct new_id *one = &r->further[r->n_further++];
		one->from = reader_get_u64(&t->value);
		one->to = reader_get_u64(&t->value);
	}
}

static void decode_origin(struct tlv *t, struct origin *o)
{
	uint64_t pid;
	size_t len;

	o->replica = reader_get_u64(&t->value);
	pid = reader_get_varint(&t->value);
	len = reader_left(&t->value);
	if (len <= REC_COMM_MAX)
		reader_get(&t->value, o->comm, len);
	for (const char *c = o->comm; c < o->comm + (len <= REC_COMM_MAX ? len : 0); c++)
		if (*c < ' ' || *c > '~')
			t->failed = true;
	o->pid = (uint32_t)pid;
	tlv_check(t, pid <= UINT32_MAX);
}

/* The copy is read before: its tag is lower. */
static void decode_new_suffix(struct tlv *t, struct record *r)
{
	MB_AUTO_FREE char *suffix = NULL;

	if (reader_left(&t->value))
		suffix = tlv_str(t, NAME_MAX_LEN);
	if (r->new_name || !r->copy.place.base)
		t->failed = true;
	if (!t->failed)
		r->new_name = mb_xasprintf("%s%s", r->copy.place.base, suffix ? suffix : "");
}

static void decode_rest(struct tlv *t, struct record *r)
{
	switch (t->tag) {
	case REC_TAG_PEER:
		tlv_check(t, decode_peer(&t->value, &r->peer));
		break;
	case REC_TAG_ENTRY:
		tlv_check(t, decode_entry(&t->value, &r->entry));
		break;
	case REC_TAG_OLD_NAME:
		r->old_name = tlv_str(t, NAME_MAX_LEN);
		break;
	case REC_TAG_NEW_NAME:
		r->new_name = tlv_str(t, NAME_MAX_LEN);
		break;
	case REC_TAG_NEW_SUFFIX:
		decode_new_suffix(t, r);
		break;
	case REC_TAG_ORDINAL:
		r->ordinal = tlv_varint(t, UINT64_MAX);
		break;
	case REC_TAG_REPLICA_ID:
		r->replica_id = tlv_le64(t);
		break;
	case REC_TAG_STORE_ID:
		r->store_id = tlv_guid(t);
		break;
	case REC_TAG_FORGOTTEN:
		r->forgotten = tlv_le64(t);
		break;
	case REC_TAG_FURTHER:
		decode_further(t, r);
		break;
	}
}

static void decode_field(struct tlv *t, struct record *r)
{
	switch (t->tag) {
	case REC_TAG_TYPE:
		r->type = (enum record_type)tlv_varint(t, TYPE_MAX);
		break;
	case REC_TAG_AT:
		r->at = tlv_stamp(t);
		break;
	case REC_TAG_ORIGIN:
		decode_origin(t, &r->origin);
		break;
	case REC_TAG_MAILBOX:
		tlv_check(t, mailbox_decode(&t->value, &r->mailbox));
		break;
	case REC_TAG_COPY:
		tlv_check(t, copy_decode(&t->value, &r->copy));
		break;
	case REC_TAG_OLD_GUID:
		r->old_guid = tlv_guid(t);
		break;
	case REC_TAG_OLD_ID:
		r->old_id = tlv_le64(t);
		break;
	default:
		decode_rest(t, r);
	}
}

int record_decode(const void *data, size_t len, struct record *ret)
{
	struct reader in = reader_of(data, len);
	struct tlv t = {.in = &in, .whole = true};
	struct record r = {0};

	if (len > RECORD_MAX)
		return MB_E_FORMAT;
	while (tlv_next(&t))
		decode_field(&t, &r);
	if (t.failed || r.type == REC_NONE) {
		record_release(&r);
		return MB_E_FORMAT;
	}
	*ret = r;
	return 0;
}
