/*
 * put-step.c - a put of a copy as the system call that carries it through the mount.
 *
 * Between the plan and the call a program may have changed the file: it settled an edit, moved it,
 * removed it.  Then the put would do something else than the call says, and the mount would show names
 * that are not there, or one message under the node of another.
 */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/store/put-copy.h"
#include <stdio.h>
#include <string.h>

static bool is_token(const char *path)
{
	return strncmp(path, STORE_TOKEN_PREFIX, strlen(STORE_TOKEN_PREFIX)) == 0;
}

bool copy_put_is(const struct copy_put *c, const struct store_step *step)
{
	bool alive = copy_alive(&c->new);

	if (step->op == STEP_RENAME && is_token(step->from))
		return alive && !c->present && c->staged;
	return c->present && strcmp(c->old_path, step->from) == 0 &&
	       alive == (step->op == STEP_RENAME);
}

/* What carries c, which was aimed. */
static void tell_step(struct copy_put *c, struct store_step *ret)
{
	bool alive = copy_alive(&c->new);

	if (!alive && c->present) {
		ret->op = STEP_UNLINK;
		ret->from = MB_TAKE(c->old_path);
	} else if (alive && c->present && strcmp(c->old_path, c->new_path) != 0) {
		ret->op = STEP_RENAME;
		ret->from = MB_TAKE(c->old_path);
		ret->to = MB_TAKE(c->new_path);
	} else if (alive && !c->present && c->staged) {
		ret->op = STEP_RENAME;
		ret->from = mb_xasprintf(STORE_TOKEN_PREFIX "%s", c->staged);
		ret->to = MB_TAKE(c->new_path);
	}
}

int put_copy_step(struct store *s, const struct record *want, const char *staged,
		  struct store_step *ret)
{
	struct copy_put c = {.s = s, .want = want, .staged = staged};
	int err = index_begin(s->index, false, &c.tx);
	bool alive;

	if (err < 0)
		return err;
	err = copy_put_load(&c);
	alive = err >= 0 && copy_alive(&c.new);
	/* a damaged file stays, with other bytes: no system call does that */
	if (err >= 0 && !(alive && c.damaged)) {
		err = alive ? copy_put_aim(&c, false) : 0;
		if (err >= 0)
			tell_step(&c, ret);
	}
	index_abort(c.tx);
	copy_put_release(&c);
	return err;
}
