/*
 * verb-init.c - mailbraid init: makes a store, or takes an existing Maildir in place.
 */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/store.h"
#include "sync/cli.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

struct options {
	const char *adopt;
	enum layout layout;
	bool json;
};

static int parse(const struct verb *v, int argc, char **argv, struct options *o)
{
	static const struct option names[] = {{"adopt", required_argument, NULL, 'a'},
					      {"layout", required_argument, NULL, 'l'},
					      {"json", no_argument, NULL, 'j'},
					      {0}};
	int c;

	while ((c = cli_getopt(v, argc, argv, ":", names)) != -1) {
		if (c == '?')
			return CLI_USAGE;
		if (c == 'a')
			o->adopt = optarg;
		else if (c == 'j')
			o->json = true;
		else if (!layout_parse(optarg, &o->layout))
			return cli_usage(v, "no layout %s: maildir++ or fs", optarg);
	}
	if (optind < argc)
		return cli_usage(v, "%s: too many arguments", argv[optind]);
	return 0;
}

static void tell(const struct options *o, const char *dir)
{
	if (o->json) {
		cli_json(json_pack("{s:i, s:s, s:s, s:s?}", "v", CLI_JSON_VERSION, "store", dir,
				   "layout", layout_name(o->layout), "adopted", o->adopt));
		return;
	}
	if (o->adopt)
		printf("adopted %s; its state is in %s\n", o->adopt, dir);
	else
		printf("made the store %s\n", dir);
}

static int adopt(const struct cli *cli, const struct options *o)
{
	char *dir MB_AUTO_FREE = NULL;
	const char *advice = NULL;
	int err = store_adopt(o->adopt, cli->store, o->layout, &dir);

	if (err == -EEXIST)
		advice = "Either it is adopted already (\"mailbraid --store MAILDIR status\" "
			 "tells), or the "
			 "directory for its state exists: name another with --store DIR.";
	else if (err == -EINVAL)
		advice = "Its state cannot lie inside the Maildir: name another directory with "
			 "--store.";
	if (advice)
		return mb_err_exit(mb_fail_do(err, advice, "cannot adopt %s", o->adopt));
	if (err < 0)
		return mb_err_exit(mb_fail(err, "cannot adopt %s", o->adopt));
	tell(o, dir);
	return CLI_OK;
}

static int run(const struct cli *cli, const struct verb *v, int argc, char **argv)
{
	struct options o = {.layout = LAYOUT_MAILDIRPP};
	int code = parse(v, argc, argv, &o);

	if (code)
		return code;
	if (o.adopt)
		return adopt(cli, &o);
	if (!cli->store || !*cli->store)
		return cli_usage(v, "where? mailbraid --store DIR init");
	int err = store_create(cli->store, o.layout);
	if (err < 0)
		return mb_err_exit(mb_fail(err, "cannot make a store in %s", cli->store));
	char path[PATH_MAX];
	tell(&o, realpath(cli->store, path) ? path : cli->store);
	return CLI_OK;
}

const struct verb verb_init = {
	.name = "init",
	.args = "[--adopt MAILDIR] [--layout LAYOUT] [--json]",
	.what = "Make a store, or take an existing Maildir in place",
	.help = "  --adopt MAILDIR  no message is touched; state goes to --store DIR,\n"
		"                   or to MAILDIR.mailbraid beside it\n"
		"  --layout LAYOUT  maildir++ (.A.B, the default) or fs (A/B)\n"
		"  --json           as JSON\n",
	.run = run,
};
