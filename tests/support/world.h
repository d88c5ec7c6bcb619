/*
 * world.h - two replicas in memory and the words in which scenarios of the merge are told.
 *
 * A scenario is a function of a world; world_rows() runs each twice, with A as side 0 and as side 1.
 * What a word cannot do fails the test.  Every word lets a second pass, so that "later" is the order
 * in which it is told.
 *
 *	static void row_36(struct world *w)
 *	{
 *		w->m = has(w->a, &GUID_INBOX, "m");
 *		in_step(w);
 *		move(w->a, w->m, w->x);
 *		flag(w->b, w->m, FLAG_SEEN);
 *		in_step(w);
 *		is_in(w, w->m, w->x);
 *		is_flagged(w, w->m, "S");
 *	}
 */
#ifndef MB_TESTS_WORLD_H
#define MB_TESTS_WORLD_H

#include "backends/memory.h"
#include "tests/support/link.h"

struct world {
	struct backend *a, *b;
	struct link link;
	struct guid m, n, o;	/* messages */
	struct guid x, y, z, p; /* mailboxes */
};

struct row {
	const char *name; /* "36: moved here, flagged there: both" */
	void (*fn)(struct world *w);
};

/* Runs the rows as a cmocka group; the exit code for main(). */
int world_rows(const char *group, struct row *rows, size_t n);

void world_open(struct world *w, bool exchanged);
void world_close(struct world *w);

/* ---- what users do; each on one replica ---- */
struct guid mkbox(struct backend *b, const char *part); /* top level */
struct guid mkbox_in(struct backend *b, struct guid parent, const char *part);
void rename_to(struct backend *b, struct guid box, const char *part); /* same parent */
void move_box(struct backend *b, struct guid box, struct guid parent, const char *part);
void delete_box(struct backend *b, struct guid box);
void subscribe(struct backend *b, struct guid box, bool on);
struct guid has(struct backend *b, struct guid box, const char *body); /* a delivery */
void flag(struct backend *b, struct guid m, unsigned bit);
void unflag(struct backend *b, struct guid m, unsigned bit);
void keyword(struct backend *b, struct guid m, const char *name, bool set);
void move(struct backend *b, struct guid m, struct guid box);
uint64_t copy(struct backend *b, struct guid m, struct guid box);
void expunge(struct backend *b, struct guid m);
void expunge_copy(struct backend *b, struct guid m, uint64_t id);
void restore(struct backend *b, struct guid m);
struct guid edit(struct backend *b, struct guid m, const char *body);

/* ---- sync ---- */
void in_step(struct world *w); /* syncs, and both sides are the same then */
bool noticed(const struct world *w, enum notice_kind kind);

/* ---- what holds on both sides ---- */
void is_in(struct world *w, struct guid m, struct guid box); /* one copy, there */
void is_gone(struct world *w, struct guid m);
void is_flagged(struct world *w, struct guid m, const char *letters); /* copy 0; "" for none */
void has_keyword(struct world *w, struct guid m, const char *name, bool set);
void holds(struct world *w, struct guid box, size_t messages);	   /* that many live copies */
void is_named(struct world *w, struct guid box, const char *name); /* alive, "A/B" */
void is_deleted(struct world *w, struct guid box);
void is_noselect(struct world *w, struct guid box);
size_t n_boxes(struct world *w); /* live and selectable, INBOX too */
struct mailbox *find_box(struct backend *b, struct guid box);
struct copy *find_copy(struct backend *b, struct guid m, uint64_t id);

#endif
