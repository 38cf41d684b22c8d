/* Threads that share one op's work. */
#ifndef XK_THREADS_H
#define XK_THREADS_H

struct xk_pool;

/* Does part `part` of `parts`; called once for each part, from any thread. */
typedef void (*xk_task)(void *context, int part, int parts);

/* Creates a pool without threads, which start when they are needed. NULL if there is no memory. */
struct xk_pool *xk_pool_create(void);

/* Ends the threads, waits for them, and frees the pool. */
void xk_pool_destroy(struct xk_pool *pool);

/* Runs a task on `threads` threads, the caller's included. The caller's thread does it alone if the
 * system gives no thread, the pool does another caller's work, or the process was forked since the
 * threads began. `pool` may be NULL. */
void xk_pool_run(struct xk_pool *pool, int threads, xk_task task, void *context);

#endif
