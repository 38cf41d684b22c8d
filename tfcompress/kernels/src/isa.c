#include "isa.h"

#include <string.h>

#ifdef XK_X86
#include <cpuid.h>

enum { AVX2 = 1, AVX512 = 2 };

/* What the processor has and the system keeps for each thread. Asked by hand, since
 * `__builtin_cpu_supports` stands in a library that a cross-compiler may not bring. */
static int features(void) {
  const unsigned os_and_avx = 1u << 27 | 1u << 28;
  const unsigned wide = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* F, DQ, BW, VL */
  unsigned a, b, c, d, kept, high;
  int found = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & os_and_avx) != os_and_avx) return 0;
  __asm__("xgetbv" : "=a"(kept), "=d"(high) : "c"(0));
  if ((kept & 6) != 6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
  if (b >> 5 & 1) found |= AVX2;
  if ((kept & 0xe0) == 0xe0 && (b & wide) == wide && c >> 14 & c >> 11 & 1) {
    found |= AVX512; /* VPOPCNTDQ and VNNI */
  }
  return found;
}
#endif

static int runs_here(const struct xk_isa *isa) {
#ifdef XK_X86
  if (isa == &xk_avx512) return (features() & AVX512) != 0;
  if (isa == &xk_avx2) return (features() & AVX2) != 0;
#endif
  (void)isa;
  return 1;
}

static const struct xk_isa *const ALL[] = {
#ifdef XK_X86
    &xk_avx512, &xk_avx2,
#endif
#ifdef XK_ARM
    &xk_neon,
#endif
    &xk_portable,
};
enum { COUNT = (int)(sizeof ALL / sizeof ALL[0]) };

const struct xk_isa *xk_isa_named(const char *name) {
  for (int i = 0; i < COUNT; i++) {
    int wanted = name == NULL || name[0] == '\0' || strcmp(name, ALL[i]->name) == 0;
    if (wanted && runs_here(ALL[i])) return ALL[i];
  }
  return NULL;
}

const char *xk_isa_name(int index) {
  for (int i = 0; i < COUNT; i++) {
    if (runs_here(ALL[i]) && index-- == 0) return ALL[i]->name;
  }
  return NULL;
}
