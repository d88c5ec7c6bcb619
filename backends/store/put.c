/*
 * put.c - joins one wanted state of a copy into the store: registers, file, record, index.
 *
 * The wanted state is joined with what is here, so a late or repeated put changes nothing.  Files
 * are changed first: an arrival is one rename (or link) of a whole body, an expunge one rename to
 * deleted/, a flag change or move one rename.
 */
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/dovecot.h"
#include "backends/store/posix-private.h"
#include "backends/store/put-copy.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>

void copy_put_release(struct copy_put *c)
{
	entry_release(&c->old);
	copy_release(&c->new);
	free(c->old_path);
	free(c->target);
	free(c->new_path);
	free(c->kept);
}

static void see_stamps(struct store *s, struct copy *c)
{
	bool ahead = stamp_clamp(&c->place.at);

	ahead |= stamp_clamp(&c->place.uid_at);
	ahead |= stamp_clamp(&c->dead);
	ahead |= stamp_clamp(&c->dead_at);
	ahead |= stamp_clamp(&c->via_seen);
	for (int i = 0; i < FLAG_COUNT; i++)
		ahead |= stamp_clamp(&c->flags.at[i]);
	for (size_t i = 0; i < c->flags.n_keywords; i++)
		ahead |= stamp_clamp(&c->flags.keywords[i].at);
	if (ahead)
		mb_msg(MB_WARNING, "a stamp of the peer is years ahead: taken as now");
	hlc_see(&s->clock, &c->place.at);
	hlc_see(&s->clock, &c->place.uid_at);
	hlc_see(&s->clock, &c->dead_at);
	for (int i = 0; i < FLAG_COUNT; i++)
		hlc_see(&s->clock, &c->flags.at[i]);
	for (size_t i = 0; i < c->flags.n_keywords; i++)
		hlc_see(&s->clock, &c->flags.keywords[i].at);
}

/* The mailbox that the place means here, merged ones followed. */
static int resolve_mailbox(struct copy_put *c)
{
	struct guid g = c->new.place.mailbox;
	int err = index_resolve_mailbox(c->tx, &g);

	if (err >= 0)
		err = index_get_mailbox(c->tx, &g, NULL, NULL);
	if (err < 0)
		return err == -ENOENT ? MB_E_STALE : err;
	c->new.place.mailbox = g;
	return 0;
}

/* Size and digest are those of the bytes that are here, or else of those that come: they differ where
 * two mails are one by their likeness. */
static void settle_content(struct copy_put *c)
{
	const struct copy *of = c->present ? &c->old.copy : &c->want->copy;

	if (!c->known || !copy_alive(&c->new) || !digest_known(&of->digest))
		return;
	c->new.size = of->size;
	c->new.digest = of->digest;
}

/* Somebody flagged what is to be expunged after the peer asked for its flags.  When it was edited there
 * these belong to the new message: who asks again sees them. */
static bool flagged_since(const struct copy_put *c)
{
	return c->present && !copy_alive(&c->new) &&
	       flags_later(&c->old.copy.flags, &c->want->copy.flags);
}

int copy_put_load(struct copy_put *c)
{
	struct guid g = index_resolve(c->tx, c->want->copy.guid);
	int err = index_get_entry(c->tx, &g, c->want->copy.id, &c->old);

	if (err < 0 && err != -ENOENT)
		return err;
	c->known = err == 0;
	c->present = c->known && copy_alive(&c->old.copy) && entry_has_file(&c->old);
	copy_clone(&c->new, &c->want->copy);
	c->new.guid = g;
	see_stamps(c->s, &c->new);
	if (c->known) {
		struct copy incoming = c->new;

		memset(&c->new, 0, sizeof(c->new));
		copy_clone(&c->new, &c->old.copy);
		copy_join(&c->new, &incoming);
		copy_release(&incoming);
	}
	if (c->present)
		c->old_path = entry_path(c->tx, &c->old);
	c->present = c->old_path != NULL;
	settle_content(c);
	c->damaged = c->present && c->old.state == ENTRY_DAMAGED;
	if (flagged_since(c))
		return MB_E_STALE;
	return copy_alive(&c->new) ? resolve_mailbox(c) : 0;
}

/* A UID that is free here; a clash with a message that came meanwhile takes the next one. */
static int settle_uid(struct copy_put *c)
{
	struct entry other = {0};
	struct mailbox m = {0};
	int err = 0;

	if (c->new.place.uid)
		err = index_by_uid(c->tx, &c->new.place.mailbox, c->new.place.uid, &other);
	if (c->new.place.uid &&
	    (err == -ENOENT || (err == 0 && copy_same_key(&other.copy, &c->new)))) {
		entry_release(&other);
		return 0;
	}
	entry_release(&other);
	if (err < 0)
		return err;
	err = index_get_mailbox(c->tx, &c->new.place.mailbox, &m, NULL);
	if (err >= 0)
		c->new.place.uid = m.uid_next ? m.uid_next : 1;
	mailbox_release(&m);
	return err;
}

/* Works out where the file should be; `target`: a path that was already promised to the mount. */
static int settle_target(struct copy_put *c, const char *promised)
{
	MB_AUTO_FREE char *dir = NULL;
	bool in_new = c->present ? c->old.in_new : c->new.recent;
	int err = mailbox_dir(c->tx, &c->new.place.mailbox, &dir);

	if (err < 0)
		return err == -ENOENT ? MB_E_NAME : err;
	if (promised) {
		size_t len = strlen(dir);

		if (strncmp(promised, dir, len) != 0 || (len && promised[len] != '/'))
			return MB_E_STALE;
		c->target = mb_xstrdup(promised + len + (len ? 1 : 0));
	} else {
		err = file_target(c->s, c->tx, &c->new, c->known ? &c->old : NULL, in_new,
				  &c->target);
		if (err < 0)
			return err;
	}
	c->new_path = path_join(dir, c->target, NULL);
	free(c->new.place.base);
	struct fname f;
	fname_parse(c->target + 4, &f);
	c->new.place.base = mb_xstrndup(c->target + 4, f.base_len);
	return 0;
}

/* Where Dovecot has the mailbox open, it knows the UID before it sees the file. */
static int line_first(struct copy_put *c, bool writable)
{
	MB_AUTO_FREE char *dir = NULL;
	int err;

	if (!c->s->uidlist_held)
		return 0;
	bool there = c->present && guid_equal(&c->old.copy.place.mailbox, &c->new.place.mailbox);
	err = mailbox_dir(c->tx, &c->new.place.mailbox, &dir);
	return err < 0 ? err
		       : uidlist_before(c->s, c->tx, writable, &c->new.place.mailbox, dir,
					there ? c->old.file : NULL, c->target + 4,
					&c->new.place.uid);
}

int copy_put_aim(struct copy_put *c, bool writable)
{
	int err = settle_uid(c);

	if (err >= 0)
		err = settle_target(c, c->step ? c->step->to : NULL);
	return err < 0 ? err : line_first(c, writable);
}

/* ---- the file operation and what it was ---- */

static int move_file(struct copy_put *c)
{
	MB_AUTO_CLOSE int from = -1, to = -1;
	const char *from_name, *to_name;
	struct stat st;

	from = at_open_parent(c->s->mail_fd, c->old_path, &from_name);
	c->s->rescan |= from == -ENOENT;
	if (from < 0)
		return from == -ENOENT ? MB_E_STALE : from;
	to = put_open_target_dir(c, &to_name);
	if (to < 0)
		return to;
	int err = at_stat(from, from_name, &st);

	if (err >= 0)
		err = intent_rename(c->s, c->old_path, c->new_path, st.st_ino);
	if (err >= 0)
		err = io_renameat2(from, from_name, to, to_name, RENAME_NOREPLACE);
	if (err != -ENOENT && err != -EEXIST)
		return err;
	c->s->rescan = true;
	return MB_E_STALE;
}

static enum record_type what_changes(const struct copy_put *c)
{
	const struct copy *old = &c->old.copy;

	if (!copy_alive(&c->new))
		return c->known && copy_alive(old) ? REC_EXPUNGE : REC_COPY_STATE;
	if (!c->present)
		return c->known && copy_alive(old) ? REC_FOUND : REC_ARRIVE;
	if (!guid_equal(&old->place.mailbox, &c->new.place.mailbox))
		return REC_MOVE;
	if (!flags_same_set(&old->flags, &c->new.flags))
		return REC_FLAGS;
	if (old->place.uid != c->new.place.uid)
		return REC_RENUMBER;
	return strcmp(c->old_path, c->new_path) ? REC_RENAME : REC_COPY_STATE;
}

/* Its file has gone behind our back, perhaps only to another name, or with its folder: the scan comes
 * first, else the message would be found there as a new one.  What a scan has looked for already and
 * the guard holds is nowhere. */
static int expunge_missing(struct copy_put *c)
{
	MB_AUTO_FREE char *dir = NULL;

	if (held_has(&c->s->held, &c->old) &&
	    (mailbox_dir(c->tx, &c->old.copy.place.mailbox, &dir) < 0 ||
	     !file_is_about(c->s, dir, c->old.file)))
		return 0;
	c->s->rescan = true;
	return MB_E_STALE;
}

/* Its file was written to behind our back: that is looked at first, for an edit is a new message and
 * is not expunged with the old one. */
static int expunge_written(struct copy_put *c)
{
	struct stat st;

	if (!c->old.ino || at_stat(c->s->mail_fd, c->old_path, &st) < 0)
		return 0;
	/* of a damaged file only the time is known */
	bool same_size = c->old.state == ENTRY_DAMAGED || (uint64_t)st.st_size == c->old.copy.size;
	if (same_size && clock_timespec_ns(&st.st_mtim) == c->old.mtime_ns)
		return 0;
	c->s->rescan = c->s->recheck = true;
	return MB_E_STALE;
}

static int change_files(struct copy_put *c, enum record_type type)
{
	int err;

	switch (type) {
	case REC_EXPUNGE:
		if (!c->present || !c->old_path)
			return 0;
		err = expunge_written(c);
		if (err >= 0)
			err = file_to_deleted(c->s, c->old_path, &c->old, false, &c->kept);
		if (err == -ENOENT)
			return expunge_missing(c);
		if (err >= 0 && !c->step)
			change_event(c->s, EVENT_REMOVED, c->old_path, c->kept, false);
		return err;
	case REC_ARRIVE:
	case REC_FOUND:
		err = put_place_body(c);
		if (err >= 0 && !c->step)
			change_event(c->s, EVENT_ADDED, c->new_path, NULL, false);
		return err == -EEXIST ? MB_E_STALE : err;
	default:
		if (!c->present || !c->new_path || strcmp(c->old_path, c->new_path) == 0)
			return 0;
		err = move_file(c);
		if (err >= 0 && !c->step)
			change_event(c->s, EVENT_RENAMED, c->new_path, c->old_path, true);
		return err;
	}
}

static void undo_rename(struct copy_put *c, const char *old_dir, const char *old)
{
	MB_AUTO_CLOSE int dir = -1, to = -1;
	const char *name, *to_name = old;

	dir = at_open_parent(c->s->mail_fd, c->new_path, &name);
	if (old_dir)
		to = at_open_parent(c->s->mail_fd, old_dir, &to_name);
	if (dir >= 0 && (!old_dir || to >= 0))
		io_renameat2(dir, name, old_dir ? to : c->s->staging_fd, to_name, RENAME_NOREPLACE);
}

/* The record could not be written: files go back, so that the caller may try again. */
static void undo_files(struct copy_put *c, enum record_type type)
{
	MB_AUTO_CLOSE int dir = -1;
	const char *name;

	intent_drop(c->s);
	if (type == REC_EXPUNGE) {
		if (c->kept)
			file_undelete(c->s, c->kept, c->old_path);
	} else if ((type == REC_ARRIVE || type == REC_FOUND) && c->staged) {
		undo_rename(c, NULL, c->staged);
	} else if (type == REC_ARRIVE || type == REC_FOUND) {
		dir = at_open_parent(c->s->mail_fd, c->new_path, &name);
		if (dir >= 0)
			io_unlinkat(dir, name, 0);
	} else if (c->present && c->new_path && strcmp(c->old_path, c->new_path) != 0) {
		undo_rename(c, c->old_path, NULL);
	}
}

static int note_file(struct copy_put *c)
{
	struct entry e = {0};
	struct stat st = c->placed;
	int err = st.st_ino ? 0 : at_stat(c->s->mail_fd, c->new_path, &st);

	if (err >= 0)
		err = index_get_entry(c->tx, &c->new.guid, c->new.id, &e);
	if (err < 0)
		return err;
	e.ino = st.st_ino;
	e.mtime_ns = clock_timespec_ns(&st.st_mtim);
	e.ctime_ns = clock_timespec_ns(&st.st_ctim);
	err = index_put_entry(c->tx, &e);
	entry_release(&e);
	return err;
}

/* The peer does not know this UID: it is news for it, not its own change come back. */
static bool has_own_uid(const struct copy_put *c)
{
	const struct place *want = &c->want->copy.place;

	return copy_alive(&c->new) && want->uid &&
	       c->new.place.uid != want->uid &&stamp_compare(&c->new.place.at, &want->at) == 0;
}

static int log_copy(struct copy_put *c, enum record_type type)
{
	struct record r = {.type = type, .at = hlc_now(&c->s->clock), .origin = c->want->origin};
	int err;

	if (has_own_uid(c))
		r.origin = (struct origin){.replica = c->s->replica};
	copy_clone(&r.copy, &c->new);
	if (c->old_path)
		r.old_name = mb_xasprintf("%s/%s", c->old.in_new ? "new" : "cur", c->old.file);
	if (c->target) {
		r.new_name = mb_xstrdup(c->target);
		r.ordinal = c->old.ordinal ? c->old.ordinal : ++c->s->ordinal;
	}
	err = change_record(c->s, c->tx, &r);
	record_release(&r);
	if (err >= 0 && c->target)
		err = note_file(c);
	return err;
}

/* The peer has other bytes of the message, whose own are lost here (object.h, content). */
static bool takes_other_bytes(struct copy_put *c)
{
	const struct copy *want = &c->want->copy;

	if (!digest_known(&want->digest) || digest_equal(&want->digest, &c->old.copy.digest))
		return false;
	c->old.copy.size = want->size;
	c->old.copy.digest = want->digest;
	return true;
}

/* First the right body, which is a change of its own; then c is as with a good file. */
static int mend_first(struct copy_put *c)
{
	int err;

	if (edit_pending(c->s, &c->old.copy)) {
		c->edited = true;
		return MB_E_STALE;
	}
	err = mend_copy(c->s, c->tx, &c->old, c->staged, &c->want->origin);
	if (err == MB_E_DAMAGED && c->staged && takes_other_bytes(c))
		err = mend_copy(c->s, c->tx, &c->old, c->staged, &c->want->origin);
	if (err < 0)
		return err;
	copy_put_release(c);
	*c = (struct copy_put){
		.s = c->s, .tx = c->tx, .want = c->want, .step = c->step, .mended = true};
	return copy_put_load(c);
}

static void put_part(struct copy_put *c)
{
	struct posix_call p = {.s = c->s, .tx = c->tx};

	posix_part(&p, &c->old, c->kept);
}

static int copy_put_run(struct copy_put *c)
{
	uint64_t appended;
	bool alive;
	enum record_type type;
	int err = copy_put_load(c);

	if (err >= 0 && c->step && !copy_put_is(c, c->step))
		err = MB_E_STALE;
	if (err >= 0 && c->damaged && copy_alive(&c->new))
		err = mend_first(c);
	if (err < 0)
		return err;
	appended = c->s->appended;
	alive = copy_alive(&c->new);
	err = alive ? copy_put_aim(c, true) : 0;
	if (err < 0)
		return err;
	if (c->known && (c->present || !alive) && copy_equal(&c->old.copy, &c->new) &&
	    (!alive || strcmp(c->old_path, c->new_path) == 0))
		return c->mended;
	type = what_changes(c);
	if (type == REC_EXPUNGE && c->present && edit_pending(c->s, &c->old.copy)) {
		c->edited = true;
		return MB_E_STALE;
	}
	err = change_files(c, type);
	if (err < 0) {
		intent_drop(c->s);
		return err;
	}
	err = log_copy(c, type);
	if (err < 0 && c->s->appended == appended)
		undo_files(c, type);
	else if (type == REC_EXPUNGE)
		put_part(c);
	c->logged = c->s->appended != appended;
	return err < 0 ? err : 1;
}

static int put_copy(struct store *s, const struct record *want, const char *staged,
		    const struct store_step *step)
{
	struct copy_put c = {.s = s, .want = want, .staged = staged, .step = step};
	struct origin edit = {.comm = "edit"};
	int err;

	if (copy_alive(&want->copy))
		err = change_begin_with(s, staged ? ROOM_ALL : ROOM_HALF, &c.tx);
	else
		err = change_begin(s, &c.tx);
	if (err >= 0)
		err = change_end(s, c.tx, copy_put_run(&c));
	if (err < 0 && c.logged && (step || (err != MB_E_CHECKSUM && err != MB_E_FORMAT))) {
		/* done: a scan mends what the index lacks */
		s->rescan = true;
		err = 1;
	}
	if (c.edited) { /* what a program wrote is a message of its own: it stays */
		settle_locked(s, c.old_path, &edit);
		s->edits_cut++;
	}
	copy_put_release(&c);
	return err;
}

/* ---- everything else ---- */

/* What could be logged, but never be applied. */
static bool makes_sense(const struct record *want)
{
	switch (want->type) {
	case REC_MAILBOX_CREATE:
	case REC_MAILBOX_RENAME:
	case REC_MAILBOX_DELETE:
	case REC_MAILBOX_REVIVE:
	case REC_MAILBOX_SUBSCRIBE:
	case REC_MAILBOX_MERGE:
	case REC_MAILBOX_STATE:
		return !guid_is_zero(&want->mailbox.guid) && want->mailbox.part;
	case REC_ALIAS:
		return !guid_is_zero(&want->copy.guid) && !guid_is_zero(&want->old_guid);
	case REC_PEER:
	case REC_PEER_ENTRY:
	case REC_PEER_FORGET:
		return true;
	case REC_REPLICA:
		return want->replica_id != 0;
	default:
		return !guid_is_zero(&want->copy.guid);
	}
}

int put_locked(struct store *s, const struct record *want, const char *staged,
	       const struct store_step *step)
{
	if (!makes_sense(want))
		return MB_E_PROTOCOL;
	switch (want->type) {
	case REC_MAILBOX_CREATE:
	case REC_MAILBOX_RENAME:
	case REC_MAILBOX_DELETE:
	case REC_MAILBOX_REVIVE:
	case REC_MAILBOX_SUBSCRIBE:
	case REC_MAILBOX_MERGE:
	case REC_MAILBOX_STATE:
		return put_mailbox(s, want);
	case REC_ARRIVE:
	case REC_FLAGS:
	case REC_MOVE:
	case REC_RENAME:
	case REC_EXPUNGE:
	case REC_RENUMBER:
	case REC_DIGEST:
	case REC_COPY_STATE:
		return put_copy(s, want, staged, step);
	case REC_ALIAS:
		return put_alias(s, want);
	case REC_REPLICA:
		return identity_take(s, want->replica_id);
	case REC_PEER:
	case REC_PEER_ENTRY:
	case REC_PEER_FORGET:
		return put_plain(s, want);
	default:
		return MB_E_PROTOCOL;
	}
}

int store_put(struct store *s, const struct record *want, const char *staged)
{
	struct uidlist_hold hold;
	struct dotlock subs;
	int err;

	if (staged && (!at_path_ok(staged) || strchr(staged, '/')))
		return MB_E_NAME;
	err = subscriptions_hold(s, want, &subs);
	if (err >= 0)
		err = uidlist_hold(s, want, &hold);
	if (err < 0) {
		dotlock_drop(s, &subs);
		return err;
	}
	err = uidlist_enter(s, &hold);
	if (err >= 0)
		err = put_locked(s, want, staged, NULL);
	uidlist_leave(s, &hold);
	dotlock_drop(s, &subs);
	return err;
}
