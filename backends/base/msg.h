/*
 * msg.h - messages for people: level, fixed text, then key=value.
 *
 * Messages go to stderr.  Never a subject, a body or a secret.  An error for the user is made once,
 * at the seam, by mb_fail(): one line what, one line why, one line what to do.
 */
#ifndef MB_BASE_MSG_H
#define MB_BASE_MSG_H

#include <stdarg.h>

struct buf;

enum mb_level { MB_ERROR, MB_WARNING, MB_NOTICE, MB_INFO, MB_DEBUG };

/* The most talkative level that is printed; MB_NOTICE until changed. */
void mb_msg_set_level(enum mb_level level);
enum mb_level mb_msg_level(void);

/* Called with `arg` before each message is written, by whichever thread writes it; NULL: nothing is. */
void mb_msg_set_before(void (*fn)(void *arg), void *arg);

/* Name put before every message ("mailbraid" until changed).  Keeps the pointer. */
void mb_msg_set_program(const char *name);

/* Prints one line "program: text" at `level`.  Control bytes of arguments are shown as \xNN. */
void mb_msg(enum mb_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * Prints an error for a person: "program: WHAT", "  why: " from mb_err_str(err) and "  do:  " from
 * mb_err_advice(err) when there is one.  Returns `err`, so that callers can `return mb_fail(...)`.
 */
int mb_fail(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* As mb_fail(), with the advice given by the caller. */
int mb_fail_do(int err, const char *advice, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Adds `text` as a terminal may be shown it: control bytes, and what is not UTF-8, as \xNN. */
void mb_msg_clean(struct buf *out, const char *text);

#endif
