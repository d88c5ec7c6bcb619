/*
 * sync-run.c - one run of sync or backup: with one peer, or with all that are registered.
 *
 * A peer is registered by its first sync of everything that succeeds.  Exit code: the worst of all
 * peers'.
 */
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/store.h"
#include "sync/conflicts.h"
#include "sync/interrupt.h"
#include "sync/peers.h"
#include "sync/sync-report.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct sync_run {
	struct sync_options o;
	struct backend *local;
	char *dir; /* owned: of the store */
	FILE *rawlog;
};

/* ---- exit codes ------------------------------------------------------------------------------ */

/* 1 is worse than 2 (a person is needed), both than 75, and that than 3. */
static int worse(int a, int b)
{
	static const int order[] = {CLI_OK, CLI_CONFLICT, CLI_LATER, CLI_AGAIN};
	int rank[2] = {4, 4}, code[2] = {a, b};

	for (int i = 0; i < 2; i++) {
		for (int k = 0; k < 4; k++) {
			if (code[i] == order[k])
				rank[i] = k;
		}
	}
	return rank[1] > rank[0] ? b : a;
}

static bool is_registered(struct sync_run *run, const char *destination)
{
	struct peers peers;

	if (peers_read(run->local, &peers) < 0)
		return false;
	int at = peers_find(&peers, destination);
	bool is = at >= 0 && peer_is_ours(&peers.list[at]);
	peers_release(&peers);
	return is;
}

/* Nothing of a peer lies where it was. */
static bool is_away(int err)
{
	return err == -ENOENT || err == MB_E_NOT_STORE || err == MB_E_NOT_MAILDIR;
}

/* A peer that cannot be reached now may be there later: the disk is not in, the host is off.  Of a
 * place where none ever was nobody knows that. */
static int unreachable(struct sync_run *run, const char *destination, int err)
{
	if (is_away(err) && is_registered(run, destination)) {
		mb_fail_do(err,
			   "Is its disk mounted?  Then run again; a peer that is gone for good is "
			   "to be forgotten: mailbraid peer forget.",
			   "cannot open the peer %s", destination);
		return CLI_AGAIN;
	}
	int code = mb_err_exit(mb_fail(err, "cannot open the peer %s", destination));
	return mb_err_retry(err) != MB_RETRY_NEVER && code == CLI_FAILED ? CLI_AGAIN : code;
}

/* Messages of ours whose body is lost or damaged, and was not given back. */
static uint64_t count_missing(struct backend *local)
{
	struct backend_info info = {0};

	return local->ops->info(local, &info) < 0 ? 0 : info.missing;
}

/* A mailbox that kept its old directory, which a warning named, is not in step. */
static bool any_misplaced(struct backend *b)
{
	struct backend_info info = {0};

	return b->ops->info(b, &info) >= 0 && info.misplaced;
}

/* Whatever the peers gave: who cannot read a message is told so each time. */
static int tell_missing(struct backend *local, int code)
{
	uint64_t n = count_missing(local);

	if (!n)
		return code;
	mb_msg(MB_WARNING,
	       "%llu messages here have lost their body or are damaged, and no peer gave it back; "
	       "sync with a peer that has them, or delete what is damaged; mailbraid lost lists "
	       "what has no file and gives it up",
	       (unsigned long long)n);
	return worse(code, CLI_AGAIN);
}

/* ---- one peer -------------------------------------------------------------------------------- */

static struct backend *with_rawlog(const struct sync_run *run, struct backend *b, const char *label)
{
	return run->rawlog ? backend_trace_to(b, label, run->rawlog) : b;
}

static int open_peer(const struct sync_run *run, const char *destination, struct backend **ret)
{
	int err = backend_open(destination, run->local, ret);

	if (err >= 0)
		*ret = with_rawlog(run, *ret, "peer");
	return err;
}

/* Directory of the store that -P is about, owned; NULL: a Maildir.  A Maildir that was adopted is its
 * store, whatever it was called. */
static char *purged_store(const struct sync_run *run, struct backend *peer)
{
	struct backend_info info = {0};

	if (scope_source(&run->o.scope) == 1)
		return mb_xstrdup(run->dir);
	if (peer->ops->info(peer, &info) < 0 || !info.destination ||
	    strncmp(info.destination, "store:", 6) != 0)
		return NULL;
	return mb_xstrdup(info.destination + 6);
}

/* -P: of a store, what it deleted long ago. */
static int purge(const char *dir, const char *destination)
{
	if (!dir && strncmp(destination, "maildir:", 8) != 0 && strchr(destination, ':')) {
		mb_msg(MB_NOTICE,
		       "-P did nothing: what %s deleted is dropped on its own host, by mailbraid "
		       "checkpoint",
		       destination);
		return CLI_OK;
	}
	if (!dir) {
		mb_msg(MB_NOTICE,
		       "-P did nothing: %s is a plain Maildir, which keeps nothing of what is "
		       "deleted; mailbraid checkpoint drops what this store keeps",
		       destination);
		return CLI_OK;
	}
	int err = cli_checkpoint(dir, false, STORE_KEEP_DELETED_NS);
	if (err >= 0)
		return CLI_OK;
	mb_fail(err, "what %s deleted long ago was not dropped", dir);
	return mb_err_retry(err) == MB_RETRY_NEVER ? CLI_FAILED : CLI_AGAIN;
}

static int open_local(struct sync_run *run)
{
	int err = backend_open_store(run->dir, &run->local);

	if (err < 0)
		return mb_err_exit(mb_fail(err, "cannot open the store %s", run->dir));
	run->local = with_rawlog(run, run->local, "here");
	return 0;
}

/* True when the index of one of the stores is not whole: both are closed, and to be opened again. */
static bool is_index_bad(struct sync_run *run, struct backend *peer)
{
	bool there = backend_doubt(peer) > 0, here = backend_doubt(run->local) > 0;

	if (!here && !there)
		return false;
	backend_close(peer);
	backend_close(MB_TAKE(run->local));
	return true;
}

/* The exit code, but for missing bodies: the next peer may have them.  -1: an index was bad, and is set
 * aside: once more. */
static int sync_once(struct sync_run *run, const char *destination)
{
	struct backend *peer = NULL;
	struct session_result r;
	struct sync_report rep;
	struct conflicts_keeper keeper = {.dir = run->dir, .peer = destination};
	struct session_options opt = run->o.session;
	int err = open_peer(run, destination, &peer);

	if (err < 0)
		return unreachable(run, destination, err);
	if (opt.full && is_index_bad(run, peer))
		return -1;
	sync_report_open(&rep, &run->o, &opt);
	opt.stop = interrupt_asked;
	opt.decided = conflicts_keep;
	opt.decided_arg = &keeper;
	err = session_run_until_stable(run->local, peer, &opt, &r);
	if (err < 0 && err != -EINTR && is_index_bad(run, peer)) {
		progress_close(&rep.progress);
		session_result_release(&r);
		sync_report_release(&rep);
		return -1;
	}
	int code = session_exit(err, &r);
	if (run->o.fail_on_conflict && r.conflicts)
		code = worse(code, CLI_CONFLICT);
	if (any_misplaced(run->local) || any_misplaced(peer))
		code = worse(code, CLI_AGAIN);
	uint64_t missing = count_missing(run->local);
	int told = missing ? worse(code, CLI_AGAIN) : code;
	progress_close(&rep.progress);
	if (err == -EINTR)
		mb_msg(MB_NOTICE,
		       "interrupted; what was done stays, and the next run does the rest");
	else if (err < 0)
		mb_fail(err, "the sync with %s ended early", destination);
	if (err >= 0 || r.changed || run->o.json)
		sync_report(&rep, destination, told, missing, &r);
	session_result_release(&r);
	sync_report_release(&rep);
	char *kept MB_AUTO_FREE = purged_store(run, peer);
	backend_close(peer);
	return run->o.purge && err >= 0 ? worse(code, purge(kept, destination)) : code;
}

static int sync_one(struct sync_run *run, const char *destination)
{
	for (int left = 2;; left--) {
		int code = sync_once(run, destination);

		if (code >= 0)
			return code;
		code = open_local(run);
		if (code)
			return code;
		if (!left) /* each time another one: somebody damages them as we go */
			return mb_err_exit(mb_fail(MB_E_CHECKSUM, "the sync with %s ended early",
						   destination));
	}
}

/* ---- all peers ------------------------------------------------------------------------------- */

static int sync_all(struct sync_run *run)
{
	struct peers peers;
	int code = CLI_OK, n = 0;
	int err = peers_read(run->local, &peers);

	if (err < 0)
		return mb_err_exit(mb_fail(err, "cannot read the list of peers"));
	for (size_t i = 0; i < peers.n && run->local && !interrupt_asked(NULL); i++) {
		if (!peer_is_ours(&peers.list[i]))
			continue;
		code = worse(code, sync_one(run, peers.list[i].destination));
		n++;
	}
	peers_release(&peers);
	if (!n && !interrupt_asked(NULL)) {
		mb_msg(MB_ERROR, "no peer is registered");
		fprintf(stderr, "  do:  mailbraid --store DIR sync DESTINATION, once\n");
		return CLI_USAGE;
	}
	return code;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int open_rawlog(struct sync_run *run)
{
	const char *path = run->o.rawlog;
	int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;

	if (!path)
		return 0;
	run->rawlog = fd >= 0 ? fdopen(fd, "a") : NULL;
	if (run->rawlog)
		return 0;
	int err = -errno;
	if (fd >= 0)
		close(fd);
	return mb_err_exit(mb_fail(err, "cannot write the raw log %s", path));
}

static int sync_everything(struct sync_run *run)
{
	struct sync_options *o = &run->o;

	if (o->quiet)
		mb_msg_set_level(MB_WARNING);
	if (o->debug)
		mb_msg_set_level(MB_DEBUG);
	io_set_read_only(o->session.dry_run);
	if (o->stall_s)
		backend_patience(o->stall_s);
	if (o->lock_s)
		backend_lock_wait(o->lock_s);
	int code = open_rawlog(run);
	if (!code)
		code = open_local(run);
	if (code)
		return code;
	if (o->debug) {
		char *text MB_AUTO_FREE = scope_text(&o->scope, 0);
		mb_msg(MB_DEBUG, "the scope is: %s", text);
	}
	interrupt_watch();
	code = o->destination ? sync_one(run, o->destination) : sync_all(run);
	if (run->local)
		code = tell_missing(run->local, code);
	backend_close(run->local);
	return code;
}

int sync_run(const struct cli *cli, const struct verb *v, int argc, char **argv, bool backup)
{
	struct sync_run run = {0};
	int code = sync_options_parse(v, argc, argv, backup, &run.o);

	if (!code)
		code = cli_store(cli, v, &run.dir);
	if (!code)
		code = sync_everything(&run);
	if (run.rawlog)
		fclose(run.rawlog);
	free(run.dir);
	sync_options_release(&run.o);
	interrupt_end();
	return code;
}
