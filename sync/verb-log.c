/*
 * verb-log.c - mailbraid log: what happened to the mail, newest last.
 *
 * Reads the transaction log; works while another process writes it.  Names of files and mailboxes are
 * printed with control bytes escaped; subjects and bodies are not in the log.
 */
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/log.h"
#include "backends/store/store.h"
#include "sync/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>

#define DEFAULT_LINES 50

struct options {
	bool json, follow, all;
	unsigned long lines; /* 0 = all */
};

struct line {
	struct record record;
	struct position end;
	uint64_t modseq;
};

struct reading {
	const struct options *o;
	struct store *store;
	struct tree tree;  /* names of mailboxes now */
	struct line *ring; /* owned: the last o->lines records */
	size_t n, next;
	struct position end;
};

/* ---- one record ------------------------------------------------------------------------------ */

static const struct guid *mailbox_of(const struct record *r)
{
	return guid_is_zero(&r->mailbox.guid) ? &r->copy.place.mailbox : &r->mailbox.guid;
}

static void put_escaped(const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if (c < 0x20 || c == 0x7f)
			printf("\\x%02x", c);
		else
			putchar(c);
	}
}

static void put_who(const struct reading *rd, const struct record *r)
{
	if (*r->origin.comm)
		printf("%s[%" PRIu32 "]", r->origin.comm, r->origin.pid);
	else if (r->origin.replica == store_replica(rd->store) || !r->origin.replica)
		printf("mailbraid");
	else
		printf("peer:%08" PRIx64, r->origin.replica >> 32);
}

static void put_names(const struct record *r)
{
	if (r->old_name && r->new_name && strcmp(r->old_name, r->new_name) != 0) {
		putchar(' ');
		put_escaped(r->old_name);
		printf(" -> ");
		put_escaped(r->new_name);
	} else if (r->new_name || r->old_name) {
		putchar(' ');
		put_escaped(r->new_name ? r->new_name : r->old_name);
	}
	if (r->peer.destination) {
		putchar(' ');
		put_escaped(r->peer.destination);
	}
}

static void tell(const struct reading *rd, const struct line *l)
{
	const struct record *r = &l->record;
	char *time MB_AUTO_FREE = cli_time_short(stamp_ms(&r->at) * 1000000, clock_wall_ns());
	const struct guid *g = mailbox_of(r);

	printf("%s  ", time);
	put_who(rd, r);
	printf("  %s  ", record_type_name(r->type));
	if (!guid_is_zero(g)) {
		char *name MB_AUTO_FREE = tree_name(&rd->tree, g);
		put_escaped(name);
	} else {
		putchar('-');
	}
	put_names(r);
	putchar('\n');
}

/* File names are bytes; JSON is UTF-8: what is not valid becomes \u00NN of the byte. */
static json_t *bytes_json(const char *s)
{
	struct buf out BUF_AUTO = BUF_INIT;
	json_t *j = s ? json_string(s) : json_null();

	if (j)
		return j;
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if (c < 0x80)
			buf_put_u8(&out, c);
		else
			buf_printf(&out, "%c%c", 0xc0 | (c >> 6), 0x80 | (c & 0x3f));
	}
	return json_string(buf_cstr(&out));
}

static json_t *guid_json(const struct guid *g)
{
	char text[GUID_TEXT];

	return guid_is_zero(g) ? json_null() : json_string(guid_text(g, text));
}

static void tell_json(const struct reading *rd, const struct line *l)
{
	const struct record *r = &l->record;
	const struct guid *g = mailbox_of(r);
	char *time MB_AUTO_FREE = cli_time(stamp_ms(&r->at) * 1000000);
	char *name MB_AUTO_FREE = guid_is_zero(g) ? NULL : tree_name(&rd->tree, g);
	struct buf flags BUF_AUTO = BUF_INIT;
	char replica[17];

	flags_text(&r->copy.flags, &flags);
	snprintf(replica, sizeof(replica), "%016" PRIx64, r->origin.replica);
	json_t *o = json_pack("{s:i, s:s, s:s, s:I, s:s, s:s, s:I, s:b}", "v", CLI_JSON_VERSION,
			      "time", time, "what", record_type_name(r->type), "modseq",
			      (json_int_t)l->modseq, "replica", replica, "program", r->origin.comm,
			      "pid", (json_int_t)r->origin.pid, "here",
			      r->origin.replica == store_replica(rd->store));
	json_object_set_new(o, "mailbox", bytes_json(name));
	json_object_set_new(o, "mailbox_guid", guid_json(g));
	json_object_set_new(o, "guid", guid_json(&r->copy.guid));
	json_object_set_new(o, "uid", json_integer(r->copy.place.uid));
	json_object_set_new(o, "flags", bytes_json(buf_cstr(&flags)));
	json_object_set_new(o, "old_name", bytes_json(r->old_name));
	json_object_set_new(o, "new_name", bytes_json(r->new_name));
	if (r->peer.destination)
		json_object_set_new(o, "peer", bytes_json(r->peer.destination));
	json_object_set_new(o, "sequence", json_integer(l->end.sequence));
	json_object_set_new(o, "offset", json_integer(l->end.offset));
	cli_json(o);
}

static void tell_line(const struct reading *rd, const struct line *l)
{
	if (rd->o->json)
		tell_json(rd, l);
	else
		tell(rd, l);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Housekeeping is shown with --all. */
static bool shown(const struct options *o, const struct record *r)
{
	if (o->all)
		return true;
	switch (r->type) {
	case REC_DIGEST:
	case REC_PEER:
	case REC_PEER_ENTRY:
	case REC_REPLICA:
	case REC_COPY_STATE:
	case REC_MAILBOX_STATE:
		return false;
	default:
		return true;
	}
}

static int on_record(const struct record *r, const struct position *end, uint64_t modseq, void *arg)
{
	struct reading *rd = arg;
	struct line now = {.end = *end, .modseq = modseq};

	rd->end = *end;
	if (!shown(rd->o, r))
		return 0;
	if (!rd->ring) {
		now.record = *r; /* borrowed for the line */
		tell_line(rd, &now);
		return 0;
	}
	record_clone(&now.record, r);
	struct line *slot = &rd->ring[rd->next];
	if (rd->n == rd->o->lines)
		record_release(&slot->record);
	else
		rd->n++;
	*slot = now;
	rd->next = (rd->next + 1) % rd->o->lines;
	return 0;
}

static void flush_ring(struct reading *rd)
{
	for (size_t i = 0; i < rd->n; i++) {
		size_t at = (rd->next + rd->o->lines - rd->n + i) % rd->o->lines;
		tell_line(rd, &rd->ring[at]);
		record_release(&rd->ring[at].record);
	}
	free(rd->ring);
	rd->ring = NULL;
	rd->n = 0;
}

static int read_tree(struct reading *rd)
{
	struct index_txn *tx;
	int err = index_begin(store_index(rd->store), false, &tx);

	if (err < 0)
		return err;
	tree_release(&rd->tree);
	memset(&rd->tree, 0, sizeof(rd->tree));
	err = index_tree(tx, &rd->tree);
	index_abort(tx);
	return err;
}

static int read_from(struct reading *rd, const struct position *since)
{
	int err = read_tree(rd);

	rd->end = *since;
	if (err >= 0)
		err = log_read(store_log(rd->store), since, on_record, rd, NULL);
	return err;
}

static int follow(struct reading *rd)
{
	char *dir MB_AUTO_FREE = mb_xasprintf("%s/log", store_dir(rd->store));
	char events[4096];
	int fd MB_AUTO_CLOSE = inotify_init1(IN_CLOEXEC);

	if (fd < 0 || inotify_add_watch(fd, dir, IN_MODIFY | IN_CREATE) < 0)
		return -errno;
	for (;;) {
		struct position since = rd->end;
		int err = read_from(rd, &since);
		if (err < 0)
			return err;
		if (fflush(stdout) != 0)
			return -errno;
		if (read(fd, events, sizeof(events)) <= 0 && errno != EINTR)
			return -errno;
	}
}

static int read_log(struct reading *rd)
{
	struct position start;
	int err = log_start(store_log(rd->store), &start);

	if (err == -ENOENT)
		return 0;
	if (rd->o->lines)
		rd->ring = mb_xcalloc(rd->o->lines, sizeof(*rd->ring));
	if (err >= 0)
		err = read_from(rd, &start);
	flush_ring(rd);
	if (err >= 0 && rd->o->follow)
		err = follow(rd);
	tree_release(&rd->tree);
	return err;
}

/* ---- the verb -------------------------------------------------------------------------------- */

static int parse(const struct verb *v, int argc, char **argv, struct options *o)
{
	static const struct option names[] = {{"json", no_argument, NULL, 'j'},
					      {"follow", no_argument, NULL, 'f'},
					      {"lines", required_argument, NULL, 'n'},
					      {"all", no_argument, NULL, 'a'},
					      {0}};
	char *end;
	int c;

	while ((c = cli_getopt(v, argc, argv, ":afn:", names)) != -1) {
		switch (c) {
		case 'j':
			o->json = true;
			break;
		case 'f':
			o->follow = true;
			break;
		case 'a':
			o->all = true;
			break;
		case 'n':
			o->lines = strtoul(optarg, &end, 10);
			if (*end || end == optarg || *optarg == '-' || o->lines > 1000000)
				return cli_usage(v, "%s is no number of lines", optarg);
			break;
		default:
			return CLI_USAGE;
		}
	}
	return optind < argc ? cli_usage(v, "%s: too many arguments", argv[optind]) : 0;
}

static int run(const struct cli *cli, const struct verb *v, int argc, char **argv)
{
	struct options o = {.lines = DEFAULT_LINES};
	struct reading rd = {.o = &o};
	char *dir MB_AUTO_FREE = NULL;
	int code = parse(v, argc, argv, &o);

	if (!code)
		code = cli_store(cli, v, &dir);
	if (code)
		return code;
	int err = cli_open_read(dir, &rd.store);
	if (err < 0)
		return mb_err_exit(mb_fail(err, "cannot open the store %s", dir));
	err = read_log(&rd);
	store_close(rd.store);
	return err < 0 ? mb_err_exit(mb_fail(err, "cannot read the log of %s", dir)) : CLI_OK;
}

const struct verb verb_log = {
	.name = "log",
	.args = "[-af] [-n LINES] [--json]",
	.what = "Print what happened to the mail, newest last",
	.help = "  -n, --lines LINES  the last so many (50); 0: all that the log still holds\n"
		"  -f, --follow       go on as it happens\n"
		"  -a, --all          digests, sync states and other housekeeping too\n"
		"      --json         one JSON object for each record\n",
	.run = run,
};
