/* Records: what is encoded comes back, and no bytes do harm. */
#include "backends/mail/record.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/mail/fname.h"
#include "backends/mail/tlv.h"
#include "tests/support/random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define RECORD_AUTO __attribute__((cleanup(record_release)))

static void same_text(const char *a, const char *b)
{
	if (!a || !b)
		assert_true(a == b);
	else
		assert_string_equal(a, b);
}

static void same_peer(const struct peer_state *a, const struct peer_state *b)
{
	assert_true(a->replica == b->replica && guid_equal(&a->store, &b->store));
	same_text(a->destination, b->destination);
	assert_true(position_equal(&a->local, &b->local));
	assert_true(position_equal(&a->remote, &b->remote));
	assert_true(a->synced_ns == b->synced_ns);
}

static void same_entry(const struct peer_entry *a, const struct peer_entry *b)
{
	assert_true(a->peer == b->peer && guid_equal(&a->mailbox, &b->mailbox));
	assert_true(guid_equal(&a->guid, &b->guid) && a->id == b->id);
	same_text(a->path, b->path);
	assert_true(a->flags == b->flags && a->keywords == b->keywords && a->ino == b->ino);
	assert_true(a->size == b->size && a->state == b->state);
	assert_memory_equal(a->mtimes, b->mtimes, sizeof(a->mtimes));
	assert_true(digest_equal(&a->digest, &b->digest));
	assert_int_equal(stamp_compare(&a->placed_at, &b->placed_at), 0);
}

static void same_record(const struct record *a, const struct record *b)
{
	assert_int_equal(a->type, b->type);
	assert_int_equal(stamp_compare(&a->at, &b->at), 0);
	assert_true(a->origin.replica == b->origin.replica && a->origin.pid == b->origin.pid);
	assert_string_equal(a->origin.comm, b->origin.comm);
	assert_true(mailbox_equal(&a->mailbox, &b->mailbox));
	assert_true(copy_equal(&a->copy, &b->copy) && a->copy.recent == b->copy.recent);
	assert_true(guid_equal(&a->old_guid, &b->old_guid) && a->old_id == b->old_id);
	assert_int_equal(a->n_further, b->n_further);
	if (a->n_further)
		assert_memory_equal(a->further, b->further, a->n_further * sizeof(*a->further));
	same_peer(&a->peer, &b->peer);
	same_entry(&a->entry, &b->entry);
	same_text(a->old_name, b->old_name);
	same_text(a->new_name, b->new_name);
	assert_true(a->ordinal == b->ordinal && a->replica_id == b->replica_id);
	assert_true(guid_equal(&a->store_id, &b->store_id));
	assert_true(a->forgotten == b->forgotten);
}

static void encoded_and_back(void **state)
{
	RECORD_AUTO struct record a = {0}, clone = {0};
	struct prng p = {16};

	for (int i = 0; i < 5000; i++) {
		BUF_AUTO struct buf out = BUF_INIT, again = BUF_INIT;
		RECORD_AUTO struct record b = {0};

		random_record(&p, &a);
		record_encode(&a, &out);
		assert_int_equal(record_decode(out.data, out.len, &b), 0);
		same_record(&a, &b);
		record_clone(&clone, &b);
		same_record(&a, &clone);
		record_encode(&clone, &again);
		assert_int_equal(out.len, again.len);
		assert_memory_equal(out.data, again.data, out.len);
	}
	record_clone(&a, &a);
}

static void decode_damaged(const void *data, size_t len)
{
	RECORD_AUTO struct record r = {0};

	if (record_decode(data, len, &r) == 0) {
		assert_true(r.type != REC_NONE);
		assert_true(strlen(r.origin.comm) <= REC_COMM_MAX);
		record_type_name(r.type);
	} else {
		assert_null(r.new_name);
	}
}

static void damage_is_no_crash(void **state)
{
	RECORD_AUTO struct record a = {0};
	struct prng p = {17};

	for (int i = 0; i < 20; i++) {
		BUF_AUTO struct buf out = BUF_INIT;

		random_record(&p, &a);
		record_encode(&a, &out);
		for_each_damage(out.data, out.len, decode_damaged);
	}
}

static void random_bytes_are_no_crash(void **state)
{
	struct prng p = {18};

	for (int i = 0; i < 100000; i++) {
		size_t len = prng_below(&p, 40);
		MB_AUTO_FREE uint8_t *data = mb_xmalloc(len);

		for (size_t j = 0; j < len; j++)
			data[j] = (uint8_t)(prng_bool(&p) ? prng_below(&p, 16) : prng_next(&p));
		decode_damaged(data, len);
	}
}

static void an_arrival_is_small(void **state)
{
	RECORD_AUTO struct record r = {.type = REC_ARRIVE, .ordinal = 123456};
	BUF_AUTO struct buf out = BUF_INIT;
	struct hlc clock = {.replica = random_u64()};
	char base[FNAME_MAX + 1];

	fname_new_base(12345, base);
	r.at = hlc_now(&clock);
	r.origin = (struct origin){clock.replica, 12345, "neomutt"};
	r.copy.guid = guid_new();
	r.copy.place = (struct place){guid_new(), 77000, r.at, mb_xstrdup(base)};
	r.copy.size = 12345;
	r.copy.received_ns = (int64_t)r.at.time;
	r.copy.recent = true;
	flags_put(&r.copy.flags, FLAG_SEEN, true, r.at);
	flags_put(&r.copy.flags, FLAG_FLAGGED, true, r.at);
	digest_mem("", 0, &r.copy.digest);
	r.new_name = mb_xasprintf("%s:2,FS", base);
	record_encode(&r, &out);
	assert_true(out.len <= 256 + strlen(base) - 50);
}

/* Bytes as a later version may write them: tags that are not known yet. */
static void unknown_tags_and_types_are_skipped(void **state)
{
	RECORD_AUTO struct record r = {0};
	BUF_AUTO struct buf out = BUF_INIT;

	tlv_put_varint(&out, 1, 4711);
	tlv_put(&out, 200, "later", 5);
	assert_int_equal(record_decode(out.data, out.len, &r), 0);
	assert_int_equal(r.type, 4711);
	assert_string_equal(record_type_name(r.type), "unknown");
	assert_string_equal(record_type_name(REC_ARRIVE), "arrive");
	assert_string_equal(record_type_name(REC_FLAGS), "flags");
}

static int decode(const struct buf *b)
{
	RECORD_AUTO struct record r = {0};

	return record_decode(b->data, b->len, &r);
}

static void values_are_bounded(void **state)
{
	BUF_AUTO struct buf out = BUF_INIT;
	MB_AUTO_FREE uint8_t *big = mb_xcalloc(RECORD_MAX + 8, 1);
	struct record r;

	assert_int_equal(record_decode("", 0, &r), MB_E_FORMAT);
	tlv_put_varint(&out, 2, 1); /* no type */
	assert_int_equal(decode(&out), MB_E_FORMAT);
	buf_reset(&out);
	tlv_put_varint(&out, 1, 65536);
	assert_int_equal(decode(&out), MB_E_FORMAT);
	buf_reset(&out);
	tlv_put_varint(&out, 1, REC_ARRIVE);
	tlv_put(&out, 3, "\0\0\0\0\0\0\0\0\1abcdefghijklmno", 24);
	assert_int_equal(decode(&out), 0);
	buf_reset(&out);
	tlv_put_varint(&out, 1, REC_ARRIVE);
	tlv_put(&out, 3, "\0\0\0\0\0\0\0\0\1abcdefghijklmnop", 25); /* comm too long */
	assert_int_equal(decode(&out), MB_E_FORMAT);
	buf_reset(&out);
	tlv_put_varint(&out, 1, REC_ARRIVE);
	tlv_put(&out, 3, "\0\0\0\0\0\0\0\0\1a\x1b", 11); /* not printable */
	assert_int_equal(decode(&out), MB_E_FORMAT);
	buf_reset(&out);
	tlv_put_varint(&out, 1, REC_ARRIVE);
	tlv_put(&out, 12, ":2,S", 4); /* what follows a base that is not there */
	assert_int_equal(decode(&out), MB_E_FORMAT);
	buf_reset(&out);
	tlv_put_varint(&out, 1, REC_ARRIVE);
	assert_int_equal(decode(&out), 0);
	tlv_put(&out, 250, big, RECORD_MAX - 10);
	assert_int_equal(decode(&out), 0);
	buf_put(&out, big, 8);
	assert_int_equal(record_decode(out.data, RECORD_MAX + 1, &r), MB_E_FORMAT);
}

static void the_largest_record_fits(void **state)
{
	RECORD_AUTO struct record r = {.type = REC_FLAGS}, back = {0};
	BUF_AUTO struct buf out = BUF_INIT;
	char name[KEYWORD_MAX_LEN + 1];

	memset(name, 'k', KEYWORD_MAX_LEN);
	for (unsigned i = 0; i < KEYWORDS_MAX; i++) {
		snprintf(name, 6, "%05u", i);
		name[5] = 'k';
		name[KEYWORD_MAX_LEN] = '\0';
		flags_put_keyword(&r.copy.flags, name, true, (struct stamp){i, 1});
	}
	r.old_name = mb_xmalloc(20001);
	memset(r.old_name, 'n', 20000);
	r.old_name[20000] = '\0';
	record_encode(&r, &out);
	assert_true(out.len < RECORD_MAX / 2);
	assert_int_equal(record_decode(out.data, out.len, &back), 0);
	assert_true(flags_equal(&r.copy.flags, &back.copy.flags));
	assert_null(back.old_name); /* too long: left out */
}

static void positions(void **state)
{
	struct position p = {.log = {{1}}, .sequence = 2, .offset = UINT32_MAX, .check = 4}, back;
	BUF_AUTO struct buf out = BUF_INIT;
	struct reader r;

	position_encode(&p, &out);
	assert_int_equal(out.len, 32);
	r = reader_of(out.data, out.len);
	assert_true(position_decode(&r, &back));
	assert_true(position_equal(&p, &back));
	assert_false(position_is_none(&p));
	assert_true(position_is_none(&(struct position){0}));
	r = reader_of(out.data, 31);
	assert_false(position_decode(&r, &back));
	back.check++;
	assert_false(position_equal(&p, &back));
}

static void which_position_is_later(void **state)
{
	const struct position none = {0}, one = {.log = {{9}}, .sequence = 1, .offset = 500},
			      further = {.log = {{9}}, .sequence = 1, .offset = 501},
			      next = {.log = {{1}}, .sequence = 2, .offset = 96};
	const struct position *const rising[] = {&none, &one, &further, &next};

	for (size_t i = 0; i < 4; i++)
		for (size_t k = 0; k < 4; k++)
			assert_int_equal(position_reaches(rising[i], rising[k]), i >= k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encoded_and_back),
		cmocka_unit_test(damage_is_no_crash),
		cmocka_unit_test(random_bytes_are_no_crash),
		cmocka_unit_test(an_arrival_is_small),
		cmocka_unit_test(unknown_tags_and_types_are_skipped),
		cmocka_unit_test(values_are_bounded),
		cmocka_unit_test(the_largest_record_fits),
		cmocka_unit_test(positions),
		cmocka_unit_test(which_position_is_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
