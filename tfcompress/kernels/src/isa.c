#include "isa.h"

#include <string.h>

static int runs_here(const struct xk_isa *isa) {
#ifdef XK_X86
  if (isa == &xk_avx512) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vpopcntdq");
  }
  if (isa == &xk_avx2) return __builtin_cpu_supports("avx2");
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
