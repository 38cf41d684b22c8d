#if !defined(_POSIX_C_SOURCE) && !defined(_WIN32) && !defined(__APPLE__)
#define _POSIX_C_SOURCE 200112L
#endif
#include "threads.h"

#include <pthread.h> /* On Windows MinGW brings it. */
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

/* A thread without work looks for some this often before it sleeps: about 50 us, the time of a few
 * small ops between two of ours. Waking one up costs more than a small layer. */
enum { LOOKS = 2000, MOST_THREADS = 64, PARTS_A_THREAD = 4 };

struct xk_pool {
  pthread_mutex_t users; /* held by whoever's work is being done */
  pthread_mutex_t lock;  /* guards what follows, up to `generation` */
  pthread_cond_t wake;
  xk_task task;
  void *context;
  int parts;
  int open; /* whether there is work to join */
  int stop;
  atomic_uint generation; /* rises with each task; written under `lock` */
  atomic_int next;        /* the part to be done next */
  atomic_int active;      /* threads that joined the work */
  pthread_t threads[MOST_THREADS];
  int count;
  pid_t process;
};

static void look_away(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static void do_parts(struct xk_pool *pool, xk_task task, void *context, int parts) {
  for (;;) {
    int part = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
    if (part >= parts) return;
    task(context, part, parts);
  }
}

static void *work(void *argument) {
  struct xk_pool *pool = argument;
  unsigned seen = 0;
  for (;;) {
    for (int i = 0; i < LOOKS && atomic_load(&pool->generation) == seen; i++) look_away();
    pthread_mutex_lock(&pool->lock);
    while (atomic_load(&pool->generation) == seen && !pool->stop) {
      pthread_cond_wait(&pool->wake, &pool->lock);
    }
    seen = atomic_load(&pool->generation);
    if (pool->stop) {
      pthread_mutex_unlock(&pool->lock);
      return NULL;
    }
    int join = pool->open;
    xk_task task = pool->task;
    void *context = pool->context;
    int parts = pool->parts;
    if (join) atomic_fetch_add(&pool->active, 1);
    pthread_mutex_unlock(&pool->lock);
    if (join) {
      do_parts(pool, task, context, parts);
      atomic_fetch_sub_explicit(&pool->active, 1, memory_order_release);
    }
  }
}

struct xk_pool *xk_pool_create(void) {
  struct xk_pool *pool = calloc(1, sizeof *pool);
  if (pool == NULL) return NULL;
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
  free(pool);
  return NULL;
}

void xk_pool_destroy(struct xk_pool *pool) {
  if (pool == NULL) return;
  if (pool->process == getpid()) { /* Else the threads are another process's, and so are the locks. */
    pthread_mutex_lock(&pool->lock);
    pool->stop = 1;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->count; i++) pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    pthread_mutex_destroy(&pool->users);
  }
  free(pool);
}

/* Starts threads until there are `wanted`, or none can be had. */
static void grow(struct xk_pool *pool, int wanted) {
  if (wanted > MOST_THREADS) wanted = MOST_THREADS;
  while (pool->count < wanted) {
    if (pthread_create(&pool->threads[pool->count], NULL, work, pool) != 0) return;
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
  pthread_mutex_lock(&pool->lock);
  pool->task = task;
  pool->context = context;
  pool->parts = PARTS_A_THREAD * threads;
  pool->open = 1;
  atomic_store(&pool->next, 0);
  atomic_fetch_add(&pool->generation, 1);
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->lock);
  do_parts(pool, task, context, PARTS_A_THREAD * threads);
  pthread_mutex_lock(&pool->lock);
  pool->open = 0; /* A thread that wakes up now finds nothing to join. */
  pthread_mutex_unlock(&pool->lock);
  for (int i = 0; atomic_load_explicit(&pool->active, memory_order_acquire) > 0; i++) {
    if (i < LOOKS) {
      look_away();
    } else {
      sched_yield();
    }
  }
  pthread_mutex_unlock(&pool->users);
}
