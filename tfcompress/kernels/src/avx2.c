/* AVX2, which has no popcount: differences of 4 channels are looked up, 32 output channels at once.
 *
 * For each value v of 4 bits there is a table of popcount(v ^ i), i = 0..15. A pixel's 4 bits choose
 * the table, the weights' 4 bits are the indices of `pshufb`; the sum is kept in bytes and moved to
 * 32-bit sums before it could overflow. */
#include "isa.h"

#ifdef XK_X86
#include <immintrin.h>
#include <string.h>

#define XK_TARGET __attribute__((target("avx2")))
#define XK_INLINE static inline __attribute__((always_inline)) XK_TARGET

/* A byte of channels adds 8 at most: 31 of them fit in a byte's sum, so 7 words of 4 do. */
enum { WORDS_IN_A_BYTE = 7, AT_ONCE = 3 };

#define ROW(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p) \
  { a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p }
static const uint8_t DIFFERENCES[16][16] __attribute__((aligned(64))) = {
    ROW(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4),
    ROW(1, 0, 2, 1, 2, 1, 3, 2, 2, 1, 3, 2, 3, 2, 4, 3),
    ROW(1, 2, 0, 1, 2, 3, 1, 2, 2, 3, 1, 2, 3, 4, 2, 3),
    ROW(2, 1, 1, 0, 3, 2, 2, 1, 3, 2, 2, 1, 4, 3, 3, 2),
    ROW(1, 2, 2, 3, 0, 1, 1, 2, 2, 3, 3, 4, 1, 2, 2, 3),
    ROW(2, 1, 3, 2, 1, 0, 2, 1, 3, 2, 4, 3, 2, 1, 3, 2),
    ROW(2, 3, 1, 2, 1, 2, 0, 1, 3, 4, 2, 3, 2, 3, 1, 2),
    ROW(3, 2, 2, 1, 2, 1, 1, 0, 4, 3, 3, 2, 3, 2, 2, 1),
    ROW(1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3),
    ROW(2, 1, 3, 2, 3, 2, 4, 3, 1, 0, 2, 1, 2, 1, 3, 2),
    ROW(2, 3, 1, 2, 3, 4, 2, 3, 1, 2, 0, 1, 2, 3, 1, 2),
    ROW(3, 2, 2, 1, 4, 3, 3, 2, 2, 1, 1, 0, 3, 2, 2, 1),
    ROW(2, 3, 3, 4, 1, 2, 2, 3, 1, 2, 2, 3, 0, 1, 1, 2),
    ROW(3, 2, 4, 3, 2, 1, 3, 2, 2, 1, 3, 2, 1, 0, 2, 1),
    ROW(3, 4, 2, 3, 2, 3, 1, 2, 2, 3, 1, 2, 1, 2, 0, 1),
    ROW(4, 3, 3, 2, 3, 2, 2, 1, 3, 2, 2, 1, 2, 1, 1, 0),
};

/* Moves the bytes of `sum` to 32-bit sums, which begin there or have begun, and clears them. */
XK_INLINE void flush(__m256i *sum, const int V, int begun, uint32_t *counts) {
#pragma GCC unroll 2
  for (int v = 0; v < V; v++) {
    __m128i half[2] = {_mm256_castsi256_si128(sum[v]), _mm256_extracti128_si256(sum[v], 1)};
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      __m128i eight = i % 2 ? _mm_srli_si128(half[i / 2], 8) : half[i / 2];
      __m256i more = _mm256_cvtepu8_epi32(eight);
      void *at = counts + 32 * v + 8 * i;
      if (begun) more = _mm256_add_epi32(more, _mm256_loadu_si256(at));
      _mm256_storeu_si256(at, more);
    }
    sum[v] = _mm256_setzero_si256();
  }
}

XK_INLINE void count_some(const struct xk_window *w, int first, const int P, const int V,
                          uint32_t counts[XK_PIXELS][XK_LANES]) {
  const __m256i low_bits = _mm256_set1_epi8(15);
  const uint8_t *weights = w->weights;
  __m256i sum[AT_ONCE][2];
  int filled = 0, begun = 0;
#pragma GCC unroll 3
  for (int p = 0; p < P; p++) {
    sum[p][0] = sum[p][1] = _mm256_setzero_si256();
  }
  for (int r = 0; r < w->runs; r++) {
    const uint8_t *x[AT_ONCE];
#pragma GCC unroll 3
    for (int p = 0; p < P; p++) x[p] = (const uint8_t *)(w->pixel[first + p] + w->run_offset[r]);
    for (int64_t k = 0; k < w->run_words; k++) {
      for (int64_t b = 4 * k; b < 4 * k + 4; b++, weights += XK_LANES) {
        __m256i low[2], high[2];
#pragma GCC unroll 2
        for (int v = 0; v < V; v++) {
          __m256i lane = _mm256_loadu_si256((const void *)(weights + 32 * v));
          low[v] = _mm256_and_si256(lane, low_bits);
          high[v] = _mm256_and_si256(_mm256_srli_epi16(lane, 4), low_bits);
        }
#pragma GCC unroll 3
        for (int p = 0; p < P; p++) {
          unsigned byte = x[p][b];
          __m256i to_low =
              _mm256_broadcastsi128_si256(_mm_load_si128((const void *)DIFFERENCES[byte & 15]));
          __m256i to_high =
              _mm256_broadcastsi128_si256(_mm_load_si128((const void *)DIFFERENCES[byte >> 4]));
#pragma GCC unroll 2
          for (int v = 0; v < V; v++) {
            sum[p][v] = _mm256_add_epi8(sum[p][v], _mm256_shuffle_epi8(to_low, low[v]));
            sum[p][v] = _mm256_add_epi8(sum[p][v], _mm256_shuffle_epi8(to_high, high[v]));
          }
        }
      }
      if (++filled == WORDS_IN_A_BYTE) {
        filled = 0;
#pragma GCC unroll 3
        for (int p = 0; p < P; p++) flush(sum[p], V, begun, counts[first + p]);
        begun = 1;
      }
    }
  }
#pragma GCC unroll 3
  for (int p = 0; p < P; p++) flush(sum[p], V, begun, counts[first + p]);
}

static XK_TARGET void count(const struct xk_window *w, uint32_t counts[XK_PIXELS][XK_LANES]) {
  int p = 0;
  if (w->lanes > 32) {
    for (; p + AT_ONCE <= w->pixels; p += AT_ONCE) count_some(w, p, AT_ONCE, 2, counts);
    for (; p < w->pixels; p++) count_some(w, p, 1, 2, counts);
  } else {
    for (; p + AT_ONCE <= w->pixels; p += AT_ONCE) count_some(w, p, AT_ONCE, 1, counts);
    for (; p < w->pixels; p++) count_some(w, p, 1, 1, counts);
  }
}

#include "finish.inc"

static XK_TARGET void compare(const struct xk_window *w, const int32_t *const limit[XK_PIXELS],
                              uint64_t bits[XK_PIXELS]) {
  uint32_t counts[XK_PIXELS][XK_LANES];
  count(w, counts);
  for (int p = 0; p < w->pixels; p++) {
    bits[p] = 0;
    for (int l = 0; l < w->lanes; l += 8) {
      __m256i most = _mm256_loadu_si256((const void *)(limit[p] + l));
      __m256i more =
          _mm256_cmpgt_epi32(_mm256_loadu_si256((const void *)(counts[p] + l)), most);
      uint64_t mask = (uint64_t)_mm256_movemask_ps(_mm256_castsi256_ps(more));
      bits[p] |= mask << l;
    }
  }
}

static XK_TARGET void pack_f32(const float *values, size_t count, uint32_t *words) {
  const __m256 zero = _mm256_setzero_ps();
  for (; count >= 32; count -= 32, values += 32) {
    uint32_t word = 0;
    for (int i = 0; i < 4; i++) {
      __m256 below = _mm256_cmp_ps(_mm256_loadu_ps(values + 8 * i), zero, _CMP_NGE_UQ);
      word |= (uint32_t)_mm256_movemask_ps(below) << (8 * i);
    }
    *words++ = word;
  }
  if (count > 0) xk_portable.pack_f32(values, count, words);
}

static XK_TARGET void pack_i8(const int8_t *values, size_t count, int zero, uint32_t *words) {
  const __m256i at = _mm256_set1_epi8((char)zero);
  for (; count >= 32; count -= 32, values += 32) {
    __m256i below = _mm256_cmpgt_epi8(at, _mm256_loadu_si256((const void *)values));
    *words++ = (uint32_t)_mm256_movemask_epi8(below);
  }
  if (count > 0) xk_portable.pack_i8(values, count, zero, words);
}

const struct xk_isa xk_avx2 = {
    .name = "avx2",
    .unit_bytes = 1,
    .numbers = numbers,
    .compare = compare,
    .pack_f32 = pack_f32,
    .pack_i8 = pack_i8,
};
#endif
