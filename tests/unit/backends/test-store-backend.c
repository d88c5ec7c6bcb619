/* The local store behind the seam: the writer's role, and changes with bodies. */
#include "backends/backend.h"
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "backends/base/mem.h"
#include "backends/store/server.h"
#include "tests/support/store-dir.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static struct backend *open_backend(struct store_dir *d)
{
	struct backend *b = NULL;

	assert_int_equal(backend_open_store(d->dir, &b), 0);
	return b;
}

static int body_of(const char *text)
{
	int fd = memfd_create("body", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static struct record arrival(const char *text)
{
	struct record r = {.type = REC_COPY_STATE, .origin = {.replica = 99}};

	r.copy.guid = guid_new();
	r.copy.place.mailbox = GUID_INBOX;
	r.copy.place.at = (struct stamp){1000, 99};
	r.copy.size = strlen(text);
	r.copy.received_ns = 1234567890123456789;
	digest_mem(text, strlen(text), &r.copy.digest);
	return r;
}

static int put(struct backend *b, struct record *r, const char *text)
{
	MB_AUTO_CLOSE int fd = text ? body_of(text) : -1;

	return b->ops->put(b, r, fd);
}

static void expect_body(struct backend *b, const struct guid *g, const char *text)
{
	char data[64] = "";
	MB_AUTO_CLOSE int fd = b->ops->body(b, g, 0);

	assert_true(fd >= 0);
	assert_int_equal(read(fd, data, sizeof(data) - 1), strlen(text));
	assert_string_equal(data, text);
}

static int count(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	(void)name, (void)type, (void)ino;
	++*(int *)arg;
	return 0;
}

static int staged(struct store_dir *d)
{
	MB_AUTO_CLOSE int fd = at_open(d->fd, "store/staging", O_RDONLY | O_DIRECTORY, 0);
	int n = 0;

	assert_int_equal(at_list(fd, count, &n), 0);
	return n;
}

static void bodies_are_staged_and_checked(struct store_dir *d, struct backend *b, bool many)
{
	struct record r = arrival("one\n"), bad = arrival("two\n"), twin = arrival("one\n");

	assert_int_equal(b->ops->begin(b, 99, many), 0);
	assert_int_equal(put(b, &r, NULL), -ENOENT);
	assert_int_equal(put(b, &r, "one\n"), 1);
	assert_int_equal(put(b, &r, "one\n"), 0);
	assert_int_equal(put(b, &bad, "other\n"), MB_E_DAMAGED);
	assert_int_equal(put(b, &bad, "tw0\n"), MB_E_DAMAGED);
	assert_int_equal(put(b, &twin, NULL), 1); /* found by its digest */
	assert_int_equal(b->ops->commit(b), 0);
	expect_body(b, &r.copy.guid, "one\n");
	expect_body(b, &twin.copy.guid, "one\n");
	assert_int_equal(staged(d), 0);
}

static struct digest digest_of(struct backend *b, const struct guid *g)
{
	struct message m = {0};

	assert_int_equal(b->ops->message(b, g, &m), 0);
	assert_int_equal(m.n, 1);
	struct digest d = m.copies[0].digest;
	message_release(&m);
	return d;
}

/* Of what comes the digest is noted; of what was here when it is told that it was sent. */
static void digests_are_noted(struct backend *b, const struct guid *here)
{
	struct record r = arrival("one\n");
	const struct digest want = r.copy.digest;
	struct digest have, other;

	r.copy.digest = (struct digest){0};
	assert_int_equal(b->ops->begin(b, 99, false), 0);
	assert_int_equal(put(b, &r, "one\n"), 1);
	assert_int_equal(b->ops->commit(b), 0);
	have = digest_of(b, &r.copy.guid);
	assert_true(digest_equal(&have, &want));

	digest_mem("other", 5, &other);
	assert_int_equal(b->ops->begin(b, 99, false), 0);
	assert_int_equal(b->ops->learn(b, &r.copy.guid, 0, &other), 0); /* known already */
	assert_int_equal(b->ops->learn(b, here, 0, &other), 0);
	const struct guid nobody = guid_new();
	assert_int_equal(b->ops->learn(b, &nobody, 0, &other), 0);
	assert_int_equal(b->ops->commit(b), 0);
	have = digest_of(b, &r.copy.guid);
	assert_true(digest_equal(&have, &want));
	have = digest_of(b, here);
	assert_true(digest_equal(&have, &other));
}

static void as_the_writer(void **state)
{
	struct store_dir *d = *state;

	store_deliver(d, "", "here.x", "other");
	const struct guid here = store_guid(d, "here.x");
	store_dir_close(d);
	struct backend *b = open_backend(d);
	bodies_are_staged_and_checked(d, b, false);
	digests_are_noted(b, &here);
	backend_close(b);
}

static void many_at_once(void **state)
{
	struct store_dir *d = *state;

	store_dir_close(d);
	struct backend *b = open_backend(d);
	bodies_are_staged_and_checked(d, b, true);
	backend_close(b);
}

/* A sync that failed ends without a commit. */
static void what_was_sent_is_noted_at_the_end(void **state)
{
	struct store_dir *d = *state;
	struct digest sent, have;

	store_deliver(d, "", "here.x", "other");
	const struct guid here = store_guid(d, "here.x");
	store_dir_close(d);
	digest_mem("other", 5, &sent);
	struct backend *b = open_backend(d);
	assert_int_equal(b->ops->begin(b, 99, false), 0);
	assert_int_equal(b->ops->learn(b, &here, 0, &sent), 0);
	backend_close(b);
	b = open_backend(d);
	have = digest_of(b, &here);
	assert_true(digest_equal(&have, &sent));
	backend_close(b);
}

/* ---- another process is the writer: here a child ---- */

struct writer {
	pid_t pid;
	int up[2], down[2];
};

static void serve(struct store_dir *d, struct writer *w)
{
	struct store_server *v = NULL;
	struct store *s = NULL;
	char c = 1;

	if (store_open(d->dir, STORE_WRITE, &s) || store_server_start(s, NULL, NULL, &v))
		_exit(1);
	if (write(w->up[1], &c, 1) != 1 || read(w->down[0], &c, 1) < 0)
		_exit(1);
	store_server_stop(v);
	store_close(s);
	_exit(0);
}

static void start_writer(struct store_dir *d, struct writer *w)
{
	char c;

	assert_int_equal(pipe2(w->up, O_CLOEXEC), 0);
	assert_int_equal(pipe2(w->down, O_CLOEXEC), 0);
	w->pid = fork();
	if (w->pid == 0)
		serve(d, w);
	assert_int_equal(read(w->up[0], &c, 1), 1);
}

static void stop_writer(struct writer *w)
{
	int status;

	assert_int_equal(write(w->down[1], "", 1), 1);
	assert_int_equal(waitpid(w->pid, &status, 0), w->pid);
	assert_int_equal(status, 0);
	for (int i = 0; i < 2; i++) {
		close(w->up[i]);
		close(w->down[i]);
	}
}

static void through_the_writer(void **state)
{
	struct store_dir *d = *state;
	struct position a, b_end;
	struct change_set news = {0};
	struct writer w;

	store_deliver(d, "", "here.x", "other");
	const struct guid here = store_guid(d, "here.x");
	store_dir_close(d);
	start_writer(d, &w);
	struct backend *b = open_backend(d);
	assert_int_equal(b->ops->refresh(b, false), 0);
	assert_int_equal(b->ops->position(b, &a), 0);
	bodies_are_staged_and_checked(d, b, false);
	assert_int_equal(b->ops->changes(b, &a, 0, &news), 0);
	assert_int_equal(news.n_messages, 2);
	change_set_release(&news);
	assert_int_equal(b->ops->changes(b, &a, 99, &news), 0);
	assert_int_equal(news.n_messages, 0);
	assert_true(news.only_echo);
	change_set_release(&news);
	digests_are_noted(b, &here);
	/* it goes away: the next call finds that out, and does without */
	stop_writer(&w);
	outside_write(d, "new/5.a.host", "five\n");
	assert_int_equal(b->ops->refresh(b, false), 0);
	assert_int_equal(b->ops->position(b, &b_end), 0);
	assert_false(position_equal(&a, &b_end));
	backend_close(b);
}

/* ---- the role ---- */

static bool is_free(struct store_dir *d)
{
	struct store *s = NULL;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int err = store_open(d->dir, STORE_WRITE, &s);

		if (!err)
			store_close(s);
		_exit(err == 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status) == 1;
}

static void nobody_is_kept_out_between_syncs(void **state)
{
	struct store_dir *d = *state;
	struct record r = arrival("one\n");
	struct record peer = {.type = REC_PEER, .origin = {.replica = 1}};

	store_dir_close(d);
	struct backend *b = open_backend(d);
	assert_true(is_free(d));
	assert_int_equal(b->ops->refresh(b, false), 0);
	assert_true(is_free(d));
	assert_int_equal(b->ops->begin(b, 99, false), 0);
	assert_false(is_free(d));
	assert_int_equal(put(b, &r, "one\n"), 1);
	peer.peer.replica = 99;
	peer.peer.destination = mb_xstrdup("store:/x");
	assert_int_equal(put(b, &peer, NULL), 1);
	assert_int_equal(b->ops->commit(b), 0);
	assert_true(is_free(d));
	expect_body(b, &r.copy.guid, "one\n");
	free(peer.peer.destination);
	backend_close(b);
}

static void a_put_needs_a_begin(void **state)
{
	struct store_dir *d = *state;
	struct record r = arrival("one\n");

	store_dir_close(d);
	struct backend *b = open_backend(d);
	assert_int_equal(put(b, &r, "one\n"), MB_E_LOCKED);
	backend_close(b);
}

/* Who asks for the body of a mail that was written on since it was noticed plans anew: it is another. */
static void a_mail_that_grew_is_another_one(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	outside_write(d, "new/1.a.host", "one\n");
	time_passes(10);
	store_dir_rescan(d, &r);
	struct guid was = store_guid(d, "1.a.host");
	outside_write(d, "new/1.a.host", "one\ntwo\n");
	store_dir_close(d);
	struct backend *b = open_backend(d);
	assert_int_equal(b->ops->refresh(b, false), 0);
	assert_int_equal(b->ops->body(b, &was, 0), MB_E_STALE);
	assert_int_equal(b->ops->body(b, &was, 0), -ENOENT);
	backend_close(b);
	store_dir_open(d);
	struct guid is = store_guid(d, "1.a.host");
	store_dir_close(d);
	assert_false(guid_equal(&was, &is));
	b = open_backend(d);
	expect_body(b, &is, "one\ntwo\n");
	backend_close(b);
}

static void what_is_held_is_told(void **state)
{
	struct store_dir *d = *state;

	for (int i = 0; i < 20; i++) {
		char name[32];

		snprintf(name, sizeof(name), "%d.a.host", i);
		store_deliver(d, "", name, name);
	}
	store_dir_close(d);
	for (int i = 0; i < 20; i++) {
		char name[32];

		snprintf(name, sizeof(name), "new/%d.a.host", i);
		outside_unlink(d, name);
	}
	struct backend *b = open_backend(d);
	assert_int_equal(b->ops->refresh(b, false), 20);
	assert_int_equal(b->ops->refresh(b, false), 20);
	b->ops->allow_mass_expunge(b, true);
	assert_int_equal(b->ops->refresh(b, false), 0);
	backend_close(b);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		T(as_the_writer),
		T(what_was_sent_is_noted_at_the_end),
		T(many_at_once),
		T(through_the_writer),
		T(nobody_is_kept_out_between_syncs),
		T(a_put_needs_a_begin),
		T(what_is_held_is_told),
		T(a_mail_that_grew_is_another_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
