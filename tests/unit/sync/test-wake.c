/*
 * test-wake.c - of a bulk, who watches a mailbox is told of the last change of each kind.
 */
#include "backends/backend.h"
#include "backends/base/mem.h"
#include "sync/wake.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MESSAGES = 40 };

/* A side with MESSAGES messages in INBOX, seen; a plan of up to 64 items that borrow all they hold. */
struct scene {
	struct merge_side side;
	struct message messages[MESSAGES];
	struct copy copies[MESSAGES];
	struct record items[64];
	struct plan plan;
};

static struct guid guid_of(unsigned n)
{
	struct guid g = {0};

	g.b[0] = (uint8_t)(n >> 8);
	g.b[1] = (uint8_t)n;
	g.b[15] = 1;
	return g;
}

static struct stamp at(uint64_t time)
{
	return (struct stamp){.time = time, .replica = 1};
}

static void scene_open(struct scene *s)
{
	*s = (struct scene){.side = {.messages = s->messages,
				     .n_messages = MESSAGES,
				     .caps = CAP_STAMPS | CAP_UIDS}};
	s->plan.items = s->items;
	for (unsigned i = 0; i < MESSAGES; i++) {
		s->copies[i] = (struct copy){.guid = guid_of(i),
					     .place = {.mailbox = GUID_INBOX, .at = at(1)}};
		s->messages[i] =
			(struct message){.guid = guid_of(i), .copies = &s->copies[i], .n = 1};
	}
}

static struct copy *add(struct scene *s, unsigned message)
{
	struct record *r = &s->items[s->plan.n++];

	*r = (struct record){
		.type = REC_COPY_STATE,
		.copy = {.guid = guid_of(message), .place = {.mailbox = GUID_INBOX, .at = at(1)}}};
	return &r->copy;
}

static void arrive(struct scene *s, struct guid box, bool recent)
{
	struct copy *c = add(s, 1000 + (unsigned)s->plan.n);

	c->place.mailbox = box;
	c->recent = recent;
}

static void expunge(struct scene *s, unsigned message)
{
	add(s, message)->dead = at(1);
}

static void flag(struct scene *s, unsigned message)
{
	add(s, message)->flags.set = FLAG_MASK(FLAG_SEEN);
}

static void move(struct scene *s, unsigned message, struct guid box)
{
	struct copy *c = add(s, message);

	c->place.mailbox = box;
	c->place.at = at(2);
}

static char box_name[] = "box";

static void make_box(struct scene *s, unsigned box, struct guid parent)
{
	struct record *r = &s->items[s->plan.n++];

	*r = (struct record){.type = REC_MAILBOX_STATE,
			     .mailbox = {.guid = guid_of(box),
					 .parent = parent,
					 .part = box_name,
					 .born = at(1),
					 .named_at = at(1),
					 .selectable = true}};
}

/* `want`: for each item "!" when it wakes, else ".". */
static void wakes(struct scene *s, const char *want)
{
	MB_AUTO_FREE bool *have = wake_choose(&s->side, NULL, &s->plan);
	char text[65] = "";

	for (size_t i = 0; i < s->plan.n; i++)
		text[i] = have[i] ? '!' : '.';
	assert_string_equal(text, want);
}

static void an_empty_plan_wakes_nobody(void **state)
{
	struct scene s;

	scene_open(&s);
	assert_null(wake_choose(&s.side, NULL, &s.plan));
}

static void the_last_arrival_of_each_mailbox_wakes(void **state)
{
	const struct guid x = guid_of(500), y = guid_of(501);
	struct scene s;

	scene_open(&s);
	for (int i = 0; i < 3; i++)
		arrive(&s, x, false);
	for (int i = 0; i < 2; i++)
		arrive(&s, y, false);
	arrive(&s, x, false);
	wakes(&s, "....!!");
}

static void new_and_cur_are_two_directories(void **state)
{
	struct scene s;

	scene_open(&s);
	arrive(&s, GUID_INBOX, true);
	arrive(&s, GUID_INBOX, true);
	arrive(&s, GUID_INBOX, false);
	arrive(&s, GUID_INBOX, false);
	wakes(&s, ".!.!");
}

static void expunges_and_flags_have_one_each(void **state)
{
	struct scene s;

	scene_open(&s);
	for (unsigned i = 0; i < 3; i++)
		expunge(&s, i);
	for (unsigned i = 3; i < 6; i++)
		flag(&s, i);
	arrive(&s, GUID_INBOX, false);
	wakes(&s, "..!..!!");
}

/* Both the mailbox that it left and the one that has it. */
static void a_move_is_told_in_both_mailboxes(void **state)
{
	const struct guid x = guid_of(500), y = guid_of(501);
	struct scene s;

	scene_open(&s);
	move(&s, 0, x);
	move(&s, 1, x);
	move(&s, 2, y);
	wakes(&s, ".!!"); /* the last of X; the last of Y, which is the last that left INBOX too */
	expunge(&s, 3);
	wakes(&s, ".!!!");
}

/* An expunge is told where the message was, not where the peer had it last. */
static void an_expunge_is_told_where_it_was(void **state)
{
	struct scene s;

	scene_open(&s);
	expunge(&s, 0);
	s.items[0].copy.place.mailbox = guid_of(500);
	expunge(&s, 1);
	wakes(&s, ".!");
}

static void what_changes_nothing_wakes_nobody(void **state)
{
	struct scene s;

	scene_open(&s);
	flag(&s, 0);
	add(&s, 1);			      /* as it is */
	add(&s, 2000)->dead = at(1);	      /* never here */
	s.items[s.plan.n++].type = REC_ALIAS; /* no file */
	wakes(&s, "!...");
}

static void the_last_mailbox_below_each_parent_wakes(void **state)
{
	struct scene s;

	scene_open(&s);
	make_box(&s, 600, GUID_ZERO);
	make_box(&s, 601, GUID_ZERO);
	make_box(&s, 602, guid_of(600));
	arrive(&s, guid_of(600), false);
	wakes(&s, ".!!!");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_plan_wakes_nobody),
		cmocka_unit_test(the_last_arrival_of_each_mailbox_wakes),
		cmocka_unit_test(new_and_cur_are_two_directories),
		cmocka_unit_test(expunges_and_flags_have_one_each),
		cmocka_unit_test(a_move_is_told_in_both_mailboxes),
		cmocka_unit_test(an_expunge_is_told_where_it_was),
		cmocka_unit_test(what_changes_nothing_wakes_nobody),
		cmocka_unit_test(the_last_mailbox_below_each_parent_wakes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
