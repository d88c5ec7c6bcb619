/*
 * mem.h - memory: cleanup attributes, take, small allocations that abort.
 *
 * Sizes that come from outside are bounded before they reach these functions; running out of memory
 * for a small allocation ends the process, which equals a SIGKILL: nothing is lost.
 */
#ifndef MB_BASE_MEM_H
#define MB_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

/* Says so and ends the process. */
void mb_out_of_memory(void) __attribute__((noreturn));
/* Never return NULL; size 0 gives a valid pointer.  xrealloc of NULL allocates. */
void *mb_xmalloc(size_t size);
void *mb_xcalloc(size_t count, size_t size);
void *mb_xrealloc(void *p, size_t size);
void *mb_xreallocarray(void *p, size_t count, size_t size);
char *mb_xstrdup(const char *s);
char *mb_xstrndup(const char *s, size_t len);
void *mb_xmemdup(const void *p, size_t len);
char *mb_xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Hands a pointer or fd over: gives its value and forgets it, so that cleanup does nothing. */
#define MB_TAKE(p)                                                                                 \
	__extension__({                                                                            \
		__auto_type mb_take_ = (p);                                                        \
		(p) = NULL;                                                                        \
		mb_take_;                                                                          \
	})
#define MB_TAKE_FD(fd)                                                                             \
	__extension__({                                                                            \
		int mb_take_ = (fd);                                                               \
		(fd) = -1;                                                                         \
		mb_take_;                                                                          \
	})

static inline void mb_cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void mb_cleanup_close(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define MB_AUTO_FREE __attribute__((cleanup(mb_cleanup_free)))
#define MB_AUTO_CLOSE __attribute__((cleanup(mb_cleanup_close)))

/* Grows *items (capacity *cap, element size `size`) so that `need` elements fit. */
#define MB_GROW(items, cap, need)                                                                  \
	do {                                                                                       \
		if ((need) > (cap)) {                                                              \
			size_t mb_cap_ = (cap) ? (cap)*2 : 8;                                      \
			if (mb_cap_ < (need))                                                      \
				mb_cap_ = (need);                                                  \
			(items) = mb_xreallocarray((items), mb_cap_, sizeof(*(items)));            \
			(cap) = mb_cap_;                                                           \
		}                                                                                  \
	} while (0)

#endif
