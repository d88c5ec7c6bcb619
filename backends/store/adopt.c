/*
 * adopt.c - takes an existing Maildir in place.
 *
 * State goes to a sibling directory; that link() and rename() work between both is tried with real
 * files, because bind mounts and subvolumes defeat st_dev.  The root file MAILDIR/.mailbraid names
 * store id and state path.  What was made is taken away again when a step fails.
 */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define ROOT_FILE ".mailbraid"

static bool is_maildir(int fd)
{
	struct stat st;

	return at_stat(fd, "cur", &st) == 0 && S_ISDIR(st.st_mode) &&
	       at_stat(fd, "new", &st) == 0 && S_ISDIR(st.st_mode);
}

/* link and rename, both ways, with a file of our own in tmp/. */
static int try_link_and_rename(int mail_fd, int store_fd)
{
	MB_AUTO_FREE char *name =
		mb_xasprintf("mailbraid-try-%016llx", (unsigned long long)random_u64());
	MB_AUTO_CLOSE int tmp = -1, fd = -1;
	int err = io_mkdirat(mail_fd, "tmp", 0700);

	if (err < 0 && err != -EEXIST)
		return err;
	tmp = at_open(mail_fd, "tmp", O_RDONLY | O_DIRECTORY, 0);
	if (tmp < 0)
		return tmp;
	fd = io_create_at(tmp, name, O_WRONLY, 0600);
	if (fd < 0)
		return fd;
	err = io_linkat(tmp, name, store_fd, name);
	if (err >= 0)
		err = io_unlinkat(tmp, name, 0);
	if (err >= 0)
		err = io_renameat(store_fd, name, tmp, name);
	io_unlinkat(tmp, name, 0);
	io_unlinkat(store_fd, name, 0);
	return err == -EXDEV || err == -EPERM || err == -EOPNOTSUPP ? MB_E_FILESYSTEM : err;
}

static int write_root_file(int mail_fd, const char *dir)
{
	MB_AUTO_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	BUF_AUTO struct buf b = BUF_INIT;
	struct store_config c = {0};
	char text[GUID_TEXT];
	int err = fd < 0 ? -errno : config_read(fd, &c);

	if (err < 0)
		return err;
	buf_printf(&b,
		   "# This Maildir is a mailbraid store; its state is in the directory below.\n"
		   "store=%s\nstate=%s\n",
		   guid_text(&c.id, text), dir);
	config_release(&c);
	return io_replace_file(mail_fd, ROOT_FILE, b.data, b.len, 0600);
}

static int adopt_into(int mail_fd, const char *maildir, const char *dir, enum layout layout)
{
	MB_AUTO_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct store *s = NULL;
	int err = fd < 0 ? -errno : try_link_and_rename(mail_fd, fd);

	if (err >= 0)
		err = store_make(fd, layout, maildir);
	if (err >= 0)
		err = write_root_file(mail_fd, dir);
	if (err >= 0)
		err = store_open(dir, STORE_WRITE, &s);
	if (err >= 0)
		store_close(s);
	return err;
}

static int parent_and_name(const char *dir, char **ret_parent, const char **ret_name)
{
	const char *slash = strrchr(dir, '/');

	if (!slash || !slash[1])
		return -EINVAL;
	*ret_parent = slash == dir ? mb_xstrdup("/") : mb_xstrndup(dir, (size_t)(slash - dir));
	*ret_name = slash + 1;
	return 0;
}

static void undo(int mail_fd, const char *dir)
{
	MB_AUTO_FREE char *parent = NULL;
	MB_AUTO_CLOSE int fd = -1;
	const char *name;

	io_unlinkat(mail_fd, ROOT_FILE, 0);
	if (parent_and_name(dir, &parent, &name) < 0)
		return;
	fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		at_remove_tree(fd, name);
}

static char *state_path(const char *maildir, const char *dir)
{
	char cwd[PATH_MAX];

	if (!dir)
		return mb_xasprintf("%s.mailbraid", maildir);
	if (dir[0] == '/' || !getcwd(cwd, sizeof(cwd)))
		return mb_xstrdup(dir);
	return mb_xasprintf("%s/%s", cwd, dir);
}

/* Not inside the tree, where it would be mail; and both names fit into a line of text. */
static int check_place(const char *maildir, const char *dir)
{
	size_t len = strlen(maildir);

	if (strchr(maildir, '\n') || strchr(dir, '\n'))
		return MB_E_NAME;
	return strncmp(dir, maildir, len) == 0 && (dir[len] == '/' || len == 1) ? -EINVAL : 0;
}

int store_adopt(const char *maildir, const char *dir, enum layout layout, char **ret_dir)
{
	char abs[PATH_MAX];
	MB_AUTO_FREE char *state = NULL;
	MB_AUTO_CLOSE int mail_fd = -1;
	struct stat st;
	int err;

	if (!realpath(maildir, abs))
		return -errno;
	mail_fd = open(abs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mail_fd < 0)
		return errno == ENOTDIR ? MB_E_NOT_MAILDIR : -errno;
	if (!is_maildir(mail_fd))
		return MB_E_NOT_MAILDIR;
	if (at_stat(mail_fd, ROOT_FILE, &st) == 0)
		return -EEXIST;
	state = state_path(abs, dir);
	if (mkdir(state, 0700) < 0)
		return -errno;
	char resolved[PATH_MAX];
	if (!realpath(state, resolved)) /* the root file names it for good */
		return -errno;
	err = check_place(abs, resolved);
	if (err >= 0)
		err = adopt_into(mail_fd, abs, resolved, layout);
	if (err < 0)
		undo(mail_fd, resolved);
	else
		*ret_dir = mb_xstrdup(resolved);
	return err;
}
