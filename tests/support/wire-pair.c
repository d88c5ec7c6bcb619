/*
 * wire-pair.c - see wire-pair.h.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/wire/responder.h"
#include "tests/support/wire-pair.h"

#include <string.h>
#include <sys/socket.h>

static void keep_open(struct backend *b)
{
}

static int give(bool dry, void *arg, struct backend **ret)
{
	*ret = arg;
	return 0;
}

static void *serve(void *arg)
{
	struct wire_pair *p = arg;

	p->served = wire_serve(p->fd, p->fd, 5, give, p->pair.b);
	return NULL;
}

void wire_pair_serve(struct wire_pair *p, int fd)
{
	p->fd = fd;
	assert_int_equal(pthread_create(&p->thread, NULL, serve, p), 0);
}

void wire_pair_join(struct wire_pair *p)
{
	assert_int_equal(pthread_join(p->thread, NULL), 0);
}

void wire_pair_connect(struct wire_pair *p)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	wire_pair_serve(p, fds[1]);
	assert_int_equal(backend_open_wire(fds[0], fds[0], "exec:far", &p->far), 0);
}

void wire_pair_disconnect(struct wire_pair *p)
{
	if (!p->far)
		return;
	backend_close(MB_TAKE(p->far));
	wire_pair_join(p);
}

int wire_pair_open(void **state)
{
	struct wire_pair *p = mb_xcalloc(1, sizeof(*p));

	p->pair.a = backend_open_memory(A_ID);
	p->pair.b = backend_open_memory(B_ID);
	p->real = p->pair.b->ops;
	p->ops = *p->real;
	p->ops.close = keep_open;
	p->pair.b->ops = &p->ops;
	mb_msg_set_level(MB_ERROR);
	wire_patience(5);
	wire_pair_connect(p);
	*state = p;
	return 0;
}

int wire_pair_close(void **state)
{
	struct wire_pair *p = *state;

	wire_pair_disconnect(p);
	p->pair.b->ops = p->real;
	backend_close(p->pair.a);
	backend_close(p->pair.b);
	free(p);
	return 0;
}

uint64_t wire_pair_sync(struct wire_pair *p, const struct session_options *o, int expect,
			struct session_result *ret)
{
	static const struct session_options plain;
	struct session_result r;
	uint64_t before = wire_counts(p->far).round_trips;

	assert_int_equal(session_run(p->pair.a, p->far, o ? o : &plain, &r), expect);
	if (ret)
		*ret = r;
	else
		session_result_release(&r);
	return wire_counts(p->far).round_trips - before;
}
