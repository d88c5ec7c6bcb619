/*
 * log-dir.h - what the tests of the log share: a scratch directory, numbered records, readers that
 * remember what they saw, and hands that damage files.  Everything fails the test when it fails.
 */
#ifndef MB_TESTS_SUPPORT_LOG_DIR_H
#define MB_TESTS_SUPPORT_LOG_DIR_H

#include "backends/store/log.h"
#include <stddef.h>
#include <stdint.h>

struct log_dir {
	int fd;
	char path[64];
};

int log_dir_setup(void **state); /* cmocka: *state becomes a struct log_dir */
int log_dir_teardown(void **state);
void log_dir_clear(const struct log_dir *d);

extern const struct guid LOG_DIR_STORE;

struct log *log_dir_reader(const struct log_dir *d); /* log_open() */
struct log *log_dir_writer(const struct log_dir *d); /* and log_begin() after an unclean stop */

/* A record that says `n`, of about `size` bytes (at most 8192). */
void log_dir_record(struct record *ret, uint64_t n, size_t size);
/* One of about `size` bytes that could not be read again: its file name is too long. */
void log_dir_bad_record(struct record *ret, size_t size);
/* Appends the records from..to, small ones; the position after the last. */
struct position log_dir_append(struct log *l, uint64_t from, uint64_t to);

/* What a reader saw. */
struct seen {
	uint64_t n[256];
	size_t count;
	uint64_t modseq;      /* of the last; it must grow */
	struct position end;  /* of the last */
	struct position good; /* as log_read() said */
	size_t stop_after;    /* 0 = never */
};
int seen_add(const struct record *r, const struct position *end, uint64_t modseq, void *arg);
int log_dir_read(struct log *l, const struct position *since, struct seen *ret);
/* Reads all that is there and expects the records from..to, and no error. */
void log_dir_expect(struct log *l, uint64_t from, uint64_t to);

uint8_t *log_dir_get(const struct log_dir *d, const char *name, size_t *ret_len);
void log_dir_put(const struct log_dir *d, const char *name, const void *data, size_t len);
void log_dir_flip(const struct log_dir *d, const char *name, size_t bit);
void log_dir_cut(const struct log_dir *d, const char *name, size_t size);
int log_dir_has(const struct log_dir *d, const char *name);

#endif
