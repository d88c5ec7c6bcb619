/*
 * keywords.c - what letters in names mean, once dovecot-keywords tells it.
 *
 * Dovecot renames a message first, and writes afterwards which keyword a letter that it had not used
 * before stands for.  So when that file of a mailbox is replaced, letters that had no meaning get it:
 * the keyword is set, now, by the program that wrote the file.  A letter is never taken for a removal
 * here; that is a rename (files.c).
 */
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <string.h>

#define FILE_NAME "dovecot-keywords"

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

	if (strcmp(slash ? slash + 1 : path, FILE_NAME) != 0)
		return 0;
	err = change_begin(s, &tx);
	return err < 0 ? err : change_end(s, tx, read_mailbox(s, tx, dir, origin));
}
