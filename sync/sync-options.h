/*
 * sync-options.h - the command line of sync and backup, as doveadm(1) has it.
 *
 * Everything is checked: what is unknown, said twice, contradicts another option or means something of
 * doveadm that there is no use for here is refused with a sentence, and exit code 64.
 */
#ifndef MB_SYNC_OPTIONS_H
#define MB_SYNC_OPTIONS_H

#include "sync/cli.h"

struct sync_options {
	struct session_options session; /* its scope is `scope` */
	struct scope scope;		/* owned */
	bool verbose, debug, quiet, json, purge, fail_on_conflict;
	unsigned lock_s;	 /* how long to wait for a process that has a store; 0 = as it is */
	unsigned stall_s;	 /* 0 = as it is */
	const char *rawlog;	 /* file, or NULL */
	const char *destination; /* NULL: all registered peers */
};

void sync_options_release(struct sync_options *o);
/* 0 and o filled (release it in any case), or the exit code after a message. */
int sync_options_parse(const struct verb *v, int argc, char **argv, bool backup,
		       struct sync_options *o);
/* Parses, runs, reports: both verbs.  The exit code. */
int sync_run(const struct cli *cli, const struct verb *v, int argc, char **argv, bool backup);

/* The options that both verbs have, for --help. */
#define SYNC_OPTIONS_HELP                                                                          \
	"  -R                    the other way round: the peer is the source\n"                    \
	"  -m MAILBOX            only this one, or a \\Special-use; again for more; \"\": no "     \
	"mail\n"                                                                                   \
	"  -g GUID               only the mailbox with this GUID; again for more\n"                \
	"  -n PREFIX             only mailboxes below it; again for more.  -N: all (as it is)\n"   \
	"  -x PATTERN            not these: * and ?, or a \\Special-use; again for more\n"         \
	"  -t DATE, -e DATE      new mail received since -t, before -e: unix, 2024-05-01, 2days\n" \
	"  -I SIZE               no new mail larger than SIZE (k, M, G)\n"                         \
	"  -O FLAG               new mail with FLAG only; -FLAG: without\n"                        \
	"  -f, --full            compare every message, look at every file\n"                      \
	"  -s, --state STATE     what the last run printed (\"\" at first); prints the next\n"     \
	"  -l SECONDS            wait so long for a store that another process has\n"              \
	"  -T SECONDS            give a peer or a writer up that does not answer for so long\n"    \
	"  -r FILE               write every call to both sides to FILE\n"                         \
	"  -P                    drop what the destination deleted over 30 days ago\n"             \
	"  -u USER               check that we are USER;  -d: all registered peers\n"              \
	"      --dry-run         say how much would be done, each way; -v: in each mailbox\n"      \
	"      --fail-on-conflict\n"                                                               \
	"                        exit 3 when something was decided against somebody\n"             \
	"      --allow-mass-expunge\n"                                                             \
	"                        do what the guard holds back\n"                                   \
	"      --replace-peer    another store lies at a registered destination: accept it\n"      \
	"  -v, --verbose         a line for each change;  -D: and what else is going on\n"         \
	"  -q, --quiet           nothing but errors, and warnings of what is left undone\n"        \
	"      --json            one JSON object for each peer\n"

#endif
