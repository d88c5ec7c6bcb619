/*
 * map.c - the map of a foreign Maildir: read from the local store, held in memory, written back.
 *
 * It is read anew at each refresh: another process may have synced the same Maildir meanwhile.
 * Writing is one batch of REC_PEER_ENTRY put to the local store.  Entries of changes that are only
 * nice to know (times, digests) wait for the next batch that has to be written.
 */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/maildir/intent.h"
#include <errno.h>
#include <string.h>

/* ---- Mailboxes -------------------------------------------------------------------------------- */

struct md_box *md_box_find(struct maildir *m, const struct guid *g)
{
	struct md_box *box;

	HASH_FIND(hh, m->boxes, g, sizeof(*g), box);
	return box;
}

/* A mailbox that went may still have the name of the one that came after it: the later one counts,
 * whatever the order of the hash, or each run would give the children another parent. */
struct md_box *md_box_at(struct maildir *m, const char *dir)
{
	struct md_box *box, *next, *best = NULL;

	HASH_ITER (hh, m->boxes, box, next) {
		if (!box->dir || box->gone || strcmp(box->dir, dir) != 0)
			continue;
		if (!best || box->found > best->found ||
		    (box->found == best->found &&
		     stamp_compare(&box->named_at, &best->named_at) > 0))
			best = box;
	}
	return best;
}

struct md_box *md_box_add(struct maildir *m, const struct guid *g)
{
	struct md_box *box = mb_xcalloc(1, sizeof(*box));
	struct mailbox node = {.guid = *g, .selectable = true};

	box->guid = *g;
	HASH_ADD(hh, m->boxes, guid, sizeof(box->guid), box);
	if (!tree_find(&m->tree, g))
		tree_put(&m->tree, &node);
	return box;
}

struct mailbox *md_node(struct maildir *m, const struct md_box *box)
{
	return tree_find(&m->tree, &box->guid);
}

static void box_free(struct md_box *box)
{
	md_letters_release(box);
	md_listing_free(box);
	free(box->subs.line);
	free(box->dir);
	free(box);
}

static void tree_drop(struct tree *t, const struct guid *g)
{
	struct mailbox *node = tree_find(t, g);

	if (!node)
		return;
	mailbox_release(node);
	memmove(node, node + 1, (size_t)(t->nodes + t->n - node - 1) * sizeof(*node));
	t->n--;
}

void md_box_drop(struct maildir *m, struct md_box *box)
{
	md_entry_gone(m, &box->guid, &GUID_ZERO, 0);
	if (box->subs.stored)
		md_entry_gone(m, &box->guid, &MD_SUBS, 0);
	tree_drop(&m->tree, &box->guid);
	HASH_DEL(m->boxes, box);
	box_free(box);
}

/* ---- Files ------------------------------------------------------------------------------------ */

char *md_key(const char *name)
{
	struct fname f;

	fname_parse(name, &f);
	return mb_xstrndup(name, f.unique_len ? f.unique_len : strlen(name));
}

struct md_file *md_find(struct maildir *m, const struct guid *g, uint64_t id)
{
	struct md_message *msg;

	HASH_FIND(hh, m->messages, g, sizeof(*g), msg);
	for (struct md_file *f = msg ? msg->files : NULL; f; f = f->next)
		if (f->id == id)
			return f;
	return NULL;
}

/* Another file took its name: it gets a key that no file has, and so will be found missing. */
static void displace(struct md_file *f)
{
	char guid[GUID_TEXT];
	char *key = mb_xasprintf("%s/%s", f->key, guid_text(&f->guid, guid));

	free(f->key);
	f->key = key;
	f->dirty = true; /* or the next run takes the new file for it */
}

/* Of two under one name the one that is there, or is not agreed yet and so came later, has it. */
static void box_add_file(struct md_box *box, struct md_file *f)
{
	struct md_file *other;

	f->box = box;
	HASH_FIND(hb, box->files, f->key, strlen(f->key), other);
	if (other && ((other->missing && !f->missing) || (other->agreed && !f->agreed))) {
		HASH_DELETE(hb, box->files, other);
		displace(other);
		HASH_ADD_KEYPTR(hb, box->files, other->key, strlen(other->key), other);
	} else if (other) {
		displace(f);
	}
	HASH_ADD_KEYPTR(hb, box->files, f->key, strlen(f->key), f);
}

static void box_del_file(struct md_file *f)
{
	struct md_file *there = NULL;

	if (f->box)
		HASH_FIND(hb, f->box->files, f->key, strlen(f->key), there);
	if (there == f)
		HASH_DELETE(hb, f->box->files, f);
}

static void link_message(struct maildir *m, struct md_file *f)
{
	struct md_message *msg;

	HASH_FIND(hh, m->messages, &f->guid, sizeof(f->guid), msg);
	if (!msg) {
		msg = mb_xcalloc(1, sizeof(*msg));
		msg->guid = f->guid;
		HASH_ADD(hh, m->messages, guid, sizeof(msg->guid), msg);
	}
	f->next = msg->files;
	msg->files = f;
}

static void unlink_message(struct maildir *m, struct md_file *f)
{
	struct md_message *msg;
	struct md_file **p;

	HASH_FIND(hh, m->messages, &f->guid, sizeof(f->guid), msg);
	for (p = msg ? &msg->files : NULL; p && *p; p = &(*p)->next) {
		if (*p == f) {
			*p = f->next;
			break;
		}
	}
	if (msg && !msg->files) {
		HASH_DEL(m->messages, msg);
		free(msg);
	}
}

void md_file_add(struct maildir *m, struct md_file *f)
{
	link_message(m, f);
	box_add_file(f->box, f);
}

void md_file_free(struct md_file *f)
{
	free(f->key);
	free(f->name);
	free(f);
}

void md_entry_gone(struct maildir *m, const struct guid *mailbox, const struct guid *g, uint64_t id)
{
	if (guid_is_zero(mailbox))
		return;
	MB_GROW(m->gone, m->cap_gone, m->n_gone + 1);
	m->gone[m->n_gone++] = (struct peer_entry){.mailbox = *mailbox, .guid = *g, .id = id};
}

void md_file_drop(struct maildir *m, struct md_file *f)
{
	md_entry_gone(m, &f->box->guid, &f->guid, f->id);
	if (!guid_equal(&f->agreed_box, &f->box->guid))
		md_entry_gone(m, &f->agreed_box, &f->guid, f->id);
	box_del_file(f);
	unlink_message(m, f);
	md_file_free(f);
}

/* Puts it into another mailbox, or under another name, in memory. */
void md_file_move(struct md_file *f, struct md_box *to, const char *name)
{
	char *key = md_key(name);

	box_del_file(f);
	free(f->key);
	f->key = key;
	box_add_file(to, f);
	f->dirty = true;
}

void md_file_rekey(struct maildir *m, struct md_file *f, const struct guid *g, uint64_t id)
{
	md_entry_gone(m, &f->box->guid, &f->guid, f->id);
	if (!guid_equal(&f->agreed_box, &f->box->guid))
		md_entry_gone(m, &f->agreed_box, &f->guid, f->id);
	unlink_message(m, f);
	f->guid = *g;
	f->id = id;
	link_message(m, f);
	f->dirty = true;
}

bool md_differs(const struct md_file *f)
{
	return !f->agreed || f->before.flags != f->now.flags ||
	       f->before.keywords != f->now.keywords || !guid_equal(&f->agreed_box, &f->box->guid);
}

bool md_is_news(const struct md_file *f)
{
	return f->missing ? !f->held && !stamp_is_none(&f->dead) : md_differs(f);
}

/* ---- Reading ---------------------------------------------------------------------------------- */

static struct md_box *box_of(struct maildir *m, const struct guid *g)
{
	struct md_box *box = md_box_find(m, g);

	return box ? box : md_box_add(m, g);
}

static void load_box(struct maildir *m, struct peer_entry *e)
{
	struct md_box *box = box_of(m, &e->mailbox);

	free(box->dir);
	box->dir = mb_xstrdup(e->path);
	box->ino = e->ino;
	box->named_at = e->placed_at;
	box->structural = e->flags & BOX_STRUCTURAL;
	box->intent = e->state == PEER_ENTRY_INTENT;
	box->agreed = !box->intent || !(e->flags & BOX_IN);
	if (!box->intent)
		memcpy(box->times, e->mtimes, sizeof(box->times));
}

static struct letters letters_of(uint64_t packed)
{
	return (struct letters){.flags = (uint8_t)packed & FLAG_ALL,
				.keywords = (uint32_t)(packed >> 8)};
}

static void load_intent(struct md_file *f, const struct peer_entry *e)
{
	unsigned kind = (unsigned)((uint64_t)e->mtimes[1] >> KIND_SHIFT);

	f->before = letters_of((uint64_t)e->mtimes[1]);
	f->fresh = kind & KIND_FRESH;
	f->out = !(kind & KIND_IN);
	f->agreed = !f->fresh;
	if (f->fresh)
		f->agreed_box = GUID_ZERO;
	if (kind & KIND_IN) {
		f->changed_at.time = (uint64_t)e->mtimes[2];
		f->changed_at.replica = (uint64_t)e->mtimes[3];
	}
}

/* A message that was on its way has two entries: where it was, and, with the later stamp, where it is
 * now.  True when `f` was the former and is gone. */
static bool load_second(struct maildir *m, struct md_file *f, struct md_file *old)
{
	bool later = stamp_compare(&f->placed_at, &old->placed_at) > 0;
	struct md_file *now = later ? f : old, *before = later ? old : f;

	if (f->out || old->out)
		return false; /* which of them it is, is to be looked for */
	now->agreed = true;
	now->agreed_box = before->agreed ? before->agreed_box : before->box->guid;
	if (!later) {
		md_file_free(f);
		return true;
	}
	box_del_file(old);
	unlink_message(m, old);
	md_file_free(old);
	return false;
}

static void load_file(struct maildir *m, struct peer_entry *e)
{
	struct md_file *f = mb_xcalloc(1, sizeof(*f));
	struct md_file *old = md_find(m, &e->guid, e->id);

	f->guid = e->guid;
	f->id = e->id;
	f->box = box_of(m, &e->mailbox);
	f->key = mb_xstrdup(e->path);
	f->now = f->before = f->planned =
		(struct letters){.flags = e->flags, .keywords = e->keywords};
	f->agreed = true;
	f->agreed_box = e->mailbox;
	f->placed_at = e->placed_at;
	f->ino = e->ino;
	f->size = e->size;
	f->mtime_ns = e->mtimes[0];
	f->digest = e->digest;
	f->kept_back = (unsigned)((uint64_t)e->mtimes[1] >> KIND_SHIFT) & KIND_HELD;
	if (e->state == PEER_ENTRY_INTENT)
		load_intent(f, e);
	if (!old || !load_second(m, f, old))
		md_file_add(m, f);
}

static int load_entry(struct peer_entry *e, void *arg)
{
	struct maildir *m = arg;

	if (!e->path && guid_equal(&e->mailbox, &GUID_INBOX) && guid_is_zero(&e->guid))
		e->path = mb_xstrdup(""); /* as it comes from the log */
	if (!e->path)
		return 0;
	if (md_intent_is_line(e))
		md_intent_load(m, e);
	else if (md_subs_is_entry(e))
		md_subs_load(m, box_of(m, &e->mailbox), e);
	else if (guid_is_zero(&e->guid))
		load_box(m, e);
	else
		load_file(m, e);
	return 0;
}

/* An intent of a place that has no mailbox entry came from a cut: it is looked for as any other. */
int md_load(struct maildir *m)
{
	md_unload(m);
	return m->local->ops->each_entry(m->local, m->replica, load_entry, m);
}

static void free_messages(struct maildir *m)
{
	struct md_message *msg, *next;

	HASH_ITER (hh, m->messages, msg, next) {
		while (msg->files) {
			struct md_file *f = msg->files;

			msg->files = f->next;
			md_file_free(f);
		}
		HASH_DEL(m->messages, msg);
		free(msg);
	}
}

void md_unload(struct maildir *m)
{
	struct md_box *box, *next;

	HASH_ITER (hh, m->boxes, box, next) {
		HASH_CLEAR(hb, box->files);
		HASH_DEL(m->boxes, box);
		box_free(box);
	}
	free_messages(m);
	tree_release(&m->tree);
	m->tree = (struct tree){0};
	m->n_gone = m->n_fresh = 0;
	m->must_write = m->unsettled = m->astray = false;
	m->broken = 0;
	md_intent_release(m);
	md_subs_release(m);
	if (m->local_asked)
		change_set_release(&m->local_news);
	m->local_asked = m->local_told = false;
}
