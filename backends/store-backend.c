/*
 * store-backend.c - the local store wearing the seam: roles and changes.
 *
 * A backend is a reader until it needs more.  refresh() and begin() look for the writer: when
 * another process is it and listens at the store's socket, changes are submitted there; when nobody
 * is, this process becomes the writer.  It gives the role up again after a refresh() that found
 * nothing, and after the commit() that ends a sync (it put a sync state, or the backend is one that
 * waits for news), so that a reconciler that waits never keeps anybody out.
 *
 * Of a process that writes nothing (io_set_read_only()) it never is one: refresh() then opens the store
 * as STORE_TRIAL and keeps what it finds to itself, until it is closed.  While another process is the
 * writer, a mount, what that has noticed is what there is: it watches its tree.
 *
 * A new body is copied to the store's staging/ and checked there against size and digest before the
 * store hears of it.  Its bytes are durable before its record: flushed one by one, or, of many, by
 * one syncfs in commit(), before the log is flushed.
 */
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store-backend.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOCK_POLL_NS 20000000l

/* ---- Roles ------------------------------------------------------------------------------------ */

static void drop_client(struct store_backend *b)
{
	store_client_close(b->client);
	b->client = NULL;
}

/* The one that was closed was not whole and is set aside: a writer makes it anew. */
static bool index_went(struct store_backend *b)
{
	struct store *writer;

	if (store_open(b->dir, STORE_WRITE, &writer) < 0)
		return false;
	store_close(writer);
	b->rebuilt = true;
	return true;
}

/* An index can be open only once in a process: the old one goes first. */
static int reopen(struct store_backend *b, enum store_mode mode)
{
	int err;

	store_close(MB_TAKE(b->store));
	b->writer = b->is_trial = false;
	err = store_open(b->dir, mode, &b->store);
	if (err && mode == STORE_READ && !b->dry && index_went(b))
		err = store_open(b->dir, STORE_READ, &b->store);
	b->is_trial = !err && mode == STORE_TRIAL;
	b->writer = !err && mode == STORE_WRITE;
	return err;
}

/* Tries to be the writer; whatever comes of it, the store is open afterwards or an error given. */
static int try_writer(struct store_backend *b)
{
	int err = reopen(b, STORE_WRITE);
	int err2;

	if (!err) {
		store_allow_mass_expunge(b->store, b->allow_mass_expunge);
		return 0;
	}
	err2 = reopen(b, STORE_READ);
	return err2 ? err2 : err;
}

static int try_client(struct store_backend *b)
{
	int err = store_client_connect(b->dir, &b->client);

	return err ? err : store_client_allow_mass_expunge(b->client, b->allow_mass_expunge);
}

/* A client whose writer has gone without a word is let go. */
static void check_client(struct store_backend *b)
{
	if (b->client && store_client_flush(b->client) < 0)
		drop_client(b);
}

/* Finds the writer, or becomes it. */
static int take_role(struct store_backend *b)
{
	const struct timespec pause = {.tv_nsec = LOCK_POLL_NS};
	int64_t until = clock_mono_ns() + backend_lock_wait_ns();
	int err;

	check_client(b);
	if (b->writer || b->client)
		return 0;
	for (;;) {
		err = try_client(b);
		if (!err)
			return 0;
		drop_client(b);
		if (err == MB_E_STOPPED)
			return err;
		err = try_writer(b);
		if (err != MB_E_LOCKED || clock_mono_ns() >= until)
			return err;
		nanosleep(&pause, NULL);
	}
}

/* What cannot be kept is no reason to end a sync. */
void store_backend_tell_sent(struct store_backend *b)
{
	if (b->n_sent && b->writer)
		store_learn(b->store, b->sent, b->n_sent);
	else if (b->n_sent && b->client)
		store_client_learn(b->client, b->sent, b->n_sent);
	b->n_sent = 0;
}

static int give_up_role(struct store_backend *b)
{
	if (!b->writer)
		return 0;
	store_backend_tell_sent(b); /* a sync that failed: what it sent is there all the same */
	return reopen(b, STORE_READ);
}

int store_backend_flush(struct store_backend *b)
{
	int err = b->writer ? store_settle_uids(b->store) : 0;

	if (err < 0)
		return err;
	if (b->writer)
		return store_flush(b->store);
	return b->client ? store_client_flush(b->client) : 0;
}

/* ---- Verbs ------------------------------------------------------------------------------------ */

static void sb_close(struct backend *backend)
{
	struct store_backend *b = store_backend_of(backend);

	store_backend_watch_release(b);
	store_backend_tell_sent(b);
	drop_client(b);
	store_close(b->store);
	free(b->dir);
	free(b->destination);
	free(b->sent);
	free(b);
}

/* 0 also when nobody has counted yet. */
static uint64_t count_missing(struct store_backend *b)
{
	struct index_txn *tx;
	uint64_t n = 0;

	if (index_begin(store_index(b->store), false, &tx) < 0)
		return 0;
	index_missing(tx, &n);
	index_abort(tx);
	return n;
}

static int sb_info(struct backend *backend, struct backend_info *ret)
{
	struct store_backend *b = store_backend_of(backend);

	if (!b->store)
		return MB_E_CHECKSUM; /* see reopen() */
	*ret = (struct backend_info){
		.replica = store_replica_now(b->store),
		.store = store_id(b->store),
		.caps = CAP_LOG | CAP_STAMPS | CAP_UIDS | CAP_KEYWORDS | CAP_GUIDS | CAP_SUBSCRIBE |
			(at_folds_case(store_mail_fd(b->store), "cur") ? CAP_FOLDS : 0),
		.missing = count_missing(b),
		.misplaced = store_misplaced(b->store),
		.unread = b->unread,
		.forgotten = store_forgotten(b->store),
		.destination = b->destination,
	};
	return 0;
}

/* The writer that listens has noticed what there is. */
static bool has_watchful_writer(struct store_backend *b)
{
	bool listens = store_client_connect(b->dir, &b->client) == 0;

	drop_client(b);
	return listens;
}

static int open_trial(struct store_backend *b)
{
	const struct timespec pause = {.tv_nsec = LOCK_POLL_NS};
	int64_t until = clock_mono_ns() + backend_lock_wait_ns();
	int err, err2;

	for (;;) {
		if (has_watchful_writer(b))
			return 0;
		err = reopen(b, STORE_TRIAL);
		if (!err)
			return 0;
		err2 = reopen(b, STORE_READ);
		if (err2 || err != MB_E_LOCKED || clock_mono_ns() >= until)
			return err2 ? err2 : err;
		nanosleep(&pause, NULL);
	}
}

/* What the scan at opening found, or a new one, which is due, or may let go what that one held. */
static int take_opening_scan(struct store_backend *b, bool due, bool full, struct scan_report *ret)
{
	*ret = *store_opening_scan(b->store);
	if (due || (ret->held && b->allow_mass_expunge))
		return store_scan(b->store, full, ret);
	store_tell_held(b->store, ret);
	return 0;
}

/* What a scan finds is known to this process alone. */
static int look_dry(struct store_backend *b, bool full, struct scan_report *ret)
{
	bool was_trial = b->is_trial;
	int err = was_trial ? 0 : open_trial(b);

	if (err < 0 || !b->is_trial)
		return err;
	store_allow_mass_expunge(b->store, b->allow_mass_expunge);
	return take_opening_scan(b, was_trial || full, full, ret);
}

/* Becoming the writer looks at the files already: a second look would only cost stats. */
static int look(struct store_backend *b, bool full, struct scan_report *ret)
{
	bool was_writer = b->writer;
	int err;

	if (b->dry)
		return look_dry(b, full, ret);
	err = take_role(b);
	if (err)
		return err;
	if (b->client)
		return store_client_scan(b->client, full, ret);
	err = take_opening_scan(b, was_writer || full, full, ret);
	return err < 0 ? err : store_settle_uids(b->store);
}

static int sb_refresh(struct backend *backend, bool full)
{
	struct store_backend *b = store_backend_of(backend);
	struct scan_report report = {0};
	int err = look(b, full, &report);

	if (err < 0)
		return err;
	b->unread = report.unread;
	if (!report.records && !b->dry)
		err = give_up_role(b);
	store_backend_watch_update(b);
	return err < 0 ? err : (int)(report.held > INT_MAX ? INT_MAX : report.held);
}

static int sb_hold(struct backend *backend, bool on)
{
	return on ? 0 : give_up_role(store_backend_of(backend));
}

/* Of one whose writer is another process the index is that one's. */
static int sb_doubt(struct backend *backend)
{
	struct store_backend *b = store_backend_of(backend);

	if (!b->store || b->rebuilt)
		return 1;
	return !b->client && store_doubt_index(b->store);
}

static int sb_digest(struct backend *backend, const struct guid *guid, uint64_t id,
		     struct digest *ret)
{
	struct store_backend *b = store_backend_of(backend);
	int fd, err;

	if (b->writer)
		return store_digest(b->store, guid, id, ret);
	if (b->client) {
		err = store_known_digest(b->store, guid, id, ret);
		return err ? (err < 0 ? err : 0) : store_client_digest(b->client, guid, id, ret);
	}
	fd = store_open_body(b->store, guid, id);
	if (fd < 0)
		return fd;
	err = digest_fd(fd, ret, NULL);
	close(fd);
	return err;
}

static int sb_learn(struct backend *backend, const struct guid *guid, uint64_t id,
		    const struct digest *d)
{
	struct store_backend *b = store_backend_of(backend);

	if (!b->sent)
		b->sent = mb_xcalloc(STORE_LEARN_MAX, sizeof(*b->sent));
	b->sent[b->n_sent++] = (struct sent_digest){*guid, id, *d};
	if (b->n_sent == STORE_LEARN_MAX)
		store_backend_tell_sent(b);
	return 0;
}

/* The file is not what was noted: has a program written to it since? */
static int recheck(struct store_backend *b, const struct guid *guid, uint64_t id)
{
	bool was_writer = b->writer;
	int err = b->dry ? -EROFS : take_role(b);

	if (err < 0)
		return err;
	err = b->client ? store_client_recheck(b->client, guid, id)
			: store_recheck(b->store, guid, id);
	if (!was_writer)
		give_up_role(b);
	return err;
}

#define LOOK_NS INT64_C(1000000000)

/* Not lost, but expunged or edited since the caller saw it. */
static bool is_dead(struct store_backend *b, const struct guid *guid, uint64_t id)
{
	struct index_txn *tx;
	struct entry e = {0};
	bool dead;

	if (index_begin(store_index(b->store), false, &tx) < 0)
		return false;
	dead = index_get_entry(tx, guid, id, &e) == 0 && !copy_alive(&e.copy);
	entry_release(&e);
	index_abort(tx);
	return dead;
}

/* Who is not the writer, and has none to ask, opens and scans the store for it: now and then, not for each. */
static bool may_look(struct store_backend *b)
{
	int64_t now = clock_mono_ns();

	if (b->writer || b->client)
		return true;
	if (b->looked_ns && now - b->looked_ns < LOOK_NS)
		return false;
	b->looked_ns = now;
	return true;
}

static int sb_body(struct backend *backend, const struct guid *guid, uint64_t id)
{
	struct store_backend *b = store_backend_of(backend);
	int fd = store_open_body(b->store, guid, id);

	if (fd == MB_E_LOST && is_dead(b, guid, id))
		return -ENOENT;
	if (fd != MB_E_DAMAGED && (fd != MB_E_LOST || !may_look(b)))
		return fd;
	return recheck(b, guid, id) > 0 ? MB_E_STALE : fd;
}

static int sb_begin(struct backend *backend, uint64_t from, bool many)
{
	struct store_backend *b = store_backend_of(backend);

	b->from = from;
	b->many = many;
	b->wake = false;
	b->bodies = 0;
	int err = b->dry ? -EROFS : take_role(b);

	if (!err && b->writer)
		store_batch_begin(b->store);
	return err;
}

/* ---- Bodies ----------------------------------------------------------------------------------- */

#define STAGED_NAME_MAX 40
#define BODIES_MAX 20000 /* of one batch that wait to be flushed, and their records with them */
#define ALONE_MAX 8 /* bodies of one batch that are flushed by themselves; more go by one syncfs */

/* It is what was promised; c gets its digest. */
static int check_staged(struct copy *c, int fd, uint64_t size)
{
	struct digest d;
	int err = c->size && c->size != size ? MB_E_DAMAGED : digest_fd(fd, &d, NULL);

	if (err)
		return err;
	if (digest_known(&c->digest) && !digest_equal(&d, &c->digest))
		return MB_E_DAMAGED;
	c->digest = d;
	return 0;
}

static int set_received(int fd, int64_t received_ns)
{
	struct timespec t = {.tv_sec = received_ns / 1000000000,
			     .tv_nsec = received_ns % 1000000000};

	if (!received_ns)
		return 0;
	if (t.tv_nsec < 0) {
		t.tv_sec--;
		t.tv_nsec += 1000000000;
	}
	return io_utimens(fd, (const struct timespec[2]){t, t});
}

/* Copies a body into the staged file `fd`, whole and durable (or flushed by commit). */
static int fill_staged(struct store_backend *b, struct copy *c, int body, int fd)
{
	bool alone = b->bodies++ < ALONE_MAX || b->client;
	uint64_t size = 0;
	int err = io_copy(body, fd, &size);

	if (!err)
		err = check_staged(c, fd, size);
	if (!err)
		err = set_received(fd, c->received_ns);
	if (!err && alone && (!b->many || b->wake))
		err = io_fsync(fd);
	else
		b->unsynced = true;
	return err;
}

static int stage(struct store_backend *b, struct copy *c, int body, char name[STAGED_NAME_MAX])
{
	int dir = store_staging_fd(b->store);
	MB_AUTO_CLOSE int fd = -1;
	int err;

	snprintf(name, STAGED_NAME_MAX, "body-%016" PRIx64, random_u64());
	fd = io_create_at(dir, name, O_RDWR, 0600);
	if (fd < 0)
		return fd;
	if (lseek(body, 0, SEEK_SET) < 0)
		err = -errno;
	else
		err = fill_staged(b, c, body, fd);
	if (err)
		io_unlinkat(dir, name, 0);
	return err;
}

static int submit(struct store_backend *b, const struct record *want, const char *staged)
{
	return b->client ? store_client_put(b->client, want, staged, b->many && !b->wake)
			 : store_put(b->store, want, staged);
}

/* `want` gets the digest of the body. */
static int put_body(struct store_backend *b, struct record *want, int body)
{
	char name[STAGED_NAME_MAX];
	int ret;

	if (store_backend_holds(b, &want->copy)) {
		ret = submit(b, want, NULL);
		if (ret != -ENOENT)
			return ret;
	}
	ret = stage(b, &want->copy, body, name);
	if (ret)
		return ret;
	ret = submit(b, want, name);
	/* Unless the store took it. */
	if (faccessat(store_staging_fd(b->store), name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		io_unlinkat(store_staging_fd(b->store), name, 0);
	return ret;
}

/* What was put so far becomes durable: bodies before records. */
static int settle(struct store_backend *b)
{
	if (b->unsynced && syncfs(store_staging_fd(b->store)) < 0)
		return -errno;
	b->unsynced = false;
	b->bodies = ALONE_MAX;
	return store_backend_flush(b);
}

static int sb_put(struct backend *backend, const struct record *want, int body)
{
	struct store_backend *b = store_backend_of(backend);
	struct record r = *want; /* borrows */

	if (!b->writer && !b->client)
		return MB_E_LOCKED; /* no begin() before */
	b->ending = b->ending || want->type == REC_PEER;
	/* What the caller did not say comes from the peer of this batch. */
	if (!r.origin.replica)
		r.origin.replica = b->from;
	int err = b->bodies >= BODIES_MAX ? settle(b) : 0;

	if (err)
		return err;
	return body >= 0 ? put_body(b, &r, body) : submit(b, &r, NULL);
}

static void sb_wake(struct backend *backend, bool on)
{
	store_backend_of(backend)->wake = on;
}

static int sb_turn(struct backend *backend)
{
	const struct store_backend *b = store_backend_of(backend);

	return b->client ? store_client_turn(b->client) : 0;
}

static int sb_commit(struct backend *backend)
{
	struct store_backend *b = store_backend_of(backend);
	int err, err2;

	store_backend_tell_sent(b);
	err = settle(b);
	if (!err && b->writer)
		err = store_batch_end(b->store);
	err2 = b->ending || b->watch ? give_up_role(b) : 0;
	b->ending = false;
	store_backend_watch_update(b);
	return err ? err : err2;
}

static int sb_now(struct backend *backend, const struct stamp *seen, struct stamp *ret)
{
	struct store_backend *b = store_backend_of(backend);
	struct stamp now = STAMP_NONE;

	if (b->client)
		return store_client_now(b->client, seen, ret);
	if (b->writer)
		now = store_now(b->store);
	b->clock.replica = store_replica(b->store);
	hlc_see(&b->clock, &now);
	if (seen)
		hlc_see(&b->clock, seen);
	*ret = hlc_now(&b->clock);
	return 0;
}

static void sb_allow_mass_expunge(struct backend *backend, bool allow)
{
	struct store_backend *b = store_backend_of(backend);

	b->allow_mass_expunge = allow;
	if (b->writer)
		store_allow_mass_expunge(b->store, allow);
	if (b->client && store_client_allow_mass_expunge(b->client, allow) < 0)
		drop_client(b);
}

static const struct backend_ops STORE_OPS = {
	.name = "store",
	.close = sb_close,
	.info = sb_info,
	.refresh = sb_refresh,
	.position = sb_position,
	.changes = sb_changes,
	.tree = sb_tree,
	.message = sb_message,
	.each_message = sb_each_message,
	.by_uid = sb_by_uid,
	.digest = sb_digest,
	.learn = sb_learn,
	.by_digest = sb_by_digest,
	.body = sb_body,
	.begin = sb_begin,
	.put = sb_put,
	.wake = sb_wake,
	.commit = sb_commit,
	.turn = sb_turn,
	.now = sb_now,
	.peer = sb_peer,
	.each_peer = sb_each_peer,
	.each_entry = sb_each_entry,
	.hold = sb_hold,
	.doubt = sb_doubt,
	.watch_fd = sb_watch_fd,
	.woken = sb_woken,
	.allow_mass_expunge = sb_allow_mass_expunge,
};

int backend_open_store(const char *dir, struct backend **ret)
{
	struct store_backend *b;
	char *real = NULL;
	int err = store_locate(dir, &real);

	if (err)
		return err;
	b = mb_xcalloc(1, sizeof(*b));
	b->base.ops = &STORE_OPS;
	b->dir = real;
	b->destination = mb_xasprintf("store:%s", real);
	b->dry = io_is_read_only();
	err = store_open(real, STORE_READ, &b->store);
	/* A store that was never opened, or was left without an index, needs its writer first. */
	if (err && b->dry && err != MB_E_NOT_STORE && err != MB_E_VERSION && err != MB_E_UNSAFE) {
		err = MB_E_UNCLEAN;
	} else if (err && err != MB_E_NOT_STORE && err != MB_E_VERSION && err != MB_E_UNSAFE) {
		err = store_open(real, STORE_WRITE, &b->store);
		b->writer = !err;
	}
	if (err) {
		sb_close(&b->base);
		return err;
	}
	*ret = &b->base;
	return 0;
}
