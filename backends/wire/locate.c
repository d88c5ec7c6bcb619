/*
 * locate.c - see locate.h.
 */
#include "backends/wire/locate.h"

#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/net/command.h"
#include "backends/wire/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define EXEC "exec:"
#define SSH "ssh://"

bool wire_is_location(const char *destination)
{
	return strncmp(destination, EXEC, strlen(EXEC)) == 0 ||
	       strncmp(destination, SSH, strlen(SSH)) == 0;
}

static void end_command(void *arg)
{
	command_end(arg);
}

/* The program's own words are on stderr by now; how it ended says more than that the stream did. */
static int why(struct command *c, int err)
{
	int status = command_end(c);

	if (err != -ECONNRESET && err != -EPIPE)
		return err;
	if (WIFEXITED(status) && WEXITSTATUS(status))
		mb_msg(MB_WARNING, "the command ended with exit code %d before it said anything",
		       WEXITSTATUS(status));
	else if (WIFSIGNALED(status))
		mb_msg(MB_WARNING, "the command was ended by signal %d", WTERMSIG(status));
	return WIFEXITED(status) && WEXITSTATUS(status) == 127 ? -ENOENT : err;
}

static int start(char *const *words, const char *prefix, const char *destination,
		 struct backend **ret)
{
	struct command *c;
	int fd, err = command_start((const char *const *)words, prefix, &c, &fd);

	if (err < 0)
		return err;
	err = backend_open_wire(fd, fd, destination, ret);
	if (err < 0)
		return why(c, err);
	wire_on_close(*ret, end_command, c);
	return 0;
}

static int ssh_words(const char *text, char ***ret)
{
	const char *set = secure_getenv("MAILBRAID_SSH");
	char **own = command_split(set && *set ? set : "ssh"), **words, **all;
	size_t n = 0, m = 0;
	int err = own ? command_ssh(text, own[0], &words) : MB_E_USAGE;

	if (err < 0) {
		command_split_free(own);
		return err;
	}
	while (own[n])
		n++;
	while (words[m])
		m++;
	/* Its own words first, then those after the name of the program. */
	all = mb_xcalloc(n + m, sizeof(*all));
	memcpy(all, own, n * sizeof(*own));
	memcpy(all + n, words + 1, m * sizeof(*words));
	free(words[0]);
	free(words);
	free(own);
	*ret = all;
	return 0;
}

int wire_open_location(const char *destination, struct backend **ret)
{
	bool ssh = strncmp(destination, SSH, strlen(SSH)) == 0;
	char **words = NULL;
	int err = 0;

	if (ssh)
		err = ssh_words(destination + strlen(SSH), &words);
	else
		words = command_split(destination + strlen(EXEC));
	if (err >= 0)
		err = words ? start(words, ssh ? "ssh" : words[0], destination, ret) : MB_E_USAGE;
	command_split_free(words);
	return err;
}
