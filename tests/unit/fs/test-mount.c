/*
 * test-mount.c - the options that mount(8), fstab and people give.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "fs/mount.h"

static struct fs_options parsed(const char *text)
{
	struct fs_options o = {.threads = 2};
	char *bad = NULL;

	assert_true(mount_parse_options(text, &o, &bad));
	assert_null(bad);
	return o;
}

static void our_options(void **state)
{
	struct fs_options o = parsed("allow_other,ro,threads=3,noxattr,nonempty");

	assert_true(o.allow_other && o.read_only && o.noxattr && o.nonempty);
	assert_false(o.kernel_permissions);
	assert_int_equal(o.threads, 3);
	assert_false(parsed("noxattr,xattr").noxattr);
	assert_true(parsed("default_permissions").kernel_permissions);
}

/* What a line with `user` in fstab becomes, and what systemd adds. */
static void a_line_of_fstab(void **state)
{
	struct fs_options o = parsed("rw,noexec,nosuid,nodev,nofail,user,x-systemd.automount,"
				     "_netdev,noatime,nodiratime,relatime,lazytime,");

	assert_int_equal(o.flags, parsed("nosuid,nodev,noexec").flags);
	assert_int_not_equal(o.flags, 0);
	assert_int_equal(parsed("rw,defaults,noauto").flags, 0);
}

static void the_later_of_two_counts(void **state)
{
	assert_int_equal(parsed("noexec,exec").flags, parsed("exec").flags);
	assert_int_equal(parsed("exec,noexec").flags, parsed("noexec").flags);
	assert_int_not_equal(parsed("exec").flags, parsed("noexec").flags);
	assert_int_equal(parsed("sync,dirsync,async").flags, parsed("async,dirsync").flags);
}

static void unknown_ones_are_named(void **state)
{
	static const char *const bad[] = {
		"remount", "threads=0", "threads=", "noexe", "noexecs", "uid=5"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct fs_options o = {0};
		char text[64], *named = NULL;

		snprintf(text, sizeof(text), "ro,%s,rw", bad[i]);
		assert_false(mount_parse_options(text, &o, &named));
		assert_string_equal(named, bad[i]);
		free(named);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(our_options),
		cmocka_unit_test(a_line_of_fstab),
		cmocka_unit_test(the_later_of_two_counts),
		cmocka_unit_test(unknown_ones_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
