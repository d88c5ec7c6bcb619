/*
 * folder-attr.c - what a listing keeps of the stats of its files.
 */
#include "backends/base/clock.h"
#include "fs/folder-private.h"

void folder_forget_attr(struct folder *f, struct folder_entry *e)
{
	e->owner = 0;
	e->ordinal = e->blocks = 0;
	f->attr_age++;
}

uint64_t folder_attr_age(const struct folder *f)
{
	return f ? f->attr_age : 0;
}

/* Place of the owner in the table, plus 1; 0: the table is full. */
static uint8_t owner_of(struct folder *f, const struct stat *st)
{
	for (uint8_t i = 0; i < f->n_owners; i++) {
		const struct owner *o = &f->owners[i];

		if (o->mode == st->st_mode && o->uid == st->st_uid && o->gid == st->st_gid)
			return i + 1;
	}
	if (f->n_owners == FOLDER_OWNERS)
		return 0;
	f->owners[f->n_owners++] = (struct owner){st->st_mode, st->st_uid, st->st_gid};
	return f->n_owners;
}

/* What fits into an entry: 32 MiB on the disk at most. */
static bool can_keep(const struct stat *st, uint64_t ordinal)
{
	return S_ISREG(st->st_mode) && st->st_nlink == 1 && st->st_size <= UINT32_MAX &&
	       st->st_blocks <= UINT16_MAX && ordinal < 1ull << 48;
}

void folder_attr_put(struct folder *f, const char *name, const struct stat *st, uint64_t ordinal,
		     uint64_t age)
{
	struct folder_entry *e = folder_listed(f, name);

	if (!e || age != f->attr_age || !can_keep(st, ordinal) || st->st_ino != e->ino)
		return;
	f->dev = st->st_dev;
	e->mtime_ns = clock_timespec_ns(&st->st_mtim);
	e->ctime_ns = clock_timespec_ns(&st->st_ctim);
	e->atime_ns = clock_timespec_ns(&st->st_atim);
	e->ordinal = ordinal & ((1ull << 48) - 1);
	e->size = (uint32_t)st->st_size;
	e->blocks = (uint16_t)st->st_blocks;
	e->owner = owner_of(f, st) & 31;
}

bool folder_attr_get(const struct folder *f, const struct folder_entry *e, struct stat *ret)
{
	const struct owner *o;

	if (!e->owner)
		return false;
	o = &f->owners[e->owner - 1];
	*ret = (struct stat){
		.st_dev = f->dev,
		.st_ino = e->ino,
		.st_nlink = 1,
		.st_mode = o->mode,
		.st_uid = o->uid,
		.st_gid = o->gid,
		.st_size = e->size,
		.st_blocks = e->blocks,
		.st_blksize = 4096,
		.st_mtim = clock_timespec(e->mtime_ns),
		.st_ctim = clock_timespec(e->ctime_ns),
		.st_atim = clock_timespec(e->atime_ns),
	};
	return true;
}

void folder_attr_drop(struct folder *f, const char *name)
{
	struct folder_entry *e = folder_listed(f, name);

	if (e)
		folder_forget_attr(f, e);
	else if (f)
		f->attr_age++;
}
