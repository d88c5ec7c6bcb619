/*
 * rights.c - see rights.h.  capset(2) by its number: libcap is not asked for this one call.
 */
#include "tests/support/rights.h"
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DAC ((uint64_t)1 << CAP_DAC_OVERRIDE | (uint64_t)1 << CAP_DAC_READ_SEARCH)

/* Sets the effective capabilities to `*effective`, or only reads them; both halves of the kernel's pair. */
static uint64_t effective(const uint64_t *set)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];
	uint64_t had;

	if (syscall(SYS_capget, &head, data) < 0)
		abort();
	had = (uint64_t)data[1].effective << 32 | data[0].effective;
	if (!set)
		return had;
	data[0].effective = (uint32_t)*set;
	data[1].effective = (uint32_t)(*set >> 32);
	if (syscall(SYS_capset, &head, data) < 0)
		abort();
	return had;
}

struct rights rights_lay_down(void)
{
	struct rights r = {.had = effective(NULL)};

	effective(&(uint64_t){r.had & ~DAC});
	return r;
}

void rights_take_back(const struct rights *r)
{
	effective(&r->had);
}
