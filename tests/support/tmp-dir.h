/*
 * tmp-dir.h - a directory for one test.
 */
#ifndef MB_TESTS_TMP_DIR_H
#define MB_TESTS_TMP_DIR_H

struct tmp_dir {
	int fd;
	char path[64];
};

/* For cmocka: *state becomes a struct tmp_dir; the tree goes at the end. */
int tmp_dir_setup(void **state);
int tmp_dir_teardown(void **state);

void tmp_dir_write(const struct tmp_dir *d, const char *name, const char *text);
int tmp_dir_entries(const struct tmp_dir *d); /* how many names it has */

#endif
