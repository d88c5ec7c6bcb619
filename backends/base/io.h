/*
 * io.h - every durable step.
 *
 * Each call that changes what is on disk (write, rename, link, unlink, mkdir, rmdir, fsync, …) in
 * store, log, merge, apply and recovery goes through here.  Steps are counted; a test makes the
 * n-th step the last one (the process is killed before or after it) or makes it fail.
 *
 *   MAILBRAID_STOP_AT=N        SIGKILL ourselves just before step N is done (N from 1)
 *   MAILBRAID_FAIL_AT=N:ERRNO  step N fails with that errno number, once ("N+:ERRNO": from N on)
 *   MAILBRAID_COUNT_TO=PATH    at exit, append "steps=N" to PATH
 *
 * The variables are read by io_init(), which main() calls first, and are honoured in every build;
 * they are ignored when the process runs set-uid (secure_getenv).
 *
 * Return values: 0 or a count, else -errno.  EINTR is retried inside, never given out.
 */
#ifndef MB_BASE_IO_H
#define MB_BASE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

void io_init(void);
uint64_t io_steps(void); /* durable steps done by this process so far */

/* In-process control for unit tests: before step n, call hook(arg); a non-zero result is given
 * back as the step's error instead of doing it.  NULL removes the hook. */
void io_set_hook(int (*hook)(uint64_t step, const char *what, void *arg), void *arg);

/* Of a process that only tells what it would do: every durable step fails with -EROFS from now on, and
 * none is counted; whoever opens a store does so as STORE_TRIAL (store.h). */
void io_set_read_only(bool on);
bool io_is_read_only(void);

/* All of `len` bytes, or an error (part may have been written then). */
int io_write_all(int fd, const void *data, size_t len);
int io_pwrite_all(int fd, const void *data, size_t len, off_t offset);
/* Reading: no durable step, here so that EINTR and short reads are dealt with once.
 * Returns the number of bytes, which is less than len only at the end of the file. */
ssize_t io_pread_full(int fd, void *dst, size_t len, off_t offset);

int io_fsync(int fd);
int io_fdatasync(int fd);
int io_syncfs(int fd); /* the whole file system that fd is on */
int io_ftruncate(int fd, off_t size);
/* Room on the disk for `len` bytes from `offset` on, behind the end of the file, whose size stays: what is
 * written there does not fail for want of room.  No durable step: nobody can see it.  1 = there is room,
 * 0 = this file system has no such thing, -ENOSPC, -EDQUOT, …; io_ftruncate() and io_unreserve() end it. */
int io_reserve(int fd, off_t offset, off_t len);
void io_unreserve(int fd);
int io_renameat(int olddir, const char *old, int newdir, const char *new);
int io_renameat2(int olddir, const char *old, int newdir, const char *new, unsigned flags);
int io_linkat(int olddir, const char *old, int newdir, const char *new);
int io_unlinkat(int dir, const char *name, int flags);
int io_mkdirat(int dir, const char *name, mode_t mode);
int io_utimens(int fd, const struct timespec times[2]);
/* Creates with O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC|flags.  Returns the fd. */
int io_create_at(int dir, const char *name, int flags, mode_t mode);

/* Copies all bytes of `from` to `to` (copy_file_range where it works, else read and write).
 * One step.  Gives the number of bytes when ret_size is not NULL. */
int io_copy(int from, int to, uint64_t *ret_size);

/* Replaces dir/name by these bytes so that a reader sees the old or the new file, never a mixture:
 * temporary name, write, fsync, rename, fsync of the directory. */
int io_replace_file(int dir, const char *name, const void *data, size_t len, mode_t mode);

/* Reads a whole file of at most `max` bytes into a new buffer with a NUL after it (not counted).
 * -EFBIG when it is larger. */
int io_read_file(int dir, const char *name, size_t max, uint8_t **ret_data, size_t *ret_len);

#endif
