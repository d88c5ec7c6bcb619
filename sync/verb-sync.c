/*
 * verb-sync.c - mailbraid sync: in step with one peer, or with all that are registered.
 *
 * A peer is registered by its first sync that succeeds.  Exit code: the worst of all peers'.
 */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "sync/cli.h"
#include "sync/peers.h"

#include <stdio.h>
#include <string.h>

struct options {
	struct session_options session;
	bool verbose, json;
	const char *destination;
};

static int parse(const struct verb *v, int argc, char **argv, struct options *o)
{
	static const struct option names[] = {{"full", no_argument, NULL, 'f'},
					      {"state", required_argument, NULL, 's'},
					      {"dry-run", no_argument, NULL, 'n'},
					      {"allow-mass-expunge", no_argument, NULL, 'M'},
					      {"replace-peer", no_argument, NULL, 'R'},
					      {"verbose", no_argument, NULL, 'v'},
					      {"json", no_argument, NULL, 'j'},
					      {0}};
	int c;

	while ((c = cli_getopt(v, argc, argv, ":fs:v", names)) != -1) {
		switch (c) {
		case 'f':
			o->session.full = true;
			break;
		case 's':
			o->session.state = optarg;
			o->session.want_state = true;
			break;
		case 'n':
			o->session.dry_run = true;
			break;
		case 'M':
			o->session.allow_mass_expunge = true;
			break;
		case 'R':
			o->session.replace_peer = true;
			break;
		case 'v':
			o->verbose = true;
			break;
		case 'j':
			o->json = true;
			break;
		default:
			return CLI_USAGE;
		}
	}
	if (optind < argc)
		o->destination = argv[optind++];
	if (optind < argc)
		return cli_usage(v, "%s: too many arguments", argv[optind]);
	if (o->session.state && !o->destination)
		return cli_usage(v, "-s needs a DESTINATION: a state is of one peer");
	return 0;
}

/* ---- what is told ---------------------------------------------------------------------------- */

static const char *name_after(const struct record *item)
{
	return item->new_name ? item->new_name : "";
}

/* A line for each item, with -v or --dry-run. */
static void show(int side, enum record_type what, const struct tree *names,
		 const struct record *item, void *arg)
{
	struct options *o = arg;
	char guid[GUID_TEXT];

	if (what == REC_NONE || (!o->verbose && !o->session.dry_run))
		return;
	bool mailbox = !guid_is_zero(&item->mailbox.guid);
	const struct guid *g = mailbox ? &item->mailbox.guid : &item->copy.place.mailbox;
	char *name MB_AUTO_FREE = tree_name(names, g);
	fprintf(stderr, "%s %-8s %s%s%s%s%s\n", side ? "->" : "<-", record_type_name(what), name,
		mailbox ? "" : " ", mailbox ? "" : guid_text(&item->copy.guid, guid),
		*name_after(item) ? " " : "", name_after(item));
}

static void tell_notices(const struct session_result *r)
{
	for (size_t i = 0; i < r->n_notices; i++) {
		if (r->notices[i].text)
			mb_msg(MB_NOTICE, "%s", r->notices[i].text);
	}
	if (r->held)
		mb_msg(MB_WARNING,
		       "%llu expunges are held back: so much went missing at once; if it was "
		       "meant, "
		       "say sync --allow-mass-expunge",
		       (unsigned long long)r->held);
}

static void tell_json(const char *name, int code, uint64_t missing, const struct session_result *r)
{
	json_t *notices = json_array();

	for (size_t i = 0; i < r->n_notices; i++)
		json_array_append_new(notices, json_string(r->notices[i].text));
	cli_json(json_pack("{s:i, s:s, s:i, s:b, s:o, s:o, s:I, s:I, s:I, s:b, s:f, s:o, s:s?}",
			   "v", CLI_JSON_VERSION, "peer", name, "exit", code, "full", r->full,
			   "sent", cli_counts_json(&r->to[1]), "got", cli_counts_json(&r->to[0]),
			   "errors", (json_int_t)r->errors, "held", (json_int_t)r->held, "missing",
			   (json_int_t)missing, "again", r->again, "seconds",
			   (double)r->took_ns / 1e9, "notices", notices, "state", r->state));
}

static void tell(const struct options *o, const char *name, int code, uint64_t missing,
		 const struct session_result *r)
{
	bool nothing = !session_counts_any(&r->to[0]) && !session_counts_any(&r->to[1]);

	tell_notices(r);
	if (o->json) {
		tell_json(name, code, missing, r);
		return;
	}
	if (!nothing || code || o->verbose) {
		char *text MB_AUTO_FREE = cli_summary(r);
		fprintf(o->session.state ? stderr : stdout, "%s: %s%s\n", name,
			o->session.dry_run ? "would have " : "", text);
	}
	if (o->session.state && r->state)
		printf("%s\n", r->state);
}

/* ---- one peer, all peers --------------------------------------------------------------------- */

/* 1 is worse than 2 (a person is needed), and both than 75. */
static int worse(int a, int b)
{
	static const int order[] = {CLI_OK, CLI_LATER, CLI_AGAIN};
	int rank[2] = {3, 3}, code[2] = {a, b};

	for (int i = 0; i < 2; i++) {
		for (int k = 0; k < 3; k++) {
			if (code[i] == order[k])
				rank[i] = k;
		}
	}
	return rank[1] > rank[0] ? b : a;
}

/* A peer that cannot be reached now may be there later: the disk is not in, the host is off. */
static int unreachable_exit(int err)
{
	int code = mb_err_exit(err);

	return mb_err_retry(err) != MB_RETRY_NEVER && code == CLI_FAILED ? CLI_AGAIN : code;
}

/* Messages of ours whose body is lost or damaged, and was not given back. */
static uint64_t count_missing(struct backend *local)
{
	struct backend_info info = {0};

	return local->ops->info(local, &info) < 0 ? 0 : info.missing;
}

/* Whatever the peers gave: who cannot read a message is told so each time. */
static int tell_missing(struct backend *local, int code)
{
	uint64_t n = count_missing(local);

	if (!n)
		return code;
	mb_msg(MB_WARNING,
	       "%llu messages here have lost their body or are damaged, and no peer gave it back; "
	       "sync with a peer that has them, or delete them",
	       (unsigned long long)n);
	return worse(code, CLI_AGAIN);
}

/* The exit code, but for missing bodies: the next peer may have them. */
static int sync_one(struct options *o, struct backend *local, const char *destination)
{
	struct backend *peer;
	struct session_result r;
	struct session_options session = o->session;
	int err = backend_open(destination, local, &peer);

	if (err < 0)
		return unreachable_exit(mb_fail(err, "cannot open the peer %s", destination));
	session.show = show;
	session.show_arg = o;
	err = session_run_until_stable(local, peer, &session, &r);
	int code = session_exit(err, &r);
	uint64_t missing = count_missing(local);
	int told = missing ? worse(code, CLI_AGAIN) : code;
	if (err < 0)
		mb_fail(err, "the sync with %s ended early", destination);
	if (err >= 0 || r.changed || o->json)
		tell(o, destination, told, missing, &r);
	session_result_release(&r);
	backend_close(peer);
	return code;
}

static int sync_all(struct options *o, struct backend *local)
{
	struct peers peers;
	int code = CLI_OK, n = 0;
	int err = peers_read(local, &peers);

	if (err < 0)
		return mb_err_exit(mb_fail(err, "cannot read the list of peers"));
	for (size_t i = 0; i < peers.n; i++) {
		if (!peer_is_ours(&peers.list[i]))
			continue;
		code = worse(code, sync_one(o, local, peers.list[i].destination));
		n++;
	}
	peers_release(&peers);
	if (!n) {
		mb_msg(MB_ERROR, "no peer is registered");
		fprintf(stderr, "  do:  mailbraid --store DIR sync DESTINATION, once\n");
		return CLI_USAGE;
	}
	return code;
}

static int run(const struct cli *cli, const struct verb *v, int argc, char **argv)
{
	struct options o = {0};
	struct backend *local;
	char *dir MB_AUTO_FREE = NULL;
	int code = parse(v, argc, argv, &o);

	if (!code)
		code = cli_store(cli, v, &dir);
	if (!code)
		code = cli_open_local(dir, &local);
	if (code)
		return code;
	code = o.destination ? sync_one(&o, local, o.destination) : sync_all(&o, local);
	code = tell_missing(local, code);
	backend_close(local);
	return code;
}

const struct verb verb_sync = {
	.name = "sync",
	.args = "[-fv] [-s STATE] [--dry-run] [--allow-mass-expunge] [--json] [DESTINATION]",
	.what = "Bring the store in step with a peer, or with all registered ones",
	.help = "  DESTINATION           store:DIR or maildir:PATH[:LAYOUT=fs]; registered for "
		"later\n"
		"  -f, --full            compare every message, look at every file\n"
		"  -s, --state STATE     what the last run printed (\"\" at first); prints the "
		"next\n"
		"      --dry-run         say what would be done\n"
		"      --allow-mass-expunge\n"
		"                        do what the guard holds back\n"
		"      --replace-peer    another store lies at a registered destination: accept "
		"it\n"
		"  -v, --verbose         a line for each change\n"
		"      --json            one JSON object for each peer\n",
	.run = run,
};
