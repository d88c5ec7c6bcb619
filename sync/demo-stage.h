/*
 * demo-stage.h - what the demo plays on: a temporary folder, two stores, the processes.
 *
 *   DIR/A   a store, mounted on DIR/mail (or watched: then A/mail itself is what programs see)
 *   DIR/B   a second replica, a plain store that nobody has open but the reconciler
 *
 * The reconciler is a child of its own, so that both sides can be apart for a while.  All of it goes
 * when the stage is torn down: after success, failure and Ctrl-C.
 */
#ifndef MB_SYNC_DEMO_STAGE_H
#define MB_SYNC_DEMO_STAGE_H

#include "sync/child.h"
#include <stdbool.h>
#include <stdint.h>

struct stage {
	char *self;	    /* owned: mailbraid */
	char *dir, *a, *b;  /* owned */
	char *a_mail;	    /* owned: the backing tree of A */
	char *b_mail;	    /* owned */
	char *view;	    /* owned: where programs see A */
	char *destination;  /* owned: "store:DIR/B" */
	bool mounted;	    /* else the plain directory is watched */
	struct child serve; /* mailbraid mount, or watch */
	struct child reconcile;
	bool reconciling;
};

/* Blocks nothing, sets a flag on SIGINT, SIGTERM, SIGHUP. */
void stage_catch_signals(void);
bool stage_interrupted(void);

int stage_make(struct stage *s);
/* Shows A at `view`: mounted, or with `plain` watched.  Exit code of what failed, 0 when it answers;
 * 69: no FUSE here. */
int stage_show(struct stage *s, bool plain);
int stage_connect(struct stage *s);	/* starts the reconciler */
void stage_disconnect(struct stage *s); /* and ends it */
/* Ends the processes; removes the folder unless `keep`. */
void stage_strike(struct stage *s, bool keep);

/* Runs mailbraid with these arguments to its end: its exit code.  Talk is shown only if it fails. */
int stage_run(const struct stage *s, const char *const *arguments);

/* Sleeps; false when interrupted. */
bool stage_nap(int64_t ms);

#endif
