/*
 * judge.c - what it means that a file is there that was not, or is not that was.
 *
 * Only after every mailbox was listed: a file that is missing in one and found in another has moved
 * (same inode, size and mtime, or the same digest); what then is new is an arrival; what then is
 * missing was expunged, unless the local side says so already.  Absence of many is held back by the
 * guard (rule 9) until it is allowed.  A file with other content under its old name is a new message,
 * and the old one is expunged; one that was cut short is damaged and left alone.
 */
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/maildir/list.h"
#include "backends/maildir/maildir.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK 16384

/* Files that are missing, by size. */
struct missing {
	struct md_file **files; /* owned */
	size_t n, cap;
};

static int order_size(const void *a, const void *b)
{
	const struct md_file *x = *(struct md_file *const *)a, *y = *(struct md_file *const *)b;

	return (x->size > y->size) - (x->size < y->size);
}

typedef int file_fn(struct maildir *m, struct md_file *f, void *arg);

/* fn may drop the file. */
static int each_file(struct maildir *m, file_fn *fn, void *arg)
{
	struct md_message *msg, *next_msg;

	HASH_ITER (hh, m->messages, msg, next_msg) {
		struct md_file *f, *next;

		for (f = msg->files; f; f = next) {
			int err;

			next = f->next;
			err = fn(m, f, arg);
			if (err)
				return err;
		}
	}
	return 0;
}

/* ---- Content ---------------------------------------------------------------------------------- */

static bool learn_stat(struct maildir *m, struct md_file *f)
{
	struct stat st;

	if (md_stat_file(m, f, &st) < 0)
		return false;
	f->ino = st.st_ino;
	f->size = (uint64_t)st.st_size;
	f->mtime_ns = clock_timespec_ns(&st.st_mtim);
	return true;
}

static bool has_digest(struct maildir *m, struct md_file *f, const struct digest *d)
{
	struct digest now;

	return md_digest_file(m, f, &now) == 0 && digest_equal(&now, d);
}

/* Has it the content that the map, or else the local side, knows?  A body that cannot be read is
 * taken for the same, but not one that the local side has no more: that would be expunged. */
static bool same_content(struct maildir *m, struct md_file *f)
{
	struct digest now = {0}, known = f->digest;
	int err = 0;

	if (!digest_known(&known))
		err = m->local->ops->digest(m->local, &f->guid, f->id, &known);
	if (err < 0)
		return err != -ENOENT;
	f->digest = (struct digest){0}; /* of the file, not of the map */
	if (md_digest_file(m, f, &now) < 0)
		now = known;
	f->digest = known;
	return digest_equal(&now, &known);
}

static ssize_t read_block(int fd, char *to, size_t size, off_t at)
{
	size_t n = 0;

	while (n < size) {
		ssize_t got = pread(fd, to + n, size - n, at + (off_t)n);

		if (got < 0)
			return -errno;
		if (!got)
			break;
		n += (size_t)got;
	}
	return (ssize_t)n;
}

/* `here` has nothing but zeros, or the first bytes of `body`. */
static bool is_zeros_or_prefix(int here, int body)
{
	char a[BLOCK], b[BLOCK];
	bool zeros = true, prefix = body >= 0;
	off_t at = 0;
	ssize_t n;

	while ((zeros || prefix) && (n = read_block(here, a, sizeof(a), at)) != 0) {
		if (n < 0)
			return true; /* what cannot be read is no edit */
		for (ssize_t i = 0; zeros && i < n; i++)
			zeros = !a[i];
		prefix = prefix && read_block(body, b, (size_t)n, at) == n &&
			 memcmp(a, b, (size_t)n) == 0;
		at += n;
	}
	return zeros || prefix;
}

/* One message with the local side's by their likeness: of what was cut off here it tells nothing. */
static bool has_own_bytes(struct maildir *m, const struct md_file *f)
{
	struct digest theirs;

	return digest_known(&f->digest) &&
	       m->local->ops->digest(m->local, &f->guid, f->id, &theirs) >= 0 &&
	       !digest_equal(&theirs, &f->digest);
}

/* A shorter file is damage when it is what a write that was cut leaves of the body.  When the local
 * side has that no more, only zeros tell; when it has other bytes, nothing does. */
static bool is_cut_short(struct maildir *m, struct md_file *f)
{
	MB_AUTO_CLOSE int here = md_open_file(m, f);
	MB_AUTO_CLOSE int body = here < 0 ? -1 : m->local->ops->body(m->local, &f->guid, f->id);

	if (here < 0 || (body < 0 && body != -ENOENT) || (body >= 0 && has_own_bytes(m, f)))
		return true;
	return is_zeros_or_prefix(here, body);
}

static void add_fresh(struct maildir *m, struct md_file *f)
{
	MB_GROW(m->fresh, m->cap_fresh, m->n_fresh + 1);
	m->fresh[m->n_fresh++] = f;
}

/* Other content under the same name: that is another message. */
static void replaced(struct maildir *m, struct md_file *f)
{
	struct md_file *y = mb_xcalloc(1, sizeof(*y));

	y->box = f->box;
	y->key = mb_xstrdup(f->key);
	y->name = MB_TAKE(f->name);
	y->in_new = f->in_new;
	f->seen = false;
	f->missing = true;
	add_fresh(m, y);
}

static bool is_written(struct maildir *m, const struct md_file *f)
{
	MB_AUTO_FREE char *path = md_sub_path(f->box, f->in_new ? "new" : "cur", f->name);

	if (!at_being_written(m->root, path, f->mtime_ns))
		return false;
	memset(f->box->times, 0, sizeof(f->box->times)); /* to be listed again */
	f->box->stale_times = true;
	return true;
}

static int check_content(struct maildir *m, struct md_file *f, void *arg)
{
	struct md_file was = *f;
	size_t *n_put_back = arg;

	if (!f->seen || !f->check || !learn_stat(m, f))
		return 0;
	if (f->ino == was.ino && f->size == was.size && f->mtime_ns == was.mtime_ns)
		return 0;
	if (f->size == was.size && same_content(m, f)) {
		f->put_back = f->ino != was.ino && md_mark_is_put_back(m, f);
		*n_put_back += f->put_back;
		f->dirty = true;
		return 0;
	}
	bool written = is_written(m, f); /* no edit yet: nor is the old one expunged for it */
	f->damaged = !written && f->size < was.size && is_cut_short(m, f);
	f->size = was.size;
	f->ino = was.ino;
	f->mtime_ns = was.mtime_ns;
	if (written)
		return 0;
	if (f->damaged)
		mb_msg(MB_WARNING,
		       "a file of the Maildir is shorter than it was and is left alone; name=%s",
		       f->name);
	else
		replaced(m, f);
	return 0;
}

/* The next run finds it as a file that is new here, of a message that is expunged. */
static int take_back(struct maildir *m, struct md_file *f, void *arg)
{
	(void)m, (void)arg;
	if (f->put_back) {
		f->seen = f->put_back = false;
		f->missing = true;
	}
	return 0;
}

/* Of many, nobody can tell: somebody may have put another disk there. */
static int take_all_back(struct maildir *m, size_t n)
{
	return n > 0 && n <= GUARD_WHOLE ? each_file(m, take_back, NULL) : 0;
}

/* ---- Moves ------------------------------------------------------------------------------------ */

/* An arrival that we only meant to make, and a flag change of something that is gone. */
static bool drop_unmade(struct maildir *m, struct md_file *f)
{
	if (!f->out || !f->fresh)
		return false;
	md_file_drop(m, f);
	return true;
}

/* A move of ours that was cut after it was made: the new place has it. */
static bool drop_left(struct maildir *m, struct md_file *f)
{
	struct md_message *msg;

	HASH_FIND(hh, m->messages, &f->guid, sizeof(f->guid), msg);
	for (const struct md_file *o = msg ? msg->files : NULL; o; o = o->next) {
		if (o != f && o->id == f->id && o->seen) {
			md_file_drop(m, f);
			return true;
		}
	}
	return false;
}

static int collect_missing(struct maildir *m, struct md_file *f, void *arg)
{
	struct missing *l = arg;

	if (!f->missing || drop_unmade(m, f) || drop_left(m, f))
		return 0;
	MB_GROW(l->files, l->cap, l->n + 1);
	l->files[l->n++] = f;
	return 0;
}

static bool is_same(struct maildir *m, const struct md_file *gone, struct md_file *here)
{
	if (gone->ino && gone->ino == here->ino && gone->mtime_ns == here->mtime_ns)
		return true;
	return digest_known(&gone->digest) && has_digest(m, here, &gone->digest);
}

static struct md_file *find_same(struct maildir *m, const struct missing *l, struct md_file *here)
{
	size_t low = 0, high = l->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (l->files[mid]->size < here->size)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < l->n && l->files[low]->size == here->size; low++)
		if (l->files[low]->missing && is_same(m, l->files[low], here))
			return l->files[low];
	return NULL;
}

/* `f` was missing, and is what is here now. */
static void found_again(struct maildir *m, struct md_file *f, struct md_file *here)
{
	bool moved = f->box != here->box;

	f->missing = false;
	f->seen = true;
	md_let_off(m, f);
	f->ino = here->ino;
	f->mtime_ns = here->mtime_ns;
	md_set_name(f, here->name, here->in_new);
	if (moved && !guid_equal(&f->agreed_box, &f->box->guid))
		md_entry_gone(m, &f->box->guid, &f->guid, f->id);
	md_file_move(f, here->box, here->name);
	md_set_now(f);
	if (moved)
		f->placed_at = md_now(m);
	if (moved || md_is_news(f))
		f->changed_at = moved ? f->placed_at : md_now(m);
	m->must_write = true;
	md_file_free(here);
	if (moved)
		md_mark(m, f);
}

static struct md_file *file_named(const struct md_box *box, const char *key, size_t len)
{
	struct md_file *f;

	HASH_FIND(hb, box->files, key, len, f);
	return f;
}

/* What an edit makes of a message is placed when the old one dies: by one stamp they are known for
 * one change (rows 28 to 32). */
static void arrived(struct maildir *m, struct md_file *f)
{
	const struct md_file *old = file_named(f->box, f->key, strlen(f->key));

	struct md_mark mark;
	bool known = md_mark_recall(m, f, &mark) && !md_find(m, &mark.guid, mark.id);

	f->guid = known ? mark.guid : guid_new();
	f->id = known ? mark.id : 0;
	f->placed_at = known ? mark.placed_at : old && old->missing ? md_now(m) : MD_BIRTH(m);
	f->changed_at = f->placed_at;
	f->seen = f->dirty = m->must_write = true;
	md_set_now(f);
	f->before = f->now;
	md_file_add(m, f);
	if (!known || mark.moved)
		md_mark(m, f);
}

static void settle_fresh(struct maildir *m, const struct missing *l)
{
	for (size_t i = 0; i < m->n_fresh; i++) {
		struct md_file *here = m->fresh[i];
		struct md_file *was;

		if (!learn_stat(m, here)) {
			md_file_free(here);
			m->restless = true; /* it went on, and may be one that is missing */
			continue;
		}
		was = find_same(m, l, here);
		if (!was && l->n)
			was = md_mark_find(m, here);
		if (was)
			found_again(m, was, here);
		else if (is_written(m, here))
			md_file_free(here); /* the next run sees more of it */
		else
			arrived(m, here);
	}
	m->n_fresh = 0;
}

/* ---- Absence ---------------------------------------------------------------------------------- */

/* What changed at the local side since both were in step: all that is not in it, this side has seen
 * as it is there. */
static bool local_changed(struct maildir *m, const struct guid *g, bool mailbox)
{
	struct peer_state p = {0};
	const struct change_set *c = &m->local_news;

	if (!m->local_asked) {
		m->local_asked = true;
		int err = m->local->ops->peer(m->local, m->replica, m->destination, &p);
		if (err >= 0)
			err = m->local->ops->changes(m->local, &p.local, m->replica,
						     &m->local_news);
		m->local_told = err >= 0;
		peer_state_release(&p);
	}
	if (!m->local_told)
		return true;
	for (size_t i = 0; i < (mailbox ? c->n_mailboxes : c->n_messages); i++)
		if (guid_equal(mailbox ? &c->mailboxes[i] : &c->messages[i], g))
			return true;
	return false;
}

static struct copy *local_copy(struct maildir *m, const struct md_file *f, struct message *msg)
{
	if (m->local->ops->message(m->local, &f->guid, msg) < 0)
		return NULL;
	return guid_equal(&msg->guid, &f->guid) ? message_find(msg, f->id) : NULL;
}

/* The message that took the name of this one: the content was replaced. */
static struct md_file *edit_of(const struct md_file *f)
{
	const char *slash = strchr(f->key, '/'); /* see displace() */

	return slash ? file_named(f->box, f->key, (size_t)(slash - f->key)) : NULL;
}

static void tell_dead(struct maildir *m, struct md_file *f, const struct copy *c)
{
	const struct md_file *edit = edit_of(f);

	f->dead = f->placed_at;
	if (c && guid_equal(&c->place.mailbox, &f->agreed_box) &&
	    stamp_compare(&c->place.at, &f->dead) > 0 && !local_changed(m, &f->guid, false))
		f->placed_at = f->dead = c->place.at;
	f->dead_at = edit ? edit->placed_at : md_now(m);
	if (f->box->gone) {
		f->via = f->box->guid;
		f->via_seen = f->box->named_at;
	}
}

/* Until the local side has it, it is to be found again. */
static void find_again(struct md_box *box)
{
	memset(box->times, 0, sizeof(box->times));
}

static void both_say_dead(struct maildir *m, struct md_file *f, const struct copy *c)
{
	f->held = false;
	tell_dead(m, f, c);
	find_again(f->box);
}

enum verdict { SAY_NOTHING, BOTH_SAY, WE_SAY };

/* The local side expunged it, moved it away, or never took it: nothing to tell, unless that is news
 * as well.  Then both have something to say of it, and the merge may have something to say of both:
 * one of them was an edit. */
static enum verdict verdict_on(struct maildir *m, const struct md_file *f, const struct copy *c)
{
	const struct md_file *edit = edit_of(f);

	if (!c)
		return f->agreed ? WE_SAY : SAY_NOTHING;
	if (copy_alive(c))
		return WE_SAY;
	if (f->box->gone)
		return SAY_NOTHING; /* a delete that was cut is to be finished */
	return (edit && !edit->agreed) || local_changed(m, &f->guid, false) ? BOTH_SAY
									    : SAY_NOTHING;
}

/* One file under two GUIDs: it was to get another, and the map was cut before the first went.  The
 * one that the local side has is right. */
static bool unite_identities(struct maildir *m, struct md_file *f)
{
	struct md_file *now = edit_of(f);
	struct message msg = {0}, other = {0};
	struct guid guid = f->guid;
	uint64_t id = f->id;

	if (!now || !now->seen || now->ino != f->ino || now->size != f->size ||
	    now->mtime_ns != f->mtime_ns)
		return false; /* an edit */
	bool has = local_copy(m, f, &msg), has_other = local_copy(m, now, &other);
	message_release(&msg);
	message_release(&other);
	md_file_drop(m, f);
	if (has && !has_other) {
		md_file_rekey(m, now, &guid, id);
		m->must_write = true;
	}
	return true;
}

/* Only what this side alone says is for the guard. */
static void sort_out_missing(struct maildir *m, struct missing *l)
{
	size_t kept = 0;

	for (size_t i = 0; i < l->n; i++) {
		struct md_file *f = l->files[i];
		struct message msg = {0};
		const struct copy *c;
		enum verdict v;

		if (!f->missing || unite_identities(m, f))
			continue;
		c = local_copy(m, f, &msg);
		v = verdict_on(m, f, c);
		if (v == WE_SAY)
			l->files[kept++] = f;
		else if (v == BOTH_SAY && !md_judges_none(m))
			both_say_dead(m, f, c);
		else
			md_file_drop(m, f);
		message_release(&msg);
	}
	l->n = kept;
}

static int order_box(const void *a, const void *b)
{
	const struct md_file *x = *(struct md_file *const *)a, *y = *(struct md_file *const *)b;

	return guid_compare(&x->box->guid, &y->box->guid);
}

static void judge_box(struct maildir *m, struct md_file **files, size_t n, bool most)
{
	struct md_box *box = files[0]->box;
	bool hold = md_guard_holds(m, files, n, most);
	size_t held = 0;

	for (size_t i = 0; i < n; i++) {
		struct message msg = {0};

		if (md_judges_none(m)) {
			files[i]->held = true;
		} else if (hold || (files[i]->kept_back && !m->allow)) {
			md_hold_back(m, files[i]);
			held++;
		} else {
			tell_dead(m, files[i], local_copy(m, files[i], &msg));
		}
		message_release(&msg);
	}
	if (held)
		mb_msg(MB_NOTICE, "held back: %zu messages are missing in the Maildir; dir=%s",
		       held, box->dir);
	find_again(box);
	box->held = box->gone && (hold || md_judges_none(m));
}

static void judge_missing(struct maildir *m, struct missing *l)
{
	bool most = md_most_is_gone(m, l->files, l->n);

	if (l->n)
		qsort(l->files, l->n, sizeof(*l->files), order_box);
	for (size_t i = 0, n; i < l->n; i += n) {
		for (n = 1; i + n < l->n && l->files[i + n]->box == l->files[i]->box; n++)
			;
		judge_box(m, l->files + i, n, most);
	}
}

/* A delete of ours that was cut.  Mail that came meanwhile makes it a mailbox again. */
static void finish_delete(struct maildir *m, struct md_box *box)
{
	if (!md_box_at(m, box->dir) && md_box_clear(m, box->dir) == MB_E_STALE)
		md_box_make(m, box->dir);
}

static void judge_gone_box(struct maildir *m, struct md_box *box, const struct tree *local)
{
	const struct mailbox *there = tree_find(local, &box->guid);
	struct mailbox *node = md_node(m, box);

	if (md_judges_none(m) || box->linked)
		box->held = true;
	if (box->held)
		return;
	if (there && !mailbox_alive(there) && !box->files) {
		finish_delete(m, box);
		md_subs_unlist(m, box);
		md_box_drop(m, box);
		return;
	}
	if (there && !local_changed(m, &box->guid, true))
		box->named_at = stamp_max(box->named_at, mailbox_seen(there));
	node->named_at = node->dead = box->named_at;
	node->dead_at = md_now(m);
	for (struct md_file *f = box->files; f; f = f->hb.next)
		f->via_seen = box->named_at;
}

static int judge_boxes(struct maildir *m)
{
	struct md_box *box, *next;
	struct tree local = {0};
	bool any = false;
	int err = 0;

	HASH_ITER (hh, m->boxes, box, next)
		any = any || box->gone;
	if (any)
		err = m->local->ops->tree(m->local, &local);
	if (err < 0)
		return err;
	HASH_ITER (hh, m->boxes, box, next) {
		if (box->gone)
			judge_gone_box(m, box, &local);
	}
	tree_release(&local);
	return 0;
}

/* ---- The whole -------------------------------------------------------------------------------- */

int md_judge(struct maildir *m)
{
	struct missing l = {0};
	size_t n_put_back = 0;
	int err = each_file(m, check_content, &n_put_back);

	if (!err)
		err = take_all_back(m, n_put_back);
	if (!err)
		err = each_file(m, collect_missing, &l);
	if (!err) {
		if (l.n)
			qsort(l.files, l.n, sizeof(*l.files), order_size);
		settle_fresh(m, &l);
		sort_out_missing(m, &l);
		judge_missing(m, &l);
		err = judge_boxes(m);
	}
	free(l.files);
	if (!err && (m->must_write || m->listed > LISTED_MANY) && !io_is_read_only())
		err = md_write(m);
	return err;
}
