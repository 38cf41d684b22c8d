/* AVX2, which has no popcount: differences of 4 channels are looked up, 32 output channels at once.
 *
 * A byte holds 4 bits of one pixel and 4 of another. For each such byte v there is a table of
 * popcount(low 4 bits of v ^ i) + 16 * popcount(high 4 bits of v ^ i), i = 0..15. The pixels choose
 * the table, the weights' 4 bits are the indices of `pshufb`. Three answers add up to 12 at most in
 * each half of a byte; then the halves are taken apart. */
#include "avx2.h"

#ifdef XK_X86
#include <string.h>

/* Four channels add 4 at most: a byte holds 63 of them, which 7 words of 8 don't exceed; 16 bits
 * hold 260 such bytes. */
enum { BYTE_WORDS = 7, SHORT_SUMS = 260, PAIRS = XK_PIXELS / 2 };

#define BOTH(v, i) ONES(((v) & 15) ^ (i)) + 16 * ONES((v) >> 4 ^ (i))
#define FOUR(v, i) BOTH(v, i), BOTH(v, i + 1), BOTH(v, i + 2), BOTH(v, i + 3)
#define TABLE(v) {FOUR(v, 0), FOUR(v, 4), FOUR(v, 8), FOUR(v, 12)}
#define FOUR_TABLES(v) TABLE(v), TABLE(v + 1), TABLE(v + 2), TABLE(v + 3)
#define TABLES(v) FOUR_TABLES(v), FOUR_TABLES(v + 4), FOUR_TABLES(v + 8), FOUR_TABLES(v + 12)
static const uint8_t DIFFERENCES[256][16] __attribute__((aligned(64))) = {
    TABLES(0),   TABLES(16),  TABLES(32),  TABLES(48),  TABLES(64),  TABLES(80),
    TABLES(96),  TABLES(112), TABLES(128), TABLES(144), TABLES(160), TABLES(176),
    TABLES(192), TABLES(208), TABLES(224), TABLES(240),
};

/* A few words of each pair of pixels: for every 4 channels where their table begins. */
struct looked_up {
  uint16_t at[PAIRS][8 * BYTE_WORDS] __attribute__((aligned(16)));
  int words;
};

/* Sums of 32 output channels: those with even numbers, then the odd ones. */
struct short_sums {
  uint16_t of[XK_PIXELS][XK_LANES / 32][2][16] __attribute__((aligned(32)));
};

/* A place in a window: `at` words behind each pixel's first one. */
struct cursor {
  const uint32_t *pixel[XK_PIXELS];
  const int64_t *run_offset; /* of the plane */
  int run;
  int64_t at, end; /* of this run */
};

static struct cursor begin(const struct xk_window *w, int plane) {
  struct cursor from = {.run_offset = w->run_offset + plane * w->runs};
  from.at = from.run_offset[0];
  from.end = from.at + w->run_words;
  for (int p = 0; p < XK_PIXELS; p++) { /* A last pixel without a partner is its own. */
    from.pixel[p] = w->pixel[p < w->pixels ? p : w->pixels - 1];
  }
  return from;
}

/* Looks two words up, or one, in each pair. */
XK_INLINE void look_up_some(const struct cursor *from, int pairs, int place, const int words,
                            struct looked_up *to) {
  const uint64_t four = UINT64_C(0x0f0f0f0f0f0f0f0f);
#pragma GCC unroll 3
  for (int p = 0; p < pairs; p++) {
    uint64_t a = 0, b = 0;
    memcpy(&a, from->pixel[2 * p] + from->at, 4 * (size_t)words);
    memcpy(&b, from->pixel[2 * p + 1] + from->at, 4 * (size_t)words);
    uint64_t low = (a & four) | (b & four) << 4;
    uint64_t high = (a >> 4 & four) | (b & ~four);
    __m128i bytes =
        _mm_unpacklo_epi8(_mm_cvtsi64_si128((int64_t)low), _mm_cvtsi64_si128((int64_t)high));
    void *at = to->at[p] + 8 * place;
    if (words == 2) {
      _mm256_storeu_si256(at, _mm256_slli_epi16(_mm256_cvtepu8_epi16(bytes), 4));
    } else {
      _mm_storeu_si128(at, _mm_slli_epi16(_mm_cvtepu8_epi16(bytes), 4));
    }
  }
}

/* Takes the window's next words. */
static XK_TARGET void look_up(const struct xk_window *w, struct cursor *from, int words,
                              struct looked_up *to) {
  const int pairs = (w->pixels + 1) / 2;
  to->words = words;
  for (int done = 0; done < words;) {
    const int left = words - done;
    const int end = done + (from->end - from->at < left ? (int)(from->end - from->at) : left);
    for (; done + 1 < end; done += 2, from->at += 2) look_up_some(from, pairs, done, 2, to);
    if (done < end) {
      look_up_some(from, pairs, done++, 1, to);
      from->at++;
    }
    if (from->at == from->end && from->run + 1 < w->runs) {
      from->at = from->run_offset[++from->run];
      from->end = from->at + w->run_words;
    }
  }
}

/* Counts some words of P pairs from `first` on, for 32 output channels: the half `v` of a block. */
XK_INLINE void count_some(const uint8_t *weights, const struct looked_up *found, int first,
                          const int P, int v, int begun, struct short_sums *sums) {
  const __m256i four = _mm256_set1_epi8(15);
  __m256i both[PAIRS], second[PAIRS]; /* the sum of all, and of the pairs' second pixels */
#pragma GCC unroll 3
  for (int p = 0; p < P; p++) both[p] = second[p] = _mm256_setzero_si256();
  for (int k = 0; k < found->words; k++, weights += 4 * XK_LANES) {
#pragma GCC unroll 3
    for (int start = 0; start < 8; start += 3) {
      const int count = start < 6 ? 3 : 2;
      __m256i lane[3];
#pragma GCC unroll 3
      for (int i = 0; i < count; i++) {
        lane[i] = half_of(weights + (start + i) / 2 * XK_LANES, (start + i) % 2);
      }
#pragma GCC unroll 3
      for (int p = 0; p < P; p++) {
        const uint16_t *at = found->at[first + p] + 8 * k + start;
        __m256i sum = _mm256_setzero_si256();
#pragma GCC unroll 3
        for (int i = 0; i < count; i++) {
          const void *table = DIFFERENCES[0] + at[i];
          __m256i answers = _mm256_broadcastsi128_si256(_mm_load_si128(table));
          sum = _mm256_add_epi8(sum, _mm256_shuffle_epi8(answers, lane[i]));
        }
        both[p] = _mm256_add_epi8(both[p], sum);
        __asm__("" : "+x"(both[p])); /* Else the compiler keeps more sums than registers. */
        sum = _mm256_and_si256(_mm256_srli_epi16(sum, 4), four);
        second[p] = _mm256_add_epi8(second[p], sum);
        __asm__("" : "+x"(second[p]));
      }
    }
  }
#pragma GCC unroll 3
  for (int p = 0; p < P; p++) {
    add_bytes(without_second(both[p], second[p]), begun, sums->of[2 * (first + p)][v]);
    add_bytes(second[p], begun, sums->of[2 * (first + p) + 1][v]);
  }
}

/* The same of a pixel alone, whose answers need no taking apart; for V halves of a block. */
XK_INLINE void count_one(const uint8_t *weights, const struct looked_up *found, int pair,
                         const int V, int begun,
                         struct short_sums *sums) {
  __m256i sum[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
  for (int k = 0; k < found->words; k++, weights += 4 * XK_LANES) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
      const void *table = DIFFERENCES[0] + found->at[pair][8 * k + i];
      __m256i answers = _mm256_broadcastsi128_si256(_mm_load_si128(table));
      answers = _mm256_and_si256(answers, _mm256_set1_epi8(15));
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) {
        __m256i lane = half_of(weights + 32 * v + i / 2 * XK_LANES, i % 2);
        sum[v] = _mm256_add_epi8(sum[v], _mm256_shuffle_epi8(answers, lane));
      }
    }
  }
#pragma GCC unroll 2
  for (int v = 0; v < V; v++) add_bytes(sum[v], begun, sums->of[2 * pair][v]);
}

/* Moves 16-bit sums to 32-bit ones in the channels' order, which begin there or have begun. */
XK_INLINE void widen(const uint16_t from[2][16], int begun, uint32_t *counts) {
  const __m256i even = _mm256_load_si256((const void *)from[0]);
  const __m256i odd = _mm256_load_si256((const void *)from[1]);
  const __m256i part[2] = {_mm256_unpacklo_epi16(even, odd), _mm256_unpackhi_epi16(even, odd)};
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    __m256i both = part[i % 2];
    __m128i eight = i < 2 ? _mm256_castsi256_si128(both) : _mm256_extracti128_si256(both, 1);
    __m256i more = _mm256_cvtepu16_epi32(eight), *at = (void *)(counts + 8 * i);
    if (begun) more = _mm256_add_epi32(more, _mm256_loadu_si256(at));
    _mm256_storeu_si256(at, more);
  }
}

/* Some words of bytes of a window: where they are, from each pixel's first word on. */
struct chunk {
  const uint8_t *weights;
  int64_t at[XK_CHUNK];
  int words, begun; /* whether there were others before them */
};

/* Adds sums to 8 counts, which begin there or have begun. */
XK_INLINE void add_to(uint32_t *counts, __m256i more, int begun) {
  if (begun) more = _mm256_add_epi32(more, _mm256_loadu_si256((const void *)counts));
  _mm256_storeu_si256((void *)counts, more);
}

/* Adds the products of bytes for 8 output channels of P pixels. Bytes 0 and 2 and bytes 1 and 3 are
 * multiplied as 16 bits each: the instruction for bytes would cut large sums of two products. */
XK_INLINE void multiply_some(const struct chunk *chunk, const uint32_t *const *pixel, const int P,
                             int lane, uint32_t counts[XK_PIXELS][XK_LANES]) {
  const __m256i low = _mm256_set1_epi16(255);
  __m256i sum[XK_PIXELS];
#pragma GCC unroll 6
  for (int p = 0; p < P; p++) sum[p] = _mm256_setzero_si256();
  for (int64_t k = 0; k < chunk->words; k++) {
    const void *weights = chunk->weights + 4 * (XK_LANES * k + lane);
    __m256i both = _mm256_loadu_si256(weights);
    __m256i odd = _mm256_srai_epi16(both, 8);
    __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(both, 8), 8);
#pragma GCC unroll 6
    for (int p = 0; p < P; p++) {
      __m256i x = _mm256_set1_epi32((int)pixel[p][chunk->at[k]]);
      __m256i more = _mm256_madd_epi16(_mm256_and_si256(x, low), even);
      sum[p] = _mm256_add_epi32(sum[p], more);
      more = _mm256_madd_epi16(_mm256_srli_epi16(x, 8), odd);
      sum[p] = _mm256_add_epi32(sum[p], more);
      __asm__("" : "+x"(sum[p])); /* Else the compiler keeps more than there are registers. */
    }
  }
#pragma GCC unroll 6
  for (int p = 0; p < P; p++) add_to(counts[p] + lane, sum[p], chunk->begun);
}

/* The same for 16 output channels, of a chunk whose pairs of bytes add up to what 16 bits hold. */
XK_INLINE void multiply_pairs(const struct chunk *chunk, const uint32_t *const *pixel, const int P,
                              int lane, uint32_t counts[XK_PIXELS][XK_LANES]) {
  __m256i sum[XK_PIXELS][2];
#pragma GCC unroll 6
  for (int p = 0; p < P; p++) sum[p][0] = sum[p][1] = _mm256_setzero_si256();
  for (int64_t k = 0; k < chunk->words; k++) {
    const uint8_t *weights = chunk->weights + 4 * (XK_LANES * k + lane);
    const __m256i low = _mm256_loadu_si256((const void *)weights);
    const __m256i high = _mm256_loadu_si256((const void *)(weights + 32));
#pragma GCC unroll 6
    for (int p = 0; p < P; p++) {
      __m256i x = _mm256_set1_epi32((int)pixel[p][chunk->at[k]]);
      sum[p][0] = _mm256_add_epi16(sum[p][0], _mm256_maddubs_epi16(x, low));
      sum[p][1] = _mm256_add_epi16(sum[p][1], _mm256_maddubs_epi16(x, high));
      __asm__("" : "+x"(sum[p][0]), "+x"(sum[p][1]));
    }
  }
#pragma GCC unroll 6
  for (int p = 0; p < P; p++) {
    const __m256i one = _mm256_set1_epi16(1);
    add_to(counts[p] + lane, _mm256_madd_epi16(sum[p][0], one), chunk->begun);
    add_to(counts[p] + lane + 8, _mm256_madd_epi16(sum[p][1], one), chunk->begun);
  }
}

static XK_TARGET void multiply_chunk(const struct xk_window *w, const struct chunk *chunk,
                                     uint32_t counts[XK_PIXELS][XK_LANES]) {
  for (int lane = 0; lane < w->lanes; lane += 16) {
    const int all = w->pixels == XK_PIXELS;
    for (int p = 0; p < (all ? 1 : w->pixels); p++) {
      if (all && w->pair_words > 0) {
        multiply_pairs(chunk, w->pixel, XK_PIXELS, lane, counts);
      } else if (all) {
        multiply_some(chunk, w->pixel, XK_PIXELS, lane, counts);
        multiply_some(chunk, w->pixel, XK_PIXELS, lane + 8, counts);
      } else if (w->pair_words > 0) {
        multiply_pairs(chunk, w->pixel + p, 1, lane, counts + p);
      } else {
        multiply_some(chunk, w->pixel + p, 1, lane, counts + p);
        multiply_some(chunk, w->pixel + p, 1, lane + 8, counts + p);
      }
    }
  }
}

static XK_TARGET void multiply(const struct xk_window *w, uint32_t counts[XK_PIXELS][XK_LANES]) {
  const int most = w->pair_words > 0 ? w->pair_words : XK_CHUNK;
  struct chunk chunk; /* Its places aren't cleared: that would take as long as some sums. */
  chunk.weights = w->weights;
  chunk.words = chunk.begun = 0;
  for (int r = 0; r < w->runs; r++) {
    for (int k = 0; k < w->run_words; k++) {
      chunk.at[chunk.words++] = w->run_offset[r] + k;
      if (chunk.words < most && (r + 1 < w->runs || k + 1 < w->run_words)) continue;
      multiply_chunk(w, &chunk, counts);
      chunk.weights += (size_t)chunk.words * 4 * XK_LANES;
      chunk.words = 0;
      chunk.begun = 1;
    }
  }
}

/* Counts the bits of a plane, and adds them to twice the counts of the plane before. */
static XK_TARGET void count_plane(const struct xk_window *w, int plane,
                                  uint32_t counts[XK_PIXELS][XK_LANES]) {
  const int pairs = (w->pixels + 1) / 2, halves = w->lanes > 32 ? 2 : 1;
  const int64_t words = (int64_t)w->runs * w->run_words;
  const uint8_t *weights = w->weights;
  struct cursor from = begin(w, plane);
  struct looked_up found;
  struct short_sums sums;
  for (int p = 0; p < w->pixels && plane > 0; p++) {
    for (int l = 0; l < 32 * halves; l++) counts[p][l] *= 2;
  }
  for (int64_t done = 0; done < words;) {
    const int begun = plane > 0 || done > 0;
    for (int added = 0; done < words && added < SHORT_SUMS; added++) {
      look_up(w, &from, words - done < BYTE_WORDS ? (int)(words - done) : BYTE_WORDS, &found);
      for (int v = 0; v < halves && pairs == PAIRS; v++) {
        count_some(weights + 32 * v, &found, 0, PAIRS, v, added > 0, &sums);
      }
      for (int p = 0; p < pairs && pairs < PAIRS; p++) {
        if (2 * p + 1 < w->pixels) {
          for (int v = 0; v < halves; v++) {
            count_some(weights + 32 * v, &found, p, 1, v, added > 0, &sums);
          }
        } else if (halves == 2) {
          count_one(weights, &found, p, 2, added > 0, &sums);
        } else {
          count_one(weights, &found, p, 1, added > 0, &sums);
        }
      }
      weights += found.words * 4 * XK_LANES;
      done += found.words;
    }
    for (int p = 0; p < w->pixels; p++) {
      for (int v = 0; v < halves; v++) widen(sums.of[p][v], begun, counts[p] + 32 * v);
    }
  }
}

static XK_TARGET void count(const struct xk_window *w, uint32_t counts[XK_PIXELS][XK_LANES]) {
  if (w->unit == XK_BYTES) {
    multiply(w, counts);
    return;
  }
  for (int p = 0; p < w->pixels && w->counted != NULL; p++) {
    const uint16_t(*tile)[16] = (const void *)w->counted[p];
    for (int v = 0; v < (w->lanes > 32 ? 2 : 1); v++) widen(tile + 2 * v, 0, counts[p] + 32 * v);
  }
  for (int plane = 0; plane < w->planes && w->counted == NULL; plane++) {
    count_plane(w, plane, counts);
  }
}

#include "finish.inc"

/* Returns which of 32 counts are above their limits. */
XK_INLINE uint32_t above(const uint32_t *counts, const int32_t *limit) {
  __m256i more[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    __m256i most = _mm256_loadu_si256((const void *)(limit + 8 * i));
    more[i] = _mm256_cmpgt_epi32(_mm256_loadu_si256((const void *)(counts + 8 * i)), most);
  }
  __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(more[0], more[1]),
                                     _mm256_packs_epi32(more[2], more[3]));
  /* Packing took both halves of a register apart. */
  bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  return (uint32_t)_mm256_movemask_epi8(bytes);
}

static XK_TARGET void compare(const struct xk_window *w, const struct xk_limits *limits,
                              uint64_t (*bits)[XK_PIXELS]) {
  uint32_t counts[XK_PIXELS][XK_LANES];
  count(w, counts);
  for (int set = 0; set < limits->count; set++) {
    for (int p = 0; p < w->pixels; p++) {
      const int32_t *limit = limits->of[p] + (size_t)set * limits->step;
      bits[set][p] = 0;
      for (int l = 0; l < w->lanes; l += 32) {
        bits[set][p] |= (uint64_t)above(counts[p] + l, limit + l) << l;
      }
    }
  }
}

static XK_TARGET void pack_f32(const float *values, size_t count, float least, uint32_t *words) {
  const __m256 bound = _mm256_set1_ps(least);
  for (; count >= 32; count -= 32, values += 32) {
    uint32_t word = 0;
    for (int i = 0; i < 4; i++) {
      __m256 below = _mm256_cmp_ps(_mm256_loadu_ps(values + 8 * i), bound, _CMP_NGE_UQ);
      word |= (uint32_t)_mm256_movemask_ps(below) << (8 * i);
    }
    *words++ = word;
  }
  if (count > 0) xk_portable.pack_f32(values, count, least, words);
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
    .byte_unit_bytes = 4,
    .count_tile = xk_avx2_count_tile,
    .numbers = numbers,
    .compare = compare,
    .pack_f32 = pack_f32,
    .pack_i8 = pack_i8,
};
#endif
