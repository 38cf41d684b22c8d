// A delegate for the tests. Options: ops=N takes the last N ops, each of them as y = max(x, 0);
// fail=TEXT doesn't load; wrong=1 computes y = x + 1; crash=1 and hang=1 do so when they run.
// The structures are the beginning of TensorFlow Lite's in core/c/common.h.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct { int size; int data[]; } Ints;
typedef struct { int type; float* data; Ints* dims; float scale; int zero_point; int allocation; size_t bytes; void* rest[8]; } Tensor;
typedef struct { Ints* inputs; Ints* outputs; } Node;
typedef struct Context Context;
typedef struct { void* (*init)(Context*, const char*, size_t); void (*free)(Context*, void*); int (*prepare)(Context*, Node*); int (*invoke)(Context*, Node*); void* profiling; int32_t code; const char* name; int version; void* external; void* async; uint64_t inplace; } Registration;
typedef struct Delegate { void* data; int (*prepare)(Context*, struct Delegate*); void* copies[3]; int64_t flags; void* builder; } Delegate;
struct Context { size_t count; int (*plan)(Context*, Ints**); Tensor* tensors; void* impl; void* resize; void* report; void* add; void* node; int (*replace)(Context*, Registration, const Ints*, Delegate*); };

static int ops, wrong, crash, hang;

static int run(Context* context, Node* node) {
  if (crash) abort();
  if (hang) pause();
  Tensor* x = &context->tensors[node->inputs->data[0]];
  Tensor* y = &context->tensors[node->outputs->data[0]];
  for (size_t i = 0; i < y->bytes / sizeof(float); i++)
    y->data[i] = wrong ? x->data[i] + 1 : x->data[i] > 0 ? x->data[i] : 0;
  return 0;
}

static int ready(Context* context, Node* node) { return 0; }

static int prepare(Context* context, Delegate* delegate) {
  Ints* plan;
  if (context->plan(context, &plan)) return 1;
  int taken = ops < plan->size ? ops : plan->size;
  if (!taken) return 0;
  Ints* nodes = malloc(sizeof(int) * (taken + 1));
  nodes->size = taken;
  memcpy(nodes->data, plan->data + plan->size - taken, sizeof(int) * taken);
  Registration kernel = {.prepare = ready, .invoke = run, .name = "Stub", .version = 1};
  int status = context->replace(context, kernel, nodes, delegate);
  free(nodes);
  return status;
}

Delegate* tflite_plugin_create_delegate(char** keys, char** values, size_t count, void (*report)(const char*)) {
  for (size_t i = 0; i < count; i++) {
    if (!strcmp(keys[i], "fail")) return report(values[i]), NULL;
    if (!strcmp(keys[i], "ops")) ops = atoi(values[i]);
    if (!strcmp(keys[i], "wrong")) wrong = 1;
    if (!strcmp(keys[i], "crash")) crash = 1;
    if (!strcmp(keys[i], "hang")) hang = 1;
  }
  Delegate* delegate = calloc(1, sizeof(Delegate));
  delegate->prepare = prepare;
  delegate->flags = 1;  // kTfLiteDelegateFlagsAllowDynamicTensors: asked before ops are prepared, so that custom ones may be taken
  return delegate;
}

void tflite_plugin_destroy_delegate(Delegate* delegate) { free(delegate); }
