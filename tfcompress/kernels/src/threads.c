#if !defined(_POSIX_C_SOURCE) && !defined(_WIN32) && !defined(__APPLE__)
#define _POSIX_C_SOURCE 200112L
#endif
#include "threads.h"

#include <pthread.h> /* On Windows MinGW brings it. */
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "memory.h"

/* A thread without work looks for some this often before it sleeps: about 50 us, the time of a few
 * small ops between two of ours. Waking one up costs more than a small layer. */
enum { LOOKS = 2000, MOST_THREADS = 64, PARTS_A_THREAD = 4 };

/* The parts that a thread begins with; other threads take them when they are done with their own.
 * Tasks are alike, so a thread finds in its cache what it wrote in the task before. The upper half
 * holds the task's number, the lower half the part to be done next: whoever raises it has taken that
 * part, and until it is done the task and what it points to stay as they are. */
struct range {
  _Alignas(64) atomic_ullong next;
};

struct worker {
  struct xk_pool *pool;
  int index; /* of its range; the caller's is 0 */
  pthread_t thread;
};

struct xk_pool {
  pthread_mutex_t users; /* held by whoever's work is being done */
  pthread_mutex_t lock;  /* for sleeping and waking up */
  pthread_cond_t wake;
  atomic_int asleep, stop;
  pid_t process;
  int count;
  struct worker workers[MOST_THREADS];

  _Alignas(64) atomic_uint number; /* of the task; what follows is written before it */
  _Atomic(xk_task) task;
  _Atomic(void *) context;
  atomic_int threads;
  _Alignas(64) atomic_int done; /* parts */
  struct range ranges[MOST_THREADS];
};

static void look_away(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* Does what is left of a range, if it still belongs to this task. */
static void do_range(struct xk_pool *pool, unsigned number, int index, int threads) {
  struct range *range = &pool->ranges[index];
  xk_task task = atomic_load_explicit(&pool->task, memory_order_relaxed);
  void *context = atomic_load_explicit(&pool->context, memory_order_relaxed);
  unsigned long long next = atomic_load_explicit(&range->next, memory_order_acquire);
  while (next >> 32 == number && (int)(next & 0xffffffffu) < PARTS_A_THREAD * (index + 1)) {
    if (!atomic_compare_exchange_weak_explicit(&range->next, &next, next + 1, memory_order_acq_rel,
                                               memory_order_acquire)) {
      continue;
    }
    task(context, (int)(next & 0xffffffffu), PARTS_A_THREAD * threads);
    atomic_fetch_add_explicit(&pool->done, 1, memory_order_release);
    next++;
  }
}

static void do_parts(struct xk_pool *pool, unsigned number, int own) {
  const int threads = atomic_load_explicit(&pool->threads, memory_order_relaxed);
  for (int i = 0; i < threads && own < threads; i++) {
    do_range(pool, number, (own + i) % threads, threads);
  }
}

static void *work(void *argument) {
  const struct worker *worker = argument;
  struct xk_pool *pool = worker->pool;
  unsigned seen = 0;
  for (;;) {
    for (int i = 0; i < LOOKS && atomic_load(&pool->number) == seen; i++) look_away();
    if (atomic_load(&pool->number) == seen) {
      pthread_mutex_lock(&pool->lock);
      atomic_fetch_add(&pool->asleep, 1);
      while (atomic_load(&pool->number) == seen && !atomic_load(&pool->stop)) {
        pthread_cond_wait(&pool->wake, &pool->lock);
      }
      atomic_fetch_sub(&pool->asleep, 1);
      pthread_mutex_unlock(&pool->lock);
    }
    if (atomic_load(&pool->stop)) return NULL;
    seen = atomic_load(&pool->number);
    do_parts(pool, seen, worker->index);
  }
}

struct xk_pool *xk_pool_create(void) {
  struct xk_pool *pool = NULL;
  if (xk_take(NULL, 1, sizeof *pool, &pool) != XK_OK) return NULL;
  if (pthread_mutex_init(&pool->users, NULL) != 0) goto no_users;
  if (pthread_mutex_init(&pool->lock, NULL) != 0) goto no_lock;
  if (pthread_cond_init(&pool->wake, NULL) != 0) goto no_wake;
  pool->process = getpid();
  return pool;
no_wake:
  pthread_mutex_destroy(&pool->lock);
no_lock:
  pthread_mutex_destroy(&pool->users);
no_users:
  xk_free(pool);
  return NULL;
}

/* Wakes up the threads that sleep. One that is about to sleep looks once more before it does. */
static void wake(struct xk_pool *pool) {
  if (atomic_load(&pool->asleep) == 0) return;
  pthread_mutex_lock(&pool->lock);
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->lock);
}

void xk_pool_destroy(struct xk_pool *pool) {
  if (pool == NULL) return;
  if (pool->process == getpid()) { /* Else threads and locks are another's. */
    atomic_store(&pool->stop, 1);
    wake(pool);
    for (int i = 0; i < pool->count; i++) pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    pthread_mutex_destroy(&pool->users);
  }
  xk_free(pool);
}

/* Starts threads until there are `wanted`, or none can be had. */
static void grow(struct xk_pool *pool, int wanted) {
  while (pool->count < wanted) {
    struct worker *worker = &pool->workers[pool->count];
    worker->pool = pool;
    worker->index = pool->count + 1;
    if (pthread_create(&worker->thread, NULL, work, worker) != 0) return;
    pool->count++;
  }
}

void xk_pool_run(struct xk_pool *pool, int threads, xk_task task, void *context) {
  if (pool == NULL || threads < 2 || pool->process != getpid() ||
      pthread_mutex_trylock(&pool->users) != 0) {
    task(context, 0, 1);
    return;
  }
  if (threads > MOST_THREADS) threads = MOST_THREADS;
  grow(pool, threads - 1);
  const unsigned number = atomic_load(&pool->number) + 1;
  atomic_store_explicit(&pool->task, task, memory_order_relaxed);
  atomic_store_explicit(&pool->context, context, memory_order_relaxed);
  atomic_store_explicit(&pool->threads, threads, memory_order_relaxed);
  atomic_store_explicit(&pool->done, 0, memory_order_relaxed);
  for (int i = 0; i < threads; i++) {
    const unsigned long long first = (unsigned)(PARTS_A_THREAD * i);
    atomic_store_explicit(&pool->ranges[i].next, (unsigned long long)number << 32 | first,
                          memory_order_release);
  }
  atomic_store(&pool->number, number);
  wake(pool);
  do_parts(pool, number, 0);
  for (int i = 0; atomic_load_explicit(&pool->done, memory_order_acquire) <
                  PARTS_A_THREAD * threads; i++) {
    if (i < LOOKS) {
      look_away();
    } else {
      sched_yield();
    }
  }
  pthread_mutex_unlock(&pool->users);
}
