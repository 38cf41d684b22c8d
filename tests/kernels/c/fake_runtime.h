/* As much of TFLite's interpreter as the delegate talks to, for one op, with every array in memory of
 * its own and of exactly its size, so that a sanitizer sees each byte beyond. */
#ifndef FAKE_RUNTIME_H
#define FAKE_RUNTIME_H

#include "tflite_abi.h"

enum { FAKE_TENSORS = 13, FAKE_RANK = 6, FAKE_MOST_BYTES = 1 << 22 };

struct fake_tensor {
  int type;
  int rank; /* below 0: no shape at all */
  int dims[FAKE_RANK];
  int constant;      /* else its data are made when the op was prepared */
  size_t bytes;      /* of a constant */
  float scale;
  int zero;
};

struct fake_node {
  const char *name; /* of a custom op */
  const uint8_t *options;
  size_t option_bytes;
  int inputs[16], input_count;
  int outputs[4], output_count;
};

struct fake_op {
  struct fake_node node;
  struct fake_tensor tensors[FAKE_TENSORS];
  int threads;
  const char *kernel; /* NULL for the fastest */
};

/* Loads, prepares and runs the op, `runs` times; looks at every byte of its outputs. Returns the status
 * of the step that failed, or of the last one; an error if the delegate doesn't take the op. */
TfLiteStatus fake_run(const struct fake_op *op, int runs);

#endif
