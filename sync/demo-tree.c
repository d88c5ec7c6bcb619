/*
 * demo-tree.c - see demo-tree.h.
 */
#include "sync/demo-tree.h"

#include "backends/base/at.h"
#include "backends/base/hash.h"
#include "backends/base/mem.h"
#include "backends/mail/flags.h"
#include "backends/mail/fname.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

void tree_list_release(struct tree_list *t)
{
	for (size_t i = 0; i < t->n; i++) {
		free(t->list[i].key);
		free(t->list[i].path);
	}
	free(t->list);
	memset(t, 0, sizeof(*t));
}

/* "FOLDER/UNIQUE:FLAGS": letters sorted, keyword letters (local slots) left out. */
static char *key_of(const char *folder, const char *name)
{
	struct fname f;
	char letters[FLAG_COUNT + 1] = "";
	size_t n = 0;

	fname_parse(name, &f);
	for (int bit = 0; bit < FLAG_COUNT; bit++) {
		if (f.flags & FLAG_MASK(bit))
			letters[n++] = FLAG_LETTERS[bit];
	}
	letters[n] = '\0';
	return mb_xasprintf("%s/%.*s:%s", folder, (int)f.unique_len, name, letters);
}

static int read_message(struct tree_list *t, const char *root, const char *folder, const char *sub,
			const char *name)
{
	char *path MB_AUTO_FREE =
		mb_xasprintf("%s/%s%s%s/%s", root, folder, *folder ? "/" : "", sub, name);
	int fd MB_AUTO_CLOSE = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct tree_message m = {0};
	struct digest d;

	if (fd < 0)
		return -errno;
	int err = digest_fd(fd, &d, &m.size);
	if (err < 0)
		return err;
	memcpy(m.digest, d.b, sizeof(m.digest));
	m.key = key_of(folder, name);
	m.path = MB_TAKE(path);
	MB_GROW(t->list, t->cap, t->n + 1);
	t->list[t->n++] = m;
	return 0;
}

static int read_dir(struct tree_list *t, const char *root, const char *folder, const char *sub)
{
	char *path MB_AUTO_FREE = mb_xasprintf("%s/%s%s%s", root, folder, *folder ? "/" : "", sub);
	DIR *dir = opendir(path);
	struct dirent *d;
	int err = 0;

	if (!dir)
		return -errno;
	while (err >= 0 && (d = readdir(dir))) {
		if (fname_is_message(d->d_name))
			err = read_message(t, root, folder, sub, d->d_name);
	}
	closedir(dir);
	return err;
}

static int read_folder(struct tree_list *t, const char *root, const char *folder)
{
	int err = read_dir(t, root, folder, "cur");

	if (err >= 0)
		err = read_dir(t, root, folder, "new");
	t->folders += err >= 0;
	return err;
}

static bool is_folder(const char *root, const char *name)
{
	char *cur MB_AUTO_FREE = mb_xasprintf("%s/%s/cur", root, name);
	struct stat st;

	return name[0] == '.' && name[1] && strcmp(name, "..") != 0 && stat(cur, &st) == 0;
}

static int compare_keys(const void *a, const void *b)
{
	const struct tree_message *x = a, *y = b;
	int order = strcmp(x->key, y->key);

	return order ? order : memcmp(x->digest, y->digest, sizeof(x->digest));
}

static int read_once(const char *path, struct tree_list *t)
{
	DIR *dir = opendir(path);
	struct dirent *d;

	if (!dir)
		return -errno;
	int err = read_folder(t, path, "");
	while (err >= 0 && (d = readdir(dir))) {
		if (is_folder(path, d->d_name))
			err = read_folder(t, path, d->d_name);
	}
	closedir(dir);
	if (t->n)
		qsort(t->list, t->n, sizeof(*t->list), compare_keys);
	return err;
}

int tree_list_read(const char *path, struct tree_list *ret)
{
	int err = -ENOENT;

	for (int try = 0; try < 20 && err == -ENOENT; try++) {
		struct tree_list t = {0};
		err = read_once(path, &t);
		if (err >= 0) {
			*ret = t;
			return 0;
		}
		tree_list_release(&t);
	}
	return err;
}

static void tell_difference(size_t n, size_t tell, const char *sign, const char *key)
{
	if (n <= tell)
		printf("      %s %s\n", sign, key);
}

size_t tree_list_compare(const struct tree_list *a, const struct tree_list *b, size_t tell)
{
	size_t i = 0, k = 0, different = 0;

	while (i < a->n || k < b->n) {
		int order = i == a->n ? 1 : k == b->n ? -1 : compare_keys(&a->list[i], &b->list[k]);
		if (order < 0)
			tell_difference(++different, tell, "only in A:", a->list[i++].key);
		else if (order > 0)
			tell_difference(++different, tell, "only in B:", b->list[k++].key);
		else
			i++, k++;
	}
	if (a->folders != b->folders)
		tell_difference(++different, tell, "folders:", "not the same number");
	return different;
}

char *tree_find_message(const char *path, const char *base)
{
	struct tree_list t = {0};
	char *found = NULL;

	if (tree_list_read(path, &t) < 0)
		return NULL;
	for (size_t i = 0; i < t.n && !found; i++) {
		const char *name = strrchr(t.list[i].path, '/') + 1;
		if (strncmp(name, base, strlen(base)) == 0)
			found = MB_TAKE(t.list[i].path);
	}
	tree_list_release(&t);
	return found;
}
