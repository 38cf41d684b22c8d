#include "bit_pool.h"

enum xk_status xk_bit_pool_size(const struct xk_options *o, struct xk_shape in,
                                struct xk_shape *out) {
  const int64_t most = INT32_MAX;
  if (o->dilation_h != 1 || o->dilation_w != 1 || o->in_channels != o->out_channels ||
      o->in_bits != o->out_bits ||
      o->pad_top >= o->kernel_h || o->pad_bottom >= o->kernel_h || o->pad_left >= o->kernel_w ||
      o->pad_right >= o->kernel_w) {
    return XK_BAD_OPTIONS;
  }
  if (in.n < 1 || in.h < 1 || in.w < 1) return XK_BAD_INPUT;
  if (in.n > most || in.h > most || in.w > most) return XK_TOO_LARGE;
  const int64_t h = in.h + o->pad_top + o->pad_bottom - o->kernel_h;
  const int64_t w = in.w + o->pad_left + o->pad_right - o->kernel_w;
  if (h < 0 || w < 0) return XK_BAD_INPUT;
  *out = (struct xk_shape){in.n, h / o->stride_h + 1, w / o->stride_w + 1};
  const int64_t words = (o->in_channels + 31) / 32 * (int64_t)o->in_bits;
  if (in.w > most / words || in.h > most / (in.w * words) || in.n > most / (in.h * in.w * words) ||
      out->w > most / words || out->h > most / (out->w * words) ||
      in.n > most / (out->h * out->w * words)) {
    return XK_TOO_LARGE;
  }
  /* The last window begins in the image: the first one does, as no padding is a whole window. */
  if ((out->h - 1) * o->stride_h - o->pad_top >= in.h ||
      (out->w - 1) * o->stride_w - o->pad_left >= in.w) {
    return XK_BAD_OPTIONS;
  }
  return XK_OK;
}

struct span {
  int64_t first, end;
};

static struct span span_of(int64_t out, int stride, int pad, int kernel, int64_t size) {
  int64_t first = out * stride - pad, end = first + kernel;
  return (struct span){first < 0 ? 0 : first, end > size ? size : end};
}

/* Pools 2x2 pixels, the usual window, whose words begin at `above` and `below`. */
static void pool_four(const uint32_t *above, const uint32_t *below, const uint32_t *flip,
                      int64_t words, uint32_t *to) {
  for (int64_t k = 0; k < words; k++) {
    const uint32_t turned = flip != NULL ? flip[k] : 0;
    const uint32_t upper = (above[k] ^ turned) & (above[k + words] ^ turned);
    const uint32_t lower = (below[k] ^ turned) & (below[k + words] ^ turned);
    to[k] = (upper & lower) ^ turned;
  }
}

/* A word of both planes of levels. */
struct level_word {
  uint32_t first, second;
};

/* Returns the larger of two levels in each place. */
static struct level_word larger(struct level_word a, struct level_word b) {
  return (struct level_word){(a.first & (a.second | ~b.second)) | (b.first & (b.second | ~a.second)),
                             a.second | b.second};
}

/* Returns the largest level in a part of an image. The smallest of inverted levels, whose bits are
 * inverted, is the largest. */
static struct level_word largest(const uint32_t *image, int64_t width, int64_t words, int64_t plane,
                                 struct span rows, struct span cols, uint32_t turned) {
  struct level_word most = {0, 0};
  for (int64_t i = rows.first; i < rows.end; i++) {
    for (int64_t j = cols.first; j < cols.end; j++) {
      const uint32_t *at = image + (i * width + j) * words;
      most = larger(most, (struct level_word){at[0] ^ turned, at[plane] ^ turned});
    }
  }
  return (struct level_word){most.first ^ turned, most.second ^ turned};
}

/* Pools levels; see `xk_bit_pool_run`. */
static void pool_levels(const struct xk_options *o, struct xk_shape in, struct xk_shape out,
                        const uint32_t *flip, const uint32_t *from, uint32_t *to) {
  const int64_t words = (o->in_channels + 31) / 32, plane = in.n * in.h * in.w * words;
  const int64_t out_plane = out.n * out.h * out.w * words;
  for (int64_t row = 0; row < out.n * out.h; row++) {
    const uint32_t *image = from + row / out.h * in.h * in.w * words;
    struct span rows = span_of(row % out.h, o->stride_h, o->pad_top, o->kernel_h, in.h);
    for (int64_t x = 0; x < out.w; x++, to += words) {
      struct span cols = span_of(x, o->stride_w, o->pad_left, o->kernel_w, in.w);
      for (int64_t k = 0; k < words; k++) {
        const struct level_word most =
            largest(image + k, in.w, words, plane, rows, cols, flip != NULL ? flip[k] : 0);
        to[k] = most.first;
        to[out_plane + k] = most.second;
      }
    }
  }
}

void xk_bit_pool_run(const struct xk_options *o, struct xk_shape in, struct xk_shape out,
                     const uint32_t *flip, const uint32_t *from, uint32_t *to) {
  const int64_t words = (o->in_channels + 31) / 32;
  if (o->in_bits == 2) {
    pool_levels(o, in, out, flip, from, to);
    return;
  }
  for (int64_t n = 0; n < out.n; n++) {
    const uint32_t *image = from + n * in.h * in.w * words;
    for (int64_t y = 0; y < out.h; y++) {
      struct span rows = span_of(y, o->stride_h, o->pad_top, o->kernel_h, in.h);
      for (int64_t x = 0; x < out.w; x++, to += words) {
        struct span cols = span_of(x, o->stride_w, o->pad_left, o->kernel_w, in.w);
        if (rows.end - rows.first == 2 && cols.end - cols.first == 2) {
          const uint32_t *above = image + (rows.first * in.w + cols.first) * words;
          pool_four(above, above + in.w * words, flip, words, to);
          continue;
        }
        for (int64_t k = 0; k < words; k++) {
          const uint32_t turned = flip != NULL ? flip[k] : 0;
          uint32_t all = UINT32_MAX;
          for (int64_t i = rows.first; i < rows.end; i++) {
            for (int64_t j = cols.first; j < cols.end; j++) {
              all &= image[(i * in.w + j) * words + k] ^ turned;
            }
          }
          to[k] = all ^ turned;
        }
      }
    }
  }
}
