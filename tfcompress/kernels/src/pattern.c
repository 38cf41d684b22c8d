#include "pattern.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

enum { FUSED_RELU = 1, PADDING_SAME = 1 };
enum { CONV_2D = 3, FULLY_CONNECTED = 9, PAD = 34, PADV2 = 60, GREATER_EQUAL = 62, SELECT = 64,
       SELECT_V2 = 123 };

/* The beginnings of TFLite's options of the two products. */
struct conv_params {
  int padding, stride_width, stride_height, activation, dilation_width, dilation_height;
};
struct dense_params {
  int activation, weights_format;
  bool keep_num_dims;
};

struct op {
  const TfLiteNode *node;
  int code; /* -1: no such node */
};

static struct op op_at(TfLiteContext *context, int index) {
  TfLiteNode *node = NULL;
  TfLiteRegistration *registration = NULL;
  struct op op = {NULL, -1};
  if (index < 0 ||
      context->GetNodeAndRegistration(context, index, &node, &registration) != kTfLiteOk ||
      node->inputs == NULL || node->outputs == NULL) {
    return op;
  }
  op.node = node;
  op.code = registration->builtin_code;
  return op;
}

/* An input's tensor number; kTfLiteOptionalTensor if it isn't there. */
static int input(const TfLiteContext *context, struct op op, int place) {
  if (place >= op.node->inputs->size) return kTfLiteOptionalTensor;
  int tensor = op.node->inputs->data[place];
  return tensor >= 0 && (size_t)tensor < context->tensors_size ? tensor : kTfLiteOptionalTensor;
}

/* A constant of `count` values of 4 bytes, or NULL. */
static const uint8_t *constant(const TfLiteContext *context, int tensor, TfLiteType type,
                               uint64_t count) {
  if (tensor == kTfLiteOptionalTensor) return NULL;
  const TfLiteTensor *found = &context->tensors[tensor];
  if (found->allocation_type != kTfLiteMmapRo || found->type != type || found->data == NULL ||
      found->sparsity != NULL || found->bytes != 4 * count) {
    return NULL;
  }
  return found->data;
}

static float float_at(const uint8_t *values, uint64_t index) {
  float value;
  memcpy(&value, values + 4 * index, sizeof value);
  return value;
}

static bool is_constant(const TfLiteContext *context, int tensor, float value) {
  const uint8_t *found = constant(context, tensor, kTfLiteFloat32, 1);
  return found != NULL && float_at(found, 0) == value;
}

/* PAD or PADV2: amounts around height and width, of zeros or ones. */
static bool read_pad(const TfLiteContext *context, struct op pad, struct xk_options *o) {
  const uint8_t *amounts = constant(context, input(context, pad, 1), kTfLiteInt32, 8);
  int32_t values[8];
  if (amounts == NULL) return false;
  memcpy(values, amounts, sizeof values);
  if (values[0] != 0 || values[1] != 0 || values[6] != 0 || values[7] != 0) return false;
  o->pad_top = values[2];
  o->pad_bottom = values[3];
  o->pad_left = values[4];
  o->pad_right = values[5];
  o->pad_value = XK_PAD_ZERO;
  if (pad.code == PAD) return true;
  const int value = input(context, pad, 2);
  if (is_constant(context, value, 1.0f)) o->pad_value = XK_PAD_ONE;
  return o->pad_value == XK_PAD_ONE || is_constant(context, value, 0.0f);
}

/* The product itself: its options and the shape of its weights. */
static bool read_product(const TfLiteContext *context, struct op product, struct xk_pattern *p) {
  struct xk_options *o = &p->options;
  p->dense = product.code == FULLY_CONNECTED;
  p->weights = input(context, product, 1);
  p->bias = input(context, product, 2);
  p->output = product.node->outputs->size == 1 ? product.node->outputs->data[0] : -1;
  const void *params = product.node->builtin_data;
  if (p->weights == kTfLiteOptionalTensor || params == NULL || p->output < 0 ||
      (size_t)p->output >= context->tensors_size ||
      context->tensors[p->output].type != kTfLiteFloat32) {
    return false;
  }
  const TfLiteIntArray *dims = context->tensors[p->weights].dims;
  if (dims == NULL || dims->size != (p->dense ? 2 : 4)) return false;
  int activation;
  if (p->dense) {
    struct dense_params from;
    memcpy(&from, params, sizeof from);
    const int x = input(context, product, 0);
    if (from.weights_format != 0 || x == kTfLiteOptionalTensor) return false;
    const TfLiteIntArray *shape = context->tensors[x].dims;
    if (shape == NULL || (shape->size != 2 && !from.keep_num_dims)) return false;
    activation = from.activation;
    o->in_channels = dims->data[1];
  } else {
    struct conv_params from;
    memcpy(&from, params, sizeof from);
    activation = from.activation;
    p->same = from.padding == PADDING_SAME;
    o->stride_h = from.stride_height;
    o->stride_w = from.stride_width;
    o->dilation_h = from.dilation_height;
    o->dilation_w = from.dilation_width;
    o->kernel_h = dims->data[1];
    o->kernel_w = dims->data[2];
    o->in_channels = dims->data[3];
  }
  o->out_channels = dims->data[0];
  o->activation = activation == FUSED_RELU ? XK_RELU : XK_LINEAR;
  return activation == 0 || activation == FUSED_RELU;
}

static uint64_t window(const struct xk_options *o) {
  return (uint64_t)o->kernel_h * (uint64_t)o->kernel_w * (uint64_t)o->in_channels;
}

/* Whether each filter's weights have one magnitude. */
static bool binary(const TfLiteContext *context, const struct xk_pattern *p) {
  const uint64_t size = window(&p->options), filters = (uint64_t)p->options.out_channels;
  const uint8_t *values = constant(context, p->weights, kTfLiteFloat32, size * filters);
  if (values == NULL) return false;
  for (uint64_t f = 0; f < filters; f++) {
    const float first = fabsf(float_at(values, f * size));
    if (!isfinite(first)) return false;
    for (uint64_t i = 1; i < size; i++) {
      float other = fabsf(float_at(values, f * size + i));
      if (!(fabsf(other - first) <= 1e-6f * first)) return false;
    }
  }
  return true;
}

/* The SELECT that gives signs, and x before it. */
static bool read_sign(TfLiteContext *context, struct op select, struct op compare, int *x) {
  if ((select.code != SELECT && select.code != SELECT_V2) || compare.code != GREATER_EQUAL) {
    return false;
  }
  *x = input(context, compare, 0);
  return *x != kTfLiteOptionalTensor && is_constant(context, input(context, compare, 1), 0.0f) &&
         is_constant(context, input(context, select, 1), 1.0f) &&
         is_constant(context, input(context, select, 2), -1.0f);
}

/* Whether x is what the options say: its last size are the channels. */
static bool right_input(const TfLiteContext *context, const struct xk_pattern *p) {
  const TfLiteTensor *x = &context->tensors[p->x];
  return x->type == kTfLiteFloat32 && x->dims != NULL && x->dims->size >= 1 &&
         (p->dense || x->dims->size == 4) &&
         x->dims->data[x->dims->size - 1] == p->options.in_channels;
}

static struct xk_pattern blank(void) {
  struct xk_pattern p = {.x = -1};
  p.options = (struct xk_options){1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, XK_PAD_ONE, XK_LINEAR, 0};
  return p;
}

bool xk_graph_of(TfLiteContext *context, const int *plan, int count, struct xk_graph *graph) {
  graph->maker = xk_zeroed(context->tensors_size, sizeof *graph->maker);
  graph->readers = xk_zeroed(context->tensors_size, sizeof *graph->readers);
  if (graph->maker == NULL || graph->readers == NULL) return false;
  for (size_t t = 0; t < context->tensors_size; t++) graph->maker[t] = -1;
  for (int i = 0; i < count; i++) {
    struct op op = op_at(context, plan[i]);
    if (op.code < 0) continue;
    for (int place = 0; place < op.node->inputs->size; place++) {
      int tensor = input(context, op, place);
      if (tensor >= 0) graph->readers[tensor]++;
    }
    for (int place = 0; place < op.node->outputs->size; place++) {
      int tensor = op.node->outputs->data[place];
      if (tensor >= 0 && (size_t)tensor < context->tensors_size) graph->maker[tensor] = plan[i];
    }
  }
  return true;
}

void xk_graph_free(struct xk_graph *graph) {
  xk_free(graph->maker);
  xk_free(graph->readers);
}

/* Whether the runtime would make one node of these, which gives nothing but the product. */
static bool one_node(TfLiteContext *context, const struct xk_pattern *p) {
  TfLiteDelegateParams *parts = NULL;
  int count = 0;
  TfLiteIntArray *nodes = malloc(sizeof *nodes + sizeof(int) * XK_PATTERN_NODES);
  if (nodes == NULL) return false;
  nodes->size = p->count;
  memcpy(nodes->data, p->nodes, sizeof(int) * (size_t)p->count);
  TfLiteStatus status = context->PreviewDelegatePartitioning(context, nodes, &parts, &count);
  free(nodes);
  return status == kTfLiteOk && count == 1 && parts->output_tensors->size == 1 &&
         parts->output_tensors->data[0] == p->output;
}

bool xk_find_pattern(TfLiteContext *context, const struct xk_graph *graph, int node,
                     struct xk_pattern *pattern) {
  const struct op product = op_at(context, node);
  if (product.code != CONV_2D && product.code != FULLY_CONNECTED) return false;
  /* From the product back: how far may it be replaced, and how far does the pattern reach? */
  int chain[XK_PATTERN_NODES] = {node, -1, -1, -1}, count = 1, alone = 1;
  int tensor = input(context, product, 0);
  while (count < XK_PATTERN_NODES && tensor >= 0 && graph->maker[tensor] >= 0) {
    if (alone == count && graph->readers[tensor] == 1) alone++;
    chain[count] = graph->maker[tensor];
    const struct op op = op_at(context, chain[count++]);
    if (op.code < 0 || op.code == GREATER_EQUAL) break;
    tensor = input(context, op, 0);
  }
  int nodes[XK_PATTERN_NODES];
  for (int i = 0; i < count; i++) nodes[i] = chain[count - 1 - i];
  if (!xk_read_pattern(context, nodes, count, pattern)) return false;
  if (alone == count && one_node(context, pattern)) return true;
  /* Others read the signs, too: only the product is replaced, and takes the signs of signs. */
  const bool padded = pattern->count == 4;
  if (padded && pattern->options.pad_value != XK_PAD_ONE) return false;
  return xk_read_pattern(context, &node, 1, pattern) && one_node(context, pattern);
}

bool xk_read_pattern(TfLiteContext *context, const int *nodes, int count,
                     struct xk_pattern *pattern) {
  struct xk_pattern p = blank();
  if (count < 1 || count > XK_PATTERN_NODES || count == 2) return false;
  const struct op product = op_at(context, nodes[count - 1]);
  if (product.code != CONV_2D && product.code != FULLY_CONNECTED) return false;
  p.count = count;
  memcpy(p.nodes, nodes, sizeof(int) * (size_t)count);
  if (!read_product(context, product, &p)) return false;
  if (count == 1) {
    p.x = input(context, product, 0);
    if (p.x == kTfLiteOptionalTensor) return false;
  } else {
    if (count == 4) {
      const struct op pad = op_at(context, nodes[2]);
      if ((pad.code != PAD && pad.code != PADV2) || p.dense || p.same) return false;
      if (!read_pad(context, pad, &p.options)) return false;
    }
    if (!read_sign(context, op_at(context, nodes[1]), op_at(context, nodes[0]), &p.x)) return false;
  }
  if (p.same) p.options.pad_value = XK_PAD_ZERO;
  if (xk_check_options(&p.options) != XK_OK || !right_input(context, &p) ||
      !binary(context, &p)) {
    return false;
  }
  const uint64_t filters = (uint64_t)p.options.out_channels;
  if (p.bias != kTfLiteOptionalTensor &&
      constant(context, p.bias, kTfLiteFloat32, filters) == NULL) {
    return false;
  }
  *pattern = p;
  return true;
}

void xk_same_pads(struct xk_options *o, int64_t h, int64_t w) {
  const int64_t rows = ((h + o->stride_h - 1) / o->stride_h - 1) * o->stride_h +
                       (int64_t)(o->kernel_h - 1) * o->dilation_h + 1 - h;
  const int64_t cols = ((w + o->stride_w - 1) / o->stride_w - 1) * o->stride_w +
                       (int64_t)(o->kernel_w - 1) * o->dilation_w + 1 - w;
  o->pad_top = rows > 0 ? (int32_t)(rows / 2) : 0;
  o->pad_bottom = rows > 0 ? (int32_t)(rows - rows / 2) : 0;
  o->pad_left = cols > 0 ? (int32_t)(cols / 2) : 0;
  o->pad_right = cols > 0 ? (int32_t)(cols - cols / 2) : 0;
}

enum xk_status xk_pattern_constants(TfLiteContext *context, const struct xk_pattern *p,
                                    struct xk_constants *constants, void **memory) {
  const uint64_t size = window(&p->options), filters = (uint64_t)p->options.out_channels;
  const uint8_t *weights = constant(context, p->weights, kTfLiteFloat32, size * filters);
  const uint8_t *bias = NULL;
  if (p->bias != kTfLiteOptionalTensor) {
    bias = constant(context, p->bias, kTfLiteFloat32, filters);
    if (bias == NULL) return XK_BAD_CONSTANT;
  }
  if (weights == NULL) return XK_BAD_CONSTANT;
  const uint64_t bytes = (size * filters + 7) / 8;
  float *numbers = xk_zeroed(2 * filters + bytes / 4 + 1, sizeof *numbers);
  if (numbers == NULL) return XK_NO_MEMORY;
  uint8_t *bits = (uint8_t *)(numbers + 2 * filters);
  for (uint64_t f = 0; f < filters; f++) {
    numbers[f] = fabsf(float_at(weights, f * size));
    if (bias != NULL) numbers[filters + f] = float_at(bias, f);
    for (uint64_t i = f * size; i < (f + 1) * size; i++) {
      bits[i / 8] |= (uint8_t)((float_at(weights, i) < 0) << i % 8);
    }
  }
  *memory = numbers;
  *constants = (struct xk_constants){
      .weights = bits, .weights_bytes = (size_t)bytes, .scale = numbers, .bias = numbers + filters};
  return XK_OK;
}
