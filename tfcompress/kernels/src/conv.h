/* A convolution of signs: made once from a file's constants, sized for an input, then run. */
#ifndef XK_CONV_H
#define XK_CONV_H

#include "isa.h"
#include "options.h"
#include "threads.h"

enum xk_type { XK_F32, XK_I8, XK_BITS };

/* A file's constants, `out_channels` values each unless another size is said. They may stand at any
 * address, and are copied. */
struct xk_constants {
  const void *weights;   /* bits, 1 for -1, lowest first: [out][kernel_h][kernel_w][in] */
  size_t weights_bytes;  /* all bits, the last byte filled up */
  const void *scale;     /* float; these two are NULL where only bits come out by a threshold */
  const void *bias;      /* float */
  const void *slope;     /* float, of a PReLU */
  const void *threshold; /* int32: an output bit is 1 (-1) where the sum is below it */
  const void *flip;      /* uint32, a bit a channel: where the output bit is turned; NULL for none */
  const void *post_scale, *post_bias; /* float: what follows before the sign of a number */
};

/* A tensor of numbers or bits at run time. */
struct xk_values {
  enum xk_type type;
  void *data; /* NULL if there is none */
  float scale; /* of XK_I8 */
  int zero;
};

struct xk_shape {
  int64_t n, h, w;
};

struct xk_conv;

/* Copies and re-orders the constants. `bits_only`: nothing but bits by thresholds comes out. */
enum xk_status xk_conv_create(const struct xk_options *options, const struct xk_constants *constants,
                              const struct xk_isa *isa, int bits_only, struct xk_conv **conv);
void xk_conv_destroy(struct xk_conv *conv);

/* Fits the op to an input of this size, and says the output's. May be called again. */
enum xk_status xk_conv_resize(struct xk_conv *conv, struct xk_shape input, struct xk_shape *output);

/* Runs the op as it was sized last. Of an output, numbers, bits or both are wanted: what isn't, has
 * no data. `residual` has the output's shape. All data lie at multiples of their elements' sizes. */
void xk_conv_run(struct xk_conv *conv, const struct xk_values *input,
                 const struct xk_values *residual, const struct xk_values *output, uint32_t *bits,
                 struct xk_pool *pool, int threads);

#endif
