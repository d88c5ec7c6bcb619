/*
 * state.c - the two small text files of a store.
 *
 * STORE/config is written once: format, layout, store id, and where the Maildir is when it was
 * adopted in place.  STORE/state says whether the last stop was clean, in which boot, and where the
 * log ended; it is made "running" durably before the first change of a writer, because the index is
 * written without flushes and must not be believed after a power cut.
 */
#include "backends/base/buf.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CONFIG_FORMAT 1
#define SMALL_FILE_MAX 65536

/* The value of "key=" in a text of lines, into a new string; NULL when it is not there. */
static char *value_of(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (const char *line = text; line && *line;) {
		const char *end = strchrnul(line, '\n');

		if (strncmp(line, key, len) == 0 && line[len] == '=')
			return mb_xstrndup(line + len + 1, (size_t)(end - line) - len - 1);
		line = *end ? end + 1 : NULL;
	}
	return NULL;
}

int config_write(int dir_fd, const struct store_config *c)
{
	BUF_AUTO struct buf b = BUF_INIT;
	char id[GUID_TEXT];

	buf_printf(&b, "format=%d\nlayout=%s\nstore=%s\n", CONFIG_FORMAT, layout_name(c->layout),
		   guid_text(&c->id, id));
	if (c->mail)
		buf_printf(&b, "mail=%s\n", c->mail);
	return io_replace_file(dir_fd, "config", b.data, b.len, 0600);
}

static int config_parse(const char *text, struct store_config *ret)
{
	MB_AUTO_FREE char *format = value_of(text, "format");
	MB_AUTO_FREE char *layout = value_of(text, "layout");
	MB_AUTO_FREE char *id = value_of(text, "store");

	if (!format || !layout || !id)
		return MB_E_CONFIG;
	if (!*format || strspn(format, "0123456789") != strlen(format))
		return MB_E_CONFIG;
	if (strtoul(format, NULL, 10) > CONFIG_FORMAT)
		return MB_E_VERSION;
	if (!layout_parse(layout, &ret->layout) || !guid_parse(id, &ret->id))
		return MB_E_CONFIG;
	ret->mail = value_of(text, "mail");
	if (ret->mail && ret->mail[0] != '/') {
		config_release(ret);
		return MB_E_CONFIG;
	}
	return 0;
}

int config_read(int dir_fd, struct store_config *ret)
{
	MB_AUTO_FREE uint8_t *text = NULL;
	size_t len;
	int err = io_read_file(dir_fd, "config", SMALL_FILE_MAX, &text, &len);

	if (err < 0)
		return err == -ENOENT ? MB_E_NOT_STORE : err;
	memset(ret, 0, sizeof(*ret));
	if (strlen((char *)text) != len)
		return MB_E_CONFIG;
	return config_parse((char *)text, ret);
}

void config_release(struct store_config *c)
{
	free(c->mail);
	c->mail = NULL;
}

static void put_hex(struct buf *b, const void *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		buf_printf(b, "%02x", ((const uint8_t *)data)[i]);
}

static bool get_hex(const char *text, void *dst, size_t len)
{
	if (!text || strlen(text) != 2 * len)
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned v;

		if (sscanf(text + 2 * i, "%2x", &v) != 1)
			return false;
		((uint8_t *)dst)[i] = (uint8_t)v;
	}
	return true;
}

int state_write(int dir_fd, const struct store_state *st)
{
	BUF_AUTO struct buf b = BUF_INIT;
	BUF_AUTO struct buf end = BUF_INIT;

	buf_printf(&b, "clean=%d\nboot=", st->clean);
	put_hex(&b, st->boot, sizeof(st->boot));
	position_encode(&st->end, &end);
	buf_printf(&b, "\nend=");
	put_hex(&b, end.data, end.len);
	buf_printf(&b, "\nplace=%llu %lld\n", (unsigned long long)st->place.ino,
		   (long long)st->place.born_ns);
	if (st->index.size)
		buf_printf(&b, "index=%llu %lld\n", (unsigned long long)st->index.size,
			   (long long)st->index.mtime_ns);
	return io_replace_file(dir_fd, "state", b.data, b.len, 0600);
}

int state_unclean(int dir_fd)
{
	static const char was[] = "clean=";
	MB_AUTO_CLOSE int fd = openat(dir_fd, "state", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	char now[sizeof(was)];
	int err;

	if (fd < 0)
		return -errno;
	if (io_pread_full(fd, now, sizeof(now), 0) != sizeof(now) ||
	    memcmp(now, was, strlen(was)) != 0)
		return MB_E_FORMAT;
	err = io_pwrite_all(fd, "0", 1, (off_t)strlen(was));
	return err < 0 ? err : io_fsync(fd);
}

struct index_stamp index_stamp_now(int dir_fd)
{
	struct stat st;

	if (fstatat(dir_fd, "index/data.mdb", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return (struct index_stamp){0};
	return (struct index_stamp){.size = (uint64_t)st.st_size,
				    .mtime_ns = clock_timespec_ns(&st.st_mtim)};
}

bool index_is_as_left(int dir_fd, const struct store_state *st)
{
	struct index_stamp now = index_stamp_now(dir_fd);

	return !st->clean || !st->index.size ||
	       (now.size == st->index.size && now.mtime_ns == st->index.mtime_ns);
}

int state_read(int dir_fd, struct store_state *ret)
{
	MB_AUTO_FREE uint8_t *text = NULL;
	uint8_t end[256];
	size_t len;
	int err = io_read_file(dir_fd, "state", SMALL_FILE_MAX, &text, &len);

	if (err < 0)
		return err;
	MB_AUTO_FREE char *clean = value_of((char *)text, "clean");
	MB_AUTO_FREE char *boot = value_of((char *)text, "boot");
	MB_AUTO_FREE char *pos = value_of((char *)text, "end");
	MB_AUTO_FREE char *place = value_of((char *)text, "place");
	MB_AUTO_FREE char *index = value_of((char *)text, "index");
	unsigned long long ino, size;
	long long born_ns, mtime_ns;
	size_t pos_len = pos ? strlen(pos) / 2 : 0;

	memset(ret, 0, sizeof(*ret));
	if (place && sscanf(place, "%llu %lld", &ino, &born_ns) == 2)
		ret->place = (struct store_place){.ino = ino, .born_ns = born_ns};
	if (index && sscanf(index, "%llu %lld", &size, &mtime_ns) == 2)
		ret->index = (struct index_stamp){.size = size, .mtime_ns = mtime_ns};
	if (!clean || !get_hex(boot, ret->boot, sizeof(ret->boot)) || pos_len > sizeof(end) ||
	    !get_hex(pos, end, pos_len))
		return 0; /* a damaged state file says "not clean" */
	struct reader r = reader_of(end, pos_len);
	ret->clean = strcmp(clean, "1") == 0 && position_decode(&r, &ret->end);
	return 0;
}
