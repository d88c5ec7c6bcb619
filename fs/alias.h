/*
 * alias.h - names that a peer's flag change retired, which keep working for a while.
 *
 * A program that listed a folder before the change still opens, renames and unlinks the mail by the
 * name it knows.  An alias leads from that name to the present one and follows later renames; it is
 * never listed, has no entry timeout, and ends with the mail, with a real file of its name, or after
 * ALIAS_LIFE_NS.  Local renames make none: they are strictly POSIX.  It ends also when the mail leaves
 * the mailbox: neomutt unlinks the old names of all that has gone from the folder that it shows, which
 * must not expunge what the peer has moved.
 *
 * The caller's lock (the table lock).  An alias holds a reference on both directories.
 */
#ifndef MB_FS_ALIAS_H
#define MB_FS_ALIAS_H

#include "backends/mail/fname.h"
#include "fs/node.h"

#define ALIAS_LIFE_NS 600000000000ll
#define ALIAS_BUCKETS 512

struct alias {
	struct alias *next;
	struct node *dir, *to_dir;
	char *name, *to_name; /* owned */
	int64_t expires_ns;   /* clock_mono_ns() */
};

struct alias_table {
	struct node_table *nodes;
	struct alias *by_name[ALIAS_BUCKETS];
	size_t n;
};

void alias_table_init(struct alias_table *t, struct node_table *nodes);
void alias_table_release(struct alias_table *t);

/* What was dir/name is to_dir/to_name; in another mailbox: nothing leads there. */
void alias_add(struct alias_table *t, struct node *dir, const char *name, struct node *to_dir,
	       const char *to_name, int64_t now_ns);
const struct alias *alias_find(const struct alias_table *t, const struct node *dir,
			       const char *name, int64_t now_ns);
/* The name dir/name is a real file's now. */
void alias_shadowed(struct alias_table *t, const struct node *dir, const char *name);
/* What is called dir/name is to_dir/to_name now, or gone (to_dir NULL). */
void alias_follow(struct alias_table *t, const struct node *dir, const char *name,
		  struct node *to_dir, const char *to_name);
void alias_expire(struct alias_table *t, int64_t now_ns);

/*
 * A program renames the mail that it knows as `old` to `wanted`; its name really is `real`.  Gives
 * the name to rename it to: flags and keywords of `real` with the difference of the other two.
 * Returns false when that name would be too long.
 */
bool alias_merge_name(const char *old, const char *wanted, const char *real,
		      char out[FNAME_MAX + 1]);

#endif
