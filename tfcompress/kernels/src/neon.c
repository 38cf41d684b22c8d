/* NEON: 16 output channels a register, 8 input channels a byte: eor, cnt, add.
 *
 * The sum is kept in bytes and moved to 32-bit sums before it could overflow. */
#include "isa.h"

#ifdef XK_ARM
#include <arm_neon.h>
#include <string.h>

#define XK_TARGET
#define XK_INLINE static inline __attribute__((always_inline))

/* A byte of channels adds 8 at most: 31 of them fit in a byte's sum, so 7 words of 4 do. */
enum { WORDS_IN_A_BYTE = 7, AT_ONCE = 3 };

/* Adds the bytes of `sum` to 32-bit sums and clears them. */
XK_INLINE void flush(uint8x16_t *sum, const int V, uint32_t *counts) {
#pragma GCC unroll 4
  for (int v = 0; v < V; v++) {
    uint16x8_t half[2] = {vmovl_u8(vget_low_u8(sum[v])), vmovl_u8(vget_high_u8(sum[v]))};
    for (int h = 0; h < 2; h++) {
      uint32_t *at = counts + 16 * v + 8 * h;
      vst1q_u32(at, vaddw_u16(vld1q_u32(at), vget_low_u16(half[h])));
      vst1q_u32(at + 4, vaddw_u16(vld1q_u32(at + 4), vget_high_u16(half[h])));
    }
    sum[v] = vdupq_n_u8(0);
  }
}

XK_INLINE void count_some(const struct xk_window *w, int first, const int P, const int V,
                          uint32_t counts[XK_PIXELS][XK_LANES]) {
  const uint8_t *weights = w->weights;
  uint8x16_t sum[AT_ONCE][4];
  int filled = 0;
  for (int p = 0; p < P; p++) {
    memset(counts[first + p], 0, sizeof counts[0]);
    for (int v = 0; v < V; v++) sum[p][v] = vdupq_n_u8(0);
  }
  for (int r = 0; r < w->planes * w->runs; r++) {
    const uint8_t *x[AT_ONCE];
    if (r == w->runs) { /* The second plane's begin. */
      weights = w->weights;
      filled = 0;
      for (int p = 0; p < P; p++) {
        flush(sum[p], V, counts[first + p]);
        for (int l = 0; l < 16 * V; l++) counts[first + p][l] *= 2;
      }
    }
    for (int p = 0; p < P; p++) x[p] = (const uint8_t *)(w->pixel[first + p] + w->run_offset[r]);
    for (int64_t k = 0; k < w->run_words; k++) {
      for (int64_t b = 4 * k; b < 4 * k + 4; b++, weights += XK_LANES) {
        uint8x16_t lane[4];
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) lane[v] = vld1q_u8(weights + 16 * v);
#pragma GCC unroll 3
        for (int p = 0; p < P; p++) {
          uint8x16_t byte = vld1q_dup_u8(x[p] + b);
#pragma GCC unroll 4
          for (int v = 0; v < V; v++) {
            sum[p][v] = vaddq_u8(sum[p][v], vcntq_u8(veorq_u8(byte, lane[v])));
          }
        }
      }
      if (++filled == WORDS_IN_A_BYTE) {
        filled = 0;
        for (int p = 0; p < P; p++) flush(sum[p], V, counts[first + p]);
      }
    }
  }
  for (int p = 0; p < P; p++) flush(sum[p], V, counts[first + p]);
}

/* Adds the products of bytes for 16 output channels of a pixel. */
static void multiply(const struct xk_window *w, int p, int lane, uint32_t *counts) {
  const int8_t *weights = (const int8_t *)w->weights + lane;
  int32x4_t sum[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
  for (int r = 0; r < w->runs; r++) {
    const uint8_t *x = (const uint8_t *)(w->pixel[p] + w->run_offset[r]);
    for (int64_t b = 0; b < 4 * (int64_t)w->run_words; b++, weights += XK_LANES) {
      const int8x16_t eight = vld1q_s8(weights);
      const int16x8_t low = vmovl_s8(vget_low_s8(eight)), high = vmovl_s8(vget_high_s8(eight));
      sum[0] = vmlal_n_s16(sum[0], vget_low_s16(low), x[b]);
      sum[1] = vmlal_n_s16(sum[1], vget_high_s16(low), x[b]);
      sum[2] = vmlal_n_s16(sum[2], vget_low_s16(high), x[b]);
      sum[3] = vmlal_n_s16(sum[3], vget_high_s16(high), x[b]);
    }
  }
  for (int i = 0; i < 4; i++) vst1q_u32(counts + lane + 4 * i, vreinterpretq_u32_s32(sum[i]));
}

static void count(const struct xk_window *w, uint32_t counts[XK_PIXELS][XK_LANES]) {
  if (w->unit == XK_BYTES) {
    for (int i = 0; i < w->pixels; i++) {
      for (int lane = 0; lane < w->lanes; lane += 16) multiply(w, i, lane, counts[i]);
    }
    return;
  }
  int p = 0;
  if (w->lanes > 16) {
    for (; p + AT_ONCE <= w->pixels; p += AT_ONCE) count_some(w, p, AT_ONCE, 4, counts);
    for (; p < w->pixels; p++) count_some(w, p, 1, 4, counts);
  } else {
    for (; p + AT_ONCE <= w->pixels; p += AT_ONCE) count_some(w, p, AT_ONCE, 1, counts);
    for (; p < w->pixels; p++) count_some(w, p, 1, 1, counts);
  }
}

#include "finish.inc"

static void compare(const struct xk_window *w, const struct xk_limits *limits,
                    uint64_t (*bits)[XK_PIXELS]) {
  static const uint32_t PLACE[4] = {1, 2, 4, 8};
  const uint32x4_t place = vld1q_u32(PLACE);
  uint32_t counts[XK_PIXELS][XK_LANES];
  count(w, counts);
  for (int set = 0; set < limits->count; set++) {
    for (int p = 0; p < w->pixels; p++) {
      const int32_t *limit = limits->of[p] + (size_t)set * limits->step;
      bits[set][p] = 0;
      for (int l = 0; l < w->lanes; l += 4) {
        int32x4_t sum = vreinterpretq_s32_u32(vld1q_u32(counts[p] + l));
        uint32x4_t more = vcgtq_s32(sum, vld1q_s32(limit + l));
        bits[set][p] |= (uint64_t)vaddvq_u32(vandq_u32(more, place)) << l;
      }
    }
  }
}

static void pack_f32(const float *values, size_t count, float least, uint32_t *words) {
  static const uint32_t PLACE[4] = {1, 2, 4, 8};
  const uint32x4_t place = vld1q_u32(PLACE);
  const float32x4_t bound = vdupq_n_f32(least);
  for (; count >= 32; count -= 32, values += 32) {
    uint32_t word = 0;
    for (int i = 0; i < 8; i++) {
      uint32x4_t below = vmvnq_u32(vcgeq_f32(vld1q_f32(values + 4 * i), bound));
      word |= vaddvq_u32(vandq_u32(below, place)) << (4 * i);
    }
    *words++ = word;
  }
  if (count > 0) xk_portable.pack_f32(values, count, least, words);
}

static void pack_i8(const int8_t *values, size_t count, int zero, uint32_t *words) {
  xk_portable.pack_i8(values, count, zero, words);
}

const struct xk_isa xk_neon = {
    .name = "neon",
    .unit_bytes = 1,
    .byte_unit_bytes = 1,
    .numbers = numbers,
    .compare = compare,
    .pack_f32 = pack_f32,
    .pack_i8 = pack_i8,
};
#endif
