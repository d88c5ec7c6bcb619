/*
 * conflicts.c - see conflicts.h.
 *
 * Writers take flock() on the file that has the name; who finds after the wait that the name has gone to
 * another file begins again.  Readers take no lock.
 */
#include "sync/conflicts.h"

#include "backends/base/at.h"
#include "backends/base/buf.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "sync/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096u
#define CHUNK (64u << 10) /* at most so much is written at once, and looked at for repeats */
#define HEAD "{\"v\":1,\"when\":\""
#define HEAD_LEN (sizeof(HEAD) - 1)
#define TIME_LEN 24 /* 2026-11-22T12:00:00.000Z */
#define REST_AT (HEAD_LEN + TIME_LEN)

/* ---- kinds ----------------------------------------------------------------------------------- */

static const struct {
	const char *name, *remedy; /* no remedy: no conflict */
} kinds[] = {
	[NOTICE_EXPUNGE_BEAT_FLAGS] =
		{"expunge-beat-flags",
		 "for 30 days its body is under deleted/ in the store, in the directory of the "
		 "mailbox's GUID, under the message's GUID: copy it into new/ of a mailbox"},
	[NOTICE_MOVE_BEAT_EXPUNGE] = {"move-beat-expunge",
				      "it is in the mailbox told here: expunge it there"},
	[NOTICE_MOVED_TWICE] = {"moved-twice",
				"mailbraid log -a tells where each side had moved it: move it "
				"there"},
	[NOTICE_BOTH_EDITED] = {"both-edited",
				"both versions are in the mailbox: expunge the one that is not "
				"wanted"},
	[NOTICE_EDIT_BEAT_EXPUNGE] = {"edit-beat-expunge",
				      "the edited message is in the mailbox: expunge it there"},
	[NOTICE_MAILBOX_KEPT] = {"mailbox-kept",
				 "look at the mail that is in it, and delete the mailbox again"},
	[NOTICE_MAILBOX_RENAMED_TWICE] = {"mailbox-renamed-twice",
					  "rename the mailbox: mailbraid log -a tells the other "
					  "name"},
	[NOTICE_MAILBOX_SUFFIXED] = {"mailbox-suffixed",
				     "rename one of the two, or move the mail of one into the "
				     "other"},
	[NOTICE_MAILBOX_MERGED] = {"mailbox-merged", NULL},
	[NOTICE_CYCLE_BROKEN] = {"cycle-broken", "move the mailbox to where it should be"},
	[NOTICE_RENUMBERED] = {"renumbered", NULL},
	[NOTICE_PAIRED] = {"paired", NULL},
	[NOTICE_CLOCK] = {"clock", "set the clock of the host that is ahead"},
};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

bool notice_is_conflict(enum notice_kind kind)
{
	return (size_t)kind < N_KINDS && kinds[kind].remedy;
}

size_t notices_conflicts(const struct notice *list, size_t n)
{
	size_t found = 0;

	for (size_t i = 0; i < n; i++)
		found += notice_is_conflict(list[i].kind);
	return found;
}

const char *notice_kind_name(enum notice_kind kind)
{
	return (size_t)kind < N_KINDS ? kinds[kind].name : "";
}

const char *conflict_remedy(const char *kind)
{
	for (size_t i = 0; i < N_KINDS; i++) {
		if (kinds[i].remedy && strcmp(kinds[i].name, kind) == 0)
			return kinds[i].remedy;
	}
	return "";
}

/* ---- one line -------------------------------------------------------------------------------- */

static json_t *guid_json(const struct guid *g)
{
	char text[GUID_TEXT];

	return guid_is_zero(g) ? NULL : json_string(guid_text(g, text));
}

/* With its newline; owned. */
static char *line_of(const struct notice *n, const char *peer, const struct tree *names,
		     const char *when)
{
	char *own MB_AUTO_FREE = guid_is_zero(&n->mailbox) ? NULL : tree_name(names, &n->mailbox);
	bool fits = own && strlen(own) < LINE_MAX_BYTES / 8;
	json_t *peer_json = json_string(strlen(peer) < LINE_MAX_BYTES / 8 ? peer : "");
	json_t *o =
		json_pack("{s:i, s:s, s:o*, s:s, s:o*, s:o*, s:o*, s:s}", "v", 1, "when", when,
			  "peer", peer_json, "kind", notice_kind_name(n->kind), "mailbox",
			  fits ? json_string(own) : NULL, "mailbox_guid", guid_json(&n->mailbox),
			  "message", guid_json(&n->message), "decided", n->text ? n->text : "");
	char *text = json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_ENSURE_ASCII);
	char *line = text ? mb_xasprintf("%s\n", text) : NULL;

	json_decref(o);
	free(text);
	return line;
}

/* The same is in `tail`, told at `since` or later: times of one length, compared as text. */
static bool told_already(struct buf *tail, const char *line, const char *since)
{
	const char *rest = line + REST_AT, *at = buf_cstr(tail);
	size_t rest_len = strlen(rest);

	while (*at) {
		const char *end = strchr(at, '\n');
		size_t len = end ? (size_t)(end - at) + 1 : strlen(at);
		if (len == REST_AT + rest_len && memcmp(at, HEAD, HEAD_LEN) == 0 &&
		    memcmp(at + HEAD_LEN, since, TIME_LEN) >= 0 &&
		    memcmp(at + REST_AT, rest, rest_len) == 0)
			return true;
		at += len;
	}
	return false;
}

/* ---- the file -------------------------------------------------------------------------------- */

struct writing {
	int dir, fd;
	off_t size;
	bool torn; /* a crash left the last line without its end */
};

static int open_or_create(int dir)
{
	int fd = openat(dir, CONFLICTS_FILE,
			O_RDWR | O_APPEND | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0)
		return fd;
	if (errno != ENOENT)
		return -errno;
	fd = io_create_at(dir, CONFLICTS_FILE, O_RDWR | O_APPEND, 0600);
	if (fd < 0)
		return fd == -EEXIST ? -EAGAIN : fd;
	int err = io_fsync(dir);
	if (err >= 0)
		return fd;
	close(fd);
	return err;
}

/* The file that has the name, locked; -EAGAIN when it just lost it. */
static int try_open(struct writing *w)
{
	struct stat mine, named;
	char last = '\n';
	int fd MB_AUTO_CLOSE = open_or_create(w->dir);

	if (fd < 0)
		return fd;
	while (flock(fd, LOCK_EX) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	if (fstat(fd, &mine) < 0)
		return -errno;
	if (!S_ISREG(mine.st_mode))
		return -EINVAL;
	int err = at_stat(w->dir, CONFLICTS_FILE, &named);
	if (err == -ENOENT || (err >= 0 && named.st_ino != mine.st_ino))
		return -EAGAIN;
	if (err < 0)
		return err;
	if (mine.st_size && io_pread_full(fd, &last, 1, mine.st_size - 1) != 1)
		return -EIO;
	w->size = mine.st_size;
	w->torn = last != '\n';
	w->fd = MB_TAKE_FD(fd);
	return 0;
}

static int open_locked(struct writing *w)
{
	int err;

	do
		err = try_open(w);
	while (err == -EAGAIN);
	return err;
}

static int begin_new(struct writing *w)
{
	int err = io_renameat(w->dir, CONFLICTS_FILE, w->dir, CONFLICTS_OLD_FILE);

	if (err < 0)
		return err;
	close(w->fd);
	w->fd = -1;
	return open_locked(w); /* syncs the directory when it creates */
}

static int write_chunk(struct writing *w, struct buf *chunk)
{
	int err = 0;

	if (!chunk->len)
		return 0;
	if (w->size && (size_t)w->size + chunk->len > CONFLICTS_MAX)
		err = begin_new(w);
	if (err >= 0 && w->torn)
		err = io_write_all(w->fd, "\n", 1);
	if (err >= 0)
		err = io_write_all(w->fd, chunk->data, chunk->len);
	if (err >= 0)
		err = io_fdatasync(w->fd);
	if (err < 0)
		return err;
	w->torn = false;
	w->size += (off_t)chunk->len;
	buf_reset(chunk);
	return 0;
}

static int read_tail(const struct writing *w, struct buf *tail)
{
	size_t len = w->size < (off_t)CHUNK ? (size_t)w->size : CHUNK;
	char *text MB_AUTO_FREE = mb_xmalloc(len + 1);
	ssize_t n = io_pread_full(w->fd, text, len, w->size - (off_t)len);

	if (n < 0)
		return (int)n;
	if (!memchr(text, 0, (size_t)n))
		buf_put(tail, text, (size_t)n);
	return 0;
}

static int write_all(struct writing *w, const char *peer, const struct tree *names,
		     const struct notice *list, size_t n)
{
	struct buf chunk BUF_AUTO = BUF_INIT, tail BUF_AUTO = BUF_INIT;
	int64_t now = clock_wall_ns();
	char *when MB_AUTO_FREE = cli_time(now);
	char *since MB_AUTO_FREE = cli_time(now - CONFLICTS_AGAIN_NS);
	int err = read_tail(w, &tail);

	if (err < 0 || strlen(when) != TIME_LEN || strlen(since) != TIME_LEN)
		return err < 0 ? err : -EOVERFLOW;
	for (size_t i = 0; err >= 0 && i < n; i++) {
		if (!notice_is_conflict(list[i].kind))
			continue;
		char *line MB_AUTO_FREE = line_of(&list[i], peer, names, when);
		if (!line || told_already(&tail, line, since))
			continue;
		buf_put(&chunk, line, strlen(line));
		if (chunk.len > CHUNK - LINE_MAX_BYTES)
			err = write_chunk(w, &chunk);
	}
	return err < 0 ? err : write_chunk(w, &chunk);
}

static int open_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int conflicts_add(const char *dir, const char *peer, const struct tree *names,
		  const struct notice *list, size_t n)
{
	int fd MB_AUTO_CLOSE = open_dir(dir);
	struct writing w = {.dir = fd, .fd = -1};

	if (!notices_conflicts(list, n))
		return 0;
	if (fd < 0)
		return fd;
	int err = open_locked(&w);
	if (err >= 0)
		err = write_all(&w, peer, names, list, n);
	if (w.fd >= 0)
		close(w.fd);
	return err;
}

void conflicts_keep(const struct tree *names, const struct notice *list, size_t n, void *arg)
{
	const struct conflicts_keeper *k = arg;
	int err = conflicts_add(k->dir, k->peer, names, list, n);

	if (err < 0)
		mb_msg(MB_WARNING, "conflicts are told here, but cannot be kept in the store: %s",
		       mb_err_str(err));
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool is_string(const json_t *o, const char *key)
{
	return json_is_string(json_object_get(o, key));
}

static void take_lines(json_t *list, char *text)
{
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		json_t *o = json_loads(line, 0, NULL);
		bool good = json_integer_value(json_object_get(o, "v")) == 1 &&
			    is_string(o, "when") && is_string(o, "kind") && is_string(o, "decided");
		if (good)
			json_array_append(list, o);
		json_decref(o);
	}
}

static int read_file(int dir, const char *name, json_t *list)
{
	uint8_t *data MB_AUTO_FREE = NULL;
	size_t len;
	int err = io_read_file(dir, name, 4 * CONFLICTS_MAX, &data, &len);

	if (err < 0)
		return err == -ENOENT ? 0 : err;
	for (size_t i = 0; i < len; i++) { /* blocks that the power took are zeros */
		if (!data[i])
			data[i] = '\n';
	}
	take_lines(list, (char *)data);
	return 0;
}

static int read_both(int dir, json_t **ret)
{
	json_t *list = json_array();
	int err = read_file(dir, CONFLICTS_OLD_FILE, list);

	if (err >= 0)
		err = read_file(dir, CONFLICTS_FILE, list);
	if (err < 0)
		json_decref(list);
	else
		*ret = list;
	return err;
}

int conflicts_read(const char *dir, json_t **ret)
{
	int fd MB_AUTO_CLOSE = open_dir(dir);

	return fd < 0 ? fd : read_both(fd, ret);
}

static int unlink_name(int dir, const char *name)
{
	int err = io_unlinkat(dir, name, 0);

	return err == -ENOENT ? 0 : err;
}

int conflicts_clear(const char *dir)
{
	int fd MB_AUTO_CLOSE = open_dir(dir);
	struct writing w = {.dir = fd, .fd = -1};
	json_t *list = NULL;

	if (fd < 0)
		return fd;
	if (faccessat(fd, CONFLICTS_FILE, F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
	    faccessat(fd, CONFLICTS_OLD_FILE, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	int err = open_locked(&w); /* nobody adds meanwhile */
	if (err >= 0)
		err = read_both(fd, &list);
	int n = list ? (int)json_array_size(list) : 0;
	json_decref(list);
	if (err >= 0)
		err = unlink_name(fd, CONFLICTS_OLD_FILE);
	if (err >= 0)
		err = unlink_name(fd, CONFLICTS_FILE);
	if (err >= 0)
		err = io_fsync(fd);
	if (w.fd >= 0)
		close(w.fd);
	return err < 0 ? err : n;
}
