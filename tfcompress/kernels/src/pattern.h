/* Binary products in an unmodified float file.
 *
 * GREATER_EQUAL(x, 0), SELECT(1, -1), [PADV2 with 1, or PAD], CONV_2D or FULLY_CONNECTED with +-a:
 * what a converter makes of a binary layer. Such a file runs anywhere, and fast where we are. */
#ifndef XK_PATTERN_H
#define XK_PATTERN_H

#include "conv.h"
#include "tflite_abi.h"

enum { XK_PATTERN_NODES = 4 };

struct xk_pattern {
  int nodes[XK_PATTERN_NODES]; /* of the graph, the product last */
  int count;
  int x; /* the tensor whose signs are taken */
  int weights, bias, output; /* bias may be kTfLiteOptionalTensor */
  bool dense;
  bool same; /* padding that depends on the input's size */
  struct xk_options options;
};

/* Who makes and how many read each tensor. */
struct xk_graph {
  int *maker; /* a node, or -1 */
  int *readers;
};

/* False if there is no memory. */
bool xk_graph_of(TfLiteContext *context, const int *plan, int count, struct xk_graph *graph);
void xk_graph_free(struct xk_graph *graph);

/* Whether the product `node` is one of signs, and with which nodes before it it may be replaced. */
bool xk_find_pattern(TfLiteContext *context, const struct xk_graph *graph, int node,
                     struct xk_pattern *pattern);

/* The same again from the nodes that were found. */
bool xk_read_pattern(TfLiteContext *context, const int *nodes, int count,
                     struct xk_pattern *pattern);

/* The pads of a SAME padding for an input of this size. */
void xk_same_pads(struct xk_options *options, int64_t h, int64_t w);

/* The op's constants, made of the file's floats; `memory` is to be freed when they were copied. */
enum xk_status xk_pattern_constants(TfLiteContext *context, const struct xk_pattern *pattern,
                                    struct xk_constants *constants, void **memory);

#endif
