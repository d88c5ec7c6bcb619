/*
 * store-dovecot.c - a store whose INBOX a Dovecot numbers: see store-dir.h.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"

uint32_t store_uid(struct store_dir *d, const char *name)
{
	struct entry e = {0};

	store_find(d, name, &e);
	uint32_t uid = e.copy.place.uid;
	entry_release(&e);
	return uid;
}

void store_write_uidlist(struct store_dir *d, const char *text)
{
	outside_write(d, "dovecot-uidlist.tmp", text);
	assert_int_equal(store_move(d, "dovecot-uidlist.tmp", "dovecot-uidlist"), 0);
}
