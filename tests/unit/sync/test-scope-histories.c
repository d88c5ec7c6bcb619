/*
 * test-scope-histories.c - random histories of two replicas with restricted sessions among the others.
 *
 * Whatever was left out by sessions with a restricted scope, from either side: one sync of everything
 * after them makes both sides equal, and nothing is lost.  A session whose scope gives a side nothing
 * changes nothing there, and a second one of the same scope does nothing.
 *
 * With backups: the destination is what the source is, always; the source stays as it was; a second
 * backup does nothing; nothing that was in the destination is gone for good.
 *
 *	MAILBRAID_HISTORIES=N   so many of each kind, instead of 600
 *	MAILBRAID_FIRST=N       from this seed on, instead of 1
 *	MAILBRAID_SEED=N        only that one, told aloud
 *
 * A history that fails is made as short as it can be, and printed.
 */
#include "backends/base/ascii.h"
#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "sync/session.h"
#include "tests/support/history.h"
#include "tests/support/link.h"
#include "tests/support/ops.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define OPS_MAX 60
#define HISTORIES 600

enum { OP_SCOPED = OP_KINDS, OP_MIRROR, KINDS };

static const struct op_weight with_scopes[KINDS] = {
	[OP_DELIVER] = {"deliver", 12},	   [OP_FLAG] = {"flag", 8},
	[OP_KEYWORD] = {"keyword", 2},	   [OP_MOVE] = {"move", 8},
	[OP_COPY] = {"copy", 3},	   [OP_EXPUNGE] = {"expunge", 5},
	[OP_RESTORE] = {"restore", 2},	   [OP_EDIT] = {"edit", 3},
	[OP_CREATE] = {"create", 5},	   [OP_RENAME] = {"rename", 4},
	[OP_REPARENT] = {"reparent", 3},   [OP_DELETE] = {"delete", 3},
	[OP_SUBSCRIBE] = {"subscribe", 1}, [OP_SYNC] = {"sync", 4},
	[OP_CUT] = {"cut sync", 0},	   [OP_SCOPED] = {"restricted sync", 16},
	[OP_MIRROR] = {"backup", 0},
};

static const struct op_weight with_backups[KINDS] = {
	[OP_DELIVER] = {"deliver", 12},	   [OP_FLAG] = {"flag", 8},
	[OP_KEYWORD] = {"keyword", 2},	   [OP_MOVE] = {"move", 8},
	[OP_COPY] = {"copy", 3},	   [OP_EXPUNGE] = {"expunge", 5},
	[OP_RESTORE] = {"restore", 2},	   [OP_EDIT] = {"edit", 3},
	[OP_CREATE] = {"create", 5},	   [OP_RENAME] = {"rename", 4},
	[OP_REPARENT] = {"reparent", 3},   [OP_DELETE] = {"delete", 3},
	[OP_SUBSCRIBE] = {"subscribe", 1}, [OP_SYNC] = {"sync", 2},
	[OP_CUT] = {"cut sync", 0},	   [OP_SCOPED] = {"restricted sync", 3},
	[OP_MIRROR] = {"backup", 12},
};

struct history {
	uint64_t seed;
	bool backups;
	struct op ops[OPS_MAX];
	size_t n;
};

struct run {
	const struct history *h;
	struct backend *b[2];
	int64_t skew_ns[2];
	struct oracle oracle;
	int64_t now_ns;
	bool aloud;
};

static void make_history(struct history *h, uint64_t seed, bool backups)
{
	struct prng p = {seed * 2654435761u + backups};
	*h = (struct history){.seed = seed, .backups = backups};
	h->n = 5 + prng_below(&p, OPS_MAX - 5);
	for (size_t i = 0; i < h->n; i++)
		h->ops[i] = op_random(&p, backups ? with_backups : with_scopes, KINDS, 2);
}

/* ---- scopes ---- */

static void make_scope(struct scope *s, unsigned n)
{
	scope_init(s);
	switch (n % 12) {
	case 0:
		s->let[0] = 0;
		break;
	case 1:
		s->let[1] = 0;
		break;
	case 2:
		s->let[0] = 0;
		s->let[1] = SCOPE_NEW | SCOPE_FLAGS;
		break;
	case 3:
		s->let[0] = SCOPE_MOVES | SCOPE_EXPUNGES;
		s->let[1] = SCOPE_NEW | SCOPE_FOLDERS;
		break;
	case 4:
		scope_add_name(&s->names, "INBOX");
		break;
	case 5:
		scope_add_name(&s->excludes, "F*");
		s->let[0] = 0;
		break;
	case 6:
		s->sized = true;
		s->max_size = 8;
		break;
	case 7:
		s->let[0] = s->let[1] = SCOPE_FOLDERS;
		break;
	case 8:
		scope_parse_flag(s, "\\Flagged");
		break;
	case 9:
		s->let[0] = SCOPE_EVERYTHING & ~(unsigned)SCOPE_FOLDERS;
		s->let[1] = SCOPE_MOVES;
		break;
	case 10:
		scope_add_name(&s->prefixes, "G");
		break;
	default:
		s->let[0] = SCOPE_EXPUNGES;
		s->let[1] = SCOPE_EVERYTHING & ~(unsigned)SCOPE_EXPUNGES;
		break;
	}
}

/* ---- what a side is ---- */

static uint64_t hash_of(struct backend *b)
{
	BUF_AUTO struct buf all = BUF_INIT;
	const struct tree *t = memory_tree(b);
	for (size_t i = 0; i < t->n; i++)
		mailbox_encode(&t->nodes[i], &all);
	for (size_t i = 0; i < memory_n_messages(b); i++) {
		const struct message *m = memory_message(b, i);
		for (size_t k = 0; k < m->n; k++)
			copy_encode(&m->copies[k], &all);
	}
	return checksum64(all.data, all.len, 0);
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A line for each mailbox and each message as a client sees them, sorted.  Owned. */
static char *seen_by_clients(struct backend *b)
{
	const struct tree *t = memory_tree(b);
	struct buf all = BUF_INIT;
	char *lines[1024];
	size_t n = 0;
	for (size_t i = 0; i < t->n && n < 1000; i++) {
		const struct mailbox *box = &t->nodes[i];
		MB_AUTO_FREE char *name = tree_name(t, &box->guid);
		if (mailbox_alive(box) && box->selectable)
			lines[n++] =
				mb_xasprintf("%s %u %d", name, box->uid_validity, box->subscribed);
	}
	for (size_t i = 0; i < memory_n_messages(b) && n < 1000; i++) {
		const struct message *m = memory_message(b, i);
		for (size_t k = 0; k < m->n; k++) {
			const struct copy *c = &m->copies[k];
			BUF_AUTO struct buf flags = BUF_INIT;
			if (!copy_alive(c))
				continue;
			struct guid in = tree_resolve(t, c->place.mailbox);
			MB_AUTO_FREE char *name = tree_name(t, &in);
			flags_text(&c->flags, &flags);
			for (size_t f = 0; f < flags.len; f++) /* one keyword in any case */
				flags.data[f] = (uint8_t)ascii_lower((char)flags.data[f]);
			lines[n++] = mb_xasprintf("%s: %u %s size=%" PRIu64 " %s %02x%02x", name,
						  c->place.uid, buf_cstr(&flags), c->size,
						  c->place.base, c->digest.b[0], c->digest.b[1]);
		}
	}
	qsort(lines, n, sizeof(lines[0]), compare_lines);
	for (size_t i = 0; i < n; i++) {
		buf_printf(&all, "%s\n", lines[i]);
		free(lines[i]);
	}
	char *text = mb_xstrdup(buf_cstr(&all));
	buf_release(&all);
	return text;
}

/* ---- sessions ---- */

static void print_item(int side, enum record_type what, const struct tree *names,
		       const struct record *item, void *arg)
{
	const struct run *r = arg;
	char guid[GUID_TEXT], box[GUID_TEXT];
	if (!r->aloud)
		return;
	const struct copy *c = &item->copy;
	printf("      to %s: %s %s %.8s %.8s uid=%u %s alive=%d\n", side ? "peer" : "us",
	       record_type_name(item->type), record_type_name(what), guid_text(&c->guid, guid),
	       guid_text(guid_is_zero(&item->mailbox.guid) ? &c->place.mailbox
							   : &item->mailbox.guid,
			 box),
	       c->place.uid, item->mailbox.part ? item->mailbox.part : "",
	       item->mailbox.part ? mailbox_alive(&item->mailbox) : copy_alive(c));
}

static const char *run_session(struct run *r, int from, const struct scope *scope,
			       struct session_result *ret)
{
	const struct session_options o = {
		.scope = scope, .allow_mass_expunge = true, .show = print_item, .show_arg = r};
	int err = session_run_until_stable(r->b[from], r->b[!from], &o, ret);
	MB_AUTO_FREE char *text = scope_text(scope, 0);
	if (r->aloud)
		printf("    %d -> %d: %s: err=%d full=%d errors=%lu changed=%d again=%d\n", from,
		       !from, text, err, ret->full, (unsigned long)ret->errors, ret->changed,
		       ret->again);
	if (err < 0)
		return mb_err_str(err);
	return ret->errors ? mb_err_str(ret->first_error) : ret->again ? "it is never done" : NULL;
}

static const char *check_side(struct run *r, int side)
{
	const char *wrong = oracle_check_order(&r->oracle, r->b[side]);
	/* An edit came and the expunge of what it replaced did not: a store finds another name. */
	return wrong && strstr(wrong, "one file name") ? NULL : wrong;
}

static const char *check_sides(struct run *r)
{
	const char *wrong = check_side(r, 0);
	return wrong ? wrong : check_side(r, 1);
}

static const char *run_twice(struct run *r, int from, const struct scope *scope)
{
	struct session_result result;
	uint64_t before[2] = {hash_of(r->b[from]), hash_of(r->b[!from])};
	const char *wrong = run_session(r, from, scope, &result);
	session_result_release(&result);
	for (int i = 0; i < 2 && !wrong; i++)
		if (!scope->let[i] && hash_of(r->b[i ? !from : from]) != before[i])
			wrong = "a side that gets nothing was changed";
	if (!wrong)
		wrong = run_session(r, from, scope, &result);
	else
		return wrong;
	if (!wrong && result.changed)
		wrong = "a second session of this scope does something";
	session_result_release(&result);
	return wrong;
}

static const char *do_sync(struct run *r, int from)
{
	struct session_result result;
	struct scope all;
	scope_init(&all);
	const char *wrong = run_session(r, from, &all, &result);
	session_result_release(&result);
	if (!wrong)
		wrong = link_compare(r->b[0], r->b[1]);
	return wrong ? wrong : check_sides(r);
}

static bool scope_let_all(const struct scope *s, int side)
{
	return s->let[side] == SCOPE_EVERYTHING && !scope_selects(s);
}

static const char *do_scoped(struct run *r, int from, unsigned n)
{
	struct scope scope;
	make_scope(&scope, n);
	const char *wrong = run_twice(r, from, &scope);
	/* What gets nothing, or a part, is as its user left it. */
	for (int i = 0; i < 2 && !wrong && !r->h->backups; i++)
		if (scope_let_all(&scope, i))
			wrong = check_side(r, i ? !from : from);
	scope_release(&scope);
	return wrong;
}

static const char *do_mirror(struct run *r, int from, bool reverse)
{
	struct scope scope;
	scope_init(&scope);
	scope.mirror = true;
	scope.let[reverse] = 0;
	scope.let[!reverse] = SCOPE_EVERYTHING;
	const char *wrong = run_twice(r, from, &scope);
	MB_AUTO_FREE char *a = seen_by_clients(r->b[0]), *b = seen_by_clients(r->b[1]);
	if (!wrong && strcmp(a, b) != 0) {
		wrong = "the destination is not what the source is";
		if (r->aloud)
			printf("--- 0\n%s--- 1\n%s", a, b);
	}
	return wrong;
}

static void set_clock(struct run *r, size_t who)
{
	history_clock(r->now_ns + r->skew_ns[who]);
}

static const char *do_op(struct run *r, const struct op *op)
{
	struct guid g;
	char guid[GUID_TEXT];
	r->now_ns += (op->z % 3) * INT64_C(1000000);
	set_clock(r, op->who);
	if (r->aloud)
		printf("  %s by %u: %u %u %u\n", with_scopes[op->kind].name, op->who, op->x, op->y,
		       op->z);
	switch (op->kind) {
	case OP_SYNC:
		return do_sync(r, op->who);
	case OP_SCOPED:
		return do_scoped(r, op->who, op->x);
	case OP_MIRROR: /* the source is always the same, as people have it, or any */
		return do_mirror(r, op->who, r->h->seed % 2 ? op->who : op->x & 1);
	default:
		op_do(&r->oracle, r->b[op->who], op, &g);
		if (r->aloud)
			printf("    %.8s\n", guid_text(&g, guid));
		return NULL;
	}
}

/* ---- a whole history ---- */

static const char *judge(struct run *r)
{
	const char *wrong = do_sync(r, 0);
	if (!wrong && !r->h->backups)
		wrong = oracle_check_mail(&r->oracle, r->b[0]);
	if (!wrong && !r->h->backups)
		wrong = oracle_check_mail(&r->oracle, r->b[1]);
	uint64_t before = hash_of(r->b[0]);
	if (!wrong)
		wrong = do_sync(r, 1);
	if (!wrong && hash_of(r->b[0]) != before)
		wrong = "a second sync does something";
	return wrong;
}

static const char *run_history(const void *history, bool aloud)
{
	const struct history *h = history;
	struct prng p = {h->seed};
	struct run r = {.h = h, .aloud = aloud, .now_ns = INT64_C(1700000000000000000)};
	const char *wrong = NULL;
	r.oracle.all = r.b;
	r.oracle.n_all = 2;
	for (size_t i = 0; i < 2; i++) {
		r.skew_ns[i] = (int64_t)prng_below(&p, 3) * INT64_C(3600000000000);
		set_clock(&r, i);
		r.b[i] = backend_open_memory(h->seed * 8 + i + 1);
	}
	for (size_t i = 0; !wrong && i < h->n; i++)
		wrong = do_op(&r, &h->ops[i]);
	if (!wrong)
		wrong = judge(&r);
	for (size_t i = 0; i < 2; i++)
		backend_close(r.b[i]);
	oracle_release(&r.oracle);
	return wrong;
}

/* ---- many ---- */

static void check_seed(uint64_t seed, bool aloud, const void *arg)
{
	const bool *mirrored = arg;
	struct history h;
	const struct history_view v = {&h, h.ops, sizeof(h.ops[0]), &h.n, run_history};
	char name[80];
	make_history(&h, seed, *mirrored);
	snprintf(name, sizeof(name), "seed %lu%s", (unsigned long)seed,
		 *mirrored ? " with backups" : "");
	history_check(&v, name, aloud);
}

static void check_many(bool mirrored)
{
	mb_msg_set_level(MB_ERROR);
	history_seeds("MAILBRAID_HISTORIES", HISTORIES, check_seed, &mirrored);
}

static void restricted_sessions(void **state)
{
	check_many(false);
}

static void backups(void **state)
{
	check_many(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(restricted_sessions),
		cmocka_unit_test(backups),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
