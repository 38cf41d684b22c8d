/* Random convolutions on every kernel, as many max poolings, the threads, and the fuzzer's ops from
 * seeded bytes: unit FIRST CONVOLUTIONS FIRST OPS. Says of what kinds the convolutions were, and on
 * the last line which kernels ran; exit status 0 if all is well. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <pthread.h>

#include "checks.h"
#include "isa.h"
#include "memory.h"
#include "options.h"
#include "threads.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
extern unsigned long fuzz_ran;

static int failures = 0;

void expect(int condition, const char *what, int number) {
  if (condition) return;
  failures++;
  fprintf(stderr, "failed: %s, case %d\n", what, number);
}

static uint32_t state = 1;

int among(int low, int high) {
  state = state * 1664525u + 1013904223u;
  return low + (int)((state >> 8) % (uint32_t)(high - low + 1));
}

void seed(uint32_t value) { state = value; }

void *made(size_t bytes) {
  uint8_t *memory = malloc(bytes > 0 ? bytes : 1);
  if (memory == NULL) abort();
  for (size_t i = 0; i < bytes; i++) memory[i] = (uint8_t)among(0, 255);
  return memory;
}

/* Counts how often each part was done. */
static void mark(void *context, int part, int parts) {
  atomic_int *marks = context;
  (void)parts;
  atomic_fetch_add(&marks[part], 1);
  atomic_store(&marks[300], parts);
}

struct caller {
  struct xk_pool *pool;
  int wrong;
};

static void *call_often(void *argument) {
  struct caller *caller = argument;
  for (int round = 0; round < 2000; round++) {
    atomic_int marks[301];
    for (int i = 0; i < 301; i++) atomic_init(&marks[i], 0);
    xk_pool_run(caller->pool, 1 + round % 5, mark, marks);
    int parts = atomic_load(&marks[300]);
    for (int i = 0; i < 300; i++) caller->wrong += atomic_load(&marks[i]) != (i < parts);
  }
  return NULL;
}

static void check_threads(void) {
  struct xk_pool *pool = xk_pool_create();
  struct caller callers[2] = {{pool, 0}, {pool, 0}};
  pthread_t other;
  if (pthread_create(&other, NULL, call_often, &callers[1]) != 0) abort();
  call_often(&callers[0]);
  pthread_join(other, NULL);
  expect(callers[0].wrong == 0 && callers[1].wrong == 0, "each part once", 0);
  xk_pool_destroy(pool);
}

static void check_limits(void) {
  struct xk_options good = {1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1};
  expect(xk_check_options(&good) == XK_OK, "right options", 0);
  int32_t *fields = (int32_t *)&good;
  static const int BAD[] = {-1, INT32_MIN, INT32_MAX};
  for (int i = 0; i < XK_OPTION_COUNT; i++) {
    int32_t kept = fields[i];
    for (int b = 0; b < 3; b++) {
      fields[i] = BAD[b];
      expect(xk_check_options(&good) != XK_OK, "wrong option", i);
    }
    fields[i] = kept;
  }
  uint8_t bytes[XK_OPTION_BYTES] = {0};
  struct xk_options read;
  for (size_t length = 0; length <= sizeof bytes; length++) {
    expect(xk_read_options(bytes, length, &read) == XK_BAD_OPTIONS, "no magic", (int)length);
  }
}

/* One budget for all that is taken; what is freed can be taken again, by whoever comes first. */
static void check_memory(void) {
  const uint64_t mib = 1 << 20, budget = 64;
  struct xk_memory *memory = xk_memory_create();
  struct xk_scratch *one = NULL, *same = NULL, *other = NULL;
  void *taken[3] = {NULL, NULL, NULL};
  expect(xk_memory_budget(memory) == budget * mib, "budget", 0);
  expect(xk_take(memory, budget - 1, mib, &taken[0]) == XK_OK, "within", 0);
  expect(xk_take(memory, 1, mib, &taken[1]) == XK_OVER_BUDGET, "beyond", 0);
  expect(taken[1] == NULL, "untouched", 0);
  xk_memory_know_file(memory, mib);
  xk_memory_know_file(memory, 1); /* A smaller file takes nothing away. */
  expect(xk_memory_budget(memory) == (budget + 16) * mib, "file", 0);
  xk_memory_know_file(memory, UINT64_MAX);
  expect(xk_take(memory, 1, mib, &taken[1]) == XK_OK, "more", 0);
  expect(xk_take(memory, UINT64_MAX, 2, &taken[2]) == XK_TOO_LARGE, "overflow", 0);
  expect(xk_take(memory, 3, UINT64_MAX / 2, &taken[2]) == XK_TOO_LARGE, "overflow", 1);
  xk_free(taken[0]);
  xk_free(taken[1]);
  xk_memory_release(memory);

  memory = xk_memory_create();
  expect(xk_scratch_join(memory, &one, &one) == XK_OK, "join", 0);
  expect(xk_scratch_join(memory, &one, &same) == XK_OK && same == one, "same graph", 0);
  expect(xk_scratch_join(memory, &other, &other) == XK_OK && other != one, "other graph", 0);
  expect(xk_scratch_hold(one, 100 * mib, 0) == XK_OVER_BUDGET, "scratch", 0);
  expect(xk_scratch_place(one) == NULL, "scratch", 1);
  expect(xk_scratch_hold(one, 100 * mib, 90 * mib) == XK_OK, "scratch", 2);
  expect(xk_take(memory, 60, mib, &taken[0]) == XK_OVER_BUDGET, "counted", 0);
  expect(xk_scratch_hold(same, 99 * mib, 0) == XK_OK, "held", 0);
  xk_scratch_leave(one);
  xk_memory_release(memory); /* A delegate may go before its interpreters. */
  expect(xk_take(memory, 60, mib, &taken[0]) == XK_OVER_BUDGET, "still held", 0);
  xk_scratch_leave(same);
  expect(xk_take(memory, 60, mib, &taken[0]) == XK_OK, "released", 0);
  xk_free(taken[0]);
  xk_scratch_leave(other);
}

/* Ops made of random bytes. Most wrong ones are refused, but many must run. */
static void check_ops(uint64_t first, uint64_t count) {
  for (uint64_t i = first; i < first + count; i++) {
    uint8_t data[96];
    uint64_t seed = i * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (size_t b = 0; b < sizeof data; b++) { /* splitmix64 */
      seed += UINT64_C(0x9e3779b97f4a7c15);
      uint64_t z = (seed ^ seed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
      z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
      data[b] = (uint8_t)(z >> 56);
    }
    LLVMFuzzerTestOneInput(data, sizeof data);
  }
  expect(fuzz_ran >= count / 6, "a sixth of the inputs are ops that run", (int)fuzz_ran);
}

int main(int count, char **arguments) {
  if (count != 5) return 2;
  struct xk_pool *pool = xk_pool_create();
  check_limits();
  check_memory();
  check_threads();
  const struct conv_kinds kinds = check_convs(pool, atoi(arguments[1]), atoi(arguments[2]));
  check_pools(atoi(arguments[1]), atoi(arguments[2]));
  check_ops(strtoull(arguments[3], NULL, 10), strtoull(arguments[4], NULL, 10));
  xk_pool_destroy(pool);
  if (failures > 0) return 1;
  printf("%d of signs, %d of bytes, %d of levels; %d write levels\n", kinds.signs, kinds.bytes,
         kinds.levels, kinds.to_levels);
  for (int i = 0; xk_isa_name(i) != NULL; i++) printf("%s ", xk_isa_name(i));
  printf("all right\n");
  return 0;
}
