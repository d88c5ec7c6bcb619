/* The socket of the writer: who may connect, what comes of nonsense, many at once, a dead one's rest. */
#include "backends/base/buf.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/store/server.h"
#include "backends/store/socket-format.h"
#include "tests/support/store-dir.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

static int connect_raw(struct store_dir *d)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/" SOCKET_NAME, d->dir);
	assert_int_equal(connect(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static int32_t answer_of(int fd)
{
	uint8_t head[8];

	if (recv(fd, head, sizeof(head), MSG_WAITALL) != sizeof(head))
		return 1;
	return (int32_t)get_le32(head + 4);
}

static void the_socket_is_private_and_goes_at_the_end(void **state)
{
	struct store_dir *d = *state;
	struct store_server *v = NULL;
	struct stat st;
	MB_AUTO_FREE char *path = mb_xasprintf("%s/" SOCKET_NAME, d->dir);

	assert_int_equal(store_server_start(d->s, NULL, NULL, &v), 0);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0600);
	store_server_stop(v);
	assert_int_equal(lstat(path, &st), -1);
}

static void a_dead_ones_socket_is_replaced(void **state)
{
	struct store_dir *d = *state;
	struct store_server *v = NULL;
	struct store_client *c = NULL;
	MB_AUTO_FREE char *path = mb_xasprintf("%s/" SOCKET_NAME, d->dir);
	MB_AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(store_client_connect(d->dir, &c), -ECONNREFUSED);
	assert_int_equal(store_server_start(d->s, NULL, NULL, &v), 0);
	assert_int_equal(store_client_connect(d->dir, &c), 0);
	store_client_close(c);
	store_server_stop(v);
	assert_int_equal(store_client_connect(d->dir, &c), -ENOENT);
}

static void nonsense_is_answered_once(void **state)
{
	struct store_dir *d = *state;
	struct store_server *v = NULL;
	uint8_t huge[4], verb[5] = {1, 0, 0, 0, 200};
	char rest;

	put_le32(huge, FRAME_MAX + 1);
	assert_int_equal(store_server_start(d->s, NULL, NULL, &v), 0);
	MB_AUTO_CLOSE int a = connect_raw(d);
	assert_int_equal(send(a, huge, sizeof(huge), 0), sizeof(huge));
	assert_int_equal(answer_of(a), MB_E_PROTOCOL);
	assert_int_equal(recv(a, &rest, 1, 0), 0);
	MB_AUTO_CLOSE int b = connect_raw(d);
	assert_int_equal(send(b, verb, sizeof(verb), 0), sizeof(verb));
	assert_int_equal(answer_of(b), MB_E_PROTOCOL);
	store_server_stop(v);
}

/* More requests than answers are read: the server stops reading, forgets nothing, serves others. */
static void pipelined_requests_are_all_answered(void **state)
{
	struct store_dir *d = *state;
	struct store_server *v = NULL;
	struct store_client *other = NULL;
	uint8_t flush[5] = {1, 0, 0, 0, VERB_FLUSH};
	enum { N = 3000 };

	assert_int_equal(store_server_start(d->s, NULL, NULL, &v), 0);
	MB_AUTO_CLOSE int fd = connect_raw(d);
	for (int i = 0; i < N; i++)
		assert_int_equal(send(fd, flush, sizeof(flush), 0), sizeof(flush));
	assert_int_equal(store_client_connect(d->dir, &other), 0);
	assert_int_equal(store_client_flush(other), 0);
	for (int i = 0; i < N; i++)
		assert_int_equal(answer_of(fd), 0);
	store_client_close(other);
	store_server_stop(v);
}

static void a_request_may_come_byte_by_byte(void **state)
{
	struct store_dir *d = *state;
	struct store_server *v = NULL;
	uint8_t hello[9] = {5, 0, 0, 0, VERB_HELLO, SOCKET_VERSION, 0, 0, 0};

	assert_int_equal(store_server_start(d->s, NULL, NULL, &v), 0);
	MB_AUTO_CLOSE int fd = connect_raw(d);
	for (size_t i = 0; i < sizeof(hello); i++)
		assert_int_equal(send(fd, hello + i, 1, 0), 1);
	assert_int_equal(answer_of(fd), 0);
	store_server_stop(v);
}

static void *hammer(void *arg)
{
	struct store_dir *d = arg;
	struct store_client *c = NULL;
	struct scan_report r;
	intptr_t bad = store_client_connect(d->dir, &c);

	for (int i = 0; i < 50 && !bad; i++)
		bad = store_client_scan(c, false, &r) < 0 || store_client_flush(c) < 0;
	store_client_close(c);
	return (void *)bad;
}

static void several_at_once(void **state)
{
	struct store_dir *d = *state;
	struct store_server *v = NULL;
	pthread_t t[8];

	assert_int_equal(store_server_start(d->s, NULL, NULL, &v), 0);
	for (int i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&t[i], NULL, hammer, d), 0);
	for (int i = 0; i < 8; i++) {
		void *bad;

		pthread_join(t[i], &bad);
		assert_null(bad);
	}
	store_server_stop(v);
}

/* Of a process that has ended, when its last connection goes. */
static void plans_end_with_the_last_connection(void **state)
{
	struct store_dir *d = *state;
	struct store_client *a = NULL, *b = NULL;
	const struct origin who = {.pid = 4242};
	struct store_server *v = NULL;
	struct store_client *other = NULL;
	int err = -EBUSY;

	store_deliver(d, "", "1.x", "a");
	assert_int_equal(store_server_start(d->s, NULL, NULL, &v), 0);
	assert_int_equal(store_client_connect(d->dir, &a), 0);
	assert_int_equal(store_client_connect(d->dir, &b), 0);
	store_planner(d->s, who.pid, (uint32_t)getpid());
	store_client_close(a);
	/* one that is answered was accepted after the end of a was seen */
	assert_int_equal(store_client_connect(d->dir, &other), 0);
	assert_int_equal(store_unlink(d->s, "new/1.x", &who), -EBUSY);
	store_client_close(other);
	store_client_close(b);
	for (int i = 0; i < 2000 && err == -EBUSY; i++) {
		usleep(5000);
		err = store_unlink(d->s, "new/1.x", &who);
	}
	assert_int_equal(err, 0);
	store_server_stop(v);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		T(the_socket_is_private_and_goes_at_the_end),
		T(a_dead_ones_socket_is_replaced),
		T(nonsense_is_answered_once),
		T(pipelined_requests_are_all_answered),
		T(a_request_may_come_byte_by_byte),
		T(several_at_once),
		T(plans_end_with_the_last_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
