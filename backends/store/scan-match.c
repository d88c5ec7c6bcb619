/*
 * scan-match.c - files on disk against entries of the index.
 *
 * Order: the same name and inode; the same name; the same unique part in the same mailbox (other flags); the same inode
 * anywhere (a move, another base name, a hard link); the same unique part in another mailbox (a move
 * by copying); what is left over is new.
 */
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/store/scan-private.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* ---- reading ---- */

struct read_dir {
	struct scan_box *box;
	bool in_new;
};

static int read_one(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	struct read_dir *r = arg;
	struct scan_box *b = r->box;

	(void)type;
	if (!fname_is_message(name))
		return 0;
	MB_GROW(b->files, b->cap_files, b->n_files + 1);
	b->files[b->n_files++] =
		(struct scan_file){.name = mb_xstrdup(name), .in_new = r->in_new, .ino = ino};
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct scan_file *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order ? order : (int)x->in_new - (int)y->in_new;
}

void scan_forget_files(struct scan_box *b)
{
	for (size_t i = 0; i < b->n_files; i++)
		free(b->files[i].name);
	free(MB_TAKE(b->files));
	b->n_files = b->cap_files = 0;
}

/* Is the directory at its path the one that was judged?  Of an unsteady tree nobody was. */
static bool is_where_it_was(const struct scan *sc, const struct scan_box *b, int dir)
{
	uint64_t expected = b->seen_ino && !sc->restless ? b->seen_ino : b->ino, now = 0;

	return !*b->dir || (!expected && !sc->restless) ||
	       (at_identity(dir, "", &now) >= 0 && now == expected);
}

/* A mailbox that lacks new/ or tmp/ gets it at a start; not from under the hands of a program that is
 * making it, or that took one away: a mount and a watch see the work of programs all the time. */
static int make_missing_subs(struct scan *sc, int dir)
{
	struct stat st;
	struct dir_stamp now;

	if (sc->s->watch_wake)
		return 0;
	if (fstat(dir, &st) < 0)
		return -errno;
	now = (struct dir_stamp){.mtime_ns = clock_timespec_ns(&st.st_mtim),
				 .ctime_ns = clock_timespec_ns(&st.st_ctim)};
	return scan_is_young(sc, &now) ? 0 : mailbox_make_subs(sc->s, dir);
}

int scan_read_box(struct scan *sc, struct scan_box *b)
{
	MB_AUTO_CLOSE int dir = at_open(sc->s->mail_fd, b->dir, O_PATH | O_DIRECTORY, 0);

	scan_leave_dir(sc);
	if (dir < 0 && dir != -ENOENT && dir != -ENOTDIR) {
		scan_error(sc, b->dir, dir);
		return 0;
	}
	b->away = dir < 0 || !is_where_it_was(sc, b, dir);
	if (b->away)
		return 0;
	/* how a rename by hand is known later */
	at_identity(dir, "", &b->ino);
	for (int in_new = 0; in_new < 2; in_new++) {
		MB_AUTO_FREE char *path = path_join(b->dir, in_new ? "new" : "cur", NULL);
		MB_AUTO_CLOSE int fd =
			at_open(dir, in_new ? "new" : "cur", O_RDONLY | O_DIRECTORY, 0);
		struct read_dir r = {b, in_new};
		int err = fd < 0 ? fd : at_list(fd, read_one, &r);

		bool was_there = (in_new ? b->new_.ino : b->cur.ino) != 0;

		/* renamed since it was looked at: its mail is somewhere, not gone */
		if (err == -ENOENT && !was_there)
			err = in_new ? make_missing_subs(sc, dir) : mailbox_make_subs(sc->s, dir);
		if (err < 0) {
			scan_error(sc, path, err);
			return 0;
		}
		sc->report->dirs_read++;
	}
	sc->report->files_seen += b->n_files;
	if (b->n_files)
		qsort(b->files, b->n_files, sizeof(*b->files), by_name);
	b->was_read = true;
	return 0;
}

/* ---- one mailbox ---- */

void scan_leave_dir(struct scan *sc)
{
	if (sc->at_box)
		close(sc->at_fd);
	sc->at_box = NULL;
}

int scan_stat_file(struct scan *sc, const struct scan_box *b, bool in_new, const char *name,
		   struct stat *ret)
{
	if (sc->at_box != b || sc->at_new != in_new) {
		MB_AUTO_FREE char *path = path_join(b->dir, in_new ? "new" : "cur", NULL);
		int fd = at_open(sc->s->mail_fd, path, O_PATH | O_DIRECTORY, 0);

		if (fd < 0)
			return fd;
		scan_leave_dir(sc);
		sc->at_fd = fd;
		sc->at_box = b;
		sc->at_new = in_new;
	}
	return at_stat(sc->at_fd, name, ret);
}

static bool regular(struct scan *sc, const struct scan_box *b, const struct scan_file *f,
		    struct stat *st)
{
	int err = scan_stat_file(sc, b, f->in_new, f->name, st);

	if (err < 0 && err != -ENOENT)
		scan_error(sc, b->dir, err);
	return err == 0 && S_ISREG(st->st_mode);
}

static struct scan_file *file_named(struct scan_box *b, const char *name, bool in_new)
{
	struct scan_file key = {.name = (char *)(uintptr_t)name, .in_new = in_new};

	return b->n_files ? bsearch(&key, b->files, b->n_files, sizeof(key), by_name) : NULL;
}

/* The first unmatched file whose unique part is that of `name`; sorting puts it near. */
static struct scan_file *file_like(struct scan_box *b, const char *name)
{
	struct fname f;
	size_t lo = 0, hi = b->n_files;

	fname_parse(name, &f);
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (strncmp(b->files[mid].name, name, f.unique_len) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < b->n_files && strncmp(b->files[lo].name, name, f.unique_len) == 0; lo++) {
		struct fname g;

		fname_parse(b->files[lo].name, &g);
		if (!b->files[lo].matched && g.unique_len == f.unique_len)
			return &b->files[lo];
	}
	return NULL;
}

/* Kernel caches of a mount follow what was found. */
static void tell_renamed(struct scan *sc, const struct entry *e, const struct scan_box *to,
			 const struct scan_file *f)
{
	MB_AUTO_FREE char *new = path_join(to->dir, f->in_new ? "new" : "cur", f->name);
	MB_AUTO_FREE char *old = entry_path(sc->tx, e);

	if (old && strcmp(old, new) != 0)
		change_event(sc->s, EVENT_RENAMED, new, old, false);
	else
		change_event(sc->s, EVENT_ADDED, new, NULL, false);
}

/* A file that has another name than the entry: flags, base or place changed. */
static int log_renamed(struct scan *sc, struct entry *e, const struct scan_box *to,
		       const struct scan_file *f)
{
	struct record r = {.type = REC_FLAGS, .at = hlc_now(&sc->s->clock), .origin = sc->origin};
	bool moved = !guid_equal(&e->copy.place.mailbox, &to->guid);
	struct fname old, new;
	struct mailbox m = {0};
	int err = index_get_mailbox(sc->tx, &to->guid, &m, NULL);
	bool flagged, same_base;

	if (err < 0)
		return err;
	fname_parse(e->file, &old);
	fname_parse(f->name, &new);
	same_base = old.base_len == new.base_len &&memcmp(e->file, f->name, old.base_len) == 0;
	r.old_name = mb_xasprintf("%s/%s", e->in_new ? "new" : "cur", e->file);
	r.new_name = mb_xasprintf("%s/%s", f->in_new ? "new" : "cur", f->name);
	flagged = moved ? flags_from_move(sc->s, sc->tx, e, &to->guid, &old, &new, r.at)
			: flags_from_rename(sc->s, sc->tx, e, &old, &new, r.at);
	copy_clone(&r.copy, &e->copy);
	if (moved || !same_base) {
		r.type = moved ? REC_MOVE : REC_RENAME;
		r.copy.place.mailbox = to->guid;
		r.copy.place.uid = moved ? m.uid_next : e->copy.place.uid;
		r.copy.place.at = r.at;
		free(r.copy.place.base);
		r.copy.place.base = mb_xstrndup(f->name, new.base_len);
	} else if (!flagged) {
		r.type = REC_COPY_STATE;
	}
	sc->report->moved += moved;
	sc->report->flagged += !moved && flagged;
	sc->report->records++;
	err = change_record(sc->s, sc->tx, &r);
	if (err >= 0)
		tell_renamed(sc, e, to, f);
	record_release(&r);
	mailbox_release(&m);
	return err;
}

static int note_ino(struct scan *sc, const struct guid *guid, uint64_t id, const struct stat *st)
{
	struct entry e = {0};
	int err = index_get_entry(sc->tx, guid, id, &e);

	if (err < 0)
		return err;
	e.ino = st->st_ino;
	e.mtime_ns = clock_timespec_ns(&st->st_mtim);
	e.ctime_ns = clock_timespec_ns(&st->st_ctim);
	err = index_put_entry(sc->tx, &e);
	entry_release(&e);
	return err;
}

/* A body that was lost is back. */
static int log_found(struct scan *sc, struct entry *e, const struct scan_box *b,
		     const struct scan_file *f, const struct stat *st)
{
	struct record r = {.type = REC_FOUND, .origin = sc->origin};
	int err;

	copy_clone(&r.copy, &e->copy);
	r.copy.place.mailbox = b->guid;
	r.new_name = mb_xasprintf("%s/%s", f->in_new ? "new" : "cur", f->name);
	err = change_record(sc->s, sc->tx, &r);
	record_release(&r);
	sc->report->records++;
	return err < 0 ? err : note_ino(sc, &e->copy.guid, e->copy.id, st);
}

enum match_pass {
	MATCH_INODE, /* the same name and inode: before a name alone, for two entries of one name */
	MATCH_NAME,  /* the same name */
	MATCH_UNIQUE, /* the same unique part; what has no file then is missing */
};

struct match_box {
	struct scan *sc;
	size_t box;
	enum match_pass pass;
	uint32_t met; /* in the first pass */
};

static void take(struct scan_file *f, const struct entry *e)
{
	f->matched = true;
	f->guid = e->copy.guid;
	f->id = e->copy.id;
}

static bool is_taken_by(const struct scan_file *f, const struct entry *e)
{
	return f->matched && f->id == e->copy.id && guid_equal(&f->guid, &e->copy.guid);
}

/* A lost body that is back; a file of another size is another message. */
static int match_lost(struct match_box *m, struct entry *e, struct scan_file *f)
{
	struct scan_box *b = &m->sc->boxes[m->box];
	struct stat st;
	int err = 0;

	if (!regular(m->sc, b, f, &st) || (uint64_t)st.st_size != e->copy.size)
		return 0;
	take(f, e);
	if (strcmp(e->file, f->name) != 0 || e->in_new != f->in_new)
		err = log_renamed(m->sc, e, b, f);
	return err < 0 ? err : log_found(m->sc, e, b, f, &st);
}

static int match_exact(struct match_box *m, struct entry *e, struct scan_file *f)
{
	struct scan *sc = m->sc;

	if (f->matched)
		return 0;
	if (!entry_has_file(e))
		return m->pass == MATCH_NAME ? match_lost(m, e, f) : 0;
	if (f->ino != e->ino && (m->pass == MATCH_INODE || scan_was_replaced(sc, e)))
		return 0;
	take(f, e);
	/* after a power cut a name may be there before its bytes */
	if (sc->full || !sc->s->was_clean || f->ino != e->ino)
		return scan_check_content(sc, m->box, e);
	return 0;
}

static void add_missing(struct scan *sc, size_t box, struct entry *e, bool replaced)
{
	MB_GROW(sc->missing, sc->cap_missing, sc->n_missing + 1);
	sc->missing[sc->n_missing++] =
		(struct scan_missing){.e = *e, .box = box, .replaced = replaced};
	memset(e, 0, sizeof(*e));
}

/* The content of e, as the index has it now. */
static int check_again(struct scan *sc, size_t box, const struct entry *e)
{
	struct entry again = {0};
	int err = index_get_entry(sc->tx, &e->copy.guid, e->copy.id, &again);

	if (err >= 0)
		err = scan_check_content(sc, box, &again);
	entry_release(&again);
	return err == -ENOENT ? 0 : err;
}

static int match_one(struct entry *e, void *arg)
{
	struct match_box *m = arg;
	struct scan_box *b = &m->sc->boxes[m->box];
	struct scan_file *f;
	bool replaced;
	int err;

	m->met += m->pass == MATCH_INODE;
	if (!e->file)
		return 0;
	f = file_named(b, e->file, e->in_new);
	if (m->pass != MATCH_UNIQUE)
		return f ? match_exact(m, e, f) : 0;
	if (f && (is_taken_by(f, e) || (f->matched && f->ino == e->ino)))
		return 0; /* the latter: what an edit has just made of it */
	replaced = entry_has_file(e) && f && !f->matched; /* so match_exact() found */
	f = replaced ? NULL : file_like(b, e->file);
	if (f && !entry_has_file(e))
		return match_lost(m, e, f);
	if (!f) {
		if (entry_has_file(e))
			add_missing(m->sc, m->box, e, replaced);
		return 0;
	}
	take(f, e);
	uint64_t known_ino = e->ino;
	err = log_renamed(m->sc, e, b, f);
	return err >= 0 && f->ino != known_ino ? check_again(m->sc, m->box, e) : err;
}

/* An index that lost keys without a trace must not make new messages of known files. */
static int check_met(const struct match_box *m, uint32_t n_live)
{
	return m->met == n_live ? 0 : MB_E_CHECKSUM;
}

int scan_match_box(struct scan *sc, size_t box)
{
	struct match_box m = {.sc = sc, .box = box};
	const struct guid *guid = &sc->boxes[box].guid;
	struct mailbox_local local = {0};
	int err = index_get_mailbox(sc->tx, guid, NULL, &local);

	for (m.pass = MATCH_INODE; m.pass <= MATCH_UNIQUE && err >= 0; m.pass++) {
		err = index_each_in(sc->tx, guid, 0, match_one, &m);
		if (err >= 0 && m.pass == MATCH_INODE)
			err = check_met(&m, local.n_live);
	}
	mailbox_local_release(&local);
	return err;
}

/* ---- across mailboxes ---- */

/* The missing, sorted by inode and by unique part: found in log n. */
struct missing_index {
	struct scan_missing **by_ino, **by_unique; /* owned */
	size_t n;
};

static int compare_missing_ino(const void *a, const void *b)
{
	const struct scan_missing *x = *(struct scan_missing *const *)a;
	const struct scan_missing *y = *(struct scan_missing *const *)b;

	return (x->e.ino > y->e.ino) - (x->e.ino < y->e.ino);
}

static int compare_unique(const char *a, const char *b)
{
	struct fname f, g;
	int order;

	fname_parse(a, &f);
	fname_parse(b, &g);
	order = memcmp(a, b, f.unique_len < g.unique_len ? f.unique_len : g.unique_len);
	return order ? order : (f.unique_len > g.unique_len) - (f.unique_len < g.unique_len);
}

static int compare_missing_unique(const void *a, const void *b)
{
	const struct scan_missing *x = *(struct scan_missing *const *)a;
	const struct scan_missing *y = *(struct scan_missing *const *)b;

	return compare_unique(x->e.file, y->e.file);
}

static void missing_index_init(struct missing_index *x, struct scan *sc)
{
	x->n = sc->n_missing;
	x->by_ino = mb_xcalloc(x->n + 1, sizeof(struct scan_missing *));
	x->by_unique = mb_xcalloc(x->n + 1, sizeof(struct scan_missing *));
	for (size_t i = 0; i < x->n; i++)
		x->by_ino[i] = x->by_unique[i] = &sc->missing[i];
	if (!x->n)
		return;
	qsort(x->by_ino, x->n, sizeof(struct scan_missing *), compare_missing_ino);
	qsort(x->by_unique, x->n, sizeof(struct scan_missing *), compare_missing_unique);
}

/* The first of `sorted` that is not before `key`. */
static size_t first_missing(struct scan_missing **sorted, size_t n, const struct scan_missing *key,
			    int (*compare)(const void *, const void *))
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (compare(&sorted[mid], &key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct scan_missing *not_found_yet(struct scan_missing **sorted, size_t n,
					  const struct scan_missing *key,
					  int (*compare)(const void *, const void *))
{
	for (size_t i = first_missing(sorted, n, key, compare);
	     i < n && compare(&sorted[i], &key) == 0; i++)
		if (!sorted[i]->found && !sorted[i]->replaced)
			return sorted[i];
	return NULL;
}

/* Copies may share an inode: each file is first looked at for the one that it resembles most. */
enum across_pass {
	ACROSS_SAME_NAME, /* the inode and the unique part */
	ACROSS_SAME_BOX,  /* the inode and the mailbox: another base name */
	ACROSS_ANY,	  /* the inode or the unique part; else it is new */
};

static struct scan_missing *missing_by_ino(const struct missing_index *x, size_t box,
					   const struct scan_file *f, enum across_pass pass)
{
	struct scan_missing key = {.e.ino = f->ino};
	size_t i = f->ino ? first_missing(x->by_ino, x->n, &key, compare_missing_ino) : x->n;

	for (; i < x->n && x->by_ino[i]->e.ino == f->ino; i++) {
		struct scan_missing *m = x->by_ino[i];

		if (m->found || m->replaced ||
		    (pass == ACROSS_SAME_NAME && compare_unique(m->e.file, f->name) != 0) ||
		    (pass == ACROSS_SAME_BOX && m->box != box))
			continue;
		return m;
	}
	return NULL;
}

static struct scan_missing *missing_by_unique(const struct missing_index *x, const char *name)
{
	struct scan_missing key = {.e.file = (char *)(uintptr_t)name};

	return not_found_yet(x->by_unique, x->n, &key, compare_missing_unique);
}

/* Is this file the missing message?  An inode alone does not tell: it is given again as soon as the
 * message is removed. */
static bool is_same_body(struct scan *sc, const struct scan_box *b, const struct scan_file *f,
			 const struct entry *e, const struct stat *st)
{
	MB_AUTO_FREE char *path = path_join(b->dir, f->in_new ? "new" : "cur", f->name);
	MB_AUTO_CLOSE int fd = -1;
	struct digest d;
	bool damaged = e->state == ENTRY_DAMAGED;

	/* cut short and moved: what became of its bytes is asked once it has its place */
	if (st->st_ino == e->ino && compare_unique(e->file, f->name) == 0)
		return true;
	if (!damaged && (uint64_t)st->st_size != e->copy.size)
		return false;
	if (st->st_ino == e->ino && clock_timespec_ns(&st->st_mtim) == e->mtime_ns)
		return true;
	if (damaged) /* its bytes tell nothing */
		return compare_unique(e->file, f->name) == 0;
	if (!digest_known(&e->copy.digest))
		return compare_unique(e->file, f->name) == 0;
	fd = at_open_regular(sc->s->mail_fd, path, O_RDONLY);
	return fd >= 0 && digest_fd(fd, &d, NULL) >= 0 && digest_equal(&d, &e->copy.digest);
}

static int match_moved(struct scan *sc, struct scan_box *b, struct scan_file *f,
		       struct scan_missing *m)
{
	struct stat st;
	int err;

	if (!regular(sc, b, f, &st) || !is_same_body(sc, b, f, &m->e, &st))
		return 0;
	err = log_renamed(sc, &m->e, b, f);
	m->found = f->matched = true;
	if (err >= 0 && (uint64_t)st.st_size != m->e.copy.size && m->e.state == ENTRY_PRESENT)
		return check_again(sc, (size_t)(b - sc->boxes), &m->e);
	return err < 0 ? err : note_ino(sc, &m->e.copy.guid, m->e.copy.id, &st);
}

static int publish_file(struct scan *sc, struct scan_box *b, struct scan_file *f,
			const struct stat *st)
{
	MB_AUTO_FREE char *path = path_join(b->dir, f->in_new ? "new" : "cur", f->name);
	struct node_info n = {.kind = NODE_MESSAGE, .mailbox = b->guid, .in_new = f->in_new};
	bool linked = st->st_nlink > 1;
	struct guid twin;
	int err;

	if (unsettled_has(sc->s, path) || /* half written by a program in the mount, or beside it */
	    at_being_written(sc->s->mail_fd, path, clock_timespec_ns(&st->st_mtim))) {
		b->held = sc->waits = true;
		return 0;
	}
	err = linked ? scan_twin_find(sc, &b->guid, f->name, st->st_ino, &twin) : TWIN_NONE;
	if (err < 0 || err == TWIN_SAME)
		return err < 0 ? err : 0;
	bool copy = err == TWIN_COPY;

	sc->call.uidlist_dir = b->list.ino ? b->dir : NULL;
	err = publish(&sc->call, path, &n, f->name, copy ? &twin : NULL,
		      copy ? random_u64() | 1 : 0, NULL);
	if (err >= 0 && linked)
		err = scan_twin_add(sc, &b->guid, f->name, f->in_new);
	if (err >= 0)
		change_event(sc->s, EVENT_ADDED, path, NULL, false);
	sc->report->arrived++;
	sc->report->records++;
	return err;
}

static int match_file(struct scan *sc, const struct missing_index *x, struct scan_box *b,
		      struct scan_file *f, enum across_pass pass)
{
	struct scan_missing *m = missing_by_ino(x, (size_t)(b - sc->boxes), f, pass);
	struct stat st;
	int err = m ? match_moved(sc, b, f, m) : 0;

	if (pass != ACROSS_ANY)
		return err;
	if (err >= 0 && !f->matched) {
		m = missing_by_unique(x, f->name);
		if (m)
			err = match_moved(sc, b, f, m);
	}
	if (err < 0 || f->matched)
		return err;
	if (!regular(sc, b, f, &st))
		return 0;
	err = scan_may_arrive(sc, &st);
	return err > 0 ? publish_file(sc, b, f, &st) : err;
}

static int match_files(struct scan *sc, const struct missing_index *x, enum across_pass pass)
{
	int err = 0;

	for (size_t i = 0; i < sc->n_boxes && err >= 0; i++)
		for (size_t k = 0; k < sc->boxes[i].n_files && err >= 0; k++)
			if (!sc->boxes[i].files[k].matched)
				err = match_file(sc, x, &sc->boxes[i], &sc->boxes[i].files[k],
						 pass);
	return err;
}

int scan_match_across(struct scan *sc)
{
	struct missing_index x;
	int err = 0;

	missing_index_init(&x, sc);
	for (int pass = sc->n_missing ? ACROSS_SAME_NAME : ACROSS_ANY;
	     pass <= ACROSS_ANY && err >= 0; pass++)
		err = match_files(sc, &x, pass);
	free(x.by_ino);
	free(x.by_unique);
	return err;
}
