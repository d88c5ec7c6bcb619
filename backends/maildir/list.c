/*
 * list.c - which files the mailboxes that changed have now.
 *
 * Which mailboxes are to be listed, and when their names can be believed, says steady.c.  `new` is read
 * before `cur`: a file that moves on meanwhile is then seen twice rather than never.
 *
 * Files are matched with the map when all names are read, in passes: the same unique part (or whole
 * name, see settle_key()) and inode; then, of files that share a unique part, the inode; then the
 * unique part alone, whose content is to be looked at.  So two mails of one name never swap places.
 */
#include "backends/maildir/list.h"
#include "backends/base/at.h"
#include "backends/base/mem.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

struct listed {
	char *name, *key; /* owned */
	bool in_new;
	uint64_t ino;
	bool matched;
};

/* The names in one mailbox, read but not matched yet. */
struct listing {
	struct maildir *m;
	struct md_box *box;
	const char *sub;
	int dir;		  /* fd of box/sub */
	bool names_only;	  /* set the names of known files, nothing else */
	const struct inos *known; /* when not steady: what is there already, somewhere */
	struct listed *items;	  /* owned */
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
	if (stamp_is_none(&f->changed_at) || !md_same_letters(&told, &f->now)) {
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

static int compare_inos(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* The tree never came to rest: a file that moves about may have been seen where it was as well.  What
 * it is shows the next time. */
static bool is_known(struct listing *l, uint64_t ino)
{
	if (!l->known || !l->known->n ||
	    !bsearch(&ino, l->known->v, l->known->n, sizeof(ino), compare_inos))
		return false;
	memset(l->box->times, 0, sizeof(l->box->times));
	return true;
}

void md_inos_sort(struct inos *known)
{
	if (known->n)
		qsort(known->v, known->n, sizeof(*known->v), compare_inos);
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
	else if (!l->names_only && !is_known(l, here->ino))
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

void md_listing_free(struct md_box *box)
{
	if (box->listing)
		listing_release(box->listing);
	free(box->listing);
	box->listing = NULL;
}

/* A missing new or tmp is made good by whoever needs it; it holds nothing.  One that was there a moment
 * ago is to be looked for again. */
static int list_sub(struct listing *l, const char *sub)
{
	MB_AUTO_FREE char *path = md_sub_path(l->box, sub, "");
	MB_AUTO_CLOSE int fd = at_open(l->m->root, path, O_RDONLY | O_DIRECTORY, 0);

	if (fd == -ENOENT && l->box->looked[sub[0] == 'n' ? 2 : 0])
		memset(l->box->looked, 0, sizeof(l->box->looked));
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	l->sub = sub;
	l->dir = fd;
	return at_list(fd, list_file, l);
}

static int read_names(struct listing *l)
{
	int err = list_sub(l, "new");

	return err ? err : list_sub(l, "cur");
}

int md_names(struct maildir *m, struct md_box *box)
{
	struct listing l = {.m = m, .box = box, .names_only = true};
	int err = 0;

	if (!box->named && box->dir) {
		err = read_names(&l);
		if (!err)
			match_all(&l);
		listing_release(&l);
	}
	box->named = !err;
	return err;
}

/* ---- Names now, files later -------------------------------------------------------------------- */

int md_read_names(struct maildir *m, struct md_box *box)
{
	md_listing_free(box);
	box->listing = mb_xcalloc(1, sizeof(*box->listing));
	box->listing->m = m;
	box->listing->box = box;
	int err = read_names(box->listing);
	if (err)
		md_listing_free(box);
	return err;
}

bool md_names_differ(struct md_box *box)
{
	struct listing *l = box->listing;
	bool differ = false;
	struct md_file *f;

	if (!l)
		return false;
	for (f = box->files; f; f = f->hb.next)
		f->taken = false;
	for (size_t i = 0; i < l->n; i++) {
		f = file_at(l, l->items[i].key);
		if (!f || f->ino != l->items[i].ino)
			f = file_at(l, l->items[i].name);
		differ = differ || !f || f->taken;
		if (f)
			f->taken = true;
	}
	for (f = box->files; f && !differ; f = f->hb.next)
		differ = !f->taken;
	return differ;
}

void md_match_names(struct md_box *box, bool full, const struct inos *known)
{
	struct md_file *f;

	if (!box->listing)
		return;
	box->listing->known = known;
	match_all(box->listing);
	md_listing_free(box);
	box->named = true;
	for (f = box->files; f; f = f->hb.next) {
		f->missing = !f->seen;
		f->check = f->check || (f->seen && (full || box->young));
	}
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
