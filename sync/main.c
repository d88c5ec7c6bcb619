/*
 * main.c - mailbraid: the table of verbs, and what stands before the verb.
 *
 * Verb v is sync/verb-v.c and man/mailbraid-v.1.  Started as mount.mailbraid it is mount(8)'s helper:
 * SOURCE is the store, DIR the mount point; mount.fuse3(8) calls us in the same way by our own name.
 */
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "sync/cli.h"

#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct verb *const verbs[] = {
	&verb_init,    &verb_mount,	&verb_umount, &verb_watch,	&verb_sync,
	&verb_backup,  &verb_status,	&verb_log,    &verb_checkpoint, &verb_demo,
	&verb_version, &verb_reconcile, &verb_peer,   &verb_conflicts,	&verb_lost,
	&verb_pause,   &verb_serve,
};
#define N_VERBS (sizeof(verbs) / sizeof(verbs[0]))

static const struct verb *find(const char *name)
{
	for (size_t i = 0; i < N_VERBS; i++) {
		if (strcmp(verbs[i]->name, name) == 0)
			return verbs[i];
	}
	return NULL;
}

static int help(FILE *out)
{
	fprintf(out, "usage: mailbraid [--store DIR] [-Dv] VERB [ARGUMENT...]\n\n");
	for (size_t i = 0; i < N_VERBS; i++) {
		if (!verbs[i]->hidden)
			fprintf(out, "  %-11s %s\n", verbs[i]->name, verbs[i]->what);
	}
	fprintf(out,
		"\n  --store DIR  the store, or the Maildir that was adopted into it"
		" (else $MAILBRAID_STORE)\n"
		"  -D, -v       the options of sync and backup, where doveadm has them\n"
		"\nmailbraid VERB --help tells more; so do mailbraid(1) and mailbraid-VERB(1).\n");
	return 0;
}

static int verb_help(const struct verb *v)
{
	printf("usage: mailbraid [--store DIR] %s%s%s\n\n%s.\n", v->name, *v->args ? " " : "",
	       v->args, v->what);
	if (*v->help)
		printf("\n%s", v->help);
	return 0;
}

static bool asks_for_help(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return true;
	}
	return false;
}

static int run(const struct cli *cli, int argc, char **argv)
{
	const struct verb *v = find(argv[0]);

	if (!v) {
		mb_msg(MB_ERROR, "no verb %s", argv[0]);
		fprintf(stderr, "  do:  mailbraid --help\n");
		return CLI_USAGE;
	}
	if (asks_for_help(argc, argv))
		return verb_help(v);
	optind = 0;
	int code = v->run(cli, v, argc, argv);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		mb_fail(errno ? -errno : -EIO, "cannot write the output");
		return code ? code : CLI_FAILED;
	}
	return code;
}

/* mount(8) calls us as: mount.mailbraid SOURCE DIR [-sfnv] [-o OPTIONS] [-t TYPE]. */
static int run_helper(struct cli *cli, int argc, char **argv)
{
	char mount[] = "mount", o[] = "-o", end[] = "--";
	char *args[8] = {mount};
	char *options = NULL;
	int n = 1, c;

	opterr = 0;
	while ((c = getopt(argc, argv, "sfnvo:t:N:")) != -1) {
		if (c == 'o')
			options = optarg;
		else if (c == 'f')
			return 0; /* fake: everything but the mount */
	}
	if (argc - optind != 2) {
		fprintf(stderr, "usage: mount.mailbraid STORE DIR [-o OPTIONS]\n");
		return 1; /* mount(8): incorrect invocation */
	}
	cli->store = argv[optind];
	if (options) {
		args[n++] = o;
		args[n++] = options;
	}
	args[n++] = end;
	args[n++] = argv[optind + 1];
	optind = 0;
	int code = verb_mount.run(cli, &verb_mount, n, args);
	return code ? CLI_MOUNT : 0;
}

/* The letters that stood before the verb, and where they are said again. */
struct letters {
	char words[3][3]; /* "-D", "-v" */
	int n;
};

static void letters_add(struct letters *l, int c)
{
	for (int i = 0; i < l->n; i++)
		if (l->words[i][1] == c)
			return;
	l->words[l->n][0] = '-';
	l->words[l->n++][1] = (char)c;
}

/* doveadm has -D and -v before the verb: the verb reads them as its own, and who has none says so. */
static int run_with(const struct cli *cli, struct letters *l, int argc, char **argv)
{
	char **all = mb_xcalloc((size_t)(argc + l->n) + 1, sizeof(*all));
	int n = 0;

	all[n++] = argv[0];
	for (int i = 0; i < l->n; i++)
		all[n++] = l->words[i];
	for (int i = 1; i < argc; i++)
		all[n++] = argv[i];
	int code = run(cli, n, all);
	free(all);
	return code;
}

static int global_options(struct cli *cli, struct letters *l, int argc, char **argv)
{
	static const struct option names[] = {{"store", required_argument, NULL, 's'},
					      {"help", no_argument, NULL, 'h'},
					      {"version", no_argument, NULL, 'V'},
					      {0}};
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "+:Dvh", names, NULL)) != -1) {
		switch (c) {
		case 's':
			cli->store = optarg;
			break;
		case 'D':
		case 'v':
			letters_add(l, c);
			break;
		case 'h':
			exit(help(stdout));
		case 'V':
			optind = 0;
			exit(verb_version.run(cli, &verb_version, 1, argv));
		default:
			help(stderr);
			return CLI_USAGE;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct cli cli = {.program = argv[0], .store = secure_getenv("MAILBRAID_STORE")};
	const char *slash = strrchr(argv[0], '/');
	const char *name = slash ? slash + 1 : argv[0];

	io_init();
	setlocale(LC_CTYPE, "");
	signal(SIGPIPE, SIG_IGN);
	mb_msg_set_program("mailbraid");
	if (strcmp(name, "mount.mailbraid") == 0 || strcmp(name, "mount.fuse.mailbraid") == 0 ||
	    (argc > 2 && argv[1][0] == '/')) /* no verb begins so */
		return run_helper(&cli, argc, argv);

	struct letters letters = {0};
	int code = global_options(&cli, &letters, argc, argv);
	if (code)
		return code;
	if (optind >= argc) {
		help(stderr);
		return CLI_USAGE;
	}
	return run_with(&cli, &letters, argc - optind, argv + optind);
}
