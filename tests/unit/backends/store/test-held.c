/* test-held.c - what the guard holds stays held: over new mail, restarts, stops and another index. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include "tests/support/store-dir.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MANY (GUARD_WHOLE + 1)

static void deliver_many(struct store_dir *d, const char *box)
{
	for (int i = 0; i < MANY; i++) {
		MB_AUTO_FREE char *name = mb_xasprintf("m%02d%s", i, box);

		store_deliver(d, box, name, name);
	}
}

static void each_file(struct store_dir *d, const char *box, bool back)
{
	for (int i = 0; i < MANY; i++) {
		MB_AUTO_FREE char *path =
			mb_xasprintf("%s%snew/m%02d%s", box, *box ? "/" : "", i, box);
		MB_AUTO_FREE char *aside = mb_xasprintf("aside-m%02d%s", i, box);

		outside_rename(d, back ? aside : path, back ? path : aside);
	}
}

static struct scan_report scan(struct store_dir *d)
{
	struct scan_report r;

	assert_int_equal(store_scan(d->s, false, &r), 0);
	return r;
}

static bool note_is_there(struct store_dir *d)
{
	MB_AUTO_FREE char *path = mb_xasprintf("%s/held", d->dir);

	return access(path, F_OK) == 0;
}

/* A mailbox of which all is held. */
static void hold_all(struct store_dir *d)
{
	deliver_many(d, "");
	each_file(d, "", false);
	assert_int_equal(scan(d).held, MANY);
	assert_true(note_is_there(d));
}

static void new_mail_lets_nothing_go(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	hold_all(d);
	for (int i = 0; i < 3; i++) {
		MB_AUTO_FREE char *name = mb_xasprintf("late%d", i);

		MB_AUTO_FREE char *path = mb_xasprintf("new/%s", name);
		outside_write(d, path, name);
		time_passes(60);
		r = scan(d);
		assert_int_equal(r.held, MANY);
		assert_int_equal(r.expunged, 0);
		r = scan(d);
		assert_int_equal(r.held, MANY);
	}
	outside_unlink(d, "new/late1");
	r = scan(d);
	assert_int_equal(r.held, MANY);
	assert_int_equal(r.expunged, 1); /* what came later is like any other */
	store_allow_mass_expunge(d->s, true);
	r = scan(d);
	assert_int_equal(r.held, 0);
	assert_int_equal(r.expunged, MANY);
	assert_false(note_is_there(d));
	assert_list(d, "INBOX/new/late0 | INBOX/new/late2");
	store_consistent(d);
}

static void it_is_known_after_a_restart(void **state)
{
	struct store_dir *d = *state;

	hold_all(d);
	for (int i = 0; i < 2; i++) {
		store_dir_close(d);
		if (i)
			store_dir_drop(d, "index");
		outside_write(d, i ? "new/later" : "new/late", "late");
		store_dir_open(d);
		assert_int_equal(store_opening_scan(d->s)->held, MANY);
		assert_int_equal(scan(d).held, MANY);
		assert_int_equal(scan(d).expunged, 0);
	}
}

/* Some come back: those are like any other, the rest stays held. */
static void what_is_back_is_free(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	hold_all(d);
	outside_rename(d, "aside-m00", "new/m00");
	outside_rename(d, "aside-m01", "cur/m01:2,S");
	r = scan(d);
	assert_int_equal(r.held, MANY - 2);
	assert_int_equal(r.expunged, 0);
	outside_unlink(d, "new/m00");
	r = scan(d);
	assert_int_equal(r.held, MANY - 2);
	assert_int_equal(r.expunged, 1);
	outside_rename(d, "cur/m01:2,S", "aside-m01");
	outside_write(d, "aside-m00", "m00");
	each_file(d, "", true);
	assert_int_equal(scan(d).held, 0);
	assert_false(note_is_there(d));
}

/* Its directory's times are those of before: it is read all the same, and nothing is held any more. */
static void a_tree_that_is_back_as_it_was(void **state)
{
	struct store_dir *d = *state;
	MB_AUTO_FREE char *aside = mb_xasprintf("%s/mail-aside", d->dir);

	deliver_many(d, "");
	time_passes(60);
	scan(d);
	store_dir_close(d);
	assert_int_equal(rename(d->mail, aside), 0);
	assert_int_equal(mkdir(d->mail, 0700), 0);
	store_dir_open(d);
	assert_int_equal(store_opening_scan(d->s)->held, MANY);
	assert_true(note_is_there(d));
	store_dir_close(d);
	assert_int_equal(rmdir(d->mail), 0);
	assert_int_equal(rename(aside, d->mail), 0);
	store_dir_open(d);
	assert_int_equal(store_opening_scan(d->s)->held, 0);
	assert_false(note_is_there(d));
	assert_int_equal(store_opening_scan(d->s)->expunged, 0);
}

/* The directory of a mailbox whose mail is held goes away as well. */
static void a_mailbox_of_held_mail_is_not_deleted(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	store_make_box(d, ".A");
	deliver_many(d, ".A");
	outside_remove(d, ".A");
	assert_int_equal(scan(d).held, MANY);
	outside_mailbox(d, ".A");
	outside_write(d, ".A/new/late", "late");
	assert_int_equal(scan(d).held, MANY);
	outside_remove(d, ".A");
	r = scan(d);
	assert_int_equal(r.held, MANY + 1);
	assert_true(store_has_box(d, "A"));
	store_allow_mass_expunge(d->s, true);
	assert_int_equal(scan(d).held, 0);
	assert_false(store_has_box(d, "A"));
}

static int look(struct store_dir *d)
{
	struct scan_report r;

	each_file(d, "", false);
	return store_scan(d->s, false, &r);
}

/* Stopped at any step of the scan that holds: the mail that came after it lets nothing go. */
static void a_stop_forgets_nothing(void **state)
{
	bool stopped = true;

	for (int n = 1; stopped; n++) {
		assert_int_equal(store_dir_teardown(state), 0);
		assert_int_equal(store_dir_setup(state), 0);
		struct store_dir *d = *state;

		deliver_many(d, "");
		stopped = store_dir_kill_at(d, n, look);
		store_dir_open(d);
		assert_int_equal(store_opening_scan(d->s)->held, MANY);
		outside_write(d, "new/late", "late");
		assert_int_equal(scan(d).held, MANY);
		assert_int_equal(scan(d).held, MANY);
	}
}

static void write_note(struct store_dir *d, const void *data, size_t len)
{
	MB_AUTO_CLOSE int fd = open(d->dir, O_RDONLY | O_DIRECTORY);

	assert_int_equal(io_replace_file(fd, "held", data, len, 0600), 0);
}

/* Any byte of it may be wrong: it is said, nothing is expunged for it, and the next scan writes it. */
static void a_damaged_note_is_as_none(void **state)
{
	struct store_dir *d = *state;
	MB_AUTO_FREE uint8_t *data = NULL;
	size_t len;

	hold_all(d);
	MB_AUTO_CLOSE int fd = open(d->dir, O_RDONLY | O_DIRECTORY);
	assert_int_equal(io_read_file(fd, "held", 1 << 20, &data, &len), 0);
	assert_int_equal(len, 16 + MANY * 40);
	store_dir_close(d);
	for (size_t cut = 0; cut < len; cut += 7) {
		struct held none = {0};

		write_note(d, data, cut);
		store_dir_open(d);
		assert_int_equal(store_opening_scan(d->s)->held, MANY);
		assert_int_equal(d->s->held.n, MANY);
		data[cut] ^= 0x40;
		write_note(d, data, len);
		data[cut] ^= 0x40;
		assert_int_equal(held_load(d->s), 0);
		assert_int_equal(d->s->held.n, 0);
		assert_int_equal(held_note(d->s, &none), 0);
		store_dir_close(d);
	}
	write_note(d, data, len);
	store_dir_open(d);
	assert_int_equal(d->s->held.n, MANY);
}

static void the_note_is_exact(void **state)
{
	struct store_dir *d = *state;
	struct held h = {0};
	struct entry e = {0};

	for (unsigned i = 0; i < 200; i++) {
		e.copy.place.mailbox.b[0] = (uint8_t)(i * 37 % 5 + 1);
		e.copy.guid.b[3] = (uint8_t)(i * 91 % 200);
		e.copy.id = i % 2;
		held_add(&h, &e);
	}
	assert_int_equal(held_note(d->s, &h), 0);
	assert_int_equal(h.n, 0);
	assert_int_equal(held_load(d->s), 0);
	assert_int_equal(d->s->held.n, 200);
	for (unsigned i = 0; i < 200; i++) {
		e.copy.place.mailbox.b[0] = (uint8_t)(i * 37 % 5 + 1);
		e.copy.guid.b[3] = (uint8_t)(i * 91 % 200);
		e.copy.id = i % 2;
		assert_true(held_has(&d->s->held, &e));
		assert_true(held_in(&d->s->held, &e.copy.place.mailbox));
		e.copy.id += 2;
		assert_false(held_has(&d->s->held, &e));
	}
	e.copy.place.mailbox.b[0] = 9;
	assert_false(held_in(&d->s->held, &e.copy.place.mailbox));
	e.copy.place.mailbox.b[0] = 0;
	assert_false(held_in(&d->s->held, &e.copy.place.mailbox));
	assert_int_equal(held_note(d->s, &h), 0);
	assert_false(note_is_there(d));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(new_mail_lets_nothing_go),
		TEST(it_is_known_after_a_restart),
		TEST(what_is_back_is_free),
		TEST(a_tree_that_is_back_as_it_was),
		TEST(a_mailbox_of_held_mail_is_not_deleted),
		TEST(a_stop_forgets_nothing),
		TEST(a_damaged_note_is_as_none),
		TEST(the_note_is_exact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
