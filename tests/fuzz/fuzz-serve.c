/*
 * The writer's socket: any requests, one after the other, on a store with some mail.  Nothing leaves
 * the store, and it is sound afterwards: it opens again and says the same.
 *
 * Input: requests, each u16 length, verb, payload.
 */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/serve.h"
#include "backends/store/socket-format.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/random.h"
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[64];

static void store_setup(char dir[96])
{
	const char *tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

	mb_msg_set_level(MB_ERROR);
	snprintf(path, sizeof(path), "%s/mb-fuzz-XXXXXX", tmp);
	FUZZ_CHECK(mkdtemp(path));
	snprintf(dir, 96, "%s/store", path);
	FUZZ_CHECK(store_create(dir, LAYOUT_MAILDIRPP) == 0);
	for (int i = 0; i < 3; i++) {
		char name[160];
		snprintf(name, sizeof(name), "%s/mail/cur/%d.x:2,S", dir, i);
		int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		FUZZ_CHECK(fd >= 0 && write(fd, "Subject: x\n\nx\n", 14) == 14);
		close(fd);
	}
	snprintf(dir + strlen(dir), 96 - strlen(dir), "/staging/body");
	int fd = open(dir, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
	*strstr(dir, "/staging") = '\0';
}

static void store_remove(void)
{
	char *slash = strrchr(path, '/');

	*slash = '\0';
	int parent = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	FUZZ_CHECK(at_remove_tree(parent, slash + 1) == 0);
	close(parent);
}

static int count_names(const char *name, unsigned char d_type, uint64_t ino, void *arg)
{
	FUZZ_CHECK(strcmp(name, "store") == 0);
	++*(int *)arg;
	return 0;
}

/* Beside the store there is nothing. */
static void check_outside(void)
{
	int n = 0, fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	FUZZ_CHECK(at_list(fd, count_names, &n) >= 0 && n == 1);
	close(fd);
}

void fuzz_one(const uint8_t *data, size_t len)
{
	struct reader in = reader_of(data, len);
	char dir[96];
	struct store *s;

	store_setup(dir);
	FUZZ_CHECK(store_open(dir, STORE_WRITE, &s) == 0);
	struct serve v = {.store = s, .mount = ""};
	while (reader_left(&in) > 2) {
		BUF_AUTO struct buf out = BUF_INIT;
		size_t n = reader_get_u16(&in);
		n = n < reader_left(&in) ? n : reader_left(&in);
		if (!n)
			continue;
		int got = store_serve(&v, 1, in.p, n, &out);
		FUZZ_CHECK(got >= 0 || out.len == 0);
		in.p += n;
	}
	store_close(s);
	check_outside();
	FUZZ_CHECK(store_open(dir, STORE_WRITE, &s) == 0);
	store_close(s);
	store_remove();
}

static void put(struct buf *out, const struct buf *request)
{
	buf_put_u16(out, (uint16_t)request->len);
	buf_put(out, request->data, request->len);
}

static void put_request(struct buf *out, struct prng *p, unsigned n)
{
	BUF_AUTO struct buf b = BUF_INIT;
	struct record r = {0};
	uint8_t verb = n % 2 ? (uint8_t)(1 + prng_below(p, VERB_COUNTERS)) : VERB_PUT;

	buf_put_u8(&b, verb);
	if (verb == VERB_PUT) {
		buf_put_str(&b, prng_bool(p) ? "body" : "");
		random_record(p, &r);
		r.type = prng_bool(p) ? REC_MAILBOX_STATE : REC_COPY_STATE;
		record_encode(&r, &b);
	} else if (verb == VERB_HELLO) {
		buf_put_u32(&b, SOCKET_VERSION);
	} else {
		for (int i = 0; i < 16; i++)
			buf_put_u8(&b, (uint8_t)prng_next(p));
	}
	put(out, &b);
	record_release(&r);
}

const unsigned fuzz_rounds = 300, fuzz_cuts = 10;

bool fuzz_seed(unsigned n, struct buf *out)
{
	struct prng p = {n + 5};

	if (n >= 20)
		return false;
	for (unsigned i = 0; i <= n / 2; i++)
		put_request(out, &p, i);
	return true;
}
