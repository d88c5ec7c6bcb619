/* A log file of any bytes: opened, read to its end, gone on with; what was appended is read again. */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/log-private.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/random.h"
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const struct guid STORE = {{1, 2, 3}};
static char path[64];
static int dir = -1;

static void open_dir(void)
{
	const char *tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

	mb_msg_set_level(MB_ERROR);
	snprintf(path, sizeof(path), "%s/mb-fuzz-XXXXXX", tmp);
	FUZZ_CHECK(mkdtemp(path));
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	FUZZ_CHECK(dir >= 0);
}

static void remove_dir(void)
{
	char *slash = strrchr(path, '/');

	*slash = '\0';
	int parent = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	at_remove_tree(parent, slash + 1);
	close(parent);
	close(dir);
	dir = -1;
}

static void put_file(const char *name, const uint8_t *data, size_t len)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	FUZZ_CHECK(fd >= 0 && write(fd, data, len) == (ssize_t)len);
	close(fd);
}

static int count(const struct record *r, const struct position *end, uint64_t modseq, void *arg)
{
	(void)r, (void)end, (void)modseq;
	++*(size_t *)arg;
	return 0;
}

static size_t read_all(struct log *l, const struct position *since)
{
	struct position good;
	size_t n = 0;

	log_read(l, since, count, &n, &good);
	return n;
}

/* Frames one after the other, with a jump over what is wrong: each lies behind the one before. */
static void scan_frames(size_t len)
{
	struct guid id = {{9}};
	struct frame f;
	struct scan s;
	uint64_t at = LOG_HEADER_SIZE;
	int fd = openat(dir, "00000001.log", O_RDONLY | O_CLOEXEC), got;

	scan_init(&s, fd, &id, at, len);
	while ((got = scan_next(&s, &f)) == 1 ||
	       (got == MB_E_CHECKSUM && scan_resync(&s, &f) == 1)) {
		FUZZ_CHECK(f.offset >= at && f.end <= len && f.end > f.offset);
		at = f.end;
	}
	scan_release(&s);
	close(fd);
}

void fuzz_one(const uint8_t *data, size_t len)
{
	struct record r = {.type = REC_FLAGS, .copy = {.guid = {{5}}}};
	struct position before, end;
	struct log *l;

	open_dir();
	put_file("00000001.log", data, len);
	scan_frames(len);
	put_file("00000001.ckpt", data, len);
	if (log_open(dir, &STORE, &l) < 0) { /* another store's, or a newer program's */
		remove_dir();
		return;
	}
	read_all(l, &(struct position){0});
	if (log_begin(l, false, NULL) == 0) {
		FUZZ_CHECK(log_end(l, &before) == 0);
		FUZZ_CHECK(log_append(l, &r, &end, NULL) == 0);
		FUZZ_CHECK(log_flush(l) == 0);
		FUZZ_CHECK(read_all(l, &before) == 1);
	}
	log_close(l);
	remove_dir();
}

const unsigned fuzz_rounds = 1000, fuzz_cuts = 50;

bool fuzz_seed(unsigned n, struct buf *out)
{
	struct log_header h = {.id = {{9}}, .store = STORE, .sequence = 1, .indexid = 5};
	uint8_t head[LOG_HEADER_SIZE];
	struct prng p = {n + 3};

	if (n >= 12)
		return false;
	log_header_encode(&h, head);
	buf_put(out, head, sizeof(head));
	for (unsigned i = 0; i < n; i++) {
		BUF_AUTO struct buf frame = BUF_INIT;
		struct record r = {0};
		random_record(&p, &r);
		if (frame_record(&frame, &r) == 0) {
			frame_seal(&frame, frame_seed(&h.id), out->len);
			buf_put(out, frame.data, frame.len);
		}
		record_release(&r);
	}
	return true;
}
