/*
 * at.h - every path that contains outside input.
 *
 * A path is opened beneath a directory fd and can never leave it: openat2() with RESOLVE_BENEATH |
 * RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS.  Functions give -errno; -EXDEV or -ELOOP say that
 * the path tried to leave.
 */
#ifndef MB_BASE_AT_H
#define MB_BASE_AT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#define AT_PATH_MAX 32768 /* longest path that is opened here, with its NUL */

/* Opens `path` (relative, no "..") beneath `root`.  O_CLOEXEC is added; with O_CREAT the mode is
 * used.  "" or "." opens the root again.  Returns the fd. */
int at_open(int root, const char *path, int flags, mode_t mode);

/* Opens the directory that holds the last component of `path` (O_PATH|O_DIRECTORY) and points
 * *ret_name at that component inside `path`.  Returns the fd.  For renames and unlinks: they act on
 * (fd, name), so that no component before the last can be a symbolic link. */
int at_open_parent(int root, const char *path, const char **ret_name);

/* lstat beneath root. */
int at_stat(int root, const char *path, struct stat *ret);

/* Does the directory `root`, in which `name` (lower case) is, find it under its upper-case name too?
 * Where it does, normalisation may not count either.  Two calls. */
bool at_folds_case(int root, const char *name);

/* What tells one file or directory beneath root from every other, removed ones included: its inode
 * and, where the file system has it, its birth (inodes are given again at once). */
int at_identity(int root, const char *path, uint64_t *ret);

/* Opens for reading and makes sure that it is a regular file (-EINVAL otherwise; a FIFO does not
 * block). */
int at_open_regular(int root, const char *path, int flags);

/* true when some program has the file open to write, as one does that delivers without tmp/: its size
 * says nothing yet.  Only of a file that was changed within the last two minutes, for others nobody
 * asks; false where the kernel gives no leases (it needs our own file, or CAP_LEASE).  fcntl(2),
 * F_SETLEASE.  Three calls, one for an old file. */
bool at_being_written(int root, const char *path, int64_t mtime_ns);

/* Durable steps (io.h) by path: rename (flags as renameat2), hard link, unlink (flags as unlinkat). */
int at_rename(int root, const char *from, const char *to, unsigned flags);
int at_link(int root, const char *from, const char *to);
int at_unlink(int root, const char *path, int flags);

/* mkdir -p beneath root, mode 0700 (or `mode`) for each new one.  0 also when all existed. */
int at_mkdirs(int root, const char *path, mode_t mode);

/* true when `path` is relative, has no empty, "." or ".." part, no NUL by construction, no part over
 * 255 bytes, and is at most 4095 bytes long. */
bool at_path_ok(const char *path);
/* The same up to AT_PATH_MAX: programs make trees deeper than they can name in one call. */
bool at_deep_path_ok(const char *path);

/* Calls fn for each entry but "." and ".."; d_type as from readdir.  A non-zero result of fn ends
 * the walk and is returned.  Opens the directory anew (the fd keeps its own offset). */
int at_list(int dir, int (*fn)(const char *name, unsigned char d_type, uint64_t ino, void *arg),
	    void *arg);

/* What may be in a directory that is only a name: files that nobody misses, and, to be looked away
 * from, what is at certain paths (as `path` below is).  Each may be NULL. */
struct at_names {
	bool (*junk)(const char *name);
	bool (*but)(const char *path, void *arg);
	void *arg;
};

/* Is there nothing at `path` but directories that are only names, empty or of directories?  -ENOTEMPTY:
 * no, there is something else, or a directory called cur, new or tmp. */
int at_is_names(int root, const char *path, const struct at_names *rules);

/* Removes `path` and what is in it when at_is_names() says so; never anything else, whoever makes it
 * meanwhile: -ENOTEMPTY then, as it is for what `but` looks away from.  Each removal is a durable step. */
int at_remove_names(int root, const char *path, const struct at_names *rules);

/* Removes a whole tree beneath dir/name, not following symbolic links.  Counts as durable steps. */
int at_remove_tree(int dir, const char *name);

#endif
