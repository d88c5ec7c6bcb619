/*
 * open.c - from "store:DIR", "maildir:PATH[:LAYOUT=fs]", "exec:COMMAND", "ssh://…" or a bare path to a backend.
 *
 * A path that names a store, or a Maildir that was adopted into one, is opened as that store
 * whatever the destination calls it: its log must not be passed by.
 */
#include "backends/backend.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/mail/layout.h"
#include "backends/store/server.h"
#include "backends/store/store.h"
#include "backends/wire/locate.h"
#include "backends/wire/wire.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define LAYOUT_OPTION ":LAYOUT="

/* A relative path from here; "~" is the shell's. */
static char *absolute(const char *path)
{
	MB_AUTO_FREE char *real = realpath(path, NULL);

	return real ? MB_TAKE(real) : mb_xstrdup(path);
}

static int open_maildir(const char *path, enum layout layout, struct backend *local,
			struct backend **ret)
{
	MB_AUTO_FREE char *dir = NULL;
	MB_AUTO_FREE char *abs = NULL;

	if (store_locate(path, &dir) == 0)
		return backend_open_store(dir, ret);
	if (!local)
		return MB_E_NOT_STORE;
	abs = absolute(path);
	return backend_open_maildir(abs, (int)layout, local, ret);
}

/* Takes a ":LAYOUT=…" off the end of `path`. */
static int take_layout(char *path, enum layout *ret)
{
	char *option = NULL;

	*ret = LAYOUT_MAILDIRPP;
	for (char *p = strchr(path, ':'); p; p = strchr(p + 1, ':'))
		if (strncasecmp(p, LAYOUT_OPTION, strlen(LAYOUT_OPTION)) == 0)
			option = p;
	if (!option)
		return 0;
	*option = '\0';
	return layout_parse(option + strlen(LAYOUT_OPTION), ret) ? 0 : MB_E_USAGE;
}

static int open_maildir_text(const char *text, struct backend *local, struct backend **ret)
{
	MB_AUTO_FREE char *path = mb_xstrdup(text);
	enum layout layout;
	int err = take_layout(path, &layout);

	if (!err && !*path)
		err = MB_E_USAGE;
	return err ? err : open_maildir(path, layout, local, ret);
}

static bool looks_like_maildir(const char *path)
{
	MB_AUTO_FREE char *cur = mb_xasprintf("%s/cur", path);
	struct stat st;

	return stat(cur, &st) == 0 && S_ISDIR(st.st_mode);
}

static int open_path(const char *path, struct backend *local, struct backend **ret)
{
	MB_AUTO_FREE char *dir = NULL;

	if (store_locate(path, &dir) == 0)
		return backend_open_store(dir, ret);
	if (local && looks_like_maildir(path))
		return open_maildir(path, LAYOUT_MAILDIRPP, local, ret);
	return MB_E_NOT_STORE;
}

/* Has a "kind:" in front: letters, digits and '+' up to the first colon, which a slash precedes in
 * no path that starts so. */
static bool has_kind(const char *text)
{
	size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789+");

	return n > 0 && text[n] == ':';
}

int backend_open(const char *destination, struct backend *local, struct backend **ret)
{
	if (!*destination)
		return MB_E_USAGE;
	if (strncmp(destination, "store:", 6) == 0)
		return destination[6] ? backend_open_store(destination + 6, ret) : MB_E_USAGE;
	if (strncmp(destination, "maildir:", 8) == 0)
		return open_maildir_text(destination + 8, local, ret);
	if (wire_is_location(destination))
		return local ? wire_open_location(destination, ret) : MB_E_NOT_STORE;
	if (has_kind(destination))
		return MB_E_USAGE;
	return open_path(destination, local, ret);
}

void backend_patience(unsigned seconds)
{
	store_client_patience(seconds);
	wire_patience(seconds);
}
