/*
 * posix-private.h - shared by the files of the POSIX verbs: posix.c (link, unlink),
 * posix-rename.c and posix-entry.c.  The store's lock is held and p->tx is open in all of them.
 */
#ifndef MB_STORE_POSIX_PRIVATE_H
#define MB_STORE_POSIX_PRIVATE_H

#include "backends/store/store-private.h"

void posix_links_expire(struct store *s); /* those too old, or too many, go */
/* The link of a message that a program made at this path outside cur and new, when the file there
 * still is that one; the store's. */
struct recent_link *posix_link_by_path(struct store *s, const char *path, uint64_t ino);
void posix_link_made(struct posix_call *p, struct recent_link *l, uint64_t id); /* the copy `id` */
/* A local change may need no transaction at all: then none is begun. */
bool posix_is_plain(struct store *s, const char *path);
int posix_entry_at(struct index_txn *tx, const struct node_info *n, const char *name,
		   struct entry *ret);
int posix_put_stat(struct index_txn *tx, const struct guid *guid, uint64_t id,
		   const struct stat *st);
/* The record of a change of one message, and what stat says of its file afterwards; NULL: none. */
int posix_record(struct posix_call *p, struct record *r, const struct stat *st);
/* Message e got another name: other letters, another base, or another mailbox. */
int posix_log_rename(struct posix_call *p, struct entry *e, const struct node_info *to,
		     const char *name, const struct stat *st);
uint32_t posix_next_uid(struct index_txn *tx, const struct guid *mailbox);
char *posix_sub_name(bool in_new, const char *name);
int posix_log_expunge(struct posix_call *p, struct entry *e, const struct guid *via,
		      struct stamp via_seen);
/* The expunge of e is logged: its body in deleted/ shares no inode with a file that a program may write. */
void posix_part(struct posix_call *p, const struct entry *e, const char *kept);
void posix_undelete(struct posix_call *p, uint64_t appended, char *kept, const char *path);

#endif
