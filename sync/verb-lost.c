/*
 * verb-lost.c - mailbraid lost: messages whose body is nowhere here; to give them up.
 *
 * A peer that was not in step since a body was lost may have it: its message is given up only when that is
 * said (--force).  Whether it was is read from positions: the agreed one of our log, and the modseq of the
 * message's last change, which is not before its loss.  What this very run finds to be lost nobody has seen
 * in a list yet, and is left too: the disk may only not be whole.
 *
 * A listing reads only.  To give up takes the writer: this process, or the one that has the store.
 */
#include "backends/base/buf.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/log.h"
#include "backends/store/server.h"
#include "backends/store/store.h"
#include "sync/cli.h"
#include "sync/peers.h"
#include "sync/scope-unmatched.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct options {
	const struct verb *v;
	char *dir;	    /* owned */
	struct scope scope; /* owned; -m */
	bool json, expunge, force;
};

struct message_lost {
	struct guid guid;
	uint64_t id, modseq, size;
	uint32_t uid;
	int64_t received_ns;
	char *mailbox, *file; /* owned; file NULL: it has no name */
	json_t *unasked;      /* owned; names of the peers that may have it */
	bool fresh;	      /* found to be lost by this run */
	bool gone;	      /* given up just now */
};

struct lost {
	const struct options *o;
	uint64_t known;	    /* modseq of our log before this run looked at the files */
	struct store *s;    /* owned */
	struct tree tree;   /* owned */
	struct peers peers; /* owned */
	uint64_t *asked_to; /* owned; of each peer: modseq of our log up to which it was in step */
	struct message_lost *list; /* owned */
	size_t n, cap;
};

static void lost_release(struct lost *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->list[i].mailbox);
		free(l->list[i].file);
		json_decref(l->list[i].unasked);
	}
	free(l->list);
	free(l->asked_to);
	peers_release(&l->peers);
	tree_release(&l->tree);
	store_close(l->s);
}

/* ---- reading --------------------------------------------------------------------------------- */

static json_t *peers_not_asked(const struct lost *l, uint64_t modseq)
{
	json_t *list = json_array();

	for (size_t i = 0; i < l->peers.n; i++) {
		char *name MB_AUTO_FREE = peer_name(&l->peers.list[i]);
		if (l->asked_to[i] < modseq)
			json_array_append_new(list, json_string(name));
	}
	return list;
}

static int add_lost(struct entry *e, void *arg)
{
	struct lost *l = arg;
	const struct copy *c = &e->copy;

	if (e->state != ENTRY_LOST)
		return 0;
	char *name MB_AUTO_FREE = tree_name(&l->tree, &c->place.mailbox);
	if (!scope_has_mailbox(&l->o->scope, name, &c->place.mailbox))
		return 0;
	MB_GROW(l->list, l->cap, l->n + 1);
	l->list[l->n++] = (struct message_lost){.guid = c->guid,
						.id = c->id,
						.modseq = e->modseq,
						.size = c->size,
						.uid = c->place.uid,
						.received_ns = c->received_ns,
						.mailbox = MB_TAKE(name),
						.file = e->file ? mb_xstrdup(e->file) : NULL,
						.unasked = peers_not_asked(l, e->modseq),
						.fresh = e->modseq > l->known};
	return 0;
}

static int by_mailbox(const void *a, const void *b)
{
	const struct message_lost *x = a, *y = b;
	int order = strcmp(x->mailbox, y->mailbox);

	return order ? order : (x->uid > y->uid) - (x->uid < y->uid);
}

/* `l->s` is open. */
static int read_lost(struct lost *l)
{
	struct index_txn *tx;
	int err = peers_read_store(l->s, &l->peers);

	if (err < 0)
		return err;
	l->asked_to = mb_xcalloc(l->peers.n, sizeof(*l->asked_to));
	for (size_t i = 0; i < l->peers.n; i++)
		l->asked_to[i] = log_modseq(store_log(l->s), &l->peers.list[i].local);
	err = index_begin(store_index(l->s), false, &tx);
	if (err < 0)
		return err;
	err = index_tree(tx, &l->tree);
	if (err >= 0)
		err = index_each(tx, add_lost, l);
	index_abort(tx);
	if (l->n)
		qsort(l->list, l->n, sizeof(*l->list), by_mailbox);
	return err < 0 ? err : 0;
}

/* ---- telling --------------------------------------------------------------------------------- */

static void tell(const struct message_lost *m)
{
	struct buf out BUF_AUTO = BUF_INIT;
	char *at MB_AUTO_FREE = m->received_ns ? cli_time(m->received_ns) : mb_xstrdup("-");
	char guid[GUID_TEXT];
	size_t i;
	json_t *name;

	buf_printf(&out, "%s  ", at);
	mb_msg_clean(&out, m->mailbox);
	buf_printf(&out, "  %s  %" PRIu64 " bytes", guid_text(&m->guid, guid), m->size);
	if (m->gone)
		buf_printf(&out, "  given up");
	if (m->fresh && !m->gone)
		buf_printf(&out, "\n    found to be lost only now");
	json_array_foreach(m->gone ? NULL : m->unasked, i, name)
	{
		buf_printf(&out, "\n    may have it: ");
		mb_msg_clean(&out, json_string_value(name));
	}
	puts(buf_cstr(&out));
}

/* null when it is not UTF-8. */
static json_t *text_json(const char *text)
{
	json_t *j = text ? json_string(text) : NULL;

	return j ? j : json_null();
}

static json_t *message_json(const struct message_lost *m)
{
	char *at MB_AUTO_FREE = m->received_ns ? cli_time(m->received_ns) : NULL;
	char guid[GUID_TEXT];

	return json_pack("{s:o, s:s, s:I, s:I, s:s?, s:o, s:O, s:b, s:b}", "mailbox",
			 text_json(m->mailbox), "message", guid_text(&m->guid, guid), "uid",
			 (json_int_t)m->uid, "size", (json_int_t)m->size, "received", at, "file",
			 text_json(m->file), "may_have", m->unasked, "new", m->fresh, "expunged",
			 m->gone);
}

/* Nobody has it, and its owner has seen that. */
static bool is_hopeless(const struct message_lost *m)
{
	return !m->fresh && !json_array_size(m->unasked);
}

/* Of those that were not given up: how many could be, and how many a peer may have. */
static void tell_what_to_do(const struct lost *l)
{
	size_t may_have = 0, fresh = 0, hopeless = 0;

	for (size_t i = 0; i < l->n; i++) {
		const struct message_lost *m = &l->list[i];
		may_have += !m->gone && json_array_size(m->unasked);
		fresh += !m->gone && m->fresh;
		hopeless += !m->gone && is_hopeless(m);
	}
	if (fresh)
		fprintf(stderr,
			"mailbraid: %zu were found to be lost only now, and are left\n"
			"  do:  look whether the disk is whole, then run it again\n",
			fresh);
	if (may_have)
		fprintf(stderr,
			"mailbraid: of %zu a peer may have the body that was not in step since\n"
			"  do:  mailbraid sync; if a peer is gone for good, mailbraid peer forget; "
			"or lost --expunge --force\n",
			may_have);
	if (hopeless && !l->o->expunge)
		fprintf(stderr,
			"mailbraid: of %zu no peer gave the body back when it was asked\n"
			"  do:  look for them in a backup of the disk: a file put back under its "
			"name is found;\n"
			"       mailbraid lost --expunge gives them up\n",
			hopeless);
}

/* How many names of -m there are no mailboxes for. */
static size_t tell_unmatched(const struct lost *l)
{
	const struct tree trees[2] = {l->tree, {0}};
	struct scope_list names = {0};
	size_t n;

	scope_unmatched(&l->o->scope, trees, &names);
	for (size_t i = 0; i < names.n; i++)
		mb_msg(MB_WARNING, "no mailbox is called %s", names.items[i]);
	n = names.n;
	scope_list_release(&names);
	return n;
}

static int report(const struct lost *l)
{
	json_t *all = json_array();
	size_t left = 0, unmatched = tell_unmatched(l);

	for (size_t i = 0; i < l->n; i++) {
		left += !l->list[i].gone;
		if (l->o->json)
			json_array_append_new(all, message_json(&l->list[i]));
		else
			tell(&l->list[i]);
	}
	if (l->o->json)
		cli_json(json_pack("{s:i, s:O, s:I}", "v", CLI_JSON_VERSION, "lost", all, "left",
				   (json_int_t)left));
	else if (!l->n)
		puts("no message is lost");
	else
		tell_what_to_do(l);
	json_decref(all);
	return (l->o->expunge && left) || unmatched ? CLI_AGAIN : CLI_OK;
}

/* ---- giving up ------------------------------------------------------------------------------- */

/* One that changed since it was read is left for the next run. */
static int give_up(struct lost *l, struct store_client *client)
{
	const struct origin origin = {.comm = "mailbraid"};
	int err = 0;

	for (size_t i = 0; i < l->n && err >= 0; i++) {
		struct message_lost *m = &l->list[i];
		if (!is_hopeless(m) && !l->o->force)
			continue;
		err = client ? store_client_expunge_lost(client, &m->guid, m->id, m->modseq)
			     : store_expunge_lost(l->s, &m->guid, m->id, m->modseq, &origin);
		m->gone = err >= 0;
		if (err == MB_E_STALE || err == -ENOENT)
			err = 0;
	}
	if (err >= 0)
		err = client ? store_client_flush(client) : store_flush(l->s);
	return err < 0 ? err : 0;
}

/* What is known before anything is looked for. */
static int read_known(struct lost *l)
{
	struct position end;
	struct store *s;
	int err = cli_open_read(l->o->dir, &s);

	if (err < 0)
		return err;
	err = log_end(store_log(s), &end);
	if (err >= 0)
		l->known = log_modseq(store_log(s), &end);
	store_close(s);
	return err < 0 ? err : 0;
}

/* A body that came back by itself is found first. */
static int open_for_change(struct lost *l, struct store_client **ret_client)
{
	struct scan_report found;
	int err = store_client_connect(l->o->dir, ret_client);

	if (err >= 0) {
		err = store_client_scan(*ret_client, true, &found);
		return err < 0 ? err : cli_open_read(l->o->dir, &l->s);
	}
	*ret_client = NULL;
	if (err != -ECONNREFUSED && err != -ENOENT)
		return err;
	err = store_open(l->o->dir, STORE_WRITE, &l->s);
	return err < 0 ? err : store_scan(l->s, true, &found);
}

static int look(const struct options *o)
{
	struct store_client *client = NULL;
	struct lost l = {.o = o};
	int code = CLI_OK, err = read_known(&l);

	if (err >= 0)
		err = o->expunge ? open_for_change(&l, &client) : cli_open_read(o->dir, &l.s);
	if (err >= 0)
		err = read_lost(&l);
	if (err >= 0 && o->expunge)
		err = give_up(&l, client);
	if (err < 0)
		code = mb_err_exit(mb_fail(err,
					   o->expunge ? "not all that is lost was given up in %s"
						      : "cannot read what is lost in %s",
					   o->dir));
	else
		code = report(&l);
	store_client_close(client);
	lost_release(&l);
	return code;
}

/* ---- the verb -------------------------------------------------------------------------------- */

static int parse(struct options *o, int argc, char **argv)
{
	static const struct option names[] = {{"json", no_argument, NULL, 'j'},
					      {"expunge", no_argument, NULL, 'e'},
					      {"force", no_argument, NULL, 'f'},
					      {0}};
	int c;

	while ((c = cli_getopt(o->v, argc, argv, ":m:", names)) != -1) {
		if (c == '?')
			return CLI_USAGE;
		o->json |= c == 'j';
		o->expunge |= c == 'e';
		o->force |= c == 'f';
		if (c == 'm' && !scope_add_name(&o->scope.names, optarg))
			return cli_usage(o->v, "-m %s: this special use is not known", optarg);
	}
	if (optind < argc)
		return cli_usage(o->v, "%s: no argument is wanted", argv[optind]);
	if (o->force && !o->expunge)
		return cli_usage(o->v, "--force is of --expunge");
	return 0;
}

static int run(const struct cli *cli, const struct verb *v, int argc, char **argv)
{
	struct options o = {.v = v};

	scope_init(&o.scope);
	int code = parse(&o, argc, argv);
	if (!code)
		code = cli_store(cli, v, &o.dir);
	if (!code)
		code = look(&o);
	scope_release(&o.scope);
	free(o.dir);
	return code;
}

const struct verb verb_lost = {
	.name = "lost",
	.args = "[-m MAILBOX] [--json] [--expunge [--force]]",
	.what = "List messages whose body is lost, and give them up",
	.help = "  -m MAILBOX     only those in this one, or a \\Special-use; again for more\n"
		"      --expunge  expunge those that every peer was asked for since, and no one "
		"gave\n"
		"      --force    those too that a peer may have, or that were found only now\n"
		"      --json     one JSON object\n",
	.run = run,
};
