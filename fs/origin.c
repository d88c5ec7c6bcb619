/*
 * origin.c - the program that makes a request: process id and name, from /proc, remembered for a
 * fifth of a second so that a run of requests reads it once.
 *
 * Lock: one for the small table, innermost; /proc is read without it.
 */
#include "backends/base/clock.h"
#include "fs/fs.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLOTS 64
#define LIFE_NS 200000000ll

struct program {
	pid_t tid;
	uint32_t pid;
	char comm[REC_COMM_MAX + 1];
	int64_t until_ns;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct program table[SLOTS];

static void set_comm(struct program *p, const char *text)
{
	size_t i = 0;

	for (; i < REC_COMM_MAX && text[i] && text[i] != '\n'; i++)
		p->comm[i] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
	p->comm[i] = '\0';
}

/* The kernel gives the thread; the process is its Tgid. */
static void read_program(struct program *p)
{
	char path[64], text[1024];
	const char *at;
	ssize_t n;
	int fd;

	p->pid = (uint32_t)p->tid;
	p->comm[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%d/status", (int)p->tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	if (strncmp(text, "Name:\t", 6) == 0)
		set_comm(p, text + 6);
	at = strstr(text, "\nTgid:\t");
	if (at)
		p->pid = (uint32_t)strtoul(at + 7, NULL, 10);
}

void origin_of(struct mailfs *fs, fuse_req_t req, struct origin *ret)
{
	pid_t tid = fuse_req_ctx(req)->pid;
	struct program *slot = &table[(unsigned)tid % SLOTS];
	int64_t now = clock_mono_ns();
	struct program p = {.tid = tid};
	bool known;

	pthread_mutex_lock(&lock);
	known = slot->tid == tid && slot->until_ns > now;
	if (known)
		p = *slot;
	pthread_mutex_unlock(&lock);
	if (!known && tid) {
		read_program(&p);
		p.until_ns = now + LIFE_NS;
		pthread_mutex_lock(&lock);
		*slot = p;
		pthread_mutex_unlock(&lock);
	}
	*ret = (struct origin){.replica = store_replica(fs->store), .pid = p.pid};
	memcpy(ret->comm, p.comm, sizeof(ret->comm));
}
