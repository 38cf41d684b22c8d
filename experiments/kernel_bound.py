"""How fast a processor can compare 32-bit words at best, in the instructions of each 1-bit kernel.

`xnor_kernel.py` holds the kernels' speed against it. Each bound is a loop of nothing but these
instructions, on one thread, compiled here:

counting: xor, popcount and add, on registers alone, without a load. AVX2 has no popcount: two
    shuffles, each of which looks 4 bits up, take its place.
lookups: what our AVX2 kernel does instead where many pixels meet the same weights: for 8 words, a
    row's number is cut out of a word, the row is loaded from the first cache and added.
"""

from __future__ import annotations

import ctypes
import functools
import tempfile
from pathlib import Path

from tfcompress import kernels
from tfcompress.kernels.build import compile_to, compiler

# Sums in flight for each pipe: with few of them the pipes wait, with many some compilers move them
# to memory. The fastest loop counts.
COUNTING = {"avx512": (10, 16), "avx2": (6, 8)}
LOOKUPS = {"avx2": (4, 8)}
ROUNDS, TRIES = 200_000, 50

_START = r"""
#define _POSIX_C_SOURCE 199309L
#include <immintrin.h>
#include <stdint.h>
#include <time.h>
static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}
#define PUBLIC __attribute__((visibility("default")))
"""

_AVX512_COUNTING = r"""
PUBLIC __attribute__((target("avx512f,avx512vpopcntdq"))) double NAME(long rounds) {
  __m512i sum[SUMS], word = _mm512_set1_epi32(0x1234567);
  for (int i = 0; i < SUMS; i++) sum[i] = _mm512_set1_epi32(i);
  const double begun = now();
  for (long r = 0; r < rounds; r++) {
#pragma GCC unroll 16
    for (int i = 0; i < SUMS; i++) {
      __m512i x = _mm512_xor_si512(word, sum[i]);
      __asm__("" : "+v"(x));
      sum[i] = _mm512_add_epi32(sum[i], _mm512_popcnt_epi32(x));
    }
  }
  const double ns = now() - begun;
  volatile int keep = 0;
  for (int i = 0; i < SUMS; i++) keep += _mm512_reduce_add_epi32(sum[i]);
  return 16.0 * SUMS * rounds / ns;
}
"""

_AVX2_COUNTING = r"""
PUBLIC __attribute__((target("avx2"))) double NAME(long rounds) {
  const __m256i four = _mm256_set1_epi8(15);
  const __m256i ones = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
  __m256i sum[SUMS], word = _mm256_set1_epi32(0x1234567);
  for (int i = 0; i < SUMS; i++) sum[i] = _mm256_set1_epi32(i);
  const double begun = now();
  for (long r = 0; r < rounds; r++) {
#pragma GCC unroll 16
    for (int i = 0; i < SUMS; i++) {
      __m256i x = _mm256_xor_si256(word, sum[i]);
      __asm__("" : "+x"(x));
      __m256i low = _mm256_shuffle_epi8(ones, _mm256_and_si256(x, four));
      __m256i high = _mm256_and_si256(_mm256_srli_epi16(x, 4), four);
      __m256i both = _mm256_add_epi8(low, _mm256_shuffle_epi8(ones, high));
      sum[i] = _mm256_add_epi8(sum[i], both);
    }
  }
  const double ns = now() - begun;
  volatile int keep = 0;
  for (int i = 0; i < SUMS; i++) keep += _mm256_extract_epi32(sum[i], 0);
  return 8.0 * SUMS * rounds / ns;
}
"""

_AVX2_LOOKUPS = r"""
PUBLIC __attribute__((target("avx2"))) double NAME(long rounds) {
  static uint8_t rows[8][16][32] __attribute__((aligned(64)));
  static volatile uint32_t words[64];
  for (int i = 0; i < 64; i++) words[i] = 0x9e3779b9u * (uint32_t)i;
  __m256i sum[SUMS];
  for (int i = 0; i < SUMS; i++) sum[i] = _mm256_setzero_si256();
  const double begun = now();
  for (long r = 0; r < rounds; r++) {
    const uint8_t *first = rows[0][0];
    uint32_t low = words[r % 64], high = low >> 2 & 0x3c3c3c3c;
    low = (low & 0x0f0f0f0f) << 2;
    __asm__("" : "+r"(first), "+r"(low), "+r"(high));
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      const void *one = first + 8 * (size_t)(low & 255) + 1024 * i;
      const void *other = first + 8 * (size_t)(high & 255) + 1024 * i + 512;
      sum[2 * i % SUMS] = _mm256_add_epi8(sum[2 * i % SUMS], _mm256_load_si256(one));
      sum[(2 * i + 1) % SUMS] = _mm256_add_epi8(sum[(2 * i + 1) % SUMS], _mm256_load_si256(other));
      low >>= 8;
      high >>= 8;
    }
  }
  const double ns = now() - begun;
  volatile int keep = 0;
  for (int i = 0; i < SUMS; i++) keep += _mm256_extract_epi32(sum[i], 0);
  return 64.0 * rounds / ns;
}
"""


@functools.cache
def counting(kernel: str) -> float | None:
    """Returns the words a nanosecond of a kernel's xor, popcount and add; None if unknown."""
    loops = {"avx512": _AVX512_COUNTING, "avx2": _AVX2_COUNTING}
    return _fastest(kernel, loops.get(kernel, ""), COUNTING.get(kernel, ()))


@functools.cache
def lookups(kernel: str) -> float | None:
    """Returns the words a nanosecond of a kernel's lookups in memory; None if it has none."""
    loops = {"avx2": _AVX2_LOOKUPS}
    return _fastest(kernel, loops.get(kernel, ""), LOOKUPS.get(kernel, ()))


def _fastest(kernel: str, loop: str, counts: tuple[int, ...]) -> float | None:
    """Returns the rate of the fastest loop; None where the processor lacks its instructions."""
    if not counts or kernel not in kernels.names():
        return None
    names = [f"words_per_ns_{sums}" for sums in counts]
    text = [
        loop.replace("SUMS", str(sums)).replace("NAME", name)
        for sums, name in zip(counts, names, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bound.c").write_text("\n".join([_START, *text]))
        library = Path(folder) / "bound.so"
        compile_to(library, compiler(), sources=Path(folder))
        functions = [ctypes.CDLL(str(library))[name] for name in names]
    for function in functions:
        function.restype, function.argtypes = ctypes.c_double, [ctypes.c_long]
    return max(function(ROUNDS) for function in functions for _ in range(TRIES))
