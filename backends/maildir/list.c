/*
 * list.c - which files the mailboxes that changed have now.
 *
 * A mailbox is listed when mtime or ctime of its cur or new is not what the map has, or when the map
 * has none: a directory that changed within the last two seconds is never noted, because another
 * change in the same tick of the clock would not show.  Its files are looked at again as well: a
 * program may still have been writing one straight into it.  `new` is read before `cur`: a file that moves
 * on meanwhile is then seen twice rather than never.
 *
 * Files are matched with the map when all names are read, in passes: the same unique part (or whole
 * name, see settle_key()) and inode; then, of files that share a unique part, the inode; then the
 * unique part alone, whose content is to be looked at.  So two mails of one name never swap places.
 */
#include "backends/maildir/list.h"
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

static int64_t stat_ns(const struct timespec *t)
{
	return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

struct listed {
	char *name, *key; /* owned */
	bool in_new;
	uint64_t ino;
	bool matched;
};

struct listing {
	struct maildir *m;
	struct md_box *box;
	const char *sub;
	int dir;	      /* fd of box/sub */
	bool names_only;      /* set the names of known files, nothing else */
	struct listed *items; /* owned */
	size_t n, cap;
	struct md_file **twins; /* owned; files whose key is their whole name */
	size_t n_twins, cap_twins;
};

void md_set_name(struct md_file *f, const char *name, bool in_new)
{
	char *copy = mb_xstrdup(name);

	free(f->name);
	f->name = copy;
	f->in_new = in_new;
}

/* Per flag: where our own intent changed it either value may be there; what else differs is news. */
static struct letters settle_intent(const struct md_file *f, const struct letters *now)
{
	uint8_t flags = f->before.flags ^ f->planned.flags;
	uint32_t letters = f->before.keywords ^ f->planned.keywords;

	return (struct letters){
		.flags = (uint8_t)((f->planned.flags & ~flags) | (now->flags & flags)),
		.keywords = (f->planned.keywords & ~letters) | (now->keywords & letters),
	};
}

void md_set_now(struct md_file *f)
{
	struct fname n;

	fname_parse(f->name, &n);
	f->now = (struct letters){.flags = n.flags, .keywords = n.keywords};
	if (f->out) {
		f->before = settle_intent(f, &f->now);
		f->agreed = true;
		f->agreed_box = f->box->guid;
		f->out = f->fresh = false;
		f->dirty = true;
	}
}

/* It is back. */
void md_let_off(struct maildir *m, struct md_file *f)
{
	if (!f->kept_back)
		return;
	f->kept_back = false;
	f->dirty = m->must_write = true;
}

static bool same_letters(const struct letters *a, const struct letters *b)
{
	return a->flags == b->flags && a->keywords == b->keywords;
}

/* A known file under the name that it has now. */
static void see(struct listing *l, struct md_file *f, struct listed *here)
{
	struct letters told = f->planned;

	md_set_name(f, here->name, here->in_new);
	here->matched = f->taken = true;
	if (l->names_only)
		return;
	f->seen = true;
	md_let_off(l->m, f);
	md_set_now(f);
	f->check = f->ino != here->ino; /* zero: it was not what the map said */
	if (!md_is_news(f))
		return;
	/* News that was found before keeps its stamp, so that telling it again changes nothing. */
	if (stamp_is_none(&f->changed_at) || !same_letters(&told, &f->now)) {
		f->changed_at = md_now(l->m);
		f->dirty = l->m->must_write = true;
	}
}

static void add_fresh(struct listing *l, struct listed *here)
{
	struct maildir *m = l->m;
	struct md_file *f = mb_xcalloc(1, sizeof(*f));

	f->box = l->box;
	f->key = MB_TAKE(here->key);
	f->ino = here->ino;
	md_set_name(f, here->name, here->in_new);
	MB_GROW(m->fresh, m->cap_fresh, m->n_fresh + 1);
	m->fresh[m->n_fresh++] = f;
}

static bool is_regular(struct listing *l, const char *name, unsigned char type)
{
	struct stat st;

	if (type != DT_UNKNOWN)
		return type == DT_REG;
	return fstatat(l->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

static int list_file(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	struct listing *l = arg;

	if (!fname_is_message(name) || !is_regular(l, name, type))
		return 0;
	l->m->listed++;
	MB_GROW(l->items, l->cap, l->n + 1);
	l->items[l->n++] = (struct listed){.name = mb_xstrdup(name),
					   .key = md_key(name),
					   .in_new = l->sub[0] == 'n',
					   .ino = ino};
	return 0;
}

static struct md_file *file_at(struct listing *l, const char *key)
{
	struct md_file *f;

	HASH_FIND(hb, l->box->files, key, strlen(key), f);
	return f;
}

static void match_exact(struct listing *l, struct listed *here)
{
	struct md_file *f = file_at(l, here->key);

	if (!f || f->ino != here->ino)
		f = file_at(l, here->name);
	if (f && f->ino == here->ino)
		see(l, f, here);
}

static void find_twins(struct listing *l)
{
	struct md_file *f;

	for (f = l->box->files; f; f = f->hb.next) {
		MB_AUTO_FREE char *key = md_key(f->key);

		f->taken = false;
		if (strcmp(key, f->key) == 0 || strchr(f->key, '/'))
			continue;
		MB_GROW(l->twins, l->cap_twins, l->n_twins + 1);
		l->twins[l->n_twins++] = f;
	}
}

/* A twin with other letters than those that are in its key. */
static void match_twin(struct listing *l, struct listed *here)
{
	size_t n = strlen(here->key);

	for (size_t i = 0; i < l->n_twins && !here->matched; i++) {
		struct md_file *f = l->twins[i];

		if (!f->taken && f->ino == here->ino && strncmp(f->key, here->key, n) == 0)
			see(l, f, here);
	}
}

/* Twice: the same file on its way from new to cur, or another one: that has its whole name as its
 * key. */
static void settle_key(struct listing *l, struct listed *here)
{
	struct md_file *f = file_at(l, here->key);

	if (f && f->taken && f->ino != here->ino) {
		free(here->key);
		here->key = mb_xstrdup(here->name);
		f = file_at(l, here->key);
	}
	if (f)
		see(l, f, here);
	else if (!l->names_only)
		add_fresh(l, here);
}

static void match_all(struct listing *l)
{
	find_twins(l);
	for (size_t i = 0; i < l->n; i++)
		match_exact(l, &l->items[i]);
	for (size_t i = 0; i < l->n && l->n_twins; i++)
		if (!l->items[i].matched)
			match_twin(l, &l->items[i]);
	for (size_t i = 0; i < l->n; i++)
		if (!l->items[i].matched)
			settle_key(l, &l->items[i]);
}

static void listing_release(struct listing *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->items[i].name);
		free(l->items[i].key);
	}
	free(l->items);
	free(l->twins);
}

/* A missing new or tmp is made good by whoever needs it; it holds nothing. */
static int list_sub(struct listing *l, const char *sub)
{
	MB_AUTO_FREE char *path = md_sub_path(l->box, sub, "");
	MB_AUTO_CLOSE int fd = at_open(l->m->root, path, O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	l->sub = sub;
	l->dir = fd;
	return at_list(fd, list_file, l);
}

static int list_box(struct listing *l)
{
	int err = list_sub(l, "new");

	if (!err)
		err = list_sub(l, "cur");
	if (!err)
		match_all(l);
	listing_release(l);
	return err;
}

int md_names(struct maildir *m, struct md_box *box)
{
	struct listing l = {.m = m, .box = box, .names_only = true};
	int err = box->named || !box->dir ? 0 : list_box(&l);

	box->named = !err;
	return err;
}

/* ---- What changed ----------------------------------------------------------------------------- */

static int sub_times(struct maildir *m, const struct md_box *box, const char *sub, int64_t ret[2])
{
	MB_AUTO_FREE char *path = md_sub_path(box, sub, "");
	struct stat st;
	int err = at_stat(m->root, path, &st);

	ret[0] = ret[1] = 0;
	if (err)
		return err == -ENOENT ? 0 : err;
	ret[0] = stat_ns(&st.st_mtim);
	ret[1] = stat_ns(&st.st_ctim);
	return 0;
}

static void forget_young(int64_t t[4])
{
	int64_t now = clock_wall_ns();
	bool young = false;

	for (int i = 0; i < 4; i++)
		young = young || t[i] > now - YOUNG_NS;
	if (young)
		memset(t, 0, 4 * sizeof(*t));
}

/* Or one that is held back, and may be back. */
static bool has_intent(const struct md_box *box)
{
	const struct md_file *f;

	for (f = box->files; f; f = f->hb.next)
		if (f->out || f->kept_back || !f->agreed || !same_letters(&f->before, &f->now))
			return true;
	return false;
}

/* Times are taken before the names are read: what changes in between shows the next time. */
static int look_at_box(struct maildir *m, struct md_box *box, bool full)
{
	int64_t t[4];
	int err = sub_times(m, box, "cur", t);

	if (!err)
		err = sub_times(m, box, "new", t + 2);
	if (err)
		return err;
	box->young = !box->times[0];
	box->compare =
		full || !box->times[0] || memcmp(t, box->times, sizeof(t)) != 0 || has_intent(box);
	if (!box->compare)
		return 0;
	forget_young(t);
	if (memcmp(t, box->times, sizeof(t)) != 0)
		box->stale_times = true;
	memcpy(box->times, t, sizeof(t));
	return 0;
}

static int compare_box(struct maildir *m, struct md_box *box, bool full)
{
	struct listing l = {.m = m, .box = box};
	struct md_file *f;
	int err = list_box(&l);

	if (err)
		return err;
	box->named = true;
	for (f = box->files; f; f = f->hb.next) {
		f->missing = !f->seen;
		f->check = f->check || (f->seen && (full || box->young));
	}
	return 0;
}

static void report(struct maildir *m, struct md_box *box, int err)
{
	m->scan_error = true;
	if (err != -ENOENT && !m->unread)
		m->unread = err;
	memset(box->times, 0, sizeof(box->times));
	mb_msg(MB_WARNING,
	       "a mailbox of the Maildir cannot be read, no absence is judged: %s; dir=%s",
	       mb_err_str(err), box->dir);
}

/* What a link leads to is not looked at: nobody knows what became of the mail. */
static bool is_linked(struct maildir *m, const struct md_box *box)
{
	MB_AUTO_FREE char *path = md_sub_path(box, "cur", "");
	struct stat st;
	int err = at_stat(m->root, path, &st);

	if (err != -ELOOP && (err || !S_ISLNK(st.st_mode)))
		return false;
	mb_msg(MB_NOTICE,
	       "a folder of the Maildir is a symbolic link now, which is not followed: nothing of "
	       "it is expunged; dir=%s",
	       box->dir);
	return true;
}

static void list_gone(struct maildir *m, struct md_box *box)
{
	struct md_file *f;

	box->linked = is_linked(m, box);
	for (f = box->files; f; f = f->hb.next)
		f->missing = true;
}

int md_list_changed(struct maildir *m, bool full)
{
	struct md_box *box, *next;

	HASH_ITER (hh, m->boxes, box, next) {
		int err = 0;

		if (box->found)
			err = look_at_box(m, box, full);
		if (!err && box->found && box->compare)
			err = compare_box(m, box, full);
		if (err)
			report(m, box, err);
		if (box->gone)
			list_gone(m, box);
	}
	return 0;
}

/* ---- A directory that may be a mailbox under another name -------------------------------------- */

struct share {
	const struct md_box *box;
	bool found;
};

static int share_file(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	struct share *s = arg;
	MB_AUTO_FREE char *key = md_key(name);
	struct md_file *f;

	(void)type, (void)ino;
	HASH_FIND(hb, s->box->files, key, strlen(key), f);
	s->found = f != NULL;
	return s->found;
}

bool md_shares_file(struct maildir *m, const struct md_box *box, const char *dir)
{
	struct share s = {.box = box};

	for (int i = 0; i < 2 && !s.found; i++) {
		MB_AUTO_FREE char *path =
			mb_xasprintf("%s%s%s", dir, *dir ? "/" : "", i ? "new" : "cur");
		MB_AUTO_CLOSE int fd = at_open(m->root, path, O_RDONLY | O_DIRECTORY, 0);

		if (fd >= 0)
			at_list(fd, share_file, &s);
	}
	return s.found;
}
