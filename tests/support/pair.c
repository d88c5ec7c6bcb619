/*
 * pair.c - see pair.h.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "tests/support/pair.h"

#include <stdlib.h>
#include <string.h>

int pair_open(void **state)
{
	struct pair *p = mb_xcalloc(1, sizeof(*p));

	p->a = backend_open_memory(A_ID);
	p->b = backend_open_memory(B_ID);
	*state = p;
	mb_msg_set_level(MB_ERROR);
	return 0;
}

int pair_close(void **state)
{
	struct pair *p = *state;

	backend_close(p->a);
	backend_close(p->b);
	free(p);
	return 0;
}

struct guid deliver(struct backend *b, const char *text)
{
	struct guid g;

	assert_int_equal(memory_deliver(b, &GUID_INBOX, text, strlen(text), 0, &g), 0);
	return g;
}

struct session_result run_with(struct pair *p, const struct session_options *o, int expect)
{
	struct session_result r;
	int err = session_run(p->a, p->b, o, &r);

	assert_int_equal(err, expect);
	return r;
}

struct session_result sync_pair(struct pair *p)
{
	const struct session_options o = {0};

	return run_with(p, &o, 0);
}

bool sync_changed(struct pair *p)
{
	struct session_result r = sync_pair(p);
	bool changed = r.changed;

	assert_int_equal(session_exit(0, &r), 0);
	session_result_release(&r);
	return changed;
}

struct position position_of(struct backend *b)
{
	struct position p;

	assert_int_equal(b->ops->position(b, &p), 0);
	return p;
}

const struct copy *copy_of(struct backend *b, const struct guid *g)
{
	const struct message *m = memory_find(b, g);

	return m && m->n ? &m->copies[0] : NULL;
}

bool lives(struct backend *b, const struct guid *g)
{
	const struct copy *c = copy_of(b, g);

	return c && copy_alive(c);
}

void assert_equal_sides(struct pair *p)
{
	assert_int_equal(memory_n_messages(p->a), memory_n_messages(p->b));
	for (size_t i = 0; i < memory_n_messages(p->a); i++) {
		const struct message *x = memory_message(p->a, i), *y = memory_message(p->b, i);
		assert_true(guid_equal(&x->guid, &y->guid));
		assert_int_equal(x->n, y->n);
		for (size_t c = 0; c < x->n; c++) {
			const struct copy *there = message_find(y, x->copies[c].id);
			assert_non_null(there);
			assert_true(copy_equal(&x->copies[c], there));
		}
	}
	const struct tree *s = memory_tree(p->a), *t = memory_tree(p->b);
	assert_int_equal(s->n, t->n);
	for (size_t i = 0; i < s->n; i++)
		assert_true(mailbox_equal(&s->nodes[i], &t->nodes[i]));
}
