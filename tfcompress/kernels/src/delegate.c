/* The functions that the library exports: it is an external delegate of TFLite's interpreter. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node.h"

#ifdef _WIN32
#define XK_ENTRY __declspec(dllexport)
#else
#define XK_ENTRY __attribute__((visibility("default")))
#endif

/* Our ops times all ops of a graph: 2,048 of ours alone are taken in a quarter of a second. */
enum { MOST_LOOKS = 1 << 22 };

/* Gives one node of the graph to a kernel of ours. */
static TfLiteStatus take_node(TfLiteContext *context, TfLiteDelegate *delegate, int node) {
  TfLiteIntArray *array = malloc(sizeof *array + sizeof array->data[0]);
  if (array == NULL) return kTfLiteError;
  array->size = 1;
  array->data[0] = node;
  TfLiteStatus status = context->ReplaceNodeSubsetsWithDelegateKernels(context, xk_registration(),
                                                                       array, delegate);
  free(array);
  return status;
}

/* What our ops say of their file: the constants' bytes, some of which are several ops', and the
 * stretch of addresses in which all of them lie. */
struct constants {
  uint64_t bytes;
  uintptr_t first, end;
};

static void add_constants(const TfLiteContext *context, const TfLiteNode *node,
                          struct constants *to) {
  for (int i = 0; node->inputs != NULL && i < node->inputs->size; i++) {
    const int place = node->inputs->data[i];
    if (place < 0 || (size_t)place >= context->tensors_size) continue;
    const TfLiteTensor *from = &context->tensors[place];
    if (from->allocation_type != kTfLiteMmapRo || from->data == NULL) continue;
    const uintptr_t first = (uintptr_t)from->data;
    to->bytes += from->bytes;
    if (first < to->first) to->first = first;
    if (first + from->bytes > to->end) to->end = first + from->bytes;
  }
}

/* Learns how large the file is, and refuses a graph of very many ops: for each of ours the runtime
 * looks at all. */
static TfLiteStatus look_at_our_ops(TfLiteContext *context, TfLiteDelegate *delegate,
                                    const int *plan, int count) {
  struct constants constants = {0, UINTPTR_MAX, 0};
  int64_t ours = 0;
  for (int i = 0; i < count; i++) {
    TfLiteNode *node = NULL;
    TfLiteRegistration *registration = NULL;
    TfLiteStatus status = context->GetNodeAndRegistration(context, plan[i], &node, &registration);
    if (status != kTfLiteOk) return status;
    if (!xk_is_ours(registration)) continue;
    ours++;
    add_constants(context, node, &constants);
  }
  if (ours > 0 && count > MOST_LOOKS / ours) {
    context->ReportError(context, "tfcompress: %d 1-bit ops, but of a graph with %d ops at most %d are taken. ",
                         (int)ours, count, MOST_LOOKS / count);
    return kTfLiteError;
  }
  /* Both are at most the file's size in an honest file; each has another way to lie. */
  const uint64_t stretch = constants.end > constants.first ? constants.end - constants.first : 0;
  xk_memory_know_file(((struct xk_delegate *)(void *)delegate)->memory,
                      stretch < constants.bytes ? stretch : constants.bytes);
  return kTfLiteOk;
}

/* Takes our custom ops and no other, one by one: what goes from op to op is then a tensor of the
 * runtime's, which plans memory and sizes as for any other op. */
static TfLiteStatus take_our_ops(TfLiteContext *context, TfLiteDelegate *delegate, const int *plan,
                                 int count) {
  TfLiteStatus status = kTfLiteOk;
  for (int i = 0; i < count && status == kTfLiteOk; i++) {
    TfLiteNode *node = NULL;
    TfLiteRegistration *registration = NULL;
    status = context->GetNodeAndRegistration(context, plan[i], &node, &registration);
    if (status == kTfLiteOk && xk_is_ours(registration)) {
      status = take_node(context, delegate, plan[i]);
    }
  }
  return status;
}

static TfLiteStatus prepare(TfLiteContext *context, TfLiteDelegate *delegate) {
  TfLiteIntArray *plan = NULL;
  if (context->GetExecutionPlan(context, &plan) != kTfLiteOk || plan == NULL) return kTfLiteError;
  /* The runtime's own plan changes with each node that is taken. */
  const int count = plan->size;
  int *nodes = malloc(sizeof *nodes * (size_t)(count > 0 ? count : 1));
  if (nodes == NULL) return kTfLiteError;
  if (count > 0) memcpy(nodes, plan->data, sizeof *nodes * (size_t)count);
  TfLiteStatus status = look_at_our_ops(context, delegate, nodes, count);
  if (status == kTfLiteOk) status = take_our_ops(context, delegate, nodes, count);
  free(nodes);
  return status;
}

static void complain(void (*report_error)(const char *), const char *what, const char *value) {
  char text[200];
  if (report_error == NULL) return;
  snprintf(text, sizeof text, "%s '%.80s'", what, value);
  report_error(text);
}

/* Chooses the kernel: the one that the environment names, else the one that an option names, else
 * the fastest. Returns NULL if there is no such kernel here, after it has reported that. */
static const struct xk_isa *choose_kernel(const char *const *keys, const char *const *values,
                                          size_t count, void (*report_error)(const char *)) {
  const char *forced = getenv("TFCOMPRESS_KERNEL");
  const char *name = NULL;
  for (size_t i = 0; i < count; i++) {
    if (strcmp(keys[i], "kernel") != 0) {
      complain(report_error, "tfcompress kernels have no option", keys[i]);
      return NULL;
    }
    name = values[i];
  }
  if (forced != NULL && forced[0] != 0) name = forced;
  const struct xk_isa *isa = xk_isa_named(name);
  if (isa == NULL) complain(report_error, "this processor doesn't run the kernel", name);
  return isa;
}

XK_ENTRY TfLiteDelegate *tflite_plugin_create_delegate(const char *const *keys,
                                                       const char *const *values, size_t count,
                                                       void (*report_error)(const char *));
XK_ENTRY void tflite_plugin_destroy_delegate(TfLiteDelegate *delegate);
XK_ENTRY const char *tfcompress_kernel_name(int index);

TfLiteDelegate *tflite_plugin_create_delegate(const char *const *keys, const char *const *values,
                                              size_t count, void (*report_error)(const char *)) {
  const struct xk_isa *isa = choose_kernel(keys, values, count, report_error);
  if (isa == NULL) return NULL;
  struct xk_delegate *delegate = calloc(1, sizeof *delegate);
  if (delegate == NULL) return NULL;
  delegate->memory = xk_memory_create();
  if (delegate->memory == NULL) {
    free(delegate);
    return NULL;
  }
  delegate->isa = isa;
  delegate->pool = xk_pool_create(); /* Without one, each op runs on one thread. */
  delegate->base.Prepare = prepare;
  /* Else the runtime would refuse a custom op before it asks us. */
  delegate->base.flags = kTfLiteDelegateFlagsAllowDynamicTensors;
  return &delegate->base;
}

void tflite_plugin_destroy_delegate(TfLiteDelegate *base) {
  struct xk_delegate *delegate = (struct xk_delegate *)(void *)base;
  if (delegate == NULL) return;
  xk_pool_destroy(delegate->pool);
  xk_memory_release(delegate->memory);
  free(delegate);
}

/* Returns the name of a kernel that this processor runs, fastest first; NULL after the last. */
const char *tfcompress_kernel_name(int index) { return xk_isa_name(index); }
