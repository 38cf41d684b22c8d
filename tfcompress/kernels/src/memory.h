/* Memory for arrays whose sizes come from a file. */
#ifndef XK_MEMORY_H
#define XK_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* `count` elements of `size` bytes, all zero, at a multiple of 64; NULL if there is no memory or
 * the product is above 2 GiB. At least one byte. */
void *xk_zeroed(uint64_t count, uint64_t size);

void xk_free(void *memory);

#endif
