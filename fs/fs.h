/*
 * fs.h - the mounted file system: what its files share.
 *
 *   main.c     arguments, start and end          mount.c    mounting, and what may keep it from that
 *   serve.c    signals, the end                  ops-*.c    one handler for each FUSE request
 *   loop.c     who reads the next request
 *   node*.c    nodes and their names             folder*.c  names of a directory, cookies for life
 *   path.c     from a node to its file           attr.c     what stat shows
 *   event.c    changes not made through us       inval.c    the kernel's caches follow them
 *   settle.c   messages being written            alias.c    names retired by a peer
 *   fdcache.c  descriptors by node               origin.c   which program asks
 *   pool.c     small things by number              ahead.c    reading ahead along a listing
 *
 * LOCKS, in this order; whoever holds one may take only those below it:
 *   rename_lock   shared: a handler that works with the path of (directory, name); exclusive: the
 *                 rename of a directory.  Never taken twice by a thread, never by the store's listener.
 *   stripe        of a file, by its node: renaming, removing or linking it, and beginning and ending
 *                 a change of its content.  Two at once only by stripe_lock2().
 *   (the store's own locks: every store_* call is made here)
 *   table_lock    nodes, names, folders, aliases.  No system call and no store call while it is held.
 *   inside inval.c, settle.c, fdcache.c, origin.c: innermost, one at a time.
 * The store calls the listener with none of its locks that matter here, perhaps in a handler's own
 * thread; the listener takes table_lock only.  Notifications to the kernel are sent by the thread of
 * inval.c with no lock held: the kernel may make it wait for a directory that a handler is working on.
 *
 * Nothing here waits for the network, and nothing but this file system's requests waits for a disk flush.
 */
#ifndef MB_FS_FS_H
#define MB_FS_FS_H

#define FUSE_USE_VERSION 312
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/store/store.h"
#include "fs/alias.h"
#include "fs/fdcache.h"
#include "fs/node.h"
#include <errno.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>

#define FS_TIMEOUT_S                                                                               \
	3600.0 /* entries and attributes: every change comes by us, or is invalidated */
#define FS_STRIPES 64
#define FS_FDS 256
#define FS_THREADS 16 /* requests at a time, unless -o threads says otherwise */
#define FS_CLOSING 16
#define FS_ORDINAL_BIT (1ull << 62) /* st_ino of messages, apart from backing inodes */
#define FS_SETTLE_NS 2000000000ll
#define FS_FOLDER_IDLE_NS 60000000000ll

struct ahead;
struct inval;
struct settle;

struct fs_options {
	const char *mountpoint;	 /* absolute */
	bool kernel_permissions; /* -o default_permissions; always with allow_other */
	bool allow_other, noxattr, read_only, nonempty;
	unsigned flags; /* for the kernel: see mount_parse_options() */
	int threads;
	int ready_fd; /* told "1" once the mount answers, or an error line; -1: nobody */
};

struct mailfs {
	struct store *store;
	int root_fd; /* borrowed from the store: the backing directory, also when mounted over */
	struct fs_options opt;
	struct fuse_session *session;
	bool chown;	       /* we are root: new files are given to the caller */
	atomic_bool ready;     /* the mount answers */
	atomic_bool unmounted; /* taken away by ourselves */

	pthread_rwlock_t rename_lock;
	pthread_mutex_t stripes[FS_STRIPES];
	pthread_mutex_t table_lock;
	pthread_cond_t loaded;	   /* a folder was read; with table_lock */
	struct node **loaded_dirs; /* directories that have a folder */
	size_t n_loaded, loaded_cap;
	size_t freed; /* nodes and names, since memory was last given back to the system */
	int closing[FS_CLOSING]; /* descriptors for table_unlock() to close; with table_lock */
	size_t n_closing;
	struct node_table nodes;
	struct alias_table aliases;
	atomic_uint
		kind_age; /* grows when a directory may have become, or ceased to be, a mailbox */

	struct fdcache *fds;
	struct ahead *ahead;
	struct inval *inval;
	struct settle *settle;
};

/* ops.c */
extern const struct fuse_lowlevel_ops fs_ops;
void mailfs_init(struct mailfs *fs, struct store *store, const struct fs_options *opt,
		 const struct stat *root);
void mailfs_release(struct mailfs *fs);
struct node *fs_node(struct mailfs *fs, fuse_ino_t ino);
fuse_ino_t fs_ino(struct mailfs *fs, const struct node *n);
/* The same node as an inode of its own for the kernel, which takes a rename between two names of one
 * inode for done: a program may rename a mail to the very name that a peer's change retired. */
fuse_ino_t fs_alias_ino(fuse_ino_t ino);
static inline struct mailfs *fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}
static inline void table_lock(struct mailfs *fs)
{
	pthread_mutex_lock(&fs->table_lock);
}
void table_unlock(struct mailfs *fs); /* and closes what was to be closed under it */
/* What a call that changes names answers.  The kernel makes one that says ESTALE a second time, after a
 * new look-up; but what said so may have changed the store before (an edit settled). */
static inline int fs_change_errno(int err)
{
	int e = err < 0 ? mb_err_errno(err) : 0;

	return e == ESTALE ? EBUSY : e;
}
void stripe_lock(struct mailfs *fs, const struct node *n);
void stripe_unlock(struct mailfs *fs, const struct node *n);
void stripe_lock2(struct mailfs *fs, const struct node *a, const struct node *b); /* NULL is fine */
void stripe_unlock2(struct mailfs *fs, const struct node *a, const struct node *b);

/* path.c: from a node to its file */

/* Path of dir/name.  Takes table_lock. */
int fs_path(struct mailfs *fs, const struct node *dir, const char *name, char out[AT_PATH_MAX]);
/* Opens the file or directory of n (O_NOFOLLOW is added), by any of its names, or the descriptor
 * kept of a file that has none.  Waits for a rename under way and tries again.  No lock may be held. */
int fs_open_node(struct mailfs *fs, struct node *n, int flags);
/* stat of the file of n, as the backing file system says it.  As fs_open_node(). */
int fs_stat_node(struct mailfs *fs, struct node *n, struct stat *ret);
/* A pinned descriptor for the content of a regular file; fdcache_unpin() it. */
int fs_content(struct mailfs *fs, struct node *n, bool write, struct fdcache_slot **ret);
/* A descriptor to keep in n->kept_fd when n, which is at `path`, loses its last name: programs may
 * have it open.  -1: not needed, or not to be had.  Stripe held. */
int fs_keep_open(struct mailfs *fs, struct node *n, const char *path);
/* The file at `path`, a name of n, has become another inode: n follows it, names that stayed behind go. */
void fs_follow_inode(struct mailfs *fs, struct node *n, const char *path);

/* attr.c: what stat shows */

/* Makes the backing file's stat what we show.  `path` is where the file is, NULL: no name. */
void attr_show(struct mailfs *fs, struct node *n, const char *path, struct stat *st);
/* How long the kernel may keep what was shown: the links of a message with several names change without
 * its node. */
double attr_timeout(const struct node *n, const struct stat *st);
/* The file of n got or lost a name: its siblings show another st_nlink.  table_lock held. */
void attr_links_changed(struct mailfs *fs, const struct node *n);
/* Something visible in this directory has changed.  table_lock held. */
void attr_changed(struct node *dir);
/* mtime of a directory was set by a program to this value.  table_lock held. */
void attr_set_mtime(struct node *dir, const struct timespec *mtime);
/* The file of n was changed, or is about to be seen anew: what listings keep of its stat goes.  To be
 * called after the change and before it is answered.  table_lock held. */
void attr_forget(struct node *n);
/* Keeps what was seen of n, a message, since attr_age() gave `age`.  `st` as the backing file system
 * says it.  table_lock held by neither. */
uint64_t attr_age(struct mailfs *fs, const struct node *n);
void attr_keep(struct mailfs *fs, struct node *n, const struct stat *st, uint64_t age);
/* What attr_keep() kept of n; false: nothing.  table_lock held by neither. */
bool attr_kept(struct mailfs *fs, const struct node *n, struct stat *ret);
/* Kind of a directory, looked up when it may have changed. */
enum node_kind fs_kind(struct mailfs *fs, struct node *dir, const char *path);
static inline bool kind_is_messages(enum node_kind k)
{
	return k == NODE_CUR || k == NODE_NEW;
}
static inline bool kind_is_maildir(enum node_kind k)
{
	return kind_is_messages(k) || k == NODE_TMP;
}

/* name.c: what handlers of (directory, name) share */

/* Where dir/name really is: an alias leads elsewhere. */
struct spot {
	struct node *dir; /* referenced */
	bool alias;
	bool maildir; /* dir is a cur, new or tmp */
	char name[NAME_MAX + 1];
	char path[AT_PATH_MAX];
};
int spot_find(struct mailfs *fs, struct node *dir, const char *name, struct spot *ret);
/* stat of its file, as the backing file system says it.  A cur, new or tmp is kept open for it until a
 * directory may have changed; rename_lock held. */
int fs_stat_in(struct mailfs *fs, struct spot *p, struct stat *ret);
void spot_release(struct mailfs *fs, struct spot *p);

/* Names of changes to come, which only those who know them see. */
bool fs_hidden(const struct mailfs *fs, const struct node *dir, const char *name);
/* The node that dir/name was last seen as, or NULL.  Takes table_lock. */
struct node *fs_known(struct mailfs *fs, const struct node *dir, const char *name);
/* true when n has one name.  Takes table_lock. */
bool fs_only_name(struct mailfs *fs, const struct node *n);
/* n is losing its last name: `keep` (-1: none) is kept for those who have it open.  Stripe held. */
void fs_let_go(struct mailfs *fs, struct node *n, int keep);
/* Fills the answer for dir/name at `path`, whose backing stat is `st`: binds and counts the node. */
void fs_entry(struct mailfs *fs, struct node *dir, const char *name, const char *path,
	      const struct stat *st, struct fuse_entry_param *ret);
/* Listing, times, aliases when a name came into being, or went (with its node's name).
 * table_lock held. */
void fs_name_added(struct mailfs *fs, struct node *dir, const char *name, const struct stat *st);
void fs_name_removed(struct mailfs *fs, struct node *dir, const char *name);
/* Is this the name of a message, so that a record tells of each change of it, in a log on the same disk, whose
 * flush commits the change too?  table_lock held. */
bool fs_is_logged(struct mailfs *fs, const struct node *dir, const char *name);
/* A new file or directory belongs to the caller; `mode` as asked for. */
int fs_give(struct mailfs *fs, fuse_req_t req, int fd, const char *dir_path, mode_t mode);
void fs_kinds_changed(struct mailfs *fs);

/* event.c */
void fs_event(const struct store_event *e, void *arg);

/* origin.c */
void origin_of(struct mailfs *fs, fuse_req_t req, struct origin *ret);

/* Handlers. */
void op_init(void *userdata, struct fuse_conn_info *conn);
void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup);
void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
	       const char *newname, unsigned flags);
void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname);
void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi);
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
	      struct fuse_file_info *fi);
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
		  struct fuse_file_info *fi);
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi);
void op_copy_file_range(fuse_req_t req, fuse_ino_t in, off_t off_in, struct fuse_file_info *fi_in,
			fuse_ino_t out, off_t off_out, struct fuse_file_info *fi_out, size_t len,
			int flags);
void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		struct fuse_file_info *fi);
void op_readlink(fuse_req_t req, fuse_ino_t ino);
void op_access(fuse_req_t req, fuse_ino_t ino, int mask);
void op_statfs(fuse_req_t req, fuse_ino_t ino);
void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi);
void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
		 int flags);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

/* Drops the listing of a directory that nobody has read for a while.  Called by inval.c after the
 * kernel let go of its cached listing. */
void fs_drop_folder(struct mailfs *fs, struct node *dir);

/* count.c: requests by kind, for people and tests. */
enum count {
	COUNT_LOOKUP,
	COUNT_FORGET,
	COUNT_GETATTR,
	COUNT_SETATTR,
	COUNT_READLINK,
	COUNT_SYMLINK,
	COUNT_MKNOD,
	COUNT_MKDIR,
	COUNT_UNLINK,
	COUNT_RMDIR,
	COUNT_RENAME,
	COUNT_LINK,
	COUNT_CREATE,
	COUNT_OPEN,
	COUNT_READ,
	COUNT_WRITE,
	COUNT_FLUSH,
	COUNT_RELEASE,
	COUNT_FSYNC,
	COUNT_OPENDIR,
	COUNT_READDIR,
	COUNT_READDIRPLUS,
	COUNT_RELEASEDIR,
	COUNT_FSYNCDIR,
	COUNT_ACCESS,
	COUNT_STATFS,
	COUNT_GETXATTR,
	COUNT_SETXATTR,
	COUNT_LISTXATTR,
	COUNT_REMOVEXATTR,
	COUNT_FALLOCATE,
	COUNT_LSEEK,
	COUNT_COPY,
	COUNT_NOTIFY,
	COUNT_N
};
extern atomic_ullong count_of[COUNT_N];
static inline void count(enum count c)
{
	atomic_fetch_add_explicit(&count_of[c], 1, memory_order_relaxed);
}
/* Appends str name, u64 number for each kind that there was. */
void count_tell(struct buf *out);
void count_print(int fd); /* one line "fuse: lookup=3 …" */

#endif
