/*
 * state.c - see state.h.
 */
#include "sync/state.h"

#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "backends/base/mem.h"

#include <openssl/evp.h>
#include <string.h>

static const char MAGIC[] = "mbs2";
#define MAGIC_LEN 4

char *sync_state_text(const struct sync_state *s)
{
	struct buf b BUF_AUTO = BUF_INIT;

	buf_put(&b, MAGIC, MAGIC_LEN);
	for (int i = 0; i < 2; i++) {
		buf_put_u64(&b, s->replica[i]);
		position_encode(&s->position[i], &b);
	}
	buf_put_u64(&b, s->scope);
	buf_put_u64(&b, s->selected);
	buf_put_u64(&b, checksum64(b.data, b.len, 0));

	char *text = mb_xmalloc((b.len + 2) / 3 * 4 + 1);
	EVP_EncodeBlock((unsigned char *)text, b.data, (int)b.len);
	return text;
}

static int parse(const uint8_t *data, size_t len, struct sync_state *ret)
{
	struct sync_state s = {0};
	struct reader r = reader_of(data, len);
	uint8_t magic[MAGIC_LEN];

	if (!reader_get(&r, magic, MAGIC_LEN) || memcmp(magic, MAGIC, 3) != 0)
		return MB_E_FORMAT;
	if (magic[3] != MAGIC[3] && magic[3] != '1')
		return MB_E_VERSION;
	for (int i = 0; i < 2; i++) {
		s.replica[i] = reader_get_u64(&r);
		if (!position_decode(&r, &s.position[i]))
			return MB_E_FORMAT;
	}
	if (magic[3] != '1') {
		s.scope = reader_get_u64(&r);
		s.selected = reader_get_u64(&r);
	}
	if (r.failed)
		return MB_E_FORMAT;
	size_t summed = len - reader_left(&r);
	if (reader_left(&r) != 8)
		return MB_E_FORMAT;
	if (reader_get_u64(&r) != checksum64(data, summed, 0))
		return MB_E_CHECKSUM;
	*ret = s;
	return 0;
}

int sync_state_parse(const char *text, struct sync_state *ret)
{
	size_t len = strlen(text), pad = 0;
	uint8_t data[STATE_TEXT_MAX];

	while (len && (text[len - 1] == '\n' || text[len - 1] == ' '))
		len--;
	if (len < 4 || len % 4 != 0 || len > STATE_TEXT_MAX)
		return MB_E_FORMAT;
	while (pad < 2 && text[len - 1 - pad] == '=')
		pad++;

	/* EVP_DecodeBlock() counts the padding as zero bytes. */
	int n = EVP_DecodeBlock(data, (const unsigned char *)text, (int)len);
	if (n < (int)pad)
		return MB_E_FORMAT;
	return parse(data, (size_t)n - pad, ret);
}
