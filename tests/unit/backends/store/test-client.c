/* Changes submitted to a writer; the system calls of steps. */
#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "backends/base/mem.h"
#include "backends/store/client.h"
#include "backends/store/server.h"
#include "backends/store/socket-format.h"
#include "tests/support/store-dir.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

struct pair {
	struct store_dir *d;
	struct store_server *v;
	struct store_client *c;
};

/* What a mount would have counted. */
static void count_two(struct buf *out)
{
	buf_put_str(out, "lookup");
	buf_put_u64(out, 3);
	buf_put_str(out, "read");
	buf_put_u64(out, 5000000000);
}

static int setup(void **state)
{
	struct pair *p = mb_xcalloc(1, sizeof(*p));
	void *d = NULL;

	if (store_dir_setup(&d))
		return -1;
	p->d = d;
	*state = p;
	return store_server_start(p->d->s, NULL, count_two, &p->v) ||
	       store_client_connect(p->d->dir, &p->c);
}

static int teardown(void **state)
{
	struct pair *p = *state;
	void *d = p->d;

	store_client_close(p->c);
	store_server_stop(p->v);
	free(p);
	return store_dir_teardown(&d);
}

static void stage(struct pair *p, const char *name, const char *text)
{
	MB_AUTO_CLOSE int fd =
		openat(store_staging_fd(p->d->s), name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static struct record arrival(const char *text)
{
	struct record r = {.type = REC_COPY_STATE, .origin = {.replica = 99}};

	r.copy.guid = guid_new();
	r.copy.place.mailbox = GUID_INBOX;
	r.copy.place.at = (struct stamp){1000, 99};
	r.copy.size = strlen(text);
	digest_mem(text, strlen(text), &r.copy.digest);
	return r;
}

static void an_arrival_is_put(void **state)
{
	struct pair *p = *state;
	struct record r = arrival("one\n");
	struct digest d;

	assert_int_equal(store_client_put(p->c, &r, NULL, false), -ENOENT);
	stage(p, "body-1", "one\n");
	assert_int_equal(store_client_put(p->c, &r, "body-1", false), 1);
	assert_int_equal(store_client_put(p->c, &r, NULL, false), 0);
	assert_int_equal(store_client_digest(p->c, &r.copy.guid, 0, &d), 0);
	assert_true(digest_equal(&d, &r.copy.digest));
	assert_int_equal(store_client_flush(p->c), 0);
}

static void a_scan_tells_what_it_found(void **state)
{
	struct pair *p = *state;
	struct scan_report r;

	outside_write(p->d, "new/1.a.host", "one\n");
	assert_int_equal(store_client_scan(p->c, false, &r), 0);
	assert_int_equal(r.arrived, 1);
	assert_int_equal(store_client_scan(p->c, true, &r), 0);
	assert_int_equal(r.arrived, 0);
	assert_int_equal(r.unread, 0);
	outside_rename(p->d, "cur", "aside");
	assert_int_equal(symlinkat("aside", p->d->mail_fd, "cur"), 0); /* never followed */
	assert_int_equal(store_client_scan(p->c, true, &r), 0);
	assert_int_equal(r.unread, -ELOOP);
}

/* A process that listens and was stopped, as a debugger or SIGSTOP leaves it. */
static void a_writer_that_was_stopped_is_told_from_one_that_is_busy(void **state)
{
	struct pair *p = *state;
	struct store_client *c = NULL;
	char socket_path[100];
	int status;
	pid_t pid;

	assert_int_equal(store_writer_stopped(p->d->dir), 0); /* ourselves */
	store_client_close(MB_TAKE(p->c));
	store_server_stop(MB_TAKE(p->v));
	snprintf(socket_path, sizeof(socket_path), "%s/" SOCKET_NAME, p->d->dir);
	unlink(socket_path);
	assert_int_equal(store_writer_stopped(p->d->dir), 0); /* nobody */
	assert_int_equal(store_client_connect(p->d->dir, &c), -ENOENT);
	pid = fork();
	if (pid == 0) {
		struct sockaddr_un a = {.sun_family = AF_UNIX};
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);

		snprintf(a.sun_path, sizeof(a.sun_path), "%s", socket_path);
		if (bind(fd, (const struct sockaddr *)&a, sizeof(a)) || listen(fd, 5))
			_exit(1);
		raise(SIGSTOP);
		pause();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(WIFSTOPPED(status));
	assert_int_equal(store_writer_stopped(p->d->dir), pid);
	assert_int_equal(store_client_connect(p->d->dir, &c), MB_E_STOPPED);
	kill(pid, SIGCONT);
	assert_int_equal(waitpid(pid, &status, WCONTINUED), pid);
	assert_int_equal(store_writer_stopped(p->d->dir), 0);
	store_client_patience(1);
	assert_int_equal(store_client_connect(p->d->dir, &c), -ETIMEDOUT);
	store_client_patience(120);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	unlink(socket_path);
}

static void the_rest_of_the_verbs(void **state)
{
	struct pair *p = *state;
	struct stamp seen = STAMP_NONE, a, b;

	assert_string_equal(store_client_mount(p->c), "");
	assert_int_equal(store_client_now(p->c, &seen, &a), 0);
	assert_int_equal(store_client_now(p->c, NULL, &b), 0);
	assert_true(stamp_compare(&b, &a) > 0);
	assert_int_equal(store_client_allow_mass_expunge(p->c, true), 0);
	assert_int_equal(store_client_checkpoint(p->c, 1000000000), 0);
	outside_write(p->d, "new/1.a.host", "one\n");
	assert_int_equal(store_client_scan(p->c, false, &(struct scan_report){0}), 0);
	struct guid there = store_guid(p->d, "1.a.host"), nowhere = {{7}};
	assert_int_equal(store_client_expunge_lost(p->c, &there, 0, 1), MB_E_STALE);
	assert_int_equal(store_client_expunge_lost(p->c, &nowhere, 0, 1), -ENOENT);
}

static void a_writer_that_went_away_is_noticed(void **state)
{
	struct pair *p = *state;
	int err;

	store_server_stop(MB_TAKE(p->v));
	err = store_client_flush(p->c);
	assert_true(err == -EPIPE || err == -ECONNRESET);
}

/* ---- steps: on a plain directory in place of a mount ---- */

static int step(struct pair *p, int op, const char *from, const char *to)
{
	struct store_step s = {.op = op};
	int err;

	s.from = from ? mb_xstrdup(from) : NULL;
	s.to = to ? mb_xstrdup(to) : NULL;
	err = store_step_do(p->d->fd, &s);
	free(s.from);
	free(s.to);
	return err;
}

static void a_step_is_one_system_call(void **state)
{
	struct pair *p = *state;

	assert_int_equal(step(p, STEP_MKDIR, NULL, "box"), 0);
	assert_int_equal(step(p, STEP_MKDIR, NULL, "box"), -EEXIST);
	assert_int_equal(step(p, STEP_RENAME, "box", "other"), 0);
	assert_int_equal(step(p, STEP_RENAME, "box", "other"), -ENOENT);
	assert_int_equal(step(p, STEP_UNLINK, "other/none", NULL), -ENOENT);
	assert_int_equal(step(p, STEP_RMDIR, "other", NULL), 0);
	assert_int_equal(step(p, STEP_NONE, NULL, NULL), 0);
	assert_int_equal(step(p, STEP_RENAME, "other", NULL), MB_E_PROTOCOL);
	assert_int_equal(step(p, STEP_UNLINK, NULL, NULL), MB_E_PROTOCOL);
}

static void a_step_stays_in_the_mount(void **state)
{
	struct pair *p = *state;

	assert_true(step(p, STEP_UNLINK, "../x", NULL) < 0);
	assert_int_equal(symlinkat("/tmp", p->d->fd, "out"), 0);
	assert_true(step(p, STEP_MKDIR, NULL, "out/escaped") < 0);
}

static void add_counter(const char *name, uint64_t n, void *arg)
{
	buf_printf(arg, "%s=%llu ", name, (unsigned long long)n);
}

static void the_mount_s_counters(void **state)
{
	BUF_AUTO struct buf said = BUF_INIT;
	struct pair *p = *state;

	assert_int_equal(store_client_counters(p->c, add_counter, &said), 0);
	assert_string_equal(buf_cstr(&said), "lookup=3 read=5000000000 ");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(an_arrival_is_put),
		T(a_scan_tells_what_it_found),
		T(a_writer_that_was_stopped_is_told_from_one_that_is_busy),
		T(the_rest_of_the_verbs),
		T(a_writer_that_went_away_is_noticed),
		T(the_mount_s_counters),
		T(a_step_is_one_system_call),
		T(a_step_stays_in_the_mount),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
