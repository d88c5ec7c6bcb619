/*
 * interrupt.c - see interrupt.h.  What runs in a handler makes system calls only.
 */
#include "sync/interrupt.h"

#include "backends/base/msg.h"
#include "sync/progress.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
enum { NUMBERS = sizeof(numbers) / sizeof(numbers[0]) };

static volatile sig_atomic_t came;
static bool watched[NUMBERS];

/* Where it is the handler of that signal that runs, the signal comes when the handler returns. */
static void die_of(int number)
{
	progress_wipe();
	signal(number, SIG_DFL);
	raise(number);
}

static void on_signal(int number)
{
	if (came) {
		die_of(number);
		return;
	}
	came = number;
	alarm(INTERRUPT_PATIENCE_S);
}

#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

static void on_alarm(int number)
{
	static const char text[] =
		"mailbraid: interrupted, and ended without a report: what it was at took longer "
		"than " TEXT(INTERRUPT_PATIENCE_S) " s; the next run does the rest\n";

	(void)number;
	if (!came)
		return;
	progress_wipe();
	if (mb_msg_level() >= MB_NOTICE && write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		(void)number; /* nobody is there to read it */
	die_of(came);
}

void interrupt_watch(void)
{
	/* What waits goes on waiting; the alarm ends it. */
	const struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART},
			       late = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};

	came = 0;
	sigaction(SIGALRM, &late, NULL);
	for (size_t i = 0; i < NUMBERS; i++) {
		struct sigaction now;

		watched[i] = sigaction(numbers[i], NULL, &now) == 0 && now.sa_handler == SIG_DFL;
		if (watched[i])
			sigaction(numbers[i], &act, NULL);
	}
}

bool interrupt_asked(void *arg)
{
	(void)arg;
	return came != 0;
}

void interrupt_end(void)
{
	for (size_t i = 0; i < NUMBERS; i++)
		if (watched[i])
			signal(numbers[i], SIG_DFL);
	alarm(0);
	signal(SIGALRM, SIG_DFL);
	if (came)
		die_of(came);
}
