/*
 * verb-version.c - mailbraid version: which program, which formats.
 */
#include "backends/store/log-format.h"
#include "sync/cli.h"

#include <stdio.h>
#include <string.h>

static int run(const struct cli *cli, const struct verb *v, int argc, char **argv)
{
	static const struct option names[] = {{"json", no_argument, NULL, 'j'}, {0}};
	bool json = false;
	int c;

	while ((c = cli_getopt(v, argc, argv, ":", names)) != -1) {
		if (c == '?')
			return CLI_USAGE;
		json = true;
	}
	if (optind < argc)
		return cli_usage(v, "%s: too many arguments", argv[optind]);
	if (json)
		cli_json(json_pack("{s:i, s:s}", "v", CLI_JSON_VERSION, "version",
				   MAILBRAID_VERSION));
	else
		printf("mailbraid %s\n", MAILBRAID_VERSION);
	return CLI_OK;
}

const struct verb verb_version = {
	.name = "version",
	.args = "[--json]",
	.what = "Print the version",
	.help = "  --json  as JSON\n",
	.run = run,
};
