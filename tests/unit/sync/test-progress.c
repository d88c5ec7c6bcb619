/*
 * test-progress.c - the line on a terminal: its text, its width, when it is there.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/clock.h"
#include "sync/progress.h"

#include <fcntl.h>
#include <pty.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void expect(enum progress_phase phase, uint64_t n, uint64_t of, int64_t ms, size_t width,
		   const char *text)
{
	char line[PROGRESS_LINE_MAX];

	assert_int_equal(progress_line(phase, n, of, ms, width, line), strlen(text));
	assert_string_equal(line, text);
}

static void texts(void **state)
{
	expect(PROGRESS_LOOKING, 0, 0, 900, 80, "looking at the files");
	expect(PROGRESS_COMPARING, 1200, 0, 1000, 80, "comparing 1200, 1200/s");
	expect(PROGRESS_SENDING, 0, 800, 0, 80, "sending 0 of 800");
	expect(PROGRESS_SENDING, 120, 800, 3000, 80, "sending 120 of 800, 40/s, 17 s left");
	expect(PROGRESS_GETTING, 1, 2, 1000, 80, "getting 1 of 2, 1.0/s, 1 s left");
	expect(PROGRESS_GETTING, 10, 6010, 10000, 80, "getting 10 of 6010, 1.0/s, 100 min left");
	expect(PROGRESS_READING, 1, 100000, 1000, 80,
	       "reading bodies 1 of 100000, 1.0/s, 27 h left");
	expect(PROGRESS_SENDING, 800, 800, 1000, 80, "sending 800 of 800, 800/s");
}

static void it_fits_or_is_left_out(void **state)
{
	const uint64_t n = 120, of = 800;
	char line[PROGRESS_LINE_MAX];

	expect(PROGRESS_SENDING, n, of, 3000, 34, "sending 120 of 800, 40/s");
	expect(PROGRESS_SENDING, n, of, 3000, 20, "sending 120 of 800");
	expect(PROGRESS_SENDING, n, of, 3000, 10, "sending");
	expect(PROGRESS_SENDING, n, of, 3000, 3, "");
	for (size_t width = 0; width < 300; width++)
		assert_true(progress_line(PROGRESS_READING, UINT64_MAX - 1, UINT64_MAX, 1, width,
					  line) <= width);
	assert_true(strlen(line) < sizeof(line));
}

/* What the other end of the terminal got. */
static size_t got(int fd, char *text, size_t size)
{
	ssize_t n = read(fd, text, size - 1);

	text[n > 0 ? n : 0] = '\0';
	return n > 0 ? (size_t)n : 0;
}

static void on_a_terminal(void **state)
{
	struct winsize size = {.ws_row = 24, .ws_col = 21};
	struct progress p;
	char text[512];
	int ours, theirs;

	setenv("TERM", "xterm", 1);
	assert_int_equal(openpty(&ours, &theirs, NULL, NULL, &size), 0);
	fcntl(ours, F_SETFL, O_NONBLOCK);
	progress_open(&p, theirs, true);
	assert_true(p.on);
	progress_show(PROGRESS_SENDING, 1, 50000, &p);
	assert_int_equal(got(ours, text, sizeof(text)), 0); /* too early */
	p.last_ms -= PROGRESS_EVERY_MS;
	progress_show(PROGRESS_SENDING, 2, 50000, &p);
	assert_true(got(ours, text, sizeof(text)) > 0);
	assert_string_equal(text, "\r\033[Ksending 2 of 50000");
	progress_show(PROGRESS_SENDING, 3, 50000, &p);
	assert_int_equal(got(ours, text, sizeof(text)), 0); /* not so soon again */
	progress_clear(&p);
	got(ours, text, sizeof(text));
	assert_string_equal(text, "\r\033[K");
	progress_clear(&p);
	assert_int_equal(got(ours, text, sizeof(text)), 0); /* it is gone already */
	progress_wipe();
	assert_int_equal(got(ours, text, sizeof(text)), 0);
	p.last_ms -= PROGRESS_EVERY_MS;
	progress_show(PROGRESS_SENDING, 3, 50000, &p);
	got(ours, text, sizeof(text));
	progress_wipe(); /* a signal came */
	got(ours, text, sizeof(text));
	assert_string_equal(text, "\r\033[K");
	progress_close(&p);
	got(ours, text, sizeof(text));
	progress_close(&p);
	p.last_ms -= PROGRESS_EVERY_MS;
	progress_show(PROGRESS_SENDING, 4, 50000, &p);
	assert_int_equal(got(ours, text, sizeof(text)), 0);
	close(ours);
	close(theirs);
}

static void nowhere_else(void **state)
{
	struct progress p;
	int ends[2], ours, theirs;

	assert_int_equal(pipe(ends), 0);
	progress_open(&p, ends[1], true);
	assert_false(p.on);
	progress_close(&p);
	assert_int_equal(openpty(&ours, &theirs, NULL, NULL, NULL), 0);
	setenv("TERM", "xterm", 1);
	progress_open(&p, theirs, false);
	assert_false(p.on);
	setenv("TERM", "dumb", 1);
	progress_open(&p, theirs, true);
	assert_false(p.on);
	unsetenv("TERM");
	progress_open(&p, theirs, true);
	assert_false(p.on);
	close(ours);
	close(theirs);
	close(ends[0]);
	close(ends[1]);
}

static void nobody_has_to_listen(void **state)
{
	const struct progress_to nobody = {0};

	progress_tell(NULL, PROGRESS_LOOKING, 1, 2);
	progress_tell(&nobody, PROGRESS_LOOKING, 1, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts),
		cmocka_unit_test(it_fits_or_is_left_out),
		cmocka_unit_test(on_a_terminal),
		cmocka_unit_test(nowhere_else),
		cmocka_unit_test(nobody_has_to_listen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
