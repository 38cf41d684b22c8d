/* AVX-512 with VPOPCNTDQ and VNNI: 16 output channels a register, 32 input channels a lane, or 4 of
 * bytes.
 *
 * Each word of a pixel is broadcast and meets 4 registers of weights: xor, popcount, add. There is
 * no sum across lanes, and no copy of the windows. */
#include "isa.h"

#ifdef XK_X86
#include <immintrin.h>

#define XK_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vpopcntdq,avx512vnni")))
#define XK_INLINE static inline __attribute__((always_inline)) XK_TARGET

/* With constant P and V the loops over them unroll and `sum` lives in registers. */
XK_INLINE void add_up(const struct xk_window *w, const uint32_t *const *pixel, const int P,
                      const int V, const enum xk_unit unit, __m512i sum[XK_PIXELS][4]) {
  const uint8_t *weights = w->weights;
  const int64_t *run_offset = w->run_offset;
#pragma GCC unroll 6
  for (int p = 0; p < P; p++) {
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) sum[p][v] = _mm512_setzero_si512();
  }
again:
  for (int r = 0; r < w->runs; r++) {
    const uint32_t *x[XK_PIXELS];
#pragma GCC unroll 6
    for (int p = 0; p < P; p++) x[p] = pixel[p] + run_offset[r];
    for (int64_t k = 0; k < w->run_words; k++) {
      __m512i lane[4];
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) lane[v] = _mm512_loadu_si512(weights + 64 * v);
      weights += 4 * XK_LANES;
#pragma GCC unroll 6
      for (int p = 0; p < P; p++) {
        __m512i word = _mm512_set1_epi32((int)x[p][k]);
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) {
          if (unit == XK_BYTES) {
            sum[p][v] = _mm512_dpbusd_epi32(sum[p][v], word, lane[v]);
          } else {
            __m512i differ = _mm512_popcnt_epi32(_mm512_xor_si512(word, lane[v]));
            sum[p][v] = _mm512_add_epi32(sum[p][v], differ);
          }
        }
      }
    }
  }
  if (unit == XK_SIGNS && w->planes == 2 && run_offset == w->run_offset) {
    run_offset += w->runs;
    weights = w->weights;
#pragma GCC unroll 6
    for (int p = 0; p < P; p++) {
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) sum[p][v] = _mm512_add_epi32(sum[p][v], sum[p][v]);
    }
    goto again;
  }
}

XK_INLINE void numbers_some(const struct xk_window *w, int first, const int P, const int V,
                            const enum xk_unit unit, const struct xk_affine *a,
                            const int plain) {
  const __m512 zero = _mm512_setzero_ps();
  const __m128i shift = _mm_cvtsi32_si128(a->shift);
  __m512i sum[XK_PIXELS][4];
  add_up(w, w->pixel + first, P, V, unit, sum);
#pragma GCC unroll 4
  for (int v = 0; v < V; v++) {
    const int c = 16 * v, left = a->channels - c;
    const __mmask16 here = left < 16 ? (__mmask16)((1u << left) - 1) : (__mmask16)0xffff;
    const __m512 scale = _mm512_loadu_ps(a->scale + c), bias = _mm512_loadu_ps(a->bias + c);
#pragma GCC unroll 6
    for (int p = 0; p < P; p++) {
      const float *residual = a->residual[first + p];
      __m512i base = _mm512_loadu_si512(a->base[first + p] + c);
      __m512i dot = _mm512_sub_epi32(base, _mm512_sll_epi32(sum[p][v], shift));
      __m512 y = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(dot), scale), bias);
      if (plain) {
        _mm512_storeu_ps(a->y[first + p] + c, y);
        continue;
      }
      if (residual != NULL && a->add_first) {
        y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(here, residual + c));
      }
      if (a->slope != NULL) {
        __mmask16 below = _mm512_cmp_ps_mask(y, zero, _CMP_NGE_UQ);
        y = _mm512_mask_mul_ps(y, below, y, _mm512_loadu_ps(a->slope + c));
      } else if (a->relu) {
        y = _mm512_max_ps(y, zero);
      }
      if (residual != NULL && !a->add_first) {
        y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(here, residual + c));
      }
      _mm512_mask_storeu_ps(a->y[first + p] + c, here, y);
    }
  }
}

XK_INLINE void compare_some(const struct xk_window *w, int first, const int P, const int V,
                            const enum xk_unit unit, const struct xk_limits *limits,
                            uint64_t (*bits)[XK_PIXELS]) {
  __m512i sum[XK_PIXELS][4];
  add_up(w, w->pixel + first, P, V, unit, sum);
  for (int set = 0; set < limits->count; set++) {
#pragma GCC unroll 6
    for (int p = 0; p < P; p++) {
      const int32_t *limit = limits->of[first + p] + (size_t)set * limits->step;
      __mmask16 more[4] = {0, 0, 0, 0};
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) {
        __m512i most = _mm512_loadu_si512(limit + 16 * v);
        more[v] = _mm512_cmpgt_epi32_mask(sum[p][v], most);
      }
      __mmask32 low = _mm512_kunpackw(more[1], more[0]);
      __mmask32 high = V > 2 ? _mm512_kunpackw(more[3], more[2]) : 0;
      bits[set][first + p] = V > 2 ? _mm512_kunpackd(high, low) : low;
    }
  }
}

/* A full set of pixels at once; the few at the end one by one. Of bytes it is half a set, unless
 * there are 1 or 2 registers of channels: compilers keep 24 sums of products in memory. */
#define XK_EACH(some, V, unit, ...)                                                     \
  do {                                                                                  \
    const int at_once = unit == XK_BYTES && V > 2 ? XK_PIXELS / 2 : XK_PIXELS;          \
    if (w->pixels == XK_PIXELS) {                                                       \
      for (int first = 0; first < XK_PIXELS; first += at_once) {                        \
        some(w, first, at_once, V, unit, __VA_ARGS__);                                  \
      }                                                                                 \
    } else {                                                                            \
      for (int first = 0; first < w->pixels; first++) some(w, first, 1, V, unit, __VA_ARGS__); \
    }                                                                                   \
  } while (0)

#define XK_LANES_OF(some, unit, ...)                     \
  do {                                                   \
    switch (w->lanes) {                                  \
      case 16: XK_EACH(some, 1, unit, __VA_ARGS__); break; \
      case 32: XK_EACH(some, 2, unit, __VA_ARGS__); break; \
      case 48: XK_EACH(some, 3, unit, __VA_ARGS__); break; \
      default: XK_EACH(some, 4, unit, __VA_ARGS__); break; \
    }                                                    \
  } while (0)

static XK_TARGET void numbers(const struct xk_window *w, const struct xk_affine *a) {
  /* Asking for each register what follows the sums would take as long as the rest of it. */
  const int plain = a->slope == NULL && !a->relu && a->residual[0] == NULL;
  if (w->unit == XK_BYTES) {
    XK_LANES_OF(numbers_some, XK_BYTES, a, 0);
  } else if (a->channels == XK_LANES && plain) {
    XK_EACH(numbers_some, 4, XK_SIGNS, a, 1);
  } else {
    XK_LANES_OF(numbers_some, XK_SIGNS, a, 0);
  }
}

static XK_TARGET void compare(const struct xk_window *w, const struct xk_limits *limits,
                              uint64_t (*bits)[XK_PIXELS]) {
  if (w->unit == XK_BYTES) {
    XK_LANES_OF(compare_some, XK_BYTES, limits, bits);
  } else {
    XK_LANES_OF(compare_some, XK_SIGNS, limits, bits);
  }
}

static XK_TARGET void pack_f32(const float *values, size_t count, float least, uint32_t *words) {
  const __m512 bound = _mm512_set1_ps(least);
  for (; count >= 32; count -= 32, values += 32) {
    __mmask16 low = _mm512_cmp_ps_mask(_mm512_loadu_ps(values), bound, _CMP_NGE_UQ);
    __mmask16 high = _mm512_cmp_ps_mask(_mm512_loadu_ps(values + 16), bound, _CMP_NGE_UQ);
    *words++ = (uint32_t)low | (uint32_t)high << 16;
  }
  if (count > 0) {
    uint32_t mask = (1u << count) - 1;
    __mmask16 a = (__mmask16)mask, b = (__mmask16)(mask >> 16);
    __mmask16 low = _mm512_mask_cmp_ps_mask(a, _mm512_maskz_loadu_ps(a, values), bound, _CMP_NGE_UQ);
    __mmask16 high = 0;
    if (b != 0) {
      __m512 rest = _mm512_maskz_loadu_ps(b, values + 16);
      high = _mm512_mask_cmp_ps_mask(b, rest, bound, _CMP_NGE_UQ);
    }
    *words = (uint32_t)low | (uint32_t)high << 16;
  }
}

static XK_TARGET void pack_i8(const int8_t *values, size_t count, int zero, uint32_t *words) {
  const __m256i at = _mm256_set1_epi8((char)zero);
  for (; count >= 32; count -= 32, values += 32) {
    *words++ = _mm256_cmplt_epi8_mask(_mm256_loadu_si256((const void *)values), at);
  }
  if (count > 0) {
    __mmask32 mask = (1u << count) - 1;
    *words = _mm256_mask_cmplt_epi8_mask(mask, _mm256_maskz_loadu_epi8(mask, values), at);
  }
}

const struct xk_isa xk_avx512 = {
    .name = "avx512",
    .unit_bytes = 4,
    .byte_unit_bytes = 4,
    .numbers = numbers,
    .compare = compare,
    .pack_f32 = pack_f32,
    .pack_i8 = pack_i8,
};
#endif
