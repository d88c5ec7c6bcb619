/*
 * sync-report.c - what sync and backup tell people, and programs.
 */
#include "sync/sync-report.h"

#include "backends/base/buf.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"

#include <stdio.h>
#include <unistd.h>

static const char *name_after(const struct record *item)
{
	return item->new_name ? item->new_name : "";
}

void sync_report_open(struct sync_report *rep, const struct sync_options *o,
		      struct session_options *opt)
{
	*rep = (struct sync_report){.o = o};
	progress_open(&rep->progress, STDERR_FILENO, !o->quiet && !o->verbose && !o->debug);
	opt->show = sync_report_item;
	opt->show_arg = rep;
	opt->progress = (struct progress_to){progress_show, &rep->progress};
}

void sync_report_release(struct sync_report *rep)
{
	progress_close(&rep->progress);
	sync_diff_release(&rep->diff);
}

void sync_report_item(int side, enum record_type what, const struct tree *names,
		      const struct record *item, void *arg)
{
	struct sync_report *rep = arg;
	const struct sync_options *o = rep->o;
	char guid[GUID_TEXT];

	if (o->session.dry_run)
		sync_diff_add(&rep->diff, side, what, names, item);
	if (what == REC_NONE || !(o->session.dry_run ? o->debug : o->verbose))
		return;
	bool mailbox = !guid_is_zero(&item->mailbox.guid);
	const struct guid *g = mailbox ? &item->mailbox.guid : &item->copy.place.mailbox;
	char *name MB_AUTO_FREE = tree_name(names, g);
	fprintf(stderr, "%s %-8s %s%s%s%s%s\n", side ? "->" : "<-", record_type_name(what), name,
		mailbox ? "" : " ", mailbox ? "" : guid_text(&item->copy.guid, guid),
		*name_after(item) ? " " : "", name_after(item));
}

void sync_report_notices(const struct session_result *r)
{
	const struct notice *pair = NULL;
	size_t paired = 0;

	for (size_t i = 0; i < r->n_notices; i++) {
		bool is_pair = r->notices[i].kind == NOTICE_PAIRED;
		paired += is_pair;
		if (is_pair)
			pair = &r->notices[i];
		else if (r->notices[i].text)
			mb_msg(MB_NOTICE, "%s", r->notices[i].text);
	}
	if (paired == 1 && !r->matched && pair->text)
		mb_msg(MB_NOTICE, "%s", pair->text);
	else if (paired && !r->matched)
		mb_msg(MB_NOTICE, "%zu messages: %s", paired, pair->text);
}

static void tell_notices(const struct sync_options *o, const struct session_result *r)
{
	sync_report_notices(r);
	if (r->held)
		mb_msg(MB_WARNING,
		       "%llu expunges are held back: so much went missing at once; if it was "
		       "meant, "
		       "say --allow-mass-expunge",
		       (unsigned long long)r->held);
	if (r->held_old)
		mb_msg(MB_WARNING,
		       "%llu old messages are held where they are: the other side does not know "
		       "them, and may have expunged them so long ago that it forgot; delete what "
		       "should be gone, then say sync --accept-old",
		       (unsigned long long)r->held_old);
	for (size_t i = 0; i < r->unmatched.n; i++)
		mb_msg(MB_WARNING, "neither side has a mailbox %s %s, so nothing was done for it",
		       o->scope.guids.n ? "with the GUID" : "called", r->unmatched.items[i]);
	if (r->unmatched.n)
		fprintf(stderr,
			"  do:  look how the folder is called now: levels are parted by /, and "
			"-n NAME takes all below it\n");
	if (r->left_out[0])
		mb_msg(MB_NOTICE, "%llu messages did not travel: they are larger than -I allows",
		       (unsigned long long)r->left_out[0]);
}

static void tell_json(struct sync_report *rep, const char *name, int code, uint64_t missing,
		      const struct session_result *r)
{
	bool dry = rep->o->session.dry_run;
	json_t *notices = json_array(), *unmatched = json_array();

	for (size_t i = 0; i < r->unmatched.n; i++) {
		struct buf clean BUF_AUTO = BUF_INIT;
		mb_msg_clean(&clean,
			     r->unmatched.items[i]); /* JSON takes no other bytes than UTF-8 */
		json_array_append_new(unmatched, json_string(buf_cstr(&clean)));
	}
	for (size_t i = 0; i < r->n_notices; i++)
		json_array_append_new(notices, json_string(r->notices[i].text));
	cli_json(json_pack(
		"{s:i, s:s, s:i, s:b, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:f, s:o, s:s?, "
		"s:b, s:I, s:I, s:o, s:o*}",
		"v", CLI_JSON_VERSION, "peer", name, "exit", code, "full", r->full, "sent",
		cli_counts_json(&r->to[1]), "got", cli_counts_json(&r->to[0]), "errors",
		(json_int_t)r->errors, "held", (json_int_t)r->held, "held_old",
		(json_int_t)r->held_old, "too_large", (json_int_t)r->left_out[0], "left_out",
		(json_int_t)r->left_out[1], "missing", (json_int_t)missing, "again", r->again,
		"seconds", (double)r->took_ns / 1e9, "notices", notices, "state", r->state,
		"dry_run", dry, "matched", (json_int_t)r->matched, "conflicts",
		(json_int_t)r->conflicts, "unmatched", unmatched, "diff",
		dry ? sync_diff_json(&rep->diff) : NULL));
}

/* Data goes to stdout; with -s that is the state, and nothing else. */
static void tell_text(struct sync_report *rep, const char *name, const struct session_result *r)
{
	const struct sync_options *o = rep->o;
	FILE *out = o->session.state ? stderr : stdout;
	char *text MB_AUTO_FREE =
		o->session.dry_run
			? sync_diff_text(&rep->diff, name, r, &o->scope, o->verbose || o->debug)
			: cli_summary(r);

	if (o->session.dry_run)
		fputs(text, out);
	else
		fprintf(out, "%s: %s\n", name, text);
}

void sync_report(struct sync_report *rep, const char *name, int code, uint64_t missing,
		 const struct session_result *r)
{
	const struct sync_options *o = rep->o;
	bool nothing = !session_counts_any(&r->to[0]) && !session_counts_any(&r->to[1]);

	progress_close(&rep->progress); /* what follows may go to the same terminal */
	tell_notices(o, r);
	if (o->json) {
		tell_json(rep, name, code, missing, r);
		return;
	}
	if (!o->quiet && (!nothing || code || r->matched || o->verbose || o->session.dry_run))
		tell_text(rep, name, r);
	if (o->session.state && r->state)
		printf("%s\n", r->state);
}
