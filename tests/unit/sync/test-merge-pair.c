/*
 * test-merge-pair.c - one message delivered on both sides: rows 22 to 27, 65, 88 to 90.
 */
#include "tests/support/world.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#define INBOX GUID_INBOX

static struct guid lower(struct guid a, struct guid b)
{
	return guid_compare(&a, &b) < 0 ? a : b;
}

static void row_22(struct world *w)
{
	w->m = has(w->a, INBOX, "twin");
	w->n = has(w->a, INBOX, "twin");
	in_step(w);
	holds(w, INBOX, 2);
	is_in(w, w->m, INBOX);
	is_in(w, w->n, INBOX);
}

static void row_22_both(struct world *w)
{
	w->m = has(w->a, INBOX, "twin");
	w->n = has(w->a, INBOX, "twin");
	has(w->b, INBOX, "twin");
	w->o = has(w->b, INBOX, "twin");
	has(w->b, INBOX, "twin");
	in_step(w);
	holds(w, INBOX, 3);
	is_in(w, lower(w->n, w->o), INBOX); /* the second with the second */
}

static void row_23(struct world *w)
{
	row_22(w);
	expunge(w->a, w->m);
	flag(w->b, w->n, FLAG_FLAGGED);
	in_step(w);
	holds(w, INBOX, 1);
	is_flagged(w, w->n, "F");
}

static void row_24(struct world *w)
{
	in_step(w);
	w->m = has(w->a, INBOX, "by two ways");
	w->n = has(w->b, INBOX, "by two ways");
	flag(w->a, w->m, FLAG_SEEN);
	keyword(w->b, w->n, "list", true);
	w->link.bodies = 0;
	in_step(w);
	struct guid one = lower(w->m, w->n);
	holds(w, INBOX, 1);
	is_in(w, one, INBOX);
	is_flagged(w, one, "S");
	has_keyword(w, one, "list", true);
	assert_int_equal(w->link.bodies, 0);
	assert_true(noticed(w, NOTICE_PAIRED));
	assert_int_equal(find_copy(w->a, one, 0)->place.uid, 1);
}

static void row_24_option(struct world *w)
{
	w->link.keep_twins = true;
	has(w->a, INBOX, "by two ways");
	has(w->b, INBOX, "by two ways");
	in_step(w);
	holds(w, INBOX, 2);
}

static void row_25(struct world *w)
{
	has(w->a, INBOX, "Message-ID: <1>\n\nwith a footer of the list");
	has(w->b, INBOX, "Message-ID: <1>\n\nas it was sent");
	in_step(w);
	holds(w, INBOX, 2);
}

static void row_27(struct world *w)
{
	has(w->a, INBOX, "Message-ID: <1>\nSubject: s\n\none");
	has(w->b, INBOX, "Message-ID: <1>\nSubject: s\n\ntwo");
	in_step(w);
	holds(w, INBOX, 2);
}

static void row_65(struct world *w)
{
	w->x = mkbox(w->a, "F");
	w->y = mkbox(w->b, "F");
	w->m = has(w->a, w->x, "in both");
	w->n = has(w->b, w->y, "in both");
	in_step(w);
	holds(w, lower(w->x, w->y), 1);
	is_in(w, lower(w->m, w->n), lower(w->x, w->y));
}

static void row_90(struct world *w)
{
	char body[] = "message ?";
	for (size_t i = 0; i < 26; i++) {
		body[8] = (char)('a' + i);
		has(w->a, INBOX, body);
		has(w->b, INBOX, body);
	}
	in_step(w);
	holds(w, INBOX, 26);
	assert_int_equal(w->link.bodies, 0);
}

static void other_mailbox(struct world *w)
{
	w->x = mkbox(w->a, "X");
	in_step(w);
	has(w->a, w->x, "same");
	has(w->b, INBOX, "same");
	in_step(w);
	holds(w, w->x, 1);
	holds(w, INBOX, 1);
}

static void seen_before(struct world *w)
{
	w->m = has(w->a, INBOX, "same");
	in_step(w);
	w->n = has(w->b, INBOX, "same"); /* a twin, not an arrival of both */
	in_step(w);
	holds(w, INBOX, 2);
}

/* Both have it in two mailboxes; here as copies of one message. */
static void with_copies(struct world *w)
{
	w->x = mkbox(w->a, "X");
	in_step(w);
	w->m = has(w->a, INBOX, "same");
	copy(w->a, w->m, w->x);
	w->n = has(w->b, w->x, "same");
	in_step(w);
	holds(w, INBOX, 1);
	holds(w, w->x, 1);
	struct guid one = lower(w->m, w->n);
	assert_int_equal(memory_find(w->a, &one)->n, 2);
}

/* A third replica knows the GUID that gave way. */
static void third(struct world *w)
{
	struct backend *c = backend_open_memory(3);
	struct link ac = {.b = {w->a, c}};
	w->m = has(w->a, INBOX, "by two ways");
	w->n = has(w->b, INBOX, "by two ways");
	assert_null(link_sync(&ac));
	in_step(w);
	struct guid one = lower(w->m, w->n);
	assert_int_equal(memory_flags(c, &w->m, 0, FLAG_MASK(FLAG_SEEN), 0), 0);
	assert_null(link_sync(&ac));
	in_step(w);
	assert_null(link_compare(w->a, c));
	is_flagged(w, one, "S");
	holds(w, INBOX, 1);
	backend_close(c);
}

static void keeps_guids(struct world *w)
{
	struct backend_info info;
	w->b->ops->info(w->b, &info);
	memory_set_caps(w->b, info.caps & ~(unsigned)CAP_GUIDS);
	w->m = has(w->a, INBOX, "same");
	for (int i = 0; i < 8; i++) { /* some of these are lower */
		char body[] = "number ?";
		body[7] = (char)('0' + i);
		w->m = has(w->a, INBOX, body);
		has(w->b, INBOX, body);
		in_step(w);
		is_in(w, w->m, INBOX);
	}
}

#define HEAD "Message-ID: <1>\nDate: today\n"

/* Row 116: the bytes of each stay where they are, all else is one. */
static void row_116(struct world *w)
{
	w->link.alike = true;
	w->m = has(w->a, INBOX, HEAD "\ntext\n");
	w->n = has(w->b, INBOX, "Received: x\r\nMessage-ID: <1>\r\nDate: today\r\n\r\ntext\r\n");
	flag(w->a, w->m, FLAG_SEEN);
	assert_null(link_sync(&w->link));
	assert_true(noticed(w, NOTICE_PAIRED));
	assert_int_equal(w->link.bodies, 0);
	struct guid one = lower(w->m, w->n);
	assert_int_equal(find_copy(w->a, one, 0)->size, strlen(HEAD "\ntext\n"));
	assert_int_equal(find_copy(w->b, one, 0)->size, strlen(HEAD "\ntext\n") + 17);
	assert_true(find_copy(w->b, one, 0)->flags.set & FLAG_MASK(FLAG_SEEN));
	flag(w->b, one, FLAG_FLAGGED);
	expunge(w->a, one);
	assert_null(link_sync(&w->link));
	is_gone(w, one);
}

static void alike_but_not_all(struct world *w)
{
	static const char other[] = "X-UID: 1\n" HEAD "\ntext\n", equal[] = HEAD "\ntext\n";
	w->link.alike = true;
	has(w->a, INBOX, equal);
	has(w->b, INBOX, equal);
	has(w->b, INBOX, other); /* its like has its equal */
	in_step(w);
	holds(w, INBOX, 2);
}

static void alike_twins(struct world *w)
{
	w->link.alike = true;
	for (int i = 0; i < 3; i++) {
		has(w->a, INBOX, HEAD "\ntext\n");
		if (i)
			has(w->b, INBOX, "X-UID: 1\n" HEAD "\ntext\n");
	}
	assert_null(link_sync(&w->link));
	assert_int_equal(w->link.bodies, 1);
	holds(w, INBOX, 3);
}

static struct row rows[] = {
	{"22: twins here: two there", row_22},
	{"22: two twins here, three there: three", row_22_both},
	{"23: one twin expunged, the other flagged: one left, flagged", row_23},
	{"24: one message by two ways: one, with the flags of both", row_24},
	{"24: or two, when asked for", row_24_option},
	{"25: one Message-ID, other bytes: two", row_25},
	{"27: equal headers, other bytes: two", row_27},
	{"65: mailboxes made apart: their mail is paired", row_65},
	{"88, 89, 90: both filled by another tool: nothing is copied", row_90},
	{"116: other line ends and trace fields: one, each side keeps its bytes", row_116},
	{"like one that has its equal: two", alike_but_not_all},
	{"three here, two there that are like them: three", alike_twins},
	{"in different mailboxes: two", other_mailbox},
	{"a twin of what the other side has: two", seen_before},
	{"a message with copies is paired as a whole", with_copies},
	{"a third replica learns the alias", third},
	{"the GUID of the side that keeps GUIDs stays", keeps_guids},
};

int main(void)
{
	return world_rows("merge-pair", rows, sizeof(rows) / sizeof(rows[0]));
}
