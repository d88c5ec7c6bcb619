/*
 * live.c - see live.h.
 *
 * State of a peer: due_ms says when its next session is; 0 = only when something happens.  `first_ms`
 * is when the news that waits came, so that a stream of news cannot put a sync off for ever.
 */
#include "sync/live.h"

#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "sync/apply.h"
#include "sync/cli.h"
#include "sync/conflicts.h"
#include "sync/peers.h"
#include "sync/sync-report.h"
#include "sync/session.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <uv.h>

#define STALE_MAX 20 /* sessions in a row that meet other changes than they have read */

struct loop;

struct live_peer {
	struct loop *loop;
	char *destination; /* owned */
	struct backend *b; /* owned; NULL: not open now */
	uv_poll_t *poll;   /* its watch_fd, freed by its close; NULL: it has none */
	int64_t due_ms, first_ms, ended_ms;
	unsigned failures;
	bool backing_off; /* news does not hurry it: nobody is there */
	int told;	  /* last error that was told */
	struct live_peer *next;
};

struct loop {
	const struct live *o;
	struct backend *local;
	uv_loop_t uv;
	uv_timer_t timer;
	uv_poll_t signals, *local_poll;
	int signal_fd;
	struct live_peer *peers; /* owned list */
	int64_t turn_ms;	 /* backend.turn is due; 0: not */
	bool ending;
	int err;
};

static int64_t now_ms(void)
{
	return clock_mono_ns() / 1000000;
}

int live_backoff_ms(unsigned failures, unsigned random)
{
	unsigned ms = LIVE_BACKOFF_MS;

	for (unsigned i = 1; i < failures && ms < LIVE_BACKOFF_MAX_MS; i++)
		ms *= 2;
	if (ms > LIVE_BACKOFF_MAX_MS)
		ms = LIVE_BACKOFF_MAX_MS;
	return (int)(ms / 2 + random % (ms / 2 + 1));
}

/* ---- when ------------------------------------------------------------------------------------ */

static void on_timer(uv_timer_t *timer);

static void set_timer(struct loop *l)
{
	int64_t next = l->turn_ms, now = now_ms();

	for (const struct live_peer *p = l->peers; p; p = p->next) {
		if (p->due_ms && (!next || p->due_ms < next))
			next = p->due_ms;
	}
	if (!next || l->ending)
		uv_timer_stop(&l->timer);
	else
		uv_timer_start(&l->timer, on_timer, next > now ? (uint64_t)(next - now) : 0, 0);
}

static void news_for(struct live_peer *p)
{
	int64_t now = now_ms();

	if (p->backing_off)
		return;
	if (!p->first_ms)
		p->first_ms = now;
	p->due_ms = now + (now - p->ended_ms > LIVE_REST_MS ? LIVE_FIRST_MS : LIVE_QUIET_MS);
	if (p->due_ms > p->first_ms + LIVE_WAIT_MS)
		p->due_ms = p->first_ms + LIVE_WAIT_MS;
}

static void news_for_all(struct loop *l)
{
	for (struct live_peer *p = l->peers; p; p = p->next)
		news_for(p);
}

static void all_now(struct loop *l)
{
	for (struct live_peer *p = l->peers; p; p = p->next) {
		p->backing_off = false;
		p->failures = 0;
		p->due_ms = now_ms();
	}
}

/* ---- opening and closing --------------------------------------------------------------------- */

static void free_handle(uv_handle_t *h)
{
	free(h);
}

static void on_peer(uv_poll_t *poll, int status, int events);

static uv_poll_t *watch(struct loop *l, struct backend *b, uv_poll_cb fn, void *data)
{
	int fd = b->ops->watch_fd(b);

	if (fd < 0)
		return NULL;
	uv_poll_t *poll = mb_xcalloc(1, sizeof(*poll));
	if (uv_poll_init(&l->uv, poll, fd) < 0) {
		free(poll);
		return NULL;
	}
	poll->data = data;
	uv_poll_start(poll, UV_READABLE, fn);
	return poll;
}

static void unwatch(uv_poll_t **poll)
{
	if (!*poll)
		return;
	uv_poll_stop(*poll);
	uv_close((uv_handle_t *)*poll, free_handle);
	*poll = NULL;
}

static void close_peer(struct live_peer *p)
{
	unwatch(&p->poll);
	backend_close(p->b);
	p->b = NULL;
}

static int open_peer(struct live_peer *p)
{
	if (p->b)
		return 0;
	int err = backend_open(p->destination, p->loop->local, &p->b);
	if (err < 0) {
		p->b = NULL;
		return err;
	}
	p->poll = watch(p->loop, p->b, on_peer, p);
	return 0;
}

static bool add_peer(struct loop *l, const char *destination)
{
	for (const struct live_peer *p = l->peers; p; p = p->next) {
		if (strcmp(p->destination, destination) == 0)
			return false;
	}
	struct live_peer *p = mb_xcalloc(1, sizeof(*p));
	p->loop = l;
	p->destination = mb_xstrdup(destination);
	p->due_ms = now_ms();
	p->next = l->peers;
	l->peers = p;
	return true;
}

/* A peer given by hand may be registered under another spelling of the same place. */
static bool is_open_as(const struct loop *l, const char *destination)
{
	struct backend_info info;

	for (struct live_peer *p = l->peers; p; p = p->next) {
		if (p->b && p->b->ops->info(p->b, &info) >= 0 && info.destination &&
		    strcmp(info.destination, destination) == 0)
			return true;
	}
	return false;
}

static void add_registered(struct loop *l)
{
	struct peers peers = {0};

	if (peers_read(l->local, &peers) < 0)
		return;
	for (size_t i = 0; i < peers.n; i++) {
		const char *destination = peers.list[i].destination;
		if (peer_is_ours(&peers.list[i]) && !is_open_as(l, destination))
			add_peer(l, destination);
	}
	peers_release(&peers);
}

/* ---- one session ----------------------------------------------------------------------------- */

static void end(struct loop *l, int err)
{
	l->ending = true;
	if (!l->err)
		l->err = err;
	uv_stop(&l->uv);
}

/* Asked before each item of a session: the loop itself does not run meanwhile. */
static bool told_to_end(void *arg)
{
	struct loop *l = arg;
	struct pollfd fd = {.fd = l->signal_fd, .events = POLLIN};
	struct signalfd_siginfo info;

	if (!l->ending && poll(&fd, 1, 0) == 1 &&
	    read(l->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGUSR1)
			all_now(l);
		else
			end(l, 0);
	}
	return l->ending;
}

static void tell(struct live_peer *p, int err, const struct session_result *r)
{
	sync_report_notices(r);
	int now = err < 0	? err
		  : r->errors	? r->first_error
		  : r->held	? MB_E_GUARD
		  : r->held_old ? MB_E_OLD_MAIL
				: 0;
	if (now && now != p->told)
		mb_fail(now, "not in step with %s", p->destination);
	else if (!now && p->told)
		mb_msg(MB_NOTICE, "in step with %s again", p->destination);
	p->told = now;
	if (r->changed && mb_msg_level() >= MB_INFO) {
		char *text MB_AUTO_FREE = cli_summary(r);
		mb_msg(MB_INFO, "%s: %s", p->destination, text);
	}
}

static void failed(struct live_peer *p)
{
	p->failures++;
	p->due_ms = now_ms() + live_backoff_ms(p->failures, (unsigned)random_u64());
}

/* Whether the error was the peer's, or our own store has no writer any more. */
static bool local_is_gone(struct loop *l)
{
	struct position p;
	int err = l->local->ops->position(l->local, &p);

	return err < 0 && backend_is_gone(err);
}

static void after(struct live_peer *p, int err, const struct session_result *r)
{
	p->backing_off = false;
	p->ended_ms = now_ms();
	if (err == MB_E_STALE && p->failures < STALE_MAX) { /* somebody is busy there */
		p->failures++;
		p->due_ms = now_ms() + LIVE_WAIT_MS;
		return;
	}
	tell(p, err, r);
	if (err == -EINTR) {
		p->due_ms = now_ms();
	} else if (err < 0) {
		if (p->b)
			backend_doubt(p->b); /* it is opened again anyway */
		close_peer(p);
		p->backing_off = true;
		failed(p);
		if (backend_doubt(p->loop->local) > 0 || local_is_gone(p->loop))
			end(p->loop, err);
	} else if (r->errors) {
		failed(p);
	} else {
		p->failures = 0;
		p->due_ms = now_ms() + (r->again ? LIVE_WAIT_MS : LIVE_RESCAN_MS);
	}
}

static void sync_with(struct live_peer *p)
{
	struct conflicts_keeper keeper = {.dir = p->loop->o->dir, .peer = p->destination};
	const struct session_options opt = {.stop = told_to_end,
					    .stop_arg = p->loop,
					    .decided = keeper.dir ? conflicts_keep : NULL,
					    .decided_arg = &keeper};
	struct session_result r = {0};

	p->due_ms = p->first_ms = 0;
	int err = open_peer(p);
	if (err >= 0)
		err = session_run(p->loop->local, p->b, &opt, &r);
	after(p, err, &r);
	session_result_release(&r);
}

static void turn(struct loop *l, struct backend *b)
{
	int ms = b && b->ops->turn ? b->ops->turn(b) : 0;
	int64_t then = now_ms() + ms;

	if (ms && (!l->turn_ms || then < l->turn_ms))
		l->turn_ms = then;
}

/* ---- events ---------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer)
{
	struct loop *l = timer->data;

	add_registered(l);
	for (struct live_peer *p = l->peers; p && !l->ending; p = p->next) {
		if (p->due_ms && p->due_ms <= now_ms())
			sync_with(p);
	}
	l->turn_ms = 0;
	turn(l, l->local);
	for (const struct live_peer *p = l->peers; p; p = p->next)
		turn(l, p->b);
	set_timer(l);
}

static void on_local(uv_poll_t *poll, int status, int events)
{
	struct loop *l = poll->data;

	if (status >= 0 && l->local->ops->woken(l->local) > 0) {
		add_registered(l);
		news_for_all(l);
	}
	set_timer(l);
}

static void on_peer(uv_poll_t *poll, int status, int events)
{
	struct live_peer *p = poll->data;

	if (status < 0)
		unwatch(&p->poll);
	else if (p->b->ops->woken(p->b) > 0)
		news_for(p);
	set_timer(p->loop);
}

static void on_signal(uv_poll_t *poll, int status, int events)
{
	struct loop *l = poll->data;
	struct signalfd_siginfo info;

	while (read(l->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGUSR1)
			all_now(l);
		else
			end(l, 0);
	}
	set_timer(l);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

static void loop_open(struct loop *l)
{
	uv_loop_init(&l->uv);
	uv_timer_init(&l->uv, &l->timer);
	l->timer.data = l;
	uv_poll_init(&l->uv, &l->signals, l->signal_fd);
	l->signals.data = l;
	uv_poll_start(&l->signals, UV_READABLE, on_signal);
	l->local_poll = watch(l, l->local, on_local, l);
}

static void loop_close(struct loop *l)
{
	struct live_peer *p, *next;

	for (p = l->peers; p; p = next) {
		next = p->next;
		close_peer(p);
		free(p->destination);
		free(p);
	}
	unwatch(&l->local_poll);
	uv_close((uv_handle_t *)&l->timer, NULL);
	uv_close((uv_handle_t *)&l->signals, NULL);
	uv_run(&l->uv, UV_RUN_DEFAULT);
	uv_loop_close(&l->uv);
	close(l->signal_fd);
}

int live_run(const struct live *o)
{
	struct loop l = {.o = o, .local = o->local, .signal_fd = open_signals()};

	if (l.signal_fd < 0)
		return l.signal_fd;
	loop_open(&l);
	for (size_t i = 0; i < o->n_peers; i++)
		add_peer(&l, o->peers[i]);
	add_registered(&l);
	set_timer(&l);
	if (!l.ending)
		uv_run(&l.uv, UV_RUN_DEFAULT);
	loop_close(&l);
	return l.err;
}
