/*
 * demo-tree.h - are two mail trees the same to a reader?  (diff -r that knows Maildir.)
 *
 * Same folders, in each the same messages: unique part of the name, flags, bytes.  A message in new/
 * equals one in cur/ without flags: whether a program has looked is local.  Files that are no messages
 * are local too.
 */
#ifndef MB_SYNC_DEMO_TREE_H
#define MB_SYNC_DEMO_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tree_message {
	char *key;  /* owned: "FOLDER/UNIQUE:FLAGS" */
	char *path; /* owned */
	uint8_t digest[32];
	uint64_t size;
};
struct tree_list {
	struct tree_message *list; /* owned; sorted by key */
	size_t n, cap;
	size_t folders;
};
void tree_list_release(struct tree_list *t);
/* Reads the Maildir++ tree at `path`.  A message that a program renames meanwhile is read again. */
int tree_list_read(const char *path, struct tree_list *ret);

/* Number of differences; the first `tell` of them are printed on stdout, or none with 0. */
size_t tree_list_compare(const struct tree_list *a, const struct tree_list *b, size_t tell);
/* Owned path of the message whose file name starts with `base`, or NULL. */
char *tree_find_message(const char *path, const char *base);

#endif
