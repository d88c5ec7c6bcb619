/*
 * ahead.h - reads ahead along a listing.
 *
 * A program that opens the messages of a folder one after the other waits for the disk each time: the kernel
 * reads ahead within a file, and the files are small.  Who reads them in the order of the listing
 * wants the next ones as well: a thread asks the system for up to AHEAD_WINDOW of them, so that the disk
 * has many requests at once.  It begins when messages in a row were not in memory, and ends when the
 * next ones are, or when another order is read.
 */
#ifndef MB_FS_AHEAD_H
#define MB_FS_AHEAD_H

#include "fs/fs.h"

#define AHEAD_WINDOW 32
/* A read that is asked not to wait says that it would have to, or the disk was so quick that it did not:
 * then it took longer than from memory. */
#define AHEAD_SLOW_NS 20000

int ahead_start(struct mailfs *fs);
void ahead_stop(struct mailfs *fs);
/* The beginning of message n was read; `missed`: it was not in memory.  Takes table_lock, if there is
 * anything to do. */
void ahead_read(struct mailfs *fs, struct node *n, bool missed);

#endif
