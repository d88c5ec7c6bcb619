/*
 * test-merge-tree.c - mailboxes: made, renamed, moved, and two that want one name.
 */
#include "backends/base/mem.h"
#include "tests/support/world.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#define INBOX GUID_INBOX

/* x is F with a message, y is G, z is H; on both sides */
static void base(struct world *w)
{
	w->x = mkbox(w->a, "F");
	w->y = mkbox(w->a, "G");
	w->z = mkbox(w->a, "H");
	w->m = has(w->a, w->x, "m");
	in_step(w);
}

static void row_48(struct world *w)
{
	w->x = mkbox(w->a, "N");
	in_step(w);
	is_named(w, w->x, "N");
	holds(w, w->x, 0);
}

static void row_49(struct world *w)
{
	base(w);
	w->link.bodies = 0;
	rename_to(w->a, w->x, "K");
	in_step(w);
	is_named(w, w->x, "K");
	is_in(w, w->m, w->x);
	assert_int_equal(w->link.bodies, 0);
	assert_int_equal(w->link.n_items[w->link.b[1] == w->b], 1);
}

static void row_50(struct world *w)
{
	base(w);
	rename_to(w->a, w->x, "K");
	w->n = has(w->b, w->x, "new");
	in_step(w);
	is_named(w, w->x, "K");
	is_in(w, w->n, w->x);
	holds(w, w->x, 2);
}

static void row_51(struct world *w)
{
	base(w);
	rename_to(w->a, w->x, "K");
	rename_to(w->b, w->x, "L");
	in_step(w);
	is_named(w, w->x, "L");
	assert_true(noticed(w, NOTICE_MAILBOX_RENAMED_TWICE));
	assert_int_equal(n_boxes(w), 4);
}

static struct guid other_of(struct world *w, struct guid not )
{
	struct mailbox *box = NULL;
	const struct tree *t = memory_tree(w->a);
	for (size_t i = 0; i < t->n; i++)
		if (mailbox_alive(&t->nodes[i]) && strncmp(t->nodes[i].part, "K-", 2) == 0 &&
		    !guid_equal(&t->nodes[i].guid, &not ))
			box = &t->nodes[i];
	assert_non_null(box);
	return box->guid;
}

static void row_53(struct world *w)
{
	base(w);
	rename_to(w->a, w->x, "K");
	w->p = mkbox(w->b, "K");
	w->n = has(w->b, w->p, "other");
	in_step(w);
	is_named(w, w->x, "K");
	assert_true(noticed(w, NOTICE_MAILBOX_SUFFIXED));
	struct guid suffixed = other_of(w, w->x);
	assert_memory_equal(&suffixed, &w->p, sizeof(suffixed));
	is_in(w, w->m, w->x);
	is_in(w, w->n, w->p);
}

/* b has K only as a name above K/sub. */
static struct guid mere_name(struct world *w, bool held_mail)
{
	struct backend *c = backend_open_memory(3);
	struct link to_c = {.b = {w->b, c}};
	w->p = mkbox(w->b, "K");
	if (held_mail)
		expunge(w->b, has(w->b, w->p, "seen by a client"));
	struct guid sub = mkbox_in(w->b, w->p, "sub");
	delete_box(w->b, w->p);
	assert_null(link_sync(&to_c)); /* a merge made it a name above sub */
	assert_false(find_box(w->b, w->p)->selectable);
	backend_close(c);
	return sub;
}

/* What is only a name above others here, and never was more, is the mailbox that got its name there. */
static void row_53_mere_name(struct world *w)
{
	base(w);
	struct guid sub = mere_name(w, false);
	rename_to(w->a, w->x, "K");
	in_step(w);
	is_named(w, w->x, "K");
	is_named(w, sub, "K/sub");
	is_in(w, w->m, w->x);
	assert_int_equal(n_boxes(w), 5);
	assert_false(noticed(w, NOTICE_MAILBOX_SUFFIXED));
	w->n = has(w->b, w->x, "to the mailbox");
	in_step(w);
	holds(w, w->x, 2);
}

/* The same, but mail was in it once: its UIDs are not to be those of others. */
static void row_53_name_of_old(struct world *w)
{
	base(w);
	struct guid sub = mere_name(w, true);
	rename_to(w->a, w->x, "K");
	in_step(w);
	is_in(w, w->m, w->x);
	is_named(w, sub, "K/sub");
	is_noselect(w, w->p);
	assert_true(noticed(w, NOTICE_MAILBOX_SUFFIXED));
	struct guid suffixed = other_of(w, w->p);
	assert_memory_equal(&suffixed, &w->x, sizeof(suffixed));
}

static void row_54(struct world *w)
{
	base(w);
	struct guid sub = mkbox_in(w->a, w->x, "sub");
	in_step(w);
	rename_to(w->a, w->x, "tmp");
	rename_to(w->a, w->y, "F");
	rename_to(w->a, w->x, "G");
	in_step(w);
	is_named(w, w->x, "G");
	is_named(w, w->y, "F");
	is_named(w, sub, "G/sub");
	is_in(w, w->m, w->x);
}

static void row_55(struct world *w)
{
	base(w);
	rename_to(w->a, w->x, "tmp");
	rename_to(w->a, w->z, "F");
	rename_to(w->a, w->y, "H");
	rename_to(w->a, w->x, "G");
	in_step(w);
	is_named(w, w->x, "G");
	is_named(w, w->y, "H");
	is_named(w, w->z, "F");
}

static void row_56(struct world *w)
{
	base(w);
	struct guid sub = mkbox_in(w->a, w->x, "sub");
	in_step(w);
	rename_to(w->a, w->x, "K");
	w->n = has(w->b, sub, "new");
	in_step(w);
	is_named(w, sub, "K/sub");
	is_in(w, w->n, sub);
}

static void row_57(struct world *w)
{
	base(w);
	struct guid sub = mkbox_in(w->a, w->x, "sub");
	assert_int_equal(memory_rename(w->a, &w->x, &sub, "F"), -EINVAL);
}

static void row_58(struct world *w)
{
	base(w);
	struct guid below = mkbox_in(w->a, w->y, "below");
	in_step(w);
	move_box(w->a, w->x, w->y, "F"); /* F into G */
	move_box(w->b, w->y, w->x, "G"); /* G into F, later */
	in_step(w);
	is_named(w, w->x, "G/F");
	is_named(w, w->y, "G");
	is_named(w, below, "G/below");
	assert_true(noticed(w, NOTICE_CYCLE_BROKEN));
}

static void row_58_three(struct world *w)
{
	base(w);
	move_box(w->a, w->x, w->y, "F");
	move_box(w->b, w->y, w->z, "G");
	move_box(w->b, w->z, w->x, "H");
	in_step(w);
	is_named(w, w->z, "H");
	is_named(w, w->y, "H/G");
	is_named(w, w->x, "H/G/F");
}

static void row_65(struct world *w)
{
	w->x = mkbox(w->a, "F");
	w->y = mkbox(w->b, "F");
	w->m = has(w->a, w->x, "from a");
	w->n = has(w->b, w->y, "from b");
	in_step(w);
	assert_true(noticed(w, NOTICE_MAILBOX_MERGED));
	struct guid low = guid_compare(&w->x, &w->y) < 0 ? w->x : w->y;
	is_named(w, low, "F");
	assert_int_equal(n_boxes(w), 2);
	is_in(w, w->m, low);
	is_in(w, w->n, low);
	assert_int_not_equal(find_copy(w->a, w->m, 0)->place.uid,
			     find_copy(w->a, w->n, 0)->place.uid);
}

static void row_65_children(struct world *w)
{
	w->x = mkbox(w->a, "F");
	w->y = mkbox(w->b, "F");
	struct guid sa = mkbox_in(w->a, w->x, "sub"), sb = mkbox_in(w->b, w->y, "sub");
	struct guid own = mkbox_in(w->b, w->y, "own");
	w->m = has(w->a, sa, "from a");
	w->n = has(w->b, sb, "from b");
	in_step(w);
	struct guid low = guid_compare(&sa, &sb) < 0 ? sa : sb;
	is_named(w, low, "F/sub");
	is_named(w, own, "F/own");
	holds(w, low, 2);
	assert_int_equal(n_boxes(w), 4);
}

static void merged_and_renamed(struct world *w)
{
	w->x = mkbox(w->a, "F");
	w->y = mkbox(w->b, "F");
	in_step(w);
	struct guid low = guid_compare(&w->x, &w->y) < 0 ? w->x : w->y;
	rename_to(w->b, low, "K");
	subscribe(w->b, low, true);
	w->m = has(w->a, low, "new");
	in_step(w);
	is_named(w, low, "K");
	is_in(w, w->m, low);
	assert_true(find_box(w->a, low)->subscribed);
}

static void row_66(struct world *w)
{
	w->x = mkbox(w->a, "Foo");
	w->y = mkbox(w->b, "foo");
	in_step(w);
	is_named(w, w->x, "Foo");
	is_named(w, w->y, "foo");
}

static void row_66_fold(struct world *w)
{
	char guid[GUID_TEXT];
	w->link.folds[1] = true;
	w->x = mkbox(w->a, "Foo");
	w->y = mkbox(w->b, "foo");
	in_step(w);
	is_named(w, w->x, "Foo");
	MB_AUTO_FREE char *want = mb_xasprintf("foo-%.8s", guid_text(&w->y, guid));
	is_named(w, w->y, want);
	assert_true(noticed(w, NOTICE_MAILBOX_SUFFIXED));
}

static void row_67(struct world *w)
{
	w->x = mkbox_in(w->a, INBOX, "sub");
	w->y = mkbox_in(w->b, INBOX, "inbox");
	in_step(w);
	is_named(w, w->x, "INBOX/sub");
	is_named(w, w->y, "INBOX/inbox");
}

static void row_74(struct world *w)
{
	w->link.folds[1] = true;
	w->x = mkbox(w->a, "caf\xc3\xa9");
	w->y = mkbox(w->b, "cafe\xcc\x81");
	in_step(w);
	is_named(w, w->x, "caf\xc3\xa9");
	assert_true(noticed(w, NOTICE_MAILBOX_SUFFIXED));
}

static void row_77(struct world *w)
{
	base(w);
	subscribe(w->a, w->x, true);
	in_step(w);
	assert_true(find_box(w->b, w->x)->subscribed);
	subscribe(w->a, w->y, true);
	in_step(w);
	subscribe(w->a, w->y, false);
	subscribe(w->b, w->y, false);
	subscribe(w->b, w->y, true);
	in_step(w);
	assert_true(find_box(w->a, w->y)->subscribed);
}

static void long_names(struct world *w)
{
	char part[256];
	memset(part, 'n', 255);
	part[255] = '\0';
	w->x = mkbox(w->a, "F");
	in_step(w);
	rename_to(w->a, w->x, part);
	w->y = mkbox(w->b, part);
	in_step(w);
	is_named(w, w->x, part);
	assert_int_equal(strlen(find_box(w->a, w->y)->part), 255);
	assert_true(mailbox_alive(find_box(w->a, w->y)));
}

static struct row rows[] = {
	{"48: made here: there too, empty", row_48},
	{"49: renamed: a rename, no transfer", row_49},
	{"50: renamed here, mail in it there: the mail follows", row_50},
	{"51: renamed on both sides: the later name", row_51},
	{"53: renamed to K here, another K made there: both, one with a suffix", row_53},
	{"53: renamed to K here, K is only a name above others there: one", row_53_mere_name},
	{"53: the same, but K held mail once: a suffix", row_53_name_of_old},
	{"54: names swapped: swapped, children follow", row_54},
	{"55: names rotated: rotated", row_55},
	{"56: parent renamed here, mail below it there: the mail follows", row_56},
	{"57: into its own child: refused", row_57},
	{"58: moved into each other: the older move stays", row_58},
	{"58: a cycle of three", row_58_three},
	{"65: made on both sides: one mailbox, both mails", row_65},
	{"65: with children: they become one as well", row_65_children},
	{"a mailbox that was merged is renamed and subscribed as any other", merged_and_renamed},
	{"66: Foo here, foo there: two mailboxes", row_66},
	{"66: where case does not count, one gets a suffix", row_66_fold},
	{"67: inbox below INBOX is a mailbox of its own", row_67},
	{"74: names that differ in normalisation: never two for one directory", row_74},
	{"77: subscribed and unsubscribed: the later", row_77},
	{"a suffix fits into 255 bytes", long_names},
};

int main(void)
{
	return world_rows("merge-tree", rows, sizeof(rows) / sizeof(rows[0]));
}
