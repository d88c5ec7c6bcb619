/*
 * test-merge-mirror.c - backups: the destination becomes what its source is, and nothing else changes.
 *
 * A is side 0 and the source.  Random histories: test-scope-histories.c.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include "sync/scope.h"
#include "tests/support/pair.h"
#include "tests/support/world.h"

#include <stdio.h>
#include <string.h>

static struct session_result backup(struct pair *p, bool allow)
{
	struct scope s;

	scope_init(&s);
	s.let[0] = 0;
	s.mirror = true;
	const struct session_options o = {.scope = &s, .allow_mass_expunge = allow};
	return run_with(p, &o, 0);
}

/* Done, and a second one does nothing. */
static void backup_done(struct pair *p)
{
	struct session_result r = backup(p, false);

	assert_int_equal(session_exit(0, &r), 0);
	session_result_release(&r);
	r = backup(p, false);
	assert_false(r.changed);
	session_result_release(&r);
}

static void same_uids(struct pair *p, const struct guid *g)
{
	assert_true(lives(p->b, g));
	assert_int_equal(copy_of(p->a, g)->place.uid, copy_of(p->b, g)->place.uid);
	assert_true(flags_same_set(&copy_of(p->a, g)->flags, &copy_of(p->b, g)->flags));
}

/* The fault of others: a stray delivery at the destination empties it, and then the source. */
static void a_stray_delivery_is_expunged_and_nothing_else(void **state)
{
	struct pair *p = *state;
	struct guid m = deliver(p->a, "one"), n = deliver(p->a, "two");

	backup_done(p);
	struct guid stray = deliver(p->b, "stray");
	struct guid late = deliver(p->a, "three");
	backup_done(p);
	assert_false(lives(p->b, &stray));
	same_uids(p, &m);
	same_uids(p, &n);
	same_uids(p, &late); /* though the stray one had its UID */
	assert_null(memory_find(p->a, &stray));
	sync_changed(p);
	assert_true(lives(p->a, &m) && lives(p->a, &n) && lives(p->a, &late));
	assert_equal_sides(p);
}

static void whatever_the_destination_did_is_undone(void **state)
{
	struct pair *p = *state;
	struct guid m = deliver(p->a, "one"), n = deliver(p->a, "two"), box = mkbox(p->a, "Box");
	struct guid o = has(p->a, box, "three");

	flag(p->a, m, FLAG_SEEN);
	backup_done(p);
	unflag(p->b, m, FLAG_SEEN);
	flag(p->b, m, FLAG_FLAGGED);
	keyword(p->b, m, "own", true);
	move(p->b, n, box);
	rename_to(p->b, box, "Other");
	subscribe(p->b, box, true);
	expunge(p->b, o);
	backup_done(p);
	same_uids(p, &m);
	same_uids(p, &n);
	same_uids(p, &o);
	assert_true(guid_equal(&copy_of(p->b, &n)->place.mailbox, &GUID_INBOX));
	assert_string_equal(find_box(p->b, box)->part, "Box");
	assert_false(find_box(p->b, box)->subscribed);
}

static void a_mailbox_that_the_source_lacks_is_emptied_and_deleted(void **state)
{
	struct pair *p = *state;
	struct guid box = mkbox(p->b, "Own"), m = has(p->b, box, "own mail");

	deliver(p->a, "one");
	backup_done(p);
	assert_false(lives(p->b, &m));
	assert_false(mailbox_alive(find_box(p->b, box)));
	assert_int_equal(memory_tree(p->a)->n, 1);
}

static void one_made_apart_becomes_that_of_the_source(void **state)
{
	struct pair *p = *state;
	struct guid a = mkbox(p->a, "Same"), b = mkbox(p->b, "Same");
	struct guid m = has(p->a, a, "first"), n = has(p->b, b, "of b");

	backup_done(p);
	same_uids(p, &m);
	assert_false(lives(p->b, &n));
	assert_true(mailbox_alive(find_box(p->b, a)));
	assert_int_equal(find_box(p->b, a)->uid_validity, find_box(p->a, a)->uid_validity);
	assert_true(guid_equal(&find_box(p->b, b)->merged_into, &a));
}

/* Messages of both sides under each other's UIDs. */
static void uids_are_exchanged(void **state)
{
	struct pair *p = *state;
	struct guid m = deliver(p->a, "one"), n = deliver(p->a, "two"), o = deliver(p->a, "three");

	deliver(p->b, "two"); /* the same mail, in another order */
	deliver(p->b, "three");
	deliver(p->b, "one");
	backup_done(p);
	assert_int_equal(memory_n_messages(p->b), 3);
	same_uids(p, &m);
	same_uids(p, &n);
	same_uids(p, &o);
}

static void deliver_many(struct backend *b, int n, const char *what)
{
	char text[64];

	for (int i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "%s %d", what, i);
		deliver(b, text);
	}
}

static size_t living(struct backend *b)
{
	size_t n = 0;

	for (size_t i = 0; i < memory_n_messages(b); i++)
		n += copy_alive(&memory_message(b, i)->copies[0]);
	return n;
}

static void the_guard_holds_a_whole_mailbox(void **state)
{
	struct pair *p = *state;
	struct guid one = deliver(p->a, "the only one of the source");

	deliver_many(p->b, 11, "of b");
	struct session_result r = backup(p, false);
	assert_int_equal(r.held, 11);
	assert_int_equal(session_exit(0, &r), 1);
	session_result_release(&r);
	assert_true(lives(p->b, &one)); /* all else is done */
	assert_int_equal(living(p->b), 12);
	r = backup(p, false);
	assert_int_equal(r.held, 11); /* still */
	session_result_release(&r);
	r = backup(p, true);
	assert_int_equal(session_exit(0, &r), 0);
	session_result_release(&r);
	assert_int_equal(living(p->b), 1);
	backup_done(p);
}

static void the_guard_counts_what_was_there_before(void **state)
{
	struct pair *p = *state;

	deliver_many(p->a, 60, "of a");
	backup_done(p);
	deliver_many(p->b, 11, "of b"); /* few among many: they go */
	backup_done(p);
	assert_int_equal(living(p->b), 60);
	deliver_many(p->b, 51, "more of b");
	struct session_result r = backup(p, false);
	assert_int_equal(r.held, 51);
	session_result_release(&r);
	assert_int_equal(living(p->b), 111);
}

/* Few in each mailbox, and all of them: the source is not what it should be. */
static void the_guard_counts_all_mailboxes(void **state)
{
	struct pair *p = *state;
	char name[16], text[32];
	struct guid one = deliver(p->a, "the only one of the source");

	for (int box = 0; box < 4; box++) {
		snprintf(name, sizeof(name), "Box%d", box);
		struct guid g = mkbox(p->b, name);
		for (int i = 0; i < 5; i++) {
			snprintf(text, sizeof(text), "%d in %d", i, box);
			has(p->b, g, text);
		}
	}
	for (int i = 0; i < 2; i++) {
		struct session_result r = backup(p, false);
		assert_int_equal(r.held, 20);
		assert_int_equal(session_exit(0, &r), 1);
		session_result_release(&r);
		assert_int_equal(living(p->b), 21);
		assert_true(lives(p->b, &one));
	}
	struct session_result r = backup(p, true);
	assert_int_equal(session_exit(0, &r), 0);
	session_result_release(&r);
	assert_int_equal(living(p->b), 1);
}

/* A disk that is not mounted, a directory that was just made. */
static void an_empty_source_empties_nothing(void **state)
{
	struct pair *p = *state;
	struct guid box = mkbox(p->b, "Box"), m = has(p->b, box, "in it");
	struct guid n = deliver(p->b, "of b");

	for (int i = 0; i < 2; i++) {
		struct session_result r = backup(p, false);
		assert_int_equal(r.held, 2);
		assert_int_equal(session_exit(0, &r), 1);
		session_result_release(&r);
		assert_true(lives(p->b, &m) && lives(p->b, &n));
		assert_true(mailbox_alive(find_box(p->b, box)));
	}
	struct guid source = deliver(p->a, "of a"); /* it has something: the two are strays */
	backup_done(p);
	assert_true(lives(p->b, &source));
	assert_false(lives(p->b, &m) || lives(p->b, &n));
}

static void recorded_expunges_are_never_held(void **state)
{
	struct pair *p = *state;

	deliver_many(p->a, 20, "of a");
	backup_done(p);
	for (size_t i = 0; i < 20; i++)
		expunge(p->a, memory_message(p->a, i)->guid);
	backup_done(p);
	assert_int_equal(living(p->b), 0);
}

/* Scope seed 19298.  The destination gave the one the name of the other and deleted it: two of the
 * source's mailboxes were taken for one that was made again, and became one. */
static void two_mailboxes_of_the_source_stay_two(void **state)
{
	struct pair *p = *state;
	struct guid f = mkbox(p->a, "F");

	backup_done(p);
	struct guid m = has(p->a, f, "unseen"), h = mkbox(p->a, "H");
	rename_to(p->b, f, "H");
	delete_box(p->b, f);
	backup_done(p);
	same_uids(p, &m);
	assert_true(guid_equal(&copy_of(p->b, &m)->place.mailbox, &f));
	assert_string_equal(find_box(p->b, f)->part, "F");
	assert_string_equal(find_box(p->b, h)->part, "H");
	assert_true(mailbox_alive(find_box(p->b, f)) && mailbox_alive(find_box(p->b, h)));
}

/* One with a GUID above `than`, called `part`. */
static struct guid mkbox_above(struct backend *b, struct guid than, const char *part)
{
	char name[16];
	for (int i = 0; i < 32; i++) {
		snprintf(name, sizeof(name), "G%d", i);
		struct guid g = mkbox(b, name);
		if (guid_compare(&g, &than) < 0)
			continue;
		rename_to(b, g, part);
		return g;
	}
	fail_msg("32 GUIDs are all below one");
	return GUID_ZERO;
}

/* Scope seed 37599.  The source deleted a mailbox above another one; the destination gave one of its own
 * that name.  It became the source's, which the destination had not known, and stayed a mailbox. */
static void a_mere_name_of_the_source_is_one(void **state)
{
	struct pair *p = *state;
	struct guid one = deliver(p->a, "one"), f = mkbox(p->a, "F");
	struct guid h = mkbox_in(p->a, f, "H"), own = mkbox_above(p->b, f, "F");
	struct guid m = has(p->b, own, "of b");

	delete_box(p->a, f);
	backup_done(p);
	same_uids(p, &one);
	assert_false(lives(p->b, &m));
	assert_false(mailbox_alive(find_box(p->b, own)));
	assert_true(mailbox_alive(find_box(p->b, h)));
	assert_false(find_box(p->b, f)->selectable);
	MB_AUTO_FREE char *name = tree_name(memory_tree(p->b), &h);
	assert_string_equal(name, "F/H");
	sync_changed(p);
	assert_equal_sides(p);
}

/* Scope seed 41631.  The source subscribed to a mailbox, deleted it and made it again; the destination's,
 * with mail that nobody had seen, became the new one, and gave it the subscription. */
static void one_made_again_is_not_what_the_deleted_one_was(void **state)
{
	struct pair *p = *state;
	struct guid old = mkbox(p->a, "G");

	deliver(p->a, "one");
	backup_done(p);
	subscribe(p->a, old, true);
	delete_box(p->a, old);
	struct guid new = mkbox(p->a, "G"), m = has(p->b, old, "unseen");
	backup_done(p);
	assert_false(lives(p->b, &m));
	assert_true(guid_equal(&find_box(p->b, old)->merged_into, &new));
	assert_true(mailbox_alive(find_box(p->b, new)));
	assert_false(find_box(p->b, new)->subscribed);
	sync_changed(p);
	assert_equal_sides(p);
	assert_false(find_box(p->a, new)->subscribed);
}

/* Scope seed 49384.  What the source deleted still lived in the destination, by the later name of one that
 * had become it; what the source had made instead became that, and was deleted with it. */
static void one_made_again_does_not_become_the_deleted_one(void **state)
{
	struct pair *p = *state;
	struct guid f = mkbox(p->a, "f");

	deliver(p->a, "one");
	mkbox(p->b, "f"); /* named later than that of the source */
	backup_done(p);
	delete_box(p->a, f);
	struct guid own = f;
	for (int i = 0; i < 32 && guid_compare(&own, &f) <= 0; i++) { /* above it */
		if (!guid_equal(&own, &f))
			delete_box(p->a, own);
		own = mkbox(p->a, "f");
	}
	backup_done(p);
	assert_true(mailbox_alive(find_box(p->b, own)));
	assert_string_equal(find_box(p->b, own)->part, "f");
	assert_false(mailbox_alive(find_box(p->b, f)));
	sync_changed(p);
	assert_equal_sides(p);
	assert_true(mailbox_alive(find_box(p->a, own)));
}

/* ---- where Dovecot shows UIDs of the destination ---- */

static uint32_t validity(struct backend *b)
{
	return find_box(b, GUID_INBOX)->uid_validity;
}

static void was_shown(struct pair *p, uint32_t below)
{
	find_box(p->b, GUID_INBOX)->uid_shown = below;
}

/* The destination's clients know the source's UID as another message's: it must not mean two, so they
 * have to begin anew. */
static void a_uid_that_was_shown_makes_a_uidvalidity(void **state)
{
	struct pair *p = *state;
	struct guid one = deliver(p->a, "one");

	backup_done(p);
	uint32_t source = validity(p->a);
	deliver(p->b, "stray");
	was_shown(p, 3);
	struct guid two = deliver(p->a, "two");
	backup_done(p);
	same_uids(p, &one);
	same_uids(p, &two);
	uint32_t own = validity(p->b);
	assert_true(own > source);
	assert_int_equal(validity(p->a), source);

	was_shown(p, 3); /* as Dovecot has it by now: the next one is a new UID */
	struct guid three = deliver(p->a, "three");
	backup_done(p);
	same_uids(p, &three);
	assert_int_equal(validity(p->b), own);

	expunge(p->b, two); /* a client saw it go */
	was_shown(p, 4);
	backup_done(p);
	same_uids(p, &two);
	assert_true(validity(p->b) > own);

	sync_changed(p);
	assert_equal_sides(p);
	assert_true(validity(p->a) > own);
}

/* The destination's own from before the first backup is a little above the source's: it had UIDs. */
static void one_that_was_shown_before_is_not_given_again(void **state)
{
	struct pair *p = *state;
	uint32_t source = validity(p->a);

	deliver(p->a, "one");
	backup_done(p);
	deliver(p->b, "stray");
	was_shown(p, 3);
	uint32_t now = (uint32_t)(clock_wall_ns() / 1000000000);
	find_box(p->b, GUID_INBOX)->uid_validity_shown = now + 100;
	deliver(p->a, "two");
	backup_done(p);
	assert_int_equal(validity(p->b), now + 101);
	assert_int_equal(validity(p->a), source);
}

static void uids_that_were_not_shown_are_given(void **state)
{
	struct pair *p = *state;

	deliver(p->a, "one");
	backup_done(p);
	deliver(p->b, "stray");
	was_shown(p, 2);
	struct guid two = deliver(p->a, "two");
	backup_done(p);
	same_uids(p, &two);
	assert_int_equal(validity(p->b), validity(p->a));
}

/* Dovecot at the source began a new list: its UIDVALIDITY is the time. */
static void a_later_one_of_the_source_is_taken(void **state)
{
	struct pair *p = *state;

	deliver(p->a, "one");
	backup_done(p);
	deliver(p->b, "stray");
	was_shown(p, 3);
	deliver(p->a, "two");
	backup_done(p);
	find_box(p->a, GUID_INBOX)->uid_validity = validity(p->b) + 100;
	deliver(p->a, "three");
	backup_done(p);
	assert_int_equal(validity(p->b), validity(p->a));
}

static void without_a_uidvalidity_above_it_stays(void **state)
{
	struct pair *p = *state;

	deliver(p->a, "one");
	find_box(p->a, GUID_INBOX)->uid_validity = UINT32_MAX;
	backup_done(p);
	deliver(p->b, "stray");
	was_shown(p, 3);
	struct guid two = deliver(p->a, "two");
	backup_done(p);
	same_uids(p, &two);
	assert_int_equal(validity(p->b), UINT32_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define WITH_PAIR(f) cmocka_unit_test_setup_teardown(f, pair_open, pair_close)
		WITH_PAIR(a_stray_delivery_is_expunged_and_nothing_else),
		WITH_PAIR(whatever_the_destination_did_is_undone),
		WITH_PAIR(a_mailbox_that_the_source_lacks_is_emptied_and_deleted),
		WITH_PAIR(one_made_apart_becomes_that_of_the_source),
		WITH_PAIR(uids_are_exchanged),
		WITH_PAIR(the_guard_holds_a_whole_mailbox),
		WITH_PAIR(the_guard_counts_what_was_there_before),
		WITH_PAIR(the_guard_counts_all_mailboxes),
		WITH_PAIR(an_empty_source_empties_nothing),
		WITH_PAIR(recorded_expunges_are_never_held),
		WITH_PAIR(two_mailboxes_of_the_source_stay_two),
		WITH_PAIR(a_mere_name_of_the_source_is_one),
		WITH_PAIR(one_made_again_does_not_become_the_deleted_one),
		WITH_PAIR(one_made_again_is_not_what_the_deleted_one_was),
		WITH_PAIR(a_uid_that_was_shown_makes_a_uidvalidity),
		WITH_PAIR(one_that_was_shown_before_is_not_given_again),
		WITH_PAIR(uids_that_were_not_shown_are_given),
		WITH_PAIR(a_later_one_of_the_source_is_taken),
		WITH_PAIR(without_a_uidvalidity_above_it_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
