/* What a file says of itself: two stores that both have a Maildir know its mail by one GUID. */
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/maildir/maildir.h"
#include "backends/memory.h"
#include "sync/scope.h"
#include "sync/session.h"
#include "tests/support/foreign.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <cmocka.h>

#define NAME "user.mailbraid"
#define SIZE 56

/* The Maildir of `f` with a second store. */
static void other_setup(const struct foreign *f, struct foreign *other)
{
	*other = *f;
	other->last = (struct session_result){0};
	other->local = backend_open_memory(78);
}

static void other_end(struct foreign *other)
{
	session_result_release(&other->last);
	backend_close(other->local);
}

static void full_path(const struct foreign *f, const char *path, char ret[200])
{
	snprintf(ret, 200, "%s/%s", f->path, path);
}

static bool has_mark(const struct foreign *f, const char *path, uint8_t ret[SIZE])
{
	char full[200];

	full_path(f, path, full);
	return getxattr(full, NAME, ret, SIZE) == SIZE;
}

static void set_mark(const struct foreign *f, const char *path, const uint8_t mark[SIZE])
{
	char full[200];

	full_path(f, path, full);
	assert_int_equal(setxattr(full, NAME, mark, SIZE, 0), 0);
}

/* Skips where the file system has no attributes. */
static void need_marks(const struct foreign *f)
{
	if (setxattr(f->path, "user.test", "x", 1, 0) < 0 && errno == ENOTSUP)
		skip();
}

static bool same_message(struct foreign *a, struct foreign *b, const char *text)
{
	const struct copy *x = local_find(a, text), *y = local_find(b, text);

	return guid_equal(&x->guid, &y->guid) && x->id == y->id;
}

static void both_stores_know_it_by_one_name(void **state)
{
	struct foreign *f = *state, other;

	need_marks(f);
	other_setup(f, &other);
	foreign_write(f, "cur/1.m.host:2,S", "delivered there\n");
	local_deliver(f, GUID_INBOX, "delivered here\n");
	foreign_sync(f);
	foreign_sync(&other);
	assert_true(same_message(f, &other, "delivered there\n"));
	assert_true(same_message(f, &other, "delivered here\n"));
	other_end(&other);
}

/* Once at one store, moved or expunged there before the other hears of it. */
static void a_later_change_is_known_for_one(void **state)
{
	struct foreign *f = *state, other;
	struct guid g, x;

	need_marks(f);
	other_setup(f, &other);
	memory_create(f->local, &GUID_ZERO, "X", &x);
	g = local_deliver(f, GUID_INBOX, "gone\n");
	local_deliver(f, GUID_INBOX, "moved\n");
	foreign_sync(f);
	foreign_sync(&other);
	memory_expunge(other.local, &g, 0);
	g = local_find(&other, "moved\n")->guid;
	x = local_box(&other, "X");
	memory_move(other.local, &g, 0, &x);
	foreign_sync(&other);
	foreign_sync(f);
	assert_int_equal(local_live(f), 1);
	assert_true(same_message(f, &other, "moved\n"));
	assert_int_equal(foreign_count(f, ""), 0);
	assert_int_equal(foreign_count(f, ".X"), 1);
	other_end(&other);
}

/* A stranger that knows it moved it: the later place stays. */
static void it_says_since_when_it_is_there(void **state)
{
	struct foreign *f = *state, other;
	struct guid g, x;

	need_marks(f);
	other_setup(f, &other);
	memory_create(f->local, &GUID_ZERO, "X", &x);
	g = local_deliver(f, GUID_INBOX, "moved\n");
	foreign_sync(f);
	foreign_sync(&other);
	struct foreign third;
	other_setup(f, &third);
	foreign_sync(&third);
	memory_move(f->local, &g, 0, &x);
	foreign_sync(f); /* the mark goes with it */
	other_end(&third);
	other_setup(f, &third);
	foreign_sync(&third);
	const struct copy *c = local_find(&third, "moved\n"), *mine = local_find(f, "moved\n");
	assert_int_equal(stamp_compare(&c->place.at, &mine->place.at), 0);
	other_end(&third);
	other_end(&other);
}

/* Copied back in, with all its attributes: it is new, whatever became of the old one. */
static void a_copy_is_another_message(void **state)
{
	struct foreign *f = *state, other;
	uint8_t mark[SIZE];
	struct guid g;

	need_marks(f);
	other_setup(f, &other);
	foreign_write(f, "cur/1.m.host:2,S", "mail\n");
	foreign_sync(f);
	foreign_sync(&other);
	assert_true(has_mark(f, "cur/1.m.host:2,S", mark));
	g = local_find(f, "mail\n")->guid;
	memory_expunge(f->local, &g, 0);
	foreign_sync(f);
	foreign_sync(&other);
	assert_int_equal(local_live(&other), 0);
	foreign_write(f, "cur/1.m.host:2,S", "mail\n");
	set_mark(f, "cur/1.m.host:2,S", mark);
	foreign_sync(&other);
	foreign_sync(f);
	assert_int_equal(local_live(f), 1);
	assert_int_equal(local_live(&other), 1);
	assert_false(guid_equal(&local_find(f, "mail\n")->guid, &g));
	other_end(&other);
}

/* Put aside and back by hand: the very file, and yet its return is news to who saw it go. */
static void its_own_mark_is_no_reason_to_expunge(void **state)
{
	struct foreign *f = *state;
	struct guid g;

	need_marks(f);
	foreign_write(f, "cur/1.m.host:2,S", "mail\n");
	foreign_sync(f);
	g = local_find(f, "mail\n")->guid;
	foreign_rename(f, "cur/1.m.host:2,S", "kept");
	foreign_sync(f);
	assert_int_equal(local_live(f), 0);
	foreign_rename(f, "kept", "cur/1.m.host:2,S");
	foreign_sync(f);
	assert_false(guid_equal(&local_find(f, "mail\n")->guid, &g));
}

static void an_edit_is_not_what_it_was(void **state)
{
	struct foreign *f = *state, other;

	need_marks(f);
	other_setup(f, &other);
	foreign_write(f, "cur/1.m.host:2,S", "mail\n");
	foreign_sync(f);
	foreign_write(f, "cur/1.m.host:2,S", "mail, edited\n");
	foreign_sync(&other);
	assert_false(guid_equal(&local_find(&other, "mail, edited\n")->guid,
				&local_find(f, "mail\n")->guid));
	other_end(&other);
}

/* Expunged in the Maildir before a store came that has it from another one: that puts it back, and does
 * not know that it is back. */
static void what_is_put_back_unawares_goes(void **state)
{
	struct foreign *f = *state, other;

	need_marks(f);
	other_setup(f, &other);
	local_deliver(f, GUID_INBOX, "mail\n");
	foreign_sync(f);
	struct session_options opt = {0};
	assert_true(session_run_until_stable(f->local, other.local, &opt, &other.last) >= 0);
	char *name = foreign_find(f, "", "mail\n");
	foreign_rename(f, name, "kept"); /* its inode is not given again */
	free(name);
	foreign_sync(&other);
	assert_int_equal(foreign_count(f, ""), 1);
	assert_int_equal(foreign_try(f), 0); /* it is gone, */
	assert_int_equal(local_live(f), 0);
	foreign_sync(f); /* also what was put back */
	assert_int_equal(foreign_count(f, ""), 0);
	foreign_sync(&other);
	assert_int_equal(local_live(f), 0);
	assert_int_equal(local_live(&other), 0);
	other_end(&other);
}

/* Lost in the Maildir, and put there again by a store that had it there before: that is wanted. */
static void what_is_restored_stays(void **state)
{
	struct foreign *f = *state, other;
	struct backend *remote = NULL;
	struct scope scope;

	need_marks(f);
	other_setup(f, &other);
	local_deliver(f, GUID_INBOX, "mail\n");
	foreign_sync(f);
	struct session_options opt = {0};
	assert_true(session_run_until_stable(f->local, other.local, &opt, &other.last) >= 0);
	foreign_sync(&other);
	char *name = foreign_find(f, "", "mail\n");
	foreign_rename(f, name, "lost");
	free(name);
	scope_init(&scope);
	scope.let[0] = 0;
	scope.mirror = true;
	opt.scope = &scope;
	assert_int_equal(backend_open_maildir(f->path, (int)f->layout, other.local, &remote), 0);
	assert_true(session_run(other.local, remote, &opt, &other.last) >= 0);
	backend_close(remote);
	assert_int_equal(foreign_count(f, ""), 1);
	foreign_sync(f);
	assert_int_equal(foreign_count(f, ""), 1);
	assert_int_equal(local_live(f), 1);
	other_end(&other);
}

/* Of many that are gone nobody can tell: they stay. */
static void many_are_kept(void **state)
{
	struct foreign *f = *state, other;
	char text[32];

	need_marks(f);
	other_setup(f, &other);
	for (int i = 0; i < 20; i++) {
		snprintf(text, sizeof(text), "mail %d\n", i);
		local_deliver(f, GUID_INBOX, text);
	}
	foreign_sync(f);
	struct session_options opt = {0};
	assert_true(session_run_until_stable(f->local, other.local, &opt, &other.last) >= 0);
	for (int i = 0; i < 20; i++) {
		char kept[32];

		snprintf(text, sizeof(text), "mail %d\n", i);
		snprintf(kept, sizeof(kept), "kept%d", i);
		char *name = foreign_find(f, "", text);
		foreign_rename(f, name, kept);
		free(name);
	}
	foreign_sync(&other);
	foreign_sync(f);
	assert_int_equal(foreign_count(f, ""), 20);
	assert_int_equal(local_live(f), 20);
	other_end(&other);
}

/* Bytes that anybody may have set. */
static void nonsense_is_nothing(void **state)
{
	struct foreign *f = *state, other;
	uint8_t mark[SIZE];

	need_marks(f);
	other_setup(f, &other);
	foreign_write(f, "cur/1.m.host:2,S", "mail\n");
	foreign_sync(f);
	assert_true(has_mark(f, "cur/1.m.host:2,S", mark));
	for (size_t i = 0; i < SIZE; i += 7) {
		mark[i] ^= 1;
		set_mark(f, "cur/1.m.host:2,S", mark);
		foreign_sync(&other);
		assert_int_equal(local_live(&other), 1);
		assert_false(guid_equal(&local_find(&other, "mail\n")->guid,
					&local_find(f, "mail\n")->guid));
		other_end(&other);
		other_setup(f, &other);
	}
	other_end(&other);
}

static void a_dry_run_leaves_none(void **state)
{
	struct foreign *f = *state;
	uint8_t mark[SIZE];

	need_marks(f);
	foreign_write(f, "cur/1.m.host:2,S", "mail\n");
	io_set_read_only(true);
	foreign_try(f);
	io_set_read_only(false);
	assert_false(has_mark(f, "cur/1.m.host:2,S", mark));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, foreign_setup, foreign_teardown)
	const struct CMUnitTest tests[] = {
		T(both_stores_know_it_by_one_name),
		T(a_later_change_is_known_for_one),
		T(it_says_since_when_it_is_there),
		T(a_copy_is_another_message),
		T(its_own_mark_is_no_reason_to_expunge),
		T(an_edit_is_not_what_it_was),
		T(what_is_put_back_unawares_goes),
		T(what_is_restored_stays),
		T(many_are_kept),
		T(nonsense_is_nothing),
		T(a_dry_run_leaves_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
