/*
 * command.c - see command.h.
 *
 * Threads: one for each command reads its standard error until that ends.
 */
#include "backends/net/command.h"

#include "backends/base/buf.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GRACE_NS INT64_C(1000000000)
#define LINE_MAX_BYTES 1000
#define LAST_WORDS_MAX 65536 /* of its children that go on when it has ended */

struct command {
	pid_t pid;
	char *prefix;	  /* owned */
	int err[2];	  /* its standard error: read here, written there */
	int quit[2];	  /* closed when nobody wants to read any more */
	pthread_t reader; /* of err[0] */
};

/* ---- what it says ---------------------------------------------------------------------------- */

static void say(const struct command *c, struct buf *line)
{
	if (line->len)
		mb_msg(MB_NOTICE, "%s: %s", c->prefix, buf_cstr(line));
	buf_reset(line);
}

/* A line that has no end is given in pieces. */
static void take_bytes(const struct command *c, struct buf *line, const char *data, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (data[i] == '\n' || data[i] == '\r' || line->len >= LINE_MAX_BYTES)
			say(c, line);
		if (data[i] != '\n' && data[i] != '\r')
			buf_put_u8(line, data[i] ? (uint8_t)data[i] : '?');
	}
}

/* What its children keep open (ssh's master, for one), or never cease to say, does not keep us. */
static void *read_errors(void *arg)
{
	const struct command *c = arg;
	struct pollfd p[2] = {{.fd = c->err[0], .events = POLLIN}, {.fd = c->quit[0]}};
	BUF_AUTO struct buf line = BUF_INIT;
	char data[4096];
	size_t last = LAST_WORDS_MAX;
	ssize_t n = 1;

	while (n > 0 && last) {
		if (poll(p, 2, -1) < 0)
			continue;
		if (!p[0].revents)
			break;
		n = read(c->err[0], data, sizeof(data));
		if (p[1].revents)
			last -= n > 0 && (size_t)n < last ? (size_t)n : last;
		take_bytes(c, &line, data, n > 0 ? (size_t)n : 0);
	}
	say(c, &line);
	return NULL;
}

/* ---- its life -------------------------------------------------------------------------------- */

extern char **environ;

static int spawn(struct command *c, const char *const argv[], int socket)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t none, defaults;

	sigemptyset(&none);
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	posix_spawn_file_actions_init(&fa);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &defaults);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawn_file_actions_adddup2(&fa, socket, 0);
	posix_spawn_file_actions_adddup2(&fa, socket, 1);
	posix_spawn_file_actions_adddup2(&fa, c->err[1], 2);
	int err =
		posix_spawnp(&c->pid, argv[0], &fa, &attr, (char *const *)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&attr);
	return -err;
}

static void close_pair(int fds[2])
{
	for (int i = 0; i < 2; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

static void command_free(struct command *c)
{
	close_pair(c->err);
	close_pair(c->quit);
	free(c->prefix);
	free(c);
}

int command_start(const char *const argv[], const char *prefix, struct command **ret, int *ret_fd)
{
	struct command *c = mb_xcalloc(1, sizeof(*c));
	int fds[2] = {-1, -1}, err = 0;

	*c = (struct command){.prefix = mb_xstrdup(prefix), .err = {-1, -1}, .quit = {-1, -1}};
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 ||
	    pipe2(c->err, O_CLOEXEC) < 0 || pipe2(c->quit, O_CLOEXEC) < 0)
		err = -errno;
	if (!err)
		err = spawn(c, argv, fds[1]);
	if (!err)
		err = -pthread_create(&c->reader, NULL, read_errors, c);
	if (err) {
		close_pair(fds);
		if (c->pid) {
			kill(c->pid, SIGKILL);
			waitpid(c->pid, NULL, 0);
		}
		command_free(c);
		return err;
	}
	close(MB_TAKE_FD(c->err[1]));
	close(fds[1]);
	*ret = c;
	*ret_fd = fds[0];
	return 0;
}

/* true when it has ended by then. */
static bool wait_until(pid_t pid, int64_t until_ns, int *ret_status)
{
	const struct timespec pause = {.tv_nsec = 5000000};

	for (;;) {
		pid_t got = waitpid(pid, ret_status, WNOHANG);
		if (got == pid || (got < 0 && errno != EINTR))
			return true;
		if (clock_mono_ns() >= until_ns)
			return false;
		nanosleep(&pause, NULL);
	}
}

int command_end(struct command *c)
{
	int status = 0;

	if (!wait_until(c->pid, clock_mono_ns() + GRACE_NS, &status)) {
		kill(c->pid, SIGTERM);
		kill(c->pid, SIGCONT);
		if (!wait_until(c->pid, clock_mono_ns() + GRACE_NS, &status)) {
			kill(c->pid, SIGKILL);
			while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
				;
		}
	}
	close(MB_TAKE_FD(c->quit[1]));
	pthread_join(c->reader, NULL);
	command_free(c);
	return status;
}

/* ---- words ----------------------------------------------------------------------------------- */

void command_split_free(char **words)
{
	for (size_t i = 0; words && words[i]; i++)
		free(words[i]);
	free(words);
}

/* Appends one word that begins at `s`; where it ends, or NULL when a quote does not. */
static const char *take_word(const char *s, struct buf *out)
{
	char quote = 0;

	for (; *s && (quote || !strchr(" \t\n", *s)); s++) {
		if (*s == quote) {
			quote = 0;
		} else if (!quote && (*s == '\'' || *s == '"')) {
			quote = *s;
		} else if (*s == '\\' && quote != '\'' && (!quote || s[1] == '"' || s[1] == '\\')) {
			if (!*++s)
				return NULL;
			buf_put_u8(out, (uint8_t)*s);
		} else {
			buf_put_u8(out, (uint8_t)*s);
		}
	}
	return quote ? NULL : s;
}

char **command_split(const char *text)
{
	char **words = NULL;
	size_t n = 0, cap = 0;

	for (text += strspn(text, " \t\n"); text && *text;) {
		BUF_AUTO struct buf word = BUF_INIT;
		text = take_word(text, &word);
		if (!text)
			break;
		MB_GROW(words, cap, n + 2);
		words[n++] = mb_xstrdup(buf_cstr(&word));
		words[n] = NULL;
		text += strspn(text, " \t\n");
	}
	if (text)
		return words;
	command_split_free(words);
	return NULL;
}

/* ---- ssh ------------------------------------------------------------------------------------- */

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

/* Nothing that a shell, ssh's configuration (%h, %r in ProxyCommand) or an option begins with. */
static bool is_name(const char *s, const char *others)
{
	char allowed[100];

	snprintf(allowed, sizeof(allowed), "%s%s", LETTERS, others);
	return *s && *s != '-' && strlen(s) <= 255 && !s[strspn(s, allowed)];
}

static bool is_port(const char *s)
{
	return strlen(s) <= 5 && *s && !s[strspn(s, "0123456789")] && atoi(s) > 0 &&
	       atoi(s) <= 65535;
}

/* sshd gives the command to the user's shell there: one word of it, in sh, csh and fish alike, where ! and \
 * may mean something between quotes. */
static char *quoted(const char *path)
{
	BUF_AUTO struct buf b = BUF_INIT;

	buf_put_u8(&b, '\'');
	for (; *path; path++) {
		if (strchr("'\\!", *path))
			buf_printf(&b, "'\\%c'", *path);
		else
			buf_put_u8(&b, (uint8_t)*path);
	}
	buf_put_u8(&b, '\'');
	return mb_xstrdup(buf_cstr(&b));
}

/* The host in brackets is an IPv6 address.  Cuts `where`, which it points into. */
static bool take_place(char *where, char **ret_user, char **ret_host, char **ret_port)
{
	char *at = strrchr(where, '@'), *host = at ? at + 1 : where, *port;

	*ret_user = at ? where : NULL;
	if (at)
		*at = '\0';
	if (*host == '[') {
		port = strchr(host, ']');
		if (!port || (port[1] && port[1] != ':'))
			return false;
		*port++ = '\0';
		host++;
		*ret_port = *port ? port + 1 : NULL;
		*ret_host = host;
		return is_name(host, ".:") && strchr(host, ':');
	}
	port = strchr(host, ':');
	if (port)
		*port++ = '\0';
	*ret_port = port;
	*ret_host = host;
	return is_name(host, "._-");
}

static void add_word(char ***words, size_t *n, size_t *cap, const char *word)
{
	MB_GROW(*words, *cap, *n + 2);
	(*words)[(*n)++] = mb_xstrdup(word);
	(*words)[*n] = NULL;
}

int command_ssh(const char *text, const char *ssh, char ***ret)
{
	MB_AUTO_FREE char *where = mb_xstrdup(text);
	char *slash = strchr(where, '/'), *user, *host, *port;
	char **words = NULL;
	size_t n = 0, cap = 0;

	if (!slash)
		return MB_E_USAGE;
	const char *path = text + (slash - where);
	*slash = '\0';
	if (!take_place(where, &user, &host, &port) || (user && !is_name(user, "._-+")) ||
	    (port && !is_port(port)))
		return MB_E_USAGE;
	if (strncmp(path, "/~/", 3) == 0)
		path += 3;
	for (const char *p = path; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return MB_E_USAGE;
	if (!*path || strcmp(path, "/") == 0 || *path == '-')
		return MB_E_USAGE;
	MB_AUTO_FREE char *word = quoted(path);
	add_word(&words, &n, &cap, ssh);
	if (port) {
		add_word(&words, &n, &cap, "-p");
		add_word(&words, &n, &cap, port);
	}
	if (user) {
		add_word(&words, &n, &cap, "-l");
		add_word(&words, &n, &cap, user);
	}
	add_word(&words, &n, &cap, "-T");
	add_word(&words, &n, &cap, "--");
	add_word(&words, &n, &cap, host);
	add_word(&words, &n, &cap, "mailbraid");
	add_word(&words, &n, &cap, "--store");
	add_word(&words, &n, &cap, word);
	add_word(&words, &n, &cap, "serve");
	*ret = words;
	return 0;
}
