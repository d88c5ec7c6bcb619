#include "tests/support/log-dir.h"

#include "backends/base/at.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

const struct guid LOG_DIR_STORE = {{7, 7, 7}};

int log_dir_setup(void **state)
{
	struct log_dir *d = mb_xcalloc(1, sizeof(*d));
	const char *tmp = getenv("TMPDIR");

	snprintf(d->path, sizeof(d->path), "%s/mailbraid-log-XXXXXX",
		 tmp && strlen(tmp) < 32 ? tmp : "/tmp");
	if (!mkdtemp(d->path))
		return -1;
	d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = d;
	return d->fd < 0 ? -1 : 0;
}

static int unlink_one(const char *name, unsigned char d_type, uint64_t ino, void *arg)
{
	(void)d_type;
	(void)ino;
	return unlinkat(*(int *)arg, name, 0);
}

void log_dir_clear(const struct log_dir *d)
{
	int fd = d->fd;

	assert_int_equal(at_list(d->fd, unlink_one, &fd), 0);
}

int log_dir_teardown(void **state)
{
	struct log_dir *d = *state;

	io_set_hook(NULL, NULL);
	log_dir_clear(d);
	close(d->fd);
	rmdir(d->path);
	free(d);
	return 0;
}

struct log *log_dir_reader(const struct log_dir *d)
{
	struct log *l = NULL;

	assert_int_equal(log_open(d->fd, &LOG_DIR_STORE, &l), 0);
	return l;
}

struct log *log_dir_writer(const struct log_dir *d)
{
	struct log *l = log_dir_reader(d);

	assert_int_equal(log_begin(l, false, NULL), 0);
	return l;
}

void log_dir_record(struct record *ret, uint64_t n, size_t size)
{
	char *name = mb_xcalloc(1, size + 1);

	memset(name, 'x', size);
	*ret = (struct record){.type = REC_ARRIVE, .at = {.time = n, .replica = 1}};
	ret->new_name = name;
}

void log_dir_bad_record(struct record *ret, size_t size)
{
	log_dir_record(ret, 1, size);
	ret->copy.place.base = MB_TAKE(ret->new_name);
}

struct position log_dir_append(struct log *l, uint64_t from, uint64_t to)
{
	struct position end = {0};
	uint64_t modseq = 0, last = 0;

	for (; from <= to; from++) {
		struct record r;

		log_dir_record(&r, from, from % 5);
		assert_int_equal(log_append(l, &r, &end, &modseq), 0);
		assert_true(modseq > last);
		last = modseq;
		record_release(&r);
	}
	return end;
}

int seen_add(const struct record *r, const struct position *end, uint64_t modseq, void *arg)
{
	struct seen *s = arg;

	assert_true(modseq == 0 || modseq > s->modseq);
	assert_true(s->count < 256);
	assert_int_equal(r->type, REC_ARRIVE);
	s->n[s->count++] = r->at.time;
	s->modseq = modseq;
	s->end = *end;
	return s->stop_after && s->count >= s->stop_after ? 17 : 0;
}

int log_dir_read(struct log *l, const struct position *since, struct seen *ret)
{
	return log_read(l, since, seen_add, ret, &ret->good);
}

void log_dir_expect(struct log *l, uint64_t from, uint64_t to)
{
	struct seen s = {0};
	struct position start, end;
	uint64_t n = from;

	assert_int_equal(log_start(l, &start), 0);
	assert_int_equal(log_dir_read(l, &start, &s), 0);
	assert_int_equal(s.count, to + 1 - from);
	for (; n <= to; n++)
		assert_int_equal(s.n[n - from], n);
	assert_int_equal(log_end(l, &end), 0);
	assert_true(position_equal(&end, &s.good));
}

uint8_t *log_dir_get(const struct log_dir *d, const char *name, size_t *ret_len)
{
	uint8_t *data = NULL;

	assert_int_equal(io_read_file(d->fd, name, (size_t)64 << 20, &data, ret_len), 0);
	return data;
}

void log_dir_put(const struct log_dir *d, const char *name, const void *data, size_t len)
{
	int fd = openat(d->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}

void log_dir_flip(const struct log_dir *d, const char *name, size_t bit)
{
	int fd = openat(d->fd, name, O_RDWR | O_CLOEXEC);
	uint8_t b;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &b, 1, (off_t)(bit / 8)), 1);
	b ^= (uint8_t)(1u << bit % 8);
	assert_int_equal(pwrite(fd, &b, 1, (off_t)(bit / 8)), 1);
	close(fd);
}

void log_dir_cut(const struct log_dir *d, const char *name, size_t size)
{
	int fd = openat(d->fd, name, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
}

int log_dir_has(const struct log_dir *d, const char *name)
{
	return faccessat(d->fd, name, F_OK, 0) == 0;
}
