/*
 * The initiator: any bytes as what the other end of a connection says, during a whole session.  It ends,
 * with an error or without, nothing is read or written where it should not be, and what was in the replica
 * here stays whole.
 *
 * Input: the bytes that follow a good HELLO.
 */
#include "backends/base/msg.h"
#include "backends/memory.h"
#include "backends/wire/frame.h"
#include "backends/wire/wire.h"
#include "sync/session.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/random.h"
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HERE 11
#define THERE 22

static void put_good_hello(struct buf *out)
{
	struct wire_hello h = {.lowest = WIRE_VERSION, .highest = WIRE_VERSION};

	h.info.info.replica = THERE;
	h.info.info.caps =
		CAP_LOG | CAP_STAMPS | CAP_UIDS | CAP_KEYWORDS | CAP_GUIDS | CAP_SUBSCRIBE;
	h.info.clock = (struct stamp){1, THERE};
	wire_put_hello(out, &h, true);
}

void fuzz_one(const uint8_t *data, size_t len)
{
	const struct session_options o = {0};
	BUF_AUTO struct buf b = BUF_INIT;
	struct backend *here = backend_open_memory(HERE), *far;
	struct session_result r;
	int fds[2], room = 4 << 20;

	mb_msg_set_level(MB_ERROR);
	wire_patience(2);
	FUZZ_CHECK(memory_deliver(here, &GUID_INBOX, "x", 1, 0, &(struct guid){{0}}) == 0);
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	put_good_hello(&b);
	buf_put(&b, data, len);
	FUZZ_CHECK(send(fds[1], b.data, b.len, MSG_DONTWAIT) == (ssize_t)b.len);
	FUZZ_CHECK(shutdown(fds[1], SHUT_WR) == 0);
	FUZZ_CHECK(backend_open_wire(fds[0], fds[0], "exec:far", &far) == 0);
	session_run(here, far, &o, &r);
	session_result_release(&r);
	backend_close(far);
	close(fds[1]);
	FUZZ_CHECK(memory_n_messages(here) >= 1);
	backend_close(here);
}

/* Answers as an honest end gives them to a first session, with random contents. */
static size_t answer(struct buf *out, uint32_t id, int result)
{
	size_t at = frame_begin(out, WIRE_ANSWER, id);

	wire_put_result(out, result);
	return at;
}

static void put_position(struct buf *out, uint32_t offset)
{
	const struct position p = {.log = {{7}}, .sequence = 1, .offset = offset};

	position_encode(&p, out);
}

static void put_inbox(struct buf *out, uint32_t id)
{
	char part[] = "INBOX";
	const struct mailbox m = {.guid = GUID_INBOX,
				  .part = part,
				  .born = {1, THERE},
				  .named_at = {1, THERE},
				  .selectable = true,
				  .uid_validity = 3,
				  .uid_next = 9};
	size_t at = frame_begin(out, WIRE_PART, id);

	buf_put_u8(out, PART_MAILBOXES);
	wire_put_mailbox(out, &m);
	frame_end(out, at);
	frame_end(out, answer(out, id, 0));
}

static void put_state(struct prng *p, struct buf *out, uint32_t id, struct guid guid)
{
	struct record rec = {0};
	struct message m = {.guid = guid};
	size_t at = answer(out, id, 0);

	random_record(p, &rec);
	rec.copy.guid = guid;
	rec.copy.id = 0;
	copy_clone(message_add(&m, 0), &rec.copy);
	wire_put_message(out, &m);
	frame_end(out, at);
	message_release(&m);
	record_release(&rec);
}

const unsigned fuzz_rounds = 1500, fuzz_cuts = 20;

bool fuzz_seed(unsigned n, struct buf *out)
{
	struct prng p = {n + 9};
	struct guid guid = {{(uint8_t)(n + 1), 3}};
	struct wire_info info = {0};
	uint32_t id = 1;

	if (n >= 12)
		return false;
	info.info.replica = THERE;
	info.info.caps = 0x3f;
	size_t at = answer(out, id++, 0); /* REFRESH */
	wire_put_info(out, &info);
	frame_end(out, at);
	frame_end(out, answer(out, id++, -2)); /* PEER */
	at = answer(out, id++, 0);	       /* POSITION */
	put_position(out, 4);
	frame_end(out, at);
	put_inbox(out, id++); /* TREE */
	at = answer(out, id++, 0);
	put_position(out, 4);
	frame_end(out, at);
	put_inbox(out, id++);
	put_state(&p, out, id++, guid); /* of what is here */
	at = frame_begin(out, WIRE_PART, id);
	buf_put_u8(out, PART_MESSAGES);
	wire_put_guid(out, &guid);
	frame_end(out, at);
	frame_end(out, answer(out, id++, 0)); /* EACH */
	for (unsigned i = 0; i < n; i++)
		put_state(&p, out, id++, guid);
	return true;
}
