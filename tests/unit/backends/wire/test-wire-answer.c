/*
 * test-wire-answer.c - ends that answer what they should not: the session ends, and nothing is taken.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/err.h"
#include "backends/wire/frame.h"
#include "tests/support/wire-pair.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct lie {
	struct buf b; /* owned: what is said after a good HELLO */
};

static size_t say(struct lie *l, enum wire_type type, uint32_t id)
{
	return frame_begin(&l->b, type, id);
}

static void end(struct lie *l, size_t at)
{
	frame_end(&l->b, at);
}

static void answer_refresh(struct lie *l)
{
	struct wire_info i = {.info = {.replica = 77, .caps = 0x3f}};
	size_t at = say(l, WIRE_ANSWER, 1);

	wire_put_result(&l->b, 0);
	wire_put_info(&l->b, &i);
	end(l, at);
	at = say(l, WIRE_ANSWER, 2); /* PEER */
	wire_put_result(&l->b, -ENOENT);
	end(l, at);
}

/* A session with an end that says this, which must end with MB_E_PROTOCOL. */
static void is_found_out(struct wire_pair *p, struct lie *l)
{
	struct wire_hello h = {.lowest = 1, .highest = 1};
	const struct session_options o = {0};
	BUF_AUTO struct buf all = BUF_INIT;
	struct session_result r;
	struct backend *far;
	int fds[2];

	h.info.info.replica = 77;
	h.info.info.caps = 0x3f;
	wire_put_hello(&all, &h, true);
	buf_put(&all, l->b.data, l->b.len);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(write(fds[1], all.data, all.len), all.len);
	assert_int_equal(backend_open_wire(fds[0], fds[0], "exec:liar", &far), 0);
	struct position before = position_of(p->pair.a);
	assert_int_equal(session_run(p->pair.a, far, &o, &r), MB_E_PROTOCOL);
	session_result_release(&r);
	struct position after = position_of(p->pair.a);
	assert_true(position_equal(&before, &after));
	backend_close(far);
	close(fds[1]);
	buf_release(&l->b);
}

static void a_tree_that_is_not_in_order(void **state)
{
	static const uint8_t order[2][2] = {{5, 4}, {5, 5}};
	char part[] = "x";

	for (int k = 0; k < 2; k++) {
		struct lie l = {0};
		answer_refresh(&l);
		size_t at = say(&l, WIRE_ANSWER, 3); /* POSITION */
		wire_put_result(&l.b, 0);
		position_encode(&(struct position){.sequence = 1}, &l.b);
		end(&l, at);
		at = say(&l, WIRE_PART, 4);
		buf_put_u8(&l.b, PART_MAILBOXES);
		for (int i = 0; i < 2; i++) {
			struct mailbox m = {.guid = {{order[k][i]}}, .part = part};
			wire_put_mailbox(&l.b, &m);
		}
		end(&l, at);
		is_found_out(*state, &l);
	}
}

static void an_answer_to_something_else(void **state)
{
	static const uint32_t ids[] = {0, 2, 3, 99};

	for (int i = 0; i < 4; i++) {
		struct lie l = {0};
		size_t at = say(&l, WIRE_ANSWER, ids[i]);
		wire_put_result(&l.b, 0);
		end(&l, at);
		is_found_out(*state, &l);
	}
}

static void parts_and_data_that_nobody_wants(void **state)
{
	for (int kind = 0; kind < 10; kind++) {
		struct lie l = {0};
		size_t at = say(&l, kind ? WIRE_PART : WIRE_DATA, 1);
		buf_put_u8(&l.b, (uint8_t)kind);
		buf_put(&l.b, "0123456789abcdef", 16);
		end(&l, at);
		is_found_out(*state, &l);
	}
}

static void answers_with_more_or_less_behind(void **state)
{
	for (int extra = -1; extra < 2; extra += 2) {
		struct lie l = {0};
		struct wire_info i = {.info = {.replica = 77, .caps = 0x3f}};
		size_t at = say(&l, WIRE_ANSWER, 1);
		wire_put_result(&l.b, 0);
		wire_put_info(&l.b, &i);
		if (extra > 0)
			buf_put_u8(&l.b, 0);
		else
			l.b.len--;
		end(&l, at);
		is_found_out(*state, &l);
	}
}

/* Else an end could go on saying them for ever. */
static void parts_that_say_nothing(void **state)
{
	struct lie l = {0};

	answer_refresh(&l);
	size_t at = say(&l, WIRE_ANSWER, 3); /* POSITION */
	wire_put_result(&l.b, 0);
	position_encode(&(struct position){.sequence = 1}, &l.b);
	end(&l, at);
	at = say(&l, WIRE_PART, 4); /* TREE */
	buf_put_u8(&l.b, PART_MAILBOXES);
	end(&l, at);
	is_found_out(*state, &l);
}

static void news_that_end_twice(void **state)
{
	const struct position since = {.sequence = 1};
	struct wire_hello h = {.lowest = 1, .highest = 1};
	struct change_set set;
	struct backend *far;
	struct lie l = {0};
	int fds[2];

	h.info.info.replica = 77;
	h.info.info.caps = 0x3f;
	wire_put_hello(&l.b, &h, true);
	for (int i = 0; i < 2; i++) {
		size_t at = say(&l, WIRE_PART, 1);
		buf_put_u8(&l.b, PART_END);
		position_encode(&since, &l.b);
		end(&l, at);
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(write(fds[1], l.b.data, l.b.len), l.b.len);
	assert_int_equal(backend_open_wire(fds[0], fds[0], "exec:liar", &far), 0);
	assert_int_equal(far->ops->changes(far, &since, 0, &set), MB_E_PROTOCOL);
	backend_close(far);
	close(fds[1]);
	buf_release(&l.b);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, wire_pair_open, wire_pair_close)
	const struct CMUnitTest tests[] = {
		T(a_tree_that_is_not_in_order),	     T(an_answer_to_something_else),
		T(parts_and_data_that_nobody_wants), T(answers_with_more_or_less_behind),
		T(parts_that_say_nothing),	     T(news_that_end_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
