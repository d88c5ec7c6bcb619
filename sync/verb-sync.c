/*
 * verb-sync.c - mailbraid sync: in step with one peer, or with all that are registered.
 */
#include "sync/sync-options.h"

static int run(const struct cli *cli, const struct verb *v, int argc, char **argv)
{
	return sync_run(cli, v, argc, argv, false);
}

const struct verb verb_sync = {
	.name = "sync",
	.args = "[-1fv] [-m MAILBOX] [-x PATTERN] [--pull LIST] [--push LIST] [OPTIONS] "
		"[DESTINATION]",
	.what = "Bring the store in step with a peer, or with all registered ones",
	.help = "  DESTINATION           store:DIR, maildir:PATH[:LAYOUT=fs], "
		"ssh://USER@HOST/STORE or\n"
		"                        exec:COMMAND; registered for later\n"
		"  -1                    one way: the peer gets, and nothing is changed here\n"
		"      --pull LIST, --push LIST\n"
		"                        what may travel to us, to the peer: new, flags, moves,\n"
		"                        expunges, folders; all (as it is), "
		"none\n" SYNC_OPTIONS_HELP,
	.run = run,
};
