/*
 * verb-status.c - mailbraid status: what the store holds, who is in step, what needs a person.
 *
 * Reads only: it works while another process is the writer, and changes nothing.
 */
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/log.h"
#include "backends/store/served.h"
#include "backends/store/server.h"
#include "backends/store/store.h"
#include "sync/cli.h"
#include "sync/peers.h"
#include "sync/run-dir.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ANSWER_S 2 /* patience with the writer */

struct status {
	char *dir, *mail, *mount; /* owned; mount NULL: none, "": a writer without one */
	const char *layout;
	enum served served; /* what is known of a Dovecot */
	uint64_t replica;
	uint64_t mailboxes, messages, tombstones, lost, damaged;
	struct position end;
	uint64_t modseq, log_files, log_bytes;
	pid_t supervisor;
	bool writer;   /* somebody listens at the socket */
	bool silent;   /* … and does not answer */
	pid_t stopped; /* … because it was stopped */
	bool paused;   /* its reconciler rests */
	json_t *fuse;  /* owned; with --fuse: requests by kind, as the mount counted them */
	struct peers peers;
};

static void status_release(struct status *st)
{
	free(st->dir);
	free(st->mail);
	free(st->mount);
	peers_release(&st->peers);
	json_decref(st->fuse);
}

/* ---- reading --------------------------------------------------------------------------------- */

static int count_entry(struct entry *e, void *arg)
{
	struct status *st = arg;

	st->messages += e->state != ENTRY_DEAD;
	st->tombstones += e->state == ENTRY_DEAD;
	st->lost += e->state == ENTRY_LOST;
	st->damaged += e->state == ENTRY_DAMAGED;
	return 0;
}

static int read_index(struct store *s, struct status *st)
{
	struct index_txn *tx;
	struct tree tree = {0};
	int err = index_begin(store_index(s), false, &tx);

	if (err < 0)
		return err;
	err = index_tree(tx, &tree);
	for (size_t i = 0; i < tree.n; i++)
		st->mailboxes += mailbox_alive(&tree.nodes[i]) && tree.nodes[i].selectable;
	tree_release(&tree);
	if (err >= 0)
		err = index_each(tx, count_entry, st);
	index_abort(tx);
	return err < 0 ? err : peers_read_store(s, &st->peers);
}

static int add_log_file(uint32_t sequence, int64_t created_ns, uint64_t size, void *arg)
{
	struct status *st = arg;

	st->log_files++;
	st->log_bytes += size;
	return 0;
}

static int read_log(struct store *s, struct status *st)
{
	int err = log_end(store_log(s), &st->end);

	if (err >= 0)
		st->modseq = log_modseq(store_log(s), &st->end);
	return err < 0 ? err : log_files(store_log(s), add_log_file, st);
}

static void keep_counter(const char *name, uint64_t n, void *arg)
{
	json_object_set_new(arg, name, json_integer((json_int_t)n));
}

static void read_writer(struct status *st)
{
	struct store_client *c;

	if (run_dir_supervisor(st->dir, &st->supervisor) < 0)
		st->supervisor = 0;
	st->paused = st->supervisor && run_dir_paused(st->dir);
	store_client_patience(ANSWER_S);
	st->stopped = store_writer_stopped(st->dir);
	int err = st->stopped ? MB_E_STOPPED : store_client_connect(st->dir, &c);
	st->silent = err == MB_E_STOPPED || err == -ETIMEDOUT;
	st->writer = !err || st->silent;
	if (err)
		return;
	st->mount = mb_xstrdup(store_client_mount(c));
	if (st->fuse)
		store_client_counters(c, keep_counter, st->fuse);
	store_client_close(c);
}

static int read_status(const char *dir, struct status *st)
{
	struct store *s;
	int err = cli_open_read(dir, &s);

	if (err < 0)
		return err;
	st->dir = mb_xstrdup(store_dir(s));
	st->mail = mb_xstrdup(store_mail_path(s));
	st->layout = layout_name(store_layout(s));
	st->replica = store_replica(s);
	err = read_index(s, st);
	if (err >= 0)
		err = read_log(s, st);
	if (err >= 0)
		err = store_served(s, &st->served);
	store_close(s);
	read_writer(st);
	return err < 0 ? err : 0;
}

/* ---- telling --------------------------------------------------------------------------------- */

static void tell_peers(const struct status *st)
{
	int64_t now = clock_wall_ns();

	if (!st->peers.n)
		printf("peers       none; \"mailbraid sync DESTINATION\" registers one\n");
	for (size_t i = 0; i < st->peers.n; i++) {
		const struct peer_state *p = &st->peers.list[i];
		char *name MB_AUTO_FREE = peer_name(p);
		char *ago MB_AUTO_FREE = cli_ago(p->synced_ns, now);
		printf("peer        %s: news exchanged %s\n", name, ago);
	}
}

static void tell_writer(const struct status *st)
{
	if (!st->writer)
		printf("writer      nobody now\n");
	else if (st->stopped)
		printf("WRITER      process %d was stopped and does not answer: nothing goes on in "
		       "the "
		       "mount; \"kill -CONT %d\" lets it go on\n",
		       (int)st->stopped, (int)st->stopped);
	else if (st->silent)
		printf("WRITER      does not answer within %d s: it is busy, or it hangs; look "
		       "again, "
		       "then at the messages\n",
		       ANSWER_S);
	else if (*st->mount)
		printf("writer      mailbraid-fs, mounted on %s\n", st->mount);
	else
		printf("writer      mailbraid watch\n");
	if (st->supervisor)
		printf("supervisor  pid %d, messages in %s/run/messages\n", (int)st->supervisor,
		       st->dir);
	if (st->paused)
		printf("PAUSED      nothing is synced now, because somebody said \"mailbraid "
		       "pause\"; it goes on by itself\n");
}

static void tell_trouble(const struct status *st)
{
	if (st->served == SERVED_OUTSIDE)
		printf("DOVECOT     keeps its UIDs and the names of its keywords out of the mail "
		       "(CONTROL=), where they are its own: a peer's Dovecot has others; take "
		       "CONTROL= out of mail_location, INDEX= may stay\n");
	if (st->lost)
		printf("LOST        %" PRIu64
		       " messages have no file: the next sync fetches them from "
		       "a peer that has them; see mailbraid lost\n",
		       st->lost);
	if (st->damaged)
		printf("DAMAGED     %" PRIu64
		       " messages are not what was stored: the next sync fetches "
		       "them, and keeps what is there now in deleted/damaged\n",
		       st->damaged);
}

/* Requests since the mount began; what is not named was never asked for. */
static void tell_fuse(const struct status *st)
{
	const char *name;
	json_t *n;

	json_object_foreach(st->fuse, name, n)
		printf("fuse        %-16s %" JSON_INTEGER_FORMAT "\n", name, json_integer_value(n));
	if (!json_object_size(st->fuse))
		printf("fuse        no requests%s\n",
		       st->mount && *st->mount ? " yet" : ": nothing is mounted");
}

static void tell(const struct status *st)
{
	printf("store       %s\n", st->dir);
	printf("mail        %s (%s)\n", st->mail, st->layout);
	printf("holds       %" PRIu64 " messages in %" PRIu64 " mailboxes; %" PRIu64
	       " expunged ones remembered\n",
	       st->messages, st->mailboxes, st->tombstones);
	printf("log         file %" PRIu32 ", offset %" PRIu32 "; %" PRIu64 " files, %" PRIu64
	       " KiB\n",
	       st->end.sequence, st->end.offset, st->log_files, (st->log_bytes + 1023) / 1024);
	tell_writer(st);
	tell_peers(st);
	tell_trouble(st);
	if (st->fuse)
		tell_fuse(st);
}

static json_t *position_json(const struct position *p)
{
	char id[GUID_TEXT];

	return json_pack("{s:s, s:I, s:I}", "log", guid_text(&p->log, id), "sequence",
			 (json_int_t)p->sequence, "offset", (json_int_t)p->offset);
}

static json_t *hex_json(uint64_t n)
{
	char text[17];

	snprintf(text, sizeof(text), "%016" PRIx64, n);
	return json_string(text);
}

static json_t *peers_json(const struct peers *peers)
{
	json_t *list = json_array();

	for (size_t i = 0; i < peers->n; i++) {
		const struct peer_state *p = &peers->list[i];
		char *at MB_AUTO_FREE = p->synced_ns ? cli_time(p->synced_ns) : NULL;
		json_array_append_new(list,
				      json_pack("{s:o, s:s?, s:s?, s:o, s:o}", "replica",
						hex_json(p->replica), "destination",
						peer_is_ours(p) ? p->destination : NULL, "synced",
						at, "local", position_json(&p->local), "remote",
						position_json(&p->remote)));
	}
	return list;
}

static void tell_json(const struct status *st)
{
	json_t *o = json_pack("{s:i, s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:I}", "v",
			      CLI_JSON_VERSION, "store", st->dir, "mail", st->mail, "layout",
			      st->layout, "replica", hex_json(st->replica), "mailboxes",
			      (json_int_t)st->mailboxes, "messages", (json_int_t)st->messages,
			      "tombstones", (json_int_t)st->tombstones, "lost",
			      (json_int_t)st->lost, "damaged", (json_int_t)st->damaged);

	json_object_set_new(o, "position", position_json(&st->end));
	json_object_set_new(o, "modseq", json_integer((json_int_t)st->modseq));
	json_object_set_new(o, "log_files", json_integer((json_int_t)st->log_files));
	json_object_set_new(o, "log_bytes", json_integer((json_int_t)st->log_bytes));
	json_object_set_new(o, "writer", json_boolean(st->writer));
	json_object_set_new(o, "answers", json_boolean(st->writer && !st->silent));
	json_object_set_new(o, "mount",
			    st->mount && *st->mount ? json_string(st->mount) : json_null());
	json_object_set_new(o, "supervisor",
			    st->supervisor ? json_integer(st->supervisor) : json_null());
	static const char *const served[] = {NULL, "inside", "outside"};
	json_object_set_new(o, "dovecot",
			    served[st->served] ? json_string(served[st->served]) : json_null());
	json_object_set_new(o, "paused", json_boolean(st->paused));
	json_object_set_new(o, "peers", peers_json(&st->peers));
	if (st->fuse)
		json_object_set(o, "fuse", st->fuse);
	cli_json(o);
}

static int run(const struct cli *cli, const struct verb *v, int argc, char **argv)
{
	static const struct option names[] = {
		{"json", no_argument, NULL, 'j'}, {"fuse", no_argument, NULL, 'F'}, {0}};
	struct status st = {0};
	char *dir MB_AUTO_FREE = NULL;
	bool json = false;
	int c;

	while ((c = cli_getopt(v, argc, argv, ":", names)) != -1) {
		if (c == '?')
			return CLI_USAGE;
		json = json || c == 'j';
		if (c == 'F' && !st.fuse)
			st.fuse = json_object();
	}
	if (optind < argc)
		return cli_usage(v, "%s: too many arguments", argv[optind]);
	int code = cli_store(cli, v, &dir);
	if (code)
		return code;
	int err = read_status(dir, &st);
	if (err < 0)
		code = mb_err_exit(mb_fail(err, "cannot read the store %s", dir));
	else if (json)
		tell_json(&st);
	else
		tell(&st);
	status_release(&st);
	return code;
}

const struct verb verb_status = {
	.name = "status",
	.args = "[--json] [--fuse]",
	.what = "Tell what the store holds, its peers, and what needs attention",
	.help = "  --json  as JSON\n"
		"  --fuse  the requests that the mount got from the kernel, by kind\n",
	.run = run,
};
