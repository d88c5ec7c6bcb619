/*
 * index-dir.c - see index-dir.h.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/index-dir.h"
#include "backends/base/at.h"
#include "backends/base/mem.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

int index_dir_setup(void **state)
{
	struct index_dir *d = mb_xcalloc(1, sizeof(*d));
	const char *tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

	snprintf(d->path, sizeof(d->path), "%s/mb-index-XXXXXX", tmp);
	assert_non_null(mkdtemp(d->path));
	snprintf(d->index, sizeof(d->index), "%s/index", d->path);
	snprintf(d->data, sizeof(d->data), "%s/data.mdb", d->index);
	assert_int_equal(index_open(d->index, true, &d->ix), 0);
	*state = d;
	return 0;
}

int index_dir_teardown(void **state)
{
	struct index_dir *d = *state;

	index_close(d->ix);
	char *slash = strrchr(d->path, '/');
	*slash = 0;
	int fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(at_remove_tree(fd, slash + 1), 0);
	close(fd);
	free(d);
	return 0;
}

void index_dir_reopen(struct index_dir *d)
{
	index_close(d->ix);
	assert_int_equal(index_open(d->index, true, &d->ix), 0);
}

static uint8_t *read_all(int fd, size_t *ret_len)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	uint8_t *all = mb_xmalloc((size_t)st.st_size);
	assert_int_equal(pread(fd, all, (size_t)st.st_size, 0), st.st_size);
	*ret_len = (size_t)st.st_size;
	return all;
}

int index_dir_damage(struct index_dir *d, const void *bytes, size_t len)
{
	int found = 0, fd = open(d->data, O_RDWR | O_CLOEXEC);
	size_t size;

	assert_true(fd >= 0);
	uint8_t *all = read_all(fd, &size), *p = all;
	while ((p = memmem(p, size - (size_t)(p - all), bytes, len))) {
		uint8_t other = *p ^ 0x10;
		assert_int_equal(pwrite(fd, &other, 1, p - all), 1);
		p += len;
		found++;
	}
	free(all);
	close(fd);
	return found;
}

struct index_txn *index_dir_begin(struct index_dir *d, bool write)
{
	struct index_txn *tx;

	assert_int_equal(index_begin(d->ix, write, &tx), 0);
	return tx;
}

char *index_dir_dump(struct index_txn *tx)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	assert_int_equal(index_dump(tx, out), 0);
	fclose(out);
	return text;
}

char *index_dir_dump_now(struct index_dir *d)
{
	struct index_txn *tx = index_dir_begin(d, false);
	char *text = index_dir_dump(tx);

	index_abort(tx);
	return text;
}

/* ---- objects from numbers ---- */

struct guid num_guid(uint64_t n)
{
	struct guid g = {{0xab}};

	put_be64(g.b + 8, n);
	return g;
}

struct digest num_digest(uint64_t n)
{
	struct digest d = {{0xd1}};

	put_be64(d.b + 24, n);
	return d;
}

struct stamp num_stamp(uint64_t n)
{
	return (struct stamp){.time = n << 16, .replica = 1};
}

void num_mailbox(struct mailbox *ret, uint64_t n)
{
	*ret = (struct mailbox){
		.guid = num_guid(n),
		.part = mb_xasprintf("m%u", (unsigned)n),
		.born = num_stamp(1),
		.named_at = num_stamp(1),
		.selectable = true,
		.uid_validity = 77,
		.uid_next = 1,
	};
}

void num_put_mailbox(struct index_txn *tx, uint64_t n)
{
	struct mailbox_local l = {.dir = mb_xasprintf(".m%u", (unsigned)n)};
	struct mailbox m;

	num_mailbox(&m, n);
	assert_int_equal(index_put_mailbox(tx, &m, &l), 0);
	mailbox_release(&m);
	mailbox_local_release(&l);
}

void num_entry(struct entry *ret, uint64_t n, uint64_t mb, uint32_t uid)
{
	*ret = (struct entry){
		.copy = {.guid = num_guid(n),
			 .place = {.mailbox = num_guid(mb),
				   .uid = uid,
				   .at = num_stamp(10),
				   .base = mb_xasprintf("%u.x", (unsigned)n)},
			 .size = 100 + n,
			 .received_ns = 5,
			 .digest = num_digest(n)},
		.state = ENTRY_PRESENT,
		.ordinal = n,
		.modseq = 1,
		.file = mb_xasprintf("%u.x:2,", (unsigned)n),
	};
}

void num_put_entry(struct index_txn *tx, uint64_t n, uint64_t mb, uint32_t uid)
{
	struct entry e;

	num_entry(&e, n, mb, uid);
	assert_int_equal(index_put_entry(tx, &e), 0);
	entry_release(&e);
}

uint32_t num_live(struct index_txn *tx, uint64_t mb)
{
	struct guid g = num_guid(mb);
	struct mailbox_local l;

	assert_int_equal(index_get_mailbox(tx, &g, NULL, &l), 0);
	uint32_t n = l.n_live;
	mailbox_local_release(&l);
	return n;
}

uint32_t num_uid_next(struct index_txn *tx, uint64_t mb)
{
	struct guid g = num_guid(mb);
	struct mailbox m;

	assert_int_equal(index_get_mailbox(tx, &g, &m, NULL), 0);
	uint32_t n = m.uid_next;
	mailbox_release(&m);
	return n;
}

int met_add(struct entry *e, void *arg)
{
	struct met *m = arg;

	assert_true(m->n < sizeof(m->uid) / sizeof(*m->uid));
	m->guid[m->n] = e->copy.guid;
	m->uid[m->n++] = e->copy.place.uid;
	return m->stop_after && m->n == m->stop_after ? 7 : 0;
}
