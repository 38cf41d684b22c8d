#if !defined(_POSIX_C_SOURCE) && !defined(_WIN32) && !defined(__APPLE__)
#define _POSIX_C_SOURCE 200112L /* posix_memalign */
#endif
#include "memory.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#ifdef _WIN32
#include <malloc.h>
#endif

/* The most bytes of one array. */
static const uint64_t MOST = UINT64_C(1) << 31;

/* A delegate's budget: what small nets and odd kernels take however few bytes their files have, and
 * a multiple of the file's constants, as weights are padded to whole vectors, tables come beside them,
 * and several interpreters may share a delegate. One VGG-16 takes 1.04 times its constants, 64 layers
 * of 64 channels 7 times, which are 2 MB. */
static const uint64_t BUDGET = UINT64_C(64) << 20;
static const uint64_t BUDGET_TIMES_FILE = 16;

struct xk_memory {
  pthread_mutex_t lock; /* Interpreters in several threads may share a delegate. */
  uint64_t holders;     /* the delegate, and each array */
  uint64_t counted, budget;
  struct xk_scratch *latest;
};

struct xk_scratch {
  struct xk_memory *memory;
  const void *graph;
  uint64_t ops, bytes;
  void *place;
};

/* Stands before each array. */
union header {
  struct {
    struct xk_memory *memory;
    uint64_t counted;
  } of;
  uint8_t padding[64];
};

static void *allocate(uint64_t bytes) {
  void *block = NULL;
  if (bytes > SIZE_MAX) return NULL;
#ifdef _WIN32
  block = _aligned_malloc((size_t)bytes, 64);
#else
  if (posix_memalign(&block, 64, (size_t)bytes) != 0) return NULL;
#endif
  return block;
}

static void deallocate(void *block) {
#ifdef _WIN32
  _aligned_free(block);
#else
  free(block);
#endif
}

struct xk_memory *xk_memory_create(void) {
  struct xk_memory *memory = calloc(1, sizeof *memory);
  if (memory == NULL) return NULL;
  if (pthread_mutex_init(&memory->lock, NULL) != 0) {
    free(memory);
    return NULL;
  }
  memory->holders = 1;
  memory->budget = BUDGET;
  return memory;
}

/* Ends one hold, and the memory with the last. */
static void let_go(struct xk_memory *memory, uint64_t counted) {
  pthread_mutex_lock(&memory->lock);
  memory->counted -= counted;
  const int last = --memory->holders == 0;
  pthread_mutex_unlock(&memory->lock);
  if (!last) return;
  pthread_mutex_destroy(&memory->lock);
  free(memory);
}

void xk_memory_release(struct xk_memory *memory) {
  if (memory != NULL) let_go(memory, 0);
}

void xk_memory_know_file(struct xk_memory *memory, uint64_t bytes) {
  const uint64_t most = (UINT64_MAX - BUDGET) / BUDGET_TIMES_FILE;
  const uint64_t budget = BUDGET + BUDGET_TIMES_FILE * (bytes < most ? bytes : most);
  pthread_mutex_lock(&memory->lock);
  if (budget > memory->budget) memory->budget = budget;
  pthread_mutex_unlock(&memory->lock);
}

uint64_t xk_memory_budget(struct xk_memory *memory) {
  pthread_mutex_lock(&memory->lock);
  const uint64_t budget = memory->budget;
  pthread_mutex_unlock(&memory->lock);
  return budget;
}

/* Counts bytes as taken, unless the budget has fewer. */
static enum xk_status reserve(struct xk_memory *memory, uint64_t bytes) {
  if (memory == NULL) return XK_OK;
  pthread_mutex_lock(&memory->lock);
  const int fits = bytes <= memory->budget - memory->counted;
  if (fits) {
    memory->counted += bytes;
    memory->holders++;
  }
  pthread_mutex_unlock(&memory->lock);
  return fits ? XK_OK : XK_OVER_BUDGET;
}

/* Takes bytes of any values; those beyond `uncounted` are counted. */
static enum xk_status take_bytes(struct xk_memory *memory, uint64_t bytes, uint64_t uncounted,
                                 void **to) {
  if (bytes > MOST) return XK_TOO_LARGE;
  const uint64_t whole = sizeof(union header) + (bytes > 0 ? bytes : 1);
  const uint64_t counted = whole > uncounted ? whole - uncounted : 0;
  const enum xk_status status = reserve(memory, counted);
  if (status != XK_OK) return status;
  union header *header = allocate(whole);
  if (header == NULL) {
    if (memory != NULL) let_go(memory, counted);
    return XK_NO_MEMORY;
  }
  header->of.memory = memory;
  header->of.counted = counted;
  *to = header + 1;
  return XK_OK;
}

enum xk_status xk_take(struct xk_memory *memory, uint64_t count, uint64_t size, void *to) {
  void *taken = NULL;
  if (size != 0 && count > MOST / size) return XK_TOO_LARGE;
  const enum xk_status status = take_bytes(memory, count * size, 0, &taken);
  if (status != XK_OK) return status;
  memset(taken, 0, (size_t)(count * size));
  memcpy(to, &taken, sizeof taken);
  return XK_OK;
}

void xk_free(void *taken) {
  if (taken == NULL) return;
  union header *header = (union header *)taken - 1;
  struct xk_memory *memory = header->of.memory;
  const uint64_t counted = header->of.counted;
  deallocate(header);
  if (memory != NULL) let_go(memory, counted);
}

/* A graph's ops are taken one after another, so it is enough to remember the last graph. Where two
 * graphs are built at the same time, one has several scratches, which does no harm. */
enum xk_status xk_scratch_join(struct xk_memory *memory, const void *graph,
                               struct xk_scratch **to) {
  struct xk_scratch *made = NULL;
  const enum xk_status status = xk_take(memory, 1, sizeof *made, &made);
  if (status != XK_OK) return status;
  made->memory = memory;
  made->graph = graph;
  pthread_mutex_lock(&memory->lock);
  if (memory->latest == NULL || memory->latest->graph != graph) {
    memory->latest = made;
    made = NULL;
  }
  *to = memory->latest;
  (*to)->ops++;
  pthread_mutex_unlock(&memory->lock);
  xk_free(made);
  return XK_OK;
}

void xk_scratch_leave(struct xk_scratch *scratch) {
  if (scratch == NULL) return;
  struct xk_memory *memory = scratch->memory;
  pthread_mutex_lock(&memory->lock);
  const int last = --scratch->ops == 0;
  if (last && memory->latest == scratch) memory->latest = NULL;
  pthread_mutex_unlock(&memory->lock);
  if (!last) return;
  xk_free(scratch->place);
  xk_free(scratch);
}

enum xk_status xk_scratch_hold(struct xk_scratch *scratch, uint64_t bytes, uint64_t uncounted) {
  if (bytes <= scratch->bytes) return XK_OK;
  xk_free(scratch->place);
  scratch->place = NULL;
  scratch->bytes = 0;
  const enum xk_status status = take_bytes(scratch->memory, bytes, uncounted, &scratch->place);
  if (status == XK_OK) scratch->bytes = bytes;
  return status;
}

void *xk_scratch_place(const struct xk_scratch *scratch) { return scratch->place; }
