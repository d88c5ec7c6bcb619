/*
 * ops.h - between what is put (put.c) and what is done in the files (ops.c).
 */
#ifndef MB_MAILDIR_OPS_H
#define MB_MAILDIR_OPS_H

#include "backends/maildir/maildir.h"

/* Writes a body to the tmp of f->box, checked and durable (or flushed with its batch), and learns
 * what the map keeps of it.  *ret_tmp: its name there, owned. */
int md_stage(struct maildir *m, struct md_file *f, const struct copy *c, int body, char **ret_tmp);

/* Takes op over.  1, or the error of a batch that was full and could not be begun. */
int md_queue(struct maildir *m, struct md_op op);
void md_op_release(struct md_op *op);

#endif
