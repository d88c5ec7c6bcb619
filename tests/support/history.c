/*
 * history.c - see history.h.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/history.h"
#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void leave_out(const struct history_view *v, size_t i)
{
	uint8_t *at = (uint8_t *)v->ops + i * v->op_size;

	--*v->n;
	memmove(at, at + v->op_size, (*v->n - i) * v->op_size);
}

void history_shrink(const struct history_view *v, const char *wrong)
{
	uint8_t *before = mb_xmalloc(*v->n * v->op_size);
	bool shorter;

	do {
		shorter = false;
		for (size_t i = *v->n; i-- > 0;) {
			size_t n = *v->n;
			memcpy(before, v->ops, n * v->op_size);
			leave_out(v, i);
			const char *now = v->run(v->history, false);
			if (now && strcmp(now, wrong) == 0) {
				shorter = true;
				continue;
			}
			memcpy(v->ops, before, n * v->op_size);
			*v->n = n;
		}
	} while (shorter);
	free(before);
}

void history_check(const struct history_view *v, const char *name, bool aloud)
{
	const char *wrong = v->run(v->history, aloud);

	if (!wrong)
		return;
	history_shrink(v, wrong);
	printf("%s: %s\n", name, wrong);
	v->run(v->history, true);
	fail_msg("%s: %s", name, wrong);
}

void history_clock(int64_t ns)
{
	clock_set_offset_ns(0);
	clock_set_offset_ns(ns + 500000 - clock_wall_ns());
}

static uint64_t number(const char *variable, uint64_t otherwise)
{
	const char *text = getenv(variable);

	return text ? strtoul(text, NULL, 10) : otherwise;
}

bool history_is_one_seed(void)
{
	return getenv("MAILBRAID_SEED");
}

void history_seeds(const char *many, uint64_t n,
		   void (*check)(uint64_t seed, bool aloud, const void *arg), const void *arg)
{
	uint64_t start = number("MAILBRAID_FIRST", 1);

	if (history_is_one_seed()) {
		check(number("MAILBRAID_SEED", 0), true, arg);
		return;
	}
	n = number(many, n);
	for (uint64_t seed = start; seed < start + n; seed++)
		check(seed, false, arg);
}
