/* test-recover.c - the index is brought to where the log is, whatever a stop left. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Mailboxes, flags, keywords, a move, an expunge, a subscription: something of everything. */
static int live_a_little(struct store_dir *d)
{
	struct stamp at;

	store_make_box(d, ".A");
	store_make_box(d, ".A.B");
	outside_write(d, "dovecot-keywords", "0 work\n");
	store_deliver(d, "", "1.x", "one");
	store_deliver(d, "", "2.x", "two");
	store_deliver(d, "", "3.x", "three");
	store_deliver(d, ".A.B", "4.x", "four");
	assert_int_equal(store_move(d, "new/1.x", "cur/1.x:2,Sa"), 0);
	assert_int_equal(store_move(d, "new/2.x", ".A/cur/2.x:2,"), 0);
	assert_int_equal(store_unlink(d->s, "new/3.x", &d->me), 0);
	assert_int_equal(store_move(d, ".A", ".Z"), 0);
	at = store_now(d->s);
	return at.time ? 0 : -1;
}

#define LIVED "A/B/new/4.x | INBOX/cur/1.x:2,Sa | Z/cur/2.x:2,"

static void an_index_that_is_gone_is_built_anew(void **state)
{
	struct store_dir *d = *state;
	char *before, *after;

	live_a_little(d);
	store_dir_reopen(d);
	before = store_dump(d);
	store_dir_close(d);
	store_dir_drop(d, "index");
	store_dir_open(d);
	after = store_dump(d);
	assert_string_equal(before, after);
	store_consistent(d);
	free(before);
	free(after);
}

static void the_log_is_not_longer_for_it(void **state)
{
	struct store_dir *d = *state;
	uint64_t n;

	live_a_little(d);
	store_dir_reopen(d);
	n = log_records(d);
	store_dir_close(d);
	store_dir_drop(d, "index");
	store_dir_open(d);
	assert_int_equal(log_records(d), n);
}

static void an_index_that_is_no_index_is_built_anew(void **state)
{
	struct store_dir *d = *state;
	int fd;

	live_a_little(d);
	store_dir_close(d);
	fd = openat(d->fd, "store/index/data.mdb", O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_int_equal(write(fd, "nonsense", 8), 8);
	close(fd);
	store_dir_open(d);
	assert_list(d, LIVED);
	store_consistent(d);
}

/* Flips a byte of each place in data.mdb that holds this text. */
static int damage(struct store_dir *d, const char *text)
{
	int fd = openat(d->fd, "store/index/data.mdb", O_RDWR | O_CLOEXEC), n = 0;
	size_t len = strlen(text);
	struct stat st;
	uint8_t *all, *p;

	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	all = p = mb_xmalloc((size_t)st.st_size);
	assert_int_equal(pread(fd, all, (size_t)st.st_size, 0), st.st_size);
	while ((p = memmem(p, (size_t)st.st_size - (size_t)(p - all), text, len))) {
		uint8_t other = *p ^ 0x10;

		assert_int_equal(pwrite(fd, &other, 1, p - all), 1);
		p += len;
		n++;
	}
	free(all);
	close(fd);
	return n;
}

static void a_value_that_does_not_check_is_found_at_the_start(void **state)
{
	struct store_dir *d = *state;

	live_a_little(d);
	store_dir_close(d);
	assert_true(damage(d, ".A.B") > 0); /* a mailbox's directory */
	store_dir_open(d);
	assert_list(d, LIVED);
	store_consistent(d);
}

/* Nobody reads it at the start: the change that meets it fails, the next start heals. */
static void a_value_that_does_not_check_is_healed_by_a_restart(void **state)
{
	struct store_dir *d = *state;

	live_a_little(d);
	time_passes(10);
	store_dir_reopen(d);
	store_dir_close(d);
	assert_true(damage(d, "1.x:2,Sa") > 0); /* a message's entry */
	store_dir_open(d);
	store_move(d, "cur/1.x:2,Sa", "cur/1.x:2,");
	store_dir_reopen(d);
	store_dir_reopen(d);
	store_consistent(d);
	assert_true(tree_has(d, "cur/1.x:2,Sa") || tree_has(d, "cur/1.x:2,"));
}

static void a_power_cut_builds_the_index_anew(void **state)
{
	struct store_dir *d = *state;

	live_a_little(d);
	store_dir_close(d);
	store_dir_power_cut(d);
	store_dir_open(d);
	assert_list(d, LIVED);
	store_consistent(d);
}

/* What a power cut took is lost, not expunged: it is wanted from a peer. */
static void what_is_missing_after_a_power_cut_is_lost(void **state)
{
	struct store_dir *d = *state;

	live_a_little(d);
	store_dir_close(d);
	outside_unlink(d, "cur/1.x:2,Sa");
	store_dir_power_cut(d);
	store_dir_open(d);
	assert_list(d, "A/B/new/4.x | INBOX/cur/1.x:2,Sa lost | Z/cur/2.x:2,");
	store_dir_reopen(d);
	assert_list(d, "A/B/new/4.x | INBOX/cur/1.x:2,Sa lost | Z/cur/2.x:2,");
}

/* Once that is judged, what goes later was taken away by somebody. */
static void after_the_first_scan_absence_is_an_expunge_again(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	live_a_little(d);
	store_dir_close(d);
	store_dir_power_cut(d);
	store_dir_open(d);
	outside_unlink(d, "cur/1.x:2,Sa");
	store_dir_rescan(d, &r);
	assert_int_equal(r.expunged, 1);
	assert_list(d, "A/B/new/4.x | Z/cur/2.x:2,");
}

static void a_mailbox_that_a_power_cut_took_is_not_deleted(void **state)
{
	struct store_dir *d = *state;

	live_a_little(d);
	store_dir_close(d);
	outside_remove(d, ".Z");
	store_dir_power_cut(d);
	store_dir_open(d);
	assert_list(d, "A/B/new/4.x | INBOX/cur/1.x:2,Sa | Z/cur/2.x:2, lost");
}

static void a_torn_tail_is_the_end_of_the_log(void **state)
{
	struct store_dir *d = *state;
	char *name = mb_xasprintf("store/log/%08u.log", log_sequence(store_log(d->s)));
	struct stat st;
	int fd;

	store_deliver(d, "", "1.x", "one");
	store_deliver(d, "", "2.x", "two");
	store_dir_close(d);
	store_dir_power_cut(d);
	fd = openat(d->fd, name, O_RDWR | O_CLOEXEC);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(ftruncate(fd, st.st_size - 5), 0);
	close(fd);
	store_dir_open(d);
	assert_list(d, "INBOX/new/1.x | INBOX/new/2.x"); /* its file is there: it arrives again */
	store_consistent(d);
	store_dir_reopen(d);
	store_consistent(d);
	free(name);
}

static void a_damaged_state_file_is_an_unclean_stop(void **state)
{
	struct store_dir *d = *state;
	uint32_t sequence;
	int fd;

	live_a_little(d);
	sequence = log_sequence(store_log(d->s));
	store_dir_close(d);
	fd = openat(d->fd, "store/state", O_WRONLY | O_TRUNC | O_CLOEXEC);
	close(fd);
	store_dir_open(d);
	assert_true(log_sequence(store_log(d->s)) > sequence);
	assert_list(d, LIVED);
	store_consistent(d);
	store_dir_close(d);
	assert_int_equal(unlinkat(d->fd, "store/state", 0), 0);
	store_dir_open(d);
	assert_list(d, LIVED);
	store_consistent(d);
}

static void a_newer_config_is_refused(void **state)
{
	struct store_dir *d = *state;
	uint8_t *text;
	size_t len;
	struct store *s;
	int fd;

	store_dir_close(d);
	fd = openat(d->fd, "store", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(io_read_file(fd, "config", 4096, &text, &len), 0);
	char *at = strstr((char *)text, "format=1");
	at[7] = '2';
	assert_int_equal(io_replace_file(fd, "config", text, len, 0600), 0);
	assert_int_equal(store_open(d->dir, STORE_WRITE, &s), MB_E_VERSION);
	at[7] = '1';
	assert_int_equal(io_replace_file(fd, "config", text, len, 0600), 0);
	close(fd);
	free(text);
	store_dir_open(d);
}

/* A record of a later version's type: this program must not go on as if it were not there. */
static void a_newer_record_is_refused(void **state)
{
	struct store_dir *d = *state;
	struct record r = {.type = 250};
	struct store *s;

	assert_int_equal(log_append(store_log(d->s), &r, NULL, NULL), 0);
	store_dir_close(d);
	store_dir_drop(d, "index");
	assert_int_equal(store_open(d->dir, STORE_WRITE, &s), MB_E_VERSION);
}

/* ---- a log with a hole ---- */

static struct position here(struct store_dir *d)
{
	struct position p;

	assert_int_equal(log_end(store_log(d->s), &p), 0);
	return p;
}

/* Zeroes these bytes of the first log file, and the index goes: what is left is read from the log. */
static void hole(struct store_dir *d, struct position from, struct position to)
{
	static const uint8_t zeros[4096];
	int fd;

	assert_int_equal(from.sequence, to.sequence);
	store_dir_close(d);
	fd = openat(d->fd, "store/log/00000001.log", O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_true(to.offset - from.offset <= sizeof(zeros));
	assert_int_equal(pwrite(fd, zeros, to.offset - from.offset, from.offset),
			 to.offset - from.offset);
	close(fd);
	store_dir_drop(d, "index");
	store_dir_open(d);
}

static void a_hole_costs_only_what_it_held(void **state)
{
	struct store_dir *d = *state;
	struct guid before[30];
	struct position from = {0}, to = {0};
	char name[16];

	store_make_box(d, ".A");
	for (int i = 0; i < 30; i++) {
		snprintf(name, sizeof(name), "m%02d.x", i);
		if (i == 10)
			from = here(d);
		if (i == 12)
			to = here(d);
		store_deliver(d, "", name, name);
		before[i] = store_guid(d, name);
	}
	assert_int_equal(store_move(d, "new/m20.x", ".A/cur/m20.x:2,S"), 0);
	assert_int_equal(store_unlink(d->s, "new/m21.x", &d->me), 0);
	hole(d, from, to);
	store_consistent(d);
	for (int i = 0; i < 30; i++) {
		struct guid now;

		snprintf(name, sizeof(name), i == 20 ? "m20.x:2,S" : "m%02d.x", i);
		if (i == 21)
			continue;
		now = store_guid(d, name);
		assert_int_equal(guid_equal(&now, &before[i]), i != 10 && i != 11);
	}
	assert_false(tree_has(d, "new/m21.x"));
	assert_int_equal(store_opening_scan(d->s)->arrived, 2);
	assert_int_equal(store_opening_scan(d->s)->expunged, 0);
}

/* A later record has the registers, but no file name. */
static void a_message_of_which_only_the_digest_is_known_finds_its_file(void **state)
{
	struct store_dir *d = *state;
	struct position from = here(d), to;
	struct digest digest;
	struct guid g, now;

	store_deliver(d, "", "1.x", "body");
	to = here(d);
	g = store_guid(d, "1.x");
	assert_int_equal(store_digest(d->s, &g, 0, &digest), 0);
	assert_int_equal(store_move(d, "new/1.x", "cur/1.x:2,S"), 0);
	store_deliver(d, "", "2.x", "other");
	assert_int_equal(store_digest(d->s, &g, 0, &digest), 0);
	hole(d, from, to);
	assert_list(d, "INBOX/cur/1.x:2,S | INBOX/new/2.x");
	now = store_guid(d, "1.x:2,S");
	assert_true(guid_equal(&g, &now));
	store_consistent(d);
}

static void a_message_known_by_its_digest_alone(void **state)
{
	struct store_dir *d = *state;
	struct position from = here(d), to;
	struct digest digest;
	struct guid g, now;

	store_deliver(d, "", "1.x", "body");
	to = here(d);
	g = store_guid(d, "1.x");
	assert_int_equal(store_digest(d->s, &g, 0, &digest), 0);
	hole(d, from, to);
	assert_list(d, "INBOX/new/1.x");
	now = store_guid(d, "1.x");
	assert_true(guid_equal(&g, &now));
	store_consistent(d);
}

/* Its expunge was in the hole; its body is in deleted/. */
static void an_expunge_in_the_hole_stays_one(void **state)
{
	struct store_dir *d = *state;
	struct position from, to;

	store_deliver(d, "", "1.x", "body");
	store_deliver(d, "", "2.x", "body 2");
	from = here(d);
	assert_int_equal(store_unlink(d->s, "new/1.x", &d->me), 0);
	to = here(d);
	store_deliver(d, "", "3.x", "body 3");
	hole(d, from, to);
	assert_list(d, "INBOX/new/2.x | INBOX/new/3.x");
	store_consistent(d);
}

static void peers_are_compared_with_in_full_after_a_hole(void **state)
{
	struct store_dir *d = *state;
	struct record r = {.type = REC_PEER};
	struct position from = here(d), to;
	struct peer_state peer = {0};
	struct index_txn *tx;

	store_deliver(d, "", "1.x", "body");
	to = here(d);
	r.peer.replica = 42;
	r.peer.destination = mb_xstrdup("store:/elsewhere");
	r.peer.local = to;
	r.peer.remote = to;
	assert_int_equal(store_put(d->s, &r, NULL), 1);
	hole(d, from, to);
	assert_int_equal(index_begin(store_index(d->s), false, &tx), 0);
	assert_int_equal(index_get_peer(tx, 42, &peer), 0);
	assert_string_equal(peer.destination, "store:/elsewhere");
	assert_true(position_is_none(&peer.local));
	assert_true(position_is_none(&peer.remote));
	index_abort(tx);
	peer_state_release(&peer);
	record_release(&r);
}

static void a_killed_rebuild_is_done_again(void **state)
{
	struct store_dir *d = *state;
	bool killed = true;

	live_a_little(d);
	store_dir_close(d);
	for (int n = 1; killed; n++) {
		store_dir_drop(d, "index");
		killed = store_dir_kill_open_at(d, n);
		store_dir_open(d);
		assert_list(d, LIVED);
		store_consistent(d);
		store_dir_close(d);
		assert_true(n < 1000);
	}
}

/* Stops in one boot, one after the other, with work between them. */
static void many_kills_in_a_row(void **state)
{
	struct store_dir *d = *state;

	store_dir_kill(d, live_a_little);
	for (int i = 0; i < 5; i++)
		store_dir_kill(d, NULL);
	store_dir_open(d);
	assert_list(d, LIVED);
	store_consistent(d);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(an_index_that_is_gone_is_built_anew),
		TEST(the_log_is_not_longer_for_it),
		TEST(an_index_that_is_no_index_is_built_anew),
		TEST(a_value_that_does_not_check_is_found_at_the_start),
		TEST(a_value_that_does_not_check_is_healed_by_a_restart),
		TEST(a_power_cut_builds_the_index_anew),
		TEST(what_is_missing_after_a_power_cut_is_lost),
		TEST(after_the_first_scan_absence_is_an_expunge_again),
		TEST(a_mailbox_that_a_power_cut_took_is_not_deleted),
		TEST(a_torn_tail_is_the_end_of_the_log),
		TEST(a_damaged_state_file_is_an_unclean_stop),
		TEST(a_newer_config_is_refused),
		TEST(a_newer_record_is_refused),
		TEST(a_hole_costs_only_what_it_held),
		TEST(a_message_of_which_only_the_digest_is_known_finds_its_file),
		TEST(a_message_known_by_its_digest_alone),
		TEST(an_expunge_in_the_hole_stays_one),
		TEST(peers_are_compared_with_in_full_after_a_hole),
		TEST(a_killed_rebuild_is_done_again),
		TEST(many_kills_in_a_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
