/*
 * verb-serve.c - mailbraid serve: the store, to one mailbraid at the other end of stdin and stdout.
 *
 * Whoever is there gets this one store and nothing else of this host.  Nobody reads messages for people on
 * stdout: they go to stderr, which ssh and exec: pass on.
 */
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/wire/responder.h"
#include "sync/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define PATIENCE_S 600

static int open_served(bool dry, void *arg, struct backend **ret)
{
	io_set_read_only(dry);
	return backend_open_store(arg, ret);
}

/* So that nothing that is printed by mistake gets between the frames. */
static int take_stdout(void)
{
	int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);

	return out < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0 ? -errno : out;
}

static int serve(const char *dir, unsigned patience_s)
{
	int in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	int out = in < 0 ? -errno : take_stdout();

	if (out < 0)
		return mb_err_exit(mb_fail(out, "cannot use standard input and output"));
	signal(SIGPIPE, SIG_IGN);
	char *own MB_AUTO_FREE = mb_xstrdup(dir);
	int err = wire_serve(in, out, patience_s, open_served, own);
	if (err >= 0)
		return CLI_OK;
	/* The peer tells its own people. */
	mb_msg(MB_INFO, "the connection ended: %s", mb_err_str(err));
	return err == -ECONNRESET || err == -EPIPE ? CLI_AGAIN : mb_err_exit(err);
}

static int run(const struct cli *cli, const struct verb *v, int argc, char **argv)
{
	static const struct option names[] = {{"timeout", required_argument, NULL, 'T'}, {0}};
	unsigned long patience_s = PATIENCE_S;
	char *dir = NULL, *end;
	int c;

	while ((c = cli_getopt(v, argc, argv, ":T:", names)) != -1) {
		if (c == '?')
			return CLI_USAGE;
		patience_s = strtoul(optarg, &end, 10);
		if (!*optarg || *end || !patience_s || patience_s > 86400)
			return cli_usage(v, "-T %s: not a number of seconds (1 to 86400)", optarg);
	}
	if (optind < argc)
		return cli_usage(v, "%s: too many arguments", argv[optind]);
	if (isatty(STDIN_FILENO))
		return cli_usage(v, "it is started by the other end, not in a terminal");
	int code = cli_store(cli, v, &dir);
	if (!code)
		code = serve(dir, (unsigned)patience_s);
	free(dir);
	return code;
}

const struct verb verb_serve = {
	.name = "serve",
	.args = "[-T SECONDS]",
	.what = "Serve the store to a mailbraid at the other end of stdin and stdout",
	.help = "  -T, --timeout SECONDS   give up an end that says nothing for so long (600)\n",
	.run = run,
};
