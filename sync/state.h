/*
 * state.h - state strings: a sync state as text, for callers that keep it themselves (sync -s).
 *
 * base64 of: "mbs2", replica id and position of side 0, replica id and position of side 1, hash of the
 * scope and of the mailboxes that it selected (all little endian, position_encode), checksum64 of what
 * precedes.  "mbs1" had no scope: it is of the default one.
 */
#ifndef MB_SYNC_STATE_H
#define MB_SYNC_STATE_H

#include "backends/mail/record.h"
#include <stdint.h>

#define STATE_TEXT_MAX 512 /* bytes of a state string; a longer one is not ours */

struct sync_state {
	uint64_t replica[2];
	struct position position[2];
	uint64_t scope, selected;
};

/* Owned text, one line without a line feed. */
char *sync_state_text(const struct sync_state *s);
/* 0; MB_E_FORMAT, MB_E_CHECKSUM, MB_E_VERSION for anything that sync_state_text() did not make. */
int sync_state_parse(const char *text, struct sync_state *ret);

#endif
