/* Destinations: what each names, and what is refused. */
#include "backends/backend.h"
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/store/store.h"
#include "tests/support/tmp-dir.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

struct places {
	struct tmp_dir *dir;
	char store[96], maildir[96], adopted[96], plain[96];
	struct backend *local;
};

static int setup(void **state)
{
	struct places *p = mb_xcalloc(1, sizeof(*p));
	void *dir = NULL;
	char *made = NULL;
	int err;

	if (tmp_dir_setup(&dir))
		return -1;
	p->dir = dir;
	snprintf(p->store, sizeof(p->store), "%s/store", p->dir->path);
	snprintf(p->maildir, sizeof(p->maildir), "%s/Maildir", p->dir->path);
	snprintf(p->adopted, sizeof(p->adopted), "%s/mine", p->dir->path);
	snprintf(p->plain, sizeof(p->plain), "%s/plain", p->dir->path);
	err = store_create(p->store, LAYOUT_MAILDIRPP);
	if (!err)
		err = at_mkdirs(p->dir->fd, "Maildir/cur", 0700);
	for (int i = 0; !err && i < 3; i++) {
		static const char *const mine[] = {"mine/cur", "mine/new", "mine/tmp"};

		err = at_mkdirs(p->dir->fd, mine[i], 0700);
	}
	if (!err)
		err = at_mkdirs(p->dir->fd, "plain/sub", 0700);
	if (!err)
		err = store_adopt(p->adopted, NULL, LAYOUT_MAILDIRPP, &made);
	free(made);
	p->local = backend_open_memory(5);
	*state = p;
	return err;
}

static int teardown(void **state)
{
	struct places *p = *state;
	void *dir = p->dir;

	backend_close(p->local);
	free(p);
	return tmp_dir_teardown(&dir);
}

/* Name of the kind that opens, or NULL and the error. */
static const char *kind(struct places *p, const char *prefix, const char *path, const char *suffix,
			int *ret_err)
{
	MB_AUTO_FREE char *text = mb_xasprintf("%s%s%s", prefix, path, suffix);
	struct backend *b = NULL;
	const char *name;

	*ret_err = backend_open(text, p->local, &b);
	if (*ret_err)
		return NULL;
	name = b->ops->name;
	backend_close(b);
	return name;
}

static void each_kind_is_known(void **state)
{
	struct places *p = *state;
	int err;

	assert_string_equal(kind(p, "store:", p->store, "", &err), "store");
	assert_string_equal(kind(p, "", p->store, "", &err), "store");
	assert_string_equal(kind(p, "maildir:", p->maildir, "", &err), "maildir");
	assert_string_equal(kind(p, "maildir:", p->maildir, ":LAYOUT=fs", &err), "maildir");
	assert_string_equal(kind(p, "", p->maildir, "", &err), "maildir");
}

/* Its log must not be passed by. */
static void an_adopted_maildir_is_its_store(void **state)
{
	struct places *p = *state;
	int err;

	assert_string_equal(kind(p, "maildir:", p->adopted, "", &err), "store");
	assert_string_equal(kind(p, "store:", p->adopted, "", &err), "store");
	assert_string_equal(kind(p, "", p->adopted, "", &err), "store");
}

static void what_is_none_of_them_is_refused(void **state)
{
	struct places *p = *state;
	int err;

	assert_null(kind(p, "", "", "", &err));
	assert_int_equal(err, MB_E_USAGE);
	assert_null(kind(p, "imaps:", "//host/", "", &err));
	assert_int_equal(err, MB_E_USAGE);
	assert_null(kind(p, "store:", "", "", &err));
	assert_int_equal(err, MB_E_USAGE);
	assert_null(kind(p, "maildir:", p->maildir, ":LAYOUT=other", &err));
	assert_int_equal(err, MB_E_USAGE);
	assert_null(kind(p, "maildir:", p->plain, "", &err));
	assert_int_equal(err, MB_E_NOT_MAILDIR);
	assert_null(kind(p, "store:", p->plain, "", &err));
	assert_int_equal(err, MB_E_NOT_STORE);
	assert_null(kind(p, "", p->plain, "", &err));
	assert_int_equal(err, MB_E_NOT_STORE);
}

static void the_local_side_is_a_store(void **state)
{
	struct places *p = *state;
	struct backend *b = NULL;
	MB_AUTO_FREE char *text = mb_xasprintf("maildir:%s", p->maildir);

	assert_int_equal(backend_open(text, NULL, &b), MB_E_NOT_STORE);
	assert_int_equal(backend_open(p->maildir, NULL, &b), MB_E_NOT_STORE);
	assert_int_equal(backend_open(p->store, NULL, &b), 0);
	backend_close(b);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(each_kind_is_known),
		T(an_adopted_maildir_is_its_store),
		T(what_is_none_of_them_is_refused),
		T(the_local_side_is_a_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
