/*
 * test-sync-options.c - command lines of sync and backup: what they come to, and what is refused.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/mem.h"
#include "sync/sync-options.h"

#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ARGS_MAX 16
#define ALL "new,flags,moves,expunges,folders"

/* "sync" or "backup", then words; '_' stands for an empty one. */
static int parse(const char *line, struct sync_options *o, char *copy, size_t size)
{
	char *argv[ARGS_MAX + 1] = {NULL}, *save = NULL;
	int argc = 0;

	snprintf(copy, size, "%s", line);
	for (char *w = strtok_r(copy, " ", &save); w && argc < ARGS_MAX;
	     w = strtok_r(NULL, " ", &save)) {
		if (strcmp(w, "_") == 0)
			*w = '\0';
		argv[argc++] = w;
	}
	bool backup = strcmp(argv[0], "backup") == 0;
	optind = 0;
	return sync_options_parse(backup ? &verb_backup : &verb_sync, argc, argv, backup, o);
}

static void scopes(void **state)
{
	static const struct {
		const char *line, *scope;
	} lines[] = {
		{"sync", "pull=" ALL " push=" ALL},
		{"sync store:x", "pull=" ALL " push=" ALL},
		{"sync -N -d", "pull=" ALL " push=" ALL},
		{"sync -1 x", "pull= push=" ALL},
		{"sync -1R x", "pull=" ALL " push="},
		{"sync x -1", "pull= push=" ALL},
		{"sync --pull new,flags x", "pull=new,flags push=" ALL},
		{"sync --pull none x", "pull= push=" ALL},
		{"sync --push moves --pull folders,expunges x", "pull=expunges,folders push=moves"},
		{"sync -m INBOX -m \\Sent x",
		 "pull=" ALL " push=" ALL " mailbox=INBOX mailbox=\\Sent"},
		{"sync -m _ x", "pull=folders push=folders"},
		{"sync -1 -m _ x", "pull= push=folders"},
		{"sync -g 00112233445566778899aabbccddeeff x",
		 "pull=" ALL " push=" ALL " guid=00112233445566778899aabbccddeeff"},
		{"sync -n Archive/ -x *.old x",
		 "pull=" ALL " push=" ALL " prefix=Archive/ exclude=*.old"},
		{"sync -t 1000 -e 2d x", "pull=" ALL " push=" ALL " since=@1000 until=now-172800"},
		{"sync -t 5d -e 2d x",
		 "pull=" ALL " push=" ALL " since=now-432000 until=now-172800"},
		{"sync -I 1M -O \\Flagged x",
		 "pull=" ALL " push=" ALL " size=1048576 with=\\Flagged"},
		{"sync -O -work x", "pull=" ALL " push=" ALL " without=work"},
		{"backup x", "pull= push=" ALL " mirror"},
		{"backup -R x", "pull=" ALL " push= mirror"},
		{"backup -m INBOX x", "pull= push=" ALL " mirror mailbox=INBOX"},
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct sync_options o;
		char copy[256];
		int code = parse(lines[i].line, &o, copy, sizeof(copy));
		char *text MB_AUTO_FREE = code ? NULL : scope_text(&o.scope, 0);
		if (code || strcmp(text, lines[i].scope) != 0)
			fail_msg("%s: %d, %s", lines[i].line, code, text ? text : "");
		sync_options_release(&o);
	}
}

static void refused(void **state)
{
	static const char *const lines[] = {
		"sync -1 --pull new x",
		"sync -1 --push all x",
		"sync -R x",
		"sync -1 -1 x",
		"backup -R -R x",
		"backup -1 x",
		"backup --pull new x",
		"backup",
		"backup -m _ x",
		"sync -m A -g 00112233445566778899aabbccddeeff x",
		"sync -m A -m _ x",
		"sync -N -n A x",
		"sync -g nonsense x",
		"sync -m \\Nonsense x",
		"sync -x \\Nonsense x",
		"sync -n \\Sent x",
		"sync --pull none --push none x",
		"sync --pull x x",
		"sync --pull new --pull flags x",
		"sync -t yesterday x",
		"sync -t 1 -t 2 x",
		"sync -t 2000 -e 1000 x",
		"sync -t 2d -e 5d x",
		"sync -I 0 x",
		"sync -I much x",
		"sync -I 1 -I 2 x",
		"sync -O \\Nonsense x",
		"sync -O a -O b x",
		"sync -l 0 x",
		"sync -l 1x x",
		"sync -T -5 x",
		"sync -T 100000000 x",
		"sync -A x",
		"sync -a All x",
		"sync -S /sock x",
		"sync -F users x",
		"sync -U x",
		"sync -u nobody-of-this-name x",
		"sync -d x",
		"sync -s _",
		"sync -P --dry-run x",
		"sync -q -v x",
		"sync -qD x",
		"sync -q --json x",
		"sync --quiet --dry-run x",
		"sync --nonsense x",
		"sync -Z x",
		"sync -m",
		"sync x y",
		"sync -1 -m _ --push new x",
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct sync_options o;
		char copy[256];
		int code = parse(lines[i], &o, copy, sizeof(copy));
		if (code != CLI_USAGE)
			fail_msg("%s: %d", lines[i], code);
		sync_options_release(&o);
	}
}

static void the_rest(void **state)
{
	const struct passwd *me = getpwuid(geteuid());
	struct sync_options o;
	char copy[256], line[256];

	assert_int_equal(parse("sync -fvDP -l 5 -T 7 -r log -s _ --json --allow-mass-expunge "
			       "--replace-peer store:x",
			       &o, copy, sizeof(copy)),
			 0);
	assert_true(o.session.full && o.verbose && o.debug && o.purge && o.json);
	assert_true(o.session.allow_mass_expunge && o.session.replace_peer);
	assert_int_equal(o.lock_s, 5);
	assert_int_equal(o.stall_s, 7);
	assert_string_equal(o.rawlog, "log");
	assert_string_equal(o.session.state, "");
	assert_true(o.session.want_state);
	assert_ptr_equal(o.session.scope, &o.scope);
	assert_string_equal(o.destination, "store:x");
	sync_options_release(&o);

	assert_int_equal(parse("backup -q --fail-on-conflict x", &o, copy, sizeof(copy)), 0);
	assert_true(o.quiet && o.fail_on_conflict && !o.verbose);
	sync_options_release(&o);

	assert_non_null(me);
	snprintf(line, sizeof(line), "sync -u %s --dry-run", me->pw_name);
	assert_int_equal(parse(line, &o, copy, sizeof(copy)), 0);
	assert_true(o.session.dry_run);
	assert_null(o.destination);
	sync_options_release(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scopes),
		cmocka_unit_test(refused),
		cmocka_unit_test(the_rest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
