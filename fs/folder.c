/*
 * folder.c - names of a directory in the order of their cookies, and a hash of them.
 *
 * Entries lie in one array sorted by cookie; a removed one leaves a hole (name NULL) until half of
 * the array is holes.  The hash chains indices, so that the array may move.
 */
#include "fs/folder.h"
#include "backends/base/clock.h"
#include "backends/base/hash.h"
#include "backends/base/mem.h"
#include <dirent.h>
#include <string.h>

#define FIRST_BUCKETS 64
#define COMPACT_MIN 64

#define MAX_OWNERS 16

#define LAST "cur"
#define BEFORE_LAST "new"

/* Mails of one folder have few kinds of these: an entry has the place in a table, plus 1. */
struct owner {
	mode_t mode;
	uid_t uid;
	gid_t gid;
};

struct folder {
	struct folder_entry *entries;
	size_t n, cap, holes;
	uint32_t *buckets; /* index + 1, 0 = none */
	size_t mask;
	uint64_t next_cookie;
	uint64_t attr_age;
	dev_t dev;
	struct owner owners[MAX_OWNERS];
	uint8_t n_owners;
	bool loading;
	bool has_last; /* LAST was loaded, and is added when all else is */
	uint64_t last_ino;
	char **removed; /* names that went while loading */
	size_t n_removed, removed_cap;
};

static uint32_t *bucket_of(const struct folder *f, const char *name)
{
	return &f->buckets[checksum64(name, strlen(name), 0) & f->mask];
}

static void chain(struct folder *f, uint32_t i)
{
	uint32_t *b = bucket_of(f, f->entries[i].name);

	f->entries[i].hash_next = *b;
	*b = i + 1;
}

static void unchain(struct folder *f, uint32_t i)
{
	uint32_t *p = bucket_of(f, f->entries[i].name);

	while (*p != i + 1)
		p = &f->entries[*p - 1].hash_next;
	*p = f->entries[i].hash_next;
}

static void rehash(struct folder *f)
{
	while (f->mask + 1 < f->n)
		f->mask = f->mask * 2 + 1;
	free(f->buckets);
	f->buckets = mb_xcalloc(f->mask + 1, sizeof(*f->buckets));
	for (size_t i = 0; i < f->n; i++)
		if (f->entries[i].name)
			chain(f, (uint32_t)i);
}

struct folder *folder_new(uint64_t first_cookie)
{
	struct folder *f = mb_xcalloc(1, sizeof(*f));

	f->next_cookie = first_cookie;
	f->mask = FIRST_BUCKETS - 1;
	f->buckets = mb_xcalloc(FIRST_BUCKETS, sizeof(*f->buckets));
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
	for (size_t i = 0; i < f->n; i++)
		free(f->entries[i].name);
	forget_removed(f);
	free(f->entries);
	free(f->buckets);
	free(f);
}

static void compact(struct folder *f)
{
	size_t to = 0;

	for (size_t i = 0; i < f->n; i++)
		if (f->entries[i].name)
			f->entries[to++] = f->entries[i];
	f->n = to;
	f->holes = 0;
	rehash(f);
}

static struct folder_entry *find(const struct folder *f, const char *name)
{
	uint32_t i = *bucket_of(f, name);

	while (i && strcmp(f->entries[i - 1].name, name) != 0)
		i = f->entries[i - 1].hash_next;
	return i ? &f->entries[i - 1] : NULL;
}

static void append(struct folder *f, const char *name, unsigned char type, uint64_t ino)
{
	MB_GROW(f->entries, f->cap, f->n + 1);
	f->entries[f->n++] = (struct folder_entry){
		.cookie = f->next_cookie++,
		.ino = ino,
		.name = mb_xstrdup(name),
		.type = type,
	};
	if (f->n > f->mask + 1)
		rehash(f);
	else
		chain(f, (uint32_t)f->n - 1);
}

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
	f->loading = true;
}

static bool is_last(const char *name, unsigned char type)
{
	return type == DT_DIR && strcmp(name, LAST) == 0;
}

void folder_load(struct folder *f, const char *name, unsigned char type, uint64_t ino)
{
	if (is_last(name, type)) {
		f->has_last = true;
		f->last_ino = ino;
	} else if (!find(f, name) && !was_removed(f, name)) {
		append(f, name, type, ino);
	}
}

void folder_end_load(struct folder *f)
{
	if (f->has_last && !find(f, LAST) && !was_removed(f, LAST))
		append(f, LAST, DT_DIR, f->last_ino);
	f->has_last = false;
	f->loading = false;
	forget_removed(f);
}

static void forget_attr(struct folder *f, struct folder_entry *e)
{
	e->attr = (struct folder_attr){0};
	f->attr_age++;
}

static void make_hole(struct folder *f, struct folder_entry *e)
{
	unchain(f, (uint32_t)(e - f->entries));
	forget_attr(f, e);
	free(e->name);
	e->name = NULL;
	f->holes++;
}

/* `name` has come: what is listed last gets its place behind it. */
static void put_last(struct folder *f, const char *name)
{
	struct folder_entry *e = strcmp(name, BEFORE_LAST) == 0 ? find(f, LAST) : NULL;
	struct folder_entry was;

	if (!e || !is_last(e->name, e->type))
		return;
	was = *e;
	make_hole(f, e);
	append(f, LAST, was.type, was.ino);
}

bool folder_add(struct folder *f, const char *name, unsigned char type, uint64_t ino)
{
	struct folder_entry *e = find(f, name);

	if (!e) {
		append(f, name, type, ino);
		put_last(f, name);
		return true;
	}
	e->type = type;
	e->ino = ino;
	forget_attr(f, e);
	return false;
}

bool folder_remove(struct folder *f, const char *name)
{
	struct folder_entry *e = find(f, name);

	note_removed(f, name);
	if (!e)
		return false;
	make_hole(f, e);
	if (f->holes > COMPACT_MIN && f->holes > f->n / 2)
		compact(f);
	return true;
}

bool folder_rename(struct folder *f, const char *from, const char *to)
{
	struct folder_entry *e = find(f, from);
	struct folder_entry *over = find(f, to);

	note_removed(f, from);
	if (!e)
		return false;
	if (e == over)
		return true;
	if (over)
		make_hole(f, over);
	unchain(f, (uint32_t)(e - f->entries));
	free(e->name);
	e->name = mb_xstrdup(to);
	forget_attr(f, e); /* ctime */
	chain(f, (uint32_t)(e - f->entries));
	put_last(f, to);
	return true;
}

const struct folder_entry *folder_after(const struct folder *f, uint64_t cookie)
{
	size_t low = 0, high = f->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (f->entries[mid].cookie <= cookie)
			low = mid + 1;
		else
			high = mid;
	}
	while (low < f->n && !f->entries[low].name)
		low++;
	return low < f->n ? &f->entries[low] : NULL;
}

const struct folder_entry *folder_find(const struct folder *f, const char *name)
{
	return find(f, name);
}

uint64_t folder_next_cookie(const struct folder *f)
{
	return f->next_cookie;
}

size_t folder_count(const struct folder *f)
{
	return f->n - f->holes;
}

/* ---- attributes ---- */

uint64_t folder_attr_age(const struct folder *f)
{
	return f->attr_age;
}

/* Place of the owner in the table, plus 1; 0: the table is full. */
static uint8_t owner_of(struct folder *f, const struct stat *st)
{
	for (uint8_t i = 0; i < f->n_owners; i++) {
		const struct owner *o = &f->owners[i];

		if (o->mode == st->st_mode && o->uid == st->st_uid && o->gid == st->st_gid)
			return i + 1;
	}
	if (f->n_owners == MAX_OWNERS)
		return 0;
	f->owners[f->n_owners++] = (struct owner){st->st_mode, st->st_uid, st->st_gid};
	return f->n_owners;
}

static bool can_keep(const struct stat *st)
{
	return S_ISREG(st->st_mode) && st->st_nlink == 1 && st->st_size <= UINT32_MAX &&
	       st->st_blocks <= UINT32_MAX;
}

void folder_attr_put(struct folder *f, const char *name, const struct stat *st, uint64_t ordinal,
		     uint64_t age)
{
	struct folder_entry *e = find(f, name);

	if (!e || age != f->attr_age || !can_keep(st) || st->st_ino != e->ino)
		return;
	f->dev = st->st_dev;
	e->attr = (struct folder_attr){
		.mtime_ns = clock_timespec_ns(&st->st_mtim),
		.ctime_ns = clock_timespec_ns(&st->st_ctim),
		.atime_ns = clock_timespec_ns(&st->st_atim),
		.ordinal = ordinal,
		.size = (uint32_t)st->st_size,
		.blocks = (uint32_t)st->st_blocks,
		.owner = owner_of(f, st),
	};
}

bool folder_attr_get(const struct folder *f, const struct folder_entry *e, struct stat *ret)
{
	const struct folder_attr *a = &e->attr;

	if (!a->owner)
		return false;
	*ret = (struct stat){
		.st_dev = f->dev,
		.st_ino = e->ino,
		.st_nlink = 1,
		.st_mode = f->owners[a->owner - 1].mode,
		.st_uid = f->owners[a->owner - 1].uid,
		.st_gid = f->owners[a->owner - 1].gid,
		.st_size = a->size,
		.st_blocks = a->blocks,
		.st_blksize = 4096,
		.st_mtim = clock_timespec(a->mtime_ns),
		.st_ctim = clock_timespec(a->ctime_ns),
		.st_atim = clock_timespec(a->atime_ns),
	};
	return true;
}

void folder_attr_drop(struct folder *f, const char *name)
{
	struct folder_entry *e = find(f, name);

	if (e)
		forget_attr(f, e);
	else
		f->attr_age++;
}
