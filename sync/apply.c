/*
 * apply.c - see apply.h.
 */
#include "sync/apply.h"

#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "sync/gather.h"
#include "sync/wake.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

bool backend_is_gone(int err)
{
	switch (err) {
	case -EPIPE:
	case -ECONNRESET:
	case -ECONNREFUSED:
	case -ECONNABORTED:
	case -ENOTCONN:
	case -ETIMEDOUT:
	case -ENODEV:
	case -EROFS:
	case -ESTALE:
	case MB_E_LOCKED:
	case MB_E_STOPPED:
	case MB_E_LOG_DEAD:
	case MB_E_PROTOCOL:
	case MB_E_VERSION:
	case MB_E_CHECKSUM:
		return true;
	default:
		return false;
	}
}

static const char *mailbox_of(const struct apply *a, int side, const struct record *item,
			      char **own)
{
	const struct guid *g =
		guid_is_zero(&item->mailbox.guid) ? &item->copy.place.mailbox : &item->mailbox.guid;

	*own = NULL;
	if (guid_is_zero(g))
		return "-";
	const struct tree *t = a->result && tree_find(&a->result->tree, g)
				       ? &a->result->tree
				       : &a->in->side[side].tree;
	return *own = tree_name(t, g);
}

static void count_error(struct session_result *r, int err)
{
	r->errors++;
	if (!r->first_error ||
	    (mb_err_retry(r->first_error) != MB_RETRY_NEVER && mb_err_retry(err) == MB_RETRY_NEVER))
		r->first_error = err;
}

void apply_error(const struct apply *a, int side, const struct record *item, int err)
{
	char *own MB_AUTO_FREE = NULL;
	char guid[GUID_TEXT];

	count_error(a->report, err);
	if (a->report->errors > 20) /* the sum is told at the end */
		return;
	if (err == MB_E_NAME && item->type == REC_MAILBOX_STATE) {
		mb_msg(MB_WARNING,
		       "a folder stays away from %s, with its mail: the name cannot be stored, it "
		       "is "
		       "too long for a directory there (255 bytes; in Maildir++ with all folders "
		       "above "
		       "it): give it a shorter one; mailbox=%s",
		       side ? "the peer" : "here", mailbox_of(a, side, item, &own));
		return;
	}
	mb_msg(MB_WARNING, "%s not put %s: %s; mailbox=%s message=%s", record_type_name(item->type),
	       side ? "at the peer" : "here", mb_err_str(err), mailbox_of(a, side, item, &own),
	       guid_text(&item->copy.guid, guid));
}

static void show(const struct apply *a, int side, size_t i)
{
	const struct plan *plan = &a->result->plan[side];
	const struct merge_side *to = &a->in->side[side];

	if (a->opt->show)
		a->opt->show(side, plan_what_joined(to, &a->result->tree, &plan->items[i]),
			     &a->result->tree, &plan->items[i], a->opt->show_arg);
}

void apply_show(const struct apply *a, int side)
{
	const struct plan *plan = &a->result->plan[side];

	for (size_t i = 0; i < plan->n; i++) {
		show(a, side, i);
		session_count(
			&a->report->to[side],
			plan_what_joined(&a->in->side[side], &a->result->tree, &plan->items[i]));
	}
}

/* ---- bodies ---------------------------------------------------------------------------------- */

static int open_any(const struct apply *a, int giver, const struct guid *guid, uint64_t id)
{
	const struct message *m = merge_side_find(&a->in->side[giver], guid);
	struct backend *b = a->b[giver];
	int err = b->ops->body(b, guid, id);

	/* Every copy of a message has the same body. */
	for (size_t i = 0; err < 0 && !backend_is_gone(err) && m && i < m->n; i++) {
		if (m->copies[i].id == id || !copy_alive(&m->copies[i]))
			continue;
		int fd = b->ops->body(b, guid, m->copies[i].id);
		if (fd >= 0)
			return fd;
	}
	return err;
}

/* Opens the body at the giving side, which may still know the message under the GUID that it loses
 * by this same merge. */
static int open_body(const struct apply *a, int giver, const struct copy *c)
{
	const struct plan *plan = &a->result->plan[giver];
	int fd = open_any(a, giver, &c->guid, c->id);

	for (size_t i = 0; fd == -ENOENT && i < plan->n; i++) {
		const struct record *r = &plan->items[i];
		if (r->type == REC_ALIAS && guid_equal(&r->copy.guid, &c->guid))
			fd = open_any(a, giver, &r->old_guid, r->old_id);
	}
	return fd;
}

static bool needs_body(const struct record *item)
{
	return item->type == REC_COPY_STATE && copy_alive(&item->copy);
}

/* A message that was never here needs its body; for others the backend is asked first. */
static bool never_here(const struct apply *a, int side, const struct record *item)
{
	return needs_body(item) && !merge_side_find(&a->in->side[side], &item->copy.guid);
}

/* What is asked and not read yet stays well below what a stream reads ahead while it writes: else both ends,
 * with much to write, wait for each other.  So a large body is asked for in its turn. */
#define ASKED_ITEMS 512
#define ASKED_BYTES (16u << 20)

size_t apply_foresee(const struct apply *a, int side, size_t from)
{
	const struct plan *plan = &a->result->plan[side];
	struct backend *giver = a->b[1 - side];
	struct backend_ask_body *list MB_AUTO_FREE = NULL;
	uint64_t bytes = 0;
	size_t n = 0, i = from;

	if (!giver->ops->foresee)
		return plan->n;
	list = mb_xcalloc(ASKED_ITEMS, sizeof(*list));
	for (; i < plan->n && n < ASKED_ITEMS && bytes < ASKED_BYTES; i++) {
		const struct copy *c = &plan->items[i].copy;
		if (c->size > ASKED_BYTES || !never_here(a, side, &plan->items[i]))
			continue;
		bytes += c->size;
		list[n++] = (struct backend_ask_body){c->guid, c->id, c->size};
	}
	backend_foresee(giver, &(struct backend_ask){.bodies = list, .n_bodies = n});
	return i;
}

/*
 * Of a long plan the next bodies are opened before their turn, and the kernel is told to read them: one
 * small file after the other would wait for the disk each time.
 */
#define AHEAD 16
#define AHEAD_FROM 64 /* items of a plan for which it is worth it */

struct ahead {
	int fd[AHEAD]; /* by number of the item; an error of the opening; or: */
	size_t next;   /* item that comes next */
};
#define NOT_OPENED INT_MIN

static void look_ahead(const struct apply *a, int side, struct ahead *w, size_t now)
{
	const struct plan *plan = &a->result->plan[side];

	for (; w->next < plan->n && w->next < now + AHEAD; w->next++) {
		const struct record *item = &plan->items[w->next];
		int *fd = &w->fd[w->next % AHEAD];

		*fd = NOT_OPENED;
		if (w->next < now || !never_here(a, side, item))
			continue;
		*fd = open_body(a, 1 - side, &item->copy);
		if (*fd >= 0)
			posix_fadvise(*fd, 0, 0, POSIX_FADV_WILLNEED);
	}
}

/* What was opened for this item, which the caller takes over. */
static int take_opened(struct ahead *w, size_t item)
{
	int fd = item < w->next ? w->fd[item % AHEAD] : NOT_OPENED;

	if (item < w->next)
		w->fd[item % AHEAD] = NOT_OPENED;
	return fd;
}

static void ahead_release(struct ahead *w)
{
	for (size_t i = 0; i < AHEAD && i < w->next; i++)
		if (w->fd[i] >= 0)
			close(w->fd[i]);
}

/* The giver keeps what it gave, to see when the file changes. */
static int tell_digest(const struct apply *a, int side, const struct copy *c)
{
	struct backend *to = a->b[side], *giver = a->b[1 - side];
	struct digest d;

	if (!giver->ops->learn || digest_known(&c->digest))
		return 0;
	int err = to->ops->digest(to, &c->guid, c->id, &d);
	if (err >= 0)
		err = giver->ops->learn(giver, &c->guid, c->id, &d);
	return err < 0 && backend_is_gone(err) ? err : 0;
}

/* Opens what must go with the item, if anything must.  `opened`: see take_opened(). */
static int body_for(const struct apply *a, int side, const struct record *item, int opened,
		    bool again, int *ret_fd)
{
	int fd = opened;

	if (opened == NOT_OPENED) {
		if (!again && !never_here(a, side, item))
			return 0;
		fd = open_body(a, 1 - side, &item->copy);
	}
	if (fd < 0)
		return fd == -ENOENT ? MB_E_STALE : fd; /* expunged at the giver meanwhile */
	*ret_fd = fd;
	return 0;
}

/* Which items wake who watches; NULL: the plan is not put in bulk, or nobody watches. */
static bool *choose(const struct apply *a, int side, enum apply_part part)
{
	const struct plan *plan = &a->result->plan[side];

	if (part != APPLY_REST || !a->b[side]->ops->wake ||
	    (a->all ? a->all : plan->n) <= APPLY_MANY)
		return NULL;
	return wake_choose(&a->in->side[side], &a->result->tree, plan);
}

/* ---- the plan -------------------------------------------------------------------------------- */

bool apply_has_aliases(const struct apply *a)
{
	for (int side = 0; side < 2; side++)
		for (size_t i = 0; i < a->result->plan[side].n; i++)
			if (a->result->plan[side].items[i].type == REC_ALIAS)
				return true;
	return false;
}

/* Mailboxes that the side cannot have: their mail and those below them are not even tried, and are
 * no reason to look again. */
struct refused {
	struct guid *list; /* owned */
	size_t n, cap;
};

static bool is_refused(const struct refused *r, const struct record *item)
{
	bool mailbox = item->type == REC_MAILBOX_STATE;
	const struct guid *in = mailbox ? &item->mailbox.parent : &item->copy.place.mailbox;

	if (!mailbox && !needs_body(item))
		return false;
	for (size_t i = 0; i < r->n; i++) {
		if (guid_equal(&r->list[i], in))
			return true;
	}
	return false;
}

static void refuse(const struct apply *a, int side, const struct record *item, struct refused *r)
{
	if (item->type != REC_MAILBOX_STATE ||
	    tree_find(&a->in->side[side].tree, &item->mailbox.guid))
		return; /* what it has, it keeps under the old name */
	MB_GROW(r->list, r->cap, r->n + 1);
	r->list[r->n++] = item->mailbox.guid;
}

/* Items on their way, and what became of those that have arrived. */
struct putting {
	const struct apply *a;
	int side;
	struct refused refused;
	bool stale;
	int gone;
	size_t *again; /* owned: items whose body the side lacks after all */
	size_t n_again, cap_again;
};

struct turn {
	struct putting *p;
	size_t item;
	bool has_body;
};

static void count_put(struct putting *p, size_t i, int err)
{
	const struct apply *a = p->a;
	const struct plan *plan = &a->result->plan[p->side];
	const struct record *item = &plan->items[i];

	if (err > 0) {
		a->report->changed = true;
		session_count(&a->report->to[p->side],
			      plan_what_joined(&a->in->side[p->side], &a->result->tree, item));
	} else if (err == MB_E_STALE) {
		p->stale = true;
	} else if (err < 0 && backend_is_gone(err)) {
		p->gone = p->gone ? p->gone : err;
	} else if (err < 0) {
		if (err == MB_E_NAME)
			refuse(a, p->side, item, &p->refused);
		apply_error(a, p->side, item, err);
	}
}

/* It is not put, as its mailbox is not there: that was told of the mailbox. */
static void pass_over(struct putting *p, const struct record *item)
{
	count_error(p->a->report, MB_E_NAME);
	refuse(p->a, p->side, item, &p->refused);
}

static void put_done(int result, void *arg)
{
	struct turn t = *(struct turn *)arg;
	struct putting *p = t.p;
	const struct record *item = &p->a->result->plan[p->side].items[t.item];

	free(arg);
	if (result == -ENOENT && needs_body(item) && !t.has_body) {
		MB_GROW(p->again, p->cap_again, p->n_again + 1);
		p->again[p->n_again++] = t.item;
		return;
	}
	if (result < 0 && is_refused(&p->refused, item)) {
		pass_over(p, item);
		return;
	}
	int err = result > 0 && t.has_body ? tell_digest(p->a, p->side, &item->copy) : 0;
	count_put(p, t.item, err < 0 ? err : result);
}

static void put_one(struct putting *p, size_t i, int opened, bool again, bool wakes)
{
	const struct record *item = &p->a->result->plan[p->side].items[i];
	struct backend *b = p->a->b[p->side];
	int fd MB_AUTO_CLOSE = -1;
	int err = body_for(p->a, p->side, item, opened, again, &fd);

	if (err < 0) {
		count_put(p, i, err);
		return;
	}
	struct turn *t = mb_xmalloc(sizeof(*t));
	*t = (struct turn){.p = p, .item = i, .has_body = fd >= 0};
	if (wakes)
		b->ops->wake(b, true);
	backend_put_later(b, item, fd, put_done, t);
	if (wakes)
		b->ops->wake(b, false);
}

static void put_again(struct putting *p, const bool *wakes)
{
	backend_settle(p->a->b[p->side]);
	size_t n = p->n_again;
	for (size_t k = 0; k < n && !p->gone; k++)
		put_one(p, p->again[k], NOT_OPENED, true, wakes && wakes[p->again[k]]);
	p->n_again = 0;
	backend_settle(p->a->b[p->side]);
}

static void put_item(struct putting *p, struct ahead *w, size_t i, bool bulk, bool wakes)
{
	const struct plan *plan = &p->a->result->plan[p->side];

	if (bulk)
		look_ahead(p->a, p->side, w, i);
	int opened = take_opened(w, i);
	if (is_refused(&p->refused, &plan->items[i])) {
		if (opened >= 0)
			close(opened);
		pass_over(p, &plan->items[i]);
		return;
	}
	put_one(p, i, opened, false, wakes);
}

static void send_items(struct putting *p, enum apply_part part, const bool *wakes)
{
	const struct apply *a = p->a;
	const struct plan *plan = &a->result->plan[p->side];
	bool bulk = part == APPLY_REST && plan->n >= AHEAD_FROM;
	struct ahead w = {.next = 0};
	size_t foreseen = 0;

	for (size_t i = 0; i < plan->n && !p->gone; i++) {
		if ((plan->items[i].type == REC_ALIAS) != (part == APPLY_ALIASES))
			continue;
		if (a->opt->stop && a->opt->stop(a->opt->stop_arg)) {
			p->gone = -EINTR;
			break;
		}
		show(a, p->side, i);
		progress_tell(&a->opt->progress, p->side ? PROGRESS_SENDING : PROGRESS_GETTING,
			      a->before + i, a->all ? a->all : plan->n);
		if (i + AHEAD >= foreseen && foreseen < plan->n)
			foreseen = apply_foresee(a, p->side, foreseen);
		put_item(p, &w, i, bulk, wakes && wakes[i]);
		if (p->n_again &&
		    !a->b[p->side]->ops->put_later) /* before those that come after it */
			put_again(p, wakes);
	}
	ahead_release(&w);
}

static int putting_end(struct putting *p)
{
	free(p->refused.list);
	free(p->again);
	return p->gone ? p->gone : p->stale ? MB_E_STALE : 0;
}

int apply_plan(const struct apply *a, int side, enum apply_part part)
{
	bool *wakes MB_AUTO_FREE = choose(a, side, part);
	struct putting p = {.a = a, .side = side};

	send_items(&p, part, wakes);
	put_again(&p, wakes);
	return putting_end(&p);
}

/* A side that is far away tells what became of the items when it commits. */
static int commit_items(struct putting *p, const bool *wakes, uint64_t from)
{
	struct backend *b = p->a->b[p->side];
	int err = b->ops->commit(b);

	if (err < 0 || !p->n_again || p->gone)
		return err;
	err = b->ops->begin(b, from, false);
	if (err < 0)
		return err;
	put_again(p, wakes);
	return b->ops->commit(b);
}

int apply_and_commit(const struct apply *a, int side, enum apply_part part, uint64_t from)
{
	bool *wakes MB_AUTO_FREE = choose(a, side, part);
	struct putting p = {.a = a, .side = side};
	struct backend *b = a->b[side];
	int err = b->ops->begin(b, from, a->result->plan[side].n > APPLY_MANY);

	if (err < 0)
		return err;
	send_items(&p, part, wakes);
	if (p.gone && p.gone != -EINTR)
		backend_settle(b);
	else
		err = commit_items(&p, wakes, from);
	int ended = putting_end(&p);
	return err < 0 ? err : ended;
}
