/*
 * folder.h - the listing of one directory, with a cookie for each name that it keeps for life.
 *
 * Cookies only ever grow: a new name goes to the end, a name that is changed by a rename within the
 * directory keeps its cookie and place.  So a listing that goes on from a cookie shows each file that
 * was there throughout exactly once, under its old or its new name, whatever flags change meanwhile.
 *
 * The directory cur/ is listed last, behind new/: removing it deletes a mailbox, which is refused while
 * there is mail in new/, and programs that remove a tree do so in the order of the listing.  So it gets
 * another cookie when new/ comes after it.
 *
 * A folder is filled while other threads change it: between folder_begin_load() and
 * folder_end_load() a name that was removed or renamed away is not added by folder_load().
 *
 * An entry may also keep what stat said of its file, so that a listing need not ask the disk again when
 * the kernel has dropped what it knew.  Whoever changes a file, or learns that it was changed, takes
 * that away (folder_attr_drop(), and every function below that changes the entry); what was looked
 * up before that moment is not taken in any more (folder_attr_age()).
 *
 * Pure data; the caller's lock (the table lock).
 */
#ifndef MB_FS_FOLDER_H
#define MB_FS_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct folder;

/* What is kept of a stat: a regular file with one link, below 4 GiB.  owner: see folder.c; 0: nothing. */
struct folder_attr {
	int64_t mtime_ns, ctime_ns, atime_ns;
	uint64_t ordinal;
	uint32_t size, blocks;
	uint8_t owner;
};

struct folder_entry {
	uint64_t cookie;
	uint64_t ino; /* of the backing file, as listed: for d_ino when nothing better is known */
	char *name;   /* owned by the folder */
	uint32_t hash_next; /* index + 1 of the next entry of the bucket */
	unsigned char type; /* DT_* */
	struct folder_attr attr;
};

struct folder *folder_new(uint64_t first_cookie);
void folder_free(struct folder *f); /* NULL is fine */

void folder_begin_load(struct folder *f);
void folder_load(struct folder *f, const char *name, unsigned char type, uint64_t ino);
void folder_end_load(struct folder *f);

/* true when the name is new; false: it was there, type and inode are those given now. */
bool folder_add(struct folder *f, const char *name, unsigned char type, uint64_t ino);
bool folder_remove(struct folder *f, const char *name); /* true when it was there */
/* `to` takes the place and cookie of `from`; a `to` that was there is gone.  false: no `from`. */
bool folder_rename(struct folder *f, const char *from, const char *to);

/* Grows whenever an attribute was dropped: read it before the stat, and give it with the result. */
uint64_t folder_attr_age(const struct folder *f);
/* Keeps `st` and the message's ordinal for this name, unless something was dropped since `age`, or
 * it is no file of the kind above. */
void folder_attr_put(struct folder *f, const char *name, const struct stat *st, uint64_t ordinal,
		     uint64_t age);
/* Fills *ret from the entry (device: the folder's, that of the last put); false when nothing is kept. */
bool folder_attr_get(const struct folder *f, const struct folder_entry *e, struct stat *ret);
void folder_attr_drop(struct folder *f, const char *name);

/* The entry with the smallest cookie above this one, or NULL.  Valid until the next change. */
const struct folder_entry *folder_after(const struct folder *f, uint64_t cookie);
const struct folder_entry *folder_find(const struct folder *f, const char *name);
uint64_t folder_next_cookie(const struct folder *f);
size_t folder_count(const struct folder *f);

#endif
