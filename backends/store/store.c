/*
 * store.c - create, locate, open, close.
 *
 * A writer holds an OFD lock on STORE/lock, which dies with the process.  Opening for writing:
 * lock, log, index (recover.c), half-done edits and renames, then a scan of what changed.
 */
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/dovecot.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define ROOT_FILE ".mailbraid"
#define READER_WAITS_NS 2000000000ll

/* ---- creating ---- */

static int make_dirs(int dir_fd, bool with_mail)
{
	static const char *const names[] = {"log", "index", "deleted", "staging", "mail"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) - !with_mail; i++) {
		int err = io_mkdirat(dir_fd, names[i], 0700);

		if (err < 0 && err != -EEXIST)
			return err;
	}
	return 0;
}

static int not_empty(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	(void)name;
	(void)type;
	(void)ino;
	(void)arg;
	return -ENOTEMPTY;
}

static int make_root(const char *dir, int *ret_fd)
{
	int err;

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return -errno;
	*ret_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*ret_fd < 0)
		return -errno;
	err = at_list(*ret_fd, not_empty, NULL);
	if (err < 0)
		close(MB_TAKE_FD(*ret_fd));
	return err;
}

static int log_inbox(struct store *s)
{
	struct record r = {.type = REC_MAILBOX_CREATE};
	struct mailbox *m = &r.mailbox;
	struct index_txn *tx;
	int err = change_begin(s, &tx);

	if (err < 0)
		return err;
	r.at = hlc_now(&s->clock);
	m->guid = GUID_INBOX;
	m->part = mb_xstrdup("INBOX");
	m->born = m->named_at = m->selectable_at = r.at;
	m->selectable = true;
	m->uid_validity = (uint32_t)(stamp_ms(&r.at) / 1000);
	m->uid_next = 1;
	uidlist_birth(s, tx, "", m);
	r.new_name = mb_xstrdup("INBOX");
	err = change_record(s, tx, &r);
	if (err >= 0)
		err = mailbox_set_dir(s, tx, &GUID_INBOX, "");
	record_release(&r);
	return change_end(s, tx, err);
}

/* A store directory with config, ready to be opened; its first opening logs its birth. */
int store_make(int dir_fd, enum layout layout, const char *mail)
{
	struct store_config c = {
		.layout = layout, .mail = (char *)(uintptr_t)mail, .id = guid_new()};
	int err = make_dirs(dir_fd, !mail);

	if (err >= 0)
		err = config_write(dir_fd, &c);
	return err;
}

static int remove_one(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	(void)type;
	(void)ino;
	return at_remove_tree(*(int *)arg, name);
}

int store_create(const char *dir, enum layout layout)
{
	MB_AUTO_CLOSE int fd = -1;
	struct store *s = NULL;
	int err = make_root(dir, &fd);

	if (err < 0)
		return err;
	err = store_make(fd, layout, NULL);
	if (err >= 0)
		err = store_open(dir, STORE_WRITE, &s);
	if (err >= 0)
		store_close(s);
	else
		at_list(fd, remove_one, &fd);
	return err;
}

/* ---- locating ---- */

static char *absolute(const char *path)
{
	char out[PATH_MAX];

	return realpath(path, out) ? mb_xstrdup(out) : NULL;
}

/* The state path that the root file of an adopted Maildir names; it must point back to it. */
static int locate_by_root_file(int fd, const char *maildir, char **ret_dir)
{
	MB_AUTO_FREE uint8_t *text = NULL;
	MB_AUTO_CLOSE int store_fd = -1;
	struct store_config c = {0};
	size_t len;
	int err = io_read_file(fd, ROOT_FILE, 65536, &text, &len);
	char *line, *end;

	if (err < 0)
		return MB_E_NOT_STORE;
	line = strstr((char *)text, "state=");
	end = line ? strchr(line, '\n') : NULL;
	if (!end || line[6] != '/')
		return MB_E_NOT_STORE;
	*end = 0;
	store_fd = open(line + 6, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = store_fd < 0 ? MB_E_NOT_STORE : config_read(store_fd, &c);
	if (err >= 0 && (!c.mail || strcmp(c.mail, maildir) != 0))
		err = MB_E_NOT_STORE; /* a copy of the tree, or it was moved */
	config_release(&c);
	if (err >= 0)
		*ret_dir = mb_xstrdup(line + 6);
	return err;
}

int store_locate(const char *path, char **ret_dir)
{
	MB_AUTO_FREE char *abs = absolute(path);
	MB_AUTO_CLOSE int fd = -1;
	struct store_config c = {0};
	int err;

	if (!abs)
		return -errno;
	fd = open(abs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOTDIR ? MB_E_NOT_STORE : -errno;
	err = config_read(fd, &c);
	config_release(&c);
	if (err == MB_E_NOT_STORE)
		return locate_by_root_file(fd, abs, ret_dir);
	if (err < 0)
		return err;
	*ret_dir = MB_TAKE(abs);
	return 0;
}

/* ---- opening ---- */

static int check_safe(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if ((geteuid() != 0 && st.st_uid != geteuid()) || (st.st_mode & 022))
		return MB_E_UNSAFE;
	return 0;
}

static int open_sub(struct store *s, const char *name, int *ret_fd)
{
	int err = at_open(s->dir_fd, name, O_RDONLY | O_DIRECTORY, 0);

	if (err == -ENOENT && s->mode == STORE_WRITE) {
		err = io_mkdirat(s->dir_fd, name, 0700);
		if (err >= 0)
			err = at_open(s->dir_fd, name, O_RDONLY | O_DIRECTORY, 0);
	}
	*ret_fd = err;
	return err < 0 ? err : 0;
}

static int open_mail(struct store *s, const struct store_config *c)
{
	s->mail_path = c->mail ? mb_xstrdup(c->mail) : mb_xasprintf("%s/mail", s->dir);
	s->mail_fd = open(s->mail_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return s->mail_fd < 0 ? -errno : 0;
}

static int open_dirs(struct store *s)
{
	struct store_config c = {0};
	int err;

	s->dir_fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir_fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? MB_E_NOT_STORE : -errno;
	err = config_read(s->dir_fd, &c);
	if (err >= 0)
		err = check_safe(s->dir_fd);
	if (err >= 0)
		err = open_mail(s, &c);
	s->layout = c.layout;
	s->id = c.id;
	config_release(&c);
	if (err >= 0)
		err = open_sub(s, "log", &s->log_fd);
	if (err >= 0)
		err = open_sub(s, "deleted", &s->deleted_fd);
	if (err >= 0)
		err = open_sub(s, "staging", &s->staging_fd);
	return err;
}

static int take_lock(struct store *s)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char text[64];

	s->lock_fd = openat(s->dir_fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (s->lock_fd < 0)
		return -errno;
	if (fcntl(s->lock_fd, F_OFD_SETLK, &l) < 0)
		return errno == EAGAIN || errno == EACCES ? MB_E_LOCKED : -errno;
	snprintf(text, sizeof(text), "pid=%d\n", (int)getpid());
	if (ftruncate(s->lock_fd, 0) < 0 || pwrite(s->lock_fd, text, strlen(text), 0) < 0)
		return -errno; /* for people; a full disk shows here early */
	return 0;
}

static bool has_inbox(struct store *s)
{
	struct index_txn *tx;
	int err = index_begin(s->index, false, &tx);

	if (err >= 0) {
		err = index_get_mailbox(tx, &GUID_INBOX, NULL, NULL);
		index_abort(tx);
	}
	return err != -ENOENT;
}

/* A store whose identity is nowhere (new, or its log was lost) gets one. */
static int ensure_identity(struct store *s)
{
	int err = identity_load(s);

	if (err == -ENOENT) {
		s->replica = random_u64() | 1;
		s->clock.replica = s->replica;
		err = identity_birth(s);
	}
	return err < 0 || has_inbox(s) ? err : log_inbox(s);
}

/* A reader does not look into an index that somebody else has written to.  A writer that began
 * meanwhile has changed its state before the index. */
static int check_index(struct store *s)
{
	struct store_state st;

	if (state_read(s->dir_fd, &st) < 0 || index_is_as_left(s->dir_fd, &st))
		return 0;
	return state_read(s->dir_fd, &st) < 0 || index_is_as_left(s->dir_fd, &st) ? 0
										  : MB_E_CHECKSUM;
}

static int open_index_and_log(struct store *s)
{
	MB_AUTO_FREE char *path = mb_xasprintf("%s/index", s->dir);
	int err = check_index(s);

	if (err >= 0)
		err = index_open(path, false, &s->index);
	if (err >= 0)
		err = log_open(s->log_fd, &s->id, &s->log);
	if (err >= 0)
		store_follow(s);
	return err < 0 ? err : identity_load(s);
}

/* A writer that has just begun may be making the index anew: it is there soon. */
static int open_reader(struct store *s)
{
	const struct timespec pause = {.tv_nsec = 10000000};
	int64_t until = clock_mono_ns() + READER_WAITS_NS;
	int err;

	while (((err = open_index_and_log(s)) == -ENOENT || err == MB_E_CHECKSUM) &&
	       store_has_writer(s) && clock_mono_ns() < until) {
		index_close(MB_TAKE(s->index));
		log_close(MB_TAKE(s->log));
		nanosleep(&pause, NULL);
	}
	return err;
}

/* Kept from then on by each change: see index_missing(). */
static int count_missing(struct store *s)
{
	struct index_txn *tx;
	uint64_t n;
	int err = index_begin(s->index, false, &tx);

	if (err < 0)
		return err;
	err = index_missing(tx, &n);
	index_abort(tx);
	if (err != -ENOENT)
		return err;
	err = index_begin(s->index, true, &tx);
	if (err < 0)
		return err;
	err = index_count_missing(tx);
	if (err >= 0)
		return index_commit(tx);
	index_abort(tx);
	return err;
}

/* With an index that is where the log is: what was half done, and what the files say. */
static int look_at_files(struct store *s, bool clean)
{
	bool renamed = s->renames;
	int err = ensure_identity(s);

	if (err >= 0)
		err = held_load(s);
	if (err >= 0)
		err = count_missing(s);
	if (err >= 0)
		err = dotlocks_clear(s);
	if (err >= 0 && !clean)
		err = intent_undo(s);
	if (err >= 0 && !clean)
		err = recover_dirs(s, false);
	if (err >= 0 && !clean)
		err = recover_deleted(s);
	if (err >= 0)
		err = recover_staging(s);
	if (err >= 0)
		err = mailboxes_finish(s);
	if (err >= 0)
		err = scan_quietly(s, false, &s->opening);
	if (err >= 0 && renamed && !s->renames) /* now names count again */
		err = mailboxes_finish(s);
	if (err >= 0 && s->log_lost && s->opening.arrived)
		mb_msg(MB_WARNING,
		       "%llu messages of which only the lost part of the log told are new ones "
		       "now; "
		       "mailbraid log names them store=%s",
		       (unsigned long long)s->opening.arrived, s->dir);
	return err;
}

static int open_writer(struct store *s)
{
	struct store_state st = {0};
	uint8_t boot[16];
	bool same_boot, moved;
	int err = take_lock(s);

	if (err < 0)
		return err;
	err = state_read(s->dir_fd, &st);
	if (err < 0 && err != -ENOENT)
		return err;
	place_read(s->log_fd, &s->place);
	moved = place_differs(&st.place, &s->place);
	clock_boot_id(boot);
	same_boot = memcmp(boot, st.boot, sizeof(boot)) == 0 &&
		    memcmp(boot, (const uint8_t[16]){0}, sizeof(boot)) != 0; /* zeros: not known */
	s->was_clean = st.clean || same_boot;
	flush_look(s);
	err = log_open(s->log_fd, &s->id, &s->log);
	if (err >= 0) {
		recover_tell(s, &st.end);
		err = log_begin(s->log, st.clean && !moved, &st.end);
	}
	s->dirty = !st.clean;
	renames_look(s);
	s->rescan |= s->renames;
	if (err >= 0)
		err = recover_index(s, (st.clean || same_boot) && index_is_as_left(s->dir_fd, &st));
	if (err < 0)
		return err;
	err = look_at_files(s, st.clean);
	if (err >= 0 && moved)
		err = identity_renew(s);
	if (err >= 0 || err == MB_E_VERSION ||
	    (err != MB_E_CHECKSUM && err != MB_E_FORMAT && !store_doubt_index(s)))
		return err;
	err = recover_anew(s); /* what nobody had read so far */
	return err < 0 ? err : look_at_files(s, false);
}

static struct store *store_new(const char *dir, enum store_mode mode)
{
	struct store *s = mb_xcalloc(1, sizeof(*s));

	s->dir = absolute(dir);
	if (!s->dir)
		s->dir = mb_xstrdup(dir);
	s->mode = mode;
	s->limits = (struct store_limits){.peer_pin_ns = STORE_PEER_PIN_NS,
					  .peer_pin_bytes = STORE_PEER_PIN_BYTES,
					  .tombstones_ns = STORE_TOMBSTONES_NS};
	s->uidlists_due = true;
	s->dir_fd = s->mail_fd = s->log_fd = s->deleted_fd = s->staging_fd = s->lock_fd =
		s->intent_fd = s->deleted_box_fd = -1;
	s->events_tail = &s->events;
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->event_lock, NULL);
	pthread_mutex_init(&s->queue_lock, NULL);
	return s;
}

static void store_free(struct store *s)
{
	int *fds[] = {&s->dir_fd,     &s->mail_fd, &s->log_fd,	  &s->deleted_fd,
		      &s->staging_fd, &s->lock_fd, &s->intent_fd, &s->deleted_box_fd};

	trial_close(s);
	held_release(&s->held);
	index_close_or_set_aside(s);
	later_free(s);
	log_close(s->log);
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (*fds[i] >= 0)
			close(*fds[i]);
	while (s->links) {
		struct recent_link *l = s->links;

		s->links = l->next;
		free(l->path);
		free(l);
	}
	expected_free_all(s);
	while (s->unsettled)
		unsettled_forget(s, s->unsettled->path);
	while (s->edits) {
		struct edit *e = s->edits;

		s->edits = e->next;
		free(e->kept);
		free(e);
	}
	free(s->dir);
	uidlist_cache_free(s->uidlist);
	free(s->uidlist_unsynced);
	free(s->mail_path);
	free(s);
}

int store_open(const char *dir, enum store_mode mode, struct store **ret)
{
	struct store *s = store_new(dir, mode);
	int err = open_dirs(s);

	if (err >= 0)
		err = mode == STORE_WRITE   ? open_writer(s)
		      : mode == STORE_TRIAL ? trial_open(s)
					    : open_reader(s);
	if (err < 0) {
		store_free(s);
		return err;
	}
	*ret = s;
	return 0;
}

/* Flushes everything and says that the stop was clean.  What fails here is recovered next time. */
static int stop_cleanly(struct store *s)
{
	struct store_state st = {.clean = true, .place = s->place};
	struct scan_report report;
	int err = 0;

	if (s->watched || s->rescan) {
		s->watched = false;
		err = scan_locked(s, false, &report);
	}
	if (!s->dirty)
		return err;
	if (err >= 0 && s->behind)
		err = index_catch_up(s);
	if (err >= 0 && checkpoint_if_due(s) < 0)
		mb_msg(MB_WARNING,
		       "no checkpoint could be written; the log stays as it is store=%s", s->dir);
	if (err >= 0 && !s->in_order && s->tree_touched)
		err = io_syncfs(s->mail_fd);
	if (err >= 0)
		err = log_flush(s->log);
	if (err >= 0)
		err = index_sync(s->index);
	st.index = index_stamp_now(s->dir_fd);
	if (err >= 0)
		err = log_end(s->log, &st.end);
	clock_boot_id(st.boot);
	if (err >= 0)
		err = state_write(s->dir_fd, &st);
	return err;
}

void store_close(struct store *s)
{
	int err = 0;

	if (!s)
		return;
	later_stop(s);
	if (s->mode == STORE_WRITE) {
		store_lock(s);
		err = store_batch_end(s);
		if (s->index_bad || index_is_bad(s->index))
			err = log_flush(s->log); /* what such an index says is worth nothing */
		else if (err >= 0)
			err = stop_cleanly(s);
		store_unlock(s);
	}
	if (err < 0)
		mb_msg(MB_WARNING, "store not closed cleanly: %s store=%s", mb_err_str(err),
		       s->dir);
	store_free(s);
}

/* ---- small things ---- */

const struct scan_report *store_opening_scan(const struct store *s)
{
	return &s->opening;
}

const char *store_dir(const struct store *s)
{
	return s->dir;
}

const char *store_mail_path(const struct store *s)
{
	return s->mail_path;
}

int store_mail_fd(const struct store *s)
{
	return s->mail_fd;
}

int store_staging_fd(const struct store *s)
{
	return s->staging_fd;
}

enum layout store_layout(const struct store *s)
{
	return s->layout;
}

uint64_t store_replica(const struct store *s)
{
	return s->replica;
}

struct guid store_id(const struct store *s)
{
	return s->id;
}

struct index *store_index(struct store *s)
{
	return s->index;
}

struct log *store_log(struct store *s)
{
	return s->log;
}

struct stamp store_now(struct store *s)
{
	struct stamp now;

	store_lock(s);
	now = hlc_now(&s->clock);
	store_unlock(s);
	return now;
}
