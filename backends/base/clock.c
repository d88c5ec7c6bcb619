/*
 * clock.c - time, with an offset for tests.
 *
 * The offset of MAILBRAID_CLOCK_OFFSET is read once, at the first call; it is ignored in a set-uid
 * process.  All functions may be called from any thread.
 */
#include "backends/base/clock.h"
#include "backends/base/ascii.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define NS_PER_S INT64_C(1000000000)
#define OFFSET_MAX_S INT64_C(3000000000) /* about 95 years */

static _Atomic int64_t wall_offset;
static int64_t (*wall_source)(void);

static void read_offset(void)
{
	const char *text = secure_getenv("MAILBRAID_CLOCK_OFFSET");
	char *end;
	long long seconds;

	if (!text)
		return;
	errno = 0;
	seconds = strtoll(text, &end, 10);
	if (!errno && end != text && !*end && seconds <= OFFSET_MAX_S && seconds >= -OFFSET_MAX_S)
		wall_offset = (int64_t)seconds * NS_PER_S;
}

static void init_offset(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, read_offset);
}

static int64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	if (clock_gettime(id, &ts) < 0)
		abort();
	return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

int64_t clock_wall_ns(void)
{
	if (wall_source)
		return wall_source();
	init_offset();
	return clock_ns(CLOCK_REALTIME) + wall_offset;
}

int64_t clock_mono_ns(void)
{
	return clock_ns(CLOCK_BOOTTIME);
}

void clock_set_offset_ns(int64_t offset_ns)
{
	init_offset();
	wall_offset = offset_ns;
}

void clock_set_source(int64_t (*source)(void))
{
	wall_source = source;
}

/* A UUID as text: 36 bytes with dashes. */
static void parse_uuid(const char *text, uint8_t ret[16])
{
	uint8_t id[16];
	size_t n = 0;

	for (; *text && *text != '\n' && n < 32; text++) {
		int v = ascii_hex(*text);

		if (*text == '-')
			continue;
		if (v < 0)
			return;
		id[n / 2] = (uint8_t)(n % 2 ? id[n / 2] | v : v << 4);
		n++;
	}
	if (n == 32)
		memcpy(ret, id, 16);
}

void clock_boot_id(uint8_t ret[16])
{
	MB_AUTO_CLOSE int fd = -1;
	char text[64] = "";

	memset(ret, 0, 16);
	fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && io_pread_full(fd, text, sizeof(text) - 1, 0) > 0)
		parse_uuid(text, ret);
}
