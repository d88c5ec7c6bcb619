/*
 * put.c - messages that the local side wants in the Maildir so: what has to be done, and under which
 * name.  It is queued (ops.c).
 */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/maildir/ops.h"
#include <errno.h>
#include <string.h>

/* ---- Names ------------------------------------------------------------------------------------ */

/* Takes ",U=n" out: a UID of mbsync and offlineimap, good in its own folder only. */
static void strip_uid(char *base)
{
	char *p = strstr(base, ",U=");
	size_t n;

	if (!p)
		return;
	n = 3 + strspn(p + 3, "0123456789");
	if (!p[n] || p[n] == ',')
		memmove(p, p + n, strlen(p + n) + 1);
}

static bool is_taken(struct maildir *m, struct md_box *box, const struct md_file *self,
		     const char *base)
{
	MB_AUTO_FREE char *key = md_key(base);
	struct md_file *f;

	(void)m;
	HASH_FIND(hb, box->files, key, strlen(key), f);
	return f && f != self;
}

/* A base for a file in `box`: `wish` when it is good and free. */
static char *choose_base(struct maildir *m, struct md_box *box, const struct md_file *self,
			 const char *wish, uint64_t size)
{
	char made[FNAME_MAX + 1];
	struct fname n;

	if (wish && fname_is_message(wish)) {
		char *base = mb_xstrdup(wish);

		fname_parse(base, &n);
		base[n.base_len] = '\0';
		strip_uid(base);
		if (*base && !is_taken(m, box, self, base))
			return base;
		free(base);
	}
	do
		fname_new_base(size, made);
	while (is_taken(m, box, self, made));
	return mb_xstrdup(made);
}

struct name_parts {
	const char *base;
	char separator;
	struct letters letters;
	uint32_t others;
	const char *extra;
	bool in_new;
};

static char *make_name(const struct name_parts *p)
{
	char name[FNAME_MAX + 1];

	if (p->in_new && !p->others && !p->extra)
		return mb_xstrdup(p->base);
	fname_write(p->base, strlen(p->base), p->separator, p->letters.flags, p->letters.keywords,
		    p->others, p->extra, name);
	return mb_xstrdup(name);
}

static bool no_letters(const struct letters *l)
{
	return !l->flags && !l->keywords;
}

/* ---- Puts ------------------------------------------------------------------------------------- */

static struct md_file *find_body(struct maildir *m, const struct copy *c)
{
	struct md_message *msg, *next;

	HASH_FIND(hh, m->messages, &c->guid, sizeof(c->guid), msg);
	for (struct md_file *f = msg ? msg->files : NULL; f; f = f->next)
		if (!f->missing && !f->queued)
			return f;
	if (!digest_known(&c->digest))
		return NULL;
	HASH_ITER (hh, m->messages, msg, next) {
		for (struct md_file *f = msg->files; f; f = f->next)
			if (!f->missing && !f->queued && digest_equal(&f->digest, &c->digest))
				return f;
	}
	return NULL;
}

static int arrive_as(struct maildir *m, struct md_box *to, const struct copy *c, int body)
{
	struct md_op op = {.kind = OP_ARRIVE, .to = to, .placed_at = c->place.at};
	struct md_file *f = mb_xcalloc(1, sizeof(*f));
	struct name_parts p = {.letters.flags = c->flags.set & FLAG_ALL};
	int err;

	f->guid = c->guid;
	f->id = c->id;
	f->box = to;
	err = md_stage(m, f, c, body, &op.tmp);
	if (err) {
		md_file_free(f);
		return err;
	}
	MB_AUTO_FREE char *base = choose_base(m, to, NULL, c->place.base, f->size);
	p.base = base;
	p.letters.keywords = md_letters(m, to, &c->flags, 0);
	p.in_new = op.in_new = c->recent && no_letters(&p.letters);
	op.name = make_name(&p);
	op.file = f;
	f->key = md_key(op.name);
	f->placed_at = c->place.at;
	md_file_add(m, f);
	return md_queue(m, op);
}

static int put_arrival(struct maildir *m, struct md_box *to, struct md_file *old,
		       const struct copy *c, int body)
{
	MB_AUTO_CLOSE int own = -1;
	int err = md_names(m, to); /* which names are free */

	if (!err && body < 0) {
		struct md_file *f = find_body(m, c);

		body = own = f ? md_open_file(m, f) : -ENOENT;
		if (body < 0)
			return -ENOENT;
	}
	if (err)
		return err;
	if (old)
		md_file_drop(m, old);
	return arrive_as(m, to, c, body);
}

static char *changed_name(struct maildir *m, struct md_box *to, const struct md_file *f,
			  const struct copy *c, bool *ret_new)
{
	bool moves = to != f->box;
	struct name_parts p = {.letters.flags = c->flags.set & FLAG_ALL};
	MB_AUTO_FREE char *base = NULL;
	struct fname n;
	uint32_t unknown;

	fname_parse(f->name, &n);
	unknown = moves && n.keywords ? md_letters(m, f->box, &c->flags, n.keywords) : n.keywords;
	/* Letters of known keywords are given anew by name; the others belong to the folder. */
	for (int i = 0; moves && i < LETTERS; i++)
		if (f->box->letters[i])
			unknown &= ~(1u << i);
	if (moves) {
		base = choose_base(m, to, f, f->name, f->size);
	} else {
		base = mb_xstrndup(f->name, n.base_len);
	}
	p.base = base;
	p.separator = n.separator;
	p.letters.keywords = md_letters(m, to, &c->flags, unknown);
	p.others = n.others;
	p.extra = n.extra;
	p.in_new = *ret_new = f->in_new && no_letters(&p.letters);
	if (!moves && *ret_new == f->in_new && p.letters.flags == n.flags &&
	    p.letters.keywords == n.keywords)
		return mb_xstrdup(f->name);
	return make_name(&p);
}

static int put_change(struct maildir *m, struct md_box *to, struct md_file *f, const struct copy *c)
{
	struct md_op op = {.kind = OP_CHANGE, .to = to, .file = f, .placed_at = c->place.at};
	int err = md_names(m, f->box);

	if (!err && to != f->box)
		err = md_names(m, to);
	if (err)
		return err;
	if (!f->name)
		return MB_E_STALE;
	op.name = changed_name(m, to, f, c, &op.in_new);
	if (to == f->box && strcmp(op.name, f->name) == 0 && op.in_new == f->in_new) {
		md_op_release(&op);
		if (stamp_compare(&c->place.at, &f->placed_at) > 0) {
			f->placed_at = c->place.at;
			f->dirty = true;
		}
		return 0;
	}
	return md_queue(m, op);
}

static int put_dead(struct maildir *m, struct md_file *f)
{
	struct md_op op = {.kind = OP_EXPUNGE, .file = f, .to = f->box};
	int err;

	if (f->missing && f->box->linked)
		return MB_E_GUARD;
	if (f->missing && f->held) {
		md_file_drop(m, f);
		return 1;
	}
	if (f->missing)
		return 0;
	if (f->damaged)
		return MB_E_DAMAGED;
	err = md_names(m, f->box);
	if (err)
		return err;
	if (!f->name)
		return MB_E_STALE;
	op.name = mb_xstrdup(f->name);
	return md_queue(m, op);
}

int md_put_copy(struct maildir *m, const struct record *want, int body)
{
	const struct copy *c = &want->copy;
	struct md_file *f = md_find(m, &c->guid, c->id);
	struct md_box *to;
	int err = 0;

	if (m->guarded || m->broken)
		return m->guarded ? MB_E_GUARD : m->broken;
	if (f && f->queued)
		err = md_flush(m);
	if (err)
		return err;
	f = md_find(m, &c->guid, c->id);
	if (!copy_alive(c))
		return f ? put_dead(m, f) : 0;
	err = md_settle(m, true);
	if (err)
		return err;
	to = md_box_find(m, &c->place.mailbox);
	if (!to || !to->dir || to->structural || to->gone)
		return MB_E_NAME;
	if (!f || f->missing)
		return put_arrival(m, to, f, c, body);
	return put_change(m, to, f, c);
}

static int alias_one(struct maildir *m, const struct record *want, struct new_id ids)
{
	struct md_file *f = md_find(m, &want->old_guid, ids.from);
	int err = 0;

	if (f && f->queued)
		err = md_flush(m);
	if (err)
		return err;
	f = md_find(m, &want->old_guid, ids.from);
	if (!f)
		return 0;
	while (md_find(m, &want->copy.guid, ids.to))
		ids.to = random_u64();
	md_file_rekey(m, f, &want->copy.guid, ids.to);
	if (!f->missing)
		md_mark(m, f);
	m->must_write = true;
	return 1;
}

/* What is remembered of them is written at once, when all is done. */
int md_put_alias(struct maildir *m, const struct record *want)
{
	int changed = alias_one(m, want, (struct new_id){want->old_id, want->copy.id});

	for (size_t i = 0; changed >= 0 && i < want->n_further; i++) {
		int r = alias_one(m, want, want->further[i]);
		changed = r < 0 ? r : changed || r;
	}
	return changed;
}
