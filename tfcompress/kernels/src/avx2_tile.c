/* AVX2 where many pixels meet the same weights: what a pixel's 4 channels count is looked up whole.
 *
 * For each 4 input channels of a block of 64 output channels there is a table of 16 rows, one for
 * each value v that a pixel may have there: popcount(v ^ w) for the weights w of all 64, of two
 * output channels in a byte. So 4 channels of a pixel take one load and one sum. Three of them add
 * up to 12 at most in each half of a byte; then the halves are taken apart. */
#include "avx2.h"

#ifdef XK_X86
/* The tables of so many words stay in the first cache, 24 KiB, and a byte holds what they count. */
enum { CHUNK_WORDS = 6, WORD_PLACES = 8 };
typedef uint8_t table[16][32];

/* A word's table of 4 channels: that of a value is that of a smaller one, and a step for one bit
 * more, which is 1 where the weight isn't set and -1 where it is. */
#define EACH(f) f(0), f(1), f(2), f(3), f(4), f(5), f(6), f(7), f(8), f(9), f(10), f(11), f(12), \
    f(13), f(14), f(15)
#define STEP_0(w) 1 - 2 * ((w) & 1)
#define STEP_1(w) 1 - 2 * ((w) >> 1 & 1)
#define STEP_2(w) 1 - 2 * ((w) >> 2 & 1)
#define STEP_3(w) 1 - 2 * ((w) >> 3 & 1)
static const int8_t FIRST_AND_STEPS[5][16] __attribute__((aligned(16))) = {
    {EACH(ONES)}, {EACH(STEP_0)}, {EACH(STEP_1)}, {EACH(STEP_2)}, {EACH(STEP_3)},
};

/* Makes a table of the weights of output channels 0 to 31 and 32 to 63. */
XK_INLINE void make_table(__m256i low, __m256i high, table to) {
  __m256i row[16], step[5];
#pragma GCC unroll 5
  for (int i = 0; i < 5; i++) {
    const void *from = FIRST_AND_STEPS[i];
    __m256i answers = _mm256_broadcastsi128_si256(_mm_load_si128(from));
    __m256i second = _mm256_slli_epi16(_mm256_shuffle_epi8(answers, high), 4);
    second = _mm256_andnot_si256(_mm256_set1_epi8(15), second);
    step[i] = _mm256_add_epi8(_mm256_shuffle_epi8(answers, low), second); /* Modulo 256. */
  }
  row[0] = step[0];
#pragma GCC unroll 15
  for (int v = 1; v < 16; v++) {
    const int bit = v & 8 ? 3 : v & 4 ? 2 : v & 2 ? 1 : 0;
    row[v] = _mm256_add_epi8(row[v - (1 << bit)], step[1 + bit]);
  }
#pragma GCC unroll 16
  for (int v = 0; v < 16; v++) _mm256_store_si256((void *)to[v], row[v]);
}

/* Looks some words of a pixel up, 1 or 3: adds what they count to the sum of both halves, and to
 * that of the second ones. */
XK_INLINE void look_up(const uint32_t *pixel, const int64_t *at, const table *tables,
                       const int words, __m256i *both, __m256i *second) {
  const uint8_t *bytes = tables[0][0];
  __asm__("" : "+r"(bytes));
  __m256i sum = _mm256_setzero_si256();
  int added = 0;
#pragma GCC unroll 3
  for (int k = 0; k < words; k++) {
    const uint32_t word = pixel[at[k]];
    /* A quarter of where the rows begin, which the address multiplies by 8. */
    uint32_t rows[2] = {(word & 0x0f0f0f0fu) << 2, word >> 2 & 0x3c3c3c3cu};
#pragma GCC unroll 8
    for (int i = 0; i < WORD_PLACES; i++) {
      const size_t place = (size_t)(WORD_PLACES * k + i) * sizeof(table);
      const void *row = bytes + 8 * (size_t)(rows[i % 2] & 255) + place;
      __m256i counts = _mm256_load_si256(row);
      sum = added == 0 ? counts : _mm256_add_epi8(sum, counts);
      rows[i % 2] >>= 8;
      /* Else the compiler finds all rows first, and has no registers for them. */
      __asm__("" : "+x"(sum), "+r"(rows[i % 2]));
      if (++added < 3 && (i < WORD_PLACES - 1 || k < words - 1)) continue;
      added = 0;
      *both = _mm256_add_epi8(*both, sum);
      sum = _mm256_and_si256(_mm256_srli_epi16(sum, 4), _mm256_set1_epi8(15));
      *second = _mm256_add_epi8(*second, sum);
      __asm__("" : "+x"(*both), "+x"(*second));
    }
  }
}

/* Counts a chunk's words at each pixel. */
XK_INLINE void count_chunk(const uint32_t *const *pixel, int pixels, const int64_t *at, int words,
                           const table *tables, int begun, uint16_t (*counted)[XK_LANES]) {
  for (int p = 0; p < pixels; p++) {
    __m256i both = _mm256_setzero_si256(), second = _mm256_setzero_si256();
    int k = 0;
#pragma GCC unroll 1
    for (; k + 3 <= words; k += 3) {
      look_up(pixel[p], at + k, tables + WORD_PLACES * k, 3, &both, &second);
    }
#pragma GCC unroll 1
    for (; k < words; k++) {
      look_up(pixel[p], at + k, tables + WORD_PLACES * k, 1, &both, &second);
    }
    uint16_t(*sums)[16] = (void *)counted[p];
    add_bytes(without_second(both, second), begun, sums);
    add_bytes(second, begun, sums + 2);
  }
}

/* Counts the bits of a plane; with `begun`, on top of twice what is there. */
static XK_TARGET void count_plane(const struct xk_window *w, const int64_t *run_offset,
                                  const uint32_t *const *pixel, int pixels, int begun,
                                  uint16_t (*counted)[XK_LANES]) {
  const int64_t words = (int64_t)w->runs * w->run_words;
  const uint8_t *weights = w->weights;
  table tables[WORD_PLACES * CHUNK_WORDS] __attribute__((aligned(64)));
  int run = 0, in_run = 0;
  for (int p = 0; p < pixels && begun; p++) {
    for (int l = 0; l < XK_LANES; l++) counted[p][l] = (uint16_t)(2 * counted[p][l]);
  }
  for (int64_t done = 0; done < words; done += CHUNK_WORDS) {
    const int here = words - done < CHUNK_WORDS ? (int)(words - done) : CHUNK_WORDS;
    int64_t at[CHUNK_WORDS]; /* each word, behind a pixel's first one */
    for (int k = 0; k < here; k++) {
      at[k] = run_offset[run] + in_run;
      if (++in_run == w->run_words) {
        in_run = 0;
        run++;
      }
    }
    for (int i = 0; i < WORD_PLACES * here; i += 2, weights += XK_LANES) {
#pragma GCC unroll 2
      for (int high = 0; high < 2; high++) {
        make_table(half_of(weights, high), half_of(weights + 32, high), tables[i + high]);
      }
    }
    if (here == CHUNK_WORDS) { /* Apart, for the compiler. */
      count_chunk(pixel, pixels, at, CHUNK_WORDS, tables, begun || done > 0, counted);
    } else {
      count_chunk(pixel, pixels, at, here, tables, begun || done > 0, counted);
    }
  }
}

XK_TARGET void xk_avx2_count_tile(const struct xk_window *w, const uint32_t *const *pixel,
                                  int pixels, uint16_t (*counted)[XK_LANES]) {
  for (int plane = 0; plane < w->planes; plane++) {
    count_plane(w, w->run_offset + plane * w->runs, pixel, pixels, plane > 0, counted);
  }
}
#endif
