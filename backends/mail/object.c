/*
 * object.c - copies and mailboxes: join, compare, encode.
 *
 * Each register is joined by a total order on its whole value (the stamp first, then every other
 * field), so that the join is commutative, associative and idempotent even for states that no honest
 * replica makes: two values under one stamp.
 */
#include "backends/mail/object.h"
#include "backends/base/mem.h"
#include "backends/mail/fname.h"
#include "backends/mail/layout.h"
#include "backends/mail/tlv.h"
#include <string.h>

enum copy_tag {
	COPY_GUID = 1,
	COPY_ID,
	COPY_MAILBOX,
	COPY_UID,
	COPY_PLACE_AT,
	COPY_BASE,
	COPY_DEAD,
	COPY_DEAD_AT,
	COPY_VIA,
	COPY_VIA_SEEN,
	COPY_FLAGS,
	COPY_SIZE,
	COPY_RECEIVED,
	COPY_DIGEST,
	COPY_RECENT,
	COPY_UID_AT,
};

enum mailbox_tag {
	MBOX_GUID = 1,
	MBOX_PARENT,
	MBOX_PART,
	MBOX_BORN,
	MBOX_NAMED_AT,
	MBOX_OLD_PARENT,
	MBOX_OLD_PART,
	MBOX_DEAD,
	MBOX_DEAD_AT,
	MBOX_REVIVED,
	MBOX_BITS, /* 1 selectable, 2 subscribed */
	MBOX_SELECTABLE_AT,
	MBOX_SUBSCRIBED_AT,
	MBOX_UID_VALIDITY,
	MBOX_UID_NEXT,
	MBOX_MERGED_INTO,
	MBOX_UID_VALIDITY_AT,
};

static int compare_text(const char *a, const char *b)
{
	if (!a || !b)
		return (a != NULL) - (b != NULL);
	return strcmp(a, b);
}

static char *copy_text(const char *s)
{
	return s ? mb_xstrdup(s) : NULL;
}

static void set_text(char **dst, const char *src)
{
	char *copy = copy_text(src);

	free(*dst);
	*dst = copy;
}

/* The first comparison that tells the two apart. */
#define FIRST_OF(a, b) ((a) ? (a) : (b))

static bool join_max(struct stamp *dst, const struct stamp *src)
{
	if (stamp_compare(dst, src) >= 0)
		return false;
	*dst = *src;
	return true;
}

void copy_release(struct copy *c)
{
	free(c->place.base);
	flags_release(&c->flags);
	*c = (struct copy){0};
}

void copy_clone(struct copy *dst, const struct copy *src)
{
	if (dst == src)
		return;
	copy_release(dst);
	*dst = *src;
	dst->place.base = copy_text(src->place.base);
	dst->flags = (struct flags){0};
	flags_copy(&dst->flags, &src->flags);
}

bool copy_alive(const struct copy *c)
{
	return stamp_compare(&c->place.at, &c->dead) > 0;
}

bool copy_same_key(const struct copy *a, const struct copy *b)
{
	return a->id == b->id && guid_equal(&a->guid, &b->guid);
}

static int compare_uint(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int compare_place(const struct place *a, const struct place *b)
{
	int order = stamp_compare(&a->at, &b->at);

	order = FIRST_OF(order, stamp_compare(&a->uid_at, &b->uid_at));
	order = FIRST_OF(order, compare_uint(a->uid, b->uid));
	order = FIRST_OF(order, guid_compare(&a->mailbox, &b->mailbox));
	return FIRST_OF(order, compare_text(a->base, b->base));
}

/* Of two expunges of one instance the one that no rename can make void, the direct one, is greater;
 * then the one that saw more. */
static int compare_dead(const struct copy *a, const struct copy *b)
{
	int order = stamp_compare(&a->dead, &b->dead);

	order = FIRST_OF(order, guid_is_zero(&a->via) - guid_is_zero(&b->via));
	order = FIRST_OF(order, stamp_compare(&a->via_seen, &b->via_seen));
	order = FIRST_OF(order, stamp_compare(&a->dead_at, &b->dead_at));
	return FIRST_OF(order, guid_compare(&a->via, &b->via));
}

bool copy_equal(const struct copy *a, const struct copy *b)
{
	return copy_same_key(a, b) && compare_place(&a->place, &b->place) == 0 &&
	       compare_dead(a, b) == 0 && flags_equal(&a->flags, &b->flags) && a->size == b->size &&
	       a->received_ns == b->received_ns && digest_equal(&a->digest, &b->digest);
}

static bool join_place(struct place *dst, const struct place *src)
{
	if (compare_place(dst, src) >= 0)
		return false;
	dst->mailbox = src->mailbox;
	dst->uid = src->uid;
	dst->at = src->at;
	dst->uid_at = src->uid_at;
	set_text(&dst->base, src->base);
	return true;
}

static bool join_dead(struct copy *dst, const struct copy *src)
{
	if (compare_dead(dst, src) >= 0)
		return false;
	dst->dead = src->dead;
	dst->dead_at = src->dead_at;
	dst->via = src->via;
	dst->via_seen = src->via_seen;
	return true;
}

static int compare_content(const struct copy *a, const struct copy *b)
{
	int order = digest_compare(&a->digest, &b->digest);

	return order ? order : compare_uint(a->size, b->size);
}

/* Where the contents differ, the greater digest stays, with its size, and the earlier date. */
static bool join_content(struct copy *dst, const struct copy *src)
{
	bool changed = false;

	if (src->received_ns && (!dst->received_ns || src->received_ns < dst->received_ns)) {
		dst->received_ns = src->received_ns;
		changed = true;
	}
	if (compare_content(src, dst) > 0) {
		dst->size = src->size;
		dst->digest = src->digest;
		changed = true;
	}
	return changed;
}

bool copy_join(struct copy *dst, const struct copy *src)
{
	bool changed;

	if (dst == src)
		return false;
	changed = join_place(&dst->place, &src->place);
	changed |= join_dead(dst, src);
	changed |= flags_join(&dst->flags, &src->flags);
	changed |= join_content(dst, src);
	return changed;
}

static bool flags_empty(const struct flags *f)
{
	static const struct flags none;

	return flags_equal(f, &none);
}

void copy_encode(const struct copy *c, struct buf *out)
{
	tlv_put_guid(out, COPY_GUID, &c->guid);
	tlv_put_le64(out, COPY_ID, c->id);
	tlv_put_guid(out, COPY_MAILBOX, &c->place.mailbox);
	tlv_put_varint(out, COPY_UID, c->place.uid);
	tlv_put_stamp(out, COPY_PLACE_AT, &c->place.at);
	tlv_put_str(out, COPY_BASE, c->place.base);
	tlv_put_stamp(out, COPY_DEAD, &c->dead);
	tlv_put_stamp(out, COPY_DEAD_AT, &c->dead_at);
	tlv_put_guid(out, COPY_VIA, &c->via);
	tlv_put_stamp(out, COPY_VIA_SEEN, &c->via_seen);
	if (!flags_empty(&c->flags)) {
		BUF_AUTO struct buf flags = BUF_INIT;

		flags_encode(&c->flags, &flags);
		tlv_put(out, COPY_FLAGS, flags.data, flags.len);
	}
	tlv_put_varint(out, COPY_SIZE, c->size);
	tlv_put_le64(out, COPY_RECEIVED, (uint64_t)c->received_ns);
	tlv_put_digest(out, COPY_DIGEST, &c->digest);
	tlv_put_varint(out, COPY_RECENT, c->recent);
	tlv_put_stamp(out, COPY_UID_AT, &c->place.uid_at);
	tlv_end(out);
}

/* A base becomes a file name: one component, and never "." or "..". */
static char *decode_base(struct tlv *t)
{
	char *base = tlv_str(t, FNAME_MAX);

	if (base && (strchr(base, '/') || strcmp(base, ".") == 0 || strcmp(base, "..") == 0))
		t->failed = true;
	return base;
}

static void decode_copy_state(struct tlv *t, struct copy *c)
{
	switch (t->tag) {
	case COPY_DEAD:
		c->dead = tlv_stamp(t);
		break;
	case COPY_DEAD_AT:
		c->dead_at = tlv_stamp(t);
		break;
	case COPY_VIA:
		c->via = tlv_guid(t);
		break;
	case COPY_VIA_SEEN:
		c->via_seen = tlv_stamp(t);
		break;
	case COPY_FLAGS:
		tlv_check(t, flags_decode(&t->value, &c->flags));
		break;
	case COPY_SIZE:
		c->size = tlv_varint(t, UINT64_MAX);
		break;
	case COPY_RECEIVED:
		c->received_ns = (int64_t)tlv_le64(t);
		break;
	case COPY_DIGEST:
		c->digest = tlv_digest(t);
		break;
	case COPY_RECENT:
		c->recent = tlv_varint(t, 1);
		break;
	case COPY_UID_AT:
		c->place.uid_at = tlv_stamp(t);
		break;
	}
}

static void decode_copy_field(struct tlv *t, struct copy *c)
{
	switch (t->tag) {
	case COPY_GUID:
		c->guid = tlv_guid(t);
		break;
	case COPY_ID:
		c->id = tlv_le64(t);
		break;
	case COPY_MAILBOX:
		c->place.mailbox = tlv_guid(t);
		break;
	case COPY_UID:
		c->place.uid = (uint32_t)tlv_varint(t, UINT32_MAX);
		break;
	case COPY_PLACE_AT:
		c->place.at = tlv_stamp(t);
		break;
	case COPY_BASE:
		c->place.base = decode_base(t);
		break;
	default:
		decode_copy_state(t, c);
	}
}

bool copy_decode(struct reader *r, struct copy *ret)
{
	struct tlv t = {.in = r};

	*ret = (struct copy){0};
	while (tlv_next(&t))
		decode_copy_field(&t, ret);
	if (t.failed)
		copy_release(ret);
	return !t.failed;
}

void mailbox_release(struct mailbox *m)
{
	free(m->part);
	free(m->old_part);
	*m = (struct mailbox){0};
}

void mailbox_clone(struct mailbox *dst, const struct mailbox *src)
{
	if (dst == src)
		return;
	mailbox_release(dst);
	*dst = *src;
	dst->part = copy_text(src->part);
	dst->old_part = copy_text(src->old_part);
}

struct stamp mailbox_seen(const struct mailbox *m)
{
	return stamp_max(m->named_at, m->revived);
}

bool mailbox_merged(const struct mailbox *m)
{
	return !guid_is_zero(&m->merged_into) && !guid_equal(&m->merged_into, &m->guid);
}

bool mailbox_may_become(const struct mailbox *loser, const struct guid *winner)
{
	return guid_is_zero(&loser->merged_into) || guid_compare(winner, &loser->merged_into) < 0;
}

bool mailbox_alive(const struct mailbox *m)
{
	struct stamp seen = mailbox_seen(m);

	return !mailbox_merged(m) && stamp_compare(&seen, &m->dead) > 0;
}

static int compare_name(const struct mailbox *a, const struct mailbox *b)
{
	int order = stamp_compare(&a->named_at, &b->named_at);

	order = FIRST_OF(order, guid_compare(&a->parent, &b->parent));
	order = FIRST_OF(order, compare_text(a->part, b->part));
	order = FIRST_OF(order, guid_compare(&a->old_parent, &b->old_parent));
	return FIRST_OF(order, compare_text(a->old_part, b->old_part));
}

bool mailbox_equal(const struct mailbox *a, const struct mailbox *b)
{
	return guid_equal(&a->guid, &b->guid) && compare_name(a, b) == 0 &&
	       stamp_compare(&a->born, &b->born) == 0 && stamp_compare(&a->dead, &b->dead) == 0 &&
	       stamp_compare(&a->dead_at, &b->dead_at) == 0 &&
	       stamp_compare(&a->revived, &b->revived) == 0 && a->selectable == b->selectable &&
	       stamp_compare(&a->selectable_at, &b->selectable_at) == 0 &&
	       a->subscribed == b->subscribed &&
	       stamp_compare(&a->subscribed_at, &b->subscribed_at) == 0 &&
	       a->uid_validity == b->uid_validity &&
	       stamp_compare(&a->uid_validity_at, &b->uid_validity_at) == 0 &&
	       a->uid_next == b->uid_next && guid_equal(&a->merged_into, &b->merged_into);
}

static bool join_name(struct mailbox *dst, const struct mailbox *src)
{
	if (compare_name(dst, src) >= 0)
		return false;
	dst->named_at = src->named_at;
	dst->parent = src->parent;
	dst->old_parent = src->old_parent;
	set_text(&dst->part, src->part);
	set_text(&dst->old_part, src->old_part);
	return true;
}

static bool join_bit(bool *dst, struct stamp *dst_at, bool src, const struct stamp *src_at)
{
	int order = stamp_compare(dst_at, src_at);

	if (order > 0 || (order == 0 && (*dst || !src)))
		return false;
	*dst = src;
	*dst_at = *src_at;
	return true;
}

/* The earlier birth: an INBOX is born in each store. */
static bool join_born(struct stamp *dst, const struct stamp *src)
{
	if (stamp_is_none(src) || (!stamp_is_none(dst) && stamp_compare(dst, src) <= 0))
		return false;
	*dst = *src;
	return true;
}

static bool join_death(struct mailbox *dst, const struct mailbox *src)
{
	int order = stamp_compare(&dst->dead, &src->dead);

	if (FIRST_OF(order, stamp_compare(&dst->dead_at, &src->dead_at)) >= 0)
		return false;
	dst->dead = src->dead;
	dst->dead_at = src->dead_at;
	return true;
}

static bool join_u32(uint32_t *dst, uint32_t src)
{
	if (*dst >= src)
		return false;
	*dst = src;
	return true;
}

/* The one that was given later, else the greater. */
static bool join_uid_validity(struct mailbox *dst, const struct mailbox *src)
{
	int order = stamp_compare(&dst->uid_validity_at, &src->uid_validity_at);

	if (order > 0 || (order == 0 && dst->uid_validity >= src->uid_validity))
		return false;
	dst->uid_validity = src->uid_validity;
	dst->uid_validity_at = src->uid_validity_at;
	return true;
}

/* Known beats unknown; of two the lower GUID stays. */
static bool join_merged(struct guid *dst, const struct guid *src)
{
	if (guid_is_zero(src) || (!guid_is_zero(dst) && guid_compare(dst, src) <= 0))
		return false;
	*dst = *src;
	return true;
}

bool mailbox_join(struct mailbox *dst, const struct mailbox *src)
{
	bool changed;

	if (dst == src)
		return false;
	changed = join_name(dst, src);
	changed |= join_born(&dst->born, &src->born);
	changed |= join_death(dst, src);
	changed |= join_max(&dst->revived, &src->revived);
	changed |= join_bit(&dst->selectable, &dst->selectable_at, src->selectable,
			    &src->selectable_at);
	changed |= join_bit(&dst->subscribed, &dst->subscribed_at, src->subscribed,
			    &src->subscribed_at);
	changed |= join_uid_validity(dst, src);
	changed |= join_u32(&dst->uid_next, src->uid_next);
	changed |= join_merged(&dst->merged_into, &src->merged_into);
	return changed;
}

struct mailbox mailbox_as(const struct mailbox *loser, const struct guid *winner)
{
	struct mailbox m = *loser;

	m.guid = *winner;
	m.merged_into = GUID_ZERO;
	if (!m.selectable)
		m.selectable_at = STAMP_NONE;
	if (!m.selectable && m.uid_next <= 1) {
		m.uid_validity = 0;
		m.uid_validity_at = STAMP_NONE;
	}
	return m;
}

void mailbox_encode(const struct mailbox *m, struct buf *out)
{
	unsigned bits = (m->selectable ? 1u : 0) | (m->subscribed ? 2u : 0);

	tlv_put_guid(out, MBOX_GUID, &m->guid);
	tlv_put_guid(out, MBOX_PARENT, &m->parent);
	tlv_put_str(out, MBOX_PART, m->part);
	tlv_put_stamp(out, MBOX_BORN, &m->born);
	tlv_put_stamp(out, MBOX_NAMED_AT, &m->named_at);
	tlv_put_guid(out, MBOX_OLD_PARENT, &m->old_parent);
	tlv_put_str(out, MBOX_OLD_PART, m->old_part);
	tlv_put_stamp(out, MBOX_DEAD, &m->dead);
	tlv_put_stamp(out, MBOX_DEAD_AT, &m->dead_at);
	tlv_put_stamp(out, MBOX_REVIVED, &m->revived);
	tlv_put_varint(out, MBOX_BITS, bits);
	tlv_put_stamp(out, MBOX_SELECTABLE_AT, &m->selectable_at);
	tlv_put_stamp(out, MBOX_SUBSCRIBED_AT, &m->subscribed_at);
	tlv_put_varint(out, MBOX_UID_VALIDITY, m->uid_validity);
	tlv_put_varint(out, MBOX_UID_NEXT, m->uid_next);
	tlv_put_guid(out, MBOX_MERGED_INTO, &m->merged_into);
	tlv_put_stamp(out, MBOX_UID_VALIDITY_AT, &m->uid_validity_at);
	tlv_end(out);
}

static void decode_mailbox_bits(struct tlv *t, struct mailbox *m)
{
	uint64_t bits = tlv_varint(t, 3);

	m->selectable = bits & 1;
	m->subscribed = bits & 2;
}

static void decode_mailbox_state(struct tlv *t, struct mailbox *m)
{
	switch (t->tag) {
	case MBOX_DEAD:
		m->dead = tlv_stamp(t);
		break;
	case MBOX_DEAD_AT:
		m->dead_at = tlv_stamp(t);
		break;
	case MBOX_REVIVED:
		m->revived = tlv_stamp(t);
		break;
	case MBOX_BITS:
		decode_mailbox_bits(t, m);
		break;
	case MBOX_SELECTABLE_AT:
		m->selectable_at = tlv_stamp(t);
		break;
	case MBOX_SUBSCRIBED_AT:
		m->subscribed_at = tlv_stamp(t);
		break;
	case MBOX_UID_VALIDITY:
		m->uid_validity = (uint32_t)tlv_varint(t, UINT32_MAX);
		break;
	case MBOX_UID_VALIDITY_AT:
		m->uid_validity_at = tlv_stamp(t);
		break;
	case MBOX_UID_NEXT:
		m->uid_next = (uint32_t)tlv_varint(t, UINT32_MAX);
		break;
	case MBOX_MERGED_INTO:
		m->merged_into = tlv_guid(t);
		break;
	}
}

static void decode_mailbox_field(struct tlv *t, struct mailbox *m)
{
	switch (t->tag) {
	case MBOX_GUID:
		m->guid = tlv_guid(t);
		break;
	case MBOX_PARENT:
		m->parent = tlv_guid(t);
		break;
	case MBOX_PART:
		m->part = tlv_str(t, MAILBOX_PART_MAX);
		break;
	case MBOX_BORN:
		m->born = tlv_stamp(t);
		break;
	case MBOX_NAMED_AT:
		m->named_at = tlv_stamp(t);
		break;
	case MBOX_OLD_PARENT:
		m->old_parent = tlv_guid(t);
		break;
	case MBOX_OLD_PART:
		m->old_part = tlv_str(t, MAILBOX_PART_MAX);
		break;
	default:
		decode_mailbox_state(t, m);
	}
}

bool mailbox_decode(struct reader *r, struct mailbox *ret)
{
	struct tlv t = {.in = r};

	*ret = (struct mailbox){0};
	while (tlv_next(&t))
		decode_mailbox_field(&t, ret);
	if (t.failed)
		mailbox_release(ret);
	return !t.failed;
}
