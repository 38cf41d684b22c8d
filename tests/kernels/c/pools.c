/* Random max poolings of signs and levels, against loops over single values. */
#include "bit_pool.h"

#include <stdlib.h>

#include "checks.h"

/* Words of a tensor's pixels; of levels a plane of first bits, and behind it one of second ones. */
struct image {
  struct xk_shape shape;
  int bits;
  size_t words, pixels;
  uint32_t *data;
};

static struct image image_of(struct xk_shape shape, const struct xk_options *o) {
  struct image image = {.shape = shape, .bits = o->in_bits};
  image.words = ((size_t)o->in_channels + 31) / 32;
  image.pixels = (size_t)(shape.n * shape.h * shape.w);
  image.data = made(4 * image.pixels * image.words * (size_t)image.bits);
  return image;
}

/* A level, or of a sign 1 for +1 and 0 for -1. */
static int value_at(const struct image *image, int64_t n, int64_t y, int64_t x, int channel) {
  const int64_t pixel = (n * image->shape.h + y) * image->shape.w + x;
  const size_t at = (size_t)pixel * image->words + (size_t)channel / 32;
  const int first = image->data[at] >> channel % 32 & 1;
  if (image->bits == 1) return !first;
  return first + 2 * (int)(image->data[at + image->pixels * image->words] >> channel % 32 & 1);
}

/* The largest value of a window, or the smallest. */
static int pooled(const struct xk_options *o, const struct image *in, int64_t n, int64_t y, int64_t x,
                  int channel, int smallest) {
  int most = smallest ? 4 : -1;
  for (int64_t i = y * o->stride_h - o->pad_top, h = 0; h < o->kernel_h; h++, i++) {
    for (int64_t j = x * o->stride_w - o->pad_left, w = 0; w < o->kernel_w; w++, j++) {
      if (i < 0 || i >= in->shape.h || j < 0 || j >= in->shape.w) continue;
      const int value = value_at(in, n, i, j, channel);
      if (smallest ? value < most : value > most) most = value;
    }
  }
  return most;
}

static void check_pool(int number) {
  struct xk_options o;
  struct xk_shape size, out;
  seed((uint32_t)number * 2654435761u + 7u);
  do {
    const int channels = among(1, 100), bits = among(1, 2), kernel_h = among(1, 4);
    const int kernel_w = among(1, 4);
    o = (struct xk_options){
        .in_channels = channels,            .out_channels = channels,
        .in_bits = bits,                    .out_bits = bits,
        .kernel_h = kernel_h,               .kernel_w = kernel_w,
        .stride_h = among(1, 3),            .stride_w = among(1, 3),
        .pad_top = among(0, kernel_h - 1),  .pad_bottom = among(0, kernel_h - 1),
        .pad_left = among(0, kernel_w - 1), .pad_right = among(0, kernel_w - 1),
        .dilation_h = 1,                    .dilation_w = 1,
    };
    size = (struct xk_shape){among(1, 2), among(1, 9), among(1, 9)};
  } while (xk_bit_pool_size(&o, size, &out) != XK_OK);
  const int64_t h = size.h + o.pad_top + o.pad_bottom - o.kernel_h;
  const int64_t w = size.w + o.pad_left + o.pad_right - o.kernel_w;
  expect(out.n == size.n && out.h == h / o.stride_h + 1 && out.w == w / o.stride_w + 1,
         "pooled size", number);
  struct image in = image_of(size, &o), to = image_of(out, &o);
  uint32_t *flip = among(0, 1) ? made(4 * in.words) : NULL;
  xk_bit_pool_run(&o, size, out, flip, in.data, to.data);
  int all = 1;
  for (int64_t row = 0; row < out.n * out.h; row++) {
    for (int64_t x = 0; x < out.w; x++) {
      for (int c = 0; c < o.in_channels; c++) {
        const int smallest = flip != NULL && (flip[c / 32] >> c % 32 & 1);
        all &= value_at(&to, row / out.h, row % out.h, x, c) ==
               pooled(&o, &in, row / out.h, row % out.h, x, c, smallest);
      }
    }
  }
  expect(all, "pooled", number);
  free(in.data);
  free(to.data);
  free(flip);
}

void check_pools(int first, int count) {
  for (int number = first; number < first + count; number++) check_pool(number);
}
