/*
 * index-apply-copy.c - records of copies into the index.
 *
 * Registers are joined (copy_join), and whether the entry lives follows from them; the record's type
 * only says what else it does.  Local facts (file, state) are taken from a record that is not older
 * than the entry's last change.
 */
#include "backends/store/index-private.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/mail/fname.h"
#include <errno.h>
#include <string.h>

/* One copy while a record is applied to it. */
struct work {
	struct index_txn *tx;
	const struct record *rec;
	uint64_t modseq;
	struct entry e;
	bool known;   /* the entry was there */
	bool changed; /* it must be written */
	bool newer;   /* the record is not older than the entry */
};

static int get_work(struct work *w, const struct guid *g, uint64_t id)
{
	int r = index_get_entry(w->tx, g, id, &w->e);

	w->known = r >= 0;
	w->changed = false;
	if (r == -ENOENT) {
		w->e = (struct entry){.copy = {.guid = *g, .id = id}};
		r = 0;
	}
	w->newer = w->modseq == 0 || w->modseq >= w->e.modseq;
	return r;
}

static void clear_file(struct entry *e)
{
	free(e->file);
	e->file = NULL;
	e->in_new = e->copy.recent = false;
	e->ino = 0;
	e->mtime_ns = e->ctime_ns = 0;
}

/* What follows from the registers: dead without a file, or live. */
static void settle_state(struct work *w)
{
	struct entry *e = &w->e;
	bool live = copy_alive(&e->copy);

	if (live && e->state == ENTRY_DEAD) {
		e->state = ENTRY_PRESENT;
		w->changed = true;
	}
	if (!live && (e->state != ENTRY_DEAD || e->file)) {
		e->state = ENTRY_DEAD;
		clear_file(e);
		w->changed = true;
	}
}

static void set_state(struct work *w, enum entry_state state)
{
	struct entry *e = &w->e;

	if (e->state == ENTRY_DEAD || e->state == state || !w->newer)
		return;
	e->state = state;
	e->ino = 0;
	e->mtime_ns = e->ctime_ns = 0;
	w->changed = true;
}

/* "new/NAME" or "cur/NAME". */
static void set_file(struct work *w)
{
	const char *name = w->rec->new_name;
	struct entry *e = &w->e;

	if (!name || e->state == ENTRY_DEAD || !w->newer)
		return;
	bool in_new = strncmp(name, "new/", 4) == 0;
	if ((!in_new && strncmp(name, "cur/", 4) != 0) || !fname_is_message(name + 4))
		return;
	if (e->file && strcmp(e->file, name + 4) == 0 && e->in_new == in_new)
		return;
	free(e->file);
	e->file = mb_xstrdup(name + 4);
	e->in_new = e->copy.recent = in_new;
	e->ctime_ns = 0;
	w->changed = true;
}

/* A body came where none was: its size and digest count, whatever those of an earlier one were. */
static void set_content(struct work *w)
{
	const struct copy *rec = &w->rec->copy;
	struct entry *e = &w->e;
	bool came = w->rec->type == REC_ARRIVE || w->rec->type == REC_FOUND;

	if (!came || !w->newer || e->state == ENTRY_DEAD || !digest_known(&rec->digest) ||
	    (digest_equal(&e->copy.digest, &rec->digest) && e->copy.size == rec->size))
		return;
	e->copy.size = rec->size;
	e->copy.digest = rec->digest;
	w->changed = true;
}

static void set_numbers(struct work *w)
{
	struct entry *e = &w->e;

	if (w->rec->ordinal && e->ordinal != w->rec->ordinal && w->newer) {
		e->ordinal = w->rec->ordinal;
		w->changed = true;
	}
	if (w->modseq > e->modseq) {
		e->modseq = w->modseq;
		w->changed = true;
	}
}

/* Joins `src`, whose key counts for nothing: the work's own is kept. */
static int join(struct work *w, const struct copy *src)
{
	struct guid g = w->e.copy.guid;
	uint64_t id = w->e.copy.id;
	struct copy c = {0};

	copy_clone(&c, src);
	c.guid = g;
	c.id = id;
	int r = index_resolve_mailbox(w->tx, &c.place.mailbox);
	if (r >= 0 && !w->known) {
		copy_clone(&w->e.copy, &c);
		w->known = w->changed = true;
	} else if (r >= 0 && copy_join(&w->e.copy, &c)) {
		w->changed = true;
	}
	copy_release(&c);
	return r;
}

static int put_work(struct work *w)
{
	return w->changed ? index_put_entry(w->tx, &w->e) : 0;
}

/* ---- the types ---- */

/* An expunge that was seen by the record: not of an instance that is younger than it. */
static int expunge_old(struct work *w)
{
	struct guid g = w->rec->old_guid;
	uint64_t id = w->rec->old_id;
	int r = index_resolve_copy(w->tx, &g, &id);

	if (r >= 0)
		r = get_work(w, &g, id);
	if (r < 0)
		return r;
	struct copy *c = &w->e.copy;
	if (w->known && copy_alive(c) && stamp_compare(&c->place.at, &w->rec->at) <= 0) {
		c->dead = c->place.at;
		c->dead_at = w->rec->at;
		c->via = GUID_ZERO;
		c->via_seen = STAMP_NONE;
		if (w->modseq > w->e.modseq)
			w->e.modseq = w->modseq;
		settle_state(w);
		r = put_work(w);
	}
	entry_release(&w->e);
	return r;
}

/* Facts of the entry that is given up go to `w`, unless that has a living one's own. */
static void take_local(struct work *w, struct entry *old)
{
	struct entry *e = &w->e;

	w->changed = true;
	if (old->modseq > e->modseq)
		e->modseq = old->modseq;
	if (w->known && e->state != ENTRY_DEAD)
		return;
	e->state = old->state;
	e->in_new = old->in_new;
	e->copy.recent = old->copy.recent;
	e->copy.size = old->copy.size;
	e->copy.digest = old->copy.digest;
	e->ino = old->ino;
	e->mtime_ns = old->mtime_ns;
	e->ctime_ns = old->ctime_ns;
	free(e->file);
	e->file = MB_TAKE(old->file);
	if (old->ordinal)
		e->ordinal = old->ordinal;
}

/* The entry of old_guid, if there is one, becomes part of w->e. */
static int take_alias(struct work *w, const struct guid *old_guid, uint64_t old_id)
{
	struct entry old;
	int r = index_get_entry(w->tx, old_guid, old_id, &old);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (guid_equal(old_guid, &w->e.copy.guid) && old_id == w->e.copy.id) {
		entry_release(&old);
		return 0;
	}
	take_local(w, &old);
	r = join(w, &old.copy);
	if (r >= 0)
		r = index_drop_entry(w->tx, old_guid, old_id);
	entry_release(&old);
	return r;
}

static int put_aliases(struct work *w)
{
	const struct record *rec = w->rec;
	struct guid from = index_resolve(w->tx, rec->old_guid);
	struct guid to = index_resolve(w->tx, rec->copy.guid);
	int r = 0;

	if (!guid_equal(&from, &to))
		r = index_put_alias(w->tx, &from, &to);
	if (r >= 0)
		r = index_put_copy_alias(w->tx, &rec->old_guid, rec->old_id, &w->e.copy.guid,
					 w->e.copy.id);
	return r;
}

/* No place and no expunge: a copy that is not there does not come to be by it. */
static bool says_nothing(const struct copy *c)
{
	return stamp_is_none(&c->place.at) && stamp_is_none(&c->dead);
}

static int finish(struct work *w)
{
	const struct record *rec = w->rec;
	int r;

	if (!w->known && says_nothing(&rec->copy))
		return 0;
	r = join(w, &rec->copy);
	if (r < 0)
		return r;
	settle_state(w);
	set_file(w);
	set_content(w);
	if (rec->type == REC_LOST)
		set_state(w, ENTRY_LOST);
	if (rec->type == REC_DAMAGED)
		set_state(w, ENTRY_DAMAGED);
	if (rec->type == REC_FOUND)
		set_state(w, ENTRY_PRESENT);
	set_numbers(w);
	return put_work(w);
}

static int check_record(const struct record *rec)
{
	bool old = rec->type == REC_EDIT || rec->type == REC_ALIAS;

	if (guid_is_zero(&rec->copy.guid) || (old && guid_is_zero(&rec->old_guid)))
		return MB_E_FORMAT;
	return 0;
}

static int apply_copy(struct index_txn *tx, const struct record *rec, uint64_t modseq)
{
	struct work w = {.tx = tx, .rec = rec, .modseq = modseq};
	struct guid g = rec->copy.guid;
	uint64_t id = rec->copy.id;
	int r = check_record(rec);

	if (r >= 0 && rec->type == REC_EDIT)
		r = expunge_old(&w);
	if (r >= 0)
		r = index_resolve_copy(tx, &g, &id);
	if (r >= 0)
		r = get_work(&w, &g, id);
	if (r < 0)
		return r;
	if (rec->type == REC_ALIAS) {
		r = put_aliases(&w);
		if (r >= 0)
			r = take_alias(&w, &rec->old_guid, rec->old_id);
	}
	if (r >= 0)
		r = finish(&w);
	entry_release(&w.e);
	return r;
}

/* The other copies of a message that became another. */
static int apply_further(struct index_txn *tx, const struct record *rec, uint64_t modseq)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < rec->n_further; i++) {
		struct record one = {.type = REC_ALIAS, .at = rec->at, .origin = rec->origin};
		one.copy.guid = rec->copy.guid;
		one.copy.id = rec->further[i].to;
		one.old_guid = rec->old_guid;
		one.old_id = rec->further[i].from;
		r = apply_copy(tx, &one, modseq);
	}
	return r;
}

int index_apply_copy(struct index_txn *tx, const struct record *rec, uint64_t modseq)
{
	int r = apply_copy(tx, rec, modseq);

	return r >= 0 && rec->type == REC_ALIAS ? apply_further(tx, rec, modseq) : r;
}
