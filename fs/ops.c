/*
 * ops.c - the table of handlers, what is agreed with the kernel, and the life of struct mailfs.
 *
 * The options are those that leave the kernel the most to answer by itself: entries and attributes
 * for an hour, listings with attributes always, pages kept, no OPEN and no FLUSH.
 */
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "fs/folder.h"
#include "fs/fs.h"
#include "fs/inval.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define ALIAS_BIT ((fuse_ino_t)2) /* nodes are aligned */

struct node *fs_node(struct mailfs *fs, fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? fs->nodes.root : (struct node *)(uintptr_t)(ino & ~ALIAS_BIT);
}

fuse_ino_t fs_ino(struct mailfs *fs, const struct node *n)
{
	return n == fs->nodes.root ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)n;
}

fuse_ino_t fs_alias_ino(fuse_ino_t ino)
{
	return ino | ALIAS_BIT;
}

/* Capabilities by name in one place: later versions of the library want them asked for otherwise. */
static void want(struct fuse_conn_info *conn, unsigned caps)
{
	conn->want |= conn->capable & caps;
}

static void do_not_want(struct fuse_conn_info *conn, unsigned caps)
{
	conn->want &= ~caps;
}

static void tell_ready(struct mailfs *fs)
{
	fs->ready = true;
	if (fs->opt.ready_fd >= 0)
		io_write_all(fs->opt.ready_fd, "1", 1);
}

void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct mailfs *fs = userdata;

	want(conn, FUSE_CAP_READDIRPLUS | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_EXPLICIT_INVAL_DATA |
			   FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_NO_OPEN_SUPPORT);
	/* without OPEN, O_TRUNC must come as a SETATTR; set-id bits are the kernel's to clear, as
	 * writing as root would not */
	do_not_want(conn, FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_AUTO_INVAL_DATA |
				  FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_WRITEBACK_CACHE |
				  FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
				  FUSE_CAP_SPLICE_MOVE | FUSE_CAP_HANDLE_KILLPRIV |
				  FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS);
	if (!(conn->capable & FUSE_CAP_NO_OPEN_SUPPORT))
		mb_msg(MB_WARNING, "this kernel asks for every open: slower");
	tell_ready(fs);
}

void table_unlock(struct mailfs *fs)
{
	int fds[FS_CLOSING], keep = errno;
	size_t n = fs->n_closing;

	memcpy(fds, fs->closing, n * sizeof(fds[0]));
	fs->n_closing = 0;
	pthread_mutex_unlock(&fs->table_lock);
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
	errno = keep;
}

/* A node goes: nothing of it may stay open.  table_lock held. */
static void on_free(struct node *n, void *arg)
{
	struct mailfs *fs = arg;
	int kept = node_kept_fd(n);

	fs->freed++;
	fdcache_drop(fs->fds, n);
	if (kept >= 0 && node_has_more(n)->was_message && fs->n_closing < FS_CLOSING)
		fs->closing[fs->n_closing++] = kept; /* kept in deleted/: soon done */
	else if (kept >= 0)
		inval_close(fs, kept);
	if (!node_is_dir(n) || !folder_is_listed(n->dir->folder))
		return;
	for (size_t i = 0; i < fs->n_loaded; i++)
		if (fs->loaded_dirs[i] == n)
			fs->loaded_dirs[i] = fs->loaded_dirs[--fs->n_loaded];
}

void mailfs_init(struct mailfs *fs, struct store *store, const struct fs_options *opt,
		 const struct stat *root)
{
	pthread_rwlockattr_t attr;

	*fs = (struct mailfs){.store = store, .root_fd = store_mail_fd(store), .opt = *opt};
	fs->chown = geteuid() == 0;
	atomic_store(&fs->kind_age, 1);
	pthread_rwlockattr_init(&attr);
	/* the rename of a directory does not wait for ever */
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&fs->rename_lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	pthread_mutex_init(&fs->table_lock, NULL);
	pthread_cond_init(&fs->loaded, NULL);
	for (size_t i = 0; i < FS_STRIPES; i++)
		pthread_mutex_init(&fs->stripes[i], NULL);
	fs->fds = fdcache_new(FS_FDS);
	node_table_init(&fs->nodes, root, on_free, fs);
	alias_table_init(&fs->aliases, &fs->nodes);
}

void mailfs_release(struct mailfs *fs)
{
	alias_table_release(&fs->aliases);
	node_table_release(&fs->nodes);
	while (fs->n_closing)
		close(fs->closing[--fs->n_closing]);
	fdcache_free(fs->fds);
	free(fs->loaded_dirs);
	for (size_t i = 0; i < FS_STRIPES; i++)
		pthread_mutex_destroy(&fs->stripes[i]);
	pthread_cond_destroy(&fs->loaded);
	pthread_mutex_destroy(&fs->table_lock);
	pthread_rwlock_destroy(&fs->rename_lock);
}

const struct fuse_lowlevel_ops fs_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.release = op_release,
	.fsync = op_fsync,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.releasedir = op_releasedir,
	.fsyncdir = op_fsyncdir,
	.access = op_access,
	.statfs = op_statfs,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
	.create = op_create,
	.fallocate = op_fallocate,
	.lseek = op_lseek,
	.copy_file_range = op_copy_file_range,
};
