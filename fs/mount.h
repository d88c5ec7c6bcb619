/*
 * mount.h - mounting, serving, unmounting, and everything that may keep it from that.
 */
#ifndef MB_FS_MOUNT_H
#define MB_FS_MOUNT_H

#include "fs/fs.h"

/* Reads a -o list ("allow_other,ro,threads=2").  false: *ret_bad is the option that is not known. */
bool mount_parse_options(const char *text, struct fs_options *opt, char **ret_bad);

/* Can this system mount for us at all?  0, or MB_E_NO_FUSE with the reason printed. */
int mount_check(const struct fs_options *opt);
/* Takes a mount away whose daemon died ("Transport endpoint is not connected").  0 also when there
 * was none.  `path` NULL: every such mount of ours that this user may take away. */
int mount_clean_stale(const char *path);
/* Mounts; the error has been printed.  MB_E_NO_FUSE, MB_E_USAGE, -errno. */
int mount_start(struct mailfs *fs);
/* Unmounts from outside this process, at once when nobody uses it, else lazily with its pages
 * written first.  Requests must still be served.  0 or -errno. */
int mount_end(const char *path);

/* Ends the session; unmounts if that has not happened. */
void mount_close(struct mailfs *fs);

/* serve.c: handles requests until the mount goes or a signal comes.  Then everything is settled. */
int serve(struct mailfs *fs, void (*before_unmount)(void *arg), void *arg);

#endif
