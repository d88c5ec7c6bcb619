/*
 * verb-watch.c - mailbraid watch: live without a mount.
 *
 * The mail tree stays a plain directory.  A writer process watches it (inotify), logs what programs do
 * there, and serves the store's socket; the reconciler runs beside it; both are supervised as the
 * halves of a mount are.  Two processes, because an index is open only once in a process.
 */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/server.h"
#include "backends/store/store.h"
#include "sync/cli.h"
#include "sync/run-dir.h"
#include "sync/supervise.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define PEERS_MAX 64
#define READY_FD 3

struct options {
	bool background, no_sync, serve, stop;
	const char *peers[PEERS_MAX];
	size_t n_peers;
};

static int parse(const struct verb *v, int argc, char **argv, struct options *o)
{
	static const struct option names[] = {
		{"background", no_argument, NULL, 'b'}, {"peer", required_argument, NULL, 'p'},
		{"no-sync", no_argument, NULL, 'n'},	{"serve", no_argument, NULL, 'S'},
		{"stop", no_argument, NULL, 'x'},	{0}};
	int c;

	while ((c = cli_getopt(v, argc, argv, ":b", names)) != -1) {
		if (c == '?')
			return CLI_USAGE;
		if (c == 'b')
			o->background = true;
		else if (c == 'n')
			o->no_sync = true;
		else if (c == 'S')
			o->serve = true;
		else if (c == 'x')
			o->stop = true;
		else if (c == 'p' && o->n_peers == PEERS_MAX)
			return cli_usage(v, "too many peers");
		else if (c == 'p')
			o->peers[o->n_peers++] = optarg;
	}
	return optind < argc ? cli_usage(v, "%s: too many arguments", argv[optind]) : 0;
}

/* ---- the writer ------------------------------------------------------------------------------ */

static sigset_t end_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	return set;
}

static void wait_for_end(void)
{
	sigset_t set = end_signals();
	int number;

	if (write(READY_FD, "1", 1) != 1)
		return; /* nobody is there who would end us */
	close(READY_FD);
	sigwait(&set, &number);
}

/* Signals are blocked before the first thread, so that only sigwait() gets them. */
static sigset_t block_signals(void)
{
	sigset_t set = end_signals();

	sigprocmask(SIG_BLOCK, &set, NULL);
	return set;
}

static int serve(const char *dir)
{
	struct store_server *server = NULL;
	struct store_watch *watch = NULL;
	struct store *store;
	struct scan_report report;

	sigset_t end = block_signals();
	int err = store_open_in_turn(dir, STORE_TURN_S, &end, &store);
	if (err < 0)
		return mb_err_exit(mb_fail(err, "cannot open the store %s", dir));
	err = store_watch_start(store, &watch);
	/* What changed between the scan at open and the first watch. */
	if (err >= 0)
		err = store_scan(store, false, &report);
	if (err >= 0)
		err = store_server_start(store, NULL, NULL, &server);
	if (err >= 0)
		wait_for_end();
	else
		mb_fail(err, "cannot watch %s", store_mail_path(store));
	store_server_stop(server);
	store_watch_stop(watch);
	store_close(store);
	return err < 0 ? mb_err_exit(err) : CLI_OK;
}

/* ---- the supervisor -------------------------------------------------------------------------- */

static int watch(const struct options *o, const char *dir)
{
	char *self MB_AUTO_FREE = cli_self();
	const char *serve_argv[] = {self, "--store", dir, "watch", "--serve", NULL};
	const char *sync_argv[5 + 2 * PEERS_MAX] = {self, "--store", dir, "reconcile"};
	const struct supervise s = {.store = dir,
				    .mount = dir,
				    .fs_argv = serve_argv,
				    .sync_argv = o->no_sync ? NULL : sync_argv};

	for (size_t i = 0, n = 4; i < o->n_peers; i++) {
		sync_argv[n++] = "--peer";
		sync_argv[n++] = o->peers[i];
	}
	return supervise_store(&s, !o->background);
}

static int stop(const char *dir)
{
	int err = run_dir_end(dir);

	if (err == -ESRCH)
		return mb_err_exit(mb_fail_do(err, "See \"mailbraid status\".",
					      "nobody watches the store %s", dir));
	return err < 0 ? mb_err_exit(mb_fail(err, "cannot end the watch of %s", dir)) : CLI_OK;
}

static int run(const struct cli *cli, const struct verb *v, int argc, char **argv)
{
	struct options o = {0};
	char *dir MB_AUTO_FREE = NULL;
	int code = parse(v, argc, argv, &o);

	if (!code)
		code = cli_store(cli, v, &dir);
	if (code)
		return code;
	if (o.stop)
		return stop(dir);
	return o.serve ? serve(dir) : watch(&o, dir);
}

const struct verb verb_watch = {
	.name = "watch",
	.args = "[-b] [--peer DESTINATION]... [--no-sync] | --stop",
	.what = "Keep the plain directory live and in step, without a mount",
	.help = "  -b, --background    return when it works; --stop ends it\n"
		"      --peer DESTINATION\n"
		"                      keep in step with this one too\n"
		"      --no-sync       log changes only\n"
		"      --stop          end a watch in the background\n",
	.run = run,
};
