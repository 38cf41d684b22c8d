/* A convolution of signs: created once from a file's constants, sized for an input, then run. */
#ifndef XK_CONV_H
#define XK_CONV_H

#include "isa.h"
#include "memory.h"
#include "options.h"
#include "threads.h"

enum xk_type { XK_F32, XK_I8, XK_BITS, XK_U8 };

/* A file's constants, each of `out_channels` values unless another size is given. They may stand at
 * any address and are copied. */
struct xk_constants {
  enum xk_unit unit;     /* what inputs and weights are */
  const void *weights;   /* [out][kernel_h][kernel_w][in]: bits, 1 for -1, lowest first; or int8 */
  size_t weights_bytes;  /* of bits all, the last byte filled up */
  const void *scale;     /* float; this and bias are NULL if the only output is bits */
  const void *bias;      /* float */
  const void *slope;     /* float, of a PReLU */
  const void *threshold; /* int32: an output bit is 1 (-1) where the sum is below it. Of an output of
                          * 2 bits there are three for each channel, first all channels' first ones: a
                          * level is how many of them the sum isn't below */
  const void *flip;      /* uint32, a bit a channel: 1 inverts the output bit, or the comparisons of
                          * which levels are made; NULL for none */
  const void *levels;    /* float, 3 in all: where levels of numbers begin; NULL if there are none */
  const void *post_scale, *post_bias; /* float: applied to a number before its sign is taken */
};

/* A tensor of numbers or bits at run time. */
struct xk_values {
  enum xk_type type;
  void *data; /* NULL if there is none */
  float scale; /* of XK_I8 and XK_U8 */
  int zero;
};

struct xk_shape {
  int64_t n, h, w;
};

struct xk_conv;

/* Copies and re-orders the constants. `bits_only`: the only output is bits by thresholds. `memory`:
 * where all of the op's memory is counted; NULL to count nothing. */
enum xk_status xk_conv_create(const struct xk_options *options, const struct xk_constants *constants,
                              const struct xk_isa *isa, int bits_only, struct xk_memory *memory,
                              struct xk_conv **conv);
void xk_conv_destroy(struct xk_conv *conv);

/* Sizes the op for an input and finds the output's size. May be called again. `zero`: of an input of
 * bytes, what stands for 0 and pads the image. */
enum xk_status xk_conv_resize(struct xk_conv *conv, struct xk_shape input, int zero,
                              struct xk_shape *output);

/* Returns how many bytes of scratch the op needs for the size that was set last: none if its input's
 * bits can be read where they are. */
uint64_t xk_conv_scratch(const struct xk_conv *conv, enum xk_type input);

/* Runs the op for the size that was set last. It writes numbers, bits, or both: what isn't wanted
 * has no data. `residual` has the output's shape. All data are aligned to their elements' sizes, and
 * `scratch` to 64 bytes. */
void xk_conv_run(struct xk_conv *conv, const struct xk_values *input,
                 const struct xk_values *residual, const struct xk_values *output, uint32_t *bits,
                 uint32_t *scratch, struct xk_pool *pool, int threads);

#endif
