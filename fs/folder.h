/*
 * folder.h - the names in one directory: those that are listed, with a cookie for life, and those that
 * have a node.  One record for each, whether it is the one, the other, or both.
 *
 * LISTED.  Cookies only ever grow: a new name goes to the end, a name that is changed by a rename within
 * the directory keeps its cookie and place.  So a listing that goes on from a cookie shows each file
 * that was there throughout exactly once, under its old or its new name, whatever flags change meanwhile.
 *
 * The directory cur/ is listed last, behind new/: removing it deletes a mailbox, which is refused while
 * there is mail in new/, and programs that remove a tree do so in the order of the listing.  So it gets
 * another cookie when new/ comes after it.
 *
 * A listing is filled while other threads change it: between folder_begin_load() and
 * folder_end_load() a name that was removed or renamed away is not added by folder_load().  Before the
 * first, and after folder_unload(), nothing is listed, and the functions for it do nothing.
 *
 * An entry may also keep what stat said of its file, so that a listing need not ask the disk again when
 * the kernel has dropped what it knew.  Whoever changes a file, or learns that it was changed, takes
 * that away (folder_attr_drop(), and every function below that changes the entry); what was looked
 * up before that moment is not taken in any more (folder_attr_age()).
 *
 * WITH A NODE.  The number of the node that the kernel knows by this name (node.h, which is the only caller
 * of those functions).  The node remembers the entry's place; when places change the folder says so.
 *
 * A mail costs 64 bytes, its name, and about 6 for being found by it.  The memory of names that went
 * is used again, or given back when half of it is.
 *
 * Pure data; the caller's lock (the table lock).  Every function takes NULL for a folder without names.
 */
#ifndef MB_FS_FOLDER_H
#define MB_FS_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct folder;

/* To be read only.  What is kept of a stat is that of a regular file with one link, below 4 GiB. */
struct folder_entry {
	uint64_t cookie : 48;
	uint64_t type : 4;  /* DT_*; of those that are listed */
	uint64_t owner : 5; /* see folder-attr.c; 0: nothing is kept of its stat */
	uint64_t listed : 1;
	uint64_t ino; /* of the backing file, as listed: for d_ino when nothing better is known */
	int64_t mtime_ns, ctime_ns, atime_ns;
	uint64_t ordinal : 48;
	uint64_t blocks : 16;
	uint32_t size;
	uint32_t text;	    /* see folder_text() */
	uint32_t hash_next; /* place + 1 of the next entry of the bucket */
	uint32_t node;	    /* 0: none */
};

/* `node` has its name at place `to` now. */
typedef void folder_moved(void *arg, uint32_t node, uint32_t from, uint32_t to);

struct folder *folder_new(uint64_t first_cookie, folder_moved *moved, void *arg);
void folder_free(struct folder *f);

/* ---- listing ---- */

void folder_begin_load(struct folder *f);
void folder_load(struct folder *f, const char *name, unsigned char type, uint64_t ino);
void folder_end_load(struct folder *f);
void folder_unload(struct folder *f);
bool folder_is_listed(const struct folder *f); /* since folder_begin_load() */

/* true when the name is new; false: it was there, type and inode are those given now. */
bool folder_add(struct folder *f, const char *name, unsigned char type, uint64_t ino);
bool folder_remove(struct folder *f, const char *name); /* true when it was there */
/* `to` takes the place and cookie of `from`; a `to` that was there is gone.  false: no `from`.  At most
 * one of the two has a node, which goes on as `to`. */
bool folder_rename(struct folder *f, const char *from, const char *to);

/* The entry with the smallest cookie above this one, or NULL.  Valid until the next change. */
const struct folder_entry *folder_after(const struct folder *f, uint64_t cookie);
const struct folder_entry *folder_find(const struct folder *f, const char *name);
const char *folder_text(const struct folder *f, const struct folder_entry *e);
size_t folder_count(const struct folder *f);

/* Grows whenever an attribute was dropped: read it before the stat, and give it with the result. */
uint64_t folder_attr_age(const struct folder *f);
/* Keeps `st` and the message's ordinal for this name, unless something was dropped since `age`, or
 * it is no file of the kind above. */
void folder_attr_put(struct folder *f, const char *name, const struct stat *st, uint64_t ordinal,
		     uint64_t age);
/* Fills *ret from the entry (device: the folder's, that of the last put); false when nothing is kept. */
bool folder_attr_get(const struct folder *f, const struct folder_entry *e, struct stat *ret);
void folder_attr_drop(struct folder *f, const char *name);

/* ---- nodes ---- */

/* The node of this name, or 0. */
uint32_t folder_node(const struct folder *f, const char *name);
/* The name, which had none, has this node.  Gives its place. */
uint32_t folder_bind(struct folder *f, const char *name, uint32_t node);
/* The name at this place has no node any more.  Places of others may change. */
void folder_unbind(struct folder *f, uint32_t place);
const char *folder_text_at(const struct folder *f, uint32_t place);

#endif
