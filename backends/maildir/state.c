/*
 * state.c - the Maildir's states: what is agreed, and what was found to differ.
 *
 * What did not change carries no stamps of its own, so that whatever the local side did wins; what
 * did change carries the stamp that it got when it was found.
 */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/maildir/maildir.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* ---- Files ------------------------------------------------------------------------------------ */

char *md_file_path(struct maildir *m, struct md_file *f, int *err)
{
	*err = f->name ? 0 : md_names(m, f->box);
	if (!*err && (!f->name || f->missing || !f->box->dir))
		*err = -ENOENT;
	return *err ? NULL : md_sub_path(f->box, f->in_new ? "new" : "cur", f->name);
}

int md_stat_file(struct maildir *m, struct md_file *f, struct stat *ret)
{
	int err;
	MB_AUTO_FREE char *path = md_file_path(m, f, &err);

	return err ? err : at_stat(m->root, path, ret);
}

static int open_file(struct maildir *m, struct md_file *f)
{
	int err;
	MB_AUTO_FREE char *path = md_file_path(m, f, &err);

	return err ? err : at_open_regular(m->root, path, O_RDONLY);
}

/* A program may have renamed it since its name was read. */
int md_open_file(struct maildir *m, struct md_file *f)
{
	int fd = open_file(m, f);

	if (fd != -ENOENT || f->missing)
		return fd;
	f->box->named = false;
	fd = md_names(m, f->box);
	return fd ? fd : open_file(m, f);
}

int md_digest_file(struct maildir *m, struct md_file *f, struct digest *ret)
{
	MB_AUTO_CLOSE int fd = -1;
	int err;

	if (digest_known(&f->digest)) {
		*ret = f->digest;
		return 0;
	}
	fd = md_open_file(m, f);
	if (fd < 0)
		return fd;
	err = digest_fd(fd, &f->digest, NULL);
	if (err)
		return err;
	f->dirty = true;
	*ret = f->digest;
	return 0;
}

/* ---- States ----------------------------------------------------------------------------------- */

int md_tree(struct backend *b, struct tree *ret)
{
	*ret = (struct tree){0};
	tree_clone(ret, &maildir_of(b)->tree);
	return 0;
}

static void give_keywords(struct maildir *m, struct md_file *f, struct flags *flags)
{
	uint32_t changed = f->before.keywords ^ f->now.keywords;

	if (!changed && !f->now.keywords)
		return;
	md_letters_read(m, f->box);
	for (int i = 0; i < LETTERS; i++) {
		bool set = f->now.keywords & 1u << i, differs = changed & 1u << i;

		if (f->box->letters[i] && (set || differs))
			flags_put_keyword(flags, f->box->letters[i], set,
					  differs ? f->changed_at : STAMP_NONE);
	}
}

static void give_flags(struct maildir *m, struct md_file *f, struct flags *flags)
{
	uint8_t changed = f->before.flags ^ f->now.flags;

	flags->set = f->now.flags;
	for (int i = 0; i < FLAG_COUNT; i++)
		if (changed & FLAG_MASK(i))
			flags->at[i] = f->changed_at;
	give_keywords(m, f, flags);
}

static void give_content(const struct md_file *f, struct copy *c)
{
	struct fname n;

	c->size = f->size;
	c->digest = f->digest;
	c->recent = f->in_new && !f->now.flags;
	if (!f->agreed)
		c->received_ns = f->mtime_ns;
	if (!f->name)
		return;
	fname_parse(f->name, &n);
	c->place.base = mb_xstrndup(f->name, n.base_len);
}

static void give_copy(struct maildir *m, struct md_file *f, struct copy *c)
{
	c->guid = f->guid;
	c->id = f->id;
	c->place.mailbox = f->box->guid;
	c->place.at = f->placed_at;
	c->unagreed = !f->agreed;
	c->dead = f->dead;
	c->dead_at = f->dead_at;
	c->via = f->via;
	c->via_seen = f->via_seen;
	give_flags(m, f, &c->flags);
	give_content(f, c);
}

int md_message_verb(struct backend *b, const struct guid *guid, struct message *ret)
{
	struct maildir *m = maildir_of(b);
	struct md_message *msg;

	*ret = (struct message){.guid = *guid};
	HASH_FIND(hh, m->messages, guid, sizeof(*guid), msg);
	for (struct md_file *f = msg ? msg->files : NULL; f; f = f->next)
		if (!f->queued || f->name)
			give_copy(m, f, message_add(ret, f->id));
	return 0;
}

/* ---- News ------------------------------------------------------------------------------------- */

static void add_message(struct change_set *c, const struct guid *g)
{
	MB_GROW(c->messages, c->cap_messages, c->n_messages + 1);
	c->messages[c->n_messages++] = *g;
}

static void add_mailbox(struct change_set *c, const struct guid *g)
{
	MB_GROW(c->mailboxes, c->cap_mailboxes, c->n_mailboxes + 1);
	c->mailboxes[c->n_mailboxes++] = *g;
}

int md_changes(struct backend *b, const struct position *since, uint64_t except,
	       struct change_set *ret)
{
	struct maildir *m = maildir_of(b);
	struct md_message *msg, *next;
	struct md_box *box, *next_box;

	(void)since, (void)except;
	*ret = (struct change_set){0};
	HASH_ITER (hh, m->boxes, box, next_box) {
		if (!box->agreed || box->misplaced || (box->gone && !box->held) ||
		    !stamp_is_none(&box->subs.at))
			add_mailbox(ret, &box->guid);
	}
	HASH_ITER (hh, m->messages, msg, next) {
		const struct md_file *f = msg->files;

		while (f && !md_is_news(f))
			f = f->next;
		if (f)
			add_message(ret, &msg->guid);
	}
	return 0;
}

static int guid_order(const void *a, const void *b)
{
	return guid_compare(a, b);
}

int md_each_message(struct backend *b, const struct guid *after,
		    int (*fn)(const struct guid *g, void *arg), void *arg)
{
	struct maildir *m = maildir_of(b);
	struct md_message *msg, *next;
	struct guid *guids MB_AUTO_FREE = mb_xcalloc(HASH_COUNT(m->messages), sizeof(*guids));
	size_t n = 0;
	int err = 0;

	HASH_ITER (hh, m->messages, msg, next) {
		if (!after || guid_compare(&msg->guid, after) > 0)
			guids[n++] = msg->guid;
	}
	if (n)
		qsort(guids, n, sizeof(*guids), guid_order);
	for (size_t i = 0; !err && i < n; i++)
		err = fn(&guids[i], arg);
	return err;
}
