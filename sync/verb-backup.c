/*
 * verb-backup.c - mailbraid backup: the peer becomes what the store is, or, with -R, the store what the
 * peer is.
 */
#include "sync/sync-options.h"

static int run(const struct cli *cli, const struct verb *v, int argc, char **argv)
{
	return sync_run(cli, v, argc, argv, true);
}

const struct verb verb_backup = {
	.name = "backup",
	.args = "[-Rfv] [-m MAILBOX] [-x PATTERN] [OPTIONS] DESTINATION",
	.what = "Make a peer equal to the store, whatever is in the peer",
	.help = "  DESTINATION           store:DIR or maildir:PATH[:LAYOUT=fs]; what it has and "
		"the\n"
		"                        store lacks is expunged there\n" SYNC_OPTIONS_HELP,
	.run = run,
};
