/*
 * posix-later.c - the changes of single messages that mail programs make all day, in the way of later.c.
 *
 * A delivery (tmp to new or cur), another set of flags, a pickup (new to cur), an expunge: the file is
 * changed, the record appended, and that is all.  Whatever is not quite like that is left to posix.c
 * and posix-rename.c: a name that is taken, keywords, links made a moment ago, a message whose last
 * change the index does not have yet.
 */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/store/posix-private.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <unistd.h>

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Nothing is to be known of it but what the index has. */
static bool is_settled(struct store *s, const char *name)
{
	posix_links_expire(s);
	return fname_is_message(name) && !s->links && !later_has(s, name);
}

/* ---- rename ---- */

struct rename_call {
	struct posix_call p;
	const char *from, *to, *from_name, *to_name;
	struct node_info fn, tn;
	struct entry source;  /* of a message */
	int from_dir, to_dir; /* -1: not open */
	struct stat seen;
};

static bool is_taken(struct rename_call *c)
{
	struct entry e = {0};
	bool taken = posix_entry_at(c->p.tx, &c->tn, c->to_name, &e) != -ENOENT;

	entry_release(&e);
	return taken;
}

/* The same message with other capitals, or in cur instead of new. */
static bool keeps_identity(const struct rename_call *c)
{
	struct fname old, new;

	fname_parse(c->from_name, &old);
	fname_parse(c->to_name, &new);
	return guid_equal(&c->fn.mailbox, &c->tn.mailbox) &&
	       old.base_len == new.base_len &&memcmp(c->from_name, c->to_name, old.base_len) == 0 &&
	       !old.keywords && !new.keywords;
}

static bool is_delivery(const struct rename_call *c)
{
	struct fname f;

	fname_parse(c->to_name, &f);
	return c->fn.kind == NODE_TMPFILE && !f.keywords;
}

/* A flag change or a pickup of a message that is there, or a delivery, to a free name. */
static bool is_simple(struct rename_call *c)
{
	struct store *s = c->p.s;
	const char *name;

	if (tree_classify(c->p.tx, s, c->from, &c->fn, &name) < 0 ||
	    tree_classify(c->p.tx, s, c->to, &c->tn, &name) < 0 || c->tn.kind != NODE_MESSAGE ||
	    is_taken(c))
		return false;
	if (c->fn.kind != NODE_MESSAGE)
		return is_delivery(c);
	return keeps_identity(c) &&
	       posix_entry_at(c->p.tx, &c->fn, c->from_name, &c->source) == 0 &&
	       c->source.state == ENTRY_PRESENT;
}

static bool in_one_dir(const struct rename_call *c)
{
	size_t len = (size_t)(c->from_name - c->from);

	return len == (size_t)(c->to_name - c->to) && memcmp(c->from, c->to, len) == 0;
}

static bool open_dirs(struct rename_call *c)
{
	const char *name;

	c->from_dir = at_open_parent(c->p.s->mail_fd, c->from, &name);
	c->to_dir = in_one_dir(c) ? c->from_dir : at_open_parent(c->p.s->mail_fd, c->to, &name);
	return c->from_dir >= 0 && c->to_dir >= 0;
}

static int log_it(struct rename_call *c)
{
	if (c->fn.kind == NODE_MESSAGE)
		return posix_log_rename(&c->p, &c->source, &c->tn, c->to_name, &c->seen);
	c->p.seen = &c->seen;
	return publish(&c->p, c->to, &c->tn, c->to_name, NULL, 0, NULL);
}

static bool rename_back(struct rename_call *c)
{
	bool back = io_renameat2(c->to_dir, c->to_name, c->from_dir, c->from_name,
				 RENAME_NOREPLACE) >= 0;

	if (!back)
		change_stays(c->p.s);
	return back;
}

/* false: the name is taken by a file that the index does not know, or the file is none; nothing is done. */
static bool rename_it(struct rename_call *c, int *ret)
{
	uint64_t appended = c->p.s->appended;

	if (!open_dirs(c) ||
	    io_renameat2(c->from_dir, c->from_name, c->to_dir, c->to_name, RENAME_NOREPLACE) < 0)
		return false;
	if (fstatat(c->to_dir, c->to_name, &c->seen, AT_SYMLINK_NOFOLLOW) < 0 ||
	    !S_ISREG(c->seen.st_mode)) {
		*ret = 0;
		return !rename_back(c); /* where it is, a scan finds it */
	}
	*ret = log_it(c);
	if (*ret < 0 && c->p.s->appended == appended)
		rename_back(c);
	return true;
}

bool rename_later(struct store *s, const char *from, const char *to, unsigned flags,
		  const struct origin *origin, struct stat *ret_seen, int *ret)
{
	struct rename_call c = {
		.p = {.s = s, .origin = origin, .later = last_part(to)},
		.from = from,
		.to = to,
		.from_name = last_part(from),
		.to_name = last_part(to),
		.from_dir = -1,
		.to_dir = -1,
	};
	bool done = false;

	if (flags & ~(unsigned)RENAME_NOREPLACE || !is_settled(s, c.to_name) ||
	    later_has(s, c.from_name) || !later_can(s) || change_room(s, ROOM_ALL) < 0 ||
	    index_begin_now(s->index, false, &c.p.tx) < 0)
		return false;
	change_begin_call(s);
	if (is_simple(&c))
		done = rename_it(&c, ret);
	if (done)
		*ret = change_answer(s, *ret);
	if (done && *ret >= 0)
		*ret_seen = c.seen;
	index_abort(c.p.tx);
	entry_release(&c.source);
	if (c.from_dir >= 0)
		close(c.from_dir);
	if (c.to_dir >= 0 && c.to_dir != c.from_dir)
		close(c.to_dir);
	return done;
}

/* ---- unlink ---- */

/* The body shares its inode with other names: the index, with all that is to come, knows which. */
static void part(struct posix_call *p, const struct entry *e, const char *kept)
{
	struct stat st;

	if (!kept || fstatat(p->s->deleted_fd, kept, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    st.st_nlink < 2)
		return;
	index_abort(MB_TAKE(p->tx));
	if (index_begin(p->s->index, false, &p->tx) >= 0)
		posix_part(p, e, kept);
}

static int expunge(struct posix_call *p, const char *path, struct entry *e)
{
	uint64_t appended = p->s->appended;
	MB_AUTO_FREE char *kept = NULL;
	int err = file_to_deleted(p->s, path, e, false, &kept);

	if (err < 0)
		return err;
	err = posix_log_expunge(p, e, NULL, STAMP_NONE);
	if (err < 0)
		posix_undelete(p, appended, kept, path);
	else
		part(p, e, kept);
	return err < 0 ? err : 0;
}

bool unlink_later(struct store *s, const char *path, const struct origin *origin, int *ret)
{
	struct posix_call p = {.s = s, .origin = origin, .later = last_part(path)};
	struct entry e = {0};
	struct node_info n;
	const char *name;
	bool done = false;

	if (!is_settled(s, p.later) || !later_can(s) || index_begin_now(s->index, false, &p.tx) < 0)
		return false;
	if (tree_classify(p.tx, s, path, &n, &name) == 0 &&
	    posix_entry_at(p.tx, &n, name, &e) == 0 && e.state == ENTRY_PRESENT) {
		change_begin_call(s);
		*ret = change_answer(s, expunge(&p, path, &e));
		done = true;
	}
	index_abort(p.tx);
	entry_release(&e);
	return done;
}
