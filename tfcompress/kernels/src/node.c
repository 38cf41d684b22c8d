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
  const bool known = copy_places(context, from->inputs, INPUTS, node->inputs) &
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

static TfLiteTensor *tensor(TfLiteContext *context, int place) {
  return place == kTfLiteOptionalTensor ? NULL : &context->tensors[place];
}

/* Returns how many elements a shape has; -1 if a size is below 1 or they are too many. */
static int64_t elements(const TfLiteIntArray *dims) {
  int64_t count = 1;
  if (dims == NULL) return -1;
  for (int i = 0; i < dims->size; i++) {
    if (dims->data[i] < 1 || dims->data[i] > INT32_MAX / count) return -1;
    count *= dims->data[i];
  }
  return count;
}

/* Finds the data of a constant, which must have this type and size; NULL if the file has none. */
static enum xk_status constant(TfLiteContext *context, int place, TfLiteType type, size_t bytes,
                               const void **data) {
  const TfLiteTensor *from = tensor(context, place);
  *data = NULL;
  if (from == NULL) return XK_OK;
  if (from->allocation_type != kTfLiteMmapRo || from->data == NULL || from->type != type ||
      from->sparsity != NULL || from->bytes != bytes || elements(from->dims) < 0) {
    return XK_BAD_CONSTANT;
  }
  *data = from->data;
  return XK_OK;
}

/* Describes a tensor of numbers or bits, without its data. Returns false if it is neither. */
static bool describe(const TfLiteTensor *from, struct xk_values *to) {
  memset(to, 0, sizeof *to);
  if (from == NULL) return false;
  const int lowest = from->type == kTfLiteInt8 ? -128 : 0;
  switch (from->type) {
    case kTfLiteFloat32: to->type = XK_F32; return true;
    case kTfLiteInt32: to->type = XK_BITS; return true;
    case kTfLiteInt8: to->type = XK_I8; break;
    case kTfLiteUInt8: to->type = XK_U8; break;
    default: return false;
  }
  to->scale = from->params.scale;
  to->zero = from->params.zero_point;
  return isfinite(to->scale) && to->scale > 0 && to->zero >= lowest && to->zero <= lowest + 255;
}

static bool one_byte(enum xk_type type) { return type == XK_I8 || type == XK_U8; }

/* Makes the convolution of the file's constants. */
static enum xk_status make_conv(TfLiteContext *context, struct node *node) {
  const struct xk_options *o = &node->options;
  const size_t channels = (size_t)o->out_channels;
  const size_t bits = (size_t)o->kernel_h * (size_t)o->kernel_w * (size_t)o->in_channels;
  const TfLiteTensor *output = tensor(context, node->outputs[0]);
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
      {THRESHOLD, kTfLiteInt32, 4 * channels, &from.threshold},
      {FLIP, kTfLiteInt32, (channels + 31) / 32 * 4, &from.flip},
      {SLOPE, kTfLiteFloat32, 4 * channels, &from.slope},
      {POST_SCALE, kTfLiteFloat32, 4 * channels, &from.post_scale},
      {POST_BIAS, kTfLiteFloat32, 4 * channels, &from.post_bias},
  };
  for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
    enum xk_status status = constant(context, node->inputs[wanted[i].place], wanted[i].type,
                                     wanted[i].bytes, wanted[i].to);
    if (status != XK_OK) return status;
  }
  return xk_conv_create(o, &from, node->delegate->isa, output->type == kTfLiteInt32,
                        node->delegate->memory, &node->conv);
}

/* Checks the input's shape against the options and finds the size that the op is made for. */
static enum xk_status shape_of(const struct node *node, const TfLiteTensor *x,
                               struct xk_shape *shape) {
  const struct xk_options *o = &node->options;
  const int64_t count = elements(x->dims);
  const int rank = x->dims != NULL ? x->dims->size : 0;
  const int last = x->type == kTfLiteInt32 ? (o->in_channels + 31) / 32 : o->in_channels;
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
  const int channels = node->options.out_channels;
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
  dims->data[rank - 1] = output->type == kTfLiteInt32 ? (channels + 31) / 32 : channels;
  return context->ResizeTensor(context, output, dims); /* Takes the array. */
}

/* Returns whether the optional second operand holds numbers of the output's shape. */
static bool fits(const struct node *node, const TfLiteTensor *residual, const TfLiteTensor *x) {
  struct xk_values values;
  if (residual == NULL) return true;
  const TfLiteIntArray *dims = residual->dims;
  if (!describe(residual, &values) || values.type == XK_BITS || values.type == XK_U8 || elements(dims) < 0 ||
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
  if (!describe(x, &values)) return XK_BAD_INPUT;
  if ((values.type == XK_U8) != (node->kind == BYTE_CONV)) return XK_BAD_INPUT;
  if (!describe(output, &written) || written.type == XK_U8 || output == second || output == x || second == x) {
    return XK_BAD_OUTPUT;
  }
  if (second != NULL && (second->type != kTfLiteInt32 || output->type == kTfLiteInt32)) {
    return XK_BAD_OUTPUT;
  }
  if (node->kind == BYTE_CONV && node->options.pad_value != XK_PAD_ZERO) return XK_BAD_OPTIONS;
  enum xk_status status = shape_of(node, x, &node->in);
  if (status != XK_OK) return status;
  if (node->kind == POOL) {
    const void *flip;
    if (x->type != kTfLiteInt32) return XK_BAD_INPUT;
    if (output->type != kTfLiteInt32 || second != NULL) return XK_BAD_OUTPUT;
    status = constant(context, node->inputs[WEIGHTS], kTfLiteInt32,
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
  const uint64_t input_bytes = (uint64_t)elements(x->dims) * (one_byte(values.type) ? 1 : 4);
  status = xk_scratch_hold(node->scratch, xk_conv_scratch(node->conv, values.type),
                           SCRATCH_TIMES_INPUT * input_bytes);
  if (status != XK_OK) return status;
  const TfLiteTensor *residual = tensor(context, node->inputs[RESIDUAL]);
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
  const TfLiteTensor *x = tensor(context, node->inputs[X]);
  TfLiteTensor *output = tensor(context, node->outputs[0]);
  TfLiteTensor *second = tensor(context, node->outputs[1]);
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

/* Finds a tensor's data. Returns false unless it holds `count` elements at an aligned address. */
static bool data_of(const TfLiteTensor *from, int64_t count, struct xk_values *to) {
  if (!describe(from, to)) return false;
  const size_t size = one_byte(to->type) ? 1 : 4;
  to->data = from->data;
  return from->data != NULL && from->bytes / size >= (uint64_t)count &&
         (uintptr_t)from->data % size == 0;
}

/* Does the same for an output, to which the runtime gives no memory if nothing reads it. */
static bool room_of(const TfLiteTensor *from, int64_t count, struct xk_values *to) {
  if (from->data == NULL) return describe(from, to);
  return data_of(from, count, to);
}

static TfLiteStatus invoke(TfLiteContext *context, TfLiteNode *from) {
  struct node *node = from->user_data;
  const struct xk_options *o = &node->options;
  const TfLiteTensor *x = tensor(context, node->inputs[X]);
  const TfLiteTensor *output = tensor(context, node->outputs[0]);
  const TfLiteTensor *second = tensor(context, node->outputs[1]);
  const TfLiteTensor *residual = node->kind == POOL ? NULL : tensor(context, node->inputs[RESIDUAL]);
  const int64_t in_words = (o->in_channels + 31) / 32, out_words = (o->out_channels + 31) / 32;
  const int64_t pixels_in = node->in.n * node->in.h * node->in.w;
  const int64_t pixels = node->out.n * node->out.h * node->out.w;
  struct xk_values in, out, add = {.type = XK_F32}, bits = {.type = XK_BITS};
  bool whole =
      data_of(x, pixels_in * (x->type == kTfLiteInt32 ? in_words : o->in_channels), &in) &&
      room_of(output, pixels * (output->type == kTfLiteInt32 ? out_words : o->out_channels), &out);
  if (whole && residual != NULL) whole = data_of(residual, pixels * o->out_channels, &add);
  if (whole && second != NULL) whole = room_of(second, pixels * out_words, &bits);
  if (!whole) {
    complain(context, node, output, "a tensor without its memory");
    return kTfLiteError;
  }
  if (out.data == NULL && bits.data == NULL) return kTfLiteOk;
  if (node->kind == POOL) {
    const TfLiteTensor *flip = tensor(context, node->inputs[WEIGHTS]);
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
