/* Turns TFLite's tensors into a convolution's arrays and checks every size on the way, since the
 * file may be a stranger's. Nothing is trusted but what the runtime itself computed. */
#include "node.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bit_pool.h"
#include "conv.h"
#include "tensors.h"

enum kind { CONV, DENSE, POOL, BYTE_CONV };

static const char *const NAMES[] = {"TfcXnorConv2D", "TfcXnorDense", "TfcXnorMaxPool2D",
                                    "TfcXnorByteConv2D"};

/* The places of an op's inputs. A pool has X, and its turned channels at WEIGHTS. */
enum input {
  X,
  WEIGHTS,
  SCALE,
  BIAS,
  THRESHOLD,
  FLIP,
  SLOPE,
  RESIDUAL,
  POST_SCALE,
  POST_BIAS,
  LEVELS,
  INPUTS,
};
enum { OUTPUTS = 2, SCRATCH_TIMES_INPUT = 2 };

struct node {
  struct xk_delegate *delegate;
  enum kind kind;
  enum xk_status status; /* what reading the options gave */
  struct xk_options options;
  int inputs[INPUTS]; /* tensors, or kTfLiteOptionalTensor */
  int outputs[OUTPUTS];
  struct xk_conv *conv;
  struct xk_scratch *scratch;
  struct xk_shape in, out;
};

static int kind_of(const TfLiteRegistration *registration) {
  if (registration->builtin_code != kTfLiteBuiltinCustom || registration->custom_name == NULL) {
    return -1;
  }
  for (int kind = CONV; kind <= BYTE_CONV; kind++) {
    if (strcmp(registration->custom_name, NAMES[kind]) == 0) return kind;
  }
  return -1;
}

bool xk_is_ours(const TfLiteRegistration *registration) { return kind_of(registration) >= 0; }

/* Copies the numbers of an op's tensors; places that the file leaves out become optional. Returns
 * false if there are more places than we know, or a number that no tensor has. */
static bool copy_places(const TfLiteContext *context, const TfLiteIntArray *from, int most, int *to) {
  for (int i = 0; i < most; i++) to[i] = kTfLiteOptionalTensor;
  if (from == NULL || from->size > most) return false;
  for (int i = 0; i < from->size; i++) {
    if (from->data[i] != kTfLiteOptionalTensor &&
        (from->data[i] < 0 || (size_t)from->data[i] >= context->tensors_size)) {
      return false;
    }
    to[i] = from->data[i];
  }
  return true;
}

static void *init(TfLiteContext *context, const char *buffer, size_t length) {
  const TfLiteDelegateParams *params = (const void *)buffer;
  TfLiteNode *from = NULL;
  TfLiteRegistration *registration = NULL;
  struct xk_delegate *delegate = (struct xk_delegate *)(void *)params->delegate;
  struct node *node = NULL;
  (void)length; /* 0: the runtime hands over its struct. */
  if (xk_take(delegate->memory, 1, sizeof *node, &node) != XK_OK) return NULL;
  node->delegate = delegate;
  const TfLiteIntArray *nodes = params->nodes_to_replace;
  copy_places(context, NULL, INPUTS, node->inputs);
  copy_places(context, NULL, OUTPUTS, node->outputs);
  if (nodes->size < 1 ||
      context->GetNodeAndRegistration(context, nodes->data[0], &from, &registration) != kTfLiteOk ||
      kind_of(registration) < 0) {
    node->status = XK_BAD_OPTIONS;
    return node;
  }
  node->kind = (enum kind)kind_of(registration);
  node->status = xk_read_options(
      from->custom_initial_data,
      from->custom_initial_data_size > 0 ? (size_t)from->custom_initial_data_size : 0,
      &node->options);
  const bool known = copy_places(context, from->inputs, INPUTS, node->inputs) &&
                     copy_places(context, from->outputs, OUTPUTS, node->outputs);
  if (node->status == XK_OK && !known) node->status = XK_BAD_INPUT;
  if (node->status == XK_OK && node->kind != POOL) {
    node->status = xk_scratch_join(delegate->memory, context, &node->scratch);
  }
  return node;
}

static void discard(TfLiteContext *context, void *buffer) {
  struct node *node = buffer;
  (void)context;
  if (node == NULL) return;
  xk_conv_destroy(node->conv);
  xk_scratch_leave(node->scratch);
  xk_free(node);
}

/* Makes the convolution of the file's constants. */
static enum xk_status make_conv(TfLiteContext *context, struct node *node) {
  const struct xk_options *o = &node->options;
  const size_t channels = (size_t)o->out_channels;
  const size_t bits = (size_t)o->kernel_h * (size_t)o->kernel_w * (size_t)o->in_channels;
  const TfLiteTensor *output = xk_tensor(context, node->outputs[0]);
  if (bits > SIZE_MAX / 2 / channels) return XK_TOO_LARGE;
  const bool bytes = node->kind == BYTE_CONV;
  struct xk_constants from = {
      .unit = bytes ? XK_BYTES : XK_SIGNS,
      .weights_bytes = bytes ? bits * channels : (bits * channels + 7) / 8,
  };
  const struct {
    enum input place;
    TfLiteType type;
    size_t bytes;
    const void **to;
  } wanted[] = {
      {WEIGHTS, bytes ? kTfLiteInt8 : kTfLiteUInt8, from.weights_bytes, &from.weights},
      {SCALE, kTfLiteFloat32, 4 * channels, &from.scale},
      {BIAS, kTfLiteFloat32, 4 * channels, &from.bias},
      {THRESHOLD, kTfLiteInt32, 4 * channels * (o->out_bits == 2 ? XK_LEVELS : 1),
       &from.threshold},
      {FLIP, kTfLiteInt32, (channels + 31) / 32 * 4, &from.flip},
      {SLOPE, kTfLiteFloat32, 4 * channels, &from.slope},
      {POST_SCALE, kTfLiteFloat32, 4 * channels, &from.post_scale},
      {POST_BIAS, kTfLiteFloat32, 4 * channels, &from.post_bias},
      {LEVELS, kTfLiteFloat32, 4 * XK_LEVELS, &from.levels},
  };
  for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
    enum xk_status status = xk_constant(context, node->inputs[wanted[i].place], wanted[i].type,
                                     wanted[i].bytes, wanted[i].to);
    if (status != XK_OK) return status;
  }
  const TfLiteTensor *x = xk_tensor(context, node->inputs[X]);
  if (o->in_bits == 2 && x->type == kTfLiteFloat32 && from.levels == NULL) return XK_BAD_CONSTANT;
  return xk_conv_create(o, &from, node->delegate->isa, output->type == kTfLiteInt32,
                        node->delegate->memory, &node->conv);
}

/* Returns the size of a tensor's last dimension: of bits that of all planes' words. */
static int width(const TfLiteTensor *of, int channels, int bits) {
  return of->type == kTfLiteInt32 ? (channels + 31) / 32 * bits : channels;
}

/* Checks the input's shape against the options and finds the size that the op is made for. */
static enum xk_status shape_of(const struct node *node, const TfLiteTensor *x,
                               struct xk_shape *shape) {
  const struct xk_options *o = &node->options;
  const int64_t count = xk_elements(x->dims);
  const int rank = x->dims != NULL ? x->dims->size : 0;
  const int last = width(x, o->in_channels, o->in_bits);
  if (count < 0 || rank < 1 || x->dims->data[rank - 1] != last) return XK_BAD_INPUT;
  if (node->kind == DENSE) {
    if (o->kernel_h != 1 || o->kernel_w != 1 || o->stride_h != 1 || o->stride_w != 1 ||
        o->pad_top + o->pad_bottom + o->pad_left + o->pad_right != 0) {
      return XK_BAD_OPTIONS;
    }
    *shape = (struct xk_shape){1, 1, count / last};
    return XK_OK;
  }
  if (rank != 4) return XK_BAD_INPUT;
  *shape = (struct xk_shape){x->dims->data[0], x->dims->data[1], x->dims->data[2]};
  return XK_OK;
}

/* Gives an output its shape. */
static TfLiteStatus set_shape(TfLiteContext *context, const struct node *node, TfLiteTensor *output,
                              const TfLiteTensor *x) {
  const int rank = x->dims->size;
#ifdef _WIN32
  TfLiteIntArray *dims = context->IntArrayCreate(rank);
#else
  TfLiteIntArray *dims = malloc(sizeof *dims + sizeof dims->data[0] * (size_t)rank);
#endif
  if (dims == NULL) return kTfLiteError;
  dims->size = rank;
  for (int i = 0; i < rank; i++) dims->data[i] = x->dims->data[i];
  if (node->kind != DENSE) {
    dims->data[1] = (int)node->out.h;
    dims->data[2] = (int)node->out.w;
  }
  dims->data[rank - 1] = width(output, node->options.out_channels, node->options.out_bits);
  return context->ResizeTensor(context, output, dims); /* Takes the array. */
}

/* Returns whether the optional second operand holds numbers of the output's shape. */
static bool fits(const struct node *node, const TfLiteTensor *residual, const TfLiteTensor *x) {
  struct xk_values values;
  if (residual == NULL) return true;
  const TfLiteIntArray *dims = residual->dims;
  if (!xk_describe(residual, &values) || values.type == XK_BITS || values.type == XK_U8 || xk_elements(dims) < 0 ||
      dims->size != x->dims->size || dims->data[dims->size - 1] != node->options.out_channels) {
    return false;
  }
  for (int i = 0; i + 1 < dims->size; i++) {
    int64_t size = x->dims->data[i];
    if (node->kind != DENSE && i == 1) size = node->out.h;
    if (node->kind != DENSE && i == 2) size = node->out.w;
    if (dims->data[i] != size) return false;
  }
  return true;
}

/* Checks all tensors of an op and sizes it for its input. */
static enum xk_status size_up(TfLiteContext *context, struct node *node, const TfLiteTensor *x,
                              const TfLiteTensor *output, const TfLiteTensor *second) {
  struct xk_values values, written;
  if (node->status != XK_OK) return node->status;
  if (!xk_describe(x, &values)) return XK_BAD_INPUT;
  if ((values.type == XK_U8) != (node->kind == BYTE_CONV)) return XK_BAD_INPUT;
  if (!xk_describe(output, &written) || written.type == XK_U8 || output == second || output == x || second == x) {
    return XK_BAD_OUTPUT;
  }
  if (second != NULL && (second->type != kTfLiteInt32 || output->type == kTfLiteInt32)) {
    return XK_BAD_OUTPUT;
  }
  const struct xk_options *o = &node->options;
  if (node->kind == BYTE_CONV && (o->pad_value != XK_PAD_ZERO || o->in_bits == 2)) {
    return XK_BAD_OPTIONS;
  }
  if (o->in_bits == 2 && values.type == XK_I8) return XK_BAD_INPUT;
  if (o->out_bits == 2 && output->type != kTfLiteInt32) return XK_BAD_OUTPUT;
  enum xk_status status = shape_of(node, x, &node->in);
  if (status != XK_OK) return status;
  if (node->kind == POOL) {
    const void *flip;
    if (x->type != kTfLiteInt32) return XK_BAD_INPUT;
    if (output->type != kTfLiteInt32 || second != NULL) return XK_BAD_OUTPUT;
    status = xk_constant(context, node->inputs[WEIGHTS], kTfLiteInt32,
                      (size_t)(node->options.in_channels + 31) / 32 * 4, &flip);
    if (status == XK_OK && flip != NULL && (uintptr_t)flip % 4 != 0) status = XK_BAD_CONSTANT;
    return status != XK_OK ? status : xk_bit_pool_size(&node->options, node->in, &node->out);
  }
  if (node->conv == NULL) {
    status = make_conv(context, node);
    if (status != XK_OK) return status;
  }
  status = xk_conv_resize(node->conv, node->in, values.zero, &node->out);
  if (status != XK_OK) return status;
  /* The runtime holds the input itself, so a scratch in proportion to it needs no budget. */
  const uint64_t input_bytes = (uint64_t)xk_elements(x->dims) * (xk_one_byte(values.type) ? 1 : 4);
  status = xk_scratch_hold(node->scratch, xk_conv_scratch(node->conv, values.type),
                           SCRATCH_TIMES_INPUT * input_bytes);
  if (status != XK_OK) return status;
  const TfLiteTensor *residual = xk_tensor(context, node->inputs[RESIDUAL]);
  if (residual != NULL && output->type == kTfLiteInt32) return XK_BAD_OUTPUT;
  return fits(node, residual, x) ? XK_OK : XK_BAD_INPUT;
}

/* Reports in one line what is wrong with an op. Its tensor's name is a stranger's: only plain
 * characters, and not many, are shown. */
static void complain(TfLiteContext *context, const struct node *node, const TfLiteTensor *output,
                     const char *what) {
  const char *from = output != NULL && output->name != NULL ? output->name : "";
  char name[81];
  size_t length = 0;
  for (; length + 1 < sizeof name && from[length] != 0; length++) {
    name[length] = from[length] >= ' ' && from[length] <= '~' ? from[length] : '?';
  }
  name[length] = 0;
  context->ReportError(context, "tfcompress: %s '%s': %s. ", NAMES[node->kind], name, what);
}

static TfLiteStatus prepare(TfLiteContext *context, TfLiteNode *from) {
  struct node *node = from->user_data;
  if (node == NULL) {
    context->ReportError(context, "tfcompress: %s", xk_status_text(XK_NO_MEMORY));
    return kTfLiteError;
  }
  const TfLiteTensor *x = xk_tensor(context, node->inputs[X]);
  TfLiteTensor *output = xk_tensor(context, node->outputs[0]);
  TfLiteTensor *second = xk_tensor(context, node->outputs[1]);
  enum xk_status status = size_up(context, node, x, output, second);
  if (status != XK_OK) {
    char text[120];
    const uint64_t budget = xk_memory_budget(node->delegate->memory);
    snprintf(text, sizeof text, "%s", xk_status_text(status));
    if (status == XK_OVER_BUDGET) {
      snprintf(text, sizeof text, "%s: %" PRIu64 " MiB for all its ops", xk_status_text(status),
               budget >> 20);
    }
    complain(context, node, output, text);
    return kTfLiteError;
  }
  TfLiteStatus done = set_shape(context, node, output, x);
  if (done == kTfLiteOk && second != NULL) done = set_shape(context, node, second, x);
  return done;
}

static TfLiteStatus invoke(TfLiteContext *context, TfLiteNode *from) {
  struct node *node = from->user_data;
  const struct xk_options *o = &node->options;
  const TfLiteTensor *x = xk_tensor(context, node->inputs[X]);
  const TfLiteTensor *output = xk_tensor(context, node->outputs[0]);
  const TfLiteTensor *second = xk_tensor(context, node->outputs[1]);
  const TfLiteTensor *residual = node->kind == POOL ? NULL : xk_tensor(context, node->inputs[RESIDUAL]);
  const int64_t pixels_in = node->in.n * node->in.h * node->in.w;
  const int64_t pixels = node->out.n * node->out.h * node->out.w;
  struct xk_values in, out, add = {.type = XK_F32}, bits = {.type = XK_BITS};
  bool whole =
      xk_data_of(x, pixels_in * width(x, o->in_channels, o->in_bits), &in) &&
      xk_room_of(output, pixels * width(output, o->out_channels, o->out_bits), &out);
  if (whole && residual != NULL) whole = xk_data_of(residual, pixels * o->out_channels, &add);
  if (whole && second != NULL) whole = xk_room_of(second, pixels * width(second, o->out_channels, 1), &bits);
  if (!whole) {
    complain(context, node, output, "a tensor without its memory");
    return kTfLiteError;
  }
  if (out.data == NULL && bits.data == NULL) return kTfLiteOk;
  if (node->kind == POOL) {
    const TfLiteTensor *flip = xk_tensor(context, node->inputs[WEIGHTS]);
    xk_bit_pool_run(o, node->in, node->out, flip != NULL ? flip->data : NULL, in.data, out.data);
    return kTfLiteOk;
  }
  xk_conv_run(node->conv, &in, &add, &out, out.type == XK_BITS ? out.data : bits.data,
              xk_scratch_place(node->scratch), node->delegate->pool,
              context->recommended_num_threads);
  return kTfLiteOk;
}

TfLiteRegistration xk_registration(void) {
  return (TfLiteRegistration){
      .init = init,
      .free = discard,
      .prepare = prepare,
      .invoke = invoke,
      .custom_name = "TfcXnor",
      .version = 1,
  };
}
