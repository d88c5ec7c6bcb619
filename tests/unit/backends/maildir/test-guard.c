/* What goes missing in numbers is held, and stays held. */
#include "backends/maildir/maildir.h"
#include "tests/support/foreign.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static void many_missing_are_held(void **state)
{
	struct foreign *f = *state;

	for (int i = 0; i < 20; i++) {
		char path[64];

		snprintf(path, sizeof(path), "cur/%d.x.host:2,", i);
		foreign_write(f, path, path);
	}
	foreign_sync(f);
	foreign_rmdir(f, "cur");
	foreign_mkdir(f, "");
	assert_int_equal(foreign_try(f), 0);
	assert_int_equal(f->last.held, 20);
	assert_int_equal(local_live(f), 20);
	f->allow = true;
	foreign_sync(f);
	assert_int_equal(local_live(f), 0);
}

static size_t map_kept_back(struct foreign *f)
{
	struct backend *b;
	size_t n = 0;

	assert_int_equal(backend_open_maildir(f->path, (int)f->layout, f->local, &b), 0);
	struct maildir *m = maildir_of(b);
	assert_int_equal(md_load(m), 0);
	for (struct md_message *msg = m->messages; msg; msg = msg->hh.next)
		for (const struct md_file *file = msg->files; file; file = file->next)
			n += file->kept_back;
	b->ops->close(b);
	return n;
}

/* Its files go away behind our back, then mail comes: however much, it lets nothing go. */
static void what_is_held_stays_held(void **state)
{
	struct foreign *f = *state;
	char path[64], aside[64];

	foreign_mkdir(f, ".X");
	for (int i = 0; i < 11; i++) {
		snprintf(path, sizeof(path), ".X/cur/%d.x.host:2,", i);
		foreign_write(f, path, path);
	}
	foreign_sync(f);
	for (int i = 0; i < 11; i++) {
		snprintf(path, sizeof(path), ".X/cur/%d.x.host:2,", i);
		snprintf(aside, sizeof(aside), "%d.aside", i);
		foreign_rename(f, path, aside);
	}
	for (int i = 0; i < 5; i++) {
		snprintf(path, sizeof(path), ".X/new/late%d.x.host", i);
		foreign_write(f, path, path);
		for (int k = 0; k < 2; k++) {
			assert_int_equal(foreign_try(f), 0);
			assert_int_equal(f->last.held, 11);
			assert_int_equal(local_live(f), 12 + i);
			assert_int_equal(map_kept_back(f), 11);
		}
	}
	foreign_unlink(f, ".X/new/late0.x.host");
	assert_int_equal(foreign_try(f), 0);
	assert_int_equal(f->last.held, 11);
	assert_int_equal(local_live(f), 15);
	foreign_rename(f, "0.aside", ".X/cur/0.x.host:2,S");
	assert_int_equal(foreign_try(f), 0);
	assert_int_equal(f->last.held, 10);
	assert_int_equal(map_kept_back(f), 10);
	foreign_unlink(f, ".X/cur/0.x.host:2,S"); /* it was back: this is an expunge */
	assert_int_equal(foreign_try(f), 0);
	assert_int_equal(f->last.held, 10);
	assert_int_equal(local_live(f), 14);
	f->allow = true;
	foreign_sync(f);
	assert_int_equal(f->last.held, 0);
	assert_int_equal(local_live(f), 4);
	assert_int_equal(map_kept_back(f), 0);
}

/* With news on them that the local side has not got yet: back, they tell it. */
static void what_is_held_keeps_its_news(void **state)
{
	struct foreign *f = *state;
	char path[64], aside[64];

	for (int i = 0; i < 11; i++) {
		snprintf(path, sizeof(path), "cur/%d.x.host:2,", i);
		foreign_write(f, path, path);
	}
	foreign_sync(f);
	foreign_rename(f, "cur/0.x.host:2,", "cur/0.x.host:2,F");
	f->stop_after = 1;
	foreign_try(f);
	f->stop_after = 0;
	foreign_rename(f, "cur/0.x.host:2,F", "cur/0.x.host:2,");
	for (int back = 0; back < 2; back++) {
		for (int i = 0; i < 11; i++) {
			snprintf(path, sizeof(path), "cur/%d.x.host:2,%s", i,
				 back && !i ? "F" : "");
			snprintf(aside, sizeof(aside), "%d.aside", i);
			foreign_rename(f, back ? aside : path, back ? path : aside);
		}
		if (!back) {
			assert_int_equal(foreign_try(f), 0);
			assert_int_equal(f->last.held, 11);
			assert_int_equal(foreign_try(f), 0);
			assert_int_equal(f->last.held, 11);
		}
	}
	foreign_sync(f);
	assert_int_equal(local_live(f), 11);
	assert_int_equal(map_kept_back(f), 0);
	assert_true(local_find(f, "cur/0.x.host:2,")->flags.set & FLAG_MASK(FLAG_FLAGGED));
}

/* An empty place, where a few mails were: what comes there then lets nothing go. */
static void an_empty_root_is_remembered(void **state)
{
	struct foreign *f = *state;

	foreign_write(f, "cur/1.x.host:2,", "one\n");
	foreign_write(f, "cur/2.x.host:2,", "two\n");
	foreign_sync(f);
	foreign_rmdir(f, "cur");
	foreign_rmdir(f, "new");
	foreign_rmdir(f, "tmp");
	assert_int_equal(foreign_try(f), 0);
	assert_int_equal(f->last.held, 2);
	assert_int_equal(map_kept_back(f), 2);
	foreign_mkdir(f, "");
	foreign_write(f, "new/late.x.host", "late\n");
	for (int i = 0; i < 2; i++) {
		assert_int_equal(foreign_try(f), 0);
		assert_int_equal(f->last.held, 2);
		assert_int_equal(local_live(f), 3);
	}
	foreign_write(f, "cur/1.x.host:2,", "one\n");
	foreign_write(f, "cur/2.x.host:2,", "two\n");
	foreign_sync(f);
	assert_int_equal(local_live(f), 3);
	assert_int_equal(map_kept_back(f), 0);
}

/* Few in each mailbox, and most of all: another Maildir lies there. */
static void many_missing_of_all_are_held(void **state)
{
	struct foreign *f = *state;
	char path[64];

	foreign_mkdir(f, ".X");
	for (int i = 0; i < 12; i++) {
		snprintf(path, sizeof(path), "%scur/%d.x.host:2,", i % 2 ? ".X/" : "", i);
		foreign_write(f, path, path);
	}
	foreign_sync(f);
	foreign_rmdir(f, ".X");
	foreign_rmdir(f, "cur");
	foreign_mkdir(f, "");
	foreign_write(f, "new/late.x.host", "late\n");
	for (int i = 0; i < 2; i++) {
		assert_int_equal(foreign_try(f), 0);
		assert_int_equal(f->last.held, 12);
		assert_int_equal(local_live(f), 13);
	}
	f->allow = true;
	foreign_sync(f);
	assert_int_equal(local_live(f), 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, foreign_setup, foreign_teardown)
	const struct CMUnitTest tests[] = {
		T(many_missing_are_held),	 T(what_is_held_stays_held),
		T(what_is_held_keeps_its_news),	 T(an_empty_root_is_remembered),
		T(many_missing_of_all_are_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
