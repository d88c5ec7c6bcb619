/* Records: whatever decodes is encoded to bytes that decode to the same. */
#include "backends/mail/record.h"
#include "sync/state.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/random.h"
#include <string.h>

static void try_state(const uint8_t *data, size_t len)
{
	char text[STATE_TEXT_MAX * 2];
	struct sync_state st;

	if (len >= sizeof(text))
		return;
	memcpy(text, data, len);
	text[len] = '\0';
	if (sync_state_parse(text, &st) < 0)
		return;
	char *again = sync_state_text(&st);
	struct sync_state same;
	FUZZ_CHECK(sync_state_parse(again, &same) == 0);
	FUZZ_CHECK(position_equal(&st.position[0], &same.position[0]));
	free(again);
}

void fuzz_one(const uint8_t *data, size_t len)
{
	BUF_AUTO struct buf first = BUF_INIT, second = BUF_INIT;
	struct record a = {0}, b = {0};

	try_state(data, len);
	if (record_decode(data, len, &a) < 0)
		return;
	FUZZ_CHECK(record_type_name(a.type));
	FUZZ_CHECK(strlen(a.origin.comm) <= REC_COMM_MAX);
	record_encode(&a, &first);
	FUZZ_CHECK(record_decode(first.data, first.len, &b) == 0);
	record_encode(&b, &second);
	FUZZ_CHECK(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
	record_release(&a);
	record_release(&b);
}

const unsigned fuzz_rounds = 20000, fuzz_cuts = 500;

bool fuzz_seed(unsigned n, struct buf *out)
{
	struct prng p = {n + 1};
	struct record r = {0};
	struct sync_state st = {.replica = {n, 7}, .position = {{.sequence = n}, {.offset = n}}};

	if (n >= 60)
		return false;
	if (n >= 50) {
		char *text = sync_state_text(&st);
		buf_put(out, text, strlen(text));
		free(text);
		return true;
	}
	random_record(&p, &r);
	record_encode(&r, out);
	record_release(&r);
	return true;
}
