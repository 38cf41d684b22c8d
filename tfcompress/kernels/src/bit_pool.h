/* Max pooling of bits: +1 where one of the window's signs is. */
#ifndef XK_BIT_POOL_H
#define XK_BIT_POOL_H

#include "conv.h"

/* The output's size. Windows reach into the padding of the options, but padding is never the
 * largest, and every window must meet the image. Dilations must be 1, channels equal. */
enum xk_status xk_bit_pool_size(const struct xk_options *options, struct xk_shape in,
                                struct xk_shape *out);

/* `flip`: words of a pixel; channels with a bit take the smallest sign instead. NULL for none. */
void xk_bit_pool_run(const struct xk_options *options, struct xk_shape in, struct xk_shape out,
                     const uint32_t *flip, const uint32_t *from, uint32_t *to);

#endif
