/*
 * guard.c - rule 9: absence of many is held back until it is allowed.
 *
 * What is held is marked in the map (KIND_HELD) and stays held until its file is seen again, the
 * local side expunges it, or it is allowed: new mail in its mailbox, which makes of "all of it" a
 * part, lets nothing go.  Nor is it counted any more, as what is there or as what is missing.
 */
#include "backends/base/msg.h"
#include "backends/maildir/maildir.h"

/* Of those, how many were held before: such a one stays so until it is back, however many others come. */
static size_t count_kept_back(const struct maildir *m, struct md_file *const *files, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n && !m->allow; i++)
		kept += files[i]->kept_back;
	return kept;
}

/* What this mailbox had at the last agreement, but for what was held then. */
static size_t count_agreed(const struct md_box *box)
{
	size_t n = 0;

	for (const struct md_file *f = box->files; f; f = f->hb.next)
		n += f->agreed && !f->kept_back && guid_equal(&f->agreed_box, &box->guid);
	return n;
}

static bool are_too_many(const struct maildir *m, size_t missing, size_t all)
{
	if (m->allow || !missing)
		return false;
	if (missing > GUARD_COUNT && missing * 100 > all * GUARD_PERCENT)
		return true;
	return missing >= all && all > GUARD_WHOLE;
}

bool md_guard_holds(const struct maildir *m, struct md_file *const *files, size_t n, bool most)
{
	const struct md_box *box = files[0]->box;
	size_t kept = count_kept_back(m, files, n);

	return most || box->linked || (box->gone && kept) ||
	       are_too_many(m, n - kept, count_agreed(box));
}

/* More than half of all that both sides had, over several mailboxes, counts as the whole: another tree
 * lies here, a disk is not mounted and somebody delivers to the empty directory.  What came there is
 * agreed in the next run, and must not let go what is held. */
bool md_most_is_gone(const struct maildir *m, struct md_file *const *files, size_t n)
{
	struct md_message *msg, *next;
	const struct md_box *first = NULL;
	size_t all = 0, gone = 0;
	bool several = false;

	for (size_t i = 0; i < n; i++) {
		if (files[i]->kept_back)
			continue;
		gone++;
		first = first ? first : files[i]->box;
		several = several || files[i]->box != first;
	}
	if (m->allow || gone <= GUARD_WHOLE || !several)
		return false;
	HASH_ITER (hh, m->messages, msg, next) {
		for (const struct md_file *f = msg->files; f; f = f->next)
			all += f->agreed && !f->kept_back;
	}
	return gone * 2 > all;
}

void md_hold_back(struct maildir *m, struct md_file *f)
{
	f->held = true;
	if (!f->kept_back)
		f->dirty = m->must_write = true;
	f->kept_back = true;
	m->held++;
}

void md_guard_root(struct maildir *m)
{
	struct md_message *msg, *next;

	HASH_ITER (hh, m->messages, msg, next) {
		for (struct md_file *f = msg->files; f; f = f->next) {
			if (!f->kept_back)
				f->dirty = m->must_write = true;
			f->kept_back = true; /* also when mail comes here */
			m->held++;
		}
	}
	mb_msg(MB_NOTICE,
	       "the Maildir is empty where it was not: nothing is expunged, nothing is put; "
	       "path=%s",
	       m->path);
}
