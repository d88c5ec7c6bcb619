/*
 * sync-report.h - what sync and backup tell people, and programs.
 */
#ifndef MB_SYNC_REPORT_H
#define MB_SYNC_REPORT_H

#include "sync/sync-options.h"

/* A line on stderr for an item, with -v or --dry-run; for session_options.show.  arg: sync_options. */
void sync_report_item(int side, enum record_type what, const struct tree *names,
		      const struct record *item, void *arg);
/* Notices, then the line (or JSON object) of one peer, then the state if it was asked for.  `missing`:
 * messages here whose body is lost. */
void sync_report(const struct sync_options *o, const char *name, int code, uint64_t missing,
		 const struct session_result *r);

#endif
