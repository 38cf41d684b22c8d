#include "fake_runtime.h"

#include <stdlib.h>
#include <string.h>

TfLiteDelegate *tflite_plugin_create_delegate(const char *const *keys, const char *const *values,
                                              size_t count, void (*report_error)(const char *));
void tflite_plugin_destroy_delegate(TfLiteDelegate *delegate);

struct runtime {
  TfLiteContext context;
  TfLiteTensor tensors[FAKE_TENSORS];
  TfLiteNode node, taken; /* the file's, and the delegate's in its place */
  TfLiteRegistration registration, kernel;
  bool is_taken;
  TfLiteIntArray *plan;
};

static TfLiteIntArray *int_array(const int *values, int count) {
  TfLiteIntArray *array = malloc(sizeof *array + sizeof(int) * (size_t)count);
  if (array == NULL) abort();
  array->size = count;
  if (count > 0) memcpy(array->data, values, sizeof(int) * (size_t)count);
  return array;
}

static size_t size_of(int type) { return type == kTfLiteInt8 || type == kTfLiteUInt8 ? 1 : 4; }

/* The bytes of a shape; SIZE_MAX if the runtime would refuse it. */
static size_t bytes_of(int type, const TfLiteIntArray *dims) {
  size_t bytes = size_of(type);
  for (int i = 0; dims != NULL && i < dims->size; i++) {
    if (dims->data[i] < 0) return SIZE_MAX;
    if (dims->data[i] > 0 && bytes > FAKE_MOST_BYTES / (size_t)dims->data[i]) return SIZE_MAX;
    bytes *= (size_t)dims->data[i];
  }
  return bytes;
}

/* Bytes of every kind: also floats that are no numbers, and huge ones. */
static void scatter(void *data, size_t bytes) {
  uint32_t state = 1;
  for (size_t i = 0; i < bytes; i++) {
    state = state * 1664525u + 1013904223u;
    ((uint8_t *)data)[i] = (uint8_t)(state >> 24);
  }
}

static TfLiteStatus get_plan(TfLiteContext *context, TfLiteIntArray **plan) {
  *plan = ((struct runtime *)context->impl_)->plan;
  return kTfLiteOk;
}

static TfLiteStatus get_node(TfLiteContext *context, int index, TfLiteNode **node,
                             TfLiteRegistration **registration) {
  struct runtime *runtime = context->impl_;
  if (index != 0) return kTfLiteError;
  *node = &runtime->node;
  *registration = &runtime->registration;
  return kTfLiteOk;
}

static TfLiteStatus replace(TfLiteContext *context, TfLiteRegistration kernel,
                            const TfLiteIntArray *nodes, TfLiteDelegate *delegate) {
  struct runtime *runtime = context->impl_;
  TfLiteDelegateParams params = {.delegate = delegate};
  if (runtime->is_taken) return kTfLiteError;
  params.nodes_to_replace = int_array(nodes->data, nodes->size);
  runtime->kernel = kernel;
  runtime->is_taken = true;
  runtime->taken.user_data = kernel.init(context, (const char *)&params, 0);
  free(params.nodes_to_replace);
  return kTfLiteOk;
}

static TfLiteStatus resize(TfLiteContext *context, TfLiteTensor *tensor, TfLiteIntArray *dims) {
  size_t bytes = bytes_of(tensor->type, dims);
  (void)context;
  if (tensor->allocation_type == kTfLiteMmapRo || bytes == SIZE_MAX) {
    free(dims);
    return kTfLiteError;
  }
  free(tensor->dims);
  free(tensor->data);
  tensor->dims = dims;
  tensor->bytes = bytes;
  tensor->data = NULL;
  return kTfLiteOk;
}

static void report(TfLiteContext *context, const char *message, ...) {
  (void)context;
  (void)message;
}

/* Fills a tensor; what isn't constant gets its memory only after the op was prepared. */
static void load(TfLiteTensor *to, const struct fake_tensor *from) {
  to->type = (TfLiteType)from->type;
  to->dims = from->rank < 0 ? NULL : int_array(from->dims, from->rank);
  to->params.scale = from->scale;
  to->params.zero_point = from->zero;
  to->name = "fake";
  if (from->constant) {
    to->allocation_type = kTfLiteMmapRo;
    to->bytes = from->bytes;
    to->data = malloc(from->bytes > 0 ? from->bytes : 1);
    if (to->data == NULL) abort();
    scatter(to->data, from->bytes);
    for (size_t b = 0; from->type == kTfLiteInt8 && b < from->bytes; b++) {
      int8_t *weight = (int8_t *)to->data + b; /* Any -128 would be refused. */
      if (*weight == INT8_MIN) *weight = 127;
    }
  }
}

static int allocate(struct runtime *runtime) {
  for (int i = 0; i < FAKE_TENSORS; i++) {
    TfLiteTensor *tensor = &runtime->tensors[i];
    if (tensor->allocation_type == kTfLiteMmapRo || tensor->data != NULL) continue;
    size_t bytes = bytes_of(tensor->type, tensor->dims);
    if (bytes == SIZE_MAX) return 0;
    tensor->bytes = bytes;
    tensor->data = malloc(bytes > 0 ? bytes : 1);
    if (tensor->data == NULL) abort();
    scatter(tensor->data, bytes);
  }
  return 1;
}

static TfLiteStatus go(struct runtime *runtime, const struct fake_op *op, int runs) {
  TfLiteStatus status = runtime->is_taken ? kTfLiteOk : kTfLiteError;
  for (int run = 0; run < runs && status == kTfLiteOk; run++) {
    status = runtime->kernel.prepare(&runtime->context, &runtime->taken);
    if (status == kTfLiteOk && !allocate(runtime)) status = kTfLiteError;
    if (status == kTfLiteOk) status = runtime->kernel.invoke(&runtime->context, &runtime->taken);
  }
  const struct fake_node *node = &op->node;
  for (int i = 0; i < node->output_count && status == kTfLiteOk; i++) {
    if (node->outputs[i] < 0 || node->outputs[i] >= FAKE_TENSORS) continue;
    const TfLiteTensor *output = &runtime->tensors[node->outputs[i]];
    volatile uint8_t seen = 0;
    for (size_t b = 0; b < output->bytes; b++) seen ^= ((const uint8_t *)output->data)[b];
  }
  return status;
}

/* Gives the op its options, in memory of their own. */
static void load_node(struct runtime *runtime, const struct fake_node *from) {
  TfLiteNode *to = &runtime->node;
  uint8_t *options = malloc(from->option_bytes > 0 ? from->option_bytes : 1);
  if (options == NULL) abort();
  if (from->option_bytes > 0) memcpy(options, from->options, from->option_bytes);
  to->custom_initial_data = options;
  to->custom_initial_data_size = (int)from->option_bytes;
  to->inputs = int_array(from->inputs, from->input_count);
  to->outputs = int_array(from->outputs, from->output_count);
  runtime->registration.builtin_code = kTfLiteBuiltinCustom;
  runtime->registration.custom_name = from->name;
  runtime->registration.version = 1;
}

TfLiteStatus fake_run(const struct fake_op *op, int runs) {
  static const int PLAN[] = {0};
  const char *key = "kernel";
  struct runtime *runtime = calloc(1, sizeof *runtime);
  TfLiteDelegate *delegate =
      tflite_plugin_create_delegate(&key, &op->kernel, op->kernel != NULL, NULL);
  if (runtime == NULL || delegate == NULL) abort();
  runtime->context = (TfLiteContext){
      .tensors_size = FAKE_TENSORS,
      .tensors = runtime->tensors,
      .impl_ = runtime,
      .GetExecutionPlan = get_plan,
      .GetNodeAndRegistration = get_node,
      .ReplaceNodeSubsetsWithDelegateKernels = replace,
      .ResizeTensor = resize,
      .ReportError = report,
      .recommended_num_threads = op->threads,
  };
  load_node(runtime, &op->node);
  runtime->plan = int_array(PLAN, 1);
  for (int i = 0; i < FAKE_TENSORS; i++) load(&runtime->tensors[i], &op->tensors[i]);

  TfLiteStatus status = delegate->Prepare(&runtime->context, delegate);
  if (status == kTfLiteOk) status = go(runtime, op, runs);

  if (runtime->is_taken) runtime->kernel.free(&runtime->context, runtime->taken.user_data);
  tflite_plugin_destroy_delegate(delegate);
  for (int i = 0; i < FAKE_TENSORS; i++) {
    free(runtime->tensors[i].dims);
    free(runtime->tensors[i].data);
  }
  free(runtime->node.inputs);
  free(runtime->node.outputs);
  free((void *)runtime->node.custom_initial_data);
  free(runtime->plan);
  free(runtime);
  return status;
}
