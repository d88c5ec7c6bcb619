/*
 * sync-options.c - see sync-options.h.
 */
#include "sync/sync-options.h"

#include "backends/base/mem.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	OPT_DRY_RUN = 256,
	OPT_MASS,
	OPT_OLD,
	OPT_REPLACE,
	OPT_JSON,
	OPT_PULL,
	OPT_PUSH,
	OPT_CONFLICT
};

#define LETTERS ":1Rfs:m:g:n:Nx:t:e:I:O:l:T:r:PDvqdu:Aa:S:F:U"
#define SECONDS_MAX 86400

/* While it is read. */
struct parsing {
	const struct verb *v;
	struct sync_options *o;
	bool backup;
	bool one_way, reverse, all_namespaces, no_mail, registered;
	const char *pull, *push; /* as given, or NULL */
	bool given[128];	 /* letters that may come once */
};

void sync_options_release(struct sync_options *o)
{
	scope_release(&o->scope);
	memset(o, 0, sizeof(*o));
}

/* ---- one option ------------------------------------------------------------------------------ */

/* What doveadm does with it has no meaning for one store on this host. */
static int refuse(const struct parsing *p, int c)
{
	static const struct {
		char letter;
		const char *why;
	} reasons[] = {
		{'A', "a store is one user's mail; run it once for each store, with --store"},
		{'F', "a store is one user's mail; run it once for each store, with --store"},
		{'S', "there is no doveadm socket; give the store with --store"},
		{'U', "there is no replicator to notify; leave it out"},
		{'a', "bodies are found by their content in all mailboxes; leave it out"},
	};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].letter == c)
			return cli_usage(p->v, "-%c: %s", c, reasons[i].why);
	return cli_usage(p->v, "no option -%c", c);
}

static bool parse_seconds(const char *text, unsigned *ret)
{
	char *end;
	unsigned long n = *text >= '0' && *text <= '9' ? strtoul(text, &end, 10) : 0;

	if (!n || *end || n > SECONDS_MAX)
		return false;
	*ret = (unsigned)n;
	return true;
}

static int take_seconds(struct parsing *p, int c)
{
	unsigned seconds;

	if (!parse_seconds(optarg, &seconds))
		return cli_usage(p->v, "-%c: %s is no number of seconds from 1 to %d", c, optarg,
				 SECONDS_MAX);
	if (c == 'l')
		p->o->lock_s = seconds;
	else
		p->o->stall_s = seconds;
	return 0;
}

/* A cron line of a mail server names the user; here it must be the one who runs it. */
static int take_user(struct parsing *p)
{
	const struct passwd *who = getpwuid(geteuid());

	if (who && strcmp(who->pw_name, optarg) == 0)
		return 0;
	return cli_usage(p->v, "-u %s: this runs as %s, and a store belongs to one user", optarg,
			 who ? who->pw_name : "an unknown user");
}

static int take_mailbox(struct parsing *p, int c)
{
	struct scope *s = &p->o->scope;

	if ((c == 'm' || c == 'g') && !*optarg) {
		p->no_mail = true;
		return 0;
	}
	if (c == 'g')
		return scope_add_guid(&s->guids, optarg)
			       ? 0
			       : cli_usage(p->v, "-g %s: not a GUID of 32 hexadecimal digits",
					   optarg);
	struct scope_list *list = c == 'm' ? &s->names : c == 'n' ? &s->prefixes : &s->excludes;
	if (c == 'n' && *optarg == '\\')
		return cli_usage(p->v, "-n %s: a prefix is no special use", optarg);
	return scope_add_name(list, optarg)
		       ? 0
		       : cli_usage(p->v, "-%c %s: this special use is not known", c, optarg);
}

static int take_filter(struct parsing *p, int c)
{
	struct scope *s = &p->o->scope;

	switch (c) {
	case 't':
	case 'e':
		return scope_parse_date(optarg, c == 't' ? &s->since : &s->until)
			       ? 0
			       : cli_usage(p->v,
					   "-%c %s: not a date (1700000000, 2024-05-01, 2days)", c,
					   optarg);
	case 'I':
		s->sized = true;
		return scope_parse_size(optarg, &s->max_size) && s->max_size
			       ? 0
			       : cli_usage(p->v, "-I %s: not a size (25k, 1M, 2G)", optarg);
	default:
		return scope_parse_flag(s, optarg)
			       ? 0
			       : cli_usage(p->v, "-O %s: neither a flag nor a keyword", optarg);
	}
}

static int take_parts(struct parsing *p, int c)
{
	struct scope *s = &p->o->scope;
	const char **given = c == OPT_PULL ? &p->pull : &p->push;
	const char *name = c == OPT_PULL ? "--pull" : "--push";

	if (*given)
		return cli_usage(p->v, "%s is given twice", name);
	*given = optarg;
	if (scope_parse_parts(optarg, &s->let[c == OPT_PUSH]))
		return 0;
	return cli_usage(p->v,
			 "%s %s: a list of new, flags, moves, expunges, folders, or all, or none",
			 name, optarg);
}

static void take_switch(struct parsing *p, int c)
{
	struct sync_options *o = p->o;

	switch (c) {
	case '1':
		p->one_way = true;
		break;
	case 'R':
		p->reverse = true;
		break;
	case 'N':
		p->all_namespaces = true;
		break;
	case 'd':
		p->registered = true;
		break;
	case 'f':
		o->session.full = true;
		break;
	case 'P':
		o->purge = true;
		break;
	case 'D':
		o->debug = true;
		break;
	case 'q':
		o->quiet = true;
		break;
	case 'v':
		o->verbose = true;
		break;
	case OPT_DRY_RUN:
		o->session.dry_run = true;
		break;
	case OPT_MASS:
		o->session.allow_mass_expunge = true;
		break;
	case OPT_OLD:
		o->session.accept_old = true;
		break;
	case OPT_CONFLICT:
		o->fail_on_conflict = true;
		break;
	case OPT_REPLACE:
		o->session.replace_peer = true;
		break;
	default:
		o->json = true;
		break;
	}
}

static int take(struct parsing *p, int c)
{
	if (c < 128 && strchr("1RteIOslTrdu", c)) {
		if (p->given[c])
			return cli_usage(p->v, "-%c is given twice", c);
		p->given[c] = true;
	}
	switch (c) {
	case '?':
		return CLI_USAGE;
	case 's':
		p->o->session.state = optarg;
		p->o->session.want_state = true;
		return 0;
	case 'r':
		p->o->rawlog = optarg;
		return 0;
	case 'u':
		return take_user(p);
	case 'l':
	case 'T':
		return take_seconds(p, c);
	case 'm':
	case 'g':
	case 'n':
	case 'x':
		return take_mailbox(p, c);
	case 't':
	case 'e':
	case 'I':
	case 'O':
		return take_filter(p, c);
	case OPT_PULL:
	case OPT_PUSH:
		return take_parts(p, c);
	case 'A':
	case 'F':
	case 'S':
	case 'U':
	case 'a':
		return refuse(p, c);
	default:
		take_switch(p, c);
		return 0;
	}
}

/* ---- all together ---------------------------------------------------------------------------- */

static int check_mode(const struct parsing *p)
{
	if (p->backup && p->one_way)
		return cli_usage(p->v, "-1 is another mode: say mailbraid sync -1");
	if (p->backup && (p->pull || p->push))
		return cli_usage(p->v,
				 "a backup takes all of its source: --pull and --push are of sync");
	if (p->one_way && (p->pull || p->push))
		return cli_usage(
			p->v, "-1 says already what travels: leave out --pull and --push, or -1");
	if (p->reverse && !p->backup && !p->one_way)
		return cli_usage(p->v,
				 "-R turns -1 or a backup round; a two-way sync has no direction");
	return 0;
}

static int check_selection(const struct parsing *p)
{
	const struct scope *s = &p->o->scope;

	if (s->names.n && s->guids.n)
		return cli_usage(p->v, "-m and -g: name the mailboxes in one way");
	if (p->no_mail && (s->names.n || s->guids.n))
		return cli_usage(p->v, "-m \"\" means no mail, and the other -m or -g some");
	if (p->all_namespaces && s->prefixes.n)
		return cli_usage(p->v, "-N means all mailboxes, and -n some");
	if (s->since.given && s->until.given && s->since.relative == s->until.relative &&
	    (s->since.relative ? s->since.ns <= s->until.ns : s->since.ns >= s->until.ns))
		return cli_usage(p->v, "no message is received since -t and before -e");
	return 0;
}

static int check_rest(const struct parsing *p)
{
	const struct sync_options *o = p->o;

	if (p->registered && o->destination)
		return cli_usage(p->v, "-d means the registered peers: leave it or %s out",
				 o->destination);
	if (o->session.state && !o->destination)
		return cli_usage(p->v, "-s needs a DESTINATION: a state is of one peer");
	if (p->backup && !o->destination)
		return cli_usage(p->v, "a backup needs a DESTINATION");
	if (o->quiet && (o->verbose || o->debug || o->json || o->session.dry_run))
		return cli_usage(p->v,
				 "-q says nothing: leave it out, or -v, -D, --json, --dry-run");
	if (o->purge && o->session.dry_run)
		return cli_usage(p->v, "-P and --dry-run: a dry run drops nothing");
	return 0;
}

static int settle_scope(struct parsing *p)
{
	struct scope *s = &p->o->scope;

	s->mirror = p->backup;
	if (p->one_way || p->backup)
		s->let[p->reverse] = 0; /* the source gets nothing */
	if (p->no_mail) {
		s->let[0] &= SCOPE_FOLDERS;
		s->let[1] &= SCOPE_FOLDERS;
	}
	if (!s->let[0] && !s->let[1])
		return cli_usage(p->v, "so nothing would travel at all");
	if (p->no_mail && p->backup)
		return cli_usage(p->v, "a backup without mail would empty the destination");
	p->o->session.scope = s;
	return 0;
}

int sync_options_parse(const struct verb *v, int argc, char **argv, bool backup,
		       struct sync_options *o)
{
	static const struct option names[] = {{"full", no_argument, NULL, 'f'},
					      {"state", required_argument, NULL, 's'},
					      {"dry-run", no_argument, NULL, OPT_DRY_RUN},
					      {"allow-mass-expunge", no_argument, NULL, OPT_MASS},
					      {"accept-old", no_argument, NULL, OPT_OLD},
					      {"fail-on-conflict", no_argument, NULL, OPT_CONFLICT},
					      {"replace-peer", no_argument, NULL, OPT_REPLACE},
					      {"pull", required_argument, NULL, OPT_PULL},
					      {"push", required_argument, NULL, OPT_PUSH},
					      {"verbose", no_argument, NULL, 'v'},
					      {"quiet", no_argument, NULL, 'q'},
					      {"json", no_argument, NULL, OPT_JSON},
					      {0}};
	struct parsing p = {.v = v, .o = o, .backup = backup};
	int c, code = 0;

	memset(o, 0, sizeof(*o));
	scope_init(&o->scope);
	while (!code && (c = cli_getopt(v, argc, argv, LETTERS, names)) != -1)
		code = take(&p, c);
	if (code)
		return code;
	if (optind < argc)
		o->destination = argv[optind++];
	if (optind < argc)
		return cli_usage(v, "%s: too many arguments", argv[optind]);
	code = check_mode(&p);
	if (!code)
		code = check_selection(&p);
	if (!code)
		code = check_rest(&p);
	return code ? code : settle_scope(&p);
}
