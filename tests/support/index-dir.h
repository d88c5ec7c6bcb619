/*
 * index-dir.h - what the tests of the index share: an index in a scratch directory, objects made
 * from small numbers, walks that count.  Everything fails the test when it fails.
 */
#ifndef MB_TESTS_SUPPORT_INDEX_DIR_H
#define MB_TESTS_SUPPORT_INDEX_DIR_H

#include "backends/store/index.h"

struct index_dir {
	char path[64];	  /* a directory of our own */
	char index[80];	  /* the index in it */
	char data[96];	  /* its data file */
	struct index *ix; /* open for writing */
};

int index_dir_setup(void **state); /* cmocka: *state becomes a struct index_dir */
int index_dir_teardown(void **state);
void index_dir_reopen(struct index_dir *d);
/* Flips a byte in each place of the data file that holds these bytes; how many there were. */
int index_dir_damage(struct index_dir *d, const void *bytes, size_t len);

struct index_txn *index_dir_begin(struct index_dir *d, bool write);
char *index_dir_dump(struct index_txn *tx);    /* owned */
char *index_dir_dump_now(struct index_dir *d); /* the same of a new read transaction */

struct guid num_guid(uint64_t n);
struct digest num_digest(uint64_t n);
struct stamp num_stamp(uint64_t n);
/* A live mailbox "mN" with directory ".mN". */
void num_mailbox(struct mailbox *ret, uint64_t n);
void num_put_mailbox(struct index_txn *tx, uint64_t n);
/* Copy 0 of message n in mailbox mb: file "N.x:2,", in cur. */
void num_entry(struct entry *ret, uint64_t n, uint64_t mb, uint32_t uid);
void num_put_entry(struct index_txn *tx, uint64_t n, uint64_t mb, uint32_t uid);
uint32_t num_live(struct index_txn *tx, uint64_t mb); /* n_live of mailbox mb */
uint32_t num_uid_next(struct index_txn *tx, uint64_t mb);

/* A walk's callback: arg is a struct met. */
struct met {
	struct guid guid[1024];
	uint32_t uid[1024];
	size_t n;
	size_t stop_after; /* 0 = never; then the walk gives 7 */
};
int met_add(struct entry *e, void *arg);

#endif
