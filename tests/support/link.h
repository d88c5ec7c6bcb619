/*
 * link.h - a sync in one page: two backends, merge(), both plans put.
 *
 * For tests of the merge alone: no retries, no sync state on the backends.  Each sync also merges
 * with the sides exchanged, which must give the same plans, and merges again after both plans are
 * put, which must give empty ones.
 */
#ifndef MB_TESTS_LINK_H
#define MB_TESTS_LINK_H

#include "backends/backend.h"
#include "sync/merge.h"

struct link {
	struct backend *b[2]; /* borrowed */
	bool full;	      /* compare everything each time */
	bool keep_twins;
	bool alike;    /* messages are paired by their likeness, too */
	bool folds[2]; /* the file system of that side folds case and normalises */
	size_t cut;    /* the sync ends after so many items; 0 = it does not */
	bool aloud;    /* prints each item before it is put */
	/* kept by link_sync() */
	bool known;
	struct position since[2];
	uint64_t agreed;
	/* about the last sync */
	int failed;  /* the first error of a read */
	size_t done; /* items that were put */
	bool stale;  /* an item waits for the other side's plan */
	size_t n_items[2];
	size_t n_shown[2]; /* of these: what people see something of */
	unsigned notices;  /* 1 << enum notice_kind */
	/* since the start */
	size_t bodies; /* that travelled */
};

/* NULL, or what is wrong: a static sentence. */
const char *link_sync(struct link *l);

/* Everybody with everybody, the last time in full, until nobody has anything to put; check (which may look
 * at link i) after each sync.  NULL, or what is wrong. */
const char *link_sync_all(struct link *links, size_t n, const char *(*check)(void *arg, size_t i),
			  void *arg);

/* The last sync ended before its plans did. */
bool link_is_cut(const struct link *l);

/* Both sides are the same: trees and the states of every message.  NULL, or what differs. */
const char *link_compare(struct backend *a, struct backend *b);

#endif
