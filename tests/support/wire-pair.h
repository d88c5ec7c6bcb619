/*
 * wire-pair.h - a pair (pair.h) with a stream between: b is served by a thread, `far` is what a sees of it.
 */
#ifndef MB_TESTS_WIRE_PAIR_H
#define MB_TESTS_WIRE_PAIR_H

#include "backends/wire/wire.h"
#include "tests/support/pair.h"
#include <pthread.h>

struct wire_pair {
	struct pair pair; /* first */
	struct backend *far;
	struct backend_ops ops; /* b's, without its close */
	const struct backend_ops *real;
	pthread_t thread;
	int fd;	    /* of the thread */
	int served; /* what wire_serve() gave */
};

/* For cmocka: *state becomes a struct wire_pair, connected. */
int wire_pair_open(void **state);
int wire_pair_close(void **state);
void wire_pair_connect(struct wire_pair *p);
void wire_pair_disconnect(struct wire_pair *p);
/* A thread that serves b at `fd`, until that ends; wire_pair_join() waits for it. */
void wire_pair_serve(struct wire_pair *p, int fd);
void wire_pair_join(struct wire_pair *p);

/* One session of a with b; it must end with `expect`.  How many round trips it took. */
uint64_t wire_pair_sync(struct wire_pair *p, const struct session_options *o, int expect,
			struct session_result *ret);

#endif
