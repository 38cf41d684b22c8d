/* Threads that share one op's work. */
#ifndef XK_THREADS_H
#define XK_THREADS_H

struct xk_pool;

/* Does part `part` of `parts`; called once for each part, from any thread. */
typedef void (*xk_task)(void *context, int part, int parts);

/* No thread is started yet. NULL if there is no memory. */
struct xk_pool *xk_pool_create(void);

/* Waits for the threads to end. */
void xk_pool_destroy(struct xk_pool *pool);

/* Runs a task on `threads` threads, the caller's included. Does it all in the caller's thread where
 * threads can't be had: none left, the pool is at another caller's work, or the process was forked
 * since the threads began. `pool` may be NULL. */
void xk_pool_run(struct xk_pool *pool, int threads, xk_task task, void *context);

#endif
