/*
 * replay.c - runs a fuzz target without a fuzzer.
 *
 *   fuzz-NAME [CORPUS_DIR]         seeds, corpus, seeds cut short and damaged
 *   fuzz-NAME --write-seeds DIR    the seeds as files, for libFuzzer
 *   fuzz-NAME --one FILE           one input
 *
 * $FUZZ_ROUNDS damaged inputs, else as many as the target says, from a generator that starts at $FUZZ_SEED (1).  An input that
 * takes over 20 seconds ends the program by SIGALRM.
 */
#include "tests/fuzz/fuzz.h"
#include <dirent.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { INPUT_MAX = 1 << 20, ONE_SECONDS = 20 };

static uint64_t state;
static unsigned long tried;

/* xorshift64*: the same numbers everywhere. */
static uint32_t number(uint32_t below)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32_t)((state * 2685821657736338717ull) >> 32) % below;
}

static unsigned long setting(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoul(text, NULL, 10) : otherwise;
}

/* In a block of its own size: ASan sees a read behind the end. */
static void try(const uint8_t *data, size_t len)
{
	uint8_t *own = malloc(len ? len : 1);

	FUZZ_CHECK(own);
	if (len)
		memcpy(own, data, len);
	alarm(ONE_SECONDS);
	fuzz_one(own, len);
	alarm(0);
	free(own);
	tried++;
}

static bool read_whole(const char *path, struct buf *out)
{
	uint8_t block[65536];
	size_t n;
	FILE *f = fopen(path, "rb");

	if (!f)
		return false;
	while (out->len < INPUT_MAX && (n = fread(block, 1, sizeof(block), f)) > 0)
		buf_put(out, block, n);
	fclose(f);
	return true;
}

static void try_file(const char *path)
{
	BUF_AUTO struct buf b = BUF_INIT;

	if (!read_whole(path, &b)) {
		perror(path);
		exit(1);
	}
	try(b.data, b.len);
}

static void try_corpus(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	char path[4096];

	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		try_file(path);
	}
	if (d)
		closedir(d);
}

static void damage(struct buf *b)
{
	static const uint8_t telling[] = {0, 1, 0x7f, 0x80, 0xff, '\n', '/', '.', ':', ','};
	size_t at = b->len ? number((uint32_t)b->len) : 0;

	if (!b->len) {
		buf_put_u8(b, (uint8_t)number(256));
		return;
	}
	switch (number(6)) {
	case 0:
		b->data[at] ^= (uint8_t)(1u << number(8));
		break;
	case 1:
		b->data[at] = telling[number(sizeof(telling))];
		break;
	case 2:
		b->data[at] = (uint8_t)number(256);
		break;
	case 3: /* a piece is gone */
		memmove(b->data + at, b->data + at + 1, b->len - at - 1);
		b->len--;
		break;
	case 4: { /* a piece is there twice */
		size_t n = b->len - at < 16 ? b->len - at : 16;
		uint8_t piece[16];
		memcpy(piece, b->data + at, n);
		if (b->len + n <= INPUT_MAX)
			buf_put(b, piece, n);
		break;
	}
	default: /* zeros, as a disk leaves them */
		memset(b->data + at, 0, b->len - at < 64 ? b->len - at : 64);
	}
}

static void try_damaged(unsigned seeds)
{
	for (unsigned long n = setting("FUZZ_ROUNDS", fuzz_rounds); n > 0; n--) {
		BUF_AUTO struct buf b = BUF_INIT;
		fuzz_seed(number(seeds), &b);
		for (uint32_t k = 1 + number(8); k > 0; k--)
			damage(&b);
		try(b.data, b.len);
	}
}

static void try_cut(const struct buf *seed)
{
	size_t step = 1 + seed->len / fuzz_cuts;

	for (size_t len = 0; len < seed->len; len += step)
		try(seed->data, len);
}

static unsigned each_seed(void (*fn)(unsigned n, const struct buf *seed, const char *arg),
			  const char *arg)
{
	for (unsigned n = 0;; n++) {
		BUF_AUTO struct buf seed = BUF_INIT;
		if (!fuzz_seed(n, &seed))
			return n;
		fn(n, &seed, arg);
	}
}

static void write_seed(unsigned n, const struct buf *seed, const char *dir)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/seed-%03u", dir, n);
	FILE *f = fopen(path, "wb");
	if (!f || fwrite(seed->data, 1, seed->len, f) != seed->len || fclose(f) != 0) {
		perror(path);
		exit(1);
	}
}

static void try_seed(unsigned n, const struct buf *seed, const char *arg)
{
	(void)n, (void)arg;
	try(seed->data, seed->len);
	try_cut(seed);
}

int main(int argc, char **argv)
{
	state = 0x9e3779b97f4a7c15ull ^ setting("FUZZ_SEED", 1);
	if (argc == 3 && strcmp(argv[1], "--write-seeds") == 0) {
		printf("%u seeds\n", each_seed(write_seed, argv[2]));
		return 0;
	}
	if (argc == 3 && strcmp(argv[1], "--one") == 0) {
		try_file(argv[2]);
		return 0;
	}
	unsigned seeds = each_seed(try_seed, NULL);
	FUZZ_CHECK(seeds > 0);
	if (argc > 1)
		try_corpus(argv[1]);
	try_damaged(seeds);
	printf("%u seeds, %lu inputs\n", seeds, tried);
	return 0;
}
