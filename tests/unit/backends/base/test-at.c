/* No path leaves its root: "..", absolute paths and symbolic links are refused everywhere.  All tests
 * run twice, the second time in a process that is told that there is no openat2(). */
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "tests/support/tmp-dir.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <cmocka.h>

/* in/: the root; in/a/b/file; out/secret is what must not be reached. */
struct fixture {
	struct tmp_dir *dir;
	int root;
};

static int setup(void **state)
{
	struct fixture *f = mb_xcalloc(1, sizeof(*f));

	if (tmp_dir_setup((void **)&f->dir) < 0)
		return -1;
	mkdirat(f->dir->fd, "in", 0700);
	mkdirat(f->dir->fd, "in/a", 0700);
	mkdirat(f->dir->fd, "in/a/b", 0700);
	mkdirat(f->dir->fd, "out", 0700);
	tmp_dir_write(f->dir, "in/a/b/file", "in");
	tmp_dir_write(f->dir, "out/secret", "out");
	if (symlinkat("../out", f->dir->fd, "in/away") || symlinkat("a", f->dir->fd, "in/near") ||
	    symlinkat("../../out/secret", f->dir->fd, "in/a/leaf") ||
	    symlinkat("/etc", f->dir->fd, "in/etc"))
		return -1;
	f->root = openat(f->dir->fd, "in", O_PATH | O_DIRECTORY);
	*state = f;
	return f->root < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	int err;

	close(f->root);
	err = tmp_dir_teardown((void **)&f->dir);
	free(f);
	return err;
}

static void opens_what_is_beneath(void **state)
{
	const struct fixture *f = *state;
	static const char *const dirs[] = {"", ".", "a", "a/b"};

	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++) {
		MB_AUTO_CLOSE int fd = at_open(f->root, dirs[i], O_RDONLY | O_DIRECTORY, 0);

		assert_true(fd >= 0);
		assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	}
	assert_int_equal(at_open(f->root, "a/none", O_RDONLY, 0), -ENOENT);
	assert_int_equal(at_open(f->root, "a/b/file/x", O_RDONLY, 0), -ENOTDIR);
}

static void creates_with_the_mode(void **state)
{
	const struct fixture *f = *state;
	MB_AUTO_CLOSE int fd = at_open(f->root, "a/new", O_WRONLY | O_CREAT | O_EXCL, 0640);
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(at_stat(f->root, "a/new", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(at_open(f->root, "a/new", O_WRONLY | O_CREAT | O_EXCL, 0600), -EEXIST);
}

static const char *const leaving[] = {"..",	     "../out/secret", "a/../../out/secret", "/",
				      "/etc/passwd", "a/..",	      "a/b/../b/file",	    "//"};
static const char *const through_links[] = {"away/secret", "near/b/file", "etc/passwd",
					    "away/none"};
static const char *const malformed[] = {"a//b", "a/", "a/./b", "./a"};

static void nothing_leaves(void **state)
{
	const struct fixture *f = *state;
	const char *name;
	struct stat st;

	for (size_t i = 0; i < sizeof(leaving) / sizeof(*leaving); i++) {
		const char *p = leaving[i];

		assert_false(at_path_ok(p));
		assert_int_equal(at_open(f->root, p, O_RDONLY, 0), -EXDEV);
		assert_int_equal(at_open_parent(f->root, p, &name), -EXDEV);
		assert_int_equal(at_stat(f->root, p, &st), -EXDEV);
		assert_int_equal(at_open_regular(f->root, p, O_RDONLY), -EXDEV);
		assert_int_equal(at_mkdirs(f->root, p, 0), -EXDEV);
	}
}

static void no_link_is_followed(void **state)
{
	const struct fixture *f = *state;
	const char *name;
	struct stat st;

	for (size_t i = 0; i < sizeof(through_links) / sizeof(*through_links); i++) {
		const char *p = through_links[i];

		assert_true(at_path_ok(p));
		assert_int_equal(at_open(f->root, p, O_RDONLY, 0), -ELOOP);
		assert_int_equal(at_open(f->root, p, O_WRONLY | O_CREAT, 0600), -ELOOP);
		assert_int_equal(at_open_parent(f->root, p, &name), -ELOOP);
		assert_int_equal(at_stat(f->root, p, &st), -ELOOP);
		assert_int_equal(at_open_regular(f->root, p, O_RDONLY), -ELOOP);
		assert_true(at_mkdirs(f->root, p, 0) < 0);
	}
	assert_int_equal(at_open(f->root, "a/leaf", O_RDONLY, 0), -ELOOP);
	assert_int_equal(at_open(f->root, "near", O_RDONLY, 0), -ELOOP);
	assert_int_equal(at_open(f->root, "near", O_PATH, 0), -ELOOP);
	assert_int_equal(at_open(f->root, "near", O_PATH | O_DIRECTORY, 0), -ELOOP);
	assert_int_equal(at_open_regular(f->root, "a/leaf", O_RDONLY), -ELOOP);
	assert_int_equal(faccessat(f->dir->fd, "out/none", F_OK, 0), -1);
}

static void malformed_paths_are_refused(void **state)
{
	const struct fixture *f = *state;
	struct stat st;

	for (size_t i = 0; i < sizeof(malformed) / sizeof(*malformed); i++) {
		assert_false(at_path_ok(malformed[i]));
		assert_int_equal(at_open(f->root, malformed[i], O_RDONLY, 0), -EINVAL);
		assert_int_equal(at_stat(f->root, malformed[i], &st), -EINVAL);
		assert_int_equal(at_mkdirs(f->root, malformed[i], 0), -EINVAL);
	}
}

static void lengths_are_bounded(void **state)
{
	const struct fixture *f = *state;
	static char path[AT_PATH_MAX + 1];

	memset(path, 'x', sizeof(path));
	path[255] = '\0';
	assert_true(at_path_ok(path));
	path[255] = 'x';
	path[256] = '\0';
	assert_false(at_path_ok(path));
	assert_int_equal(at_open(f->root, path, O_RDONLY, 0), -ENAMETOOLONG);
	for (size_t i = 0; i < sizeof(path); i++)
		path[i] = i % 100 == 99 ? '/' : 'x';
	path[4095] = '\0';
	assert_true(at_path_ok(path));
	assert_int_equal(at_open(f->root, path, O_RDONLY, 0), -ENOENT);
	path[4095] = 'x';
	path[4096] = '\0';
	assert_false(at_path_ok(path));
	assert_true(at_deep_path_ok(path));
	assert_int_equal(at_open(f->root, path, O_RDONLY, 0), -ENOENT);
	path[4096] = 'x';
	path[AT_PATH_MAX - 1] = '\0';
	assert_true(at_deep_path_ok(path));
	assert_int_equal(at_open(f->root, path, O_RDONLY, 0), -ENOENT);
	path[AT_PATH_MAX - 1] = 'x';
	path[AT_PATH_MAX] = '\0';
	assert_false(at_deep_path_ok(path));
	assert_int_equal(at_open(f->root, path, O_RDONLY, 0), -ENAMETOOLONG);
	assert_false(at_path_ok(""));
	assert_true(at_path_ok("..."));
	assert_true(at_path_ok("..a/.b"));
}

/* A path of `n` components of `len` bytes, and then `last`. */
static const char *long_path(size_t n, size_t len, const char *last)
{
	static char path[AT_PATH_MAX];
	char *p = path;

	for (size_t i = 0; i < n; i++) {
		memset(p, 'd', len);
		p[len] = '/';
		p += len + 1;
	}
	strcpy(p, last);
	return path;
}

/* Trees have no end where each step is a short one. */
static void paths_longer_than_a_call_takes(void **state)
{
	const struct fixture *f = *state;
	struct stat st;
	const char *name;
	int fd;

	for (size_t len = 99; len < 103;
	     len++) { /* the first 4095 bytes end before, at and behind a slash */
		assert_int_equal(at_mkdirs(f->root, long_path(90, len, "e"), 0), 0);
		assert_int_equal(at_stat(f->root, long_path(90, len, "e"), &st), 0);
		assert_true(S_ISDIR(st.st_mode));
		fd = at_open(f->root, long_path(90, len, "f"), O_RDWR | O_CREAT | O_EXCL, 0600);
		assert_true(fd >= 0);
		close(fd);
		assert_int_equal(at_rename(f->root, long_path(90, len, "f"), "up", 0), 0);
		assert_int_equal(at_link(f->root, "up", long_path(90, len, "g")), 0);
		assert_int_equal(at_open(f->root, long_path(90, len, "f"), O_RDONLY, 0), -ENOENT);
		assert_int_equal(at_unlink(f->root, "up", 0), 0);
		assert_int_equal(symlinkat("/etc",
					   at_open_parent(f->root, long_path(90, len, "l"), &name),
					   "l"),
				 0);
		assert_int_equal(at_open(f->root, long_path(90, len, "l/passwd"), O_RDONLY, 0),
				 -ELOOP);
		assert_int_equal(at_open(f->root, long_path(90, len, "l"), O_RDONLY, 0), -ELOOP);
		assert_int_equal(at_open(f->root, long_path(90, len, "g/x"), O_RDONLY, 0),
				 -ENOTDIR);
		assert_int_equal(at_open(f->root, long_path(90, len, "../x"), O_RDONLY, 0), -EXDEV);
		assert_false(at_path_ok(long_path(90, len, "g")));
	}
}

static void parent_and_name(void **state)
{
	const struct fixture *f = *state;
	const char *path = "a/b/file", *name;
	MB_AUTO_CLOSE int deep = at_open_parent(f->root, path, &name);

	assert_true(deep >= 0);
	assert_ptr_equal(name, path + 4);
	assert_int_equal(faccessat(deep, name, F_OK, 0), 0);
	path = "a";
	{
		MB_AUTO_CLOSE int top = at_open_parent(f->root, path, &name);

		assert_true(top >= 0);
		assert_ptr_equal(name, path);
	}
	assert_int_equal(at_open_parent(f->root, "", &name), -EINVAL);
	assert_int_equal(at_open_parent(f->root, "none/x", &name), -ENOENT);
	/* the last component may be a link: it is acted on, not followed */
	{
		MB_AUTO_CLOSE int link = at_open_parent(f->root, "away", &name);

		assert_true(link >= 0);
		assert_int_equal(unlinkat(link, name, 0), 0);
	}
}

static void stat_is_lstat(void **state)
{
	const struct fixture *f = *state;
	struct stat st;

	assert_int_equal(at_stat(f->root, "a/leaf", &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(at_stat(f->root, "near", &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(at_stat(f->root, "", &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	assert_int_equal(at_stat(f->root, "a/b/file", &st), 0);
	assert_true(S_ISREG(st.st_mode));
}

static void renames_links_and_unlinks_stay_beneath(void **state)
{
	struct fixture *f = *state;
	struct stat a, b;

	assert_int_equal(at_link(f->root, "a/b/file", "a/second"), 0);
	assert_int_equal(at_stat(f->root, "a/b/file", &a), 0);
	assert_int_equal(at_stat(f->root, "a/second", &b), 0);
	assert_true(a.st_ino == b.st_ino);
	assert_int_equal(at_rename(f->root, "a/second", "a/b/file", RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(at_rename(f->root, "a/second", "third", 0), 0);
	assert_int_equal(at_stat(f->root, "a/second", &b), -ENOENT);
	assert_int_equal(at_unlink(f->root, "third", 0), 0);
	assert_int_equal(at_unlink(f->root, "third", 0), -ENOENT);
	assert_int_equal(at_unlink(f->root, "a/b", AT_REMOVEDIR), -ENOTEMPTY);

	assert_true(at_rename(f->root, "a/b/file", "away/file", 0) < 0);
	assert_true(at_rename(f->root, "away/secret", "a/secret", 0) < 0);
	assert_true(at_link(f->root, "../out/secret", "a/secret") < 0);
	assert_true(at_link(f->root, "a/b/file", "/tmp/file") < 0);
	assert_true(at_unlink(f->root, "away/secret", 0) < 0);
	assert_int_equal(at_stat(f->root, "a/b/file", &a), 0);
	assert_int_equal(a.st_nlink, 1);
	assert_int_equal(fstatat(f->dir->fd, "out/secret", &b, 0), 0);
}

static void only_regular_files_are_bodies(void **state)
{
	const struct fixture *f = *state;
	MB_AUTO_CLOSE int fd = at_open_regular(f->root, "a/b/file", O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(at_open_regular(f->root, "a/b", O_RDONLY), -EINVAL);
	assert_int_equal(mkfifoat(f->dir->fd, "in/fifo", 0600), 0);
	assert_int_equal(at_open_regular(f->root, "fifo", O_RDONLY), -EINVAL);
}

static void who_writes_is_seen(void **state)
{
	struct fixture *f = *state;
	int64_t now = clock_wall_ns();
	int fd = openat(f->root, "a/b/file", O_WRONLY);

	assert_true(fd >= 0);
	assert_true(at_being_written(f->root, "a/b/file", now));
	assert_false(at_being_written(f->root, "a/b/file", now - 3600 * 1000000000ll));
	close(fd);
	assert_false(at_being_written(f->root, "a/b/file", now));
	assert_false(at_being_written(f->root, "a/b/none", now));
	fd = openat(f->root, "a/b/file", O_RDONLY);
	assert_false(at_being_written(f->root, "a/b/file", now));
	close(fd);
}

static void mkdirs_makes_what_is_missing(void **state)
{
	const struct fixture *f = *state;
	uint64_t before = io_steps();
	struct stat st;

	assert_int_equal(at_mkdirs(f->root, "a/x/y/z", 0), 0);
	assert_int_equal(io_steps() - before, 6); /* mkdir and fsync of the parent, three times */
	assert_int_equal(at_mkdirs(f->root, "a/x/y/z", 0), 0);
	assert_int_equal(at_mkdirs(f->root, "", 0), 0);
	assert_int_equal(io_steps() - before, 6);
	assert_int_equal(at_stat(f->root, "a/x/y", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(at_mkdirs(f->root, "a/b/file/x", 0), -ENOTDIR);
	assert_int_equal(at_mkdirs(f->root, "a/b/file", 0), -ENOTDIR);
}

static int collect(const char *name, unsigned char d_type, uint64_t ino, void *arg)
{
	strcat(arg, name);
	return ino ? 0 : 1;
}

static int stop(const char *name, unsigned char d_type, uint64_t ino, void *arg)
{
	++*(int *)arg;
	return 42;
}

static void list_gives_each_name_once(void **state)
{
	const struct fixture *f = *state;
	MB_AUTO_CLOSE int b = openat(f->root, "a/b", O_RDONLY | O_DIRECTORY);
	char names[64] = "";
	int calls = 0;

	assert_int_equal(at_list(b, collect, names), 0);
	assert_string_equal(names, "file");
	assert_int_equal(at_list(b, collect, names), 0); /* again from the start */
	assert_string_equal(names, "filefile");
	assert_int_equal(at_list(f->root, stop, &calls), 42); /* works on O_PATH too */
	assert_int_equal(calls, 1);
	assert_int_equal(at_list(-1, collect, names), -EBADF);
}

static bool is_junk(const char *name)
{
	return strcmp(name, "junk") == 0;
}

static bool is_path(const char *path, void *arg)
{
	return strcmp(path, arg) == 0;
}

static void only_names_are_removed(void **state)
{
	const struct fixture *f = *state;
	struct at_names none = {0}, junk = {.junk = is_junk};
	struct at_names but = {.but = is_path, .arg = (char[]){"n/c/box"}};
	struct at_names near = {.but = is_path, .arg = (char[]){"n/c/bo"}};

	assert_int_equal(at_mkdirs(f->root, "n/a/b", 0700), 0);
	assert_int_equal(at_mkdirs(f->root, "n/c/box/cur", 0700), 0);
	assert_int_equal(at_is_names(f->root, "n", &none), -ENOTEMPTY);
	assert_int_equal(at_is_names(f->root, "n", &but), 0);
	assert_int_equal(at_is_names(f->root, "n", &near), -ENOTEMPTY);
	assert_int_equal(at_remove_names(f->root, "n", &none), -ENOTEMPTY);
	assert_int_equal(at_remove_names(f->root, "n", &but), -ENOTEMPTY);
	assert_int_equal(at_is_names(f->root, "n/c/box/cur", &none), 0);
	assert_int_equal(at_mkdirs(f->root, "n/a/b", 0700), 0);
	close(io_create_at(f->root, "n/a/b/junk", O_WRONLY, 0600));
	assert_int_equal(at_remove_names(f->root, "n/a", &none), -ENOTEMPTY);
	assert_int_equal(at_remove_names(f->root, "n/a", &junk), 0);
	assert_int_equal(at_is_names(f->root, "n/a", &none), -ENOENT);
	assert_int_equal(symlinkat("c", f->root, "n/link"), 0);
	assert_int_equal(at_remove_names(f->root, "n", &junk), -ENOTEMPTY);
	assert_int_equal(at_is_names(f->root, "n/link", &none), -ENOTEMPTY);
	assert_int_equal(at_remove_tree(f->root, "n"), 0);
}

static void a_tree_is_removed_and_links_are_not_followed(void **state)
{
	const struct fixture *f = *state;
	uint64_t before = io_steps();

	for (int i = 0; i < 500; i++) {
		char name[64];

		snprintf(name, sizeof(name), "in/a/b/many%d", i);
		tmp_dir_write(f->dir, name, "");
	}
	assert_int_equal(symlinkat("../../out", f->dir->fd, "in/a/link"), 0);
	assert_int_equal(at_remove_tree(f->root, "a"), 0);
	assert_int_equal(io_steps() - before, 500 + 1 + 2 + 2);
	assert_int_equal(faccessat(f->root, "a", F_OK, AT_SYMLINK_NOFOLLOW), -1);
	assert_int_equal(at_remove_tree(f->root, "away"), 0);
	assert_int_equal(faccessat(f->dir->fd, "out/secret", F_OK, 0), 0);
	assert_int_equal(at_remove_tree(f->root, "a"), -ENOENT);
	assert_int_equal(at_remove_tree(f->root, ".."), -EXDEV);
	assert_int_equal(at_remove_tree(f->root, "."), -EINVAL);
	assert_int_equal(at_remove_tree(f->root, ""), -EINVAL);
	assert_int_equal(at_remove_tree(f->root, "x/y"), -EINVAL);
}

static void a_removal_that_fails_says_so(void **state)
{
	const struct fixture *f = *state;
	int deep[2] = {dup(f->root), -1};

	for (int i = 0; i < 300; i++) {
		assert_int_equal(mkdirat(deep[0], "d", 0700), 0);
		deep[1] = openat(deep[0], "d", O_PATH | O_DIRECTORY);
		close(deep[0]);
		deep[0] = deep[1];
	}
	close(deep[0]);
	assert_int_equal(at_remove_tree(f->root, "d"), MB_E_LIMIT);
	/* put right for the teardown */
	deep[0] = dup(f->root);
	for (int i = 0; i < 150; i++) {
		deep[1] = openat(deep[0], "d", O_PATH | O_DIRECTORY);
		close(deep[0]);
		deep[0] = deep[1];
	}
	assert_int_equal(at_remove_tree(deep[0], "d"), 0);
	close(deep[0]);
}

/* From here on this process has no openat2(). */
static int forbid_openat2(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof(code) / sizeof(*code), .filter = code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static void all_again_without_openat2(void **state)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execl("/proc/self/exe", "test-at", "--no-openat2", (char *)NULL);
		_exit(99);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(opens_what_is_beneath),
		TEST(creates_with_the_mode),
		TEST(nothing_leaves),
		TEST(no_link_is_followed),
		TEST(malformed_paths_are_refused),
		TEST(lengths_are_bounded),
		TEST(paths_longer_than_a_call_takes),
		TEST(parent_and_name),
		TEST(stat_is_lstat),
		TEST(renames_links_and_unlinks_stay_beneath),
		TEST(only_regular_files_are_bodies),
		TEST(who_writes_is_seen),
		TEST(mkdirs_makes_what_is_missing),
		TEST(list_gives_each_name_once),
		TEST(only_names_are_removed),
		TEST(a_tree_is_removed_and_links_are_not_followed),
		TEST(a_removal_that_fails_says_so),
	};

	const struct CMUnitTest again[] = {cmocka_unit_test(all_again_without_openat2)};

	if (argc > 1 && strcmp(argv[1], "--no-openat2") == 0)
		return forbid_openat2() ? 0 : cmocka_run_group_tests(tests, NULL, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL) +
	       cmocka_run_group_tests(again, NULL, NULL);
}
