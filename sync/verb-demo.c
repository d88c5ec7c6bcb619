/*
 * verb-demo.c - mailbraid demo: the whole story in a temporary directory, with a verdict.
 */
#include "sync/cli.h"

static int run(const struct cli *cli, const struct verb *v, int argc, char **argv)
{
	return cli_usage(v, "not there yet");
}

const struct verb verb_demo = {
	.name = "demo",
	.args = "[--keep] [--no-mount]",
	.what = "Play all of it in a temporary folder, with a verdict",
	.help = "  --keep      leave it mounted, print how to look at it and how to end it\n"
		"  --no-mount  on plain directories\n",
	.run = run,
};
