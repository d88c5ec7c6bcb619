/*
 * cli.c - see cli.h.
 */
#include "sync/cli.h"

#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/store.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- options --------------------------------------------------------------------------------- */

int cli_getopt(const struct verb *v, int argc, char **argv, const char *letters,
	       const struct option *names)
{
	opterr = 0;
	int c = getopt_long(argc, argv, letters, names, NULL);

	if (c != '?' && c != ':')
		return c;
	/* a long one: argv is permuted meanwhile, but it always is the word before the next */
	const char *word = optopt || optind < 2 || optind > argc ? NULL : argv[optind - 1];
	if (c == ':')
		cli_usage(v, "option %s needs a value", argv[optind - 1]);
	else if (word)
		cli_usage(v, "no option %s", word);
	else
		cli_usage(v, "no option -%c", optopt ? optopt : '?');
	return '?';
}

int cli_usage(const struct verb *v, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	mb_msg(MB_ERROR, "%s: %s", v->name, text ? text : "");
	fprintf(stderr, "  do:  mailbraid %s --help\n", v->name);
	free(text);
	return CLI_USAGE;
}

/* ---- the store ------------------------------------------------------------------------------- */

int cli_store(const struct cli *cli, const struct verb *v, char **ret_dir)
{
	if (!cli->store || !*cli->store)
		return cli_usage(v, "which store? give --store DIR or set MAILBRAID_STORE");
	int err = store_locate(cli->store, ret_dir);
	if (err < 0)
		return mb_err_exit(mb_fail(err, "cannot open the store %s", cli->store));
	return 0;
}

int cli_open_local(const char *dir, struct backend **ret)
{
	int err = backend_open_store(dir, ret);

	return err < 0 ? mb_err_exit(mb_fail(err, "cannot open the store %s", dir)) : 0;
}

int cli_open_read(const char *dir, struct store **ret)
{
	struct store *writer;
	int err = store_open(dir, STORE_READ, ret);

	if (err >= 0 || err == MB_E_NOT_STORE || err == MB_E_VERSION || err == MB_E_UNSAFE ||
	    err == -EACCES)
		return err;
	if (store_open(dir, STORE_WRITE, &writer) < 0)
		return err;
	store_close(writer);
	return store_open(dir, STORE_READ, ret);
}

/* ---- times ----------------------------------------------------------------------------------- */

bool cli_duration(const char *text, int64_t *ret_ns)
{
	static const struct {
		const char *unit;
		int64_t seconds;
	} units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}, {"w", 604800}};
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	unsigned long n = strtoul(text, &end, 10);
	if (errno || n > 36500)
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].unit) == 0) {
			*ret_ns = (int64_t)n * units[i].seconds * 1000000000;
			return true;
		}
	}
	return false;
}

char *cli_ago(int64_t then_ns, int64_t now_ns)
{
	int64_t s = (now_ns - then_ns) / 1000000000;

	if (!then_ns)
		return mb_xstrdup("never");
	if (s < 2)
		return mb_xstrdup("just now");
	if (s < 120)
		return mb_xasprintf("%" PRId64 " s ago", s);
	if (s < 7200)
		return mb_xasprintf("%" PRId64 " min ago", s / 60);
	if (s < 2 * 86400)
		return mb_xasprintf("%" PRId64 " h ago", s / 3600);
	return mb_xasprintf("%" PRId64 " d ago", s / 86400);
}

char *cli_time(int64_t ns)
{
	time_t t = (time_t)(ns / 1000000000);
	struct tm tm;
	char text[32] = "";

	if (gmtime_r(&t, &tm))
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	return mb_xasprintf("%s.%03dZ", text, (int)(ns / 1000000 % 1000));
}

char *cli_time_short(int64_t ns, int64_t now_ns)
{
	time_t t = (time_t)(ns / 1000000000), now = (time_t)(now_ns / 1000000000);
	struct tm tm, today;
	char text[32] = "";

	if (!localtime_r(&t, &tm) || !localtime_r(&now, &today))
		return mb_xstrdup("?");
	bool same = tm.tm_year == today.tm_year && tm.tm_yday == today.tm_yday;
	strftime(text, sizeof(text), same ? "%H:%M:%S" : "%Y-%m-%d %H:%M", &tm);
	return mb_xstrdup(text);
}

/* ---- programs of this package ---------------------------------------------------------------- */

char *cli_self(void)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (n <= 0)
		return mb_xstrdup("mailbraid");
	path[n] = '\0';
	return mb_xstrdup(path);
}

char *cli_find_program(const char *name, const char *env)
{
	static const char *const folders[] = {"", "../libexec/", "../libexec/mailbraid/",
					      "../lib/mailbraid/"};
	const char *named = env ? secure_getenv(env) : NULL;

	if (named && *named)
		return access(named, X_OK) == 0 ? mb_xstrdup(named) : NULL;
	char *self MB_AUTO_FREE = cli_self();
	char *slash = strrchr(self, '/');
	if (!slash)
		return NULL;
	slash[1] = '\0';
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		char *path = mb_xasprintf("%s%s%s", self, folders[i], name);
		if (access(path, X_OK) == 0)
			return path;
		free(path);
	}
	return NULL;
}

/* ---- what a sync did ------------------------------------------------------------------------- */

static void add_count(struct buf *out, uint64_t n, const char *one, const char *many)
{
	if (!n)
		return;
	const char *last = out->len ? buf_cstr(out) + out->len - 1 : " ";
	buf_printf(out, "%s%" PRIu64 " %s", *last == ' ' ? "" : ", ", n, n == 1 ? one : many);
}

static void add_counts(struct buf *out, const char *verb, const struct session_counts *c)
{
	if (!session_counts_any(c))
		return;
	buf_printf(out, "%s%s ", out->len ? "; " : "", verb);
	add_count(out, c->arrived, "new", "new");
	add_count(out, c->flags, "flag change", "flag changes");
	add_count(out, c->moved, "move", "moves");
	add_count(out, c->expunged, "expunge", "expunges");
	add_count(out, c->mailboxes, "mailbox change", "mailbox changes");
	add_count(out, c->other, "change of numbers", "changes of numbers");
}

char *cli_summary(const struct session_result *r)
{
	struct buf out BUF_AUTO = BUF_INIT;

	if (r->matched)
		buf_printf(&out, "matched %" PRIu64 " messages, copied %" PRIu64, r->matched,
			   r->to[0].arrived + r->to[1].arrived);
	add_counts(&out, "sent", &r->to[1]);
	add_counts(&out, "got", &r->to[0]);
	if (!out.len)
		buf_printf(&out, "%s",
			   r->errors || r->held || r->held_old || r->unmatched.n ? "nothing done"
										 : "in step");
	if (r->errors)
		buf_printf(&out, "; %" PRIu64 " not done: %s", r->errors,
			   mb_err_str(r->first_error));
	if (r->held)
		buf_printf(&out, "; %" PRIu64 " expunges held back", r->held);
	if (r->held_old)
		buf_printf(&out, "; %" PRIu64 " old messages held", r->held_old);
	if (r->conflicts)
		buf_printf(&out, "; %" PRIu64 " %s, see mailbraid conflicts", r->conflicts,
			   r->conflicts == 1 ? "conflict" : "conflicts");
	if (r->unmatched.n)
		buf_printf(&out, "; %zu of the mailboxes %s not there", r->unmatched.n,
			   r->unmatched.n == 1 ? "is" : "are");
	if (r->again)
		buf_printf(&out, "; changed meanwhile, run again");
	buf_printf(&out, " (%.2f s)", (double)r->took_ns / 1e9);
	return mb_xstrdup(buf_cstr(&out));
}

json_t *cli_counts_json(const struct session_counts *c)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "new",
			 (json_int_t)c->arrived, "flags", (json_int_t)c->flags, "moved",
			 (json_int_t)c->moved, "expunged", (json_int_t)c->expunged, "mailboxes",
			 (json_int_t)c->mailboxes, "made", (json_int_t)c->made, "renamed",
			 (json_int_t)c->renamed, "deleted", (json_int_t)c->deleted, "other",
			 (json_int_t)c->other);
}

void cli_json(json_t *o)
{
	json_dumpf(o, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_ENSURE_ASCII);
	putchar('\n');
	fflush(stdout);
	json_decref(o);
}
