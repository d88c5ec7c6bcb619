/*
 * plan.c - a peer's change that is made through the mount.
 *
 * The kernel wakes no inotify watcher for what a FUSE daemon does by itself.  So the reconciler asks
 * for the system call that carries a change, makes it in the mount, and the daemon, getting exactly
 * that call from exactly that process, puts the wanted state instead of taking it for a local change.
 * Another call of that process, one too late or made twice, is refused: as a local change it would have
 * a stamp of now, and win over what the peer was never asked about.
 */
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/store/dovecot.h"
#include <errno.h>
#include <string.h>

static void expected_free(struct expected *e)
{
	if (!e)
		return;
	free(e->step.from);
	free(e->step.to);
	free(e->staged);
	record_release(&e->want);
	free(e);
}

static void expected_expire(struct store *s)
{
	int64_t now = clock_mono_ns();

	for (struct expected **p = &s->expected; *p;) {
		struct expected *e = *p;

		if (now - e->at_ns < STEP_LIFE_NS) {
			p = &e->next;
			continue;
		}
		*p = e->next;
		expected_free(e);
	}
}

static bool same_text(const char *a, const char *b)
{
	return (!a && !b) || (a && b && strcmp(a, b) == 0);
}

static struct expected *expected_take(struct store *s, uint32_t pid, int op, const char *from,
				      const char *to)
{
	expected_expire(s);
	for (struct expected **p = &s->expected; *p; p = &(*p)->next) {
		struct expected *e = *p;

		if (e->pid != pid || (int)e->step.op != op || !same_text(e->step.from, from) ||
		    !same_text(e->step.to, to))
			continue;
		*p = e->next;
		return e;
	}
	return NULL;
}

static bool is_mailbox_record(const struct record *r)
{
	return r->type >= REC_MAILBOX_CREATE && r->type <= REC_MAILBOX_STATE;
}

static int expected_run(struct store *s, struct expected *e)
{
	int err = is_mailbox_record(&e->want) ? put_mailbox_op(s, &e->want, &e->step)
					      : put_locked(s, &e->want, e->staged, &e->step);

	expected_free(e);
	return err;
}

static struct planner *planner_find(struct store *s, uint32_t pid)
{
	struct planner *p = s->planners;

	while (p && p->pid != pid)
		p = p->next;
	return p;
}

void store_planner(struct store *s, uint32_t pid, uint32_t process)
{
	struct planner *p;

	if (!pid)
		return;
	store_lock(s);
	p = planner_find(s, pid);
	if (!p) {
		p = mb_xcalloc(1, sizeof(*p));
		p->pid = pid;
		p->next = s->planners;
		s->planners = p;
	}
	p->process = process;
	store_unlock(s);
}

void store_planners_end(struct store *s, uint32_t process)
{
	store_lock(s);
	for (struct planner **p = &s->planners; *p;) {
		struct planner *dead = *p;

		if (dead->process != process) {
			p = &dead->next;
			continue;
		}
		*p = dead->next;
		free(dead);
	}
	store_unlock(s);
}

bool expected_call(struct store *s, uint32_t pid, int op, const char *from, const char *to,
		   int *ret)
{
	struct expected *e = op == STEP_NONE ? NULL : expected_take(s, pid, op, from, to);

	if (!e && !planner_find(s, pid))
		return false;
	*ret = e ? expected_run(s, e) : -EBUSY;
	return true;
}

void expected_free_all(struct store *s)
{
	while (s->expected) {
		struct expected *e = s->expected;

		s->expected = e->next;
		expected_free(e);
	}
	while (s->planners) {
		struct planner *p = s->planners;

		s->planners = p->next;
		free(p);
	}
}

static bool is_copy_record(const struct record *r)
{
	return r->type >= REC_ARRIVE && r->type <= REC_COPY_STATE && r->type != REC_ALIAS;
}

static int find_step(struct store *s, const struct record *want, const char *staged,
		     struct store_step *ret)
{
	if (is_mailbox_record(want))
		return put_mailbox_step(s, want, ret);
	if (is_copy_record(want))
		return put_copy_step(s, want, staged, ret);
	return 0;
}

static void expect(struct store *s, const struct record *want, const char *staged, uint32_t pid,
		   const struct store_step *step)
{
	struct expected *e = mb_xcalloc(1, sizeof(*e));

	e->at_ns = clock_mono_ns();
	e->pid = pid;
	e->step.op = step->op;
	e->step.from = step->from ? mb_xstrdup(step->from) : NULL;
	e->step.to = step->to ? mb_xstrdup(step->to) : NULL;
	e->staged = staged ? mb_xstrdup(staged) : NULL;
	record_clone(&e->want, want);
	e->next = s->expected;
	s->expected = e;
}

int store_plan(struct store *s, const struct record *want, const char *staged, uint32_t pid,
	       struct store_step *ret_step)
{
	struct store_step step = {0};
	struct uidlist_hold hold;
	struct dotlock subs;
	int err;

	if (staged && (!at_path_ok(staged) || strchr(staged, '/')))
		return MB_E_NAME;
	err = subscriptions_hold(s, want, &subs);
	if (err >= 0)
		err = uidlist_hold(s, want, &hold);
	if (err < 0) {
		dotlock_drop(s, &subs);
		return err;
	}
	err = uidlist_enter(s, &hold);
	expected_expire(s);
	if (err >= 0)
		err = find_step(s, want, staged, &step);
	if (err >= 0 && step.op == STEP_NONE)
		err = put_locked(s, want, staged, NULL);
	else if (err >= 0)
		expect(s, want, staged, pid, &step);
	uidlist_leave(s, &hold);
	dotlock_drop(s, &subs);
	if (err < 0) {
		free(step.from);
		free(step.to);
		return err;
	}
	*ret_step = step;
	return err;
}

int store_token_stat(struct store *s, const char *name, struct stat *ret)
{
	size_t len = strlen(STORE_TOKEN_PREFIX);

	if (strncmp(name, STORE_TOKEN_PREFIX, len) != 0 || !at_path_ok(name + len) ||
	    strchr(name + len, '/'))
		return -ENOENT;
	return at_stat(s->staging_fd, name + len, ret);
}
