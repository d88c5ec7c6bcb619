/* The list of directory renames that a kill left: finished from wherever it was stopped. */
#include "backends/maildir/intent.h"
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "tests/support/foreign.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define ASIDE ".aside-mailbraid-0123456789abcdef"

static const char *const SWAP[][2] = {{".A", ASIDE}, {".B", ".A"}, {ASIDE, ".B"}};

struct swap {
	struct foreign *f;
	struct guid a, b;
};

static struct maildir *opened(struct foreign *f)
{
	struct backend *b;

	assert_int_equal(backend_open_maildir(f->path, (int)f->layout, f->local, &b), 0);
	return maildir_of(b);
}

/* Both sides have A with "one" and B with "two"; then the local side swaps their names. */
static struct swap swapped_here(struct foreign *f)
{
	struct swap s = {.f = f};

	memory_create(f->local, &GUID_ZERO, "A", &s.a);
	memory_create(f->local, &GUID_ZERO, "B", &s.b);
	local_deliver(f, s.a, "one\n");
	local_deliver(f, s.b, "two\n");
	foreign_sync(f);
	memory_rename(f->local, &s.a, &GUID_ZERO, "T");
	memory_rename(f->local, &s.b, &GUID_ZERO, "A");
	memory_rename(f->local, &s.a, &GUID_ZERO, "B");
	return s;
}

static uint64_t identity(struct foreign *f, const char *dir)
{
	MB_AUTO_CLOSE int root = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t ret = 0;

	at_identity(root, dir, &ret);
	return ret;
}

static void add_box(struct maildir *m, struct swap *s, const struct guid *g, const char *dir,
		    uint64_t id)
{
	MB_AUTO_FREE char *own = mb_xstrdup(dir);
	struct md_box box = {.guid = *g, .dir = own, .agreed = true};

	box.named_at = mailbox_seen(tree_find(memory_tree(s->f->local), g));
	md_intent_box(m, &box, id);
}

/* As the sync of the swap begins: the intent is durable; `lines` of it when not 0. */
static void intend(struct swap *s, size_t lines)
{
	uint64_t a = identity(s->f, ".A"), b = identity(s->f, ".B");
	struct maildir *m = opened(s->f);

	md_intent_rename(m, SWAP[0][0], SWAP[0][1], a);
	md_intent_rename(m, SWAP[1][0], SWAP[1][1], b);
	md_intent_rename(m, SWAP[2][0], SWAP[2][1], a);
	add_box(m, s, &s->a, ".B", a);
	add_box(m, s, &s->b, ".A", b);
	assert_int_equal(md_intent_write(m), 0);
	for (size_t i = lines; lines && i < m->n_lines; i++) {
		m->lines[i].state = PEER_ENTRY_GONE;
		assert_int_equal(md_batch_begin(m), 0);
		assert_int_equal(md_batch_entry(m, &m->lines[i]), 0);
		assert_int_equal(md_batch_end(m, 0), 0);
	}
	backend_close(&m->base);
}

static void expect(struct swap *s, const char *dir_one, const char *dir_two)
{
	MB_AUTO_FREE char *one = foreign_find(s->f, dir_one, "one\n");
	MB_AUTO_FREE char *two = foreign_find(s->f, dir_two, "two\n");

	assert_non_null(one);
	assert_non_null(two);
	assert_false(foreign_exists(s->f, ASIDE));
	assert_true(guid_equal(&local_find(s->f, "one\n")->place.mailbox, &s->a));
	assert_true(guid_equal(&local_find(s->f, "two\n")->place.mailbox, &s->b));
	assert_int_equal(local_live(s->f), 2);
}

static void finished_from_each_step(void **state)
{
	for (int done = 0; done <= 3; done++) {
		struct swap s;

		if (done) {
			assert_int_equal(foreign_teardown(state), 0);
			assert_int_equal(foreign_setup(state), 0);
		}
		s = swapped_here(*state);
		intend(&s, 0);
		for (int i = 0; i < done; i++)
			foreign_rename(s.f, SWAP[i][0], SWAP[i][1]);
		foreign_sync(s.f);
		expect(&s, ".B", ".A");
		assert_string_equal(tree_find(memory_tree(s.f->local), &s.a)->part, "B");
	}
}

/* The first look finishes it, before the plan says anything. */
static void finished_before_the_scan(void **state)
{
	struct swap s = swapped_here(*state);
	struct maildir *m;

	intend(&s, 0);
	foreign_rename(s.f, SWAP[0][0], SWAP[0][1]);
	m = opened(s.f);
	assert_int_equal(m->base.ops->refresh(&m->base, false), 0);
	assert_string_equal(md_box_find(m, &s.a)->dir, ".B");
	assert_string_equal(md_box_find(m, &s.b)->dir, ".A");
	assert_int_equal(m->n_lines, 0);
	backend_close(&m->base);
	m = opened(s.f);
	assert_int_equal(md_load(m), 0);
	assert_int_equal(m->n_lines, 0);
	assert_false(md_box_find(m, &s.a)->intent);
	backend_close(&m->base);
}

/* It was being written, or being forgotten: nothing is done by it, and it goes. */
static void half_a_list_is_none(void **state)
{
	struct swap s = swapped_here(*state);
	struct maildir *m;

	intend(&s, 5);
	m = opened(s.f);
	assert_int_equal(m->base.ops->refresh(&m->base, false), 0);
	assert_string_equal(md_box_find(m, &s.a)->dir, ".A");
	assert_int_equal(m->n_lines, 0);
	backend_close(&m->base);
	foreign_sync(s.f);
	expect(&s, ".B", ".A");
}

/* Between the kill and the next run somebody made a folder where one was to come. */
static void a_place_that_was_taken_stays(void **state)
{
	struct swap s = swapped_here(*state);

	intend(&s, 0);
	foreign_rename(s.f, SWAP[0][0], SWAP[0][1]);
	foreign_rename(s.f, SWAP[1][0], SWAP[1][1]);
	foreign_mkdir(s.f, ".B");
	foreign_write(s.f, ".B/new/3.a.host", "three\n");
	foreign_sync(s.f);
	assert_int_equal(local_live(s.f), 3);
	assert_non_null(local_find(s.f, "one\n"));
	assert_non_null(local_find(s.f, "two\n"));
	assert_non_null(local_find(s.f, "three\n"));
	assert_false(foreign_exists(s.f, ASIDE));
}

/* ... or moved a folder on, by hand. */
static void a_directory_that_left_is_left_alone(void **state)
{
	struct swap s = swapped_here(*state);
	struct guid z;

	intend(&s, 0);
	foreign_rename(s.f, SWAP[0][0], SWAP[0][1]);
	foreign_rename(s.f, ".B", ".Z");
	foreign_sync(s.f);
	expect(&s, ".B", ".Z");
	z = local_box(s.f, "Z");
	assert_true(guid_equal(&z, &s.b));
}

/* Nor is anything done by a list with paths that lead out of the Maildir. */
static void hostile_paths(void **state)
{
	struct foreign *f = *state;
	struct maildir *m;

	foreign_mkdir(f, ".A");
	foreign_sync(f);
	m = opened(f);
	md_intent_rename(m, ".A", "../escaped", identity(f, ".A"));
	assert_int_equal(md_intent_write(m), 0);
	backend_close(&m->base);
	foreign_sync(f);
	assert_true(foreign_exists(f, ".A/cur"));
	assert_false(foreign_exists(f, "../escaped"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, foreign_setup, foreign_teardown)
	const struct CMUnitTest tests[] = {
		T(finished_from_each_step),
		T(finished_before_the_scan),
		T(half_a_list_is_none),
		T(a_place_that_was_taken_stays),
		T(a_directory_that_left_is_left_alone),
		T(hostile_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
