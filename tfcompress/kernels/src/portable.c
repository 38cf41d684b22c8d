/* Plain C, for every processor: what the others are compared with. */
#include <string.h>

#include "isa.h"

#define XK_TARGET

static uint32_t ones(uint32_t v) {
  v -= v >> 1 & 0x55555555u;
  v = (v & 0x33333333u) + (v >> 2 & 0x33333333u);
  return ((v + (v >> 4)) & 0x0f0f0f0fu) * 0x01010101u >> 24;
}

static uint32_t products(uint32_t x, uint32_t w) {
  int32_t sum = 0;
  for (int i = 0; i < 32; i += 8) sum += (int32_t)(x >> i & 255) * (int8_t)(w >> i & 255);
  return (uint32_t)sum;
}

static void count(const struct xk_window *w, uint32_t counts[XK_PIXELS][XK_LANES]) {
  for (int p = 0; p < w->pixels; p++) {
    const uint8_t *weights = w->weights;
    memset(counts[p], 0, sizeof counts[p]);
    for (int r = 0; r < w->planes * w->runs; r++) {
      const uint32_t *x = w->pixel[p] + w->run_offset[r];
      if (r == w->runs) { /* The second plane's begin. */
        weights = w->weights;
        for (int l = 0; l < w->lanes; l++) counts[p][l] *= 2;
      }
      for (int k = 0; k < w->run_words; k++, weights += 4 * XK_LANES) {
        uint32_t lane[XK_LANES];
        memcpy(lane, weights, sizeof lane);
        for (int l = 0; l < w->lanes; l++) {
          counts[p][l] += w->unit == XK_BYTES ? products(x[k], lane[l]) : ones(x[k] ^ lane[l]);
        }
      }
    }
  }
}

#include "finish.inc"

static void compare(const struct xk_window *w, const struct xk_limits *limits,
                    uint64_t (*bits)[XK_PIXELS]) {
  uint32_t counts[XK_PIXELS][XK_LANES];
  count(w, counts);
  for (int set = 0; set < limits->count; set++) {
    for (int p = 0; p < w->pixels; p++) {
      const int32_t *limit = limits->of[p] + (size_t)set * limits->step;
      bits[set][p] = 0;
      for (int l = 0; l < w->lanes; l++) {
        bits[set][p] |= (uint64_t)((int32_t)counts[p][l] > limit[l]) << l;
      }
    }
  }
}

/* Not `value < least`: what is no number has the sign -1, or the level 0, as in Keras. */
static void pack_f32(const float *values, size_t count, float least, uint32_t *words) {
  for (size_t start = 0; start < count; start += 32) {
    uint32_t word = 0;
    for (size_t i = start; i < count && i < start + 32; i++) {
      word |= (uint32_t) !(values[i] >= least) << (i - start);
    }
    *words++ = word;
  }
}

static void pack_i8(const int8_t *values, size_t count, int zero, uint32_t *words) {
  for (size_t start = 0; start < count; start += 32) {
    uint32_t word = 0;
    for (size_t i = start; i < count && i < start + 32; i++) {
      word |= (uint32_t)(values[i] < zero) << (i - start);
    }
    *words++ = word;
  }
}

const struct xk_isa xk_portable = {
    .name = "portable",
    .unit_bytes = 4,
    .byte_unit_bytes = 4,
    .numbers = numbers,
    .compare = compare,
    .pack_f32 = pack_f32,
    .pack_i8 = pack_i8,
};
