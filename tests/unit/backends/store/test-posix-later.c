/*
 * test-posix-later.c - the short way does what the long way does.
 *
 * One random history is played on two stores, of which one leaves its changes for later: answers,
 * files, messages, flags, UIDs, ordinals and tombstones must be the same.  Stops and failures are in
 * test-posix-later-stops.c.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/random.h"
#include "tests/support/store-dir.h"
#include "backends/base/at.h"
#include "backends/base/mem.h"
#include "backends/store/posix-private.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- what a store is, without what is its own: GUIDs and times ---- */

struct lines {
	char **v;
	size_t n, cap;
	struct tree t;
	struct store_dir *d;
	char *dir; /* while it is listed */
};

static void line(struct lines *l, char *text)
{
	MB_GROW(l->v, l->cap, l->n + 1);
	l->v[l->n++] = text;
}

static int entry_line(struct entry *e, void *arg)
{
	BUF_AUTO struct buf flags = BUF_INIT;
	struct lines *l = arg;
	char *box = tree_name(&l->t, &e->copy.place.mailbox);

	flags_text(&e->copy.flags, &flags);
	buf_cstr(&flags);
	line(l,
	     mb_xasprintf("%s uid=%u base=%s file=%s/%s state=%d size=%llu ordinal=%llu "
			  "recent=%d flags=%s",
			  box, e->copy.place.uid, e->copy.place.base, e->in_new ? "new" : "cur",
			  e->file ? e->file : "-", (int)e->state, (unsigned long long)e->copy.size,
			  (unsigned long long)e->ordinal, e->copy.recent, (char *)flags.data));
	free(box);
	return 0;
}

static int file_line(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	struct lines *l = arg;
	char *path = path_join(l->dir, name, NULL);
	struct stat st;

	(void)type;
	(void)ino;
	assert_int_equal(at_stat(l->d->mail_fd, path, &st), 0);
	line(l, mb_xasprintf("%s mode=%o size=%llu links=%u", path, (unsigned)st.st_mode,
			     S_ISREG(st.st_mode) ? (unsigned long long)st.st_size : 0,
			     S_ISREG(st.st_mode) ? (unsigned)st.st_nlink : 0));
	free(path);
	return 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void box_lines(struct lines *l, struct index_txn *tx, const struct mailbox *m)
{
	struct mailbox_local local = {0};
	char *name = tree_name(&l->t, &m->guid);

	assert_int_equal(index_get_mailbox(tx, &m->guid, NULL, &local), 0);
	line(l, mb_xasprintf("box %s next=%u live=%u dir=%s", name, m->uid_next, local.n_live,
			     local.dir ? local.dir : "-"));
	for (int i = 0; i < 3 && local.dir; i++) {
		int fd;

		l->dir = path_join(local.dir, &"cur\0new\0tmp"[4 * i], NULL);
		fd = at_open(l->d->mail_fd, l->dir, O_RDONLY | O_DIRECTORY, 0);
		assert_true(fd >= 0);
		assert_int_equal(at_list(fd, file_line, l), 0);
		close(fd);
		free(l->dir);
	}
	mailbox_local_release(&local);
	free(name);
}

static char *state_of(struct store_dir *d)
{
	struct lines l = {.d = d};
	struct buf out = BUF_INIT;
	struct index_txn *tx;

	assert_int_equal(index_begin(d->s->index, false, &tx), 0);
	assert_int_equal(index_tree(tx, &l.t), 0);
	for (size_t i = 0; i < l.t.n; i++)
		box_lines(&l, tx, &l.t.nodes[i]);
	assert_int_equal(index_each(tx, entry_line, &l), 0);
	assert_int_equal(index_check(tx), 0);
	index_abort(tx);
	qsort(l.v, l.n, sizeof(*l.v), by_text);
	for (size_t i = 0; i < l.n; i++) {
		buf_printf(&out, "%s\n", l.v[i]);
		free(l.v[i]);
	}
	buf_printf(&out, "kept=%d\n", deleted_count(d));
	buf_cstr(&out);
	free(l.v);
	tree_release(&l.t);
	return (char *)out.data;
}

/* ---- histories ---- */

#define BOXES 4
#define MESSAGES 300

struct message_at {
	unsigned box, number;
	bool in_new, gone;
	char letters[32]; /* of a name in cur; "-": it has no info */
};

struct play {
	struct store_dir *a, *b; /* a leaves for later */
	struct prng rng;
	char boxes[BOXES][16]; /* directories, as they are called now */
	struct message_at m[MESSAGES];
	size_t n;
	unsigned renamed, late;
	char log[65536]; /* what was done, for who has to find out */
	size_t log_len;
};

static char *path_of(const struct play *p, const struct message_at *m)
{
	const char *box = p->boxes[m->box];

	return mb_xasprintf("%s%s%s/%u.x%s%s", box, *box ? "/" : "", m->in_new ? "new" : "cur",
			    m->number, *m->letters == '-' ? "" : ":2,",
			    *m->letters == '-' ? "" : m->letters);
}

static void tell(struct play *p, const char *what, const char *from, const char *to, int err)
{
	int n = snprintf(p->log + p->log_len, sizeof(p->log) - p->log_len, "%s %s %s: %d\n", what,
			 from, to ? to : "", err);

	if (n > 0 && p->log_len + (size_t)n < sizeof(p->log))
		p->log_len += (size_t)n;
}

static int both(struct play *p, const char *what, const char *from, const char *to, int x, int y)
{
	const char *slash = strrchr(to ? to : from, '/');

	tell(p, what, from, to, x);
	if (x != y)
		fail_msg("%s %s %s: %d and %d\n%s", what, from, to ? to : "", x, y, p->log);
	if (slash && later_has(p->a->s, slash + 1))
		p->late++;
	return x;
}

static int move_with(struct play *p, const char *from, const char *to, unsigned flags)
{
	return both(p, "rename", from, to, store_rename(p->a->s, from, to, flags, &p->a->me),
		    store_rename(p->b->s, from, to, flags, &p->b->me));
}

static int remove_in(struct play *p, const char *path)
{
	return both(p, "unlink", path, NULL, store_unlink(p->a->s, path, &p->a->me),
		    store_unlink(p->b->s, path, &p->b->me));
}

static int link_in(struct play *p, const char *from, const char *to)
{
	return both(p, "link", from, to, store_link(p->a->s, from, to, &p->a->me),
		    store_link(p->b->s, from, to, &p->b->me));
}

static void write_in(struct play *p, const char *path, const char *text)
{
	outside_write(p->a, path, text);
	outside_write(p->b, path, text);
}

static struct message_at *any_message(struct play *p)
{
	for (int i = 0; i < 20 && p->n; i++) {
		struct message_at *m = &p->m[prng_below(&p->rng, p->n)];

		if (!m->gone)
			return m;
	}
	return NULL;
}

static void random_letters(struct play *p, char *ret)
{
	for (const char *c = "DFPRSTa"; *c; c++)
		if (prng_below(&p->rng, *c == 'a' ? 12 : 2) == 0)
			*ret++ = *c;
	*ret = 0;
}

static void op_deliver(struct play *p)
{
	struct message_at m = {.number = (unsigned)p->n, .in_new = true, .letters = "-"};
	char tmp[64], text[64];
	unsigned from = (unsigned)prng_below(&p->rng, BOXES);
	char *path;

	if (p->n == MESSAGES)
		return;
	m.box = (unsigned)prng_below(&p->rng, BOXES);
	if (prng_below(&p->rng, 4) == 0) {
		m.in_new = false;
		random_letters(p, m.letters);
	}
	if (prng_below(&p->rng, 4))
		from = m.box;
	snprintf(tmp, sizeof(tmp), "%s%stmp/%s%u.x", p->boxes[from], *p->boxes[from] ? "/" : "",
		 prng_bool(&p->rng) ? "other" : "", m.number);
	snprintf(text, sizeof(text), "Subject: %u\n\n%u\n", m.number, m.number);
	write_in(p, tmp, text);
	path = path_of(p, &m);
	assert_int_equal(move_with(p, tmp, path, prng_bool(&p->rng) ? RENAME_NOREPLACE : 0), 0);
	free(path);
	p->m[p->n++] = m;
}

/* To a name that may be taken. */
static void go(struct play *p, struct message_at *m, const struct message_at *to)
{
	char *from_path = path_of(p, m), *to_path = path_of(p, to);

	if (strcmp(from_path, to_path) != 0 && move_with(p, from_path, to_path, 0) >= 0)
		*m = *to;
	free(from_path);
	free(to_path);
}

static void op_flag(struct play *p)
{
	struct message_at *m = any_message(p), to;
	uint64_t n = 1 + prng_below(&p->rng, 3);

	for (; m && n; n--) {
		to = *m;
		to.in_new = false;
		random_letters(p, to.letters);
		go(p, m, &to);
	}
}

static void op_pick_up(struct play *p)
{
	struct message_at *m = any_message(p), to;

	if (!m)
		return;
	to = *m;
	to.in_new = !m->in_new;
	strcpy(to.letters, to.in_new ? "-" : "");
	go(p, m, &to);
}

static void op_unlink(struct play *p)
{
	struct message_at *m = any_message(p);
	char *path = m ? path_of(p, m) : NULL;

	if (m && remove_in(p, path) >= 0)
		m->gone = true;
	if (m && prng_below(&p->rng, 3) == 0) /* there is nothing any more */
		remove_in(p, path);
	free(path);
}

static void op_move(struct play *p)
{
	struct message_at *m = any_message(p), to;

	if (!m)
		return;
	to = *m;
	to.box = (unsigned)prng_below(&p->rng, BOXES);
	go(p, m, &to);
}

/* A copy, or a move, by link(). */
static void op_link(struct play *p)
{
	struct message_at *m = any_message(p), to;
	char *from, *path;

	if (!m || p->n == MESSAGES)
		return;
	to = *m;
	to.number = (unsigned)p->n;
	to.box = (unsigned)prng_below(&p->rng, BOXES);
	from = path_of(p, m);
	path = path_of(p, &to);
	assert_int_equal(link_in(p, from, path), 0);
	p->m[p->n++] = to;
	if (prng_bool(&p->rng) && remove_in(p, from) >= 0)
		m->gone = true;
	free(from);
	free(path);
}

/* The kernel's answer, or the old message's end. */
static void op_conflict(struct play *p)
{
	struct message_at *m = any_message(p), *other = any_message(p);
	bool replace = prng_bool(&p->rng), same;
	char *from, *to;

	if (!m || !other || m == other)
		return;
	from = path_of(p, m);
	to = path_of(p, other);
	same = strcmp(from, to) == 0;
	if (!same && move_with(p, from, to, replace ? 0 : RENAME_NOREPLACE) >= 0 &&
	    !tree_has(p->a, from))
		m->gone = true; /* that name is the other's, and the message it */
	free(from);
	free(to);
}

static void op_rewrite(struct play *p)
{
	struct message_at *m = any_message(p);
	char *path = m ? path_of(p, m) : NULL, text[64];

	if (!m)
		return;
	snprintf(text, sizeof(text), "Subject: again\n\n%u\n", (unsigned)prng_below(&p->rng, 1000));
	if (prng_bool(&p->rng)) {
		write_in(p, "tmp/edited", text);
		assert_int_equal(move_with(p, "tmp/edited", path, 0), 0);
	} else {
		both(p, "before", path, NULL, store_before_write(p->a->s, path, true),
		     store_before_write(p->b->s, path, true));
		write_in(p, path, text);
		both(p, "settled", path, NULL, store_settled(p->a->s, path, &p->a->me),
		     store_settled(p->b->s, path, &p->b->me));
	}
	free(path);
}

/* What is delivered is no file, or leaves the mailboxes. */
static void op_odd(struct play *p)
{
	struct message_at *m = any_message(p);
	char to[32];

	snprintf(to, sizeof(to), "new/odd%u.x", p->renamed++);
	switch (prng_below(&p->rng, 3)) {
	case 0:
		assert_int_equal(symlinkat("nowhere", p->a->mail_fd, "tmp/odd"), 0);
		assert_int_equal(symlinkat("nowhere", p->b->mail_fd, "tmp/odd"), 0);
		move_with(p, "tmp/odd", to, 0);
		break;
	case 1:
		outside_mkdir(p->a, "tmp/dir");
		outside_mkdir(p->b, "tmp/dir");
		move_with(p, "tmp/dir", to, 0);
		assert_int_equal(
			unlinkat(p->a->mail_fd, tree_has(p->a, to) ? to : "tmp/dir", AT_REMOVEDIR),
			0);
		assert_int_equal(
			unlinkat(p->b->mail_fd, tree_has(p->b, to) ? to : "tmp/dir", AT_REMOVEDIR),
			0);
		break;
	default:
		if (m) {
			char *path = path_of(p, m);

			snprintf(to, sizeof(to), "tmp/left%u", p->renamed++);
			m->gone = move_with(p, path, to, 0) >= 0;
			free(path);
		}
	}
}

static void op_rename_box(struct play *p)
{
	unsigned i = 1 + (unsigned)prng_below(&p->rng, BOXES - 1);
	char to[16];

	snprintf(to, sizeof(to), ".r%u", p->renamed++);
	if (move_with(p, p->boxes[i], to, 0) >= 0)
		strcpy(p->boxes[i], to);
}

/* Behind our back; or time goes by, so that a link is a copy. */
static void op_outside(struct play *p)
{
	struct scan_report r;

	if (prng_bool(&p->rng)) {
		struct message_at m = {.number = (unsigned)p->n, .in_new = true, .letters = "-"};
		char *path = path_of(p, &m);

		if (p->n < MESSAGES) {
			write_in(p, path, "Subject: x\n\nx\n");
			store_dir_rescan(p->a, &r);
			store_dir_rescan(p->b, &r);
			tell(p, "outside", path, NULL, 0);
			p->m[p->n++] = m;
		}
		free(path);
	}
	for (struct recent_link *l = p->a->s->links; l; l = l->next)
		l->at_ns = 0;
	for (struct recent_link *l = p->b->s->links; l; l = l->next)
		l->at_ns = 0;
}

static void compare(struct play *p)
{
	char *a = state_of(p->a), *b = state_of(p->b);

	if (strcmp(a, b) != 0)
		fail_msg("%s\n--- late\n%s--- at once\n%s", p->log, a, b);
	free(a);
	free(b);
}

static void step(struct play *p)
{
	static void (*const ops[])(struct play *) = {
		op_deliver, op_deliver, op_deliver, op_deliver, op_flag,    op_flag, op_flag,
		op_pick_up, op_pick_up, op_unlink,  op_unlink,	op_move,    op_link, op_conflict,
		op_rewrite, op_outside, op_odd,	    op_outside, op_outside,
	};

	if (prng_below(&p->rng, 60) == 0)
		op_rename_box(p);
	else
		ops[prng_below(&p->rng, sizeof(ops) / sizeof(ops[0]))](p);
	if (prng_below(&p->rng, 40) == 0)
		compare(p);
	if (prng_below(&p->rng, 30) == 0)
		nanosleep(&(struct timespec){.tv_nsec = 4000000}, NULL);
}

/* What a rebuilt index says of each message is what the index said. */
static void rebuild_alike(struct store_dir *d, const char *log)
{
	char *before = state_of(d), *after;

	store_dir_close(d);
	store_dir_drop(d, "index");
	store_dir_open(d);
	after = state_of(d);
	if (strcmp(before, after) != 0)
		fail_msg("%s\n--- was\n%s--- built anew\n%s", log, before, after);
	free(before);
	free(after);
}

static void play(uint64_t seed, struct play *p)
{
	p->rng = (struct prng){seed};
	for (int i = 1; i < BOXES; i++) {
		snprintf(p->boxes[i], sizeof(p->boxes[i]), ".b%d", i);
		store_make_box(p->a, p->boxes[i]);
		store_make_box(p->b, p->boxes[i]);
	}
	assert_int_equal(later_start(p->a->s), 0);
	for (int i = 0; i < 250; i++)
		step(p);
	compare(p);
	later_stop(p->a->s);
	compare(p);
	rebuild_alike(p->a, p->log);
	store_dir_reopen(p->b);
	compare(p);
}

static void a_history_is_the_same_later(void **state)
{
	const char *one = getenv("MAILBRAID_SEED"), *many = getenv("MAILBRAID_LATER");
	uint64_t first = one ? strtoull(one, NULL, 10) : 1;
	uint64_t n = one ? 1 : many ? strtoull(many, NULL, 10) : 25;
	unsigned late = 0;

	(void)state;
	for (uint64_t seed = first; seed < first + n; seed++) {
		struct play *p = mb_xcalloc(1, sizeof(*p));

		store_dir_setup((void **)&p->a);
		store_dir_setup((void **)&p->b);
		p->log_len = (size_t)snprintf(p->log, sizeof(p->log), "seed %llu\n",
					      (unsigned long long)seed);
		play(seed, p);
		late += p->late;
		store_dir_teardown((void **)&p->a);
		store_dir_teardown((void **)&p->b);
		free(p);
	}
	assert_true(late > n * 20); /* it was the short way */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_history_is_the_same_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
