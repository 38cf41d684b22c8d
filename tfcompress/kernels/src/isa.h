/* What each kernel does its own way: counting, packing, and what follows a sum. */
#ifndef XK_ISA_H
#define XK_ISA_H

#include <stddef.h>
#include <stdint.h>

/* XK_LANES: output channels side by side in a block of weights. XK_PIXELS: the most pixels that
 * share one pass over it. Six pixels by 64 channels are 24 registers of 16 sums, which leaves 8 of
 * AVX-512's 32. */
enum { XK_LANES = 64, XK_PIXELS = 6 };

/* A tile: pixels that a kernel may count together, block by block. XK_TILE: the most of them, whose
 * counts take 27 KiB. XK_FEWEST: the fewest that are worth it. XK_TILE_WORDS: the most words of a
 * window, whose count 16 bits hold. */
enum { XK_TILE = 36 * XK_PIXELS, XK_FEWEST = 32, XK_TILE_WORDS = 2047 };

/* Words of bytes that a kernel may take together; see `pair_words` of `struct xk_conv`. */
enum { XK_CHUNK = 32 };

/* What a word of an input pixel holds: 32 bits, whose differences from the weights' are counted; or
 * 4 unsigned bytes, whose products with the weights, signed bytes, are added up. A count is either.
 * Of bytes it may be negative: a count's 32 bits are those of a signed integer then.
 *
 * Values of 2 bits, the levels 0 to 3, lie in two planes: the image of all first bits, and behind it
 * that of all second ones, which count twice. Weights meet both. */
enum xk_unit { XK_SIGNS, XK_BYTES };

/* A block's work at a few output pixels.
 *
 * A window is `runs` stretches of `run_words` words; stretch r begins at `pixel[p] + run_offset[r]`.
 * Of two planes there are as many stretches of the second bits, and then of the first ones: what is
 * counted of the former is doubled before the latter are counted.
 * `weights` holds the block's weights in the order of those words: for each unit (4 bytes of
 * channels, or 1; see `struct xk_isa`) those of XK_LANES output channels side by side. Weights of
 * bytes are negated, so that more of either count means a smaller sum. */
struct xk_window {
  const uint32_t *pixel[XK_PIXELS];
  int pixels;
  const uint8_t *weights;
  int lanes; /* how many of the block's channels are needed: 16, 32, 48 or 64 */
  const int64_t *run_offset;
  int runs;
  int run_words;
  int planes; /* 1 or 2 */
  enum xk_unit unit;
  int pair_words; /* see `struct xk_conv` */
  const uint16_t (*counted)[XK_LANES]; /* what `count_tile` made of these pixels, or NULL */
};

/* How an op's numbers are made of its sums:
 * y = act((base - (count << shift)) * scale + bias) + residual, rounded after each step: a sign that
 * differs takes 2 off the sum, so the shift is 1, and 0 of levels and bytes. Arrays begin at
 * the block's first channel; those of channels are as long as a block. */
struct xk_affine {
  const float *scale, *bias;
  const float *slope; /* PReLU's, or NULL */
  int relu;
  int shift;
  int add_first; /* the residual before the activation */
  int channels;  /* how many of the block's are written */
  const int32_t *base[XK_PIXELS];
  const float *residual[XK_PIXELS]; /* each NULL if there is none */
  float *y[XK_PIXELS];
};

/* What counts are compared with: `of[pixel][lane]`, and so many more sets of them, each `step` behind
 * the one before. */
struct xk_limits {
  const int32_t *of[XK_PIXELS];
  int count; /* 1, or 3 where levels are written */
  size_t step;
};

struct xk_isa {
  const char *name;
  int unit_bytes; /* 4 or 1 */
  int byte_unit_bytes; /* the same for weights of bytes */

  /* Counts at a tile's pixels, in an order of channels that this kernel's `numbers` and `compare`
   * know; the window's own pixels don't matter. NULL in a kernel that gains nothing by it. */
  void (*count_tile)(const struct xk_window *window, const uint32_t *const *pixel, int pixels,
                     uint16_t (*counted)[XK_LANES]);

  /* Counts where signs differ, and writes the numbers that follow. */
  void (*numbers)(const struct xk_window *window, const struct xk_affine *affine);

  /* Counts and compares: bit l of bits[set][pixel] says whether the count exceeds that set's limit.
   * Lanes beyond `window->lanes` are 0. */
  void (*compare)(const struct xk_window *window, const struct xk_limits *limits,
                  uint64_t (*bits)[XK_PIXELS]);

  /* Packs `count` numbers as bits, 1 for what isn't at least `least`, or `zero`; the last word's rest
   * is 0. */
  void (*pack_f32)(const float *values, size_t count, float least, uint32_t *words);
  void (*pack_i8)(const int8_t *values, size_t count, int zero, uint32_t *words);
};

extern const struct xk_isa xk_portable;
#if defined(__x86_64__) || defined(_M_X64)
#define XK_X86 1
extern const struct xk_isa xk_avx2;
extern const struct xk_isa xk_avx512;
#endif
#if defined(__aarch64__)
#define XK_ARM 1
extern const struct xk_isa xk_neon;
#endif

/* Returns the kernel of this name, or for NULL the fastest that this processor runs; NULL if there
 * is none. The name is an option's value, or that of TFCOMPRESS_KERNEL in the environment. */
const struct xk_isa *xk_isa_named(const char *name);

/* Returns the name of a kernel that this processor runs, fastest first; NULL after the last. */
const char *xk_isa_name(int index);

#endif
