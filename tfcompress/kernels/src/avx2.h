/* What both ways of AVX2 to count share. */
#ifndef XK_AVX2_H
#define XK_AVX2_H

#include "isa.h"

#ifdef XK_X86
#include <immintrin.h>

#define XK_TARGET __attribute__((target("avx2")))
#define XK_INLINE static inline __attribute__((always_inline)) XK_TARGET

/* The ones of 4 bits. */
#define ONES(v) (((v) & 1) + ((v) >> 1 & 1) + ((v) >> 2 & 1) + ((v) >> 3 & 1))

/* Counts a tile's pixels; see `struct xk_isa`. Of 64 channels there are first 32, those with even
 * numbers before the odd ones, then the other 32. */
void xk_avx2_count_tile(const struct xk_window *window, const uint32_t *const *pixel, int pixels,
                        uint16_t (*counted)[XK_LANES]);

/* The low or the high 4 bits of each byte of weights. */
XK_INLINE __m256i half_of(const uint8_t *weights, const int high) {
  __m256i lane = _mm256_loadu_si256((const void *)weights);
  if (high) lane = _mm256_srli_epi16(lane, 4);
  return _mm256_and_si256(lane, _mm256_set1_epi8(15));
}

/* The first of two counts in each byte: the sum of all, less 16 times the second, modulo 256. */
XK_INLINE __m256i without_second(__m256i both, __m256i second) {
  __m256i sixteen = _mm256_andnot_si256(_mm256_set1_epi8(15), _mm256_slli_epi16(second, 4));
  return _mm256_sub_epi8(both, sixteen);
}

/* Adds bytes to 16-bit sums, which begin there or have begun. */
XK_INLINE void add_bytes(__m256i bytes, int begun, uint16_t sums[2][16]) {
  __m256i even = _mm256_and_si256(bytes, _mm256_set1_epi16(255));
  __m256i odd = _mm256_srli_epi16(bytes, 8);
  if (begun) {
    even = _mm256_add_epi16(even, _mm256_load_si256((const void *)sums[0]));
    odd = _mm256_add_epi16(odd, _mm256_load_si256((const void *)sums[1]));
  }
  _mm256_store_si256((void *)sums[0], even);
  _mm256_store_si256((void *)sums[1], odd);
}

#endif
#endif
