/*
 * anchor-fs.c - anchor-fs BACKING MOUNTPOINT [fuse options]: the directory BACKING, with as little work
 * as a file system in user space can do.
 *
 * The measure for bench/bench_mount.py: whoever keeps a log and an index does more than this.  Names and
 * stats are read once and kept in memory; every change is one system call in BACKING.  The kernel may
 * keep what it was told, and asks for no open and no flush.  One lock; memory of names that went is not
 * given back.  Directories are not renamed.
 */
#define FUSE_USE_VERSION 312
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUCKETS (1u << 18)
#define TIMEOUT 3600.0

struct node {
	struct node *parent, *next; /* next: in the bucket of (parent, name) */
	char *name;		    /* NULL: it has none any more */
	struct stat st;
	int stale; /* st is to be read again */
	int fd;	   /* of a directory */
	int read;  /* a directory whose names are all known */
	struct node **names;
	size_t n, cap, at; /* at: among the names of the parent */
};

static struct node root, *buckets[BUCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct node *node_of(fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? &root : (struct node *)(uintptr_t)ino;
}

static struct node **bucket(const struct node *parent, const char *name)
{
	uint64_t h = (uintptr_t)parent;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 0x100000001b3;
	return &buckets[(h >> 20) % BUCKETS];
}

static struct node *find(const struct node *parent, const char *name)
{
	struct node *n = *bucket(parent, name);

	while (n && (n->parent != parent || strcmp(n->name, name) != 0))
		n = n->next;
	return n;
}

static void put(struct node *n, struct node *parent, const char *name)
{
	struct node **b = bucket(parent, name);

	if (parent->n == parent->cap) {
		parent->cap = parent->cap ? 2 * parent->cap : 16;
		parent->names = realloc(parent->names, parent->cap * sizeof(struct node *));
		if (!parent->names)
			abort();
	}
	n->parent = parent;
	n->name = strdup(name);
	n->at = parent->n;
	parent->names[parent->n++] = n;
	n->next = *b;
	*b = n;
	parent->stale = 1;
}

static void take(struct node *n)
{
	struct node **b = bucket(n->parent, n->name), *p = n->parent;

	while (*b != n)
		b = &(*b)->next;
	*b = n->next;
	p->names[n->at] = p->names[--p->n];
	p->names[n->at]->at = n->at;
	p->stale = 1;
	free(n->name);
	n->name = NULL;
}

static struct node *add(struct node *parent, const char *name)
{
	struct node *n = calloc(1, sizeof(*n));

	if (!n || fstatat(parent->fd, name, &n->st, AT_SYMLINK_NOFOLLOW)) {
		free(n);
		return NULL;
	}
	n->fd = S_ISDIR(n->st.st_mode) ? openat(parent->fd, name, O_RDONLY | O_DIRECTORY) : -1;
	put(n, parent, name);
	return n;
}

static void load(struct node *dir)
{
	const struct dirent *e;
	DIR *d;

	if (dir->read)
		return;
	dir->read = 1;
	d = fdopendir(openat(dir->fd, ".", O_RDONLY | O_DIRECTORY));
	while (d && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
		    !find(dir, e->d_name))
			add(dir, e->d_name);
	if (d)
		closedir(d);
}

static void refresh(struct node *n)
{
	if (n->stale && n->fd >= 0)
		fstat(n->fd, &n->st);
	else if (n->stale && n->name)
		fstatat(n->parent->fd, n->name, &n->st, AT_SYMLINK_NOFOLLOW);
	n->stale = 0;
}

static struct fuse_entry_param entry_of(struct node *n)
{
	refresh(n);
	return (struct fuse_entry_param){.ino = (uintptr_t)n,
					 .attr = n->st,
					 .attr_timeout = TIMEOUT,
					 .entry_timeout = TIMEOUT};
}

static void on_init(void *arg, struct fuse_conn_info *c)
{
	(void)arg;
	c->want |= c->capable &
		   (FUSE_CAP_READDIRPLUS | FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_PARALLEL_DIROPS);
	c->want &= ~(unsigned)(FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_AUTO_INVAL_DATA |
			       FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE);
}

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = {0};
	struct node *n;

	pthread_mutex_lock(&lock);
	load(node_of(parent));
	n = find(node_of(parent), name);
	if (n)
		e = entry_of(n);
	pthread_mutex_unlock(&lock);
	n ? fuse_reply_entry(req, &e) : fuse_reply_err(req, ENOENT);
}

static void on_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	(void)ino;
	(void)n;
	fuse_reply_none(req);
}

static void on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	pthread_mutex_lock(&lock);
	refresh(node_of(ino));
	st = node_of(ino)->st;
	pthread_mutex_unlock(&lock);
	fuse_reply_attr(req, &st, TIMEOUT);
}

static void on_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct fuse_entry_param e = {0};
	struct node *n = NULL;

	pthread_mutex_lock(&lock);
	load(node_of(parent));
	if (!mkdirat(node_of(parent)->fd, name, mode))
		n = add(node_of(parent), name);
	if (n)
		e = entry_of(n);
	pthread_mutex_unlock(&lock);
	n ? fuse_reply_entry(req, &e) : fuse_reply_err(req, EEXIST);
}

/* The descriptor stays until the release, or the end: reads and writes open by name. */
static void on_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	struct fuse_entry_param e = {0};
	struct node *n = NULL;
	int fd = openat(node_of(parent)->fd, name, fi->flags | O_CREAT | O_CLOEXEC, mode);

	pthread_mutex_lock(&lock);
	load(node_of(parent));
	if (fd >= 0) {
		n = find(node_of(parent), name);
		n = n ? n : add(node_of(parent), name);
	}
	if (n)
		e = entry_of(n);
	pthread_mutex_unlock(&lock);
	if (fd >= 0)
		close(fd);
	n ? fuse_reply_create(req, &e, fi) : fuse_reply_err(req, EEXIST);
}

static int open_file(struct node *n, int flags)
{
	int fd;

	pthread_mutex_lock(&lock);
	fd = n->name ? openat(n->parent->fd, n->name, flags | O_CLOEXEC) : -1;
	pthread_mutex_unlock(&lock);
	return fd;
}

static void on_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	int fd = open_file(node_of(ino), O_WRONLY);
	ssize_t n = fd < 0 ? -1 : pwrite(fd, data, size, off);

	(void)fi;
	node_of(ino)->stale = 1;
	n < 0 ? fuse_reply_err(req, EIO) : fuse_reply_write(req, (size_t)n);
	if (fd >= 0)
		close(fd);
}

static void on_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, ENOSYS);
}

static void on_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	int fd = open_file(node_of(ino), O_RDONLY);
	char *data = malloc(size);
	ssize_t n = fd < 0 || !data ? -1 : pread(fd, data, size, off);

	(void)fi;
	n < 0 ? fuse_reply_err(req, EIO) : fuse_reply_buf(req, data, (size_t)n);
	free(data);
	if (fd >= 0)
		close(fd);
}

static void on_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi)
{
	int fd = open_file(node_of(ino), O_RDONLY);

	(void)data_only;
	(void)fi;
	fuse_reply_err(req, fd >= 0 && !fsync(fd) ? 0 : EIO);
	if (fd >= 0)
		close(fd);
}

static void on_fsyncdir(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi)
{
	(void)data_only;
	(void)fi;
	fuse_reply_err(req, fsync(node_of(ino)->fd) ? errno : 0);
}

static void on_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		      const char *newname, unsigned flags)
{
	struct node *from = node_of(parent), *to = node_of(newparent), *n, *old;
	int err = 0;

	pthread_mutex_lock(&lock);
	load(from);
	load(to);
	if (flags || renameat(from->fd, name, to->fd, newname)) {
		err = flags ? EINVAL : errno;
	} else {
		n = find(from, name);
		old = find(to, newname);
		if (old && old != n)
			take(old);
		if (n) {
			take(n);
			put(n, to, newname);
		}
	}
	pthread_mutex_unlock(&lock);
	fuse_reply_err(req, err);
}

static void on_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct node *n;
	int err = 0;

	pthread_mutex_lock(&lock);
	if (unlinkat(node_of(parent)->fd, name, 0))
		err = errno;
	else if ((n = find(node_of(parent), name)))
		take(n);
	pthread_mutex_unlock(&lock);
	fuse_reply_err(req, err);
}

static void on_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	pthread_mutex_lock(&lock);
	load(node_of(ino));
	pthread_mutex_unlock(&lock);
	fi->cache_readdir = fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

static void on_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			   struct fuse_file_info *fi)
{
	struct node *dir = node_of(ino);
	char *data = malloc(size);
	size_t used = 0;

	(void)fi;
	if (!data) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	pthread_mutex_lock(&lock);
	for (size_t i = (size_t)off; i < dir->n; i++) {
		struct fuse_entry_param e = entry_of(dir->names[i]);
		size_t len = fuse_add_direntry_plus(req, data + used, size - used,
						    dir->names[i]->name, &e, (off_t)i + 1);

		if (len > size - used)
			break;
		used += len;
	}
	pthread_mutex_unlock(&lock);
	fuse_reply_buf(req, data, used);
	free(data);
}

static void on_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, ENOSYS);
}

static const struct fuse_lowlevel_ops ops = {
	.init = on_init,
	.lookup = on_lookup,
	.forget = on_forget,
	.getattr = on_getattr,
	.mkdir = on_mkdir,
	.create = on_create,
	.write = on_write,
	.open = on_open,
	.read = on_read,
	.fsync = on_fsync,
	.fsyncdir = on_fsyncdir,
	.rename = on_rename,
	.unlink = on_unlink,
	.opendir = on_opendir,
	.readdirplus = on_readdirplus,
	.flush = on_flush,
};

int main(int argc, char **argv)
{
	struct fuse_args args =
		FUSE_ARGS_INIT(argc - 1, argv + 1); /* BACKING stands for the program */
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	struct fuse_cmdline_opts opts;
	struct fuse_session *session;
	int failed = 1;

	if (argc < 3 || fuse_parse_cmdline(&args, &opts) || !opts.mountpoint)
		return 64;
	root.fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root.fd < 0 || fstat(root.fd, &root.st))
		return 66;
	session = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	if (session && !fuse_set_signal_handlers(session) &&
	    !fuse_session_mount(session, opts.mountpoint)) {
		fuse_loop_cfg_set_max_threads(config, 2);
		failed = fuse_session_loop_mt(session, config);
		fuse_session_unmount(session);
	}
	fuse_loop_cfg_destroy(config);
	return failed ? 1 : 0;
}
