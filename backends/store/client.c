/*
 * client.c - changes submitted to the process that is the writer.
 *
 * With a mount, a change is made through the mount: the writer plans it (store_plan) and tells the
 * system call that carries it, and that call is made here, so that every watcher on the mount sees a
 * real rename, link or unlink.  A call that lost a race (-EBUSY: the kernel makes a call that gives
 * -ESTALE once more by itself) is planned again; one that cannot be made is submitted as a plain put,
 * which always tells the truth.
 *
 * One thread uses a client.  A dead writer shows as -EPIPE or -ECONNRESET; the caller looks for the
 * next writer then.
 */
#include "backends/store/client.h"
#include "backends/base/at.h"
#include "backends/base/buf.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/store/server.h"
#include "backends/store/socket-format.h"
#include "backends/store/touched.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <time.h>

enum {
	PLAN_TRIES = 8,
	STEPS_MAX = 100000 /* directories that one mailbox change may move */
};

static unsigned patience_s = 120; /* for an answer */

void store_client_patience(unsigned seconds)
{
	patience_s = seconds;
}

struct store_client {
	int fd;
	char *mount;	  /* owned; "" = none */
	uint64_t replica; /* of the store */
	struct touched touched;
	struct buf out, in; /* kept for their memory; `in` is the last answer without its length */
};

/* No answer in time: what comes later would be taken for the answer to something else. */
static int give_up(int fd, int err)
{
	if (err != EAGAIN && err != EWOULDBLOCK)
		return -err;
	shutdown(fd, SHUT_RDWR);
	return -ETIMEDOUT;
}

static int send_all(int fd, const uint8_t *p, size_t len)
{
	while (len) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return give_up(fd, errno);
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int recv_all(int fd, uint8_t *p, size_t len)
{
	while (len) {
		ssize_t n = recv(fd, p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? give_up(fd, errno) : -ECONNRESET;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Starts a request in c->out. */
static struct buf *request(struct store_client *c, enum socket_verb verb)
{
	buf_reset(&c->out);
	buf_put_u32(&c->out, 0);
	buf_put_u8(&c->out, (uint8_t)verb);
	return &c->out;
}

/* Reads one answer into c->in; gives its result and a reader of its payload. */
static int receive(struct store_client *c, struct reader *ret)
{
	uint8_t head[4];
	uint32_t len;
	int err = recv_all(c->fd, head, sizeof(head));

	if (err)
		return err;
	len = get_le32(head);
	if (len < 4 || len > FRAME_MAX)
		return MB_E_PROTOCOL;
	buf_reset(&c->in);
	if (c->in.cap < len) {
		c->in.data = mb_xrealloc(c->in.data, len);
		c->in.cap = len;
	}
	c->in.len = len;
	err = recv_all(c->fd, c->in.data, len);
	if (err)
		return err;
	*ret = reader_of(c->in.data, len);
	return (int32_t)reader_get_u32(ret);
}

/* Sends c->out. */
static int tell(struct store_client *c)
{
	if (c->out.len - 4 > FRAME_MAX)
		return MB_E_LIMIT;
	put_le32(c->out.data, (uint32_t)(c->out.len - 4));
	return send_all(c->fd, c->out.data, c->out.len);
}

/* Sends c->out, waits for the answer. */
static int ask(struct store_client *c, struct reader *ret)
{
	int err = tell(c);

	return err ? err : receive(c, ret);
}

static int ask_plain(struct store_client *c)
{
	struct reader r;

	return ask(c, &r);
}

/* Who is at the other end. */
static int peer_of(int fd, struct ucred *ret)
{
	socklen_t len = sizeof(*ret);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret, &len) < 0 ? -errno : 0;
}

/* State of the process: the letter behind the name in parentheses, proc(5). */
static bool is_stopped(pid_t pid)
{
	char name[40], text[512], *end;
	size_t len;
	FILE *f;

	snprintf(name, sizeof(name), "/proc/%d/stat", (int)pid);
	f = pid > 0 ? fopen(name, "re") : NULL;
	if (!f)
		return false;
	len = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[len] = 0;
	end = strrchr(text, ')');
	return end && end[1] == ' ' && (end[2] == 'T' || end[2] == 't');
}

/* A writer that is busy answers when it is done; one that was stopped may never do so. */
static int await_answer(const struct store_client *c)
{
	struct ucred cred;
	int err = peer_of(c->fd, &cred);

	if (err < 0)
		return err;
	for (unsigned s = 0; s < patience_s; s++) {
		struct pollfd p = {.fd = c->fd, .events = POLLIN};

		if (poll(&p, 1, 1000) != 0)
			return 0; /* recv() tells */
		if (s > 0 && is_stopped(cred.pid))
			return MB_E_STOPPED;
	}
	return 0;
}

static int hello(struct store_client *c)
{
	struct reader r;
	int ret;

	buf_put_u32(request(c, VERB_HELLO), SOCKET_VERSION);
	ret = tell(c);
	if (!ret)
		ret = await_answer(c);
	if (!ret)
		ret = receive(c, &r);
	if (ret < 0)
		return ret;
	c->replica = reader_get_u64(&r);
	c->mount = reader_get_str(&r, PATH_MAX);
	return r.failed ? MB_E_PROTOCOL : 0;
}

/* A writer of another user could answer anything. */
static int check_user(int fd)
{
	struct ucred cred;
	int err = peer_of(fd, &cred);

	if (err < 0)
		return err;
	return cred.uid == geteuid() || cred.uid == 0 || geteuid() == 0 ? 0 : -EACCES;
}

static int connect_socket(struct store_client *c, const char *store_dir)
{
	const struct timeval patience = {.tv_sec = patience_s};
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	MB_AUTO_CLOSE int dir = open(store_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return -errno;
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return -errno;
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/" SOCKET_NAME, dir);
	/* a writer that is stopped must not hang who waits for it */
	if (setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
	    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0)
		return -errno;
	if (connect(c->fd, (const struct sockaddr *)&a, sizeof(a)) < 0)
		return -errno;
	return check_user(c->fd);
}

pid_t store_writer_stopped(const char *store_dir)
{
	struct store_client c = {.fd = -1};
	struct ucred cred = {0};
	bool stopped =
		!connect_socket(&c, store_dir) && !peer_of(c.fd, &cred) && is_stopped(cred.pid);

	if (c.fd >= 0)
		close(c.fd);
	return stopped ? cred.pid : 0;
}

int store_client_connect(const char *store_dir, struct store_client **ret)
{
	struct store_client *c = mb_xcalloc(1, sizeof(*c));
	int err;

	c->fd = -1;
	err = connect_socket(c, store_dir);
	if (!err)
		err = hello(c);
	/* It went away between connect and hello: as if it had not been there. */
	if (err == -ECONNRESET || err == -EPIPE)
		err = -ECONNREFUSED;
	if (err) {
		store_client_close(c);
		return err;
	}
	*ret = c;
	return 0;
}

void store_client_close(struct store_client *c)
{
	if (!c)
		return;
	if (c->fd >= 0)
		close(c->fd);
	touched_release(&c->touched);
	buf_release(&c->in);
	buf_release(&c->out);
	free(c->mount);
	free(c);
}

const char *store_client_mount(const struct store_client *c)
{
	return c->mount;
}

/* ---- Changes ---------------------------------------------------------------------------------- */

static int put_plain(struct store_client *c, const struct record *want, const char *staged)
{
	struct buf *b = request(c, VERB_PUT);

	buf_put_str(b, staged);
	record_encode(want, b);
	return ask_plain(c);
}

static char *get_path(struct reader *r, int *err)
{
	char *path = reader_get_str(r, PATH_MAX);

	if (path && *path)
		*err = at_path_ok(path) ? *err : MB_E_PROTOCOL;
	else {
		free(path);
		path = NULL;
	}
	return path;
}

static int plan(struct store_client *c, const struct record *want, const char *staged,
		struct store_step *ret)
{
	struct buf *b = request(c, VERB_PLAN);
	struct reader r;
	int result, err = 0;

	/* FUSE shows the thread that makes a call, the socket the process. */
	buf_put_u32(b, gettid() == getpid() ? 0 : (uint32_t)gettid());
	buf_put_str(b, staged);
	record_encode(want, b);
	result = ask(c, &r);
	if (result < 0)
		return result;
	ret->op = reader_get_u8(&r);
	ret->from = get_path(&r, &err);
	ret->to = get_path(&r, &err);
	if (!err && (r.failed || ret->op > STEP_RMDIR))
		err = MB_E_PROTOCOL;
	return err ? err : result;
}

static int step_rename(int root, const struct store_step *s)
{
	const char *from, *to;
	MB_AUTO_CLOSE int from_dir = at_open_parent(root, s->from, &from);
	MB_AUTO_CLOSE int to_dir = at_open_parent(root, s->to, &to);

	if (from_dir < 0 || to_dir < 0)
		return from_dir < 0 ? from_dir : to_dir;
	return io_renameat2(from_dir, from, to_dir, to, 0);
}

int store_step_do(int root, const struct store_step *s)
{
	const char *path = s->to ? s->to : s->from, *name;
	MB_AUTO_CLOSE int dir = -1;

	if (s->op == STEP_NONE)
		return 0;
	if (!path || (s->op == STEP_RENAME && (!s->from || !s->to)))
		return MB_E_PROTOCOL;
	if (s->op == STEP_RENAME)
		return step_rename(root, s);
	dir = at_open_parent(root, path, &name);
	if (dir < 0)
		return dir;
	if (s->op == STEP_MKDIR)
		return io_mkdirat(dir, name, 0700);
	return io_unlinkat(dir, name, s->op == STEP_RMDIR ? AT_REMOVEDIR : 0);
}

/* The root of the mount, or -1 when nothing is mounted there (yet, any more): a step made on what
 * lies beneath would be a strange change.  For one put only: a descriptor that is kept holds a mount
 * that was taken away lazily, and its daemon, for ever. */
static int mount_root(const struct store_client *c)
{
	MB_AUTO_CLOSE int root = open(c->mount, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;

	if (root < 0 || fstatfs(root, &fs) < 0 || fs.f_type != FUSE_SUPER_MAGIC)
		return -1;
	return MB_TAKE_FD(root);
}

static int64_t now_s(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec;
}

static void note_step(struct store_client *c, const struct store_step *s)
{
	const char *names[] = {s->from, s->to};

	for (size_t i = 0; i < 2 && (s->op == STEP_RENAME || s->op == STEP_UNLINK); i++)
		if (names[i])
			touched_add(&c->touched, names[i], now_s(CLOCK_REALTIME));
}

int store_client_turn(struct store_client *c)
{
	/* as coarse as the times of files are */
	int64_t now = now_s(CLOCK_REALTIME_COARSE);
	struct timespec t;

	if (c->touched.n) {
		MB_AUTO_CLOSE int root = mount_root(c);

		if (root < 0)
			touched_release(&c->touched);
		else
			touched_turn(&c->touched, root, now);
	}
	if (!c->touched.n)
		return 0;
	clock_gettime(CLOCK_REALTIME, &t);
	return 1010 - (int)(t.tv_nsec / 1000000);
}

/*
 * The change as system calls in the mount: one for a message; a mailbox may take several (a swap, its
 * children in maildir++), so it is planned anew until nothing is left.  -ESTALE: it could not be made
 * this way.
 */
static int put_in_mount(struct store_client *c, int root, const struct record *want,
			const char *staged)
{
	bool mailbox = want->type >= REC_MAILBOX_CREATE && want->type <= REC_MAILBOX_STATE;
	int lost = 0;

	for (int done = 0; lost < PLAN_TRIES;) {
		struct store_step step = {0};
		int planned = plan(c, want, staged, &step);
		int err = planned < 0 ? 0 : store_step_do(root, &step);
		bool nothing = step.op == STEP_NONE;

		if (planned >= 0 && !err)
			note_step(c, &step);
		free(step.from);
		free(step.to);
		if (planned < 0 || nothing)
			return planned < 0 ? planned : planned || done;
		if (!err && (!mailbox || ++done > STEPS_MAX))
			return 1;
		if (!err)
			continue;
		lost++;
		if (err != -EBUSY && err != -ESTALE && err != -EAGAIN && err != -ENOENT)
			break;
	}
	return -ESTALE;
}

int store_client_put(struct store_client *c, const struct record *want, const char *staged,
		     bool bulk)
{
	MB_AUTO_CLOSE int root = bulk || !*c->mount ? -1 : mount_root(c);
	int ret = root < 0 ? -ESTALE : put_in_mount(c, root, want, staged);

	return ret == -ESTALE ? put_plain(c, want, staged) : ret;
}

int store_client_flush(struct store_client *c)
{
	request(c, VERB_FLUSH);
	return ask_plain(c);
}

int store_client_scan(struct store_client *c, bool full, struct scan_report *ret)
{
	struct scan_report s = {0};
	uint64_t *const fields[] = {&s.dirs_read, &s.files_seen, &s.records,  &s.arrived,
				    &s.flagged,	  &s.moved,	 &s.expunged, &s.lost,
				    &s.damaged,	  &s.edited,	 &s.held,     &s.errors};
	struct reader r;
	int result;

	buf_put_u8(request(c, VERB_SCAN), full);
	result = ask(c, &r);
	if (result < 0)
		return result;
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		*fields[i] = reader_get_u64(&r);
	uint64_t unread = reader_left(&r) ? reader_get_u64(&r) : 0; /* an older writer tells none */
	if (r.failed || unread > INT_MAX)
		return MB_E_PROTOCOL;
	s.unread = -(int)unread;
	*ret = s;
	return result;
}

int store_client_checkpoint(struct store_client *c, int64_t keep_ns)
{
	buf_put_u64(request(c, VERB_CHECKPOINT), (uint64_t)keep_ns);
	return ask_plain(c);
}

int store_client_expunge_lost(struct store_client *c, const struct guid *guid, uint64_t id,
			      uint64_t modseq)
{
	struct buf *b = request(c, VERB_EXPUNGE_LOST);

	buf_put(b, guid->b, sizeof(guid->b));
	buf_put_u64(b, id);
	buf_put_u64(b, modseq);
	return ask_plain(c);
}

int store_client_recheck(struct store_client *c, const struct guid *guid, uint64_t id)
{
	struct buf *b = request(c, VERB_RECHECK);

	buf_put(b, guid->b, sizeof(guid->b));
	buf_put_u64(b, id);
	return ask_plain(c);
}

int store_client_digest(struct store_client *c, const struct guid *guid, uint64_t id,
			struct digest *ret)
{
	struct buf *b = request(c, VERB_DIGEST);
	struct digest d;
	struct reader r;
	int result;

	buf_put(b, guid->b, sizeof(guid->b));
	buf_put_u64(b, id);
	result = ask(c, &r);
	if (result < 0)
		return result;
	if (!reader_get(&r, d.b, sizeof(d.b)))
		return MB_E_PROTOCOL;
	*ret = d;
	return result;
}

int store_client_learn(struct store_client *c, const struct sent_digest *list, size_t n)
{
	struct buf *b = request(c, VERB_LEARN);

	for (size_t i = 0; i < n; i++) {
		buf_put(b, list[i].guid.b, sizeof(list[i].guid.b));
		buf_put_u64(b, list[i].id);
		buf_put(b, list[i].digest.b, sizeof(list[i].digest.b));
	}
	return ask_plain(c);
}

int store_client_now(struct store_client *c, const struct stamp *seen, struct stamp *ret)
{
	struct buf *b = request(c, VERB_NOW);
	struct stamp now;
	struct reader r;
	int result;

	buf_put_u64(b, seen ? seen->time : 0);
	buf_put_u64(b, seen ? seen->replica : 0);
	result = ask(c, &r);
	if (result < 0)
		return result;
	now.time = reader_get_u64(&r);
	now.replica = reader_get_u64(&r);
	if (r.failed)
		return MB_E_PROTOCOL;
	*ret = now;
	return result;
}

int store_client_allow_mass_expunge(struct store_client *c, bool allow)
{
	buf_put_u8(request(c, VERB_ALLOW), allow);
	return ask_plain(c);
}

int store_client_counters(struct store_client *c,
			  void (*fn)(const char *name, uint64_t n, void *arg), void *arg)
{
	struct reader r;
	int result;

	request(c, VERB_COUNTERS);
	result = ask(c, &r);
	if (result < 0)
		return result;
	while (reader_left(&r)) {
		MB_AUTO_FREE char *name = reader_get_str(&r, COUNTER_NAME_MAX);
		uint64_t n = reader_get_u64(&r);

		if (r.failed || !name)
			return MB_E_PROTOCOL;
		fn(name, n, arg);
	}
	return 0;
}
