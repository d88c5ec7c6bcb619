/*
 * folder.c - entries in the order of their cookies, and a hash of their names.
 *
 * Entries lie in one array sorted by cookie; one that is neither listed nor has a node is a hole, and
 * no longer in the hash.  Names lie one behind the other in one text.  When half of either is
 * unused it is packed.  The hash chains places, so that the array may move.
 */
#include "backends/base/hash.h"
#include "backends/base/mem.h"
#include "fs/folder-private.h"
#include <dirent.h>
#include <string.h>

#define FIRST_BUCKETS 16
#define PACK_MIN 64	   /* holes */
#define PACK_TEXT_MIN 4096 /* bytes */

#define LAST "cur"
#define BEFORE_LAST "new"

const char *folder_text(const struct folder *f, const struct folder_entry *e)
{
	return f->text + e->text;
}

const char *folder_text_at(const struct folder *f, uint32_t place)
{
	return folder_text(f, &f->entries[place]);
}

static bool is_hole(const struct folder_entry *e)
{
	return !e->listed && !e->node;
}

/* ---- the hash ---- */

static uint32_t *bucket_of(const struct folder *f, const char *name)
{
	return &f->buckets[checksum64(name, strlen(name), 0) & f->mask];
}

static void chain(struct folder *f, uint32_t i)
{
	uint32_t *b = bucket_of(f, folder_text_at(f, i));

	f->entries[i].hash_next = *b;
	*b = i + 1;
}

static void unchain(struct folder *f, uint32_t i)
{
	uint32_t *p = bucket_of(f, folder_text_at(f, i));

	while (*p != i + 1)
		p = &f->entries[*p - 1].hash_next;
	*p = f->entries[i].hash_next;
}

/* With as many buckets as there are entries, or up to twice that. */
static void rehash(struct folder *f)
{
	f->mask = FIRST_BUCKETS - 1;
	while (f->mask + 1 < f->n)
		f->mask = f->mask * 2 + 1;
	free(f->buckets);
	f->buckets = mb_xcalloc((size_t)f->mask + 1, sizeof(*f->buckets));
	for (uint32_t i = 0; i < f->n; i++)
		if (!is_hole(&f->entries[i]))
			chain(f, i);
}

/* Listed or not. */
static struct folder_entry *find_any(const struct folder *f, const char *name)
{
	uint32_t i = *bucket_of(f, name);

	while (i && strcmp(folder_text_at(f, i - 1), name) != 0)
		i = f->entries[i - 1].hash_next;
	return i ? &f->entries[i - 1] : NULL;
}

struct folder_entry *folder_listed(const struct folder *f, const char *name)
{
	struct folder_entry *e = folder_is_listed(f) ? find_any(f, name) : NULL;

	return e && e->listed ? e : NULL;
}

static uint32_t place_of(const struct folder *f, const struct folder_entry *e)
{
	return (uint32_t)(e - f->entries);
}

/* ---- memory ---- */

struct folder *folder_new(uint64_t first_cookie, folder_moved *moved, void *arg)
{
	struct folder *f = mb_xcalloc(1, sizeof(*f));

	f->next_cookie = first_cookie;
	f->moved = moved;
	f->arg = arg;
	rehash(f);
	return f;
}

static void forget_removed(struct folder *f)
{
	for (size_t i = 0; i < f->n_removed; i++)
		free(f->removed[i]);
	free(f->removed);
	f->removed = NULL;
	f->n_removed = f->removed_cap = 0;
}

void folder_free(struct folder *f)
{
	if (!f)
		return;
	forget_removed(f);
	free(f->entries);
	free(f->text);
	free(f->buckets);
	free(f);
}

static void set_cap(struct folder *f, uint32_t cap)
{
	f->entries = mb_xreallocarray(f->entries, cap, sizeof(*f->entries));
	f->cap = cap;
}

static void set_text_cap(struct folder *f, uint32_t cap)
{
	f->text = mb_xrealloc(f->text, cap);
	f->text_cap = cap;
}

/* By a quarter: what is left over is not worth more than that. */
static uint32_t grown(uint32_t cap, size_t need)
{
	uint64_t to = (uint64_t)cap + cap / 4 + 8;

	if (to < need)
		to = need;
	if (to > UINT32_MAX) /* of names in one directory: some ten million of the longest */
		mb_out_of_memory();
	return (uint32_t)to;
}

static uint32_t add_text(struct folder *f, const char *name)
{
	size_t len = strlen(name) + 1;
	uint32_t at = f->text_len;

	if (len > f->text_cap - f->text_len)
		set_text_cap(f, grown(f->text_cap, f->text_len + len));
	memcpy(f->text + at, name, len);
	f->text_len += (uint32_t)len;
	return at;
}

static void drop_text(struct folder *f, const struct folder_entry *e)
{
	f->text_unused += (uint32_t)strlen(folder_text(f, e)) + 1;
}

/* Gives back what growing took too much. */
static void fit(struct folder *f)
{
	set_cap(f, f->n + f->n / 32 + 8);
	set_text_cap(f, f->text_len + f->text_len / 32 + 64);
}

static void pack_text(struct folder *f)
{
	char *old = f->text;

	f->text = mb_xmalloc(f->text_len - f->text_unused + 1);
	f->text_cap = f->text_len - f->text_unused + 1;
	f->text_len = f->text_unused = 0;
	for (uint32_t i = 0; i < f->n; i++)
		if (!is_hole(&f->entries[i]))
			f->entries[i].text = add_text(f, old + f->entries[i].text);
	free(old);
}

static void pack_entries(struct folder *f)
{
	uint32_t to = 0;

	for (uint32_t i = 0; i < f->n; i++) {
		if (is_hole(&f->entries[i]))
			continue;
		f->entries[to] = f->entries[i];
		if (to != i && f->entries[to].node && f->moved)
			f->moved(f->arg, f->entries[to].node, i, to);
		to++;
	}
	f->n = to;
	f->holes = 0;
}

/* After something went.  Places may change. */
static void pack(struct folder *f)
{
	bool text = f->text_unused > PACK_TEXT_MIN && f->text_unused > f->text_len / 2;
	bool entries = f->holes > PACK_MIN && f->holes > f->n / 2;

	if (text || entries)
		pack_text(f);
	if (entries) {
		pack_entries(f);
		fit(f);
		rehash(f);
	}
}

/* ---- entries ---- */

/* A new entry at the end: to be listed, or given a node, at once. */
static struct folder_entry *append(struct folder *f, const char *name)
{
	uint32_t text = add_text(f, name);
	struct folder_entry *e;

	if (f->n == f->cap)
		set_cap(f, grown(f->cap, 0));
	e = &f->entries[f->n++];
	*e = (struct folder_entry){.cookie = f->next_cookie++, .text = text};
	if (f->n > f->mask + 1) {
		e->listed = 1; /* no hole */
		rehash(f);
		e->listed = 0;
	} else {
		chain(f, f->n - 1);
	}
	return e;
}

static void list(struct folder *f, struct folder_entry *e, unsigned char type, uint64_t ino)
{
	e->listed = 1;
	e->type = type & 15;
	e->ino = ino;
	f->n_listed++;
}

/* Neither listed nor with a node: its place stays empty until the array is packed. */
static void make_hole(struct folder *f, struct folder_entry *e)
{
	unchain(f, place_of(f, e));
	drop_text(f, e);
	f->holes++;
}

static void unlist(struct folder *f, struct folder_entry *e)
{
	folder_forget_attr(f, e);
	e->listed = 0;
	f->n_listed--;
	if (!e->node)
		make_hole(f, e);
}

static void hand_node(struct folder *f, struct folder_entry *from, struct folder_entry *to)
{
	if (!from->node)
		return;
	to->node = from->node;
	from->node = 0;
	if (f->moved)
		f->moved(f->arg, to->node, place_of(f, from), place_of(f, to));
}

/* ---- loading ---- */

static bool was_removed(const struct folder *f, const char *name)
{
	for (size_t i = 0; i < f->n_removed; i++)
		if (strcmp(f->removed[i], name) == 0)
			return true;
	return false;
}

static void note_removed(struct folder *f, const char *name)
{
	if (!f->loading || was_removed(f, name))
		return;
	MB_GROW(f->removed, f->removed_cap, f->n_removed + 1);
	f->removed[f->n_removed++] = mb_xstrdup(name);
}

void folder_begin_load(struct folder *f)
{
	f->listed = f->loading = true;
}

static bool is_last(const char *name, unsigned char type)
{
	return type == DT_DIR && strcmp(name, LAST) == 0;
}

/* Lists a name that is not. */
static void add(struct folder *f, const char *name, unsigned char type, uint64_t ino)
{
	struct folder_entry *e = find_any(f, name);

	list(f, e ? e : append(f, name), type, ino);
}

void folder_load(struct folder *f, const char *name, unsigned char type, uint64_t ino)
{
	if (is_last(name, type)) {
		f->has_last = true;
		f->last_ino = ino;
	} else if (!folder_listed(f, name) && !was_removed(f, name)) {
		add(f, name, type, ino);
	}
}

/* LAST, which may have a place already, gets one at the end, and is listed there. */
static void add_last(struct folder *f, uint64_t ino)
{
	const struct folder_entry *had = find_any(f, LAST);
	uint32_t was = had ? place_of(f, had) : 0;
	struct folder_entry *e;

	list(f, append(f, LAST), DT_DIR, ino);
	if (!had)
		return;
	e = &f->entries[was];
	hand_node(f, e, &f->entries[f->n - 1]);
	if (e->listed)
		unlist(f, e);
	else
		make_hole(f, e);
}

void folder_end_load(struct folder *f)
{
	if (f->has_last && !folder_listed(f, LAST) && !was_removed(f, LAST))
		add_last(f, f->last_ino);
	f->has_last = false;
	f->loading = false;
	forget_removed(f);
	fit(f);
}

void folder_unload(struct folder *f)
{
	for (uint32_t i = 0; i < f->n; i++)
		if (f->entries[i].listed)
			unlist(f, &f->entries[i]);
	f->listed = f->loading = f->has_last = false;
	forget_removed(f);
	pack(f);
	fit(f);
}

bool folder_is_listed(const struct folder *f)
{
	return f && f->listed;
}

/* ---- changes ---- */

/* `name` has come: what is listed last gets its place behind it. */
static void put_last(struct folder *f, const char *name)
{
	const struct folder_entry *e =
		strcmp(name, BEFORE_LAST) == 0 ? folder_listed(f, LAST) : NULL;

	if (e && is_last(LAST, e->type))
		add_last(f, e->ino);
}

bool folder_add(struct folder *f, const char *name, unsigned char type, uint64_t ino)
{
	struct folder_entry *e = folder_listed(f, name);

	if (!folder_is_listed(f))
		return false;
	if (!e) {
		add(f, name, type, ino);
		put_last(f, name);
		return true;
	}
	e->type = type & 15;
	e->ino = ino;
	folder_forget_attr(f, e);
	return false;
}

bool folder_remove(struct folder *f, const char *name)
{
	struct folder_entry *e = folder_listed(f, name);

	if (!folder_is_listed(f))
		return false;
	note_removed(f, name);
	if (!e)
		return false;
	unlist(f, e);
	pack(f);
	return true;
}

bool folder_rename(struct folder *f, const char *from, const char *to)
{
	struct folder_entry *e = folder_listed(f, from), *over;
	uint32_t text;

	if (!folder_is_listed(f))
		return false;
	note_removed(f, from);
	if (!e)
		return false;
	over = find_any(f, to);
	if (e == over)
		return true;
	if (over) {
		hand_node(f, over, e);
		if (over->listed)
			unlist(f, over);
		else
			make_hole(f, over);
	}
	unchain(f, place_of(f, e));
	drop_text(f, e);
	text = add_text(f, to);
	e->text = text;
	folder_forget_attr(f, e); /* ctime */
	chain(f, place_of(f, e));
	put_last(f, to);
	pack(f);
	return true;
}

/* ---- reading ---- */

const struct folder_entry *folder_after(const struct folder *f, uint64_t cookie)
{
	size_t low = 0, high = folder_is_listed(f) ? f->n : 0, n = high;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (f->entries[mid].cookie <= cookie)
			low = mid + 1;
		else
			high = mid;
	}
	while (low < n && !f->entries[low].listed)
		low++;
	return low < n ? &f->entries[low] : NULL;
}

const struct folder_entry *folder_find(const struct folder *f, const char *name)
{
	return folder_listed(f, name);
}

size_t folder_count(const struct folder *f)
{
	return f ? f->n_listed : 0;
}

/* ---- nodes ---- */

uint32_t folder_node(const struct folder *f, const char *name)
{
	const struct folder_entry *e = f ? find_any(f, name) : NULL;

	return e ? e->node : 0;
}

uint32_t folder_bind(struct folder *f, const char *name, uint32_t node)
{
	struct folder_entry *e = find_any(f, name);

	if (!e)
		e = append(f, name);
	e->node = node;
	return place_of(f, e);
}

void folder_unbind(struct folder *f, uint32_t place)
{
	struct folder_entry *e = &f->entries[place];

	e->node = 0;
	if (e->listed)
		return;
	make_hole(f, e);
	pack(f);
}
