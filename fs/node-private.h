/*
 * node-private.h - what node.c and node-name.c share.  The table lock is held.
 */
#ifndef MB_FS_NODE_PRIVATE_H
#define MB_FS_NODE_PRIVATE_H

#include "fs/node.h"

/* The node with this number in the table of `any`; NULL for 0. */
struct node *node_by_id(const struct node *any, uint32_t id);
struct node *node_new(struct node_table *t, const struct stat *st);
/* Not found by its inode any more; kept in sight until it is forgotten. */
void node_hide(struct node_table *t, struct node *n);
/* Found by it again, unless another node is. */
void node_unhide(struct node_table *t, struct node *n);
/* Takes the newest name away; gives its directory, whose reference the caller now holds.  NULL: none. */
struct node *node_name_out(struct node_table *t, struct node *n);

#endif
