/*
 * command.h - a channel that is a program: its standard input and output are one socket, of which this
 * process has the other end; what it says on its standard error is passed on, line by line, with a prefix.
 *
 * A program is run by its argument vector, never by a shell.  It ends with the channel: first it sees the
 * end of its input, after a second SIGTERM, then SIGKILL; it is always waited for, by its process id.  When
 * this process dies, its end of the socket closes and the program sees that.
 */
#ifndef MB_NET_COMMAND_H
#define MB_NET_COMMAND_H

struct command;

/* argv[0] is looked for in PATH.  *ret_fd is this end, the caller's to close, before command_end().
 * -ENOENT and the like: it cannot be run. */
int command_start(const char *const argv[], const char *prefix, struct command **ret, int *ret_fd);
/* Waits until it has ended, which it is made to do if need be, frees `c`.  The status as waitpid() gives it. */
int command_end(struct command *c);

/*
 * Words of a command line as a shell would split them, without any of its expansions: blanks separate,
 * '…' and "…" hold together, a backslash takes the next character as it is (in "…" only before " and \).
 * Owned, NULL at the end, or NULL: no word, or a quote that does not end.
 */
char **command_split(const char *text);
void command_split_free(char **words);

/*
 * "user@host[:port]/path" (what follows ssh://) as the words of an ssh command that starts the responder for
 * that store there.  "/~/path" and "/path" are as in git: below the home directory, and from the root.
 * `ssh`: the program.  MB_E_USAGE: no host or no path, or a name with a character that does not belong into
 * one or that begins with a dash (CVE-2017-1000117, CVE-2023-51385).
 */
int command_ssh(const char *text, const char *ssh, char ***ret);

#endif
