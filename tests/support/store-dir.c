/*
 * store-dir.c - see store-dir.h.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/mail/fname.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

static int64_t offset_ns;

void time_passes(int seconds)
{
	offset_ns += (int64_t)seconds * 1000000000;
	clock_set_offset_ns(offset_ns);
}

static int setup(void **state, enum layout layout)
{
	struct store_dir *d = mb_xcalloc(1, sizeof(*d));
	const char *tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

	snprintf(d->path, sizeof(d->path), "%s/mb-store-XXXXXX", tmp);
	assert_non_null(mkdtemp(d->path));
	snprintf(d->dir, sizeof(d->dir), "%s/store", d->path);
	snprintf(d->mail, sizeof(d->mail), "%s/mail", d->dir);
	d->me = (struct origin){.pid = 77, .comm = "test"};
	assert_int_equal(store_create(d->dir, layout), 0);
	d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d->mail_fd = open(d->mail, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(d->fd >= 0 && d->mail_fd >= 0);
	store_dir_open(d);
	*state = d;
	return 0;
}

int store_dir_setup(void **state)
{
	return setup(state, LAYOUT_MAILDIRPP);
}

int store_dir_setup_fs(void **state)
{
	return setup(state, LAYOUT_FS);
}

int store_dir_teardown(void **state)
{
	struct store_dir *d = *state;
	char *slash = strrchr(d->path, '/');

	io_set_hook(NULL, NULL);
	store_dir_close(d);
	offset_ns = 0;
	clock_set_offset_ns(0);
	close(d->fd);
	close(d->mail_fd);
	*slash = 0;
	int fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(at_remove_tree(fd, slash + 1), 0);
	close(fd);
	free(d);
	return 0;
}

void store_dir_close(struct store_dir *d)
{
	store_close(d->s);
	d->s = NULL;
}

void store_dir_open(struct store_dir *d)
{
	assert_int_equal(store_open(d->dir, STORE_WRITE, &d->s), 0);
}

void store_dir_reopen(struct store_dir *d)
{
	store_dir_close(d);
	store_dir_open(d);
}

void store_dir_rescan(struct store_dir *d, struct scan_report *ret)
{
	assert_int_equal(store_scan(d->s, false, ret), 0);
}

/* ---- stops and failures ---- */

static int kill_before(uint64_t step, const char *what, void *arg)
{
	int *left = arg;

	(void)step;
	(void)what;
	if (--*left == 0)
		raise(SIGKILL);
	return 0;
}

static int wait_for(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFSIGNALED(status)) {
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
	}
	return status;
}

/* Runs fn in a child that dies without store_close(), before step n of fn or of the opening. */
static bool killed(struct store_dir *d, int n, bool opening, int (*fn)(struct store_dir *d))
{
	pid_t pid;

	store_dir_close(d);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (opening)
			io_set_hook(kill_before, &n);
		if (store_open(d->dir, STORE_WRITE, &d->s) < 0)
			_exit(1);
		io_set_hook(kill_before, &n);
		_exit(fn && fn(d) < 0 ? 2 : 0);
	}
	return WIFSIGNALED(wait_for(pid));
}

bool store_dir_kill_at(struct store_dir *d, int n, int (*fn)(struct store_dir *d))
{
	return killed(d, n, false, fn);
}

bool store_dir_kill_open_at(struct store_dir *d, int n)
{
	return killed(d, n, true, NULL);
}

void store_dir_kill(struct store_dir *d, int (*fn)(struct store_dir *d))
{
	assert_false(killed(d, 1000000, false, fn));
}

struct fail {
	int left, err;
};

static int fail_once(uint64_t step, const char *what, void *arg)
{
	struct fail *f = arg;

	(void)step;
	(void)what;
	return --f->left == 0 ? -f->err : 0;
}

int store_dir_fail_at(struct store_dir *d, int n, int err, int (*fn)(struct store_dir *d),
		      bool *ret_hit)
{
	struct fail f = {n, err};
	int result;

	io_set_hook(fail_once, &f);
	result = fn(d);
	io_set_hook(NULL, NULL);
	*ret_hit = f.left <= 0;
	return result;
}

void store_dir_power_cut(struct store_dir *d)
{
	struct store_state st = {.clean = false, .boot = "another boot"};
	int fd = open(d->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(state_write(fd, &st), 0);
	close(fd);
}

static void copy_file(struct store_dir *d, const char *from, const char *to)
{
	int a = openat(d->fd, from, O_RDONLY | O_CLOEXEC), b;

	unlinkat(d->fd, to, 0);
	b = openat(d->fd, to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(a >= 0 && b >= 0);
	assert_int_equal(io_copy(a, b, NULL), 0);
	close(a);
	close(b);
}

void store_dir_save_index(struct store_dir *d)
{
	copy_file(d, "store/index/data.mdb", "saved.mdb");
}

void store_dir_restore_index(struct store_dir *d)
{
	copy_file(d, "saved.mdb", "store/index/data.mdb");
}

void store_dir_drop(struct store_dir *d, const char *name)
{
	int sub = openat(d->fd, "store", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_null(d->s);
	assert_int_equal(at_remove_tree(sub, name), 0);
	close(sub);
}

/* ---- programs ---- */

void outside_write(struct store_dir *d, const char *path, const char *text)
{
	int fd = openat(d->mail_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

void outside_rename(struct store_dir *d, const char *from, const char *to)
{
	assert_int_equal(renameat(d->mail_fd, from, d->mail_fd, to), 0);
}

void outside_link(struct store_dir *d, const char *from, const char *to)
{
	assert_int_equal(linkat(d->mail_fd, from, d->mail_fd, to, 0), 0);
}

void outside_unlink(struct store_dir *d, const char *path)
{
	assert_int_equal(unlinkat(d->mail_fd, path, 0), 0);
}

void outside_mkdir(struct store_dir *d, const char *path)
{
	assert_int_equal(mkdirat(d->mail_fd, path, 0700), 0);
}

static const char *const subs[] = {"cur", "new", "tmp"};

void outside_mailbox(struct store_dir *d, const char *dir)
{
	assert_int_equal(at_mkdirs(d->mail_fd, dir, 0700), 0);
	for (int i = 0; i < 3; i++) {
		char *path = path_join(dir, subs[i], NULL);

		outside_mkdir(d, path);
		free(path);
	}
}

void outside_remove(struct store_dir *d, const char *path)
{
	const char *name;
	int parent = at_open_parent(d->mail_fd, path, &name);
	int dir = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(at_remove_tree(dir, name), 0);
	close(parent);
	close(dir);
}

int store_move(struct store_dir *d, const char *from, const char *to)
{
	return store_rename(d->s, from, to, 0, &d->me);
}

void store_deliver(struct store_dir *d, const char *box, const char *name, const char *text)
{
	char *tmp = path_join(box, "tmp", name), *new = path_join(box, "new", name);

	outside_write(d, tmp, text);
	assert_int_equal(store_move(d, tmp, new), 0);
	free(tmp);
	free(new);
}

void store_make_box(struct store_dir *d, const char *dir)
{
	assert_int_equal(store_mkdir(d->s, dir, 0700, &d->me), 0);
	for (int i = 0; i < 3; i++) {
		char *path = path_join(dir, subs[i], NULL);

		assert_int_equal(store_mkdir(d->s, path, 0700, &d->me), 0);
		free(path);
	}
}

bool tree_has(struct store_dir *d, const char *path)
{
	struct stat st;

	return fstatat(d->mail_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

char *tree_text(struct store_dir *d, const char *path)
{
	uint8_t *text;
	size_t len;

	assert_int_equal(io_read_file(d->mail_fd, path, 1 << 20, &text, &len), 0);
	return (char *)text;
}

static int count_file(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	(void)name;
	(void)type;
	(void)ino;
	++*(int *)arg;
	return 0;
}

struct count_in {
	int fd, n;
};

static int count_dir(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	struct count_in *c = arg;
	int fd = openat(c->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)type;
	(void)ino;
	assert_true(fd >= 0);
	at_list(fd, count_file, &c->n);
	close(fd);
	return 0;
}

int deleted_count(struct store_dir *d)
{
	struct count_in c = {openat(d->fd, "store/deleted", O_RDONLY | O_DIRECTORY | O_CLOEXEC), 0};

	at_list(c.fd, count_dir, &c);
	close(c.fd);
	return c.n;
}

int staging_count(struct store_dir *d)
{
	int n = 0;

	assert_int_equal(at_list(store_staging_fd(d->s), count_file, &n), 0);
	return n;
}

/* ---- what the store knows ---- */

static struct index_txn *begin(struct store_dir *d)
{
	struct index_txn *tx;

	assert_int_equal(index_begin(store_index(d->s), false, &tx), 0);
	return tx;
}

struct lines {
	struct store_dir *d;
	struct tree t;
	char **v;
	size_t n, cap;
};

static int add_line(struct entry *e, void *arg)
{
	struct lines *l = arg;
	char *box;

	if (e->state == ENTRY_DEAD)
		return 0;
	assert_true(copy_alive(&e->copy));
	box = tree_name(&l->t, &e->copy.place.mailbox);
	MB_GROW(l->v, l->cap, l->n + 1);
	l->v[l->n++] =
		mb_xasprintf("%s/%s/%s%s", box, e->in_new ? "new" : "cur", e->file ? e->file : "?",
			     e->state == ENTRY_PRESENT	 ? ""
			     : e->state == ENTRY_DAMAGED ? " damaged"
							 : " lost");
	free(box);
	return 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

char *store_list(struct store_dir *d)
{
	struct lines l = {.d = d};
	struct index_txn *tx = begin(d);
	struct buf out = BUF_INIT;

	assert_int_equal(index_tree(tx, &l.t), 0);
	assert_int_equal(index_each(tx, add_line, &l), 0);
	index_abort(tx);
	if (l.n)
		qsort(l.v, l.n, sizeof(*l.v), by_text);
	for (size_t i = 0; i < l.n; i++) {
		buf_printf(&out, "%s%s", i ? " | " : "", l.v[i]);
		free(l.v[i]);
	}
	free(l.v);
	tree_release(&l.t);
	buf_cstr(&out);
	return (char *)out.data;
}

static int check_entry(struct entry *e, void *arg)
{
	struct lines *l = arg;
	struct index_txn *tx = (struct index_txn *)(void *)l->v;
	struct stat st;
	char *path;

	if (!entry_has_file(e))
		return 0;
	l->n++;
	path = entry_path(tx, e);
	assert_non_null(path);
	if (at_stat(l->d->mail_fd, path, &st) < 0)
		fail_msg("no file for %s", path);
	if (e->state == ENTRY_PRESENT)
		assert_int_equal(st.st_size, e->copy.size);
	free(path);
	return 0;
}

struct files {
	struct store_dir *d;
	struct index_txn *tx;
	struct guid mailbox;
	bool in_new;
	size_t n;
};

static int check_file(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	struct files *f = arg;
	struct entry e = {0};

	(void)type;
	(void)ino;
	if (!fname_is_message(name))
		return 0;
	if (entry_at(f->tx, &f->mailbox, name, f->in_new, &e) != 0)
		fail_msg("nobody knows %s", name);
	entry_release(&e);
	f->n++;
	return 0;
}

void store_consistent(struct store_dir *d)
{
	struct index_txn *tx = begin(d);
	struct lines l = {.d = d, .v = (char **)(void *)tx};
	struct files f = {.d = d, .tx = tx};

	assert_int_equal(index_tree(tx, &l.t), 0);
	assert_int_equal(index_each(tx, check_entry, &l), 0);
	for (size_t i = 0; i < l.t.n; i++)
		for (int k = 0; k < 2; k++) {
			char *dir = NULL, *path;
			int fd;

			f.mailbox = l.t.nodes[i].guid;
			f.in_new = k == 1;
			if (mailbox_dir(tx, &f.mailbox, &dir) < 0)
				continue;
			assert_true(mailbox_alive(&l.t.nodes[i]));
			path = path_join(dir, subs[k], NULL);
			fd = at_open(d->mail_fd, path, O_RDONLY | O_DIRECTORY, 0);
			assert_true(fd >= 0 || (f.in_new && fd == -ENOENT)); /* half made */
			if (fd >= 0) {
				assert_int_equal(at_list(fd, check_file, &f), 0);
				close(fd);
			}
			free(path);
			free(dir);
		}
	assert_int_equal(f.n, l.n);
	assert_int_equal(index_check(tx), 0);
	tree_release(&l.t);
	index_abort(tx);
}

char *store_dump(struct store_dir *d)
{
	struct index_txn *tx = begin(d);
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_int_equal(index_dump(tx, out), 0);
	fclose(out);
	index_abort(tx);
	return text;
}

struct log_walk {
	uint64_t n;
	enum record_type last;
};

static int walk_record(const struct record *r, const struct position *end, uint64_t modseq,
		       void *arg)
{
	struct log_walk *w = arg;

	(void)end;
	(void)modseq;
	w->n++;
	w->last = r->type;
	return 0;
}

static struct log_walk walk_log(struct store_dir *d)
{
	struct log_walk w = {0};
	struct position at;

	assert_int_equal(log_start(store_log(d->s), &at), 0);
	assert_int_equal(log_read(store_log(d->s), &at, walk_record, &w, NULL), 0);
	return w;
}

uint64_t log_records(struct store_dir *d)
{
	return walk_log(d).n;
}

enum record_type log_last(struct store_dir *d)
{
	return walk_log(d).last;
}

struct find {
	const char *name;
	struct entry *ret;
	bool any;
};

static int find_one(struct entry *e, void *arg)
{
	struct find *f = arg;

	if (e->state == ENTRY_DEAD || !e->file || strcmp(e->file, f->name) != 0)
		return 0;
	*f->ret = *e;
	memset(e, 0, sizeof(*e));
	f->any = true;
	return 1;
}

void store_find(struct store_dir *d, const char *name, struct entry *ret)
{
	struct index_txn *tx = begin(d);
	struct find f = {name, ret, false};

	assert_true(index_each(tx, find_one, &f) >= 0);
	index_abort(tx);
	if (!f.any)
		fail_msg("no copy has the name %s", name);
}

struct guid store_guid(struct store_dir *d, const char *name)
{
	struct entry e = {0};

	store_find(d, name, &e);
	struct guid g = e.copy.guid;
	entry_release(&e);
	return g;
}

static bool get_box(struct store_dir *d, const char *name, struct mailbox *ret)
{
	struct index_txn *tx = begin(d);
	struct tree t = {0};
	bool any = false;

	memset(ret, 0, sizeof(*ret));
	assert_int_equal(index_tree(tx, &t), 0);
	for (size_t i = 0; i < t.n && !any; i++) {
		char *n = tree_name(&t, &t.nodes[i].guid);

		any = mailbox_alive(&t.nodes[i]) && strcmp(n, name) == 0;
		if (any)
			mailbox_clone(ret, &t.nodes[i]);
		free(n);
	}
	tree_release(&t);
	index_abort(tx);
	return any;
}

void store_get_box(struct store_dir *d, const char *name, struct mailbox *ret)
{
	if (!get_box(d, name, ret))
		fail_msg("no mailbox has the name %s", name);
}

bool store_has_box(struct store_dir *d, const char *name)
{
	struct mailbox m;
	bool has = get_box(d, name, &m);

	mailbox_release(&m);
	return has;
}

struct guid store_box(struct store_dir *d, const char *name)
{
	struct mailbox m;

	store_get_box(d, name, &m);
	struct guid g = m.guid;
	mailbox_release(&m);
	return g;
}
