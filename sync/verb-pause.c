/*
 * verb-pause.c - mailbraid pause: the reconciler of a mount or a watch rests for a while.
 *
 * For hooks of suspend: what the reconciler has begun is finished or left for the next time, and nothing
 * is begun before the machine is awake again.  It goes on by itself, so that one who asked and was never
 * seen again stops nothing for long.
 */
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "sync/cli.h"
#include "sync/run-dir.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#define SECONDS 60
#define SECONDS_MAX 3600
#define PATIENCE_NS INT64_C(4000000000) /* logind waits for 5 s */

static int wait_for(const char *dir, bool paused)
{
	const struct timespec t = {.tv_nsec = 5000000};
	int64_t until = clock_mono_ns() + PATIENCE_NS;

	while (run_dir_paused(dir) != paused) {
		if (clock_mono_ns() > until)
			return -ETIMEDOUT;
		nanosleep(&t, NULL);
	}
	return 0;
}

static int pause_it(const char *dir, int seconds, bool end)
{
	union sigval how_long = {.sival_int = seconds};
	pid_t pid;
	int err = run_dir_supervisor(dir, &pid);

	if (err >= 0 && !pid)
		err = -ESRCH;
	if (err >= 0 && !end)
		run_dir_pause(dir, false); /* a rest of before says nothing of this one */
	if (err >= 0 && (end ? kill(pid, SIGUSR1) : sigqueue(pid, SIGUSR2, how_long)) < 0)
		err = -errno;
	if (err == -ESRCH)
		return mb_err_exit(mb_fail_do(err, "See \"mailbraid status\".",
					      "nobody mounts or watches the store %s", dir));
	if (err >= 0)
		err = wait_for(dir, !end);
	if (err == -ETIMEDOUT) {
		mb_fail_do(err,
			   end ? "Is its supervisor stopped?  See \"mailbraid status\"."
			       : "It has no reconciler (--no-sync), or hangs; look again.",
			   "the reconciler does not %s", end ? "go on" : "rest");
		return CLI_AGAIN;
	}
	return err < 0 ? mb_err_exit(mb_fail(err, "cannot tell the reconciler of %s", dir))
		       : CLI_OK;
}

static int run(const struct cli *cli, const struct verb *v, int argc, char **argv)
{
	static const struct option names[] = {
		{"seconds", required_argument, NULL, 's'}, {"end", no_argument, NULL, 'e'}, {0}};
	char *dir MB_AUTO_FREE = NULL, *rest;
	long seconds = SECONDS;
	bool end = false;
	int c;

	while ((c = cli_getopt(v, argc, argv, ":", names)) != -1) {
		if (c == '?')
			return CLI_USAGE;
		end |= c == 'e';
		if (c != 's')
			continue;
		errno = 0;
		seconds = strtol(optarg, &rest, 10);
		if (errno || *rest || !*optarg || seconds < 1 || seconds > SECONDS_MAX)
			return cli_usage(v, "%s: seconds, from 1 to %d", optarg, SECONDS_MAX);
	}
	if (optind < argc)
		return cli_usage(v, "%s: too many arguments", argv[optind]);
	int code = cli_store(cli, v, &dir);
	return code ? code : pause_it(dir, (int)seconds, end);
}

const struct verb verb_pause = {
	.name = "pause",
	.args = "[--seconds N] | --end",
	.what = "Let the reconciler rest, as before the machine sleeps",
	.help = "      --seconds N  it goes on by itself after so many (60)\n"
		"      --end        it goes on now\n",
	.run = run,
};
