/*
 * sync-report.h - what sync and backup tell people, and programs.
 */
#ifndef MB_SYNC_REPORT_H
#define MB_SYNC_REPORT_H

#include "sync/sync-diff.h"
#include "sync/sync-options.h"

/* Of one peer. */
struct sync_report {
	const struct sync_options *o; /* borrowed */
	struct sync_diff diff;	      /* owned: filled by a dry run */
	struct progress progress;     /* opened by sync_report_open() */
};
/* `rep` becomes what shows one run: fills the callbacks of `opt` but for `decided`. Release it. */
void sync_report_open(struct sync_report *rep, const struct sync_options *o,
		      struct session_options *opt);
void sync_report_release(struct sync_report *rep);
/* The notices as messages; those of messages that were on both sides come as their number, and not at
 * all when the summary tells it (session_result.matched). */
void sync_report_notices(const struct session_result *r);

/* For session_options.show, arg: sync_report.  A line on stderr for an item, with -v, of a dry run with
 * -D; a dry run's diff. */
void sync_report_item(int side, enum record_type what, const struct tree *names,
		      const struct record *item, void *arg);
/* Notices, then the line (of a dry run: one for each direction; or JSON object) of one peer, then the state if it was asked for.  `missing`:
 * messages here whose body is lost. */
void sync_report(struct sync_report *rep, const char *name, int code, uint64_t missing,
		 const struct session_result *r);

#endif
