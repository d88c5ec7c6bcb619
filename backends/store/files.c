/*
 * files.c - names of message files, the way to deleted/, keyword letters.
 *
 * The letters a to z are slots of a mailbox's dovecot-keywords file; where there is none, letters in
 * names are kept as they are and mean nothing to us.
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
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

char *entry_path(struct index_txn *tx, const struct entry *e)
{
	MB_AUTO_FREE char *dir = NULL;

	if (!e->file || mailbox_dir(tx, &e->copy.place.mailbox, &dir) < 0)
		return NULL;
	return path_join(dir, e->in_new ? "new" : "cur", e->file);
}

int mailbox_keyword_letters(struct store *s, const char *dir, char *names[26])
{
	uint32_t taken;

	return mailbox_keyword_slots(s, dir, names, &taken);
}

int mailbox_keyword_slots(struct store *s, const char *dir, char *names[26], uint32_t *ret_taken)
{
	MB_AUTO_FREE char *path = path_join(dir, NULL, "dovecot-keywords");
	MB_AUTO_FREE uint8_t *text = NULL;
	MB_AUTO_CLOSE int parent = -1;
	const char *name;
	char *save = NULL;
	size_t len;
	int err;

	memset(names, 0, 26 * sizeof(names[0]));
	*ret_taken = 0;
	parent = at_open_parent(s->mail_fd, path, &name);
	if (parent < 0)
		return parent;
	err = io_read_file(parent, name, KEYWORDS_FILE_MAX, &text, &len);
	if (err < 0)
		return err;
	for (char *line = strtok_r((char *)text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *end;
		unsigned long slot = strtoul(line, &end, 10);

		if (end == line || slot >= 26)
			continue;
		*ret_taken |= 1u << slot;
		if (*end != ' ' || !keyword_ok(end + 1))
			continue;
		free(names[slot]);
		names[slot] = mb_xstrdup(end + 1);
	}
	return 0;
}

void keyword_letters_free(char *names[26])
{
	for (int i = 0; i < 26; i++)
		free(names[i]);
}

int keyword_slot(char *names[26], const char *keyword)
{
	for (int i = 0; i < 26; i++)
		if (names[i] && strcasecmp(names[i], keyword) == 0)
			return i;
	return -1;
}

static void letter_differences(struct store *s, const char *dir, uint32_t changed, uint32_t now_set,
			       struct flags *f, struct stamp at)
{
	char *names[26];

	if (!changed)
		return;
	if (mailbox_keyword_letters(s, dir, names) == 0)
		for (int i = 0; i < 26; i++) {
			enum flag_bit bit;

			if (!(changed & (1u << i)) || !names[i])
				continue;
			if (flag_by_name(names[i], &bit))
				flags_put(f, bit, now_set & (1u << i), at);
			else
				flags_put_keyword(f, names[i], now_set & (1u << i), at);
		}
	keyword_letters_free(names);
}

bool flags_from_rename(struct store *s, struct index_txn *tx, struct entry *e,
		       const struct fname *old, const struct fname *new, struct stamp at)
{
	uint8_t changed = old->flags ^ new->flags;
	MB_AUTO_FREE char *dir = NULL;

	for (int bit = 0; bit < FLAG_COUNT; bit++)
		if (changed & FLAG_MASK(bit))
			flags_put(&e->copy.flags, (enum flag_bit)bit, new->flags &FLAG_MASK(bit),
				  at);
	if (old->keywords != new->keywords && mailbox_dir(tx, &e->copy.place.mailbox, &dir) == 0)
		letter_differences(s, dir, old->keywords ^ new->keywords, new->keywords,
				   &e->copy.flags, at);
	return changed || old->keywords != new->keywords;
}

/* Does `keyword` have one of these letters? */
static bool has_letter(char *names[26], uint32_t letters, const char *keyword)
{
	int slot = keyword_slot(names, keyword);

	return slot >= 0 && (letters & (1u << slot));
}

static void put_letters(struct flags *f, char *names[26], uint32_t letters, char *but_names[26],
			uint32_t but, bool set, struct stamp at)
{
	enum flag_bit bit;

	for (int i = 0; i < 26; i++)
		if (names[i] && (letters & (1u << i)) && !flag_by_name(names[i], &bit) &&
		    !has_letter(but_names, but, names[i]))
			flags_put_keyword(f, names[i], set, at);
}

bool flags_from_move(struct store *s, struct index_txn *tx, struct entry *e, const struct guid *to,
		     const struct fname *old, const struct fname *new, struct stamp at)
{
	struct fname letters = *new;
	char *was[26] = {NULL}, *is[26] = {NULL};
	MB_AUTO_FREE char *from_dir = NULL, *to_dir = NULL;
	bool changed;

	letters.keywords = old->keywords;
	changed = flags_from_rename(s, tx, e, old, &letters, at);
	if (old->keywords == new->keywords) /* a program that knows nothing of them */
		return changed;
	if (mailbox_dir(tx, &e->copy.place.mailbox, &from_dir) == 0)
		mailbox_keyword_letters(s, from_dir, was);
	if (mailbox_dir(tx, to, &to_dir) == 0)
		mailbox_keyword_letters(s, to_dir, is);
	put_letters(&e->copy.flags, was, old->keywords, is, new->keywords, false, at);
	put_letters(&e->copy.flags, is, new->keywords, was, old->keywords, true, at);
	keyword_letters_free(was);
	keyword_letters_free(is);
	return true;
}

/* Letters for the keywords of c: kept letters that mean nothing here, and the slots of those set. */
static uint32_t letters_for(struct store *s, const char *dir, const struct copy *c,
			    uint32_t old_letters, bool same_mailbox)
{
	char *names[26];
	uint32_t letters = same_mailbox ? old_letters : 0;

	if (!letters && !c->flags.n_keywords && !(c->flags.set & FLAG_MASK(FLAG_PASSED)))
		return 0;
	keywords_add_slots(s, dir, &c->flags);
	if (mailbox_keyword_letters(s, dir, names) == 0)
		for (int i = 0; i < 26; i++) {
			enum flag_bit bit;
			struct keyword *k;
			bool set;

			if (!names[i])
				continue;
			if (flag_by_name(names[i], &bit)) {
				set = c->flags.set & FLAG_MASK(bit); /* beside its capital P */
			} else {
				k = flags_find_keyword(&c->flags, names[i]);
				set = k && k->set;
			}
			letters = set ? letters | (1u << i) : letters & ~(1u << i);
		}
	keyword_letters_free(names);
	return letters;
}

static int other_has_name(struct entry *e, void *arg)
{
	const struct copy *c = arg;

	return !copy_same_key(&e->copy, c);
}

/* Is this base free in the mailbox, for this copy? */
static bool base_free(struct store *s, struct index_txn *tx, const struct copy *c, const char *dir,
		      const char *name)
{
	MB_AUTO_CLOSE int box = -1;

	if (index_by_name(tx, &c->place.mailbox, name, other_has_name, (void *)(uintptr_t)c) != 0)
		return false;
	box = at_open(s->mail_fd, dir, O_PATH | O_DIRECTORY, 0);
	for (int in_new = 0; in_new < 2 && box >= 0; in_new++) {
		MB_AUTO_FREE char *path = path_join(in_new ? "new" : "cur", NULL, name);
		struct entry e = {0};
		struct stat st;

		/* Whatever it is that is there, and wherever a link leads: the name is taken. */
		if (fstatat(box, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		bool ours = entry_at(tx, &c->place.mailbox, name, in_new, &e) == 0;

		entry_release(&e);
		if (!ours)
			return false;
	}
	return true;
}

int file_target(struct store *s, struct index_txn *tx, const struct copy *c,
		const struct entry *old, bool in_new, char **ret_name)
{
	MB_AUTO_FREE char *dir = NULL;
	bool same_mailbox =
		old && old->file && guid_equal(&old->copy.place.mailbox, &c->place.mailbox);
	bool same_base = same_mailbox && entry_has_file(old) &&
			 (!c->place.base || (old->copy.place.base &&
					     strcmp(old->copy.place.base, c->place.base) == 0));
	struct fname f = {0};
	char base[FNAME_MAX + 1], name[FNAME_MAX + 1];
	uint32_t letters;
	int err = mailbox_dir(tx, &c->place.mailbox, &dir);

	if (err < 0)
		return err;
	if (old && old->file)
		fname_parse(old->file, &f);
	if (same_base)
		snprintf(base, sizeof(base), "%.*s", (int)f.base_len, old->file);
	else if (c->place.base && fname_is_message(c->place.base))
		snprintf(base, sizeof(base), "%s", c->place.base);
	else
		fname_new_base(c->size, base);
	letters = letters_for(s, dir, c, f.keywords, same_mailbox);
	in_new = in_new && !(c->flags.set & FLAG_ALL) && !letters;
	for (int tries = 0; tries < 3; tries++) {
		if (in_new)
			snprintf(name, sizeof(name), "%s", base);
		else
			fname_write(base, strlen(base), f.separator, c->flags.set, letters,
				    f.others, f.extra, name);
		if (same_base || base_free(s, tx, c, dir, name)) {
			*ret_name = mb_xasprintf("%s/%s", in_new ? "new" : "cur", name);
			return 0;
		}
		fname_new_base(c->size, base);
	}
	return -EEXIST;
}

static int has_unique(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	const char *want = arg;
	struct fname f, g;

	fname_parse(name, &f);
	fname_parse(want, &g);
	return f.unique_len == g.unique_len && memcmp(name, want, f.unique_len) == 0;
}

bool file_is_about(struct store *s, const char *dir, const char *name)
{
	int found = 0;

	for (int in_new = 0; in_new < 2 && found <= 0; in_new++) {
		MB_AUTO_FREE char *path = path_join(dir, in_new ? "new" : "cur", NULL);
		MB_AUTO_CLOSE int fd = at_open(s->mail_fd, path, O_RDONLY | O_DIRECTORY, 0);

		found = fd < 0 ? 0 : at_list(fd, has_unique, (void *)(uintptr_t)name);
	}
	return found > 0;
}

/* "GUID.COPY." as the start of a kept body's name. */
static void deleted_prefix(const struct guid *guid, uint64_t id, char out[64])
{
	char text[GUID_TEXT];

	snprintf(out, 64, "%s.%llx.", guid_text(guid, text), (unsigned long long)id);
}

static int deleted_dir(struct store *s, const struct guid *mailbox)
{
	char text[GUID_TEXT];
	int fd = at_open(s->deleted_fd, guid_text(mailbox, text), O_RDONLY | O_DIRECTORY, 0);

	if (fd != -ENOENT)
		return fd;
	fd = io_mkdirat(s->deleted_fd, text, 0700);
	if (fd < 0 && fd != -EEXIST)
		return fd;
	return at_open(s->deleted_fd, text, O_RDONLY | O_DIRECTORY, 0);
}

/* The same, kept open for the next one: bodies go there one after the other.  Borrowed. */
static int deleted_box(struct store *s, const struct guid *mailbox)
{
	int fd;

	if (s->deleted_box_fd >= 0 && guid_equal(&s->deleted_box, mailbox))
		return s->deleted_box_fd;
	fd = deleted_dir(s, mailbox);
	if (fd < 0)
		return fd;
	if (s->deleted_box_fd >= 0)
		close(s->deleted_box_fd);
	s->deleted_box = *mailbox;
	return s->deleted_box_fd = fd;
}

/* Somebody may have removed the directory that is kept open: the next one looks for it again. */
static void deleted_box_drop(struct store *s)
{
	if (s->deleted_box_fd >= 0)
		close(MB_TAKE_FD(s->deleted_box_fd));
}

/* When: after the birth of this instance; the clock moves on, so that a later one is born later. */
static int64_t deleted_ms(struct store *s, const struct entry *e)
{
	int64_t now = clock_wall_ns() / 1000000, born = stamp_ms(&e->copy.place.at);
	int64_t ms = now > born ? now : born + 1;
	struct stamp seen = {.time = (uint64_t)ms << 16};

	hlc_see(&s->clock, &seen);
	return ms;
}

static void deleted_name(const struct entry *e, int64_t ms, const char *name,
			 char out[FNAME_MAX + 1])
{
	char prefix[64];
	int len;

	deleted_prefix(&e->copy.guid, e->copy.id, prefix);
	len = snprintf(out, FNAME_MAX + 1, "%s%lld%s,", prefix, (long long)ms,
		       e->state == ENTRY_DAMAGED ? "!" : "");
	snprintf(out + len, FNAME_MAX + 1 - (size_t)len, "%s", name); /* for people: cut if long */
}

static int put_deleted(struct store *s, int from, const char *name, const struct entry *e,
		       int64_t ms, bool keep, char kept[FNAME_MAX + 1])
{
	int to = deleted_box(s, &e->copy.place.mailbox), err = -EEXIST;

	if (to < 0)
		return to;
	for (int tries = 0; err == -EEXIST && tries < 1000; tries++) { /* never over another body */
		deleted_name(e, ms + tries, name, kept);
		err = keep ? io_linkat(from, name, to, kept)
			   : io_renameat2(from, name, to, kept, RENAME_NOREPLACE);
	}
	return err;
}

int file_to_deleted(struct store *s, const char *path, const struct entry *e, bool keep,
		    char **ret_kept)
{
	MB_AUTO_CLOSE int from = -1;
	char text[GUID_TEXT], kept[FNAME_MAX + 1];
	int64_t ms = deleted_ms(s, e);
	bool open_already = s->deleted_box_fd >= 0;
	const char *name;
	int err;

	from = at_open_parent(s->mail_fd, path, &name);
	if (from < 0)
		return from;
	err = put_deleted(s, from, name, e, ms, keep, kept);
	if (err == -ENOENT && open_already) { /* the one or the other is not there */
		deleted_box_drop(s);
		err = put_deleted(s, from, name, e, ms, keep, kept);
	}
	if (err >= 0 && ret_kept)
		*ret_kept = mb_xasprintf("%s/%s", guid_text(&e->copy.place.mailbox, text), kept);
	return err;
}

int file_own_inode(struct store *s, int root, const char *path, int from, bool durable)
{
	MB_AUTO_FREE char *temp = mb_xasprintf("own-%016llx", (unsigned long long)random_u64());
	MB_AUTO_CLOSE int to = io_create_at(s->staging_fd, temp, O_WRONLY, 0600), dir = -1;
	const char *name;
	struct stat st;
	int err = to < 0 ? to : fstat(from, &st) < 0 ? -errno : 0;

	if (err >= 0)
		err = io_copy(from, to, NULL);
	if (err >= 0) {
		struct timespec t[2] = {st.st_atim, st.st_mtim};

		err = io_utimens(to, t);
	}
	if (err >= 0 &&
	    (fchmod(to, st.st_mode & 07777) < 0 || fchown(to, st.st_uid, st.st_gid) < 0))
		err = -errno;
	if (err >= 0 && durable)
		err = io_fdatasync(to);
	dir = at_open_parent(root, path, &name);
	if (err >= 0)
		err = dir < 0 ? dir : io_renameat(s->staging_fd, temp, dir, name);
	if (err < 0 && to >= 0)
		io_unlinkat(s->staging_fd, temp, 0);
	return err;
}

void file_part_deleted(struct store *s, const char *kept)
{
	MB_AUTO_CLOSE int from = at_open_regular(s->deleted_fd, kept, O_RDONLY);
	int err = from < 0 ? from : file_own_inode(s, s->deleted_fd, kept, from, true);

	if (err < 0)
		mb_msg(MB_WARNING,
		       "a kept body stays one file with a name outside of the mailboxes: whoever "
		       "writes there changes it; file=deleted/%s error=%s",
		       kept, mb_err_str(err));
}

int file_undelete(struct store *s, const char *kept, const char *path)
{
	MB_AUTO_CLOSE int dir = -1;
	const char *name;

	dir = at_open_parent(s->mail_fd, path, &name);
	return dir < 0 ? dir : io_renameat2(s->deleted_fd, kept, dir, name, RENAME_NOREPLACE);
}

int file_give(struct store *s, int dir, const char *name)
{
	struct stat root;

	if (geteuid() != 0)
		return 0;
	if (fstat(s->mail_fd, &root) < 0)
		return -errno;
	if (root.st_uid == 0 && root.st_gid == 0)
		return 0;
	return fchownat(dir, name, root.st_uid, root.st_gid, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

struct find_deleted {
	char prefix[64];
	bool body; /* damaged ones do not count */
	char *found;
};

static int find_deleted_one(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	struct find_deleted *f = arg;

	(void)type;
	(void)ino;
	if (strncmp(name, f->prefix, strlen(f->prefix)) != 0 ||
	    (f->body && name[strcspn(name, "!,")] == '!'))
		return 0;
	if (!f->found || strcmp(name, f->found) > 0) { /* the latest */
		free(f->found);
		f->found = mb_xstrdup(name);
	}
	return 0;
}

int file_find_deleted(struct store *s, const struct guid *mailbox, const struct guid *guid,
		      uint64_t id, bool body, char **ret_name)
{
	char text[GUID_TEXT];
	struct find_deleted f = {.body = body};
	MB_AUTO_CLOSE int dir = -1;
	int err;

	dir = at_open(s->deleted_fd, guid_text(mailbox, text), O_RDONLY | O_DIRECTORY, 0);
	if (dir < 0)
		return dir;
	deleted_prefix(guid, id, f.prefix);
	err = at_list(dir, find_deleted_one, &f);
	if (err < 0 || !f.found) {
		free(f.found);
		return err < 0 ? err : -ENOENT;
	}
	*ret_name = mb_xasprintf("%s/%s", text, f.found);
	free(f.found);
	return 0;
}
