/* Which directories are touched, and when. */
#include "backends/store/touched.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define OLD 1000000000

static const char *const dirs[] = {"cur", "new", ".box", ".box/cur", ".box/new", "recur"};
#define N_DIRS (sizeof(dirs) / sizeof(*dirs))

static char base[64];
static int root;
static struct touched t;

static int setup(void **state)
{
	snprintf(base, sizeof(base), "/tmp/mb-touched-XXXXXX");
	if (!mkdtemp(base))
		return -1;
	root = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < N_DIRS; i++)
		if (mkdirat(root, dirs[i], 0700))
			return -1;
	return 0;
}

static int teardown(void **state)
{
	touched_release(&t);
	for (size_t i = N_DIRS; i > 0; i--)
		unlinkat(root, dirs[i - 1], AT_REMOVEDIR);
	close(root);
	return rmdir(base);
}

static void make_all_old(void)
{
	const struct timespec old[2] = {{.tv_sec = OLD}, {.tv_sec = OLD}};

	for (size_t i = N_DIRS; i > 0; i--)
		assert_int_equal(utimensat(root, dirs[i - 1], old, 0), 0);
}

/* Turns to this second: those that were touched, in the order of `dirs`. */
static const char *turned(int64_t second)
{
	static char text[200];
	struct stat st;

	make_all_old();
	touched_turn(&t, root, second);
	*text = 0;
	for (size_t i = 0; i < N_DIRS; i++) {
		assert_int_equal(fstatat(root, dirs[i], &st, 0), 0);
		if (st.st_mtim.tv_sec != OLD)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s ", dirs[i]);
	}
	return text;
}

static void a_change_is_touched_in_a_later_second_and_once(void **state)
{
	touched_add(&t, "new/1.a", 50);
	touched_add(&t, "new/2.a", 50);
	assert_int_equal(t.n, 1);
	assert_string_equal(turned(50), "");
	assert_string_equal(turned(51), "new ");
	assert_int_equal(t.n, 0);
	assert_string_equal(turned(52), "");
}

static void new_is_touched_for_who_watches_it_alone(void **state)
{
	touched_add(&t, ".box/cur/1.a:2,S", 50);
	touched_add(&t, "cur/2.a:2,", 51);
	assert_string_equal(turned(51), ".box/cur .box/new ");
	assert_string_equal(turned(60), "cur new ");
}

static void a_later_change_waits_for_its_second(void **state)
{
	touched_add(&t, ".box/cur/1.a:2,S", 50);
	touched_add(&t, ".box/new/2.a", 51);
	assert_string_equal(turned(51), "");
	assert_string_equal(turned(52), ".box/cur .box/new ");
}

static void other_names_are_not_kept(void **state)
{
	touched_add(&t, ".mailbraid-body-1", 50);
	touched_add(&t, "recur/x", 50);
	touched_add(&t, "tmp/x", 50);
	touched_add(&t, ".box/cur", 50);
	touched_add(&t, "cu/x", 50);
	touched_add(&t, "", 50);
	assert_int_equal(t.n, 0);
}

static void a_folder_that_is_gone_is_forgotten(void **state)
{
	touched_add(&t, ".gone/cur/x:2,", 50);
	assert_string_equal(turned(51), "");
	assert_int_equal(t.n, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_change_is_touched_in_a_later_second_and_once),
		TEST(new_is_touched_for_who_watches_it_alone),
		TEST(a_later_change_waits_for_its_second),
		TEST(other_names_are_not_kept),
		TEST(a_folder_that_is_gone_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
