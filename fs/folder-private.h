/*
 * folder-private.h - what folder.c and folder-attr.c share.
 */
#ifndef MB_FS_FOLDER_PRIVATE_H
#define MB_FS_FOLDER_PRIVATE_H

#include "fs/folder.h"

#define FOLDER_OWNERS 16

/* Mails of one folder have few kinds of these: an entry has the place in a table, plus 1. */
struct owner {
	mode_t mode;
	uid_t uid;
	gid_t gid;
};

struct folder {
	struct folder_entry *entries;
	uint32_t n, cap, holes, n_listed;
	char *text;
	uint32_t text_len, text_cap, text_unused;
	uint32_t *buckets; /* place + 1, 0 = none */
	uint32_t mask;
	folder_moved *moved;
	void *arg;
	uint64_t next_cookie;
	uint64_t attr_age;
	dev_t dev;
	struct owner owners[FOLDER_OWNERS];
	uint8_t n_owners;
	bool listed, loading;
	bool has_last; /* LAST was loaded, and is added when all else is */
	uint64_t last_ino;
	char **removed; /* names that went while loading */
	size_t n_removed, removed_cap;
};

/* The entry of a listed name, or NULL. */
struct folder_entry *folder_listed(const struct folder *f, const char *name);
/* What is kept of its stat goes. */
void folder_forget_attr(struct folder *f, struct folder_entry *e);

#endif
