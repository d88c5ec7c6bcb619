/*
 * test-responder-put.c - what a peer may put, and what it may not.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/err.h"
#include "tests/support/wire-pair.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void agree(struct wire_pair *p)
{
	struct session_result r;

	wire_pair_sync(p, NULL, 0, &r);
	assert_int_equal(session_exit(0, &r), 0);
	session_result_release(&r);
	assert_equal_sides(&p->pair);
}

/* A peer's record of us says where we are, never where it shall go. */
static void nobody_says_where_the_other_goes(void **state)
{
	struct wire_pair *p = *state;
	char evil[] = "exec:touch /tmp/evil";
	struct record r = {.type = REC_PEER, .peer = {.replica = A_ID, .destination = evil}};
	struct peer_state st;

	agree(p);
	assert_int_equal(p->far->ops->begin(p->far, A_ID, false), 0);
	assert_true(p->far->ops->put(p->far, &r, -1) >= 0);
	assert_int_equal(p->far->ops->commit(p->far), 0);
	assert_int_equal(p->pair.b->ops->peer(p->pair.b, A_ID, NULL, &st), 0);
	assert_string_equal(st.destination, "");
	peer_state_release(&st);
}

static void what_is_no_business_of_a_peer_ends_the_connection(void **state)
{
	struct wire_pair *p = *state;
	struct record r = {.type = REC_PEER_FORGET, .peer = {.replica = A_ID}};

	assert_int_equal(p->far->ops->begin(p->far, A_ID, false), 0);
	assert_int_equal(p->far->ops->put(p->far, &r, -1), MB_E_PROTOCOL);
	assert_true(p->far->ops->commit(p->far) < 0);
	wire_pair_disconnect(p);
	assert_int_equal(p->served, MB_E_PROTOCOL);
}

static void nobody_says_how_far_a_third_one_is(void **state)
{
	struct wire_pair *p = *state;
	char none[] = "";
	struct record r = {.type = REC_PEER, .peer = {.replica = 77, .destination = none}};

	assert_int_equal(p->far->ops->begin(p->far, A_ID, false), 0);
	assert_int_equal(p->far->ops->put(p->far, &r, -1), MB_E_PROTOCOL);
	assert_true(p->far->ops->commit(p->far) < 0);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, wire_pair_open, wire_pair_close)
	const struct CMUnitTest tests[] = {
		T(nobody_says_where_the_other_goes),
		T(what_is_no_business_of_a_peer_ends_the_connection),
		T(nobody_says_how_far_a_third_one_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
