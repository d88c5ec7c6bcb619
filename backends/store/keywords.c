/*
 * keywords.c - what letters in names mean, once dovecot-keywords tells it; slots there for keywords
 * that a peer set.
 *
 * Dovecot renames a message first, and writes afterwards which keyword a letter that it had not used
 * before stands for.  So when that file of a mailbox is replaced, letters that had no meaning get it:
 * the keyword is set, now, by the program that wrote the file.  A letter is never taken for a removal
 * here; that is a rename (files.c).
 *
 * A slot is added under the lock on the mailbox's dovecot-uidlist, as Dovecot does it, and only where
 * that file is: else Dovecot never opened the mailbox.  There are 26; further keywords stay in the index.
 */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/dovecot.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct copy_key {
	struct guid guid;
	uint64_t id;
};

struct reading {
	char *names[26];       /* owned */
	struct copy_key *keys; /* owned: copies with a letter that says something new */
	size_t n, cap;
};

/* Is the keyword `name` set? */
static bool is_set(const struct flags *f, const char *name)
{
	const struct keyword *k;
	enum flag_bit bit;

	if (flag_by_name(name, &bit))
		return f->set & FLAG_MASK(bit);
	k = flags_find_keyword(f, name);
	return k && k->set;
}

static bool says_new(const struct reading *rd, const struct entry *e, int slot)
{
	struct fname f;

	fname_parse(e->file, &f);
	return (f.keywords & (1u << slot)) && rd->names[slot] &&
	       !is_set(&e->copy.flags, rd->names[slot]);
}

static int look(struct entry *e, void *arg)
{
	struct reading *rd = arg;

	for (int i = 0; e->file && i < 26; i++) {
		if (!says_new(rd, e, i))
			continue;
		MB_GROW(rd->keys, rd->cap, rd->n + 1);
		rd->keys[rd->n++] = (struct copy_key){e->copy.guid, e->copy.id};
		break;
	}
	return 0;
}

static void set_keyword(struct flags *f, const char *name, struct stamp at)
{
	enum flag_bit bit;

	if (flag_by_name(name, &bit))
		flags_put(f, bit, true, at);
	else
		flags_put_keyword(f, name, true, at);
}

static int log_letters(struct store *s, struct index_txn *tx, const struct reading *rd,
		       const struct copy_key *key, const struct origin *origin)
{
	struct record r = {.type = REC_FLAGS, .at = hlc_now(&s->clock), .origin = *origin};
	struct entry e = {0};
	int err = index_get_entry(tx, &key->guid, key->id, &e);

	if (err < 0)
		return err;
	copy_clone(&r.copy, &e.copy);
	for (int i = 0; i < 26; i++)
		if (says_new(rd, &e, i))
			set_keyword(&r.copy.flags, rd->names[i], r.at);
	r.old_name = path_join(e.in_new ? "new" : "cur", NULL, e.file);
	r.new_name = mb_xstrdup(r.old_name);
	err = change_record(s, tx, &r);
	record_release(&r);
	entry_release(&e);
	return err;
}

int keywords_read(struct store *s, struct index_txn *tx, const struct guid *mailbox,
		  const char *dir, const struct origin *origin)
{
	struct reading rd = {0};
	int err = 0;

	s->uidlists_due = true; /* letters may have to follow */

	if (mailbox_keyword_letters(s, dir, rd.names) == 0)
		err = index_each_in(tx, mailbox, 0, look, &rd);
	for (size_t i = 0; i < rd.n && err >= 0; i++)
		err = log_letters(s, tx, &rd, &rd.keys[i], origin);
	keyword_letters_free(rd.names);
	free(rd.keys);
	return err < 0 ? err : 0;
}

static int read_mailbox(struct store *s, struct index_txn *tx, const char *dir,
			const struct origin *origin)
{
	struct guid mailbox;
	int err = index_mailbox_by_dir(tx, dir, &mailbox);

	if (err < 0)
		return err == -ENOENT ? 0 : err;
	return keywords_read(s, tx, &mailbox, dir, origin);
}

int keywords_noticed(struct store *s, const char *path, const struct origin *origin)
{
	const char *slash = strrchr(path, '/');
	MB_AUTO_FREE char *dir = mb_xstrndup(path, slash ? (size_t)(slash - path) : 0);
	struct index_txn *tx;
	int err;

	if (strcmp(slash ? slash + 1 : path, KEYWORDS_NAME) != 0)
		return 0;
	err = change_begin(s, &tx);
	return err < 0 ? err : change_end(s, tx, read_mailbox(s, tx, dir, origin));
}

/* ---- slots for keywords that are set ---- */

/* The i-th of the names that a letter may stand for and that are set, or NULL behind the last. */
static const char *nth_set(const struct flags *f, size_t i)
{
	bool passed = f->set & FLAG_MASK(FLAG_PASSED); /* Dovecot does not know its capital P */

	if (passed && i == 0)
		return flag_name(FLAG_PASSED);
	i -= passed;
	for (size_t k = 0; k < f->n_keywords; k++)
		if (f->keywords[k].set && i-- == 0)
			return f->keywords[k].name;
	return NULL;
}

struct slots {
	char *names[26]; /* owned */
	uint32_t taken;	 /* bit n: slot n has a line */
};

static int free_slot(const struct slots *sl)
{
	for (int i = 0; i < 26; i++)
		if (!(sl->taken & (1u << i)))
			return i;
	return -1;
}

/* A file that cannot be read is not written either. */
static bool read_slots(struct store *s, const char *dir, struct slots *ret)
{
	int err = mailbox_keyword_slots(s, dir, ret->names, &ret->taken);

	return err == 0 || err == -ENOENT;
}

bool keywords_lack_slot(struct store *s, const char *dir, const struct flags *f)
{
	struct slots sl;
	const char *name;
	bool lack = false;

	if (!nth_set(f, 0))
		return false;
	if (read_slots(s, dir, &sl) && free_slot(&sl) >= 0)
		for (size_t i = 0; !lack && (name = nth_set(f, i)); i++)
			lack = keyword_slot(sl.names, name) < 0;
	keyword_letters_free(sl.names);
	return lack;
}

/* Lines for those that have no slot, as far as there is room. */
static void add_lines(struct slots *sl, const struct flags *f, struct buf *out)
{
	const char *name;

	for (size_t i = 0; (name = nth_set(f, i)); i++) {
		int slot = keyword_slot(sl->names, name) < 0 ? free_slot(sl) : -1;

		if (slot < 0)
			continue;
		sl->names[slot] = mb_xstrdup(name);
		sl->taken |= 1u << slot;
		buf_printf(out, "%d %s\n", slot, name);
	}
}

/* What is in the file stays; the slots are read again under its own lock. */
static int write_slots(struct store *s, const char *dir, const char *path, const struct flags *f)
{
	MB_AUTO_FREE uint8_t *old = NULL;
	MB_AUTO_CLOSE int parent = -1;
	BUF_AUTO struct buf text = BUF_INIT;
	struct slots sl;
	const char *name;
	size_t len;
	int err;

	parent = at_open_parent(s->mail_fd, path, &name);
	err = parent < 0 ? parent : io_read_file(parent, name, KEYWORDS_FILE_MAX, &old, &len);
	if (err < 0 && err != -ENOENT)
		return err;
	if (err >= 0)
		buf_put(&text, old, len);
	if (text.len && text.data[text.len - 1] != '\n')
		buf_put_u8(&text, '\n');
	if (read_slots(s, dir, &sl)) {
		add_lines(&sl, f, &text);
		err = dovecot_file_replace(s, path, text.data, text.len);
	}
	keyword_letters_free(sl.names);
	return err;
}

void keywords_add_slots(struct store *s, const char *dir, const struct flags *f)
{
	MB_AUTO_FREE char *path = path_join(dir, NULL, KEYWORDS_NAME);
	struct dotlock lock;
	int err;

	if (!s->uidlist_held || strcmp(s->uidlist_held, dir) != 0 || !keywords_lack_slot(s, dir, f))
		return;
	err = dotlock_take(s, path, 0, true, &lock);
	if (err >= 0) {
		err = write_slots(s, dir, path, f);
		dotlock_drop(s, &lock);
	}
	if (err < 0 && err != -EBUSY)
		mb_msg(MB_WARNING, KEYWORDS_NAME " cannot be written: %s dir=%s", mb_err_str(err),
		       dir);
}

/* ---- letters for keywords that were set before ---- */

static void note_name(const struct guid *mailbox, char out[64])
{
	char text[GUID_TEXT];

	snprintf(out, 64, KEYWORDS_NAME "/%s", guid_text(mailbox, text));
}

static void mark_of(struct store *s, const char *dir, struct file_mark *ret)
{
	MB_AUTO_FREE char *path = path_join(dir, NULL, KEYWORDS_NAME);

	file_mark_of(s, path, ret);
}

bool keywords_due(struct store *s, struct index_txn *tx, const struct guid *mailbox,
		  const char *dir)
{
	struct file_mark now, noted;
	char name[64];

	mark_of(s, dir, &now);
	note_name(mailbox, name);
	return index_meta_get(tx, name, &noted, sizeof(noted)) != 0 ||
	       (now.ino ? !file_mark_equal(&now, &noted) : noted.ino != 0);
}

/* Messages that lack letters. */
struct lacking {
	struct slots slots;
	struct copy_key *keys; /* owned */
	size_t n, cap;
};

/* Is a keyword set whose letter the name does not have, but could? */
static int lacks_letter(struct entry *e, void *arg)
{
	struct lacking *rd = arg;
	bool room = free_slot(&rd->slots) >= 0;
	const char *name;
	struct fname f;

	if (e->state != ENTRY_PRESENT || !e->file || !nth_set(&e->copy.flags, 0))
		return 0;
	fname_parse(e->file, &f);
	for (size_t i = 0; (name = nth_set(&e->copy.flags, i)); i++) {
		int slot = keyword_slot(rd->slots.names, name);

		if (slot < 0 ? !room : (f.keywords & (1u << slot)) != 0)
			continue;
		MB_GROW(rd->keys, rd->cap, rd->n + 1);
		rd->keys[rd->n++] = (struct copy_key){e->copy.guid, e->copy.id};
		break;
	}
	return 0;
}

/* The name that the flags ask for: a put of what is there already. */
static int rename_one(struct store *s, const struct copy_key *key)
{
	struct record want = {.type = REC_COPY_STATE, .origin = {.comm = "keywords"}};
	struct entry e = {0};
	struct index_txn *tx;
	int err = index_begin(s->index, false, &tx);

	if (err < 0)
		return err;
	err = index_get_entry(tx, &key->guid, key->id, &e);
	index_abort(tx);
	if (err >= 0) {
		want.copy = e.copy; /* borrowed */
		err = put_locked(s, &want, NULL, NULL);
	}
	entry_release(&e);
	return err == MB_E_STALE || err == -ENOENT ? 0 : err;
}

static int note_settled(struct store *s, const struct guid *mailbox, const char *dir)
{
	struct file_mark now;
	struct index_txn *tx;
	char name[64];
	int err = change_begin(s, &tx);

	if (err < 0)
		return err;
	mark_of(s, dir, &now);
	note_name(mailbox, name);
	return change_end(s, tx, index_meta_put(tx, name, &now, sizeof(now)));
}

int keywords_forget(struct index_txn *tx, const struct guid *mailbox)
{
	static const struct file_mark none = {.ino = 1}; /* of no file */
	char name[64];

	note_name(mailbox, name);
	return index_meta_put(tx, name, &none, sizeof(none));
}

int keywords_settle(struct store *s, const struct guid *mailbox, const char *dir)
{
	struct lacking rd = {.n = 0};
	struct index_txn *tx;
	int err = index_begin(s->index, false, &tx);

	if (err < 0)
		return err;
	if (keywords_due(s, tx, mailbox, dir) && read_slots(s, dir, &rd.slots)) {
		err = index_each_in(tx, mailbox, 0, lacks_letter, &rd);
		index_abort(tx);
		for (size_t i = 0; i < rd.n && err >= 0; i++)
			err = rename_one(s, &rd.keys[i]);
		if (err >= 0)
			err = note_settled(s, mailbox, dir);
	} else {
		index_abort(tx);
	}
	keyword_letters_free(rd.slots.names);
	free(rd.keys);
	return err < 0 ? err : 0;
}
