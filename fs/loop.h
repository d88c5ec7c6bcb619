/*
 * loop.h - who reads the next request.
 *
 * A round trip to a file system in user space costs most where a thread has to be woken.  So one thread
 * LEADS: it reads a request, serves it and reads the next one; while they keep coming it looks for a
 * moment before it sleeps (LOOP_LOOK_NS), and when such looks were in vain it does not.
 *
 * Whoever is about to wait (for the disk, for a lock that is held for long) calls loop_give_way()
 * first: another thread leads then.  A DEPUTY looks now and then whether the leader has been with one
 * request for too long (LOOP_TICK_NS), and leads in its place.  Threads are made when they are
 * needed, up to a number that is given.  When nothing comes, all of them sleep.
 */
#ifndef MB_FS_LOOP_H
#define MB_FS_LOOP_H

#include <stdbool.h>

#define LOOP_LOOK_NS 50000
#define LOOP_TICK_NS 1000000

struct loop;

/* Where requests come from. */
struct loop_source {
	int fd; /* can be polled; does not block */
	/* One request into *buffer, which is the thread's and NULL at first.  Its length, -EAGAIN, or an
	 * error that ends the loop; 0 ends it as well. */
	int (*receive)(void **buffer, void *arg);
	void (*serve)(void *buffer, int len, void *arg);
	void (*release)(void *buffer); /* of a thread that ends; NULL is never given */
	void *arg;
};

/* Serves until the source ends or loop_end() is called, with `max` threads at most; the caller's is one of
 * them.  0, or the error that ended it.  Every request that was received has been served. */
int loop_run(struct loop *l);
struct loop *loop_new(const struct loop_source *source, unsigned max);
void loop_free(struct loop *l);
void loop_end(struct loop *l); /* from any thread; also before loop_run() */

/* The thread that serves a request may have to wait: another one leads.  Any other thread: nothing. */
void loop_give_way(void);

#endif
