/*
 * ops-dir.c - OPENDIR, READDIR, READDIRPLUS, RELEASEDIR, FSYNCDIR.
 *
 * A listing walks the folder (folder.c) by cookie; the kernel keeps what it got and asks again only
 * after a change.  Its cached part and our cookies live and die together: a folder is dropped
 * only after the kernel was told to forget its part, and if nobody has read it since.
 *
 * A READDIR takes some entries under table_lock, and looks at their files without it, but for those
 * of a mailbox whose stat the folder has kept from an earlier look (attr.c): when the kernel has
 * dropped its caches, a listing costs no access to the disk.  A name that
 * a change made elsewhere has meanwhile renamed is looked up again by its cookie, so that the listing
 * does not miss it.
 */
#include "backends/base/at.h"
#include "backends/base/buf.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "fs/folder.h"
#include "fs/fs.h"
#include "fs/loop.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define BATCH 32
#define LOAD_MAX 100000 /* names that are put in order at once */
#define NOT_OPENED INT_MIN

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mailfs *fs = fs_of(req);

	count(COUNT_OPENDIR);
	table_lock(fs);
	fs_node(fs, ino)->dir->streams++;
	table_unlock(fs);
	fi->cache_readdir = 1;
	fi->keep_cache = 1;
	if (fuse_reply_open(req, fi)) {
		table_lock(fs);
		fs_node(fs, ino)->dir->streams--;
		table_unlock(fs);
	}
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mailfs *fs = fs_of(req);
	struct dir *d = fs_node(fs, ino)->dir;

	count(COUNT_RELEASEDIR);
	table_lock(fs);
	d->streams--;
	d->used_ns = clock_mono_ns();
	table_unlock(fs);
	fuse_reply_err(req, 0);
}

/* ---- reading the backing directory ---- */

struct found {
	uint64_t ino;
	size_t name; /* in `names` */
	unsigned char type;
};

struct loading {
	struct mailfs *fs;
	struct node *dir;
	struct found *found; /* owned */
	size_t n, cap;
	struct buf names;
};

static int compare_found(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return (x->ino > y->ino) - (x->ino < y->ino);
}

/* In the order of the inodes, which is more or less that of the disk, and that in which the messages came. */
static void list_found(struct loading *l)
{
	struct folder *f = l->dir->dir->folder;

	if (l->n)
		qsort(l->found, l->n, sizeof(*l->found), compare_found);
	table_lock(l->fs);
	for (size_t i = 0; i < l->n; i++)
		folder_load(f, (const char *)l->names.data + l->found[i].name, l->found[i].type,
			    l->found[i].ino);
	table_unlock(l->fs);
	l->n = 0;
	buf_reset(&l->names);
}

static int load_name(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	struct loading *l = arg;

	if (fs_hidden(l->fs, l->dir, name))
		return 0;
	if (l->n == LOAD_MAX)
		list_found(l);
	MB_GROW(l->found, l->cap, l->n + 1);
	l->found[l->n++] = (struct found){.ino = ino, .name = l->names.len, .type = type};
	buf_put(&l->names, name, strlen(name) + 1);
	return 0;
}

/* table_lock held. */
static void begin_listing(struct mailfs *fs, struct node *dir)
{
	folder_begin_load(node_folder(dir));
	dir->dir->loading = true;
	MB_GROW(fs->loaded_dirs, fs->loaded_cap, fs->n_loaded + 1);
	fs->loaded_dirs[fs->n_loaded++] = dir;
}

/* table_lock held. */
static void drop_listing(struct mailfs *fs, struct node *dir)
{
	fs->freed += folder_count(dir->dir->folder);
	folder_unload(dir->dir->folder);
	for (size_t i = 0; i < fs->n_loaded; i++)
		if (fs->loaded_dirs[i] == dir)
			fs->loaded_dirs[i] = fs->loaded_dirs[--fs->n_loaded];
}

void fs_drop_folder(struct mailfs *fs, struct node *dir)
{
	struct dir *d = dir->dir;

	table_lock(fs);
	if (folder_is_listed(d->folder) && !d->loading && d->streams == 0 &&
	    d->used_ns + FS_FOLDER_IDLE_NS < clock_mono_ns())
		drop_listing(fs, dir);
	table_unlock(fs);
}

static int read_backing(struct mailfs *fs, struct node *dir)
{
	struct loading l = {.fs = fs, .dir = dir, .names = BUF_INIT};
	MB_AUTO_CLOSE int fd = fs_open_node(fs, dir, O_RDONLY | O_DIRECTORY);
	int err = fd;

	if (fd < 0 && node_kept_fd(dir) >= 0)
		return 0; /* removed: empty */
	if (fd >= 0)
		err = at_list(fd, load_name, &l);
	if (err >= 0)
		list_found(&l);
	free(l.found);
	buf_release(&l.names);
	return err;
}

/* Makes sure that dir has a folder.  The caller has a stream of it, so that it stays. */
static int load(struct mailfs *fs, struct node *dir)
{
	struct dir *d = dir->dir;
	int err;

	table_lock(fs);
	while (d->loading)
		pthread_cond_wait(&fs->loaded, &fs->table_lock);
	if (folder_is_listed(d->folder)) {
		table_unlock(fs);
		return 0;
	}
	begin_listing(fs, dir);
	table_unlock(fs);

	loop_give_way();
	err = read_backing(fs, dir);

	table_lock(fs);
	folder_end_load(d->folder);
	d->loading = false;
	if (err < 0)
		drop_listing(fs, dir);
	pthread_cond_broadcast(&fs->loaded);
	table_unlock(fs);
	return err;
}

struct listed {
	uint64_t cookie, ino;
	uint64_t attr_age; /* of the folder, when this was taken */
	uint64_t ordinal;
	struct stat st; /* valid when `kept` */
	bool kept;
	unsigned char type;
	char name[NAME_MAX + 1];
};

static void copy_entry(struct listed *to, const struct folder *f, const struct folder_entry *e)
{
	to->cookie = e->cookie;
	to->ino = e->ino;
	to->type = e->type;
	to->attr_age = folder_attr_age(f);
	to->ordinal = e->ordinal;
	to->kept = folder_attr_get(f, e, &to->st);
	strcpy(to->name, folder_text(f, e));
}

/* Up to BATCH entries after `cookie`. */
static size_t take_batch(struct mailfs *fs, struct node *dir, uint64_t cookie,
			 struct listed out[BATCH])
{
	const struct folder_entry *e;
	size_t n = 0;

	table_lock(fs);
	while (n < BATCH && (e = folder_after(dir->dir->folder, cookie))) {
		copy_entry(&out[n++], dir->dir->folder, e);
		cookie = e->cookie;
	}
	table_unlock(fs);
	return n;
}

/* The name that the entry has now; false when it is gone or still the same. */
static bool renamed_since(struct mailfs *fs, struct node *dir, struct listed *entry)
{
	const struct folder *f = dir->dir->folder;
	const struct folder_entry *e;
	bool other;

	table_lock(fs);
	e = folder_after(f, entry->cookie - 1);
	other = e && e->cookie == entry->cookie && strcmp(folder_text(f, e), entry->name) != 0;
	if (other)
		copy_entry(entry, f, e);
	table_unlock(fs);
	return other;
}

struct reply {
	fuse_req_t req;
	struct mailfs *fs;
	struct node *dir;
	bool plus;
	int dir_fd;	/* for stats; NOT_OPENED, or the error of it */
	char *dir_path; /* AT_PATH_MAX */
	char *buffer;
	size_t size, used;
};

/* One entry without a node.  false: no room. */
static bool put_bare(struct reply *r, const char *name, uint64_t ino, unsigned char type,
		     uint64_t cookie)
{
	struct fuse_entry_param e = {.attr = {.st_ino = ino, .st_mode = (mode_t)type << 12}};
	size_t left = r->size - r->used, need;

	if (r->plus)
		need = fuse_add_direntry_plus(r->req, r->buffer + r->used, left, name, &e,
					      (off_t)cookie);
	else
		need = fuse_add_direntry(r->req, r->buffer + r->used, left, name, &e.attr,
					 (off_t)cookie);
	if (need > left)
		return false;
	r->used += need;
	return true;
}

static bool join(const char *dir, const char *name, char out[AT_PATH_MAX])
{
	size_t len = strlen(dir), name_len = strlen(name);

	if (len + 1 + name_len >= AT_PATH_MAX)
		return false;
	memcpy(out, dir, len);
	if (len)
		out[len++] = '/';
	memcpy(out + len, name, name_len + 1);
	return true;
}

/* The entry from what the folder keeps of it.  false: nothing is kept, or something was dropped since. */
static bool kept_entry(struct reply *r, const struct listed *l, struct fuse_entry_param *ret)
{
	struct mailfs *fs = r->fs;
	struct node *n = NULL;

	if (!l->kept)
		return false;
	*ret = (struct fuse_entry_param){
		.attr = l->st,
		.attr_timeout = FS_TIMEOUT_S,
		.entry_timeout = FS_TIMEOUT_S,
	};
	table_lock(fs);
	if (folder_attr_age(r->dir->dir->folder) == l->attr_age) {
		n = node_bind(&fs->nodes, r->dir, l->name, &l->st);
		if (node_look(n))
			attr_links_changed(fs, n);
		n->ordinal = l->ordinal;
		ret->ino = fs_ino(fs, n);
		ret->attr.st_ino = l->ordinal | FS_ORDINAL_BIT;
	}
	table_unlock(fs);
	return n != NULL;
}

static bool has_room(const struct reply *r, const char *name)
{
	return !r->plus ||
	       fuse_add_direntry_plus(r->req, NULL, 0, name, NULL, 0) <= r->size - r->used;
}

/* The same from the file, which is at `path` and says `st`. */
static void looked_up_entry(struct reply *r, const struct listed *l, const char *path,
			    const struct stat *st, struct fuse_entry_param *ret)
{
	fs_entry(r->fs, r->dir, l->name, path, st, ret);
	attr_keep(r->fs, fs_node(r->fs, ret->ino), st, l->attr_age);
}

/* stat of the entry's file, under the name that it has now. */
static int stat_entry(struct reply *r, struct listed *l, struct stat *ret)
{
	int res;

	if (r->dir_fd == NOT_OPENED)
		r->dir_fd = fs_open_node(r->fs, r->dir, O_PATH | O_DIRECTORY);
	if (r->dir_fd < 0)
		return r->dir_fd;
	do
		res = fstatat(r->dir_fd, l->name, ret, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
	while (res == -ENOENT && renamed_since(r->fs, r->dir, l));
	return res;
}

/* One entry with its node, or bare when the file is not there at the moment, or nobody asked for
 * more than is kept.  false: no room, or the directory cannot be opened. */
static bool put_entry(struct reply *r, struct listed *l)
{
	struct fuse_entry_param e;
	char path[AT_PATH_MAX];
	size_t left, need;
	struct stat st;
	int err;

	if (l->kept && !r->plus)
		return put_bare(r, l->name, l->ordinal | FS_ORDINAL_BIT, l->type, l->cookie);
	if (l->kept && !has_room(r, l->name))
		return false;
	if (!kept_entry(r, l, &e)) {
		err = stat_entry(r, l, &st);
		if (r->dir_fd < 0)
			return false;
		if (err || !join(r->dir_path, l->name, path))
			return put_bare(r, l->name, l->ino, l->type, l->cookie);
		if (!has_room(r, l->name))
			return false;
		looked_up_entry(r, l, path, &st, &e);
	}
	left = r->size - r->used;
	if (r->plus) {
		need = fuse_add_direntry_plus(r->req, r->buffer + r->used, left, l->name, &e,
					      (off_t)l->cookie);
		r->used += need;
		return true;
	}
	table_lock(r->fs); /* plain listings give the kernel no node */
	node_forget(&r->fs->nodes, fs_node(r->fs, e.ino), 1);
	table_unlock(r->fs);
	need = fuse_add_direntry(r->req, r->buffer + r->used, left, l->name, &e.attr,
				 (off_t)l->cookie);
	r->used += need <= left ? need : 0;
	return need <= left;
}

static bool put_dots(struct reply *r, uint64_t *cookie)
{
	struct name up;
	uint64_t up_ino;

	table_lock(r->fs);
	up_ino = node_name(r->dir, 0, &up) ? up.dir->ino : r->dir->ino;
	table_unlock(r->fs);
	if (*cookie < 1 && !put_bare(r, ".", r->dir->ino, DT_DIR, 1))
		return false;
	if (*cookie < 2 && !put_bare(r, "..", up_ino, DT_DIR, 2))
		return false;
	if (*cookie < 2)
		*cookie = 2;
	return true;
}

static int fill(struct reply *r, uint64_t cookie)
{
	struct listed batch[BATCH];
	size_t n;

	if (!put_dots(r, &cookie))
		return 0;
	if (node_kept_fd(r->dir) >= 0)
		return 0; /* removed */
	while ((n = take_batch(r->fs, r->dir, cookie, batch)) > 0) {
		for (size_t i = 0; i < n; i++) {
			if (!put_entry(r, &batch[i]))
				return r->dir_fd > NOT_OPENED && r->dir_fd < 0 ? r->dir_fd : 0;
			cookie = batch[i].cookie;
		}
	}
	return 0;
}

static void read_dir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct mailfs *fs = fs_of(req);
	char dir_path[AT_PATH_MAX];
	struct reply r = {
		.req = req,
		.fs = fs,
		.dir = fs_node(fs, ino),
		.plus = plus,
		.dir_fd = NOT_OPENED,
		.dir_path = dir_path,
		.size = size,
	};
	int err = load(fs, r.dir);

	if (err >= 0)
		err = fs_path(fs, r.dir, NULL, r.dir_path);
	if (err == -ENOENT && node_kept_fd(r.dir) >= 0) {
		fuse_reply_buf(req, NULL, 0); /* removed, but open */
		return;
	}
	if (err >= 0)
		fs_kind(fs, r.dir, r.dir_path);
	r.buffer = mb_xmalloc(size);
	if (err >= 0)
		err = fill(&r, (uint64_t)off);
	if (err < 0)
		fuse_reply_err(req, mb_err_errno(err));
	else
		fuse_reply_buf(req, r.buffer, r.used);
	if (r.dir_fd >= 0)
		close(r.dir_fd);
	free(r.buffer);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	count(COUNT_READDIR);
	read_dir(req, ino, size, off, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	count(COUNT_READDIRPLUS);
	read_dir(req, ino, size, off, true);
}

/* The log alone makes the names durable.  If not, they are to be made so now: from then on it does. */
static bool is_in_log(struct mailfs *fs, struct node *dir, const char *path)
{
	bool logs = kind_is_messages(fs_kind(fs, dir, path)) && store_log_has_names(fs->store);
	bool in_log;

	table_lock(fs);
	in_log = logs && dir->dir->in_log;
	dir->dir->in_log = logs;
	table_unlock(fs);
	return in_log;
}

static void forget_flush(struct mailfs *fs, struct node *dir)
{
	table_lock(fs);
	dir->dir->in_log = false;
	table_unlock(fs);
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct mailfs *fs = fs_of(req);
	struct node *dir = fs_node(fs, ino);
	MB_AUTO_CLOSE int fd = -1;
	char path[AT_PATH_MAX];
	bool named;
	int err = 0;

	count(COUNT_FSYNCDIR);
	loop_give_way();
	named = fs_path(fs, dir, NULL, path) == 0;
	if (!named || !is_in_log(fs, dir, path)) {
		err = fd = fs_open_node(fs, dir, O_RDONLY | O_DIRECTORY);
		if (err >= 0)
			err = io_fsync(fd);
		if (err < 0)
			forget_flush(fs, dir);
	}
	if (err >= 0 && named)
		err = store_sync_path(fs->store, path);
	fuse_reply_err(req, err < 0 ? mb_err_errno(err) : 0);
}
