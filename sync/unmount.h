/*
 * unmount.h - ending mounts, by argv: umount2() as root, else fusermount3.
 */
#ifndef MB_SYNC_UNMOUNT_H
#define MB_SYNC_UNMOUNT_H

#include <stdbool.h>

/* Unmounts `dir`.  `lazy`: detaches it from the tree even while it is in use.  0 or -errno: -EBUSY in
 * use, -EINVAL not a mount point. */
int unmount(const char *dir, bool lazy);

/* Store directory of the mailbraid mount at `dir` (absolute), from the kernel's table of mounts: its
 * source.  Owned; NULL when there is none.  *ret_ours: some mount of ours is there. */
char *mounted_store(const char *dir, bool *ret_ours);

/* Detaches a mount whose daemon is gone ("Transport endpoint is not connected").  1: there was one. */
int unmount_stale(const char *dir);

/* Runs a program to its end; its exit code, or -errno.  Its stderr goes to /dev/null with `quiet`. */
int run_program(const char *const argv[], bool quiet);

#endif
