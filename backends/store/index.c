/*
 * index.c - the LMDB environment of the index: open, transactions, raw tables, meta.
 *
 * Flags: NOSYNC (a cache), NOTLS (read transactions are not bound to threads), no WRITEMAP (a stray
 * write of this process cannot damage the index).  The map is address space only; it must hold all
 * that will ever be in the index while it is open, so it starts at 64 GiB and becomes smaller only
 * where RLIMIT_AS asks for it.
 */
#include "backends/store/index-private.h"
#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAP_SIZE_MAX (sizeof(size_t) > 4 ? (size_t)1 << 36 : (size_t)1 << 29)
#define MAP_SIZE_MIN ((size_t)1 << 24)
#define MAX_READERS 512
#define CHECK_LEN 8

const char *const TABLE_NAMES[T_COUNT] = {
	[T_META] = "meta",     [T_MAILBOX] = "mailbox", [T_DIR] = "dir",
	[T_COPY] = "copy",     [T_UID] = "uid",		[T_NAME] = "name",
	[T_DIGEST] = "digest", [T_ORDINAL] = "ordinal", [T_ALIAS] = "alias",
	[T_PEER] = "peer",     [T_ENTRY] = "entry",
};

/*
 * LMDB believes its pages: a number of a page that it read becomes an offset, and the system says EINVAL
 * of a negative one; flags that it read decide which sizes are wrong.  We give it no such argument
 * ourselves: all of these are said of an index that is damaged.
 */
int index_error(int mdb)
{
	switch (mdb) {
	case MDB_SUCCESS:
		return 0;
	case MDB_NOTFOUND:
		return -ENOENT;
	case MDB_MAP_FULL:
	case MDB_TXN_FULL:
		return -ENOSPC;
	case MDB_READERS_FULL:
	case MDB_MAP_RESIZED:
		return -EAGAIN;
	case EINVAL:
		return MB_E_FORMAT;
	default:
		return mdb > 0 ? -mdb : MB_E_FORMAT;
	}
}

/* ---- raw tables ---- */

static uint64_t value_checksum(enum table t, const MDB_val *key, const void *data, size_t len)
{
	return checksum64(data, len, checksum64(key->mv_data, key->mv_size, (uint64_t)t));
}

int table_check(enum table t, const MDB_val *key, const MDB_val *val, struct slice *ret)
{
	const uint8_t *data = val->mv_data;

	if (val->mv_size < CHECK_LEN)
		return MB_E_CHECKSUM;
	size_t len = val->mv_size - CHECK_LEN;
	if (get_le64(data + len) != value_checksum(t, key, data, len))
		return MB_E_CHECKSUM;
	*ret = (struct slice){.data = data, .len = len};
	return 0;
}

static MDB_val key_val(const void *key, size_t len)
{
	union {
		const void *in;
		void *out; /* LMDB does not write to it */
	} p = {.in = key};
	return (MDB_val){.mv_size = len, .mv_data = p.out};
}

int table_get(struct index_txn *tx, enum table t, const void *key, size_t key_len,
	      struct slice *ret)
{
	MDB_val k = key_val(key, key_len), v;
	int r;

	index_lmdb_enter();
	r = index_error(mdb_get(tx->txn, tx->ix->dbi[t], &k, &v));
	if (r >= 0)
		r = table_check(t, &k, &v, ret);
	index_lmdb_leave();
	return txn_doubt(tx, r);
}

static int index_doubt(struct index *ix, int r)
{
	if (r == MB_E_CHECKSUM || r == MB_E_FORMAT)
		atomic_store(&ix->bad, true);
	return r;
}

int txn_doubt(struct index_txn *tx, int r)
{
	return index_doubt(tx->ix, r);
}

bool index_is_bad(const struct index *ix)
{
	return atomic_load(&ix->bad);
}

int txn_spoil(struct index_txn *tx, int r)
{
	if (r < 0 && !tx->failed)
		tx->failed = r;
	return r;
}

int table_put(struct index_txn *tx, enum table t, const void *key, size_t key_len, const void *data,
	      size_t len)
{
	MDB_val k = key_val(key, key_len);

	buf_reset(&tx->scratch);
	buf_put(&tx->scratch, data, len);
	buf_put_u64(&tx->scratch, value_checksum(t, &k, data, len));
	MDB_val v = {.mv_size = tx->scratch.len, .mv_data = tx->scratch.data};
	tx->writes++;
	index_lmdb_enter();
	int r = index_error(mdb_put(tx->txn, tx->ix->dbi[t], &k, &v, 0));
	index_lmdb_leave();
	return txn_spoil(tx, txn_doubt(tx, r));
}

int table_del(struct index_txn *tx, enum table t, const void *key, size_t key_len)
{
	MDB_val k = key_val(key, key_len);
	int r;

	index_lmdb_enter();
	r = index_error(mdb_del(tx->txn, tx->ix->dbi[t], &k, NULL));
	index_lmdb_leave();
	tx->writes++;
	return r == -ENOENT ? 0 : txn_spoil(tx, txn_doubt(tx, r));
}

size_t table_count(struct index_txn *tx, enum table t)
{
	MDB_stat st;
	int r;

	index_lmdb_enter();
	r = mdb_stat(tx->txn, tx->ix->dbi[t], &st);
	index_lmdb_leave();
	return r ? 0 : st.ms_entries;
}

/* ---- open ---- */

static size_t first_map_size(void)
{
	struct rlimit lim;
	size_t size = MAP_SIZE_MAX;

	if (getrlimit(RLIMIT_AS, &lim) < 0 || lim.rlim_cur == RLIM_INFINITY)
		return size;
	while (size > lim.rlim_cur / 4 && size > MAP_SIZE_MIN)
		size /= 2;
	return size;
}

static int open_env(const char *path, unsigned flags, size_t size, MDB_env **ret)
{
	MDB_env *env;
	int r = mdb_env_create(&env);

	if (r)
		return index_error(r);
	r = mdb_env_set_mapsize(env, size);
	if (!r)
		r = mdb_env_set_maxdbs(env, T_COUNT);
	if (!r)
		r = mdb_env_set_maxreaders(env, MAX_READERS);
	index_damage_watch(env, path, !(flags & MDB_RDONLY)); /* opening reads two pages */
	index_lmdb_enter();
	if (!r)
		r = mdb_env_open(env, path, flags, 0600);
	index_lmdb_leave();
	if (r) {
		index_damage_forget(env);
		mdb_env_close(env);
		return index_error(r);
	}
	*ret = env;
	return 0;
}

/* Is there room for a map of the file?  Where there is, and LMDB found none, the file told it a length
 * that it does not have. */
static bool could_map(const char *path)
{
	MB_AUTO_FREE char *data = mb_xasprintf("%s/data.mdb", path);
	struct stat st;

	if (stat(data, &st) < 0)
		return false;
	size_t len = MAP_SIZE_MIN + (size_t)st.st_size;
	void *p = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return false;
	munmap(p, len);
	return true;
}

static int open_any_size(const char *path, bool writable, MDB_env **ret)
{
	unsigned flags = MDB_NOSYNC | MDB_NOTLS | (writable ? 0 : MDB_RDONLY);
	int r;

	for (size_t size = first_map_size(); size >= MAP_SIZE_MIN; size /= 2) {
		r = open_env(path, flags, size, ret);
		if (r != -ENOMEM)
			return r;
	}
	return could_map(path) ? MB_E_FORMAT : -ENOMEM;
}

static int open_table(struct index *ix, MDB_txn *txn, enum table t)
{
	unsigned flags = ix->writable ? MDB_CREATE : 0;
	int r;

	index_lmdb_enter();
	r = mdb_dbi_open(txn, TABLE_NAMES[t], flags, &ix->dbi[t]);
	index_lmdb_leave();
	return r == MDB_INCOMPATIBLE ? MB_E_FORMAT : index_error(r);
}

/* The version comes before anything else is looked at. */
static int check_format(struct index_txn *tx)
{
	uint8_t le[4];
	int r = index_meta_get(tx, "format", le, sizeof(le));

	if (r == -ENOENT && tx->write && table_count(tx, T_META) == 0) {
		put_le32(le, INDEX_FORMAT);
		return index_meta_put(tx, "format", le, sizeof(le));
	}
	if (r < 0)
		return r == -ENOENT || r == -EINVAL ? MB_E_FORMAT : r;
	uint32_t format = get_le32(le);
	if (format > INDEX_FORMAT)
		return MB_E_VERSION;
	return format < INDEX_FORMAT ? MB_E_FORMAT : 0;
}

static int open_tables(struct index *ix)
{
	struct index_txn *tx;
	int r = index_begin(ix, ix->writable, &tx);

	if (r < 0)
		return r;
	r = open_table(ix, tx->txn, T_META);
	if (r >= 0)
		r = check_format(tx);
	for (int t = T_META + 1; r >= 0 && t < T_COUNT; t++)
		r = open_table(ix, tx->txn, (enum table)t);
	if (r < 0) {
		index_abort(tx);
		return r;
	}
	return index_commit(tx); /* of a reader too: publishes the handles */
}

int index_open(const char *path, bool writable, struct index **ret)
{
	struct index *ix;
	MDB_env *env = NULL;
	int dead, r;

	if (writable && access(path, F_OK) < 0) {
		r = io_mkdirat(AT_FDCWD, path, 0700);
		if (r < 0 && r != -EEXIST)
			return r;
	}
	r = open_any_size(path, writable, &env);
	if (r < 0)
		return r;
	mdb_reader_check(env, &dead);

	ix = mb_xcalloc(1, sizeof(*ix));
	ix->env = env;
	ix->writable = writable;
	pthread_mutex_init(&ix->lock, NULL);
	r = open_tables(ix);
	if (r < 0) {
		index_close(ix);
		return r;
	}
	*ret = ix;
	return 0;
}

static void tree_free(struct tree *t)
{
	if (t)
		tree_release(t);
	free(t);
}

void index_close(struct index *ix)
{
	if (!ix)
		return;
	index_damage_forget(ix->env);
	mdb_env_close(ix->env);
	tree_free(ix->kept);
	pthread_mutex_destroy(&ix->lock);
	free(ix);
}

int index_sync(struct index *ix)
{
	int r = mdb_env_sync(ix->env, 1);

	return r > 0 ? -r : index_error(r); /* it reads nothing: what the system says is so */
}

int index_reserve(struct index *ix, uint64_t bytes)
{
	MDB_envinfo info;
	MDB_stat st;
	uint64_t end;
	int fd, r;

	if (ix->reserved == UINT64_MAX)
		return 0;
	r = mdb_env_info(ix->env, &info);
	if (!r)
		r = mdb_env_stat(ix->env, &st);
	if (!r)
		r = mdb_env_get_fd(ix->env, &fd);
	if (r)
		return index_error(r);
	end = ((uint64_t)info.me_last_pgno + 1) * st.ms_psize;
	if (ix->reserved >= end + bytes)
		return 0;
	r = io_reserve(fd, (off_t)end, (off_t)(2 * bytes)); /* so that it is not each time */
	if (r >= 0) {
		ix->reserved = r ? end + 2 * bytes : UINT64_MAX;
		return 0;
	}
	r = io_reserve(fd, (off_t)end, (off_t)bytes);
	return r < 0 ? r : 0;
}

/* ---- transactions ---- */

static void count_txn(struct index *ix, unsigned add)
{
	pthread_mutex_lock(&ix->lock);
	ix->n_txns += add;
	pthread_mutex_unlock(&ix->lock);
}

/* Another process with a larger map has grown the index beyond ours. */
static int follow_size(struct index *ix)
{
	int r = MDB_MAP_RESIZED;

	pthread_mutex_lock(&ix->lock);
	if (ix->n_txns == 1)
		r = mdb_env_set_mapsize(ix->env, 0);
	pthread_mutex_unlock(&ix->lock);
	return r;
}

/* The tree is as the last transaction left it, unless another one, of another process perhaps, came
 * between: each that changes something has the next number. */
static void take_kept(struct index_txn *tx)
{
	struct index *ix = tx->ix;

	pthread_mutex_lock(&ix->lock);
	struct tree *kept = MB_TAKE(ix->kept);
	bool good = kept && ix->kept_id + 1 == mdb_txn_id(tx->txn);
	pthread_mutex_unlock(&ix->lock);
	if (good)
		tx->tree = kept;
	else
		tree_free(kept);
}

/* Before LMDB lets the next writer in. */
static void keep_tree(struct index_txn *tx, bool commits)
{
	if (!tx->tree || (tx->writes && !commits))
		return;
	struct index *ix = tx->ix;
	size_t id = mdb_txn_id(tx->txn);
	pthread_mutex_lock(&ix->lock);
	tree_free(ix->kept);
	ix->kept = MB_TAKE(tx->tree);
	ix->kept_id = tx->writes ? id : id - 1;
	pthread_mutex_unlock(&ix->lock);
}

/* A commit failed: its number will be that of another transaction. */
static void drop_kept(struct index *ix)
{
	pthread_mutex_lock(&ix->lock);
	tree_free(MB_TAKE(ix->kept));
	pthread_mutex_unlock(&ix->lock);
}

bool index_kept_tree(struct index_txn *tx, struct tree *ret)
{
	struct index *ix = tx->ix;

	pthread_mutex_lock(&ix->lock);
	bool good = ix->kept && ix->kept_id == mdb_txn_id(tx->txn);
	if (good)
		tree_clone(ret, ix->kept);
	pthread_mutex_unlock(&ix->lock);
	return good;
}

void index_set_before(struct index *ix, void (*fn)(void *arg), void *arg)
{
	ix->before_arg = arg;
	atomic_store(&ix->before, fn);
}

int index_begin(struct index *ix, bool write, struct index_txn **ret)
{
	void (*before)(void *arg) = atomic_load(&ix->before);

	if (before)
		before(ix->before_arg);
	return index_begin_now(ix, write, ret);
}

int index_begin_now(struct index *ix, bool write, struct index_txn **ret)
{
	MDB_txn *txn;
	int r;

	if (write && !ix->writable)
		return -EACCES;
	if (!write && ix->shared) {
		*ret = mb_xcalloc(1, sizeof(**ret));
		**ret = (struct index_txn){.ix = ix, .txn = ix->shared->txn, .borrowed = true};
		index_marks_flush(ix->shared); /* an error is kept for its commit */
		return 0;
	}
	count_txn(ix, 1);
	index_lmdb_enter();
	r = mdb_txn_begin(ix->env, NULL, write ? 0 : MDB_RDONLY, &txn);
	if (r == MDB_MAP_RESIZED) {
		r = follow_size(ix);
		if (!r)
			r = mdb_txn_begin(ix->env, NULL, write ? 0 : MDB_RDONLY, &txn);
	}
	index_lmdb_leave();
	if (r) {
		count_txn(ix, -1U);
		return index_doubt(ix, index_error(r));
	}
	*ret = mb_xcalloc(1, sizeof(**ret));
	**ret = (struct index_txn){.ix = ix, .txn = txn, .write = write};
	if (write)
		take_kept(*ret);
	return 0;
}

void index_share(struct index *ix, struct index_txn *tx)
{
	ix->shared = tx;
}

uint64_t index_writes(const struct index_txn *tx)
{
	return tx->writes;
}

static void txn_free(struct index_txn *tx)
{
	if (!tx->borrowed)
		count_txn(tx->ix, -1U);
	buf_release(&tx->scratch);
	buf_release(&tx->value);
	tree_free(tx->tree);
	free(tx);
}

/* Is the file about as long as it may be?  If not, it was a page far behind its end that was "too big". */
static bool is_at_limit(struct index *ix)
{
	const uint64_t near = UINT64_C(1) << 30;
	uint64_t most = UINT64_C(1) << 32; /* of a FAT */
	struct rlimit lim;
	struct stat st;
	int fd;

	if (mdb_env_get_fd(ix->env, &fd) || fstat(fd, &st) < 0)
		return true;
	if (getrlimit(RLIMIT_FSIZE, &lim) == 0 && lim.rlim_cur < most)
		most = lim.rlim_cur;
	return (uint64_t)st.st_size + near >= most;
}

int index_commit(struct index_txn *tx)
{
	int r = tx->failed ? tx->failed : index_marks_flush(tx);

	if (r < 0) {
		index_abort(tx);
		return r;
	}
	keep_tree(tx, true);
	index_lmdb_enter();
	r = index_error(mdb_txn_commit(tx->txn)); /* frees it, whatever happens */
	index_lmdb_leave();
	if (r == -EFBIG && !is_at_limit(tx->ix))
		r = MB_E_FORMAT;
	if (r < 0)
		drop_kept(tx->ix);
	txn_doubt(tx, r);
	txn_free(tx);
	return r;
}

void index_abort(struct index_txn *tx)
{
	if (!tx)
		return;
	keep_tree(tx, false);
	if (!tx->borrowed)
		mdb_txn_abort(tx->txn);
	txn_free(tx);
}

/* ---- meta ---- */

/* Those that are kept in struct marks and written at the end. */
static bool is_mark(const char *name)
{
	return strcmp(name, "clock") == 0 || strcmp(name, "ordinal") == 0;
}

int index_meta_get(struct index_txn *tx, const char *name, void *dst, size_t len)
{
	struct slice val;
	int r = is_mark(name) ? index_marks_flush(tx) : 0;

	if (r >= 0)
		r = table_get(tx, T_META, name, strlen(name), &val);
	if (r < 0)
		return r;
	if (val.len != len)
		return -EINVAL;
	memcpy(dst, val.data, len);
	return 0;
}

int index_meta_put(struct index_txn *tx, const char *name, const void *src, size_t len)
{
	int r = is_mark(name) ? index_marks_flush(tx) : 0;

	if (r < 0)
		return r;
	if (is_mark(name))
		tx->marks.loaded = false;
	return table_put(tx, T_META, name, strlen(name), src, len);
}

static int is_one(struct index_txn *tx, const uint8_t *key, size_t len, void *arg)
{
	(void)tx;
	(void)key;
	(void)len;
	(void)arg;
	return 1;
}

bool index_meta_has(struct index_txn *tx, const char *prefix)
{
	return table_walk(tx, T_META, prefix, strlen(prefix), NULL, 0, is_one, NULL) != 0;
}

static int put_mark(struct index_txn *tx, const char *name, uint64_t v)
{
	uint8_t le[8];

	put_le64(le, v);
	return table_put(tx, T_META, name, strlen(name), le, sizeof(le));
}

int index_marks_flush(struct index_txn *tx)
{
	int r;

	if (!tx->marks.changed)
		return 0;
	r = put_mark(tx, "clock", tx->marks.clock);
	if (r >= 0)
		r = put_mark(tx, "ordinal", tx->marks.ordinal);
	if (r >= 0)
		tx->marks.changed = false;
	return r;
}
