/*
 * locate.h - a mailbraid elsewhere, by what the user calls it.
 */
#ifndef MB_WIRE_LOCATE_H
#define MB_WIRE_LOCATE_H

#include "backends/backend.h"
#include <stdbool.h>

/* "exec:COMMAND" or "ssh://…". */
bool wire_is_location(const char *destination);
/* MB_E_USAGE: the words make no sense; -ENOENT: no such program; else as backend_open_wire(), and MB_E_PROTOCOL
 * also when the program ended without a word of ours.  $MAILBRAID_SSH is used instead of ssh (its words as in
 * exec:). */
int wire_open_location(const char *destination, struct backend **ret);

#endif
