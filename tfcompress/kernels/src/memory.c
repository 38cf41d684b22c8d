#if !defined(_POSIX_C_SOURCE) && !defined(_WIN32) && !defined(__APPLE__)
#define _POSIX_C_SOURCE 200112L /* posix_memalign */
#endif
#include "memory.h"

#include <stdlib.h>
#include <string.h>
#ifdef _WIN32
#include <malloc.h>
#endif

static const uint64_t MOST = UINT64_C(1) << 31;

void *xk_zeroed(uint64_t count, uint64_t size) {
  void *memory = NULL;
  if (size == 0 || count > MOST / size) return NULL;
  uint64_t bytes = count * size > 0 ? count * size : 1;
  if (bytes > SIZE_MAX) return NULL;
#ifdef _WIN32
  memory = _aligned_malloc((size_t)bytes, 64);
#else
  if (posix_memalign(&memory, 64, (size_t)bytes) != 0) return NULL;
#endif
  if (memory != NULL) memset(memory, 0, (size_t)bytes);
  return memory;
}

void xk_free(void *memory) {
#ifdef _WIN32
  _aligned_free(memory);
#else
  free(memory);
#endif
}
