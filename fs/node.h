/*
 * node.h - what the kernel knows of: one node for each inode, its names, its life.
 *
 * A node is found by (device, inode) of the backing file, so that a file with several names is one
 * node; a name is found by (directory node, name).  Names in cur and new are messages, each with a
 * node of its own, also when they are names of one file: a write then says which of them it means,
 * and the store gives that one a file of its own.  Such nodes are called siblings here.  No descriptor is held for a node, except that
 * of a file whose last name went while the kernel knew it.  Paths are made on demand from the names.
 *
 * Life: `nlookup` counts what the kernel holds (LOOKUP, CREATE, READDIRPLUS …; FORGET takes it back),
 * `refs` what we hold (a child's name, a queued invalidation, an alias, a file being written).  A
 * node with neither is freed, with its names.
 *
 * Everything here is called with the table lock held (fs/fs.h) and makes no system call.
 */
#ifndef MB_FS_NODE_H
#define MB_FS_NODE_H

#include "backends/store/store.h"
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct fdcache_slot;
struct folder;
struct node;
struct writing;

/* One name of a node. */
struct link {
	struct link *hash_next; /* in the bucket of (parent, name) */
	struct link *next;	/* next name of the same node */
	struct node *parent;	/* holds a reference */
	struct node *node;
	char name[];
};

/* What only directories have. */
struct dir {
	enum node_kind kind;
	unsigned kind_age;	    /* kind is good while this equals mailfs.kind_age */
	bool changed;		    /* a visible change since the times were last shown */
	int64_t mtime_ns, ctime_ns; /* as last shown: never given smaller ones */
	struct folder *folder;	    /* listing, or NULL: not loaded; owned */
	bool loading;		    /* a thread is reading the backing directory */
	bool inval_queued;	    /* an invalidation of this directory waits already */
	unsigned streams;	    /* open directory streams */
	int64_t used_ns;	    /* when the last one was closed */
	uint64_t next_cookie;	    /* for the next load: cookies are never used twice */
};

struct node {
	struct node *hash_next; /* in the bucket of (dev, ino), or of those that are gone */
	uint64_t dev, ino;	/* of the backing file */
	uint64_t nlookup;
	uint64_t ordinal; /* of a published message, 0 otherwise */
	struct link *links;
	struct dir *dir;	   /* NULL for files; owned */
	struct fdcache_slot *slot; /* fd cache's; its own lock */
	struct writing *writing;   /* message whose content is being changed; stripe lock */
	uint32_t refs;
	mode_t type;	  /* S_IFMT bits */
	int kept_fd;	  /* of a file without names, else -1 */
	bool was_message; /* … whose bytes are in deleted/ */
	bool hashed;	  /* can be found by (dev, ino) */
	bool token;	  /* the hidden name of a change to come */
};

#define NODE_GONE_BUCKETS 256

struct node_table {
	struct node **by_key;
	struct link **by_name;
	size_t n_keys, key_mask;
	size_t n_names, name_mask;
	struct node *gone[NODE_GONE_BUCKETS]; /* not found by inode any more, but not forgotten */
	struct node *root;
	void (*on_free)(struct node *n, void *arg); /* before a node goes: close, drop */
	void *arg;
};

void node_table_init(struct node_table *t, const struct stat *root,
		     void (*on_free)(struct node *n, void *arg), void *arg);
/* Frees every node whatever counts it has. */
void node_table_release(struct node_table *t);

struct node *node_find(struct node_table *t, uint64_t dev, uint64_t ino); /* or NULL */
struct node *node_next_sibling(const struct node *n); /* after node_find(); or NULL */
/* A node for this file: the one that is there, or a new one without names and counts. */
struct node *node_get(struct node_table *t, const struct stat *st);
/* Another inode is behind the node from now on.  false when another node for that one exists. */
bool node_rekey(struct node_table *t, struct node *n, const struct stat *st);

struct link *node_find_name(struct node_table *t, const struct node *dir, const char *name);
struct link *node_add_name(struct node_table *t, struct node *n, struct node *dir,
			   const char *name);
/* Takes a name away.  A node that has no other is no longer found by its inode.  The node is freed
 * when nothing holds it. */
void node_drop_name(struct node_table *t, struct link *l);

/*
 * What a stat of dir/name says: makes the table agree, and gives the node.  Another node under
 * that name loses it; other names of the node go when the file cannot have them (one link only, or a
 * directory).  A node with the name of another message is left to that one.
 */
struct node *node_bind(struct node_table *t, struct node *dir, const char *name,
		       const struct stat *st);

void node_ref(struct node *n);
void node_unref(struct node_table *t, struct node *n);
void node_forget(struct node_table *t, struct node *n, uint64_t nlookup);

/* Path of dir/name, or of dir itself (name NULL); "" for the root.  0, -ENAMETOOLONG, or -ENOENT
 * when a directory on the way has no name any more. */
int node_path(const struct node *dir, const char *name, char out[PATH_MAX]);
/* Path of a node by one of its names, preferring one in a mailbox's cur or new. */
int node_any_path(const struct node *n, char out[PATH_MAX]);
/* The node at this path if the kernel knows every part of it, else NULL. */
struct node *node_walk(struct node_table *t, const char *path, size_t len);

/* The name in a mailbox's cur or new, or NULL (directories' kinds as last looked up). */
const struct link *node_message_name(const struct node *n);
unsigned node_n_message_names(const struct node *n);
unsigned node_n_names(const struct node *n);
unsigned node_n_links(struct node_table *t, const struct node *n); /* those of siblings too */

#endif
