/*
 * verb-demo.c - mailbraid demo: the whole story in a temporary folder, with a verdict.
 *
 * Each scene does what mail programs do on one side, and looks for it on the other.  The verdict
 * compares both trees message by message (demo-tree.h); exit code 0 only if everything was seen and
 * both are equal.
 */
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "sync/cli.h"
#include "sync/demo-mail.h"
#include "sync/demo-stage.h"
#include "sync/demo-tree.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENCE_MS 10000

struct demo {
	struct stage stage;
	bool keep, no_mount;
	int a, b; /* the trees as programs see them: fd of the view of A, and of B's mail */
	int failures;
};

/* ---- telling --------------------------------------------------------------------------------- */

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

/* One thing that had to be seen, and how long it took; 0: no time; negative: not seen. */
static void seen(struct demo *d, double ms, const char *what)
{
	if (ms > 0)
		say("  ok  %-62s %6.0f ms", what, ms);
	else if (ms >= 0)
		say("  ok  %s", what);
	else
		say("  --  %s: NOT SEEN", what);
	d->failures += ms < 0;
}

static double since(int64_t start_ns)
{
	return (double)(clock_mono_ns() - start_ns) / 1e6;
}

/* ---- looking --------------------------------------------------------------------------------- */

/* A watcher as a mail program has it. */
static int watcher(const char *dir)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (fd >= 0 && inotify_add_watch(fd, dir, IN_CREATE | IN_MOVED_TO) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool has_event(int fd, const char *base)
{
	char data[8192] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n = read(fd, data, sizeof(data));

	for (const char *p = data; n > 0 && p < data + n;) {
		const struct inotify_event *e = (const void *)p;
		if (e->len && strncmp(e->name, base, strlen(base)) == 0)
			return true;
		p += sizeof(*e) + e->len;
	}
	return false;
}

/* Until the watcher is told of a name that starts with `base`: milliseconds, or -1. */
static double wait_event(int fd, const char *base, int64_t start_ns)
{
	while (!stage_interrupted() && since(start_ns) < PATIENCE_MS) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		if (poll(&p, 1, 100) == 1 && has_event(fd, base))
			return since(start_ns);
	}
	return -1;
}

/* Until the message whose name starts with `base` ends with `info`: milliseconds, or -1. */
static double wait_info(const char *tree, const char *base, const char *info, int64_t start_ns)
{
	while (since(start_ns) < PATIENCE_MS) {
		char *path MB_AUTO_FREE = tree_find_message(tree, base);
		const char *colon = path ? strrchr(path, ':') : NULL;
		if (colon && strcmp(colon, info) == 0)
			return since(start_ns);
		if (!stage_nap(3))
			break;
	}
	return -1;
}

static size_t difference(const struct demo *d, const char *a_tree, size_t tell)
{
	struct tree_list a = {0}, b = {0};
	size_t n = SIZE_MAX;

	if (tree_list_read(a_tree, &a) >= 0 && tree_list_read(d->stage.b_mail, &b) >= 0)
		n = tree_list_compare(&a, &b, tell);
	tree_list_release(&a);
	tree_list_release(&b);
	return n;
}

/* Until both trees are the same: milliseconds, or -1. */
static double wait_equal(const struct demo *d, int64_t start_ns)
{
	while (since(start_ns) < PATIENCE_MS) {
		if (difference(d, d->stage.view, 0) == 0)
			return since(start_ns);
		if (!stage_nap(20))
			break;
	}
	return -1;
}

static bool has(const char *tree, const char *base, const char *folder)
{
	char *path MB_AUTO_FREE = tree_find_message(tree, base);
	char *part MB_AUTO_FREE = mb_xasprintf("/%s/", folder);

	return path && (!folder || strstr(path, part));
}

/* ---- what programs do ------------------------------------------------------------------------ */

static void deliver(struct demo *d, int root, const char *folder, const char *base,
		    const char *subject)
{
	struct buf mail BUF_AUTO = BUF_INIT;

	demo_note(subject, "It was sent while you were watching.", &mail);
	int err = demo_deliver(root, folder, base, &mail);
	if (err < 0) {
		mb_fail(err, "cannot deliver %s", base);
		d->failures++;
	}
}

/* Renames to cur/BASE:INFO in `folder`, as a mail program sets flags or moves. */
static void rename_to(struct demo *d, const char *tree, const char *base, const char *folder,
		      const char *info)
{
	char *path MB_AUTO_FREE = tree_find_message(tree, base);
	char *to MB_AUTO_FREE =
		mb_xasprintf("%s/%s%scur/%s:%s", tree, folder, *folder ? "/" : "", base, info);

	if (!path || rename(path, to) < 0) {
		mb_fail(path ? -errno : -ENOENT, "cannot rename %s", base);
		d->failures++;
	}
}

static void expunge(struct demo *d, const char *tree, const char *base)
{
	char *path MB_AUTO_FREE = tree_find_message(tree, base);

	if (!path || unlink(path) < 0)
		d->failures++;
}

/* ---- scenes ---------------------------------------------------------------------------------- */

static bool scene_stores(struct demo *d)
{
	struct stage *s = &d->stage;
	const char *const init_a[] = {"--store", s->a, "init", "--json", NULL};
	const char *const init_b[] = {"--store", s->b, "init", "--json", NULL};
	const char *const sync[] = {"--store", s->a, "sync", s->destination, NULL};

	fflush(stdout);
	int saved MB_AUTO_CLOSE = dup(1), null MB_AUTO_CLOSE = open("/dev/null", O_WRONLY);
	dup2(null, 1); /* the demo tells it in its own words */
	int code = stage_run(s, init_a);
	if (!code)
		code = stage_run(s, init_b);
	int root MB_AUTO_CLOSE = open(s->a_mail, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = code ? 0 : demo_make_folders(root);
	if (err >= 0 && !code)
		err = demo_fill(root);
	int64_t start = clock_mono_ns();
	if (err >= 0 && !code)
		code = stage_run(s, sync);
	double ms = since(start);
	dup2(saved, 1);
	if (err < 0)
		mb_fail(err, "cannot write the sample mails");
	if (err < 0 || code)
		return false;
	say("Two stores: A with %d sample mails in 5 folders, and B, empty.", DEMO_MAILS);
	seen(d, difference(d, s->a_mail, 5) == 0 ? ms : -1, "first sync: both trees equal");
	return true;
}

static bool scene_show(struct demo *d)
{
	struct stage *s = &d->stage;
	int64_t start = clock_mono_ns();
	int code = d->no_mount ? CLI_MISSING : stage_show(s, false);

	if (code == CLI_MISSING) {
		say("\n%s",
		    d->no_mount
			    ? "No mount wished: A's plain directory is watched instead."
			    : "This system cannot mount (see above): going on without.  A's plain "
			      "directory is watched instead.");
		start = clock_mono_ns();
		code = stage_show(s, true);
	} else if (!code) {
		say("\nA is mounted on %s.", s->view);
	}
	if (code)
		return false;
	seen(d, since(start), s->mounted ? "the mount answers" : "the watch answers");
	d->a = open(s->view, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d->b = open(s->b_mail, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return d->a >= 0 && d->b >= 0;
}

static void scene_arrival(struct demo *d)
{
	char *new MB_AUTO_FREE = mb_xasprintf("%s/new", d->stage.view);
	int fd MB_AUTO_CLOSE = watcher(new);

	say("\nMail arrives at B; a program watches A's new/ (inotify).");
	/* The first one waits for the reconciler to start. */
	int64_t start = clock_mono_ns();
	deliver(d, d->b, "", "1800000001.M1P1.b", "Hello from B");
	seen(d, wait_event(fd, "1800000001", start),
	     "the watcher is told (the reconciler just started)");
	for (int i = 2; i <= 4; i++) {
		char *base MB_AUTO_FREE = mb_xasprintf("180000000%d.M1P1.b", i);
		stage_nap(150);
		start = clock_mono_ns();
		deliver(d, d->b, "", base, "Hello again");
		seen(d, wait_event(fd, base, start), "delivered at B -> the watcher at A is told");
	}
}

static void scene_flags(struct demo *d)
{
	const char *base = "1800000002.M1P1.b";
	char *cur MB_AUTO_FREE = mb_xasprintf("%s/cur", d->stage.view);
	int fd MB_AUTO_CLOSE = watcher(cur);
	int64_t start = clock_mono_ns();

	say("\nFlags go both ways.");
	rename_to(d, d->stage.view, base, "", "2,S");
	seen(d, wait_info(d->stage.b_mail, base, ":2,S", start), "read at A -> seen at B");
	has_event(fd, "");
	start = clock_mono_ns();
	rename_to(d, d->stage.b_mail, base, "", "2,FS");
	double ms = wait_event(fd, base, start);
	if (ms >= 0 && wait_info(d->stage.view, base, ":2,FS", start) < 0)
		ms = -1;
	seen(d, ms, "flagged at B -> the watcher at A is told");
}

/* Sample mails by number: 0-3 are in INBOX, 8-11 in .Work. */
static char *sample(unsigned n)
{
	return mb_xasprintf("%u.M%uP1.demo", 1735722000 + n * 41 * 3600, n);
}

static void edit_apart(struct demo *d, const char *const m[4])
{
	const char *a = d->stage.view, *b = d->stage.b_mail;
	struct buf twin BUF_AUTO = BUF_INIT;

	rename_to(d, a, m[0], "", "2,RS");	/* answered here */
	rename_to(d, b, m[0], "", "2,FS");	/* flagged there */
	expunge(d, a, m[1]);			/* expunged here, */
	rename_to(d, b, m[1], "", "2,FS");	/* flagged there: the expunge wins */
	rename_to(d, a, m[2], ".Work", "2,RS"); /* moved here, */
	rename_to(d, b, m[2], "", "2,FRS");	/* flagged there */
	rename_to(d, a, m[3], ".Work", "2,FS"); /* both move it: the later place */
	stage_nap(30);
	rename_to(d, b, m[3], ".Lists", "2,FS");
	deliver(d, d->a, "", "1800000010.M1P1.a", "Written at A while apart");
	deliver(d, d->b, "", "1800000011.M1P1.b", "Written at B while apart");
	demo_note("To both of you", "One list, two addresses.", &twin);
	demo_deliver(d->a, "", "1800000012.M1P1.a", &twin);
	demo_deliver(d->b, "", "1800000013.M1P1.b", &twin);
}

static void scene_apart(struct demo *d)
{
	const char *a = d->stage.view;
	char *m0 MB_AUTO_FREE = sample(0), *m1 MB_AUTO_FREE = sample(1);
	char *m2 MB_AUTO_FREE = sample(2), *m3 MB_AUTO_FREE = sample(3);
	const char *const m[4] = {m0, m1, m2, m3};

	say("\nThe reconciler is stopped; both sides go on by themselves, then it is back.");
	stage_disconnect(&d->stage);
	edit_apart(d, m);
	int64_t start = clock_mono_ns();
	stage_connect(&d->stage);
	double ms = wait_equal(d, start);
	seen(d, ms, "both sides merged and equal");
	if (ms < 0)
		return;
	seen(d, wait_info(a, m0, ":2,FRS", start) < 0 ? -1 : 0,
	     "answered at A, flagged at B: both");
	seen(d, has(a, m1, "cur") ? -1 : 0,
	     "expunged at A, flagged at B: expunged (undo keeps it)");
	seen(d, has(a, m2, ".Work") && wait_info(a, m2, ":2,FRS", start) >= 0 ? 0 : -1,
	     "moved at A, flagged at B: moved and flagged");
	seen(d, has(a, m3, ".Lists") && !has(a, m3, ".Work") ? 0 : -1,
	     "moved to two places: the later one, one copy");
	bool x = has(a, "1800000012", "new"), y = has(a, "1800000013", "new");
	seen(d, x != y ? 0 : -1, "one mail delivered to both: there once");
}

static void scene_folder(struct demo *d)
{
	char *from MB_AUTO_FREE = mb_xasprintf("%s/.Work", d->stage.view);
	char *to MB_AUTO_FREE = mb_xasprintf("%s/.Office", d->stage.view);
	char *sub MB_AUTO_FREE = mb_xasprintf("%s/.Work.Plans", d->stage.view);
	char *sub_to MB_AUTO_FREE = mb_xasprintf("%s/.Office.Plans", d->stage.view);

	say("\nApart again: A renames the folder Work to Office, mail arrives in B's Work.");
	stage_disconnect(&d->stage);
	if (rename(from, to) < 0 || (access(sub, F_OK) == 0 && rename(sub, sub_to) < 0)) {
		mb_fail(-errno, "cannot rename the folder");
		d->failures++;
	}
	deliver(d, d->b, ".Work", "1800000020.M1P1.b", "For the old folder");
	int64_t start = clock_mono_ns();
	stage_connect(&d->stage);
	double ms = wait_equal(d, start);
	seen(d, ms, "both sides merged and equal");
	if (ms >= 0)
		seen(d, has(d->stage.view, "1800000020", ".Office") ? 0 : -1,
		     "the new mail is in Office on both sides");
}

static void scene_verdict(struct demo *d)
{
	struct tree_list a = {0}, b = {0};

	say("\nVerdict: both trees, message by message (names, flags, bytes).");
	stage_disconnect(&d->stage);
	int err = tree_list_read(d->stage.view, &a);
	if (err >= 0)
		err = tree_list_read(d->stage.b_mail, &b);
	size_t n = err < 0 ? 1 : tree_list_compare(&a, &b, 10);
	say("  %s  A: %zu messages in %zu folders, B: %zu in %zu; %zu differences",
	    n || !a.n ? "--" : "ok", a.n, a.folders, b.n, b.folders, n);
	d->failures += n || !a.n;
	tree_list_release(&a);
	tree_list_release(&b);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* In the background now, so that it outlives the demo. */
static void leave(struct demo *d)
{
	struct stage *s = &d->stage;
	bool mounted = s->mounted;
	char *dir MB_AUTO_FREE = mb_xstrdup(s->dir), *a MB_AUTO_FREE = mb_xstrdup(s->a);
	char *view MB_AUTO_FREE = mb_xstrdup(s->view), *b_mail MB_AUTO_FREE = mb_xstrdup(s->b_mail);
	char *self MB_AUTO_FREE = mb_xstrdup(s->self),
		   *to MB_AUTO_FREE = mb_xstrdup(s->destination);
	const struct stage later = {.self = self};
	const char *const mount[] = {"--store", a, "mount", "--peer", to, view, NULL};
	const char *const watch[] = {"--store", a, "watch", "-b", "--peer", to, NULL};

	close(d->a);
	close(d->b);
	d->a = d->b = -1;
	stage_strike(s, true);
	if (stage_run(&later, mounted ? mount : watch)) {
		d->failures++;
		return;
	}
	say("\nLeft for you.  Read it:   neomutt -e 'set mbox_type=Maildir' -f %s", view);
	say("Deliver at the other side: cp a-mail %s/new/", b_mail);
	say("See what happened:         %s --store %s log", self, a);
	if (mounted)
		say("End it:                    %s umount %s && rm -r %s", self, view, dir);
	else
		say("End it:                    %s --store %s watch --stop && rm -r %s", self, a,
		    dir);
}

static void play(struct demo *d)
{
	void (*const scenes[])(struct demo *) = {scene_arrival, scene_flags, scene_apart,
						 scene_folder, scene_verdict};

	if (!scene_stores(d) || !scene_show(d) || stage_connect(&d->stage) < 0) {
		d->failures++;
		return;
	}
	for (size_t i = 0; i < sizeof(scenes) / sizeof(scenes[0]) && !stage_interrupted(); i++)
		scenes[i](d);
}

static int parse(const struct verb *v, int argc, char **argv, struct demo *d)
{
	static const struct option names[] = {
		{"keep", no_argument, NULL, 'k'}, {"no-mount", no_argument, NULL, 'n'}, {0}};
	int c;

	while ((c = cli_getopt(v, argc, argv, ":", names)) != -1) {
		if (c == '?')
			return CLI_USAGE;
		d->keep |= c == 'k';
		d->no_mount |= c == 'n';
	}
	return optind < argc ? cli_usage(v, "%s: too many arguments", argv[optind]) : 0;
}

static int run(const struct cli *cli, const struct verb *v, int argc, char **argv)
{
	struct demo d = {.a = -1, .b = -1};
	int code = parse(v, argc, argv, &d);

	if (code)
		return code;
	stage_catch_signals();
	int64_t start = clock_mono_ns();
	int err = stage_make(&d.stage);
	if (err < 0) {
		stage_strike(&d.stage, false);
		return mb_err_exit(mb_fail(err, "no temporary folder"));
	}
	play(&d);
	bool whole = !stage_interrupted();
	if (d.keep && whole)
		leave(&d);
	if (d.a >= 0)
		close(d.a);
	if (d.b >= 0)
		close(d.b);
	stage_strike(&d.stage, false);
	if (!whole)
		say("\nInterrupted; everything is taken away.");
	else
		say("\n%s (%.1f s)", d.failures ? "FAILED" : "All seen, both sides equal.",
		    since(start) / 1000);
	return !whole ? 130 : d.failures ? CLI_FAILED : CLI_OK;
}

const struct verb verb_demo = {
	.name = "demo",
	.args = "[--keep] [--no-mount]",
	.what = "Play all of it in a temporary folder, with a verdict",
	.help = "  --keep      leave it mounted, print how to look at it and how to end it\n"
		"  --no-mount  on plain directories\n",
	.run = run,
};
