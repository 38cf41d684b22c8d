/* What creating and running a convolution share. */
#ifndef XK_CONV_INTERNAL_H
#define XK_CONV_INTERNAL_H

#include "conv.h"

struct xk_conv {
  struct xk_options o;
  const struct xk_isa *isa;
  struct xk_memory *memory;
  int bits_only;
  enum xk_unit unit;
  int border; /* whether there is padding at all */
  int sets;   /* of thresholds: 3 for an output of 2 bits, else 1 */
  float levels[XK_LEVELS];

  /* Set when it is created. */
  int words;     /* 32-bit words of an input pixel */
  int out_words; /* and of an output pixel */
  int blocks;    /* of XK_LANES output channels */
  int channels;  /* of all blocks: a multiple of XK_LANES */
  size_t block_bytes;
  uint8_t *weights; /* as `struct xk_window` has them, block by block */
  float *scale, *bias, *slope, *post_scale, *post_bias;
  int32_t *threshold;
  uint32_t *flip;    /* all words, zero where no bit is inverted; of an output of 2 bits one where the
                      * comparisons aren't */
  /* With zero padding [kernel_h + 1][kernel_w + 1][channels]: the sum of the weights of all taps above
   * and to the left of a place, so that four of them give the sum of any rectangle. */
  int32_t *corners;
  int32_t *byte_sums; /* of weights of bytes, negated, of a filter */
  int32_t *highest;   /* of inputs of 2 bits: a filter's largest sum */
  /* So many words of bytes, from the first one on and so forth, add up to sums that 16 bits hold,
   * where the first two bytes of all are added, and the last two: XK_CHUNK at most, and 0 if not even
   * one word does. */
  int pair_words;

  /* Set for an input size. */
  struct xk_shape in, out;
  int64_t padded_h, padded_w;
  int64_t plane_words; /* of the padded image's first bits, behind which the second ones are */
  int64_t *run_offset; /* [plane][run], the second bits first */
  int runs, run_words;
  /* With zero padding a window's sum depends on which of its taps lie in the image. Output rows and
   * columns with the same taps are of one class; the tables have a row for each pair. A pixel's
   * row begins at the sum of two parts. */
  size_t *row_part, *col_part;
  int32_t *base;  /* sum = base - (count << shift), with a shift of 1, of levels and bytes 0 */
  int32_t *limit; /* sum < threshold where count > limit; as many tables as sets of thresholds */
  size_t entries; /* of a table */
};


#endif
