/*
 * client.h - what a client does in the mount, apart from its socket.
 */
#ifndef MB_STORE_CLIENT_H
#define MB_STORE_CLIENT_H

#include "backends/store/store.h"

/* Makes the system call of a step beneath the directory `root`.  0, -errno, or MB_E_PROTOCOL for a
 * step without its paths.  One durable step. */
int store_step_do(int root, const struct store_step *s);

#endif
