/*
 * cli.h - what the verbs share: the table's type, options, messages for people, JSON.
 *
 * Data goes to stdout, talk to stderr.  A verb returns its exit code: 0 in step or done, 2 running
 * again can do the rest, 1 failed or only a person can help, 3 conflicts (asked for), 64 usage, 69 something missing on this
 * system, 75 try later.
 */
#ifndef MB_SYNC_CLI_H
#define MB_SYNC_CLI_H

#include "backends/backend.h"
#include "sync/session.h"
#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	CLI_OK = 0,
	CLI_FAILED = 1,
	CLI_AGAIN = 2,
	CLI_CONFLICT = 3,
	CLI_MOUNT = 32, /* mount(8): the mount failed */
	CLI_USAGE = 64,
	CLI_MISSING = 69,
	CLI_LATER = 75,
};

#define CLI_JSON_VERSION 1 /* "v" in everything that --json prints */

/* What stands before the verb. */
struct cli {
	const char *program; /* argv[0] */
	const char *store;   /* --store or $MAILBRAID_STORE; NULL = none */
};

struct store;

struct verb {
	const char *name;
	const char *args; /* as in the synopsis */
	const char *what; /* half a line */
	const char *help; /* the options, one a line; "" = none */
	bool hidden;	  /* not in the list of verbs */
	/* argv[0] is the verb. */
	int (*run)(const struct cli *cli, const struct verb *v, int argc, char **argv);
};

/* getopt_long() with one message for what it does not know: -1 at the end, '?' after the message. */
int cli_getopt(const struct verb *v, int argc, char **argv, const char *letters,
	       const struct option *names);
/* "mailbraid VERB: TEXT" and where to read on; CLI_USAGE. */
int cli_usage(const struct verb *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The store that --store names (itself, or the Maildir adopted into it).  0 and an owned absolute
 * path, or the exit code after a message. */
int cli_store(const struct cli *cli, const struct verb *v, char **ret_dir);
/* Opens it as the local side of a sync.  0, or the exit code after a message. */
int cli_open_local(const char *dir, struct backend **ret);

/* A checkpoint, by the process that is the writer, if there is one, else as the writer; drops deleted
 * bodies and history older than `keep_ns`. */
int cli_checkpoint(const char *dir, bool full, int64_t keep_ns);
/* Opens it for looking only; a store whose index is missing or damaged is mended first, if nobody
 * else is its writer.  0 or an error, without a message. */
int cli_open_read(const char *dir, struct store **ret);

/* "30d", "12h", "10m", "45s", "0" as nanoseconds. */
bool cli_duration(const char *text, int64_t *ret_ns);
/* "4 s ago", "3 d ago", "never"; owned. */
char *cli_ago(int64_t then_ns, int64_t now_ns);
/* RFC 3339 in UTC with milliseconds; owned. */
char *cli_time(int64_t ns);
/* Same for people: local time, without the date when it is today's; owned. */
char *cli_time_short(int64_t ns, int64_t now_ns);

/* Path of a program of this package: $ENV, beside the running program, or in ../libexec.  Owned, or
 * NULL. */
char *cli_find_program(const char *name, const char *env);
/* The running program's own path. Owned. */
char *cli_self(void);

/* One line of what a sync did ("sent 3 new; got 2 flags"), or "in step".  Owned. */
char *cli_summary(const struct session_result *r);
json_t *cli_counts_json(const struct session_counts *c);
/* Prints one JSON object as a line on stdout; takes the reference. */
void cli_json(json_t *o);

extern const struct verb verb_init, verb_mount, verb_umount, verb_watch, verb_sync, verb_status,
	verb_log, verb_checkpoint, verb_demo, verb_version, verb_reconcile, verb_peer, verb_backup,
	verb_conflicts, verb_lost, verb_pause, verb_serve;

#endif
