/*
 * server.c - the writer's socket: connections, frames, one thread.
 *
 * The thread polls the listening socket, every connection and an eventfd that ends it.  A connection
 * collects a frame, has it served (serve.c), and queues the answer; while more than OUT_MAX bytes of
 * answers wait to be read, nothing more is read from it.  Only processes of the same user, or root,
 * get a connection.  A connection that sends nonsense is answered once more and closed.
 *
 * The socket's path may be longer than sun_path: it is bound through /proc/self/fd.  Whoever is the
 * writer holds the store's lock, so a socket that is there already is a dead one's.
 */
#include "backends/store/server.h"
#include "backends/base/buf.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/serve.h"
#include "backends/store/socket-format.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { CONN_MAX = 64, OUT_MAX = 4 << 20, READ_SIZE = 64 * 1024 };

struct conn {
	int fd;
	uint32_t pid;
	struct buf in, out;
	bool ending; /* close when out is sent */
};

struct store_server {
	struct serve serve;
	char *mount;		 /* owned */
	int dir, listener, stop; /* owned: store directory, socket, eventfd */
	pthread_t thread;
	struct conn conns[CONN_MAX]; /* the thread's */
	size_t n_conns;
};

static void conn_release(struct conn *c)
{
	close(c->fd);
	buf_release(&c->in);
	buf_release(&c->out);
}

/* A process whose last connection this is has ended: its pid may soon be another's. */
static void conn_end(struct store_server *v, size_t i)
{
	uint32_t pid = v->conns[i].pid;
	bool last = true;

	conn_release(&v->conns[i]);
	v->conns[i] = v->conns[--v->n_conns];
	for (size_t k = 0; k < v->n_conns; k++)
		last &= v->conns[k].pid != pid;
	if (last)
		store_planners_end(v->serve.store, pid);
}

/* Forgets the first n bytes of b. */
static void buf_drop(struct buf *b, size_t n)
{
	if (n)
		memmove(b->data, b->data + n, b->len - n);
	b->len -= n;
}

static int queue_answer(struct conn *c, int result, const struct buf *payload)
{
	size_t len = result < 0 ? 0 : payload->len;

	buf_put_u32(&c->out, (uint32_t)(4 + len));
	buf_put_u32(&c->out, (uint32_t)result);
	buf_put(&c->out, payload->data, len);
	return result;
}

/* Serves the whole frames that have come in.  Returns how many. */
static size_t conn_serve(struct store_server *v, struct conn *c)
{
	size_t at = 0, n = 0;

	while (!c->ending && c->in.len - at >= 4 && c->out.len <= OUT_MAX) {
		BUF_AUTO struct buf payload = BUF_INIT;
		uint32_t len = get_le32(c->in.data + at);
		int ret = MB_E_PROTOCOL;

		if (len >= 1 && len <= FRAME_MAX) {
			if (c->in.len - at - 4 < len)
				break;
			ret = store_serve(&v->serve, c->pid, c->in.data + at + 4, len, &payload);
			at += 4 + len;
			n++;
		}
		if (queue_answer(c, ret, &payload) == MB_E_PROTOCOL)
			c->ending = true;
	}
	buf_drop(&c->in, at);
	return n;
}

/* false: the connection is at its end. */
static bool conn_read(struct conn *c)
{
	uint8_t data[READ_SIZE];
	ssize_t n = recv(c->fd, data, sizeof(data), 0);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	buf_put(&c->in, data, (size_t)n);
	return n > 0;
}

static bool conn_write(struct conn *c)
{
	size_t sent = 0;
	bool open = true;

	while (open && sent < c->out.len) {
		ssize_t n = send(c->fd, c->out.data + sent, c->out.len - sent, MSG_NOSIGNAL);

		if (n >= 0)
			sent += (size_t)n;
		else if (errno == EAGAIN)
			break;
		else
			open = errno == EINTR;
	}
	buf_drop(&c->out, sent);
	return open && !(c->ending && !c->out.len);
}

static bool conn_step(struct store_server *v, struct conn *c, short events)
{
	if ((events & POLLIN) && !conn_read(c))
		return false;
	if ((events & (POLLERR | POLLHUP | POLLNVAL)) && !(events & POLLIN))
		return false;
	for (;;) {
		size_t served = conn_serve(v, c);

		if (!conn_write(c))
			return false;
		/* More frames may wait that the limit on answers held back. */
		if (!served || c->out.len)
			return true;
	}
}

static bool same_user(int fd, uint32_t *ret_pid)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return false;
	*ret_pid = (uint32_t)cred.pid;
	return cred.uid == geteuid() || cred.uid == 0;
}

static void accept_conn(struct store_server *v)
{
	struct conn c = {0};

	c.fd = accept4(v->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (c.fd < 0)
		return;
	if (!same_user(c.fd, &c.pid)) {
		mb_msg(MB_WARNING, "socket: a process of another user was turned away");
		close(c.fd);
		return;
	}
	v->conns[v->n_conns++] = c;
}

/* What is waited for: slot 0 the end, slot 1 the listener, then the connections. */
static nfds_t fill_poll(const struct store_server *v, struct pollfd *p)
{
	p[0] = (struct pollfd){.fd = v->stop, .events = POLLIN};
	p[1] = (struct pollfd){.fd = v->n_conns < CONN_MAX ? v->listener : -1, .events = POLLIN};
	for (size_t i = 0; i < v->n_conns; i++) {
		const struct conn *c = &v->conns[i];
		size_t waiting = c->out.len;

		p[2 + i] = (struct pollfd){.fd = c->fd};
		if (waiting <= OUT_MAX && !c->ending)
			p[2 + i].events |= POLLIN;
		if (waiting)
			p[2 + i].events |= POLLOUT;
	}
	return (nfds_t)(2 + v->n_conns);
}

static void *server_main(void *arg)
{
	struct store_server *v = arg;
	struct pollfd p[2 + CONN_MAX];

	for (;;) {
		nfds_t n = fill_poll(v, p);

		if (poll(p, n, -1) < 0 && errno != EINTR)
			break;
		if (p[0].revents)
			break;
		for (size_t i = n - 2; i-- > 0;) {
			if (!p[2 + i].revents || conn_step(v, &v->conns[i], p[2 + i].revents))
				continue;
			conn_end(v, i);
		}
		if (p[1].revents & POLLIN)
			accept_conn(v);
	}
	return NULL;
}

static int bind_socket(struct store_server *v)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int err = io_unlinkat(v->dir, SOCKET_NAME, 0);

	if (err < 0 && err != -ENOENT)
		return err;
	v->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (v->listener < 0)
		return -errno;
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/" SOCKET_NAME, v->dir);
	/* The mode of the socket is the mode of what it is bound to. */
	if (fchmod(v->listener, 0600) < 0 ||
	    bind(v->listener, (const struct sockaddr *)&a, sizeof(a)) < 0 ||
	    fchmodat(v->dir, SOCKET_NAME, 0600, 0) < 0 || listen(v->listener, CONN_MAX) < 0)
		return -errno;
	return 0;
}

/* Signals are for the program's own threads. */
static int start_thread(struct store_server *v)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&v->thread, NULL, server_main, v);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -err;
}

static void server_free(struct store_server *v)
{
	for (size_t i = 0; i < v->n_conns; i++)
		conn_release(&v->conns[i]);
	if (v->listener >= 0) {
		close(v->listener);
		io_unlinkat(v->dir, SOCKET_NAME, 0);
	}
	if (v->stop >= 0)
		close(v->stop);
	if (v->dir >= 0)
		close(v->dir);
	free(v->mount);
	free(v);
}

int store_server_start(struct store *s, const char *mount, void (*counters)(struct buf *out),
		       struct store_server **ret)
{
	struct store_server *v = mb_xcalloc(1, sizeof(*v));
	int err = 0;

	v->listener = -1;
	v->mount = mb_xstrdup(mount ? mount : "");
	v->serve = (struct serve){.store = s, .mount = v->mount, .counters = counters};
	v->dir = open(store_dir(s), O_PATH | O_DIRECTORY | O_CLOEXEC);
	v->stop = eventfd(0, EFD_CLOEXEC);
	if (v->dir < 0 || v->stop < 0)
		err = -errno;
	if (!err)
		err = bind_socket(v);
	if (!err)
		err = start_thread(v);
	if (!err) {
		flusher_start(s); /* without it the log is flushed when somebody asks */
		later_start(s);
		store_lock(s);
		change_keep_room(s); /* or each change looks for it again */
		store_unlock(s);
	}
	if (err) {
		server_free(v);
		return err;
	}
	*ret = v;
	return 0;
}

void store_server_stop(struct store_server *v)
{
	if (!v)
		return;
	eventfd_write(v->stop, 1);
	pthread_join(v->thread, NULL);
	later_stop(v->serve.store);
	flusher_stop(v->serve.store);
	server_free(v);
}
