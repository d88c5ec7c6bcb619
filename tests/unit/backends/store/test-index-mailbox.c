/*
 * Mailboxes in the index: state, local facts, directories, counters.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/index-dir.h"
#include "backends/base/mem.h"
#include "backends/store/index-private.h"
#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_all_comes_back(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct mailbox_local l =
				     {
					     .dir = mb_xstrdup(".a.b"),
					     .cur = {1, 2, 3},
					     .new_ = {4, 5, 6},
					     .self = {7, 8, -9},
					     .ino = 10,
					     .n_live = 99, /* not ours to say */
					     .modseq = 11,
					     .next_cookie = 12,
				     },
			     got_l;
	struct mailbox m, got;

	num_mailbox(&m, 1);
	m.parent = num_guid(3);
	m.uid_next = 50;
	assert_int_equal(index_put_mailbox(tx, &m, &l), 0);
	assert_int_equal(index_get_mailbox(tx, &m.guid, &got, &got_l), 0);
	assert_true(mailbox_equal(&m, &got));
	assert_int_equal(got.uid_next, 50);
	assert_string_equal(got_l.dir, ".a.b");
	assert_memory_equal(&got_l.cur, &l.cur, sizeof(l.cur));
	assert_memory_equal(&got_l.new_, &l.new_, sizeof(l.new_));
	assert_memory_equal(&got_l.self, &l.self, sizeof(l.self));
	assert_int_equal(got_l.ino, 10);
	assert_int_equal(got_l.n_live, 0);
	assert_int_equal(got_l.modseq, 11);
	assert_int_equal(got_l.next_cookie, 12);
	mailbox_release(&got);
	mailbox_local_release(&got_l);
	mailbox_release(&m);
	mailbox_local_release(&l);
	index_abort(tx);
}

static void test_local_is_kept(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct mailbox_local l;
	struct mailbox m;

	num_put_mailbox(tx, 1);
	num_mailbox(&m, 1);
	assert_int_equal(index_put_mailbox(tx, &m, NULL), 0);
	assert_int_equal(index_get_mailbox(tx, &m.guid, NULL, &l), 0);
	assert_string_equal(l.dir, ".m1");
	l.modseq = 5;
	assert_int_equal(index_put_mailbox(tx, &m, &l), 0);
	l.modseq = 4; /* never goes down */
	assert_int_equal(index_put_mailbox(tx, &m, &l), 0);
	mailbox_local_release(&l);
	assert_int_equal(index_get_mailbox(tx, &m.guid, NULL, &l), 0);
	assert_int_equal(l.modseq, 5);
	mailbox_local_release(&l);
	mailbox_release(&m);
	index_abort(tx);
}

static void expect_dir(struct index_txn *tx, const char *dir, uint64_t n)
{
	struct guid want = num_guid(n), got;
	int r = index_mailbox_by_dir(tx, dir, &got);

	if (n == 0) {
		assert_int_equal(r, -ENOENT);
		return;
	}
	assert_int_equal(r, 0);
	assert_true(guid_equal(&got, &want));
}

static void set_dir(struct index_txn *tx, uint64_t n, const char *dir)
{
	struct mailbox_local l;
	struct mailbox m;
	struct guid g = num_guid(n);

	assert_int_equal(index_get_mailbox(tx, &g, &m, &l), 0);
	free(l.dir);
	l.dir = dir ? mb_xstrdup(dir) : NULL;
	assert_int_equal(index_put_mailbox(tx, &m, &l), 0);
	mailbox_release(&m);
	mailbox_local_release(&l);
}

static void test_directories(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);

	num_put_mailbox(tx, 1);
	num_put_mailbox(tx, 2);
	expect_dir(tx, ".m1", 1);
	expect_dir(tx, "", 0);
	set_dir(tx, 1, ""); /* INBOX */
	expect_dir(tx, "", 1);
	expect_dir(tx, ".m1", 0);
	set_dir(tx, 1, ".m2"); /* two swap their names */
	set_dir(tx, 2, "");
	expect_dir(tx, ".m2", 1);
	expect_dir(tx, "", 2);
	set_dir(tx, 2, NULL);
	expect_dir(tx, "", 0);
	index_abort(tx);
}

/* Longer than a key of LMDB, and different only at the end. */
static void test_long_directories(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	char a[4001], b[4001];

	for (size_t len = 440; len < 4000; len += len < 520 ? 1 : 500) {
		memset(a, 'x', len);
		a[len] = 0;
		strcpy(b, a);
		b[len - 1] = 'y';
		num_put_mailbox(tx, 1);
		num_put_mailbox(tx, 2);
		set_dir(tx, 1, a);
		set_dir(tx, 2, b);
		expect_dir(tx, a, 1);
		expect_dir(tx, b, 2);
		set_dir(tx, 1, NULL);
		expect_dir(tx, a, 0);
	}
	index_abort(tx);
}

static void test_counters(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct guid g = num_guid(1);
	struct mailbox_local l;

	num_put_mailbox(tx, 1);
	num_put_entry(tx, 10, 1, 3);
	num_put_entry(tx, 11, 1, 7);
	num_put_entry(tx, 10, 1, 3); /* again: counted once */
	assert_int_equal(num_live(tx, 1), 2);
	assert_int_equal(num_uid_next(tx, 1), 8);
	g = num_guid(11);
	assert_int_equal(index_drop_entry(tx, &g, 0), 0);
	assert_int_equal(num_live(tx, 1), 1);
	assert_int_equal(num_uid_next(tx, 1), 8);
	g = num_guid(1);
	assert_int_equal(index_get_mailbox(tx, &g, NULL, &l), 0);
	assert_int_equal(l.modseq, 1);
	mailbox_local_release(&l);
	index_abort(tx);
}

/* Copies of a mailbox that comes later are counted when it comes. */
static void test_late_mailbox(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);

	for (uint32_t i = 1; i <= 600; i++)
		num_put_entry(tx, 10 + i, 1, i);
	num_put_mailbox(tx, 1);
	assert_int_equal(num_live(tx, 1), 600);
	assert_int_equal(num_uid_next(tx, 1), 601);
	index_abort(tx);
}

static void test_tree(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct tree t = {0};

	assert_int_equal(index_tree(tx, &t), 0);
	assert_int_equal(t.n, 0);
	for (uint64_t n = 300; n > 0; n--)
		num_put_mailbox(tx, n);
	assert_int_equal(index_tree(tx, &t), 0);
	assert_int_equal(t.n, 300);
	for (uint64_t n = 1; n <= 300; n++) {
		struct guid g = num_guid(n);
		assert_ptr_equal(tree_find(&t, &g), &t.nodes[n - 1]);
	}
	tree_release(&t);
	index_abort(tx);
}

/* What index_tree() gives is what the table has. */
static void expect_tree(struct index_txn *tx, size_t n)
{
	struct tree t = {0};

	assert_int_equal(index_tree(tx, &t), 0);
	assert_int_equal(t.n, n);
	for (size_t i = 0; i < t.n; i++) {
		struct mailbox m;
		assert_int_equal(index_get_mailbox(tx, &t.nodes[i].guid, &m, NULL), 0);
		assert_true(mailbox_equal(&m, &t.nodes[i]));
		assert_int_equal(m.uid_next, t.nodes[i].uid_next);
		mailbox_release(&m);
		assert_true(!i || guid_compare(&t.nodes[i - 1].guid, &t.nodes[i].guid) < 0);
	}
	tree_release(&t);
}

/* The tree that a writer keeps goes along with mailboxes and with the mail in them. */
static void test_kept_tree(void **state)
{
	struct index_dir *d = *state;
	struct index_txn *tx = index_dir_begin(d, true), *reader;

	for (uint64_t n = 1; n <= 40; n++) {
		struct mailbox m;
		struct entry e;
		uint64_t box = n * 7 % 13 + 1;

		num_mailbox(&m, box);
		free(m.part);
		m.part = mb_xasprintf("name %d", (int)n);
		m.uid_next = (uint32_t)n;
		assert_int_equal(index_put_mailbox(tx, &m, NULL), 0);
		mailbox_release(&m);
		expect_tree(tx, n < 13 ? n : 13);
		num_entry(&e, n, box, 0);
		e.copy.place.uid = (uint32_t)(n * 5);
		assert_int_equal(index_put_entry(tx, &e), 0);
		entry_release(&e);
		expect_tree(tx, n < 13 ? n : 13);
		index_share(d->ix, tx); /* who reads meanwhile sees what is written */
		reader = index_dir_begin(d, false);
		expect_tree(reader, n < 13 ? n : 13);
		index_abort(reader);
		index_share(d->ix, NULL);
	}
	index_abort(tx);
	tx = index_dir_begin(d, true);
	expect_tree(tx, 0); /* nothing is kept of what was given up */
	index_abort(tx);
}

static void commit_one(struct index *ix, uint64_t n)
{
	struct index_txn *tx;

	assert_int_equal(index_begin(ix, true, &tx), 0);
	num_put_mailbox(tx, n);
	assert_int_equal(index_commit(tx), 0);
}

/* It is handed on from writer to writer, but not over what another one wrote. */
static void test_tree_is_handed_on(void **state)
{
	struct index_dir *d = *state;
	struct index_txn *tx = index_dir_begin(d, true);

	num_put_mailbox(tx, 1);
	expect_tree(tx, 1);
	assert_int_equal(index_commit(tx), 0);
	struct tree t = {0};
	struct index_txn *before = index_dir_begin(d, false);
	assert_true(index_kept_tree(before, &t)); /* readers have it, too */
	assert_int_equal(t.n, 1);
	tree_release(&t);
	commit_one(d->ix, 2);			   /* asks for no tree */
	assert_false(index_kept_tree(before, &t)); /* it sees what was before */
	expect_tree(before, 1);
	index_abort(before);
	tx = index_dir_begin(d, true);
	assert_non_null(txn_tree(tx));
	expect_tree(tx, 2);
	num_put_mailbox(tx, 3);
	index_abort(tx);
	tx = index_dir_begin(d, true);
	assert_null(txn_tree(tx));
	expect_tree(tx, 2);
	index_abort(tx); /* wrote nothing */
	tx = index_dir_begin(d, true);
	assert_non_null(txn_tree(tx));
	assert_int_equal(index_commit(tx), 0); /* nor did this one */
	tx = index_dir_begin(d, true);
	assert_non_null(txn_tree(tx));
	index_abort(tx);
	pid_t child = fork(); /* LMDB knows one environment a process */
	if (child == 0) {
		struct index *other;
		bool ok = index_open(d->index, true, &other) == 0;
		if (ok)
			commit_one(other, 4);
		_exit(!ok);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	tx = index_dir_begin(d, false);
	assert_false(index_kept_tree(tx, &t));
	expect_tree(tx, 3);
	index_abort(tx);
	tx = index_dir_begin(d, true);
	assert_null(txn_tree(tx));
	expect_tree(tx, 3);
	index_abort(tx);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, index_dir_setup, index_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_all_comes_back),
		TEST(test_local_is_kept),
		TEST(test_directories),
		TEST(test_long_directories),
		TEST(test_counters),
		TEST(test_late_mailbox),
		TEST(test_tree),
		TEST(test_kept_tree),
		TEST(test_tree_is_handed_on),
	};
	return cmocka_run_group_tests_name("index-mailbox", tests, NULL, NULL);
}
