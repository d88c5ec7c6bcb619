/*
 * unmount.c - see unmount.h.
 */
#include "sync/unmount.h"

#include "backends/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

int run_program(const char *const argv[], bool quiet)
{
	posix_spawn_file_actions_t files;
	pid_t pid;
	int status;

	posix_spawn_file_actions_init(&files);
	if (quiet)
		posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
	int err =
		posix_spawnp(&pid, argv[0], &files, NULL, (char *const *)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&files);
	if (err)
		return -err;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR;
}

static int by_fusermount(const char *dir, bool lazy)
{
	const char *const argv[] = {"fusermount3", lazy ? "-uz" : "-u", "--", dir, NULL};
	int code = run_program(argv, true);

	if (code < 0)
		return code;
	return code ? -EBUSY : 0;
}

int unmount(const char *dir, bool lazy)
{
	if (umount2(dir, lazy ? MNT_DETACH : 0) == 0)
		return 0;
	if (errno != EPERM)
		return -errno;
	return by_fusermount(dir, lazy);
}

char *mounted_store(const char *dir, bool *ret_ours)
{
	FILE *f = setmntent("/proc/self/mounts", "r");
	struct mntent *m;
	char *source = NULL;
	bool ours = false;

	while (f && (m = getmntent(f))) {
		if (strcmp(m->mnt_dir, dir) != 0)
			continue;
		free(source); /* the last one lies on top */
		ours = strcmp(m->mnt_type, "fuse.mailbraid") == 0;
		source = ours && m->mnt_fsname[0] == '/' ? mb_xstrdup(m->mnt_fsname) : NULL;
	}
	if (f)
		endmntent(f);
	*ret_ours = ours;
	return source;
}

int unmount_stale(const char *dir)
{
	struct statfs st;

	/* stat() is answered from the kernel's cache, also when nobody is there any more. */
	if (statfs(dir, &st) == 0 || errno != ENOTCONN)
		return 0;
	int err = unmount(dir, true);
	return err < 0 ? err : 1;
}
