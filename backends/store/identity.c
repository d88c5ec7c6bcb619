/*
 * identity.c - which replica this store is, and whether it is where it was.
 *
 * A store that was copied, or restored from a backup, is there twice, or goes on from an older state:
 * two logs would go on under one replica id, and peers would take the one's news for the other's.
 * Such a store gets a new replica id: one record in the log.  Peers then compare everything with
 * what is a new replica to them; GUIDs, UIDs and tombstones are the same, so nothing doubles and
 * nothing is lost.  Taking a new id once too often costs a full comparison and no more.
 *
 * STORE/state notes which directory STORE/log was: when it was made (a copy is made later, a rename
 * changes nothing), else its inode.  A copy of the whole disk keeps both: that is noticed by a sync,
 * when a peer has seen more of the log than there is (session-agree.c).
 */
#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

void place_read(int log_fd, struct store_place *ret)
{
	struct statx st;

	*ret = (struct store_place){0};
	if (statx(log_fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &st) < 0)
		return;
	ret->ino = st.stx_ino;
	if (st.stx_mask & STATX_BTIME)
		ret->born_ns = (int64_t)st.stx_btime.tv_sec * 1000000000 + st.stx_btime.tv_nsec;
}

bool place_differs(const struct store_place *was, const struct store_place *is)
{
	if (was->born_ns && is->born_ns)
		return was->born_ns != is->born_ns;
	return was->ino && is->ino && was->ino != is->ino;
}

int identity_birth(struct store *s)
{
	struct record r = {.type = REC_REPLICA, .replica_id = s->replica, .store_id = s->id};
	struct index_txn *tx;
	int err = change_begin(s, &tx);

	return err < 0 ? err : change_end(s, tx, change_record(s, tx, &r));
}

int identity_load(struct store *s)
{
	struct index_txn *tx;
	uint64_t clock = 0;
	int err = index_begin(s->index, false, &tx);

	if (err < 0)
		return err;
	err = index_meta_get(tx, "replica", &s->replica, sizeof(s->replica));
	if (err == 0) {
		index_meta_get(tx, "clock", &clock, sizeof(clock));
		index_meta_get(tx, "ordinal", &s->ordinal, sizeof(s->ordinal));
	}
	index_abort(tx);
	s->clock = (struct hlc){.last = clock, .replica = s->replica};
	return err;
}

/* Another process may have given it a new one since we opened it for reading. */
uint64_t store_replica_now(struct store *s)
{
	struct index_txn *tx;
	uint64_t replica = 0;

	if (s->mode == STORE_WRITE || index_begin(s->index, false, &tx) < 0)
		return s->replica;
	if (index_meta_get(tx, "replica", &replica, sizeof(replica)) == 0)
		s->replica = replica;
	index_abort(tx);
	return s->replica;
}

int identity_take(struct store *s, uint64_t replica)
{
	struct record r = {.type = REC_REPLICA, .replica_id = replica, .store_id = s->id};
	uint64_t old = s->replica;
	struct index_txn *tx;
	int err = change_begin(s, &tx);

	if (err < 0)
		return err;
	r.origin.replica = replica;
	s->replica = s->clock.replica = replica;
	err = change_end(s, tx, change_record(s, tx, &r));
	if (err >= 0)
		err = log_flush(s->log);
	if (err < 0)
		s->replica = s->clock.replica = old;
	return err < 0 ? err : 1;
}

int identity_renew(struct store *s)
{
	int err = identity_take(s, random_u64() | 1);

	if (err >= 0)
		mb_msg(MB_NOTICE,
		       "this store was copied or restored: it goes on as a new replica, and the "
		       "next "
		       "sync with each peer compares everything store=%s",
		       s->dir);
	return err;
}
