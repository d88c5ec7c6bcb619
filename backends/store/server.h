/*
 * server.h - the writer's socket, and the client of it.
 *
 * While a process is the writer (the daemon of a mount, or `mailbraid watch`), others submit their
 * changes at STORE/socket (0600, same uid or root by SO_PEERCRED).  Frames: u32 length (at most
 * 2 MiB), u8 verb, payload; answers: u32 length, i32 result, payload.  One request at a time on a
 * connection; requests may be pipelined.
 */
#ifndef MB_STORE_SERVER_H
#define MB_STORE_SERVER_H

#include "backends/base/buf.h"
#include "backends/store/store.h"
#include <signal.h>

/* Server: a thread of the writer.  `mount` is where the tree is mounted, or NULL for none; `counters`
 * (or NULL) appends what the mount counted, as str name, u64 number, …; called in the server's thread. */
struct store_server;
int store_server_start(struct store *s, const char *mount, void (*counters)(struct buf *out),
		       struct store_server **ret);
void store_server_stop(struct store_server *v);

/* Client. */
struct store_client;
/* -ECONNREFUSED, -ENOENT: nobody; MB_E_STOPPED, after some two seconds: see store_writer_stopped(). */
int store_client_connect(const char *store_dir, struct store_client **ret);
/* Is the process that listens stopped (SIGSTOP, a debugger)?  Its pid, 0: it is not, or there is none.  Never
 * waits for it. */
pid_t store_writer_stopped(const char *store_dir);
/* How long each client that connects from now on waits for an answer; then -ETIMEDOUT.  120 at first. */
void store_client_patience(unsigned seconds);
void store_client_close(struct store_client *c);
/* Mount point of the writer, "" when it has none.  Borrowed. */
const char *store_client_mount(const struct store_client *c);

/* As store_put(), in the writer.  With a mount and not `bulk`: the change is made by a system call
 * in the mount (see store_plan), repeated when it lost a race. */
int store_client_put(struct store_client *c, const struct record *want, const char *staged,
		     bool bulk);
/* Touches the directories that puts have changed in the mount in seconds before this one (touched.h).
 * Milliseconds until it should be called again; 0: nothing is left. */
int store_client_turn(struct store_client *c);
int store_client_flush(struct store_client *c);
int store_client_scan(struct store_client *c, bool full, struct scan_report *ret);
int store_client_checkpoint(struct store_client *c, int64_t keep_ns);
/* As store_expunge_lost(), in the writer. */
int store_client_expunge_lost(struct store_client *c, const struct guid *guid, uint64_t id,
			      uint64_t modseq);
/* As store_recheck(), in the writer. */
int store_client_recheck(struct store_client *c, const struct guid *guid, uint64_t id);
/* As store_learn(), in the writer; n is at most STORE_LEARN_MAX. */
int store_client_learn(struct store_client *c, const struct sent_digest *list, size_t n);
int store_client_digest(struct store_client *c, const struct guid *guid, uint64_t id,
			struct digest *ret);
int store_client_now(struct store_client *c, const struct stamp *seen, struct stamp *ret);
int store_client_allow_mass_expunge(struct store_client *c, bool allow);
/* Calls fn for each counter of the mount (name borrowed); none without a mount. */
int store_client_counters(struct store_client *c,
			  void (*fn)(const char *name, uint64_t n, void *arg), void *arg);

/*
 * store_open() as the writer, for one that stays: a program that writes for moments (a sync) is waited
 * for, `wait_s` seconds at most, which a notice says once.  MB_E_LOCKED: it has not come to an end,
 * or serves others, as a mount does.  A signal of `end`, which the caller has blocked, ends the waiting
 * with -EINTR.
 */
#define STORE_TURN_S 30
int store_open_in_turn(const char *dir, int wait_s, const sigset_t *end, struct store **ret);

/* Backing watch: a thread with inotify on every cur and new of the tree (and the tree's own
 * directories), so that changes made behind our back are scanned within milliseconds. */
struct store_watch;
int store_watch_start(struct store *s, struct store_watch **ret);
void store_watch_stop(struct store_watch *w);

#endif
