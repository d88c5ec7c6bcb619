/*
 * test-trace.c - a traced sync is a sync, and every call leaves a line.
 */
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "tests/support/world.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

/* stderr goes to a memfd while fn runs; what was written there, owned. */
static char *stderr_of(void (*fn)(void))
{
	int saved = dup(STDERR_FILENO), fd = memfd_create("stderr", MFD_CLOEXEC);
	dup2(fd, STDERR_FILENO);
	fn();
	dup2(saved, STDERR_FILENO);
	close(saved);
	off_t len = lseek(fd, 0, SEEK_END);
	char *text = mb_xcalloc(1, (size_t)len + 1);
	assert_int_equal(pread(fd, text, (size_t)len, 0), len);
	close(fd);
	return text;
}

static void traced_sync(void)
{
	struct backend *a = backend_open_memory(1), *b = backend_open_memory(2);
	has(a, GUID_INBOX, "secret words");
	struct backend *traced = backend_trace(b, "peer");
	struct link l = {.b = {a, traced}};
	assert_null(link_sync(&l));
	assert_null(link_compare(a, b));
	backend_close(a);
	backend_close(traced);
}

static void lines(void **state)
{
	MB_AUTO_FREE char *text = stderr_of(traced_sync);
	assert_non_null(strstr(text, "peer: info = 0"));
	assert_non_null(strstr(text, "peer: put copy-state"));
	assert_non_null(strstr(text, " with body = 1"));
	assert_non_null(strstr(text, "peer: commit = 0"));
	assert_non_null(strstr(text, "peer: close = 0"));
	assert_null(strstr(text, "secret"));
}

static void failing_call(void)
{
	struct backend *b = backend_trace(backend_open_memory(1), "here");
	struct guid none = guid_new();
	assert_int_equal(b->ops->body(b, &none, 0), -ENOENT);
	backend_close(b);
}

static void errors(void **state)
{
	MB_AUTO_FREE char *text = stderr_of(failing_call);
	assert_non_null(strstr(text, "here: body "));
	assert_non_null(strstr(text, "No such file"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines),
		cmocka_unit_test(errors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
