/*
 * node-name.c - the names of nodes, and paths made of them.
 *
 * A name lies in its directory's folder, which knows the node's number; the node knows the directory's
 * number and the place there.  When the folder moves names about, name_moved() follows.
 * Locks: the caller's (the table lock).
 */
#include "backends/base/mem.h"
#include "fs/folder.h"
#include "fs/node-private.h"
#include <errno.h>
#include <string.h>

static bool is_message_dir(const struct node *dir)
{
	return dir->dir->kind == NODE_CUR || dir->dir->kind == NODE_NEW;
}

/* ---- the places of one node ---- */

static struct name_place *place_at(struct node *n, unsigned i)
{
	if (i == 0)
		return node_has_name(n) ? &n->name : NULL;
	return n->more && i <= n->more->n_names ? &n->more->names[i - 1] : NULL;
}

static struct name_place *place_find(struct node *n, struct name_place wanted)
{
	struct name_place *p;

	for (unsigned i = 0; (p = place_at(n, i)); i++)
		if (p->dir == wanted.dir && p->at == wanted.at)
			return p;
	return NULL;
}

static void place_add(struct node *n, struct name_place p)
{
	struct more *m;

	if (node_has_name(n)) {
		m = node_more(n);
		m->names = mb_xreallocarray(m->names, m->n_names + 1, sizeof(*m->names));
		memmove(m->names + 1, m->names, m->n_names * sizeof(*m->names));
		m->names[0] = n->name;
		m->n_names++;
	}
	n->name = p;
}

static void place_remove(struct node *n, struct name_place *p)
{
	struct more *m = n->more;

	if (!m || m->n_names == 0) {
		n->name = (struct name_place){0};
		return;
	}
	if (p == &n->name) {
		n->name = m->names[0];
		p = m->names;
	}
	m->n_names--;
	memmove(p, p + 1, (m->n_names - (size_t)(p - m->names)) * sizeof(*p));
}

/* A folder's: a name of one of its nodes is elsewhere now. */
static void name_moved(void *arg, uint32_t node, uint32_t from, uint32_t to)
{
	const struct node *dir = arg;
	struct name_place was = {pool_id(dir), from};

	place_find(node_by_id(dir, node), was)->at = to;
}

struct folder *node_folder(struct node *dir)
{
	if (!dir->dir->folder)
		dir->dir->folder = folder_new(3, name_moved, dir); /* 1, 2 are "." and ".." */
	return dir->dir->folder;
}

/* ---- adding and dropping ---- */

struct node *node_at(const struct node *dir, const char *name)
{
	return node_by_id(dir, folder_node(dir->dir->folder, name));
}

void node_add_name(struct node_table *t, struct node *n, struct node *dir, const char *name)
{
	if (node_at(dir, name))
		return;
	if (!n->hashed) /* it had lost all its names */
		node_unhide(t, n);
	node_ref(dir);
	place_add(n, (struct name_place){pool_id(dir),
					 folder_bind(node_folder(dir), name, pool_id(n))});
	t->n_names++;
}

static struct node *name_out(struct node_table *t, struct node *n, struct name_place *p)
{
	struct name_place was = *p;
	struct node *dir = node_by_id(n, was.dir);

	place_remove(n, p);
	folder_unbind(dir->dir->folder, was.at);
	t->n_names--;
	return dir;
}

struct node *node_name_out(struct node_table *t, struct node *n)
{
	return node_has_name(n) ? name_out(t, n, &n->name) : NULL;
}

static struct name_place *place_named(struct node *n, const struct node *dir, const char *name)
{
	uint32_t id = pool_id(dir);
	struct name_place *p;

	for (unsigned i = 0; (p = place_at(n, i)); i++)
		if (p->dir == id && strcmp(folder_text_at(dir->dir->folder, p->at), name) == 0)
			return p;
	return NULL;
}

void node_drop_name(struct node_table *t, struct node *dir, const char *name)
{
	struct node *n = node_at(dir, name);

	if (!n)
		return;
	node_ref(n);
	name_out(t, n, place_named(n, dir, name));
	if (!node_has_name(n))
		node_hide(t, n);
	node_unref(t, n);
	node_unref(t, dir);
}

static void drop_all_names(struct node_table *t, struct node *n)
{
	node_ref(n);
	while (node_has_name(n))
		node_unref(t, node_name_out(t, n));
	n->refs--;
}

bool node_rename_listed(struct node_table *t, struct node *dir, const char *from, const char *to)
{
	struct folder *f = dir->dir->folder;

	if (strcmp(from, to) != 0 && folder_find(f, from) && folder_node(f, from))
		node_drop_name(t, dir, to);
	return folder_rename(f, from, to);
}

/* ---- what a look-up says ---- */

/* The node for a name of this file in `dir` that is not known yet.  A link in tmp will be a message by a
 * rename, with which the kernel keeps its node: it is one of its own from the start. */
static struct node *node_for_name(struct node_table *t, const struct node *dir,
				  const struct stat *st)
{
	struct node *n = node_get(t, st);
	struct name name;

	if (node_is_dir(n) || st->st_nlink == 1 ||
	    !(is_message_dir(dir) || dir->dir->kind == NODE_TMP))
		return n;
	while (n && node_message_name(n, &name))
		n = node_next_sibling(n);
	return n ? n : node_new(t, st);
}

struct node *node_bind(struct node_table *t, struct node *dir, const char *name,
		       const struct stat *st)
{
	struct node *had = node_at(dir, name), *n;

	if (had && had->hashed && node_is(had, st) && node_type(had) == (st->st_mode & S_IFMT))
		return had;
	n = node_for_name(t, dir, st);
	node_ref(n);
	node_drop_name(t, dir, name);
	if (node_has_name(n) && (node_is_dir(n) || st->st_nlink == 1))
		drop_all_names(t, n);
	n->token = false;
	node_add_name(t, n, dir, name);
	n->refs--;
	return n;
}

/* ---- reading ---- */

bool node_name(const struct node *n, unsigned i, struct name *ret)
{
	const struct name_place *p = place_at((struct node *)(uintptr_t)n, i);

	if (!p)
		return false;
	ret->dir = node_by_id(n, p->dir);
	ret->text = folder_text_at(ret->dir->dir->folder, p->at);
	return true;
}

bool node_message_name(const struct node *n, struct name *ret)
{
	struct name name;

	for (unsigned i = 0; node_name(n, i, &name); i++) {
		if (!is_message_dir(name.dir))
			continue;
		*ret = name;
		return true;
	}
	return false;
}

unsigned node_n_message_names(const struct node *n)
{
	struct name name;
	unsigned count = 0;

	for (unsigned i = 0; node_name(n, i, &name); i++)
		count += is_message_dir(name.dir);
	return count;
}

unsigned node_n_names(const struct node *n)
{
	return node_has_name(n) ? 1 + (n->more ? n->more->n_names : 0) : 0;
}

unsigned node_n_links(struct node_table *t, const struct node *n)
{
	unsigned count = 0;

	if (!n->hashed)
		return node_n_names(n);
	for (const struct node *s = node_find(t, node_dev(n), n->ino); s; s = node_next_sibling(s))
		count += node_n_names(s);
	return count;
}

/* ---- paths ---- */

int node_path(const struct node *dir, const char *name, char out[AT_PATH_MAX])
{
	size_t at = AT_PATH_MAX - 1;
	size_t len = name ? strlen(name) : 0;
	struct name up;

	if (len >= AT_PATH_MAX)
		return -ENAMETOOLONG;
	out[at] = '\0';
	at -= len;
	memcpy(out + at, name ? name : "", len);
	for (; node_name(dir, 0, &up); dir = up.dir) {
		len = strlen(up.text);
		if (len + 1 > at)
			return -ENAMETOOLONG;
		if (out[at])
			out[--at] = '/';
		at -= len;
		memcpy(out + at, up.text, len);
	}
	memmove(out, out + at, AT_PATH_MAX - at);
	/* Only the root has no name and is still found by its inode. */
	return dir->hashed ? 0 : -ENOENT;
}

int node_any_path(const struct node *n, char out[AT_PATH_MAX])
{
	struct name name;

	if (node_is_dir(n))
		return node_path(n, NULL, out);
	if (!node_message_name(n, &name) && !node_name(n, 0, &name))
		return -ENOENT;
	return node_path(name.dir, name.text, out);
}

struct node *node_walk(struct node_table *t, const char *path, size_t len)
{
	struct node *n = t->root;
	char name[NAME_MAX + 1];

	while (len > 0 && n) {
		const char *slash = memchr(path, '/', len);
		size_t part = slash ? (size_t)(slash - path) : len;

		if (part > NAME_MAX || !node_is_dir(n))
			return NULL;
		memcpy(name, path, part);
		name[part] = '\0';
		n = node_at(n, name);
		part += slash ? 1 : 0;
		path += part;
		len -= part;
	}
	return n;
}
