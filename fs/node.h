/*
 * node.h - what the kernel knows of: one node for each inode, its names, its life.
 *
 * A node is found by (device, inode) of the backing file, so that a file with several names is one
 * node; a name is found in its directory (folder.h).  Names in cur and new are messages, each with a
 * node of its own, also when they are names of one file: a write then says which of them it means,
 * and the store gives that one a file of its own.  Such nodes are called siblings here.  No descriptor
 * is held for a node, except that of a file whose last name went while the kernel knew it.  Paths are
 * made on demand from the names.
 *
 * Life: `nlookup` counts what the kernel holds (LOOKUP, CREATE, READDIRPLUS …; FORGET takes it back),
 * `refs` what we hold (a child's name, a queued invalidation, an alias, a file being written).  A
 * node with neither is freed, with its names.
 *
 * A mail that the kernel knows costs 48 bytes here and about 6 for being found by its inode.  What only few
 * files have is kept apart (struct more).
 *
 * Everything here is called with the table lock held (fs/fs.h) and makes no system call, except where
 * it says otherwise.
 */
#ifndef MB_FS_NODE_H
#define MB_FS_NODE_H

#include "backends/base/at.h"
#include "backends/store/store.h"
#include "fs/pool.h"
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct folder;
struct node;
struct writing;

/* Where a name is: number of the directory's node, place in its folder. */
struct name_place {
	uint32_t dir, at;
};

/* One name of a node; good until names change. */
struct name {
	struct node *dir;
	const char *text;
};

/* What directories and few files have.  Stays until the node goes. */
struct more {
	struct writing *writing;  /* message whose content is being changed; stripe lock */
	struct name_place *names; /* owned: all names but the newest, newest first */
	uint32_t n_names;
	int kept_fd;	  /* of a file without names, else -1 */
	bool was_message; /* … whose bytes are in deleted/ */
};

/* What only directories have. */
struct dir {
	struct more more;
	enum node_kind kind;
	unsigned kind_age;	    /* kind is good while this equals mailfs.kind_age */
	atomic_uint fd_age;	    /* its descriptor is good while this does: fs_stat_in() */
	bool changed;		    /* a visible change since the times were last shown */
	bool in_log;		    /* names that may not be durable yet are all in the log */
	int64_t mtime_ns, ctime_ns; /* as last shown: never given smaller ones */
	struct folder *folder;	    /* listing and names, or NULL: neither; owned */
	bool loading;		    /* a thread is reading the backing directory */
	bool inval_queued;	    /* an invalidation of this directory waits already */
	unsigned streams;	    /* open directory streams */
	int64_t used_ns;	    /* when the last one was closed */
};

struct node {
	uint64_t ino;	  /* of the backing file */
	uint64_t ordinal; /* of a published message, 0 otherwise */
	union {
		struct dir *dir;   /* of a directory: always there; owned */
		struct more *more; /* of anything: NULL for most; owned */
	};
	uint32_t hash_next; /* in the bucket of (dev, ino), or of those that are gone */
	uint32_t nlookup;   /* UINT32_MAX: not counted any more, the node stays */
	uint32_t refs;
	struct name_place name; /* the newest; dir 0: none */
	uint8_t type;		/* S_IFMT bits >> 12 */
	uint8_t dev;		/* see node_dev() */
	bool hashed;		/* can be found by (dev, ino) */
	bool token;		/* the hidden name of a change to come */
};

#define NODE_GONE_BUCKETS 256
#define NODE_DEVS 255

struct node_table {
	struct pool *pool;
	uint32_t *by_key; /* numbers of nodes */
	size_t n_keys, key_mask;
	size_t n_names;
	uint32_t gone[NODE_GONE_BUCKETS]; /* not found by inode any more, but not forgotten */
	uint64_t devs[NODE_DEVS];
	unsigned n_devs;
	struct node *root;
	void (*on_free)(struct node *n, void *arg); /* before a node goes: close, drop */
	void *arg;
};

void node_table_init(struct node_table *t, const struct stat *root,
		     void (*on_free)(struct node *n, void *arg), void *arg);
/* Frees every node whatever counts it has. */
void node_table_release(struct node_table *t);

/* ---- a node; without the lock ---- */

static inline bool node_is_dir(const struct node *n)
{
	return n->type == S_IFDIR >> 12;
}
static inline mode_t node_type(const struct node *n)
{
	return (mode_t)n->type << 12;
}
static inline struct more *node_has_more(const struct node *n)
{
	return __atomic_load_n(&n->more, __ATOMIC_ACQUIRE);
}
static inline int node_kept_fd(const struct node *n)
{
	const struct more *m = node_has_more(n);

	return m ? m->kept_fd : -1;
}
static inline struct writing *node_writing(const struct node *n)
{
	const struct more *m = node_has_more(n);

	return m ? m->writing : NULL;
}
static inline bool node_has_name(const struct node *n)
{
	return n->name.dir != 0;
}
uint64_t node_dev(const struct node *n);
/* Is this the stat of the node's file? */
bool node_is(const struct node *n, const struct stat *st);

/* ---- nodes ---- */

struct node *node_find(struct node_table *t, uint64_t dev, uint64_t ino); /* or NULL */
struct node *node_next_sibling(const struct node *n); /* after node_find(); or NULL */
/* A node for this file: the one that is there, or a new one without names and counts. */
struct node *node_get(struct node_table *t, const struct stat *st);
/* Another inode is behind the node from now on.  false when another node for that one exists. */
bool node_rekey(struct node_table *t, struct node *n, const struct stat *st);
struct more *node_more(struct node *n);	      /* made when it is not there */
struct folder *node_folder(struct node *dir); /* made when it is not there */

/* The kernel gets n once more.  true when it did not have it. */
bool node_look(struct node *n);
void node_forget(struct node_table *t, struct node *n, uint64_t nlookup);
void node_ref(struct node *n);
void node_unref(struct node_table *t, struct node *n);

/* ---- names ---- */

struct node *node_at(const struct node *dir, const char *name); /* or NULL */
/* The name must be no other node's.  Nothing happens when it is n's already. */
void node_add_name(struct node_table *t, struct node *n, struct node *dir, const char *name);
/* Takes the name away from the node that it leads to, if any.  A node that has no other is no longer
 * found by its inode.  The node is freed when nothing holds it. */
void node_drop_name(struct node_table *t, struct node *dir, const char *name);
/* folder_rename() in dir's listing: the node of `from` goes along, that of `to` loses the name.  Without
 * one of `from`, that of `to` stays. */
bool node_rename_listed(struct node_table *t, struct node *dir, const char *from, const char *to);

/*
 * What a stat of dir/name says: makes the table agree, and gives the node.  Another node under
 * that name loses it; other names of the node go when the file cannot have them (one link only, or a
 * directory).  A node with the name of another message is left to that one.
 */
struct node *node_bind(struct node_table *t, struct node *dir, const char *name,
		       const struct stat *st);

/* The i-th name, the newest first.  false: there are not so many. */
bool node_name(const struct node *n, unsigned i, struct name *ret);
/* The name in a mailbox's cur or new (directories' kinds as last looked up).  false: it has none. */
bool node_message_name(const struct node *n, struct name *ret);
unsigned node_n_message_names(const struct node *n);
unsigned node_n_names(const struct node *n);
unsigned node_n_links(struct node_table *t, const struct node *n); /* those of siblings too */

/* Path of dir/name, or of dir itself (name NULL); "" for the root.  0, -ENAMETOOLONG, or -ENOENT
 * when a directory on the way has no name any more. */
int node_path(const struct node *dir, const char *name, char out[AT_PATH_MAX]);
/* Path of a node by one of its names, preferring one in a mailbox's cur or new. */
int node_any_path(const struct node *n, char out[AT_PATH_MAX]);
/* The node at this path if the kernel knows every part of it, else NULL. */
struct node *node_walk(struct node_table *t, const char *path, size_t len);

#endif
