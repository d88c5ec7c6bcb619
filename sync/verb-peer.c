/*
 * verb-peer.c - mailbraid peer: who the peers are, what they keep alive here; to forget one.
 *
 * `list` reads only, also while another process is the writer.  `forget` is one record through the
 * seam, so it works beside a mount.
 */
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/store.h"
#include "sync/cli.h"
#include "sync/peers.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct options {
	const struct cli *cli;
	const struct verb *v;
	char *dir; /* owned */
	bool json, yes;
};

/* ---- list ------------------------------------------------------------------------------------ */

static void tell_pin(const struct peer_pin *pin)
{
	char *since MB_AUTO_FREE = pin->since_ns ? cli_time(pin->since_ns) : NULL;

	if (!pin->held) {
		printf("    will be compared in full: the log does not reach back to it\n");
		return;
	}
	if (pin->news)
		printf("    %" PRIu64 " changes wait for it\n", pin->news);
	else
		printf("    has seen all that happened here\n");
	if (pin->pinned_files && pin->pins)
		printf("    keeps %" PRIu64 " log files, %" PRIu64 " KiB, since %s\n",
		       pin->pinned_files, (pin->pinned_bytes + 1023) / 1024, since);
	if (!pin->pins)
		printf("    was away for so long that log files no longer wait for it\n");
}

static void tell_peer(const struct peer_state *p, const struct peer_pin *pin, int64_t now)
{
	char *name MB_AUTO_FREE = peer_name(p);
	char *ago MB_AUTO_FREE = cli_ago(p->synced_ns, now);
	char store[GUID_TEXT];

	printf("%s\n", name);
	printf("    replica %016" PRIx64 ", store %s\n", p->replica, guid_text(&p->store, store));
	printf("    %s; news exchanged %s\n", peer_is_ours(p) ? "we go to it" : "it comes to us",
	       ago);
	tell_pin(pin);
}

static json_t *position_json(const struct position *p)
{
	char id[GUID_TEXT];

	return json_pack("{s:s, s:I, s:I}", "log", guid_text(&p->log, id), "sequence",
			 (json_int_t)p->sequence, "offset", (json_int_t)p->offset);
}

static json_t *peer_json(const struct peer_state *p, const struct peer_pin *pin)
{
	char *at MB_AUTO_FREE = p->synced_ns ? cli_time(p->synced_ns) : NULL;
	char *since MB_AUTO_FREE = pin->since_ns ? cli_time(pin->since_ns) : NULL;
	char replica[17], store[GUID_TEXT];

	snprintf(replica, sizeof(replica), "%016" PRIx64, p->replica);
	json_t *o = json_pack("{s:s, s:s, s:s?, s:s?, s:o, s:o}", "replica", replica, "store",
			      guid_text(&p->store, store), "destination",
			      peer_is_ours(p) ? p->destination : NULL, "synced", at, "local",
			      position_json(&p->local), "remote", position_json(&p->remote));
	json_object_set_new(o, "held", json_boolean(pin->held));
	json_object_set_new(o, "pins", json_boolean(pin->pins));
	json_object_set_new(o, "waiting", json_integer((json_int_t)pin->news));
	json_object_set_new(o, "pinned_files", json_integer((json_int_t)pin->pinned_files));
	json_object_set_new(o, "pinned_bytes", json_integer((json_int_t)pin->pinned_bytes));
	json_object_set_new(o, "pinned_since", since ? json_string(since) : json_null());
	return o;
}

static int list(const struct options *o)
{
	struct peers peers = {0};
	struct store *s;
	int64_t now = clock_wall_ns();
	json_t *all = json_array();
	int err = cli_open_read(o->dir, &s);

	if (err >= 0) {
		err = peers_read_store(s, &peers);
		for (size_t i = 0; err >= 0 && i < peers.n; i++) {
			struct peer_pin pin;
			err = peer_pin_read(s, &peers.list[i], now, &pin);
			if (err >= 0 && o->json)
				json_array_append_new(all, peer_json(&peers.list[i], &pin));
			else if (err >= 0)
				tell_peer(&peers.list[i], &pin, now);
		}
		store_close(s);
	}
	if (err >= 0 && o->json)
		cli_json(json_pack("{s:i, s:O}", "v", CLI_JSON_VERSION, "peers", all));
	else if (err >= 0 && !peers.n)
		printf("no peers; \"mailbraid sync DESTINATION\" registers one\n");
	json_decref(all);
	peers_release(&peers);
	return err < 0 ? mb_err_exit(mb_fail(err, "cannot list the peers of %s", o->dir)) : CLI_OK;
}

/* ---- forget ---------------------------------------------------------------------------------- */

static bool may_forget(const struct options *o, const char *name)
{
	char answer[8] = "";

	if (o->yes)
		return true;
	if (!isatty(STDIN_FILENO))
		return false;
	fprintf(stderr,
		"Forget %s?  Log and memory of expunged mail no longer wait for it; should it "
		"come back, everything is compared.  [y/N] ",
		name);
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

static int forget_peer(struct backend *local, const struct peer_state *p)
{
	struct record r = {.type = REC_PEER_FORGET, .peer.replica = p->replica};
	struct backend_info info;
	int err = local->ops->info(local, &info);

	r.origin.replica = info.replica;
	if (err >= 0)
		err = local->ops->begin(local, info.replica, false);
	if (err >= 0)
		err = local->ops->put(local, &r, -1);
	if (err >= 0)
		err = local->ops->commit(local);
	return err < 0 ? err : 0;
}

static int forget_named(const struct options *o, struct backend *local, const struct peers *peers,
			const char *name)
{
	int i = peers_find(peers, name);

	if (i == -2)
		return cli_usage(o->v, "%s: several peers begin so; give more digits", name);
	if (i < 0) {
		mb_msg(MB_NOTICE, "no peer %s is registered: nothing to forget", name);
		return CLI_OK;
	}
	char *told MB_AUTO_FREE = peer_name(&peers->list[i]);
	if (!may_forget(o, told)) {
		mb_msg(MB_ERROR, "%s is not forgotten: nobody said yes", told);
		fprintf(stderr, "  do:  mailbraid peer forget --yes '%s'\n", name);
		return CLI_FAILED;
	}
	int err = forget_peer(local, &peers->list[i]);
	if (err < 0)
		return mb_err_exit(mb_fail(err, "cannot forget %s", told));
	if (o->json)
		cli_json(json_pack("{s:i, s:s}", "v", CLI_JSON_VERSION, "forgotten", told));
	else
		printf("forgotten: %s\n", told);
	return CLI_OK;
}

static int forget(const struct options *o, const char *name)
{
	struct peers peers = {0};
	struct backend *local;
	int code = cli_open_local(o->dir, &local);

	if (code)
		return code;
	int err = peers_read(local, &peers);
	if (err < 0)
		code = mb_err_exit(mb_fail(err, "cannot read the list of peers"));
	else
		code = forget_named(o, local, &peers, name);
	peers_release(&peers);
	backend_close(local);
	return code;
}

/* ---- the verb -------------------------------------------------------------------------------- */

static int parse(struct options *o, int argc, char **argv)
{
	static const struct option names[] = {
		{"json", no_argument, NULL, 'j'}, {"yes", no_argument, NULL, 'y'}, {0}};
	int c;

	while ((c = cli_getopt(o->v, argc, argv, ":y", names)) != -1) {
		if (c == '?')
			return CLI_USAGE;
		o->json |= c == 'j';
		o->yes |= c == 'y';
	}
	return 0;
}

static int dispatch(struct options *o, int argc, char **argv)
{
	const char *what = optind < argc ? argv[optind++] : "list";
	bool names_one = strcmp(what, "forget") == 0;

	if (!names_one && strcmp(what, "list") != 0)
		return cli_usage(o->v, "%s: it is list or forget", what);
	if (names_one && optind >= argc)
		return cli_usage(o->v, "forget needs a peer: \"mailbraid peer list\" tells them");
	const char *name = names_one ? argv[optind++] : NULL;
	if (optind < argc)
		return cli_usage(o->v, "%s: too many arguments", argv[optind]);
	if (o->yes && !names_one)
		return cli_usage(o->v, "--yes is for forget");
	int code = cli_store(o->cli, o->v, &o->dir);
	if (code)
		return code;
	return names_one ? forget(o, name) : list(o);
}

static int run(const struct cli *cli, const struct verb *v, int argc, char **argv)
{
	struct options o = {.cli = cli, .v = v};
	int code = parse(&o, argc, argv);

	if (!code)
		code = dispatch(&o, argc, argv);
	free(o.dir);
	return code;
}

const struct verb verb_peer = {
	.name = "peer",
	.args = "[list [--json] | forget [--yes] PEER]",
	.what = "List the peers and what they keep in the log; forget one",
	.help = "  list          who, where, when, what each has seen (default)\n"
		"  forget PEER   by destination or replica id; log and tombstones no longer wait\n"
		"  -y, --yes     do not ask\n"
		"      --json    as JSON\n",
	.run = run,
};
