/* Memory for arrays whose sizes come from a file. */
#ifndef XK_MEMORY_H
#define XK_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* Returns `count` elements of `size` bytes, all zero, aligned to 64 bytes; at least one byte. NULL
 * if there is no memory or the product is above 2 GiB. */
void *xk_zeroed(uint64_t count, uint64_t size);

void xk_free(void *memory);

#endif
