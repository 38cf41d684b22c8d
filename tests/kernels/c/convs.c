/* Random convolutions with everything that may stand around them, on each kernel that runs here,
 * against loops over single signs. Every step is rounded to float as the kernels round it, and all
 * must be equal. */
#include "conv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"

struct sample {
  int number;
  struct xk_options o;
  struct xk_shape in, out;
  struct xk_values x, residual, y;
  struct xk_constants constants;
  int bits_only, second; /* whether bits come beside numbers */
  size_t pixels;
  int32_t *sums; /* [pixel][filter] */
};

static int bit_at(const void *bits, size_t index) {
  return ((const uint8_t *)bits)[index / 8] >> index % 8 & 1;
}

/* The level of one input, of numbers or of two planes of bits, the second `plane` bits behind. */
static int level_of(const struct sample *s, size_t pixel, int channel) {
  const size_t channels = (size_t)s->o.in_channels, words = (channels + 31) / 32;
  const size_t plane = 32 * words * (size_t)(s->in.n * s->in.h * s->in.w);
  const size_t bit = 32 * words * pixel + (size_t)channel;
  const float *levels = s->constants.levels;
  if (s->x.type == XK_F32) {
    const float x = ((const float *)s->x.data)[pixel * channels + (size_t)channel];
    return (x >= levels[0]) + (x >= levels[1]) + (x >= levels[2]);
  }
  return bit_at(s->x.data, bit) + 2 * bit_at(s->x.data, plane + bit);
}

/* The sign of one input, of any type; of bytes the number itself. */
static int value_of(const struct xk_values *x, size_t pixel, int channel, int channels) {
  const size_t at = pixel * (size_t)channels + (size_t)channel;
  const size_t words = ((size_t)channels + 31) / 32;
  if (x->type == XK_F32) return ((const float *)x->data)[at] >= 0.0f ? 1 : -1;
  if (x->type == XK_U8) return ((const uint8_t *)x->data)[at] - x->zero;
  if (x->type == XK_I8) return ((const int8_t *)x->data)[at] >= x->zero ? 1 : -1;
  return bit_at(x->data, 32 * words * pixel + (size_t)channel) ? -1 : 1;
}

/* The input's signs, or numbers, with the padding around them. */
static int16_t *padded_values(const struct sample *s, int64_t h, int64_t w) {
  const int channels = s->o.in_channels;
  int16_t *values = made(2 * (size_t)(s->in.n * h * w) * (size_t)channels);
  int16_t *to = values;
  for (int64_t row = 0; row < s->in.n * h; row++) {
    const int64_t y = row % h - s->o.pad_top;
    for (int64_t col = 0; col < w; col++) {
      const int64_t x = col - s->o.pad_left;
      const int inside = y >= 0 && y < s->in.h && x >= 0 && x < s->in.w;
      const size_t pixel = inside ? (size_t)((row / h * s->in.h + y) * s->in.w + x) : 0;
      for (int c = 0; c < channels; c++) {
        int value = s->o.pad_value;
        if (inside && s->o.in_bits == 2) value = level_of(s, pixel, c);
        if (inside && s->o.in_bits == 1) value = value_of(&s->x, pixel, c, channels);
        *to++ = (int16_t)value;
      }
    }
  }
  return values;
}

static int dot(const int16_t *a, const int8_t *b, int count) {
  int sum = 0;
  for (int i = 0; i < count; i++) sum += a[i] * b[i];
  return sum;
}

static int32_t *sums_of(const struct sample *s) {
  const struct xk_options *o = &s->o;
  const int64_t h = s->in.h + o->pad_top + o->pad_bottom, w = s->in.w + o->pad_left + o->pad_right;
  const size_t channels = (size_t)o->in_channels, filters = (size_t)o->out_channels;
  const size_t taps = (size_t)o->kernel_h * (size_t)o->kernel_w;
  const int of_bytes = s->constants.unit == XK_BYTES;
  int16_t *x = padded_values(s, h, w);
  int8_t *weights = made(filters * taps * channels);
  int32_t *sums = made(4 * s->pixels * filters);
  for (size_t i = 0; i < filters * taps * channels; i++) {
    weights[i] = bit_at(s->constants.weights, of_bytes ? 0 : i) ? -1 : 1;
    if (of_bytes) weights[i] = ((const int8_t *)s->constants.weights)[i];
  }
  for (size_t pixel = 0; pixel < s->pixels; pixel++) {
    const int64_t row = (int64_t)pixel / s->out.w, n = row / s->out.h;
    const int64_t y = row % s->out.h * o->stride_h, left = (int64_t)pixel % s->out.w * o->stride_w;
    for (size_t f = 0; f < filters; f++) {
      int sum = 0;
      for (size_t tap = 0; tap < taps; tap++) {
        const int64_t i = (int64_t)tap / o->kernel_w * o->dilation_h + y;
        const int64_t j = (int64_t)tap % o->kernel_w * o->dilation_w + left;
        sum += dot(x + (size_t)((n * h + i) * w + j) * channels,
                   weights + (f * taps + tap) * channels, o->in_channels);
      }
      sums[pixel * filters + f] = sum;
    }
  }
  free(x);
  free(weights);
  return sums;
}

/* What follows a sum, one rounded step after another. */
static float number_of(const struct sample *s, size_t at, size_t f) {
  const struct xk_values *r = &s->residual;
  float add = 0.0f;
  if (r->data != NULL && r->type == XK_F32) add = ((const float *)r->data)[at];
  if (r->data != NULL && r->type == XK_I8) {
    add = r->scale * (float)(((const int8_t *)r->data)[at] - r->zero);
  }
  float y = (float)s->sums[at] * ((const float *)s->constants.scale)[f];
  y = y + ((const float *)s->constants.bias)[f];
  if (s->o.add_first) y = y + add;
  if (s->o.activation == XK_RELU && y < 0.0f) y = 0.0f;
  if (s->o.activation == XK_PRELU && y < 0.0f) y = y * ((const float *)s->constants.slope)[f];
  return s->o.add_first ? y : y + add;
}

static int8_t step_of(const struct sample *s, float number) {
  const float step = rintf(number / s->y.scale) + (float)s->y.zero;
  return (int8_t)(step < -128.0f ? -128.0f : step > 127.0f ? 127.0f : step);
}

static int bit_of(const struct sample *s, size_t at, size_t f, float number) {
  const struct xk_constants *k = &s->constants;
  if (s->o.out_bits == 2) { /* Both bits of a level, of thresholds in any order. */
    int below[3];
    for (size_t i = 0; i < 3; i++) {
      const int32_t threshold = ((const int32_t *)k->threshold)[i * (size_t)s->o.out_channels + f];
      below[i] = (s->sums[at] >= threshold) ^ (k->flip != NULL && bit_at(k->flip, f));
    }
    return (below[0] ^ below[1] ^ below[2]) + 2 * below[1];
  }
  if (s->bits_only) {
    return (s->sums[at] < ((const int32_t *)k->threshold)[f]) ^
           (k->flip != NULL && bit_at(k->flip, f));
  }
  if (k->post_scale != NULL) {
    number = number * ((const float *)k->post_scale)[f];
    number = number + ((const float *)k->post_bias)[f];
  }
  return !(number >= 0.0f);
}

static int right(const struct sample *s, const uint32_t *bits) {
  const size_t filters = (size_t)s->o.out_channels, words = (filters + 31) / 32;
  int all = 1;
  for (size_t at = 0; at < s->pixels * filters; at++) {
    const size_t pixel = at / filters, f = at % filters;
    const float number = s->bits_only ? 0.0f : number_of(s, at, f);
    if (!s->bits_only && s->y.type == XK_F32) all &= ((const float *)s->y.data)[at] == number;
    if (!s->bits_only && s->y.type == XK_I8) {
      all &= ((const int8_t *)s->y.data)[at] == step_of(s, number);
    }
    if (bits == NULL) continue;
    const size_t bit = 32 * words * pixel + f;
    int is = bit_at(bits, bit);
    if (s->o.out_bits == 2) is += 2 * bit_at(bits, 32 * words * s->pixels + bit);
    all &= is == bit_of(s, at, f, number);
  }
  const size_t rows = s->pixels * (size_t)s->o.out_bits; /* Nothing beyond the last. */
  for (size_t pixel = 0; bits != NULL && pixel < rows; pixel++) {
    for (size_t f = filters; f < 32 * words; f++) all &= !bit_at(bits, 32 * words * pixel + f);
  }
  return all;
}

/* One kernel: sized for another image first, of which nothing may be left. */
static void check(struct sample *s, const struct xk_isa *isa, struct xk_pool *pool) {
  const size_t count = s->pixels * (size_t)s->o.out_channels;
  const size_t words = ((size_t)s->o.out_channels + 31) / 32;
  const struct xk_shape other = {1, s->in.h + 3, s->in.w + 1};
  struct xk_conv *conv = NULL;
  struct xk_shape out;
  uint32_t *bits =
      s->bits_only || s->second ? made(4 * s->pixels * words * (size_t)s->o.out_bits) : NULL;
  s->y.data = s->bits_only ? (void *)bits : made(count * (s->y.type == XK_I8 ? 1 : 4));
  struct xk_memory *memory = xk_memory_create();
  expect(xk_conv_create(&s->o, &s->constants, isa, s->bits_only, memory, &conv) == XK_OK, "create",
         s->number);
  expect(xk_conv_resize(conv, other, 0, &out) == XK_OK, "another size", s->number);
  expect(xk_conv_resize(conv, s->in, s->x.zero, &out) == XK_OK, "resize", s->number);
  expect(memcmp(&out, &s->out, sizeof out) == 0, "output size", s->number);
  uint32_t *scratch = made(xk_conv_scratch(conv, s->x.type)); /* Of another op's bytes. */
  for (int threads = 1; threads <= 3; threads++) {
    xk_conv_run(conv, &s->x, &s->residual, &s->y, bits, scratch, pool, threads);
    expect(right(s, bits), isa->name, s->number);
  }
  xk_conv_destroy(conv);
  xk_memory_release(memory);
  free(scratch);
  if (!s->bits_only) free(s->y.data);
  free(bits);
}

/* Numbers with few digits around 0, so that sums are often exactly at a sign's change. */
static float *few_digits(size_t count, int most) {
  float *values = made(4 * count);
  for (size_t i = 0; i < count; i++) values[i] = (float)among(-most, most) / 16;
  return values;
}

static int either(int one, int other) { return among(0, 1) ? one : other; }

/* Sizes whose window fits in the image. */
static void choose_sizes(struct sample *s) {
  int64_t h, w;
  do {
    struct xk_options *o = &s->o;
    int32_t *pads[] = {&o->pad_top, &o->pad_bottom, &o->pad_left, &o->pad_right};
    *o = (struct xk_options){
        .in_channels = among(1, either(70, 700)), .out_channels = among(1, either(70, 200)),
        .kernel_h = among(1, 7),                  .kernel_w = among(1, 7),
        .stride_h = among(1, 3),                  .stride_w = among(1, 3),
        .dilation_h = either(1, among(1, 3)),     .dilation_w = either(1, among(1, 3)),
        .pad_value = among(0, 1),                 .activation = among(0, 2),
        .add_first = among(0, 1),                 .in_bits = 1,
        .out_bits = 1,
    };
    for (int i = 0; i < 4; i++) {
      const int kernel = i < 2 ? o->kernel_h : o->kernel_w;
      const int most = (kernel - 1) * (i < 2 ? o->dilation_h : o->dilation_w);
      *pads[i] = either(0, among(0, most < 5 ? most : 5));
    }
    s->in = (struct xk_shape){among(1, 3), among(1, 13), among(1, 13)};
    h = s->in.h + o->pad_top + o->pad_bottom - (o->kernel_h - 1) * o->dilation_h - 1;
    w = s->in.w + o->pad_left + o->pad_right - (o->kernel_w - 1) * o->dilation_w - 1;
    s->out = (struct xk_shape){s->in.n, h / o->stride_h + 1, w / o->stride_w + 1};
  } while (h < 0 || w < 0);
  s->pixels = (size_t)(s->out.n * s->out.h * s->out.w);
}

static struct xk_values numbers(int type, size_t count, int zero) {
  struct xk_values values = {.type = (enum xk_type)type, .scale = 0.25f, .zero = zero};
  values.data = type == XK_F32 ? (void *)few_digits(count, 40) : made(count);
  return values;
}

static void choose_constants(struct sample *s) {
  const size_t filters = (size_t)s->o.out_channels;
  const size_t window =
      (size_t)s->o.kernel_h * (size_t)s->o.kernel_w * (size_t)s->o.in_channels;
  const size_t thresholds = filters * (s->o.out_bits == 2 ? XK_LEVELS : 1);
  int32_t *threshold = made(4 * thresholds);
  for (size_t f = 0; f < thresholds; f++) { /* One in ten is any number at all. */
    if (among(0, 9) > 0) threshold[f] = among(-(int)window / 8 - 1, (int)window / 8 + 1);
  }
  const int of_bytes = s->x.type == XK_U8;
  const size_t weights_bytes = of_bytes ? window * filters : (window * filters + 7) / 8;
  int8_t *weights = made(weights_bytes);
  for (size_t i = 0; of_bytes && i < weights_bytes; i++) { /* -128 is refused. */
    if (weights[i] == INT8_MIN) weights[i] = 127;
  }
  s->constants = (struct xk_constants){
      .unit = of_bytes ? XK_BYTES : XK_SIGNS,
      .weights = weights,
      .weights_bytes = weights_bytes,
      .scale = few_digits(filters, 8),
      .bias = few_digits(filters, 200),
      .slope = few_digits(filters, 16),
      .threshold = threshold,
      .flip = among(0, 1) ? made(4 * ((filters + 31) / 32)) : NULL,
      .post_scale = s->second && among(0, 1) ? few_digits(filters, 20) : NULL,
  };
  float *levels = few_digits(XK_LEVELS, 20);
  for (int i = 1; i < XK_LEVELS; i++) levels[i] = levels[i - 1] + fabsf(levels[i]);
  s->constants.levels = levels;
  if (s->constants.post_scale != NULL) s->constants.post_bias = few_digits(filters, 200);
}

/* Every kernel that runs here, after which the sample's arrays are given back. */
static void check_on_all(struct sample *s, struct xk_pool *pool) {
  s->sums = sums_of(s);
  for (int i = 0; xk_isa_name(i) != NULL; i++) check(s, xk_isa_named(xk_isa_name(i)), pool);
  const void *arrays[] = {s->x.data, s->residual.data, s->sums, s->constants.weights,
                          s->constants.scale, s->constants.bias, s->constants.slope,
                          s->constants.threshold, s->constants.flip, s->constants.post_scale,
                          s->constants.post_bias, s->constants.levels};
  for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) free((void *)(uintptr_t)arrays[i]);
}

static void check_conv(struct xk_pool *pool, int number, struct conv_kinds *kinds) {
  struct sample s = {.number = number};
  seed((uint32_t)number * 2654435761u + 1u);
  choose_sizes(&s);
  s.bits_only = among(0, 2) == 0;
  s.second = !s.bits_only && among(0, 1);
  s.x = (struct xk_values){.type = (enum xk_type)among(0, 3), .zero = among(-20, 20), .scale = 1.0f};
  if (s.x.type == XK_U8) {
    s.x.zero = among(0, 255);
    s.o.pad_value = 0;
  }
  if (s.bits_only) s.o.out_bits = among(1, 2);
  if (s.x.type == XK_F32 || s.x.type == XK_BITS) s.o.in_bits = among(1, 2);
  if (s.o.in_bits == 2) s.o.pad_value = 0;
  choose_constants(&s);
  const size_t pixels_in = (size_t)(s.in.n * s.in.h * s.in.w);
  const size_t in = (size_t)s.o.in_channels, words = (in + 31) / 32;
  const int one_byte = s.x.type == XK_I8 || s.x.type == XK_U8;
  /* Any bits: also what is no number. Beyond the last channel an op leaves none. */
  const size_t rows = pixels_in * (size_t)s.o.in_bits; /* of words */
  s.x.data = made(one_byte ? pixels_in * in : s.x.type ? 4 * rows * words : 4 * pixels_in * in);
  for (size_t i = 0; s.x.type == XK_BITS && in % 32 != 0 && i < rows; i++) {
    ((uint32_t *)s.x.data)[i * words + words - 1] &= (1u << in % 32) - 1;
  }
  if (!s.bits_only && among(0, 1)) {
    s.residual = numbers(either(XK_F32, XK_I8), s.pixels * (size_t)s.o.out_channels, among(-9, 9));
  }
  s.y = (struct xk_values){.type = s.bits_only ? XK_BITS : (enum xk_type)either(XK_F32, XK_I8),
                           .scale = (float)among(1, 40) / 7,
                           .zero = among(-128, 127)};
  check_on_all(&s, pool);
  if (s.x.type == XK_U8) {
    kinds->bytes++;
  } else if (s.o.in_bits == 2) {
    kinds->levels++;
  } else {
    kinds->signs++;
  }
  kinds->to_levels += s.o.out_bits == 2;
}

/* The largest window of bytes, whose sum is as far from 0 as one can be. */
static void check_largest(struct xk_pool *pool, int sign) {
  struct sample s = {.number = sign, .bits_only = 1, .in = {1, 1, 7}, .out = {1, 1, 7}, .pixels = 7};
  s.o = (struct xk_options){
      .in_channels = XK_MAX_BYTE_WINDOW, .out_channels = 17, .kernel_h = 1,   .kernel_w = 1,
      .stride_h = 1,                     .stride_w = 1,      .dilation_h = 1, .dilation_w = 1,
      .in_bits = 1,                      .out_bits = 1,
  };
  const size_t bytes = s.pixels * XK_MAX_BYTE_WINDOW;
  s.x = (struct xk_values){.type = XK_U8, .data = made(bytes), .scale = 1.0f};
  memset(s.x.data, 255, bytes);
  s.y.type = XK_BITS;
  choose_constants(&s);
  memset((void *)(uintptr_t)s.constants.weights, sign * 127, s.constants.weights_bytes);
  int32_t *threshold = (int32_t *)(uintptr_t)s.constants.threshold;
  for (int f = 0; f < s.o.out_channels; f++) {
    threshold[f] = sign * XK_MAX_BYTE_WINDOW * 255 * 127 + f % 3 - 1;
  }
  check_on_all(&s, pool);
}

struct conv_kinds check_convs(struct xk_pool *pool, int first, int count) {
  struct conv_kinds kinds = {0, 0, 0, 0};
  for (int number = first; number < first + count; number++) check_conv(pool, number, &kinds);
  for (int sign = -1; count > 0 && sign <= 1; sign += 2) check_largest(pool, sign);
  return kinds;
}
