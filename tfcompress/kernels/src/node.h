/* One of our ops in an interpreter. */
#ifndef XK_NODE_H
#define XK_NODE_H

#include "isa.h"
#include "memory.h"
#include "tflite_abi.h"
#include "threads.h"

/* A delegate, which one or several interpreters use. */
struct xk_delegate {
  TfLiteDelegate base;
  const struct xk_isa *isa;
  struct xk_pool *pool;
  struct xk_memory *memory;
};

/* Returns whether a node of the file is one of our custom ops. */
bool xk_is_ours(const TfLiteRegistration *registration);

/* Returns the functions that the runtime calls for a node that the delegate took. */
TfLiteRegistration xk_registration(void);

#endif
