/* Max pooling of bits: an output is +1 if one of its window's signs is; or of levels, the largest. */
#ifndef XK_BIT_POOL_H
#define XK_BIT_POOL_H

#include "conv.h"

/* Finds the output's size. Windows may reach into the padding, which never is the largest, but each
 * must meet the image. Dilations must be 1, and input and output have as many channels. */
enum xk_status xk_bit_pool_size(const struct xk_options *options, struct xk_shape in,
                                struct xk_shape *out);

/* Pools bits, or levels. `flip` has the words of a pixel: channels whose bit is 1 take the smallest
 * sign or level instead. NULL for none. */
void xk_bit_pool_run(const struct xk_options *options, struct xk_shape in, struct xk_shape out,
                     const uint32_t *flip, const uint32_t *from, uint32_t *to);

#endif
