/*
 * verb-checkpoint.c - mailbraid checkpoint: writes down the whole state, so that old log files go.
 */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/server.h"
#include "backends/store/store.h"
#include "sync/cli.h"

#include <errno.h>

int cli_checkpoint(const char *dir, bool full, int64_t keep_ns)
{
	struct store_client *client;
	struct scan_report report;
	struct store *store;
	int err = store_client_connect(dir, &client);

	if (err >= 0) {
		err = full ? store_client_scan(client, true, &report) : 0;
		if (err >= 0)
			err = store_client_checkpoint(client, keep_ns);
		store_client_close(client);
		return err;
	}
	if (err != -ECONNREFUSED && err != -ENOENT)
		return err;
	err = store_open(dir, STORE_WRITE, &store);
	if (err < 0)
		return err;
	if (full && store_doubt_index(store)) { /* closing sets it aside */
		store_close(store);
		err = store_open(dir, STORE_WRITE, &store);
		if (err < 0)
			return err;
	}
	if (full)
		err = store_scan(store, true, &report);
	else
		store_tell_held(store, store_opening_scan(store));
	if (err >= 0)
		err = store_checkpoint(store, keep_ns);
	store_close(store);
	return err;
}

static int run(const struct cli *cli, const struct verb *v, int argc, char **argv)
{
	static const struct option names[] = {
		{"full", no_argument, NULL, 'f'}, {"keep", required_argument, NULL, 'k'}, {0}};
	bool full = false;
	int64_t keep_ns = STORE_KEEP_DELETED_NS;
	char *dir MB_AUTO_FREE = NULL;
	int c;

	while ((c = cli_getopt(v, argc, argv, ":f", names)) != -1) {
		if (c == '?')
			return CLI_USAGE;
		if (c == 'f')
			full = true;
		else if (!cli_duration(optarg, &keep_ns))
			return cli_usage(v, "%s is no duration: 30d, 12h, 10m, 0", optarg);
	}
	if (optind < argc)
		return cli_usage(v, "%s: too many arguments", argv[optind]);
	int code = cli_store(cli, v, &dir);
	if (code)
		return code;
	int err = cli_checkpoint(dir, full, keep_ns);
	if (err < 0)
		return mb_err_exit(mb_fail(err, "no checkpoint of %s", dir));
	return CLI_OK;
}

const struct verb verb_checkpoint = {
	.name = "checkpoint",
	.args = "[-f] [--keep DURATION]",
	.what = "Write a checkpoint, drop log files that nobody needs",
	.help = "  -f, --full       look at every file first, as sync -f does\n"
		"  --keep DURATION  history and deleted messages younger than this stay (30d)\n",
	.run = run,
};
