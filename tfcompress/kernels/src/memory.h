/* The memory of a delegate: everything whose size a file says is taken here, counted against one
 * budget for all of the delegate's ops, and given back by `xk_free`. */
#ifndef XK_MEMORY_H
#define XK_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

struct xk_memory;

/* Returns the memory of a new delegate; NULL if there is none. It lives until `xk_memory_release`
 * and until all that was taken from it is freed: an interpreter may outlive its delegate. */
struct xk_memory *xk_memory_create(void);
void xk_memory_release(struct xk_memory *memory);

/* Raises the budget to that of a file whose constants have so many bytes, if it is lower. */
void xk_memory_know_file(struct xk_memory *memory, uint64_t bytes);

/* Returns the budget in bytes. */
uint64_t xk_memory_budget(struct xk_memory *memory);

/* Takes `count` elements of `size` bytes, all zero, aligned to 64 bytes; at least one byte. `to`
 * points to a pointer, which is left as it is on failure. Without a `memory` nothing is counted. */
enum xk_status xk_take(struct xk_memory *memory, uint64_t count, uint64_t size, void *to);

void xk_free(void *taken);

/* Memory that the ops of one graph use in turns, as none of them runs while another does. */
struct xk_scratch;

/* Finds the scratch of a graph, to which one more op belongs from now on. */
enum xk_status xk_scratch_join(struct xk_memory *memory, const void *graph, struct xk_scratch **to);
void xk_scratch_leave(struct xk_scratch *scratch);

/* Makes the scratch hold `bytes`, of any values. Those beyond `uncounted` are counted. */
enum xk_status xk_scratch_hold(struct xk_scratch *scratch, uint64_t bytes, uint64_t uncounted);

/* Returns where the scratch is now; NULL before something was held. */
void *xk_scratch_place(const struct xk_scratch *scratch);

#endif
