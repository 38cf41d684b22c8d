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
  TfLiteStatus status = take_our_ops(context, delegate, nodes, count);
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
  free(delegate);
}

/* Returns the name of a kernel that this processor runs, fastest first; NULL after the last. */
const char *tfcompress_kernel_name(int index) { return xk_isa_name(index); }
