/*
 * test-state.c - state strings: what was written is read, everything else is refused.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/hash.h"
#include "sync/state.h"

#include <openssl/evp.h>
#include "tests/support/random.h"

#include <stdlib.h>
#include <string.h>

static struct sync_state example(uint64_t seed)
{
	struct prng p = {seed};
	struct sync_state s = {.replica = {prng_next(&p), prng_next(&p)}};

	for (int i = 0; i < 2; i++)
		s.position[i] = (struct position){.log = random_guid(&p),
						  .sequence = (uint32_t)prng_next(&p),
						  .offset = (uint32_t)prng_next(&p),
						  .check = prng_next(&p)};
	return s;
}

static void what_was_written_is_read(void **state)
{
	for (uint64_t seed = 0; seed < 100; seed++) {
		struct sync_state s = example(seed), got;
		char *text = sync_state_text(&s);
		assert_true(strlen(text) < STATE_TEXT_MAX);
		assert_null(strpbrk(text, " \n'\"\\"));
		assert_int_equal(sync_state_parse(text, &got), 0);
		for (int i = 0; i < 2; i++) {
			assert_true(got.replica[i] == s.replica[i]);
			assert_true(position_equal(&got.position[i], &s.position[i]));
		}
		free(text);
	}
}

static void a_line_feed_at_its_end_does_no_harm(void **state)
{
	struct sync_state s = example(1), got;
	char *text = sync_state_text(&s);
	char *line = mb_xasprintf("%s\n", text);

	assert_int_equal(sync_state_parse(line, &got), 0);
	free(text);
	free(line);
}

static void any_other_character_is_noticed(void **state)
{
	struct sync_state s = example(2), got;
	char *text = sync_state_text(&s);

	for (size_t i = 0; text[i]; i++) {
		char was = text[i];
		text[i] = was == 'A' ? 'B' : 'A';
		assert_true(sync_state_parse(text, &got) < 0);
		text[i] = '\x01';
		assert_true(sync_state_parse(text, &got) < 0);
		text[i] = was;
	}
	for (size_t len = strlen(text) - 1; len > 0; len--) {
		text[len] = '\0';
		assert_true(sync_state_parse(text, &got) < 0);
	}
	free(text);
}

static void what_is_none_is_refused(void **state)
{
	static const char *const texts[] = {"", "=", "==", "====", "A===", "AAAA", "bWJzMQ=="};
	struct sync_state got;
	char *large = mb_xmalloc(5001);

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(sync_state_parse(texts[i], &got), MB_E_FORMAT);
	memset(large, 'A', 5000);
	large[5000] = '\0';
	assert_int_equal(sync_state_parse(large, &got), MB_E_FORMAT);
	free(large);
	assert_int_equal(sync_state_parse("bWJzMwAA", &got), MB_E_VERSION); /* "mbs3" */
}

/* As the first version wrote it: replicas 1 and 2, no positions. */
static void an_older_one_is_of_the_default_scope(void **state)
{
	BUF_AUTO struct buf b = BUF_INIT;
	const struct position none = {0};
	struct sync_state got;
	unsigned char text[STATE_TEXT_MAX];

	buf_put(&b, "mbs1", 4);
	for (uint64_t replica = 1; replica <= 2; replica++) {
		buf_put_u64(&b, replica);
		position_encode(&none, &b);
	}
	buf_put_u64(&b, checksum64(b.data, b.len, 0));
	EVP_EncodeBlock(text, b.data, (int)b.len);
	assert_int_equal(sync_state_parse((char *)text, &got), 0);
	assert_int_equal(got.replica[0], 1);
	assert_int_equal(got.replica[1], 2);
	assert_int_equal(got.scope, 0);
	assert_int_equal(got.selected, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_written_is_read),
		cmocka_unit_test(a_line_feed_at_its_end_does_no_harm),
		cmocka_unit_test(any_other_character_is_noticed),
		cmocka_unit_test(what_is_none_is_refused),
		cmocka_unit_test(an_older_one_is_of_the_default_scope),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
