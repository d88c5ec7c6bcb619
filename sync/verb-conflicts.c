/*
 * verb-conflicts.c - mailbraid conflicts: what merges decided against somebody; to forget it.
 *
 * Reads one file of the store and takes nothing else, so it works beside everything.
 */
#include "backends/base/buf.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "sync/cli.h"
#include "sync/conflicts.h"

#include <stdio.h>

static const char *string_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "";
}

static void add_word(struct buf *out, const char *text)
{
	if (!*text)
		return;
	buf_printf(out, "  ");
	mb_msg_clean(out, text);
}

static void tell(const json_t *o)
{
	struct buf out BUF_AUTO = BUF_INIT;
	const char *mailbox = string_of(o, "mailbox"), *message = string_of(o, "message");
	const char *remedy = conflict_remedy(string_of(o, "kind"));

	mb_msg_clean(&out, string_of(o, "when"));
	add_word(&out, string_of(o, "peer"));
	add_word(&out, *mailbox ? mailbox : string_of(o, "mailbox_guid"));
	add_word(&out, message);
	buf_printf(&out, "\n    ");
	mb_msg_clean(&out, string_of(o, "decided"));
	if (*remedy)
		buf_printf(&out, "\n    do:  %s", remedy);
	puts(buf_cstr(&out));
}

static int list(const char *dir, bool json)
{
	json_t *all = NULL, *o;
	size_t i;
	int err = conflicts_read(dir, &all);

	if (err < 0)
		return mb_err_exit(mb_fail(err, "cannot read the conflicts of %s", dir));
	json_array_foreach(all, i, o)
	{
		if (json)
			json_object_set_new(o, "do",
					    json_string(conflict_remedy(string_of(o, "kind"))));
		else
			tell(o);
	}
	if (json) {
		cli_json(json_pack("{s:i, s:O}", "v", CLI_JSON_VERSION, "conflicts", all));
	} else if (!json_array_size(all)) {
		puts("no conflicts");
	}
	json_decref(all);
	return CLI_OK;
}

static int clear(const char *dir, bool json)
{
	int n = conflicts_clear(dir);

	if (n < 0)
		return mb_err_exit(mb_fail(n, "the conflicts of %s are still there", dir));
	if (json)
		cli_json(json_pack("{s:i, s:i}", "v", CLI_JSON_VERSION, "cleared", n));
	else
		printf("%d %s forgotten\n", n, n == 1 ? "conflict" : "conflicts");
	return CLI_OK;
}

static int run(const struct cli *cli, const struct verb *v, int argc, char **argv)
{
	static const struct option names[] = {
		{"json", no_argument, NULL, 'j'}, {"clear", no_argument, NULL, 'c'}, {0}};
	bool json = false, clears = false;
	char *dir MB_AUTO_FREE = NULL;
	int c;

	while ((c = cli_getopt(v, argc, argv, ":", names)) != -1) {
		if (c == '?')
			return CLI_USAGE;
		json |= c == 'j';
		clears |= c == 'c';
	}
	if (optind < argc)
		return cli_usage(v, "%s: no argument is wanted", argv[optind]);
	int code = cli_store(cli, v, &dir);
	if (code)
		return code;
	return clears ? clear(dir, json) : list(dir, json);
}

const struct verb verb_conflicts = {
	.name = "conflicts",
	.args = "[--json] [--clear]",
	.what = "List what syncs decided against somebody, and how to have it back",
	.help = "      --json   one JSON object\n"
		"      --clear  forget them\n",
	.run = run,
};
