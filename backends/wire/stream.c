/*
 * stream.c - see stream.h.
 */
#include "backends/wire/stream.h"

#include "backends/base/err.h"
#include "backends/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MUCH (256u << 10) /* waits in outbox at most before it is written */
#define READ_AT_ONCE (64u << 10)
#define INBOX_MAX (64u << 20) /* read ahead of who uses it */

void stream_open(struct stream *s, int in, int out, unsigned patience_s)
{
	*s = (struct stream){.in = in, .out = out, .patience_s = patience_s};
	fcntl(in, F_SETFL, fcntl(in, F_GETFL) | O_NONBLOCK);
	fcntl(out, F_SETFL, fcntl(out, F_GETFL) | O_NONBLOCK);
}

void stream_close(struct stream *s)
{
	if (s->in >= 0)
		close(s->in);
	if (s->out >= 0 && s->out != s->in)
		close(s->out);
	s->in = s->out = -1;
	buf_release(&s->inbox);
	buf_release(&s->outbox);
	buf_release(&s->current);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static void make_room(struct stream *s)
{
	if (s->at) {
		s->inbox.len -= s->at;
		memmove(s->inbox.data, s->inbox.data + s->at, s->inbox.len);
		s->at = 0;
	}
	MB_GROW(s->inbox.data, s->inbox.cap, s->inbox.len + READ_AT_ONCE);
}

static int read_some(struct stream *s)
{
	make_room(s);
	ssize_t n = read(s->in, s->inbox.data + s->inbox.len, READ_AT_ONCE);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	s->ended = n == 0;
	s->inbox.len += (size_t)n;
	s->n_received += (uint64_t)n;
	return 0;
}

/* A socket whose other end is gone gives no signal; of a pipe the caller ignores SIGPIPE. */
static ssize_t send_or_write(int fd, const void *data, size_t len)
{
	ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

	return n < 0 && errno == ENOTSOCK ? write(fd, data, len) : n;
}

static int write_some(struct stream *s)
{
	ssize_t n = send_or_write(s->out, s->outbox.data, s->outbox.len);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	s->outbox.len -= (size_t)n;
	memmove(s->outbox.data, s->outbox.data + n, s->outbox.len);
	s->n_sent += (uint64_t)n;
	return 0;
}

/* Waits until something can be read, or written when there is something to write, and does it. */
static int move_bytes(struct stream *s)
{
	bool reads = !s->ended && s->inbox.len - s->at < INBOX_MAX;
	struct pollfd p[2] = {{.fd = reads ? s->in : -1, .events = POLLIN},
			      {.fd = s->outbox.len ? s->out : -1, .events = POLLOUT}};
	int n = poll(p, 2, (int)(s->patience_s < 100000 ? s->patience_s : 100000) * 1000);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -ETIMEDOUT;
	int err = p[1].revents ? write_some(s) : 0;
	if (err == -EPIPE && !s->ended) {
		s->deaf = true;
		s->outbox.len = 0;
		return 0;
	}
	if (err >= 0 && p[0].revents)
		err = read_some(s);
	return err;
}

/* ---- frames ---------------------------------------------------------------------------------- */

int stream_flush(struct stream *s)
{
	int err = 0;

	while (err >= 0 && s->outbox.len)
		err = move_bytes(s);
	return err >= 0 && s->deaf ? -EPIPE : err;
}

int stream_wrote(struct stream *s)
{
	return s->outbox.len > MUCH ? stream_flush(s) : 0;
}

static int take_frame(struct stream *s, size_t max, struct frame *ret)
{
	struct frame f;
	int n = frame_parse(s->inbox.data + s->at, s->inbox.len - s->at, max, &f);

	if (n <= 0)
		return n;
	buf_reset(&s->current);
	buf_put(&s->current, s->inbox.data + s->at, (size_t)n);
	s->at += (size_t)n;
	if (s->at == s->inbox.len)
		s->at = s->inbox.len = 0;
	*ret = f;
	ret->payload = reader_of(s->current.data + WIRE_HEAD, (size_t)n - WIRE_HEAD);
	return 1;
}

int stream_next(struct stream *s, size_t max, struct frame *ret)
{
	for (;;) {
		int got = s->inbox.len ? take_frame(s, max, ret) : 0;
		if (got)
			return got;
		if (s->ended)
			return s->inbox.len > s->at || s->deaf ? -ECONNRESET : 0;
		int err = move_bytes(s);
		if (err < 0)
			return err;
	}
}
