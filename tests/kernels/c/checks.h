/* What the programs of checks share. */
#ifndef CHECKS_H
#define CHECKS_H

#include <stddef.h>
#include <stdint.h>

struct xk_pool;

/* Says what failed and counts it, unless the condition holds. */
void expect(int condition, const char *what, int number);

/* A seeded number between two others, both included. */
int among(int low, int high);
void seed(uint32_t value);

/* Memory of exactly this size, full of seeded bytes. */
void *made(size_t bytes);

/* How many convolutions had inputs of which kind, and how many wrote levels. */
struct conv_kinds {
  int signs, bytes, levels, to_levels;
};

/* Random convolutions `first` to `first + count - 1` on every kernel that runs here, and if there are
 * any, the largest window of bytes. */
struct conv_kinds check_convs(struct xk_pool *pool, int first, int count);

/* Random max poolings `first` to `first + count - 1`. */
void check_pools(int first, int count);

#endif
