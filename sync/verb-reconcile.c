/*
 * verb-reconcile.c - mailbraid reconcile: the reconciler, started by mount and watch.
 */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "sync/cli.h"
#include "sync/live.h"

#define PEERS_MAX 64

static int run(const struct cli *cli, const struct verb *v, int argc, char **argv)
{
	static const struct option names[] = {
		{"peer", required_argument, NULL, 'p'}, {"verbose", no_argument, NULL, 'v'}, {0}};
	const char *peers[PEERS_MAX];
	struct live live = {.peers = peers};
	char *dir MB_AUTO_FREE = NULL;
	int c;

	while ((c = cli_getopt(v, argc, argv, ":v", names)) != -1) {
		if (c == '?')
			return CLI_USAGE;
		if (c == 'v')
			mb_msg_set_level(MB_INFO);
		else if (live.n_peers == PEERS_MAX)
			return cli_usage(v, "too many peers");
		else
			peers[live.n_peers++] = optarg;
	}
	if (optind < argc)
		return cli_usage(v, "%s: too many arguments", argv[optind]);
	int code = cli_store(cli, v, &dir);
	if (!code)
		code = cli_open_local(dir, &live.local);
	live.dir = dir;
	if (code)
		return code;
	int err = live_run(&live);
	backend_close(live.local);
	return err < 0 ? CLI_LATER : CLI_OK;
}

const struct verb verb_reconcile = {
	.name = "reconcile",
	.args = "[-v] [--peer DESTINATION]...",
	.what = "Stay in step with all peers until told to end (mount and watch start it)",
	.help = "      --peer DESTINATION  with this one too\n"
		"  -v, --verbose           a line for each sync that did something\n",
	.hidden = true,
	.run = run,
};
