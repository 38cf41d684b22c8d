/* The kernels against loops over single signs, the threads, and the fuzzer's ops from seeded bytes:
 * unit CONVOLUTIONS FIRST OPS. Exit status 0 if all is well. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>

#include "bit_pool.h"
#include "conv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
extern unsigned long fuzz_ran, fuzz_patterns;

static int failures = 0;

static void expect(int condition, const char *what, int number) {
  if (condition) return;
  failures++;
  fprintf(stderr, "failed: %s, case %d\n", what, number);
}

static uint32_t state = 1;

static int among(int low, int high) {
  state = state * 1664525u + 1013904223u;
  return low + (int)((state >> 8) % (uint32_t)(high - low + 1));
}

static void *made(size_t bytes) {
  void *memory = malloc(bytes > 0 ? bytes : 1);
  if (memory == NULL) abort();
  for (size_t i = 0; i < bytes; i++) ((uint8_t *)memory)[i] = (uint8_t)among(0, 255);
  return memory;
}

static int sign_at(const uint8_t *bits, size_t index) { return bits[index / 8] >> index % 8 & 1 ? -1 : 1; }

struct sample {
  struct xk_options o;
  struct xk_shape in, out;
  uint8_t *weights;
  float *x, *scale, *bias;
  int32_t *threshold;
};

static int sum_of(const struct sample *s, int64_t n, int64_t y, int64_t x, int filter) {
  const struct xk_options *o = &s->o;
  int sum = 0;
  for (int i = 0; i < o->kernel_h; i++) {
    for (int j = 0; j < o->kernel_w; j++) {
      int64_t row = y * o->stride_h + i * o->dilation_h - o->pad_top;
      int64_t col = x * o->stride_w + j * o->dilation_w - o->pad_left;
      int inside = row >= 0 && row < s->in.h && col >= 0 && col < s->in.w;
      for (int c = 0; c < o->in_channels; c++) {
        size_t at = (((size_t)filter * (size_t)o->kernel_h + (size_t)i) * (size_t)o->kernel_w +
                     (size_t)j) * (size_t)o->in_channels + (size_t)c;
        int value = o->pad_value;
        if (inside) {
          float number = s->x[((n * s->in.h + row) * s->in.w + col) * o->in_channels + c];
          value = number >= 0 ? 1 : -1;
        }
        sum += value * sign_at(s->weights, at);
      }
    }
  }
  return sum;
}

static void check_sample(const struct sample *s, const struct xk_isa *isa, struct xk_pool *pool,
                         int number) {
  const struct xk_constants from = {
      .weights = s->weights,
      .weights_bytes = ((size_t)s->o.kernel_h * (size_t)s->o.kernel_w *
                        (size_t)s->o.in_channels * (size_t)s->o.out_channels + 7) / 8,
      .scale = s->scale,
      .bias = s->bias,
      .threshold = s->threshold,
  };
  const size_t pixels = (size_t)(s->out.n * s->out.h * s->out.w);
  const size_t words = ((size_t)s->o.out_channels + 31) / 32;
  struct xk_conv *bit_conv = NULL, *conv = NULL;
  struct xk_shape out;
  expect(xk_conv_create(&s->o, &from, isa, 1, &bit_conv) == XK_OK, "create", number);
  expect(xk_conv_create(&s->o, &from, isa, 0, &conv) == XK_OK, "create", number);
  expect(xk_conv_resize(bit_conv, s->in, &out) == XK_OK, "resize", number);
  expect(xk_conv_resize(conv, s->in, &out) == XK_OK, "resize", number);
  expect(memcmp(&out, &s->out, sizeof out) == 0, "output size", number);
  uint32_t *bits = made(4 * pixels * words);
  float *numbers = made(sizeof *numbers * pixels * (size_t)s->o.out_channels);
  const struct xk_values x = {.type = XK_F32, .data = s->x}, none = {.type = XK_F32};
  const struct xk_values bit_out = {.type = XK_BITS, .data = bits};
  const struct xk_values y = {.type = XK_F32, .data = numbers};
  xk_conv_run(bit_conv, &x, &none, &bit_out, bits, pool, 2);
  xk_conv_run(conv, &x, &none, &y, NULL, pool, 2);
  int right = 1;
  size_t pixel = 0;
  for (int64_t n = 0; n < out.n; n++) {
    for (int64_t i = 0; i < out.h; i++) {
      for (int64_t j = 0; j < out.w; j++, pixel++) {
        for (int c = 0; c < s->o.out_channels; c++) {
          int sum = sum_of(s, n, i, j, c);
          int bit = bits[pixel * words + (size_t)c / 32] >> c % 32 & 1;
          right &= bit == (sum < s->threshold[c]);
          right &= numbers[pixel * (size_t)s->o.out_channels + (size_t)c] ==
                   (float)sum * s->scale[c] + s->bias[c];
        }
        for (int c = s->o.out_channels; c < 32 * (int)words; c++) {
          right &= (bits[pixel * words + (size_t)c / 32] >> c % 32 & 1) == 0;
        }
      }
    }
  }
  expect(right, isa->name, number);
  free(bits);
  free(numbers);
  xk_conv_destroy(bit_conv);
  xk_conv_destroy(conv);
}

static void check_convs(struct xk_pool *pool, int count) {
  for (int number = 0; number < count; number++) {
    struct sample s;
    s.o = (struct xk_options){
        .in_channels = among(1, 150), .out_channels = among(1, 150),
        .kernel_h = among(1, 4),      .kernel_w = among(1, 4),
        .stride_h = among(1, 3),      .stride_w = among(1, 3),
        .dilation_h = among(1, 2),    .dilation_w = among(1, 2),
        .pad_top = among(0, 4),       .pad_bottom = among(0, 4),
        .pad_left = among(0, 4),      .pad_right = among(0, 4),
        .pad_value = among(0, 1),
    };
    s.in = (struct xk_shape){among(1, 2), among(1, 9), among(1, 9)};
    int64_t h = s.in.h + s.o.pad_top + s.o.pad_bottom - (s.o.kernel_h - 1) * s.o.dilation_h - 1;
    int64_t w = s.in.w + s.o.pad_left + s.o.pad_right - (s.o.kernel_w - 1) * s.o.dilation_w - 1;
    if (h < 0 || w < 0) continue;
    s.out = (struct xk_shape){s.in.n, h / s.o.stride_h + 1, w / s.o.stride_w + 1};
    size_t filters = (size_t)s.o.out_channels;
    size_t window = (size_t)s.o.kernel_h * (size_t)s.o.kernel_w * (size_t)s.o.in_channels;
    size_t numbers = (size_t)(s.in.n * s.in.h * s.in.w) * (size_t)s.o.in_channels;
    s.weights = made((window * filters + 7) / 8);
    s.x = made(sizeof *s.x * numbers); /* Any bits: also what is no number. */
    s.scale = made(sizeof *s.scale * filters);
    s.bias = made(sizeof *s.bias * filters);
    s.threshold = made(sizeof *s.threshold * filters);
    for (size_t i = 0; i < filters; i++) {
      s.scale[i] = (float)among(-8, 8) / 16; /* Exact, so that the test's sums need no rounding. */
      s.bias[i] = (float)among(-80, 80);
      if (among(0, 9) > 0) s.threshold[i] = among(-(int)window / 4 - 1, (int)window / 4 + 1);
    }
    for (int i = 0; xk_isa_name(i) != NULL; i++) {
      check_sample(&s, xk_isa_named(xk_isa_name(i)), pool, number);
    }
    free(s.weights);
    free(s.x);
    free(s.scale);
    free(s.bias);
    free(s.threshold);
  }
}

/* Counts how often each part was done. */
static void mark(void *context, int part, int parts) {
  atomic_int *marks = context;
  (void)parts;
  atomic_fetch_add(&marks[part], 1);
  atomic_store(&marks[300], parts);
}

struct caller {
  struct xk_pool *pool;
  int wrong;
};

static void *call_often(void *argument) {
  struct caller *caller = argument;
  for (int round = 0; round < 2000; round++) {
    atomic_int marks[301];
    for (int i = 0; i < 301; i++) atomic_init(&marks[i], 0);
    xk_pool_run(caller->pool, 1 + round % 5, mark, marks);
    int parts = atomic_load(&marks[300]);
    for (int i = 0; i < 300; i++) caller->wrong += atomic_load(&marks[i]) != (i < parts);
  }
  return NULL;
}

static void check_threads(void) {
  struct xk_pool *pool = xk_pool_create();
  struct caller callers[2] = {{pool, 0}, {pool, 0}};
  pthread_t other;
  if (pthread_create(&other, NULL, call_often, &callers[1]) != 0) abort();
  call_often(&callers[0]);
  pthread_join(other, NULL);
  expect(callers[0].wrong == 0 && callers[1].wrong == 0, "each part once", 0);
  xk_pool_destroy(pool);
}

static void check_limits(void) {
  struct xk_options good = {1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0};
  expect(xk_check_options(&good) == XK_OK, "right options", 0);
  int32_t *fields = (int32_t *)&good;
  static const int BAD[] = {-1, INT32_MIN, INT32_MAX};
  for (int i = 0; i < XK_OPTION_COUNT; i++) {
    int32_t kept = fields[i];
    for (int b = 0; b < 3; b++) {
      fields[i] = BAD[b];
      expect(xk_check_options(&good) != XK_OK, "wrong option", i);
    }
    fields[i] = kept;
  }
  uint8_t bytes[XK_OPTION_BYTES] = {0};
  struct xk_options read;
  for (size_t length = 0; length <= sizeof bytes; length++) {
    expect(xk_read_options(bytes, length, &read) == XK_BAD_OPTIONS, "no magic", (int)length);
  }
}

/* Ops made of random bytes. Most wrong ones are refused, but many must run. */
static void check_ops(uint64_t first, uint64_t count) {
  for (uint64_t i = first; i < first + count; i++) {
    uint8_t data[96];
    uint64_t seed = i * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (size_t b = 0; b < sizeof data; b++) { /* splitmix64 */
      seed += UINT64_C(0x9e3779b97f4a7c15);
      uint64_t z = (seed ^ seed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
      z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
      data[b] = (uint8_t)(z >> 56);
    }
    LLVMFuzzerTestOneInput(data, sizeof data);
  }
  expect(fuzz_ran >= count / 6, "a sixth of the inputs are ops that run", (int)fuzz_ran);
  expect(fuzz_patterns >= count / 20, "and patterns that run", (int)fuzz_patterns);
}

int main(int count, char **arguments) {
  if (count != 4) return 2;
  struct xk_pool *pool = xk_pool_create();
  check_limits();
  check_threads();
  check_convs(pool, atoi(arguments[1]));
  check_ops(strtoull(arguments[2], NULL, 10), strtoull(arguments[3], NULL, 10));
  xk_pool_destroy(pool);
  if (failures == 0) printf("all right\n");
  return failures != 0;
}
